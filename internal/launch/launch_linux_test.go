package launch_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2/transport"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/launch"
	"github.com/sworn-run/sworn/internal/launch/jail"
	"github.com/sworn-run/sworn/simulator"
	"github.com/sworn-run/sworn/tpm/tpmdev"
	"github.com/sworn-run/sworn/verifier"
)

// The test binary is the init of its jobs.
func TestMain(m *testing.M) {
	jail.MaybeInit()
	os.Exit(m.Run())
}

// bench is a TPM with a maker, and a folder for what launches keep.
type bench struct {
	dev   *tpmdev.TPM
	roots *verifier.TrustStore
	state string
	// weights is the job's weights file.
	weights string
}

// newBench takes a TPM that the maker in dir has provisioned.
func newBench(t *testing.T, rw transport.TPM, dir string) *bench {
	t.Helper()
	dev, err := tpmdev.OpenTransport(t.Context(), rw, tpmdev.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dev.Close() })
	maker, err := simulator.OpenMaker(dir)
	if err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(maker.RootFile())
	if err != nil {
		t.Fatal(err)
	}
	roots, err := verifier.NewTrustStore([]verifier.RootFile{{Path: "tpm-ak/maker.pem", Data: pem}})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{dev: dev, roots: roots, state: filepath.Join(t.TempDir(), "state"), weights: filepath.Join(t.TempDir(), "weights.bin")}
	b.write(t, "weights")
	return b
}

func (b *bench) write(t *testing.T, text string) {
	t.Helper()
	if err := os.WriteFile(b.weights, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// options returns a launch of a job that prints its weights and its input.
func (b *bench) options(t *testing.T) launch.Options {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	plan, err := launch.NewPlan(launch.Job{
		Command: []string{"cat", "{weights}", "-"}, Weights: []launch.Named{{Path: b.weights}}, Launcher: exe,
	})
	if err != nil {
		t.Fatal(err)
	}
	return launch.Options{
		Plan: plan, Device: launch.Device{Attester: b.dev, Measurer: b.dev, Life: b.dev, Register: tpmdev.DefaultRegister},
		StateDir: b.state, Disclose: cer.DiscloseHash, Timeout: time.Minute, Now: time.Now,
		Stdin: bytes.NewReader([]byte(" input")), Stdout: new(bytes.Buffer),
		SelfCheck: func(capsule, opening []byte) error {
			r, err := verifier.Verify(capsule, verifier.Input{Now: time.Now(), Opening: opening})
			if err != nil {
				return err
			}
			return r.Genuine()
		},
	}
}

// run runs a launch and wants its record.
func (b *bench) run(t *testing.T) []byte {
	t.Helper()
	res, err := launch.Run(t.Context(), b.options(t))
	if err != nil {
		t.Fatal(err)
	}
	if res.Exit.Code != 0 {
		t.Fatalf("the job: %+v", res.Exit)
	}
	return res.Capsule
}

// policy makes a policy from a known-good record.
func (b *bench) policy(t *testing.T, golden []byte) *verifier.Policy {
	t.Helper()
	p, err := verifier.PolicyFromRecord(golden, b.roots, time.Now(), "test", []verifier.Waiver{
		{Check: "slot.measurement", Reason: "software TPM"},
		{Check: "launcher.rooted", Reason: "software TPM"},
		{Check: "protection.memory", Reason: "the tests' machine may swap"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// verdict verifies a record and wants it trusted, or refused by one check.
func (b *bench) verdict(t *testing.T, capsule []byte, p *verifier.Policy, refusedBy string) {
	t.Helper()
	r, err := verifier.Verify(capsule, verifier.Input{Policy: p, Roots: b.roots, Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	if r.Trusted != (refusedBy == "") {
		t.Errorf("trusted is %v: %s", r.Trusted, r.Headline)
	}
	for i := range r.Checks {
		c := &r.Checks[i]
		ok := c.Status == attest.Passed.String() || c.Status == attest.NotApplicable.String() || c.Waived != "" ||
			c.Class == "info" || c.ID == "time.token" || c.ID == "time.order"
		if ok == (c.ID == refusedBy) {
			t.Errorf("%s: %s: %s", c.ID, c.Status, c.Detail)
		}
	}
}

// core is the life of a policy: a golden run, a policy from it, a second run
// that is trusted, altered weights that are not.
func core(t *testing.T, b *bench) {
	t.Helper()
	golden := b.run(t)
	p := b.policy(t, golden)
	o := b.options(t)
	var out bytes.Buffer
	o.Stdout = &out
	res, err := launch.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if out.String() != "weights input" {
		t.Errorf("the job wrote %q", &out)
	}
	b.verdict(t, res.Capsule, p, "")
	if bytes.Equal(res.Capsule, golden) {
		t.Error("two launches left one record")
	}
	b.write(t, "Weights")
	b.verdict(t, b.run(t), p, "components.match")
	b.write(t, "weights")
	b.verdict(t, b.run(t), p, "")
}

// softBench is a bench with swtpm.
func softBench(t *testing.T) *bench {
	t.Helper()
	if _, err := exec.LookPath("swtpm_setup"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("swtpm_setup is missing (package swtpm-tools)")
		}
		t.Skip("swtpm_setup is missing (package swtpm-tools)")
	}
	dir, err := os.MkdirTemp("", "sl") // short, for a socket's sake
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s, err := simulator.StartSWTPM(t.Context(), simulator.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	c, err := tpmdev.Dial(t.Context(), s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return newBench(t, c, dir)
}

func TestCore(t *testing.T) {
	core(t, softBench(t))
}

// failing is a device whose calls fail from the n-th on.
type failing struct {
	*tpmdev.TPM
	extends, quotes int
}

// errDevice is how it fails.
var errDevice = errors.New("unplugged")

func (f *failing) Extend(ctx context.Context, digests [][]byte) error {
	if f.extends--; f.extends < 0 {
		return errDevice
	}
	return f.TPM.Extend(ctx, digests)
}

func (f *failing) Attest(ctx context.Context, slot uint8, st *attest.Statement) (*attest.Evidence, error) {
	if f.quotes--; f.quotes < 0 {
		return nil, errDevice
	}
	return f.TPM.Attest(ctx, slot, st)
}

// A launch that fails leaves no record and an error that says how; what it costs
// the next one is what the register can no longer show, and nothing else.
func TestFailedLaunches(t *testing.T) {
	b := softBench(t)
	p := b.policy(t, b.run(t))
	const many = 1 << 20
	count := &failing{b.dev, many, many}
	o := b.options(t)
	o.Device.Measurer = count
	if _, err := launch.Run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	all := many - count.extends // the extends of a whole launch
	for _, x := range []struct {
		name            string
		extends, quotes int
		// sole is true where the register can still show that nothing else ran.
		sole bool
	}{
		{"no extend", 0, many, true},
		{"no quote", many, 0, true},
		{"no end", all - 1, many, false},
		{"no commit", all - 2, many, false},
		{"one extend", 1, many, false},
	} {
		dev := &failing{b.dev, x.extends, x.quotes}
		o := b.options(t)
		o.Device.Measurer, o.Device.Attester = dev, dev
		res, err := launch.Run(t.Context(), o)
		if res != nil || !errors.Is(err, launch.ErrDevice) || !errors.Is(err, errDevice) {
			t.Errorf("%s: %v, %v", x.name, res, err)
		}
		next := b.run(t)
		if x.sole {
			b.verdict(t, next, p, "")
			continue
		}
		b.verdict(t, next, p, "log.sole")
		waived := *p
		waived.Waive = append(slices.Clone(p.Waive), verifier.Waiver{Check: "log.sole", Reason: "a launch was cut short"})
		b.verdict(t, next, &waived, "")
	}
}

// A record that its own launcher does not accept is not released, and its launch
// is closed as aborted: the next one is trusted.
func TestSelfCheckRefuses(t *testing.T) {
	b := softBench(t)
	p := b.policy(t, b.run(t))
	refusal := errors.New("not this one")
	o := b.options(t)
	o.SelfCheck = func([]byte, []byte) error { return refusal }
	if res, err := launch.Run(t.Context(), o); res != nil || !errors.Is(err, launch.ErrRecord) || !errors.Is(err, refusal) {
		t.Errorf("%v, %v", res, err)
	}
	b.verdict(t, b.run(t), p, "")
	// A caller that gives up while the job waits for its input.
	ctx, cancel := context.WithCancel(t.Context())
	o = b.options(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	o.Stdin = r
	o.Stdout = writerFunc(func(b []byte) (int, error) { cancel(); return len(b), nil })
	if res, err := launch.Run(ctx, o); res != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("%v, %v", res, err)
	}
	b.verdict(t, b.run(t), p, "")
	// One that has given up before.
	if res, err := launch.Run(ctx, b.options(t)); res != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("%v, %v", res, err)
	}
	b.verdict(t, b.run(t), p, "")
}

// counts is a counter whose n-th call fails.
type counts struct {
	left int
	next attest.Counter
}

func (c *counts) Increment(context.Context) (*attest.Counter, error) {
	if c.left--; c.left < 0 {
		return nil, errDevice
	}
	c.next.Value++
	n := c.next
	return &n, nil
}

// A launch that cannot be counted touches no register, and one whose device does
// not certify its number leaves no record.
func TestUncounted(t *testing.T) {
	b := softBench(t)
	p := b.policy(t, b.run(t))
	o := b.options(t)
	o.Device.Counter = &counts{}
	if res, err := launch.Run(t.Context(), o); res != nil || !errors.Is(err, errDevice) {
		t.Errorf("%v, %v", res, err)
	}
	r, err := verifier.Verify(b.run(t), verifier.Input{Policy: p, Roots: b.roots, Now: time.Now()})
	if err != nil || !r.Trusted || r.Summary.EarlierLaunches != 1 {
		t.Errorf("after a launch that did not begin: %v, %v", r, err)
	}
	o = b.options(t)
	o.Device.Counter = &counts{left: 1, next: attest.Counter{Name: [34]byte{0, 0x0B}}}
	if res, err := launch.Run(t.Context(), o); res != nil || !errors.Is(err, launch.ErrDevice) || !errors.Is(err, tpmdev.ErrUsage) {
		t.Errorf("a number that nothing certifies: %v, %v", res, err)
	}
	b.verdict(t, b.run(t), p, "")
}

// writerFunc is a writer.
type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// Options that cannot be meant are refused before anything is touched.
func TestOptionsRefused(t *testing.T) {
	b := softBench(t)
	for name, edit := range map[string]func(*launch.Options){
		"register beside none": func(o *launch.Options) {
			o.Device.Beside = []launch.Beside{{Attester: o.Device.Attester, Measurer: o.Device.Measurer}}
			o.Device.Measurer, o.Device.Life = nil, nil
		},
		"zero":          func(o *launch.Options) { *o = launch.Options{} },
		"no plan":       func(o *launch.Options) { o.Plan = nil },
		"no attester":   func(o *launch.Options) { o.Device.Attester = nil },
		"no measurer":   func(o *launch.Options) { o.Device.Measurer = nil },
		"no life":       func(o *launch.Options) { o.Device.Life = nil },
		"no state":      func(o *launch.Options) { o.StateDir = "" },
		"no clock":      func(o *launch.Options) { o.Now = nil },
		"no limit":      func(o *launch.Options) { o.Timeout = 0 },
		"no self-check": func(o *launch.Options) { o.SelfCheck = nil },
		"disclosure":    func(o *launch.Options) { o.Disclose = "everything" },
		"short nonce":   func(o *launch.Options) { o.Nonce = make([]byte, 7) },
		"long nonce":    func(o *launch.Options) { o.Nonce = make([]byte, 65) },
	} {
		o := b.options(t)
		edit(&o)
		if res, err := launch.Run(t.Context(), o); res != nil || !errors.Is(err, launch.ErrUsage) {
			t.Errorf("%s: %v, %v", name, res, err)
		}
	}
	if _, err := os.Stat(b.state); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the state folder was touched: %v", err)
	}
}
