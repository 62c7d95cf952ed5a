package amd

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"time"

	"github.com/sworn-run/sworn/simulator/internal/pki"
)

// TCB is the security version of a chip's firmware by its parts.
type TCB struct {
	// FMC is that of the first mutable code; Turin only.
	FMC uint8
	// BootLoader, TEE, SNP and Microcode are those of the others.
	BootLoader, TEE, SNP, Microcode uint8
}

// Version returns the TCB_VERSION of a report (56860, 2.2), bytes from the least
// significant: on Turin FMC, boot loader, TEE, SNP, 3 reserved, microcode; before,
// boot loader, TEE, 4 reserved, SNP, microcode.
func (t TCB) Version(p Product) uint64 {
	if p == Turin {
		return uint64(t.FMC) | uint64(t.BootLoader)<<8 | uint64(t.TEE)<<16 | uint64(t.SNP)<<24 | uint64(t.Microcode)<<56
	}
	return uint64(t.BootLoader) | uint64(t.TEE)<<8 | uint64(t.SNP)<<48 | uint64(t.Microcode)<<56
}

// SigningKey says which key signs a report (56860, table 23, bits 4:2 of the flags).
type SigningKey uint8

// The signing keys.
const (
	// VCEK is the chip's own key.
	VCEK SigningKey = 0
	// VLEK is a key that the chip's owner, a cloud, was given by AMD.
	VLEK SigningKey = 1
	// None is no key: the report is not signed.
	None SigningKey = 7
)

// EndorsementKey is what the certificate of a VCEK or a VLEK says (57230, tables 8
// and 9).
type EndorsementKey struct {
	// Kind is VCEK or VLEK, and decides who issues the certificate and what the
	// subject is called.
	Kind SigningKey
	// StructVersion is the version of the extensions.
	StructVersion int
	// ProductName is the product, with its stepping for Milan.
	ProductName string
	// TCB is the version that the key belongs to.
	TCB TCB
	// HWID is the chip's id: 64 bytes, 8 for Turin; none for a VLEK.
	HWID []byte
	// CSP is the name of the cloud; for a VLEK only.
	CSP string
	// NotBefore and NotAfter are its dates.
	NotBefore, NotAfter time.Time
	// Public is the key, on P-384.
	Public *ecdsa.PublicKey
}

// oid returns an id of AMD's extensions.
func oid(arcs ...int) asn1.ObjectIdentifier {
	return append(asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 3704, 1}, arcs...)
}

// Certify issues the certificate of an endorsement key, DER: by the ASK, or the
// ASVK for a VLEK, with serial number 0 as every real one. Nothing is checked. The
// error wraps [ErrIssue].
func (v *Vendor) Certify(k EndorsementKey) ([]byte, error) {
	if v == nil || v.ark == nil || k.Public == nil {
		return nil, fmt.Errorf("certifying without a vendor or a key: %w", ErrIssue)
	}
	issuer, name := v.ask, "SEV-VCEK"
	if k.Kind == VLEK {
		issuer, name = v.asvk, "SEV-VLEK"
	}
	subject, err := subjectOf(name)
	if err != nil {
		return nil, err
	}
	extensions, err := v.extensions(&k)
	if err != nil {
		return nil, err
	}
	c, err := issuer.Nameless().Issue(&x509.Certificate{
		SerialNumber:    new(big.Int),
		RawSubject:      subject,
		NotBefore:       k.NotBefore.UTC(),
		NotAfter:        k.NotAfter.UTC(),
		ExtraExtensions: extensions,
	}, k.Public)
	if err != nil {
		return nil, err
	}
	return c.Raw, nil
}

// extensions encodes the extensions in the order that the real certificates have.
// The value of the HWID is the id itself, no OCTET STRING in the OCTET STRING.
func (v *Vendor) extensions(k *EndorsementKey) ([]pkix.Extension, error) {
	type field struct {
		id    asn1.ObjectIdentifier
		value any
	}
	ia5 := func(s string) asn1.RawValue { return asn1.RawValue{Tag: asn1.TagIA5String, Bytes: []byte(s)} }
	bl, tee, snp, ucode := field{oid(3, 1), int(k.TCB.BootLoader)}, field{oid(3, 2), int(k.TCB.TEE)},
		field{oid(3, 3), int(k.TCB.SNP)}, field{oid(3, 8), int(k.TCB.Microcode)}
	fields := []field{{oid(1), k.StructVersion}, {oid(2), ia5(k.ProductName)}}
	if v.product == Turin {
		fields = append(fields, field{oid(3, 9), int(k.TCB.FMC)}, bl, tee, snp,
			field{oid(3, 5), 0}, field{oid(3, 6), 0}, field{oid(3, 7), 0}, ucode)
	} else {
		fields = append(fields, bl, tee, field{oid(3, 4), 0}, field{oid(3, 5), 0}, field{oid(3, 6), 0},
			field{oid(3, 7), 0}, snp, ucode)
	}
	if k.CSP != "" {
		fields = append(fields, field{oid(5), ia5(k.CSP)})
	}
	var out []pkix.Extension
	for _, f := range fields {
		der, err := asn1.Marshal(f.value)
		if err != nil {
			return nil, fmt.Errorf("encoding extensions: %w: %w", ErrIssue, err)
		}
		out = append(out, pkix.Extension{Id: f.id, Value: der})
	}
	if len(k.HWID) != 0 {
		out = append(out, pkix.Extension{Id: oid(4), Value: k.HWID})
	}
	return out, nil
}

// key returns the private key of a chip, or of a cloud's VLEK, at a TCB.
func (v *Vendor) key(kind SigningKey, owner []byte, tcb TCB) (*ecdsa.PrivateKey, error) {
	parts := []byte{tcb.FMC, tcb.BootLoader, tcb.TEE, tcb.SNP, tcb.Microcode}
	return pki.DeriveKey(elliptic.P384(), v.seed, []byte(v.product), []byte{byte(kind)}, owner, parts)
}
