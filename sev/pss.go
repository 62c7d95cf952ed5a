package sev

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha512"
)

// keySize is the size of AMD's RSA signatures in bytes: keys of 4096 bits.
const keySize = 512

// verifyPSS reports whether sig is the key's RSASSA-PSS signature over the message
// (RFC 8017, 8.1.2), with SHA-384 for message and mask and a salt as long. The key has
// passed [checkAuthority].
func verifyPSS(key *rsa.PublicKey, message, sig []byte) bool {
	digest := sha512.Sum384(message)
	o := &rsa.PSSOptions{SaltLength: sha512.Size384, Hash: crypto.SHA384}
	return len(sig) == keySize && rsa.VerifyPSS(key, crypto.SHA384, digest[:], sig, o) == nil
}
