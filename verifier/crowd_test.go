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
	"github.com/sworn-run/sworn/simulator/tsa"
	"github.com/sworn-run/sworn/verifier"
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

// TestRevokedPlatformSince: that a vendor has revoked a platform counts for a record that was
// stamped before, also when the vendor's word has run out by now, or the certificates have.
func TestRevokedPlatformSince(t *testing.T) {
	f := newTEEForger(t)
	a := newTSA(t, f.at, tsa.Options{})
	in := f.input(t, "tdx", nil)
	var err error
	in.Roots, err = verifier.NewTrustStore([]verifier.RootFile{
		{Path: "intel-sgx/root.pem", Data: pemOf(f.vendor.Root())}, {Path: "tsa/a.pem", Data: pemOf(a.Root())},
	})
	if err != nil {
		t.Fatal(err)
	}
	file := f.tdx(t, nil, nil)
	file = stamp(t, file, a, order(t, file, f.at.Add(time.Hour)))
	later := f.at.Add(2 * time.Hour).Truncate(time.Second)
	document := func(kind, status string) []attest.Collateral {
		i, q := f.intel.TCBInfo(intel.TEETDX, f.at), f.intel.Identity(intel.TEETDX, f.at)
		i.Issue, i.Next, i.Levels[0].Status = later, later.AddDate(0, 1, 0), status
		q.Issue, q.Next, q.Levels[0].Status = later, later.AddDate(0, 1, 0), status
		b, err := f.vendor.SignTCBInfo(i)
		if kind == attest.CollateralQEIdentity {
			b, err = f.vendor.SignIdentity(q)
		}
		if err != nil {
			t.Fatal(err)
		}
		return []attest.Collateral{{Kind: kind, Data: b}}
	}
	for name, now := range map[string]time.Time{
		"hours": f.at.Add(3 * time.Hour), "months": f.at.AddDate(0, 6, 0), "years": f.at.AddDate(9, 0, 0),
	} {
		in.Now, in.Collateral = now, nil
		wantRecord(t, name, verify(t, file, in), "trusted")
		for _, kind := range []string{attest.CollateralTCBInfo, attest.CollateralQEIdentity} {
			in.Collateral = document(kind, intel.Revoked)
			r := verify(t, file, in)
			wantRecord(t, name+" and revoked in "+kind, r, "not trusted")
			if got := recordCheck(r, "slot.tcb"); got != "failed" {
				t.Errorf("%s: slot.tcb %s", name, got)
			}
			// To be out of date later is a change.
			in.Collateral = document(kind, intel.OutOfDate)
			wantRecord(t, name+" and out of date in "+kind, verify(t, file, in), "trusted")
		}
	}
}

// wantRecord wants a status of the verdict as of the record's time.
func wantRecord(t *testing.T, name string, r *verifier.Report, status string) {
	t.Helper()
	if r.Record.Status != status {
		t.Errorf("%s: %s", name, r.Record.Headline)
	}
}
