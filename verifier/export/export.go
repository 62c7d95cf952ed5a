// Package export gives a record in the forms of others: an in-toto statement about its
// output, for supply chains, and a RATS Conceptual Message Wrapper (CMW) around its
// evidence, for verifiers of other makes.
//
// Neither is proof by itself. The statement is the word of whoever signs it; the
// wrapper carries the record unchanged, and what is in it has to be verified as before.
package export

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/verifier"
)

// ErrArgument is the caller's own mistake: a report of another record, a key that
// cannot sign.
var ErrArgument = errors.New("invalid argument")

// The names of the in-toto forms.
const (
	// StatementType is the _type of in-toto statements.
	StatementType = "https://in-toto.io/Statement/v1"
	// PredicateType says what the predicate is.
	PredicateType = "https://sworn.run/attestation/execution/v1"
	// PayloadType is the payload type of a DSSE envelope around a statement.
	PayloadType = "application/vnd.in-toto+json"
)

// Statement is an in-toto statement (in-toto attestation framework, v1).
type Statement struct {
	// Type is StatementType.
	Type string `json:"_type"`
	// Subject is the output, the input and the record's file, by digest.
	Subject []Subject `json:"subject"`
	// PredicateType is PredicateType.
	PredicateType string `json:"predicateType"`
	// Predicate says what a verifier found.
	Predicate Predicate `json:"predicate"`
}

// Subject names something by its digest.
type Subject struct {
	// Name is "output" or "record".
	Name string `json:"name"`
	// Digest has one member, "sha256", in hexadecimal.
	Digest map[string]string `json:"digest"`
}

// Predicate is a verifier's finding about a record.
type Predicate struct {
	// Trusted and Headline are the verdict that decides.
	Trusted bool `json:"trusted"`
	// Headline is the verdict in one line.
	Headline string `json:"headline"`
	// Assuming lists what it rests on.
	Assuming []string `json:"assuming"`
	// Now and Record are both verdicts.
	Now verifier.Verdict `json:"verdictNow"`
	// Record is the verdict as of the record's time.
	Record verifier.Verdict `json:"verdictRecord"`
	// CertificateHash and EvidenceDigest identify record and evidence.
	CertificateHash string `json:"certificateHash"`
	// EvidenceDigest is E, in hexadecimal.
	EvidenceDigest string `json:"evidenceDigest"`
	// Components is what ran, as measured.
	Components []verifier.Component `json:"components"`
	// InputSHA256 is the digest of the input; empty if the record commits to it and no
	// opening was given.
	InputSHA256 string `json:"inputSHA256"`
	// Policy and Roots are SHA-256 of the policy and the digest of the roots.
	Policy string `json:"policy"`
	// Roots is the digest of the user's roots.
	Roots string `json:"roots"`
	// Verifier is the verifier's version and digest.
	Verifier string `json:"verifier"`
}

// InToto returns the statement about a record that a report is about. A record that
// cannot be read has none; one that is not trusted has, and it says so. The error wraps
// ErrArgument or is package cer's.
func InToto(capsule []byte, r *verifier.Report) (*Statement, error) {
	if err := about(capsule, r); err != nil {
		return nil, err
	}
	s := &r.Summary
	if s.Output == nil || s.Input == nil || s.CertificateHash == "" {
		return nil, fmt.Errorf("the record cannot be read: %w", ErrArgument)
	}
	p := Predicate{
		Trusted: r.Trusted, Headline: r.Headline, Assuming: r.Assuming, Now: r.Now, Record: r.Record,
		CertificateHash: s.CertificateHash, EvidenceDigest: s.EvidenceDigest, Components: s.Components,
		InputSHA256: s.Input.SHA256, Policy: r.Policy, Roots: r.Roots, Verifier: r.Verifier,
	}
	out := &Statement{Type: StatementType, PredicateType: PredicateType, Predicate: p}
	if s.Output.SHA256 != "" {
		out.Subject = append(out.Subject, Subject{"output", map[string]string{"sha256": s.Output.SHA256}})
	}
	out.Subject = append(out.Subject, Subject{"record", map[string]string{"sha256": r.Capsule}})
	return out, nil
}

// about refuses a report of another record.
func about(capsule []byte, r *verifier.Report) error {
	sum := sha256.Sum256(capsule)
	if r == nil || r.Type != verifier.ReportType || r.Capsule != hex.EncodeToString(sum[:]) {
		return fmt.Errorf("no report, or one of another record: %w", ErrArgument)
	}
	return nil
}

// envelope is a DSSE envelope.
type envelope struct {
	PayloadType string      `json:"payloadType"`
	Payload     string      `json:"payload"`
	Signatures  []signature `json:"signatures"`
}

type signature struct {
	KeyID string `json:"keyid"`
	Sig   string `json:"sig"`
}

// Envelope signs a statement in a DSSE envelope with the verifier's key, Ed25519 or
// ECDSA by SHA-256; keyid is SHA-256 of its SubjectPublicKeyInfo in hexadecimal. The
// error wraps ErrArgument, or is the key's.
func Envelope(s *Statement, key crypto.Signer) ([]byte, error) {
	if s == nil || key == nil {
		return nil, fmt.Errorf("no statement, or no key: %w", ErrArgument)
	}
	body, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("encoding the statement: %w", err)
	}
	message := fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(PayloadType), PayloadType, len(body), body)
	var hash crypto.Hash
	switch key.Public().(type) {
	case ed25519.PublicKey:
	case *ecdsa.PublicKey:
		d := sha256.Sum256(message)
		message, hash = d[:], crypto.SHA256
	default:
		return nil, fmt.Errorf("a key of type %T, want Ed25519 or ECDSA: %w", key.Public(), ErrArgument)
	}
	sig, err := key.Sign(rand.Reader, message, hash)
	if err != nil {
		return nil, fmt.Errorf("signing the statement: %w", err)
	}
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, fmt.Errorf("the key: %w", err)
	}
	id := sha256.Sum256(spki)
	b64 := base64.StdEncoding.EncodeToString
	out, err := json.Marshal(envelope{PayloadType, b64(body), []signature{{hex.EncodeToString(id[:]), b64(sig)}}})
	if err != nil {
		return nil, fmt.Errorf("encoding the envelope: %w", err)
	}
	return out, nil
}

// The types in a CMW. Numbers of section 3.3: which conceptual messages an item is.
const (
	// CollectionType is the __cmwc_t of the collection.
	CollectionType = "tag:sworn.run,2026:capsule/v1"
	// RecordType is the media type of a capsule file.
	RecordType = "application/vnd.sworn.capsule+json"
	// EvidenceType is that of one evidence item of a capsule.
	EvidenceType = "application/vnd.sworn.evidence+json"
	// CollateralType is that of one collateral item; parameter kind says which.
	CollateralType = "application/vnd.sworn.collateral"
	// ResultType is the media type of an EAR.
	ResultType = "application/eat+jwt"

	indEndorsements = 2
	indEvidence     = 4
	indResults      = 8
)

// CMW returns a collection with the capsule itself, each evidence item, each collateral
// item, and the EAR if there is one: {"__cmwc_t":…,"record":[type, base64url, number]…}.
// The error is package cer's, for what is no capsule.
func CMW(capsule []byte, result string) ([]byte, error) {
	c, err := cer.ParseCapsule(capsule)
	if err != nil {
		return nil, fmt.Errorf("wrapping the record: %w", err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	all := map[string]any{
		"__cmwc_t": CollectionType,
		"record":   []any{RecordType, b64(capsule), indEvidence},
	}
	for i, item := range c.Items {
		all["evidence-"+strconv.Itoa(i)] = []any{EvidenceType, b64(item), indEvidence}
	}
	for i, x := range c.Collateral {
		all["collateral-"+strconv.Itoa(i)] = []any{CollateralType + "; kind=" + strconv.Quote(x.Kind), b64(x.Data), indEndorsements}
	}
	if result != "" {
		all["result"] = []any{ResultType, b64([]byte(result)), indResults}
	}
	out, err := json.Marshal(all)
	if err != nil {
		return nil, fmt.Errorf("encoding the wrapper: %w", err)
	}
	return out, nil
}
