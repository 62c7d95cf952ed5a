//go:build linux

package oracle

import (
	"errors"
	"syscall"
	"testing"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/tdx"
)

// BenchmarkTDX verifies one quote with all of its collateral on both sides.
func BenchmarkTDX(b *testing.B) {
	q := genuine(b)
	ev, err := q.evidence()
	if err != nil {
		b.Fatal(err)
	}
	anchors := &attest.Anchors{Pins: tdx.Pins()}
	for name, f := range map[string]func() error{
		"sworn": func() error {
			c, err := tdx.Scheme{}.Verify(ev, anchors, q.at)
			if err == nil && c.TCB.Status != "UpToDate" {
				err = errors.New(c.TCB.Status)
			}
			return err
		},
		"go-tdx-guest": q.theirs,
	} {
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

// processor returns the processor's time of this process, in nanoseconds.
func processor(tb testing.TB) int64 {
	tb.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
