package verifier

import (
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/sworn-run/sworn/attest"
)

// TimeStamp is one time-stamp token of a record.
type TimeStamp struct {
	// Time is the token's time, RFC 3339 in UTC; empty if the token cannot be read.
	Time string `json:"time,omitempty"`
	// Accuracy is by how much the time may be off, in Go's notation; empty if the token
	// does not say.
	Accuracy string `json:"accuracy,omitempty"`
	// Covers is "evidence", "archive", or empty if it covers nothing of the record.
	Covers string `json:"covers,omitempty"`
	// Hash is the hash of what is covered.
	Hash string `json:"hash,omitempty"`
	// Authority is the name in the signer's certificate.
	Authority string `json:"authority,omitempty"`
	// Root is SHA-256 of the SubjectPublicKeyInfo of the root that the signer's chain
	// ends in, in hexadecimal; empty if it ends in none that is trusted.
	Root string `json:"root,omitempty"`
	// Until is until when the token can be relied on without a later archive token, RFC
	// 3339 in UTC.
	Until string `json:"until,omitempty"`
	// Status is passed if the token can be relied on, failed, or not established.
	Status string `json:"status"`
	// Detail is one line for people.
	Detail string `json:"detail"`
}

// Change is one check whose outcome as of now is another than as of the record's time.
type Change struct {
	// ID and Slot say which check.
	ID string `json:"id"`
	// Slot is the manifest slot the check is about; absent for the others.
	Slot *int `json:"slot,omitempty"`
	// Then and Now are the statuses.
	Then string `json:"then"`
	// Now is the status as of now.
	Now string `json:"now"`
	// Detail is what was found as of now.
	Detail string `json:"detail"`
}

// asOf returns the same appraisal as of an earlier time. What is known of that time is
// what is known now.
func (a *appraisal) asOf(at time.Time) *appraisal {
	if a.evidence != nil {
		b := a.evidence.asOf(at).of(a.capsule, a.record)
		b.now, b.brief = a, a.brief
		return b
	}
	b := *a
	b.at, b.now, b.slots, b.boot = at, a, nil, bootLogs{}
	if b.statement != nil {
		b.appraiseSlots()
	}
	b.readBoot()
	return &b
}

// judgeRecord adds the verdict as of the record's time, which exists if a token can be
// relied on. The earliest bounds when the evidence came into being. The verdict's time is
// that of the earliest token as of which the record is trusted: what vendors published
// after the first may be in the record, for a second.
//
// A record that is trusted as of then stays so when something expires; and taking a token
// away never makes a record trusted, because whatever is trusted as of now is trusted with
// it too.
func (r *Report) judgeRecord(a *appraisal) {
	r.TimeStamps = a.timeStamps()
	times := a.stampTimes()
	if len(times) == 0 {
		reason := "no time stamp covers the evidence"
		if len(a.stamps) > 0 {
			reason = "no time stamp can be relied on: " + oneLine(a.stamps[0].detail)
		}
		r.Record = Verdict{Status: notEstablished, Headline: "no verdict as of the record's time: " + reason}
		return
	}
	var then *Report
	for _, t := range times {
		b := a.asOf(t)
		x := reportAt(b, b.run())
		if then == nil || x.Trusted {
			then = x
		}
		if x.Trusted {
			break
		}
	}
	r.Record, r.RecordChecks = then.Now, then.Checks
	r.Changes = changes(then.Checks, r.Checks)
	if then.Trusted && !r.Trusted {
		r.Trusted, r.Decides, r.Assuming = true, decidesRecord, then.Assuming
		r.Headline = then.Headline + "; as of now " + r.Now.Headline
	}
}

// changes lists the checks with another outcome now than then. Time stamps are judged by
// what is known now in both.
func changes(then, now []Check) []Change {
	out := []Change{}
	for i := range then {
		if i >= len(now) || then[i].ID != now[i].ID {
			break
		}
		if a, b := &then[i], &now[i]; a.status != b.status && !strings.HasPrefix(a.ID, "time.") {
			c := Change{ID: a.ID, Slot: b.Slot, Then: a.Status, Now: b.Status, Detail: b.Detail}
			if a.ID == "ledger" && a.Got != "" {
				c.Detail += "; " + a.Got
			}
			out = append(out, c)
		}
	}
	return out
}

// timeStamps tells what the tokens are, for reports.
func (a *appraisal) timeStamps() []TimeStamp {
	out := []TimeStamp{}
	for i := range a.stamps {
		s := &a.stamps[i]
		x := TimeStamp{Covers: s.covers, Detail: s.detail, Status: attest.NotEstablished.String()}
		switch {
		case s.reliable:
			x.Status = attest.Passed.String()
		case s.wrong != "" || s.result.Status == attest.Failed:
			x.Status = attest.Failed.String()
		}
		if s.token != nil {
			x.Time, x.Hash = s.token.Time.UTC().Format(time.RFC3339Nano), s.token.Hash.String()
			if s.token.Accuracy > 0 {
				x.Accuracy = s.token.Accuracy.String()
			}
		}
		x.Authority = s.result.Authority
		if s.result.Root != nil {
			spki := SPKIDigest(s.result.Root.Certificate)
			x.Root = hex.EncodeToString(spki[:])
		}
		if !s.result.Until.IsZero() {
			x.Until = s.result.Until.UTC().Format(time.RFC3339)
		}
		out = append(out, x)
	}
	return out
}

// trustedWord is "trusted", and for the verdict as of the record's time what it is as of.
func (a *appraisal) trustedWord() string {
	if a.now == nil {
		return trusted
	}
	word := trusted + " as of " + a.at.UTC().Format(time.RFC3339)
	if s := a.firstStamp(); s != nil {
		word += fmt.Sprintf(" (time stamp of %q)", s.result.Authority)
	}
	return word
}
