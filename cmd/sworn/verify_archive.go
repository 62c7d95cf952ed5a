package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"

	"github.com/sworn-run/sworn/cer/archive"
	"github.com/sworn-run/sworn/internal/limits"
	"github.com/sworn-run/sworn/verifier"
)

// archiveSummary is what is said of an archive after its records.
type archiveSummary struct {
	verifier.ArchiveReport

	files int
}

// work is lines of an archive to be judged, in its order.
type work struct {
	set   *archive.Set
	block []byte
	done  chan []judged
	err   error
}

// judged is what was found of one record.
type judged struct {
	record *archive.Record
	report *verifier.Report
	text   []byte
	err    error
}

// verifyArchive judges every record of an archive, and prints a line for each and one
// for all.
func (a *app) verifyArchive(ctx context.Context, in verifier.Input, f *verifyFlags, name string) error {
	if in.Policy != nil && in.Policy.Series == verifier.SeriesCounter {
		return usage("sworn archive --extract DIR "+line(name)+", and give up to "+fmt.Sprint(limits.SeriesRecords)+" records of the series together",
			"%s: the policy wants records held against each other, which is not done in an archive", name)
	}
	file, err := openRegular(name)
	if err != nil {
		return err
	}
	defer file.Close()
	sum := &archiveSummary{ArchiveReport: verifier.ArchiveReport{File: name}}
	hashed := make(chan error, 1)
	go func() { hashed <- sum.hash(file) }()
	r, err := newArchive(file)
	if err == nil {
		sum.MadeBy, sum.files = r.Head().Verifier, len(r.Head().Files)
		err = a.judgeArchive(ctx, in, f, r, sum)
	}
	if hashErr := <-hashed; hashErr != nil {
		return archiveError(name, hashErr)
	}
	switch {
	case errors.Is(err, archive.ErrForm):
		sum.End(err.Error())
	case err != nil:
		return archiveError(name, err)
	default:
		sum.End("")
	}
	if err := a.printSummary(sum, f, in); err != nil {
		return err
	}
	if sum.Trusted {
		return nil
	}
	return &statusError{code: exitNotTrusted, hint: sum.hint(in)}
}

// hash hashes the archive beside its verification.
func (s *archiveSummary) hash(f *os.File) error {
	st, err := f.Stat()
	if err != nil {
		return err
	}
	h := sha256.New()
	if _, err := io.CopyBuffer(h, io.NewSectionReader(f, 0, st.Size()), make([]byte, 256<<10)); err != nil {
		return err
	}
	s.SHA256 = fmt.Sprintf("%x", h.Sum(nil))
	return nil
}

// judgeArchive judges the records on all processors, and prints what was found in the
// order of the archive.
func (a *app) judgeArchive(ctx context.Context, in verifier.Input, f *verifyFlags, r *archive.Reader, sum *archiveSummary) error {
	session, err := verifier.NewSession(in)
	if err != nil {
		return wrap(err, inputHint(err))
	}
	ctx, stop := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer all.Wait()
	defer stop()
	workers := runtime.GOMAXPROCS(0)
	// What is read and not yet printed is bounded by these.
	todo, order := make(chan *work, workers), make(chan *work, 2*workers)
	all.Go(func() {
		defer close(todo)
		defer close(order)
		readArchive(ctx, r, todo, order)
	})
	for range workers {
		all.Go(func() {
			for w := range todo {
				w.done <- judge(session, f, sum.File, w)
			}
		})
	}
	for w := range order {
		if w.err != nil {
			return w.err
		}
		found := <-w.done
		if err := a.take(r, sum, w.set, found); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return r.Finish()
}

// readArchive reads an archive's lines and hands them to whoever judges them, and, in the
// same order, to whoever prints.
func readArchive(ctx context.Context, r *archive.Reader, todo, order chan<- *work) {
	send := func(w *work) bool {
		select {
		case <-ctx.Done():
			return false
		case order <- w:
		}
		if w.err != nil {
			return false
		}
		select {
		case <-ctx.Done():
			return false
		case todo <- w:
			return true
		}
	}
	for {
		s, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			send(&work{err: err})
			return
		}
		for {
			block, err := s.Block(64 << 10)
			if errors.Is(err, io.EOF) {
				break
			}
			if !send(&work{set: s, block: block, done: make(chan []judged, 1), err: err}) {
				return
			}
		}
	}
}

// judge judges the records of a block, up to the first that cannot be read.
func judge(session *verifier.Session, f *verifyFlags, name string, w *work) []judged {
	var out []judged
	for l := range bytes.Lines(w.block) {
		j := judged{}
		j.record, j.err = w.set.Parse(l)
		if j.err == nil {
			j.report, j.err = judgeRecord(session, f.format == formatJSON || f.format == formatEAR || f.explain, w.set, j.record)
		}
		if j.err == nil {
			j.text, j.err = recordText(f, name, j.record.Name, j.report)
		}
		out = append(out, j)
		if j.err != nil {
			break
		}
	}
	return out
}

// judgeRecord judges one record; all asks for the whole report and not only for verdict and
// checks.
func judgeRecord(session *verifier.Session, all bool, s *archive.Set, rec *archive.Record) (*verifier.Report, error) {
	shared, err := s.Shared()
	if err != nil {
		return nil, err
	}
	if all {
		return session.VerifyShared(shared, rec.Record, rec.Inclusion)
	}
	return session.JudgeShared(shared, rec.Record, rec.Inclusion)
}

// recordText is what is printed of a record.
func recordText(f *verifyFlags, name, record string, r *verifier.Report) ([]byte, error) {
	var b bytes.Buffer
	switch {
	case f.format == formatEAR:
		token, err := earOf(r, f.key, f.kid)
		return []byte(token + "\n"), err
	case f.format == formatJSON:
		err := r.WriteArchiveJSON(&b, name, record)
		return b.Bytes(), err
	case f.explain:
		b.WriteString(line(record) + ":\n")
		err := r.WriteText(&b, true)
		return b.Bytes(), err
	default:
		b.WriteString(line(record) + ": " + line(r.Headline) + "\n")
		return b.Bytes(), nil
	}
}

// take takes note of what was found, in the order of the archive, and prints it.
func (a *app) take(r *archive.Reader, sum *archiveSummary, s *archive.Set, found []judged) error {
	var text bytes.Buffer
	err := func() error {
		for _, j := range found {
			if j.err != nil {
				return j.err
			}
			if err := r.Accept(s, j.record); err != nil {
				return err
			}
			sum.Count(s.Number, j.report)
			text.Write(j.text)
		}
		return nil
	}()
	_, printed := a.stdout.Write(text.Bytes())
	return cmp.Or(err, printed)
}

// printSummary prints what is said of all records.
func (a *app) printSummary(s *archiveSummary, f *verifyFlags, in verifier.Input) error {
	if f.format == formatJSON {
		return s.WriteJSON(a.stdout)
	}
	rows := []string{line(s.Headline()), fmt.Sprintf("  %d statements with their evidence", s.Sets)}
	if s.MadeBy != "" {
		rows = append(rows, "  made by "+line(s.MadeBy)+", as it says")
	}
	if s.files > 0 {
		rows = append(rows, fmt.Sprintf("  the %d policies, roots and ledgers in it were not used", s.files))
	}
	ids := "  archive sha256:" + s.SHA256
	if in.Policy != nil {
		ids += fmt.Sprintf("  policy sha256:%x", in.Policy.Digest())
	}
	if in.Roots != nil {
		ids += fmt.Sprintf("  roots sha256:%x", in.Roots.Digest())
	}
	w := a.stdout
	if f.format == formatEAR {
		w = a.stderr // a line of standard output is a record's
	}
	for _, r := range append(rows, ids) {
		if _, err := fmt.Fprintln(w, r); err != nil {
			return err
		}
	}
	return nil
}

// hint says what to do about an archive that is not trusted.
func (s *archiveSummary) hint(in verifier.Input) string {
	switch {
	case s.Error != "":
		return "get the file again, byte for byte, or from who made it"
	case in.Policy == nil && s.files > 0:
		return "what the archive carries was chosen by its maker: sworn archive --extract DIR, read the policy and the roots there, and give them with --policy and --roots"
	case s.Refused != nil:
		return hintAgainst(s.File, s.Refused, in)
	default:
		return noHint
	}
}
