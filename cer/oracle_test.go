package cer_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/limits"
)

// This file is a second verifier of bundles. It makes the canonical text, takes
// that apart and hashes the parts, while cer.VerifyIntegrity reads the text once:
// the two have to agree on everything.

const oraclePrefix = "sha256:"

// oracleIntegrity is cer.VerifyIntegrity.
func oracleIntegrity(bundle []byte) (*cer.Integrity, error) {
	c, err := oracleCanonical(bundle, limits.BundleDepth, false)
	if err != nil {
		return nil, &cer.IntegrityError{Code: cer.CodeCanonicalization, Err: err}
	}
	v := oracleVerification{result: cer.Integrity{Code: cer.CodeOK}}
	v.bundle(c)
	if err := v.verdict(); err != nil {
		return nil, err
	}
	return &v.result, nil
}

// A rank orders what can be wrong, worst first.
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

// oracleVerification collects the first failure of each rank.
type oracleVerification struct {
	failed [ranks]error
	result cer.Integrity
}

func (v *oracleVerification) fail(r rank, sentinel error, format string, args ...any) {
	if v.failed[r] == nil {
		v.failed[r] = fmt.Errorf("%w: %s", sentinel, fmt.Sprintf(format, args...))
	}
}

// verdict picks the failure that hides the others.
func (v *oracleVerification) verdict() error {
	codes := [ranks]cer.Code{
		rankCanonicalization: cer.CodeCanonicalization,
		rankBundleSchema:     cer.CodeSchema,
		rankBundleFormat:     cer.CodeInvalidFormat,
		rankSnapshotSchema:   cer.CodeSchema,
		rankSnapshotFormat:   cer.CodeInvalidFormat,
		rankInput:            cer.CodeInputHash,
		rankOutput:           cer.CodeOutputHash,
		rankCertificate:      cer.CodeCertificateHash,
	}
	if v.failed[rankOutput] != nil {
		codes[rankInput] = cer.CodeSnapshotHash
	}
	for r, err := range v.failed {
		if err != nil {
			return &cer.IntegrityError{Code: codes[r], Err: err}
		}
	}
	return nil
}

// bundle checks the canonical text c of a whole bundle.
func (v *oracleVerification) bundle(c []byte) {
	top, err := oracleSplit(c)
	if err != nil {
		v.fail(rankBundleSchema, cer.ErrSchema, "the bundle is not an object")
		return
	}
	for _, constant := range []struct{ name, want string }{{"bundleType", cer.BundleType}, {"version", cer.BundleVersion}} {
		if got := top.text(constant.name); got != constant.want {
			v.fail(rankBundleSchema, cer.ErrSchema, "%s is not %q", constant.name, constant.want)
		}
	}
	if top.text("createdAt") == "" {
		v.fail(rankBundleSchema, cer.ErrSchema, "createdAt is not a non-empty string")
	}
	claimed := top.text("certificateHash")
	if raw := top.get("certificateHash"); raw != nil && raw.Kind() != jsontext.KindString {
		v.fail(rankBundleSchema, cer.ErrSchema, "certificateHash is not a string")
	} else if !strings.HasPrefix(claimed, oraclePrefix) {
		v.fail(rankBundleFormat, cer.ErrSchema, "certificateHash does not begin with %q", oraclePrefix)
	}
	snapshot := top.get("snapshot")
	if snapshot == nil || snapshot.Kind() == jsontext.KindNull {
		v.fail(rankBundleSchema, cer.ErrSchema, "snapshot is missing")
		return
	}
	members, err := oracleSplit(snapshot)
	if err != nil {
		v.fail(rankCanonicalization, cer.ErrSchema, "snapshot is not an object")
		return
	}
	v.snapshot(members)
	v.certificate(top, claimed)
	// NexArt's verifier cannot hash a record that lacks only a part of these.
	if n := len(v.result.Withheld); v.failed[rankCertificate] != nil && n > 0 && n < 3 && !v.result.Confidential {
		v.fail(rankCanonicalization, cer.ErrSchema, "%s is missing", v.result.Withheld[0])
	}
}

// snapshot checks the members of a snapshot in the order of SDK 0.1.0.
func (v *oracleVerification) snapshot(s oracleObject) {
	for _, constant := range []struct{ name, want string }{{"type", cer.SnapshotType}, {"executionSurface", cer.Surface}} {
		if s.text(constant.name) != constant.want {
			v.fail(rankSnapshotSchema, cer.ErrSchema, "snapshot.%s is not %q", constant.name, constant.want)
		}
	}
	v.result.ProtocolVersion = s.text("protocolVersion")
	if raw := s.get("protocolVersion"); raw == nil || raw.Kind() == jsontext.KindNull {
		v.result.ProtocolVersion = cer.Protocol120
	}
	if !slices.Contains([]string{cer.Protocol120, cer.Protocol130, cer.Protocol131}, v.result.ProtocolVersion) {
		v.fail(rankSnapshotSchema, cer.ErrSchema, "snapshot.protocolVersion is not known")
	}
	for _, name := range []string{"executionId", "timestamp", "provider", "model"} {
		if s.text(name) == "" {
			v.fail(rankSnapshotSchema, cer.ErrSchema, "snapshot.%s is not a non-empty string", name)
		}
	}
	if s.get("prompt") == nil {
		v.result.Withheld = append(v.result.Withheld, "/snapshot/prompt")
	} else if s.text("prompt") == "" {
		v.fail(rankSnapshotSchema, cer.ErrSchema, "snapshot.prompt is not a non-empty string")
	}
	v.parameters(s.get("parameters"))
	v.value(s, "input", rankInput)
	v.value(s, "output", rankOutput)
}

// parameters wants two numbers, and two that may be null but not absent. That
// they are finite is a matter of strictness.
func (v *oracleVerification) parameters(raw jsontext.Value) {
	if raw == nil || raw.Kind() == jsontext.KindNull {
		v.fail(rankCanonicalization, cer.ErrSchema, "snapshot.parameters is missing")
		return
	}
	p, err := oracleSplit(raw)
	if err != nil {
		v.fail(rankSnapshotSchema, cer.ErrSchema, "snapshot.parameters is not an object")
		return
	}
	for _, name := range []string{"temperature", "maxTokens", "topP", "seed"} {
		kind := p.get(name).Kind()
		nullable := name == "topP" || name == "seed"
		if kind != jsontext.KindNumber && (!nullable || kind != jsontext.KindNull) {
			v.fail(rankSnapshotSchema, cer.ErrSchema, "snapshot.parameters.%s is not a number", name)
		}
	}
}

// value checks input or output against its hash, if it is there.
func (v *oracleVerification) value(s oracleObject, name string, mismatch rank) {
	raw, claimed := s.get(name), s.text(name+"Hash")
	if h := s.get(name + "Hash"); h != nil && h.Kind() != jsontext.KindString {
		v.fail(rankSnapshotSchema, cer.ErrSchema, "snapshot.%sHash is not a string", name)
		return
	}
	if !strings.HasPrefix(claimed, oraclePrefix) {
		v.fail(rankSnapshotFormat, cer.ErrSchema, "snapshot.%sHash does not begin with %q", name, oraclePrefix)
	}
	if raw != nil && raw.Kind() == jsontext.KindNull {
		v.fail(rankSnapshotSchema, cer.ErrSchema, "snapshot.%s is null", name)
		return
	}
	if raw != nil && oracleHashValue(raw) == claimed {
		return
	}
	committed := raw != nil && v.result.ProtocolVersion == cer.Protocol131 && oracleIsCommitment(raw)
	if raw != nil && !committed {
		v.fail(mismatch, cer.ErrHash, "snapshot.%sHash is not the hash of snapshot.%s", name, name)
		return
	}
	// Nothing but certificateHash checks this hash: its form at least must be
	// that of one.
	if _, err := cer.ParseHash(claimed); err != nil {
		v.fail(rankSnapshotFormat, cer.ErrSchema, "snapshot.%sHash is not %q and 64 lower-case hex digits", name, oraclePrefix)
	}
	v.result.Withheld = append(v.result.Withheld, "/snapshot/"+name)
	v.result.Confidential = v.result.Confidential || committed
}

// oracleHashValue hashes the UTF-8 of a string, or the canonical form of any other
// value, which raw is.
func oracleHashValue(raw jsontext.Value) string {
	if raw.Kind() != jsontext.KindString {
		return cer.FormatHash(sha256.Sum256(raw))
	}
	return cer.FormatHash(sha256.Sum256([]byte(oracleUnquote(raw))))
}

// oracleIsCommitment tells a value that a node has replaced (protocol 1.3.1). What
// the commitment covers is not published, so it stays opaque.
func oracleIsCommitment(raw jsontext.Value) bool {
	o, err := oracleSplit(raw)
	return err == nil && o.get("_redacted").Kind() == jsontext.KindTrue && o.text("commitment") != ""
}

// certificate compares certificateHash with each projection, the widest first,
// leaving out those that would cover the same bytes as a narrower one.
func (v *oracleVerification) certificate(top oracleObject, claimed string) {
	context, signals := top.get("context"), oracleSignalsOf(top.get("context"))
	try := []cer.Projection{cer.ProjectionFour}
	if signals != nil {
		try = append(try, cer.ProjectionSignals)
	}
	if (context != nil && !bytes.Equal(context, signals)) || top.get("contextSummary") != nil {
		try = append(try, cer.ProjectionContext)
	}
	if top.get("policyEvaluation") != nil {
		try = append(try, cer.ProjectionPolicy)
	}
	for _, t := range slices.Backward(try) {
		if digest := oracleProjectionHash(top, t, signals); cer.FormatHash(digest) == claimed {
			v.result.Projection, v.result.CertificateHash = t, digest
			v.result.Uncovered = oracleUncovered(top, t)
			return
		}
	}
	v.fail(rankCertificate, cer.ErrHash, "certificateHash covers no documented projection of the bundle")
}

// oracleCovers tells whether the projection includes a top-level member as it is.
func oracleCovers(p cer.Projection, name string) bool {
	switch name {
	case "bundleType", "createdAt", "snapshot", "version":
		return true
	case "context", "contextSummary":
		return p >= cer.ProjectionContext
	case "policyEvaluation":
		return p >= cer.ProjectionPolicy
	}
	return false
}

// oracleProjectionHash hashes the canonical form of the projection. The members of a
// canonical text are in order already.
func oracleProjectionHash(top oracleObject, p cer.Projection, signals []byte) [32]byte {
	h := sha256.New()
	separator := []byte{'{'}
	put := func(m oracleMember, value []byte) {
		h.Write(separator)
		h.Write(m.quoted)
		h.Write([]byte{':'})
		h.Write(value)
		separator = []byte{','}
	}
	for _, m := range top {
		switch {
		case oracleCovers(p, m.name):
			put(m, m.value)
		case p == cer.ProjectionSignals && m.name == "context":
			put(m, signals)
		}
	}
	h.Write([]byte{'}'})
	return [32]byte(h.Sum(nil))
}

// oracleSignalsOf returns the canonical {"signals":[…]} of a context whose signals
// are a non-empty array, else nil.
func oracleSignalsOf(context jsontext.Value) []byte {
	o, err := oracleSplit(context)
	if err != nil {
		return nil
	}
	signals := o.get("signals")
	if signals.Kind() != jsontext.KindBeginArray || len(signals) == len("[]") {
		return nil
	}
	return append(append([]byte(`{"signals":`), signals...), '}')
}

// oracleUncovered lists what the projection leaves out, but for certificateHash
// itself.
func oracleUncovered(top oracleObject, p cer.Projection) []string {
	var out []string
	for _, m := range top {
		switch {
		case oracleCovers(p, m.name) || m.name == "certificateHash":
		case p == cer.ProjectionSignals && m.name == "context":
			context, _ := oracleSplit(m.value) // it has signals, so it is an object
			for _, inner := range context {
				if inner.name != "signals" {
					out = append(out, "/context/"+oracleEscapePointer(inner.name))
				}
			}
		default:
			out = append(out, "/"+oracleEscapePointer(m.name))
		}
	}
	return out
}

// oracleEscapePointer escapes a name for a JSON Pointer. RFC 6901, 3.
func oracleEscapePointer(name string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
}

// An oracleMember is one of an object in canonical text.
type oracleMember struct {
	name   string
	quoted []byte         // the name as it stands in the text
	value  jsontext.Value // the value as it stands in the text
}

// An oracleObject is the members of a canonical object, in their order there. The
// slices refer to the text.
type oracleObject []oracleMember

// oracleSplit splits c, which is strict and is in canonical form or
// a part of a text that is. It fails if c is not an object.
func oracleSplit(c []byte) (oracleObject, error) {
	if len(c) == 0 || c[0] != '{' {
		return nil, fmt.Errorf("splitting an object: %w: not an object", cer.ErrSchema)
	}
	var out oracleObject
	for i := 1; i < len(c) && c[i] == '"'; i++ { // after the brace or a comma
		name := oracleSkipString(c, i)
		value := oracleSkipValue(c, name+1)
		m := oracleMember{quoted: c[i:name:name], value: jsontext.Value(c[name+1 : value : value])}
		m.name = oracleUnquote(m.quoted)
		out = append(out, m)
		i = value
	}
	return out, nil
}

// oracleSkipValue returns the index after the value that begins at i.
func oracleSkipValue(c []byte, i int) int {
	for level := 0; i < len(c); {
		switch c[i] {
		case '"':
			i = oracleSkipString(c, i)
			if level == 0 {
				return i
			}
			continue
		case '{', '[':
			level++
		case '}', ']':
			if level--; level < 0 {
				return i // of what encloses a literal
			}
			if level == 0 {
				return i + 1
			}
		case ',':
			if level == 0 {
				return i
			}
		}
		i++
	}
	return i
}

// oracleUnquote returns what a string of a text that is strict stands for.
func oracleUnquote(quoted []byte) string {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return string(quoted[1 : len(quoted)-1])
	}
	text, err := jsontext.AppendUnquote(nil, quoted)
	if err != nil {
		return "" // not reached: the text is valid
	}
	return string(text)
}

// get returns the value of a member, or nil, whose Kind is that of no JSON.
func (o oracleObject) get(name string) jsontext.Value {
	for i := range o {
		if o[i].name == name {
			return o[i].value
		}
	}
	return nil
}

// text returns the value of a member that is a string, else "".
func (o oracleObject) text(name string) string {
	raw := o.get(name)
	if raw.Kind() != jsontext.KindString {
		return ""
	}
	return oracleUnquote(raw)
}
