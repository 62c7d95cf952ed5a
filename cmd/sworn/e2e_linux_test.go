package main

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
	"syscall"
	"testing"
	"time"

	"github.com/sworn-run/sworn/simulator"
	"github.com/sworn-run/sworn/verifier"
)

// The end-to-end tests run the real program, as processes of its own, against
// software TPMs. A policy is always made from another record than the one that
// is verified, or from the files.

// The nonces of relying parties: hexadecimal, 16 bytes.
const (
	goldenNonce = "ffeeddccbbaa99887766554433221100"
	testNonce   = "00112233445566778899aabbccddeeff"
)

// shared is what the tests make once: a TPM to copy and a job to run.
var shared struct {
	sync.Mutex
	dir string
}

// sharedDir returns a folder of this run of the tests; every user may read it.
func sharedDir() (string, error) {
	shared.Lock()
	defer shared.Unlock()
	if shared.dir != "" {
		return shared.dir, nil
	}
	dir, err := os.MkdirTemp("", "se")
	if err != nil {
		return "", err
	}
	shared.dir = dir
	return dir, os.Chmod(dir, 0o755)
}

// removeShared removes what the tests have made once.
func removeShared() {
	shared.Lock()
	defer shared.Unlock()
	if shared.dir != "" {
		_ = os.RemoveAll(shared.dir)
	}
}

// model returns a folder with a provisioned software TPM that is not running.
var model = sync.OnceValues(func() (string, error) {
	dir, err := sharedDir()
	if err != nil {
		return "", err
	}
	s, err := simulator.StartSWTPM(context.Background(), simulator.Options{Dir: filepath.Join(dir, "tpm")})
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "tpm"), s.Close()
})

// goBuild builds a static program of this module once.
func goBuild(name, pkg string) func() (string, error) {
	return sync.OnceValues(func() (string, error) {
		dir, err := sharedDir()
		if err != nil {
			return "", err
		}
		file := filepath.Join(dir, name)
		c := exec.Command("go", "build", "-buildvcs=false", "-o", file, pkg)
		c.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := c.CombinedOutput(); err != nil {
			return "", fmt.Errorf("%w: %s", err, out)
		}
		return file, os.Chmod(file, 0o755)
	})
}

var buildJob = goBuild("job", "./testdata/job")

// job returns the tests' job.
func job(t *testing.T) string {
	t.Helper()
	file, err := buildJob()
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// program returns the path of sworn, readable for every user.
var program = sync.OnceValues(func() (string, error) {
	dir, err := sharedDir()
	if err != nil {
		return "", err
	}
	from, err := os.Executable()
	if err != nil {
		return "", err
	}
	b, err := os.ReadFile(from)
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "sworn")
	return file, os.WriteFile(file, b, 0o755)
})

// machine is a machine with a TPM of its own, on which sworn runs.
type machine struct {
	// dir holds everything; its path is short.
	dir string
	// addr is the TPM's address for sworn.
	addr string
	// roots is the folder of the TPM maker's roots, state that of the logs.
	roots, state string
	// sworn is the program.
	sworn string
	// env is the program's environment, cred its user; nil is ours.
	env  []string
	cred *syscall.Credential
	tpm  *simulator.SWTPM
}

// needTPM skips a test where there is no software TPM, but not in CI.
func needTPM(t *testing.T) {
	t.Helper()
	for _, name := range []string{"swtpm", "swtpm_setup"} {
		if _, err := exec.LookPath(name); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatalf("%s is missing (packages swtpm, swtpm-tools)", name)
			}
			t.Skipf("%s is missing (packages swtpm, swtpm-tools)", name)
		}
	}
}

// newFolder makes a folder with a short path, for a socket's sake, that every
// user may enter.
func newFolder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "se")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// newMachine starts a machine whose TPM is a copy of the model's: keys, maker
// and roots are the same, its register is at zero.
func newMachine(t *testing.T) *machine {
	t.Helper()
	needTPM(t)
	m := bareMachine(t)
	from, err := model()
	if err != nil {
		t.Fatalf("making a software TPM: %v", err)
	}
	if out, err := exec.Command("cp", "-a", from, filepath.Join(m.dir, "tpm")).CombinedOutput(); err != nil {
		t.Fatalf("copying the software TPM: %v: %s", err, out)
	}
	m.start(t)
	return m
}

// bareMachine is a machine without a TPM.
func bareMachine(t *testing.T) *machine {
	t.Helper()
	sworn, err := program()
	if err != nil {
		t.Fatal(err)
	}
	dir := newFolder(t)
	return &machine{dir: dir, sworn: sworn, state: filepath.Join(dir, "state"), roots: filepath.Join(dir, "tpm", "roots")}
}

// start starts the machine's TPM, as if the machine had been switched on.
func (m *machine) start(t *testing.T) {
	t.Helper()
	s, err := simulator.StartSWTPM(t.Context(), simulator.Options{Dir: filepath.Join(m.dir, "tpm")})
	if err != nil {
		t.Fatalf("starting the software TPM: %v", err)
	}
	t.Cleanup(func() { _ = s.Close() })
	m.tpm, m.addr = s, s.Addr()
}

// path returns the path of a file of the machine.
func (m *machine) path(name string) string { return filepath.Join(m.dir, name) }

// write writes a file that every user may read, and returns its path.
func (m *machine) write(t *testing.T, name, text string) string {
	t.Helper()
	file := m.path(name)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// read reads a file of the machine.
func (m *machine) read(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(m.path(name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// done is what came of a program.
type done struct {
	code     int
	out, err string
	took     time.Duration
	// peak is the most memory that the program held, in bytes.
	peak int64
}

// command prepares sworn. What the tests of a machine run ends with it.
func (m *machine) command(ctx context.Context, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, m.sworn, args...)
	c.Args[0] = "sworn"
	c.Dir = m.dir
	c.Env = environment(m.env...)
	c.SysProcAttr = &syscall.SysProcAttr{Credential: m.cred}
	c.WaitDelay = 5 * time.Second
	return c
}

// running is a sworn that runs.
type running struct {
	cmd      *exec.Cmd
	begun    time.Time
	out, err *buffer
	// in is its standard input.
	in io.WriteCloser
}

// buffer is what a program has written so far.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// begin starts sworn with a standard input that the test holds.
func (m *machine) begin(t *testing.T, args ...string) *running {
	t.Helper()
	r := &running{cmd: m.command(t.Context(), args...), begun: time.Now(), out: &buffer{}, err: &buffer{}}
	r.cmd.Stdout, r.cmd.Stderr = r.out, r.err
	var err error
	if r.in, err = r.cmd.StdinPipe(); err == nil {
		err = r.cmd.Start()
	}
	if err != nil {
		t.Fatalf("starting sworn: %v", err)
	}
	return r
}

// promptly is what sworn may take on a busy machine for what takes it less than a
// second, or the five that a TPM gets: what is later hangs.
const promptly = time.Minute

// waitFor waits until sworn's standard output holds text.
func (r *running) waitFor(t *testing.T, text string) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if strings.Contains(r.out.String(), text) {
			return
		}
	}
	t.Fatalf("sworn has not written %q: %q %q", text, r.out, r.err)
}

// end closes sworn's standard input and waits for its end.
func (r *running) end(t *testing.T) done {
	t.Helper()
	_ = r.in.Close()
	return r.wait(t)
}

// wait waits for sworn's end. One that panics fails the test.
func (r *running) wait(t *testing.T) done {
	t.Helper()
	err := r.cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("running sworn: %v: %s", err, r.err)
	}
	d := done{code: r.cmd.ProcessState.ExitCode(), out: r.out.String(), err: r.err.String(), took: time.Since(r.begun)}
	if u, ok := r.cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		d.peak = u.Maxrss << 10
	}
	for _, word := range []string{"panic:", "goroutine 1 [", "DATA RACE", "SIGSEGV: segmentation"} {
		if strings.Contains(d.err, word) {
			t.Fatalf("sworn broke down:\n%s", d.err)
		}
	}
	return d
}

// do runs sworn to its end.
func (m *machine) do(t *testing.T, args ...string) done {
	t.Helper()
	return m.begin(t, args...).end(t)
}

// runArgs returns the arguments of an attested run that leaves name.cer.json.
func (m *machine) runArgs(name string, flags []string, command ...string) []string {
	args := []string{"run", "-q", "--tpm", m.addr, "--state", m.state, "--record", m.path(name + ".cer.json")}
	return slices.Concat(args, flags, []string{"--"}, command)
}

// run runs a job attested and wants exit status 0. It returns the record.
func (m *machine) run(t *testing.T, name string, flags []string, command ...string) []byte {
	t.Helper()
	d := m.do(t, m.runArgs(name, flags, command...)...)
	if d.code != 0 {
		t.Fatalf("sworn run: exit status %d: %s", d.code, d.err)
	}
	return m.read(t, name+".cer.json")
}

// refuse runs sworn and wants exit status 2, an error that holds each of the
// words, a hint, and no file at name.
func (m *machine) refuse(t *testing.T, record string, args []string, words ...string) done {
	t.Helper()
	d := m.do(t, args...)
	checkRefused(t, d, words...)
	if _, err := os.Stat(m.path(record)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is there: %v", record, err)
	}
	return d
}

// checkRefused wants exit status 2, one error line with the words, and a hint.
func checkRefused(t *testing.T, d done, words ...string) {
	t.Helper()
	if d.code != 2 {
		t.Errorf("exit status %d, want 2: %s", d.code, d.err)
	}
	var line string
	hint := false
	for l := range strings.SplitSeq(d.err, "\n") {
		if strings.HasPrefix(l, "error: ") {
			line = l
		}
		hint = hint || strings.HasPrefix(l, "hint: ")
	}
	if line == "" || !hint {
		t.Errorf("no error line or no hint: %q", d.err)
	}
	for _, w := range words {
		if !strings.Contains(line, w) {
			t.Errorf("error %q does not hold %q", line, w)
		}
	}
}

// trust returns the roots of the machine's TPM maker.
func (m *machine) trust(t *testing.T) *verifier.TrustStore {
	t.Helper()
	store, err := loadRoots(m.roots)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// waivers are what every policy of a software TPM has to waive, and the one
// that a machine of the tests may need because it swaps.
func waivers() []verifier.Waiver {
	return []verifier.Waiver{
		{Check: "slot.measurement", Reason: "software TPM"},
		{Check: "launcher.rooted", Reason: "software TPM"},
		{Check: "protection.memory", Reason: "the tests' machine may swap"},
	}
}

// policy makes a policy from a known-good record.
func (m *machine) policy(t *testing.T, golden []byte) *verifier.Policy {
	t.Helper()
	p, err := verifier.PolicyFromRecord(golden, m.trust(t), time.Now(), "test", waivers())
	if err != nil {
		t.Fatalf("making a policy: %v", err)
	}
	return p
}

// verify judges a record under a policy that asks for testNonce, if for any.
func (m *machine) verify(t *testing.T, capsule []byte, p *verifier.Policy) *verifier.Report {
	t.Helper()
	nonce, err := parseNonce(testNonce)
	if err != nil {
		t.Fatal(err)
	}
	if !p.Nonce.Quote {
		nonce = nil
	}
	r, err := verifier.Verify(capsule, verifier.Input{Policy: p, Roots: m.trust(t), Now: time.Now(), Nonce: nonce})
	if err != nil {
		t.Fatalf("verifying: %v", err)
	}
	return r
}

// blocking lists the checks that keep a report from being trusted, in order.
func blocking(r *verifier.Report) []string {
	var ids []string
	for i := range r.Checks {
		c := &r.Checks[i]
		if c.Class == "info" || c.Status == "passed" || c.Status == "not applicable" || c.Waived != "" ||
			c.ID == "time.token" || c.ID == "time.order" { // these policies ask for neither
			continue
		}
		ids = append(ids, c.ID)
	}
	return ids
}

// trusted wants a report that is trusted, and says what that rests on.
func trusted(t *testing.T, r *verifier.Report) {
	t.Helper()
	if !r.Trusted || !strings.HasPrefix(r.Headline, `trusted, assuming: user-supplied root "SIMULATED TPM maker" `) {
		t.Errorf("%s %v", r.Headline, blocking(r))
	}
}

// refused wants a report that is not trusted because of exactly these checks.
// The headline names one that failed, if any did, else one that is not
// established: the first in the verifier's order.
func refused(t *testing.T, what string, r *verifier.Report, ids ...string) {
	t.Helper()
	got := blocking(r)
	want := slices.Clone(ids)
	if slices.Contains(ids, "slot.identity") && slices.Contains(ids, "slot.revocation") && !slices.Contains(ids, "ledger") {
		want = append(want, "ledger") // Of hardware that nobody vouches for no ledger tells.
	}
	slices.SortFunc(want, func(a, b string) int {
		return slices.Index(verifier.CheckIDs(), a) - slices.Index(verifier.CheckIDs(), b)
	})
	if r.Trusted || !slices.Equal(got, want) {
		t.Errorf("%s: trusted %v, refused by %v, want %v; %s", what, r.Trusted, got, want, r.Headline)
	}
	if len(got) == 0 {
		return
	}
	first := got[0]
	for i := range r.Checks {
		if c := &r.Checks[i]; c.Status == "failed" && slices.Contains(got, c.ID) {
			first = c.ID
			break
		}
	}
	if !strings.HasPrefix(r.Headline, "not trusted: "+first+": ") {
		t.Errorf("%s: headline %q does not name %s", what, r.Headline, first)
	}
}

// detail returns what a report says of a check.
func detail(r *verifier.Report, id string) string {
	for i := range r.Checks {
		if r.Checks[i].ID == id {
			return r.Checks[i].Detail
		}
	}
	return ""
}
