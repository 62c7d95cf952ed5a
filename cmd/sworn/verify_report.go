package main

import (
	"fmt"
	"io"
	"slices"

	"github.com/sworn-run/sworn/verifier"
	"github.com/sworn-run/sworn/verifier/htmlreport"
)

// formatHTML is the format of reports to file away.
const formatHTML = "html"

// reports takes the reports of one command and writes them where the user wants them.
type reports struct {
	f      *verifyFlags
	stdout io.Writer
	// file is what --report names, nil without; w takes the reports.
	file *pendingFile
	w    io.Writer
	// many is true if there are several records.
	many bool
	// pages are the records of the one HTML document.
	pages []htmlreport.Record
}

// openReports begins what the reports of these records go to. A file appears under its
// name when all of them are there.
func (a *app) openReports(f *verifyFlags, files []string) (*reports, error) {
	out := &reports{f: f, stdout: a.stdout, w: a.stdout, many: len(files) > 1}
	if f.report == "" {
		return out, nil
	}
	used := slices.Concat(files, []string{f.policy, f.input, f.output, f.roots, f.rootsOnly, f.earKey, f.opening}, f.ledgers)
	for _, w := range f.weights {
		_, path := named(w)
		used = append(used, path)
	}
	for _, u := range used {
		if samePath(f.report, u) {
			return nil, usage("choose another path for --report", "the report would overwrite %s", u)
		}
	}
	file, err := createFile(f.report, 0o644)
	if err != nil {
		return nil, err
	}
	out.file, out.w = file, file
	return out, nil
}

// add takes one report. Where the reports go to a file, the verdict still stands on
// standard output.
func (o *reports) add(r *verifier.Report, name string) error {
	if o.file != nil {
		verdict := line(r.Headline)
		if o.many {
			verdict = line(name) + ": " + verdict
		}
		if _, err := fmt.Fprintln(o.stdout, verdict); err != nil {
			return err
		}
	}
	switch o.f.format {
	case formatHTML:
		o.pages = append(o.pages, htmlreport.Record{File: name, Report: r})
		return nil
	case formatEAR:
		token, err := earOf(r, o.f.key, o.f.kid)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(o.w, token)
		return o.failed(err)
	case formatJSON:
		return o.failed(r.WriteJSON(o.w, name, !o.many))
	}
	if o.many {
		if _, err := fmt.Fprintln(o.w, line(name)+":"); err != nil {
			return o.failed(err)
		}
	}
	return o.failed(r.WriteText(o.w, o.f.explain))
}

// finish writes what waits for the last report, and gives the file its name.
func (o *reports) finish() error {
	if o.f.format == formatHTML {
		if _, err := o.w.Write(htmlreport.Render(o.pages...)); err != nil {
			return o.failed(err)
		}
	}
	if o.file != nil {
		return o.file.commit()
	}
	return nil
}

// abandon leaves no file behind that is not whole.
func (o *reports) abandon() {
	if o.file != nil {
		o.file.abandon()
	}
}

// failed says which file could not be written.
func (o *reports) failed(err error) error {
	if err == nil || o.file == nil {
		return err
	}
	return wrap(fmt.Errorf("writing %s: %w", o.f.report, err), "is the disk full?")
}
