package attest

import (
	"crypto"
	_ "crypto/sha1" //nolint:gosec // G505: an active SHA-1 bank must be extended; its values are never accepted.
	_ "crypto/sha256"
	_ "crypto/sha512"
	"fmt"
)

// Alg is a hash algorithm by its TPM_ALG_ID (TCG Algorithm Registry, table 3).
type Alg uint16

// The hash algorithms that Sworn can extend with.
const (
	// SHA1 is extended where its bank is active, and accepted nowhere.
	SHA1 Alg = 0x0004
	// SHA256 is TPM_ALG_SHA256.
	SHA256 Alg = 0x000B
	// SHA384 is TPM_ALG_SHA384.
	SHA384 Alg = 0x000C
	// SHA512 is TPM_ALG_SHA512.
	SHA512 Alg = 0x000D
)

// ParseAlg returns the algorithm with the given name, such as "sha256".
func ParseAlg(name string) (Alg, error) {
	for _, a := range []Alg{SHA1, SHA256, SHA384, SHA512} {
		if a.String() == name {
			return a, nil
		}
	}
	return 0, fmt.Errorf("hash algorithm %q: %w", name, ErrForm)
}

// String returns the name used in policies and logs, such as "sha256".
func (a Alg) String() string {
	switch a {
	case SHA1:
		return "sha1"
	case SHA256:
		return "sha256"
	case SHA384:
		return "sha384"
	case SHA512:
		return "sha512"
	default:
		return fmt.Sprintf("alg 0x%04x", uint16(a))
	}
}

// hash returns the standard library's name of the algorithm; 0 if unknown.
func (a Alg) hash() crypto.Hash {
	switch a {
	case SHA1:
		return crypto.SHA1
	case SHA256:
		return crypto.SHA256
	case SHA384:
		return crypto.SHA384
	case SHA512:
		return crypto.SHA512
	default:
		return 0
	}
}

// Known reports whether Sworn can compute the algorithm.
func (a Alg) Known() bool { return a.hash() != 0 }

// Accepted reports whether a value of this algorithm may prove anything: known
// and not SHA-1.
func (a Alg) Accepted() bool { return a.Known() && a != SHA1 }

// Size returns the digest size in bytes; 0 if the algorithm is unknown.
func (a Alg) Size() int {
	if h := a.hash(); h != 0 {
		return h.Size()
	}
	return 0
}

// Sum returns the digest of the concatenation of parts; nil if the algorithm
// is unknown.
func (a Alg) Sum(parts ...[]byte) []byte {
	h := a.hash()
	if h == 0 {
		return nil
	}
	w := h.New()
	for _, p := range parts {
		w.Write(p)
	}
	return w.Sum(nil)
}
