//go:build linux

package jail

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sworn-run/sworn/internal/launch/verity"
)

// inNamespace runs a test in a mount namespace of its own, as root.
func inNamespace(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Log("a volume needs root")
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and the thread ends with the goroutine
		if err := errors.Join(unix.Unshare(unix.CLONE_NEWNS), unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")); err != nil {
			t.Error(err)
			return
		}
		f(t)
	}()
	<-done
}

// served serves a volume's files, here those of a tmpfs, and returns the folder that
// the root stands at.
func served(t *testing.T, config string, targets []string, fill func(volume string) error) (string, error) {
	t.Helper()
	base := t.TempDir()
	at, volume := filepath.Join(base, ImageRoot), filepath.Join(base, ImagePrivate)
	r, _, err := newRoot(nil, 0)
	if err := errors.Join(err, os.Mkdir(at, 0o700), os.Mkdir(volume, 0o700)); err != nil {
		t.Fatal(err)
	}
	fd, _, err := newMount("tmpfs", nil, "", 0)
	if err := errors.Join(err, r.attachAt(at), unix.MoveMount(fd, "", unix.AT_FDCWD, volume, unix.MOVE_MOUNT_F_EMPTY_PATH)); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	err = errors.Join(unix.Fstat(fd, &st), os.WriteFile(filepath.Join(volume, verity.ImageFile), []byte("config"), 0o644), fill(volume))
	if err != nil {
		t.Fatal(err)
	}
	p := &initProcess{root: r}
	p.cfg.Image = &Image{Volume: &Volume{Number: st.Dev}, Config: []byte(config), Absent: []string{"/model", "/config"}}
	for _, target := range targets {
		p.sources = append(p.sources, source{target: target})
	}
	if err := p.serveVolume(fd); err != nil {
		return at, err
	}
	return at, p.root.mkdirs(p.sources, true)
}

// put writes files, and folders where a name ends in a slash, below a folder of the
// volume; "a -> b" is a link.
func put(names ...string) func(string) error {
	return func(volume string) error {
		var errs []error
		for _, name := range names {
			name, link, isLink := strings.Cut(name, " -> ")
			file := filepath.Join(volume, verity.ImageTree, name)
			errs = append(errs, os.MkdirAll(filepath.Dir(file), 0o755))
			switch {
			case isLink:
				errs = append(errs, os.Symlink(link, file))
			case strings.HasSuffix(name, "/"):
				errs = append(errs, os.MkdirAll(file, 0o755))
			case strings.HasSuffix(name, "|"):
				errs = append(errs, unix.Mkfifo(file, 0o644))
			default:
				errs = append(errs, os.WriteFile(file, []byte(name), 0o644))
			}
		}
		return errors.Join(errs...)
	}
}

func TestServeImage(t *testing.T) {
	inNamespace(t, func(t *testing.T) {
		image := put("bin/sh", "lib -> usr/lib", "usr/lib/libc.so", "top", "opt/tool/x", "opt/tool/sub/y", "opt/other/z", "dev/null", "scratch/s", "proc", "empty/")
		at, err := served(t, "config", []string{"opt/tool/sub/added", "model/default/w"}, image)
		if err != nil {
			t.Error(err)
			return
		}
		for name, want := range map[string]error{
			"bin/sh": nil, "lib/libc.so": nil, "usr/lib/libc.so": nil, "top": nil, "opt/tool/x": nil, "opt/tool/sub/y": nil, "opt/other/z": nil,
			"dev/null": fs.ErrNotExist, "scratch/s": fs.ErrNotExist, "proc/": nil, "empty": nil, "model/default": nil, verity.ImageFile: fs.ErrNotExist,
		} {
			b, err := os.ReadFile(filepath.Join(at, name))
			switch st, statErr := os.Stat(filepath.Join(at, name)); {
			case !errors.Is(statErr, want):
				t.Errorf("%s: %v, want %v", name, statErr, want)
			case statErr == nil && st.Mode().IsRegular() && (err != nil || string(b) != strings.Replace(name, "lib/libc", "usr/lib/libc", 1) && string(b) != name):
				t.Errorf("%s holds %q, %v", name, b, err)
			}
		}
		// The volume's own mounts cannot be written to, and the root's folders can
		// until it is sealed.
		for name, want := range map[string]error{
			"bin/new": unix.EROFS, "usr/lib/new": unix.EROFS, "opt/other/new": unix.EROFS, "bin/sh": unix.EROFS, "top": unix.EROFS, "opt/tool/x": unix.EROFS,
			"opt/tool/sub/added": nil, "model/default/w": nil,
		} {
			f, err := os.OpenFile(filepath.Join(at, name), os.O_WRONLY|os.O_CREATE, 0o600)
			if !errors.Is(err, want) {
				t.Errorf("writing %s: %v, want %v", name, err, want)
			}
			if err == nil {
				_ = f.Close()
			}
		}
	})
}

// What no image may have stops the launch, and so does a volume that is not what its
// description says.
func TestServeImageRefused(t *testing.T) {
	inNamespace(t, func(t *testing.T) {
		for name, c := range map[string]struct {
			config  string
			targets []string
			fill    func(string) error
			want    error
		}{
			"weights":           {"config", nil, put("model/default/w"), nil},
			"a link to them":    {"config", nil, put("model -> nowhere"), nil},
			"configuration":     {"config", nil, put("config"), nil},
			"a FIFO":            {"config", nil, put("etc/x", "pipe|"), unix.EPERM},
			"another config":    {"confih", nil, put("etc/x"), nil},
			"more config":       {"confi", nil, put("etc/x"), nil},
			"less config":       {"config ", nil, put("etc/x"), nil},
			"no tree":           {"config", nil, func(string) error { return nil }, unix.ENOENT},
			"a tree elsewhere":  {"config", nil, func(v string) error { return os.Symlink("/etc", filepath.Join(v, verity.ImageTree)) }, unix.ELOOP},
			"a link in the way": {"config", []string{"opt/x/added"}, put("opt/x -> /etc"), unix.ENOTDIR},
			"a file in the way": {"config", []string{"opt/x/added"}, put("opt/x"), unix.ENOTDIR},
			"no config": {"config", nil, func(v string) error {
				return errors.Join(put("etc/x")(v), os.Remove(filepath.Join(v, verity.ImageFile)))
			}, unix.ENOENT},
		} {
			if _, err := served(t, c.config, c.targets, c.fill); err == nil || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("%s: %v, want %v", name, err, c.want)
			}
		}
	})
}

// A volume whose mount is of another device is not served.
func TestServeOtherDevice(t *testing.T) {
	inNamespace(t, func(t *testing.T) {
		from, err := os.Open(t.TempDir())
		if err != nil {
			t.Error(err)
			return
		}
		defer from.Close()
		r, _, err := newRoot(nil, 0)
		if err := errors.Join(err, os.WriteFile(filepath.Join(from.Name(), "x"), nil, 0o644), r.attachAt(t.TempDir())); err != nil {
			t.Error(err)
			return
		}
		s := server{root: r, device: 1 << 40, through: map[string]bool{}, left: 2}
		if err := s.folder(from, "."); !errors.Is(err, unix.ENODEV) {
			t.Errorf("another device: %v", err)
		}
	})
}

// An image is to be unpacked or on a volume, and the zero value is neither.
func TestImageRight(t *testing.T) {
	unpacked := Image{Ref: "oci:/x", Digest: "sha256:00", MaxBytes: 1, Mount: "/m"}
	volume := Image{Volume: &Volume{Device: "/dev/dm-0"}, Config: []byte("{}"), Digest: "dmverity", Mount: "/m"}
	for name, c := range map[string]struct {
		of     Image
		change func(*Image)
		want   bool
	}{
		"unpacked":            {unpacked, func(*Image) {}, true},
		"with a store":        {unpacked, func(i *Image) { i.Store = "/s" }, true},
		"on a volume":         {volume, func(*Image) {}, true},
		"nothing":             {Image{}, func(*Image) {}, false},
		"no reference":        {unpacked, func(i *Image) { i.Ref = "" }, false},
		"no digest":           {unpacked, func(i *Image) { i.Digest = "" }, false},
		"no limit":            {unpacked, func(i *Image) { i.MaxBytes = 0 }, false},
		"mounted nowhere":     {unpacked, func(i *Image) { i.Mount = "m" }, false},
		"unpacked and volume": {unpacked, func(i *Image) { i.Volume = volume.Volume }, false},
		"volume and limit":    {volume, func(i *Image) { i.MaxBytes = 1 }, false},
		"volume and store":    {volume, func(i *Image) { i.Store = "/s" }, false},
		"no config":           {volume, func(i *Image) { i.Config = nil }, false},
		"a volume elsewhere":  {volume, func(i *Image) { i.Volume = &Volume{Device: "/dev/dm-0", Target: "/x"} }, false},
		"no device":           {volume, func(i *Image) { i.Volume = &Volume{} }, false},
		"config of no volume": {unpacked, func(i *Image) { i.Config = []byte("{}") }, false},
	} {
		i := c.of
		c.change(&i)
		if got := i.right(); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
