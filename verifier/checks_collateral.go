package verifier

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer/signer"
)

// bootKind reports whether a kind of collateral tells what booted: check boot.log's.
func bootKind(kind string) bool {
	return kind == CollateralEventLog || kind == CollateralIMA || kind == attest.CollateralCCEL
}

// vendorKind reports whether vendors sign collateral of the kind, which schemes read.
func vendorKind(kind string) bool {
	switch kind {
	case attest.CollateralCertificate, attest.CollateralCRL, attest.CollateralTCBInfo, attest.CollateralQEIdentity:
		return true
	default:
		return false
	}
}

// checkCollateralUse says which collateral item no check uses, or nothing. First
// stand the signatures of components, in the order of the first components that have
// them; one of several is there once. Then what vendors signed, each item of
// concern to a slot's evidence: where one has none that was verified, that is not
// established. Then the logs of what booted, and last whoever signed the record. So
// none can be moved and nothing is different, and none but the last left out.
func (a *appraisal) checkCollateralUse() outcome {
	rest, _ := signer.Split(a.capsule.Collateral)
	if err := a.recordSigners().err; err != nil {
		return failed(err.Error())
	}
	items := a.collateral()[:len(rest)]
	for n := len(items); n > 0 && bootKind(items[n-1].kind); n = len(items) {
		items = items[:n-1]
	}
	used := a.usedItems()
	for n := len(items); n > 0 && vendorKind(items[n-1].kind); n = len(items) {
		if !used[n-1] {
			problem := fmt.Sprintf("collateral item %d (%s) is one that no check uses", n-1, items[n-1].kind)
			if slices.ContainsFunc(a.slots, func(s slotResult) bool { return s.claims == nil }) {
				return unknown(problem + ", with evidence that was refused or cannot be verified")
			}
			return failed(problem)
		}
		items = items[:n-1]
	}
	if problem := a.signaturesUsed(items); problem != "" {
		return failed(problem)
	}
	return passed("")
}

// usedItems are the indices of the collateral items that concern some slot's evidence.
func (a *appraisal) usedItems() map[int]bool {
	out := map[int]bool{}
	for i := range a.slots {
		if c := a.slots[i].claims; c != nil {
			for _, u := range slices.Concat(c.Used, c.Spare) {
				out[u.Index] = true
			}
		}
	}
	return out
}

// signaturesUsed says which item is no signature of a component, or nothing.
func (a *appraisal) signaturesUsed(items []collateralItem) string {
	var digests []string
	seen := map[string]bool{}
	for _, c := range a.signatures() {
		if d := strings.Join(c.Digest, " "); !seen[d] {
			seen[d] = true
			digests = append(digests, d)
		}
	}
	if len(items) > len(digests) {
		return fmt.Sprintf("%d collateral item(s) that no check uses", len(items)-len(digests))
	}
	next := 0
	for i, item := range items {
		for next < len(digests) && digests[next] != item.digest {
			next++
		}
		if item.kind != CollateralModelSignature || next == len(digests) {
			return fmt.Sprintf("collateral item %d (%s) is one that no check uses", i, oneLine(item.kind))
		}
		next++
	}
	return ""
}

func checkCollateral(a *appraisal) outcome {
	if !a.applicable("collateral.coherent") {
		return notApplicable("the format has no dated collateral")
	}
	var details []string
	for i := range a.slots {
		s := &a.slots[i]
		if slices.Contains(s.desc.NotApplicable, "collateral.coherent") {
			continue
		}
		o := s.finding("collateral.coherent", func(c *attest.Claims) attest.Finding { return c.Coherent })
		if o.Status != attest.Passed {
			return o
		}
		details = append(details, o.Detail)
	}
	if len(details) == 0 {
		return unknown("no collateral is carried")
	}
	return passed(strings.Join(details, "; "))
}

// horizon says how far what is known reaches.
func (a *appraisal) horizon() string {
	line := "as known from the capsule, the policy and the roots given; "
	if len(a.in.Collateral) > 0 {
		line = "as known from the capsule, the policy, the roots and the collateral given; "
	}
	if newest, soonest := a.collateralDates(); !newest.IsZero() {
		line += "newest collateral of " + day(newest)
		if !soonest.IsZero() {
			line += ", some of it to be renewed by " + day(soonest)
		}
		return line + "; " + a.ledgerNames()
	}
	return line + "no dated collateral; " + a.ledgerNames()
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// collateralDates returns when the newest update among what schemes relied on was
// made, and when the first of them wants to be renewed; zero without any. The dates of
// certificates say nothing of what their issuer knew later.
func (a *appraisal) collateralDates() (newest, soonest time.Time) {
	if a.evidence != nil {
		return a.evidence.newest, a.evidence.soonest
	}
	all := slices.Concat(a.collateralCarried(), a.in.Collateral)
	for i := range a.slots {
		c := a.slots[i].claims
		if c == nil {
			continue
		}
		for _, u := range c.Used {
			if u.Index < 0 || u.Index >= len(all) || all[u.Index].Kind == attest.CollateralCertificate {
				continue
			}
			if u.From.After(newest) {
				newest = u.From
			}
			if soonest.IsZero() || !u.Until.IsZero() && u.Until.Before(soonest) {
				soonest = u.Until
			}
		}
	}
	return newest, soonest
}

// collateralCarried returns what the capsule carries.
func (a *appraisal) collateralCarried() []attest.Collateral {
	if a.capsule == nil {
		return nil
	}
	return a.capsule.Collateral
}

// dated appends to a headline how far the vendors' collateral reaches.
func (a *appraisal) dated(line string) string {
	if newest, _ := a.collateralDates(); !newest.IsZero() {
		return line + ", as known on " + day(newest)
	}
	return line
}

// Sealed is [Report.Genuine] for a launcher that could not get the certificate of a key
// that signed, which can be attached later: what depends on it may be not established.
func (r *Report) Sealed() error {
	if !slices.ContainsFunc(r.Checks, func(c Check) bool { return c.keyless }) {
		return r.Genuine()
	}
	waits := []string{"evidence.set", "slot.policy", "slot.signature", "slot.binding", "slot.mode", "log.replay"}
	c := r.reason(func(c *Check) bool {
		return c.class == ClassCore && !c.ok() && (c.status == attest.Failed || !slices.Contains(waits, c.ID))
	})
	if c == nil {
		return nil
	}
	return fmt.Errorf("%w: %s: %s", ErrRecord, c.ID, oneLine(c.Detail))
}
