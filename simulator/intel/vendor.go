package intel

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/sworn-run/sworn/simulator/internal/pki"
)

// simulated ends every common name of a simulated vendor.
const simulated = " SIMULATED"

// The common names of Intel's certificates, without that.
const (
	nameRoot      = "Intel SGX Root CA"
	namePlatform  = "Intel SGX PCK Platform CA"
	nameProcessor = "Intel SGX PCK Processor CA"
	nameTCB       = "Intel SGX TCB Signing"
	namePCK       = "Intel SGX PCK Certificate"
)

// rootYears, authorityYears and leafYears are how long certificates are valid.
const (
	rootYears      = 30
	authorityYears = 15
	leafYears      = 7
)

// The stems of the vendor's files, the root first.
const (
	stemRoot      = "root"
	stemPlatform  = "platform-ca"
	stemProcessor = "processor-ca"
	stemTCB       = "tcb-signing"
)

// rootFile is the name of the root in a folder of roots.
const rootFile = "SIMULATED-sgx-root.pem"

// keyUsageSign is what Intel's leaves may be used for.
const keyUsageSign = x509.KeyUsageDigitalSignature | x509.KeyUsageContentCommitment

// CA is an authority that certifies platforms.
type CA string

// The authorities, as the service names them.
const (
	PlatformCA  CA = "platform"
	ProcessorCA CA = "processor"
)

// Vendor is Intel: the root, the two PCK CAs and the TCB signing key, all ECDSA on
// P-256. The zero value refuses. It does not change and is safe for concurrent use.
type Vendor struct {
	root, platform, processor, tcb *pki.Authority
	seed                           []byte
}

// New makes a vendor in memory whose authorities are valid from an hour before now.
// The error wraps [ErrIssue].
func New(now time.Time) (*Vendor, error) {
	v := &Vendor{seed: pki.NewSeed()}
	from := now.Add(-pki.Backdate).UTC().Truncate(time.Second)
	ca := x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	for _, a := range []struct {
		to       **pki.Authority
		name     string
		usage    x509.KeyUsage
		years    int
		pathLen  int // of a CA
		isSigner bool
	}{
		{&v.root, nameRoot, ca, rootYears, 1, false},
		{&v.platform, namePlatform, ca, authorityYears, 0, false},
		{&v.processor, nameProcessor, ca, authorityYears, 0, false},
		{&v.tcb, nameTCB, keyUsageSign, leafYears, -1, true},
	} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, fmt.Errorf("making the key of %q: %w: %w", a.name, ErrIssue, err)
		}
		t, err := template(a.name, &key.PublicKey, "IntelSGXRootCA.der")
		if err != nil {
			return nil, err
		}
		t.KeyUsage, t.IsCA = a.usage, !a.isSigner
		t.MaxPathLen, t.MaxPathLenZero = a.pathLen, a.pathLen == 0
		t.NotBefore, t.NotAfter = from, from.AddDate(a.years, 0, 0)
		if v.root == nil {
			t.AuthorityKeyId = t.SubjectKeyId
			*a.to, err = pki.NewRoot(t, key)
		} else {
			*a.to, err = v.root.NewAuthority(t, key)
		}
		if err != nil {
			return nil, err
		}
	}
	return v, nil
}

// template returns what all certificates have, but for dates and usage.
func template(name string, key *ecdsa.PublicKey, list string) (*x509.Certificate, error) {
	subject, err := subjectOf(name)
	if err != nil {
		return nil, err
	}
	id, err := pki.KeyID(key)
	if err != nil {
		return nil, err
	}
	return &x509.Certificate{
		RawSubject:            subject,
		BasicConstraintsValid: true,
		SubjectKeyId:          id,
		CRLDistributionPoints: []string{"https://pcs.simulated.invalid/" + list},
	}, nil
}

// subjectOf returns the distinguished name of Intel's profile with that common name,
// marked as simulated.
func subjectOf(name string) ([]byte, error) {
	return pki.Name(
		pki.Attribute{Type: pki.CommonName, Value: name + simulated},
		pki.Attribute{Type: pki.Organization, Value: "Intel Corporation"},
		pki.Attribute{Type: pki.Locality, Value: "Santa Clara"},
		pki.Attribute{Type: pki.Province, Value: "CA"},
		pki.Attribute{Type: pki.Country, Value: "US"},
	)
}

// Open opens the vendor in dir, or makes a new one there: keys, certificates and
// seed lie in dir/intel (0600 what is secret), and the root also in
// dir/roots/intel-sgx, so that dir/roots is a folder of roots as a verifier takes
// it. The error wraps [ErrDir] or [ErrIssue].
func Open(dir string, now time.Time) (*Vendor, error) {
	v, err := Load(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if v, err = New(now); err != nil {
			return nil, err
		}
		if err = v.save(dir); err != nil {
			// Another process may have been first.
			if first, e := Load(dir); e == nil {
				v, err = first, nil
			}
		}
	}
	if err != nil {
		return nil, fmt.Errorf("opening the vendor in %q: %w", dir, err)
	}
	if err := pki.Publish(v.Root(), v.RootFile(dir), false); err != nil {
		return nil, err
	}
	return v, nil
}

// Load reads the vendor that [Open] made in dir. If there is none the error wraps
// [ErrDir] and [fs.ErrNotExist].
func Load(dir string) (*Vendor, error) {
	if dir == "" {
		return nil, fmt.Errorf("reading a vendor without a directory: %w", ErrDir)
	}
	s, err := pki.Load(folder(dir), stemRoot, stemPlatform, stemProcessor, stemTCB)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("no simulated vendor: %w: %w", ErrDir, err)
	}
	if err != nil {
		return nil, err
	}
	v := &Vendor{
		root: s.Authorities[stemRoot], platform: s.Authorities[stemPlatform],
		processor: s.Authorities[stemProcessor], tcb: s.Authorities[stemTCB], seed: s.Seed,
	}
	names := map[string]*pki.Authority{nameRoot: v.root, namePlatform: v.platform, nameProcessor: v.processor, nameTCB: v.tcb}
	for name, a := range names {
		want, err := subjectOf(name)
		if err != nil {
			return nil, err
		}
		if !bytes.Equal(a.Certificate.RawSubject, want) {
			return nil, fmt.Errorf("%q is not the vendor's %q: %w", a.Certificate.Subject, name, ErrDir)
		}
	}
	return v, nil
}

// folder returns where the vendor is kept.
func folder(dir string) string { return filepath.Join(dir, "intel") }

// save keeps a new vendor; the root of an earlier one is replaced.
func (v *Vendor) save(dir string) error {
	s := &pki.Store{Seed: v.seed, Authorities: map[string]*pki.Authority{
		stemRoot: v.root, stemPlatform: v.platform, stemProcessor: v.processor, stemTCB: v.tcb,
	}}
	if err := s.Save(folder(dir)); err != nil {
		return err
	}
	return pki.Publish(v.Root(), v.RootFile(dir), true)
}

// Root returns the root, nil for the zero vendor. The caller must not change it.
func (v *Vendor) Root() *x509.Certificate { return certificate(v.root) }

// Issuer returns the certificate of an authority that certifies platforms.
func (v *Vendor) Issuer(ca CA) *x509.Certificate { return certificate(v.authority(ca)) }

// TCBSigning returns the certificate of the key that signs TCB information and
// enclave identities.
func (v *Vendor) TCBSigning() *x509.Certificate { return certificate(v.tcb) }

func certificate(a *pki.Authority) *x509.Certificate {
	if a == nil {
		return nil
	}
	return a.Certificate
}

// authority returns an authority that certifies platforms; another name than that of
// the processor CA is the platform CA.
func (v *Vendor) authority(ca CA) *pki.Authority {
	if ca == ProcessorCA {
		return v.processor
	}
	return v.platform
}

// RootFile returns the path of the root in the folder of roots below dir.
func (v *Vendor) RootFile(dir string) string {
	return filepath.Join(dir, pki.RootsDir, "intel-sgx", rootFile)
}

// CRL is what a revocation list says.
type CRL struct {
	// ThisUpdate and NextUpdate are the list's dates; if zero, an hour before now and
	// 30 days after that, for the root's list a year.
	ThisUpdate, NextUpdate time.Time
	// Number is the list's number.
	Number int64
	// Revoked are the certificates revoked.
	Revoked []*x509.Certificate
	// Forged makes a list whose signature does not verify.
	Forged bool
}

// PCKCRL signs the revocation list of an authority that certifies platforms, DER.
// The error wraps [ErrIssue].
func (v *Vendor) PCKCRL(ca CA, c CRL, now time.Time) ([]byte, error) {
	return list(v.authority(ca), c, now, now.Add(-pki.Backdate).AddDate(0, 0, 30))
}

// RootCRL signs the revocation list of the root, DER. The error wraps [ErrIssue].
func (v *Vendor) RootCRL(c CRL, now time.Time) ([]byte, error) {
	return list(v.root, c, now, now.Add(-pki.Backdate).AddDate(1, 0, 0))
}

// list signs a list that ends then, unless it says otherwise.
func list(a *pki.Authority, c CRL, now, end time.Time) ([]byte, error) {
	if a == nil {
		return nil, fmt.Errorf("a list of no vendor: %w", ErrIssue)
	}
	l := pki.List{ThisUpdate: c.ThisUpdate, NextUpdate: c.NextUpdate, Number: c.Number, Forged: c.Forged}
	if l.ThisUpdate.IsZero() {
		l.ThisUpdate = now.Add(-pki.Backdate)
	}
	if l.NextUpdate.IsZero() {
		l.NextUpdate = end
	}
	for _, r := range c.Revoked {
		l.Revoked = append(l.Revoked, r.SerialNumber)
	}
	return a.List(l)
}
