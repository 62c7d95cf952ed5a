package cer

import (
	"bytes"
	"crypto/sha256"
	"fmt"

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
	in, out := FormatHash(s.Input.digest()), FormatHash(s.Output.digest())
	fill(&s.InputHash, in)
	fill(&s.OutputHash, out)
	if s.InputHash != in || s.OutputHash != out {
		return nil, fmt.Errorf("sealing: %w: the inputHash or outputHash given is of something else", ErrHash)
	}
	// One level of nesting is the bundle's own.
	snapshot, err := marshalCanonical(s, limits.CapsuleDepth-1)
	if err != nil {
		return nil, fmt.Errorf("sealing: %w", err)
	}
	return assemble(snapshot, createdAt)
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

// assemble writes the four members in their canonical order, hashes them, and
// puts certificateHash where it sorts. createdAt holds nothing to escape.
func assemble(snapshot []byte, createdAt string) ([]byte, error) {
	head := `{"bundleType":"` + BundleType + `",`
	var tail bytes.Buffer
	tail.Grow(len(snapshot) + 128)
	tail.WriteString(`"createdAt":"` + createdAt + `","snapshot":`)
	tail.Write(snapshot)
	tail.WriteString(`,"version":"` + BundleVersion + `"}`)

	h := sha256.New()
	h.Write([]byte(head))
	h.Write(tail.Bytes())
	hash := FormatHash([32]byte(h.Sum(nil)))

	out := make([]byte, 0, len(head)+tail.Len()+128)
	out = append(out, head...)
	out = append(out, `"certificateHash":"`+hash+`",`...)
	out = append(out, tail.Bytes()...)
	if len(out) > limits.CapsuleFile {
		return nil, fmt.Errorf("sealing: %w: bundle of %d bytes, at most %d", ErrSchema, len(out), limits.CapsuleFile)
	}
	return out, nil
}
