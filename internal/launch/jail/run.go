//go:build linux

package jail

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// streamBuffer is the memory that each stream takes, besides the pipe.
	streamBuffer = 64 << 10
	// endPatience is how long after Spec.Timeout init may take to report before
	// it is killed.
	endPatience = 15 * time.Second
	// inputPatience is how long after the job's end a reader of the input may
	// give nothing before the input counts as not ended.
	inputPatience = 2 * time.Second
	// drainPatience is how long an open run's outputs are read after its end,
	// where a process that escaped may hold them.
	drainPatience = 2 * time.Second
)

// Run executes the job, feeds it, takes what it writes, and waits until it and
// everything that it started has ended. It may be called once. When ctx ends,
// the job is killed, and the error wraps the cause beside ErrRun. A writer that
// blocks holds the job up; one that fails closes the job's stream. Run returns
// while a reader of the input still blocks if that gave nothing for two seconds
// after the job's end, and after ctx's end while a writer still blocks.
func (j *Jail) Run(ctx context.Context, streams IO) (Exit, error) {
	if j.ran {
		return Exit{}, fmt.Errorf("%w: run a second time", ErrRun)
	}
	j.ran = true
	if err := ctx.Err(); err != nil {
		return Exit{}, fmt.Errorf("%w: %w", ErrRun, err)
	}
	if err := j.proc.ctl.send(order{verbGo}); err != nil {
		return Exit{}, j.proc.lost(ErrRun, err)
	}
	r := j.newRun(streams)
	stop := context.AfterFunc(ctx, func() { r.fail(ctx.Err()) })
	defer stop()
	go r.in.pump(r.fail)
	for _, o := range r.outs {
		go o.pump(r.overLimit)
	}
	end, err := r.wait(j.spec.Timeout + endPatience)
	if err != nil {
		return Exit{}, err
	}
	r.settle(ctx, j.isolation.KillOnEnd != Yes)
	if err := r.failure(); err != nil {
		return Exit{}, fmt.Errorf("%w: %w", ErrRun, err)
	}
	return r.exit(end), nil
}

// run is one execution.
type run struct {
	proc *process
	in   *inPump
	// outs are standard output, standard error and the output file.
	outs [3]*outPump
	file bool // there is an output file

	mu      sync.Mutex
	err     error // why the run cannot be followed
	limited bool
}

// newRun joins the streams to the process.
func (j *Jail) newRun(streams IO) *run {
	in := streams.Stdin
	if in == nil {
		in = bytes.NewReader(nil)
	}
	limit := orDefault(j.spec.MaxOutput, DefaultStreamBytes)
	p := j.proc
	r := &run{proc: p, file: j.spec.OutputFile != "" && j.isolation.ClosedRoot == Yes}
	r.in = &inPump{
		from: in, to: p.stdin, read: p.stdinRead, limit: orDefault(j.spec.MaxInput, DefaultStreamBytes),
		done: make(chan struct{}), sum: newSum(),
	}
	for i, o := range []struct {
		from *os.File
		to   io.Writer
	}{{p.stdout, streams.Stdout}, {p.stderr, streams.Stderr}, {p.output, streams.Output}} {
		if o.to == nil {
			o.to = io.Discard
		}
		r.outs[i] = &outPump{from: o.from, to: o.to, limit: limit, done: make(chan struct{}), sum: newSum()}
	}
	return r
}

// fail notes why the run cannot be followed and kills it.
func (r *run) fail(err error) {
	r.mu.Lock()
	if r.err == nil {
		r.err = err
	}
	r.mu.Unlock()
	r.proc.kill()
}

// failure returns what fail noted.
func (r *run) failure() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// overLimit has the job killed for an output that is too large.
func (r *run) overLimit() {
	r.mu.Lock()
	r.limited = true
	r.mu.Unlock()
	if err := r.proc.ctl.send(order{verbKill}); err != nil {
		r.proc.kill()
	}
}

// wait waits for init's report of the end.
func (r *run) wait(patience time.Duration) (*ended, error) {
	timer := time.AfterFunc(patience, func() { r.fail(errors.New("init does not report")) })
	defer timer.Stop()
	var e event
	err := r.proc.ctl.receive(&e)
	if cause := r.failure(); cause != nil {
		return nil, r.proc.lost(ErrRun, cause)
	}
	switch {
	case err != nil:
		return nil, r.proc.lost(ErrRun, err)
	case e.Failure != nil:
		return nil, e.Failure.error()
	case e.Ended == nil:
		return nil, fmt.Errorf("%w: %w", ErrRun, errWire)
	}
	return e.Ended, nil
}

// settle waits until the streams have come to their end after the job's. In an
// open run a process may have escaped that holds a pipe: it is not waited for.
func (r *run) settle(ctx context.Context, open bool) {
	deadline := time.Now()
	_ = r.in.to.SetWriteDeadline(deadline) // nobody reads any more
	if open {
		for _, o := range r.outs {
			_ = o.from.SetReadDeadline(deadline.Add(drainPatience))
		}
	}
	for _, o := range r.outs {
		select {
		case <-o.done:
		case <-ctx.Done():
		}
	}
	for seen := r.in.count(); ; {
		select {
		case <-r.in.done:
			return
		case <-ctx.Done():
			return
		case <-time.After(inputPatience):
		}
		now := r.in.count()
		if now == seen {
			return
		}
		seen = now
	}
}

// exit puts the result together.
func (r *run) exit(end *ended) Exit {
	r.mu.Lock()
	limited := r.limited
	r.mu.Unlock()
	e := Exit{
		Code: end.Code, Timeout: end.Timeout, Limit: limited && end.Signal == int(unix.SIGKILL),
		Stdin: r.in.info(), Stdout: r.outs[0].info(), Stderr: r.outs[1].info(),
		Duration: time.Duration(end.DurationNS),
	}
	if end.Signal != 0 {
		e.Signal = signalName(unix.Signal(end.Signal))
	}
	if e.Timeout || e.Limit {
		e.Stdout.Complete, e.Stderr.Complete = false, false
	}
	if r.file {
		e.Output = r.outs[2].info()
		e.Output.Complete = e.Output.Complete && end.OutputOK && e.Output.Size == end.OutputSize
	}
	return e
}

// signalName returns the name of a signal; real-time ones have a number only.
func signalName(s unix.Signal) string {
	if name := unix.SignalName(s); name != "" {
		return name
	}
	return fmt.Sprintf("SIG%d", int(s))
}

// inPump feeds the job. What the job no longer takes is still read and hashed:
// the record says which input was given.
type inPump struct {
	from  io.Reader
	to    *os.File
	read  *os.File
	limit uint64
	done  chan struct{}

	sum
	ended, delivered bool // guarded by sum.mu
}

// pump runs until the reader ends. fail is told why it does not.
func (p *inPump) pump(fail func(error)) {
	defer close(p.done)
	b := make([]byte, streamBuffer)
	delivered := true
	for {
		n, err := p.from.Read(b)
		if n < 0 || n > len(b) {
			fail(fmt.Errorf("reading the input: %w", io.ErrNoProgress))
			return
		}
		if p.add(b[:n]) > p.limit {
			fail(fmt.Errorf("the input has more than %d bytes", p.limit))
			return
		}
		if delivered && n > 0 {
			_, werr := p.to.Write(b[:n])
			delivered = werr == nil
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			fail(fmt.Errorf("reading the input: %w", err))
			return
		}
	}
	_ = p.to.Close() // the end of file for the job
	p.mu.Lock()
	p.ended, p.delivered = true, delivered
	p.mu.Unlock()
}

// info describes the input after the job's end.
func (p *inPump) info() StreamInfo {
	s := p.snapshot()
	p.mu.Lock()
	s.Complete = p.ended && p.delivered
	p.mu.Unlock()
	if left, err := unix.IoctlGetInt(int(p.read.Fd()), unix.TIOCINQ); err != nil || left != 0 {
		s.Complete = false
	}
	return s
}

// outPump takes one output of the job.
type outPump struct {
	from  *os.File
	to    io.Writer
	limit uint64
	done  chan struct{}

	sum
	whole bool // guarded by sum.mu
}

// pump runs until the output ends or the writer fails. What is over the limit is
// thrown away while the job is being killed.
func (p *outPump) pump(overLimit func()) {
	defer close(p.done)
	b := make([]byte, streamBuffer)
	for over := false; ; {
		n, err := p.from.Read(b)
		if room := p.limit - p.count(); uint64(n) > room {
			if n = int(room); !over {
				over = true
				overLimit()
			}
		}
		written, werr := 0, error(nil)
		if n > 0 {
			written, werr = p.to.Write(b[:n])
			p.add(b[:min(max(written, 0), n)])
		}
		switch {
		case werr != nil || written != n:
			_ = p.from.Close() // the job learns by SIGPIPE
			return
		case errors.Is(err, io.EOF):
			p.mu.Lock()
			p.whole = !over
			p.mu.Unlock()
			return
		case err != nil:
			return
		}
	}
}

// info describes the output.
func (p *outPump) info() StreamInfo {
	s := p.snapshot()
	p.mu.Lock()
	s.Complete = p.whole
	p.mu.Unlock()
	return s
}

// sum counts and hashes what passes; it may be looked at meanwhile.
type sum struct {
	mu   *sync.Mutex
	hash interface {
		io.Writer
		Sum([]byte) []byte
	}
	size uint64
}

// newSum returns an empty sum.
func newSum() sum { return sum{mu: new(sync.Mutex), hash: sha256.New()} }

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
func (s *sum) snapshot() StreamInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	info := StreamInfo{Size: s.size}
	s.hash.Sum(info.SHA256[:0])
	return info
}
