package verifier

import (
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/cer/signer"
)

// roleSigner is the role of authorities that certify the keys of operators and
// countersigners.
const roleSigner = "signer"

// RecordSigner asks for a signature over the record by somebody (SPEC, section 9.7).
type RecordSigner struct {
	// Role is signer.RoleOperator or signer.RoleCountersigner.
	Role string `json:"role"`
	// Keys lists the acceptable keys, as "SHA256:" and what ssh-keygen -l prints behind
	// it, or as "sha256:" and the lower-case hexadecimal SHA-256 of the
	// SubjectPublicKeyInfo; any one. A key that is listed needs no certificate.
	Keys []string `json:"keys,omitzero"`
	// Authorities lists the acceptable authorities, as "sha256:" and the SHA-256 of
	// their SubjectPublicKeyInfo: any key that one of them certified for signing
	// documents. Their certificates come from the roots, role signer. There is at least
	// one of Keys and Authorities.
	Authorities []string `json:"authorities,omitzero"`
}

// Signature is one signature over a record, as reports list it. Nothing of the verdict
// rests on one unless the policy asks for it.
type Signature struct {
	// Role is what the signer signed as, operator or countersigner.
	Role string `json:"role"`
	// Valid tells that the signature is by that key, over this record.
	Valid bool `json:"valid"`
	// Kind is the kind of collateral, ssh-signature or x509-signature.
	Kind string `json:"kind"`
	// Algorithm is how the kind spells the algorithm, such as ssh-ed25519 or ES256.
	Algorithm string `json:"algorithm"`
	// Key is the key's type and size.
	Key string `json:"key"`
	// Fingerprint names the key as ssh-keygen -l does.
	Fingerprint string `json:"fingerprint"`
	// SPKI names it as X.509 does; empty for a FIDO key.
	SPKI string `json:"spki,omitempty"`
	// Subject and Issuer are the names in its certificate, which nobody vouches for
	// unless signer.match passed by the certificate's authority.
	Subject string `json:"subject,omitempty"`
	// Issuer is the name of who certified it.
	Issuer string `json:"issuer,omitempty"`
	// Records is how many records it is over, in decimal, where the statement has several:
	// all of them are signed at once, whichever of them the signer looked at.
	Records string `json:"records,omitempty"`
	// Attended tells that a FIDO authenticator verified its user.
	Attended bool `json:"attended,omitempty"`
	// Time and Comment are the signer's word.
	Time string `json:"time,omitempty"`
	// Comment is one printable line.
	Comment string `json:"comment,omitempty"`
}

// recordSigners is what was found out of the signatures over a record.
type recordSigners struct {
	// all are those that parse, whatever their places.
	all []*signer.Signature
	// wrong are why each of them is not over this record by its key, or nil.
	wrong []error
	// err is why they cannot be accepted as they stand; nil if they can.
	err error
}

// recordSigners parses and verifies the signatures over the record, once. The capsule
// has been parsed.
func (a *appraisal) recordSigners() *recordSigners {
	if a.signers != nil {
		return a.signers
	}
	r := &recordSigners{}
	a.signers = r
	if r.all, r.err = signer.ParseAll(a.capsule.Collateral); r.err != nil {
		r.all = nil
		_, carried := signer.Split(a.capsule.Collateral)
		for i := range min(len(carried), maxSignatures) {
			if s, err := signer.Parse(carried[i].Kind, carried[i].Data); err == nil {
				r.all = append(r.all, s)
			}
		}
	}
	e := a.capsule.EvidenceDigest()
	for _, s := range r.all {
		r.wrong = append(r.wrong, s.Verify(e))
	}
	return r
}

// checkSignerSignature: a signature that is carried is right.
func checkSignerSignature(a *appraisal) outcome {
	if a.capsule == nil {
		return unknown("the capsule cannot be read")
	}
	r := a.recordSigners()
	if r.err != nil {
		return failed(r.err.Error())
	}
	var by []string
	for i, s := range r.all {
		if r.wrong[i] != nil {
			return failed(fmt.Sprintf("as %s, key %s: %v", s.Role, s.Key.Fingerprint(), r.wrong[i]))
		}
		by = append(by, s.Role+" "+s.Key.Fingerprint())
	}
	if len(by) == 0 {
		return passed("none is carried")
	}
	line := strings.Join(by, ", ")
	if n := a.recordsSigned(); n != "" {
		line += ", over all " + n + " records of the statement"
	}
	return passed(line)
}

// recordsSigned is how many records a signature is over; empty for one.
func (a *appraisal) recordsSigned() string {
	if a.statement == nil || a.statement.RecordCount < 2 {
		return ""
	}
	return strconv.FormatUint(a.statement.RecordCount, 10)
}

// askedSigner: the policy names signers.
func askedSigner(a *appraisal) bool { return a.in.Policy != nil && len(a.in.Policy.Signers) > 0 }

// checkSignerMatch: whom the policy wants signed.
func checkSignerMatch(a *appraisal) outcome {
	if !askedSigner(a) {
		return notApplicable("no signer was asked for")
	}
	if checkSignerSignature(a).Status != attest.Passed {
		return unknown("the signatures cannot be relied on")
	}
	var by []string
	var lacks *outcome
	for i := range a.in.Policy.Signers {
		s, authority, o := a.signedFor(&a.in.Policy.Signers[i])
		switch {
		case s == nil && o.Status == attest.Failed:
			return o
		case s == nil && lacks == nil:
			lacks = &o
		case s != nil && authority != nil:
			by = append(by, fmt.Sprintf("%s %s below authority %q", s.Role, s.Key.Fingerprint(), authority.Subject.CommonName))
		case s != nil:
			by = append(by, s.Role+" "+s.Key.Fingerprint())
		}
	}
	if lacks != nil {
		return *lacks
	}
	return passed(strings.Join(by, ", "))
}

// signedFor returns the signature that answers what the policy asks, and the authority
// by which it does, if it is not by its key; or why there is none.
func (a *appraisal) signedFor(want *RecordSigner) (s *signer.Signature, authority *x509.Certificate, o outcome) {
	var got []string
	var reason error
	authorities, given := a.signerAuthorities(want)
	for _, s := range a.recordSigners().all {
		if s.Role != want.Role {
			continue
		}
		got = append(got, s.Key.Fingerprint())
		if slices.ContainsFunc(want.Keys, s.Key.Names) {
			return s, nil, outcome{}
		}
		if len(s.Chain) == 0 {
			continue
		}
		for _, ca := range authorities {
			err := s.VerifyChain(ca, a.signerTime())
			if err == nil {
				return s, ca, outcome{}
			}
			reason = err
		}
		if !given {
			reason = errNoSignerAuthority
		}
	}
	accepted := strings.Join(slices.Concat(want.Keys, want.Authorities), " or ")
	switch {
	case len(got) == 0:
		return nil, nil, unknown(fmt.Sprintf("nobody signed as %s", want.Role)).with(accepted, "")
	case errors.Is(reason, errNoSignerAuthority):
		return nil, nil, unknown(fmt.Sprintf("signed as %s with a certificate, and %v", want.Role, reason)).with(accepted, strings.Join(got, ", "))
	case reason != nil:
		return nil, nil, failed(fmt.Sprintf("signed as %s by none whom the policy lists: %v", want.Role, reason)).with(accepted, strings.Join(got, ", "))
	default:
		return nil, nil, failed(fmt.Sprintf("signed as %s by none whom the policy lists", want.Role)).with(accepted, strings.Join(got, ", "))
	}
}

// errNoSignerAuthority: the policy lists an authority whose certificate nobody gave.
var errNoSignerAuthority = errors.New("no authority of role " + roleSigner + " that the policy lists was given")

// signerAuthorities returns the authorities that were given and are listed; given is false
// if some are listed and none was given.
func (a *appraisal) signerAuthorities(want *RecordSigner) (out []*x509.Certificate, given bool) {
	for i := range a.anchors.Roots {
		r := &a.anchors.Roots[i]
		if r.Role == roleSigner && slices.Contains(want.Authorities, cer.SHA256Digest(SPKIDigest(r.Certificate))) {
			out = append(out, r.Certificate)
		}
	}
	return out, len(out) > 0 || len(want.Authorities) == 0
}

// signerTime is when signers' certificates must be valid: at the verdict's time. As of the
// record's time that is the time of the first archive token, which covers signatures, and
// without one still now: a token over the evidence digest does not cover them, and whoever
// got hold of a key later could sign what was stamped before.
func (a *appraisal) signerTime() time.Time {
	if a.now == nil {
		return a.at
	}
	at := a.now.at
	for i := range a.stamps {
		if s := &a.stamps[i]; s.reliable && s.covers == coversArchive && s.by().Before(at) {
			at = s.by()
		}
	}
	return at
}

// recordSignerRoots names the user-supplied authorities that signer.match rests on.
func (a *appraisal) recordSignerRoots() []string {
	if !askedSigner(a) || checkSignerMatch(a).Status != attest.Passed {
		return nil
	}
	var out []string
	for i := range a.in.Policy.Signers {
		if _, ca, _ := a.signedFor(&a.in.Policy.Signers[i]); ca != nil {
			spki := SPKIDigest(ca)
			out = append(out, fmt.Sprintf("user-supplied signer authority %q %s", ca.Subject.CommonName, hex.EncodeToString(spki[:8])))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// signatureList tells what signatures the record carries, without judging whose they are.
func (a *appraisal) signatureList() []Signature {
	if a.capsule == nil {
		return nil
	}
	var out []Signature
	r := a.recordSigners()
	for i, s := range r.all {
		x := Signature{
			Role: s.Role, Kind: s.Kind, Algorithm: s.Algorithm, Key: s.Key.Describe(), Fingerprint: s.Key.Fingerprint(), SPKI: s.Key.SPKI(),
			Attended: s.Attended, Comment: s.Comment, Valid: r.wrong[i] == nil,
			Records: a.recordsSigned(),
		}
		if !s.Time.IsZero() {
			x.Time = cer.FormatTime(s.Time)
		}
		if len(s.Chain) > 0 {
			x.Subject, x.Issuer = oneLine(s.Chain[0].Subject.String()), oneLine(s.Chain[0].Issuer.String())
		}
		out = append(out, x)
	}
	return out
}
