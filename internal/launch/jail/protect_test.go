//go:build linux

package jail_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/sworn-run/sworn/internal/launch/jail"
)

// ioctlVerity asks for a file's fs-verity digest, as verity.Measure does.
func ioctlVerity(f *os.File, arg *uint16) error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), unix.FS_IOC_MEASURE_VERITY, uintptr(unsafe.Pointer(arg)))
	if errno != 0 {
		return errno
	}
	return nil
}

// An attacker who owns the source overwrites, truncates, replaces and covers it
// after it was measured; the job reads what was measured.
func TestSealedAttacked(t *testing.T) {
	content := strings.Repeat("measured weights ", 4096)
	for name, attack := range map[string]func(path string) error{
		"overwritten": func(p string) error { return os.WriteFile(p, []byte(strings.Repeat("evil", 9999)), 0o644) },
		"truncated":   func(p string) error { return os.Truncate(p, 3) },
		"renamed over": func(p string) error {
			return errors.Join(os.WriteFile(p+"2", []byte("evil"), 0o644), os.Rename(p+"2", p))
		},
		"covered by a mount": func(p string) error {
			if os.Geteuid() != 0 {
				return nil
			}
			evil := p + ".evil"
			if err := os.WriteFile(evil, []byte("evil"), 0o644); err != nil {
				return err
			}
			t.Cleanup(func() { _ = unix.Unmount(p, unix.MNT_DETACH) })
			return unix.Mount(evil, p, "", unix.MS_BIND, "")
		},
	} {
		source := write(t, "weights", []byte(content))
		spec := with(jobSpec(t, "cat", "/model/w", "/model/w"), jail.File{ID: 1, Source: source, Target: "/model/w", Protect: jail.ProtectAuto})
		j := start(t, spec)
		d := j.Files()[1]
		in, feed, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan ran)
		go func() { done <- finish(t, j, in) }()
		_, _ = feed.WriteString("1") // the job reads once,
		err = attack(source)
		_, _ = feed.WriteString("1") // and again after the attack
		_ = feed.Close()
		got := <-done
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got.out != content+content || d.SHA256 != sha256.Sum256([]byte(content)) || d.Protection != "sealed" {
			t.Errorf("%s: the job read other bytes than were measured (%d of %d)", name, len(got.out), 2*len(content))
		}
	}
}

// Without protection the job gets the file itself, read-only, and the measurement
// says so.
func TestUnprotected(t *testing.T) {
	source := write(t, "weights", []byte("as it was"))
	spec := with(jobSpec(t, "cat", "/model/w"), jail.File{ID: 1, Source: source, Target: "/model/w", Protect: jail.ProtectNone})
	j := start(t, spec)
	want := jail.Digest{ID: 1, SHA256: sha256.Sum256([]byte("as it was")), HasSHA256: true, Size: 9, Protection: jail.ProtectNone}
	if d := j.Files()[1]; !cmp.Equal(d, want) {
		t.Errorf("got %+v", d)
	}
	if err := os.WriteFile(source, []byte("swapped!!"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := finish(t, j, strings.NewReader("1")); got.out != "swapped!!" {
		t.Errorf("the job read %q", got.out)
	}
}

// A file that only its owner can read cannot be given to the job as it is.
func TestUnreadableByOthers(t *testing.T) {
	source := write(t, "weights", []byte("mine"))
	if err := os.Chmod(source, 0o600); err != nil {
		t.Fatal(err)
	}
	spec := with(jobSpec(t, "cat", "/model/w"), jail.File{Source: source, Target: "/model/w", Protect: jail.ProtectNone})
	if j, err := jail.Start(context.Background(), spec); !errors.Is(err, jail.ErrSource) || j != nil {
		t.Errorf("got %v", err)
	}
	spec.Files[1].Protect = jail.ProtectAuto
	if got := runJob(t, spec, "1"); got.out != "mine" {
		t.Errorf("its copy reads %q", got.out)
	}
}

// This kernel's file systems have no fs-verity enabled on the file: asked for by
// name it is refused, and nothing is launched.
func TestVerityRefused(t *testing.T) {
	source := write(t, "weights", []byte("x"))
	spec := with(jobSpec(t, "nothing"), jail.File{Source: source, Target: "/model/w", Protect: jail.ProtectVerity})
	if j, err := jail.Start(context.Background(), spec); !errors.Is(err, jail.ErrSource) || j != nil {
		t.Errorf("got %v", err)
	}
}

// Copies that do not fit into what they may take are refused before anything is
// copied; a file that is not copied does not count.
func TestCopiesBounded(t *testing.T) {
	source := write(t, "weights", make([]byte, 64<<20))
	spec := with(jobSpec(t, "nothing"), jail.File{Source: source, Target: "/model/w", Protect: jail.ProtectAuto})
	spec.TmpfsBytes = 32 << 20
	if j, err := jail.Start(context.Background(), spec); !errors.Is(err, jail.ErrSpec) || j != nil {
		t.Errorf("got %v", err)
	}
	spec.Files[1].Protect = jail.ProtectNone
	if got := runJob(t, spec, ""); got.exit.Code != 0 {
		t.Errorf("got %+v", got)
	}
}

// The devices that the Spec names are there, and no others.
func TestDevices(t *testing.T) {
	spec := jobSpec(t, "cat", "/dev/zero!")
	for _, bad := range []string{"", "/null", "../etc/passwd", "a b", "no-such-device", "pts", "full\u00a0null", "full\vnull", "tpmrm0", "tpm0"} {
		spec.Devices = []string{bad}
		if j, err := jail.Start(context.Background(), spec); err == nil {
			t.Errorf("device %q: accepted", bad)
			_ = j.Close()
		}
	}
	for _, bad := range []string{"no-such-device", "null/x", "pts"} {
		spec.Devices = []string{bad}
		if j, err := jail.Start(context.Background(), spec); !errors.Is(err, jail.ErrSource) || j != nil {
			t.Errorf("device %q: %v, %v", bad, j, err)
		}
	}
	// An open run is no way out: it would have every device.
	spec.Devices, spec.Strict, spec.Open = []string{"full"}, false, openSpec(t, "cat", "/dev/zero").Open
	if j, err := jail.Start(context.Background(), spec); !errors.Is(err, jail.ErrSpec) || j != nil {
		t.Errorf("with an open run: %v, %v", j, err)
	}
	spec = jobSpec(t, "probe", "1", "/x", "x", "1", "/dev/full")
	spec.Devices = []string{"full"}
	j := start(t, spec)
	if got := j.Isolation().Devices; !slices.Equal(got, []string{"null", "urandom", "full"}) {
		t.Errorf("devices are %q", got)
	}
	if got := j.Isolation().DeviceNumbers; !slices.Equal(got, []string{"c1:7"}) {
		t.Errorf("their numbers are %q", got)
	}
	got := finish(t, j, nil)
	if !strings.Contains(got.out, "open:/dev/full=ok") || !strings.Contains(got.out, "open:/dev/kmsg=ENOENT") {
		t.Errorf("the job says %s", got.out)
	}
}

// A file that is given unprotected, and as another that is to be copied and as the
// input, is copied for these.
func TestUnprotectedAndCopied(t *testing.T) {
	source := write(t, "weights", []byte("measured"))
	spec := with(jobSpec(t, "cat", "/etc/c", jail.InputTarget),
		jail.File{Source: source, Target: "/model/w", Protect: jail.ProtectNone}, jail.File{Source: source, Target: "/etc/c"})
	spec.InputFile = source
	j := start(t, spec)
	if err := os.WriteFile(source, []byte("replaced"), 0o644); err != nil {
		t.Fatal(err)
	}
	files := j.Files()
	input, _ := j.Input()
	if w, c := files[len(files)-2].Protection, files[len(files)-1].Protection; w != "none" || c != "sealed" || input.Protection != "sealed" {
		t.Errorf("protections are %s, %s and %s", w, c, input.Protection)
	}
	if got := finish(t, j, strings.NewReader("12")); got.out != "measuredmeasured" {
		t.Errorf("got %q", got.out)
	}
}

// A node with the number of a TPM is one, whatever it is called.
func TestTPMByAnotherName(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("only root makes device nodes")
		return
	}
	const name = "sworn-test-alias"
	node := filepath.Join("/dev", name)
	t.Cleanup(func() { _ = os.Remove(node) })
	for minor, want := range map[uint32]error{224: jail.ErrIsolation, 229: nil} {
		_ = os.Remove(node)
		if err := unix.Mknod(node, unix.S_IFCHR|0o666, int(unix.Mkdev(10, minor))); err != nil {
			t.Fatal(err)
		}
		spec := jobSpec(t, "nothing")
		spec.Devices = []string{name}
		j, err := jail.Start(context.Background(), spec)
		if j != nil {
			_ = j.Close()
		}
		if !errors.Is(err, want) {
			t.Errorf("minor %d: got %v, want %v", minor, err, want)
		}
	}
}

// With the network left to it, the job reaches what the launcher reaches.
func TestNetworkAllowed(t *testing.T) {
	path, abstract, port := listeners(t)
	spec := jobSpec(t, "probe", itoa(os.Getpid()), path, abstract, port, "/x")
	spec.Network, spec.Strict = true, false
	got := runJob(t, spec, "")
	if !strings.Contains(got.out, "connect:tcp=ok") || got.iso.Network != "host" || got.iso.NetNS != jail.No {
		t.Errorf("network %s, net_ns %s: %s", got.iso.Network, got.iso.NetNS, got.out)
	}
}

// The job's control group is gone with the job.
func TestCgroup(t *testing.T) {
	j := start(t, jobSpec(t, "hang"))
	state := j.Isolation().Cgroup
	if state != jail.Yes && state.Errno() == "" {
		t.Errorf("cgroup is %q", state)
	}
	if os.Geteuid() == 0 && state != jail.Yes {
		t.Errorf("root cannot make a control group: %q", state)
	}
	// Other launches come and go meanwhile: only those groups count that hold a
	// process which this one started.
	own := slices.DeleteFunc(groups(t), func(g string) bool { return !holdsChild(t, g) })
	if state == jail.Yes && len(own) != 1 {
		t.Errorf("the job's groups are %q", own)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if left := slices.DeleteFunc(groups(t), func(g string) bool { return !slices.Contains(own, g) }); len(left) != 0 {
		t.Errorf("groups %q are left", left)
	}
}

// holdsChild reports whether a control group holds a child of this process.
func holdsChild(t *testing.T, group string) bool {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(group, "cgroup.procs"))
	if err != nil {
		return false // it has gone
	}
	for pid := range strings.FieldsSeq(string(b)) {
		status, err := os.ReadFile(filepath.Join("/proc", pid, "status"))
		if err == nil && strings.Contains(string(status), "\nPPid:\t"+itoa(os.Getpid())+"\n") {
			return true
		}
	}
	return false
}

// groups lists the control groups of jobs.
func groups(t *testing.T) []string {
	t.Helper()
	found, err := filepath.Glob("/sys/fs/cgroup*/unified/sworn-*")
	if err != nil {
		t.Fatal(err)
	}
	more, err := filepath.Glob("/sys/fs/cgroup/sworn-*")
	if err != nil {
		t.Fatal(err)
	}
	return append(found, more...)
}
