package verifier

import (
	"bytes"
	"crypto"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/verifier/stamp"
)

// What a time-stamp token covers.
const (
	coversEvidence = "evidence"
	coversArchive  = "archive"
)

// clockSkew is by how much a launcher's clock may be ahead of an authority's, and a
// verifier's behind it.
const clockSkew = time.Minute

// timeStamp is one token of a capsule, judged by what is known at one time.
type timeStamp struct {
	token  *stamp.Token
	covers string
	result stamp.Result
	// wrong is what is wrong with the token whoever is trusted; empty if nothing is.
	wrong string
	// reliable: the token shows that the evidence existed at its time.
	reliable bool
	// detail is one line for people.
	detail string
}

// by returns the latest time at which what the token covers can have come into being.
func (s *timeStamp) by() time.Time { return s.token.Latest() }

// judgeStamps judges the capsule's tokens by what is known at a time. The last come
// first: a token whose authority's certificate has run out, or whose key was revoked
// since, still counts if a later archive token shows that it existed before.
func (a *appraisal) judgeStamps(known time.Time) []timeStamp {
	if a.capsule == nil {
		return nil
	}
	lists := a.suppliedLists()
	out := make([]timeStamp, len(a.capsule.Tokens))
	for i := range slices.Backward(out) {
		s := &out[i]
		if s.wrong = a.readStamp(s, i); s.wrong != "" {
			s.detail = s.wrong
			continue
		}
		s.result = s.token.Verify(a.anchors, lists, known)
		s.wrong = wrongStamp(&s.result)
		s.detail = s.result.Detail
		early := s.token.Time.After(known.Add(clockSkew))
		s.reliable = s.result.Status == attest.Passed && !known.After(s.result.Until) && !early
		if s.reliable || s.wrong != "" {
			continue
		}
		if early {
			s.detail = "it is of " + s.token.Time.UTC().Format(time.RFC3339) + ", a time to come"
			continue
		}
		if s.result.Status == attest.Passed {
			s.detail = fmt.Sprintf("the certificate of %s ran out at %s, and no archive token was made before",
				oneLine(s.result.Authority), s.result.Until.UTC().Format(time.RFC3339))
		}
		for j := i + 1; j < len(out) && !s.reliable; j++ {
			s.renewedBy(&out[j], a.anchors, lists)
		}
	}
	return out
}

// readStamp parses token number i and says what it covers, or what is wrong with it.
func (a *appraisal) readStamp(s *timeStamp, i int) (wrong string) {
	var err error
	if s.token, err = stamp.Parse(a.capsule.Tokens[i]); err != nil {
		return "it cannot be read: " + err.Error()
	}
	if e := a.capsule.EvidenceDigest(); s.token.Covers(crypto.SHA256, e[:]) {
		s.covers = coversEvidence
		return ""
	}
	if d, err := a.capsule.ArchiveDigest(s.token.Hash, i); err == nil && s.token.Covers(s.token.Hash, d) {
		s.covers = coversArchive
		return ""
	}
	return "it covers neither the evidence digest nor the archive digest of this record"
}

// wrongStamp says what is wrong with a token by itself. A key that was revoked is no
// fault of the token's, nor is an authority that nobody here trusts.
func wrongStamp(r *stamp.Result) string {
	if r.Status == attest.Failed && r.Revoked == nil {
		return r.Detail
	}
	return ""
}

// renewedBy makes a token reliable again if a later archive token shows that it was there
// while it could be relied on. Whom its certificates lead to does not depend on that time.
func (s *timeStamp) renewedBy(later *timeStamp, anchors *attest.Anchors, lists [][]byte) {
	if s.result.Root == nil || !later.reliable || later.covers != coversArchive || later.by().Before(s.token.Time) {
		return
	}
	then := s.token.Verify(anchors, lists, later.by())
	if then.Status == attest.Passed && !later.by().After(then.Until) {
		s.result, s.reliable = then, true
		s.detail = then.Detail + ", renewed by an archive token of " + later.token.Time.UTC().Format(time.RFC3339)
	}
}

// suppliedLists returns the revocation lists that the relying party brought.
func (a *appraisal) suppliedLists() [][]byte {
	var out [][]byte
	for _, x := range a.in.Collateral {
		if x.Kind == attest.CollateralCRL {
			out = append(out, x.Data)
		}
	}
	return out
}

// stampTimes returns the times of the reliable tokens, ascending, none twice.
func (a *appraisal) stampTimes() []time.Time {
	var out []time.Time
	for i := range a.stamps {
		if s := &a.stamps[i]; s.reliable {
			out = append(out, s.by())
		}
	}
	slices.SortFunc(out, time.Time.Compare)
	return slices.CompactFunc(out, time.Time.Equal)
}

// tokenTime returns when the evidence existed at the latest, by the earliest token that
// can be relied on; false where there is none, or where the verdict is as of now, which
// knows of no earlier time.
func (a *appraisal) tokenTime() (time.Time, bool) {
	if times := a.stampTimes(); a.now != nil && len(times) > 0 {
		return times[0], true
	}
	return time.Time{}, false
}

// askedTime reports whether the checks of time count: where the policy asks, for the
// verdict as of the record's time, and where a token is wrong, which nobody honest
// leaves in a record.
func askedTime(a *appraisal) bool {
	return a.in.Policy != nil && a.in.Policy.Time.Token || a.now != nil ||
		slices.ContainsFunc(a.stamps, func(s timeStamp) bool { return s.wrong != "" })
}

func checkTimeToken(a *appraisal) outcome {
	switch {
	case a.capsule == nil:
		return unknown("the capsule cannot be read")
	case len(a.stamps) == 0:
		return unknown("no time stamp covers the evidence")
	}
	for i := range a.stamps {
		if s := &a.stamps[i]; s.wrong != "" {
			return failed(fmt.Sprintf("token %d: %s", i, oneLine(s.wrong)))
		}
	}
	first := a.firstStamp()
	if first == nil {
		s := &a.stamps[0]
		return outcome{Finding: attest.Finding{Status: s.result.Status, Detail: "token 0: " + oneLine(s.detail)}}.notPassed()
	}
	return passed(fmt.Sprintf("the evidence existed at %s, by %s", first.by().UTC().Format(time.RFC3339), oneLine(first.detail)))
}

// notPassed makes what passed not established: a token that is right and cannot be relied
// on any more.
func (o outcome) notPassed() outcome {
	if o.Status == attest.Passed || o.Status == attest.NotApplicable {
		o.Status = attest.NotEstablished
	}
	return o
}

// firstStamp returns the earliest token that can be relied on; nil if there is none.
func (a *appraisal) firstStamp() *timeStamp {
	var first *timeStamp
	for i := range a.stamps {
		if s := &a.stamps[i]; s.reliable && (first == nil || s.by().Before(first.by())) {
			first = s
		}
	}
	return first
}

func checkTimeOrder(a *appraisal) outcome {
	first := a.firstStamp()
	switch {
	case a.statement == nil:
		return unknown("the statement cannot be read")
	case first == nil:
		return unknown("no time stamp that could be relied on covers the evidence")
	}
	claimed := time.UnixMilli(int64(a.statement.Time)).UTC()
	if claimed.After(first.by().Add(clockSkew)) {
		return failed("the producer claims a time after the time stamp").
			with("≤ "+first.by().UTC().Format(time.RFC3339), claimed.Format(time.RFC3339))
	}
	var last time.Time
	for i := range a.stamps {
		s := &a.stamps[i]
		if s.token == nil || !s.reliable {
			continue
		}
		if s.covers == coversArchive && s.by().Add(clockSkew).Before(last) {
			return failed(fmt.Sprintf("archive token %d is of an earlier time than a token that it covers", i)).
				with("≥ "+last.UTC().Format(time.RFC3339), s.by().UTC().Format(time.RFC3339))
		}
		if s.token.Time.After(last) {
			last = s.token.Time
		}
	}
	lower := "nothing shows that the evidence is not older"
	if a.in.Nonce != nil && bytes.Equal(a.statement.Nonce, a.in.Nonce) {
		lower = "your nonce shows that it is not older than that"
	}
	return passed(fmt.Sprintf("claimed %s, stamped %s; %s", claimed.Format(time.RFC3339), first.token.Time.UTC().Format(time.RFC3339), lower))
}

// authorityRoots names the roots of the authorities whose tokens can be relied on.
func (a *appraisal) authorityRoots() []string {
	var out []string
	for i := range a.stamps {
		s := &a.stamps[i]
		if !s.reliable || s.result.Root == nil {
			continue
		}
		spki := SPKIDigest(s.result.Root.Certificate)
		line := fmt.Sprintf("user-supplied time-stamping root %q %s", s.result.Root.Certificate.Subject.CommonName, hex.EncodeToString(spki[:8]))
		if !slices.Contains(out, line) {
			out = append(out, line)
		}
	}
	return out
}
