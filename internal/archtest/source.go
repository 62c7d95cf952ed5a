package archtest

import (
	"fmt"
	"go/ast"
	"go/token"
	"path"
	"slices"
	"strconv"
	"strings"
)

// CheckSource looks at what stands in the files: no init function, no logger or
// map held by a package, no long function or file, one package comment each;
// and no clock in the pure packages. Tests are left alone, but that those of pure
// packages which start goroutines have one to show to the race detector.
func CheckSource(files []*File) ([]Violation, error) {
	var packages []string
	for _, f := range files {
		if !f.Nested && !slices.Contains(packages, f.dir()) {
			packages = append(packages, f.dir())
		}
	}
	pure, err := Pure(packages)
	if err != nil {
		return nil, err
	}
	bad := append(checkComments(files), checkConcurrent(files, pure)...)
	for _, f := range files {
		if f.test() {
			continue
		}
		bad = append(bad, f.checkFuncs()...)
		bad = append(bad, f.checkLength()...)
		bad = append(bad, f.checkVars()...)
		if !f.Nested && !f.excluded() && slices.Contains(pure, f.dir()) {
			bad = append(bad, f.checkClock()...)
		}
	}
	return sortViolations(bad), nil
}

// at makes a violation at a node.
func (f *File) at(rule string, pos token.Pos, what string) Violation {
	return Violation{rule, fmt.Sprintf("%s:%d", f.Path, f.Fset.Position(pos).Line), what}
}

// lines returns how many lines a node takes.
func (f *File) lines(n ast.Node) int {
	return f.Fset.Position(n.End()).Line - f.Fset.Position(n.Pos()).Line + 1
}

// checkFuncs refuses init functions and long functions.
func (f *File) checkFuncs() []Violation {
	var bad []Violation
	for _, decl := range f.Syntax.Decls {
		fn, ok := decl.(*ast.FuncDecl)
		if !ok {
			continue
		}
		if fn.Recv == nil && fn.Name.Name == "init" {
			bad = append(bad, f.at("init", fn.Pos(), "has an init function"))
		}
		if n := f.lines(&ast.FuncDecl{Recv: fn.Recv, Name: fn.Name, Type: fn.Type, Body: fn.Body}); n > maxFuncLines {
			bad = append(bad, f.at("size", fn.Pos(), fmt.Sprintf("%s has %d lines, limit %d", fn.Name.Name, n, maxFuncLines)))
		}
	}
	return bad
}

// checkLength refuses a long file, generated files and declared tables apart.
func (f *File) checkLength() []Violation {
	n := f.Fset.File(f.Syntax.FileStart).LineCount()
	if n <= maxFileLines || ast.IsGenerated(f.Syntax) {
		return nil
	}
	for _, group := range f.Syntax.Comments {
		for _, c := range group.List {
			if reason, ok := strings.CutPrefix(c.Text, tableDirective); ok && strings.TrimSpace(reason) != "" {
				return nil
			}
		}
	}
	return []Violation{{"size", f.Path, fmt.Sprintf("has %d lines, limit %d", n, maxFileLines)}}
}

// checkVars refuses loggers held by a package.
func (f *File) checkVars() []Violation {
	loggers := append(f.importedAs("log"), f.importedAs("log/slog")...)
	var bad []Violation
	for _, decl := range f.Syntax.Decls {
		vars, ok := decl.(*ast.GenDecl)
		if !ok || vars.Tok != token.VAR {
			continue
		}
		for _, spec := range vars.Specs {
			ast.Inspect(spec, func(n ast.Node) bool {
				if _, isFunc := n.(*ast.FuncLit); isFunc {
					return false
				}
				if x, _ := selector(n); slices.Contains(loggers, x) {
					bad = append(bad, f.at("logger", n.Pos(), "has a logger as a package's variable"))
				}
				return true
			})
		}
	}
	return bad
}

// checkClock refuses what reads the clock or waits for it: named, not only
// called, so that no variable carries it away.
func (f *File) checkClock() []Violation {
	names := f.importedAs("time")
	var bad []Violation
	if slices.Contains(names, ".") {
		bad = append(bad, Violation{"clock", f.Path, "imports time with a dot"})
	}
	ast.Inspect(f.Syntax, func(n ast.Node) bool {
		if x, sel := selector(n); slices.Contains(names, x) && slices.Contains(clock, sel) {
			bad = append(bad, f.at("clock", n.Pos(), "uses time."+sel))
		}
		return true
	})
	for _, group := range f.Syntax.Comments {
		for _, c := range group.List {
			if strings.HasPrefix(c.Text, "//go:linkname ") {
				bad = append(bad, f.at("clock", c.Pos(), "reaches past its imports by go:linkname"))
			}
		}
	}
	return bad
}

// selector returns x and sel of the expression x.sel, if n is one.
func selector(n ast.Node) (x, sel string) {
	s, ok := n.(*ast.SelectorExpr)
	if !ok {
		return "", ""
	}
	id, ok := s.X.(*ast.Ident)
	if !ok {
		return "", ""
	}
	return id.Name, s.Sel.Name
}

// importedAs returns the names under which the file imports a package.
func (f *File) importedAs(pkg string) []string {
	var names []string
	for _, spec := range f.Syntax.Imports {
		imp, err := strconv.Unquote(spec.Path.Value)
		switch {
		case err != nil || imp != pkg:
		case spec.Name != nil:
			names = append(names, spec.Name.Name)
		default:
			names = append(names, path.Base(pkg))
		}
	}
	return names
}

// checkComments wants exactly one package comment in each package.
func checkComments(files []*File) []Violation {
	comments := map[string]int{}
	for _, f := range files {
		if f.test() || f.excluded() {
			continue
		}
		n := 0
		if f.Syntax.Doc != nil && strings.TrimSpace(f.Syntax.Doc.Text()) != "" {
			n = 1
		}
		comments[f.dir()] += n
	}
	var bad []Violation
	for dir, n := range comments {
		if n != 1 {
			bad = append(bad, Violation{"comment", "./" + dir, fmt.Sprintf("has %d package comments, wants 1", n)})
		}
	}
	return bad
}
