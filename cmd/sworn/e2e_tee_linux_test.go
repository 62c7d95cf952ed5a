package main

import (
	"encoding/json"
	"errors"
	"io/fs"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sworn-run/sworn/verifier"
)

// The tests of confidential VMs run the real program in simulated ones: what it opens are
// the kernel's files, what it asks are services as AMD and Intel have them.

// maker is a simulated AMD and Intel, whose services answer as long as the tests run.
type maker struct{ dir, url string }

// roots is the folder of their roots.
func (m *maker) roots() string { return filepath.Join(m.dir, "roots") }

// makers makes both once: keys as AMD has them take seconds.
var makers = sync.OnceValues(func() (*maker, error) {
	dir, err := sharedDir()
	if err != nil {
		return nil, err
	}
	m := &maker{dir: filepath.Join(dir, "v")}
	kds, pcs, err := (&vendorFlags{dir: m.dir, products: []string{"Milan"}, intel: true}).open(time.Now())
	if err != nil {
		return nil, err
	}
	m.url = httptest.NewServer(services(kds, pcs)).URL
	return m, nil
})

// confidential is a machine on which confidential VMs of one kind run.
type confidential struct {
	*machine
	kind  string
	maker *maker
	// cache keeps what the vendors' services answered.
	cache string
}

// newConfidential returns a machine for confidential VMs; Azure's have a TPM.
func newConfidential(t *testing.T, kind string) *confidential {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("only root mounts a kernel's files")
		}
		t.Skip("only root mounts a kernel's files")
	}
	v, err := makers()
	if err != nil {
		t.Fatal(err)
	}
	g := &confidential{kind: kind, maker: v}
	if strings.HasPrefix(kind, "azure-") {
		g.machine = newMachine(t)
	} else {
		g.machine = bareMachine(t)
	}
	g.cache, g.roots = g.path("cache"), v.roots()
	return g
}

// collateral are the flags that say who is asked.
func (g *confidential) collateral() []string {
	return []string{"--kds", g.maker.url, "--pcs", g.maker.url, "--collateral-cache", g.cache}
}

// in returns the arguments of a command in the confidential VM.
func (g *confidential) in(flags []string, command ...string) []string {
	args := []string{"simulate", "tee", "--dir", g.maker.dir, "--tee", g.kind}
	return slices.Concat(args, flags, []string{"--"}, command)
}

// launchArgs are those of an attested run in the confidential VM that leaves
// name.cer.json; machine are flags of the simulated VM.
func (g *confidential) launchArgs(t *testing.T, name, nonce string, machine []string, flags ...string) []string {
	t.Helper()
	run := slices.Concat([]string{"--state", g.state, "--record", g.path(name + ".cer.json"), "--nonce", nonce}, flags)
	if !slices.Contains(flags, "--tee") {
		run = append(run, "--tee", g.kind)
	}
	if !slices.Contains(flags, "--collateral") {
		run = append(run, g.collateral()...)
	}
	run = append(run, "--", job(t), "say", "hello")
	if !strings.HasPrefix(g.kind, "azure-") {
		return g.in(machine, append([]string{g.sworn, "run"}, run...)...)
	}
	const script = `exec "$0" run --tpm "$SWORN_TPM" --metadata "$SWORN_METADATA" "$@"`
	return g.in(append(machine, "--tpm", g.addr), append([]string{"sh", "-c", script, g.sworn}, run...)...)
}

// launch runs a job attested in the confidential VM and wants a record.
func (g *confidential) launch(t *testing.T, name, nonce string, machine []string, flags ...string) done {
	t.Helper()
	d := g.do(t, g.launchArgs(t, name, nonce, machine, flags...)...)
	if d.code != 0 {
		t.Fatalf("launch %s: exit status %d: %s", name, d.code, d.err)
	}
	return d
}

// swapWaiver is what a policy needs where the tests' machine swaps.
const swapWaiver = `protection.memory=the tests' machine may swap`

// policyOf makes name.json from name.cer.json, with waivers of these checks, and returns
// its path.
func (g *confidential) policyOf(t *testing.T, name string, waived ...string) string {
	t.Helper()
	args := []string{"policy", "from-record", g.path(name + ".cer.json"), "--roots", g.roots, "-o", g.path(name + ".json"), "--waive", swapWaiver}
	for _, id := range waived {
		args = append(args, "--waive", id+"=simulated")
	}
	if d := g.do(t, args...); d.code != 0 {
		t.Fatalf("policy from-record: exit status %d: %s", d.code, d.err)
	}
	return g.path(name + ".json")
}

// verifyArgs are those of verifying name.cer.json.
func (g *confidential) verifyArgs(name, policy string, flags ...string) []string {
	args := []string{"verify", g.path(name + ".cer.json"), "--policy", policy}
	if !slices.Contains(flags, "--nonce") {
		args = append(args, "--nonce", testNonce)
	}
	if !slices.Contains(flags, "--roots-only") {
		args = append(args, "--roots", g.roots)
	}
	return append(args, flags...)
}

// judge verifies name.cer.json and returns the report that the program printed.
func (g *confidential) judge(t *testing.T, name, policy string, flags ...string) *verifier.Report {
	t.Helper()
	d := g.do(t, append(g.verifyArgs(name, policy, flags...), "--json")...)
	r := &verifier.Report{}
	if err := json.Unmarshal([]byte(d.out), r); err != nil {
		t.Fatalf("verify: %v: %s %s", err, d.out, d.err)
	}
	want := 1
	if r.Trusted {
		want = 0
	}
	if d.code != want {
		t.Errorf("verify: exit status %d: %s", d.code, r.Headline)
	}
	return r
}

// assumes wants a trusted report that rests on this root, then on these waivers, and says
// as of when.
func (g *confidential) assumes(t *testing.T, r *verifier.Report, root string, waived ...string) {
	t.Helper()
	line := `^trusted, as known on ` + time.Now().UTC().Format("2006-") + `\d\d-\d\d, assuming: user-supplied root "` + root + `" [0-9a-f]{16}`
	for _, id := range waived {
		line += "; " + regexp.QuoteMeta(id)
	}
	headline := strings.Replace(r.Headline, "; protection.memory", "", 1)
	if !r.Trusted || !regexp.MustCompile(line+"$").MatchString(headline) {
		t.Errorf("%s %v, want %s", r.Headline, blocking(r), line)
	}
}

// notTrusted wants a report that is not trusted because of a check that has the status, and
// whose headline names that check first.
func notTrusted(t *testing.T, what string, r *verifier.Report, id, status string) {
	t.Helper()
	if r.Trusted || !strings.HasPrefix(r.Headline, "not trusted: "+id+": ") {
		t.Errorf("%s: %s", what, r.Headline)
	}
	for i := range r.Checks {
		if c := &r.Checks[i]; c.ID == id && c.Status != status {
			t.Errorf("%s: %s is %s: %s", what, id, c.Status, c.Detail)
		}
	}
}

// noRecord wants exit status 2, the words, and no record.
func (g *confidential) noRecord(t *testing.T, name string, d done, words ...string) {
	t.Helper()
	checkRefused(t, d, words...)
	if _, err := os.Stat(g.path(name + ".cer.json")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s.cer.json is there: %v", name, err)
	}
}

// confidentialKind is one kind and what its records show.
type confidentialKind struct {
	name, root string
	// log is how the record's log is kept, as the launcher says it.
	log string
	// waived are the checks that do not pass without an image in the policy.
	waived []string
	// bare is what is not established without any collateral, the headline's first.
	bare []string
}

func confidentialKinds() []confidentialKind {
	return []confidentialKind{
		{teeSNP, "ARK-Milan SIMULATED", "into the statement (sev-snp)", []string{"log.sole", "launcher.rooted"}, []string{"slot.revocation"}},
		{teeTDX, "Intel SGX Root CA SIMULATED", "into RTMR 3", []string{"launcher.rooted"}, []string{"slot.identity", "slot.revocation", "slot.tcb", "collateral.coherent"}},
	}
}

// A run in a confidential VM is trusted under a policy from another, with the vendor's
// root named, and without any waiver once the policy names the image that was launched.
func TestConfidentialVM(t *testing.T) {
	t.Parallel()
	for _, k := range confidentialKinds() {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			g := newConfidential(t, k.name)
			g.launch(t, "golden", goldenNonce, nil)
			if d := g.do(t, "policy", "from-record", g.path("golden.cer.json"), "--roots", g.roots, "--waive", swapWaiver); d.code != 2 || !strings.Contains(d.err, k.waived[0]) {
				t.Errorf("a policy without waivers: exit status %d: %s", d.code, d.err)
			}
			p := g.policyOf(t, "golden", k.waived...)
			if d := g.launch(t, "second", testNonce, nil); !strings.Contains(d.err, k.log) || strings.Contains(d.err, "level=WARN") || d.out != "hello\n" {
				t.Errorf("the launcher says %s and %q", d.err, d.out)
			}
			r := g.judge(t, "second", p)
			g.assumes(t, r, k.root, k.waived...)
			today := time.Now().UTC().Format(time.DateOnly)
			if !strings.Contains(r.Now.Horizon, "newest collateral of "+today) || !strings.Contains(r.Now.Horizon, "to be renewed by 20") {
				t.Errorf("horizon: %s", r.Now.Horizon)
			}
			notTrusted(t, "no roots", g.judge(t, "second", p, "--roots-only", g.emptyRoots(t)), "slot.identity", "not established")
			notTrusted(t, "another nonce", g.judge(t, "second", p, "--nonce", goldenNonce), "nonce.quote", "failed")
			g.launched(t, &k, p)
			g.unplugged(t, p)
			g.without(t, &k, p)
			g.chosen(t, &k, p)
		})
	}
}

// emptyRoots makes a folder of roots without any of a vendor.
func (g *confidential) emptyRoots(t *testing.T) string {
	t.Helper()
	if err := os.MkdirAll(g.path("none/tpm-ak"), 0o755); err != nil {
		t.Fatal(err)
	}
	return g.path("none")
}

// launched tells images apart.
func (g *confidential) launched(t *testing.T, k *confidentialKind, policy string) {
	t.Helper()
	rooted := g.path("rooted.json")
	d := g.do(t, "policy", "from-launch", "--policy", policy, "-o", rooted, "--golden", g.path("golden.cer.json"), "--roots", g.roots,
		"--launcher-inside", "--cmdline", "lockdown=integrity rd.systemd.gpt_auto=0")
	if d.code != 0 || strings.Count(d.err, "does not waive") != len(k.waived) {
		t.Fatalf("from-launch: exit status %d: %s", d.code, d.err)
	}
	if d := g.do(t, "policy", "check", rooted); d.code != 0 || strings.Contains(d.out, "launcher.rooted") {
		t.Errorf("policy check: exit status %d: %s", d.code, d.out)
	}
	r := g.judge(t, "second", rooted)
	g.assumes(t, r, k.root)
	says := found(t, g.do(t, g.in(nil, g.sworn, "doctor", "--json", "--state", g.path("fresh"))...))
	if len(says) < 10 {
		t.Errorf("doctor says of %d checks", len(says))
	}
	for id, f := range says {
		if f.OK != (statusOf(r, id) == "passed") {
			t.Errorf("doctor says of %s %v (%s), the verdict %s", id, f.OK, f.Found, statusOf(r, id))
		}
	}
	loose := g.path("loose.json")
	if d := g.do(t, "policy", "from-launch", "--policy", policy, "-o", loose, "--golden", g.path("golden.cer.json"), "--roots", g.roots, "--launcher-inside"); d.code != 0 {
		t.Fatalf("from-launch: exit status %d: %s", d.code, d.err)
	}
	if r := g.judge(t, "second", loose); r.Trusted || !slices.Contains(blocking(r), "launcher.rooted") {
		t.Errorf("a kernel that is not locked down: %s", r.Headline)
	}
	g.launch(t, "other", testNonce, []string{"--guest", "other"})
	notTrusted(t, "another image", g.judge(t, "other", rooted), "slot.measurement", "failed")
	d = g.do(t, g.launchArgs(t, "debug", testNonce, []string{"--debug"})...)
	g.noRecord(t, "debug", d, "record not released", "slot.mode")
}

// unplugged verifies without a network, with the same answer to the letter.
func (g *confidential) unplugged(t *testing.T, policy string) {
	t.Helper()
	online := g.do(t, g.verifyArgs("second", policy)...)
	cmd := g.command(t.Context(), g.verifyArgs("second", policy)...)
	alone := exec.CommandContext(t.Context(), "unshare", append([]string{"-n", g.sworn}, cmd.Args[1:]...)...)
	alone.Env, alone.Dir = cmd.Env, cmd.Dir
	out, err := alone.CombinedOutput()
	// The verdict's own time goes on.
	same := func(s string) string {
		return regexp.MustCompile(`as of [0-9-]+T[0-9:]+Z`).ReplaceAllString(s, "as of now")
	}
	if err != nil || online.code != 0 || same(string(out)) != same(online.out+online.err) {
		t.Errorf("without a network: %v\n%s\nwith one: exit status %d\n%s", err, out, online.code, online.out)
	}
}

// without makes a record without what the vendor publishes, and attaches it later.
func (g *confidential) without(t *testing.T, k *confidentialKind, policy string) {
	t.Helper()
	g.launch(t, "bare", testNonce, nil, "--collateral", "none")
	r := g.judge(t, "bare", policy)
	refused(t, "without collateral", r, k.bare...)
	for _, id := range k.bare {
		if d := detail(r, id); !strings.Contains(d, "no ") {
			t.Errorf("%s does not say what is missing: %s", id, d)
		}
	}
	if strings.Contains(r.Now.Horizon, "newest collateral") {
		t.Errorf("horizon: %s", r.Now.Horizon)
	}
	file := g.path("bare.cer.json")
	d := g.do(t, "collateral", "attach", "--in-place", "--offline", "--cache", g.path("empty"), file)
	if d.code != 1 || !strings.Contains(d.err, "missing: ") {
		t.Errorf("attach from nowhere: exit status %d: %s", d.code, d.err)
	}
	d = g.do(t, "collateral", "attach", "--in-place", "--kds", g.maker.url, "--pcs", g.maker.url, "--cache", g.path("later"), file)
	if d.code != 0 || d.err != "" {
		t.Errorf("attach: exit status %d: %s", d.code, d.err)
	}
	g.assumes(t, g.judge(t, "bare", policy), k.root, k.waived...)
}

// chosen has the program look for what kind of machine it is on, and asks for another.
func (g *confidential) chosen(t *testing.T, k *confidentialKind, policy string) {
	t.Helper()
	g.launch(t, "auto", testNonce, nil, "--tee", teeAuto)
	g.assumes(t, g.judge(t, "auto", policy), k.root, k.waived...)
	other := map[string]string{teeSNP: teeTDX, teeTDX: teeSNP}[k.name]
	d := g.do(t, g.launchArgs(t, "kind", testNonce, nil, "--tee", other)...)
	g.noRecord(t, "kind", d, "opening the ")
	if !strings.Contains(d.err, "hint: is this a confidential VM") {
		t.Errorf("%s", d.err)
	}
	if k.name != teeSNP {
		return
	}
	g.launch(t, "vmpl", testNonce, nil, "--vmpl", "1")
	notTrusted(t, "another VMPL", g.judge(t, "vmpl", policy), "slot.mode", "failed")
	own := g.policyOf(t, "vmpl", k.waived...)
	g.assumes(t, g.judge(t, "vmpl", own), k.root, k.waived...)
	notTrusted(t, "VMPL 0 where 1 is wanted", g.judge(t, "auto", own), "slot.mode", "failed")
}
