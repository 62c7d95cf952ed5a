package pki

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// maxPEM bounds a file of a vendor, in bytes.
const maxPEM = 8192

// SeedSize is the size of a vendor's seed in bytes.
const SeedSize = 32

// The types of PEM blocks in a vendor's folder.
const (
	pemKey         = "PRIVATE KEY"
	pemCertificate = "CERTIFICATE"
	pemSeed        = "SIMULATED VENDOR SEED"
)

// seedFile is the name of the file with the seed.
const seedFile = "seed.key"

// Store is what a vendor keeps.
type Store struct {
	// Authorities are its authorities by the stems of their files.
	Authorities map[string]*Authority
	// Seed is what the keys of its platforms are derived from; SeedSize bytes.
	Seed []byte
}

// NewSeed returns a random seed.
func NewSeed() []byte {
	seed := make([]byte, SeedSize)
	_, _ = rand.Read(seed) // never fails
	return seed
}

// Save writes the store into a folder that gets its name when it is complete: keys
// and seed in files of mode 0600. A folder of that name must not be there. The
// error wraps [ErrDir].
func (s *Store) Save(dir string) error {
	if err := s.save(dir); err != nil {
		return fmt.Errorf("keeping a new vendor: %w: %w", ErrDir, err)
	}
	return nil
}

func (s *Store) save(dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return err
	}
	part, err := os.MkdirTemp(filepath.Dir(dir), filepath.Base(dir)+".new-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(part)
	for stem, a := range s.Authorities {
		key, err := x509.MarshalPKCS8PrivateKey(a.Key)
		if err != nil {
			return err
		}
		if err := writePEM(filepath.Join(part, stem+".key"), pemKey, key, 0o600); err != nil {
			return err
		}
		if err := writePEM(filepath.Join(part, stem+".pem"), pemCertificate, a.Certificate.Raw, 0o644); err != nil {
			return err
		}
	}
	if err := writePEM(filepath.Join(part, seedFile), pemSeed, s.Seed, 0o600); err != nil {
		return err
	}
	return os.Rename(part, dir)
}

// Load reads the store in dir, which must have an authority of every stem, the first
// issued by itself, each other by one before it. If there is no such folder the error is
// fs.ErrNotExist and nothing else; otherwise it wraps [ErrDir].
func Load(dir string, stems ...string) (*Store, error) {
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil, fs.ErrNotExist
	}
	s := &Store{Authorities: map[string]*Authority{}}
	for i, stem := range stems {
		a, err := loadAuthority(filepath.Join(dir, stem))
		if err == nil {
			s.Authorities[stem] = a
			for _, above := range stems[:max(i, 1)] {
				if err = a.Certificate.CheckSignatureFrom(s.Authorities[above].Certificate); err == nil {
					break
				}
			}
		}
		if err != nil {
			// Not %w: a file that is missing is not a vendor that is missing.
			return nil, fmt.Errorf("reading a vendor: %w: %v", ErrDir, err)
		}
	}
	seed, err := readPEM(filepath.Join(dir, seedFile), pemSeed)
	if err == nil && len(seed) != SeedSize {
		err = fmt.Errorf("%s: %d bytes", seedFile, len(seed))
	}
	if err != nil {
		return nil, fmt.Errorf("reading a vendor: %w: %v", ErrDir, err)
	}
	s.Seed = seed
	return s, nil
}

// loadAuthority reads stem.key and stem.pem, which must belong together.
func loadAuthority(stem string) (*Authority, error) {
	der, err := readPEM(stem+".key", pemKey)
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, err
	}
	key, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%s.key: %T", stem, parsed)
	}
	if der, err = readPEM(stem+".pem", pemCertificate); err != nil {
		return nil, err
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	public, ok := key.Public().(interface {
		Equal(other crypto.PublicKey) bool
	})
	if !ok || !public.Equal(c.PublicKey) {
		return nil, fmt.Errorf("%s.pem is not the certificate of %s.key", stem, stem)
	}
	return &Authority{Certificate: c, Key: key}, nil
}

// Publish puts a root's certificate into a folder of roots, for everybody to read.
// A file that is there must be the same, unless replace is set: nobody's root is
// replaced under this name. The error wraps [ErrDir].
func Publish(root *x509.Certificate, file string, replace bool) error {
	der, err := readPEM(file, pemCertificate)
	switch {
	case err == nil && bytes.Equal(der, root.Raw):
		return nil
	case err == nil && !replace:
		return fmt.Errorf("%q is another root: %w", file, ErrDir)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("publishing a root: %w: %w", ErrDir, err)
	}
	dir := filepath.Dir(file)
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // G301: roots are for everybody to read.
		return fmt.Errorf("publishing a root: %w: %w", ErrDir, err)
	}
	// Written aside first, outside of the folder of roots: whoever reads that sees
	// the file or none.
	return replaceFile(root, file)
}

// replaceFile writes beside the folder of roots and renames into it.
func replaceFile(root *x509.Certificate, file string) error {
	base := filepath.Dir(file)
	for filepath.Base(base) != RootsDir {
		up := filepath.Dir(base)
		if up == base {
			return fmt.Errorf("%q is not below a folder %q: %w", file, RootsDir, ErrDir)
		}
		base = up
	}
	part, err := os.MkdirTemp(filepath.Dir(base), ".root-*")
	if err != nil {
		return fmt.Errorf("publishing a root: %w: %w", ErrDir, err)
	}
	defer os.RemoveAll(part)
	name := filepath.Join(part, filepath.Base(file))
	if err := writePEM(name, pemCertificate, root.Raw, 0o644); err != nil {
		return fmt.Errorf("publishing a root: %w: %w", ErrDir, err)
	}
	if err := os.Rename(name, file); err != nil {
		return fmt.Errorf("publishing a root: %w: %w", ErrDir, err)
	}
	return nil
}

// RootsDir is the name of the folder of roots in a vendor's directory.
const RootsDir = "roots"

// PEM encodes certificates as PEM, one after the other.
func PEM(certificates ...*x509.Certificate) []byte {
	var out []byte
	for _, c := range certificates {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: c.Raw})...)
	}
	return out
}

// writePEM writes one block to a file.
func writePEM(name, kind string, der []byte, mode fs.FileMode) error {
	return os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), mode)
}

// readPEM reads a file that is exactly one block of that kind.
func readPEM(name, kind string) ([]byte, error) {
	info, err := os.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxPEM {
		return nil, fmt.Errorf("%s: not a file of at most %d bytes", name, maxPEM)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	block, rest := pem.Decode(text)
	if block == nil || block.Type != kind || len(rest) != 0 {
		return nil, fmt.Errorf("%s: not one block of PEM, %s", name, kind)
	}
	return block.Bytes, nil
}
