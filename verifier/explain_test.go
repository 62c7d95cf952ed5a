package verifier

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// explanationFields are the fields of a check in explain.txt, in their order.
func explanationFields() []string { return []string{"defends", "attack", "satisfy", "ask", "waive"} }

// Every check is explained, in the order of the checks, with every field once
// and in its place; nothing else is explained.
func TestExplanationsComplete(t *testing.T) {
	var want []string
	for _, id := range CheckIDs() {
		want = append(want, "# "+id)
		want = append(want, explanationFields()...)
	}
	var got []string
	for line := range strings.Lines(explanations) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" {
			continue
		}
		field, text, ok := strings.Cut(line, ": ")
		if strings.HasPrefix(line, "# ") {
			got = append(got, line)
			continue
		}
		if !ok {
			t.Fatalf("explain.txt: %q is neither a check nor a field", line)
		}
		got = append(got, field)
		if text != strings.TrimSpace(text) || !strings.HasSuffix(text, ".") || len(text) < 12 {
			t.Errorf("explain.txt: %s is no sentence: %q", field, text)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("explain.txt has\n%q, want\n%q", got, want)
	}
}

// What an explanation says of waiving is what the policy will do.
func TestExplanationsWaivers(t *testing.T) {
	ids := CheckIDs()
	all := Explanations()
	if len(all) != len(ids) {
		t.Fatalf("%d explanations of %d checks", len(all), len(ids))
	}
	for i, e := range all {
		class, ok := CheckClass(ids[i])
		if !ok || e.ID != ids[i] || e.Class != class {
			t.Errorf("%s: explained as %s, %v", ids[i], e.ID, e.Class)
		}
		if e.Spec == "" || e.Passes == "" || e.Defends == "" || e.Attack == "" || e.Satisfy == "" || e.Ask == "" || e.Waive == "" {
			t.Errorf("%s: a field is empty", e.ID)
		}
		core := strings.HasPrefix(e.Waive, "Core, so nothing excuses it")
		if core != (class == ClassCore) {
			t.Errorf("%s is %v, and its waiver is %q", e.ID, class, e.Waive)
		}
		_, err := ParseWaiver(e.ID + "=reason")
		if named := strings.Contains(e.Waive, "--waive "+e.ID+"=REASON"); named && err != nil {
			t.Errorf("%s: the text names a waiver that is refused: %v", e.ID, err)
		}
	}
}

func TestExplainUnknown(t *testing.T) {
	for _, id := range []string{"", "slot", "slot.Identity", "slot.identity ", "# slot.identity", "no.such.check"} {
		if e, ok := Explain(id); ok || e != (Explanation{}) {
			t.Errorf("%q is explained: %+v", id, e)
		}
	}
}

// One check, explained to somebody whose record failed it.
func ExampleExplain() {
	e, ok := Explain("statement.signature")
	fmt.Println(ok, e.Class, e.Spec)
	fmt.Println(e.Waive)
	// Output:
	// true core SPEC 4
	// Core, so nothing excuses it: without it, access to a TPM would be authority over what its records say.
}
