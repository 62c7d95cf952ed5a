package amd_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha512"
	"crypto/x509"
	"encoding/asn1"
	"encoding/binary"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sworn-run/sworn/simulator/amd"
	"github.com/sworn-run/sworn/verifier"
)

// now is the time of everything that the tests issue.
var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// vendors are shared by the tests, because their keys take time to make.
var vendors = map[amd.Product]func() (*amd.Vendor, error){
	amd.Milan: sync.OnceValues(func() (*amd.Vendor, error) { return amd.NewSize(amd.Milan, now, 2048) }),
	amd.Genoa: sync.OnceValues(func() (*amd.Vendor, error) { return amd.NewSize(amd.Genoa, now, 2048) }),
	amd.Turin: sync.OnceValues(func() (*amd.Vendor, error) { return amd.NewSize(amd.Turin, now, 2048) }),
}

// machine returns a vendor's machine.
func machine(t *testing.T, product amd.Product) *amd.Platform {
	t.Helper()
	v, err := vendors[product]()
	if err != nil {
		t.Fatal(err)
	}
	return must(v.Platform("one"))(t)
}

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

// parse parses a certificate.
func parse(t *testing.T, der []byte) *x509.Certificate {
	t.Helper()
	return must(x509.ParseCertificate(der))(t)
}

// verified tells whether a report's signature is that of a certificate.
func verified(report []byte, c *x509.Certificate) bool {
	key, ok := c.PublicKey.(*ecdsa.PublicKey)
	if !ok {
		return false
	}
	scalar := func(b []byte) *big.Int {
		b = slices.Clone(b)
		slices.Reverse(b)
		return new(big.Int).SetBytes(b)
	}
	digest := sha512.Sum384(report[:0x2a0])
	return ecdsa.Verify(key, digest[:], scalar(report[0x2a0:0x2e8]), scalar(report[0x2e8:0x330]))
}

// TestChains checks what of every product the authorities certify: the chain, the
// profile of the certificates, and that everything is marked.
func TestChains(t *testing.T) {
	for _, product := range amd.Products() {
		p := machine(t, product)
		v := p.Vendor()
		if err := v.ARK().CheckSignatureFrom(v.ARK()); err != nil {
			t.Errorf("%s: the root is not self-signed: %v", product, err)
		}
		vcek, vlek := parse(t, must(p.Certificate(amd.VCEK, now))(t)), parse(t, must(p.Certificate(amd.VLEK, now))(t))
		for _, pair := range [][2]*x509.Certificate{{v.ASK(), v.ARK()}, {v.ASVK(), v.ARK()}, {vcek, v.ASK()}, {vlek, v.ASVK()}} {
			c, issuer := pair[0], pair[1]
			if err := c.CheckSignatureFrom(issuer); err != nil {
				t.Errorf("%s: %s: %v", product, c.Subject, err)
			}
			if c.NotBefore.After(now) || !c.NotAfter.After(now) {
				t.Errorf("%s: %s is not valid now", product, c.Subject)
			}
			if c.SignatureAlgorithm != x509.SHA384WithRSAPSS {
				t.Errorf("%s: %s is signed with %s", product, c.Subject, c.SignatureAlgorithm)
			}
		}
		if err := vcek.CheckSignatureFrom(v.ASVK()); err == nil {
			t.Errorf("%s: the ASVK has signed a VCEK", product)
		}
		for _, c := range []*x509.Certificate{v.ARK(), v.ASK(), v.ASVK(), vcek, vlek} {
			if !strings.HasSuffix(c.Subject.CommonName, " SIMULATED") || !strings.HasSuffix(c.Issuer.CommonName, " SIMULATED") {
				t.Errorf("%q, issued by %q, is not marked", c.Subject.CommonName, c.Issuer.CommonName)
			}
		}
		for _, c := range []*x509.Certificate{vcek, vlek} {
			if c.SerialNumber.Sign() != 0 {
				t.Errorf("%s: serial number %s", c.Subject, c.SerialNumber)
			}
		}
	}
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

// nameShape returns the attributes of a name with the tags of their values.
func nameShape(der []byte) string {
	type attribute struct {
		ID    asn1.ObjectIdentifier
		Value asn1.RawValue
	}
	type set []attribute
	var sets []asn1.RawValue
	if rest, err := asn1.Unmarshal(der, &sets); err != nil || len(rest) != 0 {
		return "no name"
	}
	var out []string
	for _, raw := range sets {
		var s set
		if _, err := asn1.UnmarshalWithParams(raw.FullBytes, &s, "set"); err != nil || len(s) != 1 {
			return "no name"
		}
		out = append(out, fmt.Sprintf("%s %d %s", s[0].ID, s[0].Value.Tag, strings.TrimSuffix(string(s[0].Value.Bytes), " SIMULATED")))
	}
	return strings.Join(out, ", ")
}

// shape is what of a certificate is the same in all of a kind: everything but keys,
// dates, signatures, the mark, and the values of versions and ids.
func shape(c *x509.Certificate) map[string]string {
	out := map[string]string{
		"version": big.NewInt(int64(c.Version)).String(), "serial": c.SerialNumber.String(),
		"algorithm": c.SignatureAlgorithm.String(), "usage": big.NewInt(int64(c.KeyUsage)).String(),
		"subject": nameShape(c.RawSubject), "issuer": nameShape(c.RawIssuer),
	}
	var order []string
	for _, e := range c.Extensions {
		order = append(order, e.Id.String())
		text := hex.EncodeToString(e.Value)
		switch id := e.Id.String(); {
		case id == "1.3.6.1.4.1.3704.1.4":
			text = big.NewInt(int64(len(e.Value))).String() + " bytes"
		case strings.HasPrefix(id, "1.3.6.1.4.1.3704.1.3"), id == "1.3.6.1.4.1.3704.1.5":
			text = text[:2] // the tag
		}
		out[e.Id.String()] = text
	}
	out["order"] = strings.Join(order, " ")
	return out
}

// TestRealCertificates compares the certificates of machines with real ones, the
// machines having the same versions.
func TestRealCertificates(t *testing.T) {
	for _, tt := range []struct {
		product amd.Product
		kind    amd.SigningKey
		item    string
	}{
		{amd.Milan, amd.VCEK, "snp-milan-v3-ms"},
		{amd.Genoa, amd.VCEK, "snp-genoa-v3-ms"},
		{amd.Turin, amd.VCEK, "snp-turin-v5-ms"},
		{amd.Milan, amd.VLEK, "snp-vlek-v3-aws-us-east-2-trustee"},
	} {
		t.Run(tt.item, func(t *testing.T) {
			real := parse(t, evidence(t, "sev-snp", tt.item, "vek.der"))
			ours := parse(t, must(machine(t, tt.product).Certificate(tt.kind, now))(t))
			if d := cmp.Diff(shape(real), shape(ours)); d != "" {
				t.Errorf("real and simulated differ:\n%s", d)
			}
		})
	}
}

// fields reads the fields of a report.
func fields(b []byte) *amd.Report {
	le := binary.LittleEndian
	flags := le.Uint32(b[0x48:])
	r := &amd.Report{
		Version: le.Uint32(b), GuestSVN: le.Uint32(b[4:]), Policy: le.Uint64(b[8:]), VMPL: le.Uint32(b[0x30:]),
		SignatureAlgo: le.Uint32(b[0x34:]), CurrentTCB: le.Uint64(b[0x38:]), PlatformInfo: le.Uint64(b[0x40:]),
		AuthorKey: flags&1 != 0, MaskChipKey: flags&2 != 0, SigningKey: amd.SigningKey(flags >> 2),
		ReportedTCB: le.Uint64(b[0x180:]), Family: b[0x188], Model: b[0x189], Stepping: b[0x18a],
		CommittedTCB: le.Uint64(b[0x1e0:]), LaunchTCB: le.Uint64(b[0x1f0:]),
		Current:           amd.Firmware{Build: b[0x1e8], Minor: b[0x1e9], Major: b[0x1ea]},
		Committed:         amd.Firmware{Build: b[0x1ec], Minor: b[0x1ed], Major: b[0x1ee]},
		LaunchMitigations: le.Uint64(b[0x1f8:]), CurrentMitigations: le.Uint64(b[0x200:]),
	}
	for at, to := range map[int][]byte{
		0x10: r.FamilyID[:], 0x20: r.ImageID[:], 0x50: r.ReportData[:], 0x90: r.Measurement[:], 0xc0: r.HostData[:],
		0xe0: r.IDKeyDigest[:], 0x110: r.AuthorKeyDigest[:], 0x140: r.ReportID[:], 0x160: r.ReportIDMA[:], 0x1a0: r.ChipID[:],
	} {
		copy(to, b[at:])
	}
	return r
}

// TestRealReports encodes the fields of real reports again, byte for byte.
func TestRealReports(t *testing.T) {
	root := filepath.Join("..", "..", "..", "shared", "evidence", "sev-snp")
	names := must(filepath.Glob(filepath.Join(root, "snp-[mgtv]*", "report.bin")))(t)
	if len(names) == 0 {
		t.Skipf("the shared evidence %s is absent", root)
	}
	for _, name := range names {
		real := must(os.ReadFile(name))(t)
		ours := fields(real).Marshal()
		if !bytes.Equal(ours[:0x2a0], real[:0x2a0]) {
			t.Errorf("%s: the encoding of its fields differs", name)
		}
		if got := fields(ours); *got != *fields(real) {
			t.Errorf("%s: the fields differ", name)
		}
		// Reserved are, in a real signature too, all but the low 48 bytes of each scalar.
		der := must(os.ReadFile(filepath.Join(filepath.Dir(name), "vek.der")))(t)
		if !verified(real, parse(t, der)) {
			t.Errorf("%s: the signature does not verify as ours do", name)
		}
	}
}

// TestRoots checks that a vendor's folder is one of roots for a verifier, that it is
// the same vendor the next time, and that its secrets are its owner's.
func TestRoots(t *testing.T) {
	dir := t.TempDir()
	v := must(amd.Open(dir, amd.Milan, now))(t)
	if got := v.ARK().PublicKey.(interface{ Size() int }).Size(); got != 512 {
		t.Errorf("the root's key has %d bytes, want 512 as AMD's", got)
	}
	again := must(amd.Load(dir, amd.Milan))(t)
	if !again.ARK().Equal(v.ARK()) || !again.ASK().Equal(v.ASK()) || !again.ASVK().Equal(v.ASVK()) {
		t.Error("the vendor is another one the next time")
	}
	one, other := must(v.Platform("one"))(t), must(again.Platform("one"))(t)
	report := must(one.Sign(one.Report("guest", [64]byte{1})))(t)
	if !verified(report, parse(t, must(other.Certificate(amd.VCEK, now))(t))) {
		t.Error("the machine is another one the next time")
	}
	if _, err := amd.Open(dir, amd.Milan, now.AddDate(1, 0, 0)); err != nil {
		t.Error(err)
	}
	var files []verifier.RootFile
	roots := filepath.Join(dir, "roots")
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if strings.HasSuffix(name, ".key") && info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %o", name, info.Mode().Perm())
		}
		if rel, ok := strings.CutPrefix(name, roots+"/"); ok {
			data, err := os.ReadFile(name)
			files = append(files, verifier.RootFile{Path: rel, Data: data})
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	got := must(verifier.NewTrustStore(files))(t).Anchors().Role("amd-ark")
	if len(got) != 1 || got[0].Product != "Milan" || !got[0].Certificate.Equal(v.ARK()) || !got[0].UserSupplied {
		t.Errorf("roots %v", got)
	}
}

// TestDir checks that a folder that is not a vendor's is refused.
func TestDir(t *testing.T) {
	if _, err := amd.Load(t.TempDir(), amd.Milan); !errors.Is(err, amd.ErrDir) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no vendor: %v", err)
	}
	if _, err := amd.Open(t.TempDir(), "Naples", now); !errors.Is(err, amd.ErrProduct) {
		t.Errorf("another product: %v", err)
	}
	if _, err := amd.Open("", amd.Milan, now); !errors.Is(err, amd.ErrDir) {
		t.Errorf("no directory: %v", err)
	}
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "amd", "Milan"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := amd.Open(dir, amd.Milan, now); !errors.Is(err, amd.ErrDir) || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an empty vendor: %v", err)
	}
	var none amd.Vendor
	if _, err := none.Platform("one"); !errors.Is(err, amd.ErrIssue) {
		t.Errorf("the zero vendor: %v", err)
	}
	if _, err := none.CRL(amd.CRL{}, now); !errors.Is(err, amd.ErrIssue) {
		t.Errorf("a list of the zero vendor: %v", err)
	}
}

// TestCRL checks every knob of a list.
func TestCRL(t *testing.T) {
	v := machine(t, amd.Genoa).Vendor()
	list := func(c amd.CRL) *x509.RevocationList {
		return must(x509.ParseRevocationList(must(v.CRL(c, now))(t)))(t)
	}
	good := list(amd.CRL{Number: 7})
	if err := good.CheckSignatureFrom(v.ARK()); err != nil || good.Number.Int64() != 7 || len(good.RevokedCertificateEntries) != 0 ||
		good.ThisUpdate.After(now) || !good.NextUpdate.After(now) {
		t.Errorf("list %+v: %v", good, err)
	}
	if err := list(amd.CRL{Forged: true}).CheckSignatureFrom(v.ARK()); err == nil {
		t.Error("a forged list verifies")
	}
	if l := list(amd.CRL{NextUpdate: now.Add(-time.Minute)}); !l.NextUpdate.Before(now) {
		t.Errorf("an expired list ends %s", l.NextUpdate)
	}
	l := list(amd.CRL{Revoked: []*x509.Certificate{v.ASK(), v.ASVK()}})
	if e := l.RevokedCertificateEntries; len(e) != 2 || e[0].SerialNumber.Cmp(v.ASK().SerialNumber) != 0 || e[1].SerialNumber.Cmp(v.ASVK().SerialNumber) != 0 {
		t.Errorf("revoked are %v", e)
	}
	if real, err := x509.ParseRevocationList(evidence(t, "roots", "crl-amd-openpcc", "ark_genoa.crl.der")); err != nil {
		t.Error(err)
	} else if real.SignatureAlgorithm != good.SignatureAlgorithm || len(real.Extensions) != len(good.Extensions) {
		t.Errorf("a real list has %s and %d extensions, ours %s and %d",
			real.SignatureAlgorithm, len(real.Extensions), good.SignatureAlgorithm, len(good.Extensions))
	}
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
		out, text = append(out, parse(t, block.Bytes)), rest
	}
}
