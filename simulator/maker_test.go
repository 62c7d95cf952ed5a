package simulator

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// openMaker opens the maker in dir or fails the test.
func openMaker(t *testing.T, dir string) *Maker {
	t.Helper()
	m, err := OpenMaker(dir)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestOpenMakerPersists(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "tpm")
	a, b := openMaker(t, dir), openMaker(t, dir)
	if !a.Root().Equal(b.Root()) || !a.root.key.Equal(b.root.key) {
		t.Error("opened again, the maker has another root")
	}
	if !a.ekCA.certificate.Equal(b.ekCA.certificate) || !a.akIssuer.certificate.Equal(b.akIssuer.certificate) {
		t.Error("opened again, the maker has other CAs")
	}
	for _, a := range a.files() {
		c := (*a).certificate
		if !strings.Contains(c.Subject.CommonName, "SIMULATED") {
			t.Errorf("certificate of %q", c.Subject.CommonName)
		}
		if len(c.CRLDistributionPoints) != 0 || len(c.OCSPServer) != 0 {
			t.Errorf("%q publishes revocation", c.Subject.CommonName)
		}
		if years := c.NotAfter.Year() - c.NotBefore.Year(); years != 20 {
			t.Errorf("%q is valid for %d years", c.Subject.CommonName, years)
		}
	}
}

func TestMakersDiffer(t *testing.T) {
	a, b := openMaker(t, t.TempDir()), openMaker(t, t.TempDir())
	if a.root.key.Equal(b.root.key) || a.Root().SerialNumber.Cmp(b.Root().SerialNumber) == 0 {
		t.Error("two makers have the same root")
	}
}

// TestRoots looks at the folder as a verifier would.
func TestRoots(t *testing.T) {
	dir := t.TempDir()
	m := openMaker(t, dir)
	var files []string
	err := filepath.WalkDir(m.RootsDir(), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files = append(files, path)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 2 || files[0] != m.RootFile() || files[1] != filepath.Join(dir, "roots", "tpm-ek", "SIMULATED-tpm-maker.pem") {
		t.Fatalf("files: %q", files)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		block, rest := pem.Decode(text)
		if block == nil || len(rest) != 0 {
			t.Fatalf("%s is not one block", name)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		if !c.Equal(m.Root()) || c.CheckSignatureFrom(c) != nil {
			t.Errorf("%s is not the maker's self-signed root", name)
		}
	}
}

func TestKeyFiles(t *testing.T) {
	dir := t.TempDir()
	openMaker(t, dir)
	keys, err := filepath.Glob(filepath.Join(dir, "maker", "*.key"))
	if err != nil || len(keys) != 3 {
		t.Fatalf("keys %q, %v", keys, err)
	}
	for _, name := range keys {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != 0o600 {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
	}
}

func TestOpenMakerRefuses(t *testing.T) {
	other := t.TempDir()
	openMaker(t, other)
	write := func(name, text string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			t.Helper()
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	graft := func(from, to string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			t.Helper()
			text, err := os.ReadFile(filepath.Join(other, from))
			if err != nil {
				t.Fatal(err)
			}
			write(to, string(text))(t, dir)
		}
	}
	both := func(a, b func(*testing.T, string)) func(*testing.T, string) {
		return func(t *testing.T, dir string) { t.Helper(); a(t, dir); b(t, dir) }
	}
	tests := map[string]func(*testing.T, string){
		"key missing": func(t *testing.T, dir string) {
			t.Helper()
			if err := os.Remove(filepath.Join(dir, "maker", "ek-ca.key")); err != nil {
				t.Fatal(err)
			}
		},
		"garbage":              write("maker/root.pem", "not PEM"),
		"too long":             write("maker/root.pem", strings.Repeat("x", maxPEM+1)),
		"key for certificate":  graft("maker/root.key", "maker/root.pem"),
		"another's key":        graft("maker/root.key", "maker/root.key"),
		"another's issuer":     both(graft("maker/ak-issuer.key", "maker/ak-issuer.key"), graft("maker/ak-issuer.pem", "maker/ak-issuer.pem")),
		"CAs exchanged":        both(graft("maker/ek-ca.key", "maker/ak-issuer.key"), graft("maker/ek-ca.pem", "maker/ak-issuer.pem")),
		"another's root known": graft("roots/tpm-ak/SIMULATED-tpm-maker.pem", "roots/tpm-ak/SIMULATED-tpm-maker.pem"),
	}
	for name, damage := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			openMaker(t, dir)
			damage(t, dir)
			if m, err := OpenMaker(dir); !errors.Is(err, ErrDir) || m != nil {
				t.Errorf("OpenMaker: %v, %v", m, err)
			}
		})
	}
	if m, err := OpenMaker(""); !errors.Is(err, ErrDir) || m != nil {
		t.Errorf("OpenMaker without a directory: %v, %v", m, err)
	}
	if m, err := OpenMaker(filepath.Join(other, "maker", "root.key")); !errors.Is(err, ErrDir) || m != nil {
		t.Errorf("OpenMaker on a file: %v, %v", m, err)
	}
}

// TestOpenMakerRace has many make the same maker: all get the one that was
// first.
func TestOpenMakerRace(t *testing.T) {
	for range 10 {
		dir := t.TempDir()
		makers := make([]*Maker, 8)
		errs := make([]error, len(makers))
		var wg sync.WaitGroup
		for i := range makers {
			wg.Go(func() { makers[i], errs[i] = OpenMaker(dir) })
		}
		wg.Wait()
		for i, m := range makers {
			if errs[i] != nil {
				t.Fatal(errs[i])
			}
			if !m.Root().Equal(makers[0].Root()) {
				t.Fatal("two makers in one directory")
			}
		}
		again := openMaker(t, dir)
		if !again.Root().Equal(makers[0].Root()) {
			t.Fatal("the maker did not persist")
		}
	}
}

func TestZeroMaker(t *testing.T) {
	if c := (&Maker{}).Root(); c != nil {
		t.Errorf("Root: %v", c.Subject)
	}
}
