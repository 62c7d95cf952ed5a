package cer

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

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
// is refused ([CodeCanonicalization]). A snapshot without protocolVersion
// counts as 1.2.0, as later releases have it; one that is not known is refused.
// Prompt, input and output may be absent, and in 1.3.1 input and output may be
// commitments; the result then lists them as withheld.
//
// The result is nil if and only if the error is not; the error is an
// [*IntegrityError].
func VerifyIntegrity(bundle []byte) (*Integrity, error) {
	c, err := canonical(bundle, limits.BundleDepth, false)
	if err != nil {
		return nil, &IntegrityError{CodeCanonicalization, err}
	}
	v := verification{result: Integrity{Code: CodeOK}}
	v.bundle(c)
	if err := v.verdict(); err != nil {
		return nil, err
	}
	return &v.result, nil
}

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

// verification collects the first failure of each rank.
type verification struct {
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

// bundle checks the canonical text c of a whole bundle.
func (v *verification) bundle(c []byte) {
	top, err := splitObject(c)
	if err != nil {
		v.fail(rankBundleSchema, ErrSchema, "the bundle is not an object")
		return
	}
	for _, constant := range []struct{ name, want string }{{"bundleType", BundleType}, {"version", BundleVersion}} {
		if got := top.text(constant.name); got != constant.want {
			v.fail(rankBundleSchema, ErrSchema, "%s is not %q", constant.name, constant.want)
		}
	}
	if top.text("createdAt") == "" {
		v.fail(rankBundleSchema, ErrSchema, "createdAt is not a non-empty string")
	}
	claimed := top.text("certificateHash")
	if raw := top.get("certificateHash"); raw != nil && raw.Kind() != jsontext.KindString {
		v.fail(rankBundleSchema, ErrSchema, "certificateHash is not a string")
	} else if !strings.HasPrefix(claimed, hashPrefix) {
		v.fail(rankBundleFormat, ErrSchema, "certificateHash does not begin with %q", hashPrefix)
	}
	snapshot := top.get("snapshot")
	if snapshot == nil || snapshot.Kind() == jsontext.KindNull {
		v.fail(rankBundleSchema, ErrSchema, "snapshot is missing")
		return
	}
	members, err := splitObject(snapshot)
	if err != nil {
		v.fail(rankCanonicalization, ErrSchema, "snapshot is not an object")
		return
	}
	v.snapshot(members)
	v.certificate(top, claimed)
	// NexArt's verifier cannot hash a record that lacks only a part of these.
	if n := len(v.result.Withheld); v.failed[rankCertificate] != nil && n > 0 && n < 3 && !v.result.Confidential {
		v.fail(rankCanonicalization, ErrSchema, "%s is missing", v.result.Withheld[0])
	}
}

// snapshot checks the members of a snapshot in the order of SDK 0.1.0.
func (v *verification) snapshot(s object) {
	for _, constant := range []struct{ name, want string }{{"type", SnapshotType}, {"executionSurface", Surface}} {
		if s.text(constant.name) != constant.want {
			v.fail(rankSnapshotSchema, ErrSchema, "snapshot.%s is not %q", constant.name, constant.want)
		}
	}
	v.result.ProtocolVersion = s.text("protocolVersion")
	if raw := s.get("protocolVersion"); raw == nil || raw.Kind() == jsontext.KindNull {
		v.result.ProtocolVersion = Protocol120
	}
	if !knownProtocol(v.result.ProtocolVersion) {
		v.fail(rankSnapshotSchema, ErrSchema, "snapshot.protocolVersion is not known")
	}
	for _, name := range []string{"executionId", "timestamp", "provider", "model"} {
		if s.text(name) == "" {
			v.fail(rankSnapshotSchema, ErrSchema, "snapshot.%s is not a non-empty string", name)
		}
	}
	if s.get("prompt") == nil {
		v.result.Withheld = append(v.result.Withheld, "/snapshot/prompt")
	} else if s.text("prompt") == "" {
		v.fail(rankSnapshotSchema, ErrSchema, "snapshot.prompt is not a non-empty string")
	}
	v.parameters(s.get("parameters"))
	v.value(s, "input", rankInput)
	v.value(s, "output", rankOutput)
}

// parameters wants two numbers, and two that may be null but not absent. That
// they are finite is a matter of strictness.
func (v *verification) parameters(raw jsontext.Value) {
	if raw == nil || raw.Kind() == jsontext.KindNull {
		v.fail(rankCanonicalization, ErrSchema, "snapshot.parameters is missing")
		return
	}
	p, err := splitObject(raw)
	if err != nil {
		v.fail(rankSnapshotSchema, ErrSchema, "snapshot.parameters is not an object")
		return
	}
	for _, name := range []string{"temperature", "maxTokens", "topP", "seed"} {
		kind := p.get(name).Kind()
		nullable := name == "topP" || name == "seed"
		if kind != jsontext.KindNumber && (!nullable || kind != jsontext.KindNull) {
			v.fail(rankSnapshotSchema, ErrSchema, "snapshot.parameters.%s is not a number", name)
		}
	}
}

// value checks input or output against its hash, if it is there.
func (v *verification) value(s object, name string, mismatch rank) {
	raw, claimed := s.get(name), s.text(name+"Hash")
	if h := s.get(name + "Hash"); h != nil && h.Kind() != jsontext.KindString {
		v.fail(rankSnapshotSchema, ErrSchema, "snapshot.%sHash is not a string", name)
		return
	}
	if !strings.HasPrefix(claimed, hashPrefix) {
		v.fail(rankSnapshotFormat, ErrSchema, "snapshot.%sHash does not begin with %q", name, hashPrefix)
	}
	if raw != nil && raw.Kind() == jsontext.KindNull {
		v.fail(rankSnapshotSchema, ErrSchema, "snapshot.%s is null", name)
		return
	}
	if raw != nil && hashValue(raw) == claimed {
		return
	}
	committed := raw != nil && v.result.ProtocolVersion == Protocol131 && isCommitment(raw)
	if raw != nil && !committed {
		v.fail(mismatch, ErrHash, "snapshot.%sHash is not the hash of snapshot.%s", name, name)
		return
	}
	// Nothing but certificateHash checks this hash: its form at least must be
	// that of one.
	if _, err := ParseHash(claimed); err != nil {
		v.fail(rankSnapshotFormat, ErrSchema, "snapshot.%sHash is not %q and 64 lower-case hex digits", name, hashPrefix)
	}
	v.result.Withheld = append(v.result.Withheld, "/snapshot/"+name)
	v.result.Confidential = v.result.Confidential || committed
}

// hashValue hashes the UTF-8 of a string, or the canonical form of any other
// value, which raw is.
func hashValue(raw jsontext.Value) string {
	if raw.Kind() != jsontext.KindString {
		return FormatHash(sha256.Sum256(raw))
	}
	return FormatHash(sha256.Sum256([]byte(unquote(raw))))
}

// isCommitment tells a value that a node has replaced (protocol 1.3.1). What
// the commitment covers is not published, so it stays opaque.
func isCommitment(raw jsontext.Value) bool {
	o, err := splitObject(raw)
	return err == nil && o.get("_redacted").Kind() == jsontext.KindTrue && o.text("commitment") != ""
}

// certificate compares certificateHash with each projection, the widest first,
// leaving out those that would cover the same bytes as a narrower one.
func (v *verification) certificate(top object, claimed string) {
	context, signals := top.get("context"), signalsOf(top.get("context"))
	try := []Projection{ProjectionFour}
	if signals != nil {
		try = append(try, ProjectionSignals)
	}
	if (context != nil && !bytes.Equal(context, signals)) || top.get("contextSummary") != nil {
		try = append(try, ProjectionContext)
	}
	if top.get("policyEvaluation") != nil {
		try = append(try, ProjectionPolicy)
	}
	for _, t := range slices.Backward(try) {
		if digest := projectionHash(top, t, signals); FormatHash(digest) == claimed {
			v.result.Projection, v.result.CertificateHash = t, digest
			v.result.Uncovered = uncovered(top, t)
			return
		}
	}
	v.fail(rankCertificate, ErrHash, "certificateHash covers no documented projection of the bundle")
}

// covers tells whether the projection includes a top-level member as it is.
func (p Projection) covers(name string) bool {
	switch name {
	case "bundleType", "createdAt", "snapshot", "version":
		return true
	case "context", "contextSummary":
		return p >= ProjectionContext
	case "policyEvaluation":
		return p >= ProjectionPolicy
	}
	return false
}

// projectionHash hashes the canonical form of the projection. The members of a
// canonical text are in order already.
func projectionHash(top object, p Projection, signals []byte) [32]byte {
	h := sha256.New()
	separator := []byte{'{'}
	put := func(m member, value []byte) {
		h.Write(separator)
		h.Write(m.quoted)
		h.Write([]byte{':'})
		h.Write(value)
		separator = []byte{','}
	}
	for _, m := range top {
		switch {
		case p.covers(m.name):
			put(m, m.value)
		case p == ProjectionSignals && m.name == "context":
			put(m, signals)
		}
	}
	h.Write([]byte{'}'})
	return [32]byte(h.Sum(nil))
}

// signalsOf returns the canonical {"signals":[…]} of a context whose signals
// are a non-empty array, else nil.
func signalsOf(context jsontext.Value) []byte {
	o, err := splitObject(context)
	if err != nil {
		return nil
	}
	signals := o.get("signals")
	if signals.Kind() != jsontext.KindBeginArray || len(signals) == len("[]") {
		return nil
	}
	return append(append([]byte(`{"signals":`), signals...), '}')
}

// uncovered lists what the projection leaves out, but for certificateHash
// itself.
func uncovered(top object, p Projection) []string {
	var out []string
	for _, m := range top {
		switch {
		case p.covers(m.name) || m.name == "certificateHash":
		case p == ProjectionSignals && m.name == "context":
			context, _ := splitObject(m.value) // it has signals, so it is an object
			for _, inner := range context {
				if inner.name != "signals" {
					out = append(out, "/context/"+escapePointer(inner.name))
				}
			}
		default:
			out = append(out, "/"+escapePointer(m.name))
		}
	}
	return out
}

// escapePointer escapes a name for a JSON Pointer. RFC 6901, 3.
func escapePointer(name string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
}
