package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sworn-run/sworn/verifier"
)

// compile builds a program, or a library, from C; it skips a test where there is
// no compiler, but not in CI.
func compile(t *testing.T, source string, args ...string) {
	t.Helper()
	if _, err := exec.LookPath("gcc"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("gcc is missing")
		}
		t.Skip("gcc is missing")
	}
	c := exec.Command("gcc", append([]string{"-x", "c", "-"}, args...)...)
	c.Stdin = strings.NewReader(source)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v: %s", err, out)
	}
}

// changed is one job whose every input can be changed.
type changed struct {
	program, weights, config, add string
	env                           string
	temperature                   string
	command                       []string
}

// Each input of a job, changed by one byte, is named by components.match.
func TestChangedInputs(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	compile(t, "int answer(void) { return 1; }", "-shared", "-o", m.path("libanswer.so"))
	compile(t, "int answer(void); int main(int n, char **a) { return answer() == 1 ? 0 : 9; }",
		"-o", m.path("main"), "-L"+m.dir, "-lanswer", "-Wl,-rpath,$ORIGIN")
	was := changed{
		program: m.path("main"), weights: m.write(t, "w.bin", "weights"), config: m.write(t, "c.txt", "config"),
		add: m.write(t, "added.txt", "added"), env: "MODE=plain", temperature: "0",
		command: []string{"{weights}", "{param:temperature}"},
	}
	run := func(name, nonce string, c changed) []byte {
		t.Helper()
		m.env = []string{c.env}
		return m.run(t, name, []string{
			"--nonce", nonce, "--weights", c.weights, "--config", c.config, "--add", c.add, "--env", "MODE",
			"--param", "temperature=" + c.temperature,
		}, append([]string{c.program}, c.command...)...)
	}
	p := m.policy(t, run("golden", goldenNonce, was))
	trusted(t, m.verify(t, run("same", testNonce, was), p))
	swap := func(name, text string) func() {
		old := m.read(t, name)
		m.write(t, name, text)
		return func() { m.write(t, name, string(old)) }
	}
	for name, x := range map[string]struct {
		change func(*changed) (restore func())
		want   string
	}{
		"weights": {func(*changed) func() { return swap("w.bin", "weightt") }, `weights "default" is `},
		"config":  {func(*changed) func() { return swap("c.txt", "confjg") }, `config "default" is `},
		"file":    {func(*changed) func() { return swap("added.txt", "addee") }, `file "` + was.add + `" is `},
		"library": {
			func(*changed) func() { return swap("libanswer.so", string(m.read(t, "libanswer.so"))+"\n") },
			`library "libanswer.so" is `,
		},
		"binary": {func(*changed) func() { return swap("main", string(m.read(t, "main"))+"\n") }, `binary "` + was.program + `" is `},
		"template": {
			func(c *changed) func() { c.command = []string{"{weights}", "{param:temperature}", "-v"}; return nil }, "argv is ",
		},
		"variable": {func(c *changed) func() { c.env = "MODE=other"; return nil }, `env "MODE" is "other", policy wants "plain"`},
	} {
		c := was
		restore := x.change(&c)
		r := m.verify(t, run("changed", testNonce, c), p)
		if restore != nil {
			restore()
		}
		refused(t, name, r, "components.match")
		if got := detail(r, "components.match"); !strings.HasPrefix(got, x.want) {
			t.Errorf("%s: %q, want %q …", name, got, x.want)
		}
	}
	// Another build of the launcher: earlier launches were by another, and a run
	// by it costs every later record log.sole, until the policy allows any or the
	// TPM is reset.
	first := m.sworn
	b, err := os.ReadFile(first)
	if err == nil {
		m.sworn = m.path("sworn-2")
		err = os.WriteFile(m.sworn, append(b, '\n'), 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	r := m.verify(t, run("launcher", testNonce, was), p)
	refused(t, "launcher", r, "components.match", "log.sole")
	if got := detail(r, "components.match"); !strings.HasPrefix(got, `launcher "sworn" is `) {
		t.Errorf("launcher: %q", got)
	}
	m.sworn = first
	after := m.verify(t, run("after", testNonce, was), p)
	refused(t, "after another launcher", after, "log.sole")
	if got := detail(after, "log.sole"); !strings.Contains(got, "its launcher is another") {
		t.Errorf("log.sole: %q", got)
	}
	anyone := *p
	anyone.PriorLaunches = verifier.PriorAny
	trusted(t, m.verify(t, m.read(t, "after.cer.json"), &anyone))
	// A parameter's value is in no component: the record declares it.
	was.temperature = "1"
	trusted(t, m.verify(t, run("parameter", testNonce, was), &anyone))
}

// A library that is not where the program's RPATH leads is not found, whatever
// stands elsewhere; one that comes first there is the one that is measured.
func TestLibraryFoundFirst(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	for _, dir := range []string{"a", "b"} {
		if err := os.Mkdir(m.path(dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	compile(t, "int answer(void) { return 1; }", "-shared", "-o", m.path("b/libanswer.so"))
	compile(t, "int answer(void); int main(void) { return answer(); }",
		"-o", m.path("main"), "-L"+m.path("b"), "-lanswer", "-Wl,-rpath,$ORIGIN/a:$ORIGIN/b")
	args := m.runArgs("one", []string{"--nonce", testNonce}, m.path("main"))
	if d := m.do(t, args...); d.code != 1 {
		t.Fatalf("exit status %d: %s", d.code, d.err)
	}
	// The same job with an intruder's library that the loader finds first.
	compile(t, "int answer(void) { return 0; }", "-shared", "-o", m.path("a/libanswer.so"))
	two := m.run(t, "two", []string{"--nonce", testNonce}, m.path("main"))
	p := m.policy(t, two)
	p.Exit = []int{0, 1}
	refused(t, "the other library", m.verify(t, m.read(t, "one.cer.json"), p), "components.match")
	if got := detail(m.verify(t, m.read(t, "one.cer.json"), p), "components.match"); !strings.HasPrefix(got, `library "libanswer.so" is `) {
		t.Errorf("components.match: %q", got)
	}
	if err := os.RemoveAll(m.path("a")); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(m.path("b")); err != nil {
		t.Fatal(err)
	}
	m.refuse(t, "three.cer.json", m.runArgs("three", nil, m.path("main")), "libanswer.so")
}

// A policy computed from files accepts what those files do, and names what is
// another.
func TestPolicyFromFiles(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	weights := m.path("weights")
	for _, name := range []string{"one", "sub/two"} {
		file := filepath.Join(weights, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	flags, command := []string{"--weights", "m=" + weights}, []string{job(t), "say", "{weights.dir:m}"}
	args := slices.Concat([]string{"policy", "from-files", "--ask-nonce", "--roots", m.roots, "-o", m.path("p.json")}, flags)
	for _, w := range waivers() {
		args = append(args, "--waive", w.Check+"="+w.Reason)
	}
	if d := m.do(t, append(append(args, "--"), command...)...); d.code != 0 {
		t.Fatalf("policy from-files: %s", d.err)
	}
	p, err := verifier.ParsePolicy(m.read(t, "p.json"))
	if err != nil {
		t.Fatal(err)
	}
	flags = append(flags, "--nonce", testNonce)
	trusted(t, m.verify(t, m.run(t, "page", flags, command...), p))
	if err := os.WriteFile(filepath.Join(weights, "sub/two"), []byte("twO"), 0o644); err != nil {
		t.Fatal(err)
	}
	r := m.verify(t, m.run(t, "page2", flags, command...), p)
	refused(t, "a file in the folder", r, "components.match")
	if err := os.WriteFile(filepath.Join(weights, "three"), []byte("3"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(weights, "sub/two"), []byte("sub/two"), 0o644); err != nil {
		t.Fatal(err)
	}
	r = m.verify(t, m.run(t, "page3", flags, command...), p)
	refused(t, "a file more in the folder", r, "components.match", "components.closed")
}
