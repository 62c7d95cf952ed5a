package stamp_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"testing"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/simulator/tsa"
	"github.com/sworn-run/sworn/verifier/stamp"
)

// invalid is an invalidityDate (RFC 5280, 5.3.2).
func invalid(t *testing.T, at time.Time) []pkix.Extension {
	t.Helper()
	der, err := asn1.MarshalWithParams(at, "generalized")
	if err != nil {
		t.Fatal(err)
	}
	return []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 24}, Value: der}}
}

// TestRevoked holds every reason, before and after the token, against RFC 3161, section 4.
func TestRevoked(t *testing.T) {
	a := authority()
	tok := parsed(t, a, order())
	later, earlier := stamped.AddDate(0, 1, 0), stamped.AddDate(0, -1, 0)
	now := stamped.AddDate(1, 0, 0)
	for name, x := range map[string]struct {
		entry tsa.Revoked
		at    time.Time
		falls bool
		all   bool
	}{
		"no reason, after":                 {tsa.Revoked{At: later}, now, true, true},
		"keyCompromise, after":             {tsa.Revoked{At: later, Reason: 1}, now, true, true},
		"cACompromise, after":              {tsa.Revoked{At: later, Reason: 2}, now, true, true},
		"privilegeWithdrawn, after":        {tsa.Revoked{At: later, Reason: 9}, now, true, true},
		"affiliationChanged, after":        {tsa.Revoked{At: later, Reason: 3}, now, false, false},
		"superseded, after":                {tsa.Revoked{At: later, Reason: 4}, now, false, false},
		"cessationOfOperation, after":      {tsa.Revoked{At: later, Reason: 5}, now, false, false},
		"certificateHold, after":           {tsa.Revoked{At: later, Reason: 6}, now, false, false},
		"affiliationChanged, before":       {tsa.Revoked{At: earlier, Reason: 3}, now, true, false},
		"superseded, before":               {tsa.Revoked{At: earlier, Reason: 4}, now, true, false},
		"superseded, in the same second":   {tsa.Revoked{At: stamped.Truncate(time.Second), Reason: 4}, now, true, false},
		"certificateHold, before":          {tsa.Revoked{At: earlier, Reason: 6}, now, true, false},
		"superseded, invalid before":       {tsa.Revoked{At: later, Reason: 4, Extensions: invalid(t, earlier)}, now, true, false},
		"superseded, invalid in no form":   {tsa.Revoked{At: later, Reason: 4, Extensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 24}, Value: []byte{5, 0}}}}, now, true, true},
		"keyCompromise, after the verdict": {tsa.Revoked{At: later, Reason: 1}, later.Add(-time.Hour), false, false},
		"keyCompromise, at the verdict":    {tsa.Revoked{At: later, Reason: 1}, later, true, true},
		"another certificate":              {tsa.Revoked{At: later, Reason: 1, Serial: a.Issuer().SerialNumber}, now, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			if x.entry.Serial == nil {
				x.entry.Serial = a.Signer().SerialNumber
			}
			l := list(t, a, tsa.List{ThisUpdate: now.Add(-time.Hour), Revoked: []tsa.Revoked{x.entry}})
			carried := order()
			carried.Lists = [][]byte{l}
			for where, got := range map[string]stamp.Result{
				"given":        tok.Verify(trusting(a.Root()), [][]byte{l}, x.at),
				"in the token": parsed(t, a, carried).Verify(trusting(a.Root()), nil, x.at),
			} {
				if falls := got.Status == attest.Failed && got.Reason == stamp.ReasonRevoked && got.Revoked != nil && got.Revocation.Status == attest.Failed; falls != x.falls {
					t.Fatalf("%s: %v %q: %s", where, got.Status, got.Reason, got.Detail)
				}
				if !x.falls && (got.Status != attest.Passed || got.Revoked != nil) {
					t.Fatalf("%s: %v %q: %s", where, got.Status, got.Reason, got.Detail)
				}
				if x.falls && got.Revoked.All != x.all {
					t.Errorf("%s: all %v", where, got.Revoked.All)
				}
			}
		})
	}
}

// TestRevokedByKey revokes an older certificate of the signer's key, and the authority
// above it.
func TestRevokedByKey(t *testing.T) {
	a := authority()
	now := stamped.AddDate(1, 0, 0)
	older, err := a.Certify("An older one", a.Signer().PublicKey, made, stamped, nil)
	if err != nil {
		t.Fatal(err)
	}
	revoked := list(t, a, tsa.List{ThisUpdate: now, Revoked: []tsa.Revoked{{Serial: older.SerialNumber, At: now, Reason: 1}}})
	beside := edited(func(p *tsa.Parts) { p.Certificates = append(p.Certificates, older.Raw) })
	if got := parsed(t, a, beside).Verify(trusting(a.Root()), [][]byte{revoked}, now); got.Reason != stamp.ReasonRevoked {
		t.Errorf("an older certificate of the key: %v %q", got.Status, got.Reason)
	}
	// One that the authority did not sign says nothing of the key.
	forged := *older
	other := newAuthority(t, tsa.Options{})
	fake, err := other.Certify("Forged", a.Signer().PublicKey, made, stamped, func(c *x509.Certificate) { c.SerialNumber = older.SerialNumber })
	if err != nil {
		t.Fatal(err)
	}
	forged = *fake
	beside = edited(func(p *tsa.Parts) { p.Certificates = append(p.Certificates, forged.Raw) })
	if got := parsed(t, a, beside).Verify(trusting(a.Root()), [][]byte{revoked}, now); got.Status != attest.Passed {
		t.Errorf("another's certificate of the key: %v %q", got.Status, got.Detail)
	}

	above, err := a.RootList(tsa.List{ThisUpdate: now, Revoked: []tsa.Revoked{{Serial: a.Issuer().SerialNumber, At: now, Reason: 2}}})
	if err != nil {
		t.Fatal(err)
	}
	tok := parsed(t, a, order())
	if got := tok.Verify(trusting(a.Root()), [][]byte{above}, now); got.Reason != stamp.ReasonRevoked {
		t.Errorf("the authority above: %v %q", got.Status, got.Reason)
	}
	// Who trusts the authority itself has decided, and the root is nobody to him.
	if got := tok.Verify(trusting(a.Issuer()), [][]byte{above}, now); got.Status != attest.Passed {
		t.Errorf("the trusted authority: %v %q", got.Status, got.Detail)
	}
}

// TestListsThatDoNotCount goes through lists that revoke the signer and are not to be
// used.
func TestListsThatDoNotCount(t *testing.T) {
	a, other := authority(), newAuthority(t, tsa.Options{})
	now := stamped.AddDate(0, 0, 10)
	entry := tsa.Revoked{Serial: a.Signer().SerialNumber, At: now, Reason: 1}
	delta := pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 27}, Critical: true, Value: []byte{2, 1, 1}}
	indirect := pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 28}, Critical: true, Value: []byte{0x30, 3, 0x84, 1, 0xff}}
	ofOther := entry
	ofOther.Extensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 29}, Critical: true, Value: []byte{0x30, 0}}}
	forged := list(t, a, tsa.List{ThisUpdate: now, Revoked: []tsa.Revoked{entry}})
	forged[len(forged)-1] ^= 1
	good := list(t, a, tsa.List{ThisUpdate: now, Revoked: []tsa.Revoked{entry}})
	for name, l := range map[string][]byte{
		"another's":                list(t, other, tsa.List{ThisUpdate: now, Revoked: []tsa.Revoked{entry}}),
		"forged":                   forged,
		"of changes":               list(t, a, tsa.List{ThisUpdate: now, Revoked: []tsa.Revoked{entry}, Extensions: []pkix.Extension{delta}}),
		"of others":                list(t, a, tsa.List{ThisUpdate: now, Revoked: []tsa.Revoked{entry}, Extensions: []pkix.Extension{indirect}}),
		"with an entry of others":  list(t, a, tsa.List{ThisUpdate: now, Revoked: []tsa.Revoked{ofOther}}),
		"with something behind it": append(append([]byte{}, good...), 0),
		"nothing":                  {},
	} {
		t.Run(name, func(t *testing.T) {
			got := parsed(t, a, order()).Verify(trusting(a.Root()), [][]byte{l}, now)
			if got.Status != attest.Passed || got.Revoked != nil || len(got.Used)+len(got.Spare) != 0 {
				t.Fatalf("%v %q: %s, %d used", got.Status, got.Reason, got.Detail, len(got.Used))
			}
			if got.Revocation.Status == attest.Passed {
				t.Error("it vouches for the certificate")
			}
		})
	}
}

// TestHold has the issuer's newest list decide about a hold.
func TestHold(t *testing.T) {
	a := authority()
	now := stamped.AddDate(0, 0, 10)
	hold := []tsa.Revoked{{Serial: a.Signer().SerialNumber, At: stamped.Add(-time.Hour), Reason: 6}}
	held := list(t, a, tsa.List{ThisUpdate: now.Add(-2 * time.Hour), Revoked: hold})
	released := list(t, a, tsa.List{ThisUpdate: now.Add(-time.Hour)})
	tok := parsed(t, a, order())
	if got := tok.Verify(trusting(a.Root()), [][]byte{held}, now); got.Reason != stamp.ReasonRevoked {
		t.Errorf("held: %v %q", got.Status, got.Detail)
	}
	if got := tok.Verify(trusting(a.Root()), [][]byte{released, held}, now); got.Status != attest.Passed {
		t.Errorf("released: %v %q", got.Status, got.Detail)
	}
	// A later list about authorities alone says nothing of the signer.
	forCAs := pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 28}, Critical: true, Value: []byte{0x30, 3, 0x82, 1, 0xff}}
	above := list(t, a, tsa.List{ThisUpdate: now.Add(-time.Hour), Extensions: []pkix.Extension{forCAs}})
	if got := tok.Verify(trusting(a.Root()), [][]byte{above, held}, now); got.Reason != stamp.ReasonRevoked {
		t.Errorf("held, with a list of authorities: %v %q", got.Status, got.Detail)
	}
}

// TestRevocationFinding says for which certificates there is a word that counts, and by
// which lists.
func TestRevocationFinding(t *testing.T) {
	a := authority()
	now := stamped.AddDate(0, 0, 10)
	above, err := a.RootList(tsa.List{ThisUpdate: now.Add(-time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	of := func(from, until time.Time, x ...pkix.Extension) []byte {
		return list(t, a, tsa.List{ThisUpdate: from, NextUpdate: until, Extensions: x})
	}
	fresh := of(now.Add(-time.Hour), now.Add(time.Hour))
	forCAs := pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 28}, Critical: true, Value: []byte{0x30, 3, 0x82, 1, 0xff}}
	end := a.Signer().NotAfter
	for name, x := range map[string]struct {
		lists       [][]byte
		at          time.Time
		status      attest.Status
		used, spare int
	}{
		"both":                       {[][]byte{above, fresh}, now, attest.Passed, 2, 0},
		"both, and an older one":     {[][]byte{of(now.Add(-2*time.Hour), now.Add(time.Hour)), above, fresh}, now, attest.Passed, 2, 1},
		"none":                       {nil, now, attest.NotEstablished, 0, 0},
		"the root's alone":           {[][]byte{above}, now, attest.NotEstablished, 1, 0},
		"one that has run out":       {[][]byte{above, of(now.Add(-2*time.Hour), now.Add(-time.Hour))}, now, attest.NotEstablished, 1, 1},
		"one that runs out now":      {[][]byte{above, of(now.Add(-2*time.Hour), now)}, now, attest.NotEstablished, 1, 1},
		"one of the future":          {[][]byte{above, of(now.Add(time.Hour), now.Add(2*time.Hour))}, now, attest.NotEstablished, 1, 1},
		"one for CAs":                {[][]byte{above, of(now.Add(-time.Hour), now.Add(time.Hour), forCAs)}, now, attest.NotEstablished, 1, 1},
		"from the certificate's end": {[][]byte{of(end.Add(-time.Hour), end.Add(time.Hour))}, end.AddDate(1, 0, 0), attest.NotEstablished, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			got := parsed(t, a, order()).Verify(trusting(a.Root()), x.lists, x.at)
			if got.Status != attest.Passed || got.Revocation.Status != x.status || len(got.Used) != x.used || len(got.Spare) != x.spare {
				t.Fatalf("%v, revocation %v (%s), %d used, %d spare", got.Status, got.Revocation.Status, got.Revocation.Detail, len(got.Used), len(got.Spare))
			}
		})
	}
	quiet := newAuthority(t, tsa.Options{Edit: func(c *x509.Certificate) { c.CRLDistributionPoints = nil }, EditIssuer: func(c *x509.Certificate) { c.CRLDistributionPoints = nil }})
	if got := parsed(t, quiet, order()).Verify(trusting(quiet.Root()), nil, now); got.Revocation.Status != attest.Passed {
		t.Errorf("an authority that publishes no lists: %v", got.Revocation.Status)
	}
}
