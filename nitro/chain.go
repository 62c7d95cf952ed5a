package nitro

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/sworn-run/sworn/attest"
)

// appraisal is what is found of a genuine document beside what it states.
type appraisal struct {
	identity   attest.Identity
	revocation attest.Finding
	used       []attest.Use
}

// appraise judges whose key signed, by the chain in the document and the roots of the
// role, and what AWS has revoked.
func (d *document) appraise(collateral []attest.Collateral, anchors *attest.Anchors, at time.Time) appraisal {
	a := appraisal{revocation: attest.Finding{Detail: "no established chain whose revocation could be checked"}}
	if detail := checkChain(d.chain); detail != "" {
		a.identity.Finding = attest.Finding{Status: attest.Failed, Detail: detail}
		return a
	}
	root := anchor(anchors, d.chain[len(d.chain)-1])
	switch {
	case root == nil && knows(anchors):
		a.identity.Finding = attest.Finding{Status: attest.Failed, Detail: "the certificate of " + subject(d.chain[0]) + " chains to no trusted root of role " + Role}
		return a
	case root == nil:
		a.identity.Finding = attest.Finding{Detail: "no root of role " + Role + " is trusted"}
		return a
	}
	if detail := d.checkPath(root, at); detail != "" {
		a.identity.Finding = attest.Finding{Status: attest.Failed, Detail: detail}
		return a
	}
	kind := "pinned root"
	if root.UserSupplied {
		kind = "user-supplied root"
	}
	a.identity = attest.Identity{
		Finding: attest.Finding{Status: attest.Passed, Detail: "the document's certificate chains to " + subject(root.Certificate)},
		Root:    root,
		Provenance: fmt.Sprintf("%s, certified by %s under %s %s",
			subject(d.chain[0]), subject(d.chain[1]), kind, subject(root.Certificate)),
	}
	a.revocation, a.used = revocation(d.chain, collateral, at)
	return a
}

// subject returns the subject of c, quoted and cut for one line.
func subject(c *x509.Certificate) string { return fmt.Sprintf("%.160q", c.Subject.String()) }

// knows reports whether the anchors have anything of the role.
func knows(anchors *attest.Anchors) bool {
	if len(anchors.Role(Role)) > 0 {
		return true
	}
	if anchors != nil {
		for i := range anchors.Pins {
			if anchors.Pins[i].Role == Role {
				return true
			}
		}
	}
	return false
}

// anchor returns the trusted root that is the document's: of the same name and key,
// which its vendor may have certified anew. It is one that was supplied, or the
// document's own if a pin names it; nil if there is none.
func anchor(anchors *attest.Anchors, last *x509.Certificate) *attest.Root {
	for _, r := range anchors.Role(Role) {
		c := r.Certificate
		if c == nil || !c.IsCA || !c.BasicConstraintsValid || !bytes.Equal(c.RawSubject, last.RawSubject) ||
			!bytes.Equal(c.RawSubjectPublicKeyInfo, last.RawSubjectPublicKeyInfo) || c.CheckSignatureFrom(c) != nil {
			continue
		}
		if pin := anchors.Pinned(Role, c); pin != nil {
			return pinned(pin, c)
		}
		return &r
	}
	if pin := anchors.Pinned(Role, last); pin != nil {
		return pinned(pin, last)
	}
	return nil
}

// pinned returns a root that is trusted by its pin.
func pinned(pin *attest.Pin, c *x509.Certificate) *attest.Root {
	row := *pin
	return &attest.Root{Role: row.Role, Product: row.Product, Certificate: c, Pin: &row}
}

// checkChain returns "" if the certificates follow from each other and are what AWS
// says they are (attestation process, certificates validation), dates apart; else a
// sentence.
func checkChain(chain []*x509.Certificate) string {
	for i, c := range chain {
		k, ok := c.PublicKey.(*ecdsa.PublicKey)
		issuer := chain[min(i+1, len(chain)-1)]
		problem := ""
		switch {
		case !ok || k.Curve != elliptic.P384() || c.SignatureAlgorithm != x509.ECDSAWithSHA384:
			problem = "is not for a key on P-384, or not signed with ECDSA and SHA-384"
		case i == 0 && (c.IsCA || c.KeyUsage&(x509.KeyUsageCertSign|x509.KeyUsageCRLSign) != 0):
			problem = "is a CA's"
		case i == 0 && c.KeyUsage&x509.KeyUsageDigitalSignature == 0:
			problem = "is not for signatures"
		case i > 0 && (!c.IsCA || !c.BasicConstraintsValid || c.KeyUsage&x509.KeyUsageCertSign == 0):
			problem = "is no CA's"
		case !bytes.Equal(c.RawIssuer, issuer.RawSubject):
			problem = "names another issuer than the next one in the document"
		case c.CheckSignatureFrom(issuer) != nil:
			problem = "is not signed by the next one in the document"
		}
		if problem != "" {
			return "the certificate of " + subject(c) + " " + problem
		}
	}
	return ""
}

// checkPath returns "" if the chain, with the trusted root in the place of its own, is
// valid at time at (RFC 5280, 6.1), and the document was made while its certificate
// was; else a sentence.
func (d *document) checkPath(root *attest.Root, at time.Time) string {
	leaf, last := d.chain[0], len(d.chain)-1
	if root.Pin != nil && !root.Pin.Valid(at) {
		return fmt.Sprintf("the root %s is pinned for another time than %s", subject(root.Certificate), at.UTC().Format(time.RFC3339))
	}
	for _, c := range append(d.chain[:last:last], root.Certificate) {
		if at.Before(c.NotBefore) || at.After(c.NotAfter) {
			return fmt.Sprintf("the certificate of %s is valid from %s until %s, not at %s", subject(c),
				c.NotBefore.UTC().Format(time.RFC3339), c.NotAfter.UTC().Format(time.RFC3339), at.UTC().Format(time.RFC3339))
		}
	}
	if d.time.Before(leaf.NotBefore) || d.time.After(leaf.NotAfter) {
		return fmt.Sprintf("the document says that it was made at %s, when its certificate was not valid", d.time.Format(time.RFC3339))
	}
	roots, issuers := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(root.Certificate)
	for _, c := range d.chain[1:last] {
		issuers.AddCert(c)
	}
	chains, err := leaf.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: issuers, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	var critical x509.UnhandledCriticalExtension
	switch {
	case errors.As(err, &critical):
		return "a certificate of the chain has a critical extension that is not understood"
	case err != nil:
		return fmt.Sprintf("the certificate of %s does not chain to the root: %.160q", subject(leaf), err.Error())
	}
	for _, chain := range chains {
		if len(chain) == len(d.chain) {
			return ""
		}
	}
	return "a certificate in the document is not in the chain of " + subject(leaf)
}
