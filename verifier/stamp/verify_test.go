package stamp_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha1" //nolint:gosec // G505: for tokens that are to be refused
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"testing"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/simulator/tsa"
	"github.com/sworn-run/sworn/verifier/stamp"
)

// TestVerifies goes through the kinds of keys and the forms that are accepted.
func TestVerifies(t *testing.T) {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	curve := func(c elliptic.Curve) crypto.Signer {
		k, err := ecdsa.GenerateKey(c, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	for name, x := range map[string]struct {
		key  crypto.Signer
		by   crypto.Hash
		pss  bool
		edit func(*tsa.Parts)
	}{
		"ECDSA on P-256":            {curve(elliptic.P256()), crypto.SHA256, false, nil},
		"ECDSA on P-256 by SHA-512": {curve(elliptic.P256()), crypto.SHA512, false, nil},
		"ECDSA on P-384":            {curve(elliptic.P384()), crypto.SHA384, false, nil},
		"ECDSA on P-521":            {curve(elliptic.P521()), crypto.SHA512, false, nil},
		"RSA":                       {rsaKey(), crypto.SHA256, false, nil},
		"RSA by SHA-512":            {rsaKey(), crypto.SHA512, false, nil},
		"RSA with PSS":              {rsaKey(), crypto.SHA384, true, nil},
		"Ed25519":                   {ed, 0, false, nil},
		"signer by its key":         {nil, 0, false, func(p *tsa.Parts) { p.KeyID = true }},
		"no name of an authority":   {nil, 0, false, func(p *tsa.Parts) { p.Name = nil }},
		"an extension that says not much": {nil, 0, false, func(p *tsa.Parts) {
			p.Extensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}, Value: []byte{5, 0}}}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAuthority(t, tsa.Options{Key: x.key})
			o := order()
			o.By, o.PSS, o.Edit = x.by, x.pss, x.edit
			got := parsed(t, a, o).Verify(trusting(a.Root()), nil, stamped)
			if got.Status != attest.Passed || got.Reason != "" || got.Root == nil || !got.Root.Certificate.Equal(a.Root()) {
				t.Fatalf("%v %q: %s", got.Status, got.Reason, got.Detail)
			}
			if got.Authority != "Time Stamp Signer SIMULATED" || !got.Until.Equal(a.Signer().NotAfter) {
				t.Errorf("authority %q, until %v", got.Authority, got.Until)
			}
		})
	}
}

// TestFields holds what a token states against what was asked for.
func TestFields(t *testing.T) {
	o := order()
	o.Hash, o.Imprint = crypto.SHA512, make([]byte, 64)
	o.Nonce = new(big.Int).SetBytes([]byte{0x80, 1, 2, 3, 4, 5, 6, 7})
	o.Accuracy = 2*time.Second + 3*time.Millisecond + 4*time.Microsecond
	tok := parsed(t, authority(), o)
	if !tok.Time.Equal(stamped) || tok.Accuracy != o.Accuracy || !tok.Latest().Equal(stamped.Add(o.Accuracy)) {
		t.Errorf("time %v ± %v", tok.Time, tok.Accuracy)
	}
	if tok.Hash != crypto.SHA512 || !tok.Covers(crypto.SHA512, o.Imprint) || tok.Covers(crypto.SHA256, digest[:]) ||
		tok.Covers(crypto.SHA512, make([]byte, 63)) || tok.Covers(0, nil) {
		t.Errorf("covers %v %x", tok.Hash, tok.Imprint)
	}
	if tok.Nonce.Cmp(o.Nonce) != 0 || tok.Policy != "1.3.6.1.4.1.99999.1" || tok.Serial == "" || len(tok.Certificates()) != 2 {
		t.Errorf("nonce %v, policy %q, serial %q", tok.Nonce, tok.Policy, tok.Serial)
	}
}

// TestRefused goes through what is no token, and what is one that is not relied on, each
// for its own reason.
func TestRefused(t *testing.T) {
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	curve, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	eku := func(critical bool, ids ...asn1.ObjectIdentifier) func(*x509.Certificate) {
		return func(c *x509.Certificate) {
			c.ExtraExtensions = nil
			if len(ids) == 0 {
				return
			}
			der, err := asn1.Marshal(ids)
			if err != nil {
				t.Fatal(err)
			}
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: critical, Value: der}}
		}
	}
	stamping, code := asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 8}, asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 3}
	critical := pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Critical: true, Value: []byte{5, 0}}
	for name, x := range map[string]struct {
		options tsa.Options
		order   func(*tsa.Order)
		edit    func(*tsa.Parts)
		reason  stamp.Reason
	}{
		"imprint by SHA-1":       {order: func(o *tsa.Order) { o.Hash, o.Imprint = crypto.SHA1, digest[:20] }, reason: stamp.ReasonAlgorithm},
		"imprint of other size":  {order: func(o *tsa.Order) { o.Imprint = digest[:31] }, reason: stamp.ReasonForm},
		"signature by SHA-1":     {order: func(o *tsa.Order) { o.By = crypto.SHA1 }, reason: stamp.ReasonAlgorithm},
		"two signers":            {edit: func(p *tsa.Parts) { p.Signers = 2 }, reason: stamp.ReasonSigners},
		"no signer":              {edit: func(p *tsa.Parts) { p.Signers = 0 }, reason: stamp.ReasonSigners},
		"no signed attributes":   {edit: func(p *tsa.Parts) { p.Unsigned = true }, reason: stamp.ReasonAttributes},
		"attributes shuffled":    {edit: func(p *tsa.Parts) { p.Shuffled = true }, reason: stamp.ReasonForm},
		"no content type":        {edit: func(p *tsa.Parts) { without(p, 3) }, reason: stamp.ReasonAttributes},
		"other content type":     {edit: func(p *tsa.Parts) { p.Attributes[0].Value = []byte{6, 1, 0x2a} }, reason: stamp.ReasonAttributes},
		"content type twice":     {edit: func(p *tsa.Parts) { p.Attributes = append(p.Attributes, p.Attributes[0]) }, reason: stamp.ReasonAttributes},
		"version of TSTInfo":     {edit: func(p *tsa.Parts) { p.Version = 2 }, reason: stamp.ReasonForm},
		"time with an offset":    {edit: func(p *tsa.Parts) { p.Time = "20260601143015+0200" }, reason: stamp.ReasonForm},
		"time with zeros":        {edit: func(p *tsa.Parts) { p.Time = "20260601123015.250Z" }, reason: stamp.ReasonForm},
		"time with a comma":      {edit: func(p *tsa.Parts) { p.Time = "20260601123015,25Z" }, reason: stamp.ReasonForm},
		"time without seconds":   {edit: func(p *tsa.Parts) { p.Time = "202606011230Z" }, reason: stamp.ReasonForm},
		"a leap second":          {edit: func(p *tsa.Parts) { p.Time = "20260630235960Z" }, reason: stamp.ReasonForm},
		"Go's zero time":         {edit: func(p *tsa.Parts) { p.Time = "00010101000000Z" }, reason: stamp.ReasonForm},
		"accuracy of two days":   {order: func(o *tsa.Order) { o.Accuracy = 48 * time.Hour }, reason: stamp.ReasonForm},
		"content is not TSTInfo": {edit: func(p *tsa.Parts) { p.Content = []byte{0x30, 0} }, reason: stamp.ReasonForm},

		"critical extension":           {edit: func(p *tsa.Parts) { p.Extensions = []pkix.Extension{critical} }, reason: stamp.ReasonCritical},
		"no certificate":               {order: func(o *tsa.Order) { o.Bare = true }, reason: stamp.ReasonNoCertificate},
		"no signing certificate":       {edit: func(p *tsa.Parts) { without(p, 47) }, reason: stamp.ReasonSigningCertificate},
		"signing certificate by SHA-1": {edit: func(p *tsa.Parts) { p.Attributes[1].Type = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 12} }, reason: stamp.ReasonSigningCertificate},
		"other signing certificate":    {edit: func(p *tsa.Parts) { p.Attributes[1] = certID(t, p.Certificates[1]) }, reason: stamp.ReasonSigningCertificate},
		"unknown signing certificate":  {edit: func(p *tsa.Parts) { p.Attributes[1] = certID(t, []byte("another")) }, reason: stamp.ReasonSigningCertificate},
		"other message digest":         {edit: func(p *tsa.Parts) { p.Digest = digest[:] }, reason: stamp.ReasonMessageDigest},
		"other name":                   {edit: func(p *tsa.Parts) { p.Name = []byte{0x82, 1, 'x'} }, reason: stamp.ReasonName},
		"no purpose":                   {options: tsa.Options{Edit: eku(false)}, reason: stamp.ReasonPurpose},
		"purpose not critical":         {options: tsa.Options{Edit: eku(false, stamping)}, reason: stamp.ReasonPurpose},
		"another purpose":              {options: tsa.Options{Edit: eku(true, code)}, reason: stamp.ReasonPurpose},
		"two purposes":                 {options: tsa.Options{Edit: eku(true, stamping, code)}, reason: stamp.ReasonPurpose},
		"an unknown purpose beside":    {options: tsa.Options{Edit: eku(true, stamping, asn1.ObjectIdentifier{1, 2, 3})}, reason: stamp.ReasonPurpose},
		"a CA that stamps":             {options: tsa.Options{Edit: func(c *x509.Certificate) { c.IsCA = true }}, reason: stamp.ReasonKeyUsage},
		"key usage for more":           {options: tsa.Options{Edit: func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageKeyEncipherment }}, reason: stamp.ReasonKeyUsage},
		"key usage for CAs":            {options: tsa.Options{Edit: func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign }}, reason: stamp.ReasonKeyUsage},
		"unknown critical extension":   {options: tsa.Options{Edit: func(c *x509.Certificate) { c.ExtraExtensions = append(c.ExtraExtensions, critical) }}, reason: stamp.ReasonCritical},
		"unknown in the issuer":        {options: tsa.Options{EditIssuer: func(c *x509.Certificate) { c.ExtraExtensions = append(c.ExtraExtensions, critical) }}, reason: stamp.ReasonCritical},
		"expired at the time":          {options: tsa.Options{Until: stamped.Add(-time.Second)}, reason: stamp.ReasonValidity},
		"not yet valid at the time":    {options: tsa.Options{From: stamped.Add(time.Second)}, reason: stamp.ReasonValidity},
		"issuer expired":               {options: tsa.Options{EditIssuer: func(c *x509.Certificate) { c.NotAfter = stamped.Add(-time.Hour) }}, reason: stamp.ReasonValidity},
		"issuer for other purposes":    {options: tsa.Options{EditIssuer: eku(false, code)}, reason: stamp.ReasonChain},
		"issuer that is no CA's":       {options: tsa.Options{EditIssuer: func(c *x509.Certificate) { c.IsCA = false; c.KeyUsage = 0 }}, reason: stamp.ReasonChain},
		"RSA key of 1024 bits":         {options: tsa.Options{Key: weak}, reason: stamp.ReasonKey},
		"key on P-224":                 {options: tsa.Options{Key: curve}, reason: stamp.ReasonKey},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("GODEBUG", "rsa1024min=0") // to make one
			a := newAuthority(t, x.options)
			o := edited(x.edit)
			if x.order != nil {
				x.order(&o)
			}
			tok, err := stamp.Parse(token(t, a, o))
			if err != nil {
				e, ok := errors.AsType[*stamp.Error](err)
				if !ok || e.Reason != x.reason || !errors.Is(err, attest.ErrForm) || errors.Is(err, stamp.ErrAlgorithm) != (x.reason == stamp.ReasonAlgorithm) {
					t.Fatalf("refused for %v, want %q", err, x.reason)
				}
				return
			}
			got := tok.Verify(trusting(a.Root()), nil, stamped)
			if got.Status == attest.Passed || got.Reason != x.reason || got.Root != nil {
				t.Fatalf("%v for %q (%s), want %q", got.Status, got.Reason, got.Detail, x.reason)
			}
			if want := x.reason == stamp.ReasonNoCertificate; (got.Status == attest.NotEstablished) != want {
				t.Errorf("%v for %q", got.Status, got.Reason)
			}
		})
	}
}

// TestTrust goes through whom the relying party trusts.
func TestTrust(t *testing.T) {
	a, other := authority(), newAuthority(t, tsa.Options{})
	tok := parsed(t, a, order())
	wrongRole := trusting(a.Root())
	wrongRole.Roots[0].Role = "tpm-ek"
	for name, x := range map[string]struct {
		anchors *attest.Anchors
		status  attest.Status
		reason  stamp.Reason
	}{
		"the root":               {trusting(a.Root()), attest.Passed, ""},
		"the authority below it": {trusting(a.Issuer()), attest.Passed, ""},
		"both":                   {trusting(other.Root(), a.Issuer(), a.Root()), attest.Passed, ""},
		"nobody":                 {nil, attest.NotEstablished, stamp.ReasonNoRoots},
		"another":                {trusting(other.Root()), attest.NotEstablished, stamp.ReasonUntrusted},
		"the signer alone":       {trusting(a.Signer()), attest.NotEstablished, stamp.ReasonNoRoots},
		"the root for TPMs":      {wrongRole, attest.NotEstablished, stamp.ReasonNoRoots},
		"no certificate":         {trusting(nil), attest.NotEstablished, stamp.ReasonNoRoots},
	} {
		t.Run(name, func(t *testing.T) {
			got := tok.Verify(x.anchors, nil, stamped)
			if got.Status != x.status || got.Reason != x.reason || (got.Root != nil) != (x.status == attest.Passed) {
				t.Fatalf("%v %q: %s", got.Status, got.Reason, got.Detail)
			}
		})
	}
	if got := tok.Verify(trusting(a.Root()), nil, time.Time{}); got.Status != attest.NotEstablished || got.Reason != stamp.ReasonArgument {
		t.Errorf("at no time: %v %q", got.Status, got.Reason)
	}
	if got := (&stamp.Token{}).Verify(trusting(a.Root()), nil, stamped); got.Status != attest.NotEstablished {
		t.Errorf("no token: %v", got.Status)
	}
}

// TestForged has another key sign under the authority's certificate, and another's
// certificate in the token.
func TestForged(t *testing.T) {
	a, other := authority(), newAuthority(t, tsa.Options{})
	for name, x := range map[string]struct {
		edit   func(*tsa.Parts)
		reason stamp.Reason
	}{
		"under another's certificate": {func(p *tsa.Parts) {
			p.Certificates = [][]byte{a.Signer().Raw, a.Issuer().Raw}
			p.Attributes[1] = certID(t, a.Signer().Raw)
			p.Name = nil
		}, stamp.ReasonSigningCertificate},
		"under his own, with another's issuer": {func(p *tsa.Parts) { p.Certificates[1] = a.Issuer().Raw }, stamp.ReasonUntrusted},
	} {
		t.Run(name, func(t *testing.T) {
			got := parsed(t, other, edited(x.edit)).Verify(trusting(a.Root()), nil, stamped)
			if got.Status == attest.Passed || got.Reason != x.reason {
				t.Fatalf("%v %q: %s", got.Status, got.Reason, got.Detail)
			}
		})
	}
	der := token(t, a, order())
	der[len(der)-1] ^= 1
	tok, err := stamp.Parse(der)
	if err != nil {
		t.Fatal(err)
	}
	if got := tok.Verify(trusting(a.Root()), nil, stamped); got.Status != attest.Failed || got.Reason != stamp.ReasonSignature {
		t.Errorf("%v %q", got.Status, got.Reason)
	}
}

// certID names a certificate.
func certID(tb testing.TB, der []byte) tsa.Attribute {
	tb.Helper()
	x, err := tsa.CertID(der)
	if err != nil {
		tb.Fatal(err)
	}
	return x
}

func BenchmarkParse(b *testing.B) {
	der := full(b)
	for b.Loop() {
		if _, err := stamp.Parse(der); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	tok, anchors := parsed(b, authority(), order()), trusting(authority().Root())
	for b.Loop() {
		if got := tok.Verify(anchors, nil, stamped); got.Status != attest.Passed {
			b.Fatal(got.Detail)
		}
	}
}
