package dcap

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	"github.com/sworn-run/sworn/attest"
)

// list is a revocation list among the collateral.
type list struct {
	*x509.RevocationList
	index int
}

// parseList parses a list; nil if it is none, if anything stands behind it, or if its
// meaning depends on an extension that is not understood, as that of a part of a list
// does.
func parseList(der []byte) *x509.RevocationList {
	if len(der) > maxCRL {
		return nil
	}
	l, err := x509.ParseRevocationList(bytes.Clone(der))
	if err != nil || len(l.Raw) != len(der) || l.NextUpdate.IsZero() || !l.ThisUpdate.Before(l.NextUpdate) {
		return nil
	}
	for _, e := range l.Extensions {
		if e.Critical {
			return nil
		}
	}
	for i := range l.RevokedCertificateEntries {
		for _, e := range l.RevokedCertificateEntries[i].Extensions {
			if e.Critical {
				return nil
			}
		}
	}
	return l
}

// listsOf returns the lists that an issuer signed.
func (a *appraiser) listsOf(issuer *x509.Certificate) []*list {
	var out []*list
	for i := range a.lists {
		l := &a.lists[i]
		if bytes.Equal(l.RawIssuer, issuer.RawSubject) && l.CheckSignatureFrom(issuer) == nil {
			out = append(out, l)
		}
	}
	return out
}

// chooseList returns the one of an issuer's lists that counts: one that is valid before
// one that is not, then the newest. It may be stale.
func (a *appraiser) chooseList(issuer *x509.Certificate, all []*list) *list {
	var found []*list
	for _, l := range all {
		if !l.ThisUpdate.After(a.at) {
			found = append(found, l)
		}
	}
	sortNewest(found, func(l *list) (bool, time.Time, int) { return a.at.Before(l.NextUpdate), l.ThisUpdate, l.index })
	if len(found) == 0 {
		return nil
	}
	a.use(found[0].index, "revocation list of "+subject(issuer), found[0].ThisUpdate, found[0].NextUpdate)
	return found[0]
}

// sortNewest sorts valid ones first, then the newest, then by index.
func sortNewest[T any](s []T, key func(T) (valid bool, from time.Time, index int)) {
	slices.SortFunc(s, func(x, y T) int {
		xv, xt, xi := key(x)
		yv, yt, yi := key(y)
		if xv != yv {
			if xv {
				return -1
			}
			return 1
		}
		return cmp.Or(yt.Compare(xt), cmp.Compare(xi, yi))
	})
}

// revoked reports whether one of the issuer's lists names c: by its serial number, or by
// that of another certificate of the same issuer for the same key, as far as one is
// there. Beside the list that counts, which may have run out and still says who was
// revoked, later ones do, whether they have run out before it, or say what is known now of
// the time asked for.
func (a *appraiser) revoked(all []*list, chosen *list, c *x509.Certificate) bool {
	return slices.ContainsFunc(all, func(l *list) bool {
		if l != chosen && chosen != nil && !l.ThisUpdate.After(chosen.ThisUpdate) {
			return false
		}
		return attest.Revokes(l.RevocationList, c.SerialNumber, a.at) || slices.ContainsFunc(a.certificates, func(s supplied) bool {
			return bytes.Equal(s.RawIssuer, c.RawIssuer) && bytes.Equal(s.RawSubjectPublicKeyInfo, c.RawSubjectPublicKeyInfo) &&
				attest.Revokes(l.RevocationList, s.SerialNumber, a.at)
		})
	})
}

// revocation judges every certificate but the root: the PCK's by the list of its CA,
// that CA's and the TCB signing certificates by the list of the root.
func (a *appraiser) revocation() attest.Finding {
	pck, ca, root := a.q.chain[0], a.q.chain[1], a.q.chain[2]
	below := []*x509.Certificate{ca}
	for _, s := range a.signers {
		below = append(below, s.Certificate)
	}
	out := attest.Finding{Status: attest.Passed}
	for _, step := range []struct {
		issuer *x509.Certificate
		of     []*x509.Certificate
	}{{root, below}, {ca, []*x509.Certificate{pck}}} {
		all := a.listsOf(step.issuer)
		l := a.chooseList(step.issuer, all)
		for _, c := range step.of {
			if a.revoked(all, l, c) {
				return attest.Finding{Status: attest.Failed, Detail: "the certificate of " + subject(c) + " is revoked by " + subject(step.issuer)}
			}
		}
		if l == nil {
			out = worse(out, attest.Finding{Detail: "no revocation list of " + subject(step.issuer)})
			continue
		}
		if !a.at.Before(l.NextUpdate) {
			out = worse(out, attest.Finding{Detail: fmt.Sprintf("the revocation list of %s is stale at %s: it is of %s",
				subject(step.issuer), a.at.UTC().Format(time.RFC3339), span(l.ThisUpdate, l.NextUpdate))})
		}
	}
	if out.Status == attest.Passed {
		out.Detail = fmt.Sprintf("neither the PCK nor %s nor a signer of collateral is revoked", subject(ca))
	}
	return out
}

// worse returns the finding that decides: the first that did not pass, with what else
// is missing named beside it.
func worse(a, b attest.Finding) attest.Finding {
	switch {
	case a.Status == attest.Passed:
		return b
	case b.Status == attest.Passed:
		return a
	case b.Status == attest.Failed && a.Status != attest.Failed:
		return b
	case a.Status == attest.Failed && b.Status != attest.Failed:
		return a
	default:
		return attest.Finding{Status: a.Status, Detail: a.Detail + "; " + b.Detail}
	}
}
