package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// line returns a published bundle as bundles.mjs would print it.
func line(t *testing.T, name string, b bundle) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "testdata", "vectors", "nexart", name+".bundle.json"))
	if err != nil {
		t.Fatal(err)
	}
	b.Text = string(text)
	out, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(out) + "\n"
}

// TestRun wants agreement accepted, and each disagreement to fail.
func TestRun(t *testing.T) {
	const good, bad = "positive/p01-basic-ascii", "negative/n01-output-changed"
	const sealed, broken = "PASS SKIPPED SKIPPED", "FAIL SKIPPED SKIPPED"
	yes, no := true, false
	made := line(t, good, bundle{What: "made: plain", Accepted: &yes, Layers: sealed})
	changed := line(t, bad, bundle{What: "changed: /snapshot/output", Accepted: &no})
	again := line(t, bad, bundle{What: "sealed again: x", Layers: broken})
	swapped := line(t, bad, bundle{What: "swapped: x"})
	flipped := line(t, bad, bundle{What: "flipped", Accepted: &no})
	all := made + changed + again + swapped + flipped
	for name, test := range map[string]struct {
		in   string
		want int
	}{
		"agreement":              {all, 0},
		"stricter":               {all + line(t, bad, bundle{What: "flipped", Accepted: &yes}), 0},
		"of a later release":     {all + line(t, good, bundle{What: "made: x", Layers: sealed}), 0},
		"made, refused":          {all + line(t, bad, bundle{What: "made: x", Layers: broken}), 1},
		"made, of other layers":  {all + line(t, good, bundle{What: "made: x", Layers: "PASS PASS SKIPPED"}), 1},
		"made, of no layers":     {all + line(t, good, bundle{What: "made: x"}), 1},
		"made, refused there":    {all + line(t, good, bundle{What: "made: x", Accepted: &no, Layers: sealed}), 1},
		"changed, accepted":      {all + line(t, good, bundle{What: "changed: /x"}), 1},
		"sealed again, accepted": {all + line(t, good, bundle{What: "sealed again: x"}), 1},
		"sealed again, otherwise": {
			all + line(t, bad, bundle{What: "sealed again: x", Layers: "PASS FAIL FAIL"}), 1,
		},
		"swapped, accepted":     {all + line(t, good, bundle{What: "swapped: x"}), 1},
		"flipped, accepted":     {all + line(t, good, bundle{What: "flipped", Accepted: &no}), 1},
		"an unknown kind":       {all + line(t, good, bundle{What: "x"}), 1},
		"keys that are none":    {all + line(t, good, bundle{What: "keys"}), 1},
		"none made":             {changed + again + swapped + flipped, 1},
		"none changed":          {made + again + swapped + flipped, 1},
		"none sealed again":     {made + changed + swapped + flipped, 1},
		"none swapped":          {made + changed + again + flipped, 1},
		"none flipped":          {made + changed + again + swapped, 1},
		"nothing":               {"", 1},
		"a line that is broken": {all + "{", 1},
	} {
		var out, errs strings.Builder
		if got := run(strings.NewReader(test.in), &out, &errs); got != test.want || (got == 0) != (errs.Len() == 0) {
			t.Errorf("%s: exit %d, want %d: %s%s", name, got, test.want, out.String(), errs.String())
		}
	}
}
