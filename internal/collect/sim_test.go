package collect

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/sev"
	simamd "github.com/sworn-run/sworn/simulator/amd"
	simintel "github.com/sworn-run/sworn/simulator/intel"
	"github.com/sworn-run/sworn/tdx"
)

// simulated collects from a simulated service for evidence, and wants everything that
// stays to be relied on and the platform's identity, revocation and TCB established.
func simulated(t *testing.T, service http.Handler, scheme attest.Scheme, ev *attest.Evidence, anchors *attest.Anchors) []attest.Collateral {
	t.Helper()
	s := httptest.NewServer(service)
	defer s.Close()
	client, err := NewClient(&Options{KDS: s.URL, PCS: s.URL, Now: func() time.Time { return day0 }})
	if err != nil {
		t.Fatal(err)
	}
	got, problems := client.Evidence(t.Context(), ev)
	noProblems(t, problems)
	got = append(ev.Collateral, got...)
	kept, err := Select(scheme, ev, got, anchors, day0)
	if err != nil {
		t.Fatal(err)
	}
	with := *ev
	with.Collateral = kept
	claims, err := scheme.Verify(&with, anchors, day0)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []attest.Finding{claims.Identity.Finding, claims.Revocation, claims.Coherent, claims.TCB.Finding} {
		if f.Status != attest.Passed {
			t.Errorf("%s: %s", f.Status, f.Detail)
		}
	}
	if len(claims.Used) != len(kept) {
		t.Errorf("relies on %d of %d", len(claims.Used), len(kept))
	}
	// Whoever makes the record need not trust the root that its readers will.
	blind, err := Select(scheme, ev, got, nil, day0)
	if err != nil || len(blind) != len(kept) {
		t.Errorf("without roots: %s, %v, want %s", kinds(blind), err, kinds(kept))
	}
	return kept
}

// amdKey returns one of the keys that the tests of package sev have in a file.
func amdKey(tb testing.TB, name string) *rsa.PrivateKey {
	tb.Helper()
	b, err := os.ReadFile("../../sev/testdata/keys/" + name + ".pem")
	if err != nil {
		tb.Fatal(err)
	}
	block, _ := pem.Decode(b)
	if block == nil {
		tb.Fatalf("%s is not PEM", name)
	}
	k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		tb.Fatal(err)
	}
	return k.(*rsa.PrivateKey)
}

// TestSimulatedSNP collects for reports of both layouts, by the chip's key and by a
// provider's, whose certificate the machine has.
func TestSimulatedSNP(t *testing.T) {
	for _, product := range []simamd.Product{simamd.Milan, simamd.Turin} {
		t.Run(string(product), func(t *testing.T) {
			maker, err := simamd.NewOfKeys(product, day0.AddDate(0, 0, -3), amdKey(t, "ark"), amdKey(t, "ask"), amdKey(t, "asvk"))
			if err != nil {
				t.Fatal(err)
			}
			chip, err := maker.Platform("a")
			if err != nil {
				t.Fatal(err)
			}
			anchors := &attest.Anchors{Roots: []attest.Root{{Role: sev.Role, Product: string(product), Certificate: maker.ARK(), UserSupplied: true}}}
			kds := &simamd.KDS{Vendors: []*simamd.Vendor{maker}, Now: func() time.Time { return day0 }}
			for _, key := range []simamd.SigningKey{simamd.VCEK, simamd.VLEK} {
				said := chip.Report("guest", [64]byte{1})
				said.SigningKey = key
				report, err := chip.Sign(said)
				if err != nil {
					t.Fatal(err)
				}
				ev, err := sev.NewEvidence(0, report)
				if err != nil {
					t.Fatal(err)
				}
				if key == simamd.VLEK {
					der, err := chip.Certificate(key, day0)
					if err != nil {
						t.Fatal(err)
					}
					ev.Collateral = []attest.Collateral{{Kind: attest.CollateralCertificate, Data: der}}
				}
				if kept := simulated(t, kds, sev.Scheme{}, ev, anchors); kinds(kept) != "certificate certificate certificate crl" {
					t.Errorf("%v: kept %s", key, kinds(kept))
				}
			}
		})
	}
}

// TestSimulatedTDX collects for quotes of both versions.
func TestSimulatedTDX(t *testing.T) {
	for _, version := range []uint16{4, 5} {
		x := newIntel(t, simintel.PlatformCA, true)
		ev, err := tdx.NewEvidence(0, x.quote(t, version))
		if err != nil {
			t.Fatal(err)
		}
		anchors := &attest.Anchors{Roots: []attest.Root{{Role: tdx.Role, Certificate: x.root.cert, UserSupplied: true}}}
		kept := simulated(t, x.pcs, tdx.Scheme{}, ev, anchors)
		t.Logf("version %d keeps %s", version, kinds(kept))
	}
}
