package simulator

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// The files of a maker below its directory.
const (
	makerDir = "maker"
	rootsDir = "roots"
	rootFile = "SIMULATED-tpm-maker.pem"
)

// maxPEM bounds a file of the maker, in bytes.
const maxPEM = 4096

// Maker is a simulated maker of TPMs: a self-signed root, "SIMULATED TPM
// maker", and two CAs below it that certify endorsement keys and attestation
// keys, all ECDSA P-256, valid for 20 years. It publishes no revocation. The
// zero value refuses; [OpenMaker] makes one. It is safe for concurrent use.
type Maker struct {
	dir      string
	root     *authority
	ekCA     *authority
	akIssuer *authority
}

// OpenMaker opens the maker in dir, which is made if it is not there (0700),
// and makes a new one if there is none. Keys and certificates lie in
// dir/maker, PEM, the keys in files of mode 0600. The root's certificate is
// also in dir/roots/tpm-ak/SIMULATED-tpm-maker.pem and in dir/roots/tpm-ek, so
// that dir/roots is a folder of roots as a verifier takes it; anything else
// there is left alone. The error wraps [ErrDir].
func OpenMaker(dir string) (*Maker, error) {
	if dir == "" {
		return nil, fmt.Errorf("opening a maker without a directory: %w", ErrDir)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("opening a maker: %w: %w", ErrDir, err)
	}
	m, err := loadMaker(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if m, err = newMaker(dir, time.Now()); err != nil {
			// Another process may have been first.
			if first, e := loadMaker(dir); e == nil {
				m, err = first, nil
			}
		}
	}
	if err != nil {
		return nil, fmt.Errorf("opening the maker in %q: %w", dir, err)
	}
	for _, role := range []string{"tpm-ak", "tpm-ek"} {
		if err := m.publish(role); err != nil {
			return nil, fmt.Errorf("publishing the maker's root: %w", err)
		}
	}
	return m, nil
}

// Root returns the maker's self-signed certificate, nil for the zero maker. The
// caller must not change it.
func (m *Maker) Root() *x509.Certificate {
	if m.root == nil {
		return nil
	}
	return m.root.certificate
}

// RootsDir returns the folder of roots that holds the maker's own by role:
// dir/roots.
func (m *Maker) RootsDir() string { return filepath.Join(m.dir, rootsDir) }

// RootFile returns the path of the maker's root among those who certify AKs:
// dir/roots/tpm-ak/SIMULATED-tpm-maker.pem.
func (m *Maker) RootFile() string { return filepath.Join(m.dir, rootsDir, "tpm-ak", rootFile) }

// newMaker makes the maker's keys and certificates and keeps them in dir, all
// or none. What an earlier maker published is replaced.
func newMaker(dir string, now time.Time) (*Maker, error) {
	m := &Maker{dir: dir}
	var err error
	if m.root, err = newAuthority(rootName, nil, 1, now); err != nil {
		return nil, err
	}
	if m.ekCA, err = newAuthority(ekCAName, m.root, 0, now); err != nil {
		return nil, err
	}
	if m.akIssuer, err = newAuthority(akIssuerName, m.root, 0, now); err != nil {
		return nil, err
	}
	if err := m.save(); err != nil {
		return nil, fmt.Errorf("keeping a new maker: %w: %w", ErrDir, err)
	}
	return m, nil
}

// files pairs the maker's authorities with the stems of their file names.
func (m *Maker) files() map[string]**authority {
	return map[string]**authority{"root": &m.root, "ek-ca": &m.ekCA, "ak-issuer": &m.akIssuer}
}

// save writes the maker into a folder that gets its name when it is complete.
func (m *Maker) save() error {
	part, err := os.MkdirTemp(m.dir, makerDir+".new-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(part)
	for stem, a := range m.files() {
		key, err := x509.MarshalPKCS8PrivateKey((*a).key)
		if err != nil {
			return err
		}
		if err := writePEM(filepath.Join(part, stem+".key"), "PRIVATE KEY", key, 0o600); err != nil {
			return err
		}
		if err := writePEM(filepath.Join(part, stem+".pem"), "CERTIFICATE", (*a).certificate.Raw, 0o644); err != nil {
			return err
		}
	}
	for _, role := range []string{"tpm-ak", "tpm-ek"} {
		err := os.Remove(filepath.Join(m.dir, rootsDir, role, rootFile))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return os.Rename(part, filepath.Join(m.dir, makerDir))
}

// loadMaker reads the maker in dir; if there is none, the error is
// fs.ErrNotExist and nothing else.
func loadMaker(dir string) (*Maker, error) {
	m := &Maker{dir: dir}
	if _, err := os.Lstat(filepath.Join(dir, makerDir)); errors.Is(err, fs.ErrNotExist) {
		return nil, fs.ErrNotExist
	}
	for stem, a := range m.files() {
		loaded, err := loadAuthority(filepath.Join(dir, makerDir, stem))
		if err != nil {
			// Not %w: a file that is missing is not a maker that is missing.
			return nil, fmt.Errorf("%w: %v", ErrDir, err)
		}
		*a = loaded
	}
	for name, a := range map[string]*authority{rootName: m.root, ekCAName: m.ekCA, akIssuerName: m.akIssuer} {
		c := a.certificate
		if c.Subject.CommonName != name || !c.IsCA || c.CheckSignatureFrom(m.root.certificate) != nil {
			return nil, fmt.Errorf("%q is not the maker's %q: %w", c.Subject.CommonName, name, ErrDir)
		}
	}
	return m, nil
}

// loadAuthority reads stem.key and stem.pem, which must belong together.
func loadAuthority(stem string) (*authority, error) {
	der, err := readPEM(stem+".key", "PRIVATE KEY")
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, err
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s.key: %T", stem, parsed)
	}
	if der, err = readPEM(stem+".pem", "CERTIFICATE"); err != nil {
		return nil, err
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	if !key.PublicKey.Equal(c.PublicKey) {
		return nil, fmt.Errorf("%s.pem is not the certificate of %s.key", stem, stem)
	}
	return &authority{certificate: c, key: key}, nil
}

// publish puts the root's certificate into the folder of that role. A file
// that is there must be the same: nobody's root is replaced under this name.
func (m *Maker) publish(role string) error {
	dir := filepath.Join(m.dir, rootsDir, role)
	name := filepath.Join(dir, rootFile)
	der, err := readPEM(name, "CERTIFICATE")
	switch {
	case err == nil && bytes.Equal(der, m.root.certificate.Raw):
		return nil
	case err == nil:
		return fmt.Errorf("%q is another root: %w", name, ErrDir)
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: %w", ErrDir, err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // G301: roots are for everybody to read.
		return fmt.Errorf("%w: %w", ErrDir, err)
	}
	// Written aside first: whoever reads the folder sees the file or none.
	part, err := os.MkdirTemp(filepath.Join(m.dir, makerDir), role+".new-*")
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDir, err)
	}
	defer os.RemoveAll(part)
	file := filepath.Join(part, rootFile)
	if err := writePEM(file, "CERTIFICATE", m.root.certificate.Raw, 0o644); err != nil {
		return fmt.Errorf("%w: %w", ErrDir, err)
	}
	if err := os.Rename(file, name); err != nil {
		return fmt.Errorf("%w: %w", ErrDir, err)
	}
	return nil
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
