package dcap

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/limits"
)

// The words by which Intel's certificates are told apart (PCK profile, 1.3), each in
// the subject's common name.
const (
	nameRoot     = "SGX Root CA"
	namePlatform = "SGX PCK Platform CA"
	nameProcess  = "SGX PCK Processor CA"
	namePCK      = "SGX PCK Certificate"
	nameSigning  = "SGX TCB Signing"
)

// supplied is a certificate among the collateral.
type supplied struct {
	*x509.Certificate
	index int
}

// subject returns the subject of c, quoted and cut for one line.
func subject(c *x509.Certificate) string { return fmt.Sprintf("%.160q", c.Subject.String()) }

// within reports whether c is valid at t.
func within(c *x509.Certificate, t time.Time) bool {
	return !t.Before(c.NotBefore) && !t.After(c.NotAfter)
}

// sameHolder reports whether two certificates are for the same key and name.
func sameHolder(a, b *x509.Certificate) bool {
	return bytes.Equal(a.RawSubject, b.RawSubject) && bytes.Equal(a.RawSubjectPublicKeyInfo, b.RawSubjectPublicKeyInfo)
}

// issued reports whether parent issued c: by name and by signature.
func issued(c, parent *x509.Certificate) bool {
	return bytes.Equal(c.RawIssuer, parent.RawSubject) && c.CheckSignatureFrom(parent) == nil
}

// authority returns what keeps c from being a CA's certificate of one of the names, as
// the end of a sentence; "" if nothing does.
func authority(c *x509.Certificate, names ...string) string {
	const usage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	switch {
	case !named(c, names...):
		return "has another name than " + strings.Join(names, " or ")
	case !c.BasicConstraintsValid || !c.IsCA || c.KeyUsage != usage:
		return "is no CA's that signs certificates and revocation lists"
	default:
		return sound(c)
	}
}

// entity returns what keeps c from being the certificate of a key of that name which
// signs no certificates; "" if nothing does.
func entity(c *x509.Certificate, name string) string {
	const forbidden = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	switch {
	case !named(c, name):
		return "has another name than " + name
	case c.IsCA || c.KeyUsage&x509.KeyUsageDigitalSignature == 0 || c.KeyUsage&forbidden != 0:
		return "is not that of a key that signs data and no certificates"
	default:
		return sound(c)
	}
}

// sound returns what is wrong with any certificate.
func sound(c *x509.Certificate) string {
	switch {
	case p256(c) == nil || c.SignatureAlgorithm != x509.ECDSAWithSHA256:
		return "is not of ECDSA with P-256 and SHA-256"
	case len(c.UnhandledCriticalExtensions) != 0:
		return "has a critical extension that is not understood"
	default:
		return ""
	}
}

// named reports whether the common name holds one of the names.
func named(c *x509.Certificate, names ...string) bool {
	for _, n := range names {
		if strings.Contains(c.Subject.CommonName, n) {
			return true
		}
	}
	return false
}

// checkChain checks the quote's own three certificates against each other, but for the
// root's own signature, and at time a.at; "" or the end of a sentence about the PCK's
// certificate.
func (a *appraiser) checkChain() string {
	pck, ca, root := a.q.chain[0], a.q.chain[1], a.q.chain[2]
	for _, s := range []struct {
		c   *x509.Certificate
		bad string
	}{{pck, entity(pck, namePCK)}, {ca, authority(ca, namePlatform, nameProcess)}, {root, authority(root, nameRoot)}} {
		if s.bad != "" {
			return fmt.Sprintf("rests on one of %s, which %s", subject(s.c), s.bad)
		}
	}
	switch {
	case !issued(pck, ca):
		return "was not issued by " + subject(ca) + " beside it"
	case !issued(ca, root) || !bytes.Equal(root.RawIssuer, root.RawSubject):
		return "does not chain to " + subject(root) + " beside it"
	}
	for _, c := range a.q.chain {
		if !within(c, a.at) {
			return fmt.Sprintf("rests on one of %s, which is not valid at %s but %s",
				subject(c), a.at.UTC().Format(time.RFC3339), span(c.NotBefore, c.NotAfter))
		}
	}
	return ""
}

// findRoot returns the anchor that the quote's root certificate is, or what is wrong
// or missing. It verifies that certificate's own signature, without which its dates
// would be anybody's word.
func (a *appraiser) findRoot(anchors *attest.Anchors) (*attest.Root, attest.Finding) {
	root := a.q.chain[2]
	if pin := anchors.Pinned(Role, root); pin != nil {
		if !pin.Valid(a.at) {
			return nil, attest.Finding{Status: attest.Failed, Detail: fmt.Sprintf("the root %s is pinned for another time than %s",
				subject(root), a.at.UTC().Format(time.RFC3339))}
		}
		row := *pin
		return &attest.Root{Role: Role, Product: row.Product, Certificate: root, Pin: &row}, attest.Finding{}
	}
	roots := anchors.Role(Role)
	for i := range roots {
		c := roots[i].Certificate
		if c == nil || !sameHolder(c, root) || authority(c, nameRoot) != "" {
			continue
		}
		// One that was issued anew over the same key speaks for itself.
		if !within(c, a.at) || !issued(root, root) || !c.Equal(root) && !issued(c, c) {
			continue
		}
		r := roots[i]
		return &r, attest.Finding{}
	}
	if len(roots) == 0 && (anchors == nil || !slices.ContainsFunc(anchors.Pins, func(p attest.Pin) bool { return p.Role == Role })) {
		return nil, attest.Finding{Detail: "no root of role " + Role + " is trusted"}
	}
	return nil, attest.Finding{Status: attest.Failed, Detail: fmt.Sprintf("the certificate of %s chains to no trusted root of role %s: the key of %s is another",
		subject(a.q.chain[0]), Role, subject(root))}
}

// copyOf looks among the collateral for a certificate of the same key and name as c,
// which an issuer of c issued too and which is valid; the newest counts. Vendors hand
// out the issuers of lists and documents beside them, though the quote has them.
func (a *appraiser) copyOf(c, issuer *x509.Certificate) {
	var best *supplied
	for i := range a.certificates {
		s := &a.certificates[i]
		if sameHolder(s.Certificate, c) && within(s.Certificate, a.at) && (best == nil || s.NotBefore.After(best.NotBefore)) &&
			(bytes.Equal(s.Raw, c.Raw) || authority(s.Certificate, c.Subject.CommonName) == "" && issued(s.Certificate, issuer)) {
			best = s
		}
	}
	if best != nil {
		a.useCertificate(best)
	}
}

// useCertificate notes that a certificate of the collateral was relied on.
func (a *appraiser) useCertificate(s *supplied) {
	a.use(s.index, "certificate of "+subject(s.Certificate), s.NotBefore, s.NotAfter)
}

// findSigners returns the certificates of TCB signing keys that the root issued, each once:
// those that are valid first, and of these the newest first. Where there are more than
// maxSigners, no document counts.
func (a *appraiser) findSigners() []*supplied {
	var out []*supplied
	root := a.q.chain[2]
	for i := range a.certificates {
		s := &a.certificates[i]
		same := func(o *supplied) bool { return o.Equal(s.Certificate) }
		if slices.ContainsFunc(out, same) || entity(s.Certificate, nameSigning) != "" || !issued(s.Certificate, root) {
			continue
		}
		if len(out) == maxSigners {
			a.crowded[attest.CollateralCertificate] = true
			break
		}
		out = append(out, s)
	}
	sortNewest(out, func(s *supplied) (bool, time.Time, int) { return within(s.Certificate, a.at), s.NotBefore, s.index })
	return out
}

// parseCertificate parses a certificate of the collateral; nil if it is none.
func parseCertificate(der []byte) *x509.Certificate {
	if len(der) > limits.Certificate {
		return nil
	}
	c, err := x509.ParseCertificate(bytes.Clone(der))
	if err != nil {
		return nil
	}
	return c
}
