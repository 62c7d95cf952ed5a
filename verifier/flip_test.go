package verifier_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sworn-run/sworn/verifier"
)

// flipStride returns how many bits lie between two that are flipped: 1, so that
// every bit is, but where all would take minutes or -short asks for less: CI flips
// all of them in a step without the race detector. It is a prime, so that over the
// bytes every bit of a byte has its turn.
func flipStride() int {
	switch {
	case runtime.GOOS == "js":
		return 1009
	case raceEnabled, testing.Short():
		return 499
	default:
		return 1
	}
}

// parallel calls f with 0 to n-1 from as many goroutines as there are
// processors, until f has failed the test.
func parallel(t *testing.T, n int, f func(i int)) {
	t.Helper()
	var next atomic.Int64
	var group sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && !t.Failed(); i = int(next.Add(1)) - 1 {
				f(i)
			}
		})
	}
	group.Wait()
}

// flips returns the bits of a record to flip: every stride-th and, of the log, which is
// half of it and looks the same all over, one bit of each byte. It is another one in each
// run; SWORN_MUTANTS=all asks for all. Package attest flips each bit of a log.
func flips(t *testing.T, file []byte, stride int) []int {
	t.Helper()
	begin := bytes.Index(file, []byte(`"log":"`)) + len(`"log":"`)
	size := bytes.IndexByte(file[begin:], '"')
	if begin < 1000 || size < 1000 {
		t.Fatalf("the record has a log of %d bytes at %d", size, begin)
	}
	var bits []int
	for bit := 0; bit < len(file)*8; bit += stride {
		at := bit / 8
		if stride == 1 && at >= begin && at < begin+size && os.Getenv("SWORN_MUTANTS") != "all" {
			bits = append(bits, bit+rand.IntN(8))
			bit += 7
			continue
		}
		bits = append(bits, bit)
	}
	return bits
}

// TestEveryBit: whichever bit of a trusted record is flipped, it is trusted no
// more, and the report says why.
func TestEveryBit(t *testing.T) {
	file, in := golden(t, "page.cer.json"), goldenInput(t, "page")
	if !verify(t, file, in).Trusted {
		t.Fatal("the record is not trusted before")
	}
	stride := flipStride()
	bits := flips(t, file, stride)
	var mu sync.Mutex
	reasons := map[string]int{}
	parallel(t, len(bits), func(i int) {
		bit := bits[i]
		mutant := bytes.Clone(file)
		mutant[bit/8] ^= 1 << (bit % 8)
		r, err := verifier.Verify(mutant, in)
		if err != nil || r == nil {
			t.Errorf("bit %d: report %v, error %v", bit, r, err)
			return
		}
		b := blocking(r)
		if r.Trusted || len(b) == 0 || r.Now.Status == "trusted" {
			t.Errorf("bit %d of byte %d: %s, blocked by %v", bit%8, bit/8, r.Headline, b)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		reasons[named(r)]++
	})
	t.Logf("%d of %d bits flipped (stride %d), none trusted; first check that failed: %v", len(bits), len(file)*8, stride, reasons)
	// A flip that the strict form does not show has to be caught by what each
	// part of the capsule is bound by.
	for _, id := range []string{
		"capsule.strict", "cer.canonical", "cer.hash", "statement.form", "statement.record", "statement.inclusion",
		"statement.signature", "slot.form", "slot.signature", "slot.mode", "slot.identity", "log.replay",
	} {
		if reasons[id] == 0 && stride == 1 {
			t.Errorf("no flip was caught by %s: is it still checked?", id)
		}
	}
}
