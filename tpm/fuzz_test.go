package tpm

import (
	"bytes"
	"crypto/elliptic"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"github.com/sworn-run/sworn/attest"
)

// addSeeds adds the captured files of that name; none is an error.
func addSeeds(f *testing.F, pattern string, skip int) {
	f.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "run-*", pattern))
	if err != nil || len(files) == 0 {
		f.Fatalf("no seed %s: %v", pattern, err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b[skip:])
	}
}

// oracle reports whether go-tpm reads b as a T and writes the same back. It is
// laxer than this package, never stricter.
func oracle[T tpm2.Marshallable, P interface {
	*T
	tpm2.Unmarshallable
}](b []byte,
) bool {
	v, err := tpm2.Unmarshal[T, P](b)
	return err == nil && bytes.Equal(tpm2.Marshal(*v), b)
}

func FuzzParseQuote(f *testing.F) {
	addSeeds(f, "quote_*_attest", 0)
	f.Fuzz(func(t *testing.T, b []byte) {
		q, err := parseQuote(b)
		if err != nil {
			if q != nil || !errors.Is(err, attest.ErrForm) {
				t.Fatalf("%v, %v", q, err)
			}
			return
		}
		if !bytes.Equal(q.marshal(), b) || !bytes.Equal(q.raw, b) {
			t.Fatal("does not marshal back to itself")
		}
		if !oracle[tpm2.TPMSAttest](b) {
			t.Fatal("go-tpm does not read it")
		}
		n := 0
		for i := range q.selection {
			if !q.selection[i].bank.Accepted() {
				t.Fatalf("bank %v", q.selection[i].bank)
			}
			n += len(q.selection[i].indices()) * q.selection[i].bank.Size()
		}
		if _, err := q.split(make([]byte, n)); err != nil || n == 0 {
			t.Fatalf("%d bytes of registers: %v", n, err)
		}
		if rs, err := q.split(make([]byte, n+1)); !errors.Is(err, attest.ErrForm) || rs != nil {
			t.Fatalf("a byte too many: %v", err)
		}
	})
}

func FuzzParsePublic(f *testing.F) {
	addSeeds(f, "akpub", 2)
	f.Add(newRSA(f, 2048, scheme{algRSAPSS, attest.SHA384}).pub.marshal())
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parsePublic(b)
		if err != nil {
			if p != nil || !errors.Is(err, attest.ErrForm) {
				t.Fatalf("%v, %v", p, err)
			}
			return
		}
		if !bytes.Equal(p.marshal(), b) || !oracle[tpm2.TPMTPublic](b) {
			t.Fatal("does not marshal back to itself")
		}
		if k, err := p.key(); (k == nil) == (err == nil) || err != nil && !errors.Is(err, attest.ErrSignature) {
			t.Fatalf("key %v, %v", k, err)
		}
		if err := p.checkMode(); err != nil && !errors.Is(err, attest.ErrMode) {
			t.Fatal(err)
		}
		if n, err := Name(b); len(b) <= maxPublic && (err != nil || len(n) != 2+p.nameAlg.Size()) {
			t.Fatalf("name %x, %v", n, err)
		}
	})
}

func FuzzParseSignature(f *testing.F) {
	addSeeds(f, "quote_*_sig", 0)
	f.Add(newRSA(f, 2048, scheme{algRSASSA, attest.SHA256}).signBytes(f, nil))
	p, err := parsePublic(newECC(f, elliptic.P256(), attest.SHA256).pub.marshal())
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parseSignature(b)
		if err != nil {
			if s != nil || !errors.Is(err, attest.ErrForm) {
				t.Fatalf("%v, %v", s, err)
			}
			return
		}
		if !bytes.Equal(s.marshal(), b) || !oracle[tpm2.TPMTSignature](b) {
			t.Fatal("does not marshal back to itself")
		}
		if err := s.verify(p, []byte("nobody signed this")); !errors.Is(err, attest.ErrSignature) {
			t.Fatalf("verified: %v", err)
		}
	})
}

func FuzzVerify(f *testing.F) {
	seeds := 0
	for _, run := range []string{"run-llm", "run-llmsb"} {
		for _, bank := range []attest.Alg{attest.SHA256, attest.SHA384} {
			p := capture(f, run, bank).Parts
			f.Add(p[0].Data, p[1].Data, p[2].Data, []byte(nil), p[3].Data, read(f, run, "nv_01c00016"))
			seeds++
		}
	}
	if seeds == 0 {
		f.Fatal("no seeds")
	}
	genuine := [][]byte{
		read(f, "run-llm", "quote_sha256_attest"), read(f, "run-llm", "quote_sha384_attest"),
		read(f, "run-llmsb", "quote_sha256_attest"), read(f, "run-llmsb", "quote_sha384_attest"),
	}
	roots := anchors(certificate(f, "ca", "swtpm-localca-rootca-cert.pem"), certificate(f, "ca", "issuercert.pem"))
	f.Fuzz(func(t *testing.T, msg, sig, pub, parent, pcrs, cert []byte) {
		ev := &attest.Evidence{Format: Format, Parts: []attest.Part{
			{Name: PartAttest, Data: msg}, {Name: PartSignature, Data: sig}, {Name: PartPublic, Data: pub},
		}}
		if len(parent) != 0 {
			ev.Parts = append(ev.Parts, attest.Part{Name: PartParent, Data: parent})
		}
		ev.Parts = append(ev.Parts, attest.Part{Name: PartPCRs, Data: pcrs})
		if len(cert) != 0 {
			ev.Parts = append(ev.Parts, attest.Part{Name: PartCertificate, Data: cert})
		}
		claims, err := Scheme{}.Verify(ev, roots, testTime)
		if err != nil {
			if claims != nil || !slices.ContainsFunc(sentinels, func(s error) bool { return errors.Is(err, s) }) {
				t.Fatalf("%v, %v", claims, err)
			}
			return
		}
		if claims.Identity.Status == attest.Passed {
			t.Fatal("an identity without a certificate")
		}
		if !slices.ContainsFunc(genuine, func(g []byte) bool { return bytes.Equal(g, msg) }) && bytes.Equal(pub, read(t, "run-llm", "akpub")[2:]) {
			t.Fatal("a quote that the TPM did not make")
		}
	})
}

// FuzzQuoteSelection reads no less than parseQuote does, and the same.
func FuzzQuoteSelection(f *testing.F) {
	addSeeds(f, "quote_*_attest", 0)
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := QuoteSelection(b)
		if err != nil && (s != nil || !errors.Is(err, attest.ErrForm)) {
			t.Fatalf("%v, %v", s, err)
		}
		q, strict := parseQuote(b)
		if strict != nil {
			return
		}
		if err != nil || len(s) != len(q.selection) {
			t.Fatalf("%v, %v", s, err)
		}
		for i := range s {
			if s[i].Bank != q.selection[i].bank || !slices.Equal(s[i].Indices, q.selection[i].indices()) {
				t.Fatalf("%+v", s[i])
			}
		}
	})
}

// FuzzVerifyEK: a certificate that is accepted is one that the root issued, and
// the name it was accepted by is exactly that of a TPM.
func FuzzVerifyEK(f *testing.F) {
	addSeeds(f, "nv_01c00016", 0)
	roots := ekAnchors(certificate(f, "ca", "swtpm-localca-rootca-cert.pem"), certificate(f, "ca", "issuercert.pem"))
	f.Fuzz(func(t *testing.T, der []byte) {
		ek, err := VerifyEK([][]byte{der}, roots, testTime)
		if err != nil {
			if ek != nil || !errors.Is(err, attest.ErrForm) && !errors.Is(err, ErrIdentity) {
				t.Fatalf("%v, %v", ek, err)
			}
			return
		}
		if !bytes.Equal(ek.Certificate.Raw, der) || !isTCGName(ek.Name) || ek.Root.Role != RoleEK || ek.Vendor == "" {
			t.Fatalf("%+v", ek)
		}
	})
}
