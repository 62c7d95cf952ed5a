package intel_test

import (
	"crypto/x509"
	"errors"
	"testing"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/simulator/intel"
	"github.com/sworn-run/sworn/tdx"
)

// appraised appraises a quote for who trusts the vendor.
func appraised(t *testing.T, v *intel.Vendor, q *intel.Quote, collateral []attest.Collateral) (*attest.Claims, error) {
	t.Helper()
	ev := must(tdx.NewEvidence(0, must(q.Marshal())(t)))(t)
	ev.Collateral = collateral
	root := attest.Root{Role: "intel-sgx", Certificate: v.Root(), UserSupplied: true}
	return tdx.Scheme{}.Verify(ev, &attest.Anchors{Roots: []attest.Root{root}}, now.Add(time.Minute))
}

// TestAppraised appraises the quotes of a machine that nothing is wrong with.
func TestAppraised(t *testing.T) {
	v, p := machine(t)
	for _, ca := range []intel.CA{intel.PlatformCA, intel.ProcessorCA} {
		p.PCK.CA = ca
		collateral := must(p.Collateral(intel.TEETDX, now))(t)
		for _, version := range []uint16{4, 5} {
			q := must(p.TDQuote(p.TD("guest", [64]byte{1}), version, now))(t)
			c, err := appraised(t, v, q, collateral)
			if err != nil {
				t.Errorf("version %d: %v", version, err)
				continue
			}
			for name, f := range map[string]attest.Finding{"identity": c.Identity.Finding, "revocation": c.Revocation, "coherent": c.Coherent, "tcb": c.TCB.Finding} {
				if f.Status != attest.Passed {
					t.Errorf("version %d: %s is %s: %s", version, name, f.Status, f.Detail)
				}
			}
			if c.TCB.Status != intel.UpToDate || c.TCB.Evaluation != 17 || len(c.Used) != len(collateral) {
				t.Errorf("version %d: %+v, %d of %d items used", version, c.TCB, len(c.Used), len(collateral))
			}
			ev := must(tdx.NewEvidence(0, must(q.Marshal())(t)))(t)
			if c, err = (tdx.Scheme{}).Verify(ev, &attest.Anchors{Pins: tdx.Pins()}, now); err != nil || c.Identity.Status == attest.Passed {
				t.Errorf("version %d: trusted by who trusts Intel, %v", version, err)
			}
		}
	}
}

// TestFaults appraises what is wrong, each fault by itself.
func TestFaults(t *testing.T) {
	v, p := machine(t)
	quote := func(p *intel.Platform) *intel.Quote {
		return must(p.TDQuote(p.TD("guest", [64]byte{}), 4, now))(t)
	}
	td := p.TD("guest", [64]byte{})
	td.Attributes |= intel.TDDebug
	if c, err := appraised(t, v, must(p.TDQuote(td, 4, now))(t), must(p.Collateral(intel.TEETDX, now))(t)); c != nil || !errors.Is(err, attest.ErrMode) {
		t.Errorf("debug: %v", err)
	}
	q := quote(p)
	q.ForeignKey = true
	if c, err := appraised(t, v, q, nil); c != nil || !errors.Is(err, attest.ErrSignature) {
		t.Errorf("another attestation key: %v", err)
	}

	info := func(set func(*intel.TCBInfo)) []byte {
		i := p.TCBInfo(intel.TEETDX, now)
		set(i)
		return must(v.SignTCBInfo(i))(t)
	}
	identity := func(set func(*intel.Identity)) []byte {
		i := p.Identity(intel.TEETDX, now)
		set(i)
		return must(v.SignIdentity(i))(t)
	}
	pck := must(p.Certificate(now))(t)
	revoked := intel.CRL{Revoked: []*x509.Certificate{pck}}
	for _, tt := range []struct {
		name string
		item int // of the collateral
		data []byte
		bad  func(*attest.Claims) bool
	}{
		{"a revoked level", 0, info(func(i *intel.TCBInfo) { i.Levels[0].Status = intel.Revoked }), func(c *attest.Claims) bool {
			return c.TCB.Status == intel.Revoked && c.TCB.Finding.Status == attest.Failed
		}},
		{"out of date", 0, info(func(i *intel.TCBInfo) { i.Levels[0].Status = intel.OutOfDate }), func(c *attest.Claims) bool { return c.TCB.Status == intel.OutOfDate }},
		{"a module out of date", 0, info(func(i *intel.TCBInfo) { i.Modules[0].Levels[0].Status = intel.OutOfDate }), func(c *attest.Claims) bool { return c.TCB.Status == intel.OutOfDate }},
		{"another FMSPC", 0, info(func(i *intel.TCBInfo) { i.FMSPC[0]++ }), func(c *attest.Claims) bool { return c.Coherent.Status != attest.Passed }},
		{"expired information", 0, info(func(i *intel.TCBInfo) { i.Next = now.Add(-time.Minute) }), func(c *attest.Claims) bool { return c.Coherent.Status != attest.Passed }},
		{"another quoting enclave", 1, identity(func(i *intel.Identity) { i.MRSigner[0]++ }), func(c *attest.Claims) bool {
			return c.Coherent.Status != attest.Passed || c.TCB.Finding.Status != attest.Passed
		}},
		{"an old quoting enclave", 1, identity(func(i *intel.Identity) { i.Levels[0].Status = intel.OutOfDate }), func(c *attest.Claims) bool { return c.TCB.Status == intel.OutOfDate }},
		{"an expired list of the root", 3, must(v.RootCRL(intel.CRL{NextUpdate: now.Add(-time.Minute)}, now))(t), func(c *attest.Claims) bool { return c.Revocation.Status == attest.NotEstablished }},
		{"a revoked CA", 3, must(v.RootCRL(intel.CRL{Revoked: []*x509.Certificate{v.Issuer(intel.PlatformCA)}}, now))(t), func(c *attest.Claims) bool { return c.Revocation.Status == attest.Failed }},
		{"a revoked PCK", 4, must(v.PCKCRL(intel.PlatformCA, revoked, now))(t), func(c *attest.Claims) bool { return c.Revocation.Status == attest.Failed }},
		{"a forged list", 4, must(v.PCKCRL(intel.PlatformCA, intel.CRL{Forged: true}, now))(t), func(c *attest.Claims) bool { return c.Revocation.Status == attest.NotEstablished }},
	} {
		collateral := must(p.Collateral(intel.TEETDX, now))(t)
		collateral[tt.item].Data = tt.data
		if c, err := appraised(t, v, quote(p), collateral); err != nil || !tt.bad(c) {
			t.Errorf("%s: %+v, %v", tt.name, c, err)
		}
	}
	collateral := must(p.Collateral(intel.TEETDX, now))(t)
	p.PCK.Components[0]--
	if c, err := appraised(t, v, quote(p), collateral); err != nil || c.TCB.Status != intel.OutOfDate || len(c.TCB.Advisories) != 1 {
		t.Errorf("an older platform: %+v, %v", c, err)
	}
}
