package cer_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/lattice-substrate/json-canon/jcs"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/limits"
)

// refused is JSON, or nearly, that must not be hashed.
var refused = map[string]string{
	"empty":                       ``,
	"only space":                  ` `,
	"byte order mark":             "\xef\xbb\xbf{}",
	"trailing text":               `{}x`,
	"second value":                `{}{}`,
	"second value after newline":  "1\n2",
	"trailing NUL":                "{}\x00",
	"trailing comma":              `[1,]`,
	"trailing comma, unsorted":    `[{"b":0,"a":1},]`,
	"comment":                     `{}//`,
	"single quotes":               `{'a':1}`,
	"unterminated string":         `"a`,
	"unterminated escape":         `"a\`,
	"unterminated object":         `{"a":1`,
	"closes too much":             `]]]][[[[`,
	"raw control":                 "\"a\nb\"",
	"duplicate":                   `{"a":1,"a":1}`,
	"duplicate escaped":           `{"a":1,"\u0061":2}`,
	"duplicate nested":            `[{"x":{"a":1,"b":2,"a":3}}]`,
	"duplicate surrogates":        `{"😀":1,"\uD83D\ude00":2}`,
	"invalid UTF-8":               "\"\xff\"",
	"overlong UTF-8":              "\"\xc0\xaf\"",
	"surrogate in UTF-8":          "\"\xed\xa0\x80\"",
	"invalid UTF-8 in name":       "{\"\xff\":1}",
	"lone high surrogate":         `"\ud800"`,
	"lone low surrogate":          `"\udc00"`,
	"surrogates swapped":          `"\udc00\ud800"`,
	"lone surrogate in name":      `{"\ud800":1}`,
	"leading zero":                `01`,
	"plus":                        `+1`,
	"bare minus":                  `-`,
	"no fraction":                 `1.`,
	"no integer":                  `.5`,
	"no exponent":                 `1e`,
	"two signs":                   `--1`,
	"hexadecimal":                 `0x10`,
	"NaN":                         `NaN`,
	"Infinity":                    `-Infinity`,
	"overflow":                    `1e400`,
	"negative overflow":           `-1e400`,
	"overflow by digits":          "1" + strings.Repeat("0", 400),
	"just over the largest":       `1.7976931348623159e308`,
	"underflow":                   `1e-400`,
	"underflow by digits":         "0." + strings.Repeat("0", 400) + "1",
	"negative underflow":          `-1e-400`,
	"negative zero":               `-0`,
	"negative zero with fraction": `-0.0`,
	"negative zero with exponent": `-0e5`,
	"2^53+1":                      `9007199254740993`,
	"-(2^53+1)":                   `-9007199254740993`,
	"2^53+1 with fraction":        `9007199254740993.0`,
	"2^53+1 with exponent":        `9.007199254740993e15`,
	"2^53+1 by negative exponent": `90071992547409930e-1`,
	"2^53+1/2":                    `9007199254740992.5`,
	"rounds up to 2^53":           `9007199254740991.99999999`,
	"2^63-1":                      `9223372036854775807`,
	"2^64-1":                      `18446744073709551615`,
	"twenty digits":               `12345678901234567890`,
	"long inexact":                `123456789012345678901234567890`,
	"number of 1,101 digits":      "0." + strings.Repeat("1", 1099),
}

// accepted maps text to its canonical form.
var accepted = map[string]string{
	`{}`:                           `{}`,
	" [ ] \n":                      `[]`,
	`null`:                         `null`,
	`{"b":1,"a":2}`:                `{"a":2,"b":1}`,
	`{"a":{"a":1},"b":{"a":1}}`:    `{"a":{"a":1},"b":{"a":1}}`,
	`"\u0061\/\u001F\u007f"`:       "\"a/\\u001f\x7f\"",
	`"\uD83D\uDE00"`:               `"😀"`,
	`"<>&` + "\u2028" + `"`:        "\"<>&\u2028\"",
	"\"\uffff\"":                   "\"\uffff\"",
	`{"😀":1,"` + "\ue000" + `":2}`: `{"😀":1,"` + "\ue000" + `":2}`,
	`{"10":1,"9":2,"2":3}`:         `{"10":1,"2":3,"9":2}`,
	`{"__proto__":1}`:              `{"__proto__":1}`,
	`0`:                            `0`,
	`0.0`:                          `0`,
	`0e99999999999999999999`:       `0`,
	`0.000e-7`:                     `0`,
	`1E2`:                          `100`,
	`100.0`:                        `100`,
	`0.10`:                         `0.1`,
	`-1.50`:                        `-1.5`,
	`9007199254740991`:             `9007199254740991`,
	`-9007199254740992`:            `-9007199254740992`,
	`9007199254740992.000`:         `9007199254740992`,
	`1E21`:                         `1e+21`,
	`100000000000000000000`:        `100000000000000000000`,
	`295147905179352830000`:        `295147905179352830000`,
	`0.29514790517935283e21`:       `295147905179352830000`,
	`1e23`:                         `1e+23`,
	`1.7976931348623157e308`:       `1.7976931348623157e+308`,
	`5e-324`:                       `5e-324`,
	`4.9e-324`:                     `5e-324`,
	`333333333.33333329`:           `333333333.3333333`,
	`0.1000000000000000055511151231257827021181583404541015625`: `0.1`,
	"0." + strings.Repeat("0", 30) + "1":                        `1e-31`,
}

func TestCanonical(t *testing.T) {
	for in, want := range accepted {
		got, err := cer.Canonical([]byte(in))
		if err != nil || string(got) != want {
			t.Errorf("Canonical(%q) = %q, %v; want %q", in, got, err, want)
		}
		if is := cer.IsCanonical([]byte(in)); is != (in == want) {
			t.Errorf("IsCanonical(%q) = %v", in, is)
		}
	}
	for name, in := range refused {
		if err := cer.Strict([]byte(in), limits.BundleDepth); !errors.Is(err, cer.ErrStrict) {
			t.Errorf("%s: Strict = %v, want ErrStrict", name, err)
		}
		if got, err := cer.Canonical([]byte(in)); !errors.Is(err, cer.ErrStrict) || got != nil {
			t.Errorf("%s: Canonical = %q, %v; want ErrStrict alone", name, got, err)
		}
		nested := `{"m":[` + in + `]}`
		if got, err := cer.Canonical([]byte(nested)); !errors.Is(err, cer.ErrStrict) && strings.TrimSpace(in) != "" {
			t.Errorf("%s, nested: Canonical = %q, %v; want ErrStrict", name, got, err)
		}
	}
}

func TestCanonicalLeavesInputAlone(t *testing.T) {
	in := []byte(`{"b":"\u0061", "a":1E2}`)
	keep := bytes.Clone(in)
	out, err := cer.Canonical(in)
	if err != nil {
		t.Fatal(err)
	}
	out[0] = 'x'
	if !bytes.Equal(in, keep) {
		t.Errorf("input became %q", in)
	}
}

func TestStrictDepth(t *testing.T) {
	nest := func(n int) []byte {
		return []byte(strings.Repeat(`{"a":[`, n/2) + strings.Repeat(`[`, n%2) + strings.Repeat(`]`, n%2) + strings.Repeat(`]}`, n/2))
	}
	for _, depth := range []int{0, 1, 2, 63, 64, 65, 1000} {
		if depth > 0 {
			if err := cer.Strict(nest(depth), depth); err != nil {
				t.Errorf("depth %d at limit %d: %v", depth, depth, err)
			}
		}
		if err := cer.Strict(nest(depth+1), depth); !errors.Is(err, cer.ErrStrict) {
			t.Errorf("depth %d at limit %d: %v, want ErrStrict", depth+1, depth, err)
		}
	}
	if err := cer.Strict([]byte(`"[[[[{{{{"`), 0); err != nil {
		t.Errorf("brackets in a string: %v", err)
	}
	if err := cer.Strict([]byte(`[[],[],[[]]]`), 3); err != nil {
		t.Errorf("siblings: %v", err)
	}
}

func TestStrictSize(t *testing.T) {
	b := bytes.Repeat([]byte{' '}, limits.CapsuleFile+1)
	b[0] = '1'
	if err := cer.Strict(b[:limits.CapsuleFile], 1); err != nil {
		t.Errorf("64 MiB: %v", err)
	}
	if err := cer.Strict(b, 1); !errors.Is(err, cer.ErrStrict) {
		t.Errorf("64 MiB and one byte: %v, want ErrStrict", err)
	}
}

// TestCanonicalOracle compares with an independent implementation of RFC 8785
// over random documents.
func TestCanonicalOracle(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		in := appendRandom(nil, r, 6)
		got, err := cer.Canonical(in)
		if err != nil {
			t.Fatalf("Canonical(%q): %v", in, err)
		}
		want, err := jcs.Canonicalize(in)
		if err != nil {
			t.Fatalf("oracle(%q): %v", in, err)
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("Canonical(%q) = %q, oracle says %q", in, got, want)
		}
		if !cer.IsCanonical(got) {
			t.Fatalf("IsCanonical(%q) = false", got)
		}
	}
}

// TestNumbersOracle compares doubles of every magnitude, spelled three ways.
func TestNumbersOracle(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 20000 {
		f := math.Float64frombits(r.Uint64())
		if math.IsNaN(f) || math.IsInf(f, 0) || f == 0 {
			continue
		}
		for _, format := range []byte{'e', 'f', 'g'} {
			in := strconv.AppendFloat(nil, f, format, -1, 64)
			got, err := cer.Canonical(in)
			if err != nil {
				t.Fatalf("Canonical(%s): %v", in, err)
			}
			want, err := jcs.Canonicalize(in)
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("Canonical(%s) = %s, oracle says %s, %v", in, got, want, err)
			}
		}
	}
}

// TestIntegers states the rule for integers in other words: one is accepted
// iff its canonical form is the same integer.
func TestIntegers(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 20000 {
		n := r.Uint64() >> r.IntN(64)
		in := strconv.FormatUint(n, 10)
		canonical := strconv.FormatFloat(float64(n), 'f', -1, 64)
		err := cer.Strict([]byte(in), 1)
		if (err == nil) != (in == canonical) {
			t.Fatalf("Strict(%s) = %v, as a double it is %s", in, err, canonical)
		}
	}
}

func appendRandom(b []byte, r *rand.Rand, depth int) []byte {
	kinds := 6
	if depth == 0 {
		kinds = 4
	}
	space := func() {
		for r.IntN(4) == 0 {
			b = append(b, " \t\r\n"[r.IntN(4)])
		}
	}
	space()
	switch r.IntN(kinds) {
	case 0:
		return append(b, []string{"null", "true", "false"}[r.IntN(3)]...)
	case 1:
		return strconv.AppendInt(b, r.Int64N(1<<54)-1<<53, 10)
	case 2:
		return strconv.AppendFloat(b, r.NormFloat64()*math.Pow(10, float64(r.IntN(30)-15)), 'g', -1, 64)
	case 3:
		return appendString(b, r, "")
	case 4:
		b = append(b, '[')
		for i := range r.IntN(4) {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendRandom(b, r, depth-1)
		}
		return append(b, ']')
	}
	b = append(b, '{')
	for i := range r.IntN(5) {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, r, strconv.Itoa(i)) // a suffix keeps names apart
		b = append(b, ':')
		b = appendRandom(b, r, depth-1)
	}
	return append(b, '}')
}

func appendString(b []byte, r *rand.Rand, suffix string) []byte {
	b = append(b, '"')
	for range r.IntN(6) {
		switch c := rune(r.IntN(0x20000)); {
		case r.IntN(3) == 0:
			b = append(b, "az09<&/"[r.IntN(7)])
		case c >= 0xd800 && c < 0xe000, c&0xfffe == 0xfffe, c >= 0xfdd0 && c < 0xfdf0, c == '"', c == '\\', c < 0x20:
			b = fmt.Appendf(b, `\u%04x`, r.IntN(0x80))
		case c < 0x10000 && r.IntN(2) == 0:
			b = fmt.Appendf(b, `\u%04X`, c)
		default:
			b = append(b, string(c)...)
		}
	}
	b = append(b, suffix...)
	return append(b, '"')
}

func FuzzCanonical(f *testing.F) {
	seeds := 0
	for in := range accepted {
		f.Add([]byte(in))
		seeds++
	}
	for _, in := range refused {
		f.Add([]byte(in))
		seeds++
	}
	if seeds == 0 {
		f.Fatal("empty seed corpus")
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := cer.Canonical(b)
		if strictErr := cer.Strict(b, limits.BundleDepth); (err == nil) != (strictErr == nil) {
			t.Fatalf("Canonical(%q): %v, Strict: %v", b, err, strictErr)
		}
		if err != nil {
			if !errors.Is(err, cer.ErrStrict) || got != nil {
				t.Fatalf("Canonical(%q) = %q, %v; want ErrStrict alone", b, got, err)
			}
			return
		}
		again, err := cer.Canonical(got)
		if err != nil || !bytes.Equal(again, got) || !cer.IsCanonical(got) {
			t.Fatalf("not idempotent: %q, then %q, %v", got, again, err)
		}
		// The oracle also refuses noncharacters, which no other rule shares.
		want, err := jcs.Canonicalize(b)
		if err == nil && !bytes.Equal(got, want) {
			t.Fatalf("Canonical(%q) = %q, oracle says %q", b, got, want)
		}
		if err != nil && !hasNoncharacter(got) {
			t.Fatalf("Canonical(%q) = %q, oracle refuses: %v", b, got, err)
		}
	})
}

func hasNoncharacter(b []byte) bool {
	return strings.ContainsFunc(string(b), func(c rune) bool {
		return c&0xfffe == 0xfffe || (c >= 0xfdd0 && c < 0xfdf0)
	})
}
