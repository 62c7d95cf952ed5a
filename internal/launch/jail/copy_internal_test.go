//go:build linux

package jail

import (
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A source that changes in any way between plan and end of the copy is refused.
func TestChangeDuringCopy(t *testing.T) {
	content := make([]byte, 3<<20+17)
	for name, change := range map[string]func(path string) error{
		"nothing": func(string) error { return nil },
		"grows": func(p string) error {
			f, err := os.OpenFile(p, os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.Write([]byte("x"))
			return errors.Join(err, f.Close())
		},
		"shrinks": func(p string) error { return os.Truncate(p, 10) },
		"is rewritten": func(p string) error {
			time.Sleep(20 * time.Millisecond) // longer than the kernel's tick
			return os.WriteFile(p, content, 0o644)
		},
		"is rewritten and dated back": func(p string) error {
			info, err := os.Stat(p)
			if err != nil {
				return err
			}
			time.Sleep(20 * time.Millisecond)
			return errors.Join(os.WriteFile(p, content, 0o644), os.Chtimes(p, info.ModTime(), info.ModTime()))
		},
		"is replaced": func(p string) error {
			return errors.Join(os.WriteFile(p+"2", content, 0o644), os.Rename(p+"2", p))
		},
		"is removed":            os.Remove,
		"is replaced by a link": func(p string) error { return errors.Join(os.Rename(p, p+"2"), os.Symlink(p+"2", p)) },
	} {
		p := filepath.Join(t.TempDir(), "source")
		if err := os.WriteFile(p, content, 0o644); err != nil {
			t.Fatal(err)
		}
		files, total, err := planSources(&config{Files: []File{{Source: p, Target: "/x"}}})
		if err != nil || total != uint64(len(content)) {
			t.Fatalf("planning: %d, %v", total, err)
		}
		var done atomic.Uint64
		digests, err := measureAll(files, &done, func(*source) (*os.File, error) { return nil, change(p) })
		if name == "nothing" {
			if err != nil || digests[0].Size != total || done.Load() != total {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if !errors.Is(err, errChanged) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// A file that was replaced between plan and copy is not opened.
func TestChangeBeforeCopy(t *testing.T) {
	p := filepath.Join(t.TempDir(), "source")
	if err := os.WriteFile(p, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	files, _, err := planSources(&config{Files: []File{{Source: p, Target: "/x"}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Remove(p), unix.Mkfifo(p, 0o644)); err != nil {
		t.Fatal(err)
	}
	if f, err := files[0].open(); !errors.Is(err, errChanged) || f != nil {
		t.Errorf("got %v", err)
	}
}
