package canon

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/sworn-run/sworn/internal/limits"
)

// each repeats a byte eight times.
const each = 0x0101010101010101

// plainRun returns the index of the first byte from i on that is a quote, a
// backslash, a control character or no ASCII; len(b) if there is none. It looks
// at eight bytes at once: in a byte below 0x80, a subtraction that borrows sets
// the highest bit, and a borrow from above a byte that is none only reaches what
// lies behind the first that is found.
func plainRun(b []byte, i int) int {
	for ; i+8 <= len(b); i += 8 {
		x := binary.LittleEndian.Uint64(b[i:])
		hit := ((x - 0x20*each) | ((x ^ '"'*each) - each) | ((x ^ '\\'*each) - each) | x) & (0x80 * each)
		if hit != 0 {
			return i + bits.TrailingZeros64(hit)/8
		}
	}
	for ; i < len(b); i++ {
		if c := b[i]; c < 0x20 || c == '"' || c == '\\' || c >= 0x80 {
			break
		}
	}
	return i
}

// str reads the string at i.
func (p *parser) str(i int) int {
	p.escaped, p.plain = false, true
	for i++; ; {
		i = plainRun(p.b, i)
		if i >= len(p.b) {
			return p.fail(i, "no end of a string")
		}
		switch c := p.b[i]; {
		case c == '"':
			return i + 1
		case c == '\\':
			p.escaped = true
			if i = p.escape(i); i < 0 {
				return -1
			}
		case c < 0x20:
			return p.fail(i, "a control character in a string")
		default:
			for i < len(p.b) && p.b[i] >= utf8.RuneSelf {
				_, n := utf8.DecodeRune(p.b[i:])
				if n == 1 {
					return p.fail(i, "no UTF-8")
				}
				i += n
			}
		}
	}
}

// escape reads the escape sequence at i, or two where they make one character
// together. RFC 8785, 3.2.2.2 has one spelling of each character.
func (p *parser) escape(i int) int {
	if i+1 >= len(p.b) {
		return p.fail(i, "no end of a string")
	}
	switch p.b[i+1] {
	case '"', '\\', 'b', 'f', 'n', 'r', 't':
		return i + 2
	case '/':
		p.plain = false
		return i + 2
	case 'u':
	default:
		return p.fail(i, "an unknown escape sequence")
	}
	r, ok := hex4(p.b, i+2)
	if !ok {
		return p.fail(i, "an unknown escape sequence")
	}
	end := i + 6
	if utf16.IsSurrogate(r) {
		low, ok := rune(0), end+1 < len(p.b) && p.b[end] == '\\' && p.b[end+1] == 'u'
		if ok {
			low, ok = hex4(p.b, end+2)
		}
		if !ok || utf16.DecodeRune(r, low) == utf8.RuneError {
			return p.fail(i, "a surrogate without its partner")
		}
		p.plain = false
		return end + 6
	}
	var spelled [6]byte
	if !bytes.Equal(appendEscaped(spelled[:0], r), p.b[i:end]) {
		p.plain = false
	}
	return end
}

// hex4 reads four hexadecimal digits.
func hex4(b []byte, i int) (r rune, ok bool) {
	if i+4 > len(b) {
		return 0, false
	}
	for _, c := range b[i : i+4] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// appendEscaped appends a character as it stands in a canonical string.
func appendEscaped(dst []byte, r rune) []byte {
	const hex = "0123456789abcdef"
	switch {
	case r == '"' || r == '\\':
		return append(dst, '\\', byte(r))
	case r >= 0x20:
		return utf8.AppendRune(dst, r)
	}
	switch r {
	case '\b':
		return append(dst, `\b`...)
	case '\t':
		return append(dst, `\t`...)
	case '\n':
		return append(dst, `\n`...)
	case '\f':
		return append(dst, `\f`...)
	case '\r':
		return append(dst, `\r`...)
	}
	return append(dst, '\\', 'u', '0', '0', hex[r>>4&15], hex[r&15])
}

// appendUnquoted appends what a string stands for. It has been read before.
func appendUnquoted(dst, quoted []byte) []byte {
	s := quoted[1 : len(quoted)-1]
	for {
		i := bytes.IndexByte(s, '\\')
		if i < 0 {
			return append(dst, s...)
		}
		dst = append(dst, s[:i]...)
		c := s[i+1]
		s = s[i+2:]
		switch c {
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case 'u':
			r, _ := hex4(s, 0)
			s = s[4:]
			if utf16.IsSurrogate(r) {
				low, _ := hex4(s, 2)
				r = utf16.DecodeRune(r, low)
				s = s[6:]
			}
			dst = utf8.AppendRune(dst, r)
		default:
			dst = append(dst, c)
		}
	}
}

// AppendQuoted appends the canonical form of a string. RFC 8785, 3.2.2.2. s must
// be UTF-8; ok is false, and what was appended is of no use, if it is not.
func AppendQuoted(dst []byte, s string) (quoted []byte, ok bool) {
	b := []byte(s) // Not a copy: it is only read.
	dst = append(dst, '"')
	for i := 0; ; {
		end := plainRun(b, i)
		dst = append(dst, b[i:end]...)
		if end == len(b) {
			return append(dst, '"'), true
		}
		r, n := utf8.DecodeRune(b[end:])
		if r == utf8.RuneError && n == 1 {
			return dst, false
		}
		if n > 1 {
			dst = append(dst, b[end:end+n]...)
		} else {
			dst = appendEscaped(dst, r)
		}
		i = end + n
	}
}

// number reads the number at i. RFC 8259, 6.
func (p *parser) number(i int) int {
	start := i
	if p.b[i] == '-' {
		i++
	}
	whole := i
	i = digits(p.b, i)
	if i == whole || (p.b[whole] == '0' && i > whole+1) {
		return p.fail(start, "no number")
	}
	if i < len(p.b) && (p.b[i] == '.' || p.b[i] == 'e' || p.b[i] == 'E') {
		return p.fraction(start, i)
	}
	if i-whole <= 15 && (p.b[whole] != '0' || whole == start) {
		return i // An integer below 10^15 in its one spelling, and no negative zero.
	}
	return p.literalNumber(start, i)
}

// fraction reads what follows a number's integer part.
func (p *parser) fraction(start, i int) int {
	if p.b[i] == '.' {
		end := digits(p.b, i+1)
		if end == i+1 {
			return p.fail(start, "no number")
		}
		i = end
	}
	if i < len(p.b) && (p.b[i] == 'e' || p.b[i] == 'E') {
		i++
		if i < len(p.b) && (p.b[i] == '+' || p.b[i] == '-') {
			i++
		}
		end := digits(p.b, i)
		if end == i {
			return p.fail(start, "no number")
		}
		i = end
	}
	return p.literalNumber(start, i)
}

func digits(b []byte, i int) int {
	for i < len(b) && b[i]-'0' <= 9 {
		i++
	}
	return i
}

// literalNumber judges the value of the number from start to end.
func (p *parser) literalNumber(start, end int) int {
	t := p.b[start:end]
	f, err := checkNumber(t, p.small)
	if err != nil {
		p.err = err
		return p.fail(start, "")
	}
	var spelled [32]byte
	if !bytes.Equal(AppendNumber(spelled[:0], f), t) {
		p.state = ordered
	}
	return end
}

// maxExact is 2^53: up to it every integer is a double, beyond it neighbours
// share one.
const maxExact = 1 << 53

// checkNumber applies the rules of [Parse] to one literal. RFC 7493, 2.2; RFC
// 8785, 3.2.2.3.
func checkNumber(t []byte, small bool) (float64, error) {
	if len(t) > limits.JSONNumber {
		return 0, fmt.Errorf("%w: %d characters, at most %d", ErrStrict, len(t), limits.JSONNumber)
	}
	if len(t) < 20 && !bytes.ContainsAny(t, "eE") {
		// A short one, and far from both ends of what is a double.
		if f, err := strconv.ParseFloat(string(t), 64); err == nil && f != 0 && math.Abs(f) < maxExact {
			return f, nil
		}
	}
	var digits [limits.JSONNumber]byte
	d, exp := decimal(digits[:0], t)
	f := parseFloat(t, d, exp)
	if math.IsInf(f, 0) {
		return 0, fmt.Errorf("%w: %q is out of range", ErrStrict, t)
	}
	if f != 0 && math.Abs(f) < maxExact {
		return f, nil
	}
	if f != 0 && small {
		return 0, fmt.Errorf("%w: %q is 2^53 or more in magnitude", ErrStrict, t)
	}
	var spelled, shortest [32]byte
	s, sexp := decimal(shortest[:0], strconv.AppendFloat(spelled[:0], f, 'e', -1, 64))
	if exp != sexp || !bytes.Equal(d, s) {
		return 0, fmt.Errorf("%w: %q is not exact as a double", ErrStrict, t)
	}
	if f == 0 && t[0] == '-' {
		return 0, fmt.Errorf("%w: negative zero %q", ErrStrict, t)
	}
	return f, nil
}

// maxExponent is far beyond every exponent of a double, and of one of
// limits.JSONNumber digits.
const maxExponent = 1 << 20

// decimal writes the significant digits of a literal to dst, without leading and
// trailing zeros, and returns them with the power of ten of the first digit: two
// literals have the same magnitude iff both results agree. Zero has no digits.
// The literal is well-formed and no longer than limits.JSONNumber, and so no digit
// of it matters behind a larger exponent than is returned.
func decimal(dst, t []byte) (digits []byte, exp int) {
	mantissa, power := t, 0
	if i := bytes.IndexAny(t, "eE"); i >= 0 {
		mantissa = t[:i]
		power, _ = strconv.Atoi(string(t[i+1:])) // Saturates.
		power = max(-maxExponent, min(power, maxExponent))
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

// AppendNumber appends the canonical form of a finite number, that of
// ECMAScript's Number::toString. RFC 8785, 3.2.2.3.
func AppendNumber(dst []byte, f float64) []byte {
	if f == 0 {
		return append(dst, '0')
	}
	if a := math.Abs(f); a >= 1e-6 && a < 1e21 {
		return strconv.AppendFloat(dst, f, 'f', -1, 64)
	}
	dst = strconv.AppendFloat(dst, f, 'e', -1, 64)
	// strconv writes at least two digits of the exponent.
	if n := len(dst); dst[n-2] == '0' && (dst[n-3] == '-' || dst[n-3] == '+') {
		dst[n-2] = dst[n-1]
		dst = dst[:n-1]
	}
	return dst
}
