package attest

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"time"
)

// Pin is one row of the reviewed table of vendor roots that a format's package
// has built in (docs/decisions/0014-pinned-roots.md). It names a key, not a
// certificate: vendors issue their roots anew over the same key. The certificate
// comes with the evidence or from the relying party; nothing of it counts before
// [Pin.Certificate] has agreed. The zero Pin agrees to none.
type Pin struct {
	// Role is the folder name of docs/SPEC.md, section 9, such as "tpm-ek".
	Role string
	// Product is what the root is for. In role "tpm-ek" it is the TCG vendor id of
	// the one maker whose TPMs it certifies, such as "IFX"; empty if there are
	// several.
	Product string
	// Subject is the distinguished name, in the notation of RFC 2253.
	Subject string
	// SPKI is SHA-256 of the key's SubjectPublicKeyInfo in DER.
	SPKI [32]byte
	// From and Until are the first and the last day of use, in UTC.
	From, Until time.Time
	// Source is the URL where its vendor publishes it.
	Source string
	// Looked is the day on which the row was last held against that publication
	// or a list kept from it.
	Looked time.Time
}

// Certificate reports whether c is a certificate of the pinned root: the key and
// the name are the pin's, it is a CA's, names itself as its issuer, and its own
// key signed it. Until then its dates are anybody's word. Dates are not judged.
func (p *Pin) Certificate(c *x509.Certificate) bool {
	return p.Names(c) && c.CheckSignatureFrom(c) == nil
}

// Names is [Pin.Certificate] without the signature, for a caller that has verified
// c's own key's signature over it before. By itself it says nothing: anybody can put
// another's key and name into a certificate.
func (p *Pin) Names(c *x509.Certificate) bool {
	return p != nil && c != nil && p.SPKI != [32]byte{} && c.IsCA && c.BasicConstraintsValid &&
		bytes.Equal(c.RawSubject, c.RawIssuer) &&
		sha256.Sum256(c.RawSubjectPublicKeyInfo) == p.SPKI && c.Subject.String() == p.Subject
}

// Valid reports whether the pin may be used at t: not before the day From, and
// not after the day Until.
func (p *Pin) Valid(t time.Time) bool {
	return p != nil && !t.Before(p.From) && t.Before(p.Until.AddDate(0, 0, 1))
}

// Pinned returns the pin of that role of which c is a certificate, and nil if
// there is none.
func (a *Anchors) Pinned(role string, c *x509.Certificate) *Pin {
	if a == nil {
		return nil
	}
	for i := range a.Pins {
		if p := &a.Pins[i]; p.Role == role && p.Certificate(c) {
			return p
		}
	}
	return nil
}
