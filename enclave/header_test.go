package enclave_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/enclave"
	"github.com/sworn-run/sworn/internal/dcap/dcaptest"
)

// header puts a header of Open Enclave before a quote.
func header(version, kind uint32, size uint64, quote []byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, version)
	b = binary.LittleEndian.AppendUint32(b, kind)
	b = binary.LittleEndian.AppendUint64(b, size)
	return append(b, quote...)
}

// TestHeader: a header comes off if all of it is true, and a lie in it is refused.
func TestHeader(t *testing.T) {
	v := must(dcaptest.New(testTime, "Intel"))(t)
	quote := must(v.Make(dcaptest.Quote{Version: 3, Body: body(nil)}))(t)
	n := uint64(len(quote))
	report := header(1, 2, n, quote)
	if got, err := enclave.Unwrap(report); err != nil || !bytes.Equal(got, quote) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	more := append(bytes.Clone(quote), 7, 7, 7)
	for name, tc := range map[string]struct {
		report          []byte
		surplus, strict bool // whether Surplus takes it, and Unwrap
	}{
		"exact":                      {report, true, true},
		"a bare quote":               {quote, true, false},
		"a bare quote and more":      {more, true, false},
		"more after it":              {header(1, 2, n, more), true, false},
		"more, and counted":          {header(1, 2, n+3, more), true, false},
		"a local report":             {header(1, 1, n, quote), false, false},
		"type 0":                     {header(1, 0, n, quote), false, false},
		"type 3":                     {header(1, 3, n, quote), false, false},
		"version 0":                  {header(0, 2, n, quote), false, false},
		"version 2":                  {header(2, 2, n, quote), false, false},
		"one byte more":              {header(1, 2, n+1, quote), false, false},
		"one byte less":              {header(1, 2, n-1, quote), false, false},
		"none":                       {header(1, 2, 0, quote), false, false},
		"negative":                   {header(1, 2, 1<<63, quote), false, false},
		"all ones":                   {header(1, 2, 1<<64-1, quote), false, false},
		"the header counted too":     {header(1, 2, n+16, quote), false, false},
		"a header in a header":       {header(1, 2, n+16, report), false, false},
		"a quote that lies":          {header(1, 2, n, append(bytes.Clone(quote[:atSize]), 0xFF, 0xFF, 0xFF, 0xFF)), false, false},
		"a header and nothing":       {header(1, 2, 0, nil), false, false},
		"nothing":                    {nil, false, false},
		"half a header":              {report[:8], false, false},
		"a header without its quote": {report[:16], false, false},
	} {
		q, rest, err := enclave.Surplus(tc.report)
		if (err == nil) != tc.surplus || err != nil && (!errors.Is(err, attest.ErrForm) || q != nil || rest != nil) {
			t.Errorf("%s: %d and %d bytes, %v", name, len(q), len(rest), err)
		}
		if err == nil && (!bytes.Equal(q, quote) || len(rest) != 0 && !bytes.Equal(rest, []byte{7, 7, 7})) {
			t.Errorf("%s: %d bytes, then %x", name, len(q), rest)
		}
		got, err := enclave.Unwrap(tc.report)
		if (err == nil) != tc.strict || err != nil && (!errors.Is(err, attest.ErrForm) || got != nil) {
			t.Errorf("%s: unwrapped: %d bytes, %v", name, len(got), err)
		}
	}
	for i := range report {
		if _, err := enclave.Unwrap(report[:i]); !errors.Is(err, attest.ErrForm) {
			t.Fatalf("cut to %d: %v", i, err)
		}
	}
	for bit := range 8 * enclave.HeaderSize {
		b := bytes.Clone(report)
		b[bit/8] ^= 1 << (bit % 8)
		if _, err := enclave.Unwrap(b); !errors.Is(err, attest.ErrForm) {
			t.Errorf("bit %d of the header: %v", bit, err)
		}
	}
}

// TestIsQuote: an enclave's quote is told from a TD's and from what is none.
func TestIsQuote(t *testing.T) {
	v := must(dcaptest.New(testTime, "Intel"))(t)
	quote := must(v.Make(dcaptest.Quote{Version: 3, Body: body(nil)}))(t)
	for name, tc := range map[string]struct {
		b    []byte
		want bool
	}{
		"version 3":      {quote, true},
		"version 5":      {must(v.Make(dcaptest.Quote{Version: 5, Body: body(nil)}))(t), true},
		"reported":       {header(1, 2, uint64(len(quote)), quote), true},
		"reported, cut":  {header(1, 2, uint64(len(quote)), quote[:40]), false},
		"type 9":         {header(1, 9, uint64(len(quote)), quote), false},
		"a TD's":         {must(v.Make(dcaptest.Quote{Version: 4, Body: dcaptest.TD(false, nil)}))(t), false},
		"cut":            {quote[:47], false},
		"empty":          {nil, false},
		"another":        {bytes.Repeat([]byte{3}, 600), false},
		"zeros":          {make([]byte, 600), false},
		"of unknown key": {append([]byte{3, 0, 1}, quote[3:]...), false},
	} {
		if got := enclave.IsQuote(tc.b); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// FuzzSurplus: what is cut off and what is kept make up what came, and unwrapping gives
// the same quote.
func FuzzSurplus(f *testing.F) {
	v := must(dcaptest.New(testTime, "Intel"))(f)
	quote := must(v.Make(dcaptest.Quote{Version: 3, Body: body(nil)}))(f)
	seeds := [][]byte{quote, append(bytes.Clone(quote), 1, 2), header(1, 2, uint64(len(quote)), quote), header(1, 2, 5, quote), {1, 0, 0, 0}}
	if len(seeds) == 0 {
		f.Fatal("no seeds")
	}
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		q, rest, err := enclave.Surplus(b)
		u, unwrapErr := enclave.Unwrap(b)
		if err != nil {
			if !errors.Is(err, attest.ErrForm) || q != nil || rest != nil || unwrapErr == nil {
				t.Fatalf("%v, %v", err, unwrapErr)
			}
			return
		}
		if !bytes.HasSuffix(b, append(bytes.Clone(q), rest...)) || len(b)-len(q)-len(rest) > enclave.HeaderSize {
			t.Fatalf("%d and %d of %d bytes", len(q), len(rest), len(b))
		}
		if unwrapErr == nil && (!bytes.Equal(u, q) || len(rest) != 0) || unwrapErr != nil && !errors.Is(unwrapErr, attest.ErrForm) {
			t.Fatalf("%d bytes, %v", len(u), unwrapErr)
		}
	})
}
