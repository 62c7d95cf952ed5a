package archtest

import (
	"go/ast"
	"slices"
	"strings"
)

// concurrentWord is what the names of tests have in them that run things at the same
// time. The race detector looks at all tests of other packages, but only at these of the
// pure ones: it makes everything ten times as slow, and sees nothing where one goroutine
// runs.
const concurrentWord = "Concurrent"

// Concurrent returns those of the pure packages, which are paths below the root, that
// start goroutines in any of their files, tests too.
func Concurrent(files []*File, pure []string) []string {
	var out []string
	for _, pkg := range pure {
		if slices.ContainsFunc(files, func(f *File) bool { return !f.Nested && f.dir() == pkg && f.startsGoroutine() }) {
			out = append(out, pkg)
		}
	}
	return out
}

// checkConcurrent wants a test for the race detector in each of those.
func checkConcurrent(files []*File, pure []string) []Violation {
	var bad []Violation
	for _, pkg := range Concurrent(files, pure) {
		if !slices.ContainsFunc(files, func(f *File) bool { return f.dir() == pkg && f.testsConcurrently() }) {
			bad = append(bad, Violation{"race", "./" + pkg, "starts goroutines, and has no test with " + concurrentWord + " in its name"})
		}
	}
	return bad
}

// startsGoroutine reports whether a file has a go statement, or calls a method that
// stands for one: Go, as of sync.WaitGroup, and a test's Parallel.
func (f *File) startsGoroutine() bool {
	found := false
	ast.Inspect(f.Syntax, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			found = true
		case *ast.CallExpr:
			if s, ok := n.Fun.(*ast.SelectorExpr); ok && (s.Sel.Name == "Go" || s.Sel.Name == "Parallel" && len(n.Args) == 0) {
				found = true
			}
		}
		return !found
	})
	return found
}

// testsConcurrently reports whether a file has a test that is for the race detector.
func (f *File) testsConcurrently() bool {
	return f.test() && slices.ContainsFunc(f.Syntax.Decls, func(d ast.Decl) bool {
		fn, ok := d.(*ast.FuncDecl)
		return ok && fn.Recv == nil && strings.HasPrefix(fn.Name.Name, "Test") && strings.Contains(fn.Name.Name, concurrentWord)
	})
}
