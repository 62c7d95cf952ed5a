// Package enclave appraises quotes of Intel SGX enclaves: is this quote genuine, and
// what does it state? It is the [attest.Scheme] of format 4, "sgx".
//
// The evidence is one part, [PartQuote]: the quote of Intel's quoting enclave, to the
// byte. Version 3 is what this enclave makes; versions 4 and 5 can hold an enclave's
// report as well, and are read the same way. What EGo and Open Enclave hand out has a
// header of 16 bytes before it, which nothing signs and which is no part of the evidence:
// [Unwrap] takes it off, [Surplus] also what somebody else's file has after the quote. The
// certificate chain of the platform's key is inside. TCB info, QE identity, revocation
// lists and the TCB signing certificate are collateral.
//
// # What the quote proves
//
// Claims exist only if header and body are signed by an attestation key for which the
// quoting enclave vouches, and this enclave's report by the key in the chain's first
// certificate; and if the enclave is no debug enclave, whose memory its host can read.
// Whose platform it is, and that the quoting enclave is Intel's, is a finding of identity;
// how old its TCB is, one of the TCB. Both rest on the collateral.
//
// # Whose enclave
//
// The names are those of EGo. "unique_id" (MRENCLAVE) is the digest of the enclave's code
// and initial data. "signer_id" (MRSIGNER) is that of the key which signed it: it stands
// for whatever its owner ever signs, and is as good as this key is kept. It identifies an
// enclave only together with "product_id" and a minimum of "security_version", so that
// neither another product nor an old version passes. "config_id" is whatever the host
// launched the enclave with.
//
// There is no register: nothing but the statement keeps the log. The enclave is the
// launcher, and its job runs in it.
//
// # What nothing signs
//
// Header and body are covered by the attestation key's signature, this key and the
// authentication data by the report data of the quoting enclave, its report by the PCK,
// the certificates by their issuers; the lengths between them have one value that parses,
// and the certificates' text one spelling. An ECDSA signature has a second form, (r, n-s),
// that verifies as well.
//
// Clauses are those of Intel's "SGX ECDSA Quote Library API" ("SGX-QL, A.4") and of the
// Intel SDM, volume 3D ("SDM, 36").
package enclave

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/dcap"
)

// Format is the registry number of the evidence format of this package.
const Format attest.Format = 4

// Role is the role of Intel's roots (docs/SPEC.md, section 9). Those that this version
// knows are the pins of package tdx: SGX and TDX have one root.
const Role = dcap.Role

// PartQuote is the one part: the quote.
const PartQuote = "quote"

// MaxQuote is the largest quote in bytes. Genuine ones have some 5 KB.
const MaxQuote = dcap.MaxQuote

// HeaderSize is the size in bytes of the header that Open Enclave puts before a quote.
const HeaderSize = 16

// The fields of that header (oe_report_header_t): version and type of 4 bytes, the size of
// what follows in 8, little-endian.
const (
	headerVersion = 1
	typeLocal     = 1
	typeRemote    = 2
)

// hasHeader reports whether b begins like a report with a header, and not like a quote,
// whose versions begin at 2.
func hasHeader(b []byte) bool {
	return len(b) >= HeaderSize && binary.LittleEndian.Uint32(b) == headerVersion
}

// Unwrap takes the header off a remote report of EGo or Open Enclave, whose size must be
// that of the quote, to the byte. The result aliases report. The error wraps
// [attest.ErrForm]; whether the quote is one of an enclave that parses is not checked.
func Unwrap(report []byte) ([]byte, error) {
	quote, err := afterHeader(report)
	if err != nil {
		return nil, err
	}
	n, err := dcap.Length(quote)
	if err != nil {
		return nil, fmt.Errorf("reading the quote in the report: %w", err)
	}
	if size := binary.LittleEndian.Uint64(report[8:]); size != uint64(n) || n != len(quote) {
		return nil, fmt.Errorf("report that says it has %d bytes after its header and has %d, of which %d are the quote: %w",
			size, len(quote), n, attest.ErrForm)
	}
	return quote, nil
}

// afterHeader checks the header, but for whether its size is that of the quote.
func afterHeader(report []byte) ([]byte, error) {
	if !hasHeader(report) {
		return nil, fmt.Errorf("%d bytes that do not begin with a header of version %d: %w", len(report), headerVersion, attest.ErrForm)
	}
	switch kind, size := binary.LittleEndian.Uint32(report[4:]), binary.LittleEndian.Uint64(report[8:]); {
	case kind == typeLocal:
		return nil, fmt.Errorf("a local report, which only enclaves on the same machine can check: %w", attest.ErrForm)
	case kind != typeRemote:
		return nil, fmt.Errorf("report of type %d, want %d: %w", kind, typeRemote, attest.ErrForm)
	case size > uint64(len(report)-HeaderSize):
		return nil, fmt.Errorf("report of %d bytes after its header, of which %d are there: %w", size, len(report)-HeaderSize, attest.ErrForm)
	default:
		return report[HeaderSize:], nil
	}
}

// Surplus finds the quote in a file that begins with one, or with a remote report of EGo or
// Open Enclave, and cuts it where it ends. Nothing covers the surplus; a header is no part
// of either. Both results alias b. The error wraps [attest.ErrForm]: also for a header whose
// size ends within the quote.
func Surplus(b []byte) (quote, surplus []byte, err error) {
	quote = b
	if hasHeader(b) {
		if quote, err = afterHeader(b); err != nil {
			return nil, nil, err
		}
	}
	n, err := dcap.Length(quote)
	if err != nil {
		return nil, nil, err
	}
	if hasHeader(b) {
		if size := binary.LittleEndian.Uint64(b[8:]); size < uint64(n) {
			return nil, nil, fmt.Errorf("report of %d bytes after its header, and the quote in it has %d: %w", size, n, attest.ErrForm)
		}
	}
	return quote[:n:n], quote[n:], nil
}

// IsReport reports whether b begins like a report of EGo or Open Enclave, local or remote,
// with a quote in it. It promises nothing about the rest.
func IsReport(b []byte) bool {
	if !hasHeader(b) {
		return false
	}
	kind := binary.LittleEndian.Uint32(b[4:])
	return (kind == typeLocal || kind == typeRemote) && isBare(b[HeaderSize:])
}

// IsQuote reports whether b begins like the quote of an enclave, or like a report of EGo or
// Open Enclave with one in it. It promises nothing about the rest.
func IsQuote(b []byte) bool { return isBare(b) || IsReport(b) }

// isBare reports whether b begins like a quote's header.
func isBare(b []byte) bool {
	if len(b) < 48 {
		return false
	}
	version, kind, tee := binary.LittleEndian.Uint16(b), binary.LittleEndian.Uint16(b[2:]), binary.LittleEndian.Uint32(b[4:])
	return version >= 3 && version <= 5 && (kind == 2 || kind == 3) && tee == uint32(dcap.SGX)
}

// NewEvidence makes evidence of a bare quote for the given slot. It copies nothing. The
// error wraps [attest.ErrForm] if the quote does not parse exactly or is none of an
// enclave; that it verifies is not checked.
func NewEvidence(slot uint8, quote []byte) (*attest.Evidence, error) {
	ev := &attest.Evidence{Slot: slot, Format: Format, Parts: []attest.Part{{Name: PartQuote, Data: quote}}}
	if _, err := parseEvidence(ev); err != nil {
		return nil, err
	}
	return ev, nil
}

// Details returns the decoded fields of a bare quote by itself, of an enclave and of exactly
// its bytes: header, the QE's report, the platform's PCK and the body, under the names of
// the manuals. Nothing is verified. The error wraps [attest.ErrForm].
func Details(quote []byte) ([]attest.Detail, error) {
	q, err := parseEvidence(&attest.Evidence{Format: Format, Parts: []attest.Part{{Name: PartQuote, Data: quote}}})
	if err != nil {
		return nil, err
	}
	return append(append(q.Details(), q.Enclave.Details()...), q.Signatures()...), nil
}

// parseEvidence parses the one part.
func parseEvidence(ev *attest.Evidence) (*dcap.Quote, error) {
	if ev.Format != Format {
		return nil, fmt.Errorf("evidence of format %d, want %d: %w", ev.Format, Format, attest.ErrForm)
	}
	if len(ev.Parts) != 1 || ev.Parts[0].Name != PartQuote {
		return nil, fmt.Errorf("evidence of %d parts, want one, %s: %w", len(ev.Parts), PartQuote, attest.ErrForm)
	}
	if hasHeader(ev.Parts[0].Data) {
		return nil, fmt.Errorf("a report with Open Enclave's header, want the quote alone: %w", attest.ErrForm)
	}
	q, err := dcap.ParseQuote(ev.Parts[0].Data)
	if err != nil {
		return nil, fmt.Errorf("parsing the quote: %w", err)
	}
	if q.Enclave == nil {
		return nil, fmt.Errorf("the quote is of a TD, not of an enclave: %w", attest.ErrForm)
	}
	if err := checkReserved(q.Enclave); err != nil {
		return nil, err
	}
	return q, nil
}

// Scheme appraises SGX quotes. Its zero value is ready to use, and safe for concurrent
// use.
type Scheme struct{}

var _ attest.Scheme = Scheme{}

// Describe returns the constants of the format: direct binding in 64 bytes of SHA-512, a
// log that the statement alone keeps, identities of role "intel-sgx".
func (Scheme) Describe() attest.Description {
	d := attest.Description{
		Format:        Format,
		Name:          "sgx",
		Mode:          attest.ModeDirect,
		Anchor:        attest.AnchorStatementOnly,
		QuotedHash:    attest.SHA512,
		RootRole:      Role,
		NotApplicable: []string{"slot.counters"},
		Versions:      []string{versionName, "pce", "qe"},
		VendorStatus:  true,
		Program:       true,
	}
	for _, m := range measurements() {
		d.Measurements = append(d.Measurements, attest.MeasurementField{Name: m.name, Size: m.size, Image: m.image, With: m.with})
	}
	for _, a := range attributes() {
		d.Attributes = append(d.Attributes, attest.AttributeField{Name: a.name, Free: a.free})
	}
	return d
}

// Verify checks the quote in ev and returns what it states. Identity, revocation,
// coherence and TCB are judged by the collateral and the roots of role "intel-sgx" in
// anchors at time at; what is missing leaves them not established. KeyID is zero: the
// attestation key of a platform tells no enclave from another.
//
// The error wraps [attest.ErrArgument] for nil evidence or a zero time,
// [attest.ErrForm] for a quote that does not parse exactly, [attest.ErrSignature] if
// the chain of keys does not hold over the bytes received, and [attest.ErrMode] for a
// debug enclave.
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
	if err := checkMode(q.Enclave); err != nil {
		return nil, err
	}
	c := &attest.Claims{
		Format:       Format,
		Quoted:       q.Enclave.ReportData[:],
		Keys:         a.Keys,
		Product:      a.Product,
		Identity:     a.Identity,
		Revocation:   a.Revocation,
		Coherent:     a.Coherent,
		TCB:          a.TCB,
		Measurements: states(q.Enclave),
		Attributes:   numbers(q.Enclave),
		Used:         a.Used,
		Spare:        a.Spare,
		Details:      append(a.Details, q.Enclave.Details()...),
	}
	own := []attest.Attribute{{Name: versionName, Value: uint64(q.Enclave.ISVSVN)}}
	c.TCB.Versions = append(own, versions(c.TCB.Versions, q)...)
	return c, nil
}

// versions returns those of PCE and QE, whether or not the appraisal came to them.
func versions(have []attest.Attribute, q *dcap.Quote) []attest.Attribute {
	if have != nil {
		return have
	}
	return []attest.Attribute{{Name: "pce", Value: uint64(q.PCK.PCESVN)}, {Name: "qe", Value: uint64(q.QE.ISVSVN)}}
}
