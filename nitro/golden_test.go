package nitro

import (
	"bytes"
	"crypto/x509"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/sworn-run/sworn/attest"
)

var update = flag.Bool("update", false, "make a document of a simulated vendor in testdata")

// goldenFile is a file of testdata.
func goldenFile(tb testing.TB, name string) []byte {
	tb.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// TestGolden: the document of a simulated vendor that this package keeps is read as it
// was when it was made.
func TestGolden(t *testing.T) {
	quoted := bytes.Repeat([]byte{0x51}, 64)
	if *update {
		v := newVendor(t, nil)
		for name, b := range map[string][]byte{"document.cbor": v.document(t, quoted), "root.der": v[0].cert.Raw} {
			if err := os.WriteFile(filepath.Join("testdata", name), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	root, err := x509.ParseCertificate(goldenFile(t, "root.der"))
	if err != nil {
		t.Fatal(err)
	}
	anchors := &attest.Anchors{Roots: []attest.Root{{Role: Role, Certificate: root, UserSupplied: true}}}
	c := accept(t, evidence(goldenFile(t, "document.cbor")), anchors, testTime)
	if c.Identity.Status != attest.Passed || !bytes.Equal(c.Quoted, quoted) || !bytes.Equal(c.Measurements[2].Value, register(2)) {
		t.Errorf("%+v", c)
	}
}

// FuzzVerify gives documents: errors are of their classes and exclude claims, what is
// read writes back to itself, and only what the vendor signed has claims.
func FuzzVerify(f *testing.F) {
	genuine := goldenFile(f, "document.cbor")
	root, err := x509.ParseCertificate(goldenFile(f, "root.der"))
	if err != nil || len(genuine) < 1000 {
		f.Fatalf("no seed: %d bytes, %v", len(genuine), err)
	}
	v := newVendor(f, nil)
	f.Add(genuine)
	f.Add(v.document(f, nil))
	f.Add(v.sign(f, v.payload(nil).set("pcrs", nil).set("nitrotpm_pcrs", registers(24, register)).encode()))
	for _, p := range badPayloads(v) {
		f.Add(v.sign(f, p))
	}
	anchors := &attest.Anchors{Roots: []attest.Root{{Role: Role, Certificate: root, UserSupplied: true}}}
	signed := genuine[:len(genuine)-sizeSignature]
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := Scheme{}.Verify(evidence(b), anchors, testTime)
		a, errApart := Appraise(b, nil, anchors, testTime)
		kind, errKind := KindOf(b)
		switch {
		case (c == nil) == (err == nil), (a == nil) == (errApart == nil), (kind == 0) == (errKind == nil):
			t.Fatalf("%v, %v; %v, %v; %v, %v", c, err, a, errApart, kind, errKind)
		case err != nil && !errors.Is(err, attest.ErrForm) && !errors.Is(err, attest.ErrSignature) && !errors.Is(err, attest.ErrMode):
			t.Fatal(err)
		case errKind != nil && (!errors.Is(errKind, attest.ErrForm) || !errors.Is(err, attest.ErrForm) || !errors.Is(errApart, attest.ErrForm)):
			t.Fatal(errKind, err, errApart)
		case err == nil && (kind != Enclave || a == nil):
			t.Fatalf("claims of kind %d", kind)
		case a != nil && a.Identity.Status == attest.Passed && !bytes.HasPrefix(b, signed):
			t.Fatal("an identity for what the vendor did not sign")
		}
		if errKind != nil {
			if list, certificates, err := Details(b); list != nil || certificates != nil || !errors.Is(err, attest.ErrForm) {
				t.Fatalf("%v, %v, %v", list, certificates, err)
			}
			return
		}
		if list, certificates, err := Details(b); err != nil || len(list) < 8 || len(certificates) == 0 {
			t.Fatalf("%d details, %d certificates: %v", len(list), len(certificates), err)
		}
		d, err := parseDocument(b)
		if err != nil || !bytes.Equal(appendBytes(appendBytes([]byte(begin), d.payload), d.signature), b) {
			t.Fatalf("does not write back to itself: %v", err)
		}
		for i, r := range d.registers {
			if len(r.Value) != 48 || r.Index >= maxRegisters || i > 0 && d.registers[i-1].Index >= r.Index {
				t.Fatalf("registers %+v", d.registers)
			}
		}
		if len(d.chain) < 2 || len(d.chain) > 1+maxBundle || d.time.Year() > 9999 || d.moduleID == "" {
			t.Fatalf("%+v", d)
		}
	})
}

// FuzzRevocation gives a list beside a genuine document: it revokes nothing and passes
// nothing that its issuer did not sign.
func FuzzRevocation(f *testing.F) {
	v := newVendor(f, nil)
	lists := []attest.Collateral{v[0].crl(f, nil), v[1].crl(f, nil), newVendor(f, nil)[0].crl(f, nil, 12)}
	for _, l := range lists {
		f.Add(l.Data)
	}
	f.Add(v[0].crl(f, func(l *x509.RevocationList) {
		l.ExtraExtensions = append(l.ExtraExtensions, point(f, "http://crl.example/root.crl", nil))
	}).Data)
	if len(lists) == 0 {
		f.Fatal("no seeds")
	}
	doc, anchors := v.document(f, nil), v.anchors()
	f.Fuzz(func(t *testing.T, b []byte) {
		c := accept(t, evidence(doc, attest.Collateral{Kind: attest.CollateralCRL, Data: b}), anchors, testTime)
		if c.Revocation.Status != attest.NotEstablished || len(c.Used) > 1 {
			t.Fatalf("%+v, %v", c.Revocation, c.Used)
		}
		if len(c.Used) == 0 {
			return
		}
		l, err := x509.ParseRevocationList(b)
		if err != nil || l.CheckSignatureFrom(v[0].cert) != nil && l.CheckSignatureFrom(v[1].cert) != nil {
			t.Fatalf("a list that nobody signed was used: %v", err)
		}
	})
}
