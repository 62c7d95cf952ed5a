package tpm

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sworn-run/sworn/attest"
)

// appraiseIdentity judges whose AK this is, by its certificate and the roots
// of role "tpm-ak", and whether an issuer publishes revocation.
func (e *evidence) appraiseIdentity(anchors *attest.Anchors, at time.Time) (attest.Identity, attest.Finding) {
	none := attest.Finding{Detail: "no established chain whose revocation could be checked"}
	if len(e.certificates) == 0 {
		return attest.Identity{Finding: attest.Finding{Detail: "no AK certificate in the evidence"}}, none
	}
	leaf := e.certificates[0]
	if k, err := e.public.key(); err != nil || !sameKey(leaf.PublicKey, k) {
		return failed(leaf, "is for another key"), none
	}
	if detail := checkLeaf(leaf); detail != "" {
		return failed(leaf, detail), none
	}
	t := newTrust(anchors, RoleAK, e.certificates)
	if len(t.anchors) == 0 {
		return attest.Identity{Finding: attest.Finding{Detail: t.missing(anchors, e.certificates)}}, none
	}
	chain, detail := t.chain(e.certificates, at)
	if chain == nil {
		return failed(leaf, detail), none
	}
	p, detail := profileOf(chain)
	if p == nil {
		return failed(leaf, detail), none
	}
	root := t.root(chain)
	return attest.Identity{
		Finding:    attest.Finding{Status: attest.Passed, Detail: "the AK's certificate chains to " + subject(root.Certificate)},
		Root:       root,
		Provenance: provenance(chain, p, root),
	}, revocation(chain)
}

// failed returns the finding that the identity is not what it claims to be;
// detail ends the sentence about the certificate c.
func failed(c *x509.Certificate, detail string) attest.Identity {
	text := "the certificate of " + subject(c) + " " + detail
	return attest.Identity{Finding: attest.Finding{Status: attest.Failed, Detail: text}}
}

// subject returns the subject of c, quoted and cut for one line.
func subject(c *x509.Certificate) string { return fmt.Sprintf("%.160q", c.Subject.String()) }

// provenance tells people how the AK came to be vouched for.
func provenance(chain []*x509.Certificate, p *profile, root *attest.Root) string {
	kind := "pinned root"
	if root.UserSupplied {
		kind = "user-supplied root"
	}
	return fmt.Sprintf("AK %s certified by %s (%s) under %s %s",
		subject(chain[0]), subject(chain[1]), p.name, kind, subject(root.Certificate))
}

// sameKey reports whether two public keys are equal.
func sameKey(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(x crypto.PublicKey) bool })
	return ok && k.Equal(b)
}

// trust is what the anchors of one role come to.
type trust struct {
	role string
	// anchors are the self-signed certificates whose self-signature verifies.
	anchors []attest.Root
	// issuers are the others, which prove nothing by being there.
	issuers []*x509.Certificate
}

// newTrust sorts the roots of the role. A certificate that names itself as its
// issuer is a root only if it is a CA's and its self-signature verifies:
// otherwise its name and its dates would be anybody's word. The last of the
// given certificates is a root if it fulfils a pin.
func newTrust(anchors *attest.Anchors, role string, given []*x509.Certificate) *trust {
	t := &trust{role: role}
	for _, r := range anchors.Role(role) {
		c := r.Certificate
		switch {
		case c == nil || !c.IsCA || !c.BasicConstraintsValid:
		case !bytes.Equal(c.RawSubject, c.RawIssuer):
			t.issuers = append(t.issuers, c)
		case c.CheckSignatureFrom(c) == nil:
			if pin := anchors.Pinned(role, c); pin != nil {
				r = pinned(pin, c)
			}
			t.anchors = append(t.anchors, r)
		}
	}
	if len(given) > 1 {
		last := given[len(given)-1]
		if pin := anchors.Pinned(role, last); pin != nil && !t.has(last) {
			t.anchors = append(t.anchors, pinned(pin, last))
		}
	}
	return t
}

// pinned returns a root that is trusted by its pin.
func pinned(pin *attest.Pin, c *x509.Certificate) attest.Root {
	row := *pin
	return attest.Root{Role: row.Role, Product: row.Product, Certificate: c, Pin: &row}
}

// has reports whether c is an anchor.
func (t *trust) has(c *x509.Certificate) bool {
	return slices.ContainsFunc(t.anchors, func(r attest.Root) bool { return r.Certificate.Equal(c) })
}

// missing says why there is no anchor: whether the chain ends below a pinned
// root whose certificate nobody gave.
func (t *trust) missing(anchors *attest.Anchors, given []*x509.Certificate) string {
	if anchors != nil {
		issuer := given[len(given)-1].Issuer.String()
		for i := range anchors.Pins {
			if p := &anchors.Pins[i]; p.Role == t.role && p.Subject == issuer {
				return fmt.Sprintf("the certificate of the pinned root %.160q is missing: %s publishes it", p.Subject, p.Source)
			}
		}
	}
	return "no root of role " + t.role + " is trusted"
}

// chain returns a chain from the first certificate to an anchor at time at, or
// nil and the reason, as the end of a sentence. Every certificate given must
// stand in it, in its place.
func (t *trust) chain(given []*x509.Certificate, at time.Time) ([]*x509.Certificate, string) {
	roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
	for i := range t.anchors {
		roots.AddCert(t.anchors[i].Certificate)
	}
	// Before a key is used: a modulus that fills a certificate takes half a
	// second each time, and the search tries every path.
	for _, c := range given[1:] {
		if checkStrength(c.PublicKey) != nil {
			return nil, "rests on the weak key of " + subject(c)
		}
		intermediates.AddCert(c)
	}
	for _, c := range t.issuers {
		if checkStrength(c.PublicKey) == nil {
			intermediates.AddCert(c)
		}
	}
	// Extended key usage is the profile's: issuers of AK certificates carry
	// that of EK certificates, which would not nest.
	chains, err := given[0].Verify(x509.VerifyOptions{
		Roots:         roots,
		Intermediates: intermediates,
		CurrentTime:   at,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return nil, t.chainError(err, at)
	}
	detail := ""
	for _, chain := range chains {
		detail = checkChain(chain, given)
		if pin := t.root(chain).Pin; detail == "" && pin != nil && !pin.Valid(at) {
			detail = fmt.Sprintf("rests on a root that is pinned for another time than %s", at.UTC().Format(time.RFC3339))
		}
		if detail == "" {
			return chain, ""
		}
	}
	return nil, detail
}

// checkChain returns "" if the chain holds the given certificates first, has an
// issuer, and consists of strong keys; else the end of a sentence.
func checkChain(chain, given []*x509.Certificate) string {
	if len(chain) < 2 {
		return "is its own root"
	}
	for i, c := range given {
		if i >= len(chain) || !chain[i].Equal(c) {
			return fmt.Sprintf("is accompanied by a certificate of %s that is not in its chain", subject(c))
		}
	}
	for _, c := range chain {
		if checkStrength(c.PublicKey) != nil {
			return fmt.Sprintf("rests on the weak key of %s", subject(c))
		}
	}
	return ""
}

// root returns the anchor that the chain ends in. Chains are built from the
// anchors alone; one that ends elsewhere would have a root that nobody named.
func (t *trust) root(chain []*x509.Certificate) *attest.Root {
	last := chain[len(chain)-1]
	for i := range t.anchors {
		if t.anchors[i].Certificate.Equal(last) {
			return &t.anchors[i]
		}
	}
	return &attest.Root{Role: t.role, Certificate: last, UserSupplied: true}
}

// chainError turns the standard library's reason into the end of a sentence.
func (t *trust) chainError(err error, at time.Time) string {
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var critical x509.UnhandledCriticalExtension
	switch {
	case errors.As(err, &unknown):
		return "chains to no trusted root of role " + t.role
	case errors.As(err, &critical):
		return "has a critical extension that is not understood"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Sprintf("or one above it is not valid at %s", at.UTC().Format(time.RFC3339))
	default:
		return fmt.Sprintf("does not chain to a root: %.160q", err.Error())
	}
}
