package verifier

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sworn-run/sworn/cer/signer"
	"github.com/sworn-run/sworn/internal/limits"
)

// maxSignatures bounds the signatures that a report lists, and the entries of a policy
// about them.
const maxSignatures = limits.Signers

// checkRecordSigners checks who must have signed the record.
func (p *Policy) checkRecordSigners() error {
	if n := len(p.Signers); n > maxSignatures {
		return policyError("signers", "has %d, limit %d", n, maxSignatures)
	}
	listed := map[string]string{}
	for i := range p.Signers {
		s := &p.Signers[i]
		at := fmt.Sprintf("signers[%d]", i)
		if !signer.IsRole(s.Role) {
			return policyError(at+".role", "is %.100q, want %s or %s", s.Role, signer.RoleOperator, signer.RoleCountersigner)
		}
		if len(s.Keys)+len(s.Authorities) == 0 {
			return policyError(at, "lists neither keys nor authorities")
		}
		if n := max(len(s.Keys), len(s.Authorities)); n > maxSPKI {
			return policyError(at, "lists %d, limit %d", n, maxSPKI)
		}
		for j, id := range s.Keys {
			at := fmt.Sprintf("%s.keys[%d]", at, j)
			if err := signer.CheckID(id); err != nil {
				return policyError(at, "%w", err)
			}
			// Two entries for one role mean two signatures, and one key gives one.
			if other := listed[s.Role+id]; other != "" {
				return policyError(at, "%q stands in %s already", id, other)
			}
			listed[s.Role+id] = at
		}
		for j, id := range s.Authorities {
			at := fmt.Sprintf("%s.authorities[%d]", at, j)
			if err := signer.CheckID(id); err != nil || !strings.HasPrefix(id, "sha256:") {
				return policyError(at, "is %.100q, want sha256: and 64 lower-case hexadecimal digits", id)
			}
			if slices.Contains(s.Authorities[:j], id) {
				return policyError(at, "%q stands twice", id)
			}
		}
	}
	return nil
}

// recordSigners looks at who must have signed the record.
func (l *linter) recordSigners() {
	for i := range l.p.Signers {
		s := &l.p.Signers[i]
		at := fmt.Sprintf("signers[%d] (%s)", i, s.Role)
		if n := len(s.Keys); n > 1 {
			l.say("%s.keys: any one of %d keys suffices", at, n)
		}
		if n := len(s.Authorities); n > 0 {
			l.say("%s.authorities: whoever has a certificate for documents below one of them suffices, and a withdrawn certificate is not known", at)
		}
		if s.Role == signer.RoleCountersigner {
			l.say("%s: a record passes only after it was countersigned", at)
		}
	}
	if len(l.p.Signers) > 0 && l.waived("signer.match") {
		l.say("signers: names signers, and signer.match is waived: anybody may have signed, or nobody")
	}
}
