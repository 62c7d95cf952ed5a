//go:build linux

package inside

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/sworn-run/sworn/internal/launch/jail"
	"github.com/sworn-run/sworn/internal/launch/wasm"
)

const (
	// endPatience is how long the engine may take to end a module whose time is over.
	endPatience = 15 * time.Second
	// inputPatience is how long after the module's end a reader of the input may give
	// nothing before the input counts as not ended.
	inputPatience = 2 * time.Second
)

// The causes for which a module is ended.
var (
	errTime  = errors.New("its time limit is over")
	errLimit = errors.New("it wrote more than its limit")
)

// Run runs the module, feeds it and takes what it writes. It may be called once. When ctx
// ends, the module is ended, and the error wraps the cause beside jail.ErrRun; so it does
// where the input cannot be read, and where the engine fails or does not end: nothing can
// be said of the module then, and in the last case it may still run. A writer that fails
// is an error for the module.
//
// A module that is ended for its time or its output exits with wasm.ExitTrap, and no
// signal.
func (j *Job) Run(ctx context.Context, streams jail.IO) (jail.Exit, error) {
	if j.ran {
		return jail.Exit{}, fmt.Errorf("%w: run a second time", jail.ErrRun)
	}
	j.ran = true
	if err := ctx.Err(); err != nil {
		return jail.Exit{}, fmt.Errorf("%w: %w", jail.ErrRun, err)
	}
	running, end := context.WithCancelCause(ctx)
	defer end(nil)
	r := j.newRun(running, end, streams)
	begin := time.Now()
	clock := time.AfterFunc(j.spec.Timeout, func() { end(errTime) })
	defer clock.Stop()
	go r.module(j)
	status, err := r.wait()
	if err != nil {
		return jail.Exit{}, fmt.Errorf("%w: %w", jail.ErrRun, err)
	}
	e := jail.Exit{Code: status, Duration: time.Since(begin)}
	cause := context.Cause(running)
	e.Timeout, e.Limit = r.cut && errors.Is(cause, errTime), r.cut && errors.Is(cause, errLimit)
	if r.cut && !e.Timeout && !e.Limit {
		return jail.Exit{}, fmt.Errorf("%w: %w", jail.ErrRun, cause)
	}
	if err := r.settle(ctx); err != nil {
		return jail.Exit{}, fmt.Errorf("%w: %w", jail.ErrRun, err)
	}
	e.Stdin, e.Stdout, e.Stderr = r.in.info(), r.out.info(r.cut), r.errs.info(r.cut)
	return e, nil
}

// run is one execution.
type run struct {
	running   context.Context
	end       context.CancelCauseFunc
	in        *input
	out, errs *output
	done      chan struct{}
	// status, err and cut are set when done is closed: how the module ended, and whether
	// something else ended it.
	status int
	err    error
	cut    bool
}

// newRun connects the streams.
func (j *Job) newRun(running context.Context, end context.CancelCauseFunc, s jail.IO) *run {
	otherwise := func(n uint64) uint64 {
		if n == 0 {
			return jail.DefaultStreamBytes
		}
		return n
	}
	r := &run{running: running, end: end, done: make(chan struct{})}
	if s.Stdin == nil {
		s.Stdin = bytes.NewReader(nil)
	}
	over := func() { end(errLimit) }
	r.in = newInput(running, s.Stdin, otherwise(j.spec.MaxInput), end)
	r.out = newOutput(running, s.Stdout, otherwise(j.spec.MaxOutput), over)
	r.errs = newOutput(running, s.Stderr, otherwise(j.spec.MaxOutput), over)
	return r
}

// module runs the module, and says on its standard error what the process that otherwise
// runs modules says there.
func (r *run) module(j *Job) {
	defer close(r.done)
	c := &j.spec.Command
	r.status, r.err = wasm.Run(r.running, wasm.Options{
		Module: j.module(), Args: j.spec.Args, Env: c.Env, Engine: c.Engine, Pages: c.Pages, Files: j.visible(),
		Stdin: r.in, Stdout: r.out, Stderr: r.errs, Interruptible: true,
	})
	if r.err == nil || errors.Is(r.err, wasm.ErrEngine) {
		return
	}
	r.cut = errors.Is(r.err, wasm.ErrTrap) && r.running.Err() != nil
	r.status = wasm.ExitModule
	if errors.Is(r.err, wasm.ErrTrap) {
		r.status = wasm.ExitTrap
	}
	if !r.cut {
		_, _ = fmt.Fprintf(r.errs, "sworn: %v\n", r.err)
	}
	r.err = nil
}

// wait waits for the module's end. The error says why nothing can be said of it.
func (r *run) wait() (int, error) {
	select {
	case <-r.done:
	case <-r.running.Done():
		select {
		case <-r.done:
		case <-time.After(endPatience):
			return 0, errors.New("the engine does not end the module")
		}
	}
	return r.status, r.err
}

// settle waits until the streams have come to their end after the module's.
func (r *run) settle(ctx context.Context) error {
	r.in.finish()
	for _, o := range []*output{r.out, r.errs} {
		select {
		case <-o.finish():
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for seen := r.in.count(); ; {
		select {
		case <-r.in.done:
			return r.in.failure()
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(inputPatience):
		}
		now := r.in.count()
		if now == seen {
			return nil
		}
		seen = now
	}
}

var (
	_ io.Reader = (*input)(nil)
	_ io.Writer = (*output)(nil)
)
