//go:build !js

package cer_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/testdata"
	"github.com/sworn-run/sworn/verifier"
)

// specification returns docs/SPEC.md from one heading to another, or to its end.
func specification(t *testing.T, from, to string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "docs", "SPEC.md"))
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	i, j := strings.Index(text, "\n"+from), len(text)
	if to != "" {
		j = strings.Index(text, "\n"+to)
	}
	if i < 0 || j <= i {
		t.Fatalf("no section from %q to %q", from, to)
	}
	return text[i:j]
}

// The table of section 8 has the checks that are made, in their order and with
// their classes.
func TestSpecChecks(t *testing.T) {
	var got, want []string
	for line := range strings.Lines(specification(t, "## 8 ", "## 9 ")) {
		cells := strings.Split(line, "|")
		if len(cells) < 4 || strings.Contains(cells[1], "---") || strings.TrimSpace(cells[1]) == "id" {
			continue
		}
		for id := range strings.SplitSeq(cells[1], ",") {
			got = append(got, strings.TrimSpace(id)+" "+strings.TrimSpace(cells[2]))
		}
	}
	for _, id := range verifier.CheckIDs() {
		class, ok := verifier.CheckClass(id)
		if !ok {
			t.Errorf("%s has no class", id)
		}
		want = append(want, id+" "+class.String())
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// goldenCapsule is a record of a real launch.
func goldenCapsule(t *testing.T, name string) *cer.Capsule {
	t.Helper()
	b, err := testdata.Golden.ReadFile("golden/" + name)
	if err != nil {
		t.Fatal(err)
	}
	c, err := cer.ParseCapsule(b)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// memberNames returns the names of the members of all objects in a JSON text.
func memberNames(t *testing.T, text []byte) []string {
	t.Helper()
	var out []string
	var visit func(jsontext.Value)
	visit = func(v jsontext.Value) {
		switch v.Kind() {
		case '{':
			var m map[string]jsontext.Value
			if err := json.Unmarshal(v, &m); err != nil {
				t.Fatal(err)
			}
			for name, value := range m {
				if !slices.Contains(out, name) {
					out = append(out, name)
				}
				visit(value)
			}
		case '[':
			var a []jsontext.Value
			if err := json.Unmarshal(v, &a); err != nil {
				t.Fatal(err)
			}
			for _, value := range a {
				visit(value)
			}
		default:
		}
	}
	visit(text)
	return out
}

// named reports whether a text has the name as a word of its own: next to
// neither a letter nor a digit nor an underscore.
func named(text, name string) bool {
	isWord := func(c byte) bool {
		return c == '_' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
	}
	for i := 0; ; {
		j := strings.Index(text[i:], name)
		if j < 0 {
			return false
		}
		j += i
		after := j + len(name)
		if (j == 0 || !isWord(text[j-1])) && (after == len(text) || !isWord(text[after])) {
			return true
		}
		i = j + 1
	}
}

// Every member that stands in a capsule is specified in sections 6 and 7, and
// section 10 says what covers it.
func TestSpecMembers(t *testing.T) {
	shape, coverage := specification(t, "## 6 ", "## 8 "), specification(t, "## 10 ", "")
	n := 0
	for _, file := range []string{"page.cer.json", "full.cer.json"} {
		c := goldenCapsule(t, file)
		text, err := c.Encode()
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range memberNames(t, text) {
			n++
			if !named(shape, name) {
				t.Errorf("sections 6 and 7 do not have member %q", name)
			}
		}
		b, err := cer.ParseBundle(c.CER)
		if err != nil {
			t.Fatal(err)
		}
		top := map[string]jsontext.Value{}
		for _, object := range [][]byte{text, c.CER, b.Snapshot.Runtime} {
			if err := json.Unmarshal(object, &top); err != nil {
				t.Fatal(err)
			}
		}
		for name := range top {
			if name != "cer" && name != "snapshot" && !named(coverage, name) {
				t.Errorf("section 10 does not have member %q", name)
			}
		}
	}
	if n < 40 {
		t.Errorf("%d names only", n)
	}
}

// Every event of a real launch is specified: its roles, members, kinds and
// facts.
func TestSpecEvents(t *testing.T) {
	text := specification(t, "## 5 ", "## 6 ")
	l, err := attest.ParseLog(goldenCapsule(t, "page.cer.json").Log)
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	for _, e := range l.Events {
		words = append(words, e.Type.String())
		if !e.Disclosed || len(e.Data) == 0 || e.Data[0] != '{' {
			continue
		}
		words = append(words, memberNames(t, e.Data)...)
		if env, err := cer.ParseEnvironment(e.Data); err == nil {
			words = append(words, env.Kind)
			for _, f := range env.Facts {
				if env.Kind != cer.KindParameters {
					words = append(words, f.Name)
				}
			}
		}
	}
	words = append(words, cer.RoleLauncher, cer.RoleBinary, cer.RoleInterpreter, cer.RoleScriptInterpreter, cer.RoleLibrary,
		cer.RoleWeights, cer.RoleConfig, cer.RoleFile, cer.RoleArgv, cer.RoleEnv, cer.ProtectionSealed, cer.ProtectionNone,
		attest.EndCompleted, attest.EndAborted)
	if len(words) < 60 {
		t.Fatalf("%d words only", len(words))
	}
	for _, w := range words {
		if !named(text, w) {
			t.Errorf("section 5 does not have %q", w)
		}
	}
}
