package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sworn-run/sworn/testdata"
)

// nexartVector is what `sworn nexart verify` says of one file of
// testdata/vectors/nexart. The table in docs/NEXART.md is made of these.
type nexartVector struct {
	// name is the path below testdata/vectors/nexart, without .bundle.json or
	// .json.
	name, status string
	// codes and notes (their kinds, but for "failed") are joined by spaces.
	codes, notes string
	// differs says why, where NexArt's rules come to another end.
	differs string
}

var nexartVectors = []nexartVector{
	{"positive/p01-basic-ascii", "VERIFIED", "", "", ""},
	{"positive/p02-unicode-bmp", "VERIFIED", "", "", ""},
	{"positive/p03-emoji-surrogate-pairs", "VERIFIED", "", "", ""},
	{"positive/p04-lone-surrogates", "FAILED", "CANONICALIZATION_ERROR", "", `RFC 8785 has no form for a surrogate without its partner; two readers hash it differently`},
	{"positive/p05-nested-objects", "VERIFIED", "", "", ""},
	{"positive/p06-floats", "VERIFIED", "", "", ""},
	{"positive/p07-empty-values", "VERIFIED", "", "", ""},
	{"positive/p08-large-ints", "FAILED", "CANONICALIZATION_ERROR", "", `the text says 9007199254740993 where the hash says 9007199254740992: an edit that no hash shows`},
	{"positive/p09-arrays", "VERIFIED", "", "", ""},
	{"positive/p10-null-params", "VERIFIED", "", "", ""},
	{"positive/p11-object-io", "VERIFIED", "", "", ""},
	{"positive/p12-key-order-utf16", "VERIFIED", "", "", ""},
	{"positive/p13-control-and-html-chars", "VERIFIED", "", "", ""},
	{"positive/p14-string-looks-like-json", "VERIFIED", "", "", ""},
	{"positive/p15-object-same-inputhash", "VERIFIED", "", "", ""},
	{"positive/p16-extra-snapshot-fields", "VERIFIED", "", "", ""},
	{"positive/p17-unhashed-top-level", "FAILED", "RECEIPT_HASH_MISMATCH CONTEXT_NOT_PROTECTED", "uncovered", `its meta.attestation holds a receipt that names no record; 0.1.0 looks at no receipt`},
	{"positive/p18-scalar-io", "VERIFIED", "", "", ""},
	{"positive/p19-proto-key", "VERIFIED", "", "", ""},
	{"positive/p20-duplicate-keys", "FAILED", "CANONICALIZATION_ERROR", "", `which of the two members is meant depends on the reader`},
	{"positive/p21-number-spelling", "FAILED", "CANONICALIZATION_ERROR", "", `it holds -0.0, whose sign no hash covers; its other spellings are accepted`},
	{"positive/p22-64k-prompt", "VERIFIED", "", "", ""},
	{"positive/p23-depth-500", "VERIFIED", "", "", ""},
	{"positive/p24-reordered-and-pretty", "VERIFIED", "", "", ""},
	{"positive/p25-createdat-free-text", "VERIFIED", "", "", ""},
	{"positive/p26-forged-but-resealed", "VERIFIED", "", "", ""},
	{"negative/n01-output-changed", "FAILED", "OUTPUT_HASH_MISMATCH", "", ""},
	{"negative/n02-input-changed", "FAILED", "INPUT_HASH_MISMATCH", "", ""},
	{"negative/n03-prompt-changed", "FAILED", "CERTIFICATE_HASH_MISMATCH", "", ""},
	{"negative/n04-parameter-changed", "FAILED", "CERTIFICATE_HASH_MISMATCH", "", ""},
	{"negative/n05-cert-hash-replaced", "FAILED", "CERTIFICATE_HASH_MISMATCH", "", ""},
	{"negative/n06-cert-hash-uppercase", "FAILED", "CERTIFICATE_HASH_MISMATCH", "", ""},
	{"negative/n07-cert-hash-no-prefix", "FAILED", "INVALID_SHA256_FORMAT", "", ""},
	{"negative/n08-createdat-changed", "FAILED", "CERTIFICATE_HASH_MISMATCH", "", ""},
	{"negative/n09-createdat-empty", "FAILED", "SCHEMA_ERROR", "", ""},
	{"negative/n10-version-1.0", "FAILED", "SCHEMA_ERROR", "", ""},
	{"negative/n11-bundletype-wrong", "FAILED", "SCHEMA_ERROR UNSUPPORTED_BUNDLE_TYPE", "", ""},
	{"negative/n12-no-snapshot", "FAILED", "SCHEMA_ERROR", "", ""},
	{"negative/n13-protocolversion-1.3.0-after-seal", "FAILED", "CERTIFICATE_HASH_MISMATCH", "", `1.3.0 is supported, so that the hash gives the change away`},
	{"negative/n14-empty-prompt", "FAILED", "SCHEMA_ERROR", "", ""},
	{"negative/n15-input-null", "FAILED", "SCHEMA_ERROR", "", ""},
	{"negative/n16-output-null", "FAILED", "SCHEMA_ERROR", "", ""},
	{"negative/n17-inputhash-bad-prefix", "FAILED", "INVALID_SHA256_FORMAT", "", ""},
	{"negative/n18-input-and-output-changed", "FAILED", "SNAPSHOT_HASH_MISMATCH", "", ""},
	{"negative/n19-temperature-null", "FAILED", "SCHEMA_ERROR", "", ""},
	{"negative/n20-topp-string", "FAILED", "SCHEMA_ERROR", "", ""},
	{"negative/n21-field-added-to-snapshot", "FAILED", "CERTIFICATE_HASH_MISMATCH", "", ""},
	{"negative/n22-field-removed-from-snapshot", "FAILED", "CERTIFICATE_HASH_MISMATCH", "", ""},
	{"negative/n23-parameters-missing", "FAILED", "CANONICALIZATION_ERROR", "", ""},
	{"negative/n24-cert-hash-number", "FAILED", "SCHEMA_ERROR", "", `NexArt's verifier throws`},
	{"negative/n25-input-missing", "FAILED", "CANONICALIZATION_ERROR", "", ""},
	{"negative/n26-number-overflow", "FAILED", "CANONICALIZATION_ERROR", "", ""},
	{"negative/n27-nfc-to-nfd", "FAILED", "INPUT_HASH_MISMATCH", "", ""},
	{"negative/n28-array-reordered", "FAILED", "INPUT_HASH_MISMATCH", "", ""},
	{"negative/n29-executionsurface-wrong", "FAILED", "SCHEMA_ERROR", "", ""},
	{"negative/n30-type-wrong", "FAILED", "SCHEMA_ERROR", "", ""},
	{"negative/n31-provider-empty", "FAILED", "SCHEMA_ERROR", "", ""},
	{"negative/n32-snapshot-is-string", "FAILED", "CANONICALIZATION_ERROR", "", ""},
	{"negative/n33-bundle-null", "FAILED", "SCHEMA_ERROR", "", `NexArt's verifier throws`},
	{"negative/n34-large-int-off-by-one-visible", "FAILED", "CANONICALIZATION_ERROR", "", `as p08: changed by one, and accepted by 0.1.0`},
	{"negative/n35-bom", "FAILED", "CANONICALIZATION_ERROR", "", `refused where it is parsed, as theirs is`},
	{"negative/n36-trailing-garbage", "FAILED", "CANONICALIZATION_ERROR", "", `refused where it is parsed, as theirs is`},
	{"later/l01-context-signals-1.2.0", "VERIFIED", "", "", ""},
	{"later/l02-context-signals-tampered", "FAILED", "CERTIFICATE_HASH_MISMATCH", "", ""},
	{"later/l03-context-extra-member", "VERIFIED (supplemental)", "CONTEXT_NOT_PROTECTED", "uncovered", ""},
	{"later/l04-context-empty-signals", "VERIFIED", "", "uncovered", ""},
	{"later/l05-jcs-1.3.0", "VERIFIED", "", "", `1.3.0 is supported`},
	{"later/l06-hash-only-redacted", "VERIFIED", "NODE_RECEIPT_MISSING", "withheld uncovered redacted stamp", `records without prompt, input and output are supported; what is withheld is listed`},
	{"later/pb-algorithm-wrong", "FAILED", "SCHEMA_ERROR", "uncovered", ""},
	{"later/pb-embedded-extra-bundle", "VERIFIED", "", "uncovered", ""},
	{"later/pb-embedded-meta-added", "VERIFIED", "", "uncovered", ""},
	{"later/pb-embedded-missing", "FAILED", "STEP_REGISTRY_MISMATCH", "uncovered", ""},
	{"later/pb-embedded-output-tampered", "FAILED", "OUTPUT_HASH_MISMATCH", "uncovered", ""},
	{"later/pb-executionid-mismatch", "FAILED", "PROJECT_HASH_MISMATCH STEP_REGISTRY_MISMATCH", "uncovered", ""},
	{"later/pb-final-output-summary-changed", "VERIFIED", "", "uncovered", ""},
	{"later/pb-prevstephash-broken-resealed", "VERIFIED", "", "chain uncovered", ""},
	{"later/pb-projecthash-uppercase", "FAILED", "PROJECT_HASH_MISMATCH", "uncovered", ""},
	{"later/pb-protocolversion-1.3.0", "FAILED", "SCHEMA_ERROR", "uncovered", ""},
	{"later/pb-sequence-swapped", "FAILED", "PROJECT_HASH_MISMATCH", "chain uncovered", ""},
	{"later/pb-step-removed-totalsteps-kept", "FAILED", "PROJECT_HASH_MISMATCH STEP_REGISTRY_MISMATCH", "uncovered", ""},
	{"later/pb-step-removed", "FAILED", "PROJECT_HASH_MISMATCH", "uncovered", ""},
	{"later/pb-steps-reordered-in-array", "FAILED", "PROJECT_HASH_MISMATCH", "uncovered", ""},
	{"later/pb-tags-emptied", "FAILED", "PROJECT_HASH_MISMATCH", "uncovered", ""},
	{"later/pb-title-changed", "FAILED", "PROJECT_HASH_MISMATCH", "uncovered", ""},
	{"later/pb-unknown-top-level-member", "VERIFIED", "", "uncovered", ""},
}

// nexartTheirs is what NexArt's verifiers say, as the vectors record it; nil where
// they do not get that far.
type nexartTheirs struct {
	SDK010 *struct {
		OK    bool   `json:"ok"`
		Threw string `json:"threw"`
	} `json:"verifyCer_0_1_0"`
	Mirror *struct {
		OK   bool   `json:"ok"`
		Code string `json:"code"`
	} `json:"verifyCer_mirror_sdk_0_13"`
}

// theirs reads what is recorded beside a vector.
func theirs(t *testing.T, name string) (n nexartTheirs) {
	t.Helper()
	read := func(file string, v any) {
		b, err := fs.ReadFile(testdata.Vectors, "vectors/nexart/"+file)
		if err == nil {
			err = json.Unmarshal(b, v)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if project, ok := strings.CutPrefix(name, "later/pb-"); ok {
		all := map[string]json.RawMessage{}
		read("later/project-bundle.results.json", &all)
		if err := json.Unmarshal(all[project], &n.Mirror); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return n
	}
	read(name+".expected.json", &n)
	return n
}

// cells spells both for the table.
func (n nexartTheirs) cells(name string) (sdk010, mirror string) {
	sdk010, mirror = "–", "–"
	switch {
	case n.SDK010 != nil && n.SDK010.Threw != "":
		sdk010 = "throws"
	case n.SDK010 != nil && n.SDK010.OK:
		sdk010 = "ok"
	case n.SDK010 != nil:
		sdk010 = "refused"
	case !strings.HasPrefix(name, "later/pb-"):
		sdk010 = "no JSON"
	}
	if n.Mirror != nil {
		mirror = n.Mirror.Code
	}
	return sdk010, mirror
}

// nexartOurs runs the command over a file of the vectors.
func nexartOurs(t *testing.T, name string) (r struct {
	Status string   `json:"status"`
	Codes  []string `json:"codes"`
	Notes  []string `json:"notes"`
}, code int,
) {
	t.Helper()
	file := filepath.Join("..", "..", "testdata", "vectors", "nexart", filepath.FromSlash(name)+".json")
	if _, err := os.Stat(file); err != nil {
		file = strings.TrimSuffix(file, ".json") + ".bundle.json"
	}
	var out, errs bytes.Buffer
	code = run(context.Background(), []string{"nexart", "verify", "--json", file}, strings.NewReader(""), &out, &errs)
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatalf("%s: %v: %s%s", name, err, out.String(), errs.String())
	}
	return r, code
}

// noteKinds are the kinds of notes but "failed", each once, in their order.
func noteKinds(notes []string) string {
	var kinds []string
	seen := map[string]bool{"failed": true}
	for _, n := range notes {
		kind, _, _ := strings.Cut(n, ":")
		if !seen[kind] {
			kinds = append(kinds, kind)
			seen[kind] = true
		}
	}
	return strings.Join(kinds, " ")
}

// TestNexartVectors runs every vector through the command.
func TestNexartVectors(t *testing.T) {
	listed := map[string]bool{}
	for _, v := range nexartVectors {
		listed[v.name] = true
		got, code := nexartOurs(t, v.name)
		codes := strings.Join(got.Codes, " ")
		if got.Status != v.status || codes != v.codes || noteKinds(got.Notes) != v.notes || (code == 0) != (v.status != "FAILED") || code > 1 {
			t.Errorf("%s: %s, %q, %q, exit %d; want %s, %q, %q", v.name, got.Status, codes, noteKinds(got.Notes), code, v.status, v.codes, v.notes)
		}
		n := theirs(t, v.name)
		first, _, _ := strings.Cut(v.codes, " ")
		if v.status != "FAILED" {
			first = "OK"
		}
		same := n.Mirror != nil && n.Mirror.Code == first
		if same != (v.differs == "") {
			t.Errorf("%s: %s, theirs %v: explained: %q", v.name, first, n.Mirror, v.differs)
		}
		if v.status != "FAILED" && n.Mirror != nil && !n.Mirror.OK && v.differs == "" {
			t.Errorf("%s: accepted though theirs refuses it", v.name)
		}
	}
	n := 0
	err := fs.WalkDir(testdata.Vectors, "vectors/nexart", func(p string, d fs.DirEntry, err error) error {
		name := strings.TrimSuffix(strings.TrimSuffix(strings.TrimPrefix(p, "vectors/nexart/"), ".json"), ".bundle")
		isRecord := strings.HasSuffix(p, ".bundle.json") || strings.HasPrefix(name, "later/pb-")
		if err == nil && !d.IsDir() && isRecord {
			n++
			if !listed[name] {
				t.Errorf("%s: a vector without an outcome", name)
			}
		}
		return err
	})
	if err != nil || n != len(nexartVectors) || n < 80 {
		t.Errorf("%d vectors, %d outcomes, %v", n, len(nexartVectors), err)
	}
}

// The table stands between these in docs/NEXART.md.
const (
	tableBegin = "<!-- vectors: begin; go test ./cmd/sworn -run TestNexartDocument -update -->\n"
	tableEnd   = "<!-- vectors: end -->\n"
)

// nexartTable is the table of the vectors.
func nexartTable(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("| record | SDK 0.1.0 | rules of SDK 0.13 | Sworn | notes | where they differ |\n|---|---|---|---|---|---|\n")
	for _, v := range nexartVectors {
		sdk010, mirror := theirs(t, v.name).cells(v.name)
		ours := v.status
		if v.codes != "" {
			ours += ": " + v.codes
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", v.name, sdk010, mirror, ours, v.notes, v.differs)
	}
	return b.String()
}

// TestNexartDocument compares the table in docs/NEXART.md with the outcomes that
// TestNexartVectors checks; -update writes it.
func TestNexartDocument(t *testing.T) {
	file := filepath.Join("..", "..", "docs", "NEXART.md")
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, begun := strings.Cut(string(b), tableBegin)
	_, after, ended := strings.Cut(rest, tableEnd)
	if !begun || !ended {
		t.Fatalf("%s has no place for the table", file)
	}
	want := before + tableBegin + nexartTable(t) + tableEnd + after
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if string(b) != want {
		t.Errorf("the table in %s is not current; run: go test ./cmd/sworn -run TestNexartDocument -update", file)
	}
}
