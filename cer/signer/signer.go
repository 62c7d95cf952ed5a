// Package signer reads, checks and makes the signatures of people over a record:
// of the operator who ran a job, and of those who countersign it later, an auditor
// or a notary.
//
// Hardware says what ran, and on what. It does not say who answers for it: that is
// what such a signature adds. Nothing of a record's verdict rests on one unless the
// relying party's policy asks for it.
//
// # What is signed
//
// A [Claim]: the record's evidence digest E, the role in which it is signed, and if
// the signer likes a time and a comment. E covers statement, launch key's signature
// and evidence, and through the statement its records and its log, so that a
// signature can be moved to no record of another statement. A statement over several
// records (a batch) has one E: who signs it signs all of them. The time is the signer's
// word.
//
// # The two formats
//
//   - [KindSSH]: an SSH signature (OpenSSH's PROTOCOL.sshsig), as ssh-keygen -Y sign
//     makes it and ssh-keygen -Y verify accepts it, under the namespace of the role.
//     Keys of OpenSSH, of its agent, of tokens and FIDO authenticators sign like this.
//   - [KindX509]: a JSON Web Signature (RFC 7515, compact) that has the signer's
//     certificates in its protected header.
//
// Each has exactly one encoding: what is received is what [Signature] would be written
// as, to the byte, and every byte of it but the signature value is signed. Namespace and
// type begin what is signed, so that no signature made for another purpose counts, and
// none made here counts elsewhere.
//
// # Which keys
//
// Ed25519; ECDSA on P-256 and P-384; RSA of 2,048 to 8,192 bits with exponent 65537,
// PKCS #1 v1.5 with SHA-256 or SHA-512; and the FIDO kinds of the first two on P-256.
// The format and the key fix the algorithm, which is never taken from the signature.
//
// The package has no clock, no files and no network, and builds for js/wasm.
package signer

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/limits"
)

// Every error of this package wraps exactly one of these.
var (
	// ErrForm: not of the format, or of a kind that this version does not accept.
	ErrForm = errors.New("malformed signature over a record")

	// ErrSignature: of the format, and wrong: by another key than it says, or over
	// another record.
	ErrSignature = errors.New("wrong signature over a record")

	// ErrUntrusted: right, and its certificate leads to no authority that the caller
	// trusts at that time.
	ErrUntrusted = errors.New("untrusted signer of a record")

	// ErrPlace: a signature that may not stand where it does among a capsule's
	// collateral, or stands there twice.
	ErrPlace = errors.New("signature over a record out of place")
)

// The kinds of collateral that are signatures over records.
const (
	// KindSSH is an SSH signature: the claim on one line, and under it what
	// ssh-keygen -Y sign prints for that line.
	KindSSH = "ssh-signature"
	// KindX509 is a JSON Web Signature with certificates.
	KindX509 = "x509-signature"
)

// IsKind reports whether collateral of the kind is a signature over the record.
func IsKind(kind string) bool { return kind == KindSSH || kind == KindX509 }

// The roles in which records are signed.
const (
	// RoleOperator signs for having run the job.
	RoleOperator = "operator"
	// RoleCountersigner signs a record that was there: an auditor, a notary.
	RoleCountersigner = "countersigner"
)

// IsRole reports whether a role is one of those.
func IsRole(role string) bool { return role == RoleOperator || role == RoleCountersigner }

// Namespace returns the namespace of SSH signatures in a role: what ssh-keygen takes
// after -n, and allowed_signers(5) files as namespaces="…".
func Namespace(role string) string { return role + "/v1@sworn.run" }

// claimType is the member type of every claim.
const claimType = "sworn.signature/v1"

// Claim is what a signer signs.
type Claim struct {
	// Role is RoleOperator or RoleCountersigner.
	Role string
	// Evidence is the evidence digest E (SPEC, section 6.5).
	Evidence [32]byte
	// Time is when it was signed, by the signer's word, to the millisecond; zero if
	// the signer does not say.
	Time time.Time
	// Comment is one printable line of at most 1,024 bytes, or empty.
	Comment string
}

type wireClaim struct {
	Comment  string `json:"comment,omitzero"`
	Evidence string `json:"evidence"`
	Role     string `json:"role"`
	Time     string `json:"time,omitzero"`
	Type     string `json:"type"`
}

// Encode returns the claim's canonical JSON, without a line feed. The error wraps
// [ErrForm].
func (c *Claim) Encode() ([]byte, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	w := wireClaim{Comment: c.Comment, Evidence: cer.FormatHash(c.Evidence), Role: c.Role, Type: claimType}
	if !c.Time.IsZero() {
		w.Time = cer.FormatTime(c.Time)
	}
	b, err := cer.MarshalCanonical(&w)
	if err != nil {
		return nil, fmt.Errorf("encoding a claim: %w: %w", ErrForm, err)
	}
	return b, nil
}

// check refuses what no claim may say.
func (c *Claim) check() error {
	if !IsRole(c.Role) {
		return fmt.Errorf("%w: role %.100q, want %s or %s", ErrForm, c.Role, RoleOperator, RoleCountersigner)
	}
	if y := c.Time.UTC().Year(); !c.Time.IsZero() && (y < 1 || y > 9999) {
		return fmt.Errorf("%w: a time in year %d", ErrForm, y)
	}
	if n := len(c.Comment); n > limits.SignerComment {
		return fmt.Errorf("%w: a comment of %d bytes, limit %d", ErrForm, n, limits.SignerComment)
	}
	if !utf8.ValidString(c.Comment) || strings.ContainsFunc(c.Comment, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return fmt.Errorf("%w: a comment that is not one printable line", ErrForm)
	}
	return nil
}

// parseClaim is the inverse of Encode, and accepts that one form only.
func parseClaim(b []byte) (*Claim, error) {
	var w wireClaim
	if err := cer.UnmarshalCanonical(b, limits.CapsuleDepth, &w); err != nil {
		return nil, fmt.Errorf("%w: claim: %w", ErrForm, err)
	}
	if w.Type != claimType {
		return nil, fmt.Errorf("%w: claim of type %.100q, want %s", ErrForm, w.Type, claimType)
	}
	c := &Claim{Role: w.Role, Comment: w.Comment}
	var err error
	if c.Evidence, err = cer.ParseHash(w.Evidence); err != nil {
		return nil, fmt.Errorf("%w: claim: %w", ErrForm, err)
	}
	if w.Time != "" {
		c.Time, err = time.Parse(cer.TimeLayout, w.Time)
		if err != nil || c.Time.IsZero() || cer.FormatTime(c.Time) != w.Time {
			return nil, fmt.Errorf("%w: claim: time %.100q", ErrForm, w.Time)
		}
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	return c, nil
}

// Signature is one signature over a record, parsed. It is right only once [Signature.Verify]
// says so.
type Signature struct {
	// Claim is what it says.
	Claim
	// Kind is KindSSH or KindX509.
	Kind string
	// Algorithm is how its format spells the algorithm, such as ssh-ed25519 or ES256.
	Algorithm string
	// Key is the key that it says it is by.
	Key *Key
	// Chain are its certificates, the key's first, each the issuer of the one before;
	// none for KindSSH.
	Chain []*x509.Certificate
	// Attended tells, of a FIDO key, that the authenticator verified its user, by PIN
	// or biometrics; that somebody touched it is so of every one that is accepted.
	Attended bool

	// verify checks the signature value over what its format has signed.
	verify func() error
}

// Parse reads a signature of a kind, exactly: written again it would be the same bytes.
// Signature and error exclude each other; the error wraps [ErrForm].
func Parse(kind string, data []byte) (*Signature, error) {
	if n := len(data); n > limits.SignerItem {
		return nil, fmt.Errorf("%w: %d bytes, limit %d", ErrForm, n, limits.SignerItem)
	}
	switch kind {
	case KindSSH:
		return parseSSH(data)
	case KindX509:
		return parseJWS(data)
	default:
		return nil, fmt.Errorf("%w: kind %.100q", ErrForm, kind)
	}
}

// Verify returns nil if the signature is by its key and over the record with the given
// evidence digest. Whose key it is, and whether it should have signed, is the caller's to
// judge. The error wraps [ErrSignature].
func (s *Signature) Verify(evidence [32]byte) error {
	if s == nil || s.verify == nil {
		return fmt.Errorf("%w: none", ErrSignature)
	}
	if s.Evidence != evidence {
		return fmt.Errorf("%w: it is over the record with evidence digest %x", ErrSignature, s.Evidence)
	}
	return s.verify()
}

// Compare orders signatures as capsules carry them: operators before countersigners, and
// in one role by SHA-256 of the key as SSH has it. It is zero for one key in one role,
// which may stand once.
func Compare(a, b *Signature) int {
	rank := func(s *Signature) int {
		if s.Role == RoleOperator {
			return 0
		}
		return 1
	}
	x, y := a.Key.digest(), b.Key.digest()
	return cmp.Or(cmp.Compare(rank(a), rank(b)), bytes.Compare(x[:], y[:]))
}

// Split cuts the signatures off a capsule's collateral, which stand last.
func Split(items []attest.Collateral) (rest, signatures []attest.Collateral) {
	n := len(items)
	for n > 0 && IsKind(items[n-1].Kind) {
		n--
	}
	return items[:n], items[n:]
}

// ParseAll reads the signatures among a capsule's collateral, of which every one must
// stand behind everything else, in the order of [Compare], one key in one role once, 16
// at most. The error wraps [ErrForm] or [ErrPlace].
func ParseAll(items []attest.Collateral) ([]*Signature, error) {
	rest, carried := Split(items)
	if i := slices.IndexFunc(rest, func(c attest.Collateral) bool { return IsKind(c.Kind) }); i >= 0 {
		return nil, fmt.Errorf("%w: item %d stands before other collateral", ErrPlace, i)
	}
	if len(carried) > limits.Signers {
		return nil, fmt.Errorf("%w: %d signatures, limit %d", ErrPlace, len(carried), limits.Signers)
	}
	var out []*Signature
	for i, c := range carried {
		s, err := Parse(c.Kind, c.Data)
		if err != nil {
			return nil, fmt.Errorf("item %d: %w", len(rest)+i, err)
		}
		if i > 0 && Compare(out[i-1], s) >= 0 {
			return nil, fmt.Errorf("%w: item %d is not in order, or a second one by its key in its role", ErrPlace, len(rest)+i)
		}
		out = append(out, s)
	}
	return out, nil
}

// Insert returns a capsule's collateral with one more signature in its place. What it
// is given stays as it is. The error wraps [ErrForm], or [ErrPlace] if its key has signed
// in its role already, or if there are too many.
func Insert(items []attest.Collateral, add attest.Collateral) ([]attest.Collateral, error) {
	carried, err := ParseAll(items)
	if err != nil {
		return nil, err
	}
	s, err := Parse(add.Kind, add.Data)
	if err != nil {
		return nil, err
	}
	at, found := slices.BinarySearchFunc(carried, s, Compare)
	switch {
	case found:
		return nil, fmt.Errorf("%w: key %s has signed as %s already", ErrPlace, s.Key.Fingerprint(), s.Role)
	case len(carried) == limits.Signers:
		return nil, fmt.Errorf("%w: there are %d signatures already, the limit", ErrPlace, limits.Signers)
	}
	return slices.Insert(slices.Clone(items), len(items)-len(carried)+at, add), nil
}
