package verifier_test

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/nitro"
	"github.com/sworn-run/sworn/sev"
	"github.com/sworn-run/sworn/tdx"
	"github.com/sworn-run/sworn/tpm"
	"github.com/sworn-run/sworn/verifier"
	"github.com/sworn-run/sworn/verifier/ledger"
)

// keeper is somebody who keeps a ledger.
type keeper struct {
	private string
	public  *ledger.Key
}

func newKeeper(tb testing.TB) *keeper {
	tb.Helper()
	private, public, err := ledger.GenerateKey(rand.Reader, "example.com/keeper")
	if err != nil {
		tb.Fatal(err)
	}
	return &keeper{private, public}
}

// publish signs a ledger of these entries, and opens it by the roots' keys.
func (k *keeper) publish(tb testing.TB, name, version string, entries ...ledger.Entry) *ledger.Ledger {
	tb.Helper()
	file, err := ledger.Sign(&ledger.Document{Type: ledger.Type, Name: name, Version: version, Issued: "2026-11-29", Entries: entries}, k.private)
	if err != nil {
		tb.Fatal(err)
	}
	roots, err := verifier.NewTrustStore([]verifier.RootFile{{Path: "ledger/keeper.vkey", Data: []byte(k.public.String() + "\n")}})
	if err != nil {
		tb.Fatal(err)
	}
	l, err := ledger.Open(file, roots.LedgerKeys())
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

// entryAbout returns an entry that is about what matches.
func entryAbout(id string, class ledger.Class, match ledger.Selector) ledger.Entry {
	return ledger.Entry{
		ID: id, Title: "title of " + id, Class: class, UnlessStampedBefore: "2026-01-02", Reason: "a reason", References: []string{}, Match: match,
	}
}

// rootOf is the key of the golden roots' maker.
func rootOf(tb testing.TB) string {
	tb.Helper()
	return cer.SHA256Digest(verifier.SPKIDigest(goldenRoots(tb).Anchors().Roots[0].Certificate))
}

// withPolicy returns the golden input with the policy's member ledger.
func withPolicy(tb testing.TB, member map[string]any) verifier.Input {
	tb.Helper()
	in := goldenInput(tb, "page")
	p := decoded(tb, golden(tb, "policy.json"))
	p["ledger"] = member
	in.Policy = parsePolicy(tb, encoded(tb, p))
	return in
}

// encoded returns JSON that a test has changed.
func encoded(tb testing.TB, v map[string]any) []byte {
	tb.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// TestLedger: an entry about a simulated vendor's root makes a record that was trusted not
// trusted by ledger, and each class does what it should.
func TestLedger(t *testing.T) {
	k := newKeeper(t)
	page := golden(t, "page.cer.json")
	about := ledger.Selector{Roots: []string{rootOf(t)}}
	aside := ledger.Selector{Roots: []string{"sha256:" + strings.Repeat("0", 64)}}
	for name, tc := range map[string]struct {
		class    ledger.Class
		match    ledger.Selector
		policy   map[string]any
		refused  bool
		assuming string
	}{
		"software":                      {ledger.ClassSoftware, about, nil, true, ""},
		"software, about another":       {ledger.ClassSoftware, aside, nil, false, ""},
		"physical":                      {ledger.ClassPhysical, about, nil, false, "no physical attack on tpm (E-1)"},
		"physical, about another":       {ledger.ClassPhysical, aside, map[string]any{"physical": "refuse"}, false, ""},
		"physical, assumed":             {ledger.ClassPhysical, about, map[string]any{"physical": "assume", "suspected": "refuse"}, false, "no physical attack on tpm (E-1)"},
		"physical, refused":             {ledger.ClassPhysical, about, map[string]any{"physical": "refuse"}, true, ""},
		"suspected":                     {ledger.ClassSuspected, about, nil, false, "what is suspected of tpm is not so (E-1)"},
		"suspected, refused":            {ledger.ClassSuspected, about, map[string]any{"suspected": "refuse"}, true, ""},
		"software, whatever the policy": {ledger.ClassSoftware, about, map[string]any{"physical": "assume", "suspected": "assume"}, true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			in := goldenInput(t, "page")
			if tc.policy != nil {
				in = withPolicy(t, tc.policy)
			}
			if before := verify(t, page, in); !before.Trusted || find(t, before, "ledger").Status != "passed" {
				t.Fatalf("without the ledger: %s", before.Headline)
			}
			in.Ledgers = []*ledger.Ledger{k.publish(t, "example.com/distrust", "3", entryAbout("E-1", tc.class, tc.match))}
			r := verify(t, page, in)
			if tc.refused {
				wantRefused(t, r, "ledger")
				for _, part := range []string{"E-1", "title of E-1", "2026-01-02"} {
					if c := find(t, r, "ledger"); c.Status != "failed" || !strings.Contains(c.Detail, part) || !strings.Contains(r.Headline, "E-1") {
						t.Errorf("%s is not named: %s", part, c.Detail)
					}
				}
				return
			}
			if !r.Trusted || tc.assuming != "" && (!slices.Contains(r.Assuming, tc.assuming) || !strings.Contains(r.Headline, tc.assuming)) ||
				tc.assuming == "" && len(r.Assuming) != 3 {
				t.Errorf("%s", r.Headline)
			}
		})
	}
}

// TestLedgerStamped: what is stamped before an entry's day stays trusted as of its own
// time, and what is stamped from its first second on is not trusted at all.
func TestLedgerStamped(t *testing.T) {
	s, k := newStampScene(t), newKeeper(t)
	root := cer.SHA256Digest(verifier.SPKIDigest(s.amd.Vendor().ARK()))
	at := s.at.Add(time.Hour)
	stamped := stamp(t, s.file, s.tsa, order(t, s.file, at))
	day := at.UTC().Format(time.DateOnly)
	next := at.UTC().AddDate(0, 0, 1).Format(time.DateOnly)
	for _, tc := range []struct {
		class       ledger.Class
		before      string
		file        []byte
		trusted     bool
		now, record string
	}{
		{ledger.ClassSoftware, next, stamped, true, "not trusted", "trusted"},
		{ledger.ClassSoftware, day, stamped, false, "not trusted", "not trusted"},
		{ledger.ClassSoftware, "", stamped, false, "not trusted", "not trusted"},
		{ledger.ClassSoftware, next, s.file, false, "not trusted", "not established"},
		{ledger.ClassPhysical, next, stamped, true, "trusted", "trusted"},
	} {
		e := entryAbout("E-1", tc.class, ledger.Selector{Roots: []string{root}})
		e.UnlessStampedBefore = tc.before
		in := s.in
		in.Ledgers = []*ledger.Ledger{k.publish(t, "x", "1", e)}
		r := verify(t, tc.file, in)
		wantVerdicts(t, r, tc.trusted, tc.now, tc.record)
		if tc.now == "not trusted" && !strings.Contains(r.Now.Headline, "not trusted: ledger: E-1") {
			t.Errorf("now: %s", r.Now.Headline)
		}
		if tc.record == "trusted" && strings.Contains(r.Record.Headline, "E-1") {
			t.Errorf("as of the record's time: %s", r.Record.Headline)
		}
		if stands := ", is of before the day of E-1 (" + next + ")"; tc.now == "not trusted" && tc.record == "trusted" &&
			(len(r.Changes) != 1 || !strings.HasSuffix(r.Changes[0].Detail, stands)) {
			t.Errorf("what changed: %+v", r.Changes)
		}
		if late := ", and the one here is of " + at.UTC().Format("2006-01-02T"); tc.before == day && (!strings.Contains(r.Record.Headline, late) || strings.Contains(r.Now.Headline, late)) {
			t.Errorf("of a late time stamp: %s; %s", r.Record.Headline, r.Now.Headline)
		}
	}
}

// TestLedgerWaived: only a waiver takes an entry back, and the verdict says so.
func TestLedgerWaived(t *testing.T) {
	in := goldenInput(t, "page")
	in.Ledgers = []*ledger.Ledger{newKeeper(t).publish(t, "a", "1", entryAbout("E-1", ledger.ClassSoftware, ledger.Selector{Formats: []string{"tpm"}}))}
	if err := in.Policy.AddWaivers([]verifier.Waiver{{Check: "ledger", Reason: "we made these ourselves"}}); err != nil {
		t.Fatal(err)
	}
	r := verify(t, golden(t, "page.cer.json"), in)
	if !r.Trusted || !slices.Contains(r.Assuming, "ledger") || find(t, r, "ledger").Status != "failed" {
		t.Errorf("%s", r.Headline)
	}
}

// TestLedgerInput: ledgers that are none, twice, older than what is known or wanted.
func TestLedgerInput(t *testing.T) {
	k := newKeeper(t)
	builtin, err := ledger.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	if builtin.Version() != 1 {
		t.Skip("raise the versions below")
	}
	none := ledger.Selector{Formats: []string{"none"}}
	a := func(name, version string) *ledger.Ledger {
		return k.publish(t, name, version, entryAbout("E-1", ledger.ClassSoftware, none))
	}
	many := make([]*ledger.Ledger, 17)
	page := golden(t, "page.cer.json")
	for name, tc := range map[string]struct {
		policy   map[string]any
		ledgers  []*ledger.Ledger
		want     error
		rollback bool
	}{
		"none":                              {nil, nil, nil, false},
		"another's":                         {nil, []*ledger.Ledger{a("x", "1")}, nil, false},
		"two":                               {nil, []*ledger.Ledger{a("x", "1"), a("y", "1")}, nil, false},
		"a nil one":                         {nil, []*ledger.Ledger{nil}, verifier.ErrInput, false},
		"a zero one":                        {nil, []*ledger.Ledger{{}}, verifier.ErrInput, false},
		"many":                              {nil, many, verifier.ErrInput, false},
		"two of one name":                   {nil, []*ledger.Ledger{a("x", "1"), a("x", "2")}, verifier.ErrInput, false},
		"the built-in one's name, newer":    {nil, []*ledger.Ledger{a(ledger.BuiltinName, "2")}, nil, false},
		"the built-in one's name, another":  {nil, []*ledger.Ledger{a(ledger.BuiltinName, "1")}, verifier.ErrInput, true},
		"the version wanted":                {map[string]any{"name": "x", "min_version": "5"}, []*ledger.Ledger{a("x", "5")}, nil, false},
		"a later version":                   {map[string]any{"name": "x", "min_version": "5"}, []*ledger.Ledger{a("x", "6")}, nil, false},
		"an older version":                  {map[string]any{"name": "x", "min_version": "5"}, []*ledger.Ledger{a("x", "4")}, verifier.ErrInput, true},
		"not the one wanted":                {map[string]any{"name": "x", "min_version": "5"}, []*ledger.Ledger{a("y", "9")}, verifier.ErrInput, false},
		"none, and one is wanted":           {map[string]any{"name": "x", "min_version": "5"}, nil, verifier.ErrInput, false},
		"the built-in one is wanted":        {map[string]any{"min_version": "1"}, nil, nil, false},
		"a later built-in one is wanted":    {map[string]any{"min_version": "2"}, nil, verifier.ErrInput, true},
		"a later one that is given as well": {map[string]any{"min_version": "2"}, []*ledger.Ledger{a(ledger.BuiltinName, "2")}, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			in := goldenInput(t, "page")
			if tc.policy != nil {
				in = withPolicy(t, tc.policy)
			}
			in.Ledgers = tc.ledgers
			r, err := verifier.Verify(page, in)
			if !errors.Is(err, tc.want) || (r == nil) != (err != nil) || errors.Is(err, ledger.ErrRollback) != tc.rollback {
				t.Fatalf("%v, %v", r, err)
			}
			if r != nil && (!r.Trusted || len(r.Ledgers) != 1+len(tc.ledgers) || r.Ledgers[0].Name != ledger.BuiltinName || r.Ledgers[0].Signer != "") {
				t.Errorf("%s by %+v", r.Headline, r.Ledgers)
			}
		})
	}
}

// TestLedgerUnsafe: leaving out the built-in ledger is shown, and is no pass by itself.
func TestLedgerUnsafe(t *testing.T) {
	in := goldenInput(t, "page")
	in.WithoutBuiltinLedgerUnsafe = true
	page := golden(t, "page.cer.json")
	wantRefused(t, verify(t, page, in), "ledger")
	in.Ledgers = []*ledger.Ledger{newKeeper(t).publish(t, "x", "1")}
	r := verify(t, page, in)
	if !r.Trusted || !slices.Contains(r.Assuming, "the built-in ledger was not asked") || len(r.Ledgers) != 1 || r.Ledgers[0].Signer == "" {
		t.Errorf("%s by %+v", r.Headline, r.Ledgers)
	}
	if !strings.HasSuffix(r.Now.Horizon, "x version 1 of 2026-11-29") {
		t.Errorf("horizon %q", r.Now.Horizon)
	}
}

// TestLedgerNobodys: evidence that nobody vouches for is not established, also where the
// policy waives whose it is: what is stripped from a record must not take it out of reach.
func TestLedgerNobodys(t *testing.T) {
	in := goldenInput(t, "page")
	in.Roots = nil
	r := verify(t, golden(t, "page.cer.json"), in)
	if c := find(t, r, "ledger"); c.Status != "not established" || !slices.Contains(blocking(r), "ledger") {
		t.Errorf("ledger is %s: %s", c.Status, c.Detail)
	}
	r = verify(t, []byte("{}"), in)
	if c := find(t, r, "ledger"); c.Status != "not established" {
		t.Errorf("ledger of nothing is %s", c.Status)
	}
}

// TestLedgerNeverImproves: adding an entry or a ledger makes no verdict better, whatever
// it is about.
func TestLedgerNeverImproves(t *testing.T) {
	k := newKeeper(t)
	rank := func(r *verifier.Report) (n int) {
		switch c := find(t, r, "ledger"); {
		case r.Trusted && len(r.Assuming) == 3:
			return 3
		case r.Trusted:
			return 2
		case c.Status != "failed":
			return 1
		}
		return 0
	}
	page := golden(t, "page.cer.json")
	matches := []ledger.Selector{
		{Formats: []string{"tpm"}},
		{Formats: []string{"sev-snp"}},
		{Roots: []string{rootOf(t)}},
		{KeyTypes: []string{ledger.KeyECDSA}},
		{KeyTypes: []string{ledger.KeyRSA}},
		{Weaknesses: []string{ledger.WeaknessROCA}},
		{Firmware: []ledger.FirmwareRange{{Min: "0000000000000000", Max: "ffffffffffffffff"}}},
		{Attributes: []ledger.Range{{Name: "x", Min: "0"}}},
	}
	classes := []ledger.Class{ledger.ClassSoftware, ledger.ClassPhysical, ledger.ClassSuspected}
	var entries []ledger.Entry
	for _, in := range []verifier.Input{goldenInput(t, "page"), withPolicy(t, map[string]any{"physical": "refuse"})} {
		last, seen := 3, map[int]bool{}
		entries = entries[:0]
		for i, m := range slices.Backward(matches) {
			for j, c := range slices.Backward(classes) {
				one := entryAbout("E-"+string(rune('a'+i))+string(rune('a'+j)), c, m)
				alone := in
				alone.Ledgers = []*ledger.Ledger{k.publish(t, "x", "1", one)}
				if got := rank(verify(t, page, alone)); got > 3 {
					t.Errorf("%+v alone: %d", one, got)
				}
				entries = append(entries, one)
				in.Ledgers = []*ledger.Ledger{k.publish(t, "x", "1", entries...)}
				got := rank(verify(t, page, in))
				if got > last {
					t.Errorf("adding %+v improves the verdict from %d to %d", one, last, got)
				}
				last, seen[got] = got, true
			}
		}
		if len(seen) < 2 || !seen[0] {
			t.Errorf("only %v was seen", seen)
		}
	}
}

// TestBuiltinLedgerRoots: the built-in ledger names vendors by keys that are pinned, and
// only by them, and what it names of formats is theirs.
func TestBuiltinLedgerRoots(t *testing.T) {
	l, err := ledger.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	pins := map[string]string{}
	for _, p := range slices.Concat(sev.Pins(), tdx.Pins(), tpm.Pins(), nitro.Pins()) {
		pins[cer.SHA256Digest(p.SPKI)] = p.Product
	}
	formats := map[string]attest.Description{}
	for _, s := range verifier.Schemes() {
		formats[s.Describe().Name] = s.Describe()
	}
	for _, e := range l.Document().Entries {
		for _, r := range e.Match.Roots {
			if _, ok := pins[r]; !ok {
				t.Errorf("%s names root %s, which is not pinned", e.ID, r)
			}
		}
		for _, name := range e.Match.Formats {
			d, ok := formats[name]
			if !ok {
				t.Errorf("%s names format %s", e.ID, name)
			}
			for _, a := range e.Match.Attributes {
				if !slices.ContainsFunc(d.Attributes, func(f attest.AttributeField) bool { return f.Name == a.Name }) {
					t.Errorf("%s names attribute %s of %s", e.ID, a.Name, name)
				}
			}
			for _, v := range e.Match.Versions {
				if !slices.Contains(d.Versions, v.Name) {
					t.Errorf("%s names version %s of %s", e.ID, v.Name, name)
				}
			}
		}
	}
	if d, ok := pins["sha256:9f056bee44377e29308cb5ffa895bdfb62d18881fa6bed8d6f075b0204089cb9"]; !ok || d != "Milan" {
		t.Errorf("the root of Milan is %q", d)
	}
}

// TestLedgerKeys: role ledger holds verifier keys and nothing else, and the digest of the
// roots covers them.
func TestLedgerKeys(t *testing.T) {
	a, b := newKeeper(t).public, newKeeper(t).public
	file := func(name string, k *ledger.Key) verifier.RootFile {
		return verifier.RootFile{Path: "ledger/" + name, Data: []byte(k.String())}
	}
	s, err := verifier.NewTrustStore([]verifier.RootFile{file("b.vkey", b), file("a", a)})
	if err != nil {
		t.Fatal(err)
	}
	keys := s.LedgerKeys()
	if len(keys) != 2 || keys[0].String() != a.String() || keys[1].String() != b.String() || s.Empty() || len(s.Anchors().Roots) != 0 {
		t.Errorf("keys %v", keys)
	}
	one, err := verifier.NewTrustStore([]verifier.RootFile{file("b.vkey", b)})
	if err != nil {
		t.Fatal(err)
	}
	var none *verifier.TrustStore
	if s.Digest() == one.Digest() || one.Digest() == none.Digest() || none.LedgerKeys() != nil {
		t.Error("the digest does not cover the keys")
	}
	certificate := goldenRoots(t).Anchors().Roots[0].Certificate.Raw
	for name, f := range map[string]verifier.RootFile{
		"empty":         {Path: "ledger/a"},
		"a certificate": {Path: "ledger/a.pem", Data: asPEM("CERTIFICATE", certificate)},
		"a ledger":      {Path: "ledger/a.json", Data: []byte(`{"type":"sworn.ledger/v1"}`)},
		"a folder":      {Path: "ledger/a/b.vkey", Data: []byte(a.String())},
		"two lines":     {Path: "ledger/a", Data: []byte(a.String() + "\n\n")},
		"two keys":      {Path: "ledger/a", Data: []byte(a.String() + "\n" + b.String())},
		"too long":      {Path: "ledger/a", Data: []byte(a.String() + strings.Repeat("\n", 600))},
	} {
		t.Run(name, func(t *testing.T) { refuseRoots(t, f) })
	}
	t.Run("twice", func(t *testing.T) { refuseRoots(t, file("a", a), file("b", a)) })
}

// TestLedgerPolicy refuses what says nothing definite.
func TestLedgerPolicy(t *testing.T) {
	for name, member := range map[string]map[string]any{
		"a name alone":     {"name": "x"},
		"an empty version": {"min_version": "00"},
		"version 0":        {"min_version": "0"},
		"a number":         {"min_version": 1},
		"beyond 64 bits":   {"min_version": "18446744073709551616"},
		"another word":     {"physical": "ignore"},
		"for suspicions":   {"suspected": "Refuse"},
		"software":         {"software": "assume"},
		"two lines":        {"name": "x\ny", "min_version": "1"},
		"a long name":      {"name": strings.Repeat("x", 129), "min_version": "1"},
	} {
		p := decoded(t, golden(t, "policy.json"))
		p["ledger"] = member
		if got, err := verifier.ParsePolicy(encoded(t, p)); !errors.Is(err, verifier.ErrPolicy) || got != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	in := withPolicy(t, map[string]any{"name": "x", "min_version": "5", "physical": "refuse"})
	b, err := in.Policy.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if again := parsePolicy(t, b); again.Ledger != in.Policy.Ledger {
		t.Errorf("%+v, want %+v", again.Ledger, in.Policy.Ledger)
	}
	if lines := in.Policy.Lint(); !slices.ContainsFunc(lines, func(s string) bool { return strings.HasPrefix(s, "ledger: ") }) {
		t.Errorf("lint says %q", lines)
	}
}
