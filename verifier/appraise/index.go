package appraise

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/bootlog"
)

// Basis is what an item of an index is judged by.
type Basis string

// What an item is judged by.
const (
	// ByStrict: accepted strictly at the item's instant, or refused.
	ByStrict Basis = "strict"
	// ByReplay: accepted, and the replayed registers are the item's facts.
	ByReplay Basis = "replay"
	// ByParse: well-formed and whole, or refused.
	ByParse Basis = "parse"
	// ByNone: not judged.
	ByNone Basis = "none"
	// byUnknown: not as any of these, and so never in agreement.
	byUnknown Basis = "unknown"
)

// Item is one item of an index.
type Item struct {
	// ID names it, Tech is what the index calls its kind.
	ID, Tech string
	// Files are in the order of the index.
	Files []ItemFile
	// At is the instant at which it is judged; zero if any will do.
	At time.Time
	// By and Accept are the expected outcome.
	By     Basis
	Accept bool
	// Facts are the registers that are to be replayed; FactsFile is the name of the
	// file that has them, if they are not in the index.
	Facts     []attest.RegisterValue
	FactsFile string

	// wrong is why the verdict cannot be compared with.
	wrong error
}

// ItemFile is one file of an item.
type ItemFile struct {
	// Path is relative to the index's folder, with slashes: no element of it is
	// "..", and it does not begin with a slash.
	Path string
	// Size and SHA256 are those of the file.
	Size   int64
	SHA256 [32]byte
}

// Kind returns the kind of the item's evidence; empty if this version does not
// appraise it.
func (i *Item) Kind() Kind {
	if k := Kind(i.Tech); slices.Contains(Kinds(), k) {
		return k
	}
	return ""
}

// Bounds on an index.
const (
	maxItems     = 10000
	maxItemFiles = 1000
	maxItemText  = 256
)

// indexItem is an item as it stands in the file.
type indexItem struct {
	ID    string `json:"id"`
	Tech  string `json:"tech"`
	Files []struct {
		Path   string `json:"path"`
		SHA256 string `json:"sha256"`
		Size   int64  `json:"size"`
	} `json:"files"`
	VerifyAt *string `json:"verify_at"`
	Verdict  *struct {
		By        Basis          `json:"by"`
		Accept    *bool          `json:"accept"`
		Time      string         `json:"time"`
		Facts     jsontext.Value `json:"facts"`
		FactsFile string         `json:"facts_file"`
	} `json:"verdict"`
}

// ParseIndex parses an index of evidence: {"items": […]} or the list alone, of at
// most 10,000 items. The error wraps [attest.ErrForm] and names the item.
func ParseIndex(b []byte) ([]Item, error) {
	if err := cer.Strict(b, 64); err != nil {
		return nil, fmt.Errorf("index: %v: %w", err, attest.ErrForm)
	}
	var index struct {
		Items []indexItem `json:"items"`
	}
	var to any = &index
	if jsontext.Value(b).Kind() == '[' {
		to = &index.Items
	}
	if err := json.Unmarshal(b, to); err != nil {
		return nil, fmt.Errorf("index: %v: %w", err, attest.ErrForm)
	}
	if len(index.Items) < 1 || len(index.Items) > maxItems {
		return nil, fmt.Errorf("index of %d items, want 1 to %d: %w", len(index.Items), maxItems, attest.ErrForm)
	}
	out := make([]Item, 0, len(index.Items))
	seen := map[string]bool{}
	for n := range index.Items {
		i, err := index.Items[n].item()
		if err == nil && seen[i.ID] {
			err = fmt.Errorf("is there twice: %w", attest.ErrForm)
		}
		if err != nil {
			return nil, fmt.Errorf("index, item %d (%.80q): %w", n, index.Items[n].ID, err)
		}
		seen[i.ID] = true
		out = append(out, *i)
	}
	return out, nil
}

// item checks one item.
func (x *indexItem) item() (*Item, error) {
	if x.ID == "" || len(x.ID) > maxItemText || x.Tech == "" || len(x.Tech) > maxItemText || strings.ContainsAny(x.ID, " \t\r\n") {
		return nil, fmt.Errorf("id or tech is empty, too long or not one word: %w", attest.ErrForm)
	}
	if len(x.Files) > maxItemFiles {
		return nil, fmt.Errorf("%d files, limit %d: %w", len(x.Files), maxItemFiles, attest.ErrForm)
	}
	i := &Item{ID: x.ID, Tech: x.Tech, By: ByNone}
	for _, f := range x.Files {
		sum, err := hex.DecodeString(f.SHA256)
		if !fs.ValidPath(f.Path) || f.Path == "." || strings.ContainsAny(f.Path, "\x00\\:") || len(f.Path) > 4096 {
			return nil, fmt.Errorf("path %.80q is not a relative path below the index: %w", f.Path, attest.ErrForm)
		}
		if err != nil || len(sum) != 32 || f.Size < 0 {
			return nil, fmt.Errorf("file %.80q without SHA-256 or size: %w", f.Path, attest.ErrForm)
		}
		i.Files = append(i.Files, ItemFile{f.Path, f.Size, [32]byte(sum)})
	}
	i.wrong = x.verdict(i)
	return i, nil
}

// instant reads verify_at, a time of RFC 3339 or a day.
func (x *indexItem) instant(i *Item) error {
	if x.VerifyAt == nil || x.Verdict.Time == "none" {
		return nil
	}
	var err error
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if i.At, err = time.Parse(layout, *x.VerifyAt); err == nil {
			return nil
		}
	}
	return fmt.Errorf("verify_at %.40q: %w", *x.VerifyAt, attest.ErrForm)
}

// verdict reads what is expected.
func (x *indexItem) verdict(i *Item) error {
	v := x.Verdict
	if v == nil {
		return nil
	}
	switch v.By {
	case ByStrict, ByReplay, ByParse, ByNone:
		i.By = v.By
	default:
		i.By = byUnknown
		return fmt.Errorf("verdict by %.40q: %w", v.By, attest.ErrForm)
	}
	if i.By != ByNone {
		if v.Accept == nil {
			return fmt.Errorf("verdict without accept: %w", attest.ErrForm)
		}
		i.Accept = *v.Accept
	}
	if err := x.instant(i); err != nil {
		return err
	}
	// What other techs have for facts is for who appraises them.
	if i.By != ByReplay || i.Kind() == "" {
		return nil
	}
	if v.Facts != nil && v.Facts.Kind() != 'n' {
		var err error
		i.Facts, err = ParseRegisters(v.Facts)
		return err
	}
	if i.FactsFile = v.FactsFile; i.FactsFile == "" {
		return fmt.Errorf("verdict by replay without facts: %w", attest.ErrForm)
	}
	return nil
}

// Outcome is what became of an item.
type Outcome struct {
	// Expected and Got are "accept", "refuse" or, if nothing is, "-"; Got may also
	// be "unsupported" or "error".
	Expected, Got string
	// Judged is false for an item that is not judged; Agree is true if what was got
	// is what was expected.
	Judged, Agree bool
	// Notes say why, or what else is to be known.
	Notes []string
}

// outcomes.
const (
	accepted    = "accept"
	refused     = "refuse"
	unsupported = "unsupported"
	failed      = "error"
	nothing     = "-"
)

// word returns the word for accepted or refused.
func word(ok bool) string {
	if ok {
		return accepted
	}
	return refused
}

// Expect returns the outcome of an item before it was looked at.
func (i *Item) Expect() Outcome {
	o := Outcome{Expected: nothing, Got: nothing, Judged: i.By != ByNone}
	if o.Judged {
		o.Expected = word(i.Accept)
	}
	if i.Kind() == "" {
		o.Got = unsupported
	}
	return o
}

// Fail returns the outcome of an item that could not be read, with the reason.
func (i *Item) Fail(why string) Outcome {
	o := i.Expect()
	o.Got, o.Notes = failed, []string{why}
	return o
}

// Appraise appraises an item of one of [Kinds] whose files were read, in the order
// of Files, and compares the outcome with the expected one. Undated items are judged
// at the instant given. The error is that of the function [Appraise].
func (i *Item) Appraise(files []File, anchors *attest.Anchors, at time.Time) (Outcome, error) {
	if !i.At.IsZero() {
		at = i.At
	}
	facts, unread := i.Facts, i.wrong
	var evidence []File
	for _, f := range files {
		if i.FactsFile == "" || f.Name != i.FactsFile {
			evidence = append(evidence, f)
			continue
		}
		facts, unread = ParseRegisters(f.Data)
	}
	if unread != nil {
		return i.Fail(unread.Error()), nil
	}
	r, err := Appraise(Input{Kind: i.Kind(), Files: evidence, Anchors: anchors, At: at, Strict: i.By == ByStrict})
	if err != nil {
		return Outcome{}, err
	}
	o := i.Expect()
	if o.Got = word(r.Accepted()); !r.Accepted() {
		o.Notes = append(o.Notes, r.Refusal.Error())
	}
	o.Agree = o.Judged && r.Accepted() == i.Accept
	if i.By == ByReplay && i.Accept && r.Accepted() {
		notes, same := compare(facts, r, evidence)
		o.Notes = append(o.Notes, notes...)
		if o.Agree = same; !same {
			o.Got = "other-registers"
		}
	}
	return o, nil
}

// compare compares facts with what was replayed: the banks that the facts have, and
// in them every register.
func compare(facts []attest.RegisterValue, r *Report, files []File) (notes []string, same bool) {
	if len(facts) == 0 {
		return []string{"no facts to compare with"}, false
	}
	same = true
	differ := func(format string, args ...any) {
		same = false
		notes = append(notes, fmt.Sprintf(format, args...))
	}
	var got []attest.RegisterValue
	for _, p := range r.Replays {
		got = append(got, p.Values...)
	}
	for _, f := range facts {
		at := slices.IndexFunc(got, func(v attest.RegisterValue) bool { return v.Bank == f.Bank && v.Index == f.Index })
		switch {
		case at < 0 && untouched(r.Kind, &f):
		case at < 0:
			differ("%v register %d: nothing replayed, want %x", f.Bank, f.Index, f.Value)
		case bytes.Equal(got[at].Value, f.Value):
		case r.Kind == EventLog && f.Index == 0 && countsLocality(files, f):
			notes = append(notes, fmt.Sprintf("%v register 0 is %x; the facts have the value that it would have if the event of the startup locality "+
				"had been extended, which no TPM does (PFP, EV_NO_ACTION): not compared", f.Bank, got[at].Value))
		default:
			differ("%v register %d: %x, want %x", f.Bank, f.Index, got[at].Value, f.Value)
		}
	}
	for _, v := range got {
		bank := slices.ContainsFunc(facts, func(f attest.RegisterValue) bool { return f.Bank == v.Bank })
		known := slices.ContainsFunc(facts, func(f attest.RegisterValue) bool { return f.Bank == v.Bank && f.Index == v.Index })
		if bank && !known {
			differ("%v register %d: %x, and the facts have none", v.Bank, v.Index, v.Value)
		}
	}
	return notes, same
}

// untouched reports whether a value is that of a register which nothing extended:
// zeros, or ones in those of a dynamic launch.
func untouched(kind Kind, f *attest.RegisterValue) bool {
	start := byte(0)
	if kind == EventLog && f.Index >= 17 && f.Index <= 22 {
		start = 0xFF
	}
	return bytes.Equal(f.Value, bytes.Repeat([]byte{start}, len(f.Value)))
}

// countsLocality reports whether a value of register 0 is what comes out if the
// event that states the startup locality is extended like any other: a mistake of
// tools, which is told by its result.
func countsLocality(files []File, f attest.RegisterValue) bool {
	for i := range files {
		l, err := bootlog.Parse(files[i].Data, bootlog.PCRs)
		if err != nil || !l.Has(f.Bank) {
			continue
		}
		value, counted := make([]byte, f.Bank.Size()), false
		for j := range l.Events {
			e := &l.Events[j]
			locality := !e.Extends() && bytes.HasPrefix(e.Data, []byte("StartupLocality\x00"))
			if e.Index == 0 && (e.Extends() || locality) {
				value, counted = f.Bank.Sum(value, e.Digest(f.Bank)), counted || locality
			}
		}
		if counted && bytes.Equal(value, f.Value) {
			return true
		}
	}
	return false
}
