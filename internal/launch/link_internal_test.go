//go:build linux

package launch

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// A working folder that is reached through a link leads to files free of links.
func TestLinkedFolder(t *testing.T) {
	top, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	want, link := filepath.Join(top, "real", "weights"), filepath.Join(top, "link")
	if err := os.Mkdir(filepath.Dir(want), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(want, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("real", link); err != nil {
		t.Fatal(err)
	}
	t.Chdir(link)
	if got, err := regular("weights"); err != nil || got != want {
		t.Errorf("got %s, %v; want %s", got, err, want)
	}
	p := &Plan{}
	if err := p.addTree("file", "x", ".", "/x"); err != nil || len(p.files) != 1 || p.files[0].source != want {
		t.Errorf("folder: %+v, %v", p.files, err)
	}
	// What is above a link's target is above it, as for the kernel.
	if err := os.Symlink(filepath.Join("real", "deep"), filepath.Join(top, "down")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(top, "real", "deep"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"../down/../weights", filepath.Join(top, "down") + "/../weights"} {
		if got, err := regular(file); err != nil || got != want {
			t.Errorf("%s: got %s, %v; want %s", file, got, err, want)
		}
	}
	if _, err := regular(""); !errors.Is(err, ErrUsage) {
		t.Errorf("an empty path: %v", err)
	}
}
