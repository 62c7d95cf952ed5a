// Package enroll certifies attestation keys: a CA of the operator's own, which
// does for a TPM that no cloud vouches for what clouds do for theirs.
//
// A [Server] takes the certificate of a TPM's endorsement key (EK), verifies it
// against the makers' roots, and encrypts a secret for that EK and the Name of
// the attestation key (AK) that wants to be certified. Only the TPM that holds
// both gives the secret away. Whoever returns it in time, over the same client
// certificate, gets a short certificate for the AK. What was exchanged is kept
// as a transcript: the enrolling party's word, since nobody else can repeat it.
// The certificate is verified offline like a cloud's.
//
// [Client] is the other side, for [tpmdev.Enroll]; [Save] and [Load] keep the AK
// between launches. docs/SPEC.md, section 3.3, has the messages.
package enroll

import (
	"errors"
	"fmt"
	"io"

	"github.com/sworn-run/sworn/cer"
)

// The errors of this package; every error returned wraps one of them, or one of
// package tpmdev's or the context's.
var (
	// ErrRefused: the applicant does not prove what a certificate would say.
	ErrRefused = errors.New("enrolment refused")
	// ErrMessage: a message that is not one of this protocol's, or too large.
	ErrMessage = errors.New("invalid enrolment message")
	// ErrBusy: there are as many enrolments under way as may be.
	ErrBusy = errors.New("too many enrolments under way")
	// ErrFile: a file of the CA, of the transcripts or of an enrolled AK that
	// cannot be used.
	ErrFile = errors.New("unusable enrolment file")
	// ErrServer: the enrolling party cannot be reached or does not answer as it
	// should.
	ErrServer = errors.New("enrolling party failed")
)

// Bounds of a message. Six certificates of 8,192 bytes in base64 are 65,532
// characters; all the rest is below 8 KiB.
const (
	maxMessage = 96 << 10
	maxDepth   = 4
)

// The types of messages and files.
const (
	typeRequest     = "sworn.enroll.request/v1"
	typeChallenge   = "sworn.enroll.challenge/v1"
	typeProof       = "sworn.enroll.proof/v1"
	typeCertificate = "sworn.enroll.certificate/v1"
	typeError       = "sworn.enroll.error/v1"
	typeTranscript  = "sworn.enroll.transcript/v1"
	typeKey         = "sworn.enroll.key/v1"
)

// The paths of the two steps.
const (
	pathChallenge   = "/v1/challenge"
	pathCertificate = "/v1/certificate"
)

// request asks for a credential. Byte strings are base64, as everywhere here.
type request struct {
	Type           string   `json:"type"`
	EKCertificates [][]byte `json:"ekCertificates"`
	EKPublic       []byte   `json:"ekPublic"`
	AKPublic       []byte   `json:"akPublic"`
	AKParent       []byte   `json:"akParent"`
}

// challenge answers it.
type challenge struct {
	Type    string `json:"type"`
	Session []byte `json:"session"`
	Blob    []byte `json:"blob"`
	Secret  []byte `json:"secret"`
}

// proof returns the secret.
type proof struct {
	Type    string `json:"type"`
	Session []byte `json:"session"`
	Secret  []byte `json:"secret"`
}

// certificate answers it.
type certificate struct {
	Type         string   `json:"type"`
	Certificates [][]byte `json:"certificates"`
}

// failure answers either.
type failure struct {
	Type  string `json:"type"`
	Error string `json:"error"`
}

// decode reads one message of the type: canonical JSON, nothing unknown, nothing
// missing, bounded.
func decode(r io.Reader, v any, kind *string, want string) error {
	b, err := io.ReadAll(io.LimitReader(r, maxMessage+1))
	if err != nil {
		return fmt.Errorf("reading a message: %w: %w", ErrMessage, err)
	}
	if len(b) > maxMessage {
		return fmt.Errorf("a message over %d bytes: %w", maxMessage, ErrMessage)
	}
	if err := cer.UnmarshalCanonical(b, maxDepth, v); err != nil {
		return fmt.Errorf("parsing a message: %w: %w", ErrMessage, err)
	}
	if *kind != want {
		return fmt.Errorf("a message of type %.40q, want %q: %w", *kind, want, ErrMessage)
	}
	return nil
}
