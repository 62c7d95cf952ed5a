package cer_test

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"github.com/sworn-run/sworn/cer"
)

type inner struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type closed struct {
	Text     string         `json:"text"`
	Count    uint32         `json:"count"`
	Share    float64        `json:"share"`
	On       bool           `json:"on"`
	Maybe    *string        `json:"maybe"`
	Items    []inner        `json:"items"`
	Raw      jsontext.Value `json:"raw"`
	Optional *inner         `json:"optional,omitzero"`
}

const closedText = `{"count":7,"items":[{"name":"a","value":"b"}],"maybe":null,"on":true,"raw":{"z":[null]},"share":0.5,"text":"t"}`

func closedValue() closed {
	return closed{Text: "t", Count: 7, Share: 0.5, On: true, Items: []inner{{"a", "b"}}, Raw: jsontext.Value(`{"z":[null]}`)}
}

func TestUnmarshalCanonical(t *testing.T) {
	var got closed
	if err := cer.UnmarshalCanonical([]byte(closedText), 64, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(closedValue(), got); diff != "" {
		t.Error(diff)
	}
	b, err := cer.MarshalCanonical(closedValue())
	if err != nil || string(b) != closedText {
		t.Errorf("MarshalCanonical = %s, %v", b, err)
	}
	withOptional := strings.Replace(closedText, `"raw"`, `"optional":{"name":"","value":""},"raw"`, 1)
	if err := cer.UnmarshalCanonical([]byte(withOptional), 64, &got); err != nil || got.Optional == nil {
		t.Errorf("optional member: %v, %v", got.Optional, err)
	}
	if err := cer.UnmarshalCanonical([]byte(closedText), 64, &got); err != nil || got.Optional != nil {
		t.Errorf("former content is left: %v, %v", got.Optional, err)
	}
}

// edits are one replacement each in closedText.
var edits = []struct {
	name, old, new string
	strict         error // of UnmarshalStrict, nil where it accepts
	canonical      error // of UnmarshalCanonical
}{
	{"space", `"on":true`, `"on": true`, nil, cer.ErrStrict},
	{"newline at the end", `"text":"t"}`, "\"text\":\"t\"}\n", nil, cer.ErrStrict},
	{"order", `{"name":"a","value":"b"}`, `{"value":"b","name":"a"}`, nil, cer.ErrStrict},
	{"escape", `"t"`, `"\u0074"`, nil, cer.ErrStrict},
	{"number spelling", `0.5`, `5E-1`, nil, cer.ErrStrict},
	{"integer spelling", `7`, `7.0`, cer.ErrSchema, cer.ErrStrict},
	{"missing", `,"text":"t"`, ``, nil, cer.ErrSchema},
	{"missing pointer", `"maybe":null,`, ``, nil, cer.ErrSchema},
	{"missing nested", `,"value":"b"`, ``, nil, cer.ErrSchema},
	{"missing list", `"items":[{"name":"a","value":"b"}],`, ``, nil, cer.ErrSchema},
	{"null optional", `"raw"`, `"optional":null,"raw"`, nil, cer.ErrSchema},
	{"unknown", `"text"`, `"sure":1,"text"`, cer.ErrSchema, cer.ErrSchema},
	{"unknown last", `"text":"t"`, `"text":"t","zz":1`, cer.ErrSchema, cer.ErrSchema},
	{"unknown nested", `"value":"b"`, `"value":"b","w":1`, cer.ErrSchema, cer.ErrSchema},
	{"other case", `"text"`, `"texT"`, cer.ErrSchema, cer.ErrSchema},
	{"other case, both", `{"count"`, `{"Count":8,"count"`, cer.ErrSchema, cer.ErrSchema},
	{"duplicate", `"text":"t"`, `"text":"t","text":"t"`, cer.ErrStrict, cer.ErrStrict},
	{"null string", `"t"`, `null`, cer.ErrSchema, cer.ErrSchema},
	{"null number", `7`, `null`, cer.ErrSchema, cer.ErrSchema},
	{"null float", `0.5`, `null`, cer.ErrSchema, cer.ErrSchema},
	{"null bool", `true`, `null`, cer.ErrSchema, cer.ErrSchema},
	{"null list", `[{"name":"a","value":"b"}]`, `null`, cer.ErrSchema, cer.ErrSchema},
	{"null in list", `{"name":"a","value":"b"}`, `null`, cer.ErrSchema, cer.ErrSchema},
	{"null raw", `{"z":[null]}`, `null`, cer.ErrSchema, cer.ErrSchema},
	{"null nested", `"b"`, `null`, cer.ErrSchema, cer.ErrSchema},
	{"string for number", `7`, `"7"`, cer.ErrSchema, cer.ErrSchema},
	{"number for string", `"t"`, `1`, cer.ErrSchema, cer.ErrSchema},
	{"fraction for integer", `7`, `7.5`, cer.ErrSchema, cer.ErrSchema},
	{"too large for the type", `7`, `4294967296`, cer.ErrSchema, cer.ErrSchema},
	{"negative for unsigned", `7`, `-7`, cer.ErrSchema, cer.ErrSchema},
	{"2^53 in raw", `[null]`, `[9007199254740992]`, cer.ErrStrict, cer.ErrStrict},
	{"1e+21 in raw", `[null]`, `[1e+21]`, cer.ErrStrict, cer.ErrStrict},
	{"too deep in raw", `[null]`, strings.Repeat("[", 63) + strings.Repeat("]", 63), cer.ErrStrict, cer.ErrStrict},
	{"invalid UTF-8", `"t"`, "\"\xff\"", cer.ErrStrict, cer.ErrStrict},
	{"trailing", `"text":"t"}`, `"text":"t"}{}`, cer.ErrStrict, cer.ErrStrict},
}

func TestClosedEdits(t *testing.T) {
	for _, e := range edits {
		in := strings.Replace(closedText, e.old, e.new, 1)
		if in == closedText {
			t.Fatalf("%s: nothing to replace", e.name)
		}
		untouched := closed{Text: "untouched"}
		got := untouched
		check := func(what string, err, want error) {
			t.Helper()
			if !errors.Is(err, want) {
				t.Errorf("%s: %s = %v, want %v", e.name, what, err, want)
			}
			if diff := cmp.Diff(untouched, got); err != nil && diff != "" {
				t.Errorf("%s: %s changed the value despite its error: %s", e.name, what, diff)
			}
			got = untouched
		}
		check("UnmarshalCanonical", cer.UnmarshalCanonical([]byte(in), 64, &got), e.canonical)
		check("UnmarshalStrict", cer.UnmarshalStrict([]byte(in), 64, &got), e.strict)
	}
}

func TestUnmarshalTarget(t *testing.T) {
	var none *closed
	for _, v := range []any{nil, none, closed{}, "text"} {
		if err := cer.UnmarshalCanonical([]byte(closedText), 64, v); !errors.Is(err, cer.ErrSchema) {
			t.Errorf("UnmarshalCanonical into %T: %v, want ErrSchema", v, err)
		}
		if err := cer.UnmarshalStrict([]byte(closedText), 64, v); !errors.Is(err, cer.ErrSchema) {
			t.Errorf("UnmarshalStrict into %T: %v, want ErrSchema", v, err)
		}
	}
	var a any
	if err := cer.UnmarshalStrict([]byte(`null`), 64, &a); !errors.Is(err, cer.ErrSchema) {
		t.Errorf("null into an interface: %v, want ErrSchema", err)
	}
	var p *string
	if err := cer.UnmarshalCanonical([]byte(`null`), 64, &p); err != nil {
		t.Errorf("null into a pointer: %v", err)
	}
	m := map[string]string{"old": "x"}
	if err := cer.UnmarshalStrict([]byte(`{"new":"y"}`), 64, &m); err != nil || len(m) != 1 {
		t.Errorf("map = %v, %v; want the new member only", m, err)
	}
	if err := cer.UnmarshalStrict([]byte(`{"new":null}`), 64, &m); !errors.Is(err, cer.ErrSchema) {
		t.Errorf("null in a map: %v, want ErrSchema", err)
	}
	if err := cer.UnmarshalCanonical([]byte(closedText), 2, &closed{}); !errors.Is(err, cer.ErrStrict) {
		t.Errorf("depth 3 at limit 2: %v, want ErrStrict", err)
	}
}

func TestMarshalCanonicalRefuses(t *testing.T) {
	for name, v := range map[string]any{
		"invalid UTF-8":  "\xff",
		"invalid name":   map[string]int{"\xff": 1},
		"NaN":            math.NaN(),
		"infinity":       math.Inf(1),
		"negative zero":  math.Copysign(0, -1),
		"2^53":           uint64(1) << 53,
		"2^64-1":         uint64(math.MaxUint64),
		"1e300":          1e300,
		"channel":        make(chan int),
		"duplicate raw":  jsontext.Value(`{"a":1,"a":1}`),
		"depth 65":       jsontext.Value(strings.Repeat("[", 65) + strings.Repeat("]", 65)),
		"malformed raw":  jsontext.Value(`{`),
		"two values raw": jsontext.Value(`1 2`),
	} {
		if b, err := cer.MarshalCanonical(v); b != nil || !errors.Is(err, cer.ErrSchema) && !errors.Is(err, cer.ErrStrict) {
			t.Errorf("%s: %s, %v; want a classified error alone", name, b, err)
		}
	}
	if b, err := cer.MarshalCanonical(map[string]any{"b": uint64(1)<<53 - 1, "a": "<\u2028>"}); err != nil || string(b) != "{\"a\":\"<\u2028>\",\"b\":9007199254740991}" {
		t.Errorf("MarshalCanonical = %s, %v", b, err)
	}
}

func FuzzUnmarshal(f *testing.F) {
	f.Add([]byte(closedText))
	seeds := 0
	for _, e := range edits {
		f.Add([]byte(strings.Replace(closedText, e.old, e.new, 1)))
		seeds++
	}
	if seeds == 0 {
		f.Fatal("empty seed corpus")
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var c, s closed
		errC := cer.UnmarshalCanonical(b, 64, &c)
		errS := cer.UnmarshalStrict(b, 64, &s)
		for _, err := range []error{errC, errS} {
			if err != nil && !errors.Is(err, cer.ErrSchema) && !errors.Is(err, cer.ErrStrict) {
				t.Fatalf("unclassified error: %v", err)
			}
		}
		if errC != nil {
			if diff := cmp.Diff(closed{}, c); diff != "" {
				t.Fatalf("error %v and a value: %s", errC, diff)
			}
			return
		}
		if errS != nil || !cmp.Equal(c, s) {
			t.Fatalf("canonical accepts, strict says %v: %s", errS, cmp.Diff(c, s))
		}
		again, err := cer.MarshalCanonical(c)
		if err != nil || string(again) != string(b) {
			t.Fatalf("%q encodes to %q, %v", b, again, err)
		}
	})
}
