package tpm

import (
	"bytes"
	"crypto/x509"
	"fmt"

	"github.com/sworn-run/sworn/attest"
)

// The names of the parts, in the order in which they must stand.
const (
	// PartAttest is the TPMS_ATTEST as the TPM returned it, without the size
	// field of TPM2B_ATTEST.
	PartAttest = "attest"
	// PartSignature is the TPMT_SIGNATURE over PartAttest.
	PartSignature = "signature"
	// PartPublic is the TPMT_PUBLIC of the AK, without the size field of
	// TPM2B_PUBLIC.
	PartPublic = "public"
	// PartParent is the Name of the storage key under which the AK was
	// created: 2 bytes of algorithm and the digest. It is there exactly if the
	// AK is a child and not a primary key.
	PartParent = "parent"
	// PartPCRs are the digests of the selected registers, concatenated in the
	// order of the signed selection: bank by bank, ascending.
	PartPCRs = "pcrs"
	// PartNVPublic is the TPMS_NV_PUBLIC of the launch counter's NV index, without
	// the size field of TPM2B_NV_PUBLIC, as it is once the counter has counted. It
	// and the next two are there together, exactly if the statement's body has a
	// counter.
	PartNVPublic = "nv-public"
	// PartNVAttest is the TPMS_ATTEST of TPM2_NV_Certify over the whole counter.
	PartNVAttest = "nv-attest"
	// PartNVSignature is the TPMT_SIGNATURE over PartNVAttest, by the same AK.
	PartNVSignature = "nv-signature"
	// PartCertificate is one DER certificate: first the AK's own, then each
	// issuer of the one before. There may be none, and at most 6.
	PartCertificate = "certificate"
)

// Parts are the pieces of one quote, each encoded as its Part constant says.
type Parts struct {
	// Attest, Signature and Public are the TPM's structures.
	Attest, Signature, Public []byte
	// Parent is the Name of the AK's parent; nil for a primary key.
	Parent []byte
	// PCRs are the selected registers' digests.
	PCRs []byte
	// NVPublic, NVAttest and NVSignature certify the launch counter; all nil
	// without one.
	NVPublic, NVAttest, NVSignature []byte
	// Certificates are the AK's certificate and its issuers; nil if it has
	// none.
	Certificates [][]byte
}

// NewEvidence puts the parts of one quote in the format's order for the given
// slot. It copies nothing. The error wraps [attest.ErrForm] if a part does not
// parse exactly, or [attest.ErrArgument] if p is nil; that the quote verifies
// is not checked.
func NewEvidence(slot uint8, p *Parts) (*attest.Evidence, error) {
	if p == nil {
		return nil, fmt.Errorf("making evidence of nil parts: %w", attest.ErrArgument)
	}
	ev := &attest.Evidence{Slot: slot, Format: Format, Parts: []attest.Part{
		{Name: PartAttest, Data: p.Attest},
		{Name: PartSignature, Data: p.Signature},
		{Name: PartPublic, Data: p.Public},
	}}
	if p.Parent != nil {
		ev.Parts = append(ev.Parts, attest.Part{Name: PartParent, Data: p.Parent})
	}
	ev.Parts = append(ev.Parts, attest.Part{Name: PartPCRs, Data: p.PCRs})
	if p.NVPublic != nil || p.NVAttest != nil || p.NVSignature != nil {
		ev.Parts = append(ev.Parts, attest.Part{Name: PartNVPublic, Data: p.NVPublic},
			attest.Part{Name: PartNVAttest, Data: p.NVAttest}, attest.Part{Name: PartNVSignature, Data: p.NVSignature})
	}
	for _, c := range p.Certificates {
		ev.Parts = append(ev.Parts, attest.Part{Name: PartCertificate, Data: c})
	}
	if _, err := parseEvidence(ev); err != nil {
		return nil, err
	}
	return ev, nil
}

// QuotedRegister returns the value of a register in a bank as the evidence states it,
// nil if it states none. Nothing is verified: it serves whoever made the evidence. The
// error is that of [Scheme.Verify] for parts that do not parse.
func QuotedRegister(ev *attest.Evidence, bank attest.Alg, index uint32) ([]byte, error) {
	if ev == nil {
		return nil, fmt.Errorf("reading a register of nil evidence: %w", attest.ErrArgument)
	}
	e, err := parseEvidence(ev)
	if err != nil {
		return nil, err
	}
	for _, r := range e.registers {
		if r.Bank == bank && r.Index == index {
			return bytes.Clone(r.Value), nil
		}
	}
	return nil, nil
}

// evidence is the parts, parsed.
type evidence struct {
	quote        *quote
	signature    *signature
	public       *public
	parent       []byte
	registers    []attest.RegisterValue
	counter      *counter
	certificates []*x509.Certificate
}

// parseEvidence parses all parts; nothing is verified yet.
func parseEvidence(ev *attest.Evidence) (*evidence, error) {
	if ev.Format != Format {
		return nil, fmt.Errorf("evidence of format %d, want %d: %w", ev.Format, Format, attest.ErrForm)
	}
	p, err := splitParts(ev.Parts)
	if err != nil {
		return nil, err
	}
	e := &evidence{}
	if e.quote, err = parseQuote(p.Attest); err != nil {
		return nil, fmt.Errorf("parsing part %q: %w", PartAttest, err)
	}
	if e.signature, err = parseSignature(p.Signature); err != nil {
		return nil, fmt.Errorf("parsing part %q: %w", PartSignature, err)
	}
	if e.public, err = parsePublic(p.Public); err != nil {
		return nil, fmt.Errorf("parsing part %q: %w", PartPublic, err)
	}
	if p.Parent != nil {
		if e.parent, err = parseName(p.Parent); err != nil {
			return nil, fmt.Errorf("parsing part %q: %w", PartParent, err)
		}
	}
	if e.registers, err = e.quote.split(p.PCRs); err != nil {
		return nil, fmt.Errorf("parsing part %q: %w", PartPCRs, err)
	}
	if e.counter, err = parseCounter(p); err != nil {
		return nil, err
	}
	for i, der := range p.Certificates {
		// Hiding the library's error type is deliberate; its text helps people.
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("parsing certificate %d: %v: %w", i, err, attest.ErrForm)
		}
		e.certificates = append(e.certificates, c)
	}
	return e, nil
}

// splitParts takes the parts by name, in the one order, each within its bound.
func splitParts(parts []attest.Part) (*Parts, error) {
	if len(parts) > maxParts {
		return nil, fmt.Errorf("%d parts, limit %d: %w", len(parts), maxParts, attest.ErrForm)
	}
	p := &Parts{}
	for _, want := range []struct {
		name     string
		limit    int
		optional bool
		to       *[]byte
	}{
		{PartAttest, maxAttest, false, &p.Attest},
		{PartSignature, maxSignature, false, &p.Signature},
		{PartPublic, maxPublic, false, &p.Public},
		{PartParent, maxName, true, &p.Parent},
		{PartPCRs, maxPCRs, false, &p.PCRs},
		{PartNVPublic, maxNVPublic, true, &p.NVPublic},
		{PartNVAttest, maxAttest, true, &p.NVAttest},
		{PartNVSignature, maxSignature, true, &p.NVSignature},
	} {
		if len(parts) == 0 || parts[0].Name != want.name {
			if want.optional {
				continue
			}
			return nil, fmt.Errorf("part %q is not where it belongs: %w", want.name, attest.ErrForm)
		}
		if err := checkSize(&parts[0], want.limit); err != nil {
			return nil, err
		}
		*want.to, parts = parts[0].Data, parts[1:]
	}
	for i := range parts {
		if parts[i].Name != PartCertificate {
			return nil, fmt.Errorf("part %.40q is unknown, duplicate or out of order: %w", parts[i].Name, attest.ErrForm)
		}
		if err := checkSize(&parts[i], maxCertificate); err != nil {
			return nil, err
		}
		if i == maxCertificates {
			return nil, fmt.Errorf("more than %d certificates: %w", maxCertificates, attest.ErrForm)
		}
		p.Certificates = append(p.Certificates, parts[i].Data)
	}
	return p, nil
}

// checkSize refuses a part that is empty or larger than limit.
func checkSize(p *attest.Part, limit int) error {
	if len(p.Data) == 0 || len(p.Data) > limit {
		return fmt.Errorf("part %q of %d bytes, want 1 to %d: %w", p.Name, len(p.Data), limit, attest.ErrForm)
	}
	return nil
}

// checkDigest compares pcrDigest with the register values. TPM2_Quote hashes
// them with the hash of the signing scheme, whatever the bank (Part 3, 18.4).
func (e *evidence) checkDigest() error {
	values := make([][]byte, len(e.registers))
	for i := range e.registers {
		values[i] = e.registers[i].Value
	}
	if !bytes.Equal(e.signature.hash.Sum(values...), e.quote.digest) {
		return fmt.Errorf("the signed digest is not that of the register values: %w", attest.ErrSignature)
	}
	return nil
}

// rhEndorsement is TPM_RH_ENDORSEMENT (Part 2, 7.4), the root of qualified
// names in the endorsement hierarchy.
var rhEndorsement = [4]byte{0x40, 0x00, 0x00, 0x0B}

// checkSigner compares qualifiedSigner with the qualified name that the AK has
// in the endorsement hierarchy (Part 1, 26.5: QN = hash of the parent's QN and
// the Name; a hierarchy's QN is its handle). Elsewhere the TPM obfuscates its
// counters and firmware version (Part 2, 10.12.12), so that a mismatch is
// genuine evidence of an unacceptable kind: ErrMode.
func (e *evidence) checkSigner() error {
	if !bytes.Equal(e.qualifiedName(), e.quote.qualifiedSigner) {
		return fmt.Errorf("not this AK in the endorsement hierarchy: %w", attest.ErrMode)
	}
	return nil
}

// qualifiedName returns the AK's qualified name in the endorsement hierarchy.
func (e *evidence) qualifiedName() []byte {
	ancestor := rhEndorsement[:]
	if e.parent != nil {
		ancestor = qualifiedName(ancestor, e.parent)
	}
	return qualifiedName(ancestor, e.public.name())
}

// device identifies the TPM: the storage key above a child AK is the same for
// every launch, and so is a primary AK itself.
func (e *evidence) device() [32]byte {
	if e.parent != nil {
		return keyID(e.parent)
	}
	return keyID(e.public.name())
}
