package main

import (
	"bytes"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestProgress: nothing for what is short, and for what is long how far it has
// come, the rate and the time left; cleared in the end.
func TestProgress(t *testing.T) {
	var b bytes.Buffer
	p := &progress{w: &b, start: time.Now()}
	p.update(1, 2)
	p.clear()
	if b.Len() != 0 {
		t.Errorf("a short measurement shows %q", b.String())
	}
	p.start = time.Now().Add(-10 * time.Second)
	p.update(500e6, 1e9)
	if got := b.String(); !strings.Contains(got, " 50 %") || !strings.Contains(got, "500 MB of 1.0 GB") || !strings.Contains(got, "/s") || !strings.Contains(got, "10s left") {
		t.Errorf("got %q", got)
	}
	p.clear()
	if !strings.HasSuffix(b.String(), "\r\x1b[K") {
		t.Errorf("not cleared: %q", b.String())
	}
	// Standard error that is no terminal shows nothing.
	var plain bytes.Buffer
	q := (&app{stderr: &plain}).progress(false)
	q.start = time.Now().Add(-10 * time.Second)
	q.update(1, 2)
	q.clear()
	if plain.Len() != 0 {
		t.Errorf("no terminal, and yet %q", plain.String())
	}
}

// shown is a buffer that tells when something is written to it.
type shown struct {
	bytes.Buffer
	first chan struct{}
	once  sync.Once
}

func (s *shown) Write(b []byte) (int, error) {
	defer s.once.Do(func() { close(s.first) })
	return s.Buffer.Write(b)
}

// TestProgressWatch: a counter is shown while it counts, and nothing is after
// that.
func TestProgressWatch(t *testing.T) {
	b := &shown{first: make(chan struct{})}
	var done atomic.Uint64
	done.Store(250e6)
	p := &progress{w: b, start: time.Now().Add(-10 * time.Second)}
	stop := p.watch(&done, 1e9)
	select {
	case <-b.first:
	case <-time.After(30 * time.Second):
		t.Error("nothing is shown")
	}
	stop()
	if got := b.String(); !strings.Contains(got, " 25 %") || !strings.HasSuffix(got, "\r\x1b[K") {
		t.Errorf("got %q", got)
	}
}
