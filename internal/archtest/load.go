package archtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/build/constraint"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// ErrTree is wrapped by every error about reading a source tree.
var ErrTree = errors.New("source tree")

// File is one parsed Go file.
type File struct {
	// Path is the file's path below the root of the tree, with slashes.
	Path string
	// Fset positions Syntax.
	Fset *token.FileSet
	// Syntax holds the comments too.
	Syntax *ast.File
	// Nested is set in a module of its own below the root.
	Nested bool
}

// Tree is a source tree: what git tracks and would track.
type Tree struct {
	// Names are the paths of all files below the root.
	Names []string
	// Files are the Go files but those in folders that the go command ignores.
	Files []*File
}

// Load reads the tree at root. It takes files under every build constraint, so
// that no tag hides an import.
func Load(root string) (*Tree, error) {
	out, err := command(root, nil, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	if err != nil {
		return nil, err
	}
	t := &Tree{}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		if _, err := os.Lstat(filepath.Join(root, name)); err == nil && !slices.Contains(t.Names, name) {
			t.Names = append(t.Names, name)
		}
	}
	var nested []string
	for _, name := range t.Names {
		if dir := path.Dir(name); path.Base(name) == "go.mod" && dir != "." {
			nested = append(nested, dir)
		}
	}
	for _, name := range t.Names {
		if path.Ext(name) != ".go" || ignored(name) {
			continue
		}
		f, err := parse(root, name)
		if err != nil {
			return nil, err
		}
		f.Nested = underAny(name, nested)
		t.Files = append(t.Files, f)
	}
	if len(t.Files) == 0 {
		return nil, fmt.Errorf("%w: no Go file at %s", ErrTree, root)
	}
	return t, nil
}

// ignored reports whether the go command leaves a file out: below testdata
// (the data package at the top level apart), "_x" or ".x".
func ignored(name string) bool {
	for i, part := range strings.Split(name, "/") {
		if strings.HasPrefix(part, "_") || strings.HasPrefix(part, ".") || part == "testdata" && i > 0 {
			return true
		}
	}
	return false
}

// parse reads one file.
func parse(root, name string) (*File, error) {
	src, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTree, err)
	}
	return parseSource(name, src)
}

// parseSource parses a file that is at hand.
func parseSource(name string, src []byte) (*File, error) {
	fset := token.NewFileSet()
	syntax, err := parser.ParseFile(fset, name, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTree, err)
	}
	return &File{Path: name, Fset: fset, Syntax: syntax}, nil
}

// test reports whether the file is a test.
func (f *File) test() bool { return strings.HasSuffix(f.Path, "_test.go") }

// dir returns the file's package, as a path below the root.
func (f *File) dir() string { return path.Dir(f.Path) }

// excluded reports whether the file is built by no build: it carries the
// constraint "ignore", as a program that "go run" gets by its name does.
func (f *File) excluded() bool {
	for _, group := range f.Syntax.Comments {
		for _, c := range group.List {
			if c.Pos() > f.Syntax.Package || !constraint.IsGoBuild(c.Text) {
				continue
			}
			x, err := constraint.Parse(c.Text)
			if tag, ok := x.(*constraint.TagExpr); err == nil && ok && tag.Tag == "ignore" {
				return true
			}
		}
	}
	return false
}

// Imports returns the graph of the module's own packages: what their files
// import, tests and excluded files apart. Packages of tests only are in it.
func (t *Tree) Imports() Graph {
	g := Graph{}
	for _, f := range t.Files {
		if f.Nested || f.excluded() {
			continue
		}
		pkg := "./" + f.dir()
		if _, ok := g[pkg]; !ok {
			g[pkg] = nil
		}
		if f.test() {
			continue
		}
		for _, spec := range f.Syntax.Imports {
			imp, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				continue // The parser has refused such a file.
			}
			imp = local(imp)
			if !slices.Contains(g[pkg], imp) {
				g[pkg] = append(g[pkg], imp)
			}
		}
	}
	return g
}

// local writes an import path of this module as a [Graph] does.
func local(imp string) string {
	if imp == Module {
		return "./."
	}
	if rest, ok := strings.CutPrefix(imp, Module+"/"); ok {
		return "./" + rest
	}
	return imp
}

// Config is a target to list packages for.
type Config struct {
	// GOOS, GOARCH and CGO are the values of GOOS, GOARCH and CGO_ENABLED.
	GOOS, GOARCH, CGO string
}

// AddModules adds to g what the packages of other modules import, as the go
// command finds it for a target, below the given packages of this module.
func (g Graph) AddModules(root string, c Config, packages []string) error {
	if len(packages) == 0 {
		return nil
	}
	args := []string{"list", "-deps", "-json=ImportPath,Standard,Imports,CgoFiles,Error"}
	for _, pkg := range packages {
		args = append(args, "./"+pkg)
	}
	env := []string{"GOOS=" + c.GOOS, "GOARCH=" + c.GOARCH, "CGO_ENABLED=" + c.CGO}
	out, err := command(root, env, "go", args...)
	if err != nil {
		return err
	}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			ImportPath string
			Standard   bool
			Imports    []string
			CgoFiles   []string
			Error      *struct{ Err string }
		}
		switch err := dec.Decode(&p); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("%w: reading go list: %w", ErrTree, err)
		case p.Error != nil:
			return fmt.Errorf("%w: %s: %s", ErrTree, p.ImportPath, p.Error.Err)
		}
		if _, isOwn := own(local(p.ImportPath)); isOwn || p.Standard {
			continue
		}
		if len(p.CgoFiles) > 0 {
			p.Imports = append(p.Imports, "C")
		}
		g[p.ImportPath] = p.Imports
	}
}

// command runs a program in dir and returns what it printed.
func command(dir string, env []string, name string, args ...string) ([]byte, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w: %s", ErrTree, name, err, bytes.TrimSpace(stderr.Bytes()))
	}
	return out, nil
}

// Packages returns the module's own packages that have a file beside tests, as
// paths below the root, sorted.
func (t *Tree) Packages() []string {
	var list []string
	for _, f := range t.Files {
		if !f.Nested && !f.test() && !f.excluded() && !slices.Contains(list, f.dir()) {
			list = append(list, f.dir())
		}
	}
	slices.Sort(list)
	return list
}
