package main

import (
	"bytes"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// folder makes a folder of the machine with one page in it, and returns the
// file's path.
func (m *machine) folder(t *testing.T, dir, name string) string {
	t.Helper()
	if err := os.MkdirAll(m.path(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	return m.write(t, dir+"/"+name, "page\n")
}

// Whoever runs the job chooses what its files are called. A name that reaches
// the command line must not say anything that record and policy do not.
func TestInputNameSaysNothing(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	script := []string{"/bin/sh", "-c", "read -r a < {input}; echo $a"}
	p := m.policy(t, m.run(t, "golden", []string{"--input", m.folder(t, "good", "page.png")}, script...))
	d := m.do(t, m.runArgs("page", []string{"--input", m.folder(t, "bad", "page.png; echo forged")}, script...)...)
	if d.code != 0 || d.out != "page\n" {
		t.Errorf("exit status %d, the job wrote %q: %s", d.code, d.out, d.err)
	}
	trusted(t, m.verify(t, m.read(t, "page.cer.json"), p))
}

// The same of weights, whose name stands in the record: the policy wants it.
func TestWeightsByAnotherName(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	script := []string{"/bin/sh", "-c", "read -r a < {weights}; echo $a"}
	p := m.policy(t, m.run(t, "golden", []string{"--weights", m.folder(t, "good", "w")}, script...))
	r := m.verify(t, m.run(t, "page", []string{"--weights", m.folder(t, "bad", "w; echo forged")}, script...), p)
	refused(t, "weights by another name", r, "components.match")
	trusted(t, m.verify(t, m.run(t, "other", []string{"--weights", m.folder(t, "other", "w")}, script...), p))
}

// Two files change places: each has the name and the digest that the policy
// wants, and stands where the other belongs.
func TestFilesChangePlaces(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	allow, deny := m.write(t, "allow", "alice\n"), m.write(t, "deny", "mallory\n")
	script := []string{"/bin/sh", "-c", "read -r a < " + allow + "; echo allowed: $a"}
	p := m.policy(t, m.run(t, "golden", []string{"--add", "allow=" + allow, "--add", "deny=" + deny}, script...))
	m.write(t, "allow", "mallory\n")
	m.write(t, "deny", "alice\n")
	d := m.do(t, m.runArgs("page", []string{"--add", "allow=" + deny, "--add", "deny=" + allow}, script...)...)
	if d.code != 0 || !strings.Contains(d.out, "mallory") {
		t.Fatalf("exit status %d, the job wrote %q: %s", d.code, d.out, d.err)
	}
	refused(t, "changed places", m.verify(t, m.read(t, "page.cer.json"), p), "components.match")
}

// The record says that a parameter was applied, which the command never saw.
func TestParameterInsideParameter(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	flags := []string{"--param", "temperature=0", "--param", "x{param:temperature=9"}
	m.refuse(t, "page.cer.json", m.runArgs("page", flags, job(t), "say", "{param:x{param:temperature}"), "parameter")
}

// A verdict shows the parameters, which no policy restricts, and tells what
// reached the command from what did not.
func TestParametersAreShown(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	flags := []string{"--param", "lang=eng", "--param", "temperature=0"}
	p := m.policy(t, m.run(t, "golden", flags, job(t), "say", "{param:lang}"))
	r := m.verify(t, m.run(t, "page", []string{"--param", "lang=-x forged", "--param", "temperature=1"}, job(t), "say", "{param:lang}"), p)
	trusted(t, r)
	var text bytes.Buffer
	if err := r.WriteText(&text, false); err != nil {
		t.Fatal(err)
	}
	// Lines are broken anywhere.
	shown := strings.Join(strings.Fields(text.String()), " ")
	for _, want := range []string{`"lang"="-x forged"`, `declared "temperature"="1". Somebody declared these beside the command, and nothing more.`} {
		if !strings.Contains(shown, want) {
			t.Errorf("no %q in:\n%s", want, &text)
		}
	}
}

// What a hostile capsule holds does not reach the terminal as it is: no escape
// sequence, nothing that hides or reorders text.
func TestInspectIsPrintable(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	flags := []string{"--param", "a\x1b[2J\u202eb=\u200b\u009b1"}
	c := open(t, m.run(t, "page", flags, job(t), "say", "x"))
	c.Evidence[0].Parts[0].Name = "attest\x1b]0;title\a\u2066"
	file, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	m.write(t, "hostile.cer.json", string(file))
	for _, args := range [][]string{
		{"inspect"},
		{"inspect", "--json"},
		{"inspect", "--pretty"},
		{"verify", "--explain"},
		{"verify", "--json"},
		{"verify", "--format", "html"},
		{"export", "--to", "in-toto"},
		{"export", "--to", "cmw"},
	} {
		d := m.do(t, append(args, m.path("hostile.cer.json"))...)
		if i := strings.IndexFunc(d.out+d.err, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }); i >= 0 || d.out == "" {
			t.Errorf("%v: %q", args, (d.out + d.err)[max(0, i-40):])
		}
	}
}

// Output and record are as private as the user's umask, or the file that was
// there, says.
func TestFilesArePrivate(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	run := func(umask, name string) {
		t.Helper()
		script := "umask " + umask + ` && exec "$@"`
		args := m.runArgs(name, []string{"--disclose", "full", "--output", m.path(name + ".txt")}, job(t), "say", "secret")
		c := exec.Command("/bin/sh", append([]string{"-c", script, "sh", m.sworn}, args...)...)
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	mode := func(name string) os.FileMode {
		st, err := os.Stat(m.path(name))
		if err != nil {
			t.Fatal(err)
		}
		return st.Mode().Perm()
	}
	run("077", "private")
	run("022", "public")
	m.write(t, "kept.txt", "")
	if err := os.Chmod(m.path("kept.txt"), 0o600); err != nil {
		t.Fatal(err)
	}
	run("022", "kept")
	got := []os.FileMode{mode("private.txt"), mode("private.cer.json"), mode("public.txt"), mode("public.cer.json"), mode("kept.txt"), mode("kept.cer.json")}
	if want := []os.FileMode{0o600, 0o600, 0o644, 0o644, 0o600, 0o644}; !slices.Equal(got, want) {
		t.Errorf("modes are %v, want %v", got, want)
	}
}

// A limit keeps a job from its own configuration, and the job ends well without
// it: a limit is measured, a policy has to list it, and the verdict shows it.
func TestLimitsAreShown(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	config := []string{"--config", m.write(t, "rules", "deny\n")}
	script := []string{"/bin/sh", "-c", "a=allow; if command read -r b < {config}; then a=$b; fi; echo $a"}
	p := m.policy(t, m.run(t, "golden", config, script...))
	d := m.do(t, m.runArgs("page", append(config, "--limit", "open-files=4"), script...)...)
	if d.code != 0 || d.out != "allow\n" {
		t.Fatalf("exit status %d, the job wrote %q: %s", d.code, d.out, d.err)
	}
	r := m.verify(t, m.read(t, "page.cer.json"), p)
	refused(t, "a limit that the policy does not list", r, "components.match", "components.closed")
	if got := detail(r, "components.match"); !strings.HasPrefix(got, `limit "open_files" was measured`) {
		t.Errorf("components.match: %q", got)
	}
	var text bytes.Buffer
	if err := r.WriteText(&text, false); err != nil {
		t.Fatal(err)
	}
	if want := `  within limits    "open_files"="4".`; !slices.Contains(strings.Split(text.String(), "\n"), want) {
		t.Errorf("no line %q in:\n%s", want, &text)
	}
}

// A state folder in which others may move the log away is refused.
func TestStateOfOthers(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	if err := os.Mkdir(m.state, 0o755); err != nil {
		t.Fatal(err)
	}
	m.run(t, "before", nil, job(t), "say", "x")
	if err := os.Chmod(m.state, 0o777); err != nil {
		t.Fatal(err)
	}
	m.refuse(t, "page.cer.json", m.runArgs("page", nil, job(t), "say", "x"), "state folder")
}

// What a job writes was never measured, and so is not executed, whatever its
// mode.
func TestScratchIsNotExecutable(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	chmod, err := exec.LookPath("chmod")
	if err != nil {
		t.Fatal(err)
	}
	script := `echo 'echo executed' > x; ` + chmod + ` 755 x && ./x; echo "status $?"`
	d := m.do(t, m.runArgs("page", []string{"--add", chmod}, "/bin/sh", "-c", script)...)
	if d.code != 0 || d.out != "status 126\n" {
		t.Errorf("exit status %d, the job wrote %q: %s", d.code, d.out, d.err)
	}
}
