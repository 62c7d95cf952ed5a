package sev

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	"github.com/sworn-run/sworn/attest"
)

// revocation judges an established chain by the root's revocation lists, and returns
// the list that was relied on, or nil. AMD publishes lists of its roots only, which
// cover the authorities below them; the serial number of every VCEK and VLEK is 0.
func (m *material) revocation(c *chain) (attest.Finding, *list) {
	if c.root == nil {
		return attest.Finding{Detail: "no established chain whose revocation could be checked"}, nil
	}
	root := c.root.Certificate
	var lists []*list
	for i := range m.lists {
		l := &m.lists[i]
		if bytes.Equal(l.RawIssuer, root.RawSubject) && !hasCritical(l.RevocationList) && m.signedList(root, l.RevocationList) {
			lists = append(lists, l)
		}
	}
	if len(lists) == 0 {
		return attest.Finding{Detail: fmt.Sprintf("no revocation list of %s is supplied", subject(root))}, nil
	}
	slices.SortStableFunc(lists, m.preferList)
	for _, l := range lists {
		if detail := m.revoked(c, l.RevocationList); detail != "" {
			return attest.Finding{Status: attest.Failed, Detail: detail}, l
		}
	}
	l := lists[0]
	dates := fmt.Sprintf("of %s, next %s", l.ThisUpdate.UTC().Format(time.RFC3339), l.NextUpdate.UTC().Format(time.RFC3339))
	if !m.fresh(l) {
		return attest.Finding{Detail: fmt.Sprintf("the revocation list of %s (%s) is not valid at %s", subject(root), dates, m.at.UTC().Format(time.RFC3339))}, l
	}
	return attest.Finding{Status: attest.Passed, Detail: fmt.Sprintf(
		"the revocation list of %s (%s) does not list %s; AMD publishes no revocation of a %v",
		subject(root), dates, subject(c.issuer.Certificate), c.leaf.signer)}, l
}

// preferList orders lists of one issuer: the fresh ones first, then the newest.
func (m *material) preferList(a, b *list) int {
	if x, y := m.fresh(a), m.fresh(b); x != y {
		if x {
			return -1
		}
		return 1
	}
	return b.ThisUpdate.Compare(a.ThisUpdate)
}

// fresh reports whether the list may be relied on at the time.
func (m *material) fresh(l *list) bool {
	return !m.at.Before(l.ThisUpdate) && m.at.Before(l.NextUpdate)
}

// hasCritical reports whether the list, or an entry, has an extension without which
// it cannot be understood.
func hasCritical(l *x509.RevocationList) bool {
	for _, x := range l.Extensions {
		if x.Critical {
			return true
		}
	}
	for i := range l.RevokedCertificateEntries {
		for _, x := range l.RevokedCertificateEntries[i].Extensions {
			if x.Critical {
				return true
			}
		}
	}
	return false
}

// revoked returns what the list revokes of the chain, or "": a certificate of the
// list's issuer by its serial number, and the key of one, whichever certificate of
// it stands in the chain.
func (m *material) revoked(c *chain, l *x509.RevocationList) string {
	root := c.root.Certificate
	for _, x := range []*x509.Certificate{c.issuer.Certificate, root} {
		if attest.Revokes(l, x.SerialNumber, m.at) {
			return fmt.Sprintf("%s has revoked the certificate of %s, serial %x", subject(root), subject(x), x.SerialNumber)
		}
	}
	for _, x := range slices.Concat(m.certificates, m.issuers) {
		if bytes.Equal(x.RawIssuer, root.RawSubject) && attest.Revokes(l, x.SerialNumber, m.at) && m.signed(root, x.Certificate) &&
			bytes.Equal(x.RawSubjectPublicKeyInfo, c.issuer.RawSubjectPublicKeyInfo) {
			return fmt.Sprintf("%s has revoked a certificate of the key of %s, serial %x", subject(root), subject(c.issuer.Certificate), x.SerialNumber)
		}
	}
	return ""
}
