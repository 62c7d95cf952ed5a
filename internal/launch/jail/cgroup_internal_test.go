//go:build linux

package jail

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// What a killed launcher left is taken away; what is new, in use or not a job's
// stays.
func TestSweep(t *testing.T) {
	dir, old := t.TempDir(), time.Now().Add(-2*leftAfter)
	if err := os.MkdirAll(filepath.Join(dir, "sworn-used", "process"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"sworn-old", "sworn-new", "other"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"sworn-old", "sworn-used", "other"} {
		if err := os.Chtimes(filepath.Join(dir, name), old, old); err != nil {
			t.Fatal(err)
		}
	}
	sweep(dir)
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	for i := range left {
		left[i] = filepath.Base(left[i])
	}
	if want := []string{"other", "sworn-new", "sworn-used"}; err != nil || !slices.Equal(left, want) {
		t.Errorf("left are %q, want %q: %v", left, want, err)
	}
}

// A limit that would wrap around to a small one is refused.
func TestLimitOverflow(t *testing.T) {
	c := &cgroup{path: t.TempDir()}
	if err := os.WriteFile(filepath.Join(c.path, "memory.current"), []byte("4096\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.limit(math.MaxUint64); err == nil {
		t.Error("accepted")
	}
	if _, err := os.Stat(filepath.Join(c.path, "memory.max")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a limit was set: %v", err)
	}
}
