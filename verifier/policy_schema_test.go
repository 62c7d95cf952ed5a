package verifier_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/verifier"
)

// schema is a JSON Schema of the keywords that the policy's schema uses; it
// refuses to judge by one it does not know.
type schema struct{ root map[string]any }

func policySchema(tb testing.TB) schema {
	tb.Helper()
	return schema{decoded(tb, verifier.PolicySchema())}
}

// resolve follows a reference into $defs.
func (s schema) resolve(n map[string]any) map[string]any {
	ref, ok := n["$ref"].(string)
	if !ok {
		return n
	}
	return object(s.root, "$defs", strings.TrimPrefix(ref, "#/$defs/"))
}

// accepts returns what is wrong with v, or nothing.
func (s schema) accepts(n map[string]any, v any, at string) string {
	n = s.resolve(n)
	for keyword, rule := range n {
		if !s.keyword(n, keyword, rule, v, at) {
			return fmt.Sprintf("%s: %v: %s", at, v, keyword)
		}
	}
	switch v := v.(type) {
	case map[string]any:
		properties, _ := n["properties"].(map[string]any)
		for name, member := range v {
			if p, ok := properties[name]; ok {
				if problem := s.accepts(p.(map[string]any), member, at+"/"+name); problem != "" {
					return problem
				}
			} else if n["additionalProperties"] == false {
				return at + ": unknown member " + name
			}
		}
	case []any:
		items, _ := n["items"].(map[string]any)
		for i, item := range v {
			if problem := s.accepts(items, item, fmt.Sprintf("%s/%d", at, i)); problem != "" {
				return problem
			}
		}
	}
	return ""
}

// keyword applies one keyword; one that concerns another type holds.
func (s schema) keyword(n map[string]any, keyword string, rule, v any, at string) bool {
	text, isText := v.(string)
	number, isNumber := v.(float64)
	array, isArray := v.([]any)
	members, isObject := v.(map[string]any)
	limit, _ := rule.(float64)
	switch keyword {
	case "$schema", "$id", "$defs", "title", "description", "default", "properties", "items", "additionalProperties":
		return true
	case "type":
		_, isBool := v.(bool)
		return map[any]bool{
			"string": isText, "array": isArray, "object": isObject, "boolean": isBool,
			"integer": isNumber && number == math.Trunc(number),
		}[rule]
	case "const":
		return rule == v
	case "enum":
		return slices.Contains(rule.([]any), v)
	case "not":
		return s.accepts(rule.(map[string]any), v, at) != ""
	case "oneOf":
		matches := 0
		for _, alternative := range rule.([]any) {
			if s.accepts(alternative.(map[string]any), v, at) == "" {
				matches++
			}
		}
		return matches == 1
	case "anyOf":
		return slices.ContainsFunc(rule.([]any), func(n any) bool { return s.accepts(n.(map[string]any), v, at) == "" })
	case "required":
		return !isObject || !slices.ContainsFunc(rule.([]any), func(name any) bool { _, ok := members[name.(string)]; return !ok })
	case "minItems":
		return !isArray || float64(len(array)) >= limit
	case "maxItems":
		return !isArray || float64(len(array)) <= limit
	case "uniqueItems":
		for i := range array {
			if slices.ContainsFunc(array[:i], func(o any) bool { return cmp.Equal(o, array[i]) }) {
				return false
			}
		}
		return true
	case "minLength":
		return !isText || float64(utf8.RuneCountInString(text)) >= limit
	case "maxLength":
		return !isText || float64(utf8.RuneCountInString(text)) <= limit
	case "pattern":
		return !isText || regexp.MustCompile(rule.(string)).MatchString(text)
	case "minimum":
		return !isNumber || number >= limit
	case "maximum":
		return !isNumber || number <= limit
	default:
		panic("unknown keyword " + keyword + " in " + fmt.Sprint(n))
	}
}

// judge applies the schema to a file.
func (s schema) judge(tb testing.TB, file []byte) string {
	tb.Helper()
	return s.accepts(s.root, decoded(tb, file), "")
}

func TestPolicySchemaAcceptsExample(t *testing.T) {
	s := policySchema(t)
	for _, file := range [][]byte{examplePolicy(t), mustEncode(t, parsePolicy(t, examplePolicy(t)))} {
		if problem := s.judge(t, file); problem != "" {
			t.Error(problem)
		}
	}
}

func mustEncode(tb testing.TB, p *verifier.Policy) []byte {
	tb.Helper()
	b, err := p.Encode()
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// TestPolicySchemaRefuses: the schema refuses what the parser does, but for
// the rules a schema cannot state.
func TestPolicySchemaRefuses(t *testing.T) {
	s := policySchema(t)
	var beyond []string
	for _, r := range policyRefusals() {
		if s.judge(t, edit(t, r.change)) == "" {
			beyond = append(beyond, r.name)
		}
	}
	want := []string{ // rules over more than one place, and over kinds of characters
		"name=two\nlines", "name=   ", "name=\u202ereversed",
		"slots=[[tpm] [tpm]]", "slots=[[tdx]]", "formats=map[]", "without formats.tpm",
		clip("component=%v", []any{"role", "weights", "name", "default", "digest", []any{hexDigest(9)}}),
		"component=[role argv value [x]]",
		clip("component=%v", []any{"role", "file", "name", "x", "digest", []any{hexDigest(9)}, "path", "/y/../x"}),
		clip("component=%v", []any{"role", "launcher", "name", "x", "digest", []any{hexDigest(9)}, "path", "/x"}),
		"component=[role env name A\x00B value 1]",
		clip("component=%v", []any{"role", "env", "name", "A", "value", strings.Repeat("a", 60)}),
		"devices=[../mem]", "devices=[..]", "devices=[.]", "devices=[a/../b]",
		"waive=slot.tcb=\u00a0", "waive=slot.tcb=a\nb", "waive=slot.tcb=\x1b[2J", "waive=slot.measurement=again",
	}
	if d := cmp.Diff(want, beyond); d != "" {
		t.Error(d)
	}
}

// TestPolicySchemaMembers walks schema and struct together: every member of
// either is one of the other, with the same type.
func TestPolicySchemaMembers(t *testing.T) {
	s := policySchema(t)
	walkMembers(t, s, s.root, reflect.TypeFor[verifier.Policy](), "policy")
}

func walkMembers(t *testing.T, s schema, n map[string]any, typ reflect.Type, at string) {
	t.Helper()
	n = s.resolve(n)
	switch {
	case typ == reflect.TypeFor[jsontext.Value]():
		return // any JSON, by role
	case typ.Kind() == reflect.Pointer:
		walkMembers(t, s, n, typ.Elem(), at)
	case typ.Kind() == reflect.Struct:
		got, want := map[string]map[string]any{}, map[string]reflect.Type{}
		for _, shape := range shapes(s, n) {
			if shape["additionalProperties"] != false || shape["type"] != "object" {
				t.Errorf("%s is open in the schema", at)
			}
			for name, p := range object(shape, "properties") {
				got[name] = p.(map[string]any)
			}
		}
		for f := range typ.Fields() {
			if f.IsExported() {
				name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
				want[name] = f.Type
			}
		}
		if typ == reflect.TypeFor[verifier.FormatPolicy]() {
			formatMembers(t, at, want, got)
		}
		if typ == reflect.TypeFor[verifier.TCBPolicy]() {
			tcbMembers(t, at, want, got)
		}
		if d := cmp.Diff(slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got))); d != "" {
			t.Errorf("members of %s, struct against schema:\n%s", at, d)
			return
		}
		for name := range want {
			walkMembers(t, s, got[name], want[name], at+"."+name)
		}
	case typ.Kind() == reflect.Slice:
		if n["type"] != "array" {
			t.Errorf("%s is an array in Go only", at)
			return
		}
		walkMembers(t, s, n["items"].(map[string]any), typ.Elem(), at+"[]")
	case typ.Kind() == reflect.Map:
		properties, _ := n["properties"].(map[string]any)
		if n["type"] != "object" || n["additionalProperties"] != false {
			t.Errorf("%s is open in the schema", at)
		}
		for name, p := range properties {
			walkMembers(t, s, p.(map[string]any), typ.Elem(), at+"."+name)
		}
	default:
		checkScalar(t, n, typ, at)
	}
}

// formatMembers holds the schema of one format against what the format has, and leaves
// in want the members that belong to it.
func formatMembers(t *testing.T, at string, want map[string]reflect.Type, got map[string]map[string]any) {
	t.Helper()
	d := formatAt(t, at)
	if d.Anchor != attest.AnchorRegister || d.RegisterBank != 0 {
		delete(want, "bank")
		delete(want, "register")
		delete(want, "boot")
	}
	var names, images []string
	for _, m := range d.Measurements {
		names = append(names, m.Name)
		if m.Image {
			images = append(images, m.Name)
		}
	}
	if len(names) == 0 {
		delete(want, "measurements")
	} else if d := cmp.Diff(slices.Sorted(slices.Values(names)), members(got["measurements"])); d != "" {
		t.Errorf("%s.measurements:\n%s", at, d)
	}
	if len(images) == 0 {
		delete(want, "images")
	}
	names = nil
	for _, a := range d.Attributes {
		names = append(names, a.Name)
	}
	if len(names) == 0 {
		delete(want, "attributes")
	} else if d := cmp.Diff(slices.Sorted(slices.Values(names)), members(got["attributes"])); d != "" {
		t.Errorf("%s.attributes:\n%s", at, d)
	}
	if len(d.Versions) == 0 && !d.VendorStatus {
		delete(want, "tcb")
	}
}

// tcbMembers does the same for what a policy says of the platform.
func tcbMembers(t *testing.T, at string, want map[string]reflect.Type, got map[string]map[string]any) {
	t.Helper()
	d := formatAt(t, strings.TrimSuffix(at, ".tcb"))
	if !d.VendorStatus {
		delete(want, "status")
		delete(want, "advisories_allowed")
		delete(want, "min_evaluation_data_number")
	}
	if d := cmp.Diff(slices.Sorted(slices.Values(d.Versions)), members(got["minimum"])); d != "" {
		t.Errorf("%s.minimum:\n%s", at, d)
	}
}

// formatAt returns the format whose rules stand at a place.
func formatAt(t *testing.T, at string) attest.Description {
	t.Helper()
	i := slices.IndexFunc(verifier.Schemes(), func(s attest.Scheme) bool { return strings.HasSuffix(at, "."+s.Describe().Name) })
	if i < 0 {
		t.Fatalf("%s is no format", at)
	}
	return verifier.Schemes()[i].Describe()
}

// members are the names of an object's properties.
func members(n map[string]any) []string {
	properties, _ := n["properties"].(map[string]any)
	return slices.Sorted(maps.Keys(properties))
}

// checkScalar compares a Go kind with the schema's type, const or enum.
func checkScalar(t *testing.T, n map[string]any, typ reflect.Type, at string) {
	t.Helper()
	want := map[reflect.Kind]string{
		reflect.String: "string", reflect.Bool: "boolean", reflect.Int: "integer", reflect.Uint32: "integer", reflect.Uint64: "integer",
	}[typ.Kind()]
	_, isConst := n["const"].(string)
	_, isEnum := n["enum"].([]any)
	if n["type"] != want && (want != "string" || !isConst && !isEnum) {
		t.Errorf("%s is %s in Go, %v in the schema", at, want, n)
	}
}

// shapes returns the alternatives of an object.
func shapes(s schema, n map[string]any) []map[string]any {
	alternatives, ok := n["oneOf"].([]any)
	if !ok {
		return []map[string]any{n}
	}
	var out []map[string]any
	for _, a := range alternatives {
		out = append(out, s.resolve(a.(map[string]any)))
	}
	return out
}

// TestPolicySchemaWords: the words of the schema are those of the code.
func TestPolicySchemaWords(t *testing.T) {
	s := policySchema(t)
	words := func(path ...string) []string {
		var out []string
		for _, w := range list(object(s.root, path...), "enum") {
			out = append(out, w.(string))
		}
		return out
	}
	var required []string
	for _, id := range verifier.CheckIDs() {
		if class, _ := verifier.CheckClass(id); class == verifier.ClassRequired {
			required = append(required, id)
		}
	}
	for name, c := range map[string]struct{ want, got []string }{
		"waivers":        {required, words("$defs", "waiver", "properties", "check")},
		"others":         {[]string{verifier.OthersRefuse, verifier.OthersReport}, words("properties", "others")},
		"prior launches": {[]string{verifier.PriorNone, verifier.PriorSameLauncher, verifier.PriorAny}, words("properties", "prior_launches")},
		"protection":     {[]string{cer.ProtectionSealed, verifier.ProtectionVerity}, words("properties", "protection", "items")},
		"disclosures":    {[]string{cer.DiscloseFull, cer.DiscloseHash, cer.DiscloseCommit}, words("properties", "disclosure", "items")},
		"roles": {
			[]string{
				cer.RoleLauncher, cer.RoleBinary, cer.RoleInterpreter, cer.RoleScriptInterpreter,
				cer.RoleLibrary, cer.RoleWeights, cer.RoleConfig, cer.RoleFile,
				cer.RoleManifest, cer.RoleModelSignature, cer.RoleImage,
			},
			words("$defs", "file", "properties", "role"),
		},
	} {
		if d := cmp.Diff(c.want, c.got); d != "" {
			t.Errorf("%s, code against schema:\n%s", name, d)
		}
	}
}

// decoded returns a file as generic values.
func decoded(tb testing.TB, file []byte) map[string]any {
	tb.Helper()
	var p map[string]any
	if err := json.Unmarshal(file, &p); err != nil {
		tb.Fatal(err)
	}
	return p
}

// TestPolicySchemaRequired removes each member of the example in turn: the
// parser refuses exactly those that the schema requires.
func TestPolicySchemaRequired(t *testing.T) {
	s := policySchema(t)
	full := mustEncode(t, parsePolicy(t, examplePolicy(t)))
	for _, path := range [][]string{{}, {"formats", "tpm"}, {"formats", "tpm", "identity"}, {"nonce"}, {"time"}} {
		for _, name := range slices.Sorted(maps.Keys(object(decoded(t, full), path...))) {
			at := append(slices.Clone(path), name)
			p := decoded(t, full)
			without(at...).change(p)
			b, err := json.Marshal(p)
			if err != nil {
				t.Fatal(err)
			}
			_, err = verifier.ParsePolicy(b)
			if problem := s.judge(t, b); (problem == "") != (err == nil) {
				t.Errorf("without %v: parser %v, schema %q", at, err, problem)
			}
		}
	}
}
