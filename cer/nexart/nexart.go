// Package nexart verifies the records of NexArt's protocol, and makes the plain
// ones: bundles of cer.ai.execution.v1, redacted reseals, confidential and
// hash-only records, project bundles, the governed families, and the packages
// they travel in, with the receipts, envelopes and time stamp tokens of a node.
//
// [Verify] judges three layers apart from each other, in NexArt's words:
// integrity (the hashes), the receipt (a node's signature over the record's
// hash) and the envelope (a node's signature over the record's members). Beside
// them stand notes: what the layers do not cover, and what looks like proof and
// is none.
//
// Nothing here says who made a record, or that what it says is true. A key is
// never taken from the record that it would vouch for.
//
// The package has no clock, no files and no network, and builds for js/wasm.
package nexart

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/cer/internal/canon"
	"github.com/sworn-run/sworn/internal/limits"
)

// Every error of this package wraps one of these two.
var (
	// ErrKeys: a key document is not one, contradicts itself, or holds a key
	// that cannot be used.
	ErrKeys = errors.New("bad key document")

	// ErrSnapshot: a snapshot cannot be sealed.
	ErrSnapshot = errors.New("bad snapshot")
)

// A Status is the outcome of one layer.
type Status uint8

// The outcomes. The zero Status is none of them, and counts as failed.
const (
	// StatusUnknown is no outcome; no Report of [Verify] holds it.
	StatusUnknown Status = iota
	// StatusFail: what is there is wrong, or cannot be checked.
	StatusFail
	// StatusSkipped: the layer does not apply to this record.
	StatusSkipped
	// StatusPass: everything that is there to check is right.
	StatusPass
)

// String returns NexArt's spelling: "PASS", "FAIL" or "SKIPPED".
func (s Status) String() string {
	switch s {
	case StatusPass:
		return "PASS"
	case StatusSkipped:
		return "SKIPPED"
	case StatusFail, StatusUnknown:
	}
	return "FAIL"
}

// A Verdict is the answer over all layers.
type Verdict uint8

// The verdicts. The zero Verdict counts as failed.
const (
	// VerdictUnknown is no verdict; no Report of [Verify] holds it.
	VerdictUnknown Verdict = iota
	// VerdictFailed: some layer failed, or none passed.
	VerdictFailed
	// VerdictVerified: all layers that apply passed.
	VerdictVerified
	// VerdictConfidential: as VerdictVerified, with values replaced by
	// commitments, which say nothing to this verifier.
	VerdictConfidential
	// VerdictSupplemental: as VerdictVerified, beside signals, a context, a
	// summary of it or a policy evaluation that the hash does not cover.
	VerdictSupplemental
)

// String returns NexArt's spelling, for instance "VERIFIED_CONFIDENTIAL".
func (v Verdict) String() string {
	switch v {
	case VerdictVerified:
		return "VERIFIED"
	case VerdictConfidential:
		return "VERIFIED_CONFIDENTIAL"
	case VerdictSupplemental:
		return "VERIFIED (supplemental)"
	case VerdictFailed, VerdictUnknown:
	}
	return "FAILED"
}

// Verified reports whether the verdict is one of the three good ones.
func (v Verdict) Verified() bool {
	return v == VerdictVerified || v == VerdictConfidential || v == VerdictSupplemental
}

// A Report is what [Verify] found.
type Report struct {
	// Verdict is the answer over all layers.
	Verdict Verdict
	// Integrity, Receipt and Envelope are the three layers. One that fails
	// says nothing about the others.
	Integrity, Receipt, Envelope Status
	// Codes are the reasons, the deciding one first, each once. There are some
	// beside a good verdict where a layer could say more than it does.
	Codes []Code
	// Notes say what failed in words, what nothing covers, and what is not
	// proof.
	Notes []Note
	// Package tells that the record came in a package, with a node's signatures
	// beside it.
	Package bool
	// BundleType is the record's, as far as it is known here, else empty.
	BundleType string
	// CertificateHash is the record's identity in the form of
	// [cer.FormatHash], or a project's projectHash; empty unless it was
	// recomputed, or a receipt vouches for a record of nothing but a hash.
	CertificateHash string
	// Steps are the embedded records of a project bundle, in the order of its
	// registry.
	Steps []Step
}

// A Step is one record of a project bundle.
type Step struct {
	// ID is its stepId.
	ID string
	// Report is what was found of the record alone.
	Report *Report
}

// A NoteKind says what a note is about.
type NoteKind uint8

// The kinds of notes.
const (
	// NoteUnknown is no kind; no note has it.
	NoteUnknown NoteKind = iota
	// NoteFailed: why a layer failed.
	NoteFailed
	// NoteUncovered: a member that neither hash nor signature covers, so that
	// anybody may have changed or inserted it. A JSON Pointer (RFC 6901).
	NoteUncovered
	// NoteWithheld: a member that is absent or replaced, so that its hash is
	// only what the record says. A JSON Pointer.
	NoteWithheld
	// NoteUnsigned: a member that the hash covers and an envelope leaves out. A
	// JSON Pointer.
	NoteUnsigned
	// NoteStamp: what says that the record was attested, and proves nothing.
	NoteStamp
	// NoteLegacy: a form of which no published signature is known, or that
	// later releases gave up.
	NoteLegacy
	// NoteKey: something about the key that a reader should know: a window that
	// the signature stands outside of, a key that is no longer in use.
	NoteKey
	// NoteEmbeddedKey: a key that comes with the record. It was not used.
	NoteEmbeddedKey
	// NoteTimestamp: an RFC 3161 token is of this record. Its authority is not
	// checked.
	NoteTimestamp
	// NoteNoTimestamp: a token that proves nothing, or that should be there and
	// is not.
	NoteNoTimestamp
	// NoteRedacted: what was taken out of the record, by its own account.
	NoteRedacted
	// NoteChain: steps of a project that do not follow each other as they say.
	NoteChain
	// NoteSteps: a node signed the records of a project, and not the project.
	NoteSteps
	// NoteMore: there is more to note than is noted.
	NoteMore
)

// String returns one word for reports, for instance "uncovered".
func (k NoteKind) String() string {
	names := [...]string{
		"unknown", "failed", "uncovered", "withheld", "unsigned", "stamp", "legacy", "key", "embedded-key",
		"timestamp", "no-timestamp", "redacted", "chain", "steps", "more",
	}
	if int(k) < len(names) {
		return names[k]
	}
	return names[0]
}

// A Note is one finding.
type Note struct {
	// Kind says what it is about.
	Kind NoteKind
	// Text is the finding, one line for people, or a JSON Pointer where the kind
	// says so; at most 1 KiB of UTF-8, cut with "…" where it would be longer. It
	// may hold text of the record, which in a JSON Pointer is not escaped for a
	// terminal.
	Text string
}

// String returns both, as "uncovered: /meta".
func (n Note) String() string { return n.Kind.String() + ": " + n.Text }

// keepLevels is how deep a file is looked into: package, project, embedded
// bundles, record, snapshot, and what stands in it.
const keepLevels = 8

// Verify judges a record or a package. file is JSON of at most 64 MiB and 1 Mi
// commas and colons, as it was received. keys are the keys that the reader trusts to be the node's, or nil for
// none; then everything that is signed fails.
//
// What [cer.Strict] refuses is refused, though NexArt's own verifiers accept some
// of it.
func Verify(file []byte, keys *Keys) *Report {
	r := &Report{Integrity: StatusFail, Receipt: StatusSkipped, Envelope: StatusSkipped}
	d, err := parse(file, limits.BundleDepth)
	if err != nil {
		r.fail(CodeCanonicalization, "integrity: %v", err)
		r.Verdict = VerdictFailed
		return r
	}
	top := d.Root()
	c := &check{Report: r, keys: keys, outer: top, record: top}
	if inner := top.Get("cer"); inner.Kind() == '{' {
		c.record, r.Package = inner, true
	}
	c.run()
	return r
}

// parse reads strict JSON, of which it counts the values first.
func parse(b []byte, depth int) (*canon.Doc, error) {
	if !canon.FewValues(b, limits.BundleValues) {
		return nil, fmt.Errorf("%w: more than %d commas and colons", canon.ErrStrict, limits.BundleValues)
	}
	return canon.Parse(b, depth, false, keepLevels)
}

// check is the verification of one record.
type check struct {
	*Report
	keys *Keys
	// outer is the package, or the record again.
	outer, record canon.Value
	// claimed is the hash that receipts must name.
	claimed string
	// protocol is the protocolVersion that a node's signatures must name; empty
	// where the record has none.
	protocol string
	// stamps and bareStamps count what speaks of an attestation and is no receipt:
	// all, and those that are hashes without a signature.
	stamps, bareStamps int
	// withheld, confidential and supplemental are what integrity found.
	withheld, confidential, supplemental bool
	// elsewhere tells that an envelope signs something else than what is left of a
	// record.
	elsewhere bool
}

// run judges all layers.
func (c *check) run() {
	if c.record.Kind() != '{' {
		c.fail(CodeSchema, "integrity: the record is not an object")
		c.Verdict = VerdictFailed
		return
	}
	c.Integrity = StatusPass
	switch {
	case c.record.Get("bundleType").Is(cer.BundleType):
		c.BundleType = cer.BundleType
		c.execution()
	case c.record.Get("bundleType").Is(resealType):
		c.BundleType = resealType
		c.reseal()
	case c.record.Get("bundleType").Is(hashOnlyType):
		c.BundleType = hashOnlyType
		c.hashOnly()
	case c.record.Get("bundleType").Is(projectType):
		c.BundleType = projectType
		c.project()
	default:
		if f := familyOf(c.record.Get("bundleType")); f != nil {
			c.BundleType = f.bundleType
			c.governed(f)
			break
		}
		c.unsupported()
	}
	c.redaction()
	c.packageRecord()
	c.receipts()
	c.envelopes()
	c.tokens()
	c.embeddedKeys()
	c.packageMembers()
	c.conclude()
}

// unsupported refuses a record of a type that is not known here.
func (c *check) unsupported() {
	switch kind := c.record.Get("bundleType").Kind(); kind {
	case '"':
		c.integrityFailed(CodeSchema, "bundleType %q is not known", shown(c.record.Get("bundleType")))
		c.code(CodeUnsupportedType)
	default:
		c.integrityFailed(CodeSchema, "bundleType is missing")
	}
	c.claim(c.record.Get("certificateHash"))
}

// claim sets what receipts must name: a hash in its one form, else nothing that
// any receipt could name.
func (c *check) claim(hash canon.Value) bool {
	if _, err := cer.ParseHash(hash.String()); err != nil {
		return false
	}
	c.claimed = hash.String()
	return true
}

// conclude derives the verdict, and adds the codes that decide nothing.
func (c *check) conclude() {
	if c.supplemental {
		c.code(CodeContextNotProtected)
	}
	if c.Integrity != StatusPass && c.Receipt != StatusPass {
		c.CertificateHash = ""
	}
	switch {
	case c.Receipt != StatusSkipped:
	case c.bareStamps > 0:
		c.code(CodeStampLegacy)
	case c.stamps > 0:
		c.code(CodeReceiptMissing)
	}
	switch {
	case c.Integrity == StatusFail || c.Receipt == StatusFail || c.Envelope == StatusFail,
		c.Integrity != StatusPass && c.Receipt != StatusPass:
		c.Verdict = VerdictFailed
	case c.confidential:
		c.Verdict = VerdictConfidential
	case c.supplemental:
		c.Verdict = VerdictSupplemental
	default:
		c.Verdict = VerdictVerified
	}
}

// fail notes a reason and its code.
func (r *Report) fail(code Code, format string, args ...any) {
	r.code(code)
	r.note(NoteFailed, format, args...)
}

// code adds a code, once.
func (r *Report) code(code Code) {
	if !slices.Contains(r.Codes, code) {
		r.Codes = append(r.Codes, code)
	}
}

// maxNotes is the largest number of notes: a file can hold millions of members
// that nothing covers.
const maxNotes = 512

// maxNoteText is the longest text of a note, in bytes: a name can be as long as
// the file.
const maxNoteText = 1024

// full tells that no more notes are taken.
func (r *Report) full() bool { return len(r.Notes) == maxNotes }

// note adds a note, once.
func (r *Report) note(kind NoteKind, format string, args ...any) {
	if r.full() {
		return
	}
	n := Note{kind, cut(fmt.Sprintf(format, args...), maxNoteText)}
	switch {
	case slices.Contains(r.Notes, n):
	case len(r.Notes) == maxNotes-1:
		r.Notes = append(r.Notes, Note{NoteMore, "there is more to note; what is not noted is not therefore covered"})
	default:
		r.Notes = append(r.Notes, n)
	}
}

// cut shortens a text to at most that many bytes, and says that it did.
func cut(s string, most int) string {
	const ellipsis = "…"
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most-len(ellipsis)], "") + ellipsis
}

func (c *check) integrityFailed(code Code, format string, args ...any) {
	c.Integrity, c.CertificateHash = StatusFail, ""
	c.fail(code, "integrity: "+format, args...)
}
