package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sworn-run/sworn/cer/archive"
	"github.com/sworn-run/sworn/internal/limits"
	"github.com/sworn-run/sworn/verifier"
)

// recheckJob is one file to be judged, which has a row, or as an archive many.
type recheckJob struct {
	// path is where the file is, and shown how rows name it.
	path, shown string
	// err says why it cannot be read, if that is known already.
	err     error
	archive bool
	rows    chan *recheckRow
}

// findRecords lists the records and archives below folders, in the order of their paths.
// What stands in a folder under a record's name and is none is a job too; left counts the
// other files.
func findRecords(paths []string) (jobs []*recheckJob, left int, err error) {
	add := func(j *recheckJob) error {
		if len(jobs) == limits.RecheckRecords {
			return usage("give fewer folders at a time", "more than %d files", limits.RecheckRecords)
		}
		jobs = append(jobs, j)
		return nil
	}
	for _, top := range paths {
		st, err := os.Stat(top)
		if err != nil {
			return nil, 0, wrap(err, fileHint(top, err))
		}
		if !st.IsDir() {
			if err := add(&recheckJob{path: top, shown: filepath.ToSlash(filepath.Clean(top)), archive: isArchive(top)}); err != nil {
				return nil, 0, err
			}
			continue
		}
		// With the slash, a link to a folder is followed.
		err = filepath.WalkDir(top+string(filepath.Separator), func(path string, d fs.DirEntry, err error) error {
			shown := shownPath(top, path, len(paths) > 1)
			switch {
			case err != nil:
				return add(&recheckJob{path: path, shown: shown, err: pathless(err)})
			case d.IsDir():
				return nil
			case strings.HasSuffix(path, recordSuffix):
				return add(&recheckJob{path: path, shown: shown})
			case strings.HasSuffix(path, ".tar") && d.Type().IsRegular() && isArchive(path):
				return add(&recheckJob{path: path, shown: shown, archive: true})
			default:
				left++
				return nil
			}
		})
		if err != nil {
			return nil, 0, err
		}
	}
	return jobs, left, nil
}

// shownPath is the path below the folder given, so that an archive that was moved can be
// compared; with several folders, their names stand before it.
func shownPath(top, path string, several bool) string {
	rel, err := filepath.Rel(top, path)
	if err != nil {
		rel = path
	}
	if several {
		rel = filepath.Join(top, rel)
	}
	return filepath.ToSlash(rel)
}

// memory bounds how much of records is in memory at once: a record that is judged takes a
// few times its size.
type memory struct {
	mu   sync.Mutex
	cond *sync.Cond
	free int64
}

func newMemory(size int64) *memory {
	m := &memory{free: size}
	m.cond = sync.NewCond(&m.mu)
	return m
}

// take waits until n bytes are free. One that is larger than all there is gets all.
func (m *memory) take(n int64) (back func()) {
	n = min(max(n, 1), limits.RecheckMemory)
	m.mu.Lock()
	for m.free < n {
		m.cond.Wait()
	}
	m.free -= n
	m.mu.Unlock()
	return func() {
		m.mu.Lock()
		m.free += n
		m.mu.Unlock()
		m.cond.Broadcast()
	}
}

// judgeAll judges all jobs on all processors and hands on their rows in the order of the
// jobs.
func judgeAll(ctx context.Context, in verifier.Input, jobs []*recheckJob, bar *countBar, take func(*recheckRow) error) error {
	ctx, stop := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer all.Wait()
	defer stop()
	workers := min(runtime.GOMAXPROCS(0), limits.RecheckWorkers)
	todo, order := make(chan *recheckJob), make(chan *recheckJob, 4*workers)
	room := newMemory(limits.RecheckMemory)
	all.Go(func() {
		defer close(todo)
		defer close(order)
		for _, j := range jobs {
			j.rows = make(chan *recheckRow, 16)
			select { // What is judged and not yet taken is bounded by order.
			case order <- j:
			case <-ctx.Done():
				return
			}
			select {
			case todo <- j:
			case <-ctx.Done():
				return
			}
		}
	})
	for range workers {
		all.Go(func() {
			for j := range todo {
				j.judge(ctx, in, room)
				close(j.rows)
			}
		})
	}
	for j := range order {
		for done := false; !done; {
			select {
			case r, more := <-j.rows:
				if done = !more; done {
					break
				}
				if err := take(r); err != nil {
					return err
				}
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		j.rows = nil
		bar.step()
	}
	return ctx.Err()
}

// judge judges one file.
func (j *recheckJob) judge(ctx context.Context, in verifier.Input, room *memory) {
	send := func(r *recheckRow) bool {
		select {
		case j.rows <- r:
			return true
		case <-ctx.Done():
			return false
		}
	}
	switch {
	case j.err != nil:
		send(unreadable(j.shown, j.err))
	case j.archive:
		if err := j.judgeArchive(in, room, send); err != nil {
			send(unreadable(j.shown, err))
		}
	default:
		size := int64(0)
		if st, err := os.Stat(j.path); err == nil {
			size = st.Size()
		}
		defer room.take(min(size, limits.CapsuleFile+1))()
		r, err := judgeFile(in, j.path)
		if err != nil {
			send(unreadable(j.shown, err))
			return
		}
		send(rowOf(j.shown, r))
	}
}

// judgeFile judges a record.
func judgeFile(in verifier.Input, path string) (*verifier.Report, error) {
	b, err := readCapsule(path)
	if err != nil {
		return nil, pathless(err)
	}
	return verifier.Verify(b, in)
}

// judgeArchive judges the records of an archive.
func (j *recheckJob) judgeArchive(in verifier.Input, room *memory, send func(*recheckRow) bool) error {
	f, err := openRegular(j.path)
	if err != nil {
		return pathless(err)
	}
	defer f.Close()
	r, err := newArchive(f)
	if err != nil {
		return err
	}
	session, err := verifier.NewSession(in)
	if err != nil {
		return err
	}
	for {
		s, err := r.Next()
		if errors.Is(err, io.EOF) {
			return r.Finish()
		}
		if err != nil {
			return err
		}
		more, err := j.judgeSet(session, room, r, s, send)
		if err != nil || !more {
			return err
		}
	}
}

// judgeSet judges the records of a set; more is false if nobody wants rows any longer.
func (j *recheckJob) judgeSet(session *verifier.Session, room *memory, r *archive.Reader, s *archive.Set, send func(*recheckRow) bool) (more bool, err error) {
	for {
		block, err := s.Block(64 << 10)
		if errors.Is(err, io.EOF) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
		back := room.take(int64(len(block)))
		for l := range bytes.Lines(block) {
			record, err := s.Parse(l)
			if err == nil {
				err = r.Accept(s, record)
			}
			var report *verifier.Report
			if err == nil {
				report, err = judgeRecord(session, true, s, record)
			}
			if err != nil {
				back()
				return false, err
			}
			if !send(rowOf(fmt.Sprintf("%s:%s", j.shown, record.Name), report)) {
				back()
				return false, nil
			}
		}
		back()
	}
}

// countBar shows on a terminal's standard error how many files have been judged.
type countBar struct {
	w     io.Writer
	total int
	done  atomic.Int64
	start time.Time
	last  time.Time
	shown bool
}

// countBar returns a bar that shows nothing unless standard error is a terminal.
func (a *app) countBar(total int) *countBar {
	b := &countBar{total: total, start: time.Now()}
	if f, ok := a.stderr.(*os.File); ok {
		if st, err := f.Stat(); err == nil && st.Mode()&os.ModeCharDevice != 0 {
			b.w = f
		}
	}
	return b
}

// step counts one more file.
func (b *countBar) step() {
	done := b.done.Add(1)
	now := time.Now()
	if b.w == nil || now.Sub(b.start) < 500*time.Millisecond || now.Sub(b.last) < 100*time.Millisecond {
		return
	}
	b.last, b.shown = now, true
	left := time.Duration(float64(now.Sub(b.start)) / float64(done) * float64(b.total-int(done))).Round(time.Second)
	_, _ = fmt.Fprintf(b.w, "\rchecking %3d %%  %d of %d files  %v left \x1b[K", int(done)*100/b.total, done, b.total, left)
}

// clear removes the bar.
func (b *countBar) clear() {
	if b.shown {
		_, _ = fmt.Fprint(b.w, "\r\x1b[K")
	}
}
