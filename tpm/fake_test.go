package tpm

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"math/big"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sworn-run/sworn/attest"
)

// testTime is when the tests verify.
var testTime = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// goodAttributes are those of an AK.
const goodAttributes = attrWanted | attrUserWithAuth

// fakeAK is a TPM made of Go's crypto: an AK that signs any TPMS_ATTEST.
type fakeAK struct {
	signer crypto.Signer
	pub    public
	// sign is the scheme it signs with, whatever the public area says.
	sign scheme
	// parent is the Name of the parent; nil for a primary.
	parent []byte
	// hierarchy is the root of the qualified name.
	hierarchy []byte
}

// newECC returns a P-256 AK, or one of another curve.
func newECC(tb testing.TB, curve elliptic.Curve, hash attest.Alg) *fakeAK {
	tb.Helper()
	k, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	a := &fakeAK{signer: k, hierarchy: rhEndorsement[:], sign: scheme{algECDSA, hash}}
	point, err := k.PublicKey.Bytes()
	if err != nil {
		tb.Fatal(err)
	}
	size := (len(point) - 1) / 2
	a.pub = public{
		typ: algECC, nameAlg: attest.SHA256, attributes: goodAttributes, scheme: a.sign,
		curve: curveP256, unique: [2][]byte{point[1 : 1+size], point[1+size:]},
	}
	if size == 48 {
		a.pub.curve = curveP384
	}
	return a
}

// newRSA returns an RSA AK.
func newRSA(tb testing.TB, bits int, s scheme) *fakeAK {
	tb.Helper()
	k, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		tb.Fatal(err)
	}
	a := &fakeAK{signer: k, hierarchy: rhEndorsement[:], sign: s}
	a.pub = public{
		typ: algRSA, nameAlg: attest.SHA256, attributes: goodAttributes, scheme: s,
		bits: uint16(bits), unique: [2][]byte{k.N.Bytes()},
	}
	return a
}

// name returns the Name of the AK's public area as it stands.
func (a *fakeAK) name() []byte { return appendDigest(a.pub.nameAlg, a.pub.marshal()) }

// newQuote returns an unsigned quote over one register of SHA-256, and its
// value.
func (a *fakeAK) newQuote() (*quote, []byte) {
	value := bytes.Repeat([]byte{0xA5}, 32)
	ancestor := a.hierarchy
	if a.parent != nil {
		ancestor = qualifiedName(ancestor, a.parent)
	}
	return &quote{
		header: header{
			qualifiedSigner: qualifiedName(ancestor, a.name()),
			extraData:       bytes.Repeat([]byte{7}, 32),
			clock:           1234, resetCount: 5, restartCount: 6, safe: true, firmware: 0x20191023_00163636,
		},
		selection: []bankSelection{{bank: attest.SHA256, bitmap: []byte{0, 0x20, 0}}},
		digest:    a.sign.hash.Sum(value),
	}, value
}

// signBytes returns the TPMT_SIGNATURE over msg.
func (a *fakeAK) signBytes(tb testing.TB, msg []byte) []byte {
	tb.Helper()
	s := signature{scheme: a.sign}
	h := map[attest.Alg]crypto.Hash{
		attest.SHA1: crypto.SHA1, attest.SHA256: crypto.SHA256, attest.SHA384: crypto.SHA384, attest.SHA512: crypto.SHA512,
	}[a.sign.hash]
	digest := a.sign.hash.Sum(msg)
	switch k := a.signer.(type) {
	case *ecdsa.PrivateKey:
		der, err := k.Sign(rand.Reader, digest, h)
		if err != nil {
			tb.Fatal(err)
		}
		var rs struct{ R, S *big.Int }
		if _, err := asn1.Unmarshal(der, &rs); err != nil {
			tb.Fatal(err)
		}
		size := (k.Params().BitSize + 7) / 8
		s.values = [][]byte{rs.R.FillBytes(make([]byte, size)), rs.S.FillBytes(make([]byte, size))}
	case *rsa.PrivateKey:
		var opts crypto.SignerOpts = h
		if a.sign.alg == algRSAPSS {
			opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthAuto, Hash: h}
		}
		v, err := k.Sign(rand.Reader, digest, opts)
		if err != nil {
			tb.Fatal(err)
		}
		s.values = [][]byte{v}
	}
	return s.marshal()
}

// evidence returns the evidence of q as the AK signs it.
func (a *fakeAK) evidence(tb testing.TB, q *quote, values []byte, certificates ...[]byte) *attest.Evidence {
	tb.Helper()
	msg := q.marshal()
	ev := &attest.Evidence{Format: Format, Parts: []attest.Part{
		{Name: PartAttest, Data: msg},
		{Name: PartSignature, Data: a.signBytes(tb, msg)},
		{Name: PartPublic, Data: a.pub.marshal()},
	}}
	if a.parent != nil {
		ev.Parts = append(ev.Parts, attest.Part{Name: PartParent, Data: a.parent})
	}
	ev.Parts = append(ev.Parts, attest.Part{Name: PartPCRs, Data: values})
	for _, c := range certificates {
		ev.Parts = append(ev.Parts, attest.Part{Name: PartCertificate, Data: c})
	}
	return ev
}

// quoted is evidence of an ordinary quote.
func (a *fakeAK) quoted(tb testing.TB, certificates ...[]byte) *attest.Evidence {
	tb.Helper()
	q, values := a.newQuote()
	return a.evidence(tb, q, values, certificates...)
}

// authority is a CA.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// template returns a certificate valid for a day around testTime.
func template(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(42),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    testTime.Add(-24 * time.Hour),
		NotAfter:     testTime.Add(24 * time.Hour),

		BasicConstraintsValid: true,
	}
}

// caTemplate is template for a CA.
func caTemplate(name string) *x509.Certificate {
	c := template(name)
	c.IsCA = true
	c.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	return c
}

// leafTemplate is template for an AK of a simulated maker.
func leafTemplate(name string) *x509.Certificate {
	c := template(name)
	c.KeyUsage = x509.KeyUsageDigitalSignature
	c.UnknownExtKeyUsage = []asn1.ObjectIdentifier{{2, 23, 133, 8, 3}}
	return c
}

// newAuthority makes a CA, self-signed if by is nil.
func newAuthority(tb testing.TB, c *x509.Certificate, by *authority) *authority {
	tb.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	a := &authority{key: k}
	if by == nil {
		by = &authority{cert: c, key: k}
	}
	der := by.issue(tb, c, &k.PublicKey)
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		tb.Fatal(err)
	}
	return a
}

// issue returns the DER of a certificate.
func (a *authority) issue(tb testing.TB, c *x509.Certificate, key crypto.PublicKey) []byte {
	tb.Helper()
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, key, a.key)
	if err != nil {
		tb.Fatal(err)
	}
	return der
}

// anchors returns anchors of role "tpm-ak".
func anchors(certs ...*x509.Certificate) *attest.Anchors {
	a := &attest.Anchors{}
	for _, c := range certs {
		a.Roots = append(a.Roots, attest.Root{Role: rootRole, Certificate: c, UserSupplied: true})
	}
	return a
}

// tcgName returns a subject alternative name as TPM certificates carry it.
func tcgName(tb testing.TB, manufacturer, model, version string) pkix.Extension {
	tb.Helper()
	attr := func(last int, value string) pkix.AttributeTypeAndValue {
		return pkix.AttributeTypeAndValue{Type: asn1.ObjectIdentifier{2, 23, 133, 2, last}, Value: value}
	}
	name, err := asn1.Marshal(pkix.RDNSequence{{attr(1, manufacturer), attr(2, model), attr(3, version)}})
	if err != nil {
		tb.Fatal(err)
	}
	der, err := asn1.Marshal([]asn1.RawValue{{Class: asn1.ClassContextSpecific, Tag: 4, IsCompound: true, Bytes: name}})
	if err != nil {
		tb.Fatal(err)
	}
	return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Critical: true, Value: der}
}

// clone returns a deep copy of ev.
func clone(ev *attest.Evidence) *attest.Evidence {
	out := *ev
	out.Parts = nil
	for _, p := range ev.Parts {
		out.Parts = append(out.Parts, attest.Part{Name: p.Name, Data: bytes.Clone(p.Data)})
	}
	return &out
}

// part returns the first part of that name; the test ends if there is none.
func part(tb testing.TB, ev *attest.Evidence, name string) *attest.Part {
	tb.Helper()
	for i := range ev.Parts {
		if ev.Parts[i].Name == name {
			return &ev.Parts[i]
		}
	}
	tb.Fatalf("no part %q", name)
	return nil
}

// put16 overwrites two bytes.
func put16(b []byte, at int, v uint16) []byte {
	binary.BigEndian.PutUint16(b[at:], v)
	return b
}

// objectID parses an object identifier.
func objectID(tb testing.TB, s string) asn1.ObjectIdentifier {
	tb.Helper()
	var id asn1.ObjectIdentifier
	for n := range strings.SplitSeq(s, ".") {
		i, err := strconv.Atoi(n)
		if err != nil {
			tb.Fatal(err)
		}
		id = append(id, i)
	}
	return id
}

// instanceName returns the extension in which Google names an instance.
func instanceName(tb testing.TB) pkix.Extension {
	tb.Helper()
	return pkix.Extension{Id: objectID(tb, oidInstance), Value: []byte{0x30, 0}}
}
