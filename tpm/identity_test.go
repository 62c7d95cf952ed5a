package tpm

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sworn-run/sworn/attest"
)

// pki is a maker with a root, an intermediate and one AK.
type pki struct {
	root, sub *authority
	ak        *fakeAK
}

func newPKI(tb testing.TB) *pki {
	tb.Helper()
	root := newAuthority(tb, caTemplate("SIMULATED TPM maker"), nil)
	return &pki{
		root: root,
		sub:  newAuthority(tb, caTemplate("SIMULATED TPM maker issuer"), root),
		ak:   newECC(tb, elliptic.P256(), attest.SHA256),
	}
}

// leaf returns a certificate by the root for the AK.
func (p *pki) leaf(tb testing.TB, change func(*x509.Certificate)) []byte {
	tb.Helper()
	c := leafTemplate("ak")
	if change != nil {
		change(c)
	}
	return p.root.issue(tb, c, p.ak.signer.Public())
}

// identity verifies the AK's quote with those certificates.
func (p *pki) identity(tb testing.TB, a *attest.Anchors, certificates ...[]byte) *attest.Claims {
	tb.Helper()
	claims, err := Scheme{}.Verify(p.ak.quoted(tb, certificates...), a, testTime)
	if err != nil {
		tb.Fatal(err)
	}
	return claims
}

func TestIdentityPassed(t *testing.T) {
	p := newPKI(t)
	viaSub := p.sub.issue(t, leafTemplate("ak"), p.ak.signer.Public())
	other := newAuthority(t, caTemplate("another maker"), nil)
	for name, tc := range map[string]struct {
		anchors      *attest.Anchors
		certificates [][]byte
	}{
		"by the root":               {anchors(other.cert, p.root.cert), [][]byte{p.leaf(t, nil)}},
		"by an intermediate":        {anchors(p.root.cert), [][]byte{viaSub, p.sub.cert.Raw}},
		"by an anchored one":        {anchors(p.sub.cert, p.root.cert), [][]byte{viaSub}},
		"with the root itself":      {anchors(p.root.cert), [][]byte{viaSub, p.sub.cert.Raw, p.root.cert.Raw}},
		"intermediate given twice":  {anchors(p.sub.cert, p.root.cert), [][]byte{viaSub, p.sub.cert.Raw}},
		"with a critical TCG name":  {anchors(p.root.cert), [][]byte{p.leaf(t, named(tcgName(t, "id:474F4F47", "vTPM", "id:20160511")))}},
		"with an ordinary SAN name": {anchors(p.root.cert), [][]byte{p.leaf(t, func(c *x509.Certificate) { c.DNSNames = []string{"ak.example"} })}},
	} {
		t.Run(name, func(t *testing.T) {
			claims := p.identity(t, tc.anchors, tc.certificates...)
			id := claims.Identity
			if id.Status != attest.Passed || id.Root == nil || id.Provenance == "" {
				t.Fatalf("identity %+v", id)
			}
			if !id.Root.Certificate.Equal(p.root.cert) || !id.Root.UserSupplied || id.Root.Role != "tpm-ak" {
				t.Errorf("root %+v", id.Root)
			}
			if claims.Revocation.Status != attest.Passed {
				t.Errorf("revocation %+v", claims.Revocation)
			}
		})
	}
}

// named returns a change that adds an extension.
func named(e pkix.Extension) func(*x509.Certificate) {
	return func(c *x509.Certificate) { c.ExtraExtensions = append(c.ExtraExtensions, e) }
}

func TestIdentityNotEstablished(t *testing.T) {
	p := newPKI(t)
	otherRole := &attest.Anchors{Roots: []attest.Root{{Role: "tpm-ek", Certificate: p.root.cert}}}
	forged := forgedRoot(t, p.root)
	for name, tc := range map[string]struct {
		anchors      *attest.Anchors
		certificates [][]byte
	}{
		"no certificate":            {anchors(p.root.cert), nil},
		"nil anchors":               {nil, [][]byte{p.leaf(t, nil)}},
		"zero anchors":              {&attest.Anchors{}, [][]byte{p.leaf(t, nil)}},
		"root of another role":      {otherRole, [][]byte{p.leaf(t, nil)}},
		"only an intermediate":      {anchors(p.sub.cert), [][]byte{p.sub.issue(t, leafTemplate("ak"), p.ak.signer.Public())}},
		"nil root certificate":      {anchors(nil), [][]byte{p.leaf(t, nil)}},
		"root not signed by itself": {anchors(forged), [][]byte{p.leaf(t, nil)}},
	} {
		t.Run(name, func(t *testing.T) {
			claims := p.identity(t, tc.anchors, tc.certificates...)
			if id := claims.Identity; id.Status != attest.NotEstablished || id.Root != nil || id.Detail == "" {
				t.Errorf("identity %+v", id)
			}
			if r := claims.Revocation; r.Status != attest.NotEstablished || r.Detail == "" {
				t.Errorf("revocation %+v", r)
			}
		})
	}
}

// forgedRoot returns a root of a's key and name whose self-signature is bad.
func forgedRoot(tb testing.TB, a *authority) *x509.Certificate {
	tb.Helper()
	der := bytes.Clone(a.cert.Raw)
	der[len(der)-1] ^= 1
	c, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

func TestIdentityFailed(t *testing.T) {
	p := newPKI(t)
	roots := anchors(p.root.cert)
	leaf := func(change func(*x509.Certificate)) [][]byte { return [][]byte{p.leaf(t, change)} }
	foreign := newECC(t, elliptic.P256(), attest.SHA256)
	viaSub := p.sub.issue(t, leafTemplate("ak"), p.ak.signer.Public())
	limited := caTemplate("no issuers below")
	limited.MaxPathLenZero = true
	tight := newAuthority(t, limited, nil)
	below := newAuthority(t, caTemplate("below"), tight)
	ended := caTemplate("ended")
	ended.NotAfter = testTime.Add(-time.Second)
	endedRoot := newAuthority(t, ended, nil)
	for name, tc := range map[string]struct {
		anchors      *attest.Anchors
		certificates [][]byte
	}{
		"for another AK":           {roots, [][]byte{p.root.issue(t, leafTemplate("ak"), foreign.signer.Public())}},
		"for another, no root":     {nil, [][]byte{p.root.issue(t, leafTemplate("ak"), foreign.signer.Public())}},
		"unknown root":             {anchors(newAuthority(t, caTemplate("stranger"), nil).cert), leaf(nil)},
		"same name, other key":     {anchors(newAuthority(t, caTemplate("SIMULATED TPM maker"), nil).cert), leaf(nil)},
		"expired":                  {roots, leaf(func(c *x509.Certificate) { c.NotAfter = testTime.Add(-time.Second) })},
		"not yet valid":            {roots, leaf(func(c *x509.Certificate) { c.NotBefore = testTime.Add(time.Second) })},
		"expired root":             {anchors(endedRoot.cert), [][]byte{endedRoot.issue(t, leafTemplate("ak"), p.ak.signer.Public())}},
		"a CA's":                   {roots, leaf(func(c *x509.Certificate) { c.IsCA = true })},
		"for signing certificates": {roots, leaf(func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageCertSign })},
		"for key agreement":        {roots, leaf(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyAgreement })},
		"no key usage":             {roots, leaf(func(c *x509.Certificate) { c.KeyUsage = 0 })},
		"no EKU":                   {roots, leaf(func(c *x509.Certificate) { c.UnknownExtKeyUsage = nil })},
		"EKU of an EK":             {roots, leaf(func(c *x509.Certificate) { c.UnknownExtKeyUsage = []asn1.ObjectIdentifier{{2, 23, 133, 8, 1}} })},
		"EKU of both": {roots, leaf(func(c *x509.Certificate) {
			c.UnknownExtKeyUsage = append(c.UnknownExtKeyUsage, asn1.ObjectIdentifier{2, 23, 133, 8, 1})
		})},
		"any EKU": {roots, leaf(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny} })},
		"EKU of a server": {roots, leaf(func(c *x509.Certificate) {
			c.UnknownExtKeyUsage, c.ExtKeyUsage = nil, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		})},
		"critical extension":  {roots, leaf(named(pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}}))},
		"critical other name": {roots, leaf(named(tcgName(t, "474F4F47", "vTPM", "id:1")))},
		"TCG name and another": {roots, leaf(func(c *x509.Certificate) {
			named(tcgName(t, "id:474F4F47", "vTPM", "id:1"))(c)
			named(pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}})(c)
		})},
		"intermediate missing":      {roots, [][]byte{viaSub}},
		"surplus certificate":       {roots, [][]byte{p.leaf(t, nil), p.sub.cert.Raw}},
		"certificates out of order": {roots, [][]byte{viaSub, p.root.cert.Raw, p.sub.cert.Raw}},
		"own root given, untrusted": {anchors(newAuthority(t, caTemplate("x"), nil).cert), [][]byte{p.leaf(t, nil), p.root.cert.Raw}},
		"path too long":             {anchors(tight.cert), [][]byte{below.issue(t, leafTemplate("ak"), p.ak.signer.Public()), below.cert.Raw}},
		"issuer no CA":              {roots, issuedByLeaf(t, p)},
		"weak root":                 weakRoot(t, p),
	} {
		t.Run(name, func(t *testing.T) {
			claims := p.identity(t, tc.anchors, tc.certificates...)
			if id := claims.Identity; id.Status != attest.Failed || id.Root != nil || id.Detail == "" {
				t.Errorf("identity %+v", id)
			}
			if claims.Revocation.Status != attest.NotEstablished {
				t.Errorf("revocation %+v", claims.Revocation)
			}
		})
	}
}

// issuedByLeaf returns a certificate for the AK by a certificate that is no
// CA's.
func issuedByLeaf(tb testing.TB, p *pki) [][]byte {
	tb.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	der := p.root.issue(tb, leafTemplate("not a CA"), &k.PublicKey)
	c, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	a := &authority{cert: c, key: k}
	return [][]byte{a.issue(tb, leafTemplate("ak"), p.ak.signer.Public()), der}
}

// TestForeignAK: a genuine EK certificate of the same TPM does not vouch for
// an AK, and an AK of another TPM gains nothing by it.
func TestForeignAK(t *testing.T) {
	ev := capture(t, "run-llm", attest.SHA256)
	ev.Parts = append(ev.Parts, attest.Part{Name: PartCertificate, Data: read(t, "run-llm", "nv_01c00016")})
	roots := anchors(certificate(t, "ca", "swtpm-localca-rootca-cert.pem"), certificate(t, "ca", "issuercert.pem"))
	claims, err := Scheme{}.Verify(ev, roots, testTime)
	if err != nil {
		t.Fatal(err)
	}
	if claims.Identity.Status != attest.Failed || claims.Identity.Root != nil {
		t.Errorf("identity %+v", claims.Identity)
	}
}

// TestTCGName reads the name in a genuine EK certificate, and refuses others.
func TestTCGName(t *testing.T) {
	c, err := x509.ParseCertificate(read(t, "run-llm", "nv_01c00016"))
	if err != nil {
		t.Fatal(err)
	}
	genuine := extension(c, oidSubjectAltName).Value
	if !isTCGName(genuine) {
		t.Error("the genuine name is refused")
	}
	dns, err := asn1.Marshal([]asn1.RawValue{{Class: asn1.ClassContextSpecific, Tag: 2, Bytes: []byte("a.example")}})
	if err != nil {
		t.Fatal(err)
	}
	for name, der := range map[string][]byte{
		"empty":            nil,
		"trailing byte":    append(bytes.Clone(genuine), 0),
		"truncated":        genuine[:len(genuine)-1],
		"DNS name":         dns,
		"no manufacturer":  tcgName(t, "", "m", "id:1").Value,
		"short id":         tcgName(t, "id:1014", "m", "id:1").Value,
		"not hex":          tcgName(t, "id:0000101G", "m", "id:1").Value,
		"no id":            tcgName(t, "00001014", "m", "id:1").Value,
		"no model":         tcgName(t, "id:00001014", "", "id:1").Value,
		"version no id":    tcgName(t, "id:00001014", "m", "1").Value,
		"version too long": tcgName(t, "id:00001014", "m", "id:00000000000000001").Value,
	} {
		if isTCGName(der) {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestRevocation(t *testing.T) {
	p := newPKI(t)
	location := asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 6, Bytes: []byte("http://a.example")}
	type access struct {
		Method   asn1.ObjectIdentifier
		Location asn1.RawValue
	}
	aia := func(method ...int) pkix.Extension {
		der, err := asn1.Marshal([]access{{Method: method, Location: location}})
		if err != nil {
			t.Fatal(err)
		}
		return pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 1}, Value: der}
	}
	for name, tc := range map[string]struct {
		change func(*x509.Certificate)
		want   attest.Status
	}{
		"none":         {nil, attest.Passed},
		"issuer's URL": {named(aia(1, 3, 6, 1, 5, 5, 7, 48, 2)), attest.Passed},
		"CRL":          {func(c *x509.Certificate) { c.CRLDistributionPoints = []string{"http://a.example"} }, attest.NotEstablished},
		"OCSP":         {named(aia(1, 3, 6, 1, 5, 5, 7, 48, 1)), attest.NotEstablished},
		"unknown":      {named(aia(1, 2, 3)), attest.NotEstablished},
		"empty CRL":    {named(pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 31}, Value: []byte{0x30, 0}}), attest.NotEstablished},
		"freshest CRL": {named(pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 46}, Value: []byte{0x30, 0}}), attest.NotEstablished},
	} {
		t.Run(name, func(t *testing.T) {
			claims := p.identity(t, anchors(p.root.cert), p.leaf(t, tc.change))
			if claims.Identity.Status != attest.Passed || claims.Revocation.Status != tc.want {
				t.Errorf("identity %+v, revocation %+v", claims.Identity, claims.Revocation)
			}
		})
	}
	t.Run("CRL of an intermediate", func(t *testing.T) {
		c := caTemplate("sub with CRL")
		c.CRLDistributionPoints = []string{"http://a.example"}
		sub := newAuthority(t, c, p.root)
		claims := p.identity(t, anchors(p.root.cert), sub.issue(t, leafTemplate("ak"), p.ak.signer.Public()), sub.cert.Raw)
		if claims.Identity.Status != attest.Passed || claims.Revocation.Status != attest.NotEstablished {
			t.Errorf("identity %+v, revocation %+v", claims.Identity, claims.Revocation)
		}
	})
}

// TestAnchorsUnchanged checks that the anchors stay as they were and that the
// root in the claims is a copy.
func TestAnchorsUnchanged(t *testing.T) {
	p := newPKI(t)
	a := anchors(p.root.cert)
	claims := p.identity(t, a, p.leaf(t, nil))
	claims.Identity.Root.Role = "changed"
	if d := cmp.Diff("tpm-ak", a.Roots[0].Role); d != "" {
		t.Error(d)
	}
}

// weakRoot returns anchors of an RSA-1024 root, and a certificate by it.
func weakRoot(tb testing.TB, p *pki) struct {
	anchors      *attest.Anchors
	certificates [][]byte
} {
	tb.Helper()
	k, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		tb.Fatal(err)
	}
	c := caTemplate("weak")
	der, err := x509.CreateCertificate(rand.Reader, c, c, &k.PublicKey, k)
	if err != nil {
		tb.Fatal(err)
	}
	root, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	leaf := leafTemplate("ak")
	leaf.SerialNumber = big.NewInt(43)
	der, err = x509.CreateCertificate(rand.Reader, leaf, root, p.ak.signer.Public(), k)
	if err != nil {
		tb.Fatal(err)
	}
	return struct {
		anchors      *attest.Anchors
		certificates [][]byte
	}{anchors(root), [][]byte{der}}
}
