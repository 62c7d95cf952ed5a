package archtest

import (
	"path/filepath"
	"slices"
	"testing"
)

// root is the module's root, seen from this package.
const root = "../.."

// load reads this module's tree. It stops the test if the tree is not what the
// checks expect, so that none of them passes on nothing.
func load(t *testing.T) *Tree {
	t.Helper()
	tree, err := Load(root)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(tree.Names, "go.mod") || !slices.Contains(tree.Packages(), "internal/archtest") {
		t.Fatalf("the tree at %s is not this module", root)
	}
	pure, err := Pure(tree.Packages())
	if err != nil {
		t.Fatal(err)
	}
	for _, node := range append(slices.Clone(pureNodes), formats...) {
		if has(t, node) && !slices.Contains(pure, node) {
			t.Errorf("the folder %s is there, and no pure package in it", node)
		}
	}
	return tree
}

// has reports whether the folder holds Go files that are not tests.
func has(t *testing.T, dir string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	tests, err := filepath.Glob(filepath.Join(root, dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	return len(files) > len(tests)
}

// report fails the test once for each violation.
func report(t *testing.T, bad []Violation, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range bad {
		t.Error(v)
	}
}

func TestDirection(t *testing.T) {
	bad, err := CheckDirection(load(t).Imports())
	report(t, bad, err)
}

// TestPure walks the packages below the pure ones for each target that they
// must serve, and once with cgo, to see cgo where it would be used.
func TestPure(t *testing.T) {
	tree := load(t)
	pure, err := Pure(tree.Packages())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []Config{{"linux", "amd64", "0"}, {"linux", "amd64", "1"}, {"js", "wasm", "0"}} {
		t.Run(c.GOOS+"-"+c.GOARCH+"-cgo"+c.CGO, func(t *testing.T) {
			g := tree.Imports()
			if err := g.AddModules(root, c, pure); err != nil {
				t.Fatal(err)
			}
			bad, err := CheckPure(g)
			report(t, bad, err)
		})
	}
	t.Logf("%d pure packages", len(pure))
}

func TestTopLevel(t *testing.T) {
	report(t, CheckTopLevel(load(t).Names), nil)
}

func TestSource(t *testing.T) {
	bad, err := CheckSource(load(t).Files)
	report(t, bad, err)
}

// TestPolicyIsConsistent keeps the lists of the policy free of exceptions that
// except nothing.
func TestPolicyIsConsistent(t *testing.T) {
	for name := range known {
		if !underAny(name, verifierModules) {
			t.Errorf("%s has an exception but is below no module that the verifier may use", name)
		}
	}
	for _, imp := range harmless {
		if !underAny(imp, notForPure) {
			t.Errorf("%s is excepted from a rule that does not hold it", imp)
		}
	}
	if len(verifierModules) > 6 {
		t.Errorf("the verifier has %d direct modules, the design wants 6 at most", len(verifierModules))
	}
	for _, format := range append(slices.Clone(formats), "attest", "cer", "verifier") {
		if !slices.Contains(topLevel, format) {
			t.Errorf("%s is not a top-level name", format)
		}
	}
}
