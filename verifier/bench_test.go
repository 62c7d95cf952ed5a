package verifier_test

import (
	"testing"

	"github.com/sworn-run/sworn/verifier"
)

// BenchmarkVerify appraises the golden page record under its policy.
func BenchmarkVerify(b *testing.B) {
	file, in := golden(b, "page.cer.json"), goldenInput(b, "page")
	b.SetBytes(int64(len(file)))
	b.ReportAllocs()
	for b.Loop() {
		if r, err := verifier.Verify(file, in); err != nil || !r.Trusted {
			b.Fatal(err)
		}
	}
}
