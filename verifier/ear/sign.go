package ear

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	_ "crypto/sha512" // for ES384
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
)

// header is a JOSE header (RFC 7515, section 4).
type header struct {
	Alg string `json:"alg"`
	Typ string `json:"typ"`
	Kid string `json:"kid,omitempty"`
}

// Sign returns a result as a JWT in compact form (RFC 7515, section 7.1), signed with
// the verifier's key: Ed25519 (EdDSA), or ECDSA on P-256 (ES256) or P-384 (ES384). The
// key's id stands in the header; it may be empty. The error wraps ErrArgument, or is the
// key's.
func Sign(r *Result, key crypto.Signer, kid string) (string, error) {
	if r == nil || key == nil {
		return "", fmt.Errorf("no result, or no key: %w", ErrArgument)
	}
	alg, hash, size, err := algorithm(key.Public())
	if err != nil {
		return "", err
	}
	head, err := json.Marshal(header{alg, "JWT", kid})
	if err != nil {
		return "", fmt.Errorf("encoding the header: %w", err)
	}
	body, err := json.Marshal(r)
	if err != nil {
		return "", fmt.Errorf("encoding the result: %w", err)
	}
	b64 := base64.RawURLEncoding
	message := b64.EncodeToString(head) + "." + b64.EncodeToString(body)
	digest := []byte(message)
	if hash != 0 {
		h := hash.New()
		_, _ = h.Write(digest)
		digest = h.Sum(nil)
	}
	sig, err := key.Sign(rand.Reader, digest, hash)
	if err != nil {
		return "", fmt.Errorf("signing the result: %w", err)
	}
	if size > 0 {
		if sig, err = fixed(sig, size); err != nil {
			return "", err
		}
	}
	return message + "." + b64.EncodeToString(sig), nil
}

// algorithm returns the JWS algorithm of a key, its hash (0 for none), and the size of
// each half of an ECDSA signature in bytes (0 for others).
func algorithm(public crypto.PublicKey) (alg string, hash crypto.Hash, size int, err error) {
	switch k := public.(type) {
	case ed25519.PublicKey:
		return "EdDSA", 0, 0, nil
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256():
			return "ES256", crypto.SHA256, 32, nil
		case elliptic.P384():
			return "ES384", crypto.SHA384, 48, nil
		}
	}
	return "", 0, 0, fmt.Errorf("a key of type %T, want Ed25519, or ECDSA on P-256 or P-384: %w", public, ErrArgument)
}

// fixed turns an ECDSA signature from DER into r ‖ s of the given size each (RFC 7518,
// section 3.4).
func fixed(der []byte, size int) ([]byte, error) {
	var v struct{ R, S *big.Int }
	if rest, err := asn1.Unmarshal(der, &v); err != nil || len(rest) != 0 || v.R.Sign() <= 0 || v.S.Sign() <= 0 ||
		v.R.BitLen() > 8*size || v.S.BitLen() > 8*size {
		return nil, fmt.Errorf("the key made no ECDSA signature: %w", ErrArgument)
	}
	out := make([]byte, 2*size)
	v.R.FillBytes(out[:size])
	v.S.FillBytes(out[size:])
	return out, nil
}
