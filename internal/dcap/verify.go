package dcap

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"fmt"
	"math/big"

	"github.com/sworn-run/sworn/attest"
)

// verify checks the chain of keys from the PCK to the body. The error wraps
// [attest.ErrSignature].
func (q *Quote) verify() error {
	pck := p256(q.chain[0])
	if pck == nil {
		return fmt.Errorf("the PCK is no key on P-256: %w", attest.ErrSignature)
	}
	if !verifyRaw(pck, q.qeReport, q.qeSignature) {
		return fmt.Errorf("verifying the QE's report with the PCK: %w", attest.ErrSignature)
	}
	// SGX-QL, A.4.9: SHA-256 over the attestation key and the authentication data,
	// then 32 zeros.
	sum := sha256.New()
	sum.Write(q.key)
	sum.Write(q.qeAuth)
	if [32]byte(sum.Sum(nil)) != [32]byte(q.QE.ReportData[:32]) || !zero(q.QE.ReportData[32:]) {
		return fmt.Errorf("the QE's report data is not of this attestation key: %w", attest.ErrSignature)
	}
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append([]byte{4}, q.key...))
	if err != nil {
		return fmt.Errorf("the attestation key is no point on P-256: %w", attest.ErrSignature)
	}
	if !verifyRaw(key, q.signed, q.signature) {
		return fmt.Errorf("verifying header and body with the attestation key: %w", attest.ErrSignature)
	}
	return nil
}

// verifyRaw verifies an ECDSA signature over SHA-256 of data, given as r and s of 32
// bytes each, big-endian.
func verifyRaw(key *ecdsa.PublicKey, data, sig []byte) bool {
	return verifyDigest(key, sha256.Sum256(data), sig)
}

// verifyDigest is verifyRaw where the digest is known.
func verifyDigest(key *ecdsa.PublicKey, digest [sha256.Size]byte, sig []byte) bool {
	if len(sig) != sigSize {
		return false
	}
	return ecdsa.Verify(key, digest[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:]))
}
