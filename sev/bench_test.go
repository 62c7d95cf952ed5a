//go:build linux

package sev

import (
	"syscall"
	"testing"

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
			before := processor(b)
			for b.Loop() {
				if err := f(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(processor(b)-before)/float64(b.N), "cpu-ns/op")
		})
	}
}

// processor returns the processor's time of this process, in nanoseconds: of all
// threads, since signatures are verified side by side here.
func processor(tb testing.TB) int64 {
	tb.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
