package oms

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"strconv"
	"time"

	// The hashes that the curves are paired with.
	_ "crypto/sha512"
)

// Verify verifies a signature of [KindKey] with keys that the caller trusts, and
// returns the [KeyID] of the one that made it and what it signs. A bundle that
// names its key is checked with no other. Keys are *ecdsa.PublicKey on P-256,
// P-384 or P-521; with any other the error wraps [ErrUnsupported].
//
// The error wraps [ErrUntrusted], [ErrCertificateSigned] if there is a
// certificate, [ErrMalformed] or [ErrUnsupported]; then the rest is zero.
func (s *Signature) Verify(keys []crypto.PublicKey) ([32]byte, *Manifest, error) {
	if s.kind == KindChain || s.kind == KindSigstore {
		return [32]byte{}, nil, fmt.Errorf("verifying with keys: %w", ErrCertificateSigned)
	}
	old := digest(crypto.SHA256, compatPAE(s.payload))
	for i, key := range keys {
		spki, hash, err := marshalKey(key)
		if err != nil {
			return [32]byte{}, nil, fmt.Errorf("key %d: %w", i, err)
		}
		if s.kind != KindKey || (s.hint != "" && s.hint != hint(spki)) {
			continue
		}
		ok, compat := s.signedBy(key.(*ecdsa.PublicKey), hash, old)
		if !ok {
			continue
		}
		m, err := parseStatement(s.payload, compat)
		if err != nil {
			return [32]byte{}, nil, err
		}
		return sha256.Sum256(spki), m, nil
	}
	return [32]byte{}, nil, fmt.Errorf("%w: by none of %d keys; the signature names key %.100q", ErrUntrusted, len(keys), s.hint)
}

// VerifyChain verifies a signature of [KindChain] with certificate authorities
// that the caller trusts, and returns the certificate that made it and what it
// signs. The chain must be valid at the time that is given; nothing in a
// signature says when it was made. The certificate must be good for code signing,
// as its extended key usage has it, and for digital signatures, and must say so
// in one of these extensions at least. Whose certificate it is, the caller must
// judge: any below the roots will do here. Certificates that were revoked are not
// known.
//
// The error wraps [ErrUntrusted], [ErrCertificateSigned] if there is a
// certificate of Sigstore's, [ErrMalformed] or [ErrUnsupported]; then the rest is
// nil. Without roots, or with a zero time, nothing is trusted.
func (s *Signature) VerifyChain(roots []*x509.Certificate, at time.Time) (*x509.Certificate, *Manifest, error) {
	switch {
	case s.kind == KindSigstore:
		return nil, nil, fmt.Errorf("verifying with certificate authorities: %w: it needs Sigstore", ErrCertificateSigned)
	case s.kind != KindChain:
		return nil, nil, fmt.Errorf("%w: there is no certificate in it", ErrUntrusted)
	case len(roots) == 0 || at.IsZero():
		return nil, nil, fmt.Errorf("%w: no certificate authority, or no time, to verify with", ErrUntrusted)
	}
	leaf, err := s.verifyLeaf(roots, at)
	if err != nil {
		return nil, nil, err
	}
	_, hash, err := marshalKey(leaf.PublicKey)
	if err != nil {
		return nil, nil, fmt.Errorf("certificate: %w", err)
	}
	ok, compat := s.signedBy(leaf.PublicKey.(*ecdsa.PublicKey), hash, digest(crypto.SHA256, compatPAE(s.payload)))
	if !ok {
		return nil, nil, fmt.Errorf("%w: not made with the certificate's key", ErrUntrusted)
	}
	m, err := parseStatement(s.payload, compat)
	if err != nil {
		return nil, nil, err
	}
	return leaf, m, nil
}

// maxRSABits bounds the modulus of an authority between root and signer: nobody
// vouches for its size before it has verified something.
const maxRSABits = 8192

// verifyLeaf verifies the first certificate of the chain.
func (s *Signature) verifyLeaf(roots []*x509.Certificate, at time.Time) (*x509.Certificate, error) {
	opts := x509.VerifyOptions{
		Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: at,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
	}
	for _, r := range roots {
		if r == nil || len(r.Raw) == 0 {
			return nil, fmt.Errorf("%w: a certificate authority that is none", ErrUntrusted)
		}
		opts.Roots.AddCert(r)
	}
	var leaf *x509.Certificate
	for i, der := range s.chain {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("%w: certificate %d: %w", ErrMalformed, i, err)
		}
		if k, ok := c.PublicKey.(*rsa.PublicKey); ok && k.N.BitLen() > maxRSABits {
			return nil, fmt.Errorf("%w: certificate %d has an RSA key of %d bits, at most %d", ErrUnsupported, i, k.N.BitLen(), maxRSABits)
		}
		if i == 0 {
			leaf = c
		} else {
			opts.Intermediates.AddCert(c)
		}
	}
	if _, err := leaf.Verify(opts); err != nil {
		return nil, fmt.Errorf("%w: certificate: %w", ErrUntrusted, err)
	}
	extended := len(leaf.ExtKeyUsage) + len(leaf.UnknownExtKeyUsage)
	if leaf.KeyUsage == 0 && extended == 0 || leaf.KeyUsage != 0 && leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		return nil, fmt.Errorf("%w: the certificate is not for signing", ErrUntrusted)
	}
	return leaf, nil
}

// signedBy reports whether the key made the signature, over the payload as DSSE
// has it or, with compat, over old, the digest that releases before 1.0 signed:
// they used SHA-256 with every curve.
func (s *Signature) signedBy(key *ecdsa.PublicKey, hash crypto.Hash, old []byte) (ok, compat bool) {
	if ecdsa.VerifyASN1(key, digest(hash, pae(s.payload)), s.sig) {
		return true, false
	}
	ok = ecdsa.VerifyASN1(key, old, s.sig)
	return ok, ok
}

func digest(hash crypto.Hash, b []byte) []byte {
	h := hash.New()
	h.Write(b)
	return h.Sum(nil)
}

// pae is DSSE's pre-authentication encoding, version 1.
func pae(payload []byte) []byte {
	return append(fmt.Appendf(nil, "DSSEv1 %d %s %d ", len(payloadType), payloadType, len(payload)), payload...)
}

// compatPAE is what releases before 1.0 signed: the version in a capital, and
// the payload as Python prints a bytes object.
func compatPAE(payload []byte) []byte {
	b := fmt.Appendf(nil, "DSSEV1 %d %s %d b", len(payloadType), payloadType, len(payload))
	quote := byte('\'')
	if bytes.IndexByte(payload, '\'') >= 0 && bytes.IndexByte(payload, '"') < 0 {
		quote = '"'
	}
	b = append(b, quote)
	for _, c := range payload {
		switch {
		case c == quote || c == '\\':
			b = append(b, '\\', c)
		case c == '\t':
			b = append(b, `\t`...)
		case c == '\n':
			b = append(b, `\n`...)
		case c == '\r':
			b = append(b, `\r`...)
		case c < ' ' || c >= 0x7f:
			b = append(b, '\\', 'x', strconv.FormatUint(uint64(c>>4), 16)[0], strconv.FormatUint(uint64(c&15), 16)[0])
		default:
			b = append(b, c)
		}
	}
	return append(b, quote)
}
