// Package pki makes and keeps the certificates, revocation lists and keys of the
// simulated vendors.
package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // G505: a name for a key (RFC 5280, 4.2.1.2), and no protection.
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// ErrDir reports a directory that cannot be used: it cannot be written, or what
// lies in it is not what a simulated vendor put there.
var ErrDir = errors.New("unusable directory")

// ErrIssue reports that a certificate, a list or a signature could not be made.
var ErrIssue = errors.New("cannot be issued")

// Backdate is how long before it is made a certificate or a list is valid, for
// clocks that are behind.
const Backdate = time.Hour

// Authority is a certificate with its private key.
type Authority struct {
	// Certificate is the authority's own.
	Certificate *x509.Certificate
	// Key is its private key: RSA, or ECDSA on P-256.
	Key crypto.Signer
}

// Attribute is one attribute of a distinguished name.
type Attribute struct {
	// Type is the last arc of the attribute's id below 2.5.4.
	Type int
	// Value is its value.
	Value string
}

// The attributes of the vendors' names (X.520).
const (
	CommonName   = 3
	Country      = 6
	Locality     = 7
	Province     = 8
	Organization = 10
	Unit         = 11
)

// Name encodes a distinguished name, one attribute to a set, in the order given:
// UTF8String, but for the country PrintableString, as both vendors write them.
func Name(attributes ...Attribute) ([]byte, error) {
	type pair struct {
		Type  asn1.ObjectIdentifier
		Value asn1.RawValue
	}
	type set []pair
	sets := make([]asn1.RawValue, 0, len(attributes))
	for _, a := range attributes {
		tag := asn1.TagUTF8String
		if a.Type == Country {
			tag = asn1.TagPrintableString
		}
		p := pair{asn1.ObjectIdentifier{2, 5, 4, a.Type}, asn1.RawValue{Tag: tag, Bytes: []byte(a.Value)}}
		der, err := asn1.MarshalWithParams(set{p}, "set")
		if err != nil {
			return nil, fmt.Errorf("encoding a name: %w: %w", ErrIssue, err)
		}
		sets = append(sets, asn1.RawValue{FullBytes: der})
	}
	der, err := asn1.Marshal(sets)
	if err != nil {
		return nil, fmt.Errorf("encoding a name: %w: %w", ErrIssue, err)
	}
	return der, nil
}

// NewRoot makes a self-signed authority out of a template, whose dates stand.
func NewRoot(template *x509.Certificate, key crypto.Signer) (*Authority, error) {
	a := &Authority{Certificate: template, Key: key}
	c, err := a.Issue(template, key.Public())
	if err != nil {
		return nil, err
	}
	return &Authority{Certificate: c, Key: key}, nil
}

// NewAuthority makes an authority below a, out of a template.
func (a *Authority) NewAuthority(template *x509.Certificate, key crypto.Signer) (*Authority, error) {
	c, err := a.Issue(template, key.Public())
	if err != nil {
		return nil, err
	}
	return &Authority{Certificate: c, Key: key}, nil
}

// Issue signs a certificate. The dates of the template stand as they are, whether
// they make sense or not; without a serial number it gets one of 20 random bytes.
func (a *Authority) Issue(template *x509.Certificate, public crypto.PublicKey) (*x509.Certificate, error) {
	template.SignatureAlgorithm = a.algorithm()
	der, err := x509.CreateCertificate(rand.Reader, template, a.Certificate, public, a.Key)
	if err != nil {
		return nil, fmt.Errorf("issuing a certificate: %w: %w", ErrIssue, err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("issuing a certificate: %w: %w", ErrIssue, err)
	}
	return c, nil
}

// Nameless returns the authority as one whose certificates do not tell the
// identifier of its key.
func (a *Authority) Nameless() *Authority {
	c := *a.Certificate
	c.SubjectKeyId = nil
	return &Authority{Certificate: &c, Key: a.Key}
}

// algorithm returns what the vendors sign with: AMD with RSA and PSS over SHA-384,
// Intel with ECDSA over SHA-256.
func (a *Authority) algorithm() x509.SignatureAlgorithm {
	if _, ok := a.Key.(*rsa.PrivateKey); ok {
		return x509.SHA384WithRSAPSS
	}
	return x509.ECDSAWithSHA256
}

// List is a certificate revocation list.
type List struct {
	// ThisUpdate and NextUpdate are its dates.
	ThisUpdate, NextUpdate time.Time
	// Number is its number.
	Number int64
	// Revoked are the serial numbers of the certificates revoked.
	Revoked []*big.Int
	// Forged makes a list whose signature does not verify.
	Forged bool
}

// List signs a revocation list, DER.
func (a *Authority) List(l List) ([]byte, error) {
	template := &x509.RevocationList{
		SignatureAlgorithm: a.algorithm(),
		Number:             big.NewInt(l.Number),
		ThisUpdate:         l.ThisUpdate.UTC(),
		NextUpdate:         l.NextUpdate.UTC(),
	}
	for _, serial := range l.Revoked {
		template.RevokedCertificateEntries = append(template.RevokedCertificateEntries, x509.RevocationListEntry{
			SerialNumber: serial, RevocationTime: l.ThisUpdate.UTC(), ReasonCode: 1, // keyCompromise
		})
	}
	der, err := x509.CreateRevocationList(rand.Reader, template, a.Certificate, a.Key)
	if err != nil {
		return nil, fmt.Errorf("issuing a revocation list: %w: %w", ErrIssue, err)
	}
	if l.Forged {
		der[len(der)-1] ^= 1 // the last byte of the signature
	}
	return der, nil
}

// KeyID names a public key by SHA-1 of its bits (RFC 5280, 4.2.1.2, method 1).
func KeyID(public crypto.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("naming a key: %w: %w", ErrIssue, err)
	}
	var spki struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(der, &spki); err != nil {
		return nil, fmt.Errorf("naming a key: %w: %w", ErrIssue, err)
	}
	sum := sha1.Sum(spki.Key.Bytes) //nolint:gosec // G401: a name for a key.
	return sum[:], nil
}

// Derive returns n bytes that depend on the seed and on every one of parts, their
// order and their bounds.
func Derive(seed []byte, n int, parts ...[]byte) ([]byte, error) {
	info := []byte("sworn.run/simulated-vendor/v1\x00")
	for _, p := range parts {
		info = binary.BigEndian.AppendUint32(info, uint32(len(p)))
		info = append(info, p...)
	}
	out, err := hkdf.Key(sha512.New384, seed, nil, string(info), n)
	if err != nil {
		return nil, fmt.Errorf("deriving: %w: %w", ErrIssue, err)
	}
	return out, nil
}

// DeriveKey returns the private key that belongs to a seed and to parts: whoever
// has the seed has the keys of every platform, and needs to keep none of them.
func DeriveKey(curve elliptic.Curve, seed []byte, parts ...[]byte) (*ecdsa.PrivateKey, error) {
	size := (curve.Params().BitSize + 7) / 8
	raw, err := Derive(seed, size+16, parts...)
	if err != nil {
		return nil, err
	}
	one := big.NewInt(1)
	d := new(big.Int).Mod(new(big.Int).SetBytes(raw), new(big.Int).Sub(curve.Params().N, one))
	key, err := ecdsa.ParseRawPrivateKey(curve, d.Add(d, one).FillBytes(make([]byte, size)))
	if err != nil {
		return nil, fmt.Errorf("deriving a key: %w: %w", ErrIssue, err)
	}
	return key, nil
}
