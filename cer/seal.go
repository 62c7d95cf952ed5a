package cer

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"math"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sworn-run/sworn/cer/internal/canon"
	"github.com/sworn-run/sworn/internal/limits"
)

// Seal makes a record: the RFC 8785 bytes of a bundle of exactly five members.
// createdAt is the claimed time of its making, in [TimeLayout].
//
// s is complete but for Type, ExecutionSurface, InputHash and OutputHash, which
// Seal fills in; where one is given already it must be what Seal would write,
// so that an opened record can be sealed again. ProtocolVersion is "1.2.0",
// "1.3.0" or "1.3.1", and only the first can stand in a capsule. The error
// wraps [ErrStrict] or [ErrSchema], or [ErrHash] where a given hash is wrong.
//
// The hash makes a record tamper-evident, not authentic: whoever edits it can
// seal it again.
func Seal(s Snapshot, createdAt string) ([]byte, error) {
	fill(&s.Type, SnapshotType)
	fill(&s.ExecutionSurface, Surface)
	if err := s.validate(); err != nil {
		return nil, fmt.Errorf("sealing: %w", err)
	}
	if !knownProtocol(s.ProtocolVersion) {
		return nil, fmt.Errorf("sealing: %w: protocolVersion is %q", ErrSchema, s.ProtocolVersion)
	}
	if err := checkTime("createdAt", createdAt); err != nil {
		return nil, fmt.Errorf("sealing: %w", err)
	}
	w := newSealer(&s, createdAt)
	w.snapshot(&s)
	return w.finish()
}

// fill sets what has been left empty.
func fill(s *string, value string) {
	if *s == "" {
		*s = value
	}
}

func knownProtocol(v string) bool {
	return v == Protocol120 || v == Protocol130 || v == Protocol131
}

// A sealer writes a bundle in canonical form, every byte once.
type sealer struct {
	out []byte
	// hashAt and rest are where certificateHash and the member after it belong.
	hashAt, rest int
	err          error
	mismatch     bool // a hash that was given is another
}

// newSealer writes what comes before the snapshot. createdAt holds nothing to
// escape.
func newSealer(s *Snapshot, createdAt string) *sealer {
	const members = 1024 // All names, hashes, times and numbers, and short texts.
	size := members + len(s.Prompt) + len(s.Runtime)
	for _, v := range [...]*Value{&s.Input, &s.Output} {
		size += len(v.text) + len(v.object)
	}
	w := &sealer{out: make([]byte, 0, size+size/16)}
	w.raw(`{"bundleType":"` + BundleType + `",`)
	w.hashAt = len(w.out)
	w.certificateHash([32]byte{})
	w.rest = len(w.out)
	w.raw(`"createdAt":"`)
	w.raw(createdAt)
	w.raw(`","snapshot":`)
	return w
}

// snapshot writes the snapshot, its members in their canonical order.
func (w *sealer) snapshot(s *Snapshot) {
	w.optional(`{"appId":`, s.AppID)
	w.text(`,"executionId":`, s.ExecutionID)
	w.text(`,"executionSurface":`, s.ExecutionSurface)
	w.value(`,"input":`, &s.Input, `,"inputHash":"`, s.InputHash)
	w.text(`,"model":`, s.Model)
	w.optional(`,"modelVersion":`, s.ModelVersion)
	w.value(`,"output":`, &s.Output, `,"outputHash":"`, s.OutputHash)
	w.number(`,"parameters":{"maxTokens":`, &s.Parameters.MaxTokens)
	w.number(`,"seed":`, s.Parameters.Seed)
	w.number(`,"temperature":`, &s.Parameters.Temperature)
	w.number(`,"topP":`, s.Parameters.TopP)
	w.text(`},"prompt":`, s.Prompt)
	w.text(`,"protocolVersion":`, s.ProtocolVersion)
	w.text(`,"provider":`, s.Provider)
	if s.Runtime != nil {
		w.runtime(`,"runtime":`, s.Runtime)
	}
	w.optional(`,"sdkVersion":`, s.SDKVersion)
	w.text(`,"timestamp":`, s.Timestamp)
	w.text(`,"type":`, s.Type)
	w.raw("}")
}

// finish writes the last member, hashes the four that are hashed, and puts
// certificateHash in its place.
func (w *sealer) finish() ([]byte, error) {
	w.raw(`,"version":"` + BundleVersion + `"}`)
	switch {
	case w.mismatch:
		return nil, fmt.Errorf("sealing: %w: the inputHash or outputHash given is of something else", ErrHash)
	case w.err != nil:
		return nil, fmt.Errorf("sealing: %w", w.err)
	case len(w.out) > limits.CapsuleFile:
		return nil, fmt.Errorf("sealing: %w: bundle of %d bytes, at most %d", ErrSchema, len(w.out), limits.CapsuleFile)
	}
	h := sha256.New()
	h.Write(w.out[:w.hashAt])
	h.Write(w.out[w.rest:])
	out := w.out
	w.out = w.out[:w.hashAt]
	w.certificateHash([32]byte(h.Sum(nil)))
	return out, nil
}

func (w *sealer) certificateHash(digest [32]byte) {
	w.raw(`"certificateHash":"`)
	w.out = appendHash(w.out, digest)
	w.raw(`",`)
}

// fail keeps the first failure; one of shape hides one of strictness.
func (w *sealer) fail(err error) {
	if w.err == nil || (errors.Is(err, ErrSchema) && !errors.Is(w.err, ErrSchema)) {
		w.err = err
	}
}

// raw writes canonical text.
func (w *sealer) raw(s string) { w.out = append(w.out, s...) }

// text writes a string, after what stands before it.
func (w *sealer) text(before, s string) {
	w.raw(before)
	out, ok := canon.AppendQuoted(w.out, s)
	if !ok {
		w.fail(fmt.Errorf("%w: text that is not UTF-8", ErrSchema))
		return
	}
	w.out = out
}

// optional writes a string, or null.
func (w *sealer) optional(before string, s *string) {
	if s == nil {
		w.raw(before)
		w.raw("null")
		return
	}
	w.text(before, *s)
}

// number writes a number, or null. What it refuses is refused in any text that
// is read: see [Strict] and [UnmarshalCanonical].
func (w *sealer) number(before string, f *float64) {
	w.raw(before)
	switch {
	case f == nil:
		w.raw("null")
	case math.IsNaN(*f) || math.IsInf(*f, 0):
		w.fail(fmt.Errorf("%w: a parameter is not finite", ErrSchema))
	case math.Abs(*f) >= 1<<53:
		w.fail(fmt.Errorf("%w: a parameter is 2^53 or more in magnitude", ErrStrict))
	case *f == 0 && math.Signbit(*f):
		w.fail(fmt.Errorf("%w: a parameter is negative zero", ErrStrict))
	default:
		w.out = canon.AppendNumber(w.out, *f)
	}
}

// value writes input or output and its hash, of the text's UTF-8 or of the
// canonical object; a hash that is given must be that. The two are not kept apart
// by NexArt: the text {} and the object {} have one hash.
func (w *sealer) value(before string, v *Value, beforeHash, given string) {
	w.raw(before)
	start := len(w.out)
	content := []byte(v.object)
	if v.object != nil {
		// Canonical already, but perhaps too deep for its place here.
		if err := canon.Check(v.object, objectDepth, true); err != nil {
			w.fail(err)
		}
		w.out = append(w.out, v.object...)
	} else {
		w.text("", v.text)
		if quoted := w.out[start:]; len(quoted) == len(v.text)+len(`""`) {
			content = quoted[1 : len(quoted)-1] // Nothing had to be escaped.
		} else {
			content = []byte(v.text)
		}
	}
	w.raw(beforeHash)
	start = len(w.out)
	w.out = appendHash(w.out, sha256.Sum256(content))
	w.mismatch = w.mismatch || (given != "" && given != string(w.out[start:]))
	w.raw(`"`)
}

// objectDepth is how deep a value within the snapshot may be nested: the bundle
// and the snapshot are two levels of a capsule's.
const objectDepth = limits.CapsuleDepth - 2

// runtime writes the runtime object, in whatever spelling it is given.
func (w *sealer) runtime(before string, r jsontext.Value) {
	d, err := canon.Parse(r, objectDepth, true, 0)
	if err != nil {
		w.fail(fmt.Errorf("%w: runtime: %w", ErrSchema, err))
		return
	}
	w.raw(before)
	w.out = d.Root().AppendCanonical(w.out)
}
