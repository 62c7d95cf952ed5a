package collect

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sworn-run/sworn/attest"
	simintel "github.com/sworn-run/sworn/simulator/intel"
)

// day0 is the time of the tests.
var day0 = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// authority is a CA of the tests. Its keys are of another kind than the vendor's: what is
// looked at here is names.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newKey(t *testing.T, c elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// issue makes a certificate; of a CA if key is nil, by itself if by is nil.
func issue(t *testing.T, name string, by *authority, key *ecdsa.PrivateKey) *authority {
	t.Helper()
	ca := key == nil
	if ca {
		key = newKey(t, elliptic.P256())
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(int64(len(name))), Subject: pkix.Name{CommonName: name},
		NotBefore: day0.AddDate(-1, 0, 0), NotAfter: day0.AddDate(5, 0, 0),
		IsCA: ca, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	if by == nil {
		by = &authority{tmpl, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, by.cert, key.Public(), crypto.Signer(by.key))
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{c, key}
}

// list makes a revocation list that is to be renewed a month after from.
func (a *authority) list(t *testing.T, from time.Time) []byte {
	t.Helper()
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number: big.NewInt(from.Unix()), ThisUpdate: from, NextUpdate: from.AddDate(0, 1, 0),
	}, a.cert, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func pemOf(chain ...*authority) []byte {
	var out []byte
	for _, a := range chain {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})...)
	}
	return out
}

// vendor answers what the tests say to a path and query, and notes what is asked.
type vendor struct {
	*httptest.Server
	mu      sync.Mutex
	answers map[string]http.HandlerFunc
	asked   []string
}

func newVendor(tb testing.TB) *vendor {
	tb.Helper()
	v := &vendor{answers: map[string]http.HandlerFunc{}}
	v.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v.mu.Lock()
		v.asked = append(v.asked, r.URL.RequestURI())
		h := v.answers[r.URL.RequestURI()]
		v.mu.Unlock()
		if h == nil {
			http.NotFound(w, r)
			return
		}
		h(w, r)
	}))
	tb.Cleanup(v.Close)
	return v
}

// on sets the answer to a path with its query.
func (v *vendor) on(path string, h http.HandlerFunc) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.answers[path] = h
}

// requests returns what was asked since it was last called.
func (v *vendor) requests() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	out := v.asked
	v.asked = nil
	return out
}

// body answers bytes, and headers in pairs.
func body(b []byte, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		_, _ = w.Write(b)
	}
}

// code answers a status, and headers in pairs.
func code(n int, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(n)
	}
}

// pauses are what a client waited, without doing so.
type pauses struct{ all []time.Duration }

// testClient asks a vendor, at a time that can be set, and never waits.
func testClient(t *testing.T, v *vendor, change func(*Options)) (*Client, *time.Time, *pauses) {
	t.Helper()
	now, waited := day0, &pauses{}
	o := Options{KDS: v.URL, PCS: v.URL, CacheDir: t.TempDir() + "/kept", Now: func() time.Time { return now }}
	if change != nil {
		change(&o)
	}
	c, err := NewClient(&o)
	if err != nil {
		t.Fatal(err)
	}
	c.pause = func(ctx context.Context, d time.Duration) error {
		waited.all = append(waited.all, d)
		return ctx.Err()
	}
	return c, &now, waited
}

// amd is AMD for one product, and one chip.
type amd struct {
	ark, ask, asvk, vcek, vlek *authority
	report                     []byte
	crl                        []byte
}

// cpus are family and model of the products.
var cpus = map[string][2]byte{"Milan": {0x19, 0x01}, "Genoa": {0x19, 0x11}, "Turin": {0x1A, 0x02}}

// newAMD makes the certificates of a chip and a report that it signs.
func newAMD(t *testing.T, product string, version uint32) *amd {
	t.Helper()
	a := &amd{}
	a.ark = issue(t, "ARK-"+product, nil, nil)
	a.ask, a.asvk = issue(t, "SEV-"+product, a.ark, nil), issue(t, "SEV-VLEK-"+product, a.ark, nil)
	a.vcek = issue(t, nameVCEK, a.ask, newKey(t, elliptic.P384()))
	a.vlek = issue(t, nameVLEK, a.asvk, newKey(t, elliptic.P384()))
	a.crl = a.ark.list(t, day0.AddDate(0, 0, -3))
	r := make([]byte, reportSize)
	binary.LittleEndian.PutUint32(r, version)
	copy(r[offReported:], []byte{1, 2, 3, 4, 5, 6, 7, 88})
	if version >= 3 {
		r[offFamily], r[offFamily+1] = cpus[product][0], cpus[product][1]
	}
	for i := range 64 {
		if product != "Turin" || i < 8 {
			r[offChip+i] = byte(i + 1)
		}
	}
	a.report = r
	a.sign(t, a.vcek)
	return a
}

// sign signs the report with another key.
func (a *amd) sign(t *testing.T, by *authority) {
	t.Helper()
	flags := uint32(signedByVCEK)
	if by == a.vlek {
		flags = signedByVLEK
	}
	binary.LittleEndian.PutUint32(a.report[offFlags:], flags<<2)
	sum := sha512.Sum384(a.report[:signedReport])
	r, s, err := ecdsa.Sign(rand.Reader, by.key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range []*big.Int{r, s} {
		b := n.FillBytes(make([]byte, sizeScalar))
		slices.Reverse(b)
		copy(a.report[signedReport+i*sizeScalar:], b)
	}
}

// The paths of the chip of newAMD.
const (
	chipMilan = "0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f40"
	splMilan  = "?blSPL=01&teeSPL=02&snpSPL=07&ucodeSPL=88"
)

// publish has a vendor answer for the product as AMD does.
func (a *amd) publish(v *vendor, product string) {
	vcek := "/vcek/v1/" + product
	path := vcek + "/" + chipMilan + splMilan
	if product == "Turin" {
		path = vcek + "/0102030405060708?fmcSPL=01&blSPL=02&teeSPL=03&snpSPL=04&ucodeSPL=88"
	}
	v.on(path, body(a.vcek.cert.Raw))
	v.on(vcek+"/cert_chain", body(pemOf(a.ask, a.ark)))
	v.on("/vlek/v1/"+product+"/cert_chain", body(pemOf(a.asvk, a.ark)))
	v.on(vcek+"/crl", body(a.crl))
	v.on("/vlek/v1/"+product+"/crl", body(a.crl))
}

// intel is Intel, simulated, for one platform.
type intel struct {
	platform              *simintel.Platform
	pcs                   *simintel.PCS
	root, ca, signer      *authority
	fmspc                 string
	tee, caName           string
	tcb, qe, crl, rootCRL []byte
}

// newIntel makes a platform below a CA, and what is published about it.
func newIntel(tb testing.TB, ca simintel.CA, tdx bool) *intel {
	tb.Helper()
	v, err := simintel.New(day0.AddDate(0, 0, -3))
	if err != nil {
		tb.Fatal(err)
	}
	x := &intel{tee: "sgx", caName: string(ca)}
	if tdx {
		x.tee = "tdx"
	}
	if x.platform, err = v.Platform("a"); err != nil {
		tb.Fatal(err)
	}
	x.platform.PCK.CA = ca
	x.fmspc = fmt.Sprintf("%x", x.platform.PCK.FMSPC)
	x.pcs = &simintel.PCS{Vendor: v, Platforms: []*simintel.Platform{x.platform}, Now: func() time.Time { return day0 }}
	x.root, x.ca, x.signer = &authority{cert: v.Root()}, &authority{cert: v.Issuer(ca)}, &authority{cert: v.TCBSigning()}
	return x
}

// The paths of Intel's service.
func (x *intel) pathTCB() string {
	return "/" + x.tee + "/certification/v4/tcb?fmspc=" + strings.ToUpper(x.fmspc)
}
func (x *intel) pathQE() string { return "/" + x.tee + "/certification/v4/qe/identity" }
func (x *intel) pathCRL() string {
	return "/sgx/certification/v4/pckcrl?ca=" + x.caName + "&encoding=der"
}

const pathRootCRL = "/sgx/certification/v4/rootcacrl"

// publish has a vendor answer as Intel does now, and always the same.
func (x *intel) publish(tb testing.TB, v *vendor) {
	tb.Helper()
	for path, into := range map[string]*[]byte{x.pathTCB(): &x.tcb, x.pathQE(): &x.qe, x.pathCRL(): &x.crl, pathRootCRL: &x.rootCRL} {
		w := httptest.NewRecorder()
		x.pcs.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if w.Code != http.StatusOK {
			tb.Fatalf("%s: %d", path, w.Code)
		}
		*into = w.Body.Bytes()
		var headers []string
		for _, h := range []string{headerTCBInfo, headerIdentity, headerCRL} {
			if s := w.Header().Get(h); s != "" {
				headers = append(headers, h, s)
			}
		}
		v.on(path, body(*into, headers...))
	}
	x.rootCRL = derOf(x.rootCRL)
}

// header is a chain as the PCS writes it in a header.
func header(chain ...*authority) string {
	return strings.ReplaceAll(url.QueryEscape(string(pemOf(chain...))), "+", "%20")
}

// quote makes a quote of the platform's.
func (x *intel) quote(t *testing.T, version uint16) []byte {
	t.Helper()
	var q *simintel.Quote
	var err error
	if version == 3 {
		q, err = x.platform.SGXQuote(x.platform.Enclave("e", [64]byte{1}), day0)
	} else {
		q, err = x.platform.TDQuote(x.platform.TD("guest", [64]byte{1}), version, day0)
	}
	if err != nil {
		t.Fatal(err)
	}
	b, err := q.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// evidence is one slot's.
func evidence(part string, data []byte, hand ...attest.Collateral) *attest.Evidence {
	return &attest.Evidence{Parts: []attest.Part{{Name: part, Data: data}}, Collateral: hand}
}

// kinds are the kinds of items, in order.
func kinds(items []attest.Collateral) string {
	var out []string
	for _, x := range items {
		out = append(out, x.Kind)
	}
	return strings.Join(out, " ")
}

func cert(a *authority) attest.Collateral {
	return attest.Collateral{Kind: attest.CollateralCertificate, Data: a.cert.Raw}
}
