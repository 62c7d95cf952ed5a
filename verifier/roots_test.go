package verifier_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sworn-run/sworn/verifier"
)

// authority is a certificate authority of a test.
type authority struct {
	key  crypto.Signer
	cert *x509.Certificate
}

func newKey(tb testing.TB) crypto.Signer {
	tb.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

// issue makes a CA certificate for key, changed by change; a nil issuer is the
// certificate itself.
func issue(tb testing.TB, name string, key crypto.Signer, issuer *authority, change func(*x509.Certificate)) *authority {
	tb.Helper()
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2021, 1, 1, 0, 0, 0, 0, time.UTC),
		BasicConstraintsValid: true, IsCA: true, KeyUsage: x509.KeyUsageCertSign,
	}
	if change != nil {
		change(c)
	}
	parent, signer := c, key
	if issuer != nil {
		parent, signer = issuer.cert, issuer.key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
	if err != nil {
		tb.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return &authority{key, cert}
}

func asPEM(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func TestTrustStore(t *testing.T) {
	maker := issue(t, "SIMULATED TPM maker", newKey(t), nil, nil)
	sub := issue(t, "SIMULATED TPM maker, AKs", newKey(t), maker, nil)
	ark := issue(t, "SIMULATED ARK", newKey(t), nil, nil)
	again := issue(t, "SIMULATED ARK", ark.key, nil, func(c *x509.Certificate) { c.SerialNumber = big.NewInt(2) })
	files := []verifier.RootFile{
		{Path: "tsa/maker-again.txt", Data: maker.cert.Raw},
		{Path: "tpm-ak/sub.pem", Data: asPEM("CERTIFICATE", sub.cert.Raw)},
		{Path: "tpm-ak/maker.der", Data: maker.cert.Raw},
		{Path: "tpm-ek/maker", Data: append([]byte("\r\n \t"), asPEM("CERTIFICATE", maker.cert.Raw)...)},
		{Path: "amd-ark/Milan/ark.pem", Data: asPEM("CERTIFICATE", ark.cert.Raw)},
		{Path: "amd-ark/Milan/ark-2.pem", Data: asPEM("CERTIFICATE", again.cert.Raw)},
		{Path: "amd-ark/Genoa/ark.pem", Data: issue(t, "SIMULATED ARK-Genoa", newKey(t), nil, nil).cert.Raw},
		{Path: "amd-ark/Turin/ark.pem", Data: issue(t, "SIMULATED ARK-Turin", newKey(t), nil, nil).cert.Raw},
		{Path: "intel-sgx/root.pem", Data: maker.cert.Raw},
		{Path: "aws-nitro/root.pem", Data: maker.cert.Raw},
	}
	for i := range files {
		files[i].Data = bytes.Clone(files[i].Data)
	}
	s, err := verifier.NewTrustStore(files)
	if err != nil {
		t.Fatal(err)
	}
	a := s.Anchors()
	if s.Empty() || len(a.Roots) != len(files) {
		t.Fatalf("%d roots of %d files", len(a.Roots), len(files))
	}
	for _, r := range a.Roots {
		if !r.UserSupplied || (r.Product != "") != (r.Role == "amd-ark") {
			t.Errorf("root %+v", r)
		}
	}
	if ak := a.Role("tpm-ak"); len(ak) != 2 || !ak[0].Certificate.Equal(maker.cert) || !ak[1].Certificate.Equal(sub.cert) {
		t.Errorf("tpm-ak has %d roots", len(ak))
	}
	a.Roots[0].Role = "changed"
	if s.Anchors().Roots[0].Role == "changed" {
		t.Error("what Anchors returns changes the store")
	}
	for i := range files {
		clear(files[i].Data)
	}
	if !s.Anchors().Role("tpm-ak")[0].Certificate.Equal(maker.cert) {
		t.Error("the store shares memory with its files")
	}
}

func TestTrustStoreEmpty(t *testing.T) {
	empty, err := verifier.NewTrustStore(nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]*verifier.TrustStore{"nil": nil, "zero": {}, "no files": empty} {
		if !s.Empty() || len(s.Anchors().Roots) != 0 || s.Digest() != sha256.Sum256([]byte("sworn.run/roots/v1\x00")) {
			t.Errorf("%s is not empty", name)
		}
	}
}

func TestTrustStoreDigest(t *testing.T) {
	a, b := issue(t, "A", newKey(t), nil, nil), issue(t, "B", newKey(t), nil, nil)
	digest := func(files ...verifier.RootFile) [32]byte {
		s, err := verifier.NewTrustStore(files)
		if err != nil {
			t.Fatal(err)
		}
		return s.Digest()
	}
	spkiA, spkiB := verifier.SPKIDigest(a.cert), verifier.SPKIDigest(b.cert)
	if spkiA != sha256.Sum256(a.cert.RawSubjectPublicKeyInfo) {
		t.Error("SPKIDigest is not over the SubjectPublicKeyInfo")
	}
	want := sha256.Sum256([]byte("sworn.run/roots/v1\x00" +
		"\x06tpm-ek\x00" + string(spkiB[:]) + "\x07amd-ark\x05Milan" + string(spkiA[:])))
	got := digest(verifier.RootFile{Path: "amd-ark/Milan/x", Data: a.cert.Raw}, verifier.RootFile{Path: "tpm-ek/y", Data: b.cert.Raw})
	if got != want {
		t.Errorf("digest %x, want %x", got, want)
	}
	same := digest(verifier.RootFile{Path: "tpm-ek/a", Data: asPEM("CERTIFICATE", b.cert.Raw)}, verifier.RootFile{Path: "amd-ark/Milan/z", Data: a.cert.Raw})
	if same != want {
		t.Error("digest depends on names, order or encoding")
	}
	for _, other := range [][32]byte{
		digest(verifier.RootFile{Path: "amd-ark/Genoa/x", Data: a.cert.Raw}, verifier.RootFile{Path: "tpm-ek/y", Data: b.cert.Raw}),
		digest(verifier.RootFile{Path: "amd-ark/Milan/x", Data: a.cert.Raw}, verifier.RootFile{Path: "tpm-ak/y", Data: b.cert.Raw}),
		digest(verifier.RootFile{Path: "amd-ark/Milan/x", Data: b.cert.Raw}, verifier.RootFile{Path: "tpm-ek/y", Data: a.cert.Raw}),
		digest(verifier.RootFile{Path: "amd-ark/Milan/x", Data: a.cert.Raw}),
	} {
		if other == want {
			t.Error("other roots have the same digest")
		}
	}
}

// refuseRoots checks that files are refused.
func refuseRoots(t *testing.T, files ...verifier.RootFile) {
	t.Helper()
	s, err := verifier.NewTrustStore(files)
	if !errors.Is(err, verifier.ErrRoots) || s != nil {
		t.Errorf("store %v, error %v", s, err)
	}
	if testing.Verbose() {
		t.Log(err)
	}
}

func TestTrustStoreRefusesPaths(t *testing.T) {
	root := issue(t, "root", newKey(t), nil, nil).cert.Raw
	for _, p := range []string{
		"", ".", "/", "maker.pem", "tpm-ak", "/tpm-ak/maker.pem", "tpm-ak/", "tpm-ak//maker.pem", "./tpm-ak/maker.pem", "tpm-ak/../tpm-ek/maker.pem",
		"../tpm-ak/maker.pem", "tpm-ak/.maker.pem", ".tpm-ak/maker.pem", "tpm-ak/.git/maker.pem", "tpm-ak/sub/maker.pem", "tpm-ak\\maker.pem",
		"tpm-ak/\x00", "tpm-ak/\xff", "TPM-AK/maker.pem", "tpm-ak /maker.pem", "ledger/entry.json", "nexart-node/key.json", "arm-cca/root.pem",
		"amd-ark/ark.pem", "amd-ark/milan/ark.pem", "amd-ark/Siena/ark.pem", "amd-ark/Milan", "amd-ark/Milan/sub/ark.pem", "intel-sgx/Milan/root.pem",
	} {
		t.Run(strings.ReplaceAll(p, "/", "|"), func(t *testing.T) {
			s, err := verifier.NewTrustStore([]verifier.RootFile{{Path: p, Data: root}})
			if !errors.Is(err, verifier.ErrRoots) || s != nil {
				t.Errorf("store %v, error %v", s, err)
			}
		})
	}
}

func TestTrustStoreRefusesData(t *testing.T) {
	root := issue(t, "root", newKey(t), nil, nil)
	other := issue(t, "other", newKey(t), nil, nil)
	text := asPEM("CERTIFICATE", root.cert.Raw)
	flipped := bytes.Clone(root.cert.Raw)
	flipped[len(flipped)-1] ^= 1
	for name, data := range map[string][]byte{
		"nothing":           {},
		"blanks":            []byte(" \n"),
		"readme":            []byte("These are our roots.\n"),
		"der trailing":      append(bytes.Clone(root.cert.Raw), 0),
		"der newline":       append(bytes.Clone(root.cert.Raw), '\n'),
		"der twice":         append(bytes.Clone(root.cert.Raw), root.cert.Raw...),
		"der truncated":     root.cert.Raw[:len(root.cert.Raw)-1],
		"pem twice":         append(bytes.Clone(text), text...),
		"pem chain":         append(bytes.Clone(text), asPEM("CERTIFICATE", other.cert.Raw)...),
		"pem and key":       append(bytes.Clone(text), asPEM("PRIVATE KEY", []byte{1})...),
		"pem text before":   append([]byte("subject=root\n"), text...),
		"pem text after":    append(bytes.Clone(text), "end\n"...),
		"pem nul after":     append(bytes.Clone(text), 0),
		"pem mark before":   append([]byte("\ufeff"), text...),
		"pem other type":    asPEM("TRUSTED CERTIFICATE", root.cert.Raw),
		"pem key":           asPEM("PUBLIC KEY", root.cert.RawSubjectPublicKeyInfo),
		"pem headers":       pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Headers: map[string]string{"Name": "x"}, Bytes: root.cert.Raw}),
		"pem of pem":        asPEM("CERTIFICATE", text),
		"pem two in one":    asPEM("CERTIFICATE", append(bytes.Clone(root.cert.Raw), other.cert.Raw...)),
		"pem cut":           text[:len(text)/2],
		"pem broken, whole": append(append([]byte{}, text[:100]...), append([]byte("\n"), text...)...),
		"self-signature":    flipped,
		"too large":         append(bytes.Clone(text), bytes.Repeat([]byte(" "), 1<<20)...),
	} {
		t.Run(name, func(t *testing.T) { refuseRoots(t, verifier.RootFile{Path: "tpm-ak/maker", Data: data}) })
	}
	if _, err := verifier.NewTrustStore([]verifier.RootFile{{Path: "tpm-ak/maker", Data: text}}); err != nil {
		t.Errorf("the unchanged certificate is refused: %v", err)
	}
}

func TestTrustStoreRefusesCertificates(t *testing.T) {
	key := newKey(t)
	maker := issue(t, "maker", newKey(t), nil, nil)
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	// Of many small primes, because one of two would take long to find.
	//lint:ignore SA1019 It need not be secure.
	long, err := rsa.GenerateMultiPrimeKey(rand.Reader, 9, 9216) //nolint:staticcheck // SA1019: it need not be secure.
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]*authority{
		"leaf":              issue(t, "x", key, nil, func(c *x509.Certificate) { c.IsCA = false }),
		"leaf of another":   issue(t, "x", key, maker, func(c *x509.Certificate) { c.IsCA = false }),
		"no constraints":    issue(t, "x", key, nil, func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = false, false }),
		"may not sign":      issue(t, "x", key, nil, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCRLSign }),
		"own name, not key": issue(t, "maker", key, maker, nil),
		"short RSA":         issue(t, "x", short, nil, nil),
		"long RSA":          issue(t, "x", long, nil, nil),
		"signed with SHA-1": issue(t, "x", key, nil, func(c *x509.Certificate) { c.SignatureAlgorithm = x509.ECDSAWithSHA1 }),
	} {
		t.Run(name, func(t *testing.T) {
			refuseRoots(t, verifier.RootFile{Path: "tpm-ak/maker.pem", Data: c.cert.Raw})
		})
	}
	sub := issue(t, "sub", key, maker, nil)
	for _, folder := range []string{"amd-ark/Milan", "intel-sgx", "aws-nitro"} {
		t.Run("intermediate in "+folder, func(t *testing.T) { refuseRoots(t, verifier.RootFile{Path: folder + "/ca.pem", Data: sub.cert.Raw}) })
	}
}

func TestTrustStoreRefusesSets(t *testing.T) {
	maker := issue(t, "maker", newKey(t), nil, nil)
	again := issue(t, "maker", maker.key, nil, func(c *x509.Certificate) { c.SerialNumber = big.NewInt(2) })
	file := func(p string, a *authority) verifier.RootFile { return verifier.RootFile{Path: p, Data: a.cert.Raw} }
	encoded := verifier.RootFile{Path: "tpm-ak/b", Data: asPEM("CERTIFICATE", maker.cert.Raw)}
	for name, files := range map[string][]verifier.RootFile{
		"path twice":              {file("tpm-ak/a", maker), file("tpm-ak/a", again)},
		"certificate twice":       {file("tpm-ak/a", maker), encoded},
		"under two products":      {file("amd-ark/Milan/a", maker), file("amd-ark/Genoa/a", maker)},
		"a key for two products":  {file("amd-ark/Milan/a", maker), file("amd-ark/Genoa/a", again)},
		"one good, one not":       {{Path: "tpm-ak/b", Data: []byte("x")}, file("tpm-ak/a", maker)},
		"one good, one elsewhere": {{Path: "README.md", Data: []byte("x")}, file("tpm-ak/a", maker)},
	} {
		t.Run(name, func(t *testing.T) { refuseRoots(t, files...) })
	}
	refuseRoots(t, make([]verifier.RootFile, 1001)...)
}

// sharedFiles returns the files of a folder of the shared evidence, or skips.
func sharedFiles(t *testing.T, pattern string) map[string][]byte {
	t.Helper()
	base := os.Getenv("SWORN_SHARED")
	if base == "" {
		base = filepath.Join("..", "..", "shared")
	}
	names, err := filepath.Glob(filepath.Join(base, "evidence", "roots", pattern))
	if err != nil {
		t.Fatal(err)
	}
	if len(names) == 0 {
		t.Skipf("no shared evidence at %s (SWORN_SHARED)", base)
	}
	files := map[string][]byte{}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		files[filepath.Base(name)] = b
	}
	return files
}

// TestTrustStoreVendors reads the roots that vendors publish, as others keep
// them: most as they are. Some have text before the PEM block, which hides what
// is in a file; two are signed with SHA-1.
func TestTrustStoreVendors(t *testing.T) {
	sha1 := []string{"NTC1.pem", "NTC2.pem"}
	for pattern, folder := range map[string]string{
		"roots-intel-sgx/*.pem": "intel-sgx", "roots-aws-nitro/*.pem": "aws-nitro",
		"roots-azure-vtpm/*.pem": "tpm-ak", "roots-tpm-manufacturers-keylime/*.pem": "tpm-ek",
	} {
		t.Run(folder, func(t *testing.T) {
			for name, data := range sharedFiles(t, pattern) {
				want := bytes.HasPrefix(data, []byte("-----BEGIN")) && !slices.Contains(sha1, name)
				s, err := verifier.NewTrustStore([]verifier.RootFile{{Path: folder + "/" + name, Data: data}})
				if (err == nil) != want || (s != nil) != want || err != nil && !errors.Is(err, verifier.ErrRoots) {
					t.Errorf("%s: error %v, accepted should be %v", name, err, want)
				}
			}
		})
	}
}

// The files of a roots folder become trust anchors; anything else in it is
// refused, with the path.
func ExampleNewTrustStore() {
	_, err := verifier.NewTrustStore([]verifier.RootFile{{Path: "tpm-maker/root.pem", Data: []byte("-----BEGIN CERTIFICATE-----")}})
	fmt.Println(errors.Is(err, verifier.ErrRoots))
	// Output:
	// true
}

func FuzzNewTrustStore(f *testing.F) {
	root := issue(f, "root", newKey(f), nil, nil)
	sub := issue(f, "sub", newKey(f), root, nil)
	text := asPEM("CERTIFICATE", root.cert.Raw)
	for _, p := range []string{"tpm-ak/maker.pem", "amd-ark/Milan/ark", "tsa/x", "tpm-ek/.x", "../x", "model-signer/x"} {
		f.Add(p, root.cert.RawSubjectPublicKeyInfo)
		f.Add(p, root.cert.Raw)
		f.Add(p, text)
		f.Add(p, sub.cert.Raw)
		f.Add(p, append(bytes.Clone(text), text...))
	}
	f.Fuzz(func(t *testing.T, p string, data []byte) {
		s, err := verifier.NewTrustStore([]verifier.RootFile{{Path: p, Data: data}})
		if err != nil {
			if s != nil || !errors.Is(err, verifier.ErrRoots) {
				t.Fatalf("store %v, error %v", s, err)
			}
			return
		}
		if signers := s.Signers(); len(signers) > 0 {
			k := signers[0]
			if !strings.HasPrefix(p, "model-signer/") || len(signers) != 1 || (k.Key == nil) != (k.Authority != nil && k.Authority.IsCA) {
				t.Fatalf("signers %+v", signers)
			}
			return
		}
		a := s.Anchors()
		if s.Empty() || len(a.Roots) != 1 || !a.Roots[0].UserSupplied || !a.Roots[0].Certificate.IsCA {
			t.Fatalf("anchors %+v", a)
		}
		for _, again := range [][]byte{a.Roots[0].Certificate.Raw, asPEM("CERTIFICATE", a.Roots[0].Certificate.Raw)} {
			o, err := verifier.NewTrustStore([]verifier.RootFile{{Path: p, Data: again}})
			if err != nil || o.Digest() != s.Digest() {
				t.Fatalf("encoded again: %v", err)
			}
		}
	})
}
