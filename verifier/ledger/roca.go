package ledger

import "math/big"

// The sizes of moduli that the flawed generator made, in bits, and for each how many of
// the first primes make up the number M by which its primes are bound: p = k·M +
// (65537^a mod M) (Nemec, Sýs, Švenda, Klinec, Matyáš: "The Return of Coppersmith's
// Attack", CCS 2017, table 1).
func rocaSizes() []struct{ from, to, primes int } {
	return []struct{ from, to, primes int }{{512, 991, 39}, {992, 1983, 71}, {1984, 3967, 126}, {3968, 4096, 225}}
}

// isROCA reports whether the modulus is one of that generator: a power of 65537 modulo M.
// It is found prime by prime: the exponent modulo the order of 65537, and whether the
// exponents agree. A modulus of another generator passes by chance with a probability
// below 2^-100.
func isROCA(n *big.Int) bool {
	count := 0
	for _, s := range rocaSizes() {
		if bits := n.BitLen(); bits >= s.from && bits <= s.to {
			count = s.primes
		}
	}
	if count == 0 {
		return false
	}
	// What is known of the exponent: it is e modulo m.
	e, m := new(big.Int), big.NewInt(1)
	rest := new(big.Int)
	for _, p := range primes(count) {
		got := int(rest.Mod(n, big.NewInt(int64(p))).Int64())
		log, order := discreteLog(got, p)
		if log < 0 || !combine(e, m, log, order) {
			return false
		}
	}
	return true
}

// combine narrows what is known, e modulo m, by another congruence; false if the two
// contradict each other.
func combine(e, m *big.Int, log, order int) bool {
	o := big.NewInt(int64(order))
	inverse := new(big.Int)
	g := new(big.Int).GCD(inverse, nil, m, o) // inverse·m ≡ g modulo o.
	gap := new(big.Int).Sub(big.NewInt(int64(log)), e)
	quotient, remainder := new(big.Int).QuoRem(gap, g, new(big.Int))
	if remainder.Sign() != 0 {
		return false
	}
	step := new(big.Int).Div(o, g)
	quotient.Mul(quotient, inverse).Mod(quotient, step)
	e.Add(e, quotient.Mul(quotient, m))
	m.Mul(m, step)
	e.Mod(e, m)
	return true
}

// discreteLog returns the exponent of 65537 that gives v modulo the prime p, and the order
// of 65537; -1 if there is none.
func discreteLog(v, p int) (log, order int) {
	log = -1
	power := 1 % p
	for {
		if power == v && log < 0 {
			log = order
		}
		power = power * (65537 % p) % p
		order++
		if power == 1%p || power == 0 {
			return log, order
		}
	}
}

// primes returns the first n primes.
func primes(n int) []int {
	var out []int
	for c := 2; len(out) < n; c++ {
		prime := true
		for _, p := range out {
			if p*p > c {
				break
			}
			if c%p == 0 {
				prime = false
				break
			}
		}
		if prime {
			out = append(out, c)
		}
	}
	return out
}
