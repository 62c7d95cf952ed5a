//go:build linux

package inside

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"

	"github.com/sworn-run/sworn/internal/launch/jail"
)

// streamBuffer is how much of a stream is handed over at a time, in bytes.
const streamBuffer = 64 << 10

// sum counts and hashes what passes; it may be looked at meanwhile.
type sum struct {
	mu   sync.Mutex
	hash hash.Hash
	size uint64
}

// add takes bytes in and returns the new count.
func (s *sum) add(b []byte) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, _ = s.hash.Write(b)
	s.size += uint64(len(b))
	return s.size
}

// count returns the bytes so far.
func (s *sum) count() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.size
}

// snapshot returns hash and count so far.
func (s *sum) snapshot() jail.StreamInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := jail.StreamInfo{Size: s.size}
	s.hash.Sum(i.SHA256[:0])
	return i
}

// input feeds the module. What it does not take is still read and hashed: the record says
// which input was given. A reader may block for ever: the module does not wait for it when
// its time is over.
type input struct {
	sum
	running context.Context
	from    io.Reader
	limit   uint64
	end     context.CancelCauseFunc
	chunks  chan []byte
	// over is closed when nobody reads any more, and done when from has ended.
	over, done chan struct{}

	// left is what of a chunk the module has not read; it is the module's.
	left []byte
	// ended, lost and err are set before done is closed: that from came to its end, that
	// the module did not take all, and why there is no end.
	ended, lost bool
	err         error
}

// newInput begins to read.
func newInput(running context.Context, from io.Reader, limit uint64, end context.CancelCauseFunc) *input {
	p := &input{
		sum: sum{hash: sha256.New()}, running: running, from: from, limit: limit, end: end,
		chunks: make(chan []byte), over: make(chan struct{}), done: make(chan struct{}),
	}
	go p.pump()
	return p
}

// pump reads to the end.
func (p *input) pump() {
	defer close(p.done)
	defer close(p.chunks)
	for {
		b := make([]byte, streamBuffer)
		n, err := p.from.Read(b)
		if n < 0 || n > len(b) {
			n, err = 0, io.ErrNoProgress
		}
		if p.add(b[:n]) > p.limit {
			err = fmt.Errorf("it has more than %d bytes", p.limit)
		} else if n > 0 {
			select {
			case p.chunks <- b[:n]:
			case <-p.over:
				p.lost = true
			}
		}
		if errors.Is(err, io.EOF) {
			p.ended = true
			return
		}
		if err != nil {
			p.err = fmt.Errorf("reading the input: %w", err)
			p.end(p.err)
			return
		}
	}
}

// Read implements io.Reader for the module.
func (p *input) Read(b []byte) (int, error) {
	if len(p.left) == 0 && len(b) > 0 {
		select {
		case <-p.running.Done():
			return 0, p.running.Err()
		case c, more := <-p.chunks:
			if !more {
				return 0, io.EOF
			}
			p.left = c
		}
	}
	n := copy(b, p.left)
	p.left = p.left[n:]
	return n, nil
}

// finish says that nobody reads any more.
func (p *input) finish() { close(p.over) }

// failure is why the input did not come to its end, once it is done.
func (p *input) failure() error { return p.err }

// info describes the input after the module's end.
func (p *input) info() jail.StreamInfo {
	i := p.snapshot()
	select {
	case <-p.done:
		i.Complete = p.ended && !p.lost && len(p.left) == 0
	default:
	}
	return i
}

// output takes one output of the module. A writer may block for ever: the module does not
// wait for it when its time is over.
type output struct {
	sum
	running context.Context
	to      io.Writer
	limit   uint64
	over    func()
	chunks  chan []byte
	// taken says of each chunk whether the writer took it.
	taken chan error
	done  chan struct{}
	// short says that something of what the module wrote was not taken. given is how
	// much it wrote.
	short bool
	given uint64
}

// newOutput begins to write.
func newOutput(running context.Context, to io.Writer, limit uint64, over func()) *output {
	if to == nil {
		to = io.Discard
	}
	o := &output{
		sum: sum{hash: sha256.New()}, running: running, to: to, limit: limit, over: over,
		chunks: make(chan []byte), taken: make(chan error, 1), done: make(chan struct{}),
	}
	go o.pump()
	return o
}

// pump writes what it is given.
func (o *output) pump() {
	defer close(o.done)
	for b := range o.chunks {
		n, err := o.to.Write(b)
		o.add(b[:min(max(n, 0), len(b))])
		if err == nil && n != len(b) {
			err = io.ErrShortWrite
		}
		o.taken <- err
		if err != nil {
			return
		}
	}
}

// Write implements io.Writer for the module. After its first error it fails.
func (o *output) Write(b []byte) (int, error) {
	for at := 0; at < len(b); {
		if err := o.running.Err(); err != nil || o.short {
			o.short = true
			return at, io.ErrClosedPipe
		}
		room := o.limit - o.given
		n := int(min(uint64(len(b)-at), streamBuffer, room))
		if n == 0 {
			o.short = true
			o.over()
			return at, io.ErrShortWrite
		}
		if err := o.hand(append([]byte(nil), b[at:at+n]...)); err != nil {
			o.short = true
			return at, err
		}
		at, o.given = at+n, o.given+uint64(n)
	}
	return len(b), nil
}

// hand hands one chunk over and waits until it is written.
func (o *output) hand(b []byte) error {
	select {
	case o.chunks <- b:
	case <-o.done:
		return io.ErrClosedPipe
	case <-o.running.Done():
		return o.running.Err()
	}
	select {
	case err := <-o.taken:
		return err
	case <-o.running.Done():
		return o.running.Err()
	}
}

// finish says that nothing more comes; what it returns is closed when all is written.
func (o *output) finish() <-chan struct{} {
	close(o.chunks)
	return o.done
}

// info describes the output after the module's end; cut says that something else ended it.
func (o *output) info(cut bool) jail.StreamInfo {
	i := o.snapshot()
	i.Complete = !cut && !o.short
	return i
}
