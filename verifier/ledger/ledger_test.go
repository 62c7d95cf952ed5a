package ledger

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sworn-run/sworn/internal/limits"
)

func TestParseDocument(t *testing.T) {
	want := document()
	b, err := want.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseDocument(append([]byte(" \n"), append(b, '\n')...))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	again, err := got.Encode()
	if err != nil || string(again) != string(b) {
		t.Errorf("Encode = %s, %v", again, err)
	}
}

// TestRules breaks every rule of a document once.
func TestRules(t *testing.T) {
	long := strings.Repeat("x", maxReason+1)
	for name, change := range map[string]func(*Document){
		"no type":                func(d *Document) { d.Type = "" },
		"another type":           func(d *Document) { d.Type = "sworn.ledger/v2" },
		"no name":                func(d *Document) { d.Name = "" },
		"blank in the name":      func(d *Document) { d.Name = "a b" },
		"plus in the name":       func(d *Document) { d.Name = "a+b" },
		"name beyond ASCII":      func(d *Document) { d.Name = "ä" },
		"long name":              func(d *Document) { d.Name = long[:maxName+1] },
		"no version":             func(d *Document) { d.Version = "" },
		"version 0":              func(d *Document) { d.Version = "0" },
		"version with zeros":     func(d *Document) { d.Version = "07" },
		"version beyond 64 bits": func(d *Document) { d.Version = "18446744073709551616" },
		"negative version":       func(d *Document) { d.Version = "-1" },
		"no date":                func(d *Document) { d.Issued = "" },
		"no such day":            func(d *Document) { d.Issued = "2026-02-30" },
		"a time":                 func(d *Document) { d.Issued = "2026-02-03T00:00:00Z" },
		"the first day":          func(d *Document) { d.Issued = "0001-01-01" },
		"entries":                func(d *Document) { d.Entries = make([]Entry, maxEntries+1) },
		"an id twice":            func(d *Document) { d.Entries[1].ID = d.Entries[0].ID },
		"no id":                  func(d *Document) { d.Entries[0].ID = "" },
		"id begins with a dot":   func(d *Document) { d.Entries[0].ID = ".a" },
		"id with a slash":        func(d *Document) { d.Entries[0].ID = "a/b" },
		"long id":                func(d *Document) { d.Entries[0].ID = long[:maxID+1] },
		"no title":               func(d *Document) { d.Entries[0].Title = "" },
		"blank title":            func(d *Document) { d.Entries[0].Title = " " },
		"two lines":              func(d *Document) { d.Entries[0].Title = "a\nb" },
		"text that turns":        func(d *Document) { d.Entries[0].Title = "a\u202eb" },
		"long title":             func(d *Document) { d.Entries[0].Title = long[:maxTitle+1] },
		"no class":               func(d *Document) { d.Entries[0].Class = "" },
		"another class":          func(d *Document) { d.Entries[0].Class = "Software" },
		"no such day before":     func(d *Document) { d.Entries[0].UnlessStampedBefore = "2026-13-01" },
		"no reason":              func(d *Document) { d.Entries[0].Reason = "" },
		"long reason":            func(d *Document) { d.Entries[0].Reason = long },
		"many references":        func(d *Document) { d.Entries[0].References = make([]string, maxReferences+1) },
		"empty reference":        func(d *Document) { d.Entries[0].References = []string{""} },
		"reference of two words": func(d *Document) { d.Entries[0].References = []string{"a b"} },
		"long reference":         func(d *Document) { d.Entries[0].References = []string{long[:maxReference+1]} },
		"about everything":       func(d *Document) { d.Entries[0].Match = Selector{} },
		"too large":              tooLarge,
	} {
		t.Run(name, func(t *testing.T) {
			d := document()
			change(d)
			if b, err := d.Encode(); !errors.Is(err, ErrForm) || b != nil {
				t.Errorf("Encode = %d bytes, %v", len(b), err)
			}
			b, err := json.Marshal(d)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := ParseDocument(b); !errors.Is(err, ErrForm) || got != nil {
				t.Errorf("ParseDocument = %+v, %v", got, err)
			}
		})
	}
	if _, err := (*Document)(nil).Encode(); !errors.Is(err, ErrForm) {
		t.Errorf("a nil document: %v", err)
	}
	if err := document().check(); err != nil {
		t.Error(err)
	}
}

// tooLarge makes a document that is over the limit in bytes.
func tooLarge(d *Document) {
	d.Entries = nil
	for i := range limits.LedgerFile/maxReason + 1 {
		e := entry("e"+strings.Repeat("0", i%50)+time.Unix(int64(i), 0).UTC().Format("150405"), ClassSoftware, "tpm")
		e.Reason = strings.Repeat("x", maxReason)
		d.Entries = append(d.Entries, e)
	}
}

// TestUnknownMembers: what is not understood makes the whole document unreadable, wherever
// it stands.
func TestUnknownMembers(t *testing.T) {
	b, err := document().Encode()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range [][2]string{
		{`{"entries"`, `{"also":1,"entries"`},
		{`{"class"`, `{"also":1,"class"`},
		{`{"formats"`, `{"also":1,"formats"`},
		{`"type"`, `"Type"`},
		{`"version":"7"`, `"version":"7","version":"7"`},
		{`"version":"7"`, `"version":7`},
		{`"version":"7"`, `"version":null`},
		{`["tpm"]`, `[]`},
		{`["tpm"]`, `null`},
		{`["tpm"]`, `"tpm"`},
	} {
		text := strings.Replace(string(b), r[0], r[1], 1)
		if text == string(b) {
			t.Fatalf("%s is not there", r[0])
		}
		if d, err := ParseDocument([]byte(text)); !errors.Is(err, ErrForm) || d != nil {
			t.Errorf("%s: %v", r[1], err)
		}
	}
}

// TestBefore: an entry applies from the first instant of its day, and to what has no time
// stamp.
func TestBefore(t *testing.T) {
	d := document()
	file, key := signed(t, d)
	l, err := Open(file, []*Key{key})
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 5, 13, 0, 0, 0, 0, time.UTC)
	x := &Subject{Format: "tpm"}
	for _, tc := range []struct {
		stamped time.Time
		want    int
	}{
		{time.Time{}, 1},
		{at.Add(-time.Nanosecond), 0},
		{at, 1},
		{at.Add(time.Nanosecond), 1},
		{at.In(time.FixedZone("", -3600)), 1},
		{at.Add(-time.Nanosecond).In(time.FixedZone("", 14*3600)), 0},
		{time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC), 0},
	} {
		if got := l.Matches(x, tc.stamped); len(got) != tc.want {
			t.Errorf("stamped %v: %d entries, want %d", tc.stamped, len(got), tc.want)
		}
	}
	d.Entries[0].UnlessStampedBefore = ""
	file, key = signed(t, d)
	if l, err = Open(file, []*Key{key}); err != nil {
		t.Fatal(err)
	}
	if got := l.Matches(x, time.Unix(1, 0)); len(got) != 1 || got[0].Entry.ID != "A-1" || got[0].Ledger != l {
		t.Errorf("an entry without a day: %+v", got)
	}
}

// TestBuiltin holds what is built in to its own rules.
func TestBuiltin(t *testing.T) {
	l, err := Builtin()
	if err != nil {
		t.Fatal(err)
	}
	if l.Name() != BuiltinName || l.Version() == 0 || l.Issued().IsZero() || l.Signer() != "" || l.Digest() == [32]byte{} {
		t.Errorf("%v by %q", l, l.Signer())
	}
	d := l.Document()
	for _, e := range d.Entries {
		if len(e.References) == 0 {
			t.Errorf("%s has no reference", e.ID)
		}
		for _, r := range e.References {
			if !strings.HasPrefix(r, "https://") {
				t.Errorf("%s refers to %s", e.ID, r)
			}
		}
		if e.Before().IsZero() || e.Before().After(l.Issued()) {
			t.Errorf("%s is about what was stamped before %q", e.ID, e.UnlessStampedBefore)
		}
		if e.Match.Roots == nil && e.Match.Manufacturers == nil && e.Match.Weaknesses == nil {
			t.Errorf("%s names no vendor: simulated hardware would be meant", e.ID)
		}
	}
	d.Entries[0].Match.Roots[0] = "changed"
	d.Entries[0].References[0] = "changed"
	if again := l.Document(); again.Entries[0].Match.Roots[0] == "changed" || again.Entries[0].References[0] == "changed" {
		t.Error("a copy shares memory with the ledger")
	}
}
