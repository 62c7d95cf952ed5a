package dcap

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"slices"
	"time"

	"github.com/sworn-run/sworn/attest"
)

// spares returns the items that concern the quote and were not relied on: certificates and
// lists of its chain's issuers, and documents about its platform, by their signatures
// alone.
func (a *appraiser) spares() []attest.Use {
	var out []attest.Use
	spare := func(index int, what string, from, until time.Time) {
		_, relied := a.used[index]
		if !relied && !slices.ContainsFunc(out, func(u attest.Use) bool { return u.Index == index }) {
			out = append(out, attest.Use{Index: index, What: what, From: from, Until: until})
		}
	}
	ca, root := a.q.chain[1], a.q.chain[2]
	var signers []*supplied
	for i := range a.certificates {
		s := &a.certificates[i]
		switch {
		case sameHolder(s.Certificate, ca) && issued(s.Certificate, root), sameHolder(s.Certificate, root) && issued(s.Certificate, root):
		case slices.ContainsFunc(signers, func(o *supplied) bool { return o.Equal(s.Certificate) }):
		case len(signers) < maxSigners && entity(s.Certificate, nameSigning) == "" && issued(s.Certificate, root):
			signers = append(signers, s)
		default:
			continue
		}
		spare(s.index, "certificate of "+subject(s.Certificate), s.NotBefore, s.NotAfter)
	}
	for i := range a.lists {
		l := &a.lists[i]
		for _, issuer := range []*x509.Certificate{ca, root} {
			if bytes.Equal(l.RawIssuer, issuer.RawSubject) && l.CheckSignatureFrom(issuer) == nil {
				spare(l.index, "revocation list of "+subject(issuer), l.ThisUpdate, l.NextUpdate)
			}
		}
	}
	for _, kind := range []string{attest.CollateralTCBInfo, attest.CollateralQEIdentity} {
		for _, d := range a.documents[kind] {
			if !a.fits(d) {
				continue
			}
			for _, s := range signers {
				if verifyDigest(p256(s.Certificate), d.digest, d.signature) {
					spare(d.index, "collateral of "+d.subject(), d.issued, d.next)
					break
				}
			}
		}
	}
	slices.SortFunc(out, func(x, y attest.Use) int { return cmp.Compare(x.Index, y.Index) })
	return out
}
