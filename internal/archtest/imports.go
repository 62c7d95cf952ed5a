package archtest

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// CheckDirection compares every import between packages of this module with the
// table.
func CheckDirection(g Graph) ([]Violation, error) {
	t, err := parseTable(directions, sets(g.packages()))
	if err != nil {
		return nil, err
	}
	var bad []Violation
	for _, pkg := range g.packages() {
		rank, ok := t.rank(pkg)
		if !ok {
			bad = append(bad, Violation{"direction", "./" + pkg, "stands in no line of the table"})
			continue
		}
		for _, imp := range g["./"+pkg] {
			other, ok := own(imp)
			if !ok {
				continue
			}
			if what := t.judge(rank, other); what != "" {
				bad = append(bad, Violation{"direction", "./" + pkg, what})
			}
		}
	}
	return sortViolations(bad), nil
}

// judge tells what is wrong with a package of this rank importing other, or "".
func (t *table) judge(rank, other string) string {
	to, ok := t.rank(other)
	switch {
	case !ok:
		return fmt.Sprintf("imports ./%s, which stands in no line of the table", other)
	case to == rank:
		return ""
	case t.never[rank][to]:
		return fmt.Sprintf("must never import ./%s", other)
	case !t.may[rank][to]:
		return fmt.Sprintf("may not import ./%s", other)
	}
	return ""
}

// Pure returns the pure packages among packages, which are paths below the
// module's root: the nodes above the table's line and what stands below them,
// device packages apart.
func Pure(packages []string) ([]string, error) {
	s := sets(packages)
	t, err := parseTable(directions, s)
	if err != nil {
		return nil, err
	}
	nodes := expand(pureNodes, s, "")
	var pure []string
	for _, pkg := range packages {
		if rank, ok := t.rank(pkg); ok && slices.Contains(nodes, rank) {
			pure = append(pure, pkg)
		}
	}
	return pure, nil
}

// CheckPure looks at what the pure packages import themselves and at what they
// reach in other modules.
func CheckPure(g Graph) ([]Violation, error) {
	pure, err := Pure(g.packages())
	if err != nil {
		return nil, err
	}
	var bad []Violation
	for _, pkg := range pure {
		bad = append(bad, checkDirect(g, pkg)...)
		bad = append(bad, checkReached(g, pkg)...)
	}
	return sortViolations(bad), nil
}

// checkDirect judges the imports that a pure package has itself.
func checkDirect(g Graph, pkg string) []Violation {
	var bad []Violation
	for _, imp := range g["./"+pkg] {
		_, isOwn := own(imp)
		switch {
		case isOwn:
		case underAny(imp, notForPure) && !slices.Contains(harmless, imp):
			bad = append(bad, Violation{"pure", "./" + pkg, "imports " + imp})
		case !standard(imp) && top(pkg) == "attest":
			bad = append(bad, Violation{"modules", "./" + pkg, "imports " + imp + ": attest has the standard library only"})
		case !standard(imp) && !underAny(imp, verifierModules):
			bad = append(bad, Violation{"modules", "./" + pkg, "imports " + imp + ", of no module that the design lists"})
		}
	}
	return bad
}

// checkReached judges the packages of other modules below a pure package.
func checkReached(g Graph, pkg string) []Violation {
	var bad []Violation
	for other, via := range g.reached("./" + pkg) {
		if _, isOwn := own(other); isOwn {
			continue
		}
		by := " by " + strings.Join(via, " -> ")
		if underAny(other, deviceModules) {
			bad = append(bad, Violation{"reach", "./" + pkg, "reaches " + other + by})
		}
		for _, imp := range g[other] {
			if slices.Contains(notBelowPure, imp) && !slices.Contains(known[other], imp) {
				bad = append(bad, Violation{"reach", "./" + pkg, "reaches " + imp + by})
			}
		}
	}
	return bad
}

// CheckTopLevel looks at the names of tracked files: nothing stands at the top
// level but what the design lists and dot-files. A further directory NAME needs
// a decision record, docs/decisions/*-NAME.md.
func CheckTopLevel(files []string) []Violation {
	var bad []Violation
	for _, file := range files {
		name := top(file)
		if strings.HasPrefix(name, ".") || slices.Contains(topLevel, name) {
			continue
		}
		record := func(f string) bool {
			ok, err := path.Match("docs/decisions/*-"+name+".md", f)
			return ok && err == nil
		}
		if strings.Contains(file, "/") && slices.ContainsFunc(files, record) {
			continue
		}
		bad = append(bad, Violation{"top level", name, "is not in the layout and has no decision record"})
	}
	return sortViolations(bad)
}
