package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/verifier"
)

// runtimeOf returns the runtime of a record.
func runtimeOf(t *testing.T, file []byte) *cer.Runtime {
	t.Helper()
	b, err := cer.ParseBundle(open(t, file).CER)
	if err != nil {
		t.Fatal(err)
	}
	rt, err := cer.ParseRuntime(b.Snapshot.Runtime)
	if err != nil {
		t.Fatal(err)
	}
	return rt
}

// of makes a policy for a job from a golden run of the same command.
func (m *machine) of(t *testing.T, command ...string) *verifier.Policy {
	t.Helper()
	return m.policy(t, m.run(t, "golden", []string{"--nonce", goldenNonce}, command...))
}

// files makes a policy for a command from its files.
func (m *machine) files(t *testing.T, flags []string, command ...string) *verifier.Policy {
	t.Helper()
	args := append([]string{"policy", "from-files", "--ask-nonce", "--roots", m.roots, "-o", m.path("p.json")}, flags...)
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
	return p
}

// The job tries to reach what it must not: it says so in its output.
func TestJobReachesNothing(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	secret := m.write(t, "secret.txt", "secret")
	weights := m.write(t, "w.bin", "weights")
	socket := strings.TrimPrefix(m.tpm.Addr(), "unix:")
	forbidden := []string{
		"/dev/tpm0", "/dev/tpmrm0", "/dev/mem", "/dev/kmsg", "/dev/tdx_guest", "/dev/sev-guest",
		"/sys", "/sys/kernel/config", "/sys/kernel/security", socket, "unix:" + socket, "unix:" + socket + ".ctrl",
		"tcp:127.0.0.1:22", "/proc/1/mem", "/proc/1/root", "/proc/" + strconv.Itoa(os.Getpid()) + "/mem", "/proc/self/root/etc",
		"/etc/passwd", "/etc/shadow", "/etc/ld.so.cache", m.state, m.path("tpm/maker/root.key"), m.path("tpm/state"), m.sworn, secret, weights,
	}
	allowed := []string{"/dev/null", "/dev/urandom", job(t), "{weights}", "/scratch"}
	for name, flags := range map[string][]string{"plain": nil, "proc": {"--proc"}} {
		d := m.do(t, m.runArgs(name, append(flags, "--nonce", testNonce, "--weights", weights),
			append(append([]string{job(t), "probe"}, forbidden...), allowed...)...)...)
		if d.code != 0 {
			t.Fatalf("%s: %s", name, d.err)
		}
		for _, f := range forbidden {
			if name == "proc" && f == "/proc/self/root/etc" {
				continue // its own root, in which there is no /etc
			}
			if !strings.Contains(d.out, "refused "+f+" ") {
				t.Errorf("%s: the job reached %s", name, f)
			}
		}
		for _, a := range allowed {
			if a == "{weights}" {
				a = "/model/default/w.bin"
			}
			if !strings.Contains(d.out, "REACHED "+a+"\n") {
				t.Errorf("%s: the job could not reach %s: %s", name, a, d.out)
			}
		}
		rt := runtimeOf(t, m.read(t, name+".cer.json"))
		if want := cer.NewStream(sha256.Sum256([]byte(d.out)), uint64(len(d.out)), true); rt.Output.SHA256 != want.SHA256 || !rt.Output.Complete {
			t.Errorf("%s: the record is about another output", name)
		}
	}
}

// How jobs end, and what their records say.
func TestJobEnds(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	input := m.write(t, "input.txt", strings.Repeat("input\n", 100))
	for _, x := range []struct {
		name    string
		flags   []string
		command []string
		code    int
		out     string
		// exit, signal and timeout are what the record says.
		exit    int
		signal  string
		timeout bool
		// refused is the check that refuses the record under a policy made from the
		// files.
		refused []string
	}{
		{name: "exits 3", command: []string{"exit", "3"}, code: 1, exit: 3, refused: []string{"job.exit"}},
		{name: "exits 255", command: []string{"exit", "255"}, code: 1, exit: 255, refused: []string{"job.exit"}},
		{name: "killed", command: []string{"signal", "9"}, code: 1, exit: -1, signal: "SIGKILL", refused: []string{"job.exit"}},
		{name: "segmentation fault", command: []string{"sh", "-c", "kill -11 $$"}, code: 1, exit: -1, signal: "SIGSEGV", refused: []string{"job.exit"}},
		{name: "realtime signal", command: []string{"sh", "-c", "kill -40 $$"}, code: 1, exit: -1, signal: "SIG40", refused: []string{"job.exit"}},
		{
			name: "hangs", flags: []string{"--timeout", "300ms"}, command: []string{"hang"}, code: 1, out: "begun\n",
			exit: -1, signal: "SIGKILL", timeout: true, refused: []string{"job.exit"},
		},
		{name: "leaves children", flags: []string{"--timeout", "20s"}, command: []string{"children"}, out: "left "},
		{name: "closes its output", command: []string{"closeout"}, out: "early"},
		{name: "ignores its input", flags: []string{"--input", input}, command: []string{"say", "done"}, out: "done\n"},
	} {
		if x.command[0] != "sh" {
			x.command = append([]string{job(t)}, x.command...)
		}
		p := m.files(t, nil, x.command...)
		d := m.do(t, m.runArgs("r", append(x.flags, "--nonce", testNonce), x.command...)...)
		if d.code != x.code || !strings.HasPrefix(d.out, x.out) {
			t.Errorf("%s: exit status %d, want %d; %q %q", x.name, d.code, x.code, d.out, d.err)
			continue
		}
		if d.took > promptly {
			t.Errorf("%s took %v", x.name, d.took)
		}
		file := m.read(t, "r.cer.json")
		rt := runtimeOf(t, file)
		signal := ""
		if rt.Exit.Signal != nil {
			signal = *rt.Exit.Signal
		}
		if rt.Exit.Code != x.exit || signal != x.signal || rt.Exit.Timeout != x.timeout {
			t.Errorf("%s: the record says %d, %q, timeout %v", x.name, rt.Exit.Code, signal, rt.Exit.Timeout)
		}
		if rt.Output.SHA256 != fmt.Sprintf("%x", sha256.Sum256([]byte(d.out))) || rt.Output.Complete == x.timeout {
			t.Errorf("%s: the record's output is %+v", x.name, rt.Output)
		}
		r := m.verify(t, file, p)
		if x.refused == nil {
			trusted(t, r)
		} else {
			refused(t, x.name, r, x.refused...)
		}
		if err := os.Remove(m.path("r.cer.json")); err != nil {
			t.Fatal(err)
		}
	}
	if left := processes(t, job(t)+"\x00child"); len(left) != 0 {
		t.Errorf("processes of the job are left: %v", left)
	}
	// The input that the job ignored is not complete, and the record says so.
	file := m.run(t, "ignored", []string{"--input", input, "--nonce", testNonce}, job(t), "say")
	if in := runtimeOf(t, file).Input; in.Complete || in.Size != "600" {
		t.Errorf("an input that nobody read: %+v", in)
	}
	// A policy may allow another exit code, and no signal.
	p := m.files(t, nil, job(t), "exit", "3")
	p.Exit = []int{0, 3}
	if d := m.do(t, m.runArgs("three", []string{"--nonce", testNonce}, job(t), "exit", "3")...); d.code != 1 {
		t.Errorf("exit status %d", d.code)
	}
	trusted(t, m.verify(t, m.read(t, "three.cer.json"), p))
}

// processes returns the ids of processes whose command line begins so.
func processes(t *testing.T, begin string) []string {
	t.Helper()
	var out []string
	dirs, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range dirs {
		if b, err := os.ReadFile(name); err == nil && strings.HasPrefix(string(b), begin) {
			out = append(out, name)
		}
	}
	return out
}

// A job that writes without end is killed at 1 GiB, and costs no memory; its
// record says that the output is not all.
func TestFlood(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	c := m.command(t.Context(), m.runArgs("flood", []string{"--nonce", testNonce, "--disclose", "full"}, job(t), "flood")...)
	errs := &buffer{}
	c.Stderr = errs
	// What is held stays held; garbage is collected in time on a busy machine too.
	c.Env = append(c.Environ(), "GOMEMLIMIT=128MiB")
	r := &running{cmd: c, begun: time.Now(), out: &buffer{}, err: errs}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	d := r.wait(t)
	if d.code != 1 {
		t.Fatalf("exit status %d: %s", d.code, d.err)
	}
	limit := int64(768 << 20) // of 1 GiB
	if raced {
		limit = 2 << 30 // of more than 4 GiB: the detector keeps several bytes for each
	}
	if d.peak > limit {
		t.Errorf("sworn held %d MiB", d.peak>>20)
	}
	t.Logf("sworn held %d MiB", d.peak>>20)
	file := m.read(t, "flood.cer.json")
	if len(file) > 1<<20 {
		t.Errorf("a record of %d bytes", len(file))
	}
	if out := runtimeOf(t, file).Output; out.Complete || out.Size != "1073741824" {
		t.Errorf("output %+v", out)
	}
	refused(t, "flood", m.verify(t, file, m.files(t, nil, job(t), "flood")), "job.exit")
}

// replace puts other bytes into a file: over the old ones, or as another file
// under the same name.
func replace(t *testing.T, name string, renamed bool) {
	t.Helper()
	st, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	to := name
	if renamed {
		to = name + ".new"
	}
	err = os.WriteFile(to, []byte("replaced"), st.Mode())
	if err == nil && renamed {
		err = os.Rename(to, name)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// hexDigest returns the SHA-256 of text in hexadecimal.
func hexDigest(b []byte) string { return fmt.Sprintf("%x", sha256.Sum256(b)) }

// Weights and program are replaced on disk while the job runs, or after they
// were measured and before it runs: the job has what was measured.
func TestReplacedOnDisk(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	g := m.manage(t)
	binary, err := os.ReadFile(job(t))
	if err != nil {
		t.Fatal(err)
	}
	const text = "weights"
	for i, x := range []struct {
		name    string
		renamed bool
		// early replaces between measuring and executing.
		early bool
		// program replaces the program, else the weights.
		program bool
	}{
		{"weights overwritten while the job runs", false, false, false},
		{"weights renamed while the job runs", true, false, false},
		{"weights overwritten before the job runs", false, true, false},
		{"weights renamed before the job runs", true, true, false},
		{"program overwritten while it runs", false, false, true},
		{"program renamed while it runs", true, false, true},
		{"program overwritten before it runs", false, true, true},
		{"program renamed before it runs", true, true, true},
	} {
		weights := m.write(t, "w.bin", text)
		program := m.write(t, "program", string(binary))
		if err := os.Chmod(program, 0o755); err != nil {
			t.Fatal(err)
		}
		target, command, want := weights, []string{program, "twice", "{weights}"}, hexDigest([]byte(text))
		if x.program {
			target, command, want = program, []string{program, "again"}, hexDigest(binary)
		}
		flags := []string{"--weights", weights, "--nonce", testNonce, "--input", "-"}
		p := m.files(t, flags[:2], command...)
		name := "r" + strconv.Itoa(i)
		var stop *stop
		if x.early {
			stop = g.at(tpm2.TPMCCPCRExtend, 1, false)
		}
		r := m.begin(t, m.runArgs(name, flags, command...)...)
		if x.early {
			stop.wait(t)
			replace(t, target, x.renamed)
			stop.release()
		}
		r.waitFor(t, "\n")
		if !x.early {
			replace(t, target, x.renamed)
		}
		_, _ = r.in.Write([]byte("g"))
		d := r.end(t)
		if d.code != 0 {
			t.Errorf("%s: exit status %d: %s", x.name, d.code, d.err)
			continue
		}
		second := want + "\n"
		if x.program {
			second = "REACHED " + program + "\n"
		}
		if d.out != want+"\n"+second {
			t.Errorf("%s: the job saw %q", x.name, d.out)
		}
		trusted(t, m.verify(t, m.read(t, name+".cer.json"), p))
	}
}

// An input file that changes after it was measured is not carried as if it were
// the input.
func TestInputReplaced(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	g := m.manage(t)
	input := m.write(t, "input.txt", "input")
	stop := g.at(tpm2.TPMCCPCRExtend, 1, false)
	r := m.begin(t, m.runArgs("r", []string{"--disclose", "full", "--input", input, "--nonce", testNonce}, job(t), "probe", "{input}")...)
	stop.wait(t)
	replace(t, input, false)
	stop.release()
	if d := r.end(t); d.code != 0 || !strings.HasPrefix(d.out, "REACHED ") {
		t.Fatalf("exit status %d: %q %q", d.code, d.out, d.err)
	}
	file := m.read(t, "r.cer.json")
	if in := runtimeOf(t, file).Input; in.SHA256 != hexDigest([]byte("input")) {
		t.Errorf("input %+v", in)
	}
	if d := m.do(t, "inspect", "--extract", "input", m.path("r.cer.json")); d.code != 2 || d.out != "" {
		t.Errorf("the record carries %q as its input (exit status %d)", d.out, d.code)
	}
	trusted(t, m.verify(t, file, m.files(t, []string{"--input", input}, job(t), "probe", "{input}")))
}

// Files that cannot be measured: the launch says which, and leaves nothing.
func TestUnmeasurable(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	fifo := m.path("fifo")
	mkfifo(t, fifo)
	empty := m.path("empty")
	if err := os.Mkdir(empty, 0o755); err != nil {
		t.Fatal(err)
	}
	loop := m.path("loop")
	if err := os.Symlink("loop", loop); err != nil {
		t.Fatal(err)
	}
	out := m.path("out")
	if err := os.Mkdir(out, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(m.write(t, "secret.txt", "x"), filepath.Join(out, "link")); err != nil {
		t.Fatal(err)
	}
	for name, x := range map[string]struct {
		flags []string
		words []string
	}{
		"weights missing":         {[]string{"--weights", m.path("none")}, []string{"none"}},
		"weights a FIFO":          {[]string{"--weights", fifo}, []string{fifo, "not a regular file"}},
		"weights an empty folder": {[]string{"--weights", empty}, []string{empty, "empty folder"}},
		"weights a loop":          {[]string{"--weights", loop}, []string{loop}},
		"weights a device":        {[]string{"--weights", "/dev/zero"}, []string{"/dev/zero", "not a regular file"}},
		"weights that lead out":   {[]string{"--weights", out}, []string{"leads out of its folder"}},
		"config missing":          {[]string{"--config", m.path("none")}, []string{"none"}},
		"config a FIFO":           {[]string{"--config", fifo}, []string{fifo, "not a regular file"}},
		"config a folder":         {[]string{"--config", empty}, []string{empty, "not a regular file"}},
		"input missing":           {[]string{"--input", m.path("none")}, []string{"none"}},
		"input a FIFO":            {[]string{"--input", fifo}, []string{fifo, "not a regular file"}},
		"input a folder":          {[]string{"--input", empty}, []string{empty, "not a regular file"}},
		"output a folder":         {[]string{"--output", empty}, []string{empty, "not a regular file"}},
		"output a FIFO":           {[]string{"--output", fifo}, []string{fifo, "not a regular file"}},
		"output in no folder":     {[]string{"--output", m.path("none/out")}, []string{"none/out"}},
	} {
		d := m.refuse(t, "r.cer.json", m.runArgs("r", x.flags, job(t), "say"), x.words...)
		if d.out != "" || d.took > promptly {
			t.Errorf("%s: output %q after %v", name, d.out, d.took)
		}
	}
	if left, err := filepath.Glob(m.path(".*")); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	if _, err := os.Stat(m.state); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a launch that cannot be has touched the state folder: %v", err)
	}
}
