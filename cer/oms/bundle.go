package oms

import (
	"encoding/base64"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/cer/internal/canon"
	"github.com/sworn-run/sworn/internal/limits"
)

// Kind says what a signature was made with.
type Kind uint8

// The kinds. The zero Kind is none of them.
const (
	// KindKey is a key by itself, for [Signature.Verify].
	KindKey Kind = iota + 1
	// KindChain is a key in a certificate of somebody's own authority, for
	// [Signature.VerifyChain].
	KindChain
	// KindSigstore is a certificate of Sigstore's authority, with an entry in
	// its log. This package verifies none.
	KindSigstore
)

// Signature is a signature file that was parsed and not verified. It hands out
// nothing of what it says about the model.
type Signature struct {
	kind    Kind
	hint    string
	chain   [][]byte
	payload []byte
	sig     []byte
}

// maxSignature bounds one ECDSA signature in DER. One on P-521 has 139 bytes.
const maxSignature = 160

// The wire forms. A member that may be null is a pointer.
type (
	wireBundle struct {
		MediaType string       `json:"mediaType"`
		Material  wireMaterial `json:"verificationMaterial"`
		Envelope  wireEnvelope `json:"dsseEnvelope"`
	}
	wireMaterial struct {
		Key         *wireKey         `json:"publicKey,omitzero"`
		Chain       *wireChain       `json:"x509CertificateChain,omitzero"`
		Certificate *wireCertificate `json:"certificate,omitzero"`
		Log         []jsontext.Value `json:"tlogEntries"`
		Times       jsontext.Value   `json:"timestampVerificationData,omitzero"`
	}
	// wireKey had rawBytes and keyDetails before release 1.1. A key that a
	// signature brings along is no key to verify it with.
	wireKey struct {
		Hint     *string `json:"hint"`
		RawBytes string  `json:"rawBytes,omitzero"`
		Details  string  `json:"keyDetails,omitzero"`
	}
	wireChain struct {
		Certificates []wireCertificate `json:"certificates"`
	}
	wireCertificate struct {
		RawBytes string `json:"rawBytes"`
	}
	wireEnvelope struct {
		Payload     string          `json:"payload"`
		PayloadType string          `json:"payloadType"`
		Signatures  []wireSignature `json:"signatures"`
	}
	wireSignature struct {
		Sig   string  `json:"sig"`
		KeyID *string `json:"keyid"`
	}
)

// Parse parses a signature file of at most 8 MiB and 65,536 commas and colons
// outside of strings, of which a genuine one has some dozens. It refuses text that is not
// strict JSON, names that occur twice, members that the format does not have, and
// anything but one signature. Entries of Sigstore's log and time stamps are not
// looked into. The error wraps [ErrMalformed] or [ErrUnsupported].
func Parse(b []byte) (*Signature, error) {
	if len(b) > limits.ModelSignature {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrMalformed, len(b), limits.ModelSignature)
	}
	if !canon.FewValues(b, limits.CapsuleValues) {
		return nil, fmt.Errorf("%w: more than %d commas and colons", ErrMalformed, limits.CapsuleValues)
	}
	var w wireBundle
	if err := cer.UnmarshalStrict(b, limits.CapsuleDepth, &w); err != nil {
		return nil, fmt.Errorf("%w: bundle: %w", ErrMalformed, err)
	}
	switch {
	case w.MediaType == "" || w.Envelope.PayloadType == "":
		return nil, fmt.Errorf("%w: no mediaType, or no dsseEnvelope with a payloadType", ErrMalformed)
	case w.MediaType != bundleType:
		return nil, fmt.Errorf("%w: media type %.100q", ErrUnsupported, w.MediaType)
	case w.Envelope.PayloadType != payloadType:
		return nil, fmt.Errorf("%w: payload type %.100q", ErrUnsupported, w.Envelope.PayloadType)
	case len(w.Envelope.Signatures) != 1:
		return nil, fmt.Errorf("%w: %d signatures, want 1", ErrMalformed, len(w.Envelope.Signatures))
	}
	s := &Signature{}
	var err error
	if s.payload, err = decode("payload", w.Envelope.Payload, limits.ModelSignature); err != nil {
		return nil, err
	}
	if s.sig, err = decode("signature", w.Envelope.Signatures[0].Sig, maxSignature); err != nil {
		return nil, err
	}
	if err := s.material(&w.Material); err != nil {
		return nil, err
	}
	return s, nil
}

// material takes over what a bundle says about the key.
func (s *Signature) material(w *wireMaterial) error {
	kinds := 0
	for _, there := range []bool{w.Key != nil, w.Chain != nil, w.Certificate != nil} {
		if there {
			kinds++
		}
	}
	if kinds != 1 {
		return fmt.Errorf("%w: verificationMaterial names %d keys or certificates, want 1", ErrMalformed, kinds)
	}
	if w.Key != nil {
		s.kind = KindKey
		if w.Key.Hint != nil {
			s.hint = *w.Key.Hint
		}
		return nil
	}
	s.kind = KindChain
	certificates := []wireCertificate{}
	if w.Chain != nil {
		certificates = w.Chain.Certificates
	} else {
		certificates = append(certificates, *w.Certificate)
	}
	if w.Certificate != nil || len(w.Log) > 0 {
		s.kind = KindSigstore
	}
	if len(certificates) == 0 || len(certificates) > limits.Certificates {
		return fmt.Errorf("%w: %d certificates, want 1 to %d", ErrMalformed, len(certificates), limits.Certificates)
	}
	for _, c := range certificates {
		der, err := decode("certificate", c.RawBytes, limits.Certificate)
		if err != nil {
			return err
		}
		s.chain = append(s.chain, der)
	}
	return nil
}

// Kind returns what the signature was made with, as it says itself.
func (s *Signature) Kind() Kind { return s.kind }

// decode decodes base64 in its only form, and refuses nothing at all and more
// than limit bytes.
func decode(what, text string, limit int) ([]byte, error) {
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrMalformed, what, err)
	}
	if len(b) == 0 || len(b) > limit || base64.StdEncoding.EncodeToString(b) != text {
		return nil, fmt.Errorf("%w: %s: empty, longer than %d bytes, or another spelling of base64", ErrMalformed, what, limit)
	}
	return b, nil
}
