package main

import (
	"encoding/binary"
	"fmt"
	"math"
)

// headerBytes is the size of the header of a model file: seven signed 32 bit
// integers, little-endian.
const headerBytes = 7 * 4

// Limits of the fields of the header. They keep every product of them within
// 64 bits; the size of the file bounds them further.
const (
	maxWidth   = 1 << 16 // Of dim, hidden.
	maxLayers  = 1 << 10
	maxHeads   = 1 << 10
	maxVocab   = 1 << 20
	maxContext = 1 << 20
)

// config is the shape of a model, as the header of its file gives it.
type config struct {
	dim     int // Width of the residual stream, in floats.
	hidden  int // Width of the feed-forward layer, in floats.
	layers  int
	heads   int  // Query heads; they divide dim.
	kvHeads int  // Key and value heads; they divide heads.
	vocab   int  // Tokens.
	context int  // Longest sequence, in tokens.
	shared  bool // Whether the classifier is the embedding.
}

// headSize returns the width of one head, in floats.
func (c config) headSize() int { return c.dim / c.heads }

// kvDim returns the width of the keys of one position, in floats.
func (c config) kvDim() int { return c.headSize() * c.kvHeads }

// layer holds the weights of one layer; matrices are stored by rows.
type layer struct {
	attentionNorm  []float32 // dim.
	wq, wk, wv, wo []float32 // dim x dim, kvDim x dim, kvDim x dim, dim x dim.
	ffnNorm        []float32 // dim.
	w1, w2, w3     []float32 // hidden x dim, dim x hidden, hidden x dim.
}

// model is a parsed model file: llama2.c's first format ("legacy export",
// version 0), 32 bit floats.
type model struct {
	config
	weights    []float32 // All of them, in the order of the file.
	embedding  []float32 // vocab x dim.
	layer      []layer
	finalNorm  []float32 // dim.
	classifier []float32 // vocab x dim.
}

// parseModel parses a model file. The shape in the header must account for
// every byte of data, and every weight must be a finite number; nothing is
// allocated before the former is known. Errors wrap errModel.
func parseModel(data []byte) (*model, error) {
	c, err := parseHeader(data)
	if err != nil {
		return nil, err
	}
	body := data[headerBytes:]
	if want := c.floats() * 4; uint64(len(body)) != want {
		return nil, fmt.Errorf("%w: the header promises %d bytes of weights, the file has %d", errModel, want, len(body))
	}
	weights := make([]float32, len(body)/4)
	for i := range weights {
		w := math.Float32frombits(binary.LittleEndian.Uint32(body[4*i:]))
		if !finite(w) {
			return nil, fmt.Errorf("%w: weight %d is not a finite number", errModel, i)
		}
		weights[i] = w
	}
	return newModel(c, weights), nil
}

// parseHeader parses and checks the seven fields at the start of data.
func parseHeader(data []byte) (config, error) {
	if len(data) < headerBytes {
		return config{}, fmt.Errorf("%w: %d bytes, the header alone has %d", errModel, len(data), headerBytes)
	}
	var c config
	fields := []struct {
		name  string
		to    *int
		limit int64
	}{
		{"dim", &c.dim, maxWidth},
		{"hidden dim", &c.hidden, maxWidth},
		{"layers", &c.layers, maxLayers},
		{"heads", &c.heads, maxHeads},
		{"key-value heads", &c.kvHeads, maxHeads},
		{"vocabulary", &c.vocab, maxVocab},
		{"context", &c.context, maxContext},
	}
	c.shared = true
	for i, f := range fields {
		v := int64(int32(binary.LittleEndian.Uint32(data[4*i:])))
		if f.to == &c.vocab && v < 0 { // A negative sign tells of a classifier of its own.
			c.shared = false
			v = -v
		}
		if v < 1 || v > f.limit {
			return config{}, fmt.Errorf("%w: %s %d is not between 1 and %d", errModel, f.name, v, f.limit)
		}
		*f.to = int(v)
	}
	switch {
	case c.dim%c.heads != 0:
		return config{}, fmt.Errorf("%w: %d heads do not divide dim %d", errModel, c.heads, c.dim)
	case c.heads%c.kvHeads != 0:
		return config{}, fmt.Errorf("%w: %d key-value heads do not divide %d heads", errModel, c.kvHeads, c.heads)
	case c.headSize()%2 != 0:
		return config{}, fmt.Errorf("%w: head size %d is odd", errModel, c.headSize())
	}
	return c, nil
}

// floats returns the number of weights of a model of this shape: at most
// 2^47, by the limits on the fields.
func (c config) floats() uint64 {
	dim, kv := uint64(c.dim), uint64(c.kvDim())
	perLayer := 2*dim + 2*dim*dim + 2*dim*kv + 3*dim*uint64(c.hidden)
	n := uint64(c.vocab)*dim + uint64(c.layers)*perLayer + dim
	n += uint64(c.context) * uint64(c.headSize()) // Tables of rotations.
	if !c.shared {
		n += uint64(c.vocab) * dim
	}
	return n
}

// newModel divides weights, of which there are c.floats(), among the parts of
// the model. In the file each kind of weight stands together for all layers.
func newModel(c config, weights []float32) *model {
	m := &model{config: c, weights: weights, layer: make([]layer, c.layers)}
	rest := weights
	take := func(n int) []float32 {
		part := rest[:n:n]
		rest = rest[n:]
		return part
	}
	perLayer := func(n int, part func(*layer) *[]float32) {
		for i := range m.layer {
			*part(&m.layer[i]) = take(n)
		}
	}
	m.embedding = take(c.vocab * c.dim)
	perLayer(c.dim, func(l *layer) *[]float32 { return &l.attentionNorm })
	perLayer(c.dim*c.dim, func(l *layer) *[]float32 { return &l.wq })
	perLayer(c.kvDim()*c.dim, func(l *layer) *[]float32 { return &l.wk })
	perLayer(c.kvDim()*c.dim, func(l *layer) *[]float32 { return &l.wv })
	perLayer(c.dim*c.dim, func(l *layer) *[]float32 { return &l.wo })
	perLayer(c.dim, func(l *layer) *[]float32 { return &l.ffnNorm })
	perLayer(c.hidden*c.dim, func(l *layer) *[]float32 { return &l.w1 })
	perLayer(c.dim*c.hidden, func(l *layer) *[]float32 { return &l.w2 })
	perLayer(c.hidden*c.dim, func(l *layer) *[]float32 { return &l.w3 })
	m.finalNorm = take(c.dim)
	take(c.context * c.headSize()) // The engine computes the rotations itself.
	m.classifier = m.embedding
	if !c.shared {
		m.classifier = take(c.vocab * c.dim)
	}
	return m
}

// finite reports whether x is neither an infinity nor not a number.
func finite(x float32) bool {
	return math.Float32bits(x)&0x7f800000 != 0x7f800000
}
