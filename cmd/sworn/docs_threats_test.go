package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/sworn-run/sworn/verifier"
)

// document returns a file of docs.
func document(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "docs", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// threatRows returns the ids that docs/THREAT-MODEL.md must answer, in order:
// the catalogue of known attacks, the findings about the binding, the smaller
// ones, what was found while building, the mistakes of libraries, and whose record it is.
func threatRows() []string {
	var ids []string
	for _, s := range []struct {
		letter string
		rows   int
	}{{"C", 33}, {"F", 20}, {"S", 9}, {"X", 34}, {"L", 7}, {"W", 10}, {"E", 3}} {
		for i := range s.rows {
			n := strconv.Itoa(i + 1)
			ids = append(ids, s.letter+strings.Repeat("0", 2-len(n))+n)
		}
	}
	return ids
}

// threatRow is one row of the tables.
type threatRow struct{ id, attack, answer, how string }

// threatTable reads the rows of the threat model's tables of attacks.
func threatTable(t *testing.T) []threatRow {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "docs", "THREAT-MODEL.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, text, found := strings.Cut(string(b), "\n## Every attack considered\n")
	if !found {
		t.Fatal("THREAT-MODEL.md has no section of attacks")
	}
	var rows []threatRow
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "|---") || strings.HasPrefix(line, "| id |") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		if len(cells) != 4 {
			t.Fatalf("a row of %d cells: %s", len(cells), line)
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		rows = append(rows, threatRow{cells[0], cells[1], cells[2], cells[3]})
	}
	return rows
}

// TestThreatModelComplete: every attack has its row, in order, with one of the
// three answers and what the answer needs.
func TestThreatModelComplete(t *testing.T) {
	var ids []string
	for _, r := range threatTable(t) {
		ids = append(ids, r.id)
		tests := testNames(r.how)
		switch {
		case r.attack == "" || r.how == "":
			t.Errorf("%s: a cell is empty", r.id)
		case r.answer == "handled" && len(tests) == 0:
			t.Errorf("%s is handled, and names no test", r.id)
		case r.answer == "handled later" && !strings.HasPrefix(r.how, "missing: "):
			t.Errorf("%s is handled later, and does not begin with what is missing", r.id)
		case r.answer == "out of scope" && !strings.HasPrefix(r.how, "because "):
			t.Errorf("%s is out of scope, and does not begin with why", r.id)
		case !slices.Contains([]string{"handled", "handled later", "out of scope"}, r.answer):
			t.Errorf("%s: answer %q", r.id, r.answer)
		}
	}
	if want := threatRows(); !slices.Equal(ids, want) {
		t.Errorf("rows %q\nwant %q", ids, want)
	}
}

// testName matches a test as the table names it.
var testName = regexp.MustCompile("`((?:[a-z]+/)+)((?:Test|Fuzz)[A-Za-z0-9]+|[a-z]+\\.txt)`")

// testNames returns the tests that a cell names, as folder and function.
func testNames(cell string) [][2]string {
	var out [][2]string
	for _, m := range testName.FindAllStringSubmatch(cell, -1) {
		out = append(out, [2]string{strings.TrimSuffix(m[1], "/"), m[2]})
	}
	return out
}

// TestThreatModelNamesTests: every test that a row names is in the tree, and
// nothing in a row looks like a test and is named otherwise.
func TestThreatModelNamesTests(t *testing.T) {
	known := map[string][]string{}
	n := 0
	for _, r := range threatTable(t) {
		names := testNames(r.how)
		if looks := strings.Count(r.how, "/Test") + strings.Count(r.how, "/Fuzz") + strings.Count(r.how, ".txt`"); looks != len(names) {
			t.Errorf("%s: %d tests are named, %d can be read: %s", r.id, looks, len(names), r.how)
		}
		for _, name := range names {
			n++
			dir, test := name[0], name[1]
			if dir == "script" {
				if _, err := os.Stat(filepath.Join("testdata", "script", test)); err != nil {
					t.Errorf("%s: %v", r.id, err)
				}
				continue
			}
			if known[dir] == nil {
				known[dir] = testsOf(t, filepath.Join("..", "..", filepath.FromSlash(dir)))
			}
			if !slices.Contains(known[dir], test) {
				t.Errorf("%s: %s has no test %s", r.id, dir, test)
			}
		}
	}
	if n < len(threatRows()) {
		t.Errorf("only %d tests are named", n)
	}
}

// testsOf returns the names of the test and fuzz functions of a folder, those
// for other platforms included.
func testsOf(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil || len(files) == 0 {
		t.Errorf("%s has no tests (%v)", dir, err)
		return []string{}
	}
	out := []string{}
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && len(fn.Type.Params.List) == 1 {
				out = append(out, fn.Name.Name)
			}
		}
	}
	return out
}

// TestThreatModelNamesChecks: every check stands in the table of layers, and
// nothing else does.
func TestThreatModelNamesChecks(t *testing.T) {
	_, text, _ := strings.Cut(document(t, "THREAT-MODEL.md"), "\n## What a check defends\n")
	text, _, _ = strings.Cut(text, "\n## ")
	var named []string
	for _, m := range regexp.MustCompile("`([a-z]+[a-z.-]*)`").FindAllStringSubmatch(text, -1) {
		named = append(named, m[1])
	}
	want := verifier.CheckIDs()
	slices.Sort(named)
	if slices.Sort(want); !slices.Equal(named, want) {
		t.Errorf("the table of layers names %q\nwant %q", named, want)
	}
}

// TestThreatModelAdversaries: each adversary that was considered has its row, and
// each row says what stops it.
func TestThreatModelAdversaries(t *testing.T) {
	_, text, _ := strings.Cut(document(t, "THREAT-MODEL.md"), "\n## Who attacks\n")
	text, _, _ = strings.Cut(text, "\n## ")
	for _, who := range []string{
		"the host of a virtual machine", "root in the guest, before or during the launch", "root in the guest, after the launch",
		"a malicious producer", "a malicious capsule", "a malicious job", "a later thief of a vendor's key", "a local user without rights",
	} {
		row := regexp.MustCompile(`(?m)^\| \*\*` + regexp.QuoteMeta(who) + `\*\* \| [^|]+ \| [^|]{20,} \|$`)
		if !row.MatchString(text) {
			t.Errorf("no row, or half a row, about %s", who)
		}
	}
}
