// Package cer is the record and the file it travels in: strict JSON and its
// canonical form, the NexArt bundle that is the record proper, and the Merkle
// trees that tie records and events to a statement.
//
// Everything here works on the bytes received. A text is validated by
// [Strict] before any part of it is hashed, because a text that two parsers
// read differently has a hash that means two things. What is not understood
// completely is refused; there is no lenient mode.
//
// The package has no clock, no files and no network, and builds for js/wasm.
package cer

import (
	"errors"

	"github.com/sworn-run/sworn/cer/internal/canon"
)

// Every error of this package wraps one of these three, or [ErrOpening]; an
// [*IntegrityError] does too.
var (
	// ErrStrict: the bytes are not JSON of the one strict form that may be
	// hashed, or not the canonical form where that form is demanded.
	ErrStrict = canon.ErrStrict

	// ErrSchema: well-formed, but not of the shape that is demanded: a member
	// unknown, missing, of the wrong type, or outside of its bounds.
	ErrSchema = errors.New("not of the required shape")

	// ErrHash: a digest or a proof does not match what it is said to cover.
	ErrHash = errors.New("hash mismatch")
)
