package dcap

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sworn-run/sworn/attest"
)

// Appraisal is what a genuine quote and its collateral say of the platform.
type Appraisal struct {
	// Identity passes if the PCK's chain ends in an anchor of role "intel-sgx" and
	// the QE identity says that Intel's QE made the quote.
	Identity attest.Identity
	// Revocation passes if current lists of the root and of the PCK's CA are there and
	// name none of the certificates relied on.
	Revocation attest.Finding
	// Coherent passes if TCB info and QE identity are signed, current, and of this
	// platform and kind of TEE.
	Coherent attest.Finding
	// TCB is the status merged over platform, TDX module and QE.
	TCB attest.TCB
	// Used are the collateral items that were relied on, ascending.
	Used []attest.Use
	// Spare are those that concern the quote and were not relied on, ascending.
	Spare []attest.Use
	// Keys are the attestation key, the PCK and those of the authorities above it.
	Keys []attest.Key
	// Product is the platform's FMSPC, in 12 upper-case hexadecimal digits.
	Product string
	// Details are the fields of header, QE report, PCK and collateral.
	Details []attest.Detail
}

// appraiser is the state of one appraisal.
type appraiser struct {
	q            *Quote
	at           time.Time
	certificates []supplied
	lists        []list
	documents    map[string][]*document
	unread       map[string]error
	crowded      map[string]bool // Kinds of which there are more than are looked at.
	signers      []*supplied     // Those that the documents rely on.
	used         map[int]attest.Use
}

// Appraise checks that the quote is genuine, and judges the platform by its chain and
// the collateral at time at. Collateral that is not of this package's kinds is passed
// over, and so is what does not parse, or is not signed by whom it should be: it
// counts for nothing and is not among those used. Where several items serve the same
// purpose the newest valid one counts alone: of documents, that with the highest
// evaluation number, then the latest date of issue. Where there are more of them than are
// looked at, none counts.
//
// The error wraps [attest.ErrArgument] for a zero time, and [attest.ErrSignature] if
// the PCK does not vouch for the QE, the QE not for the attestation key, or this not
// for header and body.
func (q *Quote) Appraise(items []attest.Collateral, anchors *attest.Anchors, at time.Time) (*Appraisal, error) {
	if q == nil || len(q.chain) != chainLength || at.IsZero() {
		return nil, fmt.Errorf("appraising no quote, or at the zero time: %w", attest.ErrArgument)
	}
	if err := q.verify(); err != nil {
		return nil, err
	}
	a := &appraiser{q: q, at: at, documents: map[string][]*document{}, unread: map[string]error{}, crowded: map[string]bool{}, used: map[int]attest.Use{}}
	a.sort(items)
	out := a.appraise(anchors)
	out.Spare = a.spares()
	out.Keys, out.Product = q.keys(), fmt.Sprintf("%X", q.PCK.FMSPC)
	out.Used = slices.SortedFunc(maps.Values(a.used), func(x, y attest.Use) int { return cmp.Compare(x.Index, y.Index) })
	return out, nil
}

// keys returns the attestation key, and those of the chain.
func (q *Quote) keys() []attest.Key {
	var out []attest.Key
	point := append([]byte{4}, q.key...) // Uncompressed (SEC 1, 2.3.3).
	if k, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point); err == nil {
		if der, err := x509.MarshalPKIXPublicKey(k); err == nil {
			out = append(out, attest.Key{What: "attestation key", SPKI: der})
		}
	}
	for _, c := range q.chain {
		out = append(out, attest.Key{What: subject(c), SPKI: c.RawSubjectPublicKeyInfo})
	}
	return out
}

// sort parses the collateral by kind.
func (a *appraiser) sort(items []attest.Collateral) {
	for i := range items {
		c := &items[i]
		switch c.Kind {
		case attest.CollateralCertificate:
			if cert := parseCertificate(c.Data); cert != nil {
				a.certificates = append(a.certificates, supplied{cert, i})
			}
		case attest.CollateralCRL:
			if l := parseList(c.Data); l != nil {
				a.lists = append(a.lists, list{l, i})
			}
		case attest.CollateralTCBInfo, attest.CollateralQEIdentity:
			if a.crowded[c.Kind] {
				continue
			}
			d, err := parseDocument(c, i)
			if err != nil {
				a.unread[c.Kind] = err
				continue
			}
			a.add(c.Kind, d)
		}
	}
}

// add keeps a document. Those of other platforms only explain why there is none, so that
// some are enough. Of more than maxDocuments of this one, none counts: those that are
// left out might be the newest, and who carries the record would choose which.
func (a *appraiser) add(kind string, d *document) {
	fits, n := a.fits(d), 0
	for _, o := range a.documents[kind] {
		if a.fits(o) == fits {
			n++
		}
	}
	if n < maxDocuments {
		a.documents[kind] = append(a.documents[kind], d)
		return
	}
	a.crowded[kind] = a.crowded[kind] || fits
}

// use notes that an item was relied on.
func (a *appraiser) use(index int, what string, from, until time.Time) {
	a.used[index] = attest.Use{Index: index, What: what, From: from, Until: until}
}

// appraise judges everything.
func (a *appraiser) appraise(anchors *attest.Anchors) *Appraisal {
	out := &Appraisal{Details: a.q.Details()}
	if bad := a.checkChain(); bad != "" {
		out.Identity.Finding = attest.Finding{Status: attest.Failed, Detail: "the certificate of " + subject(a.q.chain[0]) + " " + bad}
		return out.without()
	}
	root, finding := a.findRoot(anchors)
	if root == nil {
		out.Identity.Finding = finding
		return out.without()
	}
	signers := a.findSigners()
	info, infoFinding := a.choose(attest.CollateralTCBInfo, signers)
	qe, qeFinding := a.choose(attest.CollateralQEIdentity, signers)
	out.Coherent = worse(infoFinding, qeFinding)
	if out.Coherent.Status == attest.Passed {
		out.Coherent.Detail = "TCB info and QE identity are of this platform, signed, and current"
	}
	a.identify(out, root, qe, qeFinding)
	out.Revocation = a.revocation()
	a.copyOf(a.q.chain[1], a.q.chain[2])
	a.copyOf(a.q.chain[2], a.q.chain[2])
	out.Details = append(out.Details, documentDetails(info, qe)...)
	a.judge(out, info, qe)
	a.revokedSince(out, info, qe, signers)
	return out
}

// without fills in what cannot be judged when the chain ends nowhere.
func (out *Appraisal) without() *Appraisal {
	none := attest.Finding{Detail: "no established chain to a root by which it could be judged"}
	out.Revocation, out.Coherent = none, none
	out.TCB.Finding = none
	return out
}

// identify judges whose key signed: the chain holds and ends in root.
func (a *appraiser) identify(out *Appraisal, root *attest.Root, qe *document, finding attest.Finding) {
	pck := subject(a.q.chain[0])
	if qe == nil {
		out.Identity.Finding = attest.Finding{Detail: "the PCK chains to " + subject(root.Certificate) +
			", but which enclave made the quote is not established: " + finding.Detail}
		return
	}
	if bad := qe.qe.mismatch(a.q.QE); bad != "" {
		out.Identity.Finding = attest.Finding{Status: attest.Failed, Detail: fmt.Sprintf(
			"the enclave that made the quote is not Intel's %s: its %s is another", qe.qe.name(), bad)}
		return
	}
	kind := "pinned root"
	if root.UserSupplied {
		kind = "user-supplied root"
	}
	out.Identity = attest.Identity{
		Finding: attest.Finding{Status: attest.Passed, Detail: fmt.Sprintf("Intel's %s made the quote, and the PCK's certificate chains to %s",
			qe.qe.name(), subject(root.Certificate))},
		Root: root,
		Provenance: fmt.Sprintf("PCK %s of FMSPC %x certified by %s under %s %s",
			pck, a.q.PCK.FMSPC, subject(a.q.chain[1]), kind, subject(root.Certificate)),
	}
}

// judge fills in the TCB.
func (a *appraiser) judge(out *Appraisal, info, qe *document) {
	out.TCB.Versions = []attest.Attribute{
		{Name: "pce", Value: uint64(a.q.PCK.PCESVN)},
		{Name: "qe", Value: uint64(a.q.QE.ISVSVN)},
	}
	switch {
	case out.Coherent.Status != attest.Passed:
		out.TCB.Finding = attest.Finding{Detail: "no TCB status without coherent collateral: " + out.Coherent.Detail}
		return
	case out.Identity.Status != attest.Passed:
		out.TCB.Finding = attest.Finding{Status: out.Identity.Status, Detail: "no TCB status of a quote by another enclave: " + out.Identity.Detail}
		return
	}
	o := judge(a.q, info.tcb, qe.qe)
	out.TCB.Evaluation = min(info.evaluation, qe.evaluation)
	out.TCB.Advisories = o.advisories
	out.Details = append(out.Details, o.details()...)
	if o.failure != "" {
		out.TCB.Finding = attest.Finding{Status: attest.Failed, Detail: o.failure}
		return
	}
	out.TCB.Status = o.merged
	text := fmt.Sprintf("%s by evaluation data %d of %s", o.merged, out.TCB.Evaluation, info.issued.Format(time.DateOnly))
	if len(o.advisories) > 0 {
		text += ", advisories " + strings.Join(o.advisories, " ")
	}
	out.TCB.Finding = attest.Finding{Status: attest.Passed, Detail: text}
	if o.merged == Revoked {
		out.TCB.Finding = attest.Finding{Status: attest.Failed, Detail: "Intel has revoked the platform's TCB: " + text}
	}
}

// revokedSince fails the TCB if a document that was issued after those that count has it
// revoked, in force or not: Intel does not say since when the keys of a platform or an
// enclave may be known to others, and takes no such word back when the document runs out.
func (a *appraiser) revokedSince(out *Appraisal, info, qe *document, signers []*supplied) {
	if info == nil || qe == nil || out.TCB.Status == Revoked {
		return
	}
	for _, d := range slices.Concat(a.documents[attest.CollateralTCBInfo], a.documents[attest.CollateralQEIdentity]) {
		i, q := info, qe
		if d.qe == nil {
			i = d
		} else {
			q = d
		}
		signed := func(s *supplied) bool { return verifyDigest(p256(s.Certificate), d.digest, d.signature) }
		if !a.fits(d) || !i.issued.After(info.issued) && !q.issued.After(qe.issued) ||
			judge(a.q, i.tcb, q.qe).merged != Revoked || !slices.ContainsFunc(signers, signed) {
			continue
		}
		out.TCB.Status = Revoked
		out.TCB.Finding = attest.Finding{Status: attest.Failed, Detail: fmt.Sprintf("Intel has revoked the platform's TCB since: %s of %s, evaluation data %d",
			d.subject(), d.String(), d.evaluation)}
		return
	}
}

// rank orders what keeps a document from being used.
type rank int

const (
	unsigned rank = iota
	badSigner
	foreign
	stale
	usable
)

// choose returns the document of a kind that counts and a finding: passed, or what is
// wrong with the one that came closest. One that is only not current is returned too:
// it still tells whose enclaves are Intel's.
func (a *appraiser) choose(kind string, signers []*supplied) (*document, attest.Finding) {
	name := "TCB info"
	if kind == attest.CollateralQEIdentity {
		name = "QE identity"
	}
	switch {
	case a.crowded[kind]:
		return nil, attest.Finding{Status: attest.Failed, Detail: fmt.Sprintf("more than %d items of %s of %s", maxDocuments, name, a.subjectOf(kind))}
	case a.crowded[attest.CollateralCertificate]:
		return nil, attest.Finding{Status: attest.Failed, Detail: fmt.Sprintf("more than %d certificates of keys that sign a %s", maxSigners, name)}
	}
	var best *document
	var bestRank rank
	var bestSigner *supplied
	for _, d := range a.documents[kind] {
		r, signer := a.rank(d, signers)
		if best == nil || r > bestRank || r == bestRank && d.newer(best) {
			best, bestRank, bestSigner = d, r, signer
		}
	}
	switch {
	case best == nil && a.unread[kind] != nil:
		return nil, attest.Finding{Status: attest.Failed, Detail: fmt.Sprintf("the %s cannot be read: %v", name, a.unread[kind])}
	case best == nil:
		return nil, attest.Finding{Detail: "no " + name + " of " + a.subjectOf(kind)}
	case bestRank == unsigned && len(signers) == 0:
		return nil, attest.Finding{Detail: "no TCB signing certificate that " + subject(a.q.chain[2]) + " issued, by which the " + name + " could be checked"}
	case bestRank == unsigned:
		return nil, attest.Finding{Status: attest.Failed, Detail: "the signature of the " + name + " does not verify"}
	case bestRank == badSigner:
		return nil, attest.Finding{Detail: fmt.Sprintf("the certificate of the signer of the %s is not valid at %s but %s",
			name, a.at.UTC().Format(time.RFC3339), span(bestSigner.NotBefore, bestSigner.NotAfter))}
	case bestRank == foreign:
		return nil, attest.Finding{Status: attest.Failed, Detail: "the " + name + " is of " + best.subject() + ", not of " + a.subjectOf(kind)}
	}
	a.use(best.index, name+" of "+best.subject()+fmt.Sprintf(", evaluation data %d", best.evaluation), best.issued, best.next)
	a.useCertificate(bestSigner)
	if !slices.Contains(a.signers, bestSigner) {
		a.signers = append(a.signers, bestSigner)
	}
	if bestRank == stale {
		return best, attest.Finding{Detail: fmt.Sprintf("the %s is not current at %s: it is of %s", name, a.at.UTC().Format(time.RFC3339), best.String())}
	}
	return best, attest.Finding{Status: attest.Passed}
}

// newer reports whether d counts before e among equals.
func (d *document) newer(e *document) bool {
	return cmp.Or(cmp.Compare(d.evaluation, e.evaluation), d.issued.Compare(e.issued)) > 0
}

// rank finds out how far a document can be used, and who signed it.
func (a *appraiser) rank(d *document, signers []*supplied) (rank, *supplied) {
	for _, s := range signers {
		if !verifyDigest(p256(s.Certificate), d.digest, d.signature) {
			continue
		}
		switch {
		case !within(s.Certificate, a.at):
			return badSigner, s
		case !a.fits(d):
			return foreign, s
		case !d.valid(a.at):
			return stale, s
		default:
			return usable, s
		}
	}
	return unsigned, nil
}

// fits reports whether the document is of the quote's kind of TEE and platform.
func (a *appraiser) fits(d *document) bool {
	if d.qe != nil {
		return d.qe.tee == a.q.TEE
	}
	return d.tcb.tee == a.q.TEE && d.tcb.fmspc == a.q.PCK.FMSPC && d.tcb.pceid == a.q.PCK.PCEID
}

// subject tells what a document is about.
func (d *document) subject() string {
	if d.qe != nil {
		return d.qe.name()
	}
	return fmt.Sprintf("%v, FMSPC %x, PCE %x", d.tcb.tee, d.tcb.fmspc, d.tcb.pceid)
}

// subjectOf tells what a document of that kind should be about.
func (a *appraiser) subjectOf(kind string) string {
	if kind == attest.CollateralQEIdentity {
		return (&qeIdentity{tee: a.q.TEE}).name()
	}
	return fmt.Sprintf("%v, FMSPC %x, PCE %x", a.q.TEE, a.q.PCK.FMSPC, a.q.PCK.PCEID)
}

// Certificates returns the PCK's certificate, that of its CA and the root's, as they
// stand in the quote.
func (q *Quote) Certificates() []*x509.Certificate { return slices.Clone(q.chain) }
