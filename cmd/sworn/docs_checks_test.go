//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sworn-run/sworn/verifier"
)

// checksPage returns docs/CHECKS.md as the explanations make it.
func checksPage() string {
	var b strings.Builder
	b.WriteString(`# The checks

<!-- Made from verifier/explain.txt; do not edit. To make it anew:
     go generate ./cmd/sworn -->

Every verdict runs these checks, all of them, on every record. A *core* check must
pass. A *required* check must pass unless the policy, or ` + "`--waive ID=REASON`" + `, waives
it by id with a reason, which the verdict's first line then names. An *info* check
informs. *Not established* counts as not passed. ` + "`sworn explain CHECK`" + ` prints the
same text; ` + "`sworn verify --explain`" + ` shows what each check found.

| check | class | passes when |
|---|---|---|
`)
	all := verifier.Explanations()
	for i := range all {
		e := &all[i]
		fmt.Fprintf(&b, "| [%s](#%s) | %s | %s |\n", e.ID, anchor(e.ID), e.Class, e.Passes)
	}
	for i := range all {
		e := &all[i]
		fmt.Fprintf(&b, "\n## %s\n\n*%s; %s.* Passes when %s.\n", e.ID, e.Class, e.Spec, e.Passes)
		for _, s := range [][2]string{
			{"Defends", e.Defends}, {"Against", e.Attack}, {"To satisfy it", e.Satisfy}, {"To ask for it", e.Ask}, {"To waive it", e.Waive},
		} {
			b.WriteString("\n")
			for _, l := range wrapText("**"+s[0]+".** "+s[1], 84) {
				b.WriteString(l + "\n")
			}
		}
	}
	return b.String()
}

// anchor returns the fragment that a heading of a check's id has.
func anchor(id string) string { return strings.ReplaceAll(id, ".", "") }

// TestChecksPage compares docs/CHECKS.md with the explanations; -update writes
// it.
func TestChecksPage(t *testing.T) {
	name, want := filepath.Join("..", "..", "docs", "CHECKS.md"), checksPage()
	if *update {
		if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("docs/CHECKS.md differs from the explanations (-want +got); run: go generate ./cmd/sworn\n%s", diff)
	}
}
