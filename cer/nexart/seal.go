package nexart

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"time"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/cer/internal/canon"
	"github.com/sworn-run/sworn/internal/limits"
)

// SealOptions say how to seal.
type SealOptions struct {
	// ProtocolVersion is "1.2.0", "1.3.0" or "1.3.1". Empty: what the snapshot
	// says, or 1.2.0.
	ProtocolVersion string
	// CreatedAt is the claimed time of the record's making. The zero time is
	// refused.
	CreatedAt time.Time
}

// A part is a member of the snapshot that is made.
type part struct {
	name  string
	value []byte // canonical
}

// Seal makes a cer.ai.execution.v1 bundle of exactly five members, in canonical
// form, from a snapshot: a JSON object with at least executionId, provider, model,
// prompt, input, output and parameters {temperature, maxTokens}.
//
// Seal adds what may be left out: type, executionSurface, protocolVersion,
// inputHash and outputHash; timestamp (CreatedAt); modelVersion, sdkVersion, appId,
// parameters.topP and parameters.seed (null). What is there already must be right.
// Other members are sealed as they are. Unlike NexArt's sealer it refuses what no
// verifier would accept: an empty executionId, prompt, provider or model, a
// parameter that is no number. The error wraps [ErrSnapshot], and
// [cer.ErrStrict] where the text is not strict JSON.
func Seal(snapshot []byte, o SealOptions) ([]byte, error) {
	if o.CreatedAt.IsZero() {
		return nil, fmt.Errorf("sealing: %w: no time given", ErrSnapshot)
	}
	d, err := parse(snapshot, limits.BundleDepth-1)
	if err != nil {
		return nil, fmt.Errorf("sealing: %w: %w", ErrSnapshot, err)
	}
	s := d.Root()
	if s.Kind() != '{' {
		return nil, fmt.Errorf("sealing: %w: not an object", ErrSnapshot)
	}
	parts, err := o.complete(s)
	if err != nil {
		return nil, fmt.Errorf("sealing: %w: %w", ErrSnapshot, err)
	}
	out := assemble(parts, cer.FormatTime(o.CreatedAt), len(snapshot))
	// What a verifier would not accept is not handed out.
	if len(out) > limits.CapsuleFile || !canon.FewValues(out, limits.BundleValues) {
		return nil, fmt.Errorf("sealing: %w: a bundle of %d bytes, at most %d, and at most %d commas and colons",
			ErrSnapshot, len(out), limits.CapsuleFile, limits.BundleValues)
	}
	if _, err := cer.VerifyIntegrity(out); err != nil {
		return nil, fmt.Errorf("sealing: %w: %w", ErrSnapshot, err)
	}
	return out, nil
}

// complete returns the snapshot's members in canonical order, with what was left
// out.
func (o *SealOptions) complete(s canon.Value) ([]part, error) {
	for _, name := range []string{"executionId", "provider", "model", "prompt"} {
		if s.Get(name).IsEmpty() {
			return nil, fmt.Errorf("%s is not a non-empty string", name)
		}
	}
	for _, name := range []string{"input", "output"} {
		if k := s.Get(name).Kind(); k == 0 || k == 'n' {
			return nil, fmt.Errorf("%s is missing", name)
		}
	}
	for _, name := range []string{"modelVersion", "sdkVersion", "appId"} {
		if k := s.Get(name).Kind(); k != 0 && k != 'n' && k != '"' {
			return nil, fmt.Errorf("%s is neither a string nor null", name)
		}
	}
	protocol, err := o.protocol(s.Get("protocolVersion"))
	if err != nil {
		return nil, err
	}
	parameters, err := completeParameters(s.Get("parameters"))
	if err != nil {
		return nil, err
	}
	fixed := []struct{ name, want string }{
		{"type", cer.SnapshotType},
		{"executionSurface", cer.Surface},
		{"protocolVersion", protocol},
		{"inputHash", hashOf(s.Get("input"))},
		{"outputHash", hashOf(s.Get("output"))},
	}
	parts := append(make([]part, 0, s.Len()+len(fixed)+5), part{"parameters", parameters})
	for _, f := range fixed {
		if v := s.Get(f.name); v.Kind() != 0 && !v.Is(f.want) {
			return nil, fmt.Errorf("%s is not %q", f.name, f.want)
		}
		parts = append(parts, part{f.name, []byte(`"` + f.want + `"`)})
	}
	set := parts // A snapshot has no name twice: only these can be there already.
	for i := range s.Len() {
		name, v := s.Member(i)
		if !slices.ContainsFunc(set, func(p part) bool { return p.name == name }) {
			parts = append(parts, part{name, v.Canonical()})
		}
	}
	for _, p := range []part{
		{"timestamp", []byte(`"` + cer.FormatTime(o.CreatedAt) + `"`)},
		{"modelVersion", []byte("null")},
		{"sdkVersion", []byte("null")},
		{"appId", []byte("null")},
	} {
		if s.Get(p.name).Kind() == 0 {
			parts = append(parts, p)
		}
	}
	return parts, nil
}

// protocol chooses the protocolVersion.
func (o *SealOptions) protocol(said canon.Value) (string, error) {
	protocol := o.ProtocolVersion
	if protocol == "" {
		protocol = cer.Protocol120
		if said.Kind() != 0 {
			protocol = said.String()
		}
	}
	if !knownProtocol(protocol) {
		return "", fmt.Errorf("protocolVersion %q is not known", protocol)
	}
	return protocol, nil
}

// completeParameters returns the parameters with null for those that may be left
// out.
func completeParameters(p canon.Value) ([]byte, error) {
	if p.Kind() != '{' {
		return nil, fmt.Errorf("parameters is not an object")
	}
	var parts []part
	for i, name := range []string{"temperature", "maxTokens", "topP", "seed"} {
		k := p.Get(name).Kind()
		switch {
		case k == '0':
		case i >= 2 && k == 'n':
		case i >= 2 && k == 0:
			parts = append(parts, part{name, []byte("null")})
		default:
			return nil, fmt.Errorf("parameters.%s is not a number", name)
		}
	}
	for i := range p.Len() {
		name, v := p.Member(i)
		parts = append(parts, part{name, v.Canonical()})
	}
	return appendObject(nil, parts), nil
}

// hashOf is what inputHash and outputHash hold.
func hashOf(v canon.Value) string {
	if v.Kind() == '"' {
		return hashText(v.Bytes())
	}
	return hashText(v.Canonical())
}

// appendObject writes members in canonical order.
func appendObject(dst []byte, parts []part) []byte {
	slices.SortFunc(parts, func(a, b part) int { return canon.CompareNames(a.name, b.name) })
	dst = append(dst, '{')
	for i, p := range parts {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst, _ = canon.AppendQuoted(dst, p.name) // A name that has been read is UTF-8.
		dst = append(append(dst, ':'), p.value...)
	}
	return append(dst, '}')
}

// assemble writes the five members, of which certificateHash covers the others.
func assemble(snapshot []part, createdAt string, size int) []byte {
	out := make([]byte, 0, size+1024)
	out = append(out, `{"bundleType":"`+cer.BundleType+`",`...)
	head := len(out)
	out = append(out, `"certificateHash":"`...)
	hash := len(out)
	out = append(out, cer.FormatHash([32]byte{})...) // The right one comes in its place.
	out = append(out, `",`...)
	rest := len(out)
	out = append(out, `"createdAt":"`+createdAt+`","snapshot":`...)
	out = appendObject(out, snapshot)
	out = append(out, `,"version":"`+cer.BundleVersion+`"}`...)
	h := sha256.New()
	h.Write(out[:head])
	h.Write(out[rest:])
	copy(out[hash:], cer.FormatHash([32]byte(h.Sum(nil))))
	return out
}
