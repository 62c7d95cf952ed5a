package stamp

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	"github.com/sworn-run/sworn/attest"
)

// trust judges what the roots and the lists say of a token that is right in itself.
func (v *verification) trust(out *Result) {
	chains, err := v.chains()
	if err != nil {
		out.Finding, out.Reason = attest.Finding{Status: err.status(), Detail: err.Detail}, err.Reason
		return
	}
	lists := v.readLists(chains)
	revoked := v.revocations(lists, chains)
	// A chain that holds before one that does not, then the one that holds longest.
	slices.SortStableFunc(chains, func(a, b []*x509.Certificate) int {
		if x, y := v.revokedIn(revoked, a) != nil, v.revokedIn(revoked, b) != nil; x != y {
			if y {
				return -1
			}
			return 1
		}
		return until(b).Compare(until(a))
	})
	chain := chains[0]
	out.Root, out.Until = v.root(chain[len(chain)-1]), until(chain)
	out.Revoked = v.revokedIn(revoked, chain)
	out.Revocation, out.Used, out.Spare = v.current(lists, chain, out.Revoked)
	out.Details = describe(chain)
	if out.Revoked != nil {
		out.Finding, out.Reason = attest.Finding{Status: attest.Failed, Detail: out.Revoked.String()}, ReasonRevoked
		return
	}
	out.Finding = attest.Finding{Status: attest.Passed, Detail: fmt.Sprintf("%s, under the root %s", subject(v.signer), subject(out.Root.Certificate))}
	if out.Revocation.Status != attest.Passed {
		out.Detail += "; " + out.Revocation.Detail
	}
}

// until returns the earliest end of the certificates below the root.
func until(chain []*x509.Certificate) time.Time {
	t := chain[0].NotAfter
	for _, c := range chain[1 : len(chain)-1] {
		if c.NotAfter.Before(t) {
			t = c.NotAfter
		}
	}
	return t.UTC()
}

// root returns the anchor with this certificate.
func (v *verification) root(c *x509.Certificate) *attest.Root {
	for i := range v.anchors {
		if r := v.anchors[i]; usable(r.Certificate) && r.Certificate.Equal(c) {
			return &r
		}
	}
	return nil
}

// usable reports whether c may be an issuer on the way to a root, its dates apart.
func usable(c *x509.Certificate) bool {
	return c != nil && c.IsCA && c.BasicConstraintsValid && badKey(c) == ""
}

// chains returns the chains from the signer to trusted roots, each of them at least two
// certificates long and valid at the token's time by RFC 5280, section 6.
func (v *verification) chains() ([][]*x509.Certificate, *Error) {
	roots, issuers := x509.NewCertPool(), x509.NewCertPool()
	known := false
	for _, r := range v.anchors {
		if usable(r.Certificate) {
			roots.AddCert(r.Certificate)
			known = true
		}
	}
	if !known {
		return nil, fault(ReasonNoRoots, "no root of role %s is trusted", Role)
	}
	names, more := map[string]bool{}, 0
	for i, c := range v.certs {
		if slices.ContainsFunc(v.certs[:i], c.Equal) {
			continue
		}
		if usable(c) && strong(c.SignatureAlgorithm) {
			issuers.AddCert(c)
			if names[string(c.RawSubject)] {
				more++
			}
			names[string(c.RawSubject)] = true
		}
	}
	if more > maxSameName {
		return nil, fault(ReasonUntrusted, "%d certificates of authorities in the token have a name that another has, limit %d", more, maxSameName)
	}
	if !strong(v.signer.SignatureAlgorithm) {
		return nil, fault(ReasonAlgorithm, "the certificate of %s is signed with %v", subject(v.signer), v.signer.SignatureAlgorithm)
	}
	// The token's time is never zero, which would stand for the present.
	chains, err := v.signer.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: issuers, CurrentTime: v.Time,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageTimeStamping},
	})
	chains = slices.DeleteFunc(chains, func(c []*x509.Certificate) bool { return len(c) < 2 || v.root(c[len(c)-1]) == nil })
	if err != nil || len(chains) == 0 {
		return nil, v.whyNot()
	}
	return chains, nil
}

// maxSameName is how many certificates of authorities in a token, each counted once, may have
// the name of another one there. Each is tried for each that names it, and each way from one to the next is
// gone; genuine tokens have none, or one where an authority changes its key.
const maxSameName = 2

// strong reports whether a certificate's signature is by an algorithm that is accepted.
func strong(a x509.SignatureAlgorithm) bool {
	switch a {
	case x509.SHA256WithRSA, x509.SHA384WithRSA, x509.SHA512WithRSA, x509.SHA256WithRSAPSS, x509.SHA384WithRSAPSS,
		x509.SHA512WithRSAPSS, x509.ECDSAWithSHA256, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512, x509.PureEd25519:
		return true
	default:
		return false
	}
}

// whyNot says why there is no chain: none leads to a trusted root, whatever it looks like,
// or one does and is not valid. Each certificate is visited once, so that no set of
// certificates that sign each other takes long.
func (v *verification) whyNot() *Error {
	var candidates []*x509.Certificate
	for _, r := range v.anchors {
		if usable(r.Certificate) {
			candidates = append(candidates, r.Certificate)
		}
	}
	anchors := len(candidates)
	candidates = append(candidates, v.certs...)
	from := make([]int, len(candidates)) // whom it issued, plus 2; 1 for the signer, 0 for nobody
	queue := []int{-1}
	for ; len(queue) > 0; queue = queue[1:] {
		child := v.signer
		if queue[0] >= 0 {
			child = candidates[queue[0]]
		}
		for i, c := range candidates {
			if from[i] != 0 || c == v.signer || !bytes.Equal(c.RawSubject, child.RawIssuer) || badKey(c) != "" ||
				c.CheckSignature(child.SignatureAlgorithm, child.RawTBSCertificate, child.Signature) != nil {
				continue
			}
			from[i] = queue[0] + 2
			if i < anchors {
				return explain(candidates, from, i, v.Time)
			}
			queue = append(queue, i)
		}
	}
	return fault(ReasonUntrusted, "the certificate of %s leads to no trusted root of role %s", subject(v.signer), Role)
}

// explain says what is wrong with the certificates from an anchor down.
func explain(candidates []*x509.Certificate, from []int, i int, at time.Time) *Error {
	for ; i >= 0; i = from[i] - 2 {
		c := candidates[i]
		switch err := checkValid(c, at); {
		case err != nil:
			return err
		case len(c.UnhandledCriticalExtensions) > 0:
			return fault(ReasonCritical, "the certificate of %s has the critical extension %v, which is not known", subject(c), c.UnhandledCriticalExtensions[0])
		case !usable(c) || c.KeyUsage != 0 && c.KeyUsage&x509.KeyUsageCertSign == 0:
			return fault(ReasonChain, "the certificate of %s is not that of an authority which may issue certificates", subject(c))
		}
	}
	return fault(ReasonChain, "the certificates lead to a trusted root, but may not be used so (RFC 5280, 6.1)")
}

// describe returns the chain for reports.
func describe(chain []*x509.Certificate) []attest.Detail {
	var out []attest.Detail
	for i, c := range chain {
		name := "issuer"
		switch i {
		case 0:
			name = "signer"
		case len(chain) - 1:
			name = "root"
		}
		out = append(out, attest.Detail{Name: name, Value: fmt.Sprintf("%s, serial %x, valid from %s until %s",
			subject(c), c.SerialNumber, stampTime(c.NotBefore), stampTime(c.NotAfter))})
	}
	return out
}
