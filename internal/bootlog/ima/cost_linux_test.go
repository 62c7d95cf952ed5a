//go:build !race

package ima

import (
	"bytes"
	"runtime"
	"syscall"
	"testing"
	"time"
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

// TestCost bounds what 20 KB from a stranger cost.
func TestCost(t *testing.T) {
	for name, b := range map[string][]byte{
		"entries": bytes.Repeat(entry(10, "x", "", false), 600),
		"garbage": bytes.Repeat([]byte{10, 0, 0, 0, 9}, 4000),
	} {
		if d := spent(t, func() {
			l, err := Parse(b)
			if err != nil {
				return
			}
			if _, err := l.Confirmed(Register, make([]byte, 32)); err != nil {
				t.Fatal(err)
			}
		}); d > 10*time.Millisecond {
			t.Errorf("%s: %v", name, d)
		}
	}
}
