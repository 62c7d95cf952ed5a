package signer

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"fmt"
	"io"
	"math/big"
	"slices"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/limits"
)

// The algorithms of JSON Web Signatures (RFC 7518, 3.1; RFC 8037, 3.1), one for each
// kind of key.
const (
	jwsEd25519 = "EdDSA"
	jwsP256    = "ES256"
	jwsP384    = "ES384"
	jwsRSA     = "RS256"
)

// jwsType returns the type of JSON Web Signatures in a role (RFC 7515, 4.1.9; RFC 8725,
// 3.11): the media type application/vnd.sworn.ROLE.v1+jose.
func jwsType(role string) string { return "vnd.sworn." + role + ".v1+jose" }

// wireHeader is the protected header, which has these members and no other.
type wireHeader struct {
	Alg string   `json:"alg"`
	Typ string   `json:"typ"`
	X5C []string `json:"x5c"`
}

// algorithm returns the algorithm and hash that a key signs with.
func (k *Key) algorithm() (alg string, hash crypto.Hash) {
	switch k.kind {
	case typeEd25519:
		return jwsEd25519, 0
	case typeP256:
		return jwsP256, crypto.SHA256
	case typeP384:
		return jwsP384, crypto.SHA384
	default:
		return jwsRSA, crypto.SHA256
	}
}

// coordinate returns the bytes that each half of an ECDSA signature has.
func (k *Key) coordinate() int {
	if k.kind == typeP384 {
		return 48
	}
	return 32
}

// SignX509 signs a claim with the key of a certificate. The chain has that certificate
// first and then each the issuer of the one before, as far as the relying party may
// need them; a root may be left out. random is handed to the key. The item is verified
// before it is returned. The error wraps [ErrForm] or [ErrSignature], or is the key's.
func SignX509(random io.Reader, c *Claim, key crypto.Signer, chain []*x509.Certificate) (attest.Collateral, error) {
	payload, err := c.Encode()
	if err != nil {
		return attest.Collateral{}, err
	}
	if len(chain) == 0 {
		return attest.Collateral{}, fmt.Errorf("%w: no certificate", ErrForm)
	}
	k, err := NewKey(chain[0].PublicKey)
	if err != nil {
		return attest.Collateral{}, err
	}
	alg, hash := k.algorithm()
	w := wireHeader{Alg: alg, Typ: jwsType(c.Role)}
	for _, x := range chain {
		w.X5C = append(w.X5C, base64.StdEncoding.EncodeToString(x.Raw))
	}
	header, err := cer.MarshalCanonical(&w)
	if err != nil {
		return attest.Collateral{}, fmt.Errorf("%w: %w", ErrForm, err)
	}
	input := b64(nil, header)
	input = b64(append(input, '.'), payload)
	sig, err := key.Sign(random, hashed(hash, input), hash)
	if err != nil {
		return attest.Collateral{}, fmt.Errorf("signing: %w", err)
	}
	if _, ok := k.pub.(*ecdsa.PublicKey); ok {
		// Both halves, each of the curve's size (RFC 7518, 3.4).
		n := k.coordinate()
		r, s, err := splitECDSA(sig, n)
		if err != nil {
			return attest.Collateral{}, err
		}
		sig = append(r.FillBytes(make([]byte, n)), s.FillBytes(make([]byte, n))...)
	}
	return verified(KindX509, b64(append(input, '.'), sig), c)
}

// splitECDSA reads an ECDSA signature of package crypto's (RFC 3279), of a curve whose
// coordinates have size bytes.
func splitECDSA(der []byte, size int) (r, s *big.Int, err error) {
	var v struct{ R, S *big.Int }
	rest, err := asn1.Unmarshal(der, &v)
	if err != nil || len(rest) != 0 || v.R.Sign() <= 0 || v.S.Sign() <= 0 || v.R.BitLen() > 8*size || v.S.BitLen() > 8*size {
		return nil, nil, fmt.Errorf("%w: the key made no ECDSA signature", ErrForm)
	}
	return v.R, v.S, nil
}

// b64 appends unpadded base64url.
func b64(dst, b []byte) []byte { return base64.RawURLEncoding.AppendEncode(dst, b) }

// unb64 decodes unpadded base64url in its one spelling.
func unb64(s []byte) ([]byte, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(string(s))
	if err != nil || !bytes.Equal(b64(nil, b), s) {
		return nil, fmt.Errorf("%w: base64url", ErrForm)
	}
	return b, nil
}

// parseJWS reads an item of KindX509.
func parseJWS(data []byte) (*Signature, error) {
	parts := bytes.Split(data, []byte("."))
	if len(parts) != 3 {
		return nil, fmt.Errorf("%w: want a JSON Web Signature of three parts", ErrForm)
	}
	var decoded [3][]byte
	for i, p := range parts {
		var err error
		if decoded[i], err = unb64(p); err != nil {
			return nil, err
		}
	}
	c, err := parseClaim(decoded[1])
	if err != nil {
		return nil, err
	}
	var w wireHeader
	if err := cer.UnmarshalCanonical(decoded[0], limits.CapsuleDepth, &w); err != nil {
		return nil, fmt.Errorf("%w: header: %w", ErrForm, err)
	}
	s := &Signature{Claim: *c, Kind: KindX509, Algorithm: w.Alg}
	if s.Chain, err = parseChain(w.X5C); err != nil {
		return nil, err
	}
	if s.Key, err = NewKey(s.Chain[0].PublicKey); err != nil {
		return nil, err
	}
	alg, hash := s.Key.algorithm()
	switch {
	case w.Typ != jwsType(c.Role):
		return nil, fmt.Errorf("%w: type %.100q, want %s", ErrForm, w.Typ, jwsType(c.Role))
	case w.Alg != alg:
		return nil, fmt.Errorf("%w: algorithm %.100q, want %s with this key", ErrForm, w.Alg, alg)
	}
	s.verify = s.jwsVerifier(hash, data[:len(parts[0])+1+len(parts[1])], decoded[2])
	return s, nil
}

// jwsVerifier returns what verifies a signature value over the signing input.
func (s *Signature) jwsVerifier(hash crypto.Hash, input, sig []byte) func() error {
	return func() error {
		switch p := s.Key.pub.(type) {
		case ed25519.PublicKey:
			return right(len(sig) == ed25519.SignatureSize && ed25519.Verify(p, input, sig))
		case *ecdsa.PublicKey:
			n := s.Key.coordinate()
			return right(len(sig) == 2*n && verifyECDSA(p, input, new(big.Int).SetBytes(sig[:n]), new(big.Int).SetBytes(sig[n:])))
		case *rsa.PublicKey:
			return right(rsa.VerifyPKCS1v15(p, hash, hashed(hash, input), sig) == nil)
		default:
			return right(false)
		}
	}
}

// parseChain reads the certificates: each is issued by the next one, by name and
// signature. Whether they are valid is judged with an authority and a time.
func parseChain(x5c []string) ([]*x509.Certificate, error) {
	if n := len(x5c); n == 0 || n > limits.SignerChain {
		return nil, fmt.Errorf("%w: %d certificates, want 1 to %d", ErrForm, n, limits.SignerChain)
	}
	var chain []*x509.Certificate
	for i, text := range x5c {
		der, err := base64.StdEncoding.Strict().DecodeString(text)
		if err != nil || base64.StdEncoding.EncodeToString(der) != text || len(der) > limits.SignerCertificate {
			return nil, fmt.Errorf("%w: certificate %d is not base64 of at most %d bytes", ErrForm, i, limits.SignerCertificate)
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("%w: certificate %d: %w", ErrForm, i, err)
		}
		// A short one can be factored by whoever wants a certificate, and a long one takes time.
		if k, ok := c.PublicKey.(*rsa.PublicKey); ok && (k.N.BitLen() < minRSABits || k.N.BitLen() > maxRSABits || k.E > rsaExponent) {
			return nil, fmt.Errorf("%w: certificate %d has an RSA key of %d bits with exponent %d, want %d to %d bits and at most %d",
				ErrForm, i, k.N.BitLen(), k.E, minRSABits, maxRSABits, rsaExponent)
		}
		if slices.ContainsFunc(chain, c.Equal) {
			return nil, fmt.Errorf("%w: certificate %d stands twice", ErrForm, i)
		}
		chain = append(chain, c)
	}
	for i := range len(chain) - 1 {
		if !bytes.Equal(chain[i].RawIssuer, chain[i+1].RawSubject) {
			return nil, fmt.Errorf("%w: certificate %d is of another issuer than the next one", ErrForm, i)
		}
		if err := chain[i].CheckSignatureFrom(chain[i+1]); err != nil {
			return nil, fmt.Errorf("%w: certificate %d: %w", ErrForm, i, err)
		}
	}
	return chain, nil
}

// VerifyChain returns nil if the signer's certificate is below an authority that the
// caller trusts, at the given time (RFC 5280). It must be for signing documents: its key
// usage, where it has one, has digitalSignature or nonRepudiation, its extended key usage,
// where it has one, id-kp-documentSigning (RFC 9336), emailProtection or any, and it is no
// authority's. Certificates that were revoked are not known. The error wraps
// [ErrUntrusted].
func (s *Signature) VerifyChain(authority *x509.Certificate, at time.Time) error {
	if len(s.Chain) == 0 || authority == nil || at.IsZero() {
		return fmt.Errorf("%w: no certificate, no authority or no time", ErrUntrusted)
	}
	leaf := s.Chain[0]
	opts := x509.VerifyOptions{
		Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: at,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	}
	opts.Roots.AddCert(authority)
	for _, c := range s.Chain[1:] {
		opts.Intermediates.AddCert(c)
	}
	if _, err := leaf.Verify(opts); err != nil {
		return fmt.Errorf("%w: %w", ErrUntrusted, err)
	}
	if leaf.IsCA || !forDocuments(leaf) {
		return fmt.Errorf("%w: the certificate is not for signing documents", ErrUntrusted)
	}
	return nil
}

// forDocuments looks at a certificate's key usages.
func forDocuments(c *x509.Certificate) bool {
	if c.KeyUsage != 0 && c.KeyUsage&(x509.KeyUsageDigitalSignature|x509.KeyUsageContentCommitment) == 0 {
		return false
	}
	if len(c.ExtKeyUsage) == 0 && len(c.UnknownExtKeyUsage) == 0 {
		return true
	}
	documentSigning := asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 36}
	return slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageEmailProtection) || slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageAny) ||
		slices.ContainsFunc(c.UnknownExtKeyUsage, documentSigning.Equal)
}
