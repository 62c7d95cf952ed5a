package verifier_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/cer/oms"
	"github.com/sworn-run/sworn/verifier"
)

// modelAuthority makes a CA for model signers, valid at the golden time.
func modelAuthority(t *testing.T, name string, issuer *authority) *authority {
	t.Helper()
	return issue(t, name, newKey(t), issuer, func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = goldenTime(t).AddDate(-1, 0, 0), goldenTime(t).AddDate(1, 0, 0)
	})
}

// modelLeaf makes the certificate of one who signs models, valid for an hour
// around the golden time.
func modelLeaf(t *testing.T, issuer *authority, change func(*x509.Certificate)) *authority {
	t.Helper()
	return issue(t, "publisher", newKey(t), issuer, func(c *x509.Certificate) {
		c.IsCA, c.KeyUsage, c.ExtKeyUsage = false, x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}
		c.NotBefore, c.NotAfter = goldenTime(t).Add(-time.Hour), goldenTime(t).Add(time.Hour)
		if change != nil {
			change(c)
		}
	})
}

// signedPage forges the golden page with a model signature over its weights, or
// over other ones.
func signedPage(t *testing.T, f *forger, other bool, key crypto.Signer, chain ...*x509.Certificate) []byte {
	t.Helper()
	files := []oms.File{{Path: ".", SHA256: goldenFile(t, "weights.bin").SHA256}}
	if other {
		files[0].SHA256[0] ^= 1
	}
	m, err := oms.NewManifest(files, oms.Options{Name: "model"})
	if err != nil {
		t.Fatal(err)
	}
	b, err := oms.Sign(rand.Reader, m, key, chain...)
	if err != nil {
		t.Fatal(err)
	}
	return withSignature(t, f, b)
}

// withSignature forges the golden page with a model signature.
func withSignature(t *testing.T, f *forger, signature []byte) []byte {
	t.Helper()
	c := &cer.Component{
		Role: cer.RoleModelSignature, Name: "default", Digest: []string{cer.SHA256Digest(sha256.Sum256(signature))}, Size: fmt.Sprint(len(signature)),
	}
	return f.record(t, forgery{
		events: func(l *attest.Log) { addComponent(t, l, c) },
		capsule: func(c *cer.Capsule) {
			c.Collateral = []attest.Collateral{{Kind: verifier.CollateralModelSignature, Data: signature}}
		},
	})
}

// signerInput is the input of one who trusts the forger, and these signers of
// models; listed, if any, are the keys that the policy lists.
func signerInput(t *testing.T, f *forger, listed []string, files ...verifier.RootFile) verifier.Input {
	t.Helper()
	in := f.input(t, func(p map[string]any) {
		p["others"] = "report"
		// The signature is one more file than the policy lists.
		p["waive"] = append(p["waive"].([]any), map[string]any{"check": "components.closed", "reason": "the signature"})
		if listed != nil {
			spki := []any{}
			for _, s := range listed {
				spki = append(spki, s)
			}
			p["model_signers"] = []any{map[string]any{"weights": "default", "spki": spki}}
		}
	})
	in.Roots = modelStore(t, append(files, verifier.RootFile{Path: "tpm-ak/forged.der", Data: f.root.cert.Raw})...)
	return in
}

func modelStore(t *testing.T, files ...verifier.RootFile) *verifier.TrustStore {
	t.Helper()
	s, err := verifier.NewTrustStore(files)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func signerFile(name string, a *authority) verifier.RootFile {
	return verifier.RootFile{Path: "model-signer/" + name, Data: asPEM("CERTIFICATE", a.cert.Raw)}
}

func keyFile(name string, a *authority) verifier.RootFile {
	return verifier.RootFile{Path: "model-signer/" + name, Data: asPEM("PUBLIC KEY", a.cert.RawSubjectPublicKeyInfo)}
}

func keyID(a *authority) string { return cer.SHA256Digest(verifier.SPKIDigest(a.cert)) }

// TestModelAuthority: weights signed by a key that an authority certified.
func TestModelAuthority(t *testing.T) {
	f := newForger(t)
	root, other := modelAuthority(t, "Models Inc", nil), modelAuthority(t, "Others Inc", nil)
	below := modelAuthority(t, "Models Inc, signing", root)
	leaf := modelLeaf(t, below, nil)
	file := signedPage(t, f, false, leaf.key, leaf.cert, below.cert)
	spki := verifier.SPKIDigest(root.cert)
	headline := fmt.Sprintf(`user-supplied model authority "Models Inc" %s`, hex.EncodeToString(spki[:8]))
	for name, listed := range map[string][]string{
		"any signer": nil, "the signer": {keyID(leaf)}, "the authority": {keyID(root)}, "one of two": {keyID(other), keyID(root)},
	} {
		r := verify(t, file, signerInput(t, f, listed, signerFile("ca.pem", root), signerFile("other.pem", other)))
		if !r.Trusted || !strings.Contains(r.Headline, headline) || strings.Contains(r.Headline, "Others Inc") {
			t.Errorf("%s: %s", name, r.Headline)
		}
	}
	// Two authorities above one certificate: the one that the policy lists counts.
	in := signerInput(t, f, []string{keyID(below)}, signerFile("a.pem", root), signerFile("b.pem", below))
	if r := verify(t, file, in); !r.Trusted || !strings.Contains(r.Headline, `"Models Inc, signing"`) || strings.Contains(r.Headline, `"Models Inc" `) {
		t.Errorf("the listed of two: %s", r.Headline)
	}
	if c := find(t, verify(t, file, in), "model.signature"); !strings.Contains(c.Detail, "below authority") {
		t.Errorf("detail %q", c.Detail)
	}
}

// refusedSigner is a record whose signature is not good enough, and why.
type refusedSigner struct {
	file   []byte
	in     verifier.Input
	status attest.Status
}

func TestModelAuthorityRefused(t *testing.T) {
	f := newForger(t)
	root, other := modelAuthority(t, "Models Inc", nil), modelAuthority(t, "Others Inc", nil)
	old := issue(t, "Old Inc", newKey(t), nil, nil)
	leaf, plain := modelLeaf(t, root, nil), newKey(t)
	file := signedPage(t, f, false, leaf.key, leaf.cert)
	ca := []verifier.RootFile{signerFile("ca.pem", root)}
	at := func(later time.Duration) verifier.Input {
		in := signerInput(t, f, nil, ca...)
		in.Now = in.Now.Add(later)
		return in
	}
	server := modelLeaf(t, root, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })
	below := modelLeaf(t, old, nil)
	sigstore := withSignature(t, f, sigstoreSignature(t))
	for name, c := range map[string]refusedSigner{
		"no authority":              {file, signerInput(t, f, nil), attest.NotEstablished},
		"only a key":                {file, signerInput(t, f, nil, keyFile("k.pem", leaf)), attest.NotEstablished},
		"another authority":         {file, signerInput(t, f, nil, signerFile("ca.pem", other)), attest.Failed},
		"not listed":                {file, signerInput(t, f, []string{keyID(other)}, ca...), attest.Failed},
		"expired":                   {file, at(2 * time.Hour), attest.Failed},
		"not yet valid":             {file, at(-2 * time.Hour), attest.Failed},
		"the authority has expired": {signedPage(t, f, false, below.key, below.cert), signerInput(t, f, nil, signerFile("ca.pem", old)), attest.Failed},
		"for another use":           {signedPage(t, f, false, server.key, server.cert), signerInput(t, f, nil, ca...), attest.Failed},
		"other weights":             {signedPage(t, f, true, leaf.key, leaf.cert), signerInput(t, f, nil, ca...), attest.Failed},
		"by a key, only authority":  {signedPage(t, f, false, plain), signerInput(t, f, nil, ca...), attest.NotEstablished},
		"by the authority's key":    {signedPage(t, f, false, root.key), signerInput(t, f, nil, ca...), attest.NotEstablished},
		"Sigstore's":                {sigstore, signerInput(t, f, nil, ca...), attest.NotEstablished},
	} {
		t.Run(name, func(t *testing.T) {
			r := verify(t, c.file, c.in)
			wantRefused(t, r, "model.signature")
			if got := find(t, r, "model.signature").Status; got != c.status.String() {
				t.Errorf("%s, want %s: %s", got, c.status, find(t, r, "model.signature").Detail)
			}
		})
	}
}

func TestSigners(t *testing.T) {
	a, b := modelAuthority(t, "A", nil), modelAuthority(t, "B", nil)
	s := modelStore(t, signerFile("a.pem", a), keyFile("b.pem", b), verifier.RootFile{Path: "model-signer/c", Data: b.cert.Raw})
	got := s.Signers()
	if len(got) != 3 || !got[0].Authority.Equal(a.cert) || got[1].Key == nil || !got[2].Authority.Equal(b.cert) || len(s.Anchors().Roots) != 0 {
		t.Fatalf("signers %+v", got)
	}
	for i, want := range []*authority{a, b, b} {
		if got[i].SPKI != verifier.SPKIDigest(want.cert) || (got[i].Key == nil) == (got[i].Authority == nil) {
			t.Errorf("signer %d: %+v", i, got[i])
		}
	}
	// To trust a key is another thing than to trust whom it certifies.
	spki := verifier.SPKIDigest(a.cert)
	key, ca := modelStore(t, keyFile("x", a)).Digest(), modelStore(t, signerFile("x", a)).Digest()
	if key != sha256.Sum256([]byte("sworn.run/roots/v1\x00\x0cmodel-signer\x00"+string(spki[:]))) ||
		ca != sha256.Sum256([]byte("sworn.run/roots/v1\x00\x0cmodel-signer\x02ca"+string(spki[:]))) {
		t.Errorf("digests %x and %x", key, ca)
	}
	again := issue(t, "A", a.key, nil, nil)
	if s := modelStore(t, signerFile("a", a), signerFile("b", again)); len(s.Signers()) != 2 {
		t.Error("a certificate that was renewed is refused")
	}
}

func TestSignersRefused(t *testing.T) {
	a := modelAuthority(t, "A", nil)
	leaf := modelLeaf(t, a, nil)
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := x509.MarshalPKIXPublicKey(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	file := func(kind string, der []byte) []verifier.RootFile {
		return []verifier.RootFile{{Path: "model-signer/x", Data: asPEM(kind, der)}}
	}
	spki := a.cert.RawSubjectPublicKeyInfo
	for name, files := range map[string][]verifier.RootFile{
		"a leaf":                   {signerFile("x", leaf)},
		"a key twice":              {keyFile("x", a), keyFile("y", a)},
		"a certificate twice":      {signerFile("x", a), {Path: "model-signer/y", Data: a.cert.Raw}},
		"a key of RSA":             file("PUBLIC KEY", rsaKey),
		"a key as certificate":     file("CERTIFICATE", spki),
		"a certificate as key":     file("PUBLIC KEY", a.cert.Raw),
		"another type":             file("EC PRIVATE KEY", spki),
		"a key and a certificate":  {{Path: "model-signer/x", Data: slices.Concat(asPEM("PUBLIC KEY", spki), asPEM("CERTIFICATE", a.cert.Raw))}},
		"something after the DER":  {{Path: "model-signer/x", Data: append(slices.Clone(a.cert.Raw), 0)}},
		"a file at another level":  {{Path: "model-signer/x/y", Data: a.cert.Raw}},
		"nothing":                  {{Path: "model-signer/x"}},
		"neither":                  {{Path: "model-signer/x", Data: []byte("{}")}},
		"a key on another's curve": file("PUBLIC KEY", otherCurve(t)),
	} {
		t.Run(name, func(t *testing.T) { refuseRoots(t, files...) })
	}
}

// otherCurve is a key on a curve that no signature is made with.
func otherCurve(t *testing.T) []byte {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// sigstoreSignature is a signature with a certificate of Sigstore's, made by the
// format's own tool.
func sigstoreSignature(t *testing.T) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "cer", "oms", "testdata", "v1.1.0-sigstore.sig"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
