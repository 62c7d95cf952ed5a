//go:build unix

package tsm

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// TestSweep: only requests of processes that are gone are removed, and only old ones.
func TestSweep(t *testing.T) {
	gone := exec.Command("true")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	c := &Client{ConfigFS: t.TempDir(), Provider: "sev_guest"}
	if err := os.MkdirAll(c.dir(), 0o700); err != nil {
		t.Fatal(err)
	}
	dead := fmt.Sprintf("%s%d-", entryPrefix, gone.Process.Pid)
	live := fmt.Sprintf("%s%d-", entryPrefix, os.Getpid())
	long := time.Now().Add(-2 * leftAfter)
	want := map[string]error{
		dead + "OLD": fs.ErrNotExist, dead + "NEW": nil, live + "OLD": nil,
		"sworn-0-OLD": nil, "sworn-x-OLD": nil, "sworn-1": nil, "report0": nil,
	}
	for name := range want {
		path := filepath.Join(c.dir(), name)
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
		if name == dead+"NEW" {
			continue
		}
		if err := os.Chtimes(path, long, long); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.make(); err != nil {
		t.Fatal(err)
	}
	for name, want := range want {
		if _, err := os.Lstat(filepath.Join(c.dir(), name)); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
}
