package launch_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/launch"
)

// Weights stand below their own name, however the path of their folder is
// written, and no path at all is not the current folder.
func TestWeightsPaths(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "llama")
	if err := errors.Join(os.MkdirAll(filepath.Join(dir, "sub"), 0o755), os.WriteFile(filepath.Join(dir, "w"), []byte("x"), 0o600)); err != nil {
		t.Fatal(err)
	}
	job := func(path string) launch.Job {
		return launch.Job{Command: []string{"cat", "{weights.dir}"}, Weights: []launch.Named{{Path: path}}, Launcher: self}
	}
	t.Chdir(dir)
	for _, path := range []string{dir, dir + "/", ".", filepath.Join(dir, "sub") + "/..", "sub/.."} {
		p, err := launch.NewPlan(job(path))
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		components, err := p.Measure(context.Background())
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		for _, c := range components {
			if c.Role == cer.RoleWeights && c.Path != "/model/default/llama/w" {
				t.Errorf("%s: weights stand at %s", path, c.Path)
			}
		}
	}
	if _, err := launch.NewPlan(job("")); !errors.Is(err, launch.ErrUsage) {
		t.Errorf("an empty path: %v", err)
	}
	other := job(dir)
	other.Add = []launch.Named{{Name: "x"}}
	if _, err := launch.NewPlan(other); !errors.Is(err, launch.ErrUsage) {
		t.Errorf("an empty path to add: %v", err)
	}
}
