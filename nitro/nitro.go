// Package nitro appraises the documents that the AWS Nitro hypervisor signs for an
// enclave: is this document genuine, and what does it state? It is the
// [attest.Scheme] of format 7, "nitro".
//
// The evidence is the document alone, byte for byte as the hypervisor's device
// returns it: an untagged COSE_Sign1 (RFC 9052, 4.2) under ES384 over a CBOR map with
// the enclave's registers, what the enclave asked to have signed, and the
// certificates from the key that signed up to the root of AWS. It is parsed exactly:
// another algorithm, a member that is unknown or stands twice, a number that is not
// written in the shortest form, a byte too many, and the document is refused.
//
// # What a document proves
//
// Claims exist only if the signature verifies over the bytes received with the key of
// the certificate in the document, and the document tells what was launched: the
// hypervisor gives zeros for registers 0 to 2 of an enclave in debug mode, whose
// memory its parent reads. Whose certificate it is, is a finding: the chain in the
// document must end in a root of role "aws-nitro".
//
// The certificate of the key that signed lives for three hours. A document that is
// judged later than that has nobody who vouches for it at that time; the time that
// stands in the document is its signer's word and is reported, never judged by.
//
// # What nothing signs
//
// Every byte but those of the signature is signed or fixed by the form. An ECDSA
// signature has a second form, (r, n-s), that verifies as well; whoever needs to
// tell the two apart must digest the evidence itself, as [attest.EvidenceDigest] does.
//
// # NitroTPM
//
// The same hypervisor signs documents with the registers of an instance's virtual TPM.
// They are no evidence of this format, and the scheme refuses them; [Appraise] reads
// both kinds, for who has such a document without a record.
package nitro

import (
	"bytes"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"strconv"
	"time"

	"github.com/sworn-run/sworn/attest"
)

// Format is the registry number of the evidence format of this package.
const Format attest.Format = 7

// Role is the role of AWS's roots (docs/SPEC.md, section 9.4).
const Role = "aws-nitro"

// PartDocument is the name of the only part: the document as the device returned it,
// an untagged COSE_Sign1 of at most 16 KiB.
const PartDocument = "document"

// imageRegisters is the number of the first registers, which the hypervisor extends
// with what was launched: the whole image, kernel and boot ramdisk, application.
const imageRegisters = 3

// Scheme appraises documents of Nitro enclaves. Its zero value is ready to use, and
// safe for concurrent use.
type Scheme struct{}

var _ attest.Scheme = Scheme{}

// Describe returns the constants of the format: direct binding in 64 bytes of
// user_data (SHA-512), a log that the statement alone keeps, identities of role
// "aws-nitro". Its measurements are the registers "pcr0" to "pcr31", of 48 bytes
// (SHA-384) each; claims have those that the document has. Registers 0 to 2 identify
// what was launched.
func (Scheme) Describe() attest.Description {
	d := attest.Description{
		Format:        Format,
		Name:          "nitro",
		Mode:          attest.ModeDirect,
		Anchor:        attest.AnchorStatementOnly,
		QuotedHash:    attest.SHA512,
		RootRole:      Role,
		NotApplicable: []string{"slot.tcb", "slot.counters", "collateral.coherent"},
	}
	for i := range uint32(maxRegisters) {
		d.Measurements = append(d.Measurements, attest.MeasurementField{
			Name: registerName(i), Size: attest.SHA384.Size(), Image: i < imageRegisters,
		})
	}
	return d
}

// registerName is the name of a register as a measurement.
func registerName(index uint32) string { return "pcr" + strconv.FormatUint(uint64(index), 10) }

// NewEvidence makes the evidence of a document for the given slot. It copies nothing.
// The error wraps [attest.ErrForm] if the document does not parse exactly or is not an
// enclave's; that it verifies is not checked.
func NewEvidence(slot uint8, document []byte) (*attest.Evidence, error) {
	ev := &attest.Evidence{Slot: slot, Format: Format, Parts: []attest.Part{{Name: PartDocument, Data: document}}}
	if _, err := parseEvidence(ev); err != nil {
		return nil, err
	}
	return ev, nil
}

// Verify checks the document in ev and returns what it states. Identity and
// revocation are judged against the roots of role "aws-nitro" in anchors at time at;
// nil anchors leave them not established. Collateral items of kind
// [attest.CollateralCRL] are the revocation lists that the certificates name.
// Claims.Quoted is user_data as it stands, of whatever length, nil if there is none:
// comparing it is the caller's part. KeyID is zeros: the key is made for one document
// or few, and the certificate in the document names it.
//
// The error wraps [attest.ErrArgument] for nil evidence or a zero time,
// [attest.ErrForm] for a document that does not parse exactly or is not an enclave's,
// [attest.ErrSignature] if the signature does not cover what was received, and
// [attest.ErrMode] for an enclave in debug mode, or whose launched image the document
// does not state.
func (Scheme) Verify(ev *attest.Evidence, anchors *attest.Anchors, at time.Time) (*attest.Claims, error) {
	if ev == nil {
		return nil, fmt.Errorf("verifying nil evidence: %w", attest.ErrArgument)
	}
	if at.IsZero() {
		return nil, fmt.Errorf("verifying a document at the zero time: %w", attest.ErrArgument)
	}
	d, err := parseEvidence(ev)
	if err != nil {
		return nil, err
	}
	if err := d.verify(); err != nil {
		return nil, err
	}
	a := d.appraise(ev.Collateral, anchors, at)
	c := &attest.Claims{
		Format:     Format,
		Quoted:     d.userData,
		Keys:       d.keys(),
		Identity:   a.identity,
		Revocation: a.revocation,
		TCB: attest.TCB{Finding: attest.Finding{
			Status: attest.NotApplicable,
			Detail: "AWS publishes no TCB level of its hypervisor",
		}},
		Used:    a.used,
		Spare:   d.spares(ev.Collateral, a.used),
		Details: d.details(),
	}
	for _, r := range d.registers {
		c.Measurements = append(c.Measurements, attest.Measurement{Name: registerName(r.Index), Value: r.Value})
	}
	return c, nil
}

// keys returns those of the document's certificates, that of the key that signed first.
func (d *document) keys() []attest.Key {
	var out []attest.Key
	for _, c := range d.chain {
		out = append(out, attest.Key{What: subject(c), SPKI: c.RawSubjectPublicKeyInfo})
	}
	return out
}

// parseEvidence parses the one part.
func parseEvidence(ev *attest.Evidence) (*document, error) {
	switch {
	case ev.Format != Format:
		return nil, fmt.Errorf("evidence of format %d, want %d: %w", ev.Format, Format, attest.ErrForm)
	case len(ev.Parts) != 1 || ev.Parts[0].Name != PartDocument:
		return nil, fmt.Errorf("evidence of %d parts, want one, %q: %w", len(ev.Parts), PartDocument, attest.ErrForm)
	}
	d, err := parseDocument(ev.Parts[0].Data)
	if err != nil {
		return nil, err
	}
	if d.kind != Enclave {
		return nil, fmt.Errorf("the document is a NitroTPM's: %w", attest.ErrForm)
	}
	return d, nil
}

// verify establishes that the document is genuine and of an acceptable kind.
func (d *document) verify() error {
	if err := d.verifySignature(); err != nil {
		return fmt.Errorf("verifying the document's signature: %w", err)
	}
	if d.kind != Enclave {
		return nil
	}
	for i := range uint32(imageRegisters) {
		switch v := d.register(i); {
		case v == nil:
			return fmt.Errorf("register %d, of what was launched, is not in the document: %w", i, attest.ErrMode)
		case bytes.Equal(v, make([]byte, len(v))):
			return fmt.Errorf("register %d, of what was launched, is zeros: the enclave is in debug mode: %w", i, attest.ErrMode)
		}
	}
	return nil
}

// Appraisal is what [Appraise] found of a document.
type Appraisal struct {
	// Kind tells whose registers these are.
	Kind Kind
	// ModuleID is the hypervisor's name of the enclave or instance.
	ModuleID string
	// Time is when the document was made, in UTC, by its signer's word.
	Time time.Time
	// Registers are ascending, of bank SHA-384.
	Registers []attest.RegisterValue
	// PublicKey, UserData and Nonce are what whoever asked for the document had it
	// say, at most 1 KiB each; nil for what was not given. PublicKey should be a
	// SubjectPublicKeyInfo in DER, and nothing checks that it is.
	PublicKey, UserData, Nonce []byte
	// Identity and Revocation are those of [Scheme.Verify].
	Identity   attest.Identity
	Revocation attest.Finding
	// Used are the collateral items that were relied on, ascending by index.
	Used []attest.Use
	// Details are the decoded fields under AWS's names.
	Details []attest.Detail
}

// Appraise checks a document of either kind that came without a record. It says of
// an enclave's what [Scheme.Verify] says; a NitroTPM's has no mode, because zeros are
// values that a TPM's registers have. The error is that of Scheme.Verify.
func Appraise(doc []byte, collateral []attest.Collateral, anchors *attest.Anchors, at time.Time) (*Appraisal, error) {
	if at.IsZero() {
		return nil, fmt.Errorf("appraising a document at the zero time: %w", attest.ErrArgument)
	}
	d, err := parseDocument(doc)
	if err != nil {
		return nil, err
	}
	if err := d.verify(); err != nil {
		return nil, err
	}
	a := d.appraise(collateral, anchors, at)
	return &Appraisal{
		Kind: d.kind, ModuleID: d.moduleID, Time: d.time, Registers: d.registers,
		PublicKey: d.publicKey, UserData: d.userData, Nonce: d.nonce,
		Identity: a.identity, Revocation: a.revocation, Used: a.used, Details: d.details(),
	}, nil
}

// KindOf tells whose document b is, by its form alone: nothing is verified. The error
// wraps [attest.ErrForm].
func KindOf(b []byte) (Kind, error) {
	d, err := parseDocument(b)
	if err != nil {
		return 0, err
	}
	return d.kind, nil
}

// Details returns the decoded fields of a document of either kind under AWS's names, and
// the certificates in it, that of the key that signed first. Nothing is verified. The
// error wraps [attest.ErrForm].
func Details(doc []byte) ([]attest.Detail, []*x509.Certificate, error) {
	d, err := parseDocument(doc)
	if err != nil {
		return nil, nil, err
	}
	return append(d.details(), attest.Detail{Name: "signature", Value: hex.EncodeToString(d.signature)}), d.chain, nil
}

// IsDocument reports whether b begins as every document does that this package may
// read: an array of four whose protected header says ES384, and no other header. A
// broken one does too, and [KindOf] says why it is none.
func IsDocument(b []byte) bool { return bytes.HasPrefix(b, []byte(begin)) }
