package pki_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sworn-run/sworn/simulator/internal/pki"
)

// authority returns a self-signed authority.
func authority(t *testing.T) *pki.Authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	subject, err := pki.Name(pki.Attribute{Type: pki.Country, Value: "US"}, pki.Attribute{Type: pki.CommonName, Value: "SIMULATED"})
	if err != nil {
		t.Fatal(err)
	}
	a, err := pki.NewRoot(&x509.Certificate{
		RawSubject: subject, NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<31, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, key)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestName checks the order and the types of a name.
func TestName(t *testing.T) {
	want := "\x30\x21\x31\x0b\x30\x09\x06\x03\x55\x04\x06\x13\x02US\x31\x12\x30\x10\x06\x03\x55\x04\x03\x0c\x09SIMULATED"
	if got := authority(t).Certificate.RawSubject; string(got) != want {
		t.Errorf("name %q, want %q", got, want)
	}
}

// TestDerive checks that what is derived depends on the bounds of parts, and a key on
// everything.
func TestDerive(t *testing.T) {
	seed := bytes.Repeat([]byte{7}, pki.SeedSize)
	seen := map[string]bool{}
	for _, parts := range [][]string{{}, {""}, {"ab"}, {"a", "b"}, {"", "ab"}, {"b", "a"}} {
		var in [][]byte
		for _, p := range parts {
			in = append(in, []byte(p))
		}
		for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P384()} {
			key, err := pki.DeriveKey(curve, seed, in...)
			if err != nil {
				t.Fatal(err)
			}
			again, err := pki.DeriveKey(curve, seed, in...)
			if err != nil || !again.Equal(key) {
				t.Errorf("%q: another key the next time, %v", parts, err)
			}
			raw, err := key.Bytes()
			if err != nil || seen[string(raw)] {
				t.Errorf("%q has the key of others, %v", parts, err)
			}
			seen[string(raw)] = true
		}
	}
}

// TestStore checks that a store is read as it was written, and not in part.
func TestStore(t *testing.T) {
	a := authority(t)
	dir := filepath.Join(t.TempDir(), "vendor", "one")
	s := &pki.Store{Authorities: map[string]*pki.Authority{"root": a}, Seed: pki.NewSeed()}
	if err := s.Save(dir); err != nil {
		t.Fatal(err)
	}
	got, err := pki.Load(dir, "root")
	if err != nil || !bytes.Equal(got.Seed, s.Seed) || !got.Authorities["root"].Certificate.Equal(a.Certificate) {
		t.Fatalf("read as %v: %v", got, err)
	}
	if err := s.Save(dir); !errors.Is(err, pki.ErrDir) {
		t.Errorf("written over another: %v", err)
	}
	if left, err := os.ReadDir(filepath.Dir(dir)); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if _, err := pki.Load(dir+"x", "root"); !errors.Is(err, fs.ErrNotExist) || errors.Is(err, pki.ErrDir) {
		t.Errorf("a folder that is not there: %v", err)
	}
	for _, name := range []string{"seed.key", "root.pem", "root.key"} {
		file := filepath.Join(dir, name)
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for what, bad := range map[string][]byte{"empty": nil, "twice": append(bytes.Clone(text), text...), "long": bytes.Repeat([]byte("\n"), 9000)} {
			if err := os.WriteFile(file, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := pki.Load(dir, "root"); !errors.Is(err, pki.ErrDir) || errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s, %s: %v", name, what, err)
			}
		}
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	other := &pki.Store{Authorities: map[string]*pki.Authority{"root": {Certificate: authority(t).Certificate, Key: a.Key}}, Seed: s.Seed}
	if err := other.Save(dir + "2"); err != nil {
		t.Fatal(err)
	}
	if _, err := pki.Load(dir+"2", "root"); !errors.Is(err, pki.ErrDir) {
		t.Errorf("a certificate of another key: %v", err)
	}
}

// TestPublish checks that a root of another's is replaced only by who means it, and
// that nothing is written beside a folder of roots.
func TestPublish(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "roots", "role", "SIMULATED.pem")
	a, b := authority(t).Certificate, authority(t).Certificate
	for _, step := range []struct {
		root    *x509.Certificate
		replace bool
		want    error
		holds   *x509.Certificate
	}{{a, false, nil, a}, {a, false, nil, a}, {b, false, pki.ErrDir, a}, {b, true, nil, b}} {
		if err := pki.Publish(step.root, file, step.replace); !errors.Is(err, step.want) {
			t.Errorf("publishing: %v, want %v", err, step.want)
		}
		if text, err := os.ReadFile(file); err != nil || !bytes.Equal(text, pki.PEM(step.holds)) {
			t.Errorf("another root is there, %v", err)
		}
	}
	if left, err := os.ReadDir(filepath.Dir(file)); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if err := pki.Publish(a, filepath.Join(dir, "elsewhere", "x.pem"), false); !errors.Is(err, pki.ErrDir) {
		t.Errorf("outside of a folder of roots: %v", err)
	}
}
