package verifier_test

import (
	"bytes"
	"testing"
)

// Reason names the check that the headline names, and none in a trusted report.
func TestReason(t *testing.T) {
	page := golden(t, "page.cer.json")
	if id, ok := verify(t, page, goldenInput(t, "page")).Reason(); ok || id != "" {
		t.Errorf("a trusted report is refused by %q", id)
	}
	in := goldenInput(t, "page")
	in.Roots = nil
	for _, file := range [][]byte{page, page[1:], bytes.Replace(page, []byte(`"statement":"`), []byte(`"statement":"AA`), 1)} {
		r := verify(t, file, in)
		if id, ok := r.Reason(); !ok || id != named(r) {
			t.Errorf("reason %q, headline %q", id, r.Headline)
		}
	}
}
