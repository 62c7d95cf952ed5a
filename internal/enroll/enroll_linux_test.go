package enroll

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/simulator"
	"github.com/sworn-run/sworn/tpm"
	"github.com/sworn-run/sworn/tpm/tpmdev"
)

// party is an enrolling party with its server, and a CA for TLS.
type party struct {
	ca     *Authority
	server *Server
	url    string
	dir    string
	now    func() time.Time
}

// issueTLS makes a TLS certificate and its key in dir, in NAME.pem and NAME.key;
// a CA's if there is no parent.
func issueTLS(tb testing.TB, dir, name string, parent *x509.Certificate, by *ecdsa.PrivateKey) (c *x509.Certificate, k *ecdsa.PrivateKey) {
	tb.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	t := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, BasicConstraintsValid: true,
	}
	if parent == nil {
		t.IsCA, t.KeyUsage, t.ExtKeyUsage = true, x509.KeyUsageCertSign, nil
		parent, by = t, k
	}
	der, err := x509.CreateCertificate(rand.Reader, t, parent, &k.PublicKey, by)
	if err != nil {
		tb.Fatal(err)
	}
	if c, err = x509.ParseCertificate(der); err != nil {
		tb.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		tb.Fatal(err)
	}
	write := func(file, kind string, b []byte) {
		path := filepath.Join(dir, file)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}), 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	write(name+".pem", "CERTIFICATE", der)
	write(name+".key", "PRIVATE KEY", private)
	return c, k
}

// newParty starts a server that trusts these anchors.
func newParty(tb testing.TB, anchors *attest.Anchors) *party {
	tb.Helper()
	p := &party{dir: tb.TempDir(), now: time.Now}
	var err error
	if p.ca, err = InitCA(filepath.Join(p.dir, "ca"), time.Now()); err != nil {
		tb.Fatal(err)
	}
	p.server, err = NewServer(Config{
		CA: p.ca, Anchors: anchors, Transcripts: filepath.Join(p.dir, "transcripts"), Now: func() time.Time { return p.now() },
	})
	if err != nil {
		tb.Fatal(err)
	}
	root, key := issueTLS(tb, p.dir, "tls-ca", nil, nil)
	for _, name := range []string{"server", "alice", "bob"} {
		issueTLS(tb, p.dir, name, root, key)
	}
	s := httptest.NewUnstartedServer(p.server)
	s.Config.ErrorLog = nil
	if s.TLS, err = TLS(p.file("server.pem"), p.file("server.key"), p.file("tls-ca.pem")); err != nil {
		tb.Fatal(err)
	}
	s.StartTLS()
	tb.Cleanup(s.Close)
	p.url = s.URL
	return p
}

func (p *party) file(name string) string { return filepath.Join(p.dir, name) }

// client returns a client with that certificate.
func (p *party) client(tb testing.TB, name string) *Client {
	tb.Helper()
	c, err := TLS(p.file(name+".pem"), p.file(name+".key"), p.file("tls-ca.pem"))
	if err != nil {
		tb.Fatal(err)
	}
	out, err := NewClient(p.url, c)
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

// simulated starts a simulated TPM and returns its address, what its maker's
// EK CA is, and the maker's root as an anchor.
func simulated(tb testing.TB) (addr string, issuers [][]byte, anchors *attest.Anchors) {
	tb.Helper()
	dir, err := os.MkdirTemp("", "enroll")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	s, err := simulator.StartSWTPM(context.Background(), simulator.Options{Dir: dir})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = s.Close() })
	return s.Addr(), [][]byte{pemFile(tb, filepath.Join(dir, "maker", "ek-ca.pem")).Raw},
		ekAnchors(pemFile(tb, filepath.Join(dir, "roots", "tpm-ek", "SIMULATED-tpm-maker.pem")))
}

// pemFile reads a certificate.
func pemFile(tb testing.TB, name string) *x509.Certificate {
	tb.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		tb.Fatal(err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		tb.Fatalf("%s is not PEM", name)
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// ekAnchors returns anchors of role "tpm-ek".
func ekAnchors(certs ...*x509.Certificate) *attest.Anchors {
	a := &attest.Anchors{}
	for _, c := range certs {
		a.Roots = append(a.Roots, attest.Root{Role: tpm.RoleEK, Certificate: c, UserSupplied: true})
	}
	return a
}

// enrolled enrols a simulated TPM.
func enrolled(tb testing.TB) (p *party, addr string, e *tpmdev.Enrolled) {
	tb.Helper()
	addr, issuers, anchors := simulated(tb)
	p = newParty(tb, anchors)
	e, err := tpmdev.Enroll(context.Background(), addr, tpmdev.Options{}, issuers, p.client(tb, "alice"))
	if err != nil {
		tb.Fatal(err)
	}
	return p, addr, e
}

// TestEnroll: the enrolled AK quotes, and its certificate is verified as a
// provider's is, against the enrolling party's root and no other.
func TestEnroll(t *testing.T) {
	p, addr, e := enrolled(t)
	state := filepath.Join(t.TempDir(), "state")
	if err := Save(state, e); err != nil {
		t.Fatal(err)
	}
	kept, err := Load(state)
	if err != nil {
		t.Fatal(err)
	}
	claims := quoted(t, addr, tpmdev.Options{Enrolled: kept}, &attest.Anchors{Roots: []attest.Root{
		{Role: tpm.RoleAK, Certificate: p.ca.Root(), UserSupplied: true},
	}}, time.Now())
	if claims.Identity.Status != attest.Passed || !claims.Identity.Root.Certificate.Equal(p.ca.Root()) || claims.Revocation.Status != attest.Passed {
		t.Errorf("identity %+v, revocation %+v", claims.Identity, claims.Revocation)
	}
	leaf, err := x509.ParseCertificate(e.Certificates[0])
	if err != nil {
		t.Fatal(err)
	}
	if leaf.IsCA || len(leaf.Subject.CommonName) != 64 || leaf.NotAfter.Sub(leaf.NotBefore) > DefaultValidity+time.Hour {
		t.Errorf("certificate %+v", leaf)
	}
	late := quoted(t, addr, tpmdev.Options{Enrolled: kept}, &attest.Anchors{Roots: []attest.Root{{Role: tpm.RoleAK, Certificate: p.ca.Root()}}}, time.Now().AddDate(0, 4, 0))
	if late.Identity.Status != attest.Failed {
		t.Errorf("after its time: %+v", late.Identity)
	}
	files, err := filepath.Glob(filepath.Join(p.dir, "transcripts", "*.json"))
	if err != nil || len(files) != 1 {
		t.Fatalf("transcripts %q, %v", files, err)
	}
	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	var tr transcript
	if err := cer.UnmarshalCanonical(b, maxDepth, &tr); err != nil {
		t.Fatal(err)
	}
	if tr.Witness != witness || tr.Client != "CN=alice" || !bytes.Equal(tr.Certificate, e.Certificates[0]) || !bytes.Equal(tr.Request.AKPublic, e.Public) {
		t.Errorf("transcript %+v", tr)
	}
}

// quoted opens the TPM, quotes a statement and verifies it.
func quoted(t *testing.T, addr string, o tpmdev.Options, anchors *attest.Anchors, at time.Time) *attest.Claims {
	t.Helper()
	d, err := tpmdev.Open(t.Context(), addr, o)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	slot, err := d.Manifest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	st := &attest.Statement{
		Type: attest.TypeRun, Time: 1700000000000,
		Series: [32]byte{1}, Launch: [32]byte{2}, KeyID: [32]byte{3},
		LogSize: 1, LogRoot: [32]byte{4}, RecordCount: 1, TreeRoot: [32]byte{5},
		Manifest: []attest.Slot{slot},
	}
	ev, err := d.Attest(t.Context(), 0, st)
	if err != nil {
		t.Fatal(err)
	}
	claims, err := tpm.Scheme{}.Verify(ev, anchors, at)
	if err != nil {
		t.Fatal(err)
	}
	return claims
}

// tamper is an Enroller between a TPM and the server, which changes what passes.
type tamper struct {
	*Client
	request func(*tpmdev.Request)
	secret  func([]byte) []byte
}

func (m *tamper) Challenge(ctx context.Context, r *tpmdev.Request) (*tpmdev.Credential, error) {
	if m.request != nil {
		m.request(r)
	}
	return m.Client.Challenge(ctx, r)
}

func (m *tamper) Certify(ctx context.Context, secret []byte) ([][]byte, error) {
	if m.secret != nil {
		secret = m.secret(secret)
	}
	return m.Client.Certify(ctx, secret)
}

// TestAttacks: what an applicant may try.
func TestAttacks(t *testing.T) {
	addr, issuers, anchors := simulated(t)
	other, otherIssuers, otherAnchors := simulated(t)
	p := newParty(t, anchors)
	both := newParty(t, &attest.Anchors{Roots: append(anchors.Roots[:1:1], otherAnchors.Roots...)})
	// What the other TPM shows of itself.
	var foreign tpmdev.Request
	_, err := tpmdev.Enroll(t.Context(), other, tpmdev.Options{}, otherIssuers, &tamper{
		Client: both.client(t, "bob"), request: func(r *tpmdev.Request) { foreign = *r },
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		party *party
		edit  func(*tpmdev.Request)
		want  error
	}{
		"EK of another TPM, trusted":    {both, func(r *tpmdev.Request) { r.EKCertificates, r.EKPublic = foreign.EKCertificates, foreign.EKPublic }, tpmdev.ErrDevice},
		"EK of another maker":           {p, func(r *tpmdev.Request) { r.EKCertificates, r.EKPublic = foreign.EKCertificates, foreign.EKPublic }, ErrRefused},
		"certificate of another EK":     {both, func(r *tpmdev.Request) { r.EKCertificates = foreign.EKCertificates }, ErrRefused},
		"AK of another TPM":             {both, func(r *tpmdev.Request) { r.AKPublic = foreign.AKPublic }, tpmdev.ErrDevice},
		"the CA's own certificate":      {p, func(r *tpmdev.Request) { r.EKCertificates = r.EKCertificates[1:] }, ErrRefused},
		"no certificate":                {p, func(r *tpmdev.Request) { r.EKCertificates = nil }, ErrRefused},
		"issuer missing":                {p, func(r *tpmdev.Request) { r.EKCertificates = r.EKCertificates[:1] }, ErrRefused},
		"AK that is not restricted":     {p, attributes(0x00010000), ErrRefused},
		"AK that can be moved":          {p, attributes(0x00000010), ErrRefused},
		"AK that is used by a policy":   {p, attributes(0x00000040), ErrRefused},
		"AK that deciphers":             {p, attributes(0x00020000), ErrRefused},
		"the EK as an AK":               {p, func(r *tpmdev.Request) { r.AKPublic = r.EKPublic }, ErrRefused},
		"EK's public area with a tail":  {p, func(r *tpmdev.Request) { r.EKPublic = append(slices.Clip(r.EKPublic), 0) }, ErrRefused},
		"a request over the limit":      {p, func(r *tpmdev.Request) { r.AKParent = make([]byte, maxMessage) }, ErrServer},
		"a public area over the limits": {p, func(r *tpmdev.Request) { r.EKPublic = make([]byte, 4096) }, ErrRefused},
	} {
		t.Run(name, func(t *testing.T) {
			e, err := tpmdev.Enroll(t.Context(), addr, tpmdev.Options{}, issuers, &tamper{Client: tc.party.client(t, "alice"), request: tc.edit})
			if !errors.Is(err, tc.want) || e != nil {
				t.Errorf("%v, %v, want %v", e, err, tc.want)
			}
		})
	}
	t.Run("wrong secret", func(t *testing.T) {
		e, err := tpmdev.Enroll(t.Context(), addr, tpmdev.Options{}, issuers, &tamper{
			Client: p.client(t, "alice"), secret: func(s []byte) []byte { s[0] ^= 1; return s },
		})
		if !errors.Is(err, ErrRefused) || e != nil {
			t.Errorf("%v, %v", e, err)
		}
	})
	// Nothing was certified, so there is nothing to keep.
	if files, err := filepath.Glob(filepath.Join(p.dir, "transcripts", "*")); err != nil || len(files) != 0 {
		t.Errorf("transcripts %q, %v", files, err)
	}
	// Nothing stays loaded in a TPM that serves one client: it can be enrolled.
	if _, err := tpmdev.Enroll(t.Context(), addr, tpmdev.Options{}, issuers, p.client(t, "alice")); err != nil {
		t.Error(err)
	}
}

// attributes returns a change that flips bits of the AK's objectAttributes.
func attributes(bits uint32) func(*tpmdev.Request) {
	return func(r *tpmdev.Request) {
		r.AKPublic = bytes.Clone(r.AKPublic)
		for i := range 4 {
			r.AKPublic[4+i] ^= byte(bits >> (24 - 8*i))
		}
	}
}

// TestSessions: a challenge is answered once, in time, by the client it was
// made for, with its own secret.
func TestSessions(t *testing.T) {
	addr, issuers, anchors := simulated(t)
	p := newParty(t, anchors)
	alice, bob := p.client(t, "alice"), p.client(t, "bob")
	var secrets [][]byte
	var sessions [][]byte
	note := func(s []byte) []byte {
		secrets, sessions = append(secrets, s), append(sessions, alice.session)
		return nil
	}
	for range 2 {
		// The secret is held back and the session used up.
		if _, err := tpmdev.Enroll(t.Context(), addr, tpmdev.Options{}, issuers, &tamper{Client: alice, secret: note}); !errors.Is(err, ErrRefused) {
			t.Fatal(err)
		}
	}
	certify := func(c *Client, session, secret []byte) error {
		c.session = session
		_, err := c.Certify(t.Context(), secret)
		return err
	}
	if err := certify(alice, sessions[0], secrets[0]); !errors.Is(err, ErrRefused) {
		t.Errorf("replayed: %v", err)
	}
	hold := func() (session, secret []byte) {
		_, err := tpmdev.Enroll(t.Context(), addr, tpmdev.Options{}, issuers, &holding{Client: alice, to: &secret})
		if !errors.Is(err, errHeld) {
			t.Fatal(err)
		}
		return alice.session, secret
	}
	session, secret := hold()
	if err := certify(bob, session, secret); !errors.Is(err, ErrRefused) {
		t.Errorf("by another client: %v", err)
	}
	other, otherSecret := hold()
	if err := certify(alice, session, otherSecret); !errors.Is(err, ErrRefused) {
		t.Errorf("secret of another session: %v", err)
	}
	if err := certify(alice, session, secret); !errors.Is(err, ErrRefused) {
		t.Errorf("second try: %v", err)
	}
	// Two at once: one of them.
	var wg sync.WaitGroup
	errs := make([]error, 2)
	for i, c := range []*Client{p.client(t, "alice"), p.client(t, "alice")} {
		wg.Go(func() { errs[i] = certify(c, other, otherSecret) })
	}
	wg.Wait()
	if (errs[0] == nil) == (errs[1] == nil) {
		t.Errorf("racing: %v", errs)
	}
	session, secret = hold()
	p.now = func() time.Time { return time.Now().Add(patience + time.Second) }
	if err := certify(alice, session, secret); !errors.Is(err, ErrRefused) {
		t.Errorf("too late: %v", err)
	}
	p.now = time.Now
	for _, bad := range [][]byte{nil, {1}, make([]byte, 32), make([]byte, 33)} {
		if err := certify(alice, bad, secret); !errors.Is(err, ErrRefused) {
			t.Errorf("session %x: %v", bad, err)
		}
	}
	// Sessions left open are bounded, and one client's do not shut others out.
	for range maxPerClient {
		hold()
	}
	if _, err := tpmdev.Enroll(t.Context(), addr, tpmdev.Options{}, issuers, alice); !errors.Is(err, ErrServer) {
		t.Errorf("too many: %v", err)
	}
	if _, err := tpmdev.Enroll(t.Context(), addr, tpmdev.Options{}, issuers, bob); err != nil {
		t.Errorf("bob: %v", err)
	}
}

// errHeld ends an enrolment whose secret was held back.
var errHeld = errors.New("held back")

// holding keeps the secret.
type holding struct {
	*Client
	to *[]byte
}

func (h *holding) Certify(_ context.Context, secret []byte) ([][]byte, error) {
	*h.to = secret
	return nil, errHeld
}

// TestTransport: who has no certificate, or no TLS 1.3, is not heard.
func TestTransport(t *testing.T) {
	_, _, anchors := simulated(t)
	p := newParty(t, anchors)
	good, err := TLS(p.file("alice.pem"), p.file("alice.key"), p.file("tls-ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	root, key := issueTLS(t, t.TempDir(), "other-ca", nil, nil)
	dir := t.TempDir()
	issueTLS(t, dir, "mallory", root, key)
	mallory, err := tls.LoadX509KeyPair(filepath.Join(dir, "mallory.pem"), filepath.Join(dir, "mallory.key"))
	if err != nil {
		t.Fatal(err)
	}
	for name, edit := range map[string]func(*tls.Config){
		"no certificate":        func(c *tls.Config) { c.Certificates = nil },
		"certificate of others": func(c *tls.Config) { c.Certificates = []tls.Certificate{mallory} },
		"TLS 1.2":               func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12 },
		"another server's CA":   func(c *tls.Config) { c.RootCAs = x509.NewCertPool() },
	} {
		c := good.Clone()
		edit(c)
		client, err := NewClient(p.url, c)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Challenge(t.Context(), &tpmdev.Request{}); !errors.Is(err, ErrServer) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, u := range []string{"http://127.0.0.1", "https://", "", "ftp://x", "https://a@b", "https://x?y", "https://x#y", "https://x/y"} {
		if c, err := NewClient(u, good); !errors.Is(err, ErrServer) || c != nil {
			t.Errorf("%q: %v", u, err)
		}
	}
	// Without TLS at all, as behind a proxy that ends it.
	w := httptest.NewRecorder()
	p.server.ServeHTTP(w, httptest.NewRequest(http.MethodPost, pathChallenge, strings.NewReader("{}")))
	if w.Code != http.StatusForbidden {
		t.Errorf("plain HTTP: %d", w.Code)
	}
	https := &http.Client{Transport: &http.Transport{TLSClientConfig: good}}
	for name, tc := range map[string]struct {
		method, path, body string
		want               int
	}{
		"GET":            {http.MethodGet, pathChallenge, "", http.StatusBadRequest},
		"another path":   {http.MethodPost, "/v1/other", "{}", http.StatusBadRequest},
		"no JSON":        {http.MethodPost, pathChallenge, "x", http.StatusBadRequest},
		"not canonical":  {http.MethodPost, pathChallenge, `{ "type":"x"}`, http.StatusBadRequest},
		"unknown member": {http.MethodPost, pathCertificate, `{"secret":"","session":"","type":"sworn.enroll.proof/v1","x":1}`, http.StatusBadRequest},
		"another type":   {http.MethodPost, pathCertificate, `{"secret":"","session":"","type":"sworn.enroll.request/v1"}`, http.StatusBadRequest},
		"too large":      {http.MethodPost, pathChallenge, strings.Repeat("x", maxMessage+1), http.StatusRequestEntityTooLarge},
	} {
		req, err := http.NewRequestWithContext(t.Context(), tc.method, p.url+tc.path, strings.NewReader(tc.body))
		if err != nil {
			t.Fatal(err)
		}
		rsp, err := https.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = rsp.Body.Close()
		if rsp.StatusCode != tc.want {
			t.Errorf("%s: %d, want %d", name, rsp.StatusCode, tc.want)
		}
	}
}

// TestStored: a kept AK that is another TPM's, damaged, expired, or open to
// others is refused.
func TestStored(t *testing.T) {
	_, addr, e := enrolled(t)
	other, _, _ := simulated(t)
	if d, err := tpmdev.Open(t.Context(), other, tpmdev.Options{Enrolled: e}); !errors.Is(err, tpmdev.ErrEnrolled) || d != nil {
		t.Errorf("another TPM's: %v", err)
	}
	for name, edit := range map[string]func(*tpmdev.Enrolled){
		"damaged": func(e *tpmdev.Enrolled) {
			e.Private = append(bytes.Clone(e.Private[:len(e.Private)-1]), e.Private[len(e.Private)-1]^1)
		},
		"no private area":   func(e *tpmdev.Enrolled) { e.Private = nil },
		"no authorization":  func(e *tpmdev.Enrolled) { e.Auth = nil },
		"no certificate":    func(e *tpmdev.Enrolled) { e.Certificates = nil },
		"another's":         func(e *tpmdev.Enrolled) { e.Certificates = e.Certificates[1:] },
		"not a certificate": func(e *tpmdev.Enrolled) { e.Certificates = [][]byte{{1}} },
		"parent's Name":     func(e *tpmdev.Enrolled) { e.Parent = nil },
	} {
		bad := *e
		edit(&bad)
		if d, err := tpmdev.Open(t.Context(), addr, tpmdev.Options{Enrolled: &bad}); !errors.Is(err, tpmdev.ErrEnrolled) || d != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if d, err := tpmdev.Open(t.Context(), addr, tpmdev.Options{AK: tpmdev.Stored}); !errors.Is(err, tpmdev.ErrAbsent) || d != nil {
		t.Errorf("none: %v", err)
	}
	dir := filepath.Join(t.TempDir(), "state")
	if got, err := Load(dir); got != nil || err != nil {
		t.Errorf("no state: %v, %v", got, err)
	}
	if err := Save(dir, e); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, keyFile)
	if st, err := os.Stat(name); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st, err)
	}
	for what, edit := range map[string]func() error{
		"readable by others": func() error { return os.Chmod(name, 0o640) },
		"of another user":    func() error { return errors.Join(os.Chmod(name, 0o600), os.Chown(name, 65534, 0)) },
		"not canonical":      func() error { return os.WriteFile(name, []byte("{}"), 0o600) },
		"a link":             func() error { return errors.Join(os.Rename(name, name+"2"), os.Symlink(name+"2", name)) },
	} {
		if err := Save(dir, e); err != nil {
			t.Fatal(err)
		}
		if err := edit(); err != nil {
			t.Fatal(err)
		}
		if got, err := Load(dir); !errors.Is(err, ErrFile) || got != nil {
			t.Errorf("%s: %v, %v", what, got, err)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCA: a CA is made once, and its key is nobody else's to read.
func TestCA(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ca")
	a, err := InitCA(dir, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if again, err := InitCA(dir, time.Now()); !errors.Is(err, ErrFile) || again != nil {
		t.Errorf("made again: %v", err)
	}
	b, err := LoadCA(dir)
	if err != nil || !b.Root().Equal(a.Root()) {
		t.Errorf("loaded %v, %v", b, err)
	}
	if err := os.Chmod(filepath.Join(dir, caKeyFile), 0o644); err != nil {
		t.Fatal(err)
	}
	if b, err := LoadCA(dir); !errors.Is(err, ErrFile) || b != nil {
		t.Errorf("open to others: %v", err)
	}
	anchors := ekAnchors(a.Root())
	for name, c := range map[string]Config{
		"no CA":          {Anchors: anchors, Transcripts: dir},
		"zero CA":        {CA: &Authority{}, Anchors: anchors, Transcripts: dir},
		"no maker":       {CA: a, Transcripts: dir},
		"zero anchors":   {CA: a, Anchors: &attest.Anchors{}, Transcripts: dir},
		"no transcripts": {CA: a, Anchors: anchors},
		"too short":      {CA: a, Anchors: anchors, Transcripts: dir, Validity: time.Minute},
		"too long":       {CA: a, Anchors: anchors, Transcripts: dir, Validity: MaxValidity + 1},
	} {
		if s, err := NewServer(c); !errors.Is(err, ErrFile) || s != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestTranscriptFirst: a certificate whose transcript cannot be kept does not
// leave.
func TestTranscriptFirst(t *testing.T) {
	addr, issuers, anchors := simulated(t)
	p := newParty(t, anchors)
	if err := os.WriteFile(filepath.Join(p.dir, "transcripts"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if e, err := tpmdev.Enroll(t.Context(), addr, tpmdev.Options{}, issuers, p.client(t, "alice")); !errors.Is(err, ErrServer) || e != nil {
		t.Errorf("%v, %v", e, err)
	}
}

// BenchmarkEnroll measures an enrolment whole: AK and EK made, two requests over
// TLS, activation, the transcript written.
func BenchmarkEnroll(b *testing.B) {
	addr, issuers, anchors := simulated(b)
	p := newParty(b, anchors)
	for b.Loop() {
		if _, err := tpmdev.Enroll(b.Context(), addr, tpmdev.Options{}, issuers, p.client(b, "alice")); err != nil {
			b.Fatal(err)
		}
	}
}

// manufactured starts a software TPM as swtpm's own tools make it, with the EK
// certificates of a local CA (RSA in NV 0x01c00002, P-384 in 0x01c00016), and
// returns its address and its CA's certificates.
func manufactured(t *testing.T) (addr string, anchors *attest.Anchors) {
	t.Helper()
	dir, err := os.MkdirTemp("", "swtpm")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	localca, err := exec.LookPath("swtpm_localca")
	if err != nil {
		t.Fatalf("package swtpm-tools: %v", err)
	}
	path := func(name string) string { return filepath.Join(dir, name) }
	for name, text := range map[string]string{
		"setup.conf":   "create_certs_tool = " + localca + "\ncreate_certs_tool_config = " + path("localca.conf") + "\n",
		"localca.conf": "statedir = " + dir + "\nsigningkey = " + path("sign.pem") + "\nissuercert = " + path("issuer.pem") + "\ncertserial = " + path("serial") + "\n",
	} {
		if err := os.WriteFile(path(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.Command("swtpm_setup", "--tpm2", "--tpmstate", dir, "--create-ek-cert", "--pcr-banks", "sha256",
		"--config", path("setup.conf")).CombinedOutput()
	if err != nil {
		t.Fatalf("swtpm_setup: %v\n%s", err, out)
	}
	cmd := exec.Command("swtpm", "socket", "--tpm2", "--tpmstate", "dir="+dir, "--server", "type=unixio,path="+path("s"),
		"--ctrl", "type=unixio,path="+path("c"), "--flags", "not-need-init,startup-clear")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for range 500 {
		if _, err := os.Stat(path("s")); err == nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	return "unix:" + path("s"), ekAnchors(pemFile(t, path("issuer.pem")), pemFile(t, path("swtpm-localca-rootca-cert.pem")))
}

// TestMakersKeys enrols by each kind of EK that swtpm's tools make: P-384, which
// the empty password authorizes, and RSA, which a policy does.
func TestMakersKeys(t *testing.T) {
	addr, anchors := manufactured(t)
	p := newParty(t, anchors)
	for _, want := range []struct {
		name string
		kind any
	}{{"P-384", &ecdsa.PublicKey{}}, {"RSA", &rsa.PublicKey{}}} {
		var shown *tpmdev.Request
		e, err := tpmdev.Enroll(t.Context(), addr, tpmdev.Options{}, nil, &tamper{
			Client: p.client(t, "alice"), request: func(r *tpmdev.Request) { shown = r },
		})
		if err != nil {
			t.Fatalf("%s: %v", want.name, err)
		}
		ek, err := x509.ParseCertificate(shown.EKCertificates[0])
		if err != nil || reflect.TypeOf(ek.PublicKey) != reflect.TypeOf(want.kind) {
			t.Errorf("%s: the EK is %T, %v", want.name, ek.PublicKey, err)
		}
		if claims := quoted(t, addr, tpmdev.Options{Enrolled: e}, nil, time.Now()); claims.KeyID == [32]byte{} {
			t.Errorf("%s: %+v", want.name, claims)
		}
		removeNV(t, addr, 0x01c00016)
	}
}

// removeNV removes an index, by the platform hierarchy.
func removeNV(t *testing.T, addr string, index tpm2.TPMHandle) {
	t.Helper()
	rw, err := tpmdev.Dial(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	defer rw.Close()
	public, err := tpm2.NVReadPublic{NVIndex: index}.Execute(rw)
	if err != nil {
		return // The second round has none.
	}
	_, err = tpm2.NVUndefineSpace{
		AuthHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHPlatform, Auth: tpm2.PasswordAuth(nil)},
		NVIndex:    tpm2.NamedHandle{Handle: index, Name: public.NVName},
	}.Execute(rw)
	if err != nil {
		t.Fatal(err)
	}
}
