package verifier_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/verifier"
)

// reportSchema returns the schema of reports.
func reportSchema(tb testing.TB) schema {
	tb.Helper()
	return schema{decoded(tb, verifier.ReportSchema())}
}

// reportJSON encodes a report and wants the schema to accept it.
func reportJSON(tb testing.TB, s schema, r *verifier.Report) []byte {
	tb.Helper()
	b, err := json.Marshal(r)
	if err != nil {
		tb.Fatal(err)
	}
	if problem := s.judge(tb, b); problem != "" {
		tb.Errorf("the schema refuses the report: %s", problem)
	}
	return b
}

// TestReportSchemaAccepts: reports of every kind are what the schema says, and
// decode to what they were.
func TestReportSchemaAccepts(t *testing.T) {
	s := reportSchema(t)
	page, in := golden(t, "page.cer.json"), goldenInput(t, "page")
	at := in
	at.At = in.Now
	f := newForger(t)
	signal := "SIGKILL"
	reports := []*verifier.Report{
		verify(t, page, in), verify(t, page, at),
		verify(t, golden(t, "full.cer.json"), goldenInput(t, "full")),
		verify(t, page, verifier.Input{Now: in.Now}),
		verify(t, nil, in), verify(t, []byte("{}\n"), in), verify(t, bytes.ToUpper(page), in),
		verify(t, f.record(t, forgery{runtime: func(r *cer.Runtime) { r.Exit = cer.Exit{Code: -1, Signal: &signal} }}), f.input(t, nil)),
		verify(t, f.record(t, forgery{statement: func(st *attest.Statement) {
			for i := uint8(1); i < attest.MaxSlots; i++ {
				slot := st.Manifest[0]
				slot.Number = i
				st.Manifest = append(st.Manifest, slot)
			}
		}}), f.input(t, nil)),
	}
	for _, m := range structural(t, bytes.TrimSuffix(page, []byte("\n")), 97) {
		reports = append(reports, verify(t, append(m.file, '\n'), in))
	}
	for _, r := range reports {
		b := reportJSON(t, s, r)
		var again verifier.Report
		d := json.NewDecoder(bytes.NewReader(b))
		d.DisallowUnknownFields()
		if err := d.Decode(&again); err != nil {
			t.Fatal(err)
		}
		if twice, err := json.Marshal(&again); err != nil || !bytes.Equal(twice, b) {
			t.Errorf("does not decode to itself: %v\n%s\n%s", err, b, twice)
		}
	}
}

// TestReportSchemaRefuses: the schema is closed, and says what must be there.
func TestReportSchemaRefuses(t *testing.T) {
	s := reportSchema(t)
	b := reportJSON(t, s, verify(t, golden(t, "page.cer.json"), goldenInput(t, "page")))
	root := decoded(t, b)
	for name := range root {
		less := maps.Clone(root)
		delete(less, name)
		if s.accepts(s.root, less, "") == "" {
			t.Errorf("accepts a report without %s", name)
		}
	}
	for _, change := range []func(m map[string]any){
		func(m map[string]any) { m["type"] = "sworn.report/v2" },
		func(m map[string]any) { m["more"] = 1.0 },
		func(m map[string]any) { m["trusted"] = "yes" },
		func(m map[string]any) { m["verdictAt"] = "" },
		func(m map[string]any) { m["checks"] = []any{} },
		func(m map[string]any) { object(m, "verdictNow")["status"] = "maybe" },
		func(m map[string]any) { object(m, "summary")["events"] = -1.0 },
		func(m map[string]any) { object(m, "summary", "input")["size"] = 9.0 },
		func(m map[string]any) { object(m, "summary", "input")["content"] = "x" },
		func(m map[string]any) { list(m, "checks")[0].(map[string]any)["status"] = "ok" },
		func(m map[string]any) { list(m, "checks")[0].(map[string]any)["id"] = "x" },
	} {
		m := decoded(t, b)
		change(m)
		if s.accepts(s.root, m, "") == "" {
			t.Errorf("accepts %v", m)
		}
	}
	root["file"] = "page.cer.json"
	if problem := s.accepts(s.root, root, ""); problem != "" {
		t.Errorf("refuses what the command writes: %s", problem)
	}
}

// TestReportSchemaMembers walks schema and struct together: every member of
// either is one of the other, has the same type, and is required exactly if it
// is never left out.
func TestReportSchemaMembers(t *testing.T) {
	s := reportSchema(t)
	sameShape(t, s, s.root, reflect.TypeFor[verifier.Report](), "report")
}

func sameShape(t *testing.T, s schema, n map[string]any, typ reflect.Type, at string) {
	t.Helper()
	if alternatives, ok := n["oneOf"].([]any); ok { // null or something
		if len(alternatives) != 2 || typ.Kind() != reflect.Pointer {
			t.Errorf("%s: a choice that is not null or one type", at)
			return
		}
		n = alternatives[1].(map[string]any)
	}
	n = s.resolve(n)
	if typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	kinds := map[reflect.Kind]string{
		reflect.String: "string", reflect.Bool: "boolean", reflect.Int: "integer", reflect.Slice: "array", reflect.Struct: "object",
	}
	if _, words := n["enum"]; !words && n["const"] == nil && n["type"] != kinds[typ.Kind()] {
		t.Errorf("%s is %v in the schema, %v in Go", at, n["type"], typ)
	}
	switch typ.Kind() {
	case reflect.Slice:
		sameShape(t, s, n["items"].(map[string]any), typ.Elem(), at+"[]")
	case reflect.Struct:
		sameMembers(t, s, n, typ, at)
	default: // the others have no parts
	}
}

func sameMembers(t *testing.T, s schema, n map[string]any, typ reflect.Type, at string) {
	t.Helper()
	if n["additionalProperties"] != false {
		t.Errorf("%s is open", at)
	}
	properties := object(n, "properties")
	var want, required []string
	for f := range typ.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		// A report never carries a stream's content.
		if !f.IsExported() || typ == reflect.TypeFor[cer.Stream]() && name == "content" {
			continue
		}
		want = append(want, name)
		if options == "" {
			required = append(required, name)
		}
		if p, ok := properties[name].(map[string]any); ok {
			sameShape(t, s, p, f.Type, at+"."+name)
		}
	}
	got := slices.DeleteFunc(slices.Sorted(maps.Keys(properties)), func(name string) bool { return at == "report" && name == "file" })
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s has %v in the schema, %v in Go", at, got, want)
	}
	var must []string
	for _, name := range n["required"].([]any) {
		must = append(must, name.(string))
	}
	slices.Sort(must)
	slices.Sort(required)
	if !slices.Equal(must, required) {
		t.Errorf("%s wants %v in the schema, %v in Go", at, must, required)
	}
}

// TestReportSchemaWords: what stands in the schema as one of a few words is
// what the code writes.
func TestReportSchemaWords(t *testing.T) {
	s := reportSchema(t)
	id := object(s.root, "$defs", "checkID")
	for _, c := range verifier.CheckIDs() {
		if problem := s.accepts(id, c, "id"); problem != "" {
			t.Error(problem)
		}
		class, ok := verifier.CheckClass(c)
		if problem := s.accepts(object(s.root, "$defs", "check", "properties", "class"), class.String(), c); !ok || problem != "" {
			t.Error(problem)
		}
	}
	for status := attest.NotEstablished; status <= attest.NotApplicable; status++ {
		if problem := s.accepts(object(s.root, "$defs", "check", "properties", "status"), status.String(), "status"); problem != "" {
			t.Error(problem)
		}
	}
	if n := object(s.root, "properties", "checks")["minItems"]; n != float64(len(verifier.CheckIDs())) {
		t.Errorf("at least %v checks, want %d", n, len(verifier.CheckIDs()))
	}
}
