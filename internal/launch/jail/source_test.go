//go:build linux

package jail_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/sworn-run/sworn/internal/launch/elfdeps"
	"github.com/sworn-run/sworn/internal/launch/jail"
)

// with adds files to a Spec.
func with(spec jail.Spec, files ...jail.File) jail.Spec {
	spec.Files = append(spec.Files, files...)
	return spec
}

// sealed is the measurement of a copy.
func sealed(id int, content string) jail.Digest {
	return jail.Digest{
		ID: id, SHA256: sha256.Sum256([]byte(content)), HasSHA256: true, Size: uint64(len(content)), Protection: "sealed",
	}
}

// The job reads the measured bytes whatever becomes of the source.
func TestSourceChanges(t *testing.T) {
	source := write(t, "weights", []byte("measured"))
	j := start(t, with(jobSpec(t, "cat", "/model/w", "/model/w"), jail.File{ID: 9, Source: source, Target: "/model/w"}))
	files := j.Files()
	if last := files[len(files)-1]; !cmp.Equal(last, sealed(9, "measured")) {
		t.Errorf("got %+v", last)
	}
	if err := os.WriteFile(source, []byte("replaced before"), 0o644); err != nil {
		t.Fatal(err)
	}
	r, w := io.Pipe()
	go func() {
		_, _ = w.Write([]byte{'1'})
		time.Sleep(50 * time.Millisecond)
		_ = os.WriteFile(source, []byte("replaced while it runs"), 0o644)
		_, _ = w.Write([]byte{'2'})
		_ = w.Close()
	}()
	if got := finish(t, j, r); got.out != "measuredmeasured" {
		t.Errorf("got %+v", got)
	}
}

// copyOf copies the tests' job to a path of its own.
func copyOf(t *testing.T) (path string, content []byte) {
	t.Helper()
	content, err := os.ReadFile(os.Getenv(jobVariable))
	if err != nil {
		t.Fatal(err)
	}
	path = write(t, "program", content)
	if err := os.Chmod(path, 0o755); err != nil {
		t.Fatal(err)
	}
	return path, content
}

// A program that is replaced after it was measured runs as it was measured.
func TestProgramChanges(t *testing.T) {
	for mode, make := range map[string]func(*testing.T, string, ...string) jail.Spec{"closed": jobSpec, "open": openSpec} {
		spec := make(t, "echo")
		source, content := copyOf(t)
		spec.Files[0].Source = source
		if spec.Open != nil {
			spec.Open.Path = source
		}
		j := start(t, spec)
		if err := os.WriteFile(source, []byte("#!/bin/false\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		if d := j.Files()[0]; d.SHA256 != sha256.Sum256(content) || d.ID != 7 {
			t.Errorf("%s: digest of other bytes", mode)
		}
		if got := finish(t, j, strings.NewReader("x")); got.exit.Code != 42 || got.out != "X" {
			t.Errorf("%s: got %+v", mode, got)
		}
	}
}

func TestBadSources(t *testing.T) {
	dir := t.TempDir()
	fifo, secret, device := filepath.Join(dir, "fifo"), write(t, "secret", []byte("x")), "/dev/zero"
	if err := errors.Join(unix.Mkfifo(fifo, 0o666), os.Symlink(device, filepath.Join(dir, "link")), os.Chmod(secret, 0),
		os.WriteFile(filepath.Join(dir, "plain"), []byte("x"), 0o644), os.Symlink("plain", filepath.Join(dir, "file")),
		os.Symlink(".", filepath.Join(dir, "here"))); err != nil {
		t.Fatal(err)
	}
	bad := map[string]string{
		"fifo": fifo, "device": device, "folder": dir, "link to a device": filepath.Join(dir, "link"),
		"link to a file": filepath.Join(dir, "file"), "below a link": filepath.Join(dir, "here", "plain"),
		"missing": filepath.Join(dir, "none"), "below a file": filepath.Join(secret, "x"),
		"descriptor": "/proc/self/fd/0",
	}
	if os.Geteuid() != 0 {
		bad["unreadable"] = secret
	}
	for name, source := range bad {
		for mode, make := range map[string]func(*testing.T, string, ...string) jail.Spec{"closed": jobSpec, "open": openSpec} {
			spec := with(make(t, "nothing"), jail.File{Source: source, Target: "/x"})
			if j, err := jail.Start(context.Background(), spec); !errors.Is(err, jail.ErrSource) || j != nil {
				t.Errorf("%s, %s: got %v", name, mode, err)
			}
			spec = make(t, "nothing")
			spec.InputFile = source
			if j, err := jail.Start(context.Background(), spec); !errors.Is(err, jail.ErrSource) || j != nil {
				t.Errorf("%s as input, %s: got %v", name, mode, err)
			}
		}
	}
}

func TestInputFile(t *testing.T) {
	spec := jobSpec(t, "cat", jail.InputTarget)
	spec.InputFile = write(t, "page.png", []byte("a page"))
	j := start(t, spec)
	if d, ok := j.Input(); !ok || !cmp.Equal(d, sealed(0, "a page")) {
		t.Errorf("got %+v", d)
	}
	if got := finish(t, j, strings.NewReader("1")); got.out != "a page" {
		t.Errorf("got %+v", got)
	}
	if d, ok := start(t, jobSpec(t, "nothing")).Input(); ok || !cmp.Equal(d, jail.Digest{}) {
		t.Errorf("without input: %+v", d)
	}
}

// One file under two names is one file in the root, measured under both.
func TestSameSource(t *testing.T) {
	source := write(t, "lib", []byte("x"))
	link := source + ".1"
	if err := os.Link(source, link); err != nil {
		t.Fatal(err)
	}
	shell := shellSpec(t, "stat", "-c", "%i", "/lib/b", "/lib/a")
	j := start(t, with(shell, jail.File{Source: link, Target: "/lib/b"}, jail.File{Source: source, Target: "/lib/a"}))
	files := j.Files()
	if a, b := files[len(files)-1], files[len(files)-2]; !cmp.Equal(a, b) || a.SHA256 != sha256.Sum256([]byte("x")) {
		t.Errorf("got %v, %v", a, b)
	}
	if inodes := strings.Fields(finish(t, j, nil).out); len(inodes) != 2 || inodes[0] != inodes[1] {
		t.Errorf("inodes are %q", inodes)
	}
}

// shellSpec runs a program of the distribution.
func shellSpec(t *testing.T, name string, args ...string) jail.Spec {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatal(err)
	}
	files, err := program(path, path)
	if err != nil {
		t.Fatal(err)
	}
	return jail.Spec{Files: files, Command: jail.Command{Path: path, Argv: append([]string{name}, args...)}, Timeout: 30 * time.Second}
}

func TestScript(t *testing.T) {
	script := write(t, "script", []byte("#!/bin/sh\nread line\necho \"$0 $1 $line\"\nkill -9 $$\n"))
	files, err := program(script, "/script")
	if err != nil {
		t.Fatal(err)
	}
	spec := jail.Spec{Files: files, Command: jail.Command{Path: "/script", Argv: []string{"x", "arg"}}, Timeout: 10 * time.Second}
	if got := runJob(t, spec, "line\n"); got.out != "/script arg line\n" || got.exit.Signal != "SIGKILL" {
		t.Errorf("got %+v", got)
	}
	// Without its interpreter it cannot be executed; that is no exit of a job.
	spec.Files = spec.Files[:1]
	if exit, err := start(t, spec).Run(context.Background(), jail.IO{}); !errors.Is(err, jail.ErrLaunch) || exit != (jail.Exit{}) {
		t.Errorf("without interpreter: %+v, %v", exit, err)
	}
	spec.ForceOpen, spec.Open = true, &jail.Command{Path: script, Argv: []string{"x", "arg"}}
	if got := runJob(t, spec, "line\n"); !strings.HasSuffix(got.out, " arg line\n") || got.iso.SealedProgram != jail.Yes {
		t.Errorf("open: got %+v", got)
	}
}

func TestOpenIsRecorded(t *testing.T) {
	iso := runJob(t, openSpec(t, "echo"), "").iso
	if iso.Mode != "open" || iso.ClosedRoot != jail.No || iso.PIDNS != jail.No || iso.Network != "host" ||
		iso.SealedProgram != jail.Yes || iso.NoNewPrivs != jail.Yes || iso.OwnUID != jail.No || iso.UID != os.Getuid() {
		t.Errorf("got %+v", iso)
	}
	if len(iso.Devices) != 1 || iso.Devices[0] != "host" {
		t.Errorf("devices %v", iso.Devices)
	}
}

func TestProgress(t *testing.T) {
	source := write(t, "weights", make([]byte, 40<<20))
	spec := with(jobSpec(t, "nothing"), jail.File{Source: source, Target: "/model/w"})
	var last, want uint64
	spec.Progress = func(done, total uint64) {
		if done < last || done > total {
			t.Errorf("%d of %d after %d", done, total, last)
		}
		last, want = done, total
	}
	start(t, spec)
	if last != want || want < 40<<20 {
		t.Errorf("ended at %d of %d", last, want)
	}
}

// change makes a Spec that is refused.
type change func(*jail.Spec)

func TestSpecRefused(t *testing.T) {
	add := func(source, target string) change {
		return func(s *jail.Spec) { s.Files = append(s.Files, jail.File{Source: source, Target: target}) }
	}
	for name, c := range map[string]change{
		"zero":               func(s *jail.Spec) { *s = jail.Spec{} },
		"no timeout":         func(s *jail.Spec) { s.Timeout = 0 },
		"no files":           func(s *jail.Spec) { s.Files = nil },
		"program not there":  func(s *jail.Spec) { s.Command.Path = "/bin/other" },
		"no arguments":       func(s *jail.Spec) { s.Command.Argv = nil },
		"NUL":                func(s *jail.Spec) { s.Command.Argv = []string{"a\x00b"} },
		"variable":           func(s *jail.Spec) { s.Command.Env = []string{"=x"} },
		"too long":           func(s *jail.Spec) { s.Command.Env = []string{"A=" + strings.Repeat("x", jail.MaxStringBytes)} },
		"relative folder":    func(s *jail.Spec) { s.Command.Dir = "x" },
		"relative source":    add("x", "/x"),
		"relative target":    add("/x", "x"),
		"target not clean":   add("/x", "/x/../y"),
		"root":               add("/x", "/"),
		"twice":              add("/x", jobTarget),
		"folder of another":  add("/x", "/bin"),
		"below another":      add("/x", jobTarget+"/x"),
		"in scratch":         add("/x", "/scratch/x"),
		"in dev":             add("/x", "/dev/tpmrm0"),
		"proc":               add("/x", "/proc"),
		"in input":           add("/x", "/input/x"),
		"output outside":     func(s *jail.Spec) { s.OutputFile = "/out" },
		"output above":       func(s *jail.Spec) { s.OutputFile = "/scratch/../out" },
		"input relative":     func(s *jail.Spec) { s.InputFile = "x" },
		"open without":       func(s *jail.Spec) { s.ForceOpen = true },
		"open and strict":    func(s *jail.Spec) { s.ForceOpen, s.Strict, s.Open = true, true, &s.Command },
		"over the size":      func(s *jail.Spec) { s.TmpfsBytes = 1000 },
		"open, not the file": func(s *jail.Spec) { s.Open = &jail.Command{Path: "/none", Argv: []string{"x"}} },
	} {
		spec := jobSpec(t, "nothing")
		c(&spec)
		if j, err := jail.Start(context.Background(), spec); !errors.Is(err, jail.ErrSpec) || j != nil {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// page is an image with one line of text, as a portable bitmap.
func page(t *testing.T, text string) []byte {
	t.Helper()
	glyphs := map[rune][7]byte{
		'S': {0x0f, 0x10, 0x10, 0x0e, 0x01, 0x01, 0x1e}, 'W': {0x11, 0x11, 0x11, 0x15, 0x15, 0x15, 0x0a},
		'O': {0x0e, 0x11, 0x11, 0x11, 0x11, 0x11, 0x0e}, 'R': {0x1e, 0x11, 0x11, 0x1e, 0x14, 0x12, 0x11},
		'N': {0x11, 0x19, 0x15, 0x13, 0x11, 0x11, 0x11},
	}
	const scale, height = 8, 11 * 8
	var b bytes.Buffer
	width := (len(text)*6 + 4) * scale
	b.WriteString("P5 " + itoa(width) + " " + itoa(height) + " 255\n")
	for y := range height {
		for x := range width {
			column, row := x/scale-2, y/scale-2
			ink := byte(255)
			if column >= 0 && column/6 < len(text) && column%6 < 5 && row >= 0 && row < 7 &&
				glyphs[rune(text[column/6])][row]>>(4-column%6)&1 == 1 {
				ink = 0
			}
			b.WriteByte(ink)
		}
	}
	return b.Bytes()
}

// An ordinary program with 55 libraries runs in the root, from its ELF files
// alone.
func TestTesseract(t *testing.T) {
	weights, err := filepath.Glob("/usr/share/tesseract-ocr/*/tessdata/eng.traineddata")
	if err != nil || len(weights) != 1 {
		t.Fatalf("weights %v, %v", weights, err)
	}
	spec := with(shellSpec(t, "tesseract", "stdin", "stdout", "--tessdata-dir", "/model/default", "-l", "eng", "--psm", "7"),
		jail.File{Source: weights[0], Target: "/model/default/eng.traineddata"})
	spec.Command.Env = []string{"OMP_THREAD_LIMIT=1"}
	begin := time.Now()
	j := start(t, spec)
	ready := time.Since(begin)
	got := finish(t, j, bytes.NewReader(page(t, "SWORN")))
	if strings.TrimSpace(got.out) != "SWORN" || got.exit.Code != 0 || !got.exit.Stdin.Complete {
		t.Errorf("got %+v", got)
	}
	t.Logf("%d files ready in %v, job %v", len(spec.Files), ready, got.exit.Duration)
}

// A library that only ld.so.cache or $ORIGIN leads to loads in the root by the
// library path that elfdeps reports.
func TestLibraryPath(t *testing.T) {
	dir := t.TempDir()
	build := func(source string, args ...string) {
		t.Helper()
		cmd := exec.Command("gcc", append([]string{"-x", "c", "-", "-x", "none"}, args...)...)
		cmd.Stdin = strings.NewReader(source)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("gcc: %v\n%s", err, out)
		}
	}
	lib, exe := filepath.Join(dir, "lib/libx.so.1"), filepath.Join(dir, "bin/app")
	if err := errors.Join(os.Mkdir(filepath.Dir(lib), 0o755), os.Mkdir(filepath.Dir(exe), 0o755)); err != nil {
		t.Fatal(err)
	}
	build("int x(void){return 17;}", "-shared", "-fPIC", "-Wl,-soname,libx.so.1", "-o", lib)
	build("int x(void);int main(void){return x();}", "-o", exe, lib, "-Wl,-rpath,$ORIGIN/../lib")
	res, err := elfdeps.Closure(exe, elfdeps.Options{})
	if err != nil {
		t.Fatal(err)
	}
	files, err := program(exe, exe)
	if err != nil {
		t.Fatal(err)
	}
	spec := jail.Spec{Files: files, Timeout: 10 * time.Second, Command: jail.Command{
		Path: exe, Argv: []string{"app"}, Env: []string{"LD_LIBRARY_PATH=" + strings.Join(res.LibraryPath, ":")},
	}}
	if got := runJob(t, spec, ""); got.exit.Code != 17 {
		t.Errorf("got %+v", got)
	}
}
