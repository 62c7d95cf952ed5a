package dcap

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"fmt"
	"slices"

	"github.com/sworn-run/sworn/attest"
)

// chainLength is the number of certificates in certification data of type 5: PCK,
// PCK CA, root.
const chainLength = 3

// The frame of a certificate in PEM.
const (
	pemBegin = "-----BEGIN CERTIFICATE-----\n"
	pemEnd   = "\n-----END CERTIFICATE-----"
)

// parseChain reads three certificates in PEM. No signature covers this text, so that
// it is taken in one spelling only: lines of 64 characters throughout (or of 76, as
// early quotes have them), each certificate ended by a line feed, but that the last
// may lack it or be followed by one zero byte.
func parseChain(b []byte) ([]*x509.Certificate, error) {
	rest := bytes.TrimSuffix(b, []byte{0})
	if !bytes.HasSuffix(rest, []byte("\n")) {
		rest = append(bytes.Clone(rest), '\n')
	}
	var out []*x509.Certificate
	for len(rest) > 0 {
		text, after, found := bytes.Cut(rest, []byte(pemEnd+"\n"))
		text, begins := bytes.CutPrefix(text, []byte(pemBegin))
		if !found || !begins || len(out) == chainLength {
			return nil, fmt.Errorf("not %d certificates in PEM: %w", chainLength, attest.ErrForm)
		}
		der, err := parseLines(text)
		if err != nil {
			return nil, err
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %v: %w", len(out), err, attest.ErrForm)
		}
		out, rest = append(out, c), after
	}
	if len(out) != chainLength {
		return nil, fmt.Errorf("%d certificates, want %d: %w", len(out), chainLength, attest.ErrForm)
	}
	return out, nil
}

// parseLines decodes base64 in lines of equal length.
func parseLines(text []byte) ([]byte, error) {
	width := bytes.IndexByte(text, '\n')
	if width != 64 && width != 76 {
		return nil, fmt.Errorf("lines of %d characters in PEM, want 64: %w", width, attest.ErrForm)
	}
	joined := make([]byte, 0, len(text))
	for len(text) > 0 {
		line := text
		if len(text) > width {
			if line = text[:width]; text[width] != '\n' || len(text) == width+1 {
				return nil, fmt.Errorf("lines of unequal length in PEM: %w", attest.ErrForm)
			}
			text = text[width+1:]
		} else {
			text = nil
		}
		joined = append(joined, line...)
	}
	// The decoder skips line feeds; there is no place for one any more.
	if bytes.ContainsAny(joined, "\r\n") {
		return nil, fmt.Errorf("lines of unequal length in PEM: %w", attest.ErrForm)
	}
	der := make([]byte, base64.StdEncoding.DecodedLen(len(joined)))
	n, err := base64.StdEncoding.Strict().Decode(der, joined)
	if err != nil {
		return nil, fmt.Errorf("base64 in PEM: %v: %w", err, attest.ErrForm)
	}
	return der[:n], nil
}

// PCK is what a PCK certificate says of its platform (PCK profile, 1.3.5).
type PCK struct {
	// PPID is the platform's provisioning id.
	PPID [16]byte
	// FMSPC names platform family, model, stepping and custom SKU.
	FMSPC [6]byte
	// PCEID names the provisioning certification enclave.
	PCEID [2]byte
	// Components are the security versions of the platform's TCB components.
	Components [16]uint8
	// PCESVN is the security version of the provisioning certification enclave.
	PCESVN uint16
	// CPUSVN is the packed form of the components.
	CPUSVN [16]byte
	// Type is 0 for standard, 1 for scalable, 2 for scalable with integrity.
	Type int
	// Instance is the id of a multi-package platform, nil where there is none.
	Instance []byte
}

// pckOID is 1.2.840.113741.1.13.1, the arc of the extension and of all in it.
func pckOID() asn1.ObjectIdentifier { return asn1.ObjectIdentifier{1, 2, 840, 113741, 1, 13, 1} }

// field is one entry of the extension.
type field struct {
	ID    asn1.ObjectIdentifier
	Value asn1.RawValue
}

// fields decodes a sequence of entries below prefix, numbered 1 to limit, none twice.
// It returns them by number.
func fields(der []byte, prefix asn1.ObjectIdentifier, limit int) ([]asn1.RawValue, error) {
	var list []field
	if rest, err := asn1.Unmarshal(der, &list); err != nil || len(rest) != 0 {
		return nil, fmt.Errorf("extension %v is no list of fields: %w", prefix, attest.ErrForm)
	}
	out := make([]asn1.RawValue, limit+1)
	for _, f := range list {
		if len(f.ID) != len(prefix)+1 || !slices.Equal(f.ID[:len(prefix)], prefix) {
			return nil, fmt.Errorf("field %v is not of extension %v: %w", f.ID, prefix, attest.ErrForm)
		}
		n := f.ID[len(prefix)]
		if n < 1 || n > limit || out[n].FullBytes != nil {
			return nil, fmt.Errorf("field %v is not known or there twice: %w", f.ID, attest.ErrForm)
		}
		out[n] = f.Value
	}
	return out, nil
}

// parsePCK reads the extension of a PCK certificate.
func parsePCK(c *x509.Certificate) (*PCK, error) {
	var der []byte
	for _, e := range c.Extensions {
		if e.Id.Equal(pckOID()) {
			der = e.Value
		}
	}
	if der == nil {
		return nil, fmt.Errorf("no extension %v: %w", pckOID(), attest.ErrForm)
	}
	list, err := fields(der, pckOID(), 7)
	if err != nil {
		return nil, err
	}
	p := &PCK{}
	for _, f := range []struct {
		n  int
		to []byte
	}{{1, p.PPID[:]}, {3, p.PCEID[:]}, {4, p.FMSPC[:]}} {
		if err := octets(list[f.n], f.to); err != nil {
			return nil, fmt.Errorf("field %d: %w", f.n, err)
		}
	}
	if list[6].FullBytes != nil {
		p.Instance = make([]byte, 16)
		if err := octets(list[6], p.Instance); err != nil {
			return nil, fmt.Errorf("field 6: %w", err)
		}
	}
	var kind asn1.Enumerated
	if rest, err := asn1.Unmarshal(list[5].FullBytes, &kind); err != nil || len(rest) != 0 || kind < 0 || kind > 2 {
		return nil, fmt.Errorf("field 5 is not a known type of SGX: %w", attest.ErrForm)
	}
	p.Type = int(kind)
	if err := p.parseTCB(list[2]); err != nil {
		return nil, err
	}
	return p, nil
}

// parseTCB reads field 2: 16 components, PCESVN and CPUSVN.
func (p *PCK) parseTCB(v asn1.RawValue) error {
	list, err := fields(v.FullBytes, append(pckOID(), 2), 18)
	if err != nil {
		return err
	}
	for i := range 17 {
		limit := 0xFF
		if i == 16 {
			limit = 0xFFFF
		}
		var n int
		if rest, err := asn1.Unmarshal(list[i+1].FullBytes, &n); err != nil || len(rest) != 0 || n < 0 || n > limit {
			return fmt.Errorf("tcb field %d is not 0 to %d: %w", i+1, limit, attest.ErrForm)
		}
		if i == 16 {
			p.PCESVN = uint16(n)
		} else {
			p.Components[i] = uint8(n)
		}
	}
	if err := octets(list[18], p.CPUSVN[:]); err != nil {
		return fmt.Errorf("tcb field 18: %w", err)
	}
	return nil
}

// octets copies an OCTET STRING that has exactly the size of to.
func octets(v asn1.RawValue, to []byte) error {
	if v.Class != asn1.ClassUniversal || v.Tag != asn1.TagOctetString || v.IsCompound || len(v.Bytes) != len(to) {
		return fmt.Errorf("no octet string of %d bytes: %w", len(to), attest.ErrForm)
	}
	copy(to, v.Bytes)
	return nil
}

// p256 returns the key of a certificate if it is on P-256, else nil.
func p256(c *x509.Certificate) *ecdsa.PublicKey {
	if k, ok := c.PublicKey.(*ecdsa.PublicKey); ok && k.Curve == elliptic.P256() {
		return k
	}
	return nil
}
