//go:build ignore

package main

import (
	"fmt"
	"strings"

	"github.com/sworn-run/sworn/cer"
)

// The vectors of commitments and of openings.
type (
	commitmentVector struct {
		head
		Series     string `json:"series"`
		Field      string `json:"field"`
		Salt       string `json:"salt"`
		Value      string `json:"value"`
		Commitment string `json:"commitment"`
	}
	openingVector struct {
		head
		CertificateHash string `json:"certificateHash"`
		Runtime         string `json:"runtime"`
		Opening         string `json:"opening"`
	}
)

// stream is a stream of the vectors.
func stream(text string) cer.Stream {
	return cer.NewStream(named(text), uint64(len(text)), true)
}

func (g *generator) commitments() {
	series := named("series one")
	value := func(s cer.Stream) []byte { return g.bytes(cer.StreamBytes(s)) }
	for _, x := range []struct {
		name, why, field string
		value            []byte
	}{
		{"input", "a stream", cer.FieldInput, value(stream("yes\n"))},
		{"output", "the same stream as another field", cer.FieldOutput, value(stream("yes\n"))},
		{"stderr", "an empty stream, cut short", cer.FieldStderr, value(cer.NewStream(named(""), 0, false))},
		{"parameter", "a parameter", cer.ParameterField("seed"), []byte("7")},
		{"parameter-empty", "a parameter without a value", cer.ParameterField("seed"), nil},
		{"parameter-boundary", "a parameter whose name ends where another's value begins", cer.ParameterField("seed7"), nil},
		{"parameter-utf8", "a name and a value beyond ASCII", cer.ParameterField("größe"), []byte("1.284,50 €")},
		{"parameter-long", "a value of more than one block", cer.ParameterField("note"), []byte(strings.Repeat("0123456789", 30))},
	} {
		salt := named("salt of " + x.name)
		c := cer.Commit(series, salt, x.field, x.value)
		g.write("commitment-"+x.name, commitmentVector{
			head{"commitment", x.why, "ok"}, hexOf(series[:]), x.field, hexOf(salt[:]), hexOf(x.value), hexOf(c[:]),
		})
	}
	g.openings(series)
}

// openings writes openings of one record.
func (g *generator) openings(series [32]byte) {
	input, output, stderr := stream("yes\n"), stream("no\n"), stream("")
	seed, certificate := "7", cer.FormatHash(named("certificate"))
	fields := []cer.OpenField{
		{Name: cer.FieldInput, Stream: &input},
		{Name: cer.FieldOutput, Stream: &output},
		{Name: cer.ParameterField("seed"), Value: &seed},
		{Name: cer.FieldStderr, Stream: &stderr},
	}
	commitments := map[string]string{}
	for i := range fields {
		salt := named("salt of " + fields[i].Name)
		fields[i].Salt = hexOf(salt[:])
		value, err := fields[i].Bytes()
		c := cer.Commit(series, salt, fields[i].Name, g.bytes(value, err))
		commitments[fields[i].Name] = hexOf(c[:])
	}
	id := cer.SHA256Digest(named("launch one"))
	rt := &cer.Runtime{
		V: cer.RuntimeVersion2, Series: hexOf(series[:]), Launch: id, Key: id, Record: "0", Disclosure: cer.DiscloseCommit,
		Input:  cer.Stream{Commitment: commitments[cer.FieldInput]},
		Output: cer.Stream{Commitment: commitments[cer.FieldOutput], Complete: true},
		Stderr: cer.Stream{Commitment: commitments[cer.FieldStderr]}, Isolation: []cer.Fact{},
		Parameters:    []cer.Parameter{{Name: "seed", Applied: true, Commitment: commitments[cer.ParameterField("seed")]}},
		NotApplicable: []string{"parameters.maxTokens", "parameters.temperature", "prompt"}, After: []cer.Fact{},
	}
	runtime := string(g.bytes(rt.Encode()))
	all := &cer.Opening{Type: cer.OpeningType, CertificateHash: certificate, Fields: fields}
	one, err := all.Only([]string{cer.ParameterField("seed")}, false)
	if err != nil {
		g.fail(err)
		return
	}
	text := string(g.bytes(all.Encode()))
	swapped := strings.NewReplacer(fields[0].Salt, fields[1].Salt, fields[1].Salt, fields[0].Salt)
	for _, x := range []struct{ name, why, expect, opening string }{
		{"all", "every field", "ok", text},
		{"one", "one field of four", "ok", string(g.bytes(one.Encode()))},
		{"another-record", "another certificateHash", "record.opening", strings.Replace(text, certificate, id, 1)},
		{"value", "another value of a parameter", "record.opening", strings.Replace(text, `"value":"7"`, `"value":"8"`, 1)},
		{"size", "another size of a stream", "record.opening", strings.Replace(text, `"size":"4"`, `"size":"5"`, 1)},
		{"complete", "a stream that was whole, cut short", "record.opening", strings.Replace(text, `"complete":true`, `"complete":false`, 1)},
		{"salts-swapped", "the salts of two fields exchanged", "record.opening", swapped.Replace(text)},
		{"unknown-field", "a parameter that the record does not have", "record.opening", strings.Replace(text, "param:seed", "param:sees", 1)},
		{"no-line-feed", "no line feed", "record.opening", strings.TrimSuffix(text, "\n")},
		{"order", "fields in another order", "record.opening", strings.NewReplacer(`"name":"input"`, `"name":"output"`, `"name":"output"`, `"name":"input"`).Replace(text)},
		{"member", "a member more", "record.opening", strings.Replace(text, `"name":"input"`, `"more":1,"name":"input"`, 1)},
		{"content", "content that has not the digest", "record.opening", strings.Replace(text, `"complete":true,`, `"complete":true,"content":"no\n",`, 1)},
	} {
		if x.expect != "ok" && x.opening == text {
			g.fail(fmt.Errorf("opening %s is not changed", x.name))
		}
		g.write("opening-"+x.name, openingVector{head{"opening", x.why, x.expect}, certificate, runtime, x.opening})
	}
}
