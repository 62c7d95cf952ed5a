package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"
)

// maxRequest bounds what is read, in bytes: a bundle of 8 MiB and a trusted root of
// 1 MiB, in base64, with room for the names.
const maxRequest = 13 << 20

// errRefused: the request is none, or its bundle is not to be trusted. Every error
// of a request wraps it.
var errRefused = errors.New("not verified")

// request is what is asked: both members in base64.
type request struct {
	Bundle      []byte `json:"bundle"`
	TrustedRoot []byte `json:"trusted_root"`
}

// answer is who signed what, and since when that is known.
type answer struct {
	// Issuer and Subject are of the certificate: who vouched for whom.
	Issuer  string `json:"issuer"`
	Subject string `json:"subject"`
	// Payload is SHA-256 of the payload that was signed, in hexadecimal.
	Payload string `json:"payload"`
	// Time is the earliest time that log or time-stamping authority vouch for.
	Time time.Time `json:"time"`
}

// serve reads one request and writes its answer, or nothing beside an error.
func serve(in io.Reader, out io.Writer) error {
	b, err := io.ReadAll(io.LimitReader(in, maxRequest+1))
	if err != nil {
		return fmt.Errorf("%w: reading the request: %w", errRefused, err)
	}
	if len(b) > maxRequest {
		return fmt.Errorf("%w: the request is larger than %d bytes", errRefused, maxRequest)
	}
	var r request
	if err := json.Unmarshal(b, &r); err != nil {
		return fmt.Errorf("%w: reading the request: %w", errRefused, err)
	}
	a, err := check(&r)
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(a)
}

// check verifies a bundle: the certificate is of an authority of the trusted root,
// in a certificate log, and was valid when the signature entered the log of
// signatures. Who may sign, the caller judges.
func check(r *request) (*answer, error) {
	trusted, err := root.NewTrustedRootFromJSON(r.TrustedRoot)
	if err != nil {
		return nil, fmt.Errorf("%w: trusted root: %w", errRefused, err)
	}
	b := new(bundle.Bundle)
	if err := b.UnmarshalJSON(r.Bundle); err != nil {
		return nil, fmt.Errorf("%w: bundle: %w", errRefused, err)
	}
	if err := proven(b); err != nil {
		return nil, err
	}
	v, err := verify.NewVerifier(trusted, verify.WithSignedCertificateTimestamps(1), verify.WithTransparencyLog(1), verify.WithObserverTimestamps(1))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errRefused, err)
	}
	// The model's files are the artifact, and the launcher or the verifier holds
	// them against the payload; it holds the identity against its policy too.
	result, err := v.Verify(b, verify.NewPolicy(verify.WithoutArtifactUnsafe(), verify.WithoutIdentitiesUnsafe()))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errRefused, err)
	}
	if result.Signature == nil || result.Signature.Certificate == nil || len(result.VerifiedTimestamps) == 0 {
		return nil, fmt.Errorf("%w: no certificate, or no time", errRefused)
	}
	payload, err := signedPayload(b)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(payload)
	a := &answer{
		Issuer: result.Signature.Certificate.Issuer, Subject: result.Signature.Certificate.SubjectAlternativeName,
		Payload: hex.EncodeToString(sum[:]), Time: result.VerifiedTimestamps[0].Timestamp.UTC(),
	}
	for _, t := range result.VerifiedTimestamps {
		if t.Timestamp.Before(a.Time) {
			a.Time = t.Timestamp.UTC()
		}
	}
	if a.Issuer == "" || a.Subject == "" {
		return nil, fmt.Errorf("%w: the certificate names no issuer or no subject", errRefused)
	}
	return a, nil
}

// proven checks that every entry proves that it is in its log. The library is
// content if one does, which may be of a log that nobody trusts, beside another with
// the mere promise of a log that is.
func proven(b *bundle.Bundle) error {
	entries, err := b.TlogEntries()
	if err != nil {
		return fmt.Errorf("%w: log entries: %w", errRefused, err)
	}
	for _, e := range entries {
		if !e.HasInclusionProof() {
			return fmt.Errorf("%w: an entry with no proof that it is in its log", errRefused)
		}
	}
	return nil
}

// signedPayload returns the payload that the bundle's signature is over.
func signedPayload(b *bundle.Bundle) ([]byte, error) {
	content, err := b.SignatureContent()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errRefused, err)
	}
	envelope := content.EnvelopeContent()
	if envelope == nil {
		return nil, fmt.Errorf("%w: what is signed is no envelope", errRefused)
	}
	payload, err := envelope.RawEnvelope().DecodeB64Payload()
	if err != nil {
		return nil, fmt.Errorf("%w: payload: %w", errRefused, err)
	}
	return payload, nil
}
