//go:build !race

package bootlog

import (
	"bytes"
	"math/rand/v2"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/sworn-run/sworn/attest"
)

// spent returns the processor time that f takes on its thread, the least of five runs:
// the machine may be busy.
func spent(t *testing.T, f func()) time.Duration {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	used := func() time.Duration {
		const thread = 1 // RUSAGE_THREAD
		var u syscall.Rusage
		if err := syscall.Getrusage(thread, &u); err != nil {
			t.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	best := time.Hour
	for range 5 {
		start := used()
		f()
		best = min(best, used()-start)
	}
	return best
}

// TestCost bounds what 20 KB from a stranger cost, garbage or a log made to be slow.
func TestCost(t *testing.T) {
	const size, limit = 20_000, 10 * time.Millisecond
	random := rand.New(rand.NewPCG(1, 2))
	garbage := make([]byte, size)
	for i := range garbage {
		garbage[i] = byte(random.Uint32())
	}
	var small []made
	for range size / 50 {
		small = append(small, opaque(7, ""))
	}
	sigs := bytes.Repeat(list([]byte{0}), size/45)
	slow := map[string][]byte{
		"garbage":    garbage,
		"zeros":      make([]byte, size),
		"events":     build([]attest.Alg{attest.SHA256}, small...),
		"signatures": build([]attest.Alg{attest.SHA256}, whole(7, variableData(database(), "db", sigs)), separator(7)),
		"long text":  build([]attest.Alg{attest.SHA256}, made{8, 0xD, nil, bytes.Repeat([]byte("a: "), size/3)}),
		"long name":  build([]attest.Alg{attest.SHA256}, made{11, 0xD, nil, bytes.Repeat([]byte{'a', 0}, size/2)}),
	}
	for name, b := range slow {
		if d := spent(t, func() {
			l, err := Parse(b, PCRs)
			if err != nil {
				return
			}
			quoted := truth(t, l, attest.SHA256)
			appraise(t, l, quoted, Options{})
		}); d > limit {
			t.Errorf("%s: %v", name, d)
		}
	}
}
