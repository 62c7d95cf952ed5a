package nitro

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"math/big"
	"slices"
	"time"

	"github.com/sworn-run/sworn/attest"
)

// Kind tells whose registers a document has.
type Kind uint8

// The kinds of documents. The zero Kind is none.
const (
	// Enclave is a Nitro enclave's: the registers are in "pcrs".
	Enclave Kind = 1
	// TPM is that of the virtual TPM of an instance: they are in "nitrotpm_pcrs".
	TPM Kind = 2
)

// Bounds on hostile input, those of AWS's attestation process where it has one
// (syntactical validation of the attestation document). Genuine documents have
// about 4.5 KiB, with 16 or 24 registers and 4 certificates of at most 800 bytes in the bundle.
const (
	maxDocument    = 16 << 10
	maxModuleID    = 256
	maxRegisters   = 32
	maxCertificate = 1024
	maxBundle      = 8
	maxData        = 1024
	maxMembers     = 9
	maxMemberName  = 16
	// maxTime is the last millisecond of the year 9999.
	maxTime = 253402300799999
)

// sizeSignature is that of r and s under ES384 (RFC 9053, 2.1).
const sizeSignature = 96

// protected is the protected header, {1: -35}: the algorithm is ES384 (RFC 9053,
// 2.1), and there is no other parameter.
const protected = "\xA1\x01\x38\x22"

// begin is what every document begins with: an array of four, the protected header as
// a byte string, and an empty map for the unprotected one.
const begin = "\x84\x44" + protected + "\xA0"

// beginSigned is what Sig_structure begins with (RFC 9052, 4.4): an array of four,
// the context, the protected header, and no external data.
const beginSigned = "\x84\x6ASignature1\x44" + protected + "\x40"

// document is a COSE_Sign1 and its payload, parsed.
type document struct {
	kind               Kind
	payload, signature []byte

	moduleID  string
	time      time.Time
	registers []attest.RegisterValue
	publicKey []byte
	userData  []byte
	nonce     []byte
	// chain is the certificate of the key that signed, its issuer, and so on up to
	// the root.
	chain []*x509.Certificate
}

// parseDocument parses exactly the bytes of a document. It keeps its own copy of b.
func parseDocument(b []byte) (*document, error) {
	if len(b) > maxDocument {
		return nil, fmt.Errorf("document of %d bytes, limit %d: %w", len(b), maxDocument, attest.ErrForm)
	}
	if !IsDocument(b) {
		return nil, fmt.Errorf("document is no untagged COSE_Sign1 under ES384 alone: %w", attest.ErrForm)
	}
	r := reader{b: bytes.Clone(b)[len(begin):]}
	d := &document{}
	var err error
	if d.payload, err = r.bytes(1, maxDocument); err != nil {
		return nil, fmt.Errorf("document, payload: %w", err)
	}
	if d.signature, err = r.bytes(sizeSignature, sizeSignature); err != nil {
		return nil, fmt.Errorf("document, signature: %w", err)
	}
	if err := r.done(); err != nil {
		return nil, fmt.Errorf("document: %w", err)
	}
	if err := d.parsePayload(); err != nil {
		return nil, fmt.Errorf("document, payload: %w", err)
	}
	return d, nil
}

// parsePayload reads the map that is signed. Members may stand in any order.
func (d *document) parsePayload() error {
	r := reader{b: d.payload}
	seen := map[string]bool{}
	err := r.each(majorMap, maxMembers, func() error {
		name, err := r.text(maxMemberName)
		if err != nil {
			return err
		}
		if seen[name] {
			return errCBOR("member %q stands twice", name)
		}
		seen[name] = true
		if err := d.member(&r, name); err != nil {
			return fmt.Errorf("member %q: %w", name, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := r.done(); err != nil {
		return err
	}
	for _, name := range []string{"module_id", "digest", "timestamp", "certificate", "cabundle"} {
		if !seen[name] {
			return errCBOR("no member %q", name)
		}
	}
	if d.kind == 0 {
		return errCBOR("no registers")
	}
	return nil
}

// member reads the value of a member.
func (d *document) member(r *reader, name string) (err error) {
	switch name {
	case "module_id":
		d.moduleID, err = r.text(maxModuleID)
		if err == nil && !printable(d.moduleID) {
			err = errCBOR("not printable ASCII without blanks")
		}
	case "digest":
		var s string
		if s, err = r.text(maxMemberName); err == nil && s != "SHA384" {
			err = errCBOR("%q, want SHA384", s)
		}
	case "timestamp":
		var ms uint64
		if ms, err = r.uint(); err == nil && (ms == 0 || ms > maxTime) {
			err = errCBOR("%d ms", ms)
		}
		d.time = time.UnixMilli(int64(ms)).UTC()
	case "pcrs":
		err = d.readRegisters(r, Enclave)
	case "nitrotpm_pcrs":
		err = d.readRegisters(r, TPM)
	case "certificate":
		err = d.readCertificate(r, 0)
	case "cabundle":
		// From the root down: the chain is the other way round, and its first
		// place is the certificate's, whichever of them stands first.
		err = r.each(majorArray, maxBundle, func() error { return d.readCertificate(r, 1) })
	case "public_key":
		d.publicKey, err = r.optional(maxData)
	case "user_data":
		d.userData, err = r.optional(maxData)
	case "nonce":
		d.nonce, err = r.optional(maxData)
	default:
		err = errCBOR("unknown")
	}
	return err
}

// printable reports whether s is printable ASCII without blanks.
func printable(s string) bool {
	return !slices.ContainsFunc([]byte(s), func(c byte) bool { return c <= ' ' || c > '~' })
}

// readRegisters reads the registers, of one kind: digests of the document's algorithm,
// none twice, in any order.
func (d *document) readRegisters(r *reader, kind Kind) error {
	if d.kind != 0 {
		return errCBOR("registers of an enclave and of a TPM")
	}
	d.kind = kind
	err := r.each(majorMap, maxRegisters, func() error {
		index, err := r.uint()
		if err != nil {
			return err
		}
		if index >= maxRegisters || d.register(uint32(index)) != nil {
			return errCBOR("register %d is none, or stands twice", index)
		}
		v, err := r.bytes(attest.SHA384.Size(), attest.SHA384.Size())
		d.registers = append(d.registers, attest.RegisterValue{Bank: attest.SHA384, Index: uint32(index), Value: v})
		return err
	})
	slices.SortFunc(d.registers, func(a, b attest.RegisterValue) int { return int(a.Index) - int(b.Index) })
	return err
}

// register returns the value of a register; nil if the document does not have it.
func (d *document) register(index uint32) []byte {
	for _, v := range d.registers {
		if v.Index == index {
			return v.Value
		}
	}
	return nil
}

// readCertificate reads a certificate, exact DER, and puts it into the chain: at
// place 0 that of the key that signed, at place 1 an issuer, before those that were
// read earlier.
func (d *document) readCertificate(r *reader, place int) error {
	der, err := r.bytes(1, maxCertificate)
	if err != nil {
		return err
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return errCBOR("certificate: %v", err)
	}
	if len(d.chain) == 0 {
		d.chain = []*x509.Certificate{nil}
	}
	if place == 0 {
		d.chain[0] = c
	} else {
		d.chain = slices.Insert(d.chain, place, c)
	}
	return nil
}

// verifySignature checks the signature over Sig_structure (RFC 9052, 4.4) with the
// received bytes, by the key of the first certificate. Every error wraps
// ErrSignature.
func (d *document) verifySignature() error {
	k, ok := d.chain[0].PublicKey.(*ecdsa.PublicKey)
	if !ok || k.Curve != elliptic.P384() {
		return fmt.Errorf("ES384 by a key that is not on P-384: %w", attest.ErrSignature)
	}
	digest := attest.SHA384.Sum(appendBytes([]byte(beginSigned), d.payload))
	r, s := new(big.Int).SetBytes(d.signature[:48]), new(big.Int).SetBytes(d.signature[48:])
	if !ecdsa.Verify(k, digest, r, s) {
		return fmt.Errorf("ES384 by the key of %s: %w", subject(d.chain[0]), attest.ErrSignature)
	}
	return nil
}

// details returns the decoded fields under AWS's names, in the order of its
// specification.
func (d *document) details() []attest.Detail {
	out := []attest.Detail{
		{Name: "module_id", Value: d.moduleID},
		{Name: "timestamp", Value: d.time.Format("2006-01-02T15:04:05.000Z07:00")},
		{Name: "digest", Value: "SHA384"},
	}
	prefix := "pcrs"
	if d.kind == TPM {
		prefix = "nitrotpm_pcrs"
	}
	for _, v := range d.registers {
		out = append(out, attest.Detail{Name: fmt.Sprintf("%s[%d]", prefix, v.Index), Value: hex.EncodeToString(v.Value)})
	}
	leaf := d.chain[0]
	out = append(out, attest.Detail{Name: "certificate", Value: fmt.Sprintf("%s, valid from %s until %s",
		subject(leaf), leaf.NotBefore.UTC().Format(time.RFC3339), leaf.NotAfter.UTC().Format(time.RFC3339))})
	for i, c := range slices.Backward(d.chain[1:]) {
		out = append(out, attest.Detail{Name: fmt.Sprintf("cabundle[%d]", len(d.chain)-2-i), Value: subject(c)})
	}
	return append(out,
		attest.Detail{Name: "public_key", Value: orNone(d.publicKey)},
		attest.Detail{Name: "user_data", Value: orNone(d.userData)},
		attest.Detail{Name: "nonce", Value: orNone(d.nonce)})
}

// orNone returns b in hex, "empty", or "none" for what is not there.
func orNone(b []byte) string {
	switch {
	case b == nil:
		return "none"
	case len(b) == 0:
		return "empty"
	default:
		return hex.EncodeToString(b)
	}
}
