package launch

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sworn-run/sworn/internal/launch/jail"
)

// TestSweepImages: a launch takes away what killed launchers left, and nothing of
// those that live.
func TestSweepImages(t *testing.T) {
	state := t.TempDir()
	long := time.Now().Add(-2 * leftAfter)
	for _, name := range []string{"image-left/root", "image-left/private", "image-fresh", "image-live/root", "other"} {
		if err := os.MkdirAll(filepath.Join(state, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("other", filepath.Join(state, "image-link")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"image-left", "image-live", "other"} {
		if err := os.Chtimes(filepath.Join(state, name), long, long); err != nil {
			t.Fatal(err)
		}
	}
	live, err := lockFolder(filepath.Join(state, "image-live"))
	if err != nil {
		t.Fatal(err)
	}
	defer live.Close()
	spec := &jail.Spec{Image: &jail.Image{}}
	remove, err := imageMount(spec, state)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]error{"image-left": os.ErrNotExist, "image-fresh": nil, "image-live/root": nil, "other": nil, "image-link": nil} {
		if _, err := os.Lstat(filepath.Join(state, name)); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
	// The launch's own folder is locked while it is used, however long that is.
	if err := os.Chtimes(spec.Image.Mount, long, long); err != nil {
		t.Fatal(err)
	}
	sweepFolders(state, imagePrefix, time.Now())
	if _, err := os.Stat(filepath.Join(spec.Image.Mount, jail.ImageRoot)); err != nil {
		t.Errorf("the folder of a live launch: %v", err)
	}
	remove()
	if _, err := os.Stat(spec.Image.Mount); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder of a launch that is over: %v", err)
	}
}
