package browser_test

import (
	"errors"
	"testing"

	"github.com/sworn-run/sworn/internal/browser"
)

// TestRead: a strict document is read, and what a parser would have to mend is refused.
func TestRead(t *testing.T) {
	const doctype = "<!DOCTYPE html>\n"
	m, err := browser.Read([]byte(doctype + `<html lang="en"><meta http-equiv="Content-Security-Policy" content="a &#39;b&#39;"><style>p{}</style><h1 id="a">&lt;b&gt; &amp;</h1><h2>2</h2></html>`))
	if err != nil {
		t.Fatal(err)
	}
	if m.Text != "<b> &2" || m.Style != "p{}" || m.Policy != "a 'b'" || len(m.Elements) != 5 || len(m.Attributes) != 4 || len(m.Headings) != 2 {
		t.Errorf("%+v", m)
	}
	for _, bad := range []string{
		"", "<p></p>", doctype + "<p>", doctype + "</p>", doctype + "<p><b></p></b>", doctype + "<p x=y></p>", doctype + `<p x="a" x="b"></p>`,
		doctype + `<p x='a'></p>`, doctype + `<p x="&y"></p>`, doctype + "<p>a & b</p>", doctype + "<p>a > b</p>", doctype + "<p>&nbsp;</p>",
		doctype + "<p>\x00</p>", doctype + "<p>\u202e</p>", doctype + "<p>\xff</p>", doctype + "<!-- --><p></p>", doctype + "<style><p></style>",
		doctype + `<p id="a"></p><p id="a"></p>`, doctype + `<p aria-labelledby="a"></p>`, doctype + "<h2>a</h2>", doctype + "<h1>a</h1><h3>b</h3>", doctype + "<p",
	} {
		if _, err := browser.Read([]byte(bad)); !errors.Is(err, browser.ErrMarkup) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
