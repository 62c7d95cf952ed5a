package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseTokenizerRoundTrip(t *testing.T) {
	file := tokenizerFile(tinyTokens())
	tok, err := parseTokenizer(file, tiny().vocab)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(marshalTokenizer(tok), file) {
		t.Error("the tokenizer does not marshal to the file it was parsed from")
	}
}

func TestParseTokenizerRefusals(t *testing.T) {
	good := tokenizerFile(tinyTokens())
	patch := func(offset int, v uint32) []byte {
		b := bytes.Clone(good)
		binary.LittleEndian.PutUint32(b[offset:], v)
		return b
	}
	with := func(id int, e entry) []byte {
		tokens := tinyTokens()
		tokens[id] = e
		return tokenizerFile(tokens)
	}
	vocab := tiny().vocab
	tests := map[string]struct {
		data  []byte
		vocab int
	}{
		"empty":                   {nil, vocab},
		"header alone":            {good[:4], vocab},
		"one byte short":          {good[:len(good)-1], vocab},
		"one byte more":           {append(bytes.Clone(good), 0), vocab},
		"one token too few":       {good, vocab + 1},
		"one token too many":      {good, vocab - 1},
		"vocabulary without text": {good, firstPiece - 1},
		"vocabulary huge":         {good, maxVocab},
		"length too long":         {patch(0, 7), vocab},
		"length too short":        {patch(0, 5), vocab},
		"length huge":             {patch(0, math.MaxUint32), vocab},
		"score not a number":      {patch(4, 0x7fc00000), vocab},
		"score infinite":          {patch(4, 0x7f800000), vocab},
		"piece past the end":      {patch(8, maxPieceBytes), vocab},
		"piece huge":              {patch(8, math.MaxUint32), vocab},
		"piece repeated":          {with(firstPiece+3, entry{"a", 0}), vocab},
		"piece empty":             {with(firstPiece+3, entry{"", 0}), vocab},
		"piece above the limit":   {with(firstPiece+3, entry{strings.Repeat("x", maxPieceBytes+1), 0}), vocab},
		"byte token wrong":        {with(firstByte+65, entry{"<0x42>", 0}), vocab},
		"byte token in lower":     {with(firstByte+171, entry{"<0xab>", 0}), vocab},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tok, err := parseTokenizer(tt.data, tt.vocab)
			if !errors.Is(err, errTokenizer) || tok != nil {
				t.Errorf("parseTokenizer = %v, %v; want nil, errTokenizer", tok != nil, err)
			}
		})
	}
}

func TestEncode(t *testing.T) {
	const (
		space = firstPiece + iota
		a
		b
		_ // "ab".
		aba
		spaceA
		_ // "ba".
		eAcute
		spaceAB
	)
	hex := func(b byte) int { return firstByte + int(b) }
	tests := map[string]struct {
		text string
		want []int
	}{
		"empty":           {"", nil},
		"one piece":       {"a", []int{spaceA}},
		"higher first":    {"ab", []int{spaceAB}}, // " a" (-6) before "ab" (-7), then " ab".
		"leftmost first":  {"éaaa", []int{space, eAcute, a, a, a}},
		"joins joined":    {"éaba", []int{space, eAcute, aba}},
		"higher inside":   {"ébaba", []int{space, eAcute, b, aba}}, // "ab" (-7) before either "ba" (-8).
		"character":       {"é", []int{space, eAcute}},
		"bytes":           {"ü", []int{space, hex(0xc3), hex(0xbc)}},
		"newline, letter": {"\nz", []int{space, hex('\n'), hex('z')}},
		"name of a token": {"\n<s>\n", []int{space, hex('\n'), hex('<'), hex('s'), hex('>'), hex('\n')}},
	}
	tok := mustTokenizer(t)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := tok.encode(tt.text, 16)
			if err != nil {
				t.Fatal(err)
			}
			want := append([]int{tokenBegin}, tt.want...)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("encode(%q) (-want +got):\n%s", tt.text, diff)
			}
		})
	}
}

func TestEncodeRefusals(t *testing.T) {
	tests := map[string]struct {
		text  string
		limit int
	}{
		"not UTF-8":            {"\xff", 16},
		"one token too many":   {"z", 2},
		"far too long":         {strings.Repeat("a", 1000), 16},
		"longer than accepted": {strings.Repeat("a", maxPromptBytes+1), 1 << 20},
	}
	tok := mustTokenizer(t)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := tok.encode(tt.text, tt.limit)
			if !errors.Is(err, errPrompt) || got != nil {
				t.Errorf("encode = %v, %v; want nil, errPrompt", got, err)
			}
		})
	}
	if _, err := tok.encode("z", 3); err != nil {
		t.Errorf("a prompt that just fits: %v", err)
	}
}

func TestDecode(t *testing.T) {
	tests := map[string]struct {
		previous, id int
		want         string
	}{
		"space kept":             {firstPiece, firstPiece + 5, " a"},
		"space after begin":      {tokenBegin, firstPiece + 5, "a"},
		"byte of text":           {firstPiece, firstByte + 'z', "z"},
		"newline":                {firstPiece, firstByte + '\n', "\n"},
		"escape left out":        {firstPiece, firstByte + 0x1b, ""},
		"delete left out":        {firstPiece, firstByte + 0x7f, ""},
		"part of a character":    {firstPiece, firstByte + 0xc3, "\xc3"},
		"space byte after start": {tokenBegin, firstByte + ' ', ""},
	}
	tok := mustTokenizer(t)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := tok.decode(tt.previous, tt.id); got != tt.want {
				t.Errorf("decode(%d, %d) = %q, want %q", tt.previous, tt.id, got, tt.want)
			}
		})
	}
}
