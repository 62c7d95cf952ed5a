//go:build linux

package launch

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/launch/jail"
)

// ReplayOptions are one job that is run again without a device and without a record.
// The zero ReplayOptions are refused.
type ReplayOptions struct {
	// Plan is what to run, made by NewPlan; it has no volume.
	Plan *Plan
	// Timeout bounds the job's time; zero is refused.
	Timeout time.Duration
	// Stdin, Stdout and Stderr connect the job as those of Options do.
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Progress is told bytes done and in all while files are hashed; nil for none.
	Progress func(done, total uint64)
}

// Replay is a job that is measured in its closed root and waits to be run.
type Replay struct {
	o          ReplayOptions
	jail       *jail.Jail
	components []*cer.Component
}

// StartReplay builds and measures the job's root as a launch does; each file gets its
// flat digest and its fs-verity digest, so that it can be held against any record. The
// caller must Close the Replay. The error wraps ErrUsage or one of package jail.
func StartReplay(ctx context.Context, o ReplayOptions) (*Replay, error) {
	if o.Plan == nil || o.Timeout <= 0 || len(o.Plan.volumes) > 0 || o.Plan.image != nil {
		return nil, fmt.Errorf("plan or time limit missing, or a volume or image in it: %w", ErrUsage)
	}
	spec := o.Plan.spec(&Options{Timeout: o.Timeout, Progress: o.Progress})
	spec.Open = nil // the paths outside are not the record's
	for i := range spec.Files {
		f := &spec.Files[i]
		f.Protect, f.Verity, f.Flat = jail.ProtectSealed, true, true
	}
	j, err := jail.Start(ctx, spec)
	if err != nil {
		return nil, err
	}
	r := &Replay{o: o, jail: j}
	if r.components, err = o.Plan.Components(j.Files(), nil); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// Components returns what was measured: what the job will read.
func (r *Replay) Components() []*cer.Component { return r.components }

// Input returns the stream that the job gets as a file, and whether it gets one so.
func (r *Replay) Input() (cer.Stream, bool) {
	d, ok := r.jail.Input()
	return cer.NewStream(d.SHA256, d.Size, true), ok
}

// Run runs the job to its end. The error is one of package jail's.
func (r *Replay) Run(ctx context.Context) (jail.Exit, error) {
	return r.jail.Run(ctx, jail.IO{Stdin: r.o.Stdin, Stdout: r.o.Stdout, Stderr: r.o.Stderr})
}

// Close ends the job and frees what it holds.
func (r *Replay) Close() { _ = r.jail.Close() }
