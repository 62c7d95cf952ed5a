package main

import (
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"math"
	"os"
	"strings"
	"testing"
)

func TestExpAgreesWithMath(t *testing.T) {
	for x := -745.0; x <= 709; x += 0.0371 {
		got, want := exp(x), math.Exp(x)
		if diff := math.Abs(got - want); diff > 4e-16*want && diff > 5e-324 {
			t.Fatalf("exp(%v) = %v, want %v", x, got, want)
		}
	}
	special := map[float64]float64{0: 1, math.Inf(1): math.Inf(1), math.Inf(-1): 0, 710: math.Inf(1), -746: 0}
	for x, want := range special {
		if got := exp(x); got != want {
			t.Errorf("exp(%v) = %v, want %v", x, got, want)
		}
	}
	if got := exp(math.NaN()); !math.IsNaN(got) {
		t.Errorf("exp(NaN) = %v", got)
	}
}

func TestSinCosAgreesWithMath(t *testing.T) {
	angles := []float64{0, 1, math.Pi / 4, math.Pi / 2, math.Pi, 1 << 20}
	for x := 0.0; x < 1<<20; x = x*1.01 + 0.013 {
		angles = append(angles, x)
	}
	for _, x := range angles {
		sin, cos := sinCos(x)
		wantSin, wantCos := math.Sincos(x)
		if math.Abs(sin-wantSin) > 3e-16 || math.Abs(cos-wantCos) > 3e-16 {
			t.Errorf("sinCos(%v) = %v, %v; want %v, %v", x, sin, cos, wantSin, wantCos)
		}
	}
}

// TestRotationsAreThoseOfTheFormat compares with the definition: an exported
// model carries the same table, rounded to 32 bits.
func TestRotationsAreThoseOfTheFormat(t *testing.T) {
	for _, size := range []int{2, 8, 64, 128} {
		for i := range size / 2 {
			for _, position := range []int{0, 1, 5, 199, 511} {
				angle := float64(position) / math.Pow(10000, float64(2*i)/float64(size))
				sin, cos := rotation(position, i, size)
				tolerance := 1e-6 * (1 + angle/8) // The angle is rounded to 24 bits.
				if math.Abs(float64(sin)-math.Sin(angle)) > tolerance || math.Abs(float64(cos)-math.Cos(angle)) > tolerance {
					t.Errorf("rotation(%d, %d, %d) = %v, %v", position, i, size, sin, cos)
				}
			}
		}
	}
}

// mathOnly imports package math and nothing else.
type mathOnly struct{ types.Importer }

// Import implements types.Importer.
func (m mathOnly) Import(path string) (*types.Package, error) {
	if path != "math" {
		return nil, fmt.Errorf("%s is not needed to find products of floats", path)
	}
	return m.Importer.Import(path)
}

// TestNoProductCanBeFused finds every product of floating-point numbers in the
// program and checks that it stands directly in a conversion, which forbids the
// compiler to fuse it with an addition.
func TestNoProductCanBeFused(t *testing.T) {
	fset := token.NewFileSet()
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	var files []*ast.File
	for _, entry := range entries {
		name := entry.Name()
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	info := &types.Info{Types: map[ast.Expr]types.TypeAndValue{}}
	conf := types.Config{
		Importer: mathOnly{importer.ForCompiler(fset, "source", nil)},
		Error:    func(error) {}, // The other imports are missing.
	}
	_, _ = conf.Check("main", fset, files, info) // The errors reported are about them.

	converted, found := map[ast.Expr]bool{}, 0
	for _, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				if len(n.Args) == 1 && info.Types[n.Fun].IsType() {
					converted[n.Args[0]] = true
				}
			case *ast.BinaryExpr:
				if n.Op != token.MUL || !isFloat(info.Types[n]) {
					break
				}
				found++
				if !converted[n] {
					t.Errorf("%v: a product outside a conversion", fset.Position(n.Pos()))
				}
			case *ast.AssignStmt:
				if n.Tok == token.MUL_ASSIGN && isFloat(info.Types[n.Lhs[0]]) {
					t.Errorf("%v: a product outside a conversion", fset.Position(n.Pos()))
				}
			}
			return true
		})
	}
	if found < 20 {
		t.Errorf("found %d products, the program has more: types were not resolved", found)
	}
}

// isFloat reports whether an expression is a floating-point number that is
// computed when the program runs.
func isFloat(tv types.TypeAndValue) bool {
	if tv.Type == nil || tv.Value != nil {
		return false
	}
	basic, ok := tv.Type.Underlying().(*types.Basic)
	return ok && basic.Info()&types.IsFloat != 0
}
