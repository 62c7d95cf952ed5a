package simulator

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// Somebody else was first to make the directory, and put a link where the log
// will be: nothing is overwritten, and the maker that lies there is not taken.
func TestDirectoryOfAnother(t *testing.T) {
	for name, spoil := range map[string]func(dir string) error{
		"another's":        func(dir string) error { return os.Chown(dir, 12345, 12345) },
		"others may write": func(dir string) error { return os.Chmod(dir, 0o777) },
	} {
		t.Run(name, func(t *testing.T) {
			dir, err := os.MkdirTemp("", "se")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = os.RemoveAll(dir) })
			victim := filepath.Join(t.TempDir(), "victim")
			if err := os.WriteFile(victim, []byte("precious"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(victim, filepath.Join(dir, logFile)); err != nil {
				t.Fatal(err)
			}
			if err := spoil(dir); err != nil {
				if os.Getenv("CI") != "" {
					t.Fatalf("CI runs as root: %v", err)
				}
				t.Skipf("only root can give a directory away: %v", err)
			}
			s, err := StartSWTPM(context.Background(), Options{Dir: dir})
			if err == nil {
				_ = s.Close()
			}
			if !errors.Is(err, ErrDir) {
				t.Errorf("got %v, want ErrDir", err)
			}
			if b, err := os.ReadFile(victim); err != nil || string(b) != "precious" {
				t.Errorf("the victim's file holds %q, %v", b, err)
			}
		})
	}
}
