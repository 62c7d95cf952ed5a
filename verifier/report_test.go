package verifier_test

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/verifier"
)

var update = flag.Bool("update", false, "write the golden texts of reports anew")

//go:embed testdata/report
var reportTexts embed.FS

// reportText returns what WriteText writes.
func reportText(tb testing.TB, r *verifier.Report, explain bool) string {
	tb.Helper()
	var out bytes.Buffer
	if err := r.WriteText(&out, explain); err != nil {
		tb.Fatal(err)
	}
	return out.String()
}

// kinds are a report of each kind, by the name of its golden text. All are of
// the golden records, so that they are the same every time.
func kinds(tb testing.TB) map[string]*verifier.Report {
	tb.Helper()
	page := golden(tb, "page.cer.json")
	with := func(change func(in *verifier.Input)) *verifier.Report {
		in := goldenInput(tb, "page")
		in.InputFile, in.OutputFile = goldenFile(tb, "page.input"), goldenFile(tb, "page.output")
		change(&in)
		return verify(tb, page, in)
	}
	altered := goldenCapsule(tb, "page")
	altered.Log = bytes.Replace(altered.Log, []byte("/usr/bin/cat"), []byte("/usr/bin/rat"), 1)
	return map[string]*verifier.Report{
		"trusted-assuming": with(func(*verifier.Input) {}),
		"no-roots":         with(func(in *verifier.Input) { in.Roots = nil }),
		"no-nonce":         with(func(in *verifier.Input) { in.Nonce = nil }),
		"no-policy":        with(func(in *verifier.Input) { in.Policy = nil }),
		"no-policy-no-roots": with(func(in *verifier.Input) {
			in.Policy, in.Roots = nil, nil
		}),
		"other-output": with(func(in *verifier.Input) { in.OutputFile = goldenFile(tb, "page.input") }),
		"other-weights": with(func(in *verifier.Input) {
			in.Policy = changedPolicy(tb, func(p map[string]any) {
				list(p, "components")[4].(map[string]any)["digest"] = []any{"sha256:" + strings.Repeat("7d", 32)}
			})
		}),
		"hypothetical": with(func(in *verifier.Input) { in.At = in.Now.AddDate(30, 0, 0) }),
		"at-allowed":   with(func(in *verifier.Input) { in.At, in.Policy.AllowAt = in.Now.AddDate(1, 0, 0), true }),
		"altered-log":  verify(tb, encodeCapsule(tb, altered), goldenInput(tb, "page")),
		"no-record":    verify(tb, []byte("no record\n"), goldenInput(tb, "page")),
	}
}

// TestReportTexts: the text for people, byte by byte.
func TestReportTexts(t *testing.T) {
	for name, r := range kinds(t) {
		t.Run(name, func(t *testing.T) {
			got := reportText(t, r, name == "trusted-assuming" || name == "no-record")
			file := "testdata/report/" + name + ".txt"
			if *update {
				if err := os.WriteFile(filepath.FromSlash(file), []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := reportTexts.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), got); d != "" && !*update {
				t.Error(d)
			}
			if first, _, _ := strings.Cut(got, "\n"); first != r.Headline {
				t.Errorf("the first line is %q, not the headline", first)
			}
		})
	}
}

// TestHeadlines: the first line of each kind of answer.
func TestHeadlines(t *testing.T) {
	root := `user-supplied root "SIMULATED TPM maker" `
	reports := kinds(t)
	for name, want := range map[string]string{
		"trusted-assuming":   "trusted, assuming: " + root,
		"at-allowed":         "trusted, assuming: " + root,
		"hypothetical":       "trusted, assuming: " + root,
		"no-roots":           "not trusted: slot.identity: ",
		"no-nonce":           "not trusted: nonce.quote: ",
		"no-policy":          "not trusted: no policy given; evidence genuine, assuming: " + root,
		"no-policy-no-roots": "not trusted: no policy given; evidence not genuine (slot.identity: ",
		"other-output":       "not trusted: output.file: ",
		"other-weights":      `not trusted: components.match: weights "default" is sha256:349ed859f366…, policy wants sha256:7d7d7d7d7d7d…`,
		"altered-log":        "not trusted: log.replay: ",
		"no-record":          "not trusted: capsule.strict: ",
	} {
		if got := reports[name].Headline; !strings.HasPrefix(got, want) {
			t.Errorf("%s: %q, want %q…", name, got, want)
		}
		if r := reports[name]; strings.HasPrefix(r.Headline, "trusted") != r.Trusted {
			t.Errorf("%s: trusted is %v, headline %q", name, r.Trusted, r.Headline)
		}
	}
	for _, name := range []string{"trusted-assuming", "hypothetical"} {
		if !strings.HasSuffix(reports[name].Headline, "; slot.measurement; launcher.rooted") {
			t.Errorf("%s: %q hides what it rests on", name, reports[name].Headline)
		}
	}
}

// hostile holds what a terminal or a reader could be fooled by: escapes, line
// ends, marks that reorder text, what is invisible, and great length.
const hostile = "a\x1b[2J\x1b]0;t\x07\r\nb\x00c\x7f\u0085\u009b31m\u202egnp.exe\u2066x\u2069\u200f\u061c\u2028\u2029\ufeff\u200b\U000e0041 trusted\n"

// TestHostileText: whatever a record says of itself, the text of its report is
// lines of printable characters, and not many.
func TestHostileText(t *testing.T) {
	f := newForger(t)
	long := strings.Repeat(hostile, 200)
	digest := "sha256:" + strings.Repeat("a", 64)
	deeds := map[string]forgery{
		"signal": {runtime: func(r *cer.Runtime) { s := long; r.Exit = cer.Exit{Code: -1, Signal: &s} }},
		"weights": {events: func(l *attest.Log) {
			editComponent(t, l, cer.RoleWeights, func(c *cer.Component) { c.Name, c.Path = long, "/"+strings.Repeat(hostile, 20) })
		}},
		"binary": {events: func(l *attest.Log) {
			editComponent(t, l, cer.RoleBinary, func(c *cer.Component) { c.Path = "/" + hostile })
		}},
		"argv": {events: func(l *attest.Log) {
			v, err := cer.NewArgv([]string{long})
			if err != nil {
				t.Fatal(err)
			}
			editComponent(t, l, cer.RoleArgv, func(c *cer.Component) { c.Value = v.Value })
		}},
		"network":   {events: func(l *attest.Log) { editEnvironment(t, l, cer.KindIsolation, setFact("network", long)) }},
		"devices":   {events: func(l *attest.Log) { editEnvironment(t, l, cer.KindIsolation, setFact("devices", long)) }},
		"swap":      {events: func(l *attest.Log) { editEnvironment(t, l, cer.KindMemory, setFact("swap", long)) }},
		"fact":      {events: func(l *attest.Log) { editEnvironment(t, l, cer.KindIsolation, setFact(long, long)) }},
		"parameter": {runtime: func(r *cer.Runtime) { r.Parameters[0].Value = long }},
		"provider":  {snapshot: func(s *cer.Snapshot) { s.Provider = hostile }},
		"model":     {snapshot: func(s *cer.Snapshot) { s.Model = hostile }},
		"part":      {capsule: func(c *cer.Capsule) { c.Evidence[0].Parts[0].Name = long }},
		"collateral": {capsule: func(c *cer.Capsule) {
			for range 200 {
				c.Collateral = append(c.Collateral, attest.Collateral{Kind: long, Data: []byte{1}})
			}
		}},
		"many weights": {events: func(l *attest.Log) {
			for i := range 3000 {
				addComponent(t, l, &cer.Component{
					Role: cer.RoleWeights, Name: strings.Repeat("w", i+1), Path: "/m/" + strings.Repeat("w", i+1),
					Digest: []string{digest}, Size: "1", Protection: cer.ProtectionSealed,
				})
			}
		}},
	}
	for name, x := range deeds {
		t.Run(name, func(t *testing.T) {
			file := f.record(t, x)
			for _, in := range []verifier.Input{f.input(t, nil), goldenInput(t, "page"), {Now: goldenTime(t)}} {
				r := verify(t, file, in)
				for _, explain := range []bool{false, true} {
					wantSafe(t, reportText(t, r, explain), 96<<10)
				}
				wantSafe(t, r.Headline, 1<<10)
				wantSafeJSON(t, r)
			}
		})
	}
	for name, file := range map[string]string{
		"not JSON":   hostile,
		"member":     `{"` + strings.ReplaceAll(strings.ReplaceAll(strings.ReplaceAll(long, "\x00", ""), "\r", ""), "\n", "") + `":1}` + "\n",
		"evidence":   `{"cer":{},"evidence":[` + strings.Repeat(`{},`, 4000) + `{}]}` + "\n",
		"long value": `"` + strings.Repeat("x", 1<<20) + "\"\n",
	} {
		t.Run(name, func(t *testing.T) {
			r := verify(t, []byte(file), goldenInput(t, "page"))
			wantSafe(t, reportText(t, r, true), 64<<10)
			wantSafe(t, r.Headline, 1<<10)
		})
	}
}

// wantSafe wants lines of printable characters, all in all at most limit bytes.
func wantSafe(t *testing.T, text string, limit int) {
	t.Helper()
	if len(text) > limit {
		t.Errorf("%d bytes, want at most %d", len(text), limit)
	}
	for _, r := range strings.ReplaceAll(text, "\n", "") {
		if !unicode.IsPrint(r) {
			t.Fatalf("%q in %.300q", r, text)
		}
	}
	if strings.Contains(text, "\ntrusted") || strings.Contains(text, "\n trusted") {
		t.Errorf("the record writes a line of its own: %.300q", text)
	}
}

// wantSafeJSON wants the JSON of a report to be printable and to say the same as without.
func wantSafeJSON(t *testing.T, r *verifier.Report) {
	t.Helper()
	var out bytes.Buffer
	if err := r.WriteJSON(&out, hostile, true); err != nil {
		t.Fatal(err)
	}
	if i := bytes.IndexFunc(out.Bytes(), func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }); i >= 0 {
		t.Fatalf("%q", out.Bytes()[max(0, i-40):i+8])
	}
	var got struct {
		File string
		verifier.Report
	}
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	var again bytes.Buffer
	if err := got.WriteJSON(&again, got.File, true); err != nil || got.File != hostile || !bytes.Equal(out.Bytes(), again.Bytes()) {
		t.Errorf("read and written again it is another: %v", err)
	}
}

// failingWriter fails after some bytes.
type failingWriter struct{ room int }

var errFull = errors.New("full")

func (w *failingWriter) Write(b []byte) (int, error) {
	if w.room -= len(b); w.room < 0 {
		return 0, errFull
	}
	return len(b), nil
}

// TestWriteTextFails: an error of the writer is the error of WriteText.
func TestWriteTextFails(t *testing.T) {
	r := kinds(t)["trusted-assuming"]
	for room := 0; room < len(reportText(t, r, true)); room += 61 {
		if err := r.WriteText(&failingWriter{room}, true); !errors.Is(err, errFull) {
			t.Fatalf("after %d bytes: %v", room, err)
		}
	}
}

// TestTrustedWithoutAssumption: the one-word headline is for a verdict that
// rests on nothing. No evidence appraised today can have it: the launcher of
// a TPM is not rooted, so every trusted report assumes something.
func TestTrustedWithoutAssumption(t *testing.T) {
	for name, r := range kinds(t) {
		if r.Trusted && (len(r.Assuming) == 0 || r.Headline == "trusted") {
			t.Errorf("%s: trusted, assuming nothing", name)
		}
	}
}
