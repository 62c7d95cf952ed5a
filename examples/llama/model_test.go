package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"runtime"
	"testing"
)

func TestParseModelRoundTrip(t *testing.T) {
	shapes := map[string]config{
		"shared classifier": tiny(),
		"own classifier":    alter(func(c *config) { c.shared = false }),
		"one head":          alter(func(c *config) { c.heads, c.kvHeads = 1, 1 }),
		"one layer":         alter(func(c *config) { c.layers = 1 }),
	}
	for name, c := range shapes {
		t.Run(name, func(t *testing.T) {
			file := modelFile(c)
			m, err := parseModel(file)
			if err != nil {
				t.Fatal(err)
			}
			if m.config != c {
				t.Errorf("shape = %+v, want %+v", m.config, c)
			}
			if !bytes.Equal(marshalModel(m), file) {
				t.Error("the model does not marshal to the file it was parsed from")
			}
			own := &m.classifier[0] != &m.embedding[0]
			if own == c.shared || len(m.classifier) != c.vocab*c.dim {
				t.Errorf("classifier of %d floats, own: %t", len(m.classifier), own)
			}
			last := m.weights[len(m.weights)-1]
			if !c.shared && m.classifier[len(m.classifier)-1] != last {
				t.Error("the classifier is not the end of the file")
			}
		})
	}
}

func TestParseModelRefusals(t *testing.T) {
	good := modelFile(tiny())
	patch := func(offset int, v uint32) []byte {
		b := bytes.Clone(good)
		binary.LittleEndian.PutUint32(b[offset:], v)
		return b
	}
	odd := alter(func(c *config) { c.dim = 12 })
	tests := map[string][]byte{
		"empty":                     nil,
		"header cut":                good[:headerBytes-1],
		"header alone":              good[:headerBytes],
		"one byte short":            good[:len(good)-1],
		"one byte more":             append(bytes.Clone(good), 0),
		"one float more":            append(bytes.Clone(good), 0, 0, 0, 0),
		"own classifier absent":     patch(20, uint32(1<<32-firstPiece-9)),
		"dim zero":                  patch(0, 0),
		"dim negative":              patch(0, math.MaxUint32),
		"dim huge":                  patch(0, math.MaxInt32),
		"hidden huge":               patch(4, maxWidth+1),
		"layers huge":               patch(8, maxLayers+1),
		"layers lie within limits":  patch(8, maxLayers),
		"heads zero":                patch(12, 0),
		"heads do not divide":       patch(12, 3),
		"key heads do not divide":   patch(16, 3),
		"more key heads than heads": patch(16, 8),
		"vocabulary zero":           patch(20, 0),
		"vocabulary least":          patch(20, 1<<31),
		"context huge":              patch(24, maxContext+1),
		"context lies":              patch(24, maxContext),
		"odd head size":             modelFile(odd),
		"weight not a number":       patch(headerBytes, 0x7fc00000),
		"weight infinite":           patch(len(good)-4, 0xff800000),
		"all fields at their limit": header(config{
			dim: maxWidth, hidden: maxWidth, layers: maxLayers, heads: maxHeads, kvHeads: maxHeads, vocab: maxVocab, context: maxContext,
		}),
	}
	for name, data := range tests {
		t.Run(name, func(t *testing.T) {
			m, err := parseModel(data)
			if !errors.Is(err, errModel) || m != nil {
				t.Errorf("parseModel = %v, %v; want nil, errModel", m != nil, err)
			}
		})
	}
}

// TestLyingHeaderAllocatesNothing checks that the header is compared with the
// size of the file before memory is taken.
func TestLyingHeaderAllocatesNothing(t *testing.T) {
	c := config{dim: maxWidth, hidden: maxWidth, layers: 8, heads: 8, kvHeads: 8, vocab: firstPiece, context: 64}
	data := append(header(c), make([]byte, 1<<10)...)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := parseModel(data)
	runtime.ReadMemStats(&after)
	if !errors.Is(err, errModel) {
		t.Errorf("parseModel error = %v, want errModel", err)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
		t.Errorf("refusing a header took %d bytes of memory", n)
	}
}

// TestCacheIsBounded checks that a file that is small, but asks for many layers
// and a long context, does not get all the memory there is.
func TestCacheIsBounded(t *testing.T) {
	c := config{dim: 2, hidden: 1, layers: maxLayers, heads: 1, kvHeads: 1, vocab: firstPiece, context: maxContext, shared: true}
	m, err := parseModel(append(header(c), make([]byte, 4*c.floats())...))
	if err != nil {
		t.Fatal(err)
	}
	if e, err := newEngine(m, m.context); !errors.Is(err, errModel) || e != nil {
		t.Errorf("newEngine = %v, %v; want nil, errModel", e != nil, err)
	}
	if _, err := newEngine(m, 16); err != nil {
		t.Errorf("newEngine for 16 tokens: %v", err)
	}
}
