package verifier

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
)

// noEvidence says why a slot has no claims, where that is not the failure of
// the asking check itself.
func noEvidence(s *slotResult) outcome {
	switch {
	case s.scheme == nil:
		return unknown(fmt.Sprintf("format %d is not one this verifier knows", s.slot.Format))
	case s.err == nil:
		return unknown("the slot's evidence is missing")
	default:
		return unknown("the evidence was refused: " + s.err.Error())
	}
}

func checkSlotPolicy(a *appraisal, i int) outcome {
	s := &a.slots[i]
	if s.scheme == nil {
		return failed(fmt.Sprintf("format %d is not one this verifier knows", s.slot.Format))
	}
	p := a.in.Policy
	if p == nil {
		return unknown("no policy given")
	}
	got := a.formats()
	for _, set := range p.Slots {
		want := slices.Clone(set)
		slices.Sort(want)
		if slices.Equal(want, got) {
			if _, ok := p.Formats[s.desc.Name]; !ok {
				return failed("the policy has no identity rule for " + s.desc.Name)
			}
			return passed(s.desc.Name)
		}
	}
	return failed("the policy does not allow this set of evidence formats").with(fmt.Sprint(p.Slots), strings.Join(got, "+"))
}

func checkSlotForm(a *appraisal, i int) outcome {
	s := &a.slots[i]
	switch {
	case s.claims != nil, errors.Is(s.err, attest.ErrSignature), errors.Is(s.err, attest.ErrMode), errors.Is(s.err, attest.ErrNoKey):
		return passed(s.desc.Name)
	case s.err != nil:
		return failed(s.err.Error())
	default:
		return noEvidence(s)
	}
}

func checkSlotBinding(a *appraisal, i int) outcome {
	s := &a.slots[i]
	if s.claims == nil {
		return noEvidence(s)
	}
	if s.slot.Mode != s.desc.Mode || s.slot.Anchor != s.desc.Anchor {
		return failed("the manifest gives the format another mode or anchor than it has")
	}
	want := attest.Quoted(s.desc.QuotedHash, s.slot.Number, s.slot.Format, a.capsule.Statement)
	if want == nil || !bytes.Equal(s.claims.Quoted, want) {
		return failed("the quote covers other data than this statement").with(hex.EncodeToString(want), hex.EncodeToString(s.claims.Quoted))
	}
	if s.claims.KeyID != s.slot.KeyID {
		return failed("another key signed than the manifest names").with(hex.EncodeToString(s.slot.KeyID[:]), hex.EncodeToString(s.claims.KeyID[:]))
	}
	if problem := a.counterFits(i); problem.Status != attest.Passed {
		return problem
	}
	return passed("the quote covers the statement, slot " + fmt.Sprint(s.slot.Number))
}

// counterFits passes if slot 0 certifies the counter that the statement's body
// has, for this statement, and no slot certifies another.
func (a *appraisal) counterFits(i int) outcome {
	got, want := a.slots[i].claims.Counter, a.statement.Counter()
	if i != 0 {
		want = nil // the body speaks of one counter, the first slot's
	}
	switch {
	case want == nil && got == nil:
		return passed("")
	case want == nil:
		return failed("a counter is certified that the statement does not have in this slot")
	case got == nil:
		return failed("the statement has a counter, and none is certified")
	case got.Counter != *want:
		return failed("another counter or value is certified than the statement has").
			with(fmt.Sprintf("%x %d", want.Name, want.Value), fmt.Sprintf("%x %d", got.Name, got.Value))
	}
	if data := attest.QuotedCounter(a.capsule.Statement); !bytes.Equal(got.Quoted, data) {
		return failed("the counter is certified for another statement").with(hex.EncodeToString(data), hex.EncodeToString(got.Quoted))
	}
	return passed("")
}

func checkSlotSignature(a *appraisal, i int) outcome {
	s := &a.slots[i]
	switch {
	case s.claims != nil, errors.Is(s.err, attest.ErrMode):
		return passed("over the bytes received")
	case errors.Is(s.err, attest.ErrSignature):
		return failed(s.err.Error())
	default:
		return noEvidence(s)
	}
}

func checkSlotMode(a *appraisal, i int) outcome {
	s := &a.slots[i]
	switch {
	case s.claims != nil:
		return a.attributesFit(s)
	case errors.Is(s.err, attest.ErrMode):
		return failed(s.err.Error())
	default:
		return noEvidence(s)
	}
}

func checkSlotIdentity(a *appraisal, i int) outcome {
	s := &a.slots[i]
	if s.claims == nil {
		return noEvidence(s)
	}
	id := &s.claims.Identity
	if id.Status != attest.Passed || id.Root == nil {
		if id.Status == attest.Failed {
			return failed(id.Detail)
		}
		return unknown(id.Detail)
	}
	spki := SPKIDigest(id.Root.Certificate)
	got := cer.SHA256Digest(spki)
	if a.in.Policy == nil {
		return passed(id.Detail)
	}
	f, ok := a.in.Policy.Formats[s.desc.Name]
	if !ok {
		return failed("the policy has no identity rule for " + s.desc.Name)
	}
	if f.Identity.Role != id.Root.Role || !slices.Contains(f.Identity.SPKI, got) {
		return failed(fmt.Sprintf("the chain ends in root %q, which the policy does not name", id.Root.Certificate.Subject.CommonName)).
			with(f.Identity.Role+" "+strings.Join(f.Identity.SPKI, " or "), id.Root.Role+" "+got)
	}
	return passed(id.Detail)
}

// finding turns a scheme's finding into an outcome, or says that it concerns no
// such check.
func (s *slotResult) finding(id string, f func(*attest.Claims) attest.Finding) outcome {
	switch {
	case slices.Contains(s.desc.NotApplicable, id):
		return notApplicable("not a property of " + s.desc.Name + " evidence")
	case s.claims == nil:
		return noEvidence(s)
	}
	x := f(s.claims)
	if x.Status == attest.NotApplicable {
		return unknown(x.Detail)
	}
	return outcome{Finding: x}
}

func checkSlotRevocation(a *appraisal, i int) outcome {
	return a.slots[i].finding("slot.revocation", func(c *attest.Claims) attest.Finding { return c.Revocation })
}

func checkSlotCounters(a *appraisal, i int) outcome {
	s := &a.slots[i]
	switch {
	case slices.Contains(s.desc.NotApplicable, "slot.counters"):
		return notApplicable("not a property of " + s.desc.Name + " evidence")
	case s.claims == nil:
		return noEvidence(s)
	case a.origin == nil || a.begin == nil || s.claims.Counters == nil:
		return unknown("origin, launch-begin or counters cannot be read")
	}
	c, o := s.claims.Counters, a.origin
	want := fmt.Sprintf("resetCount %s, restartCount %s, firmware %s", o.ResetCount, o.RestartCount, o.Firmware)
	got := fmt.Sprintf("resetCount %d, restartCount %d, firmware %016x", c.ResetCount, c.RestartCount, c.Firmware)
	if want != got {
		return failed("the quote is of another life of the register than the log").with(want, got)
	}
	if k := s.claims.Counter; k != nil &&
		(k.Counters.ResetCount != c.ResetCount || k.Counters.RestartCount != c.RestartCount || k.Counters.Firmware != c.Firmware) {
		return failed("the counter was certified in another life of the TPM than the quote").with(got,
			fmt.Sprintf("resetCount %d, restartCount %d, firmware %016x", k.Counters.ResetCount, k.Counters.RestartCount, k.Counters.Firmware))
	}
	begin, err := cer.ParseUint(a.begin.Clock)
	if err != nil || c.Clock < begin {
		return failed("the TPM's clock has gone back since the launch began").with("≥ "+a.begin.Clock+" ms", fmt.Sprintf("%d ms", c.Clock))
	}
	return passed(fmt.Sprintf("%s, clock %d ms", got, c.Clock))
}
