package intel_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"slices"
	"testing"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/enclave"
	"github.com/sworn-run/sworn/simulator/intel"
)

// aStatement is a statement with the slots.
func aStatement(slots ...attest.Slot) *attest.Statement {
	for i := range slots {
		slots[i].Number = uint8(i)
	}
	return &attest.Statement{
		Type: attest.TypeRun, Time: 1, Series: [32]byte{1}, Launch: [32]byte{2}, KeyID: [32]byte{3}, LogSize: 1, RecordCount: 1, Manifest: slots,
	}
}

// judgeEnclave has package enclave judge a quote, with a machine's collateral.
func judgeEnclave(t *testing.T, v *intel.Vendor, p *intel.Platform, quote []byte) (*attest.Claims, error) {
	t.Helper()
	ev := &attest.Evidence{
		Format: enclave.Format, Parts: []attest.Part{{Name: enclave.PartQuote, Data: quote}}, Collateral: must(p.Collateral(intel.TEESGX, now))(t),
	}
	return enclave.Scheme{}.Verify(ev, &attest.Anchors{Roots: []attest.Root{{Role: enclave.Role, Certificate: v.Root(), UserSupplied: true}}}, now)
}

// TestSimulatedEnclave: what it quotes is the statement, judged as any enclave's quote is;
// without the simulated root it is nobody's.
func TestSimulatedEnclave(t *testing.T) {
	dir := t.TempDir()
	if _, err := intel.OpenEnclave(dir, "launcher", time.Now, nil); !errors.Is(err, intel.ErrDir) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no vendor: %v", err)
	}
	v := must(intel.Open(dir, now))(t)
	clock := func() time.Time { return now }
	s := must(intel.OpenEnclave(dir, "launcher", clock, nil))(t)
	slot := must(s.Manifest(t.Context()))(t)
	st := aStatement(slot)
	ev := must(s.Attest(t.Context(), 0, st))(t)
	ev.Collateral = must(s.Collateral(t.Context()))(t)
	root := attest.Root{Role: enclave.Role, Certificate: v.Root(), UserSupplied: true}
	c := must(enclave.Scheme{}.Verify(ev, &attest.Anchors{Roots: []attest.Root{root}}, now))(t)
	if c.Identity.Status != attest.Passed || c.Revocation.Status != attest.Passed || c.Coherent.Status != attest.Passed || c.TCB.Status != intel.UpToDate ||
		len(c.Used) != len(ev.Collateral) || !bytes.Equal(c.Quoted, attest.Quoted(attest.SHA512, 0, enclave.Format, must(st.Encode())(t))) {
		t.Errorf("%+v", c)
	}
	if c := must(enclave.Scheme{}.Verify(ev, &attest.Anchors{}, now))(t); c.Identity.Status != attest.NotEstablished {
		t.Errorf("without its root: %+v", c.Identity)
	}
	other := must(intel.OpenEnclave(dir, "another", clock, func(e *intel.Enclave) { e.Flags |= intel.EnclaveDebug }))(t)
	if _, err := (enclave.Scheme{}).Verify(must(other.Attest(t.Context(), 0, st))(t), nil, now); !errors.Is(err, attest.ErrMode) {
		t.Errorf("a debug enclave: %v", err)
	}
	if quote, err := enclave.Unwrap(intel.Wrap(ev.Parts[0].Data)); err != nil || !bytes.Equal(quote, ev.Parts[0].Data) {
		t.Errorf("with a header: %v", err)
	}
}

// TestSimulatedEnclaveRefuses: it fills no slot of another kind, and none once closed.
func TestSimulatedEnclaveRefuses(t *testing.T) {
	dir := t.TempDir()
	must(intel.Open(dir, now))(t)
	s := must(intel.OpenEnclave(dir, "launcher", time.Now, nil))(t)
	slot := must(s.Manifest(t.Context()))(t)
	keyed := slot
	keyed.KeyID = [32]byte{1}
	for name, tc := range map[string]struct {
		slot uint8
		st   *attest.Statement
	}{
		"no statement": {0, nil},
		"an empty one": {0, &attest.Statement{}},
		"no such slot": {1, aStatement(slot)},
		"another kind": {0, aStatement(attest.Slot{Format: 2, Mode: attest.ModeDirect, Anchor: attest.AnchorStatementOnly})},
		"with a key":   {0, aStatement(keyed)},
	} {
		if ev, err := s.Attest(t.Context(), tc.slot, tc.st); !errors.Is(err, intel.ErrIssue) || ev != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Attest(ctx, 0, aStatement(slot)); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	for _, open := range []func() (*intel.SimulatedEnclave, error){
		func() (*intel.SimulatedEnclave, error) { return intel.OpenEnclave(dir, "", time.Now, nil) },
		func() (*intel.SimulatedEnclave, error) { return intel.OpenEnclave(dir, "launcher", nil, nil) },
	} {
		if _, err := open(); !errors.Is(err, intel.ErrIssue) {
			t.Errorf("without name or clock: %v", err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*intel.SimulatedEnclave{s, {}} {
		_, first := s.Manifest(t.Context())
		_, second := s.Attest(t.Context(), 0, aStatement(slot))
		_, third := s.Collateral(t.Context())
		for _, err := range []error{first, second, third} {
			if !errors.Is(err, intel.ErrIssue) {
				t.Errorf("closed, or never open: %v", err)
			}
		}
	}
}

// TestEnclaveKnobs: whatever can be wrong with an enclave's quote can be chosen, and
// package enclave sees each.
func TestEnclaveKnobs(t *testing.T) {
	v, p := machine(t)
	other := must(v.Platform("two"))(t)
	theirs := must(other.SGXQuote(other.Enclave("enclave", [64]byte{}), now))(t)
	for name, tc := range map[string]struct {
		change func(*intel.Enclave, *intel.Quote)
		want   error
	}{
		"nothing":                     {func(*intel.Enclave, *intel.Quote) {}, nil},
		"debug":                       {func(e *intel.Enclave, _ *intel.Quote) { e.Flags |= intel.EnclaveDebug }, attest.ErrMode},
		"not initialised":             {func(e *intel.Enclave, _ *intel.Quote) { e.Flags &^= intel.EnclaveInit }, attest.ErrForm},
		"a chain of another type":     {func(_ *intel.Enclave, q *intel.Quote) { q.Certification = 1 }, attest.ErrForm},
		"no chain":                    {func(_ *intel.Enclave, q *intel.Quote) { q.Chain = nil }, attest.ErrForm},
		"another version":             {func(_ *intel.Enclave, q *intel.Quote) { q.Version = 2 }, attest.ErrForm},
		"another vendor's QE":         {func(_ *intel.Enclave, q *intel.Quote) { q.QEVendor[0]++ }, attest.ErrForm},
		"a key that QE does not know": {func(_ *intel.Enclave, q *intel.Quote) { q.ForeignKey = true }, attest.ErrSignature},
		"another machine's chain":     {func(_ *intel.Enclave, q *intel.Quote) { q.Chain = theirs.Chain }, attest.ErrSignature},
		"another machine's PCK":       {func(_ *intel.Enclave, q *intel.Quote) { q.PCK = theirs.PCK }, attest.ErrSignature},
	} {
		e := p.Enclave("enclave", [64]byte{1})
		q := must(p.SGXQuote(e, now))(t)
		tc.change(e, q)
		q.Body = e.Marshal()
		c, err := judgeEnclave(t, v, p, must(q.Marshal())(t))
		if tc.want == nil && (err != nil || c.Identity.Status != attest.Passed) || tc.want != nil && !errors.Is(err, tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	q := must(p.SGXQuote(p.Enclave("enclave", [64]byte{}), now))(t)
	q.QE.MRSIGNER[0]++
	if c := must(judgeEnclave(t, v, p, must(q.Marshal())(t)))(t); c.Identity.Status != attest.Failed {
		t.Errorf("a quoting enclave that is not Intel's: %+v", c.Identity)
	}
	e := p.Enclave("enclave", [64]byte{})
	e.ProdID, e.SVN = 7, 9
	c := must(judgeEnclave(t, v, p, must(must(p.SGXQuote(e, now))(t).Marshal())(t)))(t)
	if !slices.Contains(c.TCB.Versions, attest.Attribute{Name: "security_version", Value: 9}) || !slices.Contains(c.Attributes, attest.Attribute{Name: "product_id", Value: 7}) {
		t.Errorf("%+v, %+v", c.TCB.Versions, c.Attributes)
	}
}
