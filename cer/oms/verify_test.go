package oms

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"embed"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"path"
	"slices"
	"strings"
	"testing"
	"time"
)

//go:embed testdata
var testdata embed.FS

func read(tb testing.TB, name string) []byte {
	tb.Helper()
	b, err := testdata.ReadFile(path.Join("testdata", name))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func readPEM(tb testing.TB, name string) []byte {
	tb.Helper()
	block, _ := pem.Decode(read(tb, name))
	if block == nil {
		tb.Fatalf("%s is no PEM", name)
	}
	return block.Bytes
}

// toolKey is the key that made the signatures in testdata.
func toolKey(tb testing.TB) crypto.PublicKey {
	tb.Helper()
	key, err := x509.ParsePKIXPublicKey(readPEM(tb, "signing-key-pub.pem"))
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

func toolRoot(tb testing.TB) *x509.Certificate {
	tb.Helper()
	c, err := x509.ParseCertificate(readPEM(tb, "ca-cert.pem"))
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// toolTime is within the validity of the certificates in testdata.
func toolTime() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }

func newKey(tb testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	tb.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

func parse(tb testing.TB, b []byte) *Signature {
	tb.Helper()
	s, err := Parse(b)
	if err != nil {
		tb.Fatalf("%v\n%s", err, b)
	}
	return s
}

func sign(tb testing.TB, m *Manifest, key crypto.Signer, chain ...*x509.Certificate) []byte {
	tb.Helper()
	b, err := Sign(nil, m, key, chain...)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// bundle is a bundle over any payload.
func bundle(tb testing.TB, payload []byte, key *ecdsa.PrivateKey, toSign []byte) []byte {
	tb.Helper()
	sig, err := ecdsa.SignASN1(rand.Reader, key, digest(crypto.SHA256, toSign))
	if err != nil {
		tb.Fatal(err)
	}
	return fmt.Appendf(nil, `{"mediaType":%q,"verificationMaterial":{"publicKey":{"hint":null},"tlogEntries":[]},`+
		`"dsseEnvelope":{"payload":%q,"payloadType":%q,"signatures":[{"sig":%q,"keyid":null}]}}`,
		bundleType, base64.StdEncoding.EncodeToString(payload), payloadType, base64.StdEncoding.EncodeToString(sig))
}

// Signatures that the format's own tool made, all of its releases that wrote the
// format or the one before it.
func TestTool(t *testing.T) {
	one, oneLine, two := file("signme-1", "signme-1"), file("signme-1", "signme-1\n"), file("signme-2", "signme-2")
	ignore := append(GitPaths(), "ignore-me", "model.sig")
	keys, roots := []crypto.PublicKey{newKey(t, elliptic.P384()).Public(), toolKey(t)}, []*x509.Certificate{toolRoot(t)}
	id, err := KeyID(toolKey(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []struct {
		name, root string
		files      []File
		ignore     []string
	}{
		{"v0.2.0-certificate", "61d4849d9d90076d6215f4d525f13d6574af8e3f67aef3e6f36fc40a14fdd226", []File{one, two}, nil},
		{"v0.3.1-certificate", "61d4849d9d90076d6215f4d525f13d6574af8e3f67aef3e6f36fc40a14fdd226", []File{one, two}, nil},
		{"v1.0.0-certificate", "61d4849d9d90076d6215f4d525f13d6574af8e3f67aef3e6f36fc40a14fdd226", []File{one, two}, nil},
		{"v1.1.0-certificate", "61d4849d9d90076d6215f4d525f13d6574af8e3f67aef3e6f36fc40a14fdd226", []File{one, two}, ignore},
		{"v0.3.1-elliptic-key", "afa48c8674afe334b8a7dea34f7b46ab256e9255edf8da2132792341b667a45b", []File{file(".", "signme-1\n")}, nil},
		{"v1.0.0-elliptic-key", "afa48c8674afe334b8a7dea34f7b46ab256e9255edf8da2132792341b667a45b", []File{file(".", "signme-1\n")}, nil},
		{"v1.0.1-elliptic-key", "92745110b1ab4368471cbe31664e10174e954b113a3df333db860317b2c6dec4", []File{oneLine, two}, nil},
		{"v1.1.0-elliptic-key", "92745110b1ab4368471cbe31664e10174e954b113a3df333db860317b2c6dec4", []File{oneLine, two}, ignore},
	} {
		s := parse(t, read(t, v.name+".sig"))
		var m *Manifest
		if strings.HasSuffix(v.name, "-certificate") {
			var c *x509.Certificate
			if c, m, err = s.VerifyChain(roots, toolTime()); err != nil || s.Kind() != KindChain {
				t.Errorf("%s: %v, kind %d", v.name, err, s.Kind())
				continue
			}
			if got, err := KeyID(c.PublicKey); err != nil || got != id {
				t.Errorf("%s: key %x, %v", v.name, got, err)
			}
			if _, _, err := s.Verify(keys); !errors.Is(err, ErrCertificateSigned) {
				t.Errorf("%s: with a key: %v", v.name, err)
			}
		} else {
			var got [32]byte
			if got, m, err = s.Verify(keys); err != nil || got != id || s.Kind() != KindKey {
				t.Errorf("%s: %x, %v, kind %d", v.name, got, err, s.Kind())
				continue
			}
			if _, _, err := s.VerifyChain(roots, toolTime()); !errors.Is(err, ErrUntrusted) {
				t.Errorf("%s: with certificates: %v", v.name, err)
			}
		}
		root := m.Root()
		if hex.EncodeToString(root[:]) != v.root || m.Digest() != "oms-sha256:"+v.root || m.Symlinks() {
			t.Errorf("%s: root %x, digest %s, symlinks %v", v.name, root, m.Digest(), m.Symlinks())
		}
		if err := m.Check(v.files); err != nil {
			t.Errorf("%s: %v", v.name, err)
		}
		got := m.Ignore()
		slices.Sort(got)
		if !slices.Equal(got, v.ignore) {
			t.Errorf("%s: ignores %q, want %q", v.name, got, v.ignore)
		}
	}
}

func TestSigstore(t *testing.T) {
	s := parse(t, read(t, "v1.1.0-sigstore.sig"))
	if s.Kind() != KindSigstore {
		t.Errorf("kind %d", s.Kind())
	}
	if id, m, err := s.Verify([]crypto.PublicKey{toolKey(t)}); id != [32]byte{} || m != nil || !errors.Is(err, ErrCertificateSigned) {
		t.Errorf("%x, %v, %v", id, m, err)
	}
	if c, m, err := s.VerifyChain([]*x509.Certificate{toolRoot(t)}, toolTime()); c != nil || m != nil || !errors.Is(err, ErrCertificateSigned) {
		t.Errorf("%v, %v, %v", c, m, err)
	}
	// A chain with an entry in the log is an older form of the same.
	chained := bytes.Replace(read(t, "v1.1.0-certificate.sig"), []byte(`"tlogEntries":[]`), []byte(`"tlogEntries":[{}]`), 1)
	if s := parse(t, chained); s.Kind() != KindSigstore {
		t.Errorf("kind %d of a chain with an entry in the log", s.Kind())
	}
}

func TestVerify(t *testing.T) {
	m := manifest(t, Options{Name: "model \"x\"", Ignore: []string{"i"}, Symlinks: true}, file("b/\n\\", "1"), file("a", "2"))
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		key, other := newKey(t, curve), newKey(t, curve)
		s := parse(t, sign(t, m, key))
		id, got, err := s.Verify([]crypto.PublicKey{other.Public(), key.Public()})
		want, _ := KeyID(key.Public())
		if err != nil || id != want || !got.Equal(m) || got.Name() != m.Name() || !got.Symlinks() || !slices.Equal(got.Ignore(), m.Ignore()) {
			t.Errorf("%s: %x, %+v, %v", curve.Params().Name, id, got, err)
		}
		for _, keys := range [][]crypto.PublicKey{nil, {other.Public()}} {
			if id, got, err := s.Verify(keys); id != [32]byte{} || got != nil || !errors.Is(err, ErrUntrusted) {
				t.Errorf("%d other keys: %x, %v, %v", len(keys), id, got, err)
			}
		}
	}
	var zero Signature
	if id, got, err := zero.Verify([]crypto.PublicKey{toolKey(t)}); id != [32]byte{} || got != nil || !errors.Is(err, ErrUntrusted) {
		t.Errorf("zero: %x, %v, %v", id, got, err)
	}
	if c, got, err := zero.VerifyChain([]*x509.Certificate{toolRoot(t)}, toolTime()); c != nil || got != nil || !errors.Is(err, ErrUntrusted) {
		t.Errorf("zero: %v, %v, %v", c, got, err)
	}
}

func TestKeys(t *testing.T) {
	m := manifest(t, Options{}, file("a", ""))
	s := parse(t, sign(t, m, newKey(t, elliptic.P256())))
	ed := ed25519.NewKeyFromSeed(make([]byte, 32))
	for name, key := range map[string]crypto.PublicKey{
		"nil": nil, "Ed25519": ed.Public(), "P-224": newKey(t, elliptic.P224()).Public(),
		"nil ECDSA": (*ecdsa.PublicKey)(nil), "empty": &ecdsa.PublicKey{},
	} {
		if id, got, err := s.Verify([]crypto.PublicKey{key}); id != [32]byte{} || got != nil || !errors.Is(err, ErrUnsupported) {
			t.Errorf("%s: %x, %v, %v", name, id, got, err)
		}
		if id, err := KeyID(key); id != [32]byte{} || !errors.Is(err, ErrUnsupported) {
			t.Errorf("%s: %x, %v", name, id, err)
		}
	}
	for name, key := range map[string]crypto.Signer{"nil": nil, "Ed25519": ed, "P-224": newKey(t, elliptic.P224())} {
		if b, err := Sign(nil, m, key); b != nil || !errors.Is(err, ErrUnsupported) {
			t.Errorf("signing with %s: %q, %v", name, b, err)
		}
	}
}

// A key may be named; then no other is tried, not even the right one.
func TestHint(t *testing.T) {
	m, key := manifest(t, Options{}, file("a", "")), newKey(t, elliptic.P256())
	b := sign(t, m, key)
	var w wireBundle
	if err := json.Unmarshal(b, &w); err != nil {
		t.Fatal(err)
	}
	named := *w.Material.Key.Hint
	for hint, want := range map[string]error{
		`"` + named + `"`:                  nil,
		`""`:                               nil,
		`null`:                             nil,
		`"` + strings.ToUpper(named) + `"`: ErrUntrusted,
		`"x"`:                              ErrUntrusted,
	} {
		s := parse(t, bytes.Replace(b, []byte(`"`+named+`"`), []byte(hint), 1))
		if _, got, err := s.Verify([]crypto.PublicKey{key.Public()}); !errors.Is(err, want) || (got != nil) != (want == nil) {
			t.Errorf("hint %s: %v, %v", hint, got, err)
		}
	}
}

func TestSignRefuses(t *testing.T) {
	key := newKey(t, elliptic.P256())
	for _, m := range []*Manifest{nil, {}} {
		if b, err := Sign(nil, m, key); b != nil || !errors.Is(err, ErrMalformed) {
			t.Errorf("%q, %v", b, err)
		}
	}
	var files []File
	for i := range 1600 {
		files = append(files, file(fmt.Sprintf("%04096d", i), ""))
	}
	if b, err := Sign(nil, manifest(t, Options{}, files...), key); b != nil || !errors.Is(err, ErrMalformed) {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}

// authority is a certificate authority with one below it.
type authority struct {
	rootKey, key *ecdsa.PrivateKey
	root, below  *x509.Certificate
}

func certify(tb testing.TB, template, parent *x509.Certificate, public crypto.PublicKey, key crypto.Signer) *x509.Certificate {
	tb.Helper()
	template.SerialNumber = big.NewInt(7)
	template.NotBefore, template.NotAfter = toolTime().Add(-time.Hour), toolTime().Add(time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		tb.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

func newAuthority(tb testing.TB) *authority {
	tb.Helper()
	a := &authority{rootKey: newKey(tb, elliptic.P256()), key: newKey(tb, elliptic.P256())}
	ca := func(name string) *x509.Certificate {
		return &x509.Certificate{
			Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		}
	}
	root := ca("root")
	a.root = certify(tb, root, root, a.rootKey.Public(), a.rootKey)
	a.below = certify(tb, ca("below"), a.root, a.key.Public(), a.rootKey)
	return a
}

func TestVerifyChain(t *testing.T) {
	a, other := newAuthority(t), newAuthority(t)
	m := manifest(t, Options{}, file("a", ""))
	codeSigning := []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}
	at := toolTime()
	for _, tc := range []struct {
		name  string
		leaf  x509.Certificate
		curve elliptic.Curve
		roots []*x509.Certificate
		at    time.Time
		want  error
	}{
		{"both", x509.Certificate{KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: codeSigning}, elliptic.P256(), []*x509.Certificate{other.root, a.root}, at, nil},
		{"usage", x509.Certificate{KeyUsage: x509.KeyUsageDigitalSignature}, elliptic.P384(), []*x509.Certificate{a.root}, at, nil},
		{"extended usage", x509.Certificate{ExtKeyUsage: codeSigning}, elliptic.P521(), []*x509.Certificate{a.root}, at, nil},
		{"below itself is trusted", x509.Certificate{ExtKeyUsage: codeSigning}, elliptic.P256(), []*x509.Certificate{a.below}, at, nil},
		{"no usage", x509.Certificate{}, elliptic.P256(), []*x509.Certificate{a.root}, at, ErrUntrusted},
		{"other usage", x509.Certificate{KeyUsage: x509.KeyUsageCertSign, ExtKeyUsage: codeSigning}, elliptic.P256(), []*x509.Certificate{a.root}, at, ErrUntrusted},
		{"other extended usage", x509.Certificate{KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, elliptic.P256(), []*x509.Certificate{a.root}, at, ErrUntrusted},
		{"other root", x509.Certificate{ExtKeyUsage: codeSigning}, elliptic.P256(), []*x509.Certificate{other.root}, at, ErrUntrusted},
		{"no root", x509.Certificate{ExtKeyUsage: codeSigning}, elliptic.P256(), nil, at, ErrUntrusted},
		{"nil root", x509.Certificate{ExtKeyUsage: codeSigning}, elliptic.P256(), []*x509.Certificate{nil, a.root}, at, ErrUntrusted},
		{"no time", x509.Certificate{ExtKeyUsage: codeSigning}, elliptic.P256(), []*x509.Certificate{a.root}, time.Time{}, ErrUntrusted},
		{"too early", x509.Certificate{ExtKeyUsage: codeSigning}, elliptic.P256(), []*x509.Certificate{a.root}, at.Add(-2 * time.Hour), ErrUntrusted},
		{"too late", x509.Certificate{ExtKeyUsage: codeSigning}, elliptic.P256(), []*x509.Certificate{a.root}, at.Add(2 * time.Hour), ErrUntrusted},
	} {
		key := newKey(t, tc.curve)
		leaf := certify(t, &tc.leaf, a.below, key.Public(), a.key)
		s := parse(t, sign(t, m, key, leaf, a.below))
		c, got, err := s.VerifyChain(tc.roots, tc.at)
		if !errors.Is(err, tc.want) || (got != nil) != (tc.want == nil) || (c != nil) != (tc.want == nil) {
			t.Errorf("%s: %v, %v, %v", tc.name, c, got, err)
		}
		if err == nil && (!got.Equal(m) || !c.Equal(leaf)) {
			t.Errorf("%s: %+v", tc.name, got)
		}
	}
	chainRefuses(t, a, m)
}

func chainRefuses(t *testing.T, a *authority, m *Manifest) {
	t.Helper()
	key := newKey(t, elliptic.P256())
	leaf := certify(t, &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}}, a.below, key.Public(), a.key)
	for name, chain := range map[string][]*x509.Certificate{
		"another key's": {a.below, leaf}, "nil": {nil}, "empty": {{}}, "many": slices.Repeat([]*x509.Certificate{leaf}, 17),
	} {
		if b, err := Sign(nil, m, key, chain...); b != nil || !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	// Signed by another key than the certificate's.
	var one, two wireBundle
	for b, w := range map[string]*wireBundle{
		string(sign(t, m, key, leaf, a.below)):         &one,
		string(sign(t, m, newKey(t, elliptic.P256()))): &two,
	} {
		if err := json.Unmarshal([]byte(b), w); err != nil {
			t.Fatal(err)
		}
	}
	one.Envelope = two.Envelope
	b, err := json.Marshal(&one)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	if c, got, err := s.VerifyChain([]*x509.Certificate{a.root}, toolTime()); c != nil || got != nil || !errors.Is(err, ErrUntrusted) {
		t.Errorf("another key's signature: %v, %v, %v", c, got, err)
	}
	// A modulus of any size, in the certificate of an authority that nobody knows.
	large := &rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), maxRSABits, 1), E: 65537}
	s.chain = append(s.chain, certify(t, &x509.Certificate{IsCA: true, BasicConstraintsValid: true}, a.root, large, a.rootKey).Raw)
	if c, got, err := s.VerifyChain([]*x509.Certificate{a.root}, toolTime()); c != nil || got != nil || !errors.Is(err, ErrUnsupported) {
		t.Errorf("a large key: %v, %v, %v", c, got, err)
	}
	s.chain[0] = []byte("no certificate")
	if c, got, err := s.VerifyChain([]*x509.Certificate{a.root}, toolTime()); c != nil || got != nil || !errors.Is(err, ErrMalformed) {
		t.Errorf("no certificate: %v, %v, %v", c, got, err)
	}
}

// Whatever bit of a signature is another, it is refused, or means the same.
func TestMutation(t *testing.T) {
	m, key := manifest(t, Options{Name: "m", Ignore: []string{"i"}}, file("a", "1"), file("b", "2")), newKey(t, elliptic.P256())
	keys := []crypto.PublicKey{key.Public()}
	b := sign(t, m, key)
	// A bit of the payload is as good as any other, and a verification takes time.
	payload := bytes.Index(b, []byte(`"payload":"`))
	step := func(bit int) int {
		if bit/8 < payload || bit/8 > bytes.Index(b, []byte(`"payloadType"`)) {
			return 1
		}
		return 11
	}
	refused, tried := 0, 0
	for bit := 0; bit < len(b)*8; bit += step(bit) {
		tried++
		c := bytes.Clone(b)
		c[bit/8] ^= 1 << (bit % 8)
		id, got, err := [32]byte{}, (*Manifest)(nil), error(nil)
		s, err := Parse(c)
		if err == nil {
			id, got, err = s.Verify(keys)
		}
		if err != nil {
			classified(t, err)
			if id != [32]byte{} || got != nil {
				t.Fatalf("bit %d: %v beside %v", bit, got, err)
			}
			refused++
			continue
		}
		if !got.Equal(m) || got.Name() != m.Name() || !slices.Equal(got.Ignore(), m.Ignore()) || got.Symlinks() != m.Symlinks() {
			t.Fatalf("bit %d: %+v", bit, got)
		}
	}
	if refused < tried*9/10 || tried < len(b) {
		t.Errorf("only %d of %d bits matter", refused, tried)
	}
}

// classified fails unless err wraps exactly one of the package's errors.
func classified(tb testing.TB, err error) {
	tb.Helper()
	n := 0
	for _, class := range []error{ErrMalformed, ErrUnsupported, ErrUntrusted, ErrCertificateSigned, ErrMismatch} {
		if errors.Is(err, class) {
			n++
		}
	}
	if n != 1 {
		tb.Fatalf("%v is of %d classes", err, n)
	}
}

func FuzzParse(f *testing.F) {
	key := newKey(f, elliptic.P256())
	a := newAuthority(f)
	leaf := certify(f, &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}}, a.below, key.Public(), a.key)
	m := manifest(f, Options{Name: "m"}, file("a", "1"))
	f.Add(sign(f, m, key))
	f.Add(sign(f, m, key, leaf, a.below))
	names, err := fs.Glob(testdata, "testdata/*.sig")
	if err != nil || len(names) == 0 {
		f.Fatalf("empty seed corpus: %v", err)
	}
	known := []*Manifest{m}
	keys, roots := []crypto.PublicKey{key.Public(), toolKey(f)}, []*x509.Certificate{a.root, toolRoot(f)}
	for _, name := range names {
		b := read(f, path.Base(name))
		f.Add(b)
		s := parse(f, b)
		if _, signed, err := s.Verify(keys); err == nil {
			known = append(known, signed)
		} else if _, signed, err := s.VerifyChain(roots, toolTime()); err == nil {
			known = append(known, signed)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := Parse(b)
		if (s == nil) != (err != nil) {
			t.Fatalf("%v beside %v", s, err)
		}
		if err != nil {
			classified(t, err)
			return
		}
		id, got, err := s.Verify(keys)
		c, chained, chainErr := s.VerifyChain(roots, toolTime())
		if (err == nil) && (chainErr == nil) {
			t.Fatal("signed with a key and with a certificate")
		}
		if (err == nil) != (got != nil && id != [32]byte{}) || (chainErr == nil) != (c != nil && chained != nil) {
			t.Fatalf("%x, %v beside %v; %v, %v beside %v", id, got, err, c, chained, chainErr)
		}
		for _, err := range []error{err, chainErr} {
			if err != nil {
				classified(t, err)
			}
		}
		for _, signed := range []*Manifest{got, chained} {
			if signed != nil && !slices.ContainsFunc(known, signed.Equal) {
				t.Fatalf("nobody signed %+v", signed)
			}
		}
	})
}

func TestCompatPAE(t *testing.T) {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	// As Python 3.11 prints them.
	for payload, want := range map[string]string{
		string(all[:64]):             `b'\x00\x01\x02\x03\x04\x05\x06\x07\x08\t\n\x0b\x0c\r\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f !"#$%&\'()*+,-./0123456789:;<=>?'`,
		string(all[88:129]) + "\xff": `b'XYZ[\\]^_` + "`" + `abcdefghijklmnopqrstuvwxyz{|}~\x7f\x80\xff'`,
		`it's`:                       `b"it's"`,
		`it's "x"`:                   `b'it\'s "x"'`,
		`"x"`:                        `b'"x"'`,
	} {
		if got := string(compatPAE([]byte(payload))); got != fmt.Sprintf("DSSEV1 28 application/vnd.in-toto+json %d %s", len(payload), want) {
			t.Errorf("%q: %s", payload, got)
		}
	}
	if got := string(pae([]byte("{}"))); got != "DSSEv1 28 application/vnd.in-toto+json 2 {}" {
		t.Error(got)
	}
	if sha256.Sum256(pae(all)) != [32]byte(digest(crypto.SHA256, pae(all))) {
		t.Error("another digest")
	}
}
