package cer

import (
	"fmt"

	"github.com/sworn-run/sworn/cer/internal/canon"
	"github.com/sworn-run/sworn/internal/limits"
)

// Strict reports whether b is one JSON text that every reader understands
// alike, with arrays and objects nested at most depth deep. It refuses, with
// an error that wraps [ErrStrict]:
//
//   - text longer than 64 MiB, empty text, a byte order mark, anything but
//     whitespace after the value;
//   - invalid UTF-8 and escaped surrogates without a partner (RFC 7493, 2.1);
//   - member names that occur twice in an object, compared after unescaping
//     (RFC 7493, 2.3);
//   - numbers that do not survive as an IEEE 754 double (RFC 7493, 2.2): those
//     that overflow, those that are not 0 but become 0, a negative zero, and
//     those of magnitude 2^53 and more whose value is not the value that the
//     canonical form spells. So 9007199254740993 is refused however it is
//     spelled (9007199254740993.0, 9.007199254740993e15), and 1E21 is not.
//
// Other spellings (1E2, 0.10, an escaped letter, any whitespace, any order of
// members) are accepted: they have one canonical form, which [Canonical]
// makes. A fraction may have more digits than a double holds, as in the
// example of RFC 8785, 3.2.2. Unicode noncharacters are accepted: their
// encoding is unique, and NexArt bundles may hold them.
func Strict(b []byte, depth int) error { return canon.Check(b, depth, false) }

// Canonical returns the RFC 8785 form of b, a fresh slice. b must pass
// [Strict] at the depth of a NexArt bundle, 1,000, and have at most 1 Mi commas
// and colons outside of strings; the error wraps [ErrStrict].
func Canonical(b []byte) ([]byte, error) {
	if err := checkValues(b); err != nil {
		return nil, err
	}
	d, err := canon.Parse(b, limits.BundleDepth, false, 0)
	if err != nil {
		return nil, err
	}
	return d.Root().AppendCanonical(make([]byte, 0, len(b))), nil
}

// IsCanonical reports whether b passes [Strict] at depth 1,000 and is byte for
// byte its own RFC 8785 form.
func IsCanonical(b []byte) bool {
	exact, err := canon.IsExact(b, limits.BundleDepth, false)
	return err == nil && exact
}

// checkValues bounds what is remembered of a bundle that somebody else made. The
// error wraps [ErrStrict].
func checkValues(b []byte) error {
	if !canon.FewValues(b, limits.BundleValues) {
		return fmt.Errorf("%w: more than %d commas and colons", ErrStrict, limits.BundleValues)
	}
	return nil
}

// checkCanonical wants b to be strict, without a number of magnitude 2^53 or
// more, and its own RFC 8785 form. The error wraps [ErrStrict].
func checkCanonical(b []byte, depth int) error {
	exact, err := canon.IsExact(b, depth, true)
	if err != nil {
		return err
	}
	if !exact {
		return fmt.Errorf("%w: not in canonical form (RFC 8785)", ErrStrict)
	}
	return nil
}
