package signer_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer/signer"
)

// TestSSHKeygenAccepts: ssh-keygen -Y verify accepts what is made here, under the role's
// namespace and no other.
func TestSSHKeygenAccepts(t *testing.T) {
	for name, item := range items(t, signer.RoleCountersigner) {
		if item.Kind != signer.KindSSH {
			continue
		}
		t.Run(name, func(t *testing.T) {
			line, armored, _ := strings.Cut(string(item.Data), "\n")
			dir := t.TempDir()
			write(t, dir, "sig", []byte(armored))
			blob := publicBlob(t, armored)
			alg := string(blob[4 : 4+blob[3]])
			key := alg + " " + base64.StdEncoding.EncodeToString(blob)
			write(t, dir, "allowed", []byte(`auditor namespaces="`+signer.Namespace(signer.RoleCountersigner)+`" `+key+"\n"))
			verify := func(line, namespace string) (string, error) {
				return tool(t, dir, []byte(line+"\n"), "ssh-keygen", "-Y", "verify", "-f", "allowed", "-I", "auditor", "-n", namespace, "-s", "sig")
			}
			if out, err := verify(line, signer.Namespace(signer.RoleCountersigner)); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			if out, err := verify(line, signer.Namespace(signer.RoleOperator)); err == nil {
				t.Errorf("another namespace: %s", out)
			}
			if out, err := verify(line+" ", signer.Namespace(signer.RoleCountersigner)); err == nil {
				t.Errorf("another line: %s", out)
			}
			write(t, dir, "key.pub", []byte(key+"\n"))
			out, err := tool(t, dir, nil, "ssh-keygen", "-l", "-f", "key.pub")
			if err != nil || !strings.Contains(out, " "+parse(t, item).Key.Fingerprint()+" ") {
				t.Errorf("fingerprint %s, ssh-keygen: %s, %v", parse(t, item).Key.Fingerprint(), out, err)
			}
		})
	}
}

// publicBlob reads the public key out of an SSH signature.
func publicBlob(t *testing.T, armored string) []byte {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(armored), "\n")
	b, err := base64.StdEncoding.DecodeString(strings.Join(lines[1:len(lines)-1], ""))
	if err != nil {
		t.Fatal(err)
	}
	n := int(b[12])<<8 | int(b[13])
	return b[14 : 14+n]
}

// TestFromSSHKeygen: what ssh-keygen -Y sign makes is accepted as it is.
func TestFromSSHKeygen(t *testing.T) {
	for _, c := range []struct{ kind, bits, hash string }{
		{"ed25519", "256", "sha512"},
		{"ed25519", "256", "sha256"},
		{"ecdsa", "256", "sha512"},
		{"ecdsa", "384", "sha256"},
		{"rsa", "2048", "sha512"},
		{"rsa", "3072", "sha256"},
	} {
		t.Run(c.kind+c.bits+c.hash, func(t *testing.T) {
			dir := t.TempDir()
			if out, err := tool(t, dir, nil, "ssh-keygen", "-q", "-N", "", "-t", c.kind, "-b", c.bits, "-f", "key"); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			line, err := claim(signer.RoleOperator).Encode()
			if err != nil {
				t.Fatal(err)
			}
			sign := func(namespace string) []byte {
				write(t, dir, "claim", append(line, '\n'))
				_ = os.Remove(filepath.Join(dir, "claim.sig"))
				if out, err := tool(t, dir, nil, "ssh-keygen", "-Y", "sign", "-O", "hashalg="+c.hash, "-n", namespace, "-f", "key", "claim"); err != nil {
					t.Fatalf("%v: %s", err, out)
				}
				b, err := os.ReadFile(filepath.Join(dir, "claim.sig"))
				if err != nil {
					t.Fatal(err)
				}
				return append(append(line, '\n'), b...)
			}
			s := parse(t, attest.Collateral{Kind: signer.KindSSH, Data: sign(signer.Namespace(signer.RoleOperator))})
			if err := s.Verify(evidence); err != nil {
				t.Error(err)
			}
			out, err := tool(t, dir, nil, "ssh-keygen", "-l", "-f", "key.pub")
			if err != nil || !strings.Contains(out, s.Key.Fingerprint()) {
				t.Errorf("%s: %s, %v", s.Key.Fingerprint(), out, err)
			}
			if !refused(t, signer.KindSSH, sign("file")) {
				t.Error("a signature over a file is accepted")
			}
		})
	}
}

// openssl runs it.
func openssl(t *testing.T, dir string, args ...string) {
	t.Helper()
	if out, err := tool(t, dir, nil, "openssl", args...); err != nil {
		t.Fatalf("openssl %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// TestOpenSSLAccepts: openssl verifies what is made here, with the public key of the first
// certificate, over the text before the second dot.
func TestOpenSSLAccepts(t *testing.T) {
	for name, key := range keys() {
		t.Run(name, func(t *testing.T) {
			item, ca := signX509(t, signer.RoleOperator, key)
			s := parse(t, item)
			text := string(item.Data)
			cut := strings.LastIndexByte(text, '.')
			sig, err := base64.RawURLEncoding.DecodeString(text[cut+1:])
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := key.(*ecdsa.PrivateKey); ok {
				n := len(sig) / 2
				sig, err = asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(sig[:n]), new(big.Int).SetBytes(sig[n:])})
				if err != nil {
					t.Fatal(err)
				}
			}
			dir := t.TempDir()
			write(t, dir, "in", []byte(text[:cut]))
			write(t, dir, "sig", sig)
			write(t, dir, "leaf.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Chain[0].Raw}))
			write(t, dir, "ca.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw}))
			openssl(t, dir, "x509", "-in", "leaf.pem", "-noout", "-pubkey", "-out", "pub.pem")
			openssl(t, dir, "verify", "-attime", "1795000000", "-CAfile", "ca.pem", "leaf.pem")
			if name == "ed25519" {
				openssl(t, dir, "pkeyutl", "-verify", "-pubin", "-inkey", "pub.pem", "-rawin", "-in", "in", "-sigfile", "sig")
			} else {
				hash := "-sha256"
				if name == "p384" {
					hash = "-sha384"
				}
				openssl(t, dir, "dgst", hash, "-verify", "pub.pem", "-signature", "sig", "in")
			}
			openssl(t, dir, "pkey", "-pubin", "-in", "pub.pem", "-outform", "DER", "-out", "pub.der")
			der, err := os.ReadFile(filepath.Join(dir, "pub.der"))
			if err != nil {
				t.Fatal(err)
			}
			sum := sha256.Sum256(der)
			if want := "sha256:" + hex.EncodeToString(sum[:]); s.Key.SPKI() != want {
				t.Errorf("%s, openssl has %s", s.Key.SPKI(), want)
			}
		})
	}
}

// opensslKey is a key that openssl signs with.
type opensslKey struct {
	t   *testing.T
	dir string
	pub crypto.PublicKey
}

func (k *opensslKey) Public() crypto.PublicKey { return k.pub }

func (k *opensslKey) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	write(k.t, k.dir, "digest", digest)
	args := []string{"pkeyutl", "-sign", "-inkey", "key.pem", "-in", "digest", "-out", "sig"}
	switch opts.HashFunc() {
	case 0:
		args = append(args, "-rawin")
	case crypto.SHA384:
		args = append(args, "-pkeyopt", "digest:sha384")
	default:
		args = append(args, "-pkeyopt", "digest:sha256")
	}
	openssl(k.t, k.dir, args...)
	return os.ReadFile(filepath.Join(k.dir, "sig"))
}

// TestFromOpenSSL: certificate and signature by openssl.
func TestFromOpenSSL(t *testing.T) {
	for name, gen := range map[string][]string{
		"ed25519": {"-algorithm", "ED25519"}, "p256": {"-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"},
		"p384": {"-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"}, "rsa": {"-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			openssl(t, dir, append([]string{"genpkey", "-out", "key.pem"}, gen...)...)
			openssl(t, dir, "req", "-x509", "-new", "-key", "key.pem", "-subj", "/CN=Operator", "-days", "30",
				"-addext", "keyUsage=critical,digitalSignature", "-addext", "basicConstraints=critical,CA:FALSE", "-outform", "DER", "-out", "cert.der")
			der, err := os.ReadFile(filepath.Join(dir, "cert.der"))
			if err != nil {
				t.Fatal(err)
			}
			c, err := x509.ParseCertificate(der)
			if err != nil {
				t.Fatal(err)
			}
			item, err := signer.SignX509(nil, claim(signer.RoleOperator), &opensslKey{t, dir, c.PublicKey}, []*x509.Certificate{c})
			if err != nil {
				t.Fatal(err)
			}
			if err := parse(t, item).Verify(evidence); err != nil {
				t.Error(err)
			}
		})
	}
}
