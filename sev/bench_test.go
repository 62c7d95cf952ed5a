//go:build !js

// go-sev-guest has a logger below it that does not build for a page.

package sev

import (
	"slices"
	"testing"
	"time"

	"github.com/sworn-run/sworn/attest"
)

// contenders are what the benchmark compares: go-sev-guest from the bytes of a report
// and a revocation list, this package, and this package with a chain that it has seen
// before. They do the same work: signature, chain, revocation, and what the
// certificate says of chip and versions.
func contenders(tb testing.TB) map[string]func() error {
	tb.Helper()
	maker := newForger(tb, milan)
	c := newChip(tb, maker, signerVCEK, 3)
	report, ders := c.report(tb), c.chain(tb)
	list := maker.crl(tb)
	ev, anchors := withCollateral(report, ders, list), maker.anchors()
	roots := theirRoots(milan, maker.ark.cert, maker.ask.cert, nil)
	s := Scheme{Cache: NewCache(8)}
	ours := func(s Scheme) func() error {
		return func() error {
			got, err := s.Verify(ev, anchors, testTime)
			if err == nil && !allPassed(got) {
				err = attest.ErrArgument
			}
			return err
		}
	}
	return map[string]func() error{
		"theirs":      func() error { return theyAccept(report, ders[0], signerVCEK, roots, list, testTime) },
		"ours":        ours(Scheme{}),
		"seen before": ours(s),
	}
}

func BenchmarkVerify(b *testing.B) {
	for name, f := range contenders(b) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := f(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestSpeed compares medians of turns taken one after the other, so that what else
// the machine does falls on all alike; a bad moment may have two more.
func TestSpeed(t *testing.T) {
	all := contenders(t)
	for left := 3; left > 0; left-- {
		took := map[string][]time.Duration{}
		for range 60 {
			for name, f := range all {
				began := time.Now()
				if err := f(); err != nil {
					t.Fatal(name, err)
				}
				took[name] = append(took[name], time.Since(began))
			}
		}
		median := func(name string) float64 {
			slices.Sort(took[name])
			return float64(took[name][len(took[name])/2])
		}
		ours, seen := median("ours")/median("theirs"), median("seen before")/median("theirs")
		t.Logf("ours %.2f of theirs, seen before %.2f", ours, seen)
		if ours <= 1 && seen <= 0.5 || raceEnabled {
			return
		}
	}
	t.Error("want at most 1 and 0.5")
}
