package htmlreport_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sworn-run/sworn/internal/browser"
	"github.com/sworn-run/sworn/verifier"
	"github.com/sworn-run/sworn/verifier/htmlreport"
)

// views are how reports are looked at.
func views() map[string]browser.View {
	return map[string]browser.View{
		"desktop": {Width: 1280, Height: 900},
		"phone":   {Width: 390, Height: 844, Scale: 2, Mobile: true},
		"small":   {Width: 320, Height: 640, Mobile: true},
		"dark":    {Width: 1280, Height: 900, Dark: true},
		"print":   {Width: 794, Height: 1123, Print: true},
	}
}

// TestScreen: a browser shows the reports at every width without scrolling sideways,
// with all their words, asks for nothing, and has nothing to complain of. SWORN_SCREENS
// names a folder for what it shows.
func TestScreen(t *testing.T) {
	if _, err := browser.Find(); errors.Is(err, browser.ErrMissing) {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	b, err := browser.Start(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	for name, records := range documents(t) {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "report.html")
			if err := os.WriteFile(file, htmlreport.Render(records...), 0o600); err != nil {
				t.Fatal(err)
			}
			page, err := b.Open(ctx, "file://"+file, browser.View{Width: 1280, Height: 900})
			if err != nil {
				t.Fatal(err)
			}
			for view, v := range views() {
				if err := page.Look(ctx, v); err != nil {
					t.Fatal(err)
				}
				looksRight(ctx, t, page, view, v, records)
				keep(ctx, t, page, name+"-"+view)
			}
			if got := page.Requests(); len(got) > 0 {
				t.Errorf("it asks for %q", got)
			}
			if got := page.Complaints(); len(got) > 0 {
				t.Errorf("the browser complains: %q", got)
			}
			if err := page.Close(ctx); err != nil {
				t.Error(err)
			}
		})
	}
}

// looksRight wants all the words of the reports, within the width of the view.
func looksRight(ctx context.Context, t *testing.T, page *browser.Page, view string, v browser.View, records []htmlreport.Record) {
	t.Helper()
	width, height, err := page.Size(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if width > v.Width || height < 1500 {
		t.Errorf("%s: %d by %d", view, width, height)
	}
	text, err := page.Text(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		want := []string{r.Report.Headline, "What is proven", "What is claimed", "What is not established", "Why", r.Report.Capsule, r.Report.Verifier}
		for _, c := range r.Report.Checks {
			want = append(want, c.ID, c.Status)
		}
		for _, w := range want {
			if !strings.Contains(text, w) {
				t.Errorf("%s: does not show %q", view, w)
			}
		}
	}
	var rules int
	if err := page.Eval(ctx, "document.styleSheets[0].cssRules.length", &rules); err != nil || rules < 50 {
		t.Errorf("%s: the style sheet has %d rules, %v", view, rules, err)
	}
	var outside []string
	if err := page.Eval(ctx, outsideTheirBoxes, &outside); err != nil || len(outside) > 0 {
		t.Errorf("%s: texts of the figure that leave it or cross: %q, %v", view, outside, err)
	}
}

// outsideTheirBoxes returns the texts of a figure that reach beyond it, or across another
// text.
const outsideTheirBoxes = `[...document.querySelectorAll("figure>svg")].flatMap(svg => {
  const whole = svg.getBoundingClientRect(), texts = [...svg.querySelectorAll("text")].map(t => [t.textContent, t.getBoundingClientRect()]);
  return texts.filter(([s, r], i) => r.left < whole.left || r.right > whole.right + .5 || r.bottom > whole.bottom ||
    texts.some(([, q], j) => j != i && r.left < q.right && q.left < r.right && r.top + 2 < q.bottom && q.top + 2 < r.bottom)).map(([s]) => s);
})`

// screen is how much of a page one picture shows, in CSS pixels.
const screen = 1600

// keep writes screenshots where some are asked for.
func keep(ctx context.Context, t *testing.T, page *browser.Page, name string) {
	t.Helper()
	dir := os.Getenv("SWORN_SCREENS")
	if dir == "" {
		return
	}
	_, height, err := page.Size(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for i, y := 1, 0; y < height; i, y = i+1, y+screen {
		png, err := page.Screenshot(ctx, y, y+screen)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s-%02d.png", name, i)), png, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if !strings.HasSuffix(name, "-print") {
		return
	}
	pdf, err := page.PDF(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".pdf"), pdf, 0o600); err != nil {
		t.Fatal(err)
	}
}

// documents are what people get to see.
func documents(t *testing.T) map[string][]htmlreport.Record {
	t.Helper()
	trusted := report(t, nil)
	refused := report(t, func(in *verifier.Input) { in.Roots = nil })
	file, in := stamped(t)
	in.Now = in.Now.AddDate(21, 0, 0)
	then, err := verifier.Verify(file, in)
	if err != nil {
		t.Fatal(err)
	}
	if !then.Trusted || then.Decides != "record" || len(then.Changes) == 0 {
		t.Fatalf("two verdicts: %s, %s", then.Decides, then.Headline)
	}
	return map[string][]htmlreport.Record{
		"stamped": {{File: "stamped.cer.json", Report: then}},
		"trusted": {{File: "page.cer.json", Report: trusted}},
		"refused": {{File: "page.cer.json", Report: refused}},
		"several": {{File: "page.cer.json", Report: trusted}, {File: "other.cer.json", Report: refused}},
	}
}
