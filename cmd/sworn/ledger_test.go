package main

import (
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/sworn-run/sworn/verifier/ledger"
)

// TestDocumentsLedger: the example for those who keep a ledger is one, and has an effect.
func TestDocumentsLedger(t *testing.T) {
	n := 0
	for _, block := range regexp.MustCompile("(?s)```json\n(.*?)```").FindAllStringSubmatch(document(t, "LEDGER.md"), -1) {
		if !strings.Contains(block[1], ledger.Type) {
			continue
		}
		n++
		d, err := ledger.ParseDocument([]byte(block[1]))
		if err != nil {
			t.Fatal(err)
		}
		if problems := ledgerProblems(d); len(problems) > 0 || len(d.Entries) == 0 {
			t.Errorf("%d entries, %q", len(d.Entries), problems)
		}
	}
	if n != 1 {
		t.Errorf("%d examples of a ledger", n)
	}
}

// TestBuiltinLedgerProblems: what is built in has an effect, but for entries that tell a
// TPM by what its certificate says.
func TestBuiltinLedgerProblems(t *testing.T) {
	l, err := ledger.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	d := l.Document()
	for _, p := range ledgerProblems(&d) {
		if !strings.HasPrefix(p, "TPM-FAIL-") && !strings.HasPrefix(p, "FAULTPM: names no key") {
			t.Error(p)
		}
	}
}

// TestProductProblems: a product in other capitals, or that nobody makes, is told.
func TestProductProblems(t *testing.T) {
	e := ledger.Entry{ID: "E", Match: ledger.Selector{Products: []string{"Milan", "M?lan", "?0806F??????", "milan", "MILAN", "Rome2", "?0806f??????", "0806F", "*"}}}
	got := productProblems(&e)
	if len(got) != 6 {
		t.Errorf("%q", got)
	}
	for i, p := range e.Match.Products[3:] {
		if i < len(got) && !strings.Contains(got[i], strconv.Quote(p)) {
			t.Errorf("%q is not about %q", got[i], p)
		}
	}
}

func TestFolded(t *testing.T) {
	for _, tc := range []struct {
		text string
		want int
	}{{"", 1}, {"one", 1}, {"one two three", 3}, {"averylongword", 1}, {"one averylongword", 2}} {
		got := folded(tc.text, 6)
		if len(got) != tc.want || strings.Join(got, " ") != tc.text {
			t.Errorf("%q is %q", tc.text, got)
		}
	}
}

func TestLessVersion(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		want bool
	}{{"1", "2", true}, {"2", "1", false}, {"9", "10", true}, {"10", "9", false}, {"7", "7", false}} {
		if got := lessVersion(tc.a, tc.b); got != tc.want {
			t.Errorf("%s < %s is %v", tc.a, tc.b, got)
		}
	}
}
