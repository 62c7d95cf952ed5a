//go:build linux

package main

import (
	"context"
	"encoding/hex"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sworn-run/sworn/testdata"
	"github.com/sworn-run/sworn/verifier"
)

func TestMedian(t *testing.T) {
	for _, test := range []struct {
		in   []time.Duration
		want time.Duration
	}{{nil, 0}, {[]time.Duration{7}, 7}, {[]time.Duration{9, 1, 5}, 5}, {[]time.Duration{8, 2, 100, 4}, 6}} {
		if got := median(test.in); got != test.want {
			t.Errorf("median of %v is %v, want %v", test.in, got, test.want)
		}
	}
}

// TestRatio wants the median of the ratios, which is not the ratio of the
// medians.
func TestRatio(t *testing.T) {
	mid, low, high, ok := ratio([]time.Duration{10, 20, 90, 5}, []time.Duration{10, 5, 30, 0})
	if !ok || mid != 3 || low != 1 || high != 4 {
		t.Errorf("got %v (%v to %v), %v", mid, low, high, ok)
	}
	if _, _, _, ok := ratio([]time.Duration{1}, []time.Duration{0}); ok {
		t.Error("a ratio to no time")
	}
	if got := times([]time.Duration{200}, []time.Duration{100}); got != "**2.00** (2.00–2.00)" {
		t.Error(got)
	}
}

// TestInterleave wants every contender to have every round, each to begin in its
// turn, and the first round not to count.
func TestInterleave(t *testing.T) {
	var order strings.Builder
	turn := func(name string) contender {
		return contender{name, func(context.Context) (cost, error) {
			order.WriteString(name)
			return cost{wall: time.Duration(order.Len())}, nil
		}}
	}
	costs, err := interleave(t.Context(), 2, []contender{turn("a"), turn("b"), turn("c")})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := order.String(), "abc"+"bca"+"cab"; got != want {
		t.Errorf("order %s, want %s", got, want)
	}
	want := [][]time.Duration{{6, 8}, {4, 9}, {5, 7}}
	if diff := cmp.Diff(want, each(costs, walls)); diff != "" {
		t.Error(diff)
	}
	broken := errors.New("broken")
	_, err = interleave(t.Context(), 2, []contender{turn("a"), {"b", func(context.Context) (cost, error) { return cost{}, broken }}})
	if !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

// TestParts wants all parts, one of them, or a refusal.
func TestParts(t *testing.T) {
	var b bench
	for name, want := range map[string]int{"": 8, "launch": 1, "verify": 1, "bulk": 1, "page": 1, "tee": 1, "hash": 1, "nexart": 1, "wasm": 1, "hsah": 0} {
		if got, err := b.parts(name); len(got) != want || (err != nil) != (want == 0) {
			t.Errorf("%q: %d parts, %v", name, len(got), err)
		}
	}
}

// TestReadBenchmark reads a line of Go's, and none where there is none.
func TestReadBenchmark(t *testing.T) {
	const out = "pkg: x\nBenchmarkA/b_c-2 \t 34\t  2500.5 ns/op\t 3000 cpu-ns/op\t 700 B/op\t 8 allocs/op\nPASS\n"
	got, err := readBenchmark(out, "BenchmarkA/b_c")
	if want := (measured{cost{2500, 3000}, 8, 700}); err != nil || got != want {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	for _, out := range []string{"PASS\n", "BenchmarkA/b_c-2 34 0 ns/op\n", "BenchmarkA/b-2 34 1 ns/op\n"} {
		if got, err := readBenchmark(out, "BenchmarkA/b_c"); !errors.Is(err, errNoBenchmark) {
			t.Errorf("%q: %v, %v", out, got, err)
		}
	}
}

// TestPeak wants the memory of a program that lives long enough, and an error
// of one that fails.
func TestPeak(t *testing.T) {
	if kib, err := peak(t.Context(), "sleep", "0.5"); err != nil || kib < 100 || kib > 64<<10 {
		t.Errorf("sleep holds %d KiB, %v", kib, err)
	}
	if _, err := peak(t.Context(), "sleep", "x"); err == nil {
		t.Error("a program that fails has no error")
	}
}

func TestDigits(t *testing.T) {
	for want, got := range map[string]string{
		"–": ms(0), "0.250": ms(250 * time.Microsecond), "2.50": ms(2500 * time.Microsecond), "25.0": ms(25 * time.Millisecond), "2500": ms(2500 * time.Millisecond),
		"0.04": digits(0.04), "1.23": digits(1.234), "12.3": digits(12.34), "123": digits(123.4),
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// golden reads a recorded capsule and what is needed to judge it.
func golden(tb testing.TB) ([]byte, verifier.Input) {
	tb.Helper()
	read := func(name string) []byte {
		b, err := fs.ReadFile(testdata.Golden, "golden/"+name)
		if err != nil {
			tb.Fatal(err)
		}
		return b
	}
	at, err := time.Parse(time.RFC3339, strings.TrimSpace(string(read("time"))))
	if err != nil {
		tb.Fatal(err)
	}
	in := verifier.Input{Now: at, Version: "v0.1.0"}
	if in.Nonce, err = hex.DecodeString(strings.TrimSpace(string(read("page.nonce")))); err != nil {
		tb.Fatal(err)
	}
	if in.Policy, err = verifier.ParsePolicy(read("policy.json")); err != nil {
		tb.Fatal(err)
	}
	const root = "tpm-ak/SIMULATED-tpm-maker.pem"
	if in.Roots, err = verifier.NewTrustStore([]verifier.RootFile{{Path: root, Data: read("roots/" + root)}}); err != nil {
		tb.Fatal(err)
	}
	return read("page.cer.json"), in
}

// TestReadQuote wants the quote of a recorded capsule to be taken apart rightly:
// its signature verifies, and not over anything else.
func TestReadQuote(t *testing.T) {
	capsule, _ := golden(t)
	q, err := readQuote(capsule)
	if err != nil {
		t.Fatal(err)
	}
	if len(q.extra) != 32 {
		t.Errorf("the quote covers %d bytes, want 32", len(q.extra))
	}
	q.attest[len(q.attest)-1] ^= 1
	if q.verify() == nil {
		t.Error("a changed quote verifies")
	}
}

// BenchmarkVerify measures the verdict on a recorded capsule of a small job.
func BenchmarkVerify(b *testing.B) {
	capsule, in := golden(b)
	b.SetBytes(int64(len(capsule)))
	b.ReportAllocs()
	for b.Loop() {
		r, err := verifier.Verify(capsule, in)
		if err != nil || !r.Trusted {
			b.Fatal(err, r)
		}
	}
}
