package sev

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/limits"
)

// candidate is a certificate of the key that signed the report.
type candidate struct {
	*vek
	index int
}

// candidates returns the certificates whose key signed the report, best first. The
// error wraps ErrSignature if there is none, ErrNoKey if none was supplied, and ErrForm
// if the report does not have the form of their product.
func (m *material) candidates(p *report) ([]candidate, error) {
	var out []candidate
	var other error
	tried := map[string]bool{}
	for _, c := range m.certificates {
		if cn := c.Subject.CommonName; !called(cn, nameVCEK) && !called(cn, nameVLEK) {
			continue
		}
		v, err := parseVEK(c.Certificate)
		if err == nil && v.signer != p.signer {
			err = fmt.Errorf("certificate of a %v, the %v signed: %w", v.signer, p.signer, attest.ErrForm)
		}
		if err != nil {
			other = err
			continue
		}
		key := string(c.RawSubjectPublicKeyInfo)
		ok, known := tried[key]
		if !known {
			if len(tried) == limits.Certificates {
				return nil, fmt.Errorf("certificates for more than %d keys: %w", limits.Certificates, attest.ErrForm)
			}
			ok = v.signed(p)
			tried[key] = ok
		}
		if ok {
			out = append(out, candidate{v, c.index})
		}
	}
	switch {
	case len(out) > 0:
		return m.sort(p, out)
	case len(tried) > 0:
		return nil, fmt.Errorf("no key of the %d that certificates were supplied for signed the report: %w", len(tried), attest.ErrSignature)
	case other != nil:
		// Hiding the class is deliberate: it is no part of the evidence.
		return nil, fmt.Errorf("no certificate of the %v that can be read: %v: %w", p.signer, other, attest.ErrSignature)
	}
	return nil, fmt.Errorf("no certificate of the %v was supplied, so that the signature cannot be checked: %w", p.signer, attest.ErrNoKey)
}

// sort drops the certificates of products whose reports are of another form, and
// puts the best first.
func (m *material) sort(p *report, all []candidate) ([]candidate, error) {
	var out []candidate
	var err error
	for _, c := range all {
		bad := error(nil)
		for _, t := range p.tcbs() {
			if bad == nil {
				bad = t.check(c.product)
			}
		}
		if bad != nil {
			err = bad
			continue
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, err
	}
	slices.SortStableFunc(out, func(a, b candidate) int {
		return m.prefer(certificate{a.cert, a.index}, certificate{b.cert, b.index})
	})
	return out, nil
}

// chain is the certificates from the key that signed to a root.
type chain struct {
	leaf candidate
	// issuer is nil if there is none.
	issuer *certificate
	// root is nil unless the chain is established.
	root *anchor
	// found is check slot.identity, but for the chip's id.
	found attest.Finding
}

// chain returns the first established chain of a candidate's, or else that of the
// best one, with the reason.
func (m *material) chain(all []candidate, anchors *attest.Anchors) *chain {
	var first *chain
	for _, leaf := range all {
		c := m.chainOf(leaf, anchors)
		if c.found.Status == attest.Passed {
			return c
		}
		if first == nil {
			first = c
		}
	}
	return first
}

// intermediate returns the common name of the authority that certifies the key.
func (v *vek) intermediate() string {
	if v.signer == signerVLEK {
		return "SEV-VLEK-" + string(v.product)
	}
	return "SEV-" + string(v.product)
}

// chainOf looks for the issuer of one certificate, and its root.
func (m *material) chainOf(leaf candidate, anchors *attest.Anchors) *chain {
	best := &chain{leaf: leaf, found: attest.Finding{Detail: fmt.Sprintf("no certificate of %s is supplied", leaf.intermediate())}}
	if !called(leaf.cert.Issuer.CommonName, leaf.intermediate()) {
		best.found = failed(leaf.cert, "is not issued by "+leaf.intermediate())
		return best
	}
	issuers := slices.Concat(m.certificates, m.issuers)
	slices.SortStableFunc(issuers, m.prefer)
	for i := range issuers {
		c := &issuers[i]
		if selfIssued(c.Certificate) || !bytes.Equal(c.RawSubject, leaf.cert.RawIssuer) {
			continue
		}
		found := &chain{leaf: leaf, issuer: c}
		if detail := m.checkIssuer(c.Certificate, leaf.cert); detail != "" {
			found.found = failed(c.Certificate, detail)
		} else {
			found.root, found.found = m.root(found, anchors)
		}
		if found.found.Status == attest.Passed {
			return found
		}
		if best.issuer == nil || found.found.Status == attest.Failed && best.found.Status != attest.Failed {
			best = found
		}
	}
	return best
}

// checkIssuer returns "" if c issued the certificate of the key, or the end of a
// sentence about c.
func (m *material) checkIssuer(c, leaf *x509.Certificate) string {
	if detail := checkAuthority(c); detail != "" {
		return detail
	}
	if c.MaxPathLen != 0 || !c.MaxPathLenZero {
		return "does not forbid further authorities"
	}
	if !m.signed(c, leaf) {
		return "has not the key that signed that of " + subject(leaf)
	}
	return ""
}

// root looks for the root above an issuer.
func (m *material) root(c *chain, anchors *attest.Anchors) (*anchor, attest.Finding) {
	line, issuer := c.leaf.product, c.issuer.Certificate
	name := "ARK-" + string(line)
	best := attest.Finding{}
	for i := range m.anchors {
		a := &m.anchors[i]
		detail := ""
		switch root := a.Certificate; {
		case !bytes.Equal(root.RawSubject, issuer.RawIssuer):
			continue
		case !called(root.Subject.CommonName, name) || a.Product != "" && a.Product != string(line):
			detail = fmt.Sprintf("is the root of another product than %s", line)
		case !m.signed(root, issuer):
			detail = "has not the key that signed that of " + subject(issuer)
		default:
			detail = m.dates(c, a)
		}
		if detail == "" {
			return a, attest.Finding{Status: attest.Passed, Detail: fmt.Sprintf("the %v's certificate chains to %s", c.leaf.signer, subject(a.Certificate))}
		}
		if best.Detail == "" {
			best = failed(a.Certificate, detail)
		}
	}
	if best.Detail != "" {
		return nil, best
	}
	return nil, m.missing(issuer, anchors)
}

// missing says why there is no root above the issuer.
func (m *material) missing(issuer *x509.Certificate, anchors *attest.Anchors) attest.Finding {
	if len(m.anchors) > 0 {
		return failed(issuer, "chains to no trusted root of role "+Role)
	}
	var pins []*attest.Pin
	if anchors != nil {
		for i := range anchors.Pins {
			if p := &anchors.Pins[i]; p.Role == Role {
				pins = append(pins, p)
			}
		}
	}
	if len(pins) == 0 {
		return attest.Finding{Detail: "no root of role " + Role + " is trusted"}
	}
	for _, c := range m.certificates {
		if selfIssued(c.Certificate) && bytes.Equal(c.RawSubject, issuer.RawIssuer) {
			return failed(c.Certificate, "is a root that came with the evidence, and is pinned by nobody")
		}
	}
	for _, p := range pins {
		if p.Subject == issuer.Issuer.String() {
			return attest.Finding{Detail: fmt.Sprintf("the certificate of the pinned root %.160q is missing: %s publishes it", p.Subject, p.Source)}
		}
	}
	return failed(issuer, "names a root that is not pinned")
}

// dates returns "" if everything in the chain is valid at the time, or the end of a
// sentence about the root.
func (m *material) dates(c *chain, a *anchor) string {
	at := m.at.UTC().Format(time.RFC3339)
	for _, x := range []*x509.Certificate{c.leaf.cert, c.issuer.Certificate, a.Certificate} {
		if !m.valid(x) {
			return fmt.Sprintf("or one below it is not valid at %s: %s from %s until %s", at, subject(x),
				x.NotBefore.UTC().Format(time.RFC3339), x.NotAfter.UTC().Format(time.RFC3339))
		}
	}
	if a.Pin != nil && !a.Pin.Valid(m.at) {
		return "is pinned for another time than " + at
	}
	return ""
}

// failed returns the finding that a chain is not what it claims to be; detail ends
// the sentence about the certificate c.
func failed(c *x509.Certificate, detail string) attest.Finding {
	return attest.Finding{Status: attest.Failed, Detail: "the certificate of " + subject(c) + " " + detail}
}

// identity returns check slot.identity: the chain, and whether the report names
// another chip than its certificate.
func (c *chain) identity(p *report) attest.Identity {
	switch {
	case c.leaf.otherChip(p):
		return attest.Identity{Finding: failed(c.leaf.cert, "is for another chip than CHIP_ID")}
	case c.found.Status != attest.Passed:
		return attest.Identity{Finding: c.found}
	}
	kind := "pinned root"
	if c.root.UserSupplied {
		kind = "user-supplied root"
	}
	whose := fmt.Sprintf("of chip %x", c.leaf.hwid[:min(8, len(c.leaf.hwid))])
	if c.leaf.signer == signerVLEK {
		whose = "of " + c.leaf.csp
	}
	root := c.root.Root
	return attest.Identity{Finding: c.found, Root: &root, Provenance: fmt.Sprintf("%v %s (%s) certified by %s under %s %s",
		c.leaf.signer, whose, c.leaf.name, subject(c.issuer.Certificate), kind, subject(root.Certificate))}
}
