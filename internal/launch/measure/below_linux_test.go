package measure_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sworn-run/sworn/internal/launch/measure"
)

// folders makes a folder with files a, b/1, b/2, c and links, and one beside it.
func folders(t *testing.T) (top, outside string) {
	t.Helper()
	top, outside = filepath.Join(t.TempDir(), "top"), filepath.Join(t.TempDir(), "outside")
	for _, name := range []string{top + "/a", top + "/b/1", top + "/b/2", top + "/c", outside + "/1", outside + "/2", outside + "/secret"} {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, to := range map[string]string{"/link": "a", "/z": outside, "/b/up": "../../outside", "/dangling": "nowhere"} {
		if err := os.Symlink(to, top+name); err != nil {
			t.Fatal(err)
		}
	}
	return top, outside
}

// visited returns what is visited below top, each file as its content has it, and
// calls during once at the named one.
func visited(t *testing.T, top, at string, during func()) ([]string, error) {
	t.Helper()
	var out []string
	err := measure.Below(top, func(name string, h *measure.Held) error {
		if name == at {
			during()
		}
		b, err := io.ReadAll(h)
		out = append(out, string(b))
		return err
	})
	return out, err
}

func TestBelow(t *testing.T) {
	top, outside := folders(t)
	all := []string{top + "/a", top + "/b/1", top + "/b/2", top + "/c"}
	if got, err := visited(t, top, "", nil); err != nil || !slices.Equal(got, all) {
		t.Errorf("visited %q, %v; want %q", got, err, all)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(top, link); err != nil {
		t.Fatal(err)
	}
	if got, err := visited(t, link, "", nil); err != nil || !slices.Equal(got, all) {
		t.Errorf("by a link to it: visited %q, %v; want %q", got, err, all)
	}
	if got, err := visited(t, top+"/link", "", nil); err != nil || !slices.Equal(got, all[:1]) {
		t.Errorf("a link to a file: visited %q, %v", got, err)
	}
	if got, err := visited(t, filepath.Join(outside, "secret"), "", nil); err != nil || len(got) != 1 {
		t.Errorf("a file: visited %q, %v", got, err)
	}
	if got, err := visited(t, t.TempDir(), "", nil); err != nil || got != nil {
		t.Errorf("an empty folder: visited %q, %v", got, err)
	}
	if got, err := visited(t, top+"/none", "", nil); !errors.Is(err, measure.ErrIO) || !errors.Is(err, os.ErrNotExist) || got != nil {
		t.Errorf("nothing: visited %q, %v", got, err)
	}
	if err := unix.Mkfifo(top+"/pipe", 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := visited(t, top, "", nil); !errors.Is(err, measure.ErrUnfit) {
		t.Errorf("a FIFO: %v", err)
	}
	wrong := errors.New("wrong")
	if err := measure.Below(top, func(string, *measure.Held) error { return wrong }); !errors.Is(err, wrong) {
		t.Errorf("the error of a visit: %v", err)
	}
}

// TestBelowRace: nothing that is put into the folder while it is walked leads out of
// it.
func TestBelowRace(t *testing.T) {
	for name, x := range map[string]struct {
		at     string
		change func(t *testing.T, top, outside string)
		want   error
		files  []string
	}{
		"a folder becomes a link": {"/a", func(t *testing.T, top, outside string) {
			swap(t, top+"/b", outside)
		}, nil, []string{"/a", "/c"}},
		"a file becomes a link": {"/b/2", func(t *testing.T, top, outside string) {
			swap(t, top+"/c", outside+"/secret")
		}, nil, []string{"/a", "/b/1", "/b/2"}},
		"the folder that is read becomes a link": {"/b/1", func(t *testing.T, top, outside string) {
			swap(t, top+"/b", outside)
		}, nil, []string{"/a", "/b/1", "/b/2", "/c"}},
		"the top becomes a link": {"/a", func(t *testing.T, top, outside string) {
			swap(t, top, outside)
		}, nil, []string{"/a", "/b/1", "/b/2", "/c"}},
	} {
		t.Run(name, func(t *testing.T) {
			top, outside := folders(t)
			got, err := visited(t, top, top+x.at, func() { x.change(t, top, outside) })
			var want []string
			for _, f := range x.files {
				want = append(want, top+f)
			}
			if !errors.Is(err, x.want) || !slices.Equal(got, want) {
				t.Errorf("visited %q, %v; want %q, %v", got, err, want, x.want)
			}
		})
	}
}

// swap moves a file away and puts a link in its place.
func swap(t *testing.T, name, to string) {
	t.Helper()
	if err := os.Rename(name, name+".moved"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(to, name); err != nil {
		t.Fatal(err)
	}
}

// TestBelowSwapped: a folder and a file that change places with links as fast as
// they can lead out of the top never.
func TestBelowSwapped(t *testing.T) {
	top, outside := folders(t)
	for name, to := range map[string]string{"/b.link": outside, "/c.link": outside + "/secret"} {
		if err := os.Symlink(to, top+name); err != nil {
			t.Fatal(err)
		}
	}
	stop, stopped := make(chan struct{}), make(chan error)
	go func() {
		for {
			select {
			case <-stop:
				stopped <- nil
				return
			default:
			}
			for _, name := range []string{top + "/b", top + "/c"} {
				if err := unix.Renameat2(unix.AT_FDCWD, name, unix.AT_FDCWD, name+".link", unix.RENAME_EXCHANGE); err != nil {
					stopped <- err
					return
				}
			}
		}
	}()
	raced := 0
	for range 2000 {
		got, err := visited(t, top, "", nil)
		if errors.Is(err, measure.ErrChanged) {
			raced++
		} else if err != nil {
			t.Fatal(err)
		}
		for _, content := range got {
			if rel, err := filepath.Rel(top, content); err != nil || !filepath.IsLocal(rel) {
				t.Fatalf("visited %s", content)
			}
		}
	}
	close(stop)
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	t.Logf("%d of 2000 met a link that was a file before", raced)
}
