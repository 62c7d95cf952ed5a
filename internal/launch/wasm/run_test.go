package wasm_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/launch/wasm"
)

// job is the module of testdata/job.
var job = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "sw")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "job.wasm")
	c := exec.Command("go", "build", "-buildvcs=false", "-trimpath", "-o", file, "./testdata/job")
	c.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if out, err := c.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	return os.ReadFile(file)
})

// file makes a file of a module.
func file(path, content string) wasm.File {
	return wasm.File{Path: path, Size: int64(len(content)), Open: func() (io.ReaderAt, error) { return strings.NewReader(content), nil }}
}

// options are those of a run of the tests' job.
func options(t *testing.T, args ...string) wasm.Options {
	t.Helper()
	m, err := job()
	if err != nil {
		t.Fatal(err)
	}
	return wasm.Options{Module: m, Args: append([]string{"job.wasm"}, args...), Engine: wasm.Compiler, Pages: 1024}
}

// run runs a module and returns its streams.
func run(t *testing.T, o wasm.Options) (status int, stdout, stderr string, err error) {
	t.Helper()
	var out, errs bytes.Buffer
	o.Stdout, o.Stderr = &out, &errs
	status, err = wasm.Run(t.Context(), o)
	return status, out.String(), errs.String(), err
}

// All that a module can see is the same at each run, whatever the pieces in which its
// input comes; it reads its files and no others, and changes none.
func TestRunWorld(t *testing.T) {
	o := options(t, "world", "/model/b", "/etc/passwd", "/model/../../../../../../etc/passwd", "/new")
	o.Env = []string{"A=1", "B=two=2"}
	o.Files = []wasm.File{file("/model/b", "bb"), file("/model/a/x", ""), file("/data", "d")}
	input := strings.Repeat("0123456789", 10)
	var first string
	for i, stdin := range []io.Reader{strings.NewReader(input), iotest.OneByteReader(strings.NewReader(input))} {
		o.Stdin = stdin
		status, stdout, stderr, err := run(t, o)
		if err != nil || status != 0 {
			t.Fatalf("run %d: %d %q %v", i, status, stderr, err)
		}
		if first == "" {
			first = stdout
		}
		if stdout != first {
			t.Errorf("run %d:\n%s\nthe first:\n%s", i, stdout, first)
		}
		slices.Reverse(o.Files)
	}
	for _, want := range []string{
		`env ["A=1" "B=two=2"]`, "time 2000-01-01T00:00:00.", "slept 1h0m0", "stdin 64 <nil>", "stdin 36 <nil>", "stdin 0 EOF",
		"/ drwx------ 0 2000-01-01T00:00:00Z\n/data -rw------- 1 2000-01-01T00:00:00Z\n/model drwx------ 0",
		`/model/b reads "bb" <nil>`, `/etc/passwd reads "" open`, `/model/../../../../../../etc/passwd reads "" open`,
	} {
		if !strings.Contains(first, want) {
			t.Errorf("no %q in:\n%s", want, first)
		}
	}
	if n := strings.Count(first, "changes: open "); n != 4 || strings.Count(first, "Read-only file system\n") != n || strings.Contains(first, "false") {
		t.Errorf("files that it changed:\n%s", first)
	}
}

// exit is code that ends a module with a status.
func exit(status ...byte) []byte { return slices.Concat([]byte{0x41}, status, []byte{0x10, 0}) }

// The exit status is the module's, and none above 255 turns into success.
func TestRunStatus(t *testing.T) {
	for want, code := range map[int][]byte{0: exit(0), 3: exit(3), 255: exit(0x80, 0x02) /* 256 */} {
		o := wasm.Options{Module: module(code, imported{wasi, "proc_exit", 0, typeOne}), Args: []string{"m"}, Engine: wasm.Compiler, Pages: 1}
		if status, err := wasm.Run(t.Context(), o); err != nil || status != want {
			t.Errorf("%d, %v, want %d", status, err, want)
		}
	}
}

// A module gets no more memory than its bound: it takes a page at a time until it
// gets none, and ends with what it has.
func TestRunMemory(t *testing.T) {
	code := []byte{
		0x03, 0x40, // loop
		0x41, 1, 0x40, 0, 0x41, 0x7f, 0x47, // memory.grow 1 is not -1
		0x0d, 0, 0x0b, // again
		0x3f, 0, 0x10, 0, // exit with memory.size
	}
	for _, engine := range []string{wasm.Compiler, wasm.Interpreter} {
		o := wasm.Options{Module: module(code, imported{wasi, "proc_exit", 0, typeOne}), Args: []string{"m"}, Engine: engine, Pages: 100}
		if status, err := wasm.Run(t.Context(), o); err != nil || status != 100 {
			t.Errorf("%s: %d pages, %v, want 100", engine, status, err)
		}
	}
}

// What begins and cannot go on is a trap; what cannot begin is no module.
func TestRunTraps(t *testing.T) {
	o := wasm.Options{Args: []string{"m"}, Engine: wasm.Compiler, Pages: 1}
	deep := []byte{0x10, 0} // call itself
	for what, c := range map[string]struct {
		module []byte
		want   error
	}{
		"nothing to do":    {module(nil), nil},
		"unreachable":      {module([]byte{0x00}), wasm.ErrTrap},
		"outside memory":   {module([]byte{0x41, 0x7f, 0x28, 2, 0, 0x1a}), wasm.ErrTrap},
		"endless calls":    {module(deep), wasm.ErrTrap},
		"invalid code":     {module([]byte{0x1a}), wasm.ErrModule},
		"unknown code":     {module([]byte{0xff}), wasm.ErrModule},
		"wrong type":       {module(nil, imported{wasi, "fd_write", 0, typeNone}), wasm.ErrModule},
		"of no known type": {module(nil, imported{wasi, "fd_write", 0, 9}), wasm.ErrModule},
		"not offered":      {module(nil, imported{wasi, "sock_send", 0, typeNone}), wasm.ErrImport},
		"no code":          {module(nil)[:len(module(nil))-6], wasm.ErrModule},
	} {
		for _, engine := range []string{wasm.Compiler, wasm.Interpreter} {
			o.Module, o.Engine = c.module, engine
			status, err := wasm.Run(t.Context(), o)
			if !errors.Is(err, c.want) || status != 0 {
				t.Errorf("%s, %s: %d, %v, want %v", what, engine, status, err, c.want)
			}
		}
	}
}

// A caller that cannot kill a process can still end a module.
func TestRunInterrupted(t *testing.T) {
	forever := module([]byte{0x03, 0x40, 0x0c, 0, 0x0b})
	for _, engine := range []string{wasm.Compiler, wasm.Interpreter} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		_, err := wasm.Run(ctx, wasm.Options{Module: forever, Args: []string{"m"}, Engine: engine, Pages: 1, Interruptible: true})
		cancel()
		if !errors.Is(err, wasm.ErrTrap) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", engine, err)
		}
	}
}

func TestRunRefusesOptions(t *testing.T) {
	good := wasm.Options{Module: module(nil), Args: []string{"m"}, Engine: wasm.Compiler, Pages: 1}
	if _, err := wasm.Run(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func(*wasm.Options){
		"zero":              func(o *wasm.Options) { *o = wasm.Options{} },
		"engine":            func(o *wasm.Options) { o.Engine = "jit" },
		"no memory":         func(o *wasm.Options) { o.Pages = 0 },
		"too much memory":   func(o *wasm.Options) { o.Pages = wasm.MaxPages + 1 },
		"variable":          func(o *wasm.Options) { o.Env = []string{"A"} },
		"variable's name":   func(o *wasm.Options) { o.Env = []string{"=A"} },
		"relative file":     func(o *wasm.Options) { o.Files = []wasm.File{file("a", "")} },
		"unclean file":      func(o *wasm.Options) { o.Files = []wasm.File{file("/a/../b", "")} },
		"root":              func(o *wasm.Options) { o.Files = []wasm.File{file("/", "")} },
		"dot":               func(o *wasm.Options) { o.Files = []wasm.File{file("/.", "")} },
		"twice":             func(o *wasm.Options) { o.Files = []wasm.File{file("/a", ""), file("/a", "")} },
		"folder and file":   func(o *wasm.Options) { o.Files = []wasm.File{file("/a/b", ""), file("/a", "")} },
		"file and folder":   func(o *wasm.Options) { o.Files = []wasm.File{file("/a", ""), file("/a/b", "")} },
		"no way to open it": func(o *wasm.Options) { o.Files = []wasm.File{{Path: "/a"}} },
	} {
		o := good
		change(&o)
		if _, err := wasm.Run(t.Context(), o); !errors.Is(err, wasm.ErrOptions) {
			t.Errorf("%s: %v, want ErrOptions", what, err)
		}
	}
}

// The record's facts are what the schema wants, and name the version that is built in.
func TestFacts(t *testing.T) {
	facts, err := wasm.Facts(wasm.Compiler, 16, cer.WasmOwn)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cer.NewEnvironment(cer.KindWasm, facts).Encode(); err != nil {
		t.Error(err)
	}
	if _, err := wasm.Facts("jit", 16, cer.WasmOwn); !errors.Is(err, wasm.ErrOptions) {
		t.Error(err)
	}
	mod, err := os.ReadFile("../../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(mod), "\tgithub.com/tetratelabs/"+wasm.Runtime+"\n") {
		t.Errorf("go.mod does not ask for %s, which the record names", wasm.Runtime)
	}
}
