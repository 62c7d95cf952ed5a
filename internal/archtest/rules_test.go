package archtest

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// good is a small tree that keeps every rule.
func good() Graph {
	return Graph{
		"./attest":               {"time", "crypto/x509"},
		"./internal/limits":      nil,
		"./internal/dcap":        {"./attest", "./internal/limits"},
		"./cer":                  {"./attest", "./internal/limits", "github.com/go-json-experiment/json/jsontext"},
		"./tpm":                  {"./attest", "embed", "net/url", "github.com/google/go-tpm/tpm2"},
		"./tpm/roots":            {"embed"},
		"./tpm/tpmdev":           {"./attest", "./tpm", "os", "golang.org/x/sys/unix"},
		"./tdx":                  {"./attest", "./internal/dcap"},
		"./verifier":             {"./cer", "./attest", "./tpm", "./tdx", "./internal/limits"},
		"./verifier/ear":         {"./verifier"},
		"./simulator":            {"./tpm", "./tpm/tpmdev", "os/exec"},
		"./internal/launch":      {"./attest", "./cer", "syscall"},
		"./internal/launch/jail": {"os"},
		"./cmd/sworn":            {"./verifier", "./internal/launch", "./tpm/tpmdev", "./simulator"},
		"./cmd/sworn-wasm":       {"./verifier", "syscall/js"},
		"./testdata":             {"embed"},
		"./bench":                {"./verifier", "./testdata"},
		"./internal/archtest":    {"os/exec"},
		"github.com/go-json-experiment/json/jsontext": {"errors", "io"},
		"github.com/google/go-tpm/tpm2":               {"github.com/google/go-tpm/tpmutil"},
		"github.com/google/go-tpm/tpmutil":            {"net", "os"},
		"golang.org/x/sys/unix":                       {"syscall", "C"},
	}
}

// TestGraphs breaks each rule about imports, one at a time.
func TestGraphs(t *testing.T) {
	tests := []struct {
		name string
		pkg  string   // gets more imports
		adds []string // those
		want string   // how one violation begins; none is expected if empty
	}{
		{"nothing broken", "./attest", nil, ""},
		{"upwards", "./attest", []string{"./cer"}, "direction: ./attest may not import ./cer"},
		{"cer to verifier", "./cer", []string{"./verifier"}, "direction: ./cer may not import ./verifier"},
		{"TEE to TEE", "./tdx", []string{"./tpm"}, "direction: ./tdx must never import ./tpm"},
		{"TEE to part of TEE", "./tdx", []string{"./tpm/roots"}, "direction: ./tdx must never import ./tpm/roots"},
		{"part of TEE to TEE", "./sev/abi", []string{"./tpm"}, "direction: ./sev/abi must never import ./tpm"},
		{"TEE to its own device", "./tpm", []string{"./tpm/tpmdev"}, "direction: ./tpm may not import ./tpm/tpmdev"},
		{"TEE to the record", "./tpm", []string{"./cer"}, "direction: ./tpm may not import ./cer"},
		{"device to another TEE", "./tpm/tpmdev", []string{"./tdx"}, "direction: ./tpm/tpmdev may not import ./tdx"},
		{"device to another device", "./tdx/tdxdev", []string{"./tpm/tpmdev"}, "direction: ./tdx/tdxdev may not import ./tpm/tpmdev"},
		{"verifier to device", "./verifier", []string{"./tpm/tpmdev"}, "direction: ./verifier may not import ./tpm/tpmdev"},
		{"part of verifier to simulator", "./verifier/ear", []string{"./simulator"}, "direction: ./verifier/ear may not import ./simulator"},
		{"launcher to TEE", "./internal/launch/jail", []string{"./tpm"}, "direction: ./internal/launch/jail may not import ./tpm"},
		{"page to launcher", "./cmd/sworn-wasm", []string{"./internal/launch"}, "direction: ./cmd/sworn-wasm may not import ./internal/launch"},
		{"simulator to another device", "./simulator", []string{"./sev/sevdev"}, "direction: ./simulator may not import ./sev/sevdev"},
		{"anybody to a command", "./bench", []string{"./cmd/sworn"}, "direction: ./bench may not import ./cmd/sworn"},
		{"pure to test data", "./verifier", []string{"./testdata"}, "direction: ./verifier may not import ./testdata"},
		{"unlisted internal package", "./internal/utils", nil, "direction: ./internal/utils stands in no line of the table"},
		{"root package", "./.", nil, "direction: ./. stands in no line of the table"},
		{"new TEE", "./nitro", []string{"./attest", "./internal/limits"}, ""},
		{"new TEE to TEE", "./nitro", []string{"./sev"}, "direction: ./nitro must never import ./sev"},
		{"TEE to new TEE", "./tdx", []string{"./nitro"}, "direction: ./tdx imports ./nitro, which stands in no line of the table"},
		{"new TEE opens files", "./nitro", []string{"os"}, "pure: ./nitro imports os"},
		{"new device", "./nitro/nitrodev", []string{"./nitro", "os"}, ""},
		{"new device to another TEE", "./nitro/nitrodev", []string{"./tpm"}, "direction: ./nitro/nitrodev may not import ./tpm"},
		{"files", "./cer", []string{"os"}, "pure: ./cer imports os"},
		{"processes", "./verifier", []string{"os/exec"}, "pure: ./verifier imports os/exec"},
		{"network", "./tpm", []string{"net/http"}, "pure: ./tpm imports net/http"},
		{"cgo", "./internal/limits", []string{"C"}, "pure: ./internal/limits imports C"},
		{"testing", "./tpm/roots", []string{"testing/iotest"}, "pure: ./tpm/roots imports testing/iotest"},
		{"system calls", "./internal/dcap", []string{"golang.org/x/sys/unix"}, "pure: ./internal/dcap imports golang.org/x/sys/unix"},
		{"module for attest", "./attest", []string{"golang.org/x/mod/sumdb/note"}, "modules: ./attest imports golang.org/x/mod/sumdb/note: attest has the standard library only"},
		{"module not listed", "./cer", []string{"github.com/spf13/cobra"}, "modules: ./cer imports github.com/spf13/cobra, of no module that the design lists"},
		{"module with a listed prefix", "./cer", []string{"golang.org/x/modern"}, "modules: ./cer imports golang.org/x/modern, of no module that the design lists"},
		{"logger below a module", "github.com/go-json-experiment/json/jsontext", []string{"github.com/google/logger"}, "reach: ./cer reaches github.com/google/logger by ./cer -> github.com/go-json-experiment/json/jsontext -> github.com/google/logger"},
		{"network below a module", "github.com/go-json-experiment/json/jsontext", []string{"net/http"}, "reach: ./cer reaches net/http by ./cer -> github.com/go-json-experiment/json/jsontext"},
		{"cgo below a module", "github.com/google/go-tpm/tpmutil", []string{"C"}, "reach: ./tpm reaches C by ./tpm -> github.com/google/go-tpm/tpm2 -> github.com/google/go-tpm/tpmutil"},
		{"device below a module", "./tpm", []string{"github.com/google/go-tpm/tpm2/transport/linuxtpm"}, "reach: ./tpm reaches github.com/google/go-tpm/tpm2/transport/linuxtpm by ./tpm -> github.com/google/go-tpm/tpm2/transport/linuxtpm"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			g := good()
			g[test.pkg] = append(g[test.pkg], test.adds...)
			check(t, g, test.want)
		})
	}
}

// check wants no violation, or one that begins with want: a broken edge may have
// consequences in the packages above it.
func check(t *testing.T, g Graph, want string) {
	t.Helper()
	direction, err := CheckDirection(g)
	if err != nil {
		t.Fatal(err)
	}
	pure, err := CheckPure(g)
	if err != nil {
		t.Fatal(err)
	}
	bad := append(direction, pure...)
	if want == "" {
		if len(bad) > 0 {
			t.Errorf("violations of a good graph: %v", bad)
		}
		return
	}
	if !slices.ContainsFunc(bad, func(v Violation) bool { return strings.HasPrefix(v.String(), want) }) {
		t.Errorf("got %v, want %s", bad, want)
	}
}

func TestPureList(t *testing.T) {
	got, err := Pure(append(good().packages(), "nitro", "nitro/nitrodev"))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"attest", "cer", "internal/dcap", "internal/limits", "tdx", "tpm", "tpm/roots",
		"verifier", "verifier/ear", "nitro",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestTopLevelNames(t *testing.T) {
	tests := []struct {
		name  string
		files []string
		want  []Violation
	}{
		{"the layout", []string{"go.mod", ".ci/run", "cmd/sworn/main.go", "tools/go.mod", "docs/SPEC.md"}, nil},
		{"a folder", []string{"pkg/x.go"}, []Violation{{"top level", "pkg", "is not in the layout and has no decision record"}}},
		{"a file", []string{"notes.txt"}, []Violation{{"top level", "notes.txt", "is not in the layout and has no decision record"}}},
		{"a folder with its record", []string{"nitro/nitro.go", "docs/decisions/012-nitro.md"}, nil},
		{"a file with a record", []string{"nitro", "docs/decisions/012-nitro.md"}, []Violation{{"top level", "nitro", "is not in the layout and has no decision record"}}},
		{"the record of another", []string{"pkg/x.go", "docs/decisions/012-nitro.md"}, []Violation{{"top level", "pkg", "is not in the layout and has no decision record"}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, CheckTopLevel(test.files)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseTable(t *testing.T) {
	for _, text := range []string{"a", "a <", "< a", "a < b; b < a", "a < b < a", "a, b < c !<"} {
		if _, err := parseTable(text, nil); !errors.Is(err, ErrTable) {
			t.Errorf("parseTable(%q): %v, want an error about the table", text, err)
		}
	}
	got, err := parseTable("NONE < a, b < c; # d < a\n c < S; S !< S;", map[string][]string{"NONE": nil, "S": {"s1", "s2"}})
	if err != nil {
		t.Fatal(err)
	}
	yes := func(names ...string) map[string]bool {
		m := map[string]bool{}
		for _, name := range names {
			m[name] = true
		}
		return m
	}
	may := map[string]map[string]bool{
		"a": yes(), "b": yes(), "c": yes("a", "b"), "s1": yes("a", "b", "c"), "s2": yes("a", "b", "c"),
	}
	if diff := cmp.Diff(may, got.may); diff != "" {
		t.Error(diff)
	}
	never := map[string]map[string]bool{"a": yes(), "b": yes(), "c": yes(), "s1": yes("s2"), "s2": yes("s1")}
	if diff := cmp.Diff(never, got.never); diff != "" {
		t.Error(diff)
	}
}
