package simulator

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
	"fmt"
	"strings"
	"time"
)

// simulated is in the common name of every certificate of a simulated vendor.
const simulated = "SIMULATED"

// The common names of the maker's own certificates.
const (
	rootName     = simulated + " TPM maker"
	ekCAName     = simulated + " TPM maker EK CA"
	akIssuerName = simulated + " TPM maker AK issuer"
)

// maxCertificate bounds a certificate of the maker, in bytes. With 900 a leaf
// and its issuer fit an NV index of swtpm, 2048 bytes.
const maxCertificate = 900

// years is how long every certificate is valid; backdate is how long before it
// is made, for clocks that are behind.
const (
	years    = 20
	backdate = time.Hour
)

// oidKPEK returns tcg-kp-EKCertificate (EK Credential Profile, 3.2.16).
func oidKPEK() asn1.ObjectIdentifier { return asn1.ObjectIdentifier{2, 23, 133, 8, 1} }

// oidKPAK returns tcg-kp-AIKCertificate (TCG Infrastructure Credential
// Profiles 1.1, 3.5).
func oidKPAK() asn1.ObjectIdentifier { return asn1.ObjectIdentifier{2, 23, 133, 8, 3} }

// authority is a certificate with its private key.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// newAuthority makes a CA with a P-256 key: a root if parent is nil. It may
// have maxPath CAs below it.
func newAuthority(name string, parent *authority, maxPath int, now time.Time) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making the key of %q: %w: %w", name, ErrDir, err)
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: name},
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLen:            maxPath,
		MaxPathLenZero:        maxPath == 0,
	}
	if parent == nil {
		parent = &authority{certificate: template, key: key}
	}
	c, err := parent.issue(template, &key.PublicKey, now)
	if err != nil {
		return nil, err
	}
	return &authority{certificate: c, key: key}, nil
}

// issue signs a certificate for public, valid from backdate before now for
// years, but no longer than the authority's own, with a random serial number.
func (a *authority) issue(template *x509.Certificate, public crypto.PublicKey, now time.Time) (*x509.Certificate, error) {
	name := template.Subject.CommonName
	template.NotBefore = now.Add(-backdate).UTC().Truncate(time.Second)
	template.NotAfter = template.NotBefore.AddDate(years, 0, 0)
	if ca := a.certificate; ca != template {
		if template.NotBefore.Before(ca.NotBefore) {
			template.NotBefore = ca.NotBefore
		}
		if template.NotAfter.After(ca.NotAfter) {
			template.NotAfter = ca.NotAfter
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, public, a.key)
	if err != nil {
		return nil, fmt.Errorf("issuing %q: %w: %w", name, ErrTPM, err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("issuing %q: %w: %w", name, ErrTPM, err)
	}
	if len(der) > maxCertificate {
		return nil, fmt.Errorf("issuing %q: %d bytes, limit %d: %w", name, len(der), maxCertificate, ErrTPM)
	}
	return c, nil
}

// issued reports whether c is a certificate that a issued and that has exactly
// that extended key usage.
func (a *authority) issued(c *x509.Certificate, usage asn1.ObjectIdentifier) bool {
	return !c.IsCA && bytes.Equal(c.RawIssuer, a.certificate.RawSubject) &&
		len(c.ExtKeyUsage) == 0 && len(c.UnknownExtKeyUsage) == 1 && c.UnknownExtKeyUsage[0].Equal(usage) &&
		c.CheckSignatureFrom(a.certificate) == nil
}

// isSimulated reports whether the issuer of c is a simulator: what such a one
// has written into a TPM, another may replace.
func isSimulated(c *x509.Certificate) bool {
	return strings.Contains(c.Issuer.CommonName, simulated)
}

// ekTemplate returns the certificate of an EK that does key agreement, with
// the TPM's maker, model and version as a directoryName (EK Credential
// Profile, 3.2.9; not critical, because the subject has a name).
func ekTemplate(ek *ecdsa.PublicKey) (*x509.Certificate, error) {
	san, err := tcgName()
	if err != nil {
		return nil, err
	}
	name, err := subjectName("EK", ek)
	if err != nil {
		return nil, err
	}
	return &x509.Certificate{
		Subject:               name,
		KeyUsage:              x509.KeyUsageKeyAgreement,
		UnknownExtKeyUsage:    []asn1.ObjectIdentifier{oidKPEK()},
		BasicConstraintsValid: true,
		ExtraExtensions:       []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: san}},
	}, nil
}

// akCertificateTemplate returns the certificate of an AK.
func akCertificateTemplate(ak *ecdsa.PublicKey) (*x509.Certificate, error) {
	name, err := subjectName("AK", ak)
	if err != nil {
		return nil, err
	}
	return &x509.Certificate{
		Subject:               name,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		UnknownExtKeyUsage:    []asn1.ObjectIdentifier{oidKPAK()},
		BasicConstraintsValid: true,
	}, nil
}

// subjectName names a key of a TPM by the first 8 bytes of its digest.
func subjectName(kind string, key *ecdsa.PublicKey) (pkix.Name, error) {
	point, err := key.Bytes()
	if err != nil {
		return pkix.Name{}, fmt.Errorf("encoding a point: %w: %w", ErrTPM, err)
	}
	digest := sha256.Sum256(point)
	return pkix.Name{CommonName: simulated + " TPM " + kind + " " + hex.EncodeToString(digest[:8])}, nil
}

// tcgName returns the subject alternative name of the simulated TPM: maker
// "SIMU", which no maker is registered under.
func tcgName() ([]byte, error) {
	attribute := func(last int, value string) pkix.RelativeDistinguishedNameSET {
		return pkix.RelativeDistinguishedNameSET{{Type: asn1.ObjectIdentifier{2, 23, 133, 2, last}, Value: value}}
	}
	dn, err := asn1.Marshal(pkix.RDNSequence{
		attribute(1, "id:53494D55"),
		attribute(2, simulated),
		attribute(3, "id:00010000"),
	})
	if err != nil {
		return nil, fmt.Errorf("encoding the TPM's name: %w: %w", ErrTPM, err)
	}
	// directoryName [4] is explicit, because Name is a choice (RFC 5280,
	// 4.2.1.6).
	san, err := asn1.Marshal([]asn1.RawValue{{Class: asn1.ClassContextSpecific, Tag: 4, IsCompound: true, Bytes: dn}})
	if err != nil {
		return nil, fmt.Errorf("encoding the TPM's name: %w: %w", ErrTPM, err)
	}
	return san, nil
}
