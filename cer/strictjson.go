package cer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sworn-run/sworn/internal/limits"
)

// maxExact is 2^53: up to it every integer is a double, beyond it neighbours
// share one.
const maxExact = 1 << 53

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
func Strict(b []byte, depth int) error {
	return strict(b, depth, false)
}

// Canonical returns the RFC 8785 form of b, a fresh slice. b must pass
// [Strict] at the depth of a NexArt bundle, 1,000; the error wraps
// [ErrStrict].
func Canonical(b []byte) ([]byte, error) {
	return canonical(b, limits.BundleDepth, false)
}

// IsCanonical reports whether b passes [Strict] at depth 1,000 and is byte for
// byte its own RFC 8785 form.
func IsCanonical(b []byte) bool {
	c, err := Canonical(b)
	return err == nil && bytes.Equal(c, b)
}

// canonical is Strict and then RFC 8785. With exact, numbers of magnitude 2^53
// and more are refused altogether.
func canonical(b []byte, depth int, exact bool) ([]byte, error) {
	if err := scan(b, depth, exact); err != nil {
		return nil, err
	}
	v := jsontext.Value(bytes.Clone(b))
	if err := v.Canonicalize(); err != nil { // validates as strict does
		return nil, fmt.Errorf("canonicalising: %w: %w", ErrStrict, err)
	}
	return v, nil
}

// strict does two linear passes without building anything: one of our own for
// depth and numbers, so that what follows is bounded, and one of jsontext for
// grammar, UTF-8, surrogates and duplicate names.
func strict(b []byte, depth int, exact bool) error {
	if err := scan(b, depth, exact); err != nil {
		return err
	}
	d := jsontext.NewDecoder(bytes.NewBuffer(b))
	if _, err := d.ReadValue(); err != nil {
		return fmt.Errorf("reading JSON: %w: %w", ErrStrict, err)
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("reading JSON: %w: data after the value at byte %d", ErrStrict, d.InputOffset())
	}
	return nil
}

// scan bounds the length and the nesting and checks every number. It relies on no grammar: a
// text that confuses it is not JSON, and the pass that follows says so.
func scan(b []byte, depth int, exact bool) error {
	if len(b) > limits.CapsuleFile {
		return fmt.Errorf("reading JSON: %w: %d bytes, at most %d", ErrStrict, len(b), limits.CapsuleFile)
	}
	level := 0
	for i := 0; i < len(b); {
		switch c := b[i]; {
		case c == '"':
			i = skipString(b, i)
			continue
		case c == '[' || c == '{':
			if level++; level > depth {
				return fmt.Errorf("reading JSON: %w: nested deeper than %d at byte %d", ErrStrict, depth, i)
			}
		case c == ']' || c == '}':
			level--
		case c == '-' || (c >= '0' && c <= '9'):
			end := numberEnd(b, i)
			if err := checkNumber(b[i:end], exact); err != nil {
				return fmt.Errorf("reading JSON number at byte %d: %w", i, err)
			}
			i = end
			continue
		}
		i++
	}
	return nil
}

// skipString returns the index after the string that begins at i.
func skipString(b []byte, i int) int {
	i++
	end := bytes.IndexByte(b[i:], '"')
	if end < 0 {
		return len(b)
	}
	escape := bytes.IndexByte(b[i:i+end], '\\')
	if escape < 0 {
		return i + end + 1
	}
	for i += escape; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(b)
}

// numberEnd returns the index after the run of number characters at i.
func numberEnd(b []byte, i int) int {
	for i < len(b) {
		switch c := b[i]; {
		case c >= '0' && c <= '9', c == '-', c == '+', c == '.', c == 'e', c == 'E':
			i++
		default:
			return i
		}
	}
	return i
}

// checkNumber applies the rules of [Strict] to one literal. RFC 7493, 2.2;
// RFC 8785, 3.2.2.3.
func checkNumber(t []byte, exact bool) error {
	if len(t) > limits.JSONNumber {
		return fmt.Errorf("%w: %d characters, at most %d", ErrStrict, len(t), limits.JSONNumber)
	}
	if shortInteger(t) {
		return nil
	}
	f, err := strconv.ParseFloat(string(t), 64)
	if err != nil {
		return fmt.Errorf("%w: %q is out of range or malformed", ErrStrict, t)
	}
	if f != 0 && math.Abs(f) < maxExact {
		return nil
	}
	if f != 0 && exact {
		return fmt.Errorf("%w: %q is 2^53 or more in magnitude", ErrStrict, t)
	}
	var digits [limits.JSONNumber]byte
	var spelled, shortest [32]byte
	d, exp := decimal(digits[:0], t)
	s, sexp := decimal(shortest[:0], strconv.AppendFloat(spelled[:0], f, 'e', -1, 64))
	if exp != sexp || !bytes.Equal(d, s) {
		return fmt.Errorf("%w: %q is not exact as a double", ErrStrict, t)
	}
	if f == 0 && t[0] == '-' {
		return fmt.Errorf("%w: negative zero %q", ErrStrict, t)
	}
	return nil
}

// shortInteger reports whether t is plainly an integer below 10^15 other than
// negative zero: the common case, without conversion.
func shortInteger(t []byte) bool {
	if len(t) > 15 {
		return false
	}
	negative := t[0] == '-'
	if negative {
		t = t[1:]
	}
	if len(t) == 0 || (negative && t[0] == '0') {
		return false
	}
	for _, c := range t {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// decimal writes the significant digits of a literal to dst, without leading
// and trailing zeros, and returns them with the power of ten of the first
// digit: two literals have the same magnitude iff both results agree. Zero has
// no digits. The literal has been accepted by strconv, and is no longer than
// limits.JSONNumber; an exponent too large for an int was refused there as out
// of range unless the value is zero.
func decimal(dst, t []byte) (digits []byte, exp int) {
	mantissa, power := t, 0
	if i := bytes.IndexAny(t, "eE"); i >= 0 {
		mantissa = t[:i]
		power, _ = strconv.Atoi(string(t[i+1:])) // saturates; then the value is zero or out of range
	}
	point, seen := 0, false
	for _, c := range mantissa {
		switch {
		case c == '.':
			seen = true
		case c < '0' || c > '9':
		case c == '0' && len(dst) == 0:
			if seen {
				point--
			}
		default:
			dst = append(dst, c)
			if !seen {
				point++
			}
		}
	}
	dst = bytes.TrimRight(dst, "0")
	if len(dst) == 0 {
		return dst, 0
	}
	return dst, point + power
}
