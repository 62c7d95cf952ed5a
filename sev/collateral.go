package sev

import (
	"bytes"
	"cmp"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/limits"
)

// notCollateral is the index of what did not come with the evidence.
const notCollateral = -1

// maxChecked is how many signatures of one appraisal are verified. A chain with its list
// has four; a capsule full of certificates of one name could ask for ten thousands. Those
// beyond the bound count as wrong, and the report is refused: what was not looked at might
// be the list that revokes.
const maxChecked = 512

// certificate is one that may stand in a chain.
type certificate struct {
	*x509.Certificate
	// index is its place in the collateral, or notCollateral.
	index int
}

// list is a revocation list.
type list struct {
	*x509.RevocationList
	index int
}

// material is what came with the evidence and from the relying party, sorted, and
// what has been found out about its signatures.
type material struct {
	cache *Cache
	at    time.Time
	// certificates are all that came with the evidence, in order.
	certificates []certificate
	// lists are the revocation lists that came with it.
	lists []list
	// issuers are the certificates of the role that are no roots.
	issuers []certificate
	// anchors are the roots that are trusted.
	anchors []anchor
	// verified remembers signatures for this one appraisal, checked is how many of them
	// were not known before.
	verified map[[32]byte]bool
	checked  int
}

// anchor is a trusted root and where its certificate came from.
type anchor struct {
	attest.Root
	index int
}

// gather sorts what is there. Items that do not parse, or are of other kinds, count
// for nothing: they serve no purpose and are not among [attest.Claims.Used].
func gather(items []attest.Collateral, anchors *attest.Anchors, cache *Cache, at time.Time) (*material, error) {
	// What a capsule carries, and as much again that the relying party has.
	if len(items) > 2*limits.CollateralItems {
		return nil, fmt.Errorf("%d collateral items, limit %d: %w", len(items), 2*limits.CollateralItems, attest.ErrForm)
	}
	m := &material{cache: cache, at: at, verified: map[[32]byte]bool{}}
	for i := range items {
		switch item := &items[i]; {
		case item.Kind == attest.CollateralCertificate && len(item.Data) <= limits.Certificate:
			if c, err := x509.ParseCertificate(item.Data); err == nil {
				m.certificates = append(m.certificates, certificate{c, i})
			}
		case item.Kind == attest.CollateralCRL && len(item.Data) <= limits.CollateralItem:
			// The library lets bytes follow the list.
			if l, err := x509.ParseRevocationList(item.Data); err == nil && len(l.Raw) == len(item.Data) {
				m.lists = append(m.lists, list{l, i})
			}
		}
	}
	m.ahead(anchors)
	m.trust(anchors)
	return m, nil
}

// trust finds the roots: those of the role that the relying party supplied, and those
// that came with the evidence and fulfil a pin. A certificate that names itself as
// its issuer is a root only if its self-signature verifies: otherwise its name and
// its dates would be anybody's word.
func (m *material) trust(anchors *attest.Anchors) {
	for _, r := range anchors.Role(Role) {
		c := r.Certificate
		switch {
		case c == nil || checkAuthority(c) != "":
		case !selfIssued(c):
			m.issuers = append(m.issuers, certificate{c, notCollateral})
		case m.signed(c, c):
			if pin := m.pinned(anchors, c); pin != nil {
				r = pinnedRoot(pin, c)
			}
			m.anchors = append(m.anchors, anchor{r, m.find(c)})
		}
	}
	for _, c := range m.certificates {
		if !selfIssued(c.Certificate) || checkAuthority(c.Certificate) != "" || m.anchored(c.Certificate) {
			continue
		}
		if pin := m.pinned(anchors, c.Certificate); pin != nil {
			// One that came with the evidence goes first, so that it is used.
			m.anchors = slices.Insert(m.anchors, 0, anchor{pinnedRoot(pin, c.Certificate), c.index})
		}
	}
}

// pinned returns the pin that c fulfils, or nil.
func (m *material) pinned(anchors *attest.Anchors, c *x509.Certificate) *attest.Pin {
	if anchors == nil {
		return nil
	}
	for i := range anchors.Pins {
		if p := &anchors.Pins[i]; p.Role == Role && p.Names(c) && m.signed(c, c) {
			return p
		}
	}
	return nil
}

// pinnedRoot returns a root that is trusted by its pin.
func pinnedRoot(pin *attest.Pin, c *x509.Certificate) attest.Root {
	row := *pin
	return attest.Root{Role: row.Role, Product: row.Product, Certificate: c, Pin: &row}
}

// find returns the place of the very certificate in the collateral.
func (m *material) find(c *x509.Certificate) int {
	for _, x := range m.certificates {
		if x.Equal(c) {
			return x.index
		}
	}
	return notCollateral
}

// anchored reports whether c is a trusted root already.
func (m *material) anchored(c *x509.Certificate) bool {
	return slices.ContainsFunc(m.anchors, func(a anchor) bool { return a.Certificate.Equal(c) })
}

// selfIssued reports whether c names itself as its issuer.
func selfIssued(c *x509.Certificate) bool { return bytes.Equal(c.RawSubject, c.RawIssuer) }

// checkAuthority returns "" for a certificate that may issue others as AMD's do, or
// the end of a sentence: it is judged before its key is used.
func checkAuthority(c *x509.Certificate) string {
	key, ok := c.PublicKey.(*rsa.PublicKey)
	switch {
	case !ok || key.N.BitLen() != 4096 || key.E != 65537:
		return "has no RSA key of 4096 bits with exponent 65537"
	case c.SignatureAlgorithm != x509.SHA384WithRSAPSS:
		return "is not signed with RSASSA-PSS and SHA-384"
	case c.Version != 3 || !c.BasicConstraintsValid || !c.IsCA || c.KeyUsage&x509.KeyUsageCertSign == 0:
		return "is not that of a certification authority"
	case len(c.UnhandledCriticalExtensions) > 0:
		return "has a critical extension that is not understood"
	}
	return ""
}

// signed reports whether issuer's key signed c. Nobody asks before issuer has passed
// checkAuthority. Of an algorithm with other parameters than AMD's, the library says
// that it is another.
func (m *material) signed(issuer, c *x509.Certificate) bool {
	return c.SignatureAlgorithm == x509.SHA384WithRSAPSS &&
		m.remember(issuer, c.Raw, c.RawTBSCertificate, c.Signature)
}

// signedList is the same for a revocation list.
func (m *material) signedList(issuer *x509.Certificate, l *x509.RevocationList) bool {
	return l.SignatureAlgorithm == x509.SHA384WithRSAPSS && issuer.KeyUsage&x509.KeyUsageCRLSign != 0 &&
		m.remember(issuer, l.Raw, l.RawTBSRevocationList, l.Signature)
}

// remember verifies a signature that it has not seen before.
func (m *material) remember(issuer *x509.Certificate, whole, message, signature []byte) bool {
	id := signatureKey(issuer.Raw, whole)
	ok, known := m.verified[id]
	if known {
		return ok
	}
	if ok = m.cache.has(id); !ok {
		if m.checked++; m.checked > maxChecked {
			return false
		}
		if ok = checkPSS(issuer, message, signature); ok {
			m.cache.add(id)
		}
	}
	m.verified[id] = ok
	return ok
}

// checkPSS verifies a signature by the key of a certificate.
func checkPSS(issuer *x509.Certificate, message, signature []byte) bool {
	key, ok := issuer.PublicKey.(*rsa.PublicKey)
	return ok && verifyPSS(key, message, signature)
}

// valid reports whether c's dates include the time.
func (m *material) valid(c *x509.Certificate) bool {
	return !m.at.Before(c.NotBefore) && !m.at.After(c.NotAfter)
}

// prefer orders certificates that serve one purpose: first those that are valid at
// the time, then the newest, then those that came with the evidence, in their order.
func (m *material) prefer(a, b certificate) int {
	if x, y := m.valid(a.Certificate), m.valid(b.Certificate); x != y {
		if x {
			return -1
		}
		return 1
	}
	return cmp.Or(b.NotBefore.Compare(a.NotBefore), cmp.Compare(uint(a.index), uint(b.index)))
}
