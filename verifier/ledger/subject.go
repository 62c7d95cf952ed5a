package ledger

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
)

// Subject is what one piece of genuine evidence shows of itself, in the words of a
// [Selector]. What it does not state is empty, and then holds for no value.
type Subject struct {
	// Format is the name of the evidence format.
	Format string
	// Root is the key of the root that the chain was established to end in.
	Root string
	// Keys are those of the key that quoted, and of the chain above it.
	Keys []string
	// KeyID, Device: see [Selector].
	KeyID string
	// Device is the name of the TPM.
	Device string
	// Product is the vendor's name of the hardware.
	Product string
	// Manufacturer is the TPM's maker, where its certificate shows it.
	Manufacturer string
	// Firmware is a TPM's, in 16 hexadecimal digits.
	Firmware string
	// KeyType is that of the key that quoted.
	KeyType string
	// Weaknesses are those that show in Keys.
	Weaknesses []string
	// Versions and Attributes are the numbers that the evidence states, by name.
	Versions map[string]uint64
	// Attributes are the others.
	Attributes map[string]uint64
	// Measurements are the digests that it states, by name.
	Measurements map[string][]byte
}

// SubjectOf returns the subject of claims of the named format; nil for nil claims.
func SubjectOf(format string, c *attest.Claims) *Subject {
	if c == nil {
		return nil
	}
	x := &Subject{
		Format: format, Product: c.Product, Manufacturer: c.Manufacturer,
		KeyID: digestOrNone(c.KeyID), Device: digestOrNone(c.Device),
		Versions: numbers(c.TCB.Versions), Attributes: numbers(c.Attributes), Measurements: map[string][]byte{},
	}
	if c.Identity.Status == attest.Passed && c.Identity.Root != nil && c.Identity.Root.Certificate != nil {
		x.Root = cer.SHA256Digest(sha256.Sum256(c.Identity.Root.Certificate.RawSubjectPublicKeyInfo))
	}
	for i, k := range c.Keys {
		x.Keys = append(x.Keys, cer.SHA256Digest(sha256.Sum256(k.SPKI)))
		key, err := x509.ParsePKIXPublicKey(k.SPKI)
		if err != nil {
			continue
		}
		switch key := key.(type) {
		case *rsa.PublicKey:
			if i == 0 {
				x.KeyType = KeyRSA
			}
			if x.Weaknesses == nil && isROCA(key.N) {
				x.Weaknesses = []string{WeaknessROCA}
			}
		case *ecdsa.PublicKey:
			if i == 0 {
				x.KeyType = KeyECDSA
			}
		}
	}
	if c.Counters != nil {
		x.Firmware = fmt.Sprintf("%016x", c.Counters.Firmware)
	}
	for _, m := range c.Measurements {
		x.Measurements[m.Name] = m.Value
	}
	return x
}

// What describes the evidence in a few words, such as "sev-snp Milan".
func (x *Subject) What() string {
	switch {
	case x == nil:
		return ""
	case x.Product != "":
		return x.Format + " " + x.Product
	case x.Manufacturer != "":
		return x.Format + " " + x.Manufacturer
	default:
		return x.Format
	}
}

// digestOrNone returns the digest in hexadecimal, "" for zeros.
func digestOrNone(d [32]byte) string {
	if d == [32]byte{} {
		return ""
	}
	return hex.EncodeToString(d[:])
}

// numbers returns the numbers by their names.
func numbers(list []attest.Attribute) map[string]uint64 {
	out := make(map[string]uint64, len(list))
	for _, a := range list {
		out[a.Name] = a.Value
	}
	return out
}
