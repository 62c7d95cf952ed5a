package main

import "math"

// This file and engine.go compute the same bits on every processor. Go may fuse
// a multiplication and an addition, which rounds once instead of twice, on
// processors that can; an explicit conversion of the product forbids it (Go
// specification, "Floating-point operators"). So each product here stands in a
// conversion, which a test enforces, and the functions that package math leaves
// to assembly or to fusing are written out.

// Parts of ln 2 and pi/2: the first have enough zeros at the end for their
// product with a small integer to be exact.
const (
	ln2High = 6.93147180369123816490e-01
	ln2Low  = 1.90821492927058770002e-10

	halfPiHigh = 1.57079632673412561417e+00
	halfPiMid  = 6.07710050630396597660e-11
	halfPiLow  = 2.02226624879595063154e-21
)

// exp returns e to the power x, with a relative error of about 1e-16.
func exp(x float64) float64 {
	switch {
	case math.IsNaN(x):
		return x
	case x > 709:
		return math.Inf(1)
	case x < -745:
		return 0
	}
	k := math.Floor(float64(x*math.Log2E) + 0.5)
	r := x - float64(k*ln2High) - float64(k*ln2Low) // At most ln(2)/2 away from 0.
	sum := 1.0
	for n := 14.0; n >= 1; n-- {
		sum = 1 + float64(sum*r)/n
	}
	return math.Ldexp(sum, int(k))
}

// exp32 returns e to the power x.
func exp32(x float32) float32 { return float32(exp(float64(x))) }

// sinCos returns sine and cosine of x, an angle in radians from 0 to 2^20, with
// an error of about 1e-16.
func sinCos(x float64) (sin, cos float64) {
	k := math.Floor(float64(x*(2/math.Pi)) + 0.5)
	r := x - float64(k*halfPiHigh) - float64(k*halfPiMid) - float64(k*halfPiLow)
	r2 := float64(r * r)
	s, c := 1.0, 1.0
	for n := 18.0; n >= 2; n -= 2 {
		s = 1 - float64(s*r2)/float64(n*(n+1))
		c = 1 - float64(c*r2)/float64(n*(n-1))
	}
	s = float64(s * r)
	switch int64(k) & 3 {
	case 0:
		return s, c
	case 1:
		return c, -s
	case 2:
		return -s, -c
	}
	return -c, s
}

// rotation returns sine and cosine of the angle by which rotary position
// encoding turns pair number i of a head at a position: position divided by
// 10000 to the power 2i/headSize.
func rotation(position, i, headSize int) (sin, cos float32) {
	exponent := float32(2*i) / float32(headSize)
	frequency := 1 / float32(exp(float64(float64(exponent)*ln10000)))
	angle := float32(float32(position) * frequency)
	s, c := sinCos(float64(angle))
	return float32(s), float32(c)
}

// ln10000 is the natural logarithm of the base of rotary position encoding.
const ln10000 = 4 * math.Ln10

// dot returns the scalar product of a and b, summed from the left.
func dot(a, b []float32) float32 {
	b = b[:len(a)]
	var sum float32
	for i, x := range a {
		sum += float32(x * b[i])
	}
	return sum
}

// multiply sets out to the product of the matrix w, stored by rows, and x.
func multiply(out, w, x []float32) {
	for i := range out {
		out[i] = dot(w[i*len(x):(i+1)*len(x)], x)
	}
}

// addTo adds x to sum, element by element.
func addTo(sum, x []float32) {
	for i, v := range x {
		sum[i] += v
	}
}

// normalize sets out to x divided by its root mean square, times weight.
func normalize(out, x, weight []float32) {
	mean := dot(x, x)/float32(len(x)) + 1e-5
	scale := 1 / float32(math.Sqrt(float64(mean)))
	for i, v := range x {
		out[i] = float32(weight[i] * float32(scale*v))
	}
}

// softmax turns x into probabilities in place.
func softmax(x []float32) {
	largest := x[0]
	for _, v := range x {
		largest = max(largest, v)
	}
	var sum float32
	for i, v := range x {
		x[i] = exp32(v - largest)
		sum += x[i]
	}
	for i := range x {
		x[i] /= sum
	}
}

// gate sets a to silu(a) times b, element by element.
func gate(a, b []float32) {
	for i, v := range a {
		silu := float32(v * (1 / (1 + exp32(-v))))
		a[i] = float32(silu * b[i])
	}
}
