package verifier_test

import (
	"bytes"
	"crypto/x509"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/simulator/amd"
	"github.com/sworn-run/sworn/simulator/intel"
)

// TestCrowdedOut: what the relying party knows by now is not pushed out of what is looked
// at by the collateral that a record carries in numbers, all of it genuine or of a form in
// which it concerns the evidence.
func TestCrowdedOut(t *testing.T) {
	f := newTEEForger(t)
	in := f.input(t, "tdx", nil)
	in.Now = f.at.Add(2 * time.Hour)
	repeated := func(kind string, n int) func([]attest.Collateral) []attest.Collateral {
		return func(items []attest.Collateral) []attest.Collateral {
			for _, c := range slices.Clone(items) {
				if c.Kind == kind {
					items = append(items, slices.Repeat([]attest.Collateral{c}, n)...)
				}
			}
			return items
		}
	}
	i := f.intel.TCBInfo(intel.TEETDX, f.at)
	i.Evaluation++
	i.Levels[0].Status = intel.Revoked
	info, err := f.vendor.SignTCBInfo(i)
	if err != nil {
		t.Fatal(err)
	}
	newer := []attest.Collateral{{Kind: attest.CollateralTCBInfo, Data: info}}
	for _, n := range []int{0, 1, 30, 31, 32, 60} {
		file := f.tdx(t, nil, repeated(attest.CollateralTCBInfo, n))
		if r := verify(t, file, in); r.Trusted != (n < 32) {
			t.Errorf("%d copies: %s", n, r.Headline)
		}
		with := in
		with.Collateral = newer
		if r := verify(t, file, with); r.Trusted {
			t.Errorf("%d copies hide a revocation: %s", n, r.Headline)
		}
	}
	for _, n := range []int{7, 8, 16} {
		if r := verify(t, f.tdx(t, nil, repeated(attest.CollateralCertificate, n)), in); !r.Trusted {
			t.Errorf("%d copies of certificates: %s", n, r.Headline)
		}
	}
}

// altered is a certificate with another signature value, one of many.
func altered(der []byte, n int) attest.Collateral {
	b := bytes.Clone(der)
	b[len(b)-1] ^= byte(n + 1)
	b[len(b)-2] ^= byte((n + 1) >> 8)
	return attest.Collateral{Kind: attest.CollateralCertificate, Data: b}
}

// TestSignaturesUsedUp: certificates that cost signatures do not use up what the relying
// party's revocation list needs.
func TestSignaturesUsedUp(t *testing.T) {
	f := newTEEForger(t)
	in := f.input(t, "sev-snp", nil)
	in.Now = f.at.Add(2 * time.Hour)
	der, err := f.amd.Vendor().CRL(amd.CRL{ThisUpdate: f.at.Add(time.Hour), Number: 9, Revoked: []*x509.Certificate{f.amd.Vendor().ASK()}}, f.at.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	with := in
	with.Collateral = []attest.Collateral{{Kind: attest.CollateralCRL, Data: der}}
	for n, trusted := range map[int]bool{167: true, 168: true, 169: false} {
		file := f.snp(t, nil, func(items []attest.Collateral) []attest.Collateral {
			// A key has 3 issuers here, each of which is asked for every altered certificate.
			var front []attest.Collateral
			for _, c := range items {
				x, err := x509.ParseCertificate(c.Data)
				switch {
				case err != nil:
				case strings.HasPrefix(x.Subject.CommonName, "SEV-VCEK"):
					for k := range n {
						front = append(front, altered(c.Data, k))
					}
				case strings.HasPrefix(x.Subject.CommonName, "SEV-"):
					front = append(front, altered(c.Data, 0), altered(c.Data, 1))
				}
			}
			return append(front, items...)
		})
		if r := verify(t, file, in); r.Trusted != trusted {
			t.Errorf("%d certificates: %s", n, r.Headline)
		}
		if r := verify(t, file, with); r.Trusted {
			t.Errorf("%d certificates hide a revocation: %s", n, r.Headline)
		}
	}
}
