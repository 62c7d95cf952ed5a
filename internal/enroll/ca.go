package enroll

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"github.com/sworn-run/sworn/tpm"
)

// The files of a CA.
const (
	caKeyFile  = "ca.key"
	caRootFile = "enrolment-ca.pem"
)

// maxPEM bounds a PEM file in bytes.
const maxPEM = 64 << 10

// caYears is how long a CA's certificate is valid; backdate how long before it
// is made, for clocks that are behind.
const (
	caYears  = 10
	backdate = 5 * time.Minute
)

// Authority is the CA that certifies AKs: a self-signed root, which relying
// parties put into their roots folder in role "tpm-ak". The zero value refuses.
type Authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// Root returns the CA's self-signed certificate; nil for the zero value.
func (a *Authority) Root() *x509.Certificate { return a.cert }

// RootsDir returns the roots folder of the CA in dir, to hand out.
func RootsDir(dir string) string { return filepath.Join(dir, "roots") }

// rootPath returns where the certificate of the CA in dir is.
func rootPath(dir string) string { return filepath.Join(RootsDir(dir), tpm.RoleAK, caRootFile) }

// InitCA makes a CA in dir, which is made if it is not there (0700): its key,
// ECDSA P-256, in dir/ca.key (0600) and its certificate, valid for 10 years, in
// dir/roots/tpm-ak/enrolment-ca.pem. It refuses where there is a key. The error
// wraps ErrFile.
func InitCA(dir string, now time.Time) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a CA: %w: %w", ErrFile, err)
	}
	spki, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("making a CA: %w: %w", ErrFile, err)
	}
	id := sha256.Sum256(spki)
	t := &x509.Certificate{
		SerialNumber: serial(),
		Subject:      pkix.Name{CommonName: "enrolment CA " + hex.EncodeToString(id[:8])},
		NotBefore:    now.Add(-backdate), NotAfter: now.AddDate(caYears, 0, 0),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("making a CA: %w: %w", ErrFile, err)
	}
	if err := saveCA(dir, key, der); err != nil {
		return nil, fmt.Errorf("keeping a CA: %w: %w", ErrFile, err)
	}
	return LoadCA(dir)
}

// saveCA writes the files; the key last, since a folder with a key is a CA.
func saveCA(dir string, key *ecdsa.PrivateKey, der []byte) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	name := filepath.Join(dir, caKeyFile)
	if _, err := os.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(fmt.Errorf("%s: %w", name, fs.ErrExist), err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(rootPath(dir)), 0o755); err != nil { //nolint:gosec // G301: roots are for everybody to read.
		return err
	}
	root := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := os.WriteFile(rootPath(dir), root, 0o644); err != nil { //nolint:gosec // G306: the same.
		return err
	}
	return writePrivate(name, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), false)
}

// LoadCA opens the CA that InitCA made in dir. The error wraps ErrFile.
func LoadCA(dir string) (*Authority, error) {
	a, err := loadCA(dir)
	if err != nil {
		return nil, fmt.Errorf("opening the CA in %q: %w: %w", dir, ErrFile, err)
	}
	return a, nil
}

func loadCA(dir string) (*Authority, error) {
	text, err := readPrivate(filepath.Join(dir, caKeyFile), maxPEM)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s is not PEM", caKeyFile)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("a CA key of type %T", parsed)
	}
	if text, err = os.ReadFile(rootPath(dir)); err != nil {
		return nil, err
	}
	if block, _ = pem.Decode(text); block == nil {
		return nil, fmt.Errorf("%s is not PEM", caRootFile)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, err
	}
	if !key.PublicKey.Equal(cert.PublicKey) || !cert.IsCA || !bytes.Equal(cert.RawSubject, cert.RawIssuer) {
		return nil, fmt.Errorf("%s is not the certificate of %s", caRootFile, caKeyFile)
	}
	return &Authority{cert: cert, key: key}, nil
}

// issue certifies an AK that was activated: it names the TPM by its EK's key and
// by what the maker said of it.
func (a *Authority) issue(ek *tpm.EK, ak crypto.PublicKey, now time.Time, validity time.Duration) ([]byte, error) {
	spki := sha256.Sum256(ek.Certificate.RawSubjectPublicKeyInfo)
	until := now.Add(validity)
	if until.After(a.cert.NotAfter) {
		until = a.cert.NotAfter
	}
	t := &x509.Certificate{
		SerialNumber: serial(),
		Subject:      pkix.Name{CommonName: hex.EncodeToString(spki[:]), OrganizationalUnit: []string{"TPM of this endorsement key"}},
		NotBefore:    now.Add(-backdate), NotAfter: until,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		UnknownExtKeyUsage:    []asn1.ObjectIdentifier{{2, 23, 133, 8, 3}},
		ExtraExtensions:       []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Critical: true, Value: ek.Name}},
	}
	der, err := x509.CreateCertificate(rand.Reader, t, a.cert, ak, a.key)
	if err != nil {
		return nil, fmt.Errorf("issuing a certificate: %w: %w", ErrFile, err)
	}
	return der, nil
}

// serial returns a random serial number of 127 bits, never zero.
func serial() *big.Int {
	b := make([]byte, 16)
	// rand.Read never returns an error.
	_, _ = rand.Read(b)
	b[0] = b[0]&0x7f | 0x40
	return new(big.Int).SetBytes(b)
}
