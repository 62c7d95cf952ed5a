package stamp

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"slices"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/limits"
)

// Revocation is the revocation of a certificate of the chain, or of another certificate of
// the same key, by its issuer's list.
//
// RFC 3161, section 4, tells why a key was given up: if by affiliationChanged, superseded
// or cessationOfOperation, tokens from before stay good. By any other reason, or by none,
// the key may have signed any token, whatever time that bears, and all of them fall. A
// reason of "unspecified" counts as none, though RFC 3161 would let it pass: RFC 5280,
// 5.3.1, does not tell the two apart. A certificateHold counts from its date on, and only
// while the issuer's newest list has it.
type Revocation struct {
	// Subject is whose certificate is revoked, By whose list says so.
	Subject, By string
	// Serial is the serial number of the revoked certificate, in hexadecimal.
	Serial string
	// Reason is reasonCode (RFC 5280, 5.3.1); 0 for none too.
	Reason int
	// Date is from when on: the date of revocation, or the date of invalidity where that is
	// earlier.
	Date time.Time
	// All tells that no token of the key counts, whenever it was made.
	All bool

	key  []byte // the SubjectPublicKeyInfo that is revoked
	list int    // the list that says so, among those given; -1 for one in the token
}

// Names of reasons that are met (RFC 5280, 5.3.1).
const (
	reasonAffiliation = 3
	reasonSuperseded  = 4
	reasonCessation   = 5
	reasonHold        = 6
)

// reasonName names a reason.
func reasonName(code int) string {
	names := []string{
		"unspecified", "keyCompromise", "cACompromise", "affiliationChanged", "superseded", "cessationOfOperation",
		"certificateHold", "", "removeFromCRL", "privilegeWithdrawn", "aACompromise",
	}
	if code < 0 || code >= len(names) || names[code] == "" {
		return fmt.Sprintf("reason %d", code)
	}
	return names[code]
}

// String returns one line for people.
func (r *Revocation) String() string {
	which := "tokens from then on"
	if r.All {
		which = "every token of its key"
	}
	return fmt.Sprintf("the certificate of %s, serial %s, was revoked by %s at %s (%s), which takes %s",
		r.Subject, r.Serial, r.By, stampTime(r.Date), reasonName(r.Reason), which)
}

// list is a revocation list that an authority of a chain signed.
type list struct {
	*x509.RevocationList
	issuer *x509.Certificate
	index  int // among those given; -1 for one in the token
}

// Extensions of lists, and of certificates that name them (RFC 5280).
const (
	oidCRLPoints    = "2.5.29.31"
	oidFreshestCRL  = "2.5.29.46"
	oidAuthorities  = "1.3.6.1.5.5.7.1.1"
	oidIssuingPoint = "2.5.29.28"
	oidInvalidity   = "2.5.29.24"
)

// readLists returns the lists that authorities of the chains signed, and that have no
// critical extension but that of the issuing distribution point.
func (v *verification) readLists(chains [][]*x509.Certificate) []list {
	var out []list
	issuers := authorities(chains)
	add := func(der []byte, index int) {
		if len(der) > limits.CollateralItem {
			return
		}
		l, err := x509.ParseRevocationList(bytes.Clone(der))
		if err != nil || len(l.Raw) != len(der) || !understood(l) || !strong(l.SignatureAlgorithm) {
			return
		}
		for _, c := range issuers {
			if bytes.Equal(l.RawIssuer, c.RawSubject) && l.CheckSignatureFrom(c) == nil {
				out = append(out, list{l, c, index})
				return
			}
		}
	}
	for _, der := range v.lists {
		add(der, -1)
	}
	for i, der := range v.given[:min(len(v.given), limits.CollateralItems)] {
		add(der, i)
	}
	return out
}

// authorities returns the issuers in the chains, each once.
func authorities(chains [][]*x509.Certificate) []*x509.Certificate {
	var out []*x509.Certificate
	for _, chain := range chains {
		for _, c := range chain[1:] {
			if !slices.ContainsFunc(out, c.Equal) {
				out = append(out, c)
			}
		}
	}
	return out
}

// understood reports whether the list may be used (RFC 5280, 5.2 and 5.3): neither one of
// changes, nor one about certificates of other issuers.
func understood(l *x509.RevocationList) bool {
	for _, x := range l.Extensions {
		if x.Critical && x.Id.String() != oidIssuingPoint {
			return false
		}
		if p, ok := readPoint(x.Value); x.Id.String() == oidIssuingPoint && (!ok || p.indirect) {
			return false
		}
	}
	for i := range l.RevokedCertificateEntries {
		for _, x := range l.RevokedCertificateEntries[i].Extensions {
			if x.Critical && x.Id.String() != oidInvalidity && x.Id.String() != "2.5.29.21" { // reasonCode
				return false
			}
		}
	}
	return true
}

// revocations returns what the lists revoke by time at of the certificates that are known:
// those in the token and those of the chains.
func (v *verification) revocations(lists []list, chains [][]*x509.Certificate) []Revocation {
	known := slices.Concat(append([][]*x509.Certificate{v.certs}, chains...)...)
	var out []Revocation
	for i := range lists {
		l := &lists[i]
		serials := map[string]*x509.RevocationListEntry{}
		for k := range l.RevokedCertificateEntries {
			e := &l.RevokedCertificateEntries[k]
			serials[e.SerialNumber.String()] = e
		}
		for _, c := range known {
			e := serials[c.SerialNumber.String()]
			if e == nil || !bytes.Equal(c.RawIssuer, l.RawIssuer) ||
				l.issuer.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) != nil {
				continue
			}
			r := revocation(e)
			r.Subject, r.By, r.key, r.list = subject(c), subject(l.issuer), c.RawSubjectPublicKeyInfo, l.index
			if r.Date.After(v.at) || r.Reason == reasonHold && !l.newest(lists, c) {
				continue
			}
			out = append(out, r)
		}
	}
	return out
}

// newest reports whether no list of the same issuer that covers c is of a later date: one
// about other certificates does not say that a hold is over.
func (l *list) newest(lists []list, c *x509.Certificate) bool {
	return !slices.ContainsFunc(lists, func(o list) bool {
		return bytes.Equal(o.RawIssuer, l.RawIssuer) && o.ThisUpdate.After(l.ThisUpdate) && covers(&o, c) &&
			bytes.Equal(o.issuer.RawSubjectPublicKeyInfo, l.issuer.RawSubjectPublicKeyInfo)
	})
}

// revocation reads an entry of a list.
func revocation(e *x509.RevocationListEntry) Revocation {
	r := Revocation{Serial: e.SerialNumber.Text(16), Reason: e.ReasonCode, Date: e.RevocationTime.UTC()}
	switch r.Reason {
	case reasonAffiliation, reasonSuperseded, reasonCessation, reasonHold:
	default:
		r.All = true
	}
	for _, x := range e.Extensions {
		if x.Id.String() != oidInvalidity {
			continue
		}
		var t time.Time
		if rest, err := asn1.UnmarshalWithParams(x.Value, &t, "generalized"); err != nil || len(rest) > 0 {
			r.All = true // It says something of earlier times, and not what.
		} else if t.Before(r.Date) {
			r.Date = t.UTC()
		}
	}
	return r
}

// revokedIn returns the revocation under which the token falls in this chain: the one
// that takes most of all that concern a key below the root. Nil if there is none.
func (v *verification) revokedIn(all []Revocation, chain []*x509.Certificate) *Revocation {
	var worst *Revocation
	for _, c := range chain[:len(chain)-1] {
		for i := range all {
			r := &all[i]
			if !bytes.Equal(r.key, c.RawSubjectPublicKeyInfo) || !r.All && v.Latest().Before(r.Date) {
				continue
			}
			if worst == nil || r.All && !worst.All {
				worst = r
			}
		}
	}
	return worst
}

// current says whether lists that were current vouch for each certificate below the root,
// and which of those given were relied on.
func (v *verification) current(lists []list, chain []*x509.Certificate, revoked *Revocation) (f attest.Finding, used, spare []attest.Use) {
	f = attest.Finding{Status: attest.Passed, Detail: "the issuers publish no revocation lists"}
	counts := map[int]bool{}
	for i, c := range chain[:len(chain)-1] {
		best := v.choose(lists, c, chain[i+1])
		switch {
		case best != nil:
			counts[best.index] = true
			if f.Status == attest.Passed {
				f.Detail = "no certificate of the chain is in the lists of its issuers"
			}
		case !publishes(c):
		default:
			f = attest.Finding{Detail: "no current revocation list of " + subject(chain[i+1]) + " is at hand"}
		}
	}
	if revoked != nil {
		counts[revoked.list] = true
		f = attest.Finding{Status: attest.Failed, Detail: revoked.String()}
	}
	for i := range lists {
		l := &lists[i]
		u := attest.Use{Index: l.index, What: "revocation list of " + subject(l.issuer), From: l.ThisUpdate, Until: l.NextUpdate}
		switch {
		case l.index < 0:
		case counts[l.index]:
			used = append(used, u)
		default:
			spare = append(spare, u)
		}
	}
	return f, used, spare
}

// choose returns the newest list of the issuer that covers c and was current at time at,
// or at the end of c where that came first: about what has run out nothing more is said.
func (v *verification) choose(lists []list, c, issuer *x509.Certificate) *list {
	when := v.at
	if c.NotAfter.Before(when) {
		when = c.NotAfter
	}
	var best *list
	for i := range lists {
		l := &lists[i]
		if !bytes.Equal(l.RawIssuer, issuer.RawSubject) || !bytes.Equal(l.issuer.RawSubjectPublicKeyInfo, issuer.RawSubjectPublicKeyInfo) ||
			l.ThisUpdate.After(v.at) || !when.Before(l.NextUpdate) || !covers(l, c) {
			continue
		}
		if best == nil || l.ThisUpdate.After(best.ThisUpdate) {
			best = l
		}
	}
	return best
}

// publishes reports whether c names, in whatever form, a place for its issuer's word on
// revocation.
func publishes(c *x509.Certificate) bool {
	for _, x := range c.Extensions {
		switch x.Id.String() {
		case oidCRLPoints, oidFreshestCRL:
			return true
		case oidAuthorities:
			if len(c.OCSPServer) > 0 {
				return true
			}
		}
	}
	return false
}

// point is IssuingDistributionPoint (RFC 5280, 5.2.5).
type point struct {
	names                     [][]byte // the URIs of fullName
	named                     bool
	user, ca, some, attribute bool
	indirect                  bool
}

// readPoint reads IssuingDistributionPoint.
func readPoint(der []byte) (point, bool) {
	var p point
	r, err := newReader(der)
	in := r.open(tagSequence, "IssuingDistributionPoint")
	r.end("IssuingDistributionPoint")
	if in.at(tagExplicit0) {
		p.named = true
		name := in.open(tagExplicit0, "distributionPoint")
		if name.at(tagExplicit0) {
			for full := name.open(tagExplicit0, "fullName"); full.more(); {
				if n := full.any("name"); n.tag == 0x86 { // uniformResourceIdentifier
					p.names = append(p.names, n.body)
				}
			}
		} else {
			name.any("nameRelativeToCRLIssuer")
		}
		name.end("distributionPoint")
	}
	for _, x := range []struct {
		tag byte
		to  *bool
	}{{0x81, &p.user}, {0x82, &p.ca}, {0x83, &p.some}, {0x84, &p.indirect}, {0x85, &p.attribute}} {
		if in.at(x.tag) {
			in.any("scope")
			*x.to = true
		}
	}
	in.end("IssuingDistributionPoint")
	return p, *err == nil
}

// covers reports whether what the list does not name is not revoked, as far as c goes.
func covers(l *list, c *x509.Certificate) bool {
	for _, x := range l.Extensions {
		if x.Id.String() != oidIssuingPoint {
			continue
		}
		p, ok := readPoint(x.Value)
		if !ok || p.some || p.attribute || p.indirect || p.user && c.IsCA || p.ca && !c.IsCA {
			return false
		}
		if p.named && !slices.ContainsFunc(p.names, func(n []byte) bool { return slices.Contains(c.CRLDistributionPoints, string(n)) }) {
			return false
		}
	}
	return true
}
