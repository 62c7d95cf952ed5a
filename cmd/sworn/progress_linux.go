package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// progress shows long hashing on a terminal's standard error.
type progress struct {
	w     io.Writer
	start time.Time
	mu    sync.Mutex
	shown bool
}

// progress returns a bar that shows nothing unless standard error is a
// terminal.
func (a *app) progress(quiet bool) *progress {
	p := &progress{start: time.Now()}
	if f, ok := a.stderr.(*os.File); ok && !quiet {
		if _, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS); err == nil {
			p.w = f
		}
	}
	return p
}

// update shows how far hashing has come, once it has taken half a second.
func (p *progress) update(done, total uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	took := time.Since(p.start)
	if p.w == nil || total == 0 || took < 500*time.Millisecond {
		return
	}
	rate := float64(done) / took.Seconds()
	eta := time.Duration(0)
	if rate > 0 && done < total {
		eta = time.Duration(float64(total-done) / rate * float64(time.Second)).Round(time.Second)
	}
	p.shown = true
	_, _ = fmt.Fprintf(p.w, "\rmeasuring %3d %%  %s of %s  %s/s  %v left \x1b[K", done*100/total, sizeText(done), sizeText(total), sizeText(uint64(rate)), eta)
}

// watch shows how far a counter has come until the function that it returns is
// called, which removes the bar.
func (p *progress) watch(done *atomic.Uint64, total uint64) (stop func()) {
	end := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-end:
				return
			case <-tick.C:
				p.update(done.Load(), total)
			}
		}
	})
	return func() { close(end); wg.Wait(); p.clear() }
}

// clear removes the bar.
func (p *progress) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shown {
		_, _ = fmt.Fprint(p.w, "\r\x1b[K")
	}
}
