package main

import (
	"bytes"
	"errors"
	"math"
	"testing"
)

// reference computes the logits after the last of tokens in 64 bit floats,
// straight from the definition of the architecture, without a cache.
func reference(m *model, tokens []int) []float64 {
	dim, size, kv := m.dim, m.headSize(), m.kvDim()
	streams := make([][]float64, len(tokens))
	for p, token := range tokens {
		streams[p] = widen(m.embedding[token*dim : (token+1)*dim])
	}
	for _, l := range m.layer {
		keys, values, queries := make([][]float64, len(tokens)), make([][]float64, len(tokens)), make([][]float64, len(tokens))
		for p, x := range streams {
			n := refNorm(x, l.attentionNorm)
			queries[p] = refRotate(refMul(l.wq, n, dim), p, size)
			keys[p] = refRotate(refMul(l.wk, n, kv), p, size)
			values[p] = refMul(l.wv, n, kv)
		}
		for p := range streams {
			mixed := make([]float64, dim)
			for j := range mixed {
				head := j / size
				from := head * m.kvHeads / m.heads * size
				var sum, total float64
				for q := 0; q <= p; q++ {
					var score float64
					for k := range size {
						score += queries[p][head*size+k] * keys[q][from+k]
					}
					weight := math.Exp(score / math.Sqrt(float64(size)))
					total += weight
					sum += weight * values[q][from+j%size]
				}
				mixed[j] = sum / total
			}
			refAdd(streams[p], refMul(l.wo, mixed, dim))
			n := refNorm(streams[p], l.ffnNorm)
			gated, up := refMul(l.w1, n, m.hidden), refMul(l.w3, n, m.hidden)
			for j, v := range gated {
				gated[j] = v / (1 + math.Exp(-v)) * up[j]
			}
			refAdd(streams[p], refMul(l.w2, gated, dim))
		}
	}
	return refMul(m.classifier, refNorm(streams[len(tokens)-1], m.finalNorm), m.vocab)
}

func widen(x []float32) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = float64(v)
	}
	return out
}

func refNorm(x []float64, weight []float32) []float64 {
	var sum float64
	for _, v := range x {
		sum += v * v
	}
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = float64(weight[i]) * v / math.Sqrt(sum/float64(len(x))+1e-5)
	}
	return out
}

func refMul(w []float32, x []float64, rows int) []float64 {
	out := make([]float64, rows)
	for i := range out {
		for j, v := range x {
			out[i] += float64(w[i*len(x)+j]) * v
		}
	}
	return out
}

func refRotate(v []float64, position, size int) []float64 {
	for i := 0; i < len(v); i += 2 {
		angle := float64(position) * math.Pow(10000, -float64(i%size)/float64(size))
		a, b := v[i], v[i+1]
		v[i] = a*math.Cos(angle) - b*math.Sin(angle)
		v[i+1] = a*math.Sin(angle) + b*math.Cos(angle)
	}
	return v
}

func refAdd(sum, x []float64) {
	for i, v := range x {
		sum[i] += v
	}
}

func TestForwardAgreesWithReference(t *testing.T) {
	shapes := map[string]config{
		"shared keys":    tiny(),
		"own keys":       alter(func(c *config) { c.kvHeads = c.heads }),
		"one key head":   alter(func(c *config) { c.kvHeads = 1 }),
		"own classifier": alter(func(c *config) { c.shared = false }),
		"wide heads":     alter(func(c *config) { c.heads, c.kvHeads = 1, 1 }),
	}
	tokens := []int{tokenBegin, 260, 17, 262, 3, 260, 260, 101}
	for name, c := range shapes {
		t.Run(name, func(t *testing.T) {
			m := mustModel(t, c)
			e, err := newEngine(m, len(tokens))
			if err != nil {
				t.Fatal(err)
			}
			for p, token := range tokens {
				got, want := e.forward(token, p), reference(m, tokens[:p+1])
				for i := range want {
					if math.Abs(float64(got[i])-want[i]) > 1e-4 {
						t.Fatalf("position %d: logit %d = %v, want %v", p, i, got[i], want[i])
					}
				}
			}
		})
	}
}

// TestTextOfTheSyntheticModel pins texts of a model with random weights: they
// must come out the same on every processor.
func TestTextOfTheSyntheticModel(t *testing.T) {
	tests := map[string]struct {
		prompt      string
		temperature float32
		seed        uint64
		want        string
	}{
		"greedy":          {"", 0, 1, "\xa1\x82\xea\n\xbd\xeawrrr\xd0\xd0\xd0rr\xd0\xd0\xd0\xd0r\xd0I)t\n"},
		"seed is ignored": {"", 0, 2, "\xa1\x82\xea\n\xbd\xeawrrr\xd0\xd0\xd0rr\xd0\xd0\xd0\xd0r\xd0I)t\n"},
		"prompt":          {"ab é", 0, 1, "ab é\x95\x82\x82\x82\xf9Y\x82\xba\xb0\xa08\xb5\xd0\xb5)\xa3\xca )\n"},
		"seed 1":          {"ab", 1, 1, "ab\x9a\xc2\t\xbe\x93\xda\x91Ft\xfe!\xed)\xc4\x89\xdf\xfe\x8c)\n"},
		"seed 2":          {"ab", 1, 2, "ab\xb5\xdbZ9\xae\f\xac\xd0G\xd0\xc27\xcc\xbe\xf8\xefzt3\xd0\n"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m, tok := mustModel(t, tiny()), mustTokenizer(t)
			e, err := newEngine(m, m.context)
			if err != nil {
				t.Fatal(err)
			}
			tokens, err := tok.encode(tt.prompt, m.context)
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			if err := e.write(&out, tok, tokens, newSampler(tt.temperature, tt.seed)); err != nil {
				t.Fatal(err)
			}
			if got := out.String(); got != tt.want {
				t.Errorf("text = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestSampler(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for name, logits := range map[string][]float32{"NaN": {0, nan}, "infinite": {inf, 0}, "minus infinite": {0, -inf}} {
		for _, temperature := range []float32{0, 1} {
			if _, err := newSampler(temperature, 1).next(logits); !errors.Is(err, errCompute) {
				t.Errorf("%s at temperature %v: error = %v, want errCompute", name, temperature, err)
			}
		}
	}
	if got, err := newSampler(0, 1).next([]float32{1, 3, 3, 2}); err != nil || got != 1 {
		t.Errorf("greedy choice = %d, %v; want 1", got, err)
	}
	const draws = 20000
	counts, s := make([]int, 3), newSampler(2, 7)
	for range draws {
		i, err := s.next([]float32{0, float32(2 * math.Ln2), -200})
		if err != nil {
			t.Fatal(err)
		}
		counts[i]++
	}
	// At temperature 2 the second is twice as likely as the first.
	if share := float64(counts[1]) / draws; math.Abs(share-2.0/3) > 0.02 || counts[2] != 0 {
		t.Errorf("choices = %v of %d", counts, draws)
	}
}

// TestOverflowIsAnError runs a model whose weights are finite and whose results
// are not.
func TestOverflowIsAnError(t *testing.T) {
	m := mustModel(t, tiny())
	for i := range m.finalNorm {
		m.finalNorm[i] = math.MaxFloat32
	}
	e, err := newEngine(m, 4)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := e.write(&out, mustTokenizer(t), []int{tokenBegin}, newSampler(0, 1)); !errors.Is(err, errCompute) {
		t.Errorf("error = %v, want errCompute", err)
	}
}

func TestFailedOutputIsAnError(t *testing.T) {
	e, err := newEngine(mustModel(t, tiny()), 4)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.write(brokenWriter{}, mustTokenizer(t), []int{tokenBegin}, newSampler(0, 1)); !errors.Is(err, errOutput) {
		t.Errorf("error = %v, want errOutput", err)
	}
}
