package stamp_test

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/simulator/tsa"
	"github.com/sworn-run/sworn/verifier/stamp"
)

// TestOpenSSLTokens reads what OpenSSL 3.0 made (testdata/README.md).
func TestOpenSSLTokens(t *testing.T) {
	b, err := os.ReadFile("testdata/root.pem")
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(b)
	root, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range corpus(t) {
		der, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		tok, err := stamp.Parse(der)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		data := []byte("what is stamped")
		h := tok.Hash.New()
		_, _ = h.Write(data)
		if !tok.Covers(tok.Hash, h.Sum(nil)) || tok.Accuracy != 1500*time.Millisecond+100*time.Microsecond || tok.Policy != "1.3.6.1.4.1.99999.2" {
			t.Errorf("%s: covers %x by %v, accuracy %v, policy %s", name, tok.Imprint, tok.Hash, tok.Accuracy, tok.Policy)
		}
		want, reason := attest.Passed, stamp.Reason("")
		if filepath.Base(name) == "essv1.tst" {
			want, reason = attest.Failed, stamp.ReasonSigningCertificate
		}
		if got := tok.Verify(trusting(root), nil, tok.Time); got.Status != want || got.Reason != reason {
			t.Errorf("%s: %v %q: %s", name, got.Status, got.Reason, got.Detail)
		}
	}
}

// TestOpenSSLAgrees has OpenSSL verify the simulator's tokens, and find fault with those
// that are none.
func TestOpenSSLAgrees(t *testing.T) {
	program, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is not installed")
	}
	dir := t.TempDir()
	now := time.Now()
	for name, x := range map[string]struct {
		options tsa.Options
		edit    func(*tsa.Parts)
		status  attest.Status
	}{
		"ECDSA":                {status: attest.Passed},
		"RSA":                  {options: tsa.Options{Key: rsaKey()}, status: attest.Passed},
		"other message digest": {edit: func(p *tsa.Parts) { p.Digest = digest[:] }, status: attest.Failed},
		"other certificate":    {edit: func(p *tsa.Parts) { p.Attributes[1] = certID(t, p.Certificates[1]) }, status: attest.Failed},
		"no purpose":           {options: tsa.Options{Edit: func(c *x509.Certificate) { c.ExtraExtensions = nil }}, status: attest.Failed},
		"two signers":          {edit: func(p *tsa.Parts) { p.Signers = 2 }, status: attest.Failed},
	} {
		t.Run(name, func(t *testing.T) {
			a, err := tsa.New(now, x.options)
			if err != nil {
				t.Fatal(err)
			}
			der := token(t, a, tsa.Order{Hash: crypto.SHA256, Imprint: digest[:], Time: now, Edit: x.edit})
			status := attest.Failed
			if tok, err := stamp.Parse(der); err == nil {
				status = tok.Verify(trusting(a.Root()), nil, now).Status
			}
			if status != x.status {
				t.Fatalf("here: %v", status)
			}
			in, roots := filepath.Join(dir, "token"), filepath.Join(dir, "root.pem")
			for name, b := range map[string][]byte{in: der, roots: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Root().Raw})} {
				if err := os.WriteFile(name, b, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			cmd := exec.Command(program, "ts", "-verify", "-digest", hex.EncodeToString(digest[:]), "-in", in, "-token_in", "-CAfile", roots)
			out, err := cmd.CombinedOutput()
			if ok := err == nil && bytes.Contains(out, []byte("Verification: OK")); ok != (x.status == attest.Passed) {
				t.Fatalf("OpenSSL: %v\n%s", err, out)
			}
		})
	}
}
