package main

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// tiny is the shape of the synthetic model: two query heads share one head of
// keys, and the classifier is the embedding.
func tiny() config {
	return config{dim: 8, hidden: 12, layers: 2, heads: 4, kvHeads: 2, vocab: firstPiece + 9, context: 24, shared: true}
}

// header returns the header of a model file of shape c.
func header(c config) []byte {
	vocab := c.vocab
	if !c.shared {
		vocab = -vocab
	}
	var b []byte
	for _, v := range []int{c.dim, c.hidden, c.layers, c.heads, c.kvHeads, vocab, c.context} {
		b = binary.LittleEndian.AppendUint32(b, uint32(int32(v)))
	}
	return b
}

// modelFile returns a model file of shape c with random weights from -1 to 1,
// always the same ones.
func modelFile(c config) []byte {
	random := rand.NewPCG(2, 3)
	b := header(c)
	for range c.floats() {
		w := float32(int64(random.Uint64()>>40)-1<<23) / (1 << 23)
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(w))
	}
	return b
}

// marshalModel is the inverse of parseModel.
func marshalModel(m *model) []byte {
	b := header(m.config)
	for _, w := range m.weights {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(w))
	}
	return b
}

// entry is one token of a tokenizer file.
type entry struct {
	piece string
	score float32
}

// tinyTokens is the vocabulary of the synthetic model.
func tinyTokens() []entry {
	tokens := []entry{{"<unk>", 0}, {"\n<s>\n", 0}, {"\n</s>\n", 0}}
	for b := range 256 {
		tokens = append(tokens, entry{fmt.Sprintf("<0x%02X>", b), 0})
	}
	return append(tokens, []entry{
		{" ", -1}, {"a", -2}, {"b", -3}, {"ab", -7}, {"aba", -5}, {" a", -6}, {"ba", -8}, {"é", -4}, {" ab", -9},
	}...)
}

// tokenizerFile returns the tokenizer file of tokens.
func tokenizerFile(tokens []entry) []byte {
	longest := 0
	for _, t := range tokens {
		longest = max(longest, len(t.piece))
	}
	b := binary.LittleEndian.AppendUint32(nil, uint32(longest))
	for _, t := range tokens {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(t.score))
		b = binary.LittleEndian.AppendUint32(b, uint32(len(t.piece)))
		b = append(b, t.piece...)
	}
	return b
}

// marshalTokenizer is the inverse of parseTokenizer.
func marshalTokenizer(t *tokenizer) []byte {
	tokens := make([]entry, len(t.pieces))
	for i := range tokens {
		tokens[i] = entry{t.pieces[i], t.scores[i]}
	}
	return tokenizerFile(tokens)
}

func mustModel(t *testing.T, c config) *model {
	t.Helper()
	m, err := parseModel(modelFile(c))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func mustTokenizer(t *testing.T) *tokenizer {
	t.Helper()
	tok, err := parseTokenizer(tokenizerFile(tinyTokens()), tiny().vocab)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// alter returns the synthetic shape changed by change.
func alter(change func(*config)) config {
	c := tiny()
	change(&c)
	return c
}
