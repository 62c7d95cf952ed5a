package inside_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sworn-run/sworn/internal/launch/inside"
	"github.com/sworn-run/sworn/internal/launch/jail"
	"github.com/sworn-run/sworn/internal/launch/wasm"
)

// spec is a job that is a module.
func spec(t *testing.T, module []byte, engine string) inside.Spec {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	file, data := filepath.Join(dir, "m.wasm"), filepath.Join(dir, "data")
	for path, b := range map[string][]byte{file: module, data: []byte("data")} {
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return inside.Spec{
		Files:   []jail.File{{ID: 7, Source: file, Target: "/wasm/m.wasm"}, {ID: 8, Source: data, Target: "/model/x"}},
		Command: wasm.Command{Module: "/wasm/m.wasm", Engine: engine, Pages: 100, Roots: []string{"/model"}},
		Args:    []string{"m.wasm"}, Timeout: 10 * time.Minute,
	}
}

// run runs it.
func run(t *testing.T, s inside.Spec, streams jail.IO) (jail.Exit, error) {
	t.Helper()
	j, err := inside.Start(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	return j.Run(t.Context(), streams)
}

// engines runs a test with each.
func engines(t *testing.T, test func(t *testing.T, engine string)) {
	for _, engine := range []string{wasm.Compiler, wasm.Interpreter} {
		t.Run(engine, func(t *testing.T) { test(t, engine) })
	}
}

// never is a reader that gives nothing.
type never struct{ until <-chan struct{} }

func (n never) Read([]byte) (int, error) { <-n.until; return 0, io.EOF }

// endless is a reader that never ends.
type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }

// slow is a writer that takes its time.
type slow struct{}

func (slow) Write(b []byte) (int, error) { time.Sleep(20 * time.Millisecond); return len(b), nil }

// stuck is a writer that takes nothing.
type stuck struct{ until <-chan struct{} }

func (s stuck) Write([]byte) (int, error) { <-s.until; return 0, io.ErrClosedPipe }

// endlessly are modules that do not end, each with what it does so by.
func endlessly() map[string]*parts {
	write := [2]any{"fd_write", typeFour}
	read := [2]any{"fd_read", typeFour}
	poll := [2]any{"poll_oneoff", typeFour}
	drop := []byte{0x1a}
	iov := words(64, 60000)
	var many []uint32
	for range 4096 {
		many = append(many, 0, 65536)
	}
	years := make([]byte, 48)
	copy(years[24:], []byte{0, 0, 0, 0, 0, 0, 0, 0x10}) // some 36 years in nanoseconds
	stdin := make([]byte, 48)
	stdin[8] = 1 // to read, of descriptor 0
	return map[string]*parts{
		"loops":               {funcs: [][]byte{loop()}},
		"loops at its start":  {funcs: [][]byte{loop()}, start: true},
		"calls":               {funcs: [][]byte{loop([]byte{0x10, 1}), nil}},
		"writes":              {imports: [][2]any{write}, data: iov, funcs: [][]byte{loop(call(1, 0, 1, 8), drop)}},
		"writes much at once": {imports: [][2]any{write}, data: words(many...), pages: 2, funcs: [][]byte{loop(call(1, 0, 4096, 65000), drop)}},
		"reads":               {imports: [][2]any{read}, data: iov, funcs: [][]byte{loop(call(0, 0, 1, 8), drop)}},
		"sleeps":              {imports: [][2]any{poll}, data: years, funcs: [][]byte{loop(call(0, 64, 1, 128), drop)}},
		"waits for input":     {imports: [][2]any{poll}, data: stdin, funcs: [][]byte{loop(call(0, 64, 1, 128), drop)}},
	}
}

// A module that does not end is ended at its limit, whatever it is at, in both engines,
// and nothing of what it wrote counts as complete.
func TestLimit(t *testing.T) {
	until := make(chan struct{})
	t.Cleanup(func() { close(until) })
	engines(t, func(t *testing.T, engine string) {
		for what, p := range endlessly() {
			t.Run(what, func(t *testing.T) {
				t.Parallel()
				s := spec(t, p.encode(), engine)
				s.Timeout = 200 * time.Millisecond
				e, err := run(t, s, jail.IO{Stdin: never{until}, Stdout: slow{}})
				if err != nil || e.Code != wasm.ExitTrap || !e.Timeout || e.Limit || e.Signal != "" || e.Stdout.Complete || e.Stderr.Complete || e.Stdin.Complete {
					t.Errorf("%+v, %v", e, err)
				}
				// Milliseconds where the machine is not busy.
				if e.Duration > s.Timeout+5*time.Second {
					t.Errorf("ended after %v", e.Duration)
				}
				t.Logf("ended %v after its limit", e.Duration-s.Timeout)
			})
		}
	})
}

// A module is ended while it is being compiled.
func TestLimitCompiling(t *testing.T) {
	code := slices.Concat(slices.Repeat(slices.Concat(i32(1), i32(2), []byte{0x6a, 0x1a}), 1000)) // 1+2
	module := (&parts{funcs: slices.Repeat([][]byte{code}, 4000)}).encode()
	engines(t, func(t *testing.T, engine string) {
		s := spec(t, module, engine)
		s.Timeout = 50 * time.Millisecond
		e, err := run(t, s, jail.IO{})
		if err != nil || !e.Timeout || e.Code != wasm.ExitTrap || e.Duration > 10*time.Second {
			t.Errorf("%+v, %v", e, err)
		}
		t.Logf("%d bytes, ended %v after its limit", len(module), e.Duration-s.Timeout)
	})
}

// A module that calls itself for ever, with as many variables as it can have, or that
// nests deeply, is trapped or refused; the launcher goes on.
func TestDepth(t *testing.T) {
	const deep = 1 << 13
	nested := slices.Concat(bytes.Repeat([]byte{0x02, 0x40}, deep), bytes.Repeat([]byte{0x0b}, deep))
	operands := slices.Concat(bytes.Repeat([]byte{0x41, 1}, 2000), []byte{0x10, 0}, bytes.Repeat([]byte{0x1a}, 2000))
	table := []byte{0x70, 0, 1}
	engines(t, func(t *testing.T, engine string) {
		for what, c := range map[string]struct {
			p    *parts
			code int
		}{
			"itself":         {&parts{funcs: [][]byte{{0x10, 0}}}, wasm.ExitTrap},
			"each other":     {&parts{funcs: [][]byte{{0x10, 1}, {0x10, 0}}}, wasm.ExitTrap},
			"with variables": {&parts{funcs: [][]byte{{0x10, 0}}, locals: 2000}, wasm.ExitTrap},
			"with operands":  {&parts{funcs: [][]byte{operands}}, wasm.ExitTrap},
			"by no table":    {&parts{funcs: [][]byte{slices.Concat(i32(0), []byte{0x11, 0, 0})}, table: table}, wasm.ExitTrap},
			"variables":      {&parts{funcs: [][]byte{nil}, locals: 1 << 30}, wasm.ExitModule},
			"many tables":    {&parts{funcs: [][]byte{nil}, table: []byte{0x70, 0, 0xff, 0xff, 0xff, 0x7f}}, wasm.ExitModule},
			"blocks":         {&parts{funcs: [][]byte{nested}}, 0},
		} {
			e, err := run(t, spec(t, c.p.encode(), engine), jail.IO{})
			if err != nil || e.Code != c.code || e.Timeout || !e.Stdout.Complete || (e.Stderr.Size > 0) != (c.code != 0) {
				t.Errorf("%s: %+v, %v", what, e, err)
			}
		}
	})
}

// Memory, tables and descriptors have a bound, at which the module is told that there are
// no more.
func TestBounds(t *testing.T) {
	exit := [2]any{"proc_exit", typeOne}
	grow := slices.Concat(
		while(i32(1), []byte{0x40, 0}, i32(-1), []byte{0x47}), // memory.grow by 1 is not -1
		[]byte{0x3f, 0, 0x10, 0})
	growTable := slices.Concat(
		while([]byte{0xd0, 0x70}, i32(1<<16), []byte{0xfc, 0x0f, 0}, i32(-1), []byte{0x47}),
		[]byte{0xfc, 0x10, 0}, i32(16), []byte{0x76, 0x10, 0}) // table.size >> 16
	open := slices.Concat(
		i32(3), i32(0), i32(0), i32(7), i32(0), []byte{0x42, 2, 0x42, 2}, i32(0), i32(64), []byte{0x10, 1})
	opens := slices.Concat(while(open, []byte{0x45}), i32(64), []byte{0x28, 2, 0}, i32(8), []byte{0x76, 0x10, 0}) // the last descriptor >> 8
	engines(t, func(t *testing.T, engine string) {
		for what, c := range map[string]struct {
			p    *parts
			code int
		}{
			"memory":           {&parts{imports: [][2]any{exit}, funcs: [][]byte{grow}}, 100},
			"table":            {&parts{imports: [][2]any{exit}, funcs: [][]byte{growTable}, table: []byte{0x70, 0, 0}}, 16},
			"table with bound": {&parts{imports: [][2]any{exit}, funcs: [][]byte{growTable}, table: []byte{0x70, 1, 0, 0x80, 0x80, 0x0c}}, 3},
			"files":            {&parts{imports: [][2]any{exit, {"path_open", typeOpen}}, funcs: [][]byte{opens}, data: []byte("model/x")}, 16},
		} {
			e, err := run(t, spec(t, c.p.encode(), engine), jail.IO{})
			if err != nil || e.Code != c.code || e.Timeout {
				t.Errorf("%s: %+v, %v, want exit %d", what, e, err, c.code)
			}
		}
	})
}

// A module gets nothing that it was not given: not the module's own file, not the
// machine's, and no function but WASI's.
func TestWorld(t *testing.T) {
	open := func(path string) *parts {
		return &parts{
			imports: [][2]any{{"proc_exit", typeOne}, {"path_open", typeOpen}}, data: []byte(path),
			funcs: [][]byte{slices.Concat(i32(3), i32(0), i32(0), i32(int32(len(path))), i32(0), []byte{0x42, 2, 0x42, 2}, i32(0), i32(128), []byte{0x10, 1, 0x10, 0})},
		}
	}
	const enoent = 44
	engines(t, func(t *testing.T, engine string) {
		for path, code := range map[string]int{
			"model/x": 0, "etc/passwd": enoent, "proc/self/mem": enoent, "wasm/m.wasm": enoent, "input/input": enoent, "dev/null": enoent,
		} {
			e, err := run(t, spec(t, open(path).encode(), engine), jail.IO{})
			if err != nil || e.Code != code {
				t.Errorf("%s: %+v, %v, want errno %d", path, e, err, code)
			}
		}
		for path, code := range map[string]int{"/model/x": 0, "../model/x": 0, "model/../../etc/passwd": 0} {
			if e, err := run(t, spec(t, open(path).encode(), engine), jail.IO{}); err != nil || e.Code == code && !strings.HasSuffix(path, "model/x") {
				t.Errorf("%s: %+v, %v", path, e, err)
			}
		}
		socket := &parts{imports: [][2]any{{"sock_accept", typeFour}}, funcs: [][]byte{nil}}
		if e, err := run(t, spec(t, socket.encode(), engine), jail.IO{}); err != nil || e.Code != wasm.ExitModule || e.Stderr.Size == 0 {
			t.Errorf("a socket: %+v, %v", e, err)
		}
		for code, want := range map[int32]int{0: 0, 3: 3, 256: 255} {
			p := &parts{imports: [][2]any{{"proc_exit", typeOne}}, funcs: [][]byte{call(code)}}
			if e, err := run(t, spec(t, p.encode(), engine), jail.IO{}); err != nil || e.Code != want {
				t.Errorf("exit %d: %+v, %v", code, e, err)
			}
		}
	})
}

// An output that is too large ends the module; one that nobody takes does not hold it up.
func TestOutput(t *testing.T) {
	until := make(chan struct{})
	writes := endlessly()["writes"].encode()
	engines(t, func(t *testing.T, engine string) {
		s := spec(t, writes, engine)
		s.MaxOutput = 1_000_000
		var out bytes.Buffer
		e, err := run(t, s, jail.IO{Stdout: &out})
		if err != nil || e.Code != wasm.ExitTrap || !e.Limit || e.Timeout || e.Stdout.Complete || e.Stdout.Size != s.MaxOutput || out.Len() != 1_000_000 {
			t.Errorf("too large: %+v, %d bytes, %v", e, out.Len(), err)
		}
		s = spec(t, writes, engine)
		s.Timeout = 200 * time.Millisecond
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		j, err := inside.Start(ctx, s)
		if err != nil {
			t.Fatal(err)
		}
		// Nothing can be said of a stream that never ends.
		if e, err := j.Run(ctx, jail.IO{Stdout: stuck{until}}); !errors.Is(err, jail.ErrRun) || !errors.Is(err, context.DeadlineExceeded) || e != (jail.Exit{}) {
			t.Errorf("stuck: %+v, %v", e, err)
		}
	})
	close(until)
}

// What cannot be followed to its end is an error, and no Exit.
func TestRunFails(t *testing.T) {
	broken := errors.New("broken")
	reads := endlessly()["reads"].encode()
	engines(t, func(t *testing.T, engine string) {
		for what, c := range map[string]struct {
			stdin io.Reader
			limit uint64
			want  error
		}{
			"input that breaks": {io.MultiReader(strings.NewReader("x"), failing{broken}), 0, broken},
			"too large":         {endless{}, 1000, jail.ErrRun},
		} {
			s := spec(t, reads, engine)
			s.MaxInput = c.limit
			if e, err := run(t, s, jail.IO{Stdin: c.stdin}); !errors.Is(err, c.want) || !errors.Is(err, jail.ErrRun) || e != (jail.Exit{}) {
				t.Errorf("%s: %+v, %v", what, e, err)
			}
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		j, err := inside.Start(ctx, spec(t, endlessly()["loops"].encode(), engine))
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(100*time.Millisecond, func() { cancel(broken) })
		if e, err := j.Run(ctx, jail.IO{}); !errors.Is(err, jail.ErrRun) || !errors.Is(err, broken) || e != (jail.Exit{}) {
			t.Errorf("given up: %+v, %v", e, err)
		}
		if _, err := j.Run(t.Context(), jail.IO{}); !errors.Is(err, jail.ErrRun) {
			t.Errorf("a second time: %v", err)
		}
	})
}

// failing is a reader that fails.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
