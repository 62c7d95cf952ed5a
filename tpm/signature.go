package tpm

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"encoding/binary"
	"fmt"
	"math/big"

	"github.com/sworn-run/sworn/attest"
)

// signature is a TPMT_SIGNATURE (Part 2, 11.3.4): the algorithm, its hash, and
// the value of TPMS_SIGNATURE_RSA (11.3.1) or TPMS_SIGNATURE_ECC (11.3.2).
type signature struct {
	scheme
	// values is the RSA signature alone, or r and s.
	values [][]byte
}

// parseSignature parses exactly the bytes of a TPMT_SIGNATURE. It keeps its
// own copy of b.
func parseSignature(b []byte) (*signature, error) {
	r := reader{b: bytes.Clone(b)}
	s := &signature{scheme: scheme{alg: algID(r.u16()), hash: attest.Alg(r.u16())}}
	if !s.hash.Known() {
		return nil, fmt.Errorf("hash %v: %w", s.hash, attest.ErrForm)
	}
	switch s.alg {
	case algRSASSA, algRSAPSS:
		s.values = [][]byte{r.sized(maxSignature)}
	case algECDSA:
		s.values = [][]byte{r.sized(maxSignature), r.sized(maxSignature)}
	default:
		return nil, fmt.Errorf("sigAlg %v: %w", s.alg, attest.ErrForm)
	}
	for _, v := range s.values {
		if len(v) == 0 {
			return nil, fmt.Errorf("empty value: %w", attest.ErrForm)
		}
	}
	if !r.done() {
		return nil, fmt.Errorf("truncated or with trailing bytes: %w", attest.ErrForm)
	}
	if !bytes.Equal(s.marshal(), b) {
		return nil, fmt.Errorf("does not marshal back to itself: %w", attest.ErrForm)
	}
	return s, nil
}

// marshal writes the fields back as a TPMT_SIGNATURE.
func (s *signature) marshal() []byte {
	b := binary.BigEndian.AppendUint16(nil, uint16(s.alg))
	b = binary.BigEndian.AppendUint16(b, uint16(s.hash))
	for _, v := range s.values {
		b = appendSized(b, v)
	}
	return b
}

// verify checks the signature over exactly the bytes of msg with the key and
// the scheme of p. Every error wraps ErrSignature.
func (s *signature) verify(p *public, msg []byte) error {
	if !s.hash.Accepted() {
		return fmt.Errorf("%v with %v is not accepted: %w", s.alg, s.hash, attest.ErrSignature)
	}
	if !s.alg.fits(p.typ) || p.scheme.alg != algNull && p.scheme != s.scheme {
		return fmt.Errorf("%v with %v, the key's scheme is %v with %v: %w",
			s.alg, s.hash, p.scheme.alg, p.scheme.hash, attest.ErrSignature)
	}
	k, err := p.key()
	if err != nil {
		return err
	}
	digest := s.hash.Sum(msg)
	switch k := k.(type) {
	case *rsa.PublicKey:
		return s.verifyRSA(k, digest)
	case *ecdsa.PublicKey:
		return s.verifyECDSA(k, digest)
	default:
		return fmt.Errorf("key of type %T: %w", k, attest.ErrSignature)
	}
}

// verifyRSA checks RSASSA or RSAPSS. The salt may have any length: TPMs take
// the hash's size or all the room there is (Part 1, B.7).
func (s *signature) verifyRSA(k *rsa.PublicKey, digest []byte) error {
	h := s.cryptoHash()
	err := rsa.VerifyPKCS1v15(k, h, digest, s.values[0])
	if s.alg == algRSAPSS {
		err = rsa.VerifyPSS(k, h, digest, s.values[0], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthAuto})
	}
	if err != nil {
		return fmt.Errorf("%v with %v: %w", s.alg, s.hash, attest.ErrSignature)
	}
	return nil
}

// verifyECDSA checks ECDSA with SHA-256 or SHA-384; r and s have the size of
// the field, to which a TPM pads them (Part 1, C.8).
func (s *signature) verifyECDSA(k *ecdsa.PublicKey, digest []byte) error {
	size := (k.Params().BitSize + 7) / 8
	if s.hash == attest.SHA512 || len(s.values[0]) != size || len(s.values[1]) != size {
		return fmt.Errorf("%v with %v, r and s of %d and %d bytes: %w",
			s.alg, s.hash, len(s.values[0]), len(s.values[1]), attest.ErrSignature)
	}
	rr, ss := new(big.Int).SetBytes(s.values[0]), new(big.Int).SetBytes(s.values[1])
	if !ecdsa.Verify(k, digest, rr, ss) {
		return fmt.Errorf("%v with %v: %w", s.alg, s.hash, attest.ErrSignature)
	}
	return nil
}

// cryptoHash returns the standard library's name of the hash; verify has
// refused all others.
func (s *signature) cryptoHash() crypto.Hash {
	switch s.hash {
	case attest.SHA384:
		return crypto.SHA384
	case attest.SHA512:
		return crypto.SHA512
	default:
		return crypto.SHA256
	}
}
