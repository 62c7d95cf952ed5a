package nexart

import (
	"math/big"
	"slices"
)

// curve holds the constants of edwards25519 with which a key is checked. RFC
// 8032, 5.1.
type curve struct {
	p, d *big.Int
	// half is (p-1)/2, the exponent of Euler's criterion.
	half *big.Int
}

func edwards25519() *curve {
	p := new(big.Int).Lsh(big.NewInt(1), 255)
	p.Sub(p, big.NewInt(19))
	d := new(big.Int).ModInverse(big.NewInt(121666), p)
	d.Mul(d, big.NewInt(-121665)).Mod(d, p)
	return &curve{p, d, new(big.Int).Rsh(p, 1)}
}

// usable reports whether 32 bytes are an Ed25519 key under which a signature says
// something: the one encoding of a point of the curve (RFC 8032, 5.1.3) whose
// order is not 1, 2, 4 or 8. By a key of so small an order anybody can sign
// anything.
func (c *curve) usable(key []byte) bool {
	le := slices.Clone(key)
	slices.Reverse(le)
	sign := le[0] >> 7
	le[0] &= 0x7f
	y := new(big.Int).SetBytes(le)
	if y.Cmp(c.p) >= 0 {
		return false
	}
	// x² = (y²-1) / (d·y²+1); where that is no square, there is no such point.
	y2 := c.mul(y, y)
	u, v := c.sub(y2, big.NewInt(1)), c.add(c.mul(c.d, y2), big.NewInt(1))
	x2 := c.mul(u, new(big.Int).ModInverse(v, c.p))
	if x2.Sign() != 0 && new(big.Int).Exp(x2, c.half, c.p).Cmp(big.NewInt(1)) != 0 {
		return false
	}
	if x2.Sign() == 0 && sign == 1 {
		return false
	}
	// Doubled three times, a point of small order is the neutral one, whose y is 1.
	// The double of (x, y) has y = (y²+x²) / (2-y²+x²), and x² as above.
	for range 3 {
		n, m := c.add(y2, x2), c.add(c.sub(big.NewInt(2), y2), x2)
		y = c.mul(n, new(big.Int).ModInverse(m, c.p))
		y2 = c.mul(y, y)
		v := c.add(c.mul(c.d, y2), big.NewInt(1))
		x2 = c.mul(c.sub(y2, big.NewInt(1)), new(big.Int).ModInverse(v, c.p))
	}
	return y.Cmp(big.NewInt(1)) != 0
}

func (c *curve) add(a, b *big.Int) *big.Int {
	n := new(big.Int).Add(a, b)
	return n.Mod(n, c.p)
}

func (c *curve) sub(a, b *big.Int) *big.Int {
	n := new(big.Int).Sub(a, b)
	return n.Mod(n, c.p)
}

func (c *curve) mul(a, b *big.Int) *big.Int {
	n := new(big.Int).Mul(a, b)
	return n.Mod(n, c.p)
}
