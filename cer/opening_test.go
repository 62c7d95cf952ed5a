package cer_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/limits"
)

const certificate = "sha256:" + hexF

// opened returns an opening with every member, and the runtime that it opens.
func opened(tb testing.TB) (*cer.Opening, *cer.Runtime) {
	tb.Helper()
	input, output, stderr := streamOf([]byte("yes\n")), streamOf([]byte{0xff, 0}), streamOf(nil)
	stderr.Complete = false
	var err error
	if input.Content, err = cer.ContentFull([]byte("yes\n")); err != nil {
		tb.Fatal(err)
	}
	if output.Content, err = cer.ContentFull([]byte{0xff, 0}); err != nil {
		tb.Fatal(err)
	}
	a, b := "42", ""
	o := &cer.Opening{Type: cer.OpeningType, CertificateHash: certificate, Fields: []cer.OpenField{
		{Name: "input", Stream: &input},
		{Name: "output", Stream: &output},
		{Name: "param:a", Value: &a},
		{Name: "param:b", Value: &b},
		{Name: "stderr", Stream: &stderr},
	}}
	r := committedValue()
	for i := range o.Fields {
		salt := sha256.Sum256([]byte{byte(i)})
		o.Fields[i].Salt = hex.EncodeToString(salt[:])
		value, err := o.Fields[i].Bytes()
		if err != nil {
			tb.Fatal(err)
		}
		c := cer.Commit([32]byte(mustHex(tb, r.Series)), salt, o.Fields[i].Name, value)
		text := hex.EncodeToString(c[:])
		switch o.Fields[i].Name {
		case "input":
			r.Input.Commitment = text
		case "output":
			r.Output.Commitment = text
		case "stderr":
			r.Stderr.Commitment = text
		case "param:a":
			r.Parameters[0].Commitment = text
		case "param:b":
			r.Parameters[1].Commitment = text
		}
	}
	return o, r
}

func mustHex(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func TestOpening(t *testing.T) {
	o, r := opened(t)
	b, err := o.Encode()
	if err != nil {
		t.Fatal(err)
	}
	again, err := cer.ParseOpening(b)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(o, again); d != "" {
		t.Error(d)
	}
	if err := again.Check(certificate, r); err != nil {
		t.Error(err)
	}
	if !slices.Equal(o.Names(), r.CommittedFields()) {
		t.Errorf("opens %v, the record has %v", o.Names(), r.CommittedFields())
	}
}

// TestOpeningClosed: an opening file has one form.
func TestOpeningClosed(t *testing.T) {
	o, _ := opened(t)
	b, err := o.Encode()
	if err != nil {
		t.Fatal(err)
	}
	text := strings.TrimSuffix(string(b), "\n")
	wantRefused(t, append(mutations(t, []byte(text)), framings(text)...), []string{
		"/fields/0/stream/content is missing", "/fields/1/stream/content is missing", // not carried
	}, func(b []byte) (any, error) {
		v, err := orNil(cer.ParseOpening(append(bytes.Clone(b), '\n')))
		if errors.Is(err, cer.ErrHash) {
			err = fmt.Errorf("%w: %w", cer.ErrSchema, err) // content that is another text
		}
		return v, err
	})
	for name, file := range map[string]string{"no line feed": text, "two": text + "\n\n", "carriage return": text + "\r\n", "nothing": ""} {
		if v, err := cer.ParseOpening([]byte(file)); v != nil || !errors.Is(err, cer.ErrStrict) {
			t.Errorf("%s: %v, %v", name, v, err)
		}
	}
}

// openingRules has one opening for every rule that it breaks.
var openingRules = map[string]func(*cer.Opening){
	"type":                  func(o *cer.Opening) { o.Type = "sworn.opening/v2" },
	"certificate":           func(o *cer.Opening) { o.CertificateHash = hexF },
	"no fields":             func(o *cer.Opening) { o.Fields = nil },
	"field twice":           func(o *cer.Opening) { o.Fields[1] = o.Fields[0] },
	"fields descending":     func(o *cer.Opening) { o.Fields[0], o.Fields[1] = o.Fields[1], o.Fields[0] },
	"unknown field":         func(o *cer.Opening) { o.Fields[0].Name = "inpux" },
	"parameter no name":     func(o *cer.Opening) { o.Fields[2].Name = "param:" },
	"parameter brace":       func(o *cer.Opening) { o.Fields[3].Name = "param:b}" },
	"parameter long name":   func(o *cer.Opening) { o.Fields[3].Name = "param:" + strings.Repeat("b", 1<<16) },
	"parameter long value":  func(o *cer.Opening) { o.Fields[2].Value = new(strings.Repeat("x", limits.ParameterValue+1)) },
	"parameter not UTF-8":   func(o *cer.Opening) { o.Fields[2].Value = new("\xff") },
	"parameter as stream":   func(o *cer.Opening) { o.Fields[2].Stream, o.Fields[2].Value = o.Fields[0].Stream, nil },
	"parameter and stream":  func(o *cer.Opening) { o.Fields[2].Stream = o.Fields[0].Stream },
	"parameter and nothing": func(o *cer.Opening) { o.Fields[2].Value = nil },
	"stream as value":       func(o *cer.Opening) { o.Fields[0].Stream, o.Fields[0].Value = nil, new("x") },
	"stream and value":      func(o *cer.Opening) { o.Fields[0].Value = new("x") },
	"salt short":            func(o *cer.Opening) { o.Fields[0].Salt = o.Fields[0].Salt[2:] },
	"salt in capitals":      func(o *cer.Opening) { o.Fields[0].Salt = strings.ToUpper(hexF) },
	"stream digest":         func(o *cer.Opening) { o.Fields[0].Stream.SHA256 = "" },
	"stream size":           func(o *cer.Opening) { o.Fields[0].Stream.Size = "04" },
	"content of another":    func(o *cer.Opening) { o.Fields[0].Stream.Content = []byte(`"no\n"`) },
	"content not there": func(o *cer.Opening) {
		o.Fields[0].Stream.Content = []byte(`{"mediaType":"application/octet-stream","sha256":"` + hexF + `","size":"4"}`)
	},
	"content as base64": func(o *cer.Opening) {
		o.Fields[0].Stream.Content = []byte(`{"base64":"eWVzCg==","mediaType":"application/octet-stream","sha256":"` + o.Fields[0].Stream.SHA256 + `","size":"4"}`)
	},
	"too many fields": func(o *cer.Opening) {
		o.Fields = nil
		for i := range limits.OpeningFields + 1 {
			o.Fields = append(o.Fields, cer.OpenField{Name: fmt.Sprintf("param:%04d", i), Salt: hexF, Value: new("")})
		}
	},
}

func TestOpeningRules(t *testing.T) {
	for name, change := range openingRules {
		o, _ := opened(t)
		change(o)
		if b, err := o.Encode(); b != nil || !errors.Is(err, cer.ErrSchema) && !errors.Is(err, cer.ErrStrict) && !errors.Is(err, cer.ErrHash) {
			t.Errorf("%s: %s, %v", name, b, err)
		}
		b, err := cer.MarshalCanonical(o)
		if err != nil {
			continue
		}
		if got, err := cer.ParseOpening(append(b, '\n')); got != nil || err == nil {
			t.Errorf("%s: parses to %v", name, got)
		}
	}
	// As many fields as there may be are read.
	o := &cer.Opening{Type: cer.OpeningType, CertificateHash: certificate}
	for i := range limits.OpeningFields {
		o.Fields = append(o.Fields, cer.OpenField{Name: fmt.Sprintf("param:%04d", i), Salt: hexF, Value: new("")})
	}
	b, err := o.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cer.ParseOpening(b); err != nil {
		t.Error(err)
	}
	many := strings.Repeat("[],", limits.OpeningValues+1) + "[]"
	if v, err := cer.ParseOpening([]byte("[" + many + "]\n")); v != nil || !errors.Is(err, cer.ErrStrict) {
		t.Errorf("%v, %v", v, err)
	}
	if v, err := cer.ParseOpening(make([]byte, limits.OpeningFile+1)); v != nil || !errors.Is(err, cer.ErrStrict) {
		t.Errorf("%v, %v", v, err)
	}
}

// TestOpeningRefused: an opening opens one record, and each field of it one field, to
// one value. What is changed here is well-formed.
func TestOpeningRefused(t *testing.T) {
	for name, change := range map[string]func(o *cer.Opening, r *cer.Runtime){
		"another certificate": func(o *cer.Opening, _ *cer.Runtime) { o.CertificateHash = "sha256:" + hex0 },
		"another value":       func(o *cer.Opening, _ *cer.Runtime) { o.Fields[2].Value = new("43") },
		"a value for none":    func(o *cer.Opening, _ *cer.Runtime) { o.Fields[3].Value = new(" ") },
		"another size":        func(o *cer.Opening, _ *cer.Runtime) { o.Fields[4].Stream.Size = "1" },
		"another digest":      func(o *cer.Opening, _ *cer.Runtime) { o.Fields[4].Stream.SHA256 = hex0 },
		"whole":               func(o *cer.Opening, _ *cer.Runtime) { o.Fields[4].Stream.Complete = true },
		"another salt":        func(o *cer.Opening, _ *cer.Runtime) { o.Fields[0].Salt = hexF },
		"salts exchanged": func(o *cer.Opening, _ *cer.Runtime) {
			o.Fields[2].Salt, o.Fields[3].Salt = o.Fields[3].Salt, o.Fields[2].Salt
		},
		"values exchanged": func(o *cer.Opening, _ *cer.Runtime) {
			o.Fields[2].Value, o.Fields[3].Value = o.Fields[3].Value, o.Fields[2].Value
		},
		"parameters exchanged":    func(o *cer.Opening, _ *cer.Runtime) { swapFields(o, 2, 3) },
		"streams exchanged":       func(o *cer.Opening, _ *cer.Runtime) { swapFields(o, 0, 1) },
		"a parameter of no name":  func(o *cer.Opening, _ *cer.Runtime) { o.Fields[3].Name = "param:c" },
		"a commitment exchanged":  func(_ *cer.Opening, r *cer.Runtime) { r.Input.Commitment = r.Output.Commitment },
		"another series":          func(_ *cer.Opening, r *cer.Runtime) { r.Series = hexF },
		"a record that states it": func(_ *cer.Opening, r *cer.Runtime) { *r = *runtimeValue() },
		"a record without it":     func(_ *cer.Opening, r *cer.Runtime) { r.Parameters = r.Parameters[:1] },
	} {
		o, r := opened(t)
		change(o, r)
		if err := o.Check(certificate, r); !errors.Is(err, cer.ErrOpening) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// swapFields lets two fields change their names.
func swapFields(o *cer.Opening, i, j int) {
	o.Fields[i].Name, o.Fields[j].Name = o.Fields[j].Name, o.Fields[i].Name
	o.Fields[i], o.Fields[j] = o.Fields[j], o.Fields[i]
}

// TestOpeningOnly: an opening of some fields opens the record, and has nothing of the
// others.
func TestOpeningOnly(t *testing.T) {
	o, r := opened(t)
	names := o.Names()
	for set := range 1 << len(names) {
		var wanted []string
		for i, name := range names {
			if set&(1<<i) != 0 {
				wanted = append(wanted, name)
			}
		}
		less, err := o.Only(wanted, set%2 == 0)
		if err != nil {
			t.Fatal(err)
		}
		b, err := less.Encode()
		if len(wanted) == 0 {
			if !errors.Is(err, cer.ErrSchema) {
				t.Errorf("of no fields: %s, %v", b, err)
			}
			continue
		}
		if err != nil || less.Check(certificate, r) != nil || !slices.Equal(less.Names(), wanted) {
			t.Fatalf("%v: %v, %v", wanted, less.Names(), err)
		}
		for _, f := range o.Fields {
			if !slices.Contains(wanted, f.Name) && bytes.Contains(b, []byte(f.Salt)) {
				t.Errorf("%v: has the salt of %s", wanted, f.Name)
			}
		}
		if set%2 != 0 && bytes.Contains(b, []byte("content")) {
			t.Errorf("%v: has content", wanted)
		}
	}
	if _, err := o.Only([]string{"input", "param:c"}, true); !errors.Is(err, cer.ErrOpening) {
		t.Error(err)
	}
	if o.Fields[0].Stream.Content == nil {
		t.Error("the original lost its content")
	}
}

func FuzzParseOpening(f *testing.F) {
	o, r := opened(f)
	b, err := o.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	for _, change := range openingRules {
		x, _ := opened(f)
		change(x)
		if b, err := cer.MarshalCanonical(x); err == nil && len(b) < 1<<16 {
			f.Add(append(b, '\n'))
		}
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		got, err := cer.ParseOpening(file)
		if err != nil {
			if got != nil || !errors.Is(err, cer.ErrStrict) && !errors.Is(err, cer.ErrSchema) && !errors.Is(err, cer.ErrHash) {
				t.Fatalf("opening %v, error %v", got, err)
			}
			return
		}
		if again, err := got.Encode(); err != nil || !bytes.Equal(again, file) {
			t.Fatalf("encodes to %s, %v", again, err)
		}
		// What opens the record says nothing but what was committed to.
		if err := got.Check(certificate, r); err != nil {
			if !errors.Is(err, cer.ErrOpening) {
				t.Fatal(err)
			}
			return
		}
		for _, x := range got.Fields {
			want := o.Field(x.Name)
			a, errA := x.Bytes()
			b, errB := want.Bytes()
			if errA != nil || errB != nil || !bytes.Equal(a, b) || x.Salt != want.Salt {
				t.Fatalf("%s is opened otherwise: %s", x.Name, file)
			}
		}
	})
}

// An opening is read, held against its record, and cut down to one field.
func ExampleOpening() {
	salt, series := sha256.Sum256([]byte("32 random bytes")), sha256.Sum256([]byte("the record's series"))
	answer := "42"
	c := cer.Commit(series, salt, cer.ParameterField("answer"), []byte(answer))
	record := &cer.Runtime{
		V: cer.RuntimeVersion2, Series: hex.EncodeToString(series[:]),
		Parameters: []cer.Parameter{{Name: "answer", Commitment: hex.EncodeToString(c[:])}},
	}
	o := &cer.Opening{Type: cer.OpeningType, CertificateHash: certificate, Fields: []cer.OpenField{
		{Name: cer.ParameterField("answer"), Salt: hex.EncodeToString(salt[:]), Value: &answer},
	}}
	fmt.Println(o.Check(certificate, record))
	o.Fields[0].Value = new("43")
	fmt.Println(o.Check(certificate, record))
	// Output:
	// <nil>
	// the opening does not open the record: "param:answer" is not what was committed to
}
