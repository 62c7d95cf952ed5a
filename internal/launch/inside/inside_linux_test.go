package inside_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/launch/inside"
	"github.com/sworn-run/sworn/internal/launch/jail"
	"github.com/sworn-run/sworn/internal/launch/wasm"
)

func Example() {
	_, err := inside.Start(nil, inside.Spec{}) //nolint:staticcheck // nothing is done with it
	fmt.Println(errors.Is(err, jail.ErrSpec))
	// Output: true
}

// The measured bytes are those that the module reads, and both engines write the same.
func TestRun(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "job.wasm")
	c := exec.Command("go", "build", "-buildvcs=false", "-trimpath", "-o", file, "../wasm/testdata/job")
	c.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	module, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var first string
	engines(t, func(t *testing.T, engine string) {
		s := spec(t, module, engine)
		s.Command.Env, s.Command.Pages, s.Command.Roots = []string{"A=1"}, 1024, []string{"/model", jail.InputDir}
		s.InputFile = s.Files[1].Source
		s.Args = []string{"job.wasm", "world", "/model/x", jail.InputTarget, "/wasm/m.wasm"}
		s.Files[1].Verity = true
		j, err := inside.Start(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		defer j.Close()
		in, ok := j.Input()
		files := j.Files()
		want := sha256.Sum256([]byte("data"))
		if !ok || in.SHA256 != want || len(files) != 2 || files[1].SHA256 != want || !files[1].HasFSVerity || files[1].ID != 8 ||
			files[1].Protection != cer.ProtectionSealed || files[0].SHA256 != sha256.Sum256(module) || j.Image() != nil {
			t.Errorf("measured %+v, input %+v", files, in)
		}
		// Nobody can change what was measured.
		if err := os.WriteFile(s.Files[1].Source, []byte("DATA"), 0o644); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		e, err := j.Run(t.Context(), jail.IO{Stdin: strings.NewReader("input"), Stdout: &out})
		if err != nil || e.Code != 0 || !e.Stdout.Complete || e.Stdout.SHA256 != sha256.Sum256(out.Bytes()) || !e.Stdin.Complete || e.Stdin.Size != 5 {
			t.Fatalf("%+v, %v", e, err)
		}
		for _, w := range []string{`/model/x reads "data" <nil>`, `/input/input reads "data" <nil>`, `/wasm/m.wasm reads "" open`, "\nstdin 5 <nil>"} {
			if !strings.Contains(out.String(), w) {
				t.Errorf("no %q in\n%s", w, out.String())
			}
		}
		if first == "" {
			first = out.String()
		}
		if out.String() != first {
			t.Errorf("the engines differ:\n%s\n%s", first, out.String())
		}
	})
}

// An input that the module does not take is counted, and is not complete.
func TestInputLeft(t *testing.T) {
	module := (&parts{funcs: [][]byte{nil}}).encode()
	for text, complete := range map[string]bool{"": true, "x": false} {
		e, err := run(t, spec(t, module, wasm.Interpreter), jail.IO{Stdin: strings.NewReader(text)})
		if err != nil || e.Stdin.Complete != complete || e.Stdin.Size != uint64(len(text)) {
			t.Errorf("%q: %+v, %v", text, e.Stdin, err)
		}
	}
}

// What is in force is said, and no more: nothing that a kernel would give.
func TestIsolation(t *testing.T) {
	s := spec(t, (&parts{funcs: [][]byte{nil}}).encode(), wasm.Interpreter)
	s.Hardened = []jail.Fact{{Name: "launcher_non_dumpable", State: jail.Yes}, {Name: "launcher_no_core", State: "refused:ENOSYS"}}
	j, err := inside.Start(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	i := j.Isolation()
	if i.Mode != cer.ModeInside || i.ClosedRoot != jail.Yes || i.ReadOnlyRoot != jail.Yes || i.LauncherNonDumpable != jail.Yes ||
		i.NoCore != "refused:ENOSYS" || i.Locked != jail.No || i.UID != os.Getuid() || len(i.Devices) != 0 {
		t.Errorf("%+v", i)
	}
	if n := len(i.Missing()); n < 15 {
		t.Errorf("strict isolation misses %d facts: %v", n, i.Missing())
	}
}

// What cannot be meant or measured is refused before anything runs.
func TestStartRefuses(t *testing.T) {
	good := func() inside.Spec { return spec(t, (&parts{funcs: [][]byte{nil}}).encode(), wasm.Interpreter) }
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(good().Files[1].Source, link); err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		change func(*inside.Spec)
		want   error
	}{
		"zero":         {func(s *inside.Spec) { *s = inside.Spec{} }, jail.ErrSpec},
		"no time":      {func(s *inside.Spec) { s.Timeout = 0 }, jail.ErrSpec},
		"no name":      {func(s *inside.Spec) { s.Args = nil }, jail.ErrSpec},
		"no module":    {func(s *inside.Spec) { s.Command.Module = "/wasm/other" }, jail.ErrSpec},
		"many files":   {func(s *inside.Spec) { s.Files = append(s.Files, make([]jail.File, jail.MaxFiles)...) }, jail.ErrSpec},
		"too large":    {func(s *inside.Spec) { s.Bytes = 5 }, jail.ErrSpec},
		"not there":    {func(s *inside.Spec) { s.Files[1].Source += "x" }, jail.ErrSource},
		"a folder":     {func(s *inside.Spec) { s.Files[1].Source = filepath.Dir(s.Files[1].Source) }, jail.ErrSource},
		"a link":       {func(s *inside.Spec) { s.Files[1].Source = link }, jail.ErrSource},
		"input absent": {func(s *inside.Spec) { s.InputFile = "/nowhere" }, jail.ErrSource},
	} {
		s := good()
		c.change(&s)
		if j, err := inside.Start(t.Context(), s); j != nil || !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", what, err, c.want)
		}
	}
	s := good()
	s.Timeout = time.Second
	if e, err := run(t, s, jail.IO{}); err != nil || e.Code != 0 {
		t.Errorf("%+v, %v", e, err)
	}
}
