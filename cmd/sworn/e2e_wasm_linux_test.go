package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/launch/wasm"
	"github.com/sworn-run/sworn/internal/limits"
	"github.com/sworn-run/sworn/verifier"
)

// wasmBuild builds a module of this Go module once.
func wasmBuild(name, pkg string) func() (string, error) {
	return sync.OnceValues(func() (string, error) {
		dir, err := sharedDir()
		if err != nil {
			return "", err
		}
		file := filepath.Join(dir, name)
		c := exec.Command("go", "build", "-buildvcs=false", "-trimpath", "-o", file, pkg)
		c.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
		if out, err := c.CombinedOutput(); err != nil {
			return "", fmt.Errorf("%w: %s", err, out)
		}
		return file, os.Chmod(file, 0o644)
	})
}

var (
	buildModule      = wasmBuild("job.wasm", "../../internal/launch/wasm/testdata/job")
	buildLlamaModule = wasmBuild("llama.wasm", "github.com/sworn-run/sworn/examples/llama")
)

// buildSworn builds the program without the race detector, under which the compiler of
// modules, whose races are not ours to find, takes ten times as long.
var buildSworn = goBuild("sworn-static", ".")

// wasmMachine is a machine with that program.
func wasmMachine(t *testing.T) *machine {
	t.Helper()
	return unraced(t, newMachine(t))
}

// unraced gives a machine that program where it would have one with the race detector.
func unraced(t *testing.T, m *machine) *machine {
	t.Helper()
	if !raced {
		return m
	}
	sworn, err := buildSworn()
	if err != nil {
		t.Fatal(err)
	}
	m.sworn = sworn
	return m
}

// wasmModule returns the tests' module.
func wasmModule(t *testing.T) string {
	t.Helper()
	file, err := buildModule()
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// smallModule is a command whose _start is the given code, and which imports the
// given function of WASI, if any, as one without parameters and result.
func smallModule(function string, code ...byte) string {
	b := []byte("\x00asm\x01\x00\x00\x00\x01\x04\x01\x60\x00\x00")
	start := byte(0)
	if function != "" {
		b = append(b, 2, byte(27+len(function)), 1, 22)
		b = append(b, "wasi_snapshot_preview1"...)
		b = append(append(b, byte(len(function))), function...)
		b, start = append(b, 0, 0), 1
	}
	b = append(b, "\x03\x02\x01\x00\x05\x03\x01\x00\x01\x07\x13\x02\x06_start\x00"...)
	b = append(append(b, start), "\x06memory\x02\x00"...)
	b = append(b, 10, byte(4+len(code)), 1, byte(2+len(code)), 0)
	return string(append(append(b, code...), 0x0b))
}

// A module runs attested: a policy made from the files accepts its record, and not
// that of another module, nor one that another program interpreted.
func TestWasmAttested(t *testing.T) {
	t.Parallel()
	m := wasmMachine(t)
	module := wasmModule(t)
	flags := []string{
		"--wasm", module, "--weights", m.write(t, "w.bin", "weights "), "--config", m.write(t, "c.txt", "config "),
		"--add", "data=" + m.write(t, "d.txt", "data "), "--limit", "memory=268435456",
	}
	command := []string{"upper", "{weights}", "{config}", m.path("d.txt"), "{input}"}
	p := m.files(t, append(slices.Clone(flags), "--input", m.write(t, "golden.txt", "golden")), command...)
	input := m.write(t, "page.txt", "page")
	out := m.path("page.out")
	flags = append(flags, "--input", input, "--nonce", testNonce, "--output", out)
	record := m.run(t, "page", flags, command...)
	if got := string(m.read(t, "page.out")); got != "WEIGHTS CONFIG DATA PAGE" {
		t.Errorf("output %q", got)
	}
	r := m.verify(t, record, p)
	trusted(t, r)
	wasmFacts(t, r, "compiler", "4096")
	var text strings.Builder
	if err := r.WriteText(&text, false); err != nil || !strings.Contains(strings.Join(strings.Fields(text.String()), " "), "as WebAssembly by "+wasm.Runtime+" (compiler)") {
		t.Errorf("%v %s", err, text.String())
	}
	again := m.policy(t, record)
	flags[0], flags[1] = "--wasm-engine=interpreter", "--wasm="+module
	other := m.run(t, "interpreted", flags, command...)
	r = m.verify(t, other, again)
	trusted(t, r)
	wasmFacts(t, r, "interpreter", "4096")
	b, err := os.ReadFile(module)
	if err != nil {
		t.Fatal(err)
	}
	// A custom section more: the same program in other bytes.
	flags[1] = "--wasm=" + m.write(t, "job.wasm", string(b)+"\x00\x02\x01x")
	refused(t, "another module", m.verify(t, m.run(t, "altered", flags, command...), p), "components.match")
}

// wasmFacts checks what a report says of how the module was run.
func wasmFacts(t *testing.T, r *verifier.Report, engine, pages string) {
	t.Helper()
	e := &cer.Environment{Facts: r.Summary.Wasm}
	for name, want := range map[string]string{
		cer.FactWasmEngine: engine, cer.FactWasmMemoryPages: pages, cer.FactWasmRuntime: wasm.Runtime,
		cer.FactWasmClock: "2000-01-01T00:00:00Z+1ms", cer.FactWasmRandom: "chacha8:" + strings.Repeat("0", 64),
	} {
		if got, _ := e.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

// Everything a module can see of its world is the same at every run.
func TestWasmDeterministic(t *testing.T) {
	t.Parallel()
	m := wasmMachine(t)
	var outputs []string
	for _, name := range []string{"first", "second"} {
		flags := []string{"--wasm", wasmModule(t), "--weights", m.write(t, "w.bin", "weights"), "--output", m.path(name + ".out"), "--input", m.write(t, "in.txt", strings.Repeat("x", 100))}
		m.run(t, name, flags, "world")
		outputs = append(outputs, string(m.read(t, name+".out")))
	}
	if outputs[0] != outputs[1] || !strings.Contains(outputs[0], "/model/default/w.bin -rw------- 7 2000-01-01T00:00:00Z\n") {
		t.Errorf("%s\n%s", outputs[0], outputs[1])
	}
	for _, hidden := range []string{"/sworn", "/wasm", "/dev", "/scratch", "/lib"} {
		if strings.Contains(outputs[0], "\n"+hidden) {
			t.Errorf("the module sees %s:\n%s", hidden, outputs[0])
		}
	}
}

// A module that misbehaves is held as any other job is, and its record says how it
// ended.
func TestWasmMisbehaves(t *testing.T) {
	t.Parallel()
	m := wasmMachine(t)
	trap := m.write(t, "trap.wasm", smallModule("", 0))
	invalid := m.write(t, "invalid.wasm", smallModule("sched_yield"))
	for name, c := range map[string]struct {
		flags   []string
		command []string
		code    int
		timeout bool
		says    string
	}{
		"loops":    {[]string{"--wasm", wasmModule(t), "--timeout", "3s"}, []string{"loop"}, -1, true, ""},
		"floods":   {[]string{"--wasm", wasmModule(t), "--timeout", "3s", "--output", m.path("flood.out")}, []string{"flood"}, -1, true, ""},
		"grows":    {[]string{"--wasm", wasmModule(t), "--limit", "memory=67108864"}, []string{"grow"}, 2, false, "out of memory"},
		"exits":    {[]string{"--wasm", wasmModule(t)}, []string{"exit", "3"}, 3, false, ""},
		"opens":    {[]string{"--wasm", wasmModule(t)}, []string{"upper", "/etc/passwd"}, 1, false, "/etc/passwd"},
		"climbs":   {[]string{"--wasm", wasmModule(t)}, []string{"upper", "../../../sworn"}, 1, false, "sworn"},
		"device":   {[]string{"--wasm", wasmModule(t)}, []string{"upper", "/dev/urandom"}, 1, false, "/dev/urandom"},
		"traps":    {[]string{"--wasm", trap}, nil, wasm.ExitTrap, false, "sworn: module trapped: "},
		"unlinked": {[]string{"--wasm", invalid}, nil, wasm.ExitModule, false, "sworn: instantiating: unusable WebAssembly module: "},
	} {
		t.Run(name, func(t *testing.T) {
			d := m.do(t, m.runArgs(name, c.flags, c.command...)...)
			if d.code != 1 || !strings.Contains(d.err, c.says) {
				t.Fatalf("exit status %d: %s", d.code, d.err)
			}
			rt := runtimeOf(t, m.read(t, name+".cer.json"))
			if rt.Exit.Code != c.code || rt.Exit.Timeout != c.timeout || rt.Output.Complete == c.timeout {
				t.Errorf("%+v, output %+v", rt.Exit, rt.Output)
			}
		})
	}
}

// What is no module that can be run is refused before anything runs, in a line that
// says why.
func TestWasmRefused(t *testing.T) {
	t.Parallel()
	m := wasmMachine(t)
	module := wasmModule(t)
	b, err := os.ReadFile(module)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		flags, words []string
		command      string
	}{
		"text":    {[]string{"--wasm", m.write(t, "text.wasm", "#!/bin/sh\n")}, []string{"text.wasm", "unusable WebAssembly module"}, ""},
		"cut":     {[]string{"--wasm", m.write(t, "cut.wasm", string(b[:len(b)/2]))}, []string{"unusable WebAssembly module", "beyond the end"}, ""},
		"socket":  {[]string{"--wasm", m.write(t, "sock.wasm", smallModule("sock_accept"))}, []string{"import that is not offered", `"sock_accept"`}, ""},
		"large":   {[]string{"--wasm", m.write(t, "large.wasm", string(b)+strings.Repeat("\x00", limits.WasmModule))}, []string{"larger than 67108864 bytes"}, ""},
		"absent":  {[]string{"--wasm", m.path("absent.wasm")}, []string{"absent.wasm"}, ""},
		"folder":  {[]string{"--wasm", m.dir}, []string{"not a regular file"}, ""},
		"output":  {[]string{"--wasm", module}, []string{"{output}"}, "{output}"},
		"device":  {[]string{"--wasm", module, "--device", "/dev/zero"}, []string{"device"}, ""},
		"network": {[]string{"--wasm", module, "--allow-net"}, []string{"network"}, ""},
		"image":   {[]string{"--wasm", module, "--image-archive", module}, []string{"--wasm excludes"}, ""},
		"limit":   {[]string{"--wasm", module, "--limit", "open-files=9"}, []string{"memory and cpu"}, ""},
		"memory":  {[]string{"--wasm", module, "--limit", "memory=1000"}, []string{"memory of 1000 bytes"}, ""},
		"start":   {[]string{"--wasm", module, "--limit", "memory=65536"}, []string{"begins with"}, ""},
		"engine":  {[]string{"--wasm", module, "--wasm-engine", "jit"}, []string{`engine "jit"`}, ""},
		"no wasm": {[]string{"--wasm-engine", "interpreter"}, []string{"--wasm-engine is for"}, "true"},
	} {
		command := []string{}
		if c.command != "" {
			command = append(command, c.command)
		}
		m.refuse(t, name+".cer.json", m.runArgs(name, c.flags, command...), c.words...)
	}
}

// replays runs a record again and returns what came of it.
func (m *machine) replays(t *testing.T, flags ...string) (done, *replayed) {
	t.Helper()
	d := m.do(t, append([]string{"replay", "-q", "--json"}, flags...)...)
	if d.code == 2 {
		return d, nil
	}
	r := new(replayed)
	if err := json.Unmarshal([]byte(d.out), r); err != nil || r.Reproduced != (d.code == 0) || r.Reproduced != (len(r.Differs) == 0) {
		t.Fatalf("%d %v: %s%s", d.code, err, d.out, d.err)
	}
	return d, r
}

// A recorded job is reproduced with the same files, wherever they are, and what is
// not the same is named.
func TestReplay(t *testing.T) {
	t.Parallel()
	m := wasmMachine(t)
	module, input := wasmModule(t), m.write(t, "page.txt", "page")
	folder := m.path("extra")
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	m.write(t, "extra/one", "1")
	m.write(t, "extra/two", "2")
	m.env = []string{"NAME=value"}
	flags := []string{
		"--wasm", module, "--weights", m.write(t, "w.bin", "weights "), "--weights", "more=" + m.write(t, "v.bin", "more "),
		"--config", m.write(t, "c.txt", "config "), "--add", folder, "--env", "NAME", "--param", "which=one", "--nonce", testNonce, "--output", m.path("out"),
	}
	m.run(t, "stdin", append(slices.Clone(flags), "--input", input), "upper", "{weights}", "{weights:more}", "{config}", folder+"/{param:which}")
	m.env = nil
	// The same files under other names, elsewhere.
	given := []string{
		m.path("stdin.cer.json"), "--wasm", m.write(t, "elsewhere.wasm", string(readAll(t, module))), "--weights", m.write(t, "ww", "weights "),
		"--weights=more=" + m.write(t, "vv", "more "), "--config", m.write(t, "cc", "config "), "--add=" + folder + "=" + m.path("copy"), "--input", input,
	}
	if err := os.CopyFS(m.path("copy"), os.DirFS(folder)); err != nil {
		t.Fatal(err)
	}
	d := m.do(t, append([]string{"replay", "--output", m.path("again")}, given...)...)
	want := sha256.Sum256([]byte("PAGEWEIGHTS MORE CONFIG 1"))
	if d.code != 0 || d.out != fmt.Sprintf("reproduced: output sha256:%x (25 bytes), exit 0\n", want) {
		t.Fatalf("%d %q %s", d.code, d.out, d.err)
	}
	if got := string(m.read(t, "again")); got != string(m.read(t, "out")) {
		t.Errorf("the output: %q", got)
	}
	for what, c := range map[string]struct {
		index int
		flag  string
		names []string
	}{
		"module":      {2, m.write(t, "other.wasm", string(readAll(t, module))+"\x00\x02\x01x"), []string{`binary "job.wasm" is sha256:`}},
		"no module":   {2, input, []string{`binary "job.wasm" is sha256:`}},
		"weights":     {4, m.write(t, "w2", "weightz "), []string{`weights "default" is `}},
		"two weights": {5, "--weights=more=" + m.write(t, "v2", "moar "), []string{`weights "more" is `}},
		"config":      {7, m.write(t, "c2", "configs "), []string{`config "default" is sha256:`}},
		"input":       {10, m.write(t, "in2", "pagf"), []string{"input is sha256:"}},
		"a file more": {8, "--add=" + folder + "=" + m.dir + "/tpm/roots", []string{`is not in the record`, folder + `/one" of the record is not there`}},
	} {
		changed := slices.Clone(given)
		changed[c.index] = c.flag
		_, r := m.replays(t, changed...)
		for _, name := range c.names {
			if r == nil || r.Output != nil || !strings.Contains(strings.Join(r.Differs, "\n"), name) {
				t.Errorf("%s: %+v, want %q and no output", what, r, name)
			}
		}
	}
	for what, c := range map[string][]string{
		"the recorded weights \"more\" is not given": slices.Delete(slices.Clone(given), 5, 6),
		"no config \"x\"": append(slices.Clone(given), "--config", "x="+input),
		"no input given":  given[:9],
		"no module given": {given[0]},
	} {
		d, _ := m.replays(t, c...)
		checkRefused(t, d, what)
	}
}

func readAll(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What a record carries need not be given; a job that failed is reproduced too; and
// what cannot be run again is refused.
func TestReplayRecords(t *testing.T) {
	t.Parallel()
	m := wasmMachine(t)
	module, input := wasmModule(t), m.write(t, "page.txt", "page\x00\xff")
	full := []string{"--wasm", module, "--disclose", "full", "--input", input}
	m.run(t, "stdin", full, "upper")
	m.run(t, "file", full, "upper", "{input}")
	m.run(t, "world", []string{"--wasm", module, "--wasm-engine", "interpreter"}, "world")
	for name, args := range map[string][]string{"exit": {"exit", "3"}, "grow": {"grow"}} {
		d := m.do(t, m.runArgs(name, []string{"--wasm", module, "--limit", "memory=67108864"}, args...)...)
		if d.code != 1 {
			t.Fatalf("%s: %d %s", name, d.code, d.err)
		}
	}
	for name, exit := range map[string]int{"stdin": 0, "file": 0, "world": 0, "exit": 3, "grow": 2} {
		d, r := m.replays(t, m.path(name+".cer.json"), "--wasm", module, "--wasm-engine", "compiler")
		if r == nil || !r.Reproduced || r.Exit == nil || *r.Exit != exit {
			t.Errorf("%s: %+v %s", name, r, d.err)
		}
	}
	m.do(t, m.runArgs("loop", []string{"--wasm", module, "--timeout", "2s"}, "loop")...)
	d, _ := m.replays(t, m.path("loop.cer.json"), "--wasm", module)
	checkRefused(t, d, "did not end by itself")
	m.run(t, "native", nil, job(t), "say", "hello")
	d, _ = m.replays(t, m.path("native.cer.json"), "--wasm", module)
	checkRefused(t, d, "a native job cannot be replayed")
	d = m.do(t, "replay", m.path("exit.cer.json"), "--wasm", module, "--output", m.path("exit.cer.json"))
	checkRefused(t, d, "would overwrite")
	d = m.do(t, "replay", m.path("page.txt"), "--wasm", module)
	if d.code == 0 || d.out != "" {
		t.Errorf("no record: %d %q", d.code, d.out)
	}
	// A record that says another output is not genuine: nothing is run.
	b := m.read(t, "exit.cer.json")
	forged := strings.Replace(string(b), hex.EncodeToString(sha256.New().Sum(nil)), strings.Repeat("0", 64), 1)
	d = m.do(t, "replay", m.write(t, "forged.cer.json", forged), "--wasm", module)
	if d.code != 1 || d.out != "" || !strings.Contains(d.err, "error: ") {
		t.Errorf("a forged record: %d %q %q", d.code, d.out, d.err)
	}
}

// The language model gives as a module the bytes that it gives natively, and its
// record can be replayed.
func TestLlamaWasm(t *testing.T) {
	t.Parallel()
	shared := os.Getenv("SWORN_SHARED")
	if shared == "" {
		shared = filepath.Join("..", "..", "..", "shared")
	}
	weights, err := filepath.Abs(filepath.Join(shared, "models", "stories260K.bin"))
	if err != nil {
		t.Fatal(err)
	}
	tokenizer := filepath.Join(filepath.Dir(weights), "tok512.bin")
	for _, file := range []string{weights, tokenizer} {
		if _, err := os.Stat(file); err != nil {
			t.Skipf("models/%s of the shared folder is absent", filepath.Base(file))
		}
	}
	llama, err := buildLlamaModule()
	if err != nil {
		t.Fatal(err)
	}
	m := wasmMachine(t)
	files := []string{"--wasm", llama, "--weights", weights, "--config", tokenizer}
	m.run(t, "story", append(slices.Clone(files), "--param", "steps=200", "--output", m.path("story.txt")), "-m", "{weights}", "-z", "{config}", "-n", "{param:steps}")
	if sum := sha256.Sum256(m.read(t, "story.txt")); hex.EncodeToString(sum[:]) != storiesText {
		t.Errorf("SHA-256 of the text is %x, want %s", sum, storiesText)
	}
	d := m.do(t, append([]string{"replay", m.path("story.cer.json")}, files...)...)
	if d.code != 0 || !strings.HasPrefix(d.out, "reproduced: output sha256:"+storiesText+" ") {
		t.Errorf("%d %q %s", d.code, d.out, d.err)
	}
}
