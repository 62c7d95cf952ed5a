package simulator

import (
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestTPMOutlivesTheThread ends the thread that called StartSWTPM: a goroutine
// that ends locked takes its thread with it, unless that is the main one. The
// TPM is the process's, and must not end with one of its threads.
func TestTPMOutlivesTheThread(t *testing.T) {
	type result struct {
		tpm *SWTPM
		err error
	}
	dir, started := t.TempDir(), make(chan result)
	go onAnotherThread(func() {
		s, err := StartSWTPM(t.Context(), Options{Dir: dir})
		started <- result{s, err}
	})
	r := <-started
	if r.err != nil {
		t.Fatal(r.err)
	}
	t.Cleanup(func() { _ = r.tpm.Close() })
	h, err := openHome(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer h.unlock()
	for end := time.Now().Add(time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if h.find() == nil {
			t.Fatal("swtpm ended with the thread that started it")
		}
	}
}

// onAnotherThread runs f on a thread that is not the process's main one and
// that ends after it.
func onAnotherThread(f func()) {
	runtime.LockOSThread()
	if unix.Gettid() != unix.Getpid() {
		f()
		return
	}
	// While the main thread is held here, another goroutine runs elsewhere.
	done := make(chan struct{})
	go func() { defer close(done); onAnotherThread(f) }()
	<-done
	runtime.UnlockOSThread()
}
