package main

import (
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/sworn-run/sworn/internal/launch"
	"github.com/sworn-run/sworn/verifier"
)

// reads returns the paths that flags and command name for reading.
func (j *jobFlags) reads(command []string) []string {
	archive, _, _ := strings.Cut(j.imageArchive, "@")
	used := append([]string{j.input, j.imageArchive, archive, j.imageVolume, strings.TrimSuffix(j.imageVolume, ".json"), j.wasm}, j.signers...)
	for _, s := range slices.Concat(j.weights, j.signatures, j.config, j.add) {
		_, path := named(s)
		description, volume := strings.CutPrefix(path, "verity:")
		used = append(used, description)
		if volume {
			used = append(used, strings.TrimSuffix(description, ".json"))
		}
	}
	if len(command) > 0 && !j.hasImage() && j.wasm == "" {
		if program, err := exec.LookPath(command[0]); err == nil {
			used = append(used, program)
		}
	}
	return used
}

// distinct refuses to write over what the same launch reads or writes.
func (f *runFlags) distinct(command []string) error {
	if f.record == "-" || f.output == "-" {
		return usage("--record job.cer.json; leave --output out for standard output", "record and output are files: %q is none", "-")
	}
	used := append(f.reads(command), f.files()...)
	for _, u := range append(used, f.output, f.opening) {
		if samePath(f.record, u) {
			return usage("choose another path for --record", "the record would overwrite %s", u)
		}
	}
	for _, u := range append(used, f.output) {
		if samePath(f.opening, u) {
			return usage("choose another path for --opening", "the opening would overwrite %s", u)
		}
	}
	for _, u := range used {
		if samePath(f.output, u) {
			return usage("choose another path for --output", "the output would overwrite %s", u)
		}
	}
	return nil
}

// sink takes the job's output and remembers why it could not be taken.
type sink struct {
	w   io.Writer
	err error
}

// Write implements io.Writer.
func (s *sink) Write(b []byte) (int, error) {
	n, err := s.w.Write(b)
	if err != nil && s.err == nil {
		s.err = err
	}
	return n, err
}

// failed returns the error of an output that did not take all: the record would
// be about one that nobody has.
func (s *sink) failed(name string) error {
	switch {
	case s.err == nil:
		return nil
	case name == "":
		name = "the output"
	}
	hint := "there is no record: give the job an output that takes all of it"
	if errors.Is(s.err, syscall.ENOSPC) {
		hint = "is the disk full?"
	}
	return wrap(fmt.Errorf("writing %s: %w", name, s.err), hint)
}

// keepOutput keeps what the job had written when no record came of it, under a
// name that says so, and returns err.
func (a *app) keepOutput(out *pendingFile, name string, err error) error {
	if out == nil {
		return err
	}
	if n, seekErr := out.Seek(0, io.SeekCurrent); seekErr != nil || n == 0 {
		return err
	}
	if out.commitAs(name+".unattested") == nil {
		_, _ = fmt.Fprintf(a.stderr, "note: there is no record; the job's output is kept in %s.unattested\n", line(name))
	}
	return err
}

// keep gives record and output their names. A disk that is full may say so only when
// the output is synced, and then there is to be no record. The opening comes before the
// record: without it the record could not be held against anything.
func (f *runFlags) keep(record, opening, output *pendingFile, res *launch.Result) error {
	if output != nil {
		if err := output.Sync(); err != nil {
			return wrap(fmt.Errorf("writing %s: %w", f.output, err), "is the disk full?")
		}
	}
	if _, err := record.Write(res.Capsule); err != nil {
		return wrap(fmt.Errorf("writing %s: %w", f.record, err), "is the disk full?")
	}
	if opening != nil {
		if _, err := opening.Write(res.Opening); err != nil {
			return wrap(fmt.Errorf("writing %s: %w", f.opening, err), "is the disk full?")
		}
		if err := opening.commit(); err != nil {
			return err
		}
	}
	if err := record.commit(); err != nil || output == nil {
		return err
	}
	return output.commit()
}

// selfCheck verifies a capsule's core checks with the production verifier
// before it is released, and its opening with it. Identity and policy are the relying
// party's.
func selfCheck(capsule, opening []byte) error {
	r, err := verifier.Verify(capsule, verifier.Input{Now: time.Now(), Version: version, Opening: opening})
	if err != nil {
		return err
	}
	return r.Sealed()
}

// summary tells what was done, on standard error.
func (a *app) summary(f *runFlags, o *opened, command []string, r *launch.Result, stamps []string) error {
	if !f.quiet {
		into := registerText(o, r.Banks)
		how := fmt.Sprintf("exit %d", r.Exit.Code)
		switch {
		case r.Exit.Timeout:
			how = "ended at its time limit"
		case r.Exit.Signal != "":
			how = "ended by " + r.Exit.Signal
		}
		number := ""
		if r.Counter > 0 {
			number = fmt.Sprintf("   counter %d", r.Counter)
		}
		_, _ = fmt.Fprintf(a.stderr, "measured %d files, %s, into %s   ran %s, %s, %.2f s%s   record %s (%s)\n",
			r.Files, sizeText(r.Bytes), into, line(filepath.Base(command[0])), how,
			r.Exit.Duration.Seconds(), number, line(f.record), sizeText(uint64(len(r.Capsule))))
		for _, s := range stamps {
			_, _ = fmt.Fprintln(a.stderr, s)
		}
		if r.Opening != nil {
			_, _ = fmt.Fprintf(a.stderr, "committed to input, output, standard error and parameters: keep %s, which alone opens them\n", line(f.opening))
		}
		a.noteOpen(r.Isolation)
	}
	if r.Exit.Code != 0 || r.Exit.Timeout {
		return &statusError{code: exitNotTrusted, hint: noHint}
	}
	return nil
}
