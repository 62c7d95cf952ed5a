package canon

import (
	"math"
	"math/big"
	"math/bits"
	"strconv"
)

// Powers of ten of a number's first digit, as decimal gives them: beyond these a
// double overflows, or is 0.
const (
	maxPower = 309
	minPower = -323
)

// parseFloat returns the double next to the literal t, ties to even, as
// strconv.ParseFloat does, and an infinity where that overflows. digits and exp
// are what decimal says of t.
//
// What strconv takes longest for, some 30 µs, can be spelled in six characters: a
// subnormal number. So it is asked only where it multiplies once: for at most 19
// digits that are no such number.
func parseFloat(t, digits []byte, exp int) float64 {
	f := 0.0
	switch {
	case len(digits) == 0 || exp < minPower:
	case exp > maxPower:
		f = math.Inf(1)
	case len(digits) <= 19 && exp > -307:
		f, _ = strconv.ParseFloat(string(t), 64) // An infinity, if that is out of range.
		return f
	default:
		f = nextDouble(digits, exp)
	}
	if t[0] == '-' {
		return -f
	}
	return f
}

// nextDouble is parseFloat for a number without a sign that is not 0.
func nextDouble(digits []byte, exp int) float64 {
	// It is numerator / denominator * 2^exp.
	exp -= len(digits)
	numerator, _ := new(big.Int).SetString(string(digits), 10)
	denominator := big.NewInt(1)
	if power := new(big.Int).Exp(big.NewInt(5), big.NewInt(int64(max(exp, -exp))), nil); exp >= 0 {
		numerator.Mul(numerator, power)
	} else {
		denominator = power
	}
	// A quotient of 63 or 64 bits; of a subnormal number two bits more than it has.
	shift := min(63-numerator.BitLen()+denominator.BitLen(), 1074+2+exp)
	if shift >= 0 {
		numerator.Lsh(numerator, uint(shift))
	} else {
		denominator.Lsh(denominator, uint(-shift))
	}
	quotient, rest := numerator.QuoRem(numerator, denominator, new(big.Int))
	m := quotient.Uint64()
	if rest.Sign() != 0 {
		m |= 1 // Among the bits that are dropped, and below the highest of them.
	}
	drop := max(2, bits.Len64(m)-53)
	half, dropped := uint64(1)<<(drop-1), m&(1<<drop-1)
	m >>= drop
	if dropped > half || (dropped == half && m&1 == 1) {
		m++
	}
	return math.Ldexp(float64(m), drop-shift+exp)
}
