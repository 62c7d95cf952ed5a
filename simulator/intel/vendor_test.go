package intel_test

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sworn-run/sworn/simulator/intel"
	"github.com/sworn-run/sworn/verifier"
)

// now is the time of everything that the tests issue.
var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// must returns what a call returned that must not fail.
func must[T any](value T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

// machine returns a new vendor and a machine of it.
func machine(t *testing.T) (*intel.Vendor, *intel.Platform) {
	t.Helper()
	v := must(intel.New(now))(t)
	return v, must(v.Platform("one"))(t)
}

// evidence returns a file of the shared evidence.
func evidence(t *testing.T, parts ...string) []byte {
	t.Helper()
	name := filepath.Join(append([]string{"..", "..", "..", "shared", "evidence"}, parts...)...)
	b, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		t.Skipf("the shared evidence %s is absent", name)
	}
	return must(b, err)(t)
}

// pemChain decodes certificates in PEM.
func pemChain(t *testing.T, text []byte) []*x509.Certificate {
	t.Helper()
	var out []*x509.Certificate
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			return out
		}
		out, text = append(out, must(x509.ParseCertificate(block.Bytes))(t)), rest
	}
}

// verifies tells whether r and s, 32 bytes each, sign data.
func verifies(key any, data, signature []byte) bool {
	k, ok := key.(*ecdsa.PublicKey)
	digest := sha256.Sum256(data)
	return ok && len(signature) == 64 &&
		ecdsa.Verify(k, digest[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:]))
}

// TestAuthorities checks the chain of everything that the vendor certifies, and that
// it is marked.
func TestAuthorities(t *testing.T) {
	v, p := machine(t)
	pck := must(p.Certificate(now))(t)
	p.PCK.CA = intel.ProcessorCA
	other := must(p.Certificate(now))(t)
	for _, pair := range [][2]*x509.Certificate{
		{v.Root(), v.Root()},
		{v.Issuer(intel.PlatformCA), v.Root()},
		{v.Issuer(intel.ProcessorCA), v.Root()},
		{v.TCBSigning(), v.Root()},
		{pck, v.Issuer(intel.PlatformCA)},
		{other, v.Issuer(intel.ProcessorCA)},
	} {
		c, issuer := pair[0], pair[1]
		if err := c.CheckSignatureFrom(issuer); err != nil {
			t.Errorf("%s: %v", c.Subject, err)
		}
		if c.NotBefore.After(now) || !c.NotAfter.After(now) {
			t.Errorf("%s is not valid now", c.Subject)
		}
		if !strings.HasSuffix(c.Subject.CommonName, " SIMULATED") || !strings.HasSuffix(c.Issuer.CommonName, " SIMULATED") {
			t.Errorf("%q, issued by %q, is not marked", c.Subject.CommonName, c.Issuer.CommonName)
		}
		for _, at := range c.CRLDistributionPoints {
			if !strings.HasPrefix(at, "https://pcs.simulated.invalid/") {
				t.Errorf("%s: list at %s", c.Subject, at)
			}
		}
	}
	if err := pck.CheckSignatureFrom(v.Issuer(intel.ProcessorCA)); err == nil {
		t.Error("the processor CA has certified the platform")
	}
}

// tree returns the structure of DER: tags, and the values of ids.
func tree(der []byte) []string {
	var out []string
	for len(der) > 0 {
		var v asn1.RawValue
		rest, err := asn1.Unmarshal(der, &v)
		if err != nil {
			return append(out, "no DER")
		}
		text := fmt.Sprintf("%d/%d", v.Class, v.Tag)
		switch {
		case v.IsCompound:
			text += "{" + strings.Join(tree(v.Bytes), " ") + "}"
		case v.Tag == asn1.TagOID:
			text += "=" + hex.EncodeToString(v.Bytes)
		case v.Tag == asn1.TagOctetString:
			text += fmt.Sprintf("[%d]", len(v.Bytes))
		}
		out, der = append(out, text), rest
	}
	return out
}

// shape is what of a certificate is the same in all of a kind.
func shape(c *x509.Certificate) map[string]string {
	out := map[string]string{
		"version": fmt.Sprint(c.Version), "algorithm": c.SignatureAlgorithm.String(), "usage": fmt.Sprint(c.KeyUsage),
		"ca":      fmt.Sprint(c.IsCA, c.BasicConstraintsValid, c.MaxPathLen, c.MaxPathLenZero),
		"subject": strings.Join(tree(c.RawSubject), " "), "name": strings.TrimSuffix(c.Subject.CommonName, " SIMULATED"),
		"issuer": strings.TrimSuffix(c.Issuer.CommonName, " SIMULATED"), "serial": fmt.Sprint(len(c.SerialNumber.Bytes())),
		"lists": fmt.Sprint(len(c.CRLDistributionPoints)),
	}
	for _, e := range c.Extensions {
		text := fmt.Sprint(e.Critical)
		if e.Id.String() == "1.2.840.113741.1.13.1" {
			text = strings.Join(tree(e.Value), "\n")
		}
		out[e.Id.String()] = text
	}
	return out
}

// TestRealCertificates compares certificates with real ones.
func TestRealCertificates(t *testing.T) {
	v, p := machine(t)
	quote := evidence(t, "tdx", "tdx-v4-uptodate-dcapqvl", "quote.bin")
	real := pemChain(t, quote[strings.Index(string(quote), "-----BEGIN"):])
	real = append(real, pemChain(t, evidence(t, "roots", "roots-intel-tcb-signing", "tcb_signing_chain_2025-2032.pem"))[0])
	ours := []*x509.Certificate{must(p.Certificate(now))(t), v.Issuer(intel.PlatformCA), v.Root(), v.TCBSigning()}
	for i := range ours {
		if d := cmp.Diff(shape(real[i]), shape(ours[i])); d != "" {
			t.Errorf("%s: real and simulated differ:\n%s", ours[i].Subject, d)
		}
	}
	quote = evidence(t, "sgx", "sgx-v3-automata-swhardening", "quote.bin")
	pck := pemChain(t, quote[strings.Index(string(quote), "-----BEGIN"):])[0]
	if pck.Issuer.CommonName != "Intel SGX PCK Processor CA" {
		t.Skip("no real certificate of the processor CA")
	}
	p.PCK.CA = intel.ProcessorCA
	if d := cmp.Diff(shape(pck), shape(must(p.Certificate(now))(t))); d != "" {
		t.Errorf("real and simulated differ:\n%s", d)
	}
}

// TestPCKKnobs checks that a PCK can be certified for what is not so, and that its
// serial number is always the same.
func TestPCKKnobs(t *testing.T) {
	v, p := machine(t)
	plain := must(p.Certificate(now))(t)
	if again := must(p.Certificate(now.Add(time.Hour)))(t); again.SerialNumber.Cmp(plain.SerialNumber) != 0 || again.Equal(plain) {
		t.Error("the serial number changes")
	}
	k := must(p.Describe(now))(t)
	k.FMSPC, k.NotAfter, k.Components[0] = [6]byte{0xde, 0xad}, now.Add(-time.Minute), 200
	c := must(v.Certify(k))(t)
	if !c.NotAfter.Before(now) || !strings.Contains(string(c.Raw), "\x04\x06\xde\xad\x00\x00\x00\x00") {
		t.Error("dates or FMSPC are not as asked for")
	}
	p.PCK.PCESVN--
	if older := must(p.Certificate(now))(t); older.SerialNumber.Cmp(plain.SerialNumber) == 0 || older.PublicKey.(*ecdsa.PublicKey).Equal(plain.PublicKey) {
		t.Error("older firmware has the same key")
	}
}

// TestLists checks every knob of a list.
func TestLists(t *testing.T) {
	v, p := machine(t)
	pck := must(p.Certificate(now))(t)
	for _, tt := range []struct {
		name   string
		issuer *x509.Certificate
		list   func(intel.CRL) ([]byte, error)
	}{
		{"root", v.Root(), func(c intel.CRL) ([]byte, error) { return v.RootCRL(c, now) }},
		{"platform", v.Issuer(intel.PlatformCA), func(c intel.CRL) ([]byte, error) { return v.PCKCRL(intel.PlatformCA, c, now) }},
		{"processor", v.Issuer(intel.ProcessorCA), func(c intel.CRL) ([]byte, error) { return v.PCKCRL(intel.ProcessorCA, c, now) }},
	} {
		parsed := func(c intel.CRL) *x509.RevocationList {
			return must(x509.ParseRevocationList(must(tt.list(c))(t)))(t)
		}
		good := parsed(intel.CRL{Number: 3})
		if err := good.CheckSignatureFrom(tt.issuer); err != nil || good.ThisUpdate.After(now) || !good.NextUpdate.After(now) || good.Number.Int64() != 3 {
			t.Errorf("%s: %v", tt.name, err)
		}
		if parsed(intel.CRL{Forged: true}).CheckSignatureFrom(tt.issuer) == nil {
			t.Errorf("%s: a forged list verifies", tt.name)
		}
		if l := parsed(intel.CRL{NextUpdate: now.Add(-time.Minute)}); !l.NextUpdate.Before(now) {
			t.Errorf("%s: an expired list ends %s", tt.name, l.NextUpdate)
		}
		if e := parsed(intel.CRL{Revoked: []*x509.Certificate{pck}}).RevokedCertificateEntries; len(e) != 1 || e[0].SerialNumber.Cmp(pck.SerialNumber) != 0 {
			t.Errorf("%s: revoked are %v", tt.name, e)
		}
	}
}

// TestRoots checks that the vendor's folder is one of roots for a verifier, that it
// is the same vendor the next time, and that its secrets are its owner's.
func TestRoots(t *testing.T) {
	dir := t.TempDir()
	v := must(intel.Open(dir, now))(t)
	again := must(intel.Open(dir, now.AddDate(1, 0, 0)))(t)
	if !again.Root().Equal(v.Root()) || !again.TCBSigning().Equal(v.TCBSigning()) || !again.Issuer(intel.PlatformCA).Equal(v.Issuer(intel.PlatformCA)) {
		t.Error("the vendor is another one the next time")
	}
	one, other := must(v.Platform("one"))(t), must(again.Platform("one"))(t)
	if a, b := must(one.Certificate(now))(t), must(other.Certificate(now))(t); !a.PublicKey.(*ecdsa.PublicKey).Equal(b.PublicKey) {
		t.Error("the machine is another one the next time")
	}
	for _, name := range []string{"root.key", "platform-ca.key", "processor-ca.key", "tcb-signing.key", "seed.key"} {
		if info := must(os.Stat(filepath.Join(dir, "intel", name)))(t); info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %o", name, info.Mode().Perm())
		}
	}
	text := must(os.ReadFile(v.RootFile(dir)))(t)
	path := must(filepath.Rel(filepath.Join(dir, "roots"), v.RootFile(dir)))(t)
	got := must(verifier.NewTrustStore([]verifier.RootFile{{Path: path, Data: text}}))(t).Anchors().Role("intel-sgx")
	if len(got) != 1 || !got[0].Certificate.Equal(v.Root()) || !got[0].UserSupplied {
		t.Errorf("roots %v", got)
	}
}

// TestDir checks that a folder that is not a vendor's is refused.
func TestDir(t *testing.T) {
	if _, err := intel.Load(t.TempDir()); !errors.Is(err, intel.ErrDir) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no vendor: %v", err)
	}
	if _, err := intel.Open("", now); !errors.Is(err, intel.ErrDir) {
		t.Errorf("no directory: %v", err)
	}
	dir := t.TempDir()
	v := must(intel.Open(dir, now))(t)
	if err := os.Rename(filepath.Join(dir, "intel", "root.key"), filepath.Join(dir, "intel", "tcb-signing.key")); err != nil {
		t.Fatal(err)
	}
	if _, err := intel.Open(dir, now); !errors.Is(err, intel.ErrDir) || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a vendor without a key: %v", err)
	}
	dir = t.TempDir()
	file := v.RootFile(dir)
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: v.TCBSigning().Raw}), 0o600)); err != nil {
		t.Fatal(err)
	}
	fresh := must(intel.Open(dir, now))(t) // a new vendor replaces what an earlier one left
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: v.Root().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := intel.Open(dir, now); !errors.Is(err, intel.ErrDir) {
		t.Errorf("another root in the place of %s: %v", fresh.Root().Subject, err)
	}
	var none intel.Vendor
	if _, err := none.Platform("one"); !errors.Is(err, intel.ErrIssue) {
		t.Errorf("the zero vendor: %v", err)
	}
	if _, err := none.SignText("tcbInfo", nil); !errors.Is(err, intel.ErrIssue) {
		t.Errorf("the zero vendor signs: %v", err)
	}
}
