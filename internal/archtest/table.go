package archtest

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
)

// ErrTable is wrapped by every error about the table itself.
var ErrTable = errors.New("import table")

// table is a parsed import table: for each node, the nodes that it may import
// (closed under transitivity) and those it must never import.
type table struct {
	may, never map[string]map[string]bool
}

// parseTable reads the notation described at [directions]; sets gives the names
// that stand for several nodes.
func parseTable(text string, sets map[string][]string) (*table, error) {
	t := &table{may: map[string]map[string]bool{}, never: map[string]map[string]bool{}}
	for rule := range strings.SplitSeq(uncomment(text), ";") {
		if strings.TrimSpace(rule) == "" {
			continue
		}
		if err := t.add(rule, sets); err != nil {
			return nil, err
		}
	}
	t.closeOver()
	for node, may := range t.may {
		if may[node] {
			return nil, fmt.Errorf("%w: %s may import itself by a cycle", ErrTable, node)
		}
	}
	return t, nil
}

// uncomment drops what follows "#" on each line.
func uncomment(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		b.WriteString(line)
		b.WriteByte(' ')
	}
	return b.String()
}

// add reads one rule, a chain of lists joined by "<" or "!<".
func (t *table) add(rule string, sets map[string][]string) error {
	var left, right []string
	op := ""
	for word := range strings.FieldsSeq(strings.ReplaceAll(rule, ",", " ")) {
		if word != "<" && word != "!<" {
			right = append(right, word)
			continue
		}
		if err := t.relate(left, op, right, sets); err != nil {
			return err
		}
		left, op, right = right, word, nil
	}
	if op == "" {
		return fmt.Errorf("%w: rule %q relates nothing", ErrTable, strings.TrimSpace(rule))
	}
	return t.relate(left, op, right, sets)
}

// relate enters "left op right"; the first list of a rule has no op yet.
func (t *table) relate(left []string, op string, right []string, sets map[string][]string) error {
	if len(right) == 0 {
		return fmt.Errorf("%w: an empty list", ErrTable)
	}
	for _, to := range expand(right, sets, "") {
		t.node(to)
		for _, from := range expand(left, sets, to) {
			t.node(from)
			switch {
			case op == "<":
				t.may[to][from] = true
			case from != to:
				t.never[to][from] = true
			}
		}
	}
	return nil
}

// node makes sure that a node is known.
func (t *table) node(name string) {
	if t.may[name] == nil {
		t.may[name], t.never[name] = map[string]bool{}, map[string]bool{}
	}
}

// expand replaces the names that stand for several nodes; to is the node on the
// right, whose directory OWN stands for.
func expand(names []string, sets map[string][]string, to string) []string {
	var list []string
	for _, name := range names {
		set, isSet := sets[name]
		switch {
		case name == "OWN":
			list = append(list, path.Dir(to))
		case isSet:
			list = append(list, set...)
		default:
			list = append(list, name)
		}
	}
	return list
}

// closeOver makes may transitive.
func (t *table) closeOver() {
	for grown := true; grown; {
		grown = false
		for _, may := range t.may {
			before := len(may)
			for _, from := range slices.Collect(maps.Keys(may)) {
				for further := range t.may[from] {
					may[further] = true
				}
			}
			grown = grown || len(may) > before
		}
	}
}

// rank returns the node that a package belongs to: itself, or the nearest
// directory above it that the table lists.
func (t *table) rank(pkg string) (string, bool) {
	for p := pkg; p != "." && p != "/"; p = path.Dir(p) {
		if t.may[p] != nil {
			return p, true
		}
	}
	return "", false
}
