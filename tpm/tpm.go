// Package tpm appraises TPM 2.0 quotes: is this quote genuine, and what does
// it state? It is the [attest.Scheme] of format 1, "tpm".
//
// The evidence of a quote is the TPM's own structures, byte for byte: the
// TPMS_ATTEST, the TPMT_SIGNATURE over it, the TPMT_PUBLIC of the attestation
// key (AK), the Name of the AK's parent where it has one, the register values,
// and the AK's certificates. [Parts] names them and [NewEvidence] puts them in
// order. They are parsed exactly: a byte too many, an algorithm not listed
// here, an encoding the TPM would not write, and the evidence is refused.
//
// # What the quote proves
//
// Claims exist only if the signature verifies over the bytes received with the
// key in "public", the digest that it covers is that of the register values,
// the key is of a kind that signs nothing but what the TPM itself generated
// (restricted) and cannot leave its TPM, and the qualified name that the TPM
// signed places this very key in the endorsement hierarchy, where the counters
// are clear. Whose TPM it is, is a finding: the AK's certificate must chain to
// a root of role "tpm-ak".
//
// # The launch counter
//
// Beside the quote the same AK may certify an NV counter, which its TPM never
// lets go back ("nv-public", "nv-attest", "nv-signature"). Only an index whose
// public area, by the Name that is signed, makes it such a counter counts.
//
// # What nothing signs
//
// Every part is covered: "attest" by the signature, "pcrs" by the digest in
// it, "public" and "parent" by the qualified name in it, "nv-attest" by its own
// signature, "nv-public" by the Name in it, the certificates by their issuers. An ECDSA signature has a second form, (r, n-s), that verifies
// as well; whoever needs to tell the two apart must digest the evidence itself,
// as [attest.EvidenceDigest] does.
//
// Clauses are those of the TPM 2.0 Library Specification, revision 1.59 ("Part
// 2, 10.12.12").
package tpm

import (
	"bytes"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/sworn-run/sworn/attest"
)

// Format is the registry number of the evidence format of this package.
const Format attest.Format = 1

// rootRole is the role of those who certify AKs.
const rootRole = "tpm-ak"

// Scheme appraises TPM 2.0 quotes. Its zero value is ready to use, and safe
// for concurrent use.
type Scheme struct{}

var _ attest.Scheme = Scheme{}

// Describe returns the constants of the format: direct binding in 32 bytes of
// SHA-256, a register that keeps the log, identities of role "tpm-ak".
func (Scheme) Describe() attest.Description {
	return attest.Description{
		Format:        Format,
		Name:          "tpm",
		Mode:          attest.ModeDirect,
		Anchor:        attest.AnchorRegister,
		QuotedHash:    attest.SHA256,
		RootRole:      rootRole,
		NotApplicable: []string{"slot.tcb", "collateral.coherent"},
	}
}

// Verify checks the quote in ev and returns what it states. Identity and
// revocation are judged against the roots of role "tpm-ak" in anchors at time
// at; nil anchors leave them not established. Claims.Quoted is extraData as it
// stands, of whatever length: comparing it is the caller's part.
//
// The error wraps [attest.ErrArgument] for nil evidence or a zero time,
// [attest.ErrForm] for parts that do not parse exactly, [attest.ErrSignature]
// if the signature or the digest in it does not cover what was received or the
// key is too weak to prove anything, and [attest.ErrMode] for a key that is not
// a restricted signing key, fixed in its TPM, in the endorsement hierarchy, or
// for a certified NV index that is no counter.
func (Scheme) Verify(ev *attest.Evidence, anchors *attest.Anchors, at time.Time) (*attest.Claims, error) {
	if ev == nil {
		return nil, fmt.Errorf("verifying nil evidence: %w", attest.ErrArgument)
	}
	if at.IsZero() {
		return nil, fmt.Errorf("verifying a quote at the zero time: %w", attest.ErrArgument)
	}
	e, err := parseEvidence(ev)
	if err != nil {
		return nil, err
	}
	if err := e.verify(); err != nil {
		return nil, err
	}
	identity, revocation := e.appraiseIdentity(anchors, at)
	return &attest.Claims{
		Format:     Format,
		KeyID:      keyID(e.public.name()),
		Quoted:     e.quote.extraData,
		Registers:  e.registers,
		Counters:   e.quote.counters(),
		Counter:    e.counter.claim(),
		Device:     e.device(),
		Keys:       e.keys(),
		Identity:   identity,
		Revocation: revocation,
		TCB: attest.TCB{Finding: attest.Finding{
			Status: attest.NotApplicable,
			Detail: "a TPM publishes no TCB level; its firmware version is in the counters",
		}},
		Manufacturer: e.manufacturer(),
		Details:      e.details(),
	}, nil
}

// keys returns the AK, then the keys that its certificates and those above are of.
func (e *evidence) keys() []attest.Key {
	var out []attest.Key
	if k, err := e.public.key(); err == nil {
		if der, err := x509.MarshalPKIXPublicKey(k); err == nil {
			out = append(out, attest.Key{What: "AK", SPKI: der})
		}
	}
	for i, c := range e.certificates {
		if i > 0 {
			out = append(out, attest.Key{What: subject(c), SPKI: c.RawSubjectPublicKeyInfo})
		}
	}
	return out
}

// manufacturer returns the TCG vendor id in the AK's certificate as text, such as "STM";
// "" if there is none, or one that is no text.
func (e *evidence) manufacturer() string {
	if len(e.certificates) == 0 {
		return ""
	}
	san := extension(e.certificates[0], oidSubjectAltName)
	if san == nil {
		return ""
	}
	name, ok := parseTCGName(san.Value)
	if !ok {
		return ""
	}
	return vendorText(name.manufacturer)
}

// vendorText turns "id:53544D20" into "STM"; an id that is not printable ASCII into its 8
// upper-case digits.
func vendorText(id string) string {
	digits := strings.ToUpper(strings.TrimPrefix(id, "id:"))
	b, err := hex.DecodeString(digits)
	if err != nil {
		return ""
	}
	b = bytes.TrimRight(b, " \x00")
	for _, c := range b {
		if c <= ' ' || c > '~' {
			return digits
		}
	}
	if len(b) == 0 {
		return digits
	}
	return string(b)
}

// verify establishes that the quote is genuine and of an acceptable kind; the
// parts have been parsed.
func (e *evidence) verify() error {
	if err := e.signature.verify(e.public, e.quote.raw); err != nil {
		return fmt.Errorf("verifying the quote's signature: %w", err)
	}
	if err := e.checkDigest(); err != nil {
		return fmt.Errorf("comparing pcrDigest: %w", err)
	}
	if err := e.public.checkMode(); err != nil {
		return fmt.Errorf("checking the AK: %w", err)
	}
	if err := e.checkSigner(); err != nil {
		return fmt.Errorf("comparing qualifiedSigner: %w", err)
	}
	if e.counter == nil {
		return nil
	}
	if err := e.verifyCounter(); err != nil {
		return fmt.Errorf("verifying the counter: %w", err)
	}
	return nil
}
