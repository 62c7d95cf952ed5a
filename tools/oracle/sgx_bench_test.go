//go:build linux

package oracle

import (
	"testing"
	"time"
)

// BenchmarkSGX verifies one quote, from bytes to verdict, with the collateral that
// oasis-core wants, on both sides.
func BenchmarkSGX(b *testing.B) {
	v := newOasisVector(b, "tcb_info_v3_fmspc_00606A000000_certs.pem")
	at := time.Unix(1671497404, 0)
	for name, f := range map[string]func(time.Time) error{"sworn": v.ours, "oasis-core": v.theirs} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			before := processor(b)
			for b.Loop() {
				if err := f(at); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(processor(b)-before)/float64(b.N), "cpu-ns/op")
		})
	}
}
