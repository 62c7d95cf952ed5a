package cer

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/sworn-run/sworn/cer/internal/canon"
	"github.com/sworn-run/sworn/internal/limits"
)

// A Code is the outcome of [VerifyIntegrity] in NexArt's own vocabulary
// (CerVerifyCode). The zero Code is no outcome.
type Code uint8

// The codes, in the order in which one hides another: the first that applies
// is reported, except that [CodeInvalidFormat] of certificateHash comes before
// the schema of the snapshot.
const (
	// CodeUnknown is no outcome; it is never reported.
	CodeUnknown Code = iota
	// CodeOK: everything that is there to check is right.
	CodeOK
	// CodeCanonicalization: the bundle has no canonical form that means one
	// thing ([Strict]), or lacks what NexArt's verifier hashes without asking.
	CodeCanonicalization
	// CodeSchema: a member is missing or of the wrong type, or its value is not
	// known: bundleType, version, protocolVersion.
	CodeSchema
	// CodeInvalidFormat: a hash does not begin with "sha256:", or cannot be one
	// where nothing else checks it.
	CodeInvalidFormat
	// CodeSnapshotHash: inputHash and outputHash are both wrong.
	CodeSnapshotHash
	// CodeInputHash: inputHash is not the hash of input.
	CodeInputHash
	// CodeOutputHash: outputHash is not the hash of output.
	CodeOutputHash
	// CodeCertificateHash: the snapshot agrees with itself, but certificateHash
	// is not the hash of any projection of the bundle.
	CodeCertificateHash
)

// String returns NexArt's spelling, for instance "INPUT_HASH_MISMATCH".
func (c Code) String() string {
	switch c {
	case CodeOK:
		return "OK"
	case CodeCanonicalization:
		return "CANONICALIZATION_ERROR"
	case CodeSchema:
		return "SCHEMA_ERROR"
	case CodeInvalidFormat:
		return "INVALID_SHA256_FORMAT"
	case CodeSnapshotHash:
		return "SNAPSHOT_HASH_MISMATCH"
	case CodeInputHash:
		return "INPUT_HASH_MISMATCH"
	case CodeOutputHash:
		return "OUTPUT_HASH_MISMATCH"
	case CodeCertificateHash:
		return "CERTIFICATE_HASH_MISMATCH"
	case CodeUnknown:
	}
	return "UNKNOWN_ERROR"
}

// An IntegrityError says why [VerifyIntegrity] refuses a bundle. It wraps
// [ErrStrict], [ErrSchema] or [ErrHash].
type IntegrityError struct {
	// Code is never CodeUnknown or CodeOK.
	Code Code
	// Err is the first failure of that code.
	Err error
}

// Error returns the code and the first failure.
func (e *IntegrityError) Error() string {
	return fmt.Sprintf("verifying integrity: %v: %v", e.Code, e.Err)
}

// Unwrap returns Err.
func (e *IntegrityError) Unwrap() error { return e.Err }

// A Projection names the members of a bundle that certificateHash covers. They
// differ between releases, nothing in a bundle says which was used, and so
// what it left out must be told to the reader: [Integrity.Uncovered].
type Projection uint8

// The projections that NexArt documents, from the narrowest to the widest.
const (
	// ProjectionUnknown is no projection; it is never reported.
	ProjectionUnknown Projection = iota
	// ProjectionFour is bundleType, version, createdAt and snapshot: SDK 0.1.0,
	// and every bundle that has none of the members below.
	ProjectionFour
	// ProjectionSignals adds context with its member signals alone, where that
	// is a non-empty array: SDK 0.10 to 0.14.
	ProjectionSignals
	// ProjectionContext adds context as it is, and contextSummary:
	// documentation of 2026-04.
	ProjectionContext
	// ProjectionPolicy adds policyEvaluation to that: documentation of 2026-06.
	ProjectionPolicy
)

// String returns a short name for reports, for instance "four-members".
func (p Projection) String() string {
	switch p {
	case ProjectionFour:
		return "four-members"
	case ProjectionSignals:
		return "four-members+signals"
	case ProjectionContext:
		return "four-members+context"
	case ProjectionPolicy:
		return "four-members+context+policy"
	case ProjectionUnknown:
	}
	return "unknown"
}

// Integrity is what holds of a bundle that [VerifyIntegrity] accepted. It says
// that the bundle was not changed since it was sealed, not by whom it was
// sealed.
type Integrity struct {
	// Code is CodeOK.
	Code Code
	// ProtocolVersion is "1.2.0", "1.3.0" or "1.3.1".
	ProtocolVersion string
	// Projection says what certificateHash covers.
	Projection Projection
	// CertificateHash is the record's identity, as 32 raw bytes.
	CertificateHash [32]byte
	// Uncovered are the members that certificateHash does not cover, so that
	// anybody may have changed or inserted them: JSON Pointers (RFC 6901) in
	// canonical order, such as "/meta" or "/context/note".
	Uncovered []string
	// Withheld are the members that are absent, or replaced by a commitment, so
	// that only certificateHash speaks for their hashes: JSON Pointers among
	// "/snapshot/prompt", "/snapshot/input" and "/snapshot/output".
	Withheld []string
	// Confidential tells that at least one of Withheld is replaced by a
	// commitment (protocol 1.3.1).
	Confidential bool
}

// VerifyIntegrity checks any NexArt cer.ai.execution.v1 bundle of protocol
// 1.2.0, 1.3.0 or 1.3.1 as NexArt's first layer does: the members that must be
// there, inputHash and outputHash over the values, certificateHash over a
// documented projection of the bundle. The widest projection that matches
// counts.
//
// It differs from NexArt's own verifier in these points. What [Strict] refuses
// is refused ([CodeCanonicalization]), and so is a text of more than 1 Mi commas
// and colons outside of strings. A snapshot without protocolVersion
// counts as 1.2.0, as later releases have it; one that is not known is refused.
// Prompt, input and output may be absent, and in 1.3.1 input and output may be
// commitments; the result then lists them as withheld.
//
// The result is nil if and only if the error is not; the error is an
// [*IntegrityError].
func VerifyIntegrity(bundle []byte) (*Integrity, error) {
	if err := checkValues(bundle); err != nil {
		return nil, &IntegrityError{CodeCanonicalization, err}
	}
	v := verification{result: Integrity{Code: CodeOK}}
	if err := v.doc.Read(bundle, limits.BundleDepth, false, bundleLevels); err != nil {
		return nil, &IntegrityError{CodeCanonicalization, err}
	}
	v.hash.Init()
	v.bundle(v.doc.Root())
	if err := v.verdict(); err != nil {
		return nil, err
	}
	result := v.result // Of its own: nothing keeps the rest alive.
	return &result, nil
}

// bundleLevels is how deep a bundle is looked into: the bundle, snapshot and
// context, and in the snapshot parameters, input and output.
const bundleLevels = 3

// A rank orders what can be wrong, worst first, as NexArt's verifier does.
type rank int

const (
	rankCanonicalization rank = iota
	rankBundleSchema
	rankBundleFormat
	rankSnapshotSchema
	rankSnapshotFormat
	rankInput
	rankOutput
	rankCertificate
	ranks
)

// verification is one reading of a bundle. It collects the first failure of each
// rank.
type verification struct {
	doc    canon.Doc
	hash   canon.Writer
	failed [ranks]error
	result Integrity
}

func (v *verification) fail(r rank, sentinel error, format string, args ...any) {
	if v.failed[r] == nil {
		v.failed[r] = fmt.Errorf("%w: %s", sentinel, fmt.Sprintf(format, args...))
	}
}

// verdict picks the failure that hides the others.
func (v *verification) verdict() error {
	codes := [ranks]Code{
		rankCanonicalization: CodeCanonicalization,
		rankBundleSchema:     CodeSchema,
		rankBundleFormat:     CodeInvalidFormat,
		rankSnapshotSchema:   CodeSchema,
		rankSnapshotFormat:   CodeInvalidFormat,
		rankInput:            CodeInputHash,
		rankOutput:           CodeOutputHash,
		rankCertificate:      CodeCertificateHash,
	}
	if v.failed[rankOutput] != nil {
		codes[rankInput] = CodeSnapshotHash
	}
	for r, err := range v.failed {
		if err != nil {
			return &IntegrityError{codes[r], err}
		}
	}
	return nil
}

// bundle checks a whole bundle.
func (v *verification) bundle(top canon.Value) {
	if top.Kind() != '{' {
		v.fail(rankBundleSchema, ErrSchema, "the bundle is not an object")
		return
	}
	for _, constant := range [...]struct{ name, want string }{{"bundleType", BundleType}, {"version", BundleVersion}} {
		if !top.Get(constant.name).Is(constant.want) {
			v.fail(rankBundleSchema, ErrSchema, "%s is not %q", constant.name, constant.want)
		}
	}
	if top.Get("createdAt").IsEmpty() {
		v.fail(rankBundleSchema, ErrSchema, "createdAt is not a non-empty string")
	}
	claimed := top.Get("certificateHash")
	if kind := claimed.Kind(); kind != 0 && kind != '"' {
		v.fail(rankBundleSchema, ErrSchema, "certificateHash is not a string")
	} else if !claimed.HasPrefix(hashPrefix) {
		v.fail(rankBundleFormat, ErrSchema, "certificateHash does not begin with %q", hashPrefix)
	}
	snapshot := top.Get("snapshot")
	switch snapshot.Kind() {
	case 0, 'n':
		v.fail(rankBundleSchema, ErrSchema, "snapshot is missing")
		return
	case '{':
	default:
		v.fail(rankCanonicalization, ErrSchema, "snapshot is not an object")
		return
	}
	v.snapshot(snapshot)
	v.certificate(top, claimed)
	// NexArt's verifier cannot hash a record that lacks only a part of these.
	if n := len(v.result.Withheld); v.failed[rankCertificate] != nil && n > 0 && n < 3 && !v.result.Confidential {
		v.fail(rankCanonicalization, ErrSchema, "%s is missing", v.result.Withheld[0])
	}
}

// snapshot checks the members of a snapshot in the order of SDK 0.1.0.
func (v *verification) snapshot(s canon.Value) {
	for _, constant := range [...]struct{ name, want string }{{"type", SnapshotType}, {"executionSurface", Surface}} {
		if !s.Get(constant.name).Is(constant.want) {
			v.fail(rankSnapshotSchema, ErrSchema, "snapshot.%s is not %q", constant.name, constant.want)
		}
	}
	v.protocol(s.Get("protocolVersion"))
	for _, name := range [...]string{"executionId", "timestamp", "provider", "model"} {
		if s.Get(name).IsEmpty() {
			v.fail(rankSnapshotSchema, ErrSchema, "snapshot.%s is not a non-empty string", name)
		}
	}
	if prompt := s.Get("prompt"); prompt.Kind() == 0 {
		v.result.Withheld = append(v.result.Withheld, "/snapshot/prompt")
	} else if prompt.IsEmpty() {
		v.fail(rankSnapshotSchema, ErrSchema, "snapshot.prompt is not a non-empty string")
	}
	v.parameters(s.Get("parameters"))
	v.value("input", s.Get("input"), s.Get("inputHash"), rankInput)
	v.value("output", s.Get("output"), s.Get("outputHash"), rankOutput)
}

// protocol wants a version that is known; none counts as 1.2.0.
func (v *verification) protocol(said canon.Value) {
	if kind := said.Kind(); kind == 0 || kind == 'n' {
		v.result.ProtocolVersion = Protocol120
		return
	}
	for _, known := range [...]string{Protocol120, Protocol130, Protocol131} {
		if said.Is(known) {
			v.result.ProtocolVersion = known
			return
		}
	}
	v.fail(rankSnapshotSchema, ErrSchema, "snapshot.protocolVersion is not known")
}

// parameters wants two numbers, and two that may be null but not absent. That
// they are finite is a matter of strictness.
func (v *verification) parameters(p canon.Value) {
	switch p.Kind() {
	case 0, 'n':
		v.fail(rankCanonicalization, ErrSchema, "snapshot.parameters is missing")
		return
	case '{':
	default:
		v.fail(rankSnapshotSchema, ErrSchema, "snapshot.parameters is not an object")
		return
	}
	for _, name := range [...]string{"temperature", "maxTokens", "topP", "seed"} {
		kind := p.Get(name).Kind()
		nullable := name == "topP" || name == "seed"
		if kind != '0' && (!nullable || kind != 'n') {
			v.fail(rankSnapshotSchema, ErrSchema, "snapshot.parameters.%s is not a number", name)
		}
	}
}

// value checks input or output against its hash, if it is there.
func (v *verification) value(name string, value, claimed canon.Value, mismatch rank) {
	if kind := claimed.Kind(); kind != 0 && kind != '"' {
		v.fail(rankSnapshotSchema, ErrSchema, "snapshot.%sHash is not a string", name)
		return
	}
	if !claimed.HasPrefix(hashPrefix) {
		v.fail(rankSnapshotFormat, ErrSchema, "snapshot.%sHash does not begin with %q", name, hashPrefix)
	}
	if value.Kind() == 'n' {
		v.fail(rankSnapshotSchema, ErrSchema, "snapshot.%s is null", name)
		return
	}
	digest, wellFormed := parseHash(claimed.Bytes())
	committed := false
	if value.Kind() != 0 {
		if wellFormed && v.hashOf(value) == digest {
			return
		}
		committed = v.result.ProtocolVersion == Protocol131 && isCommitment(value)
		if !committed {
			v.fail(mismatch, ErrHash, "snapshot.%sHash is not the hash of snapshot.%s", name, name)
			return
		}
	}
	// Nothing but certificateHash checks this hash: its form at least must be
	// that of one.
	if !wellFormed {
		v.fail(rankSnapshotFormat, ErrSchema, "snapshot.%sHash is not %q and 64 lower-case hex digits", name, hashPrefix)
	}
	v.result.Withheld = append(v.result.Withheld, "/snapshot/"+name)
	v.result.Confidential = v.result.Confidential || committed
}

// hashOf hashes the UTF-8 of a string, or the canonical form of any other value.
func (v *verification) hashOf(value canon.Value) [32]byte {
	if value.Kind() == '"' {
		v.hash.StringOf(value)
	} else {
		v.hash.Value(value)
	}
	return v.hash.Sum()
}

// isCommitment tells a value that a node has replaced (protocol 1.3.1). What
// the commitment covers is not published, so it stays opaque.
func isCommitment(value canon.Value) bool {
	return value.Get("_redacted").Kind() == 't' && !value.Get("commitment").IsEmpty()
}

// certificate compares certificateHash with each projection, the widest first,
// leaving out those that would cover the same bytes as a narrower one.
func (v *verification) certificate(top, claimed canon.Value) {
	context := top.Get("context")
	signals := context.Get("signals")
	try := make([]Projection, 0, ProjectionPolicy)
	try = append(try, ProjectionFour)
	if signals.HasElements() {
		try = append(try, ProjectionSignals)
	}
	signalsOnly := signals.HasElements() && context.Len() == 1
	if (context.Kind() != 0 && !signalsOnly) || top.Get("contextSummary").Kind() != 0 {
		try = append(try, ProjectionContext)
	}
	if top.Get("policyEvaluation").Kind() != 0 {
		try = append(try, ProjectionPolicy)
	}
	if digest, ok := parseHash(claimed.Bytes()); ok {
		for _, t := range slices.Backward(try) {
			if v.projection(top, t) == digest {
				v.result.Projection, v.result.CertificateHash = t, digest
				v.result.Uncovered = uncovered(top, t)
				return
			}
		}
	}
	v.fail(rankCertificate, ErrHash, "certificateHash covers no documented projection of the bundle")
}

// covers tells whether the projection includes a top-level member as it is.
func (p Projection) covers(name []byte) bool {
	switch string(name) {
	case "bundleType", "createdAt", "snapshot", "version":
		return true
	case "context", "contextSummary":
		return p >= ProjectionContext
	case "policyEvaluation":
		return p >= ProjectionPolicy
	}
	return false
}

// reduces tells whether the projection includes a part of a top-level member.
func (p Projection) reduces(name []byte) bool {
	return p == ProjectionSignals && string(name) == "context"
}

// projection hashes the canonical form of the projection.
func (v *verification) projection(top canon.Value, p Projection) [32]byte {
	separator := "{"
	for i := range top.Len() {
		switch name := top.MemberName(i); {
		case p.covers(name):
			v.hash.Text(separator)
			v.hash.Member(top, i)
			separator = ","
		case p.reduces(name):
			v.hash.Text(separator)
			v.hash.Text(`"context":{"signals":`)
			v.hash.Value(top.Get("context").Get("signals"))
			v.hash.Text("}")
			separator = ","
		}
	}
	v.hash.Text("}")
	return v.hash.Sum()
}

// uncovered lists what the projection leaves out, but for certificateHash
// itself.
func uncovered(top canon.Value, p Projection) []string {
	var out []string
	for i := range top.Len() {
		name := top.MemberName(i)
		switch {
		case p.covers(name) || string(name) == "certificateHash":
		case p.reduces(name):
			context := top.Get("context")
			for j := range context.Len() {
				if inner := context.MemberName(j); string(inner) != "signals" {
					out = append(out, "/context/"+escapePointer(inner))
				}
			}
		default:
			out = append(out, "/"+escapePointer(name))
		}
	}
	return out
}

// escapePointer escapes a name for a JSON Pointer. RFC 6901, 3.
func escapePointer(name []byte) string {
	if bytes.IndexByte(name, '~') < 0 && bytes.IndexByte(name, '/') < 0 {
		return string(name)
	}
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(string(name))
}
