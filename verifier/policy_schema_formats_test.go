package verifier_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/verifier"
)

// policySchemaFile is the schema, of which the rules of formats are made from what the
// formats say of themselves.
const policySchemaFile = "schema/policy.schema.json"

// handWritten is the format whose rules stand in the schema as they were written.
const handWritten = "tpm"

// TestPolicySchemaFormats: the schema has every format that there is, with its names and
// sizes; -update writes them into it.
func TestPolicySchemaFormats(t *testing.T) {
	got, err := os.ReadFile(policySchemaFile)
	if err != nil {
		t.Fatal(err)
	}
	want := withFormats(t, string(got))
	if *update {
		if err := os.WriteFile(policySchemaFile, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if d := cmp.Diff(want, string(got)); d != "" {
		t.Errorf("the schema is stale (-want +got); run: go generate ./verifier\n%s", d)
	}
	if d := cmp.Diff(string(verifier.PolicySchema()), string(got)); d != "" {
		t.Errorf("another schema is built in:\n%s", d)
	}
	for _, s := range verifier.Schemes() {
		if d := s.Describe(); object(policySchema(t).root, "$defs", d.Name)["type"] != "object" {
			t.Errorf("the schema does not have %s", d.Name)
		}
	}
}

// withFormats returns the schema with the formats of this version in it: their names in
// slots, and the rules of each but the hand-written one behind the last definition.
func withFormats(tb testing.TB, schema string) string {
	tb.Helper()
	var names, references []string
	var definitions strings.Builder
	define := func(name string, r *rule) { fmt.Fprintf(&definitions, ",\n    %q: %s", name, r.text(tb)) }
	sizes := map[int]bool{}
	for _, s := range verifier.Schemes() {
		d := s.Describe()
		names = append(names, fmt.Sprintf("%q", d.Name))
		references = append(references, fmt.Sprintf(`        %q: {"$ref": "#/$defs/%s"}`, d.Name, d.Name))
		if d.Name == handWritten {
			continue
		}
		define(d.Name, formatRule(&d))
		for _, m := range d.Measurements {
			sizes[m.Size] = true
		}
	}
	for _, n := range slices.Sorted(maps.Keys(sizes)) {
		define(fmt.Sprintf("hex%d", n), &rule{Description: fmt.Sprintf("A digest of %d bytes.", n), Type: "string", Pattern: fmt.Sprintf("^[0-9a-f]{%d}$", 2*n)})
		define(fmt.Sprintf("values%d", n), &rule{
			Description: "The acceptable values, any one.", Type: "array", MinItems: 1, MaxItems: 64, UniqueItems: true,
			Items: reference("hex%d", n),
		})
	}
	schema = between(tb, schema, `"uniqueItems": true, "items": {"enum": ["tpm"`, `]}}`, ", "+strings.Join(names[1:], ", "))
	schema = between(tb, schema, "The rules of each format in slots.\",\n      \"type\": \"object\",\n", "      \"additionalProperties\"",
		"      \"properties\": {\n"+strings.Join(references, ",\n")+"\n      },\n")
	last := strings.Index(schema, "\n    \"waiver\": {")
	end := strings.Index(schema[max(last, 0):], "\n    }")
	if last < 0 || end < 0 {
		tb.Fatal("no waiver in the schema")
	}
	return schema[:last+end+len("\n    }")] + definitions.String() + "\n  }\n}\n"
}

// between returns the text with that put between what begins and what ends a place.
func between(tb testing.TB, text, begin, end, that string) string {
	tb.Helper()
	before, after, ok := strings.Cut(text, begin)
	i := strings.Index(after, end)
	if !ok || i < 0 || strings.Contains(after, begin) {
		tb.Fatalf("no place, or several, between %q and %q", begin, end)
	}
	return before + begin + that + after[i:]
}

// rule is a JSON Schema of what rules of formats need.
type rule struct {
	Ref         string           `json:"$ref,omitempty"`
	Description string           `json:"description,omitempty"`
	Type        string           `json:"type,omitempty"`
	Const       string           `json:"const,omitempty"`
	Enum        []string         `json:"enum,omitempty"`
	MinLength   int              `json:"minLength,omitempty"`
	MaxLength   int              `json:"maxLength,omitempty"`
	Pattern     string           `json:"pattern,omitempty"`
	Not         *rule            `json:"not,omitempty"`
	Minimum     *int             `json:"minimum,omitempty"`
	Maximum     int              `json:"maximum,omitempty"`
	MinItems    int              `json:"minItems,omitempty"`
	MaxItems    int              `json:"maxItems,omitempty"`
	UniqueItems bool             `json:"uniqueItems,omitempty"`
	Items       *rule            `json:"items,omitempty"`
	Properties  map[string]*rule `json:"properties,omitempty"`
	Required    []string         `json:"required,omitempty"`
	Additional  *bool            `json:"additionalProperties,omitempty"`
}

// text returns the rule as it stands in the definitions; an object of one member is on
// one line.
func (r *rule) text(tb testing.TB) string {
	tb.Helper()
	b, err := json.MarshalIndent(r, "    ", "  ")
	if err != nil {
		tb.Fatal(err)
	}
	return regexp.MustCompile(`\{\n +("[^"]+": [^\n{}]+)\n +\}`).ReplaceAllString(string(b), "{$1}")
}

// reference returns a rule that is defined elsewhere.
func reference(name string, args ...any) *rule {
	return &rule{Ref: "#/$defs/" + fmt.Sprintf(name, args...)}
}

// closed returns an object that has these members and no other.
func closed(description string, properties map[string]*rule, required ...string) *rule {
	return &rule{Description: description, Type: "object", Properties: properties, Required: required, Additional: new(false)}
}

// number returns an integer of 0 up to a limit.
func number(limit int) *rule { return &rule{Type: "integer", Minimum: new(0), Maximum: limit} }

// listRule returns an array of different things.
func listRule(description string, least, most int, items *rule) *rule {
	return &rule{Description: description, Type: "array", MinItems: least, MaxItems: most, UniqueItems: true, Items: items}
}

// formatRule returns the rules of one format.
func formatRule(d *attest.Description) *rule {
	key := &rule{Type: "string", Pattern: "^sha256:[0-9a-f]{64}$"}
	all := map[string]*rule{"identity": closed("The roots that the signing key may chain to.", map[string]*rule{
		"role": {Const: d.RootRole},
		"spki": listRule("SHA-256 of the SubjectPublicKeyInfo of each.", 1, 1024, key),
	}, "role", "spki")}
	required := []string{"identity"}
	if d.Anchor == attest.AnchorRegister && d.RegisterBank == 0 {
		all["bank"] = &rule{Description: "The bank that must be quoted.", Enum: []string{"sha256", "sha384", "sha512"}}
		all["register"] = number(15)
		all["register"].Description = "The PCR that anchors the event log."
		all["boot"] = reference("boot")
		required = append(required, "bank", "register")
	}
	measurements, image, launched := map[string]*rule{}, map[string]*rule{}, []string(nil)
	for _, m := range d.Measurements {
		measurements[m.Name], image[m.Name] = reference("values%d", m.Size), reference("hex%d", m.Size)
		if m.Image {
			launched = append(launched, m.Name)
		}
	}
	if len(measurements) > 0 {
		all["measurements"] = closed("The acceptable values of signed digests.", measurements)
	}
	if len(launched) > 0 {
		all["images"] = &rule{Description: "The acceptable images: what was launched must be one of them.", Type: "array", MaxItems: 64, Items: closed("", map[string]*rule{
			"name":         {Type: "string", MinLength: 1, MaxLength: 256},
			"measurements": closed("The digests by which the image is known.", image, launched...),
			"cmdline":      {Description: "The command line that they cover.", Type: "string", MaxLength: 4096},
			"launchers":    listRule("The launchers in the image.", 0, 64, key),
		}, "name", "measurements")}
	}
	if attributes := map[string]*rule{}; len(d.Attributes) > 0 {
		for _, a := range d.Attributes {
			attributes[a.Name] = number(maxJSON)
		}
		all["attributes"] = closed("The values that signed numbers must have.", attributes)
	}
	if tcb := tcbRule(d); tcb != nil {
		all["tcb"] = tcb
	}
	return closed("What is wanted of evidence of format "+d.Name+".", all, required...)
}

// maxJSON is the largest number that every reader of JSON takes exactly.
const maxJSON = 1<<53 - 1

// tcbRule returns what a policy can say of how new the platform is; nil if nothing.
func tcbRule(d *attest.Description) *rule {
	all := map[string]*rule{}
	if d.VendorStatus {
		word := func(not *rule) *rule { return &rule{Type: "string", MinLength: 1, MaxLength: 64, Not: not} }
		all["status"] = listRule("The acceptable words of the vendor; UpToDate alone if there is none.", 0, 16, word(&rule{Const: "Revoked"}))
		all["advisories_allowed"] = listRule("The advisories that may apply.", 0, 256, word(nil))
		all["min_evaluation_data_number"] = number(math.MaxUint32)
	}
	if minimum := map[string]*rule{}; len(d.Versions) > 0 {
		for _, v := range d.Versions {
			minimum[v] = number(maxJSON)
		}
		all["minimum"] = closed("The least security versions.", minimum)
	}
	if len(all) == 0 {
		return nil
	}
	return closed("How new the platform must be.", all)
}
