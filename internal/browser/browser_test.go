package browser_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sworn-run/sworn/internal/browser"
)

// TestSees: a page that does what reports must not is seen doing it.
func TestSees(t *testing.T) {
	if _, err := browser.Find(); errors.Is(err, browser.ErrMissing) {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	dir := t.TempDir()
	b, err := browser.Start(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	open := func(html string, v browser.View) *browser.Page {
		name := filepath.Join(dir, "page.html")
		if err := os.WriteFile(name, []byte(html), 0o600); err != nil {
			t.Fatal(err)
		}
		p, err := b.Open(ctx, "file://"+name, v)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	bad := open(`<!DOCTYPE html><meta http-equiv="Content-Security-Policy" content="script-src 'none'"><p>words<script>0</script><img src="http://sworn.invalid/x.png"><div style="width:900px">wide`,
		browser.View{Width: 400, Height: 300})
	if len(bad.Requests()) != 1 || !strings.Contains(bad.Requests()[0], "sworn.invalid") {
		t.Errorf("requests %q", bad.Requests())
	}
	if got := strings.Join(bad.Complaints(), "\n"); !strings.Contains(got, "script") {
		t.Errorf("complaints %q", got)
	}
	if w, _, err := bad.Size(ctx); err != nil || w < 900 {
		t.Errorf("width %d, %v", w, err)
	}
	good := open(`<!DOCTYPE html><p>words`, browser.View{Width: 400, Height: 300, Dark: true})
	if len(good.Requests()) != 0 || len(good.Complaints()) != 0 {
		t.Errorf("%q %q", good.Requests(), good.Complaints())
	}
	var dark bool
	if err := good.Eval(ctx, `matchMedia("(prefers-color-scheme:dark)").matches`, &dark); err != nil || !dark {
		t.Errorf("not dark: %v", err)
	}
	if text, err := good.Text(ctx); err != nil || text != "words" {
		t.Errorf("text %q, %v", text, err)
	}
	if png, err := good.Screenshot(ctx, 0, 0); err != nil || !strings.HasPrefix(string(png), "\x89PNG") {
		t.Errorf("no PNG: %v", err)
	}
	if pdf, err := good.PDF(ctx); err != nil || !strings.HasPrefix(string(pdf), "%PDF") {
		t.Errorf("no PDF: %v", err)
	}
	if err := good.Eval(ctx, `throw 1`, &dark); !errors.Is(err, browser.ErrBrowser) {
		t.Errorf("an exception is %v", err)
	}
	if err := good.Close(ctx); err != nil {
		t.Error(err)
	}
}
