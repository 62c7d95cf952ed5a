package sev

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"slices"
	"time"

	"github.com/sworn-run/sworn/attest"
)

// spares returns the items that concern the report and were not relied on, by their
// signatures alone: other certificates of the key that signed, of the authority above it
// and of the root above that, and other lists of the root's.
func (m *material) spares(c *chain, all []candidate, used []attest.Use) []attest.Use {
	var out []attest.Use
	add := func(index int, what string, from, until time.Time) {
		if index != notCollateral && !slices.ContainsFunc(slices.Concat(used, out), func(u attest.Use) bool { return u.Index == index }) {
			out = append(out, attest.Use{Index: index, What: what, From: from, Until: until})
		}
	}
	for _, x := range all {
		add(x.index, "certificate of the "+x.signer.String(), x.cert.NotBefore, x.cert.NotAfter)
	}
	var issuers, roots []*x509.Certificate
	for _, x := range m.certificates {
		if !selfIssued(x.Certificate) && bytes.Equal(x.RawSubject, c.leaf.cert.RawIssuer) && m.checkIssuer(x.Certificate, c.leaf.cert) == "" {
			issuers = append(issuers, x.Certificate)
			add(x.index, "certificate of "+subject(x.Certificate), x.NotBefore, x.NotAfter)
		}
	}
	if c.issuer != nil {
		issuers = append(issuers, c.issuer.Certificate)
	}
	if c.root != nil {
		roots = append(roots, c.root.Certificate)
	}
	for _, x := range m.certificates {
		if !selfIssued(x.Certificate) || checkAuthority(x.Certificate) != "" || !m.signed(x.Certificate, x.Certificate) {
			continue
		}
		if slices.ContainsFunc(issuers, func(i *x509.Certificate) bool {
			return bytes.Equal(i.RawIssuer, x.RawSubject) && m.signed(x.Certificate, i)
		}) {
			roots = append(roots, x.Certificate)
			add(x.index, "certificate of "+subject(x.Certificate), x.NotBefore, x.NotAfter)
		}
	}
	for _, l := range m.lists {
		if !hasCritical(l.RevocationList) && slices.ContainsFunc(roots, func(r *x509.Certificate) bool {
			return bytes.Equal(l.RawIssuer, r.RawSubject) && m.signedList(r, l.RevocationList)
		}) {
			add(l.index, "revocation list", l.ThisUpdate, l.NextUpdate)
		}
	}
	slices.SortFunc(out, func(a, b attest.Use) int { return cmp.Compare(a.Index, b.Index) })
	return out
}
