package amd

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/sworn-run/sworn/simulator/internal/pki"
)

// Product is a line of processors with a root key of its own.
type Product string

// The products. Bergamo and Siena go with Genoa.
const (
	Milan Product = "Milan"
	Genoa Product = "Genoa"
	Turin Product = "Turin"
)

// Products returns the products, in the order of their generations.
func Products() []Product { return []Product{Milan, Genoa, Turin} }

// simulated ends every common name of a simulated vendor.
const simulated = " SIMULATED"

// bits is the size of the RSA keys of AMD's authorities.
const bits = 4096

// rootYears and chipYears are how long authorities and VCEKs are valid.
const (
	rootYears = 25
	chipYears = 7
)

// The stems of a vendor's files, the root first.
const (
	stemARK  = "ark"
	stemASK  = "ask"
	stemASVK = "asvk"
)

// rootFile is the name of the root in a folder of roots.
const rootFile = "SIMULATED-ark.pem"

// Vendor is AMD for one product: ARK, ASK and ASVK. The zero value refuses. It does
// not change and is safe for concurrent use.
type Vendor struct {
	product        Product
	ark, ask, asvk *pki.Authority
	seed           []byte
}

// New makes a vendor in memory whose authorities are valid from an hour before now
// for 25 years, as [NewSize] does with 4096 bits.
func New(product Product, now time.Time) (*Vendor, error) { return NewSize(product, now, bits) }

// NewSize is [New] with RSA keys of another size, in bits: keys of AMD's own 4096
// take seconds to make, and 2048 are enough for a folder of roots. The error wraps
// [ErrProduct] or [ErrIssue].
func NewSize(product Product, now time.Time, keyBits int) (*Vendor, error) {
	if !slices.Contains(Products(), product) {
		return nil, fmt.Errorf("making a vendor of %q: %w", product, ErrProduct)
	}
	keys := make([]*rsa.PrivateKey, 3)
	errs := make([]error, len(keys))
	var wg sync.WaitGroup
	for i := range keys {
		wg.Go(func() { keys[i], errs[i] = rsa.GenerateKey(rand.Reader, keyBits) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("making a vendor's keys: %w: %w", ErrIssue, err)
	}
	return NewOfKeys(product, now, keys[0], keys[1], keys[2])
}

// NewOfKeys is [New] with keys that the caller has, for tests: three new ones take seconds
// to make, and minutes as js/wasm.
func NewOfKeys(product Product, now time.Time, ark, ask, asvk *rsa.PrivateKey) (*Vendor, error) {
	if !slices.Contains(Products(), product) {
		return nil, fmt.Errorf("making a vendor of %q: %w", product, ErrProduct)
	}
	v := &Vendor{product: product, seed: pki.NewSeed()}
	root, err := v.template("ARK-"+string(product), "vcek", 0, now, &ark.PublicKey)
	if err != nil {
		return nil, err
	}
	root.KeyUsage |= x509.KeyUsageCRLSign
	if v.ark, err = pki.NewRoot(root, ark); err != nil {
		return nil, err
	}
	if v.ask, err = v.below("SEV-"+string(product), "vcek", 1, now, ask); err != nil {
		return nil, err
	}
	if v.asvk, err = v.below("SEV-VLEK-"+string(product), "vlek", 0x101, now, asvk); err != nil {
		return nil, err
	}
	return v, nil
}

// template returns the certificate of an authority. Its serial number is what the
// real one's is made of: the product's generation and a number.
func (v *Vendor) template(name, service string, number int64, now time.Time, key *rsa.PublicKey) (*x509.Certificate, error) {
	subject, err := subjectOf(name)
	if err != nil {
		return nil, err
	}
	id, err := pki.KeyID(key)
	if err != nil {
		return nil, err
	}
	from := now.Add(-pki.Backdate).UTC().Truncate(time.Second)
	generation := int64(slices.Index(Products(), v.product) + 1)
	return &x509.Certificate{
		SerialNumber:          big.NewInt(generation<<16 + number),
		RawSubject:            subject,
		NotBefore:             from,
		NotAfter:              from.AddDate(rootYears, 0, 0),
		KeyUsage:              x509.KeyUsageCertSign,
		IsCA:                  true,
		BasicConstraintsValid: true,
		SubjectKeyId:          id,
		CRLDistributionPoints: []string{"https://kds.simulated.invalid/" + service + "/v1/" + string(v.product) + "/crl"},
	}, nil
}

// below makes an authority that certifies endorsement keys.
func (v *Vendor) below(name, service string, number int64, now time.Time, key *rsa.PrivateKey) (*pki.Authority, error) {
	t, err := v.template(name, service, number, now, &key.PublicKey)
	if err != nil {
		return nil, err
	}
	t.MaxPathLenZero = true
	return v.ark.NewAuthority(t, key)
}

// subjectOf returns the distinguished name of AMD's profile (57230, 3) with that
// common name, marked as simulated.
func subjectOf(name string) ([]byte, error) {
	return pki.Name(
		pki.Attribute{Type: pki.Unit, Value: "Engineering"},
		pki.Attribute{Type: pki.Country, Value: "US"},
		pki.Attribute{Type: pki.Locality, Value: "Santa Clara"},
		pki.Attribute{Type: pki.Province, Value: "CA"},
		pki.Attribute{Type: pki.Organization, Value: "Advanced Micro Devices"},
		pki.Attribute{Type: pki.CommonName, Value: name + simulated},
	)
}

// Open opens the vendor of a product in dir, or makes a new one there: keys,
// certificates and seed lie in dir/amd/PRODUCT (0600 what is secret), and the root
// also in dir/roots/amd-ark/PRODUCT, so that dir/roots is a folder of roots as a
// verifier takes it. The error wraps [ErrDir], [ErrProduct] or [ErrIssue].
func Open(dir string, product Product, now time.Time) (*Vendor, error) {
	v, err := Load(dir, product)
	if errors.Is(err, fs.ErrNotExist) {
		if v, err = New(product, now); err != nil {
			return nil, err
		}
		if err = v.save(dir); err != nil {
			// Another process may have been first.
			if first, e := Load(dir, product); e == nil {
				v, err = first, nil
			}
		}
	}
	if err != nil {
		return nil, fmt.Errorf("opening the vendor of %s in %q: %w", product, dir, err)
	}
	if err := pki.Publish(v.ARK(), v.RootFile(dir), false); err != nil {
		return nil, err
	}
	return v, nil
}

// Load reads the vendor of a product that [Open] made in dir. If there is none the
// error wraps [ErrDir] and [fs.ErrNotExist].
func Load(dir string, product Product) (*Vendor, error) {
	if !slices.Contains(Products(), product) {
		return nil, fmt.Errorf("reading the vendor of %q: %w", product, ErrProduct)
	}
	if dir == "" {
		return nil, fmt.Errorf("reading a vendor without a directory: %w", ErrDir)
	}
	s, err := pki.Load(folder(dir, product), stemARK, stemASK, stemASVK)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("no simulated vendor of %s: %w: %w", product, ErrDir, err)
	}
	if err != nil {
		return nil, err
	}
	v := &Vendor{
		product: product, seed: s.Seed,
		ark: s.Authorities[stemARK], ask: s.Authorities[stemASK], asvk: s.Authorities[stemASVK],
	}
	names := map[string]*pki.Authority{"ARK-": v.ark, "SEV-": v.ask, "SEV-VLEK-": v.asvk}
	for prefix, a := range names {
		want, err := subjectOf(prefix + string(product))
		if err != nil {
			return nil, err
		}
		if !bytes.Equal(a.Certificate.RawSubject, want) {
			return nil, fmt.Errorf("%q is not the vendor's %s%s: %w", a.Certificate.Subject, prefix, product, ErrDir)
		}
	}
	return v, nil
}

// folder returns where the vendor of a product is kept.
func folder(dir string, product Product) string { return filepath.Join(dir, "amd", string(product)) }

// save keeps a new vendor; the root of an earlier one is replaced.
func (v *Vendor) save(dir string) error {
	s := &pki.Store{Seed: v.seed, Authorities: map[string]*pki.Authority{stemARK: v.ark, stemASK: v.ask, stemASVK: v.asvk}}
	if err := s.Save(folder(dir, v.product)); err != nil {
		return err
	}
	return pki.Publish(v.ARK(), v.RootFile(dir), true)
}

// Product returns the vendor's product.
func (v *Vendor) Product() Product { return v.product }

// ARK returns the root, ASK the authority of VCEKs and ASVK that of VLEKs. The
// caller must not change them; they are nil for the zero vendor.
func (v *Vendor) ARK() *x509.Certificate { return certificate(v.ark) }

// ASK returns the certificate of the authority that certifies chips.
func (v *Vendor) ASK() *x509.Certificate { return certificate(v.ask) }

// ASVK returns the certificate of the authority that certifies the keys of clouds.
func (v *Vendor) ASVK() *x509.Certificate { return certificate(v.asvk) }

func certificate(a *pki.Authority) *x509.Certificate {
	if a == nil {
		return nil
	}
	return a.Certificate
}

// RootFile returns the path of the root in the folder of roots below dir.
func (v *Vendor) RootFile(dir string) string {
	return filepath.Join(dir, pki.RootsDir, "amd-ark", string(v.product), rootFile)
}

// CRL is what a revocation list of the ARK says.
type CRL struct {
	// ThisUpdate and NextUpdate are the list's dates; if zero, an hour before now and
	// a year after that.
	ThisUpdate, NextUpdate time.Time
	// Number is the list's number.
	Number int64
	// Revoked are the certificates revoked: ASK, ASVK or any other.
	Revoked []*x509.Certificate
	// Forged makes a list whose signature does not verify.
	Forged bool
}

// CRL signs a revocation list, DER, by the ARK (57230, 4.3). The error wraps
// [ErrIssue].
func (v *Vendor) CRL(c CRL, now time.Time) ([]byte, error) {
	if v == nil || v.ark == nil {
		return nil, fmt.Errorf("a list of no vendor: %w", ErrIssue)
	}
	l := pki.List{ThisUpdate: c.ThisUpdate, NextUpdate: c.NextUpdate, Number: c.Number, Forged: c.Forged}
	if l.ThisUpdate.IsZero() {
		l.ThisUpdate = now.Add(-pki.Backdate)
	}
	if l.NextUpdate.IsZero() {
		l.NextUpdate = l.ThisUpdate.AddDate(1, 0, 0)
	}
	for _, r := range c.Revoked {
		l.Revoked = append(l.Revoked, r.SerialNumber)
	}
	return v.ark.List(l)
}
