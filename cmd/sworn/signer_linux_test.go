package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/cer/signer"
	"github.com/sworn-run/sworn/simulator/tsa"
)

// signKey is a key of a test's, as a file of mode 0600.
func signKey(t *testing.T, dir, name string, key any, passphrase string) string {
	t.Helper()
	var block *pem.Block
	var err error
	if passphrase == "" {
		block, err = ssh.MarshalPrivateKey(key, "")
	} else {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(key, "", []byte(passphrase))
	}
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// testClaim is a claim to sign.
func testClaim() *signer.Claim {
	return &signer.Claim{Role: signer.RoleOperator, Evidence: sha256.Sum256([]byte("evidence"))}
}

// signs wants a signature that is right, of a kind, by the key.
func signs(t *testing.T, f *signerFlags, kind string, pub crypto.PublicKey) {
	t.Helper()
	s, err := f.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c := testClaim()
	item, err := s.sign(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	x, err := signer.Parse(item.Kind, item.Data)
	if err != nil {
		t.Fatal(err)
	}
	k, err := signer.NewKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	if x.Verify(c.Evidence) != nil || item.Kind != kind || x.Key.Fingerprint() != k.Fingerprint() || s.name != k.Fingerprint() {
		t.Errorf("%s by %s, want %s by %s", item.Kind, x.Key.Fingerprint(), kind, k.Fingerprint())
	}
}

// signKeys are keys of every kind.
func signKeys(t *testing.T) map[string]crypto.Signer {
	t.Helper()
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]crypto.Signer{"p256": p256, "p384": p384, "ed25519": ed, "rsa": rsaKey}
}

// TestSignerFiles: private keys in OpenSSH's form and in PKCS #8.
func TestSignerFiles(t *testing.T) {
	dir := t.TempDir()
	for name, key := range signKeys(t) {
		signs(t, &signerFlags{key: signKey(t, dir, name, key, "")}, signer.KindSSH, key.Public())
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, name+".pem")
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		signs(t, &signerFlags{key: file}, signer.KindSSH, key.Public())
	}
}

// TestSignerAgent: the key is in an SSH agent, and its public half in a file.
func TestSignerAgent(t *testing.T) {
	ring := agent.NewKeyring()
	dir, err := os.MkdirTemp("", "swa") // A socket's path holds 107 bytes.
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "agent")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_ = agent.ServeAgent(ring, conn)
				_ = conn.Close()
			}()
		}
	}()
	t.Setenv("SSH_AUTH_SOCK", socket)
	for name, key := range signKeys(t) {
		pub, err := ssh.NewPublicKey(key.Public())
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, name+".pub")
		if err := os.WriteFile(file, ssh.MarshalAuthorizedKey(pub), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := (&signerFlags{key: file}).open(t.Context()); !errors.Is(err, errSigner) {
			t.Errorf("%s: not in the agent: %v", name, err)
		}
		if err := ring.Add(agent.AddedKey{PrivateKey: key}); err != nil {
			t.Fatal(err)
		}
		signs(t, &signerFlags{key: file}, signer.KindSSH, key.Public())
		s, err := (&signerFlags{key: file}).open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := ring.Remove(pub); err != nil {
			t.Fatal(err)
		}
		if item, err := s.sign(t.Context(), testClaim()); item.Data != nil || !errors.Is(err, errSigner) {
			t.Errorf("%s: taken out of the agent: %v", name, err)
		}
	}
	_ = l.Close()
	if _, err := (&signerFlags{key: filepath.Join(dir, "p256.pub")}).open(t.Context()); !errors.Is(err, errSigner) {
		t.Errorf("no agent: %v", err)
	}
}

// TestSignerAgentHangs: an agent that does not answer does not hold up a launch that was
// given up.
func TestSignerAgentHangs(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "a")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Skip(err)
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	began := time.Now()
	err = withAgent(ctx, socket, func(a agent.ExtendedAgent) error {
		_, err := a.List()
		return err
	})
	if err == nil || time.Since(began) > 30*time.Second {
		t.Errorf("after %v: %v", time.Since(began), err)
	}
}

// TestSignerEncrypted: the passphrase is asked for at a terminal, and not shown there.
func TestSignerEncrypted(t *testing.T) {
	if _, err := exec.LookPath("script"); err != nil {
		t.Skip("no script(1) here")
	}
	dir := t.TempDir()
	keys := signKeys(t)
	name := signKey(t, dir, "key", keys["ed25519"], "correct horse")
	record := goldenRecord(t, dir)
	bin, err := program()
	if err != nil {
		t.Fatal(err)
	}
	ask := func(passphrase string) (string, error) {
		cmd := exec.Command("script", "-qefc", fmt.Sprintf("%s countersign --signer %s --in-place %s", bin, name, record), "/dev/null")
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr, cmd.Env = &out, &out, environment()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second) // It reads nothing that was typed before it asks.
		_, _ = in.Write([]byte(passphrase + "\n"))
		time.Sleep(time.Second)
		_ = in.Close()
		err = cmd.Wait()
		return out.String(), err
	}
	if out, err := ask("wrong donkey"); err == nil || !strings.Contains(out, "does not open") || strings.Contains(out, "donkey") {
		t.Errorf("a wrong passphrase: %v: %s", err, out)
	}
	out, err := ask("correct horse")
	if err != nil || !strings.Contains(out, "countersigner Ed25519") || strings.Contains(out, "horse") {
		t.Errorf("%v: %s", err, out)
	}
}

// TestTokenProgram: what the program that reaches tokens answers is not believed.
func TestTokenProgram(t *testing.T) {
	key := signKeys(t)["p256"]
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	public := `{"public":"` + base64.StdEncoding.EncodeToString(der) + `"}`
	const read = "cat >/dev/null\n"
	f := func(text string) *signerFlags { return &signerFlags{key: "pkcs11:token=x", pkcs11: script(t, text)} }
	for name, text := range map[string]string{
		"nothing":       read,
		"garbage":       read + "echo ok",
		"no key":        read + "echo '{}'",
		"another":       read + "echo '" + strings.Replace(public, "public", "Public", 1) + "'",
		"a member more": read + "echo '" + strings.Replace(public, "{", `{"trusted":true,`, 1) + "'",
		"it fails":      read + "echo '" + public + "'\nexit 1",
		"too much":      read + "head -c 1000000 /dev/zero",
	} {
		if s, err := f(text).open(t.Context()); s != nil || err == nil {
			t.Errorf("%s: %v", name, s)
		}
	}
	for name, sig := range map[string]string{"no signature": "{}", "a wrong one": `{"signature":"MAYCAQECAQE="}`, "garbage": `{"signature":"AAAA"}`} {
		text := "if grep -q '\"op\":\"key\"'; then echo '" + public + "'; else echo '" + sig + "'; fi"
		s, err := f(text).open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if item, err := s.sign(t.Context(), testClaim()); item.Data != nil || !errors.Is(err, signer.ErrForm) && !errors.Is(err, signer.ErrSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// goldenRecord copies a genuine record into a folder.
func goldenRecord(t *testing.T, dir string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "testdata", "golden", "page.cer.json"))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "job.cer.json")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestSignerToken: with keys on a PKCS #11 token, reached by cmd/sworn-pkcs11.
func TestSignerToken(t *testing.T) {
	const module = "/usr/lib/softhsm/libsofthsm2.so"
	if _, err := os.Stat(module); err != nil {
		t.Skip("no SoftHSM here: tools/setup.sh installs it")
	}
	dir := t.TempDir()
	program := filepath.Join(dir, "sworn-pkcs11")
	build := exec.Command("go", "-C", filepath.Join("..", "sworn-pkcs11"), "build", "-buildvcs=false", "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=1", "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("%v: %s", err, out)
		}
		t.Skipf("it cannot be built here: %v: %s", err, out)
	}
	if err := os.Mkdir(filepath.Join(dir, "tokens"), 0o700); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	t.Setenv("SOFTHSM2_CONF", write("conf", "directories.tokendir = "+dir+"/tokens\nobjectstore.backend = file\n"))
	util := func(args ...string) {
		if out, err := exec.Command("softhsm2-util", args...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	util("--init-token", "--free", "--label", "operator", "--so-pin", "5678", "--pin", "1234")
	pin := write("pin", "1234")
	keys := signKeys(t)
	for i, key := range []string{"ed25519", "p256", "p384", "rsa"} {
		private := keys[key]
		der, err := x509.MarshalPKCS8PrivateKey(private)
		if err != nil {
			t.Fatal(err)
		}
		util("--import", write(key, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))), "--token", "operator", "--label", key, "--id", fmt.Sprintf("0%d", i), "--pin", "1234")
		f := &signerFlags{key: "pkcs11:token=operator;object=" + key + "?module-path=" + module + "&pin-source=file:" + pin, pkcs11: program}
		signs(t, f, signer.KindSSH, private.Public())
		ca := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), Subject: pkix.Name{CommonName: "Operator"}}
		cert, err := x509.CreateCertificate(rand.Reader, ca, ca, private.Public(), private)
		if err != nil {
			t.Fatal(err)
		}
		f.certificates = write("cert", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})))
		signs(t, f, signer.KindX509, private.Public())
		f.certificates = ""
		f.key = strings.Replace(f.key, "object=", "object=x", 1)
		if s, err := f.open(t.Context()); s != nil || !errors.Is(err, errSigner) {
			t.Errorf("%s: another key: %v", key, err)
		}
	}
}

// TestCountersignArchived: a record whose archive token covers its collateral is not signed
// any more; one whose token is over the evidence digest is.
func TestCountersignArchived(t *testing.T) {
	b, err := os.ReadFile(goldenRecord(t, t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	c, err := cer.ParseCapsule(b)
	if err != nil {
		t.Fatal(err)
	}
	if archived(c) {
		t.Error("without tokens")
	}
	authority, err := tsa.New(time.Now(), tsa.Options{})
	if err != nil {
		t.Fatal(err)
	}
	stamped := func(digest []byte) []byte {
		token, err := authority.Token(tsa.Order{Hash: crypto.SHA256, Imprint: digest, Time: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	e := c.EvidenceDigest()
	a, err := c.ArchiveDigest(crypto.SHA256, 0)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	key := signKey(t, dir, "key", signKeys(t)["ed25519"], "")
	for name, x := range map[string]struct {
		token []byte
		code  int
	}{"evidence": {stamped(e[:]), exitOK}, "archive": {stamped(a), exitUsage}} {
		c.Tokens = [][]byte{x.token}
		b, err := c.Encode()
		if err != nil {
			t.Fatal(err)
		}
		record := filepath.Join(dir, name)
		if err := os.WriteFile(record, b, 0o600); err != nil {
			t.Fatal(err)
		}
		var out, errs bytes.Buffer
		code := run(t.Context(), []string{"countersign", "--signer", key, "--in-place", record}, nil, &out, &errs)
		after, err := os.ReadFile(record)
		if err != nil || code != x.code || bytes.Equal(b, after) != (code != exitOK) {
			t.Errorf("%s: exit status %d: %s%s", name, code, out.String(), errs.String())
		}
	}
}
