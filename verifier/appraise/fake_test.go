package appraise

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/sworn-run/sworn/attest"
)

// testTime is when the tests judge.
var testTime = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// capture returns the files of the captured machine, by name.
func capture(tb testing.TB) map[string][]byte {
	tb.Helper()
	dir := filepath.Join("testdata", "run-llmsb")
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) < 10 {
		tb.Fatalf("%d files: %v", len(entries), err)
	}
	out := map[string][]byte{}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			tb.Fatal(err)
		}
		out[e.Name()] = b
	}
	return out
}

// captureRoots are the makers of the captured machine's TPM.
func captureRoots(tb testing.TB) *attest.Anchors {
	tb.Helper()
	a := &attest.Anchors{}
	files, err := filepath.Glob(filepath.Join("..", "..", "tpm", "testdata", "ca", "*.pem"))
	if err != nil || len(files) != 2 {
		tb.Fatalf("%d files: %v", len(files), err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			tb.Fatal(err)
		}
		block, _ := pem.Decode(b)
		a.Roots = append(a.Roots, attest.Root{Role: "tpm-ek", Certificate: parsed(tb, block.Bytes), UserSupplied: true})
	}
	return a
}

// fileList returns files in the order of their names.
func fileList(m map[string][]byte) []File {
	var out []File
	for _, name := range slices.Sorted(maps.Keys(m)) {
		out = append(out, File{name, m[name]})
	}
	return out
}

// be appends numbers, big-endian.
func be16(b []byte, v uint16) []byte { return binary.BigEndian.AppendUint16(b, v) }
func be32(b []byte, v uint32) []byte { return binary.BigEndian.AppendUint32(b, v) }
func be64(b []byte, v uint64) []byte { return binary.BigEndian.AppendUint64(b, v) }

// sized appends a TPM2B.
func sized(out, b []byte) []byte { return append(be16(out, uint16(len(b))), b...) }

// select1 is one bank of a selection.
type select1 struct {
	bank   attest.Alg
	bitmap []byte
}

// fakeTPM signs quotes with a key of its own, a primary of the endorsement
// hierarchy.
type fakeTPM struct {
	key  *ecdsa.PrivateKey
	area []byte
}

// The bits of a restricted signing key fixed in its TPM, and of an unrestricted one.
const (
	restrictedKey   = 0x00050072
	unrestrictedKey = 0x00040072
)

func newTPM(tb testing.TB, curve elliptic.Curve, attributes uint32) *fakeTPM {
	tb.Helper()
	k, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	point, err := k.PublicKey.Bytes()
	if err != nil {
		tb.Fatal(err)
	}
	id := uint16(3)
	if curve == elliptic.P384() {
		id = 4
	}
	a := be16(be16(nil, 0x23), uint16(attest.SHA256))
	a = sized(be32(a, attributes), nil)
	a = be16(be16(be16(a, 0x10), 0x18), uint16(attest.SHA256)) // No symmetric algorithm; ECDSA with SHA-256.
	a = be16(be16(a, id), 0x10)                                // No KDF.
	half := (len(point) - 1) / 2
	a = sized(sized(a, point[1:1+half]), point[1+half:])
	return &fakeTPM{k, a}
}

// attest returns a TPMS_ATTEST of a quote.
func (f *fakeTPM) attest(nonce []byte, digest []byte, selection ...select1) []byte {
	name := append(be16(nil, uint16(attest.SHA256)), attest.SHA256.Sum(f.area)...)
	signer := append(be16(nil, uint16(attest.SHA256)), attest.SHA256.Sum([]byte{0x40, 0, 0, 0x0B}, name)...)
	b := be16(be32(nil, 0xFF544347), 0x8018)
	b = sized(sized(b, signer), nonce)
	b = append(be32(be32(be64(b, 4711), 3), 1), 1)
	b = be32(be64(b, 0x20191023), uint32(len(selection)))
	for _, s := range selection {
		b = append(be16(b, uint16(s.bank)), byte(len(s.bitmap)))
		b = append(b, s.bitmap...)
	}
	return sized(b, digest)
}

// der signs, as DER.
func (f *fakeTPM) der(tb testing.TB, msg []byte) []byte {
	tb.Helper()
	sig, err := ecdsa.SignASN1(rand.Reader, f.key, attest.SHA256.Sum(msg))
	if err != nil {
		tb.Fatal(err)
	}
	return sig
}

// sign signs, as TPMT_SIGNATURE.
func (f *fakeTPM) sign(tb testing.TB, msg []byte) []byte {
	tb.Helper()
	var v struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(f.der(tb, msg), &v); err != nil {
		tb.Fatal(err)
	}
	size := (f.key.Params().BitSize + 7) / 8
	b := be16(be16(nil, 0x18), uint16(attest.SHA256))
	return sized(sized(b, v.R.FillBytes(make([]byte, size))), v.S.FillBytes(make([]byte, size)))
}

// value is the value that a fake register has.
func value(bank attest.Alg, index int) []byte { return bank.Sum([]byte{byte(index)}) }

// quoted is a quote of registers 0 to 7 and 16 of a bank, with its values as JSON.
func (f *fakeTPM) quoted(tb testing.TB, bank attest.Alg, nonce []byte) map[string][]byte {
	tb.Helper()
	m, all := map[string]string{}, [][]byte{}
	for _, i := range []int{0, 1, 2, 3, 4, 5, 6, 7, 16} {
		all = append(all, value(bank, i))
		m[strconv.Itoa(i)] = hex.EncodeToString(value(bank, i))
	}
	msg := f.attest(nonce, attest.SHA256.Sum(all...), select1{bank, []byte{0xFF, 0, 1}})
	values, err := json.Marshal(map[string]any{bank.String(): m})
	if err != nil {
		tb.Fatal(err)
	}
	return map[string][]byte{"quote.msg": msg, "quote.sig": f.sign(tb, msg), "ak.pub": f.area, "pcrs.json": values}
}

// maker certifies.
type maker struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newMaker(tb testing.TB) *maker {
	tb.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	t := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "maker"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: testTime.AddDate(-5, 0, 0), NotAfter: testTime.AddDate(20, 0, 0),
	}
	m := &maker{key: k}
	m.cert = parsed(tb, m.issue(tb, t, t, &k.PublicKey))
	return m
}

func parsed(tb testing.TB, der []byte) *x509.Certificate {
	tb.Helper()
	c, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

func (m *maker) issue(tb testing.TB, t, parent *x509.Certificate, key *ecdsa.PublicKey) []byte {
	tb.Helper()
	der, err := x509.CreateCertificate(rand.Reader, t, parent, key, m.key)
	if err != nil {
		tb.Fatal(err)
	}
	return der
}

// akTemplate is an AK's certificate of the profile for enrolled keys.
func akTemplate() *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(2), KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
		UnknownExtKeyUsage: []asn1.ObjectIdentifier{{2, 23, 133, 8, 3}},
		NotBefore:          testTime.AddDate(-1, 0, 0), NotAfter: testTime.AddDate(1, 0, 0),
	}
}

// certify returns a certificate of the AK.
func (m *maker) certify(tb testing.TB, f *fakeTPM, change func(*x509.Certificate)) []byte {
	tb.Helper()
	t := akTemplate()
	if change != nil {
		change(t)
	}
	return m.issue(tb, t, m.cert, &f.key.PublicKey)
}

func (m *maker) anchors() *attest.Anchors {
	return &attest.Anchors{Roots: []attest.Root{{Role: "tpm-ak", Certificate: m.cert, UserSupplied: true}}}
}

// report appraises files.
func report(tb testing.TB, in Input) *Report {
	tb.Helper()
	if in.At.IsZero() {
		in.At = testTime
	}
	r, err := Appraise(in)
	if err != nil || r == nil {
		tb.Fatalf("%v, %v", r, err)
	}
	if !r.Accepted() && r.Quoted != nil {
		tb.Fatal("refused, and registers are there")
	}
	return r
}

// status returns the outcome of a finding; it must be there.
func status(tb testing.TB, r *Report, subject, name string) attest.Status {
	tb.Helper()
	for _, f := range r.Findings {
		if f.Subject == subject && f.Name == name {
			return f.Status
		}
	}
	tb.Fatalf("no finding %s of %s in %+v", name, subject, r.Findings)
	return attest.NotEstablished
}

func itoa(n uint32) string { return strconv.Itoa(int(n)) }

func hexOf(b []byte) string { return hex.EncodeToString(b) }
