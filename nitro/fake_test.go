package nitro

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/sworn-run/sworn/attest"
)

// testTime is when documents are made, and judged if nothing else is said.
var testTime = time.Date(2026, 2, 3, 10, 12, 2, 0, time.UTC)

// shared returns a file of the shared evidence folder, or skips the test where there
// is none.
func shared(tb testing.TB, elem ...string) []byte {
	tb.Helper()
	dir := os.Getenv("SWORN_SHARED")
	if dir == "" {
		dir = filepath.Join("..", "..", "shared")
	}
	dir = filepath.Join(dir, "evidence")
	if _, err := os.Stat(dir); err != nil {
		tb.Skip("the shared evidence folder is not here: set SWORN_SHARED")
	}
	b, err := os.ReadFile(filepath.Join(append([]string{dir}, elem...)...))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// authority is a CA, or whoever else has a key and a certificate.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

// template is a certificate of AWS's shape: a CA's with a path of that length, or for
// path -1 that of who signs documents.
func template(name string, path int) *x509.Certificate {
	c := &x509.Certificate{
		SerialNumber: big.NewInt(int64(path) + 10),
		Subject:      pkix.Name{Country: []string{"US"}, Organization: []string{"SIMULATED"}, CommonName: name},
		NotBefore:    testTime.Add(-time.Hour), NotAfter: testTime.Add(24 * time.Hour),
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageContentCommitment,
		SignatureAlgorithm:    x509.ECDSAWithSHA384,
	}
	if path >= 0 {
		c.IsCA, c.MaxPathLen, c.MaxPathLenZero = true, path, path == 0
		c.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
		c.SubjectKeyId = []byte(name)
	}
	return c
}

// issue makes a key on the curve and has parent, or itself for nil, certify it.
func issue(tb testing.TB, curve elliptic.Curve, c *x509.Certificate, parent *authority) *authority {
	tb.Helper()
	k, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	a := &authority{key: k}
	if parent == nil {
		parent = &authority{k, c}
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent.cert, &k.PublicKey, parent.key)
	if err != nil {
		tb.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		tb.Fatal(err)
	}
	return a
}

// vendor is a whole chain, from the root down: root, region, zone, instance, leaf.
type vendor []*authority

// shapes are the certificates of a vendor. Region and zone name revocation lists, as
// AWS's do.
func shapes() []*x509.Certificate {
	list := []*x509.Certificate{
		template("SIMULATED aws.nitro-enclaves", 4), template("region", 2), template("zone", 1),
		template("i-0123456789abcdef0", 0), template("i-0123456789abcdef0-enc0123456789abcdef", -1),
	}
	list[1].CRLDistributionPoints = []string{"http://crl.example/root.crl"}
	list[2].CRLDistributionPoints = []string{"http://crl.example/region.crl"}
	list[4].NotBefore, list[4].NotAfter = testTime.Add(-3*time.Second), testTime.Add(3*time.Hour)
	return list
}

// newVendor makes a vendor after change, if any, has had its way with the shapes.
func newVendor(tb testing.TB, change func([]*x509.Certificate)) vendor {
	tb.Helper()
	list := shapes()
	if change != nil {
		change(list)
	}
	var v vendor
	var parent *authority
	for _, c := range list {
		parent = issue(tb, elliptic.P384(), c, parent)
		v = append(v, parent)
	}
	return v
}

// anchors trust the vendor's root, supplied by the user.
func (v vendor) anchors() *attest.Anchors {
	return &attest.Anchors{Roots: []attest.Root{{Role: Role, Certificate: v[0].cert, UserSupplied: true}}}
}

// pins trust it by its key.
func (v vendor) pins(from, until time.Time) *attest.Anchors {
	c := v[0].cert
	return &attest.Anchors{Pins: []attest.Pin{{
		Role: Role, Subject: c.Subject.String(), SPKI: sha256.Sum256(c.RawSubjectPublicKeyInfo), From: from, Until: until,
	}}}
}

// crl makes a revocation list of one of the vendor's authorities.
func (a *authority) crl(tb testing.TB, change func(*x509.RevocationList), serials ...int64) attest.Collateral {
	tb.Helper()
	l := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: testTime.Add(-time.Minute), NextUpdate: testTime.Add(time.Hour)}
	for _, s := range serials {
		l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: big.NewInt(s), RevocationTime: testTime})
	}
	if change != nil {
		change(l)
	}
	der, err := x509.CreateRevocationList(rand.Reader, l, a.cert, a.key)
	if err != nil {
		tb.Fatal(err)
	}
	return attest.Collateral{Kind: attest.CollateralCRL, Data: der}
}

// item is encoded CBOR.
type item = []byte

// head encodes a type and an argument in the shortest form.
func head(major byte, n uint64) item {
	b := []byte{major << 5}
	switch {
	case n < 24:
		b[0] |= byte(n)
	case n < 1<<8:
		b[0] |= 24
		b = append(b, byte(n))
	case n < 1<<16:
		b[0] |= 25
		b = binary.BigEndian.AppendUint16(b, uint16(n))
	case n < 1<<32:
		b[0] |= 26
		b = binary.BigEndian.AppendUint32(b, uint32(n))
	default:
		b[0] |= 27
		b = binary.BigEndian.AppendUint64(b, n)
	}
	return b
}

func bstr(b []byte) item   { return append(head(majorBytes, uint64(len(b))), b...) }
func tstr(s string) item   { return append(head(majorText, uint64(len(s))), s...) }
func number(n uint64) item { return head(majorUint, n) }

// entry is a member of a map.
type entry struct {
	name  string
	value item
}

// payload is a document's payload, and its members for who wants others.
type payload []entry

// set replaces a member, or drops it for nil, or adds it.
func (p payload) set(name string, value item) payload {
	out := slices.DeleteFunc(slices.Clone(p), func(e entry) bool { return e.name == name && value == nil })
	for i := range out {
		if out[i].name == name {
			out[i].value = value
			return out
		}
	}
	if value != nil {
		out = append(out, entry{name, value})
	}
	return out
}

// encode writes the map without a length, as the hypervisor does.
func (p payload) encode() item {
	b := item{majorMap<<5 | 31}
	for _, e := range p {
		b = append(append(b, tstr(e.name)...), e.value...)
	}
	return append(b, finish)
}

// register is the value of a register in a fake document.
func register(i int) []byte {
	if i > 4 {
		return make([]byte, 48)
	}
	return attest.SHA384.Sum([]byte{byte(i)})
}

// registers are the members of "pcrs".
func registers(n int, value func(int) []byte) item {
	b := head(majorMap, uint64(n))
	for i := range n {
		b = append(append(b, number(uint64(i))...), bstr(value(i))...)
	}
	return b
}

// payload is that of an enclave's document with that user_data.
func (v vendor) payload(userData []byte) payload {
	bundle := head(majorArray, uint64(len(v)-1))
	for _, a := range v[:len(v)-1] {
		bundle = append(bundle, bstr(a.cert.Raw)...)
	}
	p := payload{
		{"module_id", tstr("i-0123456789abcdef0-enc0123456789abcdef")},
		{"digest", tstr("SHA384")},
		{"timestamp", number(uint64(testTime.UnixMilli()))},
		{"pcrs", registers(16, register)},
		{"certificate", bstr(v[len(v)-1].cert.Raw)},
		{"cabundle", bundle},
		{"public_key", item{null}},
		{"user_data", item{null}},
		{"nonce", item{null}},
	}
	if userData != nil {
		p = p.set("user_data", bstr(userData))
	}
	return p
}

// sign makes the document of a payload.
func (v vendor) sign(tb testing.TB, p item) []byte {
	tb.Helper()
	return signBy(tb, v[len(v)-1].key, p)
}

func signBy(tb testing.TB, k *ecdsa.PrivateKey, p item) []byte {
	tb.Helper()
	toSign := append([]byte("\x84\x6aSignature1\x44\xa1\x01\x38\x22\x40"), bstr(p)...)
	r, s, err := ecdsa.Sign(rand.Reader, k, attest.SHA384.Sum(toSign))
	if err != nil {
		tb.Fatal(err)
	}
	sig := make([]byte, 96)
	r.FillBytes(sig[:48])
	s.FillBytes(sig[48:])
	return append(append([]byte("\x84\x44\xa1\x01\x38\x22\xa0"), bstr(p)...), bstr(sig)...)
}

// document is an enclave's document with that user_data.
func (v vendor) document(tb testing.TB, userData []byte) []byte {
	tb.Helper()
	return v.sign(tb, v.payload(userData).encode())
}

// evidence wraps a document that may be anything.
func evidence(doc []byte, collateral ...attest.Collateral) *attest.Evidence {
	return &attest.Evidence{Format: Format, Parts: []attest.Part{{Name: PartDocument, Data: doc}}, Collateral: collateral}
}

// accept verifies and wants claims.
func accept(tb testing.TB, ev *attest.Evidence, anchors *attest.Anchors, at time.Time) *attest.Claims {
	tb.Helper()
	c, err := Scheme{}.Verify(ev, anchors, at)
	if err != nil || c == nil {
		tb.Fatalf("%v, %v", c, err)
	}
	return c
}

// refuse verifies and wants that error alone.
func refuse(tb testing.TB, name string, ev *attest.Evidence, want error) {
	tb.Helper()
	c, err := Scheme{}.Verify(ev, nil, testTime)
	if c != nil || !errors.Is(err, want) {
		tb.Errorf("%s: %v, %v, want %v", name, c, err, want)
	}
}
