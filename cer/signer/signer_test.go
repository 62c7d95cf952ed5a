package signer_test

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
	"encoding/base64"
	"errors"
	"io"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/cer/signer"
	"github.com/sworn-run/sworn/internal/limits"
)

// parse parses what must parse.
func parse(tb testing.TB, item attest.Collateral) *signer.Signature {
	tb.Helper()
	s, err := signer.Parse(item.Kind, item.Data)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// refused says whether a signature over the tests' evidence is refused, with an error of
// the class that belongs to it.
func refused(tb testing.TB, kind string, data []byte) bool {
	tb.Helper()
	s, err := signer.Parse(kind, data)
	if (s == nil) != (err != nil) || err != nil && !errors.Is(err, signer.ErrForm) {
		tb.Fatalf("%v beside %v", s, err)
	}
	if err != nil {
		return true
	}
	err = s.Verify(evidence)
	if err != nil && !errors.Is(err, signer.ErrSignature) {
		tb.Fatalf("class of %v", err)
	}
	return err != nil
}

func TestSignatures(t *testing.T) {
	for _, role := range []string{signer.RoleOperator, signer.RoleCountersigner} {
		for name, item := range items(t, role) {
			s := parse(t, item)
			if err := s.Verify(evidence); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if s.Claim != *claim(role) || s.Kind != item.Kind || s.Algorithm == "" || s.Key.Describe() == "" {
				t.Errorf("%s: %+v", name, s)
			}
			if fido := strings.HasPrefix(name, "fido"); s.Attended != fido || (s.Key.SPKI() == "") != fido {
				t.Errorf("%s: attended %v, spki %q", name, s.Attended, s.Key.SPKI())
			}
		}
	}
}

// TestOtherRecord: no signature counts for another record.
func TestOtherRecord(t *testing.T) {
	for name, item := range items(t, signer.RoleOperator) {
		if err := parse(t, item).Verify(sha256.Sum256([]byte("another"))); !errors.Is(err, signer.ErrSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := new(signer.Signature).Verify([32]byte{}); !errors.Is(err, signer.ErrSignature) {
		t.Errorf("the zero signature: %v", err)
	}
}

// TestBitFlips flips every bit of a signature of each kind: nothing in it is free.
func TestBitFlips(t *testing.T) {
	for name, item := range items(t, signer.RoleOperator) {
		if testing.Short() && !strings.HasPrefix(name, "ssh ed") {
			continue
		}
		data := slices.Clone(item.Data)
		step := 1
		if strings.HasSuffix(name, "p384") {
			step = 5 // Its verifications take longest.
		}
		for bit := 0; bit < 8*len(data); bit += step {
			data[bit/8] ^= 1 << (bit % 8)
			if !refused(t, item.Kind, data) {
				t.Errorf("%s: bit %d", name, bit)
			}
			data[bit/8] ^= 1 << (bit % 8)
		}
		for _, n := range []int{0, 1, len(data) / 2, len(data) - 1} {
			if !refused(t, item.Kind, data[:n]) {
				t.Errorf("%s: cut to %d bytes", name, n)
			}
		}
		for _, more := range []string{"\n", " ", "x", "."} {
			if !refused(t, item.Kind, append(slices.Clone(data), more...)) {
				t.Errorf("%s: with %q behind it", name, more)
			}
		}
		other := signer.KindSSH
		if item.Kind == other {
			other = signer.KindX509
		}
		if !refused(t, other, data) || !refused(t, "signature", data) {
			t.Errorf("%s: of another kind", name)
		}
	}
}

// TestClaimsChanged: role, digest, time and comment are under the signature.
func TestClaimsChanged(t *testing.T) {
	for name, item := range items(t, signer.RoleOperator) {
		for what, change := range map[string]func(*signer.Claim){
			"role":       func(c *signer.Claim) { c.Role = signer.RoleCountersigner },
			"digest":     func(c *signer.Claim) { c.Evidence[0]++ },
			"time":       func(c *signer.Claim) { c.Time = c.Time.Add(time.Millisecond) },
			"no time":    func(c *signer.Claim) { c.Time = time.Time{} },
			"comment":    func(c *signer.Claim) { c.Comment += "!" },
			"no comment": func(c *signer.Claim) { c.Comment = "" },
		} {
			c := claim(signer.RoleOperator)
			before, err := c.Encode()
			if err != nil {
				t.Fatal(err)
			}
			change(c)
			after, err := c.Encode()
			if err != nil {
				t.Fatal(err)
			}
			data := bytes.Replace(item.Data, before, after, 1)
			if item.Kind == signer.KindX509 {
				parts := strings.Split(string(item.Data), ".")
				parts[1] = base64.RawURLEncoding.EncodeToString(after)
				data = []byte(strings.Join(parts, "."))
			}
			if bytes.Equal(data, item.Data) || !refused(t, item.Kind, data) {
				t.Errorf("%s: another %s", name, what)
			}
		}
	}
}

// sshsig puts an item together by hand.
func sshsig(line string, blob []byte, namespace, hash, alg string, sig []byte) []byte {
	b := cat([]byte("SSHSIG"), []byte{0, 0, 0, 1}, str(blob), str([]byte(namespace)), str(nil), str([]byte(hash)),
		str(cat(str([]byte(alg)), str(sig))))
	text := base64.StdEncoding.EncodeToString(b)
	out := line + "-----BEGIN SSH SIGNATURE-----\n"
	for len(text) > 70 {
		out, text = out+text[:70]+"\n", text[70:]
	}
	return []byte(out + text + "\n-----END SSH SIGNATURE-----\n")
}

// TestOtherPurpose: a right signature by the same key, made for another purpose, another
// role or with a weak hash.
func TestOtherPurpose(t *testing.T) {
	line, err := claim(signer.RoleOperator).Encode()
	if err != nil {
		t.Fatal(err)
	}
	line = append(line, '\n')
	ed := keys()["ed25519"].(ed25519.PrivateKey)
	pub := cat(str([]byte("ssh-ed25519")), str(ed.Public().(ed25519.PublicKey)))
	make := func(namespace, hash string, digest []byte) []byte {
		signed := cat([]byte("SSHSIG"), str([]byte(namespace)), str(nil), str([]byte(hash)), str(digest))
		return sshsig(string(line), pub, namespace, hash, "ssh-ed25519", ed25519.Sign(ed, signed))
	}
	sum := sha256.Sum256(line)
	own := signer.Namespace(signer.RoleOperator)
	if refused(t, signer.KindSSH, make(own, "sha256", sum[:])) {
		t.Fatal("the signature made by hand is refused")
	}
	for _, namespace := range []string{"", "file", "git", "operator", own + " ", signer.Namespace(signer.RoleCountersigner)} {
		if !refused(t, signer.KindSSH, make(namespace, "sha256", sum[:])) {
			t.Errorf("namespace %q", namespace)
		}
	}
	for _, hash := range []string{"", "sha1", "sha512", "SHA256"} {
		if !refused(t, signer.KindSSH, make(own, hash, sum[:])) {
			t.Errorf("hash %q", hash)
		}
	}
	// The same key over the bare claim.
	if !refused(t, signer.KindSSH, sshsig(string(line), pub, own, "sha256", "ssh-ed25519", ed25519.Sign(ed, line))) {
		t.Error("the claim signed by itself")
	}
}

// jws makes a JSON Web Signature by hand, with an Ed25519 key.
func jws(t *testing.T, header, payload string, key ed25519.PrivateKey) []byte {
	t.Helper()
	in := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(payload))
	return []byte(in + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(key, []byte(in))))
}

func TestHeaders(t *testing.T) {
	ed := keys()["ed25519"].(ed25519.PrivateKey)
	ca, caKey := authority(t)
	otherCA, otherKey := authority(t)
	leaf := certificate(t, ed.Public(), ca, caKey, nil)
	x5c := func(certs ...*x509.Certificate) string {
		var all []string
		for _, c := range certs {
			all = append(all, `"`+base64.StdEncoding.EncodeToString(c.Raw)+`"`)
		}
		return "[" + strings.Join(all, ",") + "]"
	}
	line, err := claim(signer.RoleOperator).Encode()
	if err != nil {
		t.Fatal(err)
	}
	const typ = "vnd.sworn.operator.v1+jose"
	header := func(alg, typ, certs string) string {
		return `{"alg":"` + alg + `","typ":"` + typ + `","x5c":` + certs + `}`
	}
	good := header("EdDSA", typ, x5c(leaf, ca))
	if refused(t, signer.KindX509, jws(t, good, string(line), ed)) {
		t.Fatal("the signature made by hand is refused")
	}
	var many []*x509.Certificate
	for range limits.SignerChain {
		many = append(many, ca)
	}
	huge := certificate(t, ed.Public(), ca, caKey, func(c *x509.Certificate) {
		c.Subject.Organization = []string{strings.Repeat("x", limits.SignerCertificate)}
	})
	for name, h := range map[string]string{
		"no algorithm":          header("none", typ, x5c(leaf, ca)),
		"another algorithm":     header("ES256", typ, x5c(leaf, ca)),
		"a symmetric algorithm": header("HS256", typ, x5c(leaf, ca)),
		"a token's type":        header("EdDSA", "JWT", x5c(leaf, ca)),
		"another role's type":   header("EdDSA", "vnd.sworn.countersigner.v1+jose", x5c(leaf, ca)),
		"no certificate":        header("EdDSA", typ, "[]"),
		"null certificates":     header("EdDSA", typ, "null"),
		"another's certificate": header("EdDSA", typ, x5c(ca)),
		"twice":                 header("EdDSA", typ, x5c(leaf, leaf)),
		"unrelated":             header("EdDSA", typ, x5c(leaf, certificate(t, otherKey.Public(), nil, otherKey, nil))),
		"another of that name":  header("EdDSA", typ, x5c(leaf, otherCA)),
		"the other way round":   header("EdDSA", typ, x5c(ca, leaf)),
		"too many":              header("EdDSA", typ, x5c(append([]*x509.Certificate{leaf}, many...)...)),
		"too large":             header("EdDSA", typ, x5c(huge, ca)),
		"a further member":      strings.Replace(good, `"typ"`, `"crit":["b64"],"typ"`, 1),
		"without a type":        strings.Replace(good, `"typ":"`+typ+`",`, "", 1),
		"a blank":               strings.Replace(good, `,"typ"`, `, "typ"`, 1),
		"another order":         `{"typ":"` + typ + `","alg":"EdDSA","x5c":` + x5c(leaf, ca) + `}`,
		"a member twice":        strings.Replace(good, `"typ"`, `"alg":"EdDSA","typ"`, 1),
		"nothing":               "",
	} {
		if h == good || !refused(t, signer.KindX509, jws(t, h, string(line), ed)) {
			t.Errorf("%s is accepted", name)
		}
	}
}

func TestClaimsRefused(t *testing.T) {
	ed := keys()["ed25519"].(ed25519.PrivateKey)
	pub := cat(str([]byte("ssh-ed25519")), str(ed.Public().(ed25519.PublicKey)))
	good, err := claim(signer.RoleOperator).Encode()
	if err != nil {
		t.Fatal(err)
	}
	own := signer.Namespace(signer.RoleOperator)
	item := func(line string) []byte {
		sum := sha256.Sum256([]byte(line + "\n"))
		signed := cat([]byte("SSHSIG"), str([]byte(own)), str(nil), str([]byte("sha256")), str(sum[:]))
		return sshsig(line+"\n", pub, own, "sha256", "ssh-ed25519", ed25519.Sign(ed, signed))
	}
	if refused(t, signer.KindSSH, item(string(good))) {
		t.Fatal("the claim is refused")
	}
	swap := func(from, to string) string {
		out := strings.Replace(string(good), from, to, 1)
		if out == string(good) {
			t.Fatalf("%q is not there", from)
		}
		return out
	}
	for name, line := range map[string]string{
		"nothing":         "",
		"another type":    swap("sworn.signature/v1", "sworn.signature/v2"),
		"no type":         swap(`,"type":"sworn.signature/v1"`, ""),
		"another role":    swap(`"operator"`, `"owner"`),
		"a further one":   swap(`"role"`, `"name":"x","role"`),
		"an empty time":   swap(`"time":"2026`, `"time":"","x":"2026`),
		"a day too many":  swap(`"time":"2026-11-18`, `"time":"2026-11-31`),
		"a local time":    swap(`.123Z"`, `.123+01:00"`),
		"whole seconds":   swap(`.123Z"`, `Z"`),
		"an empty one":    swap(`"comment":"ledger 7, »Prüfung«"`, `"comment":""`),
		"two lines":       swap("ledger 7", `ledger\n7`),
		"backwards":       swap("ledger 7", "ledger\u202e7"),
		"a long comment":  swap("ledger 7", strings.Repeat("x", limits.SignerComment)),
		"upper case":      swap("sha256:", "SHA256:"),
		"a short digest":  swap("sha256:", "sha256:0")[:],
		"a blank":         swap(`","role`, `", "role`),
		"null":            swap(`"time":"2026-11-18T11:06:40.123Z"`, `"time":null`),
		"a carriage":      string(good) + "\r",
		"first the other": string(good) + string(good),
	} {
		if !refused(t, signer.KindSSH, item(line)) {
			t.Errorf("%s is accepted: %s", name, line)
		}
	}
	for name, c := range map[string]*signer.Claim{
		"no role":      {Evidence: evidence},
		"far time":     {Role: signer.RoleOperator, Time: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)},
		"two lines":    {Role: signer.RoleOperator, Comment: "a\nb"},
		"long":         {Role: signer.RoleOperator, Comment: strings.Repeat("x", limits.SignerComment+1)},
		"no UTF-8":     {Role: signer.RoleOperator, Comment: "\xff"},
		"unknown role": {Role: "auditor"},
	} {
		if b, err := c.Encode(); b != nil || !errors.Is(err, signer.ErrForm) {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
}

// TestKeysRefused: keys that are too weak, or of no accepted kind.
func TestKeysRefused(t *testing.T) {
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	p521, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	n := keys()["rsa"].Public().(*rsa.PublicKey).N
	for name, pub := range map[string]crypto.PublicKey{
		"none": nil, "small RSA": small.Public(), "P-521": p521.Public(), "short Ed25519": ed25519.PublicKey{1},
		"exponent 3": &rsa.PublicKey{N: n, E: 3}, "even": &rsa.PublicKey{N: new(big.Int).Lsh(n, 1), E: 65537},
		"huge RSA": &rsa.PublicKey{N: new(big.Int).SetBit(n, 8192, 1), E: 65537},
	} {
		if k, err := signer.NewKey(pub); k != nil || !errors.Is(err, signer.ErrForm) {
			t.Errorf("%s: %v, %v", name, k, err)
		}
	}
	name, e := func(s string) []byte { return str([]byte(s)) }, mp(big.NewInt(65537))
	point, err := keys()["p256"].Public().(*ecdsa.PublicKey).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	off := slices.Clone(point)
	off[64] ^= 1
	ed := keys()["ed25519"].Public().(ed25519.PublicKey)
	for what, blob := range map[string][]byte{
		"nothing":           nil,
		"DSA":               cat(name("ssh-dss"), mp(n), mp(n), mp(n), mp(n)),
		"a certificate":     cat(name("ssh-ed25519-cert-v01@openssh.com"), str(ed)),
		"a byte too many":   cat(name("ssh-ed25519"), str(ed), []byte{0}),
		"a byte too few":    cat(name("ssh-ed25519"), str(ed[1:])),
		"RSA, exponent 3":   cat(name("ssh-rsa"), mp(big.NewInt(3)), mp(n)),
		"RSA, padded":       cat(name("ssh-rsa"), e, str(cat([]byte{0, 0}, n.Bytes()))),
		"RSA, negative":     cat(name("ssh-rsa"), e, str(n.Bytes())),
		"RSA, small":        cat(name("ssh-rsa"), e, mp(small.N)),
		"RSA, huge":         cat(name("ssh-rsa"), e, mp(new(big.Int).SetBit(n, 100_000, 1))),
		"off the curve":     cat(name("ecdsa-sha2-nistp256"), name("nistp256"), str(off)),
		"another curve":     cat(name("ecdsa-sha2-nistp256"), name("nistp384"), str(point)),
		"P-256 as P-384":    cat(name("ecdsa-sha2-nistp384"), name("nistp384"), str(point)),
		"P-521":             cat(name("ecdsa-sha2-nistp521"), name("nistp521"), str(point)),
		"no application":    cat(name("sk-ssh-ed25519@openssh.com"), str(ed), name("")),
		"a hostile one":     cat(name("sk-ssh-ed25519@openssh.com"), str(ed), name("ssh:\x1b[2J")),
		"a length too long": cat(name("ssh-ed25519"), []byte{0xff, 0xff, 0xff, 0xff}),
	} {
		if k, err := signer.ParseKey(blob); k != nil || !errors.Is(err, signer.ErrForm) {
			t.Errorf("%s: %v, %v", what, k, err)
		}
	}
}

// TestWeakAlgorithms: RSA with SHA-1, an algorithm of another key, nobody at the
// authenticator.
func TestWeakAlgorithms(t *testing.T) {
	c := claim(signer.RoleOperator)
	message, err := signer.SSHMessage(c)
	if err != nil {
		t.Fatal(err)
	}
	key := keys()["rsa"].(*rsa.PrivateKey)
	blob := cat(str([]byte("ssh-rsa")), mp(big.NewInt(65537)), mp(key.N))
	sum := sha256.Sum256(message)
	sig, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	try := func(alg string, sig []byte) error {
		_, err := signer.NewSSH(c, blob, cat(str([]byte(alg)), str(sig)))
		return err
	}
	if err := try("rsa-sha2-256", sig); err != nil {
		t.Fatal(err)
	}
	for _, alg := range []string{"ssh-rsa", "rsa-sha2-512", "rsa-sha2-384", "ssh-ed25519", ""} {
		if err := try(alg, sig); !errors.Is(err, signer.ErrForm) && !errors.Is(err, signer.ErrSignature) {
			t.Errorf("%q: %v", alg, err)
		}
	}
	if err := try("rsa-sha2-256", cat([]byte{0}, sig)); !errors.Is(err, signer.ErrSignature) {
		t.Errorf("a longer signature: %v", err)
	}
	for _, flags := range []byte{0, 4} {
		if _, err := (&fido{keys()["p256"], flags}).item(t, c.Role); !errors.Is(err, signer.ErrForm) {
			t.Errorf("flags %d: %v", flags, err)
		}
	}
	item, err := (&fido{keys()["p256"], 1}).item(t, c.Role)
	if err != nil || parse(t, item).Attended {
		t.Errorf("touched: %v", err)
	}
}

// broken is a key that signs something else, or fails.
type broken struct {
	crypto.Signer
	err error
}

func (b broken) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if b.err != nil {
		return nil, b.err
	}
	digest = slices.Clone(digest)
	digest[0]++
	return b.Signer.Sign(random, digest, opts)
}

// TestKeysThatFail: what a key made is verified before it is handed out.
func TestKeysThatFail(t *testing.T) {
	lost := errors.New("token removed")
	for name, key := range keys() {
		ca, caKey := authority(t)
		leaf := certificate(t, key.Public(), ca, caKey, nil)
		for want, k := range map[error]broken{lost: {key, lost}, signer.ErrSignature: {key, nil}} {
			if item, err := signer.SignSSH(rand.Reader, claim(signer.RoleOperator), k); item.Data != nil || !errors.Is(err, want) {
				t.Errorf("%s, SSH: %v, want %v", name, err, want)
			}
			if item, err := signer.SignX509(rand.Reader, claim(signer.RoleOperator), k, []*x509.Certificate{leaf}); item.Data != nil || !errors.Is(err, want) {
				t.Errorf("%s, X.509: %v, want %v", name, err, want)
			}
		}
		if _, err := signer.SignX509(rand.Reader, claim(signer.RoleOperator), key, nil); !errors.Is(err, signer.ErrForm) {
			t.Errorf("%s: no certificate: %v", name, err)
		}
		if _, err := signer.SignX509(rand.Reader, claim(signer.RoleOperator), key, []*x509.Certificate{ca}); err == nil {
			t.Errorf("%s: another's certificate is taken", name)
		}
	}
}

// TestChain: below whom a certificate is, when, and what it is for.
func TestChain(t *testing.T) {
	key := keys()["p256"]
	ca, caKey := authority(t)
	between, betweenKey := func() (*x509.Certificate, crypto.Signer) {
		k := keys()["p384"]
		return certificate(t, k.Public(), ca, caKey, func(c *x509.Certificate) {
			c.Subject.CommonName, c.IsCA, c.KeyUsage = "Between", true, x509.KeyUsageCertSign
		}), k
	}()
	stranger, _ := authority(t)
	now := time.UnixMilli(1_795_000_000_000)
	sign := func(change func(*x509.Certificate), below *x509.Certificate, by crypto.Signer, more ...*x509.Certificate) *signer.Signature {
		leaf := certificate(t, key.Public(), below, by, change)
		item, err := signer.SignX509(rand.Reader, claim(signer.RoleOperator), key, append([]*x509.Certificate{leaf}, more...))
		if err != nil {
			t.Fatal(err)
		}
		return parse(t, item)
	}
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	below := certificate(t, weak.Public(), ca, caKey, func(c *x509.Certificate) {
		c.Subject.CommonName, c.IsCA, c.KeyUsage = "Weak", true, x509.KeyUsageCertSign
	})
	leaf := certificate(t, key.Public(), below, weak, nil)
	if _, err := signer.SignX509(rand.Reader, claim(signer.RoleOperator), key, []*x509.Certificate{leaf, below}); !errors.Is(err, signer.ErrForm) {
		t.Errorf("below a weak key: %v", err)
	}
	usage := func(u ...x509.ExtKeyUsage) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.ExtKeyUsage = u }
	}
	document := func(c *x509.Certificate) {
		c.UnknownExtKeyUsage = append(c.UnknownExtKeyUsage, []int{1, 3, 6, 1, 5, 5, 7, 3, 36})
	}
	for _, c := range []struct {
		name string
		s    *signer.Signature
		ca   *x509.Certificate
		at   time.Time
		ok   bool
	}{
		{"below it", sign(nil, ca, caKey), ca, now, true},
		{"with it", sign(nil, ca, caKey, ca), ca, now, true},
		{"below one between", sign(nil, between, betweenKey, between), ca, now, true},
		{"between trusted", sign(nil, between, betweenKey), between, now, true},
		{"for mail", sign(usage(x509.ExtKeyUsageEmailProtection), ca, caKey), ca, now, true},
		{"for documents", sign(document, ca, caKey), ca, now, true},
		{"without usage", sign(func(c *x509.Certificate) { c.KeyUsage = 0 }, ca, caKey), ca, now, true},
		{"between missing", sign(nil, between, betweenKey), ca, now, false},
		{"a stranger of the name", sign(nil, ca, caKey, ca), stranger, now, false},
		{"no authority", sign(nil, ca, caKey), nil, now, false},
		{"no time", sign(nil, ca, caKey), ca, time.Time{}, false},
		{"before", sign(nil, ca, caKey), ca, now.Add(-2 * time.Hour), false},
		{"after", sign(nil, ca, caKey), ca, now.Add(2 * time.Hour), false},
		{"for servers", sign(usage(x509.ExtKeyUsageServerAuth), ca, caKey), ca, now, false},
		{"for code", sign(usage(x509.ExtKeyUsageCodeSigning), ca, caKey), ca, now, false},
		{"for keys", sign(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyAgreement }, ca, caKey), ca, now, false},
		{"an authority", sign(func(c *x509.Certificate) { c.IsCA, c.KeyUsage = true, c.KeyUsage|x509.KeyUsageCertSign }, ca, caKey), ca, now, false},
		{"SSH", parse(t, signSSH(t, signer.RoleOperator, key)), ca, now, false},
	} {
		if err := c.s.Verify(evidence); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if err := c.s.VerifyChain(c.ca, c.at); (err == nil) != c.ok || err != nil && !errors.Is(err, signer.ErrUntrusted) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestKeyNames(t *testing.T) {
	for name, key := range keys() {
		k, err := signer.NewKey(key.Public())
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range []string{k.Fingerprint(), k.SPKI()} {
			if err := signer.CheckID(id); err != nil || !k.Names(id) {
				t.Errorf("%s: %s: %v", name, id, err)
			}
			for _, wrong := range []string{"", id[1:], id[:len(id)-1], id + "=", id + "0", strings.ToLower(id) + " ", "MD5" + id[6:]} {
				if err := signer.CheckID(wrong); !errors.Is(err, signer.ErrForm) || k.Names(wrong) {
					t.Errorf("%s: %q: %v", name, wrong, err)
				}
			}
		}
	}
	// The last digit has bits that mean nothing.
	if err := signer.CheckID("SHA256:" + strings.Repeat("A", 42) + "B"); !errors.Is(err, signer.ErrForm) {
		t.Errorf("unused bits: %v", err)
	}
}

// TestPlaces: what Insert makes ParseAll accepts, and nothing in another order.
func TestPlaces(t *testing.T) {
	base := []attest.Collateral{{Kind: attest.CollateralCRL, Data: []byte{1}}, {Kind: "eventlog", Data: []byte{2}}}
	all := base
	for _, role := range []string{signer.RoleCountersigner, signer.RoleOperator} {
		for name, key := range keys() {
			next, err := signer.Insert(all, signSSH(t, role, key))
			if err != nil || len(next) != len(all)+1 {
				t.Fatalf("%s: %v", name, err)
			}
			all = next
			again, _ := signX509(t, role, key) // The same key and role, in the other format.
			if next, err := signer.Insert(all, again); next != nil || !errors.Is(err, signer.ErrPlace) {
				t.Errorf("%s twice: %v", name, err)
			}
		}
	}
	parsed, err := signer.ParseAll(all)
	if err != nil || len(parsed) != 8 || parsed[0].Role != signer.RoleOperator || parsed[7].Role != signer.RoleCountersigner {
		t.Fatalf("%d, %v", len(parsed), err)
	}
	if rest, carried := signer.Split(all); len(rest) != 2 || len(carried) != 8 {
		t.Errorf("%d and %d", len(rest), len(carried))
	}
	for i := range all {
		for j := range i {
			swapped := slices.Clone(all)
			swapped[i], swapped[j] = swapped[j], swapped[i]
			if _, err := signer.ParseAll(swapped); i > 1 && !errors.Is(err, signer.ErrPlace) {
				t.Errorf("items %d and %d swapped: %v", i, j, err)
			}
		}
		doubled := slices.Insert(slices.Clone(all), i, all[i])
		if _, err := signer.ParseAll(doubled); i > 1 && !errors.Is(err, signer.ErrPlace) {
			t.Errorf("item %d twice: %v", i, err)
		}
	}
	for _, add := range []attest.Collateral{{}, {Kind: signer.KindSSH}, {Kind: attest.CollateralCRL, Data: all[3].Data}} {
		if _, err := signer.Insert(all, add); !errors.Is(err, signer.ErrForm) {
			t.Errorf("%q: %v", add.Kind, err)
		}
	}
	if _, err := signer.ParseAll(append(slices.Clone(all), attest.Collateral{Kind: signer.KindX509, Data: []byte("x")})); !errors.Is(err, signer.ErrForm) {
		t.Errorf("one that does not parse: %v", err)
	}
}

func TestPlacesBounded(t *testing.T) {
	var all []attest.Collateral
	for i := range limits.Signers + 1 {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		next, err := signer.Insert(all, signSSH(t, signer.RoleCountersigner, key))
		if i == limits.Signers {
			if !errors.Is(err, signer.ErrPlace) {
				t.Errorf("%d signatures: %v", i+1, err)
			}
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		all = next
	}
	if _, err := signer.ParseAll(slices.Repeat(all, 2)); !errors.Is(err, signer.ErrPlace) {
		t.Errorf("too many: %v", err)
	}
	if _, err := signer.Parse(signer.KindSSH, bytes.Repeat([]byte("x"), limits.SignerItem+1)); !errors.Is(err, signer.ErrForm) {
		t.Errorf("too large: %v", err)
	}
}

// TestClaimIsOneLine: the claim is what SPEC says, byte by byte.
func TestClaimIsOneLine(t *testing.T) {
	b, err := claim(signer.RoleCountersigner).Encode()
	want := `{"comment":"ledger 7, »Prüfung«","evidence":"` + cer.FormatHash(evidence) + `","role":"countersigner","time":"2026-11-18T11:06:40.123Z","type":"sworn.signature/v1"}`
	if err != nil || string(b) != want {
		t.Errorf("%s\n%s, %v", b, want, err)
	}
	b, err = (&signer.Claim{Role: signer.RoleOperator, Evidence: evidence}).Encode()
	if want := `{"evidence":"` + cer.FormatHash(evidence) + `","role":"operator","type":"sworn.signature/v1"}`; err != nil || string(b) != want {
		t.Errorf("%s\n%s, %v", b, want, err)
	}
}
