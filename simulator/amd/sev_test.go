package amd_test

import (
	"crypto/x509"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/sev"
	"github.com/sworn-run/sworn/simulator/amd"
)

// genuine are vendors with keys of AMD's own size, which package sev insists on.
var genuine = map[amd.Product]func() (*amd.Vendor, error){
	amd.Milan: sync.OnceValues(func() (*amd.Vendor, error) { return amd.New(amd.Milan, now) }),
	amd.Turin: sync.OnceValues(func() (*amd.Vendor, error) { return amd.New(amd.Turin, now) }),
}

// platform returns the machine of a genuine vendor and what a relying party that
// trusts it has.
func platform(t *testing.T, product amd.Product) (*amd.Platform, *attest.Anchors) {
	t.Helper()
	v := must(genuine[product]())(t)
	root := attest.Root{Role: "amd-ark", Product: string(product), Certificate: v.ARK(), UserSupplied: true}
	return must(v.Platform("one"))(t), &attest.Anchors{Roots: []attest.Root{root}}
}

// appraised appraises a report.
func appraised(t *testing.T, report []byte, collateral []attest.Collateral, anchors *attest.Anchors) (*attest.Claims, error) {
	t.Helper()
	ev := must(sev.NewEvidence(0, report))(t)
	ev.Collateral = collateral
	return sev.Scheme{}.Verify(ev, anchors, now.Add(time.Minute))
}

// TestAppraised appraises the reports of machines that nothing is wrong with.
func TestAppraised(t *testing.T) {
	for product := range genuine {
		p, anchors := platform(t, product)
		for _, kind := range []amd.SigningKey{amd.VCEK, amd.VLEK} {
			r := p.Report("guest", [64]byte{1})
			r.SigningKey = kind
			report, collateral := must(p.Sign(r))(t), must(p.Collateral(kind, now))(t)
			c, err := appraised(t, report, collateral, anchors)
			if err != nil {
				t.Errorf("%s: %v", product, err)
				continue
			}
			for name, f := range map[string]attest.Finding{"identity": c.Identity.Finding, "revocation": c.Revocation, "coherent": c.Coherent, "tcb": c.TCB.Finding} {
				if f.Status != attest.Passed {
					t.Errorf("%s, key %d: %s is %s: %s", product, kind, name, f.Status, f.Detail)
				}
			}
			if len(c.Used) != len(collateral) {
				t.Errorf("%s, key %d: %d of %d items used", product, kind, len(c.Used), len(collateral))
			}
			if c, err = appraised(t, report, collateral, &attest.Anchors{}); err != nil || c.Identity.Status == attest.Passed {
				t.Errorf("%s, key %d: trusted by who trusts nobody, %v", product, kind, err)
			}
			if c, err = appraised(t, report, collateral, &attest.Anchors{Pins: sev.Pins()}); err != nil || c.Identity.Status == attest.Passed {
				t.Errorf("%s, key %d: trusted by who trusts AMD, %v", product, kind, err)
			}
		}
	}
}

// TestFaults appraises what is wrong, each fault by itself.
func TestFaults(t *testing.T) {
	p, anchors := platform(t, amd.Milan)
	v := p.Vendor()
	for name, set := range map[string]func(*amd.Report){
		"debug":       func(r *amd.Report) { r.Policy |= amd.PolicyDebug },
		"signing key": func(r *amd.Report) { r.SigningKey = amd.None },
	} {
		r := p.Report("guest", [64]byte{})
		set(r)
		if c, err := appraised(t, must(p.Sign(r))(t), must(p.Collateral(amd.VCEK, now))(t), anchors); c != nil || !errors.Is(err, attest.ErrMode) {
			t.Errorf("%s: %v", name, err)
		}
	}
	good := must(p.Sign(p.Report("guest", [64]byte{})))(t)
	for name, crl := range map[string]amd.CRL{
		"revoked": {Revoked: []*x509.Certificate{v.ASK()}},
		"expired": {ThisUpdate: now.Add(-time.Hour), NextUpdate: now.Add(-time.Minute)},
		"forged":  {Forged: true},
	} {
		collateral := must(p.Collateral(amd.VCEK, now))(t)
		collateral[3].Data = must(v.CRL(crl, now))(t)
		c, err := appraised(t, good, collateral, anchors)
		want := attest.NotEstablished
		if name == "revoked" {
			want = attest.Failed
		}
		if err != nil || c.Revocation.Status != want {
			t.Errorf("%s: %v, %v", name, c, err)
		}
	}
	for name, set := range map[string]func(*amd.Report){
		"reported tcb": func(r *amd.Report) { r.ReportedTCB++ },
		"chip":         func(r *amd.Report) { r.ChipID[0]++ },
	} {
		r := p.Report("guest", [64]byte{})
		set(r)
		c, err := appraised(t, must(p.Sign(r))(t), must(p.Collateral(amd.VCEK, now))(t), anchors)
		if err != nil || (c.TCB.Finding.Status != attest.Failed && c.Identity.Status != attest.Failed) {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
}
