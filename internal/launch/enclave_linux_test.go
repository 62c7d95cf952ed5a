package launch_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/launch"
	"github.com/sworn-run/sworn/internal/launch/jail"
	"github.com/sworn-run/sworn/simulator/intel"
	"github.com/sworn-run/sworn/verifier"
)

// TestSimulatedEnclave is the life of a policy with what a simulated SGX platform quotes.
// It is trusted by who supplies the simulated root, and by nobody else.
func TestSimulatedEnclave(t *testing.T) {
	dir := t.TempDir()
	v, err := intel.Open(dir, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(v.RootFile(dir))
	if err != nil {
		t.Fatal(err)
	}
	roots, err := verifier.NewTrustStore([]verifier.RootFile{{Path: "intel-sgx/simulated.pem", Data: pem}})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{roots: roots, state: filepath.Join(dir, "state"), weights: filepath.Join(dir, "weights.bin")}
	b.write(t, "weights")
	try := func(name string, change func(*intel.Enclave)) (*launch.Result, error) {
		dev, err := intel.OpenEnclave(dir, name, time.Now, change)
		if err != nil {
			t.Fatal(err)
		}
		defer dev.Close()
		o := b.options(t)
		job := moduleJob(t)
		job.Wasm.Inside, job.Launcher = true, ""
		job.Weights = []launch.Named{{Path: b.weights}}
		if o.Plan, err = launch.NewPlan(job); err != nil {
			t.Fatal(err)
		}
		program := dev.UniqueID()
		o.Device = launch.Device{Attester: dev, Program: &program}
		return launch.Run(t.Context(), o)
	}
	run := func(name string, change func(*intel.Enclave)) []byte {
		res, err := try(name, change)
		if err != nil {
			t.Fatal(err)
		}
		return res.Capsule
	}
	golden := run("launcher", nil)
	p, err := verifier.PolicyFromRecord(golden, roots, time.Now(), "test", nil)
	if err != nil {
		t.Fatal(err)
	}
	record := run("launcher", nil)
	b.verdict(t, record, p, "")
	r, err := verifier.Verify(record, verifier.Input{Policy: p, Roots: roots, Now: time.Now()})
	if err != nil || !strings.Contains(r.Headline, "Intel SGX Root CA SIMULATED") {
		t.Errorf("%q, %v", r.Headline, err)
	}
	// Nobody who does not supply the simulated root takes it for Intel's.
	r, err = verifier.Verify(record, verifier.Input{Policy: p, Now: time.Now()})
	if err != nil || r.Trusted || !strings.Contains(r.Headline, "slot.identity") {
		t.Errorf("without the root: %q, %v", r.Headline, err)
	}
	refused := func(capsule []byte, p *verifier.Policy, by string) {
		t.Helper()
		r, err := verifier.Verify(capsule, verifier.Input{Policy: p, Roots: roots, Now: time.Now()})
		if err != nil || r.Trusted || !strings.HasPrefix(r.Headline, "not trusted: "+by) {
			t.Errorf("%q, %v", r.Headline, err)
		}
	}
	refused(run("another", nil), p, "slot.measurement")
	// A job in a process of its own is not what the evidence is of, and neither is another
	// launcher than the one that was measured.
	if capsule := attested(t, b, dir, nil, false); capsule != nil {
		b.failing(t, capsule, p, "launcher.rooted", "not established")
		b.failing(t, capsule, p, "compute.inside", "failed")
	}
	if capsule := attested(t, b, dir, &[32]byte{1}, true); capsule != nil {
		b.failing(t, capsule, p, "launcher.rooted", "not established")
		b.failing(t, capsule, p, "components.match", "failed")
	}
	for what, change := range map[string]func(*launch.Options){
		"no program":      func(o *launch.Options) { o.Device.Program = nil },
		"a job by itself": func(o *launch.Options) { o.Plan = b.options(t).Plan },
		"strict":          func(o *launch.Options) { o.Strict = true },
	} {
		o := insideOptions(t, b, dir)
		change(&o)
		if res, err := launch.Run(t.Context(), o); res != nil || !errors.Is(err, launch.ErrUsage) && !errors.Is(err, jail.ErrIsolation) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := try("launcher", func(e *intel.Enclave) { e.Flags |= intel.EnclaveDebug }); !errors.Is(err, launch.ErrRecord) {
		t.Errorf("an enclave to be debugged: %v", err)
	}
	refused(run("launcher", func(e *intel.Enclave) { e.Flags |= intel.EnclaveProvKey }), p, "slot.mode")

	// In the words of EGo: whatever this signer ever signs of this product, since version 2.
	signer := sha256.Sum256([]byte("simulated signer of enclaves"))
	rules := p.Formats["sgx"]
	rules.Measurements = map[string][]string{"signer_id": {hex.EncodeToString(signer[:])}}
	rules.Attributes = map[string]uint64{"product_id": 1}
	rules.TCB.Minimum = map[string]uint64{"security_version": 2}
	p.Formats["sgx"] = rules
	version := func(product, version uint16) func(*intel.Enclave) {
		return func(e *intel.Enclave) { e.ProdID, e.SVN = product, version }
	}
	refused(run("another", version(1, 2)), p, "components.match")
	// Which launcher it is, is said by what the policy wants of the enclave.
	p.Components = slices.DeleteFunc(p.Components, func(c verifier.PolicyComponent) bool { return c.Role == cer.RoleLauncher })
	b.verdict(t, run("another", version(1, 2)), p, "")
	b.verdict(t, run("another", version(1, 3)), p, "")
	refused(run("another", version(1, 1)), p, "slot.tcb")
	refused(run("another", version(2, 2)), p, "slot.mode")
	refused(run("another", func(e *intel.Enclave) { e.SVN, e.MRSIGNER[0] = 2, e.MRSIGNER[0]+1 }), p, "slot.measurement")
	// A signer who is named without both signs anything.
	for _, without := range []func(*verifier.FormatPolicy){
		func(f *verifier.FormatPolicy) { f.Attributes = nil },
		func(f *verifier.FormatPolicy) { f.TCB.Minimum = nil },
	} {
		q, less := *p, rules
		without(&less)
		q.Formats = map[string]verifier.FormatPolicy{"sgx": less}
		refused(run("another", version(1, 2)), &q, "slot.measurement: the policy has no reference values")
	}
}

// insideOptions is a launch of a module in a simulated enclave.
func insideOptions(t *testing.T, b *bench, dir string) launch.Options {
	t.Helper()
	dev, err := intel.OpenEnclave(dir, "launcher", time.Now, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dev.Close() })
	job := moduleJob(t)
	job.Wasm.Inside, job.Launcher = true, ""
	job.Weights = []launch.Named{{Path: b.weights}}
	plan, err := launch.NewPlan(job)
	if err != nil {
		t.Fatal(err)
	}
	o := b.options(t)
	program := dev.UniqueID()
	o.Plan, o.Device = plan, launch.Device{Attester: dev, Program: &program}
	return o
}

// attested is the record of a launch in which the launcher says that it is another program,
// or that runs the job in a process of its own.
func attested(t *testing.T, b *bench, dir string, program *[32]byte, within bool) []byte {
	t.Helper()
	o := insideOptions(t, b, dir)
	o.Device.Program = program
	if !within {
		o.Plan = b.options(t).Plan
	}
	res, err := launch.Run(t.Context(), o)
	if err != nil {
		t.Error(err)
		return nil
	}
	return res.Capsule
}

// failing wants a check of a record to have a status.
func (b *bench) failing(t *testing.T, capsule []byte, p *verifier.Policy, id, status string) {
	t.Helper()
	r, err := verifier.Verify(capsule, verifier.Input{Policy: p, Roots: b.roots, Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range r.Checks {
		if c.ID == id && c.Status != status {
			t.Errorf("%s: %s: %s, want %s", id, c.Status, c.Detail, status)
		}
	}
}
