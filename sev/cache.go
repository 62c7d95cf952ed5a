package sev

import (
	"crypto/sha256"
	"sync"
)

// Cache remembers which issuers signed which certificates and revocation lists, so
// that the signatures of a chain seen before cost nothing. It holds SHA-256 digests
// of their bytes and nothing else: dates, names, revocation and trust are judged anew
// each time. A nil Cache remembers nothing. It is safe for concurrent use.
type Cache struct {
	mu   sync.Mutex
	seen map[[32]byte]struct{}
	// order is the ring of the entries, the oldest at next once it is full.
	order [][32]byte
	next  int
}

// maxCache is the largest size of a cache, in signatures.
const maxCache = 1 << 16

// NewCache returns a cache of at most n signatures, which forgets the oldest first; n
// below 1 counts as 1, above 65536 as 65536. A machine takes three of them and
// shares two with all others of its product.
func NewCache(n int) *Cache {
	n = max(1, min(n, maxCache))
	return &Cache{seen: make(map[[32]byte]struct{}, n), order: make([][32]byte, 0, n)}
}

// has reports whether the signature is known to verify.
func (c *Cache) has(key [32]byte) bool {
	if c == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.seen[key]
	return ok
}

// add remembers a signature that verified.
func (c *Cache) add(key [32]byte) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.seen[key]; ok || cap(c.order) == 0 {
		return
	}
	c.seen[key] = struct{}{}
	if len(c.order) < cap(c.order) {
		c.order = append(c.order, key)
		return
	}
	delete(c.seen, c.order[c.next])
	c.order[c.next] = key
	c.next = (c.next + 1) % len(c.order)
}

// signatureKey names the signature of an issuer over a certificate or a list, both
// in DER.
func signatureKey(issuer, signed []byte) [32]byte {
	a, b := sha256.Sum256(issuer), sha256.Sum256(signed)
	return sha256.Sum256(append(a[:], b[:]...))
}
