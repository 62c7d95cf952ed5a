// Package archtest holds the architecture of this module as data and the
// checks that compare the source with it: which package may import which, what
// the pure packages may reach, which names stand at the top level, and the
// limits on size and style that no linter knows.
//
// The checks are functions over plain values (a [Graph], parsed [File]s, a list
// of names), so that their tests can hand them trees that break each rule. The
// package's own test then hands them this tree.
package archtest

import (
	"cmp"
	"path"
	"slices"
	"strings"
)

// Module is the module path of the product; its packages are written without
// it, with a leading "./", in a [Graph].
const Module = "github.com/sworn-run/sworn"

// Violation is one place where the source departs from a rule.
type Violation struct {
	// Rule names the rule, in one or two words.
	Rule string
	// Where is a package path as in a [Graph], or "file:line".
	Where string
	// What tells what was found there.
	What string
}

// String returns the violation as one line.
func (v Violation) String() string {
	return v.Rule + ": " + v.Where + " " + v.What
}

// Graph maps a package to the packages that its non-test files import. A
// package of this module is written "./path" ("./attest"), every other one by
// its import path; cgo is the import "C".
type Graph map[string][]string

// own returns the path of a package of this module without its "./".
func own(pkg string) (string, bool) {
	return strings.CutPrefix(pkg, "./")
}

// standard reports whether pkg is of the standard library (or "C").
func standard(pkg string) bool {
	first, _, _ := strings.Cut(pkg, "/")
	return first != "." && !strings.Contains(first, ".")
}

// packages returns the packages of this module in g, without "./", sorted.
func (g Graph) packages() []string {
	var list []string
	for pkg := range g {
		if name, ok := own(pkg); ok {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
}

// reached returns every package that is not of the standard library and that
// start imports, directly or not, each with one path of imports that leads to
// it. The walk is breadth first, so that the path is a shortest one.
func (g Graph) reached(start string) map[string][]string {
	via := map[string][]string{start: {start}}
	for queue := []string{start}; len(queue) > 0; queue = queue[1:] {
		from := queue[0]
		for _, to := range g[from] {
			if _, seen := via[to]; seen || standard(to) {
				continue
			}
			via[to] = append(slices.Clone(via[from]), to)
			queue = append(queue, to)
		}
	}
	return via
}

// under reports whether pkg is root or stands below it.
func under(pkg, root string) bool {
	return pkg == root || strings.HasPrefix(pkg, root+"/")
}

// underAny reports whether pkg is one of roots or stands below one.
func underAny(pkg string, roots []string) bool {
	return slices.ContainsFunc(roots, func(r string) bool { return under(pkg, r) })
}

// top returns the first element of a path.
func top(p string) string {
	first, _, _ := strings.Cut(path.Clean(p), "/")
	return first
}

// sortViolations orders by place, then rule, then text.
func sortViolations(list []Violation) []Violation {
	slices.SortFunc(list, func(a, b Violation) int {
		return cmp.Or(
			strings.Compare(a.Where, b.Where),
			strings.Compare(a.Rule, b.Rule),
			strings.Compare(a.What, b.What),
		)
	})
	return slices.Compact(list)
}
