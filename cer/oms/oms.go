// Package oms reads, checks and makes signatures of AI models in the OpenSSF
// Model Signing format, version 1.0: a list of files with their SHA-256 digests,
// in an in-toto Statement, in a DSSE envelope, in a Sigstore bundle.
//
// [NewManifest] makes the list from files that the caller has hashed, [Parse]
// reads a signature, and [Signature.Verify] and [Signature.VerifyChain] hand out
// the list that it signs once the signature is right. [Manifest.Check] then says
// whether that list describes the files at hand.
//
// # What the root digest covers
//
// The root digest, [Manifest.Root], is SHA-256 over the files' digests, one after
// the other in the order of their paths. It covers neither the paths nor how many
// files there are: two models whose files have the same contents in the same
// order share it, whatever the files are called. Where names matter, compare
// with [Manifest.Check] or [Manifest.Equal].
//
// # What is accepted
//
//   - Bundles of media type application/vnd.dev.sigstore.bundle.v0.3+json with
//     one DSSE signature over application/vnd.in-toto+json.
//   - Predicate type https://model_signing/signature/v1.0, files hashed whole
//     with SHA-256, listed in the order that the format prescribes. Shards, and
//     files hashed with BLAKE2b or BLAKE3, are [ErrUnsupported].
//   - Predicate type https://model_signing/Digests/v0.1, which releases before
//     1.0 wrote and which is in use, with the signatures of these releases: they
//     cover the payload as Python spells it. Nothing else may be signed so.
//   - ECDSA keys on P-256, P-384 and P-521 with SHA-256, SHA-384 and SHA-512, by
//     themselves or in a certificate of somebody's own authority. A certificate
//     of Sigstore's is [ErrCertificateSigned].
//
// The package has no clock, no files and no network, and builds for js/wasm.
package oms

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
)

// Every error of this package wraps exactly one of these.
var (
	// ErrMalformed: the signature, or the list of files, is not of the format.
	ErrMalformed = errors.New("malformed model signature")

	// ErrUnsupported: of the format, and of a kind that this package does not
	// know: another version, another way to hash, another kind of key.
	ErrUnsupported = errors.New("unsupported model signature")

	// ErrUntrusted: no key or certificate that the caller trusts made the
	// signature.
	ErrUntrusted = errors.New("untrusted model signature")

	// ErrCertificateSigned: signed with a certificate where a key is asked for,
	// or with one of Sigstore's, which is good for minutes and needs Sigstore's
	// log to be checked.
	ErrCertificateSigned = errors.New("model signed with a certificate")

	// ErrMismatch: the files are not the ones that were signed.
	ErrMismatch = errors.New("model differs from its signature")
)

// Scheme is the name of the root digest among component digests.
const Scheme = "oms-sha256"

// The names that the format gives to things.
const (
	bundleType    = "application/vnd.dev.sigstore.bundle.v0.3+json"
	payloadType   = "application/vnd.in-toto+json"
	statementType = "https://in-toto.io/Statement/v1"
	predicateType = "https://model_signing/signature/v1.0"
	compatType    = "https://model_signing/Digests/v0.1"
	methodFiles   = "files"
	hashSHA256    = "sha256"
)

// KeyID returns SHA-256 over the key's SubjectPublicKeyInfo in DER. The key is
// an *ecdsa.PublicKey on P-256, P-384 or P-521; the error wraps [ErrUnsupported].
func KeyID(key crypto.PublicKey) ([32]byte, error) {
	spki, _, err := marshalKey(key)
	if err != nil {
		return [32]byte{}, err
	}
	return sha256.Sum256(spki), nil
}

// marshalKey returns the key's SubjectPublicKeyInfo, and the hash that the
// format pairs its curve with.
func marshalKey(key crypto.PublicKey) ([]byte, crypto.Hash, error) {
	k, ok := key.(*ecdsa.PublicKey)
	if !ok || k == nil || k.Curve == nil {
		return nil, 0, fmt.Errorf("%w: a key of type %T that is no ECDSA public key", ErrUnsupported, key)
	}
	var hash crypto.Hash
	switch k.Curve {
	case elliptic.P256():
		hash = crypto.SHA256
	case elliptic.P384():
		hash = crypto.SHA384
	case elliptic.P521():
		hash = crypto.SHA512
	default:
		return nil, 0, fmt.Errorf("%w: an ECDSA key on %s", ErrUnsupported, k.Params().Name)
	}
	spki, err := x509.MarshalPKIXPublicKey(k)
	if err != nil {
		return nil, 0, fmt.Errorf("%w: encoding the key: %w", ErrUnsupported, err)
	}
	return spki, hash, nil
}

// hint names a key in a bundle: SHA-256 over its PEM text, in hexadecimal.
func hint(spki []byte) string {
	sum := sha256.Sum256(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki}))
	return hex.EncodeToString(sum[:])
}
