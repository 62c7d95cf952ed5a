//go:build linux

package jail_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sworn-run/sworn/internal/launch/jail"
)

// whole describes a stream that passed completely.
func whole(s string) jail.StreamInfo {
	return jail.StreamInfo{SHA256: sha256.Sum256([]byte(s)), Size: uint64(len(s)), Complete: true}
}

// part describes a stream that did not.
func part(s string) jail.StreamInfo {
	i := whole(s)
	i.Complete = false
	return i
}

func TestStreams(t *testing.T) {
	long := strings.Repeat("0123456789abcdef", 1<<16)
	for _, tt := range []struct {
		name         string
		role         []string
		stdin        string
		code         int
		in, out, err jail.StreamInfo
	}{
		{"all", []string{"echo", "a", "b"}, "hello", 42, whole("hello"), whole("HELLO"), whole("a b")},
		{"no input", []string{"echo"}, "", 42, whole(""), whole(""), whole("")},
		{"long input", []string{"echo"}, long, 42, whole(long), whole(strings.ToUpper(long)), whole("")},
		{"short input ignored", []string{"nothing"}, "hello", 0, part("hello"), whole(""), whole("")},
		{"long input ignored", []string{"nothing"}, long, 0, part(long), whole(""), whole("")},
		{"output closed early", []string{"closeout"}, "", 5, whole(""), whole("early"), whole("")},
	} {
		for mode, make := range map[string]func(*testing.T, string, ...string) jail.Spec{"closed": jobSpec, "open": openSpec} {
			t.Run(tt.name+", "+mode, func(t *testing.T) {
				got := runJob(t, make(t, tt.role[0], tt.role[1:]...), tt.stdin).exit
				if got.Duration <= 0 {
					t.Errorf("duration %v", got.Duration)
				}
				got.Duration = 0
				if want := (jail.Exit{Code: tt.code, Stdin: tt.in, Stdout: tt.out, Stderr: tt.err}); got != want {
					t.Errorf("got  %+v\nwant %+v", got, want)
				}
			})
		}
	}
}

func TestSignals(t *testing.T) {
	for _, s := range []unix.Signal{unix.SIGKILL, unix.SIGTERM, unix.SIGABRT} {
		got := runJob(t, jobSpec(t, "die", itoa(int(s))), "").exit
		want := unix.SignalName(s)
		if s == unix.SIGABRT {
			want = "" // Go makes an exit status of it
		}
		if got.Signal != want || got.Timeout || got.Limit {
			t.Errorf("%v: got %+v", s, got)
		}
	}
}

func TestTimeout(t *testing.T) {
	for mode, make := range map[string]func(*testing.T, string, ...string) jail.Spec{"closed": jobSpec, "open": openSpec} {
		spec := make(t, "hang")
		spec.Timeout = 200 * time.Millisecond
		got := runJob(t, spec, "").exit
		if !got.Timeout || got.Code != -1 || got.Signal != "SIGKILL" || got.Stdout.Complete || got.Stderr.Complete {
			t.Errorf("%s: got %+v", mode, got)
		}
		if got.Duration < spec.Timeout || got.Duration > spec.Timeout+5*time.Second {
			t.Errorf("%s: took %v", mode, got.Duration)
		}
	}
}

func TestOutputLimit(t *testing.T) {
	spec := jobSpec(t, "flood", "-1")
	spec.MaxOutput = 3<<20 + 5
	got := runJob(t, spec, "").exit
	if want := part(strings.Repeat("x", 3<<20+5)); got.Stdout != want || !got.Limit || got.Timeout || got.Signal != "SIGKILL" {
		t.Errorf("got %+v", got)
	}
	// Exactly the limit is within it.
	spec = jobSpec(t, "flood", "3")
	spec.MaxOutput = 3 << 20
	got = runJob(t, spec, "").exit
	if want := whole(strings.Repeat("x", 3<<20)); got.Stdout != want || got.Limit || got.Code != 0 {
		t.Errorf("got %+v", got)
	}
}

// Much output takes little memory.
func TestMemoryBounded(t *testing.T) {
	j := start(t, jobSpec(t, "flood", "300"))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	exit, err := j.Run(context.Background(), jail.IO{Stdout: io.Discard})
	runtime.ReadMemStats(&after)
	if err != nil || exit.Stdout.Size != 300<<20 || !exit.Stdout.Complete {
		t.Fatalf("got %+v, %v", exit, err)
	}
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 2<<20 {
		t.Errorf("300 MiB of output allocated %d bytes", grown)
	}
}

// gate is a writer that waits to be opened.
type gate struct {
	open chan struct{}
	mu   sync.Mutex
	b    bytes.Buffer
}

func (g *gate) Write(b []byte) (int, error) {
	<-g.open
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.b.Write(b)
}

func (g *gate) len() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.b.Len()
}

// A writer that blocks holds the job up.
func TestBackPressure(t *testing.T) {
	j := start(t, jobSpec(t, "count"))
	out, errs := &gate{open: make(chan struct{})}, &gate{open: make(chan struct{})}
	close(errs.open)
	done := make(chan error)
	go func() {
		exit, err := j.Run(context.Background(), jail.IO{Stdout: out, Stderr: errs})
		if err == nil && (exit.Code != 0 || exit.Stdout.Size != 1<<20 || !exit.Stdout.Complete) {
			err = errors.New("not complete")
		}
		done <- err
	}()
	eventually(t, "the job has written", func() bool { return errs.len() > 0 })
	time.Sleep(300 * time.Millisecond) // in which it would write more
	// The pipe and one buffer hold 64 KiB each.
	if n := errs.len() * 4096; n == 0 || n > 128<<10 {
		t.Errorf("the job wrote %d bytes to a writer that blocks", n)
	}
	close(out.open)
	if err := <-done; err != nil || out.len() != 1<<20 {
		t.Errorf("%v, %d bytes", err, out.len())
	}
}

// failing is a writer that takes n bytes.
type failing struct{ n int }

func (f *failing) Write(b []byte) (int, error) {
	n := min(f.n, len(b))
	f.n -= n
	if n < len(b) {
		return n, io.ErrShortWrite
	}
	return n, nil
}

func TestWriterFails(t *testing.T) {
	j := start(t, jobSpec(t, "flood", "-1"))
	exit, err := j.Run(context.Background(), jail.IO{Stdout: &failing{100_000}})
	if err != nil {
		t.Fatal(err)
	}
	if want := part(strings.Repeat("x", 100_000)); exit.Stdout != want || exit.Signal != "SIGPIPE" || exit.Limit {
		t.Errorf("got %+v", exit)
	}
}

func TestInputFails(t *testing.T) {
	broken := errors.New("broken")
	for name, tt := range map[string]struct {
		in   io.Reader
		want error
	}{
		"error":     {io.MultiReader(strings.NewReader("abc"), errReader{broken}), broken},
		"too large": {io.LimitReader(zeros{}, 2<<20), jail.ErrRun},
	} {
		spec := jobSpec(t, "echo")
		spec.MaxInput = 1 << 20
		exit, err := start(t, spec).Run(context.Background(), jail.IO{Stdin: tt.in})
		if !errors.Is(err, jail.ErrRun) || !errors.Is(err, tt.want) || exit != (jail.Exit{}) {
			t.Errorf("%s: got %+v, %v", name, exit, err)
		}
	}
}

// errReader fails.
type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

// zeros never ends.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// A reader that never ends does not hold up Run when the job has.
func TestInputBlocks(t *testing.T) {
	r, w := io.Pipe()
	t.Cleanup(func() { _ = w.Close() })
	go func() { _, _ = w.Write([]byte("abc")) }()
	begin := time.Now()
	got := finish(t, start(t, jobSpec(t, "nothing")), r).exit
	if got.Code != 0 || got.Stdin != part("abc") {
		t.Errorf("got %+v", got)
	}
	if d := time.Since(begin); d > 30*time.Second {
		t.Errorf("took %v", d)
	}
}

func TestCancel(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	exit, err := start(t, jobSpec(t, "hang")).Run(ctx, jail.IO{})
	if !errors.Is(err, jail.ErrRun) || !errors.Is(err, context.DeadlineExceeded) || exit != (jail.Exit{}) {
		t.Errorf("got %+v, %v", exit, err)
	}
	if j, err := jail.Start(ctx, jobSpec(t, "hang")); !errors.Is(err, jail.ErrLaunch) || !errors.Is(err, context.DeadlineExceeded) || j != nil {
		t.Errorf("start after the end: %v", err)
	}
}

func TestRunOnce(t *testing.T) {
	j := start(t, jobSpec(t, "echo"))
	finish(t, j, nil)
	if _, err := j.Run(context.Background(), jail.IO{}); !errors.Is(err, jail.ErrRun) {
		t.Errorf("second run: %v", err)
	}
	if err := errors.Join(j.Close(), j.Close()); err != nil {
		t.Error(err)
	}
	j = start(t, jobSpec(t, "echo"))
	if err := j.Close(); err != nil {
		t.Error(err)
	}
	if _, err := j.Run(context.Background(), jail.IO{}); !errors.Is(err, jail.ErrRun) {
		t.Errorf("run after close: %v", err)
	}
}

func TestOutputFile(t *testing.T) {
	for way, want := range map[string]jail.StreamInfo{
		"file": whole("result"), "none": part(""), "link": part(""), "folder": part(""), "fifo": part(""), "large": part(""),
	} {
		spec := jobSpec(t, "output", way, "/scratch/deep/out")
		if way != "file" {
			spec.Command.Argv[2] = "/scratch/out"
		}
		spec.OutputFile, spec.MaxOutput = spec.Command.Argv[2], 1<<20
		var out bytes.Buffer
		exit, err := start(t, spec).Run(context.Background(), jail.IO{Output: &out})
		if err != nil || exit.Code != 0 {
			t.Fatalf("%s: %+v, %v", way, exit, err)
		}
		if exit.Output != want || uint64(out.Len()) != want.Size {
			t.Errorf("%s: got %+v, want %+v", way, exit.Output, want)
		}
	}
}
