package main

import (
	"bytes"
	"errors"
	"testing"
	"unicode/utf8"
)

// FuzzParseModel checks that a model file is either refused with errModel and
// nothing else, or marshals to the same bytes and can be run.
func FuzzParseModel(f *testing.F) {
	seeds := [][]byte{
		modelFile(tiny()),
		modelFile(alter(func(c *config) { c.shared = false })),
		modelFile(alter(func(c *config) { c.heads, c.kvHeads = 1, 1 })),
		header(tiny()),
	}
	if len(seeds) == 0 {
		f.Fatal("the seed corpus is empty")
	}
	for _, seed := range seeds {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := parseModel(data)
		if (m == nil) == (err == nil) {
			t.Fatalf("model %t and error %v do not exclude each other", m != nil, err)
		}
		if err != nil {
			if !errors.Is(err, errModel) {
				t.Fatalf("error %v does not wrap errModel", err)
			}
			return
		}
		if !bytes.Equal(marshalModel(m), data) {
			t.Fatal("the model does not marshal to the bytes it was parsed from")
		}
		e, err := newEngine(m, 1)
		if err != nil {
			t.Fatalf("one step: %v", err)
		}
		next, err := newSampler(0, 1).next(e.forward(m.vocab-1, 0))
		if err != nil && !errors.Is(err, errCompute) {
			t.Fatalf("error %v does not wrap errCompute", err)
		}
		if next < 0 || next >= m.vocab {
			t.Fatalf("token %d of %d", next, m.vocab)
		}
	})
}

// FuzzTokenizer checks that a tokenizer file is either refused with
// errTokenizer and nothing else, or marshals to the same bytes, and that a text
// that it encodes decodes to itself, but for control characters.
func FuzzTokenizer(f *testing.F) {
	file := tokenizerFile(tinyTokens())
	seeds := []struct {
		data  []byte
		vocab int
		text  string
	}{
		{file, tiny().vocab, "ab aba é ü"},
		{file, tiny().vocab, "\n<s>\n <0x41>"},
		{tokenizerFile(tinyTokens()[:firstPiece]), firstPiece, "bytes alone"},
		{file[:100], tiny().vocab, ""},
	}
	if len(seeds) == 0 {
		f.Fatal("the seed corpus is empty")
	}
	for _, s := range seeds {
		f.Add(s.data, s.vocab, s.text)
	}
	f.Fuzz(func(t *testing.T, data []byte, vocab int, text string) {
		tok, err := parseTokenizer(data, vocab)
		if (tok == nil) == (err == nil) {
			t.Fatalf("tokenizer %t and error %v do not exclude each other", tok != nil, err)
		}
		if err != nil {
			if !errors.Is(err, errTokenizer) {
				t.Fatalf("error %v does not wrap errTokenizer", err)
			}
			return
		}
		if !bytes.Equal(marshalTokenizer(tok), data) {
			t.Fatal("the tokenizer does not marshal to the bytes it was parsed from")
		}
		checkEncoding(t, tok, text)
	})
}

// checkEncoding encodes text and decodes it again.
func checkEncoding(t *testing.T, tok *tokenizer, text string) {
	t.Helper()
	tokens, err := tok.encode(text, 4*len(text)+2)
	if err != nil {
		if !errors.Is(err, errPrompt) || tokens != nil {
			t.Fatalf("encode = %v, %v; want nil, errPrompt", tokens, err)
		}
		if utf8.ValidString(text) && len(text) <= maxPromptBytes {
			t.Fatalf("encode(%q) = %v", text, err)
		}
		return
	}
	var got []byte
	for i, id := range tokens[1:] {
		got = append(got, tok.decode(tokens[i], id)...)
	}
	if want := printable([]byte(text)); !bytes.Equal(printable(got), want) {
		t.Fatalf("encode(%q) decodes to %q", text, got)
	}
}

// printable returns text without the control characters that decode leaves out
// where they are tokens by themselves.
func printable(text []byte) []byte {
	return bytes.Map(func(r rune) rune {
		if r < ' ' && (r < '\t' || r > '\r') || r == 0x7f {
			return -1
		}
		return r
	}, text)
}
