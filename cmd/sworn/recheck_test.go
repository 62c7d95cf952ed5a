package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sworn-run/sworn/internal/limits"
	"github.com/sworn-run/sworn/testdata"
	"github.com/sworn-run/sworn/verifier"
)

// recheckInput is the golden policy and roots, without nonces.
func recheckInput(t *testing.T) verifier.Input {
	t.Helper()
	roots, err := loadRoots("../../testdata/golden/roots")
	if err != nil {
		t.Fatal(err)
	}
	p, err := loadPolicy("../../testdata/golden/policy.json", []string{"nonce.quote=kept", "nonce.execution=kept"})
	if err != nil {
		t.Fatal(err)
	}
	return verifier.Input{Policy: p, Roots: roots, Now: time.Now(), Version: "test"}
}

// TestRecheckHostile: whatever stands in a folder is a row, in the order of the paths,
// however many judge at once, and nothing stops the others.
func TestRecheckHostile(t *testing.T) {
	dir := t.TempDir()
	page, err := testdata.Golden.ReadFile("golden/page.cer.json")
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, b []byte) {
		name = filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, b, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]string{}
	for i := range 40 {
		name := fmt.Sprintf("d%d/r%02d.cer.json", i%3, i)
		write(name, page)
		want[name] = rowTrusted
	}
	for name, b := range map[string][]byte{
		"empty.cer.json": {}, "d1/nul.cer.json": make([]byte, 1<<16), "deep.cer.json": bytes.Repeat([]byte("["), 1<<20),
		"cut.cer.json": page[:len(page)/2], "bad.tar": append([]byte("sworn-archive.json"), make([]byte, 2048)...),
	} {
		write(name, b)
		want[name] = rowNotTrusted
	}
	delete(want, "bad.tar") // No archive of ours by its first block, so another file.
	if err := errors.Join(
		os.Mkdir(filepath.Join(dir, "folder.cer.json"), 0o700),
		os.Symlink(filepath.Join(dir, "nowhere"), filepath.Join(dir, "link.cer.json")),
		os.Symlink(dir, filepath.Join(dir, "loop.cer.json")),
	); err != nil {
		t.Fatal(err)
	}
	want["link.cer.json"], want["loop.cer.json"] = rowUnreadable, rowUnreadable
	huge, err := os.Create(filepath.Join(dir, "huge.cer.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(huge.Truncate(limits.CapsuleFile+1), huge.Close()); err != nil {
		t.Fatal(err)
	}
	want["huge.cer.json"] = rowNotTrusted
	jobs, left, err := findRecords([]string{dir})
	if err != nil || left != 1 {
		t.Fatalf("%d other files, %v", left, err)
	}
	var rows []*recheckRow
	a := &app{stdout: io.Discard, stderr: io.Discard}
	if err := judgeAll(context.Background(), recheckInput(t), jobs, a.countBar(len(jobs)), func(r *recheckRow) error {
		rows = append(rows, r)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, r := range rows {
		paths = append(paths, r.Path)
		if want[r.Path] != r.Status {
			t.Errorf("%s is %s, want %s: %s", r.Path, r.Status, want[r.Path], r.Headline)
		}
		if r.Status != rowTrusted && r.Headline == "" {
			t.Errorf("%s says nothing", r.Path)
		}
	}
	if len(rows) != len(want) {
		t.Errorf("%d rows, want %d", len(rows), len(want))
	}
	// The order is that of the walk: names within each folder.
	for i := 1; i < len(jobs); i++ {
		if paths[i] != jobs[i].shown {
			t.Fatalf("row %d is %s, want %s", i, paths[i], jobs[i].shown)
		}
	}
}

// TestRecheckStops: an error of whoever takes rows, or an interrupt, ends everything.
func TestRecheckStops(t *testing.T) {
	dir := t.TempDir()
	for i := range 30 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%02d.cer.json", i)), []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	in := recheckInput(t)
	a := &app{stdout: io.Discard, stderr: io.Discard}
	boom := errors.New("boom")
	for stop := range 3 {
		jobs, _, err := findRecords([]string{dir})
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		err = judgeAll(context.Background(), in, jobs, a.countBar(len(jobs)), func(*recheckRow) error {
			if n++; n > stop {
				return boom
			}
			return nil
		})
		if !errors.Is(err, boom) || n != stop+1 {
			t.Errorf("%d rows, %v", n, err)
		}
	}
	jobs, _, err := findRecords([]string{dir})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	err = judgeAll(ctx, in, jobs, a.countBar(len(jobs)), func(*recheckRow) error { cancel(); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}

// TestMemory: what is in use never exceeds what there is, and one that wants more than all
// gets it once it is alone.
func TestMemory(t *testing.T) {
	m := newMemory(limits.RecheckMemory)
	back := m.take(10 * limits.RecheckMemory)
	got := make(chan func())
	go func() { got <- m.take(1) }()
	select {
	case <-got:
		t.Fatal("more than all is in use")
	case <-time.After(20 * time.Millisecond):
	}
	back()
	(<-got)()
	if m.free != limits.RecheckMemory {
		t.Errorf("%d bytes are free", m.free)
	}
}

// earlierOf is an earlier run of these rows.
func earlierOf(t *testing.T, rows ...*recheckRow) *earlierRun {
	t.Helper()
	e, err := parseEarlier(strings.NewReader(recheckLines(t, rows...)))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// recheckLines is what recheck writes of these rows.
func recheckLines(t *testing.T, rows ...*recheckRow) string {
	t.Helper()
	var b bytes.Buffer
	w := newRowWriter(&b, &recheckFlags{format: formatJSON}, &recheckHead{})
	sums := &recheckSums{Type: recheckType, ByStatus: map[string]int{}, ByChange: map[string]int{}}
	err := w.head(&recheckHead{Type: recheckType, Time: "2026-11-29T00:00:00Z", Ledgers: []verifier.LedgerUsed{{Name: "x", Version: "9"}}})
	for _, r := range rows {
		sums.add(r)
		err = errors.Join(err, w.row(r))
	}
	if err = errors.Join(err, w.sums(sums)); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func kept(path, digest, status string, open ...string) *recheckRow {
	r := &recheckRow{Path: path, SHA256: strings.Repeat(digest, 64), Status: status, Headline: status + ": h", Open: []openCheck{}, Assuming: []string{}}
	for _, id := range open {
		r.Open = append(r.Open, openCheck{Check: id, Status: "failed", Detail: "d"})
	}
	return r
}

// TestRecheckCompare: what changed, and whether it is the exit status's business.
func TestRecheckCompare(t *testing.T) {
	assuming := kept("a", "1", rowTrusted)
	assuming.Assuming = []string{"no physical attack on tdx (X)"}
	for name, tc := range map[string]struct {
		was, now *recheckRow
		change   string
		why      string
		fine     bool
	}{
		"same":               {kept("a", "1", rowTrusted), kept("a", "1", rowTrusted), changeSame, "", true},
		"worse":              {kept("a", "1", rowTrusted), kept("a", "1", rowNotTrusted, "ledger"), changeWorse, "ledger is failed: d", false},
		"worse, unreadable":  {kept("a", "1", rowNotTrusted, "ledger"), kept("a", "", rowUnreadable), changeWorse, "unreadable: h", false},
		"better":             {kept("a", "1", rowNotTrusted, "ledger"), kept("a", "1", rowTrusted), changeBetter, "ledger stands in the way no more", true},
		"another reason":     {kept("a", "1", rowNotTrusted, "ledger"), kept("a", "1", rowNotTrusted, "slot.tcb"), changeSame, "slot.tcb is failed: d", false},
		"replaced":           {kept("a", "1", rowTrusted), kept("a", "2", rowTrusted), changeReplaced, "other bytes than at the earlier run", false},
		"moved":              {kept("b", "1", rowTrusted), kept("a", "1", rowTrusted), changeSame, "was at b", true},
		"new":                {kept("b", "1", rowTrusted), kept("a", "2", rowTrusted), changeNew, "", false}, // the other is gone
		"weaker":             {kept("a", "1", rowTrusted), assuming, changeWeaker, "assumes anew: no physical attack on tdx (X)", true},
		"weaker, no more":    {assuming, kept("a", "1", rowTrusted), changeSame, "assumes no more: no physical attack on tdx (X)", true},
		"unreadable, always": {kept("a", "", rowUnreadable), kept("a", "", rowUnreadable), changeSame, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			e, now := earlierOf(t, tc.was), *tc.now
			e.compare(&now)
			if now.Change != tc.change || tc.why != "" && !slices.Contains(now.Why, tc.why) || tc.why == "" && len(now.Why) > 0 {
				t.Errorf("%s, %q", now.Change, now.Why)
			}
			sums := &recheckSums{Trusted: true, ByStatus: map[string]int{}, ByChange: map[string]int{}}
			sums.add(&now)
			for _, g := range e.gone() {
				sums.add(g)
			}
			if sums.Trusted != tc.fine {
				t.Errorf("fine: %v", sums.Trusted)
			}
			// What is written can be compared with again.
			if again := earlierOf(t, &now).byPath["a"]; again == nil || again.Change != now.Change || !slices.Equal(again.Why, now.Why) {
				t.Errorf("reads back as %+v", again)
			}
		})
	}
}

// TestRecheckEarlierRefuses: every line has its place, and all of them are there.
func TestRecheckEarlierRefuses(t *testing.T) {
	good := recheckLines(t, kept("a", "1", rowTrusted), kept("b", "2", rowNotTrusted, "ledger"))
	lines := strings.SplitAfter(good, "\n")
	if len(lines) != 5 {
		t.Fatalf("%d lines", len(lines))
	}
	for name, text := range map[string]string{
		"nothing":           "",
		"no head":           strings.Join(lines[1:], ""),
		"no end":            strings.Join(lines[:3], ""),
		"a row less":        lines[0] + lines[1] + lines[3],
		"a row twice":       lines[0] + lines[1] + lines[1] + lines[3],
		"a row after":       good + lines[1],
		"two ends":          good + lines[3],
		"another type":      strings.ReplaceAll(good, recheckType, "sworn.recheck/v2"),
		"another member":    strings.Replace(good, `{"path"`, `{"also":1,"path"`, 1),
		"another status":    strings.Replace(good, `"status":"trusted"`, `"status":"Trusted"`, 1),
		"no path":           strings.Replace(good, `"path":"a"`, `"path":""`, 1),
		"no digest":         strings.Replace(good, strings.Repeat("1", 64), "1", 1),
		"a member twice":    strings.Replace(good, `"path":"a"`, `"path":"a","path":"a"`, 1),
		"not JSON":          strings.Replace(good, `{"path"`, `{path`, 1),
		"a line too long":   lines[0] + strings.Repeat(" ", limits.RecheckLine+1) + "\n" + lines[1] + lines[2] + lines[3],
		"binary":            "\x00\x01",
		"a record's report": `{"type":"sworn.report/v1"}`,
	} {
		if e, err := parseEarlier(strings.NewReader(text)); !errors.Is(err, errEarlier) || e != nil {
			t.Errorf("%s: %v, %v", name, e, err)
		}
	}
	e := earlierOf(t, kept("a", "1", rowTrusted))
	for version, fine := range map[string]bool{"9": true, "10": true, "8": false} {
		err := e.notOlder(&recheckHead{Ledgers: []verifier.LedgerUsed{{Name: "x", Version: version}}})
		if (err == nil) != fine {
			t.Errorf("version %s: %v", version, err)
		}
	}
	if e.notOlder(&recheckHead{}) == nil {
		t.Error("a ledger is forgotten")
	}
}

// FuzzRecheckEarlier: an error of its class, or a run whose rows are what they say.
func FuzzRecheckEarlier(f *testing.F) {
	head, err := json.Marshal(recheckHead{Type: recheckType})
	if err != nil {
		f.Fatal(err)
	}
	sums := `{"type":"sworn.recheck/v1","trusted":true,"records":1,"byStatus":{"trusted":1},"byChange":{},"otherFiles":0}`
	row := `{"path":"a","sha256":"","status":"trusted","headline":"","verdictNow":"","verdictRecord":"","open":[],"assuming":[]}`
	f.Add([]byte(string(head) + "\n" + row + "\n" + sums + "\n"))
	f.Add([]byte(sums))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := parseEarlier(bytes.NewReader(b))
		if err != nil {
			if !errors.Is(err, errEarlier) || e != nil {
				t.Fatalf("%v, %v", e, err)
			}
			return
		}
		for path, r := range e.byPath {
			if path != r.Path || r.Status == "" {
				t.Fatalf("%q is %+v", path, r)
			}
			now := *r
			e.compare(&now)
			if now.Change != changeSame {
				t.Fatalf("a row is %s of itself", now.Change)
			}
		}
		if len(e.gone()) != 0 {
			t.Fatal("something is gone")
		}
	})
}

// TestRecheckPage: nothing of a row becomes markup.
func TestRecheckPage(t *testing.T) {
	var b bytes.Buffer
	w := newRowWriter(&b, &recheckFlags{format: formatHTML}, &recheckHead{Against: "x"})
	evil := `"><img src=x onerror=alert(1)>{{.}}</style></script>` + "\x1b[31m\u202e\u200b\u2028"
	r := kept(evil, "1", rowNotTrusted)
	r.Headline, r.Why, r.Was, r.Change, r.SHA256 = evil, []string{evil}, evil, evil, evil
	if err := errors.Join(
		w.head(&recheckHead{Time: evil, Against: evil, Policy: evil, Roots: evil, Verifier: evil, Ledgers: []verifier.LedgerUsed{{Name: evil}}}),
		w.row(r), w.sums(&recheckSums{ByStatus: map[string]int{}, ByChange: map[string]int{evil: 1}}),
	); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"<img", "</script", "onerror=alert(1)>", "http:", "https:", "@import"} {
		if strings.Contains(b.String(), bad) {
			t.Errorf("the page has %s", bad)
		}
	}
	if strings.ContainsAny(strings.ReplaceAll(b.String(), "\n", ""), "\x1b\u202e\u200b\u2028") {
		t.Error("the page has characters that are not seen, or reorder others")
	}
	if style := regexp.MustCompile(`(?s)<style>(.*)</style>`).FindStringSubmatch(b.String()); style == nil ||
		!strings.Contains(html.UnescapeString(b.String()), fmt.Sprintf("'sha256-%s'", base64Of(style[1]))) {
		t.Error("the policy is not of the style that is there")
	}
	if strings.Count(b.String(), "</style>") != 1 || strings.Count(b.String(), "&lt;img") < 10 {
		t.Errorf("%s", b.String())
	}
}

// base64Of is the SHA-256 of a text, in base64.
func base64Of(text string) string {
	sum := sha256.Sum256([]byte(text))
	return base64.StdEncoding.EncodeToString(sum[:])
}
