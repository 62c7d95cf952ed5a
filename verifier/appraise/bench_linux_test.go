package appraise

import (
	"crypto/elliptic"
	"syscall"
	"testing"

	"github.com/sworn-run/sworn/attest"
)

// processor returns the processor time of this process in seconds: what the machine
// does beside it does not show.
func processor(b *testing.B) float64 {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// BenchmarkCapture appraises a captured machine that booted under Secure Boot: two
// quotes, the firmware's log in two banks, the kernel's list in two forms, the
// certificates of two endorsement keys up to their maker, from the files' bytes to the
// report.
func BenchmarkCapture(b *testing.B) {
	files, anchors := fileList(capture(b)), captureRoots(b)
	total := 0
	for _, f := range files {
		total += len(f.Data)
	}
	b.SetBytes(int64(total))
	b.ReportAllocs()
	began := processor(b)
	for b.Loop() {
		if r := report(b, Input{Files: files, Anchors: anchors}); !r.Accepted() {
			b.Fatal(r.Refusal)
		}
	}
	b.ReportMetric(float64(b.N)/(processor(b)-began), "appraisals/core-s")
}

// BenchmarkCertified appraises a quote whose key a maker certified, strictly.
func BenchmarkCertified(b *testing.B) {
	m, f := newMaker(b), newTPM(b, elliptic.P256(), restrictedKey)
	all := f.quoted(b, attest.SHA256, nil)
	all["ak.crt"] = m.certify(b, f, nil)
	files := fileList(all)
	b.ReportAllocs()
	began := processor(b)
	for b.Loop() {
		if r := report(b, Input{Files: files, Anchors: m.anchors(), Strict: true}); !r.Accepted() {
			b.Fatal(r.Refusal)
		}
	}
	b.ReportMetric(float64(b.N)/(processor(b)-began), "appraisals/core-s")
}
