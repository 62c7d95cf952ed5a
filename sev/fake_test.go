package sev

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sworn-run/sworn/attest"
)

// testTime is when the tests verify.
var testTime = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// testKey reads one of the RSA keys of the tests.
func testKey(tb testing.TB, name string) *rsa.PrivateKey {
	tb.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "keys", name+".pem"))
	if err != nil {
		tb.Fatal(err)
	}
	k, err := x509.ParsePKCS8PrivateKey(unPEM(b)[0])
	if err != nil {
		tb.Fatal(err)
	}
	return k.(*rsa.PrivateKey)
}

// authority is a key and its certificate.
type authority struct {
	key  *rsa.PrivateKey
	cert *x509.Certificate
}

// amd is a maker like AMD, for one product.
type amd struct {
	line           product
	ark, ask, asvk *authority
	change         func(*x509.Certificate)
}

// name is a subject of the maker's.
func name(cn string) pkix.Name {
	return pkix.Name{CommonName: cn, Organization: []string{"SIMULATED Micro Devices"}, Country: []string{"US"}}
}

// caTemplate is an authority's certificate.
func caTemplate(cn string, serial int64) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: name(cn),
		NotBefore: testTime.AddDate(-1, 0, 0), NotAfter: testTime.AddDate(20, 0, 0),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign,
	}
}

// arkTemplate is a root's certificate.
func arkTemplate(line product) *x509.Certificate {
	c := caTemplate("ARK-"+string(line), 0x10000)
	c.MaxPathLenZero = false
	c.KeyUsage |= x509.KeyUsageCRLSign
	return c
}

// issue signs a certificate as AMD does; by nil it is self-signed with key.
func issue(tb testing.TB, t *x509.Certificate, by *authority, public crypto.PublicKey, key *rsa.PrivateKey) *x509.Certificate {
	tb.Helper()
	if t.SignatureAlgorithm == 0 {
		t.SignatureAlgorithm = x509.SHA384WithRSAPSS
	}
	parent := t
	if by != nil {
		parent, key = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, t, parent, public, key)
	if err != nil {
		tb.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// newAuthority makes an authority with one of the keys; by nil it is a root.
func newAuthority(tb testing.TB, t *x509.Certificate, by *authority, key string) *authority {
	tb.Helper()
	k := testKey(tb, key)
	return &authority{k, issue(tb, t, by, &k.PublicKey, k)}
}

// makers are those of newAMD, made once each: their signatures take time.
var makers sync.Map

// newAMD returns a maker of the caller's own.
func newAMD(tb testing.TB, line product) *amd {
	tb.Helper()
	made, ok := makers.Load(line)
	if !ok {
		made, _ = makers.LoadOrStore(line, newMaker(tb, line, nil))
	}
	own := *made.(*amd)
	for _, a := range []**authority{&own.ark, &own.ask, &own.asvk} {
		c := **a
		*a = &c
	}
	return &own
}

// newForger makes a maker whose certificates bear AMD's own names.
func newForger(tb testing.TB, line product) *amd {
	tb.Helper()
	return newMaker(tb, line, func(c *x509.Certificate) {
		c.Subject = pkix.Name{
			CommonName: c.Subject.CommonName, OrganizationalUnit: []string{"Engineering"}, Organization: []string{"Advanced Micro Devices"},
			Locality: []string{"Santa Clara"}, Province: []string{"CA"}, Country: []string{"US"},
		}
		kind := "vcek"
		if strings.Contains(c.Subject.CommonName, "VLEK") {
			kind = "vlek"
		}
		if c.IsCA {
			c.CRLDistributionPoints = []string{"https://kdsintf.amd.com/" + kind + "/v1/" + string(line) + "/crl"}
		}
	})
}

// newMaker makes a maker; change is for every certificate of it.
func newMaker(tb testing.TB, line product, change func(*x509.Certificate)) *amd {
	tb.Helper()
	a := &amd{line: line, change: change}
	templates := []*x509.Certificate{arkTemplate(line), caTemplate("SEV-"+string(line), 0x10001), caTemplate("SEV-VLEK-"+string(line), 0x10101)}
	for _, t := range templates {
		if change != nil {
			change(t)
		}
	}
	a.ark = newAuthority(tb, templates[0], nil, "ark")
	a.ask = newAuthority(tb, templates[1], a.ark, "ask")
	a.asvk = newAuthority(tb, templates[2], a.ark, "asvk")
	return a
}

// anchors trust the maker's root.
func (a *amd) anchors() *attest.Anchors {
	return &attest.Anchors{Roots: []attest.Root{{Role: Role, Product: string(a.line), Certificate: a.ark.cert, UserSupplied: true}}}
}

// crl makes a revocation list of the root's with those serial numbers.
func (a *amd) crl(tb testing.TB, serials ...int64) []byte {
	tb.Helper()
	return a.crlBy(tb, a.ark, func(t *x509.RevocationList) {
		for _, s := range serials {
			t.RevokedCertificateEntries = append(t.RevokedCertificateEntries,
				x509.RevocationListEntry{SerialNumber: big.NewInt(s), RevocationTime: testTime.AddDate(0, -1, 0)})
		}
	})
}

// crlBy makes a revocation list of an authority's.
func (a *amd) crlBy(tb testing.TB, by *authority, change func(*x509.RevocationList)) []byte {
	tb.Helper()
	t := &x509.RevocationList{
		Number: big.NewInt(1), SignatureAlgorithm: x509.SHA384WithRSAPSS,
		ThisUpdate: testTime.AddDate(0, -1, 0), NextUpdate: testTime.AddDate(0, 11, 0),
	}
	if change != nil {
		change(t)
	}
	issuer := *by.cert
	issuer.KeyUsage |= x509.KeyUsageCRLSign
	der, err := x509.CreateRevocationList(rand.Reader, t, &issuer, by.key)
	if err != nil {
		tb.Fatal(err)
	}
	return der
}

// chip is a processor with a key that the maker certified, and what it reports.
type chip struct {
	maker  *amd
	key    *ecdsa.PrivateKey
	signer signer
	// name is productName.
	name string
	tcb  tcbVersion
	// hwid and csp are what the certificate says of the chip or the provider.
	hwid []byte
	csp  string
	// version is that of the report.
	version uint32
	// change alters the report before it is signed, extensions AMD's extensions, and
	// template the certificate.
	change     func([]byte)
	extensions func([]pkix.Extension) []pkix.Extension
	template   func(*x509.Certificate)
	cert       *x509.Certificate
}

// newChip makes a processor of the maker's product.
func newChip(tb testing.TB, maker *amd, s signer, version uint32) *chip {
	tb.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	c := &chip{
		maker: maker, key: k, signer: s, version: version, name: string(maker.line),
		tcb: tcbVersion{4, 0, 0, 0, 0, 0, 24, 219},
	}
	size := 64
	if maker.line == turin {
		c.tcb, size = tcbVersion{1, 2, 3, 4, 0, 0, 0, 200}, 8
	}
	if s == signerVLEK {
		c.csp = "CN=cloud.example"
		return c
	}
	c.hwid = make([]byte, size)
	_, _ = rand.Read(c.hwid)
	return c
}

// der marshals an extension's value.
func der(tb testing.TB, v any, params string) []byte {
	tb.Helper()
	b, err := asn1.MarshalWithParams(v, params)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// amdID returns the identifier of an extension of AMD's.
func amdID(arc ...int) asn1.ObjectIdentifier {
	return append(asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 3704, 1}, arc...)
}

// amdExtensions returns the extensions of the certificate.
func (c *chip) amdExtensions(tb testing.TB) []pkix.Extension {
	tb.Helper()
	out := []pkix.Extension{
		{Id: amdID(1), Value: der(tb, int(bit(c.maker.line == turin)), "")},
		{Id: amdID(2), Value: der(tb, c.name, "ia5")},
	}
	spl := map[int]int{1: 0, 2: 1, 3: 6, 8: 7}
	if c.maker.line == turin {
		spl = map[int]int{9: 0, 1: 1, 2: 2, 3: 3, 8: 7}
	}
	for n := 1; n <= 9; n++ {
		at, named := spl[n]
		switch {
		case named:
			out = append(out, pkix.Extension{Id: amdID(3, n), Value: der(tb, int(c.tcb[at]), "")})
		case n != 9 && (n != 4 || c.maker.line != turin):
			out = append(out, pkix.Extension{Id: amdID(3, n), Value: der(tb, 0, "")})
		}
	}
	if c.hwid != nil {
		out = append(out, pkix.Extension{Id: amdID(4), Value: c.hwid})
	}
	if c.csp != "" {
		out = append(out, pkix.Extension{Id: amdID(5), Value: der(tb, c.csp, "ia5")})
	}
	if c.extensions != nil {
		out = c.extensions(out)
	}
	return out
}

// certificate returns the certificate of the chip's key: the same each time.
func (c *chip) certificate(tb testing.TB) *x509.Certificate {
	tb.Helper()
	if c.cert == nil {
		c.cert = c.issue(tb)
	}
	return c.cert
}

// issue makes a certificate of the chip's key.
func (c *chip) issue(tb testing.TB) *x509.Certificate {
	tb.Helper()
	cn, by := nameVCEK, c.maker.ask
	if c.signer == signerVLEK {
		cn, by = nameVLEK, c.maker.asvk
	}
	t := &x509.Certificate{
		SerialNumber: big.NewInt(0), Subject: name(cn),
		NotBefore: testTime.AddDate(0, -1, 0), NotAfter: testTime.AddDate(1, 0, 0),
		ExtraExtensions: c.amdExtensions(tb),
	}
	if c.maker.change != nil {
		c.maker.change(t)
	}
	if c.template != nil {
		c.template(t)
	}
	return issue(tb, t, by, &c.key.PublicKey, nil)
}

// report makes a signed report.
func (c *chip) report(tb testing.TB) []byte {
	tb.Helper()
	b := make([]byte, ReportSize)
	le := binary.LittleEndian
	le.PutUint32(b, c.version)
	le.PutUint32(b[0x04:], 7)
	le.PutUint64(b[0x08:], 0x30001|policySingleSocket)
	le.PutUint32(b[0x34:], 1)
	le.PutUint64(b[0x40:], 0x25)
	le.PutUint32(b[0x48:], uint32(c.signer)<<2)
	for i, f := range []span{{0x10, 0x20}, {0x20, 0x30}, {0x50, 0x90}, {0x90, 0xC0}, {0xC0, 0xE0}, {0xE0, 0x110}, {0x110, 0x140}, {0x140, 0x160}, {0x160, 0x180}} {
		for j := f.from; j < f.to; j++ {
			b[j] = byte(0x10*i + j - f.from + 1)
		}
	}
	for _, at := range []int{0x38, 0x180, 0x1E0, 0x1F0} {
		copy(b[at:], c.tcb[:])
	}
	if c.version >= 3 {
		cpu := map[product][]byte{milan: {0x19, 1, 1}, genoa: {0x19, 0x11, 1}, turin: {0x1A, 2, 1}}
		copy(b[0x188:], cpu[c.maker.line])
	}
	copy(b[0x1A0:], c.hwid)
	copy(b[0x1E8:], []byte{9, 55, 1, 0, 8, 55, 1, 0})
	if c.version >= 5 {
		b[0x1F8], b[0x200] = 0x3F, 0x3F
	}
	if c.change != nil {
		c.change(b)
	}
	return c.sign(tb, b)
}

// sign puts the signature over the report.
func (c *chip) sign(tb testing.TB, b []byte) []byte {
	tb.Helper()
	digest := sha512.Sum384(b[:signedSize])
	r, s, err := ecdsa.Sign(rand.Reader, c.key, digest[:])
	if err != nil {
		tb.Fatal(err)
	}
	for i, v := range []*big.Int{r, s} {
		le := v.FillBytes(make([]byte, 72))
		slices.Reverse(le)
		copy(b[signedSize+72*i:], le)
	}
	return b
}

// der returns the certificates of the chip's chain: its own, its issuer's, the root.
func (c *chip) chain(tb testing.TB) [][]byte {
	tb.Helper()
	by := c.maker.ask
	if c.signer == signerVLEK {
		by = c.maker.asvk
	}
	return [][]byte{c.certificate(tb).Raw, by.cert.Raw, c.maker.ark.cert.Raw}
}

// evidence returns the chip's report with its chain and a fresh revocation list.
func (c *chip) evidence(tb testing.TB) *attest.Evidence {
	tb.Helper()
	return withCollateral(c.report(tb), c.chain(tb), c.maker.crl(tb))
}

// withCollateral makes evidence of a report; the last are revocation lists.
func withCollateral(report []byte, certificates [][]byte, lists ...[]byte) *attest.Evidence {
	ev := &attest.Evidence{Format: Format, Parts: []attest.Part{{Name: PartReport, Data: report}}}
	for _, der := range certificates {
		ev.Collateral = append(ev.Collateral, attest.Collateral{Kind: attest.CollateralCertificate, Data: der})
	}
	for _, der := range lists {
		ev.Collateral = append(ev.Collateral, attest.Collateral{Kind: attest.CollateralCRL, Data: der})
	}
	return ev
}

// verify wants claims.
func verify(tb testing.TB, s Scheme, ev *attest.Evidence, a *attest.Anchors) *attest.Claims {
	tb.Helper()
	c, err := s.Verify(ev, a, testTime)
	if err != nil || c == nil {
		tb.Fatalf("claims %v, error %v", c, err)
	}
	return c
}

// allPassed reports whether nothing is left to wish for.
func allPassed(c *attest.Claims) bool {
	return c.Identity.Status == attest.Passed && c.Revocation.Status == attest.Passed &&
		c.Coherent.Status == attest.Passed && c.TCB.Finding.Status == attest.Passed
}

// newSmallKey returns an RSA key of half the size.
func newSmallKey(tb testing.TB) *rsa.PrivateKey {
	tb.Helper()
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

// parse reads a certificate.
func parse(tb testing.TB, der []byte) *x509.Certificate {
	tb.Helper()
	c, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}
