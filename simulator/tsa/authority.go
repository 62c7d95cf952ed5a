package tsa

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"path/filepath"
	"time"

	"github.com/sworn-run/sworn/simulator/internal/pki"
)

// simulated ends every common name.
const simulated = " SIMULATED"

// The common names, without that.
const (
	nameRoot   = "Time Stamp Root CA"
	nameIssuer = "Time Stamp Issuing CA"
	nameSigner = "Time Stamp Signer"
)

// How long certificates are valid, and how long lists count.
const (
	rootYears   = 40
	issuerYears = 20
	signerYears = 10
	listDays    = 30
)

// rootFile is the name of the root in a folder of roots.
const rootFile = "SIMULATED-tsa-root.pem"

// The stems of the authority's files, the root first.
const (
	stemRoot   = "root"
	stemIssuer = "issuer"
	stemSigner = "signer"
)

// The extension of RFC 5280, 4.2.1.12, and its purpose time-stamping.
var (
	oidExtKeyUsage = asn1.ObjectIdentifier{2, 5, 29, 37}              //nolint:gochecknoglobals // a constant
	oidPurpose     = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 8} //nolint:gochecknoglobals // a constant
)

// Authority is a time-stamping authority. The zero value refuses. It does not change and
// is safe for concurrent use.
type Authority struct {
	root, issuer, signer *pki.Authority
}

// Options say how an authority departs from an ordinary one.
type Options struct {
	// Name begins every common name.
	Name string
	// Key is the signer's key: ECDSA, RSA or Ed25519. If nil, a new one on P-256.
	Key crypto.Signer
	// From and Until are when the signer's certificate is valid; if zero, from an hour
	// before the authority was made, for ten years.
	From, Until time.Time
	// Edit changes the template of the signer's certificate; nil for nothing. EKU is in
	// ExtraExtensions, critical.
	Edit func(*x509.Certificate)
	// EditIssuer changes that of the authority below the root.
	EditIssuer func(*x509.Certificate)
}

// New makes an authority in memory whose certificates are valid from an hour before now.
// The error wraps [ErrIssue].
func New(now time.Time, o Options) (*Authority, error) {
	from := now.Add(-pki.Backdate).UTC().Truncate(time.Second)
	a := &Authority{}
	for _, x := range []struct {
		to    **pki.Authority
		above *pki.Authority
		name  string
		years int
		ca    bool
		edit  func(*x509.Certificate)
	}{
		{&a.root, nil, nameRoot, rootYears, true, nil},
		{&a.issuer, nil, nameIssuer, issuerYears, true, o.EditIssuer},
		{&a.signer, nil, nameSigner, signerYears, false, o.Edit},
	} {
		key, err := newKey(o.Key, x.ca)
		if err != nil {
			return nil, err
		}
		t, err := template(o.Name, x.name, key.Public(), x.ca)
		if err != nil {
			return nil, err
		}
		t.NotBefore, t.NotAfter = from, from.AddDate(x.years, 0, 0)
		if !x.ca && !o.From.IsZero() {
			t.NotBefore = o.From
		}
		if !x.ca && !o.Until.IsZero() {
			t.NotAfter = o.Until
		}
		if x.edit != nil {
			x.edit(t)
		}
		switch {
		case a.root == nil:
			*x.to, err = pki.NewRoot(t, key)
		case a.issuer == nil:
			*x.to, err = a.root.NewAuthority(t, key)
		default:
			*x.to, err = a.issuer.NewAuthority(t, key)
		}
		if err != nil {
			return nil, err
		}
	}
	return a, nil
}

// newKey returns the signer's key if there is one, or a new one on P-256.
func newKey(given crypto.Signer, ca bool) (crypto.Signer, error) {
	if given != nil && !ca {
		return given, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w: %w", ErrIssue, err)
	}
	return key, nil
}

// template returns the certificate of one name, but for its dates.
func template(prefix, name string, key crypto.PublicKey, ca bool) (*x509.Certificate, error) {
	subject, err := pki.Name(
		pki.Attribute{Type: pki.Organization, Value: "Simulated Time Authority"},
		pki.Attribute{Type: pki.CommonName, Value: prefix + name + simulated},
	)
	if err != nil {
		return nil, err
	}
	id, err := pki.KeyID(key)
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{RawSubject: subject, BasicConstraintsValid: true, SubjectKeyId: id}
	if ca {
		t.IsCA, t.KeyUsage = true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign
	}
	switch name {
	case nameRoot:
		t.AuthorityKeyId = id
	case nameIssuer:
		t.CRLDistributionPoints = []string{"http://tsa.simulated.invalid" + PathRootList}
	default:
		t.KeyUsage = x509.KeyUsageDigitalSignature
		t.CRLDistributionPoints = []string{"http://tsa.simulated.invalid" + PathIssuerList}
		purpose, err := asn1.Marshal([]asn1.ObjectIdentifier{oidPurpose})
		if err != nil {
			return nil, fmt.Errorf("encoding the purpose: %w: %w", ErrIssue, err)
		}
		t.ExtraExtensions = []pkix.Extension{{Id: oidExtKeyUsage, Critical: true, Value: purpose}}
	}
	return t, nil
}

// Open opens the authority in dir, or makes a new one there: keys and certificates lie in
// dir/tsa (0600 what is secret), and the root also in dir/roots/tsa, so that dir/roots is a
// folder of roots as a verifier takes it. The error wraps [ErrDir] or [ErrIssue].
func Open(dir string, now time.Time) (*Authority, error) {
	if dir == "" {
		return nil, fmt.Errorf("opening an authority without a directory: %w", ErrDir)
	}
	a, err := load(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if a, err = New(now, Options{}); err != nil {
			return nil, err
		}
		s := &pki.Store{Seed: pki.NewSeed(), Authorities: map[string]*pki.Authority{stemRoot: a.root, stemIssuer: a.issuer, stemSigner: a.signer}}
		if err = s.Save(folder(dir)); err != nil {
			// Another process may have been first.
			if first, e := load(dir); e == nil {
				a, err = first, nil
			}
		}
	}
	if err != nil {
		return nil, fmt.Errorf("opening the authority in %q: %w", dir, err)
	}
	if err := pki.Publish(a.Root(), RootFile(dir), false); err != nil {
		return nil, err
	}
	return a, nil
}

// load reads the authority that [Open] made in dir.
func load(dir string) (*Authority, error) {
	s, err := pki.Load(folder(dir), stemRoot, stemIssuer, stemSigner)
	if err != nil {
		return nil, err
	}
	a := &Authority{root: s.Authorities[stemRoot], issuer: s.Authorities[stemIssuer], signer: s.Authorities[stemSigner]}
	for name, x := range map[string]*pki.Authority{nameRoot: a.root, nameIssuer: a.issuer, nameSigner: a.signer} {
		want, err := template("", name, x.Certificate.PublicKey, false)
		if err != nil {
			return nil, err
		}
		if !bytes.Equal(x.Certificate.RawSubject, want.RawSubject) {
			return nil, fmt.Errorf("%q is not the authority's %q: %w", x.Certificate.Subject, name, ErrDir)
		}
	}
	return a, nil
}

// folder returns where the authority is kept.
func folder(dir string) string { return filepath.Join(dir, "tsa") }

// RootFile returns the path of the root in the folder of roots below dir.
func RootFile(dir string) string { return filepath.Join(dir, pki.RootsDir, "tsa", rootFile) }

// Root returns the root; nil for the zero value. The caller must not change it.
func (a *Authority) Root() *x509.Certificate { return certificate(a.root) }

// Issuer returns the certificate of the authority that certifies the signer.
func (a *Authority) Issuer() *x509.Certificate { return certificate(a.issuer) }

// Signer returns the certificate of the key that signs tokens.
func (a *Authority) Signer() *x509.Certificate { return certificate(a.signer) }

func certificate(a *pki.Authority) *x509.Certificate {
	if a == nil {
		return nil
	}
	return a.Certificate
}

// Certify has the authority's issuer sign another certificate for a key, out of a
// template such as that of [Options].Edit, to be used beside the signer's. The error wraps
// [ErrIssue].
func (a *Authority) Certify(name string, key crypto.PublicKey, from, until time.Time, edit func(*x509.Certificate)) (*x509.Certificate, error) {
	if a.issuer == nil {
		return nil, fmt.Errorf("certifying with no authority: %w", ErrIssue)
	}
	t, err := template("", name, key, false)
	if err != nil {
		return nil, err
	}
	t.NotBefore, t.NotAfter = from, until
	if edit != nil {
		edit(t)
	}
	return a.issuer.Issue(t, key)
}

// Revoked is an entry of a revocation list (RFC 5280, 5.3).
type Revoked struct {
	// Serial is the serial number of a certificate.
	Serial *big.Int
	// At is the date of revocation.
	At time.Time
	// Reason is reasonCode; 0 leaves the extension out.
	Reason int
	// Extensions are added to the entry.
	Extensions []pkix.Extension
}

// List is a revocation list.
type List struct {
	// ThisUpdate and NextUpdate are its dates; if NextUpdate is zero, 30 days after.
	ThisUpdate, NextUpdate time.Time
	// Number is its number.
	Number int64
	// Revoked are its entries.
	Revoked []Revoked
	// Extensions are added to the list.
	Extensions []pkix.Extension
}

// RootList returns a list of the root, about the authority below it, in DER. The error
// wraps [ErrIssue].
func (a *Authority) RootList(l List) ([]byte, error) { return l.sign(a.root) }

// IssuerList returns a list of the authority below the root, about the signer, in DER. The
// error wraps [ErrIssue].
func (a *Authority) IssuerList(l List) ([]byte, error) { return l.sign(a.issuer) }

// sign signs a list.
func (l List) sign(a *pki.Authority) ([]byte, error) {
	if a == nil {
		return nil, fmt.Errorf("a list of no authority: %w", ErrIssue)
	}
	if l.NextUpdate.IsZero() {
		l.NextUpdate = l.ThisUpdate.AddDate(0, 0, listDays)
	}
	t := &x509.RevocationList{
		Number: big.NewInt(l.Number), ThisUpdate: l.ThisUpdate.UTC(), NextUpdate: l.NextUpdate.UTC(), ExtraExtensions: l.Extensions,
	}
	for _, r := range l.Revoked {
		t.RevokedCertificateEntries = append(t.RevokedCertificateEntries, x509.RevocationListEntry{
			SerialNumber: r.Serial, RevocationTime: r.At.UTC(), ReasonCode: r.Reason, ExtraExtensions: r.Extensions,
		})
	}
	der, err := x509.CreateRevocationList(rand.Reader, t, a.Certificate, a.Key)
	if err != nil {
		return nil, fmt.Errorf("issuing a revocation list: %w: %w", ErrIssue, err)
	}
	return der, nil
}

// With returns the authority with another signer: a certificate that anybody issued, and
// its key.
func (a *Authority) With(signer *x509.Certificate, key crypto.Signer) *Authority {
	b := *a
	b.signer = &pki.Authority{Certificate: signer, Key: key}
	return &b
}
