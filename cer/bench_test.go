package cer_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sworn-run/sworn/cer"
)

// BenchmarkRecord measures one record with a prompt of 1 and of 64 KiB, an
// input of 256 bytes and an output of 512.
func BenchmarkRecord(b *testing.B) {
	for _, size := range []int{1 << 10, 64 << 10} {
		s := basic(b)
		s.Prompt = strings.Repeat("a", size)
		s.Input, s.Output = text(b, strings.Repeat("i", 256)), text(b, strings.Repeat("o", 512))
		sealed := seal(b, s)
		for name, f := range map[string]func() error{
			"Seal":            func() error { _, err := cer.Seal(s, day); return err },
			"VerifyIntegrity": func() error { _, err := cer.VerifyIntegrity(sealed); return err },
			"ParseBundle":     func() error { _, err := cer.ParseBundle(sealed); return err },
			"Strict":          func() error { return cer.Strict(sealed, 64) },
		} {
			b.Run(fmt.Sprintf("%s/%dKiB", name, size>>10), func(b *testing.B) {
				b.SetBytes(int64(len(sealed)))
				b.ReportAllocs()
				for b.Loop() {
					if err := f(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkRoot measures the root of a log of 65,536 events.
func BenchmarkRoot(b *testing.B) {
	e := entries(65536)
	b.ReportAllocs()
	for b.Loop() {
		cer.LogRoot(e)
	}
}

// TestAllocations wants a record in canonical form to be verified, and one to be
// sealed, with little else than the result.
func TestAllocations(t *testing.T) {
	s := basic(t)
	b := seal(t, s)
	for name, e := range map[string]struct {
		limit float64
		f     func() error
	}{
		"VerifyIntegrity": {5, func() error { _, err := cer.VerifyIntegrity(b); return err }},
		"Seal":            {8, func() error { _, err := cer.Seal(s, day); return err }},
		"Strict":          {2, func() error { return cer.Strict(b, 64) }},
	} {
		if err := e.f(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if n := testing.AllocsPerRun(100, func() { _ = e.f() }); n > e.limit {
			t.Errorf("%s allocates %v times, at most %v", name, n, e.limit)
		}
	}
}
