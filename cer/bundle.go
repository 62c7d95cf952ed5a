package cer

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sworn-run/sworn/internal/limits"
)

// The constants of a NexArt cer.ai.execution.v1 bundle.
const (
	// BundleType is the bundleType of every record.
	BundleType = "cer.ai.execution.v1"
	// BundleVersion is the bundle's version, that of its schema.
	BundleVersion = "0.1"
	// SnapshotType is the type of a bundle's snapshot.
	SnapshotType = "ai.execution.v1"
	// Surface is the only executionSurface.
	Surface = "ai"

	// Protocol120 is the protocolVersion of the records that Sworn makes, and
	// the one that SDK 0.1.0 verifies.
	Protocol120 = "1.2.0"
	// Protocol130 selects the canonicalisation profile jcs-v1, RFC 8785 by
	// name. Its bytes are those of 1.2.0.
	Protocol130 = "1.3.0"
	// Protocol131 is 1.3.0 with values that a node may have redacted.
	Protocol131 = "1.3.1"
)

// TimeLayout is the one form of createdAt and timestamp in a record made here:
// RFC 3339 in UTC with milliseconds, 24 characters.
const TimeLayout = "2006-01-02T15:04:05.000Z"

// FormatTime returns t as createdAt and timestamp want it, cut to the
// millisecond.
func FormatTime(t time.Time) string { return t.UTC().Format(TimeLayout) }

const hashPrefix = "sha256:"

// FormatHash returns a SHA-256 digest in the form of certificateHash:
// "sha256:" and 64 lower-case hexadecimal digits.
func FormatHash(digest [32]byte) string { return string(appendHash(nil, digest)) }

func appendHash(dst []byte, digest [32]byte) []byte {
	return hex.AppendEncode(append(dst, hashPrefix...), digest[:])
}

// ParseHash is the inverse of [FormatHash] and accepts that one form only. The
// error wraps [ErrSchema].
func ParseHash(s string) (digest [32]byte, err error) {
	if digest, ok := parseHash([]byte(s)); ok {
		return digest, nil
	}
	return [32]byte{}, fmt.Errorf("parsing digest: %w: want %q and 64 lower-case hex digits", ErrSchema, hashPrefix)
}

func parseHash(b []byte) (digest [32]byte, ok bool) {
	digits, ok := bytes.CutPrefix(b, []byte(hashPrefix))
	if !ok || len(digits) != 2*len(digest) {
		return [32]byte{}, false
	}
	for i, c := range digits {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		default:
			return [32]byte{}, false
		}
		digest[i/2] = digest[i/2]<<4 | c
	}
	return digest, true
}

// A Value is the input or the output of an execution: text, or a JSON object.
// The zero Value is neither and cannot be sealed.
type Value struct {
	text   string
	object jsontext.Value // canonical; nil for text
	set    bool
}

// TextValue returns s as a Value: UTF-8 of at most 16 MiB, which may be empty.
// The error wraps [ErrStrict] or [ErrSchema].
func TextValue(s string) (Value, error) {
	if !utf8.ValidString(s) {
		return Value{}, fmt.Errorf("taking text: %w: not UTF-8", ErrStrict)
	}
	if len(s) > limits.EmbeddedContent {
		return Value{}, fmt.Errorf("taking text: %w: %d bytes, at most %d", ErrSchema, len(s), limits.EmbeddedContent)
	}
	return Value{text: s, set: true}, nil
}

// ObjectValue returns b, a JSON object in RFC 8785 form of at most 24 MiB, as a
// Value with a copy of it. The error wraps [ErrStrict] or [ErrSchema].
func ObjectValue(b []byte) (Value, error) {
	if len(b) > limits.EmbeddedObject {
		return Value{}, fmt.Errorf("taking object: %w: %d bytes, at most %d", ErrSchema, len(b), limits.EmbeddedObject)
	}
	if err := checkCanonical(b, limits.CapsuleDepth); err != nil {
		return Value{}, fmt.Errorf("taking object: %w", err)
	}
	if b[0] != '{' {
		return Value{}, fmt.Errorf("taking object: %w: not an object", ErrSchema)
	}
	return Value{object: bytes.Clone(b), set: true}, nil
}

// Text returns the text and true, or "" and false if v is no text.
func (v Value) Text() (string, bool) { return v.text, v.set && v.object == nil }

// Object returns a copy of the canonical JSON object, or nil if v is none.
func (v Value) Object() []byte { return bytes.Clone(v.object) }

// MarshalJSONTo writes the string or the object. The zero Value is an error.
func (v Value) MarshalJSONTo(e *jsontext.Encoder) error {
	switch {
	case !v.set:
		return fmt.Errorf("encoding input or output: %w: neither text nor object", ErrSchema)
	case v.object != nil:
		return e.WriteValue(v.object)
	}
	return e.WriteToken(jsontext.String(v.text))
}

// UnmarshalJSONFrom reads a string or an object in canonical form; anything
// else is an error that wraps [ErrSchema] or [ErrStrict].
func (v *Value) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	raw, err := d.ReadValue()
	if err != nil {
		return fmt.Errorf("reading input or output: %w: %w", ErrStrict, err)
	}
	if raw.Kind() == jsontext.KindString {
		text, err := jsontext.AppendUnquote(nil, raw)
		if err != nil {
			return fmt.Errorf("reading input or output: %w: %w", ErrStrict, err)
		}
		*v, err = TextValue(string(text))
		return err
	}
	*v, err = ObjectValue(raw)
	return err
}

// Parameters are the four generation parameters of a snapshot: finite numbers
// below 2^53 in magnitude, of which the last two may be null.
type Parameters struct {
	Temperature float64  `json:"temperature"`
	MaxTokens   float64  `json:"maxTokens"`
	TopP        *float64 `json:"topP"`
	Seed        *float64 `json:"seed"`
}

// A Snapshot is what a record says of one execution: the sixteen members that
// SDK 0.1.0 writes and, optionally, runtime, where Sworn's facts are. The
// texts ExecutionID to Model and Prompt are not empty; all but Prompt are at
// most 4,096 bytes.
type Snapshot struct {
	// Type is [SnapshotType]; [Seal] fills it in.
	Type string `json:"type"`
	// ProtocolVersion is [Protocol120] in a capsule; [Seal] knows 1.3.0 and
	// 1.3.1 as well.
	ProtocolVersion string `json:"protocolVersion"`
	// ExecutionSurface is [Surface]; [Seal] fills it in.
	ExecutionSurface string `json:"executionSurface"`
	// ExecutionID names the execution; whoever makes the record chooses it.
	ExecutionID string `json:"executionId"`
	// Timestamp is the claimed time of the execution, in [TimeLayout].
	Timestamp string `json:"timestamp"`
	// Provider is who is said to serve the model.
	Provider string `json:"provider"`
	// Model is the model's name as the record's maker states it.
	Model string `json:"model"`
	// ModelVersion is the model's version or nil.
	ModelVersion *string `json:"modelVersion"`
	// Prompt is the instruction given beside the input, at most 16 MiB.
	Prompt string `json:"prompt"`
	// Input is what the model was given.
	Input Value `json:"input"`
	// InputHash is the hash of Input in the form of [FormatHash]; [Seal]
	// computes it.
	InputHash string `json:"inputHash"`
	// Parameters are the generation parameters.
	Parameters Parameters `json:"parameters"`
	// Output is what came out.
	Output Value `json:"output"`
	// OutputHash is the hash of Output, as InputHash.
	OutputHash string `json:"outputHash"`
	// SDKVersion names the software that made the record, or nil.
	SDKVersion *string `json:"sdkVersion"`
	// AppID names the application, or nil.
	AppID *string `json:"appId"`
	// Runtime is a JSON object in RFC 8785 form, or nil where the record has
	// none. Its inner shape is not looked at here.
	Runtime jsontext.Value `json:"runtime,omitzero"`
}

// validate checks what the types do not.
func (s *Snapshot) validate() error {
	switch {
	case s.Type != SnapshotType:
		return fmt.Errorf("checking snapshot: %w: type is %q", ErrSchema, s.Type)
	case s.ExecutionSurface != Surface:
		return fmt.Errorf("checking snapshot: %w: executionSurface is %q", ErrSchema, s.ExecutionSurface)
	case s.Prompt == "" || len(s.Prompt) > limits.EmbeddedContent:
		return fmt.Errorf("checking snapshot: %w: prompt of %d bytes, want 1 to %d", ErrSchema, len(s.Prompt), limits.EmbeddedContent)
	case !s.Input.set || !s.Output.set:
		return fmt.Errorf("checking snapshot: %w: input or output is neither text nor object", ErrSchema)
	case s.Runtime != nil && (len(s.Runtime) == 0 || s.Runtime[0] != '{'):
		return fmt.Errorf("checking snapshot: %w: runtime is not an object", ErrSchema)
	}
	for _, m := range []struct{ name, value string }{
		{"executionId", s.ExecutionID}, {"provider", s.Provider}, {"model", s.Model},
	} {
		if m.value == "" || len(m.value) > limits.RecordText {
			return fmt.Errorf("checking snapshot: %w: %s of %d bytes, want 1 to %d", ErrSchema, m.name, len(m.value), limits.RecordText)
		}
	}
	for _, p := range []*string{s.ModelVersion, s.SDKVersion, s.AppID} {
		if p != nil && len(*p) > limits.RecordText {
			return fmt.Errorf("checking snapshot: %w: text of %d bytes, at most %d", ErrSchema, len(*p), limits.RecordText)
		}
	}
	return checkTime("timestamp", s.Timestamp)
}

// checkTime wants TimeLayout and a day that exists.
func checkTime(name, s string) error {
	if t, err := time.Parse(TimeLayout, s); err != nil || t.Format(TimeLayout) != s {
		return fmt.Errorf("checking %s: %w: want a time of the form %s", name, ErrSchema, TimeLayout)
	}
	return nil
}

// A Bundle is the record proper: a NexArt bundle of exactly five members.
type Bundle struct {
	// BundleType is [BundleType].
	BundleType string `json:"bundleType"`
	// CertificateHash covers the other four members, in the form of
	// [FormatHash].
	CertificateHash string `json:"certificateHash"`
	// CreatedAt is the claimed time of the record's making, in [TimeLayout].
	CreatedAt string `json:"createdAt"`
	// Snapshot is what the record says.
	Snapshot Snapshot `json:"snapshot"`
	// Version is [BundleVersion].
	Version string `json:"version"`
}

// ParseBundle reads the bundle of a capsule. b is in RFC 8785 form and has
// exactly the members of [Bundle], [Snapshot] and [Parameters], protocolVersion
// 1.2.0, times in [TimeLayout] and hashes in the form of [FormatHash]; what
// other bundles may hold besides is refused, for an unhashed member can be
// inserted by anybody.
//
// ParseBundle says what the record states, not that its hashes are true: for
// that, give the same bytes to [VerifyIntegrity]. The error wraps [ErrStrict]
// or [ErrSchema].
func ParseBundle(b []byte) (*Bundle, error) {
	out, ok := scanBundle(b)
	if !ok {
		out = &Bundle{}
		if err := UnmarshalCanonical(b, limits.CapsuleDepth, out); err != nil {
			return nil, fmt.Errorf("parsing bundle: %w", err)
		}
	}
	switch {
	case out.BundleType != BundleType:
		return nil, fmt.Errorf("parsing bundle: %w: bundleType is %q", ErrSchema, out.BundleType)
	case out.Version != BundleVersion:
		return nil, fmt.Errorf("parsing bundle: %w: version is %q", ErrSchema, out.Version)
	case out.Snapshot.ProtocolVersion != Protocol120:
		return nil, fmt.Errorf("parsing bundle: %w: protocolVersion is %q", ErrSchema, out.Snapshot.ProtocolVersion)
	}
	for _, h := range []string{out.CertificateHash, out.Snapshot.InputHash, out.Snapshot.OutputHash} {
		if _, err := ParseHash(h); err != nil {
			return nil, fmt.Errorf("parsing bundle: %w", err)
		}
	}
	if err := checkTime("createdAt", out.CreatedAt); err != nil {
		return nil, fmt.Errorf("parsing bundle: %w", err)
	}
	if err := out.Snapshot.validate(); err != nil {
		return nil, fmt.Errorf("parsing bundle: %w", err)
	}
	return out, nil
}
