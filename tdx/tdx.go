// Package tdx appraises quotes of Intel TDX trust domains: is this quote genuine, and
// what does it state? It is the [attest.Scheme] of format 3, "tdx".
//
// The evidence is one part, [PartQuote]: the quote as the kernel hands it out, of
// version 4, or of version 5 for TDX 1.0 and 1.5, to the byte. What the host's quoting
// service pads it with is no part of it; [Surplus] cuts that off. The certificate
// chain of the platform's key is inside. TCB info, QE identity, revocation lists and
// the TCB signing certificate are collateral.
//
// # What the quote proves
//
// Claims exist only if header and body are signed by an attestation key for which the
// quoting enclave vouches, and this enclave's report by the key in the chain's first
// certificate; and if the trust domain (TD) is no debug TD and runs on no TDX module in
// a debug mode. Whose platform it is, and that the enclave is Intel's, is a finding of
// identity; how old its TCB is, one of the TCB. Both rest on the collateral.
//
// MRTD and RTMR0 to RTMR2 identify what was launched and booted. MRCONFIGID, MROWNER
// and MROWNERCONFIG are whatever the host set. RTMR3 is the register that anchors the
// event log.
//
// # What nothing signs
//
// Header and body are covered by the attestation key's signature, this key and the
// authentication data by the QE's report data, the report by the PCK, the certificates
// by their issuers; the lengths between them have one value that parses, and the
// certificates' text one spelling. An ECDSA signature has a second form, (r, n-s), that
// verifies as well.
//
// Clauses are those of the Intel TDX Module 1.5 ABI specification ("ABI, 3.4"), and of
// Intel's "SGX ECDSA Quote Library API" ("SGX-QL, A.3").
package tdx

import (
	"fmt"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/dcap"
)

// Format is the registry number of the evidence format of this package.
const Format attest.Format = 3

// Role is the role of Intel's roots (docs/SPEC.md, section 9).
const Role = dcap.Role

// PartQuote is the one part: the quote.
const PartQuote = "quote"

// LogRegister is the RTMR that anchors the event log.
const LogRegister = 3

// Pins returns Intel's roots that this version knows. They are names of keys: nothing
// is trusted by them until a relying party puts them into its anchors and names the key
// in its policy.
func Pins() []attest.Pin { return dcap.Pins() }

// Surplus cuts b where the quote that it begins with ends: kernels and hosts pad
// quotes, and whoever kept one may have kept more. Nothing covers the surplus. Both
// results alias b. The error wraps [attest.ErrForm].
func Surplus(b []byte) (quote, surplus []byte, err error) {
	n, err := dcap.Length(b)
	if err != nil {
		return nil, nil, err
	}
	return b[:n:n], b[n:], nil
}

// NewEvidence makes evidence of a quote for the given slot. It copies nothing. The
// error wraps [attest.ErrForm] if the quote does not parse exactly or is none of a TD;
// that it verifies is not checked.
func NewEvidence(slot uint8, quote []byte) (*attest.Evidence, error) {
	ev := &attest.Evidence{Slot: slot, Format: Format, Parts: []attest.Part{{Name: PartQuote, Data: quote}}}
	if _, err := parseEvidence(ev); err != nil {
		return nil, err
	}
	return ev, nil
}

// parseEvidence parses the one part.
func parseEvidence(ev *attest.Evidence) (*dcap.Quote, error) {
	if ev.Format != Format {
		return nil, fmt.Errorf("evidence of format %d, want %d: %w", ev.Format, Format, attest.ErrForm)
	}
	if len(ev.Parts) != 1 || ev.Parts[0].Name != PartQuote {
		return nil, fmt.Errorf("evidence of %d parts, want one, %s: %w", len(ev.Parts), PartQuote, attest.ErrForm)
	}
	q, err := dcap.ParseQuote(ev.Parts[0].Data)
	if err != nil {
		return nil, fmt.Errorf("parsing the quote: %w", err)
	}
	if q.TD == nil {
		return nil, fmt.Errorf("the quote is of an enclave, not of a TD: %w", attest.ErrForm)
	}
	if err := checkReserved(q.TD); err != nil {
		return nil, err
	}
	return q, nil
}

// Scheme appraises TDX quotes. Its zero value is ready to use, and safe for concurrent
// use.
type Scheme struct{}

var _ attest.Scheme = Scheme{}

// Describe returns the constants of the format: direct binding in 64 bytes of SHA-512,
// RTMR3 of SHA-384 that keeps the log, identities of role "intel-sgx".
func (Scheme) Describe() attest.Description {
	d := attest.Description{
		Format:        Format,
		Name:          "tdx",
		Mode:          attest.ModeDirect,
		Anchor:        attest.AnchorRegister,
		QuotedHash:    attest.SHA512,
		RootRole:      Role,
		NotApplicable: []string{"slot.counters"},
		Register:      LogRegister,
		RegisterBank:  attest.SHA384,
		Versions:      []string{"tdx_module", "tdx_late_microcode", "pce", "qe"},
		VendorStatus:  true,
	}
	for _, m := range measurements() {
		d.Measurements = append(d.Measurements, attest.MeasurementField{Name: m.name, Size: 48, Image: m.image})
	}
	for _, a := range attributes() {
		d.Attributes = append(d.Attributes, attest.AttributeField{Name: a.name, Free: a.free, Default: a.want})
	}
	return d
}

// Verify checks the quote in ev and returns what it states. Identity, revocation,
// coherence and TCB are judged by the collateral and the roots of role "intel-sgx" in
// anchors at time at; what is missing leaves them not established. KeyID is zero: the
// attestation key of a platform tells no TD from another.
//
// The error wraps [attest.ErrArgument] for nil evidence or a zero time,
// [attest.ErrForm] for a quote that does not parse exactly, [attest.ErrSignature] if
// the chain of keys does not hold over the bytes received, and [attest.ErrMode] for a
// debug TD, or a TDX module with attributes.
func (Scheme) Verify(ev *attest.Evidence, anchors *attest.Anchors, at time.Time) (*attest.Claims, error) {
	if ev == nil {
		return nil, fmt.Errorf("verifying nil evidence: %w", attest.ErrArgument)
	}
	if at.IsZero() {
		return nil, fmt.Errorf("verifying a quote at the zero time: %w", attest.ErrArgument)
	}
	q, err := parseEvidence(ev)
	if err != nil {
		return nil, err
	}
	a, err := q.Appraise(ev.Collateral, anchors, at)
	if err != nil {
		return nil, fmt.Errorf("verifying the quote: %w", err)
	}
	if err := checkMode(q.TD); err != nil {
		return nil, err
	}
	c := &attest.Claims{
		Format:       Format,
		Quoted:       q.TD.ReportData[:],
		Registers:    registers(q.TD),
		Keys:         a.Keys,
		Product:      a.Product,
		Identity:     a.Identity,
		Revocation:   a.Revocation,
		Coherent:     a.Coherent,
		TCB:          a.TCB,
		Measurements: states(q.TD),
		Attributes:   numbers(q.TD),
		Used:         a.Used,
		Spare:        a.Spare,
		Details:      append(a.Details, details(q.TD)...),
	}
	c.TCB.Versions = append(versions(q.TD), c.TCB.Versions...)
	appraiseLogs(c, ev.Collateral)
	return c, nil
}
