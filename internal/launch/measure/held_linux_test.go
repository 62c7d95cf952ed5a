package measure_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sworn-run/sworn/internal/launch/measure"
)

// TestRefusedFiles wants what is no regular file to be refused, at once.
func TestRefusedFiles(t *testing.T) {
	dir := t.TempDir()
	fifo, link := filepath.Join(dir, "fifo"), filepath.Join(dir, "link")
	if err := errors.Join(unix.Mkfifo(fifo, 0o644), os.Symlink(fifo, link)); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	var config net.ListenConfig
	socket, err := config.Listen(t.Context(), "unix", "socket")
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	for name, want := range map[string]error{
		fifo: measure.ErrUnfit, link: measure.ErrUnfit, dir: measure.ErrUnfit, "/dev/zero": measure.ErrUnfit,
		"socket": measure.ErrUnfit, filepath.Join(dir, "missing"): measure.ErrIO,
	} {
		if h, err := measure.OpenFile(name); !errors.Is(err, want) || h != nil {
			t.Errorf("%s: %v", name, err)
		}
		if s, err := measure.Paths(t.Context(), []string{name}, measure.Wanted{FSVerity: true}, measure.Options{}); !errors.Is(err, want) || s != nil {
			t.Errorf("%s: %v, %v", name, s, err)
		}
	}
	device, err := os.Open("/dev/zero")
	if err != nil {
		t.Fatal(err)
	}
	defer device.Close()
	if h, err := measure.Hold(device); !errors.Is(err, measure.ErrUnfit) || h != nil {
		t.Errorf("an open device: %v", err)
	}
}

// hook is a source that does something at its first read.
type hook struct {
	io.ReaderAt
	once sync.Once
	do   func()
}

func (h *hook) ReadAt(p []byte, at int64) (int, error) {
	h.once.Do(h.do)
	return h.ReaderAt.ReadAt(p, at)
}

// TestChanged changes a file in each way while it is measured.
func TestChanged(t *testing.T) {
	for name, change := range map[string]func(path string) error{
		"nothing": func(string) error { return nil },
		"is rewritten with the same": func(p string) error {
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			return os.WriteFile(p, b, 0o644)
		},
		"one byte": func(p string) error {
			f, err := os.OpenFile(p, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteAt([]byte{1}, 5<<20)
			return errors.Join(err, f.Close())
		},
		"one byte, dated back": func(p string) error {
			info, err := os.Stat(p)
			if err != nil {
				return err
			}
			f, err := os.OpenFile(p, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteAt([]byte{1}, 5<<20)
			return errors.Join(err, f.Close(), os.Chtimes(p, info.ModTime(), info.ModTime()))
		},
		"grows":       func(p string) error { return os.Truncate(p, 7<<20) },
		"shrinks":     func(p string) error { return os.Truncate(p, 10) },
		"to nothing":  func(p string) error { return os.Truncate(p, 0) },
		"is removed":  os.Remove,
		"is replaced": func(p string) error { return errors.Join(os.WriteFile(p+"2", nil, 0o600), os.Rename(p+"2", p)) },
	} {
		path := file(t, 6<<20+1, false)
		time.Sleep(20 * time.Millisecond) // longer than the kernel's tick
		h, err := measure.OpenFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var changed error
		src := &hook{ReaderAt: h, do: func() { changed = change(path) }}
		got, err := measure.Files(t.Context(), []measure.File{{
			Name: path, Size: h.Size(), Wanted: measure.Wanted{FSVerity: true, Flat: measure.FlatAlways},
			Open: func() (measure.Open, error) {
				return measure.Open{Source: src, Close: func() error { return errors.Join(h.Unchanged(), h.Close()) }}, nil
			},
		}}, measure.Options{})
		if changed != nil {
			t.Fatal(changed)
		}
		want := measure.ErrChanged
		if name == "nothing" {
			want = nil
		}
		if !errors.Is(err, want) || (got == nil) != (err != nil) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

// TestWriter has a writer at work on a file all the while.
func TestWriter(t *testing.T) {
	path := file(t, 128<<20, true)
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := byte(0); ctx.Err() == nil; n++ {
			if _, err := f.WriteAt([]byte{n}, 100<<20); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Millisecond)
		}
	})
	got, err := measure.Paths(t.Context(), []string{path}, measure.Wanted{FSVerity: true}, measure.Options{})
	cancel()
	wg.Wait()
	if !errors.Is(err, measure.ErrChanged) || got != nil {
		t.Errorf("got %v, %v", got, err)
	}
}

// TestPaths wants many files, one of them twice and one by a link, in their order.
func TestPaths(t *testing.T) {
	a, b := file(t, 5<<20, false), file(t, 70000, false)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(b, link); err != nil {
		t.Fatal(err)
	}
	w := measure.Wanted{FSVerity: true}
	got, err := measure.Paths(t.Context(), []string{b, a, link, b}, w, measure.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{b, a, b, b} {
		if want := sums(t, name, w); got[i].FSVerity != want.FSVerity || got[i].Size != want.Size {
			t.Errorf("file %d: got %+v, want %+v", i, got[i], want)
		}
	}
}

// TestMemory measures a file of 4 GiB, most of it holes, and another one with
// more workers than there are processors, in 64 MiB.
func TestMemory(t *testing.T) {
	dir := t.TempDir()
	program, large, small := filepath.Join(dir, "peak"), filepath.Join(dir, "large"), filepath.Join(dir, "small")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./testdata/peak")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for name, size := range map[string]int64{large: 4 << 30, small: 24 << 20} {
		if err := errors.Join(os.WriteFile(name, []byte("begin"), 0o644), os.Truncate(name, size)); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	out, err := exec.CommandContext(t.Context(), program, large, small).Output()
	if err != nil {
		t.Fatal(err)
	}
	peak, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d KiB at most, %v", peak, time.Since(began))
	if peak < 1<<10 || peak > 64<<10 {
		t.Errorf("%d KiB, want at most %d", peak, 64<<10)
	}
}
