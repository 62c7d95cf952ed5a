package main

import (
	"fmt"
	"math/rand/v2"
)

// maxTemperature is the highest temperature accepted; far below it, every token
// is about as likely as any other.
const maxTemperature = 100

// sampler chooses tokens.
type sampler struct {
	temperature float32 // 0 chooses the likeliest token.
	random      *rand.PCG
}

// newSampler returns a sampler whose choices depend on the temperature, the
// seed and the logits alone.
func newSampler(temperature float32, seed uint64) *sampler {
	return &sampler{temperature: temperature, random: rand.NewPCG(seed, 0)}
}

// next chooses a token; it may overwrite logits. Among equally likely ones the
// lowest is taken. Errors wrap errCompute: logits that are not finite numbers.
func (s *sampler) next(logits []float32) (int, error) {
	best := 0
	for i, v := range logits {
		if !finite(v) {
			return 0, fmt.Errorf("%w: logit %d is not a finite number", errCompute, i)
		}
		if v > logits[best] {
			best = i
		}
	}
	if s.temperature == 0 {
		return best, nil
	}
	largest := logits[best]
	for i := range logits {
		logits[i] = (logits[i] - largest) / s.temperature
	}
	softmax(logits)
	left := s.uniform()
	for i, p := range logits {
		if left < p {
			return i, nil
		}
		left -= p
	}
	return best, nil // Rounding left a rest.
}

// uniform returns a number from 0 up to, not including, 1.
func (s *sampler) uniform() float32 {
	return float32(s.random.Uint64()>>40) / (1 << 24)
}
