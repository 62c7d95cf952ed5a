package tpm

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"testing"
	"time"

	"github.com/sworn-run/sworn/attest"
)

// ekAnchors returns anchors of role "tpm-ek".
func ekAnchors(certs ...*x509.Certificate) *attest.Anchors {
	a := anchors(certs...)
	for i := range a.Roots {
		a.Roots[i].Role = RoleEK
	}
	return a
}

// ekTemplate is a certificate for an EK on a curve.
func ekTemplate(tb testing.TB) *x509.Certificate {
	tb.Helper()
	c := template("")
	c.KeyUsage = x509.KeyUsageKeyAgreement
	c.UnknownExtKeyUsage = []asn1.ObjectIdentifier{{2, 23, 133, 8, 1}}
	c.ExtraExtensions = []pkix.Extension{tcgName(tb, "id:49465800", "SLB 9670", "id:0007003F")}
	return c
}

// TestVerifyEKCaptured verifies the EK certificate of a captured software TPM.
func TestVerifyEKCaptured(t *testing.T) {
	root, sub := certificate(t, "ca", "swtpm-localca-rootca-cert.pem"), certificate(t, "ca", "issuercert.pem")
	der := read(t, "run-llm", "nv_01c00016")
	ek, err := VerifyEK([][]byte{der}, ekAnchors(root, sub), testTime)
	if err != nil {
		t.Fatal(err)
	}
	if ek.Vendor != "id:00001014" || ek.Model == "" || ek.Version == "" || !ek.Root.Certificate.Equal(root) || !ek.Root.UserSupplied {
		t.Errorf("%+v", ek)
	}
	if _, err := VerifyEK([][]byte{der}, anchors(root, sub), testTime); !errors.Is(err, ErrIdentity) {
		t.Errorf("roots of another role: %v", err)
	}
	if _, err := VerifyEK([][]byte{der}, &attest.Anchors{Pins: Pins()}, testTime); !errors.Is(err, ErrIdentity) {
		t.Errorf("pins: %v", err)
	}
}

func TestVerifyEK(t *testing.T) {
	maker := newAuthority(t, caTemplate("maker"), nil)
	sub := newAuthority(t, caTemplate("maker 01"), maker)
	k, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leaf := func(change func(*x509.Certificate)) []byte {
		c := ekTemplate(t)
		if change != nil {
			change(c)
		}
		return maker.issue(t, c, k.Public())
	}
	eku := func(ids ...string) func(*x509.Certificate) {
		return func(c *x509.Certificate) {
			c.UnknownExtKeyUsage = nil
			for _, id := range ids {
				c.UnknownExtKeyUsage = append(c.UnknownExtKeyUsage, objectID(t, id))
			}
		}
	}
	pinned := func(product string) *attest.Anchors {
		pin := pinOf(maker.cert)
		pin.Role, pin.Product = RoleEK, product
		return &attest.Anchors{Pins: []attest.Pin{pin}}
	}
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	roots := ekAnchors(maker.cert)
	at := testTime
	for name, tc := range map[string]struct {
		anchors *attest.Anchors
		given   [][]byte
		at      time.Time
		want    error
	}{
		"by the root":          {roots, [][]byte{leaf(nil)}, at, nil},
		"by an intermediate":   {roots, [][]byte{sub.issue(t, ekTemplate(t), k.Public()), sub.cert.Raw}, at, nil},
		"by the maker's pin":   {pinned("IFX"), [][]byte{leaf(nil), maker.cert.Raw}, at, nil},
		"pin of many makers":   {pinned(""), [][]byte{leaf(nil), maker.cert.Raw}, at, nil},
		"another maker's name": {pinned("NTC"), [][]byte{leaf(nil), maker.cert.Raw}, at, ErrIdentity},
		"another maker's root": {ekAnchors(newAuthority(t, caTemplate("other"), nil).cert), [][]byte{leaf(nil)}, at, ErrIdentity},
		"same name, other key": {ekAnchors(newAuthority(t, caTemplate("maker"), nil).cert), [][]byte{leaf(nil)}, at, ErrIdentity},
		"no root":              {nil, [][]byte{leaf(nil)}, at, ErrIdentity},
		"intermediate missing": {roots, [][]byte{sub.issue(t, ekTemplate(t), k.Public())}, at, ErrIdentity},
		"a CA's":               {roots, [][]byte{leaf(func(c *x509.Certificate) { c.IsCA = true })}, at, ErrIdentity},
		"expired":              {roots, [][]byte{leaf(nil)}, at.AddDate(0, 0, 2), ErrIdentity},
		"not yet valid":        {roots, [][]byte{leaf(nil)}, at.AddDate(0, 0, -2), ErrIdentity},
		"signs":                {roots, [][]byte{leaf(func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageDigitalSignature })}, at, ErrIdentity},
		"usage of RSA":         {roots, [][]byte{leaf(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment })}, at, ErrIdentity},
		"no usage":             {roots, [][]byte{leaf(func(c *x509.Certificate) { c.KeyUsage = 0 })}, at, ErrIdentity},
		"an AK's":              {roots, [][]byte{leaf(eku(oidKPAK))}, at, ErrIdentity},
		"an AK's too":          {roots, [][]byte{leaf(eku(oidKPEK, oidKPAK))}, at, ErrIdentity},
		"no EKU":               {roots, [][]byte{leaf(eku())}, at, ErrIdentity},
		"no name":              {roots, [][]byte{leaf(func(c *x509.Certificate) { c.ExtraExtensions, c.Subject.CommonName = nil, "ek" })}, at, ErrIdentity},
		"another name":         {roots, [][]byte{leaf(func(c *x509.Certificate) { c.ExtraExtensions = nil; c.DNSNames = []string{"ek.example"} })}, at, ErrIdentity},
		"critical extension": {roots, [][]byte{leaf(func(c *x509.Certificate) {
			named(pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}})(c)
		})}, at, ErrIdentity},
		"weak key": {roots, [][]byte{maker.issue(t, func() *x509.Certificate {
			c := ekTemplate(t)
			c.KeyUsage = x509.KeyUsageKeyEncipherment
			return c
		}(), weak.Public())}, at, ErrIdentity},
		"trailing zeros":   {roots, [][]byte{append(leaf(nil), 0, 0)}, at, attest.ErrForm},
		"not DER":          {roots, [][]byte{{0x30, 0x80}}, at, attest.ErrForm},
		"too large":        {roots, [][]byte{make([]byte, maxCertificate+1)}, at, attest.ErrForm},
		"too many":         {roots, make([][]byte, maxCertificates+1), at, attest.ErrForm},
		"zero time":        {roots, [][]byte{leaf(nil)}, time.Time{}, attest.ErrArgument},
		"no certificate":   {roots, nil, at, attest.ErrArgument},
		"certificate, nil": {roots, [][]byte{nil}, at, attest.ErrForm},
	} {
		t.Run(name, func(t *testing.T) {
			ek, err := VerifyEK(tc.given, tc.anchors, tc.at)
			if !errors.Is(err, tc.want) || (ek == nil) == (err == nil) {
				t.Fatalf("%+v, %v", ek, err)
			}
			if err == nil && (ek.Vendor != "IFX" || ek.Model != "SLB 9670" || ek.Version != "id:0007003F" || len(ek.Name) == 0) {
				t.Errorf("%+v", ek)
			}
		})
	}
}

func TestVendor(t *testing.T) {
	for id, want := range map[string]string{
		"id:49465800": "IFX", "id:53544D20": "STM", "id:474F4F47": "GOOG", "id:00001014": "id:00001014", "id:00000000": "id:00000000", "id:4100420A": "id:4100420A",
	} {
		if got := vendor(id); got != want {
			t.Errorf("%s: %q, want %q", id, got, want)
		}
	}
}

func TestCheckAK(t *testing.T) {
	ak := newECC(t, elliptic.P256(), attest.SHA256)
	good := ak.pub
	good.attributes = attrWanted | attrUserWithAuth | attrNoDA
	name, key, err := CheckAK(good.marshal())
	if err != nil || len(name) != 34 || !sameKey(key, ak.signer.Public()) {
		t.Fatalf("%x, %v, %v", name, key, err)
	}
	for what, change := range map[string]func(*public){
		"not restricted":       func(p *public) { p.attributes &^= attrRestricted },
		"not fixed in its TPM": func(p *public) { p.attributes &^= attrFixedTPM },
		"can be moved":         func(p *public) { p.attributes &^= attrFixedParent },
		"imported":             func(p *public) { p.attributes &^= attrSensitiveDataOrigin },
		"does not sign":        func(p *public) { p.attributes &^= attrSign },
		"decrypts":             func(p *public) { p.attributes |= attrDecrypt },
		"no authorization":     func(p *public) { p.attributes &^= attrUserWithAuth },
		"policy for admin":     func(p *public) { p.attributes |= attrAdminWithPolicy },
		"policy":               func(p *public) { p.authPolicy = make([]byte, 32) },
		"gone at restart":      func(p *public) { p.attributes |= attrSTClear },
		"no scheme":            func(p *public) { p.scheme = scheme{alg: algNull} },
	} {
		p := good
		change(&p)
		if name, key, err := CheckAK(p.marshal()); !errors.Is(err, attest.ErrMode) || name != nil || key != nil {
			t.Errorf("%s: %x, %v", what, name, err)
		}
	}
	for what, b := range map[string][]byte{"empty": nil, "short": good.marshal()[:20], "long": make([]byte, maxPublic+1)} {
		if _, _, err := CheckAK(b); !errors.Is(err, attest.ErrForm) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
