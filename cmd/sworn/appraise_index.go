package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/limits"
	"github.com/sworn-run/sworn/verifier/appraise"
)

// maxJobs bounds --jobs: each holds an item's files in memory.
const maxJobs = 64

// corpus is a run over an index.
type corpus struct {
	root    *os.Root
	anchors *attest.Anchors
	at      time.Time
}

// outcomeJSON is the outcome of an item for programs.
type outcomeJSON struct {
	ID       string   `json:"id"`
	Tech     string   `json:"tech"`
	Expected string   `json:"expected"`
	Got      string   `json:"got"`
	Judged   bool     `json:"judged"`
	Agree    bool     `json:"agree"`
	Notes    []string `json:"notes"`
}

// tally counts outcomes.
type tally struct {
	Judged      int            `json:"judged"`
	Agree       int            `json:"agree"`
	NotJudged   int            `json:"notJudged"`
	Unsupported map[string]int `json:"unsupported"`
	// decided is false once a judged item does not agree.
	decided bool
}

// appraiseIndex appraises the items of an index and compares.
func (a *app) appraiseIndex(ctx context.Context, f *appraiseFlags) error {
	anchors, err := f.anchors()
	if err != nil {
		return err
	}
	at, err := f.instant()
	if err != nil {
		return err
	}
	b, err := readFile(f.index, limits.CapsuleFile)
	if err != nil {
		return err
	}
	items, err := appraise.ParseIndex(b)
	if err != nil {
		return wrap(fmt.Errorf("%s: %w", f.index, err), "an index lists items with files and a verdict: sworn appraise --help")
	}
	root, err := os.OpenRoot(filepath.Dir(f.index))
	if err != nil {
		return wrap(err, "may this user read the index's folder?")
	}
	defer root.Close()
	c := &corpus{root: root, anchors: anchors, at: at}
	c.anchors = appraise.WithCertificates(anchors, c.certificates(items))
	if items, err = chosen(items, f.only); err != nil {
		return err
	}
	outcomes := c.run(ctx, items, f.jobs)
	if err := ctx.Err(); err != nil {
		return err
	}
	t := tally{Unsupported: map[string]int{}, decided: true}
	for i := range items {
		t.add(&items[i], &outcomes[i], len(f.only) > 0)
		if err := a.writeOutcome(&items[i], &outcomes[i], f); err != nil {
			return err
		}
	}
	if err := a.writeTally(&t, f.json); err != nil {
		return err
	}
	if !t.decided {
		return &statusError{code: exitNotTrusted, hint: noHint}
	}
	return nil
}

// certificates reads the files of the index's roots. What cannot be read is missing
// from chains, and nothing else.
func (c *corpus) certificates(items []appraise.Item) []appraise.File {
	var out []appraise.File
	for i := range items {
		if items[i].Tech != "roots" {
			continue
		}
		for _, f := range items[i].Files {
			if f.Size > limits.RootsFile || len(out) == limits.RootsFiles {
				continue
			}
			if b, err := c.file(f.Path); err == nil && sha256.Sum256(b) == f.SHA256 {
				out = append(out, appraise.File{Name: f.Path, Data: b})
			}
		}
	}
	return out
}

// chosen returns the items of the techs named; all if none is.
func chosen(items []appraise.Item, only []string) ([]appraise.Item, error) {
	if len(only) == 0 {
		return items, nil
	}
	var techs []string
	for _, i := range items {
		techs = append(techs, i.Tech)
	}
	for _, t := range only {
		if !slices.Contains(techs, t) {
			return nil, usage(hintMeant(nearest(t, techs), "--only %s", "--only "+strings.Join(kindNames(), ",")), "no item of tech %q in the index", t)
		}
	}
	return slices.DeleteFunc(items, func(i appraise.Item) bool { return !slices.Contains(only, i.Tech) }), nil
}

// run appraises the items, several at a time, and returns their outcomes in order.
func (c *corpus) run(ctx context.Context, items []appraise.Item, jobs uint32) []appraise.Outcome {
	n := int(min(jobs, maxJobs))
	if n == 0 {
		n = runtime.GOMAXPROCS(0)
	}
	out := make([]appraise.Outcome, len(items))
	work := make(chan int)
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			for i := range work {
				out[i] = c.item(&items[i])
			}
		})
	}
	for i := range items {
		if ctx.Err() != nil {
			break
		}
		work <- i
	}
	close(work)
	wg.Wait()
	return out
}

// item appraises one item.
func (c *corpus) item(i *appraise.Item) appraise.Outcome {
	if i.Kind() == "" {
		return i.Expect()
	}
	files, err := c.files(i)
	if err != nil {
		return i.Fail(err.Error())
	}
	o, err := i.Appraise(files, c.anchors, c.at)
	if err != nil {
		return i.Fail(err.Error())
	}
	return o
}

// errIndexFile is a file that is not as the index says.
var errIndexFile = errors.New("not as the index says")

// files reads the files of an item.
func (c *corpus) files(i *appraise.Item) ([]appraise.File, error) {
	if len(i.Files) > maxEvidenceFiles {
		return nil, fmt.Errorf("%d files, limit %d: %w", len(i.Files), maxEvidenceFiles, errIndexFile)
	}
	var out []appraise.File
	for _, f := range i.Files {
		b, err := c.file(f.Path)
		if err != nil {
			return nil, err
		}
		if sum := sha256.Sum256(b); int64(len(b)) != f.Size || !bytes.Equal(sum[:], f.SHA256[:]) {
			return nil, fmt.Errorf("%s: other bytes than the index says: %w", f.Path, errIndexFile)
		}
		name := path.Base(f.Path)
		if slices.ContainsFunc(out, func(o appraise.File) bool { return o.Name == name }) {
			name = f.Path
		}
		out = append(out, appraise.File{Name: name, Data: b})
	}
	return out, nil
}

// file reads a file below the index's folder. It follows no link, and the root keeps
// it from being led outside while it looks.
func (c *corpus) file(name string) ([]byte, error) {
	for end := range len(name) + 1 {
		if end < len(name) && name[end] != '/' {
			continue
		}
		st, err := c.root.Lstat(name[:end])
		if err != nil {
			return nil, err
		}
		if want := end < len(name); st.IsDir() != want || !want && !st.Mode().IsRegular() {
			return nil, fmt.Errorf("%s is a link or no regular file: %w", name[:end], errIndexFile)
		}
	}
	f, err := c.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: %w", name, fs.ErrInvalid)
	}
	b, err := io.ReadAll(io.LimitReader(f, limits.BootLog+1))
	if err == nil && len(b) > limits.BootLog {
		err = fmt.Errorf("%s is larger than %d bytes: %w", name, limits.BootLog, errIndexFile)
	}
	return b, err
}

// add counts an outcome. What is not supported decides only if it was asked for.
func (t *tally) add(i *appraise.Item, o *appraise.Outcome, asked bool) {
	switch {
	case i.Kind() == "":
		t.Unsupported[i.Tech]++
		t.decided = t.decided && (!asked || !o.Judged)
	case !o.Judged:
		t.NotJudged++
	default:
		t.Judged++
		if o.Agree {
			t.Agree++
		}
		t.decided = t.decided && o.Agree
	}
}

// writeOutcome writes the line of an item, and below it what is to be known.
func (a *app) writeOutcome(i *appraise.Item, o *appraise.Outcome, f *appraiseFlags) error {
	if f.json {
		notes := make([]string, 0, len(o.Notes))
		for _, n := range o.Notes {
			notes = append(notes, line(n))
		}
		return writeJSON(a.stdout, outcomeJSON{line(i.ID), line(i.Tech), o.Expected, o.Got, o.Judged, o.Agree, notes}, "")
	}
	agree := "-"
	if o.Judged && i.Kind() != "" {
		agree = map[bool]string{true: "yes", false: "NO"}[o.Agree]
	}
	if i.Kind() == "" && len(f.only) == 0 {
		return nil // Counted.
	}
	if _, err := fmt.Fprintf(a.stdout, "%-36s %-8s %-15s %s\n", line(i.ID), o.Expected, o.Got, agree); err != nil {
		return err
	}
	for _, n := range o.Notes {
		if _, err := fmt.Fprintf(a.stdout, "    %s\n", line(n)); err != nil {
			return err
		}
	}
	return nil
}

// writeTally writes the counts.
func (a *app) writeTally(t *tally, asJSON bool) error {
	if asJSON {
		return writeJSON(a.stdout, t, "")
	}
	var techs []string
	n := 0
	for tech, count := range t.Unsupported {
		techs = append(techs, fmt.Sprintf("%s %d", line(tech), count))
		n += count
	}
	slices.Sort(techs)
	text := fmt.Sprintf("judged %d: %d agree, %d do not; not judged %d; of kinds not supported %d", t.Judged, t.Agree, t.Judged-t.Agree, t.NotJudged, n)
	if n > 0 {
		text += ": " + strings.Join(techs, ", ")
	}
	_, err := fmt.Fprintln(a.stdout, text)
	return err
}
