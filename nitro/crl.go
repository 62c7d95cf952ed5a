package nitro

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"slices"
	"time"

	"github.com/sworn-run/sworn/attest"
)

// X.509 extensions (RFC 5280, 4.2.1.13, 4.2.1.15, 4.2.2.1, 5.2.5).
const (
	oidCRLPoints    = "2.5.29.31"
	oidFreshestCRL  = "2.5.29.46"
	oidAuthority    = "1.3.6.1.5.5.7.1.1"
	oidIssuingPoint = "2.5.29.28"
)

// maxCRL bounds a revocation list, in bytes, and maxCRLs how many are looked at.
const (
	maxCRL  = 1 << 20
	maxCRLs = 32
)

// list is a revocation list of the collateral.
type list struct {
	index int
	crl   *x509.RevocationList
}

// revocation judges the certificates of an established chain by the lists that they
// name. The root is not asked: who trusts it has decided.
func revocation(chain []*x509.Certificate, collateral []attest.Collateral, at time.Time) (attest.Finding, []attest.Use) {
	lists, all := parseLists(collateral, chain)
	if !all {
		return attest.Finding{Status: attest.Failed, Detail: fmt.Sprintf("more than %d revocation lists in the name of issuers in the chain", maxCRLs)}, nil
	}
	out := attest.Finding{Status: attest.Passed, Detail: "the issuers publish no revocation (no CRL distribution point in the signed certificates)"}
	var used []attest.Use
	for i, c := range chain[:len(chain)-1] {
		if !publishes(c) {
			continue
		}
		l, problem := choose(lists, c, chain[i+1], at)
		// A later list counts too, whether it has run out before the one that was chosen, or
		// says what is known now of the time asked for.
		if slices.ContainsFunc(lists, func(x list) bool {
			return (l == nil || x.index == l.index || x.crl.ThisUpdate.After(l.crl.ThisUpdate)) && x.revokes(c, chain[i+1], at)
		}) {
			out = attest.Finding{Status: attest.Failed, Detail: "the certificate of " + subject(c) + " is revoked"}
		}
		if problem != "" {
			if out.Status != attest.Failed {
				out = attest.Finding{Detail: problem}
			}
			continue
		}
		if !slices.ContainsFunc(used, func(u attest.Use) bool { return u.Index == l.index }) {
			used = append(used, attest.Use{
				Index: l.index, What: "revocation list of " + subject(chain[i+1]), From: l.crl.ThisUpdate, Until: l.crl.NextUpdate,
			})
		}
		if out.Status == attest.Passed {
			out.Detail = "no certificate is in the lists that its issuer publishes"
		}
	}
	slices.SortFunc(used, func(a, b attest.Use) int { return a.Index - b.Index })
	return out, used
}

// spares returns the lists of the chain's issuers that were not relied on, by their
// signatures alone.
func (d *document) spares(collateral []attest.Collateral, used []attest.Use) []attest.Use {
	var out []attest.Use
	lists, _ := parseLists(collateral, d.chain)
	for _, l := range lists {
		if slices.ContainsFunc(used, func(u attest.Use) bool { return u.Index == l.index }) {
			continue
		}
		for _, issuer := range d.chain[1:] {
			if bytes.Equal(l.crl.RawIssuer, issuer.RawSubject) && l.crl.CheckSignatureFrom(issuer) == nil {
				out = append(out, attest.Use{
					Index: l.index, What: "revocation list of " + subject(issuer), From: l.crl.ThisUpdate, Until: l.crl.NextUpdate,
				})
				break
			}
		}
	}
	return out
}

// publishes reports whether c names, in whatever form, a place for its issuer's word on
// revocation.
func publishes(c *x509.Certificate) bool {
	for _, oid := range []string{oidCRLPoints, oidFreshestCRL, oidAuthority} {
		if slices.ContainsFunc(c.Extensions, func(e pkix.Extension) bool { return e.Id.String() == oid }) {
			return true
		}
	}
	return false
}

// parseLists reads the revocation lists among the collateral that are in the name of an
// issuer in the chain. What is none, too long, or has anything behind it, is no list. It
// stops, with all false, at more than maxCRLs: what is left out might revoke.
func parseLists(collateral []attest.Collateral, chain []*x509.Certificate) (out []list, all bool) {
	for i := range collateral {
		if collateral[i].Kind != attest.CollateralCRL || len(collateral[i].Data) > maxCRL {
			continue
		}
		crl, err := x509.ParseRevocationList(bytes.Clone(collateral[i].Data))
		if err != nil || len(crl.Raw) != len(collateral[i].Data) ||
			!slices.ContainsFunc(chain, func(c *x509.Certificate) bool { return bytes.Equal(c.RawSubject, crl.RawIssuer) }) {
			continue
		}
		if len(out) == maxCRLs {
			return out, false
		}
		out = append(out, list{i, crl})
	}
	return out, true
}

// choose returns the newest list that the issuer of c signed, covers c, and is current
// at time at; else what is missing.
func choose(lists []list, c, issuer *x509.Certificate, at time.Time) (best *list, problem string) {
	if len(c.CRLDistributionPoints) == 0 {
		return nil, "the issuer of " + subject(c) + " publishes revocation in a form that is not read"
	}
	problem = fmt.Sprintf("the revocation list of %s (%.160q) is missing", subject(issuer), c.CRLDistributionPoints[0])
	for i := range lists {
		l := &lists[i]
		if !bytes.Equal(l.crl.RawIssuer, issuer.RawSubject) || l.crl.CheckSignatureFrom(issuer) != nil || !l.covers(c) {
			continue
		}
		if at.Before(l.crl.ThisUpdate) || !at.Before(l.crl.NextUpdate) {
			problem = fmt.Sprintf("the revocation list of %s is for %s until %s, not for %s", subject(issuer),
				l.crl.ThisUpdate.UTC().Format(time.RFC3339), l.crl.NextUpdate.UTC().Format(time.RFC3339), at.UTC().Format(time.RFC3339))
			continue
		}
		if best == nil || l.crl.ThisUpdate.After(best.crl.ThisUpdate) {
			best = l
		}
	}
	if best != nil {
		return best, ""
	}
	return nil, problem
}

// issuingPoint is IssuingDistributionPoint (RFC 5280, 5.2.5).
type issuingPoint struct {
	Point struct {
		FullName []asn1.RawValue `asn1:"optional,tag:0"`
	} `asn1:"optional,tag:0"`
	User       bool           `asn1:"optional,tag:1"`
	CA         bool           `asn1:"optional,tag:2"`
	Reasons    asn1.BitString `asn1:"optional,tag:3"`
	Indirect   bool           `asn1:"optional,tag:4"`
	Attributes bool           `asn1:"optional,tag:5"`
}

// covers reports whether the list is about c: it has no critical extension but one
// that says that it is for CAs, or for a place that c names.
func (l *list) covers(c *x509.Certificate) bool {
	for _, e := range l.crl.Extensions {
		switch {
		case e.Id.String() == oidIssuingPoint:
			if !placed(e.Value, c) {
				return false
			}
		case e.Critical:
			return false
		}
	}
	for i := range l.crl.RevokedCertificateEntries {
		if slices.ContainsFunc(l.crl.RevokedCertificateEntries[i].Extensions, func(e pkix.Extension) bool { return e.Critical }) {
			return false // Such as of another issuer (5.3.3).
		}
	}
	return true
}

// placed reports whether the extension names one of c's places and does not leave c out.
func placed(der []byte, c *x509.Certificate) bool {
	var p issuingPoint
	rest, err := asn1.Unmarshal(der, &p)
	if err != nil || len(rest) > 0 {
		return false
	}
	// What is not read, such as a relative name, is lost on the way back.
	if again, err := asn1.Marshal(p); err != nil || !bytes.Equal(again, der) {
		return false
	}
	if p.Indirect || p.Attributes || p.Reasons.BitLength > 0 || p.User && c.IsCA || p.CA && !c.IsCA {
		return false
	}
	if len(p.Point.FullName) == 0 {
		return true
	}
	return slices.ContainsFunc(p.Point.FullName, func(n asn1.RawValue) bool {
		return n.Class == asn1.ClassContextSpecific && n.Tag == 6 && slices.Contains(c.CRLDistributionPoints, string(n.Bytes))
	})
}

// revokes reports whether the list is the issuer's, covers c, and revokes it as of a time.
func (l *list) revokes(c, issuer *x509.Certificate, at time.Time) bool {
	return bytes.Equal(l.crl.RawIssuer, issuer.RawSubject) && attest.Revokes(l.crl, c.SerialNumber, at) &&
		l.crl.CheckSignatureFrom(issuer) == nil && l.covers(c)
}
