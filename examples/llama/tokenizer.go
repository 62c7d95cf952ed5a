package main

import (
	"encoding/binary"
	"fmt"
	"math"
	"unicode/utf8"
)

// Tokens with a meaning of their own, the same in every vocabulary: unknown,
// begin of text, end of text, then one for each byte, then pieces of text.
const (
	tokenBegin = 1
	firstByte  = 3
	firstPiece = firstByte + 256
)

// Limits of a tokenizer file.
const (
	minTokenBytes = 4 + 4   // Score and length, of an empty piece.
	maxPieceBytes = 1 << 10 // Of one token.
)

// tokenizer turns text into tokens and back: a byte pair encoding in which the
// pair of the highest score is joined first.
type tokenizer struct {
	longest int // Longest piece, in bytes.
	pieces  []string
	scores  []float32
	ids     map[string]int // Of the pieces of text alone.
}

// parseTokenizer parses a tokenizer file of llama2.c: the length of the longest
// piece, then for each of vocab tokens its score, its length and its bytes, in
// little-endian order. The length must be that of the longest piece, scores
// must be finite, pieces of text must differ, the byte tokens must stand in
// their places and nothing may follow. Errors wrap errTokenizer.
func parseTokenizer(data []byte, vocab int) (*tokenizer, error) {
	if vocab < firstPiece {
		return nil, fmt.Errorf("%w: %d tokens, the bytes alone need %d", errTokenizer, vocab, firstPiece)
	}
	if len(data) < 4 || (len(data)-4)/minTokenBytes < vocab {
		return nil, fmt.Errorf("%w: %d bytes cannot hold %d tokens", errTokenizer, len(data), vocab)
	}
	promised := binary.LittleEndian.Uint32(data)
	t := &tokenizer{
		pieces: make([]string, 0, vocab),
		scores: make([]float32, 0, vocab),
		ids:    make(map[string]int, vocab),
	}
	data = data[4:]
	for id := range vocab {
		var err error
		if data, err = t.parseToken(data); err != nil {
			return nil, fmt.Errorf("token %d: %w", id, err)
		}
	}
	if len(data) != 0 {
		return nil, fmt.Errorf("%w: %d bytes follow the last token", errTokenizer, len(data))
	}
	if uint64(promised) != uint64(t.longest) {
		return nil, fmt.Errorf("%w: the longest piece has %d bytes, the header says %d", errTokenizer, t.longest, promised)
	}
	return t, nil
}

// parseToken appends the token at the start of data to t and returns what
// follows it.
func (t *tokenizer) parseToken(data []byte) (rest []byte, err error) {
	if len(data) < minTokenBytes {
		return nil, fmt.Errorf("%w: the file ends", errTokenizer)
	}
	score := math.Float32frombits(binary.LittleEndian.Uint32(data))
	size := binary.LittleEndian.Uint32(data[4:])
	data = data[minTokenBytes:]
	switch {
	case !finite(score):
		return nil, fmt.Errorf("%w: the score is not a finite number", errTokenizer)
	case size > maxPieceBytes:
		return nil, fmt.Errorf("%w: %d bytes, at most %d", errTokenizer, size, maxPieceBytes)
	case uint64(size) > uint64(len(data)):
		return nil, fmt.Errorf("%w: %d bytes, the file has %d left", errTokenizer, size, len(data))
	}
	id, piece := len(t.pieces), string(data[:size])
	if id >= firstByte && id < firstPiece && piece != fmt.Sprintf("<0x%02X>", id-firstByte) {
		return nil, fmt.Errorf("%w: %q does not stand for byte %d", errTokenizer, piece, id-firstByte)
	}
	if id >= firstPiece {
		if _, ok := t.ids[piece]; ok || piece == "" {
			return nil, fmt.Errorf("%w: piece %q is empty or repeated", errTokenizer, piece)
		}
		t.ids[piece] = id
	}
	t.pieces = append(t.pieces, piece)
	t.scores = append(t.scores, score)
	t.longest = max(t.longest, int(size))
	return data[size:], nil
}

// encode returns the tokens of text, of which there may be at most limit, after
// the one for the begin of text. Text that spells the name of a special token
// stays text. Errors wrap errPrompt.
func (t *tokenizer) encode(text string, limit int) ([]int, error) {
	if !utf8.ValidString(text) {
		return nil, fmt.Errorf("%w: it is not UTF-8", errPrompt)
	}
	if len(text) > maxPromptBytes {
		return nil, fmt.Errorf("%w: more than %d bytes", errPrompt, maxPromptBytes)
	}
	if uint64(len(text)) > uint64(limit)*uint64(t.longest) {
		return nil, fmt.Errorf("%w: %d bytes cannot fit into %d tokens", errPrompt, len(text), limit)
	}
	tokens := []int{tokenBegin}
	if text != "" {
		tokens = append(tokens, t.merge(t.split(" "+text))...)
	}
	if len(tokens) > limit {
		return nil, fmt.Errorf("%w: it has %d tokens, at most %d can be run", errPrompt, len(tokens), limit)
	}
	return tokens, nil
}

// split returns one token for each character of text, or one for each of its
// bytes where the vocabulary lacks the character.
func (t *tokenizer) split(text string) []int {
	var tokens []int
	for _, r := range text {
		c := string(r)
		if id, ok := t.ids[c]; ok {
			tokens = append(tokens, id)
			continue
		}
		for i := range len(c) {
			tokens = append(tokens, firstByte+int(c[i]))
		}
	}
	return tokens
}

// merge joins neighbours for as long as the vocabulary has a piece for any two,
// the highest score first and the leftmost among equals.
func (t *tokenizer) merge(tokens []int) []int {
	joined := make([]int, len(tokens)) // What token i and its successor make, or -1.
	for i := range joined {
		joined[i] = t.join(tokens, i)
	}
	for {
		best := -1
		for i, id := range joined {
			if id >= 0 && (best < 0 || t.scores[id] > t.scores[joined[best]]) {
				best = i
			}
		}
		if best < 0 {
			return tokens
		}
		tokens[best] = joined[best]
		tokens = append(tokens[:best+1], tokens[best+2:]...)
		joined = append(joined[:best+1], joined[best+2:]...)
		joined[best] = t.join(tokens, best)
		if best > 0 {
			joined[best-1] = t.join(tokens, best-1)
		}
	}
}

// join returns the token that tokens i and i+1 make together, or -1.
func (t *tokenizer) join(tokens []int, i int) int {
	if i+1 >= len(tokens) || tokens[i] < firstPiece || tokens[i+1] < firstPiece {
		return -1
	}
	if id, ok := t.ids[t.pieces[tokens[i]]+t.pieces[tokens[i+1]]]; ok {
		return id
	}
	return -1
}

// decode returns the text of token id after token previous. The space that
// encode puts before a text is taken away again, and a byte that would control
// a terminal is left out.
func (t *tokenizer) decode(previous, id int) string {
	piece := t.pieces[id]
	if id >= firstByte && id < firstPiece {
		piece = string([]byte{byte(id - firstByte)})
	}
	if previous == tokenBegin && piece != "" && piece[0] == ' ' {
		piece = piece[1:]
	}
	if len(piece) == 1 && (piece[0] < ' ' && (piece[0] < '\t' || piece[0] > '\r') || piece[0] == 0x7f) {
		return ""
	}
	return piece
}
