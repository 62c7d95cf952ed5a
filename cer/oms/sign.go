package oms

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/limits"
)

// Sign signs a manifest and returns the signature file, which the format's own
// tool reads too. The key's public half is an *ecdsa.PublicKey on P-256, P-384 or
// P-521. With certificates, the first of which is the key's, the signature is of
// [KindChain], else of [KindKey].
//
// random is handed to the key; with nil a key of package crypto/ecdsa signs
// deterministically (RFC 6979).
//
// The error wraps [ErrMalformed] if m is the zero Manifest, if the file would be
// larger than [Parse] reads, or if the certificates are not as they should be,
// and [ErrUnsupported] if the key is of another kind, or does not sign.
func Sign(random io.Reader, m *Manifest, key crypto.Signer, chain ...*x509.Certificate) ([]byte, error) {
	if m == nil || len(m.files) == 0 {
		return nil, fmt.Errorf("%w: signing no files", ErrMalformed)
	}
	if key == nil {
		return nil, fmt.Errorf("signing: %w: no key", ErrUnsupported)
	}
	spki, hash, err := marshalKey(key.Public())
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	material, err := newMaterial(spki, chain)
	if err != nil {
		return nil, err
	}
	payload, err := cer.MarshalCanonical(m.statement())
	if err != nil {
		return nil, fmt.Errorf("signing: %w: %w", ErrMalformed, err)
	}
	sig, err := key.Sign(random, digest(hash, pae(payload)), hash)
	if err != nil {
		return nil, fmt.Errorf("signing: %w: %w", ErrUnsupported, err)
	}
	bundle, err := cer.MarshalCanonical(wireBundle{
		MediaType: bundleType,
		Material:  *material,
		Envelope: wireEnvelope{
			Payload:     base64.StdEncoding.EncodeToString(payload),
			PayloadType: payloadType,
			Signatures:  []wireSignature{{Sig: base64.StdEncoding.EncodeToString(sig), KeyID: new(string)}},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("signing: %w: %w", ErrMalformed, err)
	}
	if len(bundle) > limits.ModelSignature {
		return nil, fmt.Errorf("signing: %w: %d bytes, at most %d", ErrMalformed, len(bundle), limits.ModelSignature)
	}
	return bundle, nil
}

// newMaterial returns what a bundle says about the key.
func newMaterial(spki []byte, chain []*x509.Certificate) (*wireMaterial, error) {
	m := &wireMaterial{Log: []jsontext.Value{}}
	if len(chain) == 0 {
		h := hint(spki)
		m.Key = &wireKey{Hint: &h}
		return m, nil
	}
	if len(chain) > limits.Certificates {
		return nil, fmt.Errorf("signing: %w: %d certificates, at most %d", ErrMalformed, len(chain), limits.Certificates)
	}
	m.Chain = &wireChain{}
	for i, c := range chain {
		if c == nil || len(c.Raw) == 0 || len(c.Raw) > limits.Certificate {
			return nil, fmt.Errorf("signing: %w: certificate %d is none, or larger than %d bytes", ErrMalformed, i, limits.Certificate)
		}
		m.Chain.Certificates = append(m.Chain.Certificates, wireCertificate{base64.StdEncoding.EncodeToString(c.Raw)})
	}
	if !bytes.Equal(chain[0].RawSubjectPublicKeyInfo, spki) {
		return nil, fmt.Errorf("signing: %w: the first certificate is another key's", ErrMalformed)
	}
	return m, nil
}

// statement returns the in-toto Statement of a manifest.
func (m *Manifest) statement() *wireStatement {
	w := &wireStatement{
		Type:          statementType,
		Subject:       []wireSubject{{Name: m.opts.Name, Digest: map[string]string{hashSHA256: hex.EncodeToString(m.root[:])}}},
		PredicateType: predicateType,
	}
	w.Predicate.Serialization = wireSerialization{
		Method: methodFiles, HashType: hashSHA256, Symlinks: &m.opts.Symlinks, Ignore: m.opts.Ignore,
	}
	for i := range m.files {
		w.Predicate.Resources = append(w.Predicate.Resources, wireResource{
			Name: m.files[i].Path, Algorithm: hashSHA256, Digest: hex.EncodeToString(m.files[i].SHA256[:]),
		})
	}
	return w
}
