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
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer/signer"
)

// evidence is the digest that the tests sign.
var evidence = sha256.Sum256([]byte("evidence"))

// claim is a claim with everything in it.
func claim(role string) *signer.Claim {
	return &signer.Claim{Role: role, Evidence: evidence, Time: time.UnixMilli(1_795_000_000_123).UTC(), Comment: "ledger 7, »Prüfung«"}
}

// keys are one key of each kind that package crypto has; made once, for RSA takes time.
var keys = sync.OnceValue(func() map[string]crypto.Signer {
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	must(err)
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	must(err)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	must(err)
	return map[string]crypto.Signer{"ed25519": ed, "p256": p256, "p384": p384, "rsa": rsaKey}
})

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// certificate makes a certificate for a key, by itself or by an issuer.
func certificate(tb testing.TB, key crypto.PublicKey, issuer *x509.Certificate, by crypto.Signer, change func(*x509.Certificate)) *x509.Certificate {
	tb.Helper()
	at := time.UnixMilli(1_795_000_000_000)
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		tb.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "Signer"}, NotBefore: at.Add(-time.Hour), NotAfter: at.Add(time.Hour),
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature,
	}
	if change != nil {
		change(c)
	}
	if issuer == nil {
		issuer = c
	}
	der, err := x509.CreateCertificate(rand.Reader, c, issuer, key, by)
	if err != nil {
		tb.Fatal(err)
	}
	out, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

// authority makes a CA.
func authority(tb testing.TB) (*x509.Certificate, crypto.Signer) {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return certificate(tb, key.Public(), nil, key, func(c *x509.Certificate) {
		c.Subject.CommonName, c.IsCA, c.KeyUsage = "Signers", true, x509.KeyUsageCertSign
	}), key
}

// signX509 signs with a certificate below a fresh authority, which is in the chain.
func signX509(tb testing.TB, role string, key crypto.Signer) (attest.Collateral, *x509.Certificate) {
	tb.Helper()
	ca, caKey := authority(tb)
	leaf := certificate(tb, key.Public(), ca, caKey, nil)
	item, err := signer.SignX509(rand.Reader, claim(role), key, []*x509.Certificate{leaf, ca})
	if err != nil {
		tb.Fatal(err)
	}
	return item, ca
}

// signSSH signs as SSH does.
func signSSH(tb testing.TB, role string, key crypto.Signer) attest.Collateral {
	tb.Helper()
	item, err := signer.SignSSH(rand.Reader, claim(role), key)
	if err != nil {
		tb.Fatal(err)
	}
	return item
}

// str is a string as SSH has it.
func str(s []byte) []byte { return append(binary.BigEndian.AppendUint32(nil, uint32(len(s))), s...) }

// mp is a positive number as SSH has it.
func mp(n *big.Int) []byte {
	b := n.Bytes()
	if len(b) > 0 && b[0]&0x80 != 0 {
		b = append([]byte{0}, b...)
	}
	return str(b)
}

func cat(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// fido is an authenticator in software: it makes what PROTOCOL.u2f describes.
type fido struct {
	key   crypto.Signer
	flags byte
}

// blob is the public key as SSH has it.
func (f *fido) blob() []byte {
	if k, ok := f.key.Public().(*ecdsa.PublicKey); ok {
		point, err := k.Bytes()
		must(err)
		return cat(str([]byte("sk-ecdsa-sha2-nistp256@openssh.com")), str([]byte("nistp256")), str(point), str([]byte("ssh:")))
	}
	return cat(str([]byte("sk-ssh-ed25519@openssh.com")), str(f.key.Public().(ed25519.PublicKey)), str([]byte("ssh:")))
}

// sign signs a message of the agent's.
func (f *fido) sign(tb testing.TB, message []byte) []byte {
	tb.Helper()
	app, sum, counter := sha256.Sum256([]byte("ssh:")), sha256.Sum256(message), []byte{0, 0, 0, 9}
	covered := cat(app[:], []byte{f.flags}, counter, sum[:])
	alg, hash := "sk-ssh-ed25519@openssh.com", crypto.Hash(0)
	if _, ok := f.key.Public().(*ecdsa.PublicKey); ok {
		digest := sha256.Sum256(covered)
		alg, hash, covered = "sk-ecdsa-sha2-nistp256@openssh.com", crypto.SHA256, digest[:]
	}
	sig, err := f.key.Sign(rand.Reader, covered, hash)
	if err != nil {
		tb.Fatal(err)
	}
	if hash != 0 {
		var v struct{ R, S *big.Int }
		if _, err := asn1.Unmarshal(sig, &v); err != nil {
			tb.Fatal(err)
		}
		sig = cat(mp(v.R), mp(v.S))
	}
	return cat(str([]byte(alg)), str(sig), []byte{f.flags}, counter)
}

// item signs a claim.
func (f *fido) item(tb testing.TB, role string) (attest.Collateral, error) {
	tb.Helper()
	message, err := signer.SSHMessage(claim(role))
	if err != nil {
		tb.Fatal(err)
	}
	return signer.NewSSH(claim(role), f.blob(), f.sign(tb, message))
}

// items are one signature of every kind.
func items(tb testing.TB, role string) map[string]attest.Collateral {
	tb.Helper()
	out := map[string]attest.Collateral{}
	for name, key := range keys() {
		out["ssh "+name] = signSSH(tb, role, key)
		out["x509 "+name], _ = signX509(tb, role, key)
	}
	for _, name := range []string{"ed25519", "p256"} {
		item, err := (&fido{keys()[name], 5}).item(tb, role)
		if err != nil {
			tb.Fatal(err)
		}
		out["fido "+name] = item
	}
	return out
}

// tool runs a program of the system's in a folder, with some input, and returns what it
// prints; where the program is not, or no program can be run, the test is skipped.
func tool(t *testing.T, dir string, input []byte, name string, args ...string) (string, error) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil || runtime.GOOS == "js" {
		t.Skipf("no %s here: tools/setup.sh installs it", name)
	}
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Stdin = dir, bytes.NewReader(input)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// write writes a file of a test's.
func write(t *testing.T, dir, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
		t.Fatal(err)
	}
}
