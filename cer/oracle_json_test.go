package cer_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/limits"
)

// This file is a second reader of strict JSON, in several passes and by way of
// jsontext: what the package's own reader, of one pass, is compared with. It
// shares nothing with it.

// maxExact is 2^53: up to it every integer is a double, beyond it neighbours
// share one.
const maxExact = 1 << 53

// oracleCanonical is oracleStrict and then RFC 8785. With exact, numbers of magnitude 2^53
// and more are refused altogether.
func oracleCanonical(b []byte, depth int, exact bool) ([]byte, error) {
	if err := oracleScan(b, depth, exact); err != nil {
		return nil, err
	}
	v := jsontext.Value(bytes.Clone(b))
	if err := v.Canonicalize(); err != nil { // validates as strict does
		return nil, fmt.Errorf("canonicalising: %w: %w", cer.ErrStrict, err)
	}
	return v, nil
}

// oracleStrict does two linear passes without building anything: one of our own for
// depth and numbers, so that what follows is bounded, and one of jsontext for
// grammar, UTF-8, surrogates and duplicate names.
func oracleStrict(b []byte, depth int, exact bool) error {
	if err := oracleScan(b, depth, exact); err != nil {
		return err
	}
	d := jsontext.NewDecoder(bytes.NewBuffer(b))
	if _, err := d.ReadValue(); err != nil {
		return fmt.Errorf("reading JSON: %w: %w", cer.ErrStrict, err)
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("reading JSON: %w: data after the value at byte %d", cer.ErrStrict, d.InputOffset())
	}
	return nil
}

// oracleScan bounds the length and the nesting and checks every number. It relies on no grammar: a
// text that confuses it is not JSON, and the pass that follows says so.
func oracleScan(b []byte, depth int, exact bool) error {
	if len(b) > limits.CapsuleFile {
		return fmt.Errorf("reading JSON: %w: %d bytes, at most %d", cer.ErrStrict, len(b), limits.CapsuleFile)
	}
	level := 0
	for i := 0; i < len(b); {
		switch c := b[i]; {
		case c == '"':
			i = oracleSkipString(b, i)
			continue
		case c == '[' || c == '{':
			if level++; level > depth {
				return fmt.Errorf("reading JSON: %w: nested deeper than %d at byte %d", cer.ErrStrict, depth, i)
			}
		case c == ']' || c == '}':
			level--
		case c == '-' || (c >= '0' && c <= '9'):
			end := oracleNumberEnd(b, i)
			if err := oracleCheckNumber(b[i:end], exact); err != nil {
				return fmt.Errorf("reading JSON number at byte %d: %w", i, err)
			}
			i = end
			continue
		}
		i++
	}
	return nil
}

// oracleSkipString returns the index after the string that begins at i.
func oracleSkipString(b []byte, i int) int {
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

// oracleNumberEnd returns the index after the run of number characters at i.
func oracleNumberEnd(b []byte, i int) int {
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

// oracleCheckNumber applies the rules of cer.Strict to one literal. RFC 7493, 2.2;
// RFC 8785, 3.2.2.3.
func oracleCheckNumber(t []byte, exact bool) error {
	if len(t) > limits.JSONNumber {
		return fmt.Errorf("%w: %d characters, at most %d", cer.ErrStrict, len(t), limits.JSONNumber)
	}
	if oracleShortInteger(t) {
		return nil
	}
	f, err := strconv.ParseFloat(string(t), 64)
	if err != nil {
		return fmt.Errorf("%w: %q is out of range or malformed", cer.ErrStrict, t)
	}
	if f != 0 && math.Abs(f) < maxExact {
		return nil
	}
	if f != 0 && exact {
		return fmt.Errorf("%w: %q is 2^53 or more in magnitude", cer.ErrStrict, t)
	}
	var digits [limits.JSONNumber]byte
	var spelled, shortest [32]byte
	d, exp := oracleDecimal(digits[:0], t)
	s, sexp := oracleDecimal(shortest[:0], strconv.AppendFloat(spelled[:0], f, 'e', -1, 64))
	if exp != sexp || !bytes.Equal(d, s) {
		return fmt.Errorf("%w: %q is not exact as a double", cer.ErrStrict, t)
	}
	if f == 0 && t[0] == '-' {
		return fmt.Errorf("%w: negative zero %q", cer.ErrStrict, t)
	}
	return nil
}

// oracleShortInteger reports whether t is plainly an integer below 10^15 other than
// negative zero: the common case, without conversion.
func oracleShortInteger(t []byte) bool {
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

// oracleDecimal writes the significant digits of a literal to dst, without leading
// and trailing zeros, and returns them with the power of ten of the first
// digit: two literals have the same magnitude iff both results agree. Zero has
// no digits. The literal has been accepted by strconv, and is no longer than
// limits.JSONNumber; an exponent too large for an int was refused there as out
// of range unless the value is zero.
func oracleDecimal(dst, t []byte) (digits []byte, exp int) {
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
