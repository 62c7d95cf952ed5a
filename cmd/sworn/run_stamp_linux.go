package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/sworn-run/sworn/internal/tsp"
)

// checkTSA refuses flags about authorities that cannot be meant, before anything runs.
func (f *runFlags) checkTSA() error {
	if f.tsaRequired && len(f.tsa.urls) == 0 {
		return usage("--tsa URL --tsa-required", "--tsa-required is given, and no --tsa URL")
	}
	return f.tsa.check("tsa-")
}

// requireStamps returns an error for time stamps that are missing and asked for. The record
// is there all the same.
func (f *runFlags) requireStamps(missing int) error {
	if !f.tsaRequired || missing == 0 {
		return nil
	}
	return &statusError{code: exitNotTrusted, msg: fmt.Sprintf("%d time stamp(s) could not be had, and --tsa-required asks for them", missing), hint: noHint}
}

// stampRun adds a token of each authority to a record that is about to be released. The
// job has run, so that a record without one is better than none; it can be stamped later.
func (a *app) stampRun(ctx context.Context, f *runFlags, capsule []byte) (out []byte, stamps []string, missing int) {
	if len(f.tsa.urls) == 0 {
		return capsule, nil, 0
	}
	s := a.newStamper(&f.tsa, tsp.Order{Time: f.tsa.timeout})
	if f.quiet {
		s.client = tsp.NewClient(nil, slog.New(slog.DiscardHandler), time.Now)
	}
	for _, u := range s.urls {
		got, err := s.stamp(ctx, capsule, u)
		if err == nil {
			err = selfCheck(got.File, nil)
		}
		if err != nil {
			missing++
			_, _ = fmt.Fprintf(a.stderr, "note: no time stamp from %s: %s\n", line(s.name(u)), line(err.Error()))
			continue
		}
		capsule = got.File
		stamps = append(stamps, s.describe(got))
		a.noteEarly(f.record, got)
	}
	if missing > 0 {
		_, _ = fmt.Fprintf(a.stderr, "note: the record is released without %d of %d time stamps; stamp it soon: sworn timestamp --tsa URL %s\n", missing, len(s.urls), line(f.record))
	}
	return capsule, stamps, missing
}
