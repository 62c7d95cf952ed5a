package main

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/limits"
	"github.com/sworn-run/sworn/verifier"
)

// recheckRow is one record, a line for programs.
type recheckRow struct {
	// Path is below the folder given, with slashes; of a record in an archive, the
	// archive's, a colon and the record's name.
	Path string `json:"path"`
	// SHA256 is of the record's file; empty if it could not be read.
	SHA256 string `json:"sha256"`
	// Status is trusted, not trusted or unreadable.
	Status   string `json:"status"`
	Headline string `json:"headline"`
	// Now and Record are the statuses of the two verdicts.
	Now    string `json:"verdictNow"`
	Record string `json:"verdictRecord"`
	// Open are the checks that keep it from being trusted as of now.
	Open []openCheck `json:"open"`
	// Assuming is what a trusted verdict rests on.
	Assuming []string `json:"assuming"`
	// Change, Was and Why compare with an earlier run; empty without one.
	Change string   `json:"change,omitempty"`
	Was    string   `json:"was,omitempty"`
	Why    []string `json:"why,omitempty"`
}

// openCheck is a check that did not pass and counts.
type openCheck struct {
	Check  string `json:"check"`
	Slot   *int   `json:"slot,omitempty"`
	Status string `json:"status"`
	Detail string `json:"detail"`
}

// The changes of a row, from the worst.
const (
	changeGone     = "gone"
	changeReplaced = "replaced"
	changeWorse    = "worse"
	changeWeaker   = "weaker"
	changeNew      = "new"
	changeBetter   = "better"
	changeSame     = "same"
)

// earlierRun is a run that this one is compared with.
type earlierRun struct {
	head recheckHead
	// byPath are the rows that have not been found again, and byDigest their paths.
	byPath   map[string]*recheckRow
	byDigest map[string]string
}

// strictRow and strictHead read what recheck writes: json's option omitempty would let the
// strict reader take what is missing for what is empty.
type strictRow struct {
	Path     string      `json:"path"`
	SHA256   string      `json:"sha256"`
	Status   string      `json:"status"`
	Headline string      `json:"headline"`
	Now      string      `json:"verdictNow"`
	Record   string      `json:"verdictRecord"`
	Open     []openCheck `json:"open"`
	Assuming []string    `json:"assuming"`
	Change   string      `json:"change"`
	Was      string      `json:"was"`
	Why      []string    `json:"why"`
}

// strictSums is the last line.
type strictSums struct {
	Type       string         `json:"type"`
	Trusted    bool           `json:"trusted"`
	Records    int            `json:"records"`
	ByStatus   map[string]int `json:"byStatus"`
	ByChange   map[string]int `json:"byChange"`
	OtherFiles int            `json:"otherFiles"`
}

// readEarlier reads what an earlier run wrote for programs, all of it.
func readEarlier(name string) (*earlierRun, error) {
	f, err := openRegular(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	e, err := parseEarlier(f)
	if err != nil {
		return nil, wrap(fmt.Errorf("%s: %w", name, err), "give what \"sworn recheck --format json\" wrote, whole")
	}
	return e, nil
}

// errEarlier is a file that is not what recheck writes.
var errEarlier = errors.New("not the output of recheck for programs")

// parseEarlier reads head, rows and sums. Without the sums the run did not end, and what
// it had not come to would look like new.
func parseEarlier(r io.Reader) (*earlierRun, error) {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, 1<<16), limits.RecheckLine)
	e := &earlierRun{byPath: map[string]*recheckRow{}, byDigest: map[string]string{}}
	rows, ended := 0, false
	for n := 0; s.Scan(); n++ {
		switch b := bytes.TrimSpace(s.Bytes()); {
		case ended:
			return nil, fmt.Errorf("line %d stands after the sums: %w", n+1, errEarlier)
		case n == 0:
			if err := cer.UnmarshalStrict(b, recheckDepth, &e.head); err != nil || e.head.Type != recheckType {
				return nil, fmt.Errorf("line 1 is no head: %w", errors.Join(errEarlier, err))
			}
		case bytes.HasPrefix(b, []byte(`{"type"`)):
			var sums strictSums
			if err := cer.UnmarshalStrict(b, recheckDepth, &sums); err != nil || sums.Type != recheckType || sums.Records != rows {
				return nil, fmt.Errorf("line %d: %w", n+1, errors.Join(errEarlier, err))
			}
			ended = true
		default:
			row, err := parseRow(b)
			if err != nil {
				return nil, fmt.Errorf("line %d: %w", n+1, err)
			}
			if row.Change == changeGone {
				continue
			}
			if rows++; rows > limits.RecheckRecords {
				return nil, fmt.Errorf("more than %d records: %w", limits.RecheckRecords, errEarlier)
			}
			if e.byPath[row.Path] != nil {
				return nil, fmt.Errorf("line %d: %.160q stands twice: %w", n+1, row.Path, errEarlier)
			}
			e.byPath[row.Path] = row
			if row.SHA256 != "" {
				e.byDigest[row.SHA256] = row.Path
			}
		}
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", errEarlier, err)
	}
	if !ended {
		return nil, fmt.Errorf("it has no end: %w", errEarlier)
	}
	return e, nil
}

// recheckDepth is how deep the JSON of a line is nested.
const recheckDepth = 8

// parseRow reads one row.
func parseRow(b []byte) (*recheckRow, error) {
	var s strictRow
	if err := cer.UnmarshalStrict(b, recheckDepth, &s); err != nil {
		return nil, fmt.Errorf("%w: %w", errEarlier, err)
	}
	r := recheckRow(s)
	if r.Path == "" || !slices.Contains([]string{rowTrusted, rowNotTrusted, rowUnreadable}, r.Status) || r.SHA256 != "" && !isDigest(r.SHA256) {
		return nil, fmt.Errorf("a row without path, status or digest: %w", errEarlier)
	}
	return &r, nil
}

// compare says how a row differs from the earlier one of the same path, or of the same
// bytes elsewhere.
func (e *earlierRun) compare(r *recheckRow) {
	was := e.byPath[r.Path]
	moved := ""
	if was == nil && r.SHA256 != "" {
		if at, ok := e.byDigest[r.SHA256]; ok && e.byPath[at] != nil {
			was, moved = e.byPath[at], at
		}
	}
	if was == nil {
		r.Change = changeNew
		return
	}
	delete(e.byPath, was.Path)
	r.Was = was.Status
	if moved != "" {
		r.Why = append(r.Why, "was at "+line(moved))
	}
	r.Change = changeOf(r, was)
	r.Why = append(r.Why, reasons(r, was)...)
}

// changeOf names the change.
func changeOf(r, was *recheckRow) string {
	rank := map[string]int{rowTrusted: 2, rowNotTrusted: 1, rowUnreadable: 0}
	switch {
	case r.SHA256 != "" && was.SHA256 != "" && r.SHA256 != was.SHA256:
		return changeReplaced
	case rank[r.Status] < rank[was.Status]:
		return changeWorse
	case rank[r.Status] > rank[was.Status]:
		return changeBetter
	case len(without(r.Assuming, was.Assuming)) > 0 && r.Status == rowTrusted:
		return changeWeaker
	default:
		return changeSame
	}
}

// reasons says what is otherwise than it was: checks that did not stand in the way, or no
// longer do, and what is assumed anew or no more.
func reasons(r, was *recheckRow) []string {
	var out []string
	key := func(c openCheck) string {
		if c.Slot == nil {
			return c.Check
		}
		return fmt.Sprintf("%s of slot %d", c.Check, *c.Slot)
	}
	before, now := map[string]openCheck{}, map[string]bool{}
	for _, c := range was.Open {
		before[key(c)] = c
	}
	if r.Status == rowUnreadable && (was.Status != rowUnreadable || was.Headline != r.Headline) {
		out = append(out, r.Headline)
	}
	if r.SHA256 != was.SHA256 && r.SHA256 != "" && was.SHA256 != "" {
		out = append(out, "other bytes than at the earlier run")
	}
	for _, c := range r.Open {
		now[key(c)] = true
		if old, ok := before[key(c)]; !ok || old.Status != c.Status || old.Detail != c.Detail {
			out = append(out, fmt.Sprintf("%s is %s: %s", key(c), c.Status, c.Detail))
		}
	}
	for _, k := range slices.Sorted(maps.Keys(before)) {
		if !now[k] && r.Status != rowUnreadable {
			out = append(out, line(k)+" stands in the way no more")
		}
	}
	for _, s := range without(r.Assuming, was.Assuming) {
		out = append(out, "assumes anew: "+line(s))
	}
	for _, s := range without(was.Assuming, r.Assuming) {
		if r.Status == rowTrusted {
			out = append(out, "assumes no more: "+line(s))
		}
	}
	return out
}

// without returns those of a that are not in b.
func without(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) })
}

// gone are the rows of records that were not found again, in the order of their paths.
func (e *earlierRun) gone() []*recheckRow {
	out := slices.SortedFunc(maps.Values(e.byPath), func(a, b *recheckRow) int { return cmp.Compare(a.Path, b.Path) })
	for i, r := range out {
		g := unreadable(r.Path, errors.New("it is not there any more"))
		g.Change, g.Was, g.SHA256 = changeGone, r.Status, r.SHA256
		out[i] = g
	}
	return out
}

// ledgerLine names ledgers in one line.
func ledgerLine(list []verifier.LedgerUsed) string {
	var out []string
	for _, l := range list {
		out = append(out, l.Name+" version "+l.Version+" of "+l.Issued)
	}
	return strings.Join(out, ", ")
}
