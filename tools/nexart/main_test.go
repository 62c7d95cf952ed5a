package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// line returns a published bundle as bundles.mjs would print it.
func line(t *testing.T, name, what string, accepted bool) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "testdata", "vectors", "nexart", name+".bundle.json"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(bundle{what, string(text), accepted})
	if err != nil {
		t.Fatal(err)
	}
	return string(b) + "\n"
}

// TestRun wants agreement accepted, and each disagreement to fail.
func TestRun(t *testing.T) {
	const good, bad = "positive/p01-basic-ascii", "negative/n01-output-changed"
	made := line(t, good, "made", true)
	changed := line(t, bad, "changed: /snapshot/output", false)
	flipped := line(t, bad, "flipped", false)
	for name, test := range map[string]struct {
		in   string
		want int
	}{
		"agreement":             {made + changed + flipped, 0},
		"stricter":              {made + changed + line(t, bad, "flipped", true), 0},
		"made, refused":         {made + changed + flipped + line(t, bad, "made", true), 1},
		"changed, accepted":     {made + changed + flipped + line(t, good, "changed: /x", false), 1},
		"flipped, accepted":     {made + changed + flipped + line(t, good, "flipped", false), 1},
		"an unknown kind":       {made + changed + flipped + line(t, good, "x", true), 1},
		"none made":             {changed + flipped, 1},
		"none changed":          {made + flipped, 1},
		"none flipped":          {made + changed, 1},
		"nothing":               {"", 1},
		"a line that is broken": {made + changed + flipped + "{", 1},
	} {
		var out, errs strings.Builder
		if got := run(strings.NewReader(test.in), &out, &errs); got != test.want || (got == 0) != (errs.Len() == 0) {
			t.Errorf("%s: exit %d, want %d: %s%s", name, got, test.want, out.String(), errs.String())
		}
	}
}
