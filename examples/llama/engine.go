package main

import (
	"fmt"
	"io"
	"math"
)

// maxCacheBytes bounds the keys and values that are kept: a small file can ask
// for many layers and a long context at once.
const maxCacheBytes = 1 << 30

// engine runs a model over one sequence of tokens.
type engine struct {
	m      *model
	steps  int         // Positions that the caches hold.
	keys   [][]float32 // For each layer, steps x kvDim.
	values [][]float32
	sin    []float32 // Rotation of each pair of a head at the current position.
	cos    []float32

	x, norm, query, mixed, projected []float32 // dim.
	gated, up                        []float32 // hidden.
	scores                           []float32 // steps.
	logits                           []float32 // vocab.
}

// newEngine returns an engine for sequences of at most steps tokens, from 1 to
// the model's context. Errors wrap errModel.
func newEngine(m *model, steps int) (*engine, error) {
	cache := uint64(m.layers) * uint64(steps) * uint64(m.kvDim()) * 2 * 4
	if cache > maxCacheBytes {
		return nil, fmt.Errorf("%w: %d tokens need %d bytes of keys and values, at most %d", errModel, steps, cache, maxCacheBytes)
	}
	e := &engine{
		m:         m,
		steps:     steps,
		keys:      make([][]float32, m.layers),
		values:    make([][]float32, m.layers),
		sin:       make([]float32, m.headSize()/2),
		cos:       make([]float32, m.headSize()/2),
		x:         make([]float32, m.dim),
		norm:      make([]float32, m.dim),
		query:     make([]float32, m.dim),
		mixed:     make([]float32, m.dim),
		projected: make([]float32, m.dim),
		gated:     make([]float32, m.hidden),
		up:        make([]float32, m.hidden),
		scores:    make([]float32, steps),
		logits:    make([]float32, m.vocab),
	}
	for i := range m.layers {
		e.keys[i] = make([]float32, steps*m.kvDim())
		e.values[i] = make([]float32, steps*m.kvDim())
	}
	return e, nil
}

// write runs the model over prompt and on from there, and writes the text of
// both to out, followed by a newline. It ends after the engine's number of
// steps, or when the model begins another text. Errors wrap errCompute or
// errOutput.
func (e *engine) write(out io.Writer, tok *tokenizer, prompt []int, choose *sampler) error {
	token := prompt[0]
	for position := range e.steps {
		logits := e.forward(token, position)
		var next int
		if position+1 < len(prompt) {
			next = prompt[position+1]
		} else {
			var err error
			if next, err = choose.next(logits); err != nil {
				return fmt.Errorf("token %d: %w", position+1, err)
			}
		}
		if next == tokenBegin {
			break
		}
		if _, err := io.WriteString(out, tok.decode(token, next)); err != nil {
			return fmt.Errorf("%w: %w", errOutput, err)
		}
		token = next
	}
	if _, err := io.WriteString(out, "\n"); err != nil {
		return fmt.Errorf("%w: %w", errOutput, err)
	}
	return nil
}

// forward runs the model for the token at a position and returns the logits of
// what follows, valid until the next call. Positions count up from 0.
func (e *engine) forward(token, position int) []float32 {
	m := e.m
	copy(e.x, m.embedding[token*m.dim:])
	for i := range e.sin {
		e.sin[i], e.cos[i] = rotation(position, i, m.headSize())
	}
	for i := range m.layer {
		e.attend(i, position)
		e.feedForward(&m.layer[i])
	}
	normalize(e.x, e.x, m.finalNorm)
	multiply(e.logits, m.classifier, e.x)
	return e.logits
}

// attend adds to the residual stream what layer i attends to.
func (e *engine) attend(i, position int) {
	m, l := e.m, &e.m.layer[i]
	key := e.keys[i][position*m.kvDim():][:m.kvDim()]
	value := e.values[i][position*m.kvDim():][:m.kvDim()]
	normalize(e.norm, e.x, l.attentionNorm)
	multiply(e.query, l.wq, e.norm)
	multiply(key, l.wk, e.norm)
	multiply(value, l.wv, e.norm)
	e.rotate(e.query)
	e.rotate(key)
	for h := range m.heads {
		e.attendHead(i, h, position)
	}
	multiply(e.projected, l.wo, e.mixed)
	addTo(e.x, e.projected)
}

// attendHead mixes the values that head h of layer i attends to, from all
// positions up to the current one. Several heads share one head of keys.
func (e *engine) attendHead(i, h, position int) {
	m := e.m
	size := m.headSize()
	query := e.query[h*size:][:size]
	mixed := e.mixed[h*size:][:size]
	shared := h / (m.heads / m.kvHeads) * size
	scores := e.scores[:position+1]
	root := float32(math.Sqrt(float64(size)))
	for p := range scores {
		scores[p] = dot(query, e.keys[i][p*m.kvDim()+shared:][:size]) / root
	}
	softmax(scores)
	clear(mixed)
	for p, weight := range scores {
		for j, v := range e.values[i][p*m.kvDim()+shared:][:size] {
			mixed[j] += float32(weight * v)
		}
	}
}

// feedForward adds to the residual stream what the layer's feed-forward network
// makes of it.
func (e *engine) feedForward(l *layer) {
	normalize(e.norm, e.x, l.ffnNorm)
	multiply(e.gated, l.w1, e.norm)
	multiply(e.up, l.w3, e.norm)
	gate(e.gated, e.up)
	multiply(e.projected, l.w2, e.gated)
	addTo(e.x, e.projected)
}

// rotate turns each pair of neighbours in v, which holds whole heads, by the
// angle of the current position.
func (e *engine) rotate(v []float32) {
	for i := 0; i < len(v); i += 2 {
		sin, cos := e.sin[i/2%len(e.sin)], e.cos[i/2%len(e.cos)]
		a, b := v[i], v[i+1]
		v[i] = float32(a*cos) - float32(b*sin)
		v[i+1] = float32(a*sin) + float32(b*cos)
	}
}
