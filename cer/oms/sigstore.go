package oms

import (
	"crypto/sha256"
	"fmt"
	"time"
	"unicode"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/limits"
)

// SigstoreSigner is who made a signature of [KindSigstore], as one found out who
// verified it.
type SigstoreSigner struct {
	// Identity is what the certificate says.
	Identity
	// Payload is SHA-256 of the payload that the envelope's signature is over.
	Payload [32]byte
	// Time is the earliest at which a log or a time-stamping authority vouches for
	// the signature.
	Time time.Time
}

// Identity is whom a certificate of Sigstore's was issued to.
type Identity struct {
	// Issuer is who vouched for the subject, such as
	// "https://accounts.google.com".
	Issuer string `json:"issuer"`
	// Subject is the certificate's subject alternative name: an address, or the
	// URI of a workflow.
	Subject string `json:"subject"`
}

// SigstoreVerifier verifies a bundle of at most 8 MiB with a trusted root, as
// [CheckTrustedRoot] takes it: certificate, log entry and signature. It does not
// judge who signed, nor what. The signer is nil if there is an error.
type SigstoreVerifier func(bundle, trustedRoot []byte) (*SigstoreSigner, error)

// trustedRootType is the media type of trusted roots, with its version.
const trustedRootType = "application/vnd.dev.sigstore.trustedroot+json;version=0.1"

// CheckTrustedRoot checks that a file of at most 1 MiB says that it is the trusted
// root of a Sigstore, application/vnd.dev.sigstore.trustedroot+json version 0.1, in
// strict JSON. The authorities and logs in it are for a [SigstoreVerifier] to read.
// The error wraps [ErrMalformed] or, for another type, [ErrUnsupported].
func CheckTrustedRoot(b []byte) error {
	if len(b) > limits.RootsFile {
		return fmt.Errorf("%w: a trusted root of %d bytes, at most %d", ErrMalformed, len(b), limits.RootsFile)
	}
	var w map[string]jsontext.Value
	if err := cer.UnmarshalStrict(b, limits.CapsuleDepth, &w); err != nil {
		return fmt.Errorf("%w: trusted root: %w", ErrMalformed, err)
	}
	if string(w["mediaType"]) != `"`+trustedRootType+`"` {
		return fmt.Errorf("%w: want a Sigstore trusted root of type %s", ErrUnsupported, trustedRootType)
	}
	return nil
}

// VerifySigstore verifies a signature of [KindSigstore], whose bundle is b, with a
// verifier that the caller trusts, and returns who made it and what it signs. A
// signature that was made after the given time is not trusted. Whether it is by
// the right one, the caller must judge: anybody can have such a certificate.
//
// The error wraps [ErrUntrusted], [ErrCertificateSigned] without a verifier,
// [ErrMalformed] or [ErrUnsupported]; then the rest is nil. Without a trusted
// root, or with a zero time, nothing is trusted.
func VerifySigstore(b, trustedRoot []byte, at time.Time, verify SigstoreVerifier) (*SigstoreSigner, *Manifest, error) {
	s, err := Parse(b)
	switch {
	case err != nil:
		return nil, nil, err
	case s.kind != KindSigstore:
		return nil, nil, fmt.Errorf("%w: there is no certificate of Sigstore's in it", ErrUntrusted)
	case verify == nil:
		return nil, nil, fmt.Errorf("%w: it needs Sigstore", ErrCertificateSigned)
	case len(trustedRoot) == 0 || at.IsZero():
		return nil, nil, fmt.Errorf("%w: no trusted root, or no time, to verify with", ErrUntrusted)
	}
	if err := CheckTrustedRoot(trustedRoot); err != nil {
		return nil, nil, err
	}
	signer, err := verify(b, trustedRoot)
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("%w: Sigstore: %w", ErrUntrusted, err)
	case signer == nil || signer.Check() != nil || signer.Time.IsZero():
		return nil, nil, fmt.Errorf("%w: Sigstore: no identity, or no time", ErrUntrusted)
	case signer.Payload != sha256.Sum256(s.payload):
		return nil, nil, fmt.Errorf("%w: Sigstore: what was verified is another payload", ErrUntrusted)
	case signer.Time.After(at):
		return nil, nil, fmt.Errorf("%w: made at %s, later than asked for", ErrUntrusted, signer.Time.UTC().Format(time.RFC3339))
	}
	m, err := parseStatement(s.payload, false)
	if err != nil {
		return nil, nil, err
	}
	return signer, m, nil
}

// Check checks that both parts are there, as text on one line of at most
// 1,024 bytes. The error wraps [ErrMalformed].
func (i Identity) Check() error {
	for _, s := range []string{i.Issuer, i.Subject} {
		if len(s) == 0 || len(s) > maxIdentity {
			return fmt.Errorf("%w: an issuer or subject of %d bytes, want 1 to %d", ErrMalformed, len(s), maxIdentity)
		}
		for _, r := range s {
			if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
				return fmt.Errorf("%w: an issuer or subject that is not printable text on one line", ErrMalformed)
			}
		}
	}
	return nil
}

// maxIdentity bounds an issuer or a subject, in bytes.
const maxIdentity = 1024
