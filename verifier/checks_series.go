package verifier

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/sworn-run/sworn/attest"
)

func askedSeries(a *appraisal) bool {
	return a.in.Policy != nil && a.in.Policy.Series == SeriesCounter
}

// noSeries is the outcome where nothing is asked of a series.
func noSeries() outcome { return notApplicable("no series was asked for") }

func checkSeriesOrder(a *appraisal) outcome {
	switch {
	case !askedSeries(a):
		return noSeries()
	case a.series == nil:
		return unknown("the record has not been held against others")
	default:
		return a.series.order
	}
}

func checkSeriesComplete(a *appraisal) outcome {
	switch {
	case !askedSeries(a):
		return noSeries()
	case a.series == nil:
		return unknown("the record has not been held against others")
	default:
		return a.series.complete
	}
}

// series is what the records given show together; it is the same for each.
type series struct {
	order, complete outcome
}

// counted is one record of a series.
type counted struct {
	// place is where the record was given, from 1.
	place int
	// origin is what the log says of the TPM; device what the quoting key shows.
	origin string
	device [32]byte
	attest.CertifiedCounter
	statement []byte
}

// newSeries holds records against each other, whose checks have been made.
func newSeries(all []*appraisal, checks [][]Check) *series {
	var records []*counted
	for i, a := range all {
		r, problem := a.counted(checks[i])
		if r == nil {
			if len(all) > 1 {
				problem = fmt.Sprintf("record %d of %d: %s", i+1, len(all), problem)
			}
			return &series{unknown(problem), unknown(problem)}
		}
		r.place = i + 1
		// One statement is one launch, however often its record is given.
		if !slices.ContainsFunc(records, func(o *counted) bool { return bytes.Equal(o.statement, r.statement) }) {
			records = append(records, r)
		}
	}
	slices.SortStableFunc(records, func(a, b *counted) int { return cmp.Compare(a.Value, b.Value) })
	s := &series{order: orderOf(records)}
	if s.order.Status != attest.Passed {
		s.complete = unknown("the records are not of one series in one order: see series.order")
		return s
	}
	s.complete = completenessOf(records)
	return s
}

// counted returns the counter that the record's own slot 0 certifies, or nil and
// the reason why it counts for nothing: it has none, or something that makes
// evidence true is missing. What ran, and how it ended, does not matter here.
func (a *appraisal) counted(checks []Check) (*counted, string) {
	for i := range checks {
		c := &checks[i]
		vouches := c.class == ClassCore || strings.HasPrefix(c.ID, "slot.") || strings.HasPrefix(c.ID, "log.") || strings.HasPrefix(c.ID, "launcher.")
		if vouches && c.blocks() {
			return nil, "its evidence does not count: " + c.ID + ": " + c.Detail
		}
	}
	switch {
	case a.statement == nil || len(a.slots) == 0 || a.slots[0].claims == nil:
		return nil, "its evidence cannot be read"
	case a.slots[0].claims.Counter == nil:
		return nil, "it carries no launch counter (sworn run --tpm-nv)"
	case a.origin == nil:
		return nil, "the log's origin cannot be read"
	}
	claims := a.slots[0].claims
	return &counted{
		origin: a.origin.Identity, device: claims.Device, CertifiedCounter: *claims.Counter, statement: a.capsule.Statement,
	}, ""
}

// orderOf says whether records, by ascending number, are of one counter of one
// TPM, have each a number of its own, and were made in the order of these.
func orderOf(records []*counted) outcome {
	first, last := records[0], records[len(records)-1]
	for _, r := range records[1:] {
		switch {
		case r.origin != first.origin:
			return failed(fmt.Sprintf("records %d and %d are of two TPMs", first.place, r.place)).with(first.origin, r.origin)
		case r.device != first.device:
			return unknown(fmt.Sprintf("nothing shows that records %d and %d are of one TPM: their attestation keys have neither name nor parent in common", first.place, r.place))
		case r.Name != first.Name:
			return failed(fmt.Sprintf("records %d and %d are of two counters", first.place, r.place)).
				with(fmt.Sprintf("%x", first.Name), fmt.Sprintf("%x", r.Name))
		}
	}
	for i, r := range records[1:] {
		if problem := records[i].before(r); problem != "" {
			return failed(problem)
		}
	}
	if len(records) == 1 {
		return passed(fmt.Sprintf("counter %d, certified for this statement; no other record given", first.Value))
	}
	return passed(fmt.Sprintf("%d records of one TPM, counter %d to %d, resetCount %d to %d",
		len(records), first.Value, last.Value, first.Counters.ResetCount, last.Counters.ResetCount))
}

// before says what speaks against r having been made before next, whose number
// is not smaller; "" if nothing does.
func (r *counted) before(next *counted) string {
	a, b := &r.Counters, &next.Counters
	switch {
	case r.Value == next.Value:
		return fmt.Sprintf("records %d and %d both have counter %d, which the TPM gives once", r.place, next.place, r.Value)
	case b.ResetCount < a.ResetCount:
		return fmt.Sprintf("resetCount falls from %d at counter %d to %d at %d: the TPM was cleared, or its state exchanged",
			a.ResetCount, r.Value, b.ResetCount, next.Value)
	case b.ResetCount > a.ResetCount:
		return ""
	case b.RestartCount < a.RestartCount:
		return fmt.Sprintf("restartCount falls from %d at counter %d to %d at %d within one resetCount",
			a.RestartCount, r.Value, b.RestartCount, next.Value)
	case b.RestartCount == a.RestartCount && b.Clock <= a.Clock:
		return fmt.Sprintf("the TPM's clock does not rise from counter %d (%d ms) to %d (%d ms)", r.Value, a.Clock, next.Value, b.Clock)
	default:
		return ""
	}
}

// completenessOf says whether a number is missing between the first and the last
// record. One record has no between.
func completenessOf(records []*counted) outcome {
	first, last := records[0], records[len(records)-1]
	if len(records) == 1 {
		return unknown(fmt.Sprintf("one record, counter %d, shows no launch before or after it: give the others with it", first.Value))
	}
	var gap string
	gaps := 0
	for i, r := range records[1:] {
		prev := records[i]
		missing := r.Value - prev.Value - 1
		if missing == 0 {
			continue
		}
		gaps++
		switch {
		case gaps > 1:
		case missing == 1:
			gap = fmt.Sprintf("counter %d is missing: one launch between %d and %d is not shown", prev.Value+1, prev.Value, r.Value)
		default:
			gap = fmt.Sprintf("counters %d to %d are missing: %d launches between %d and %d are not shown",
				prev.Value+1, r.Value-1, missing, prev.Value, r.Value)
		}
	}
	if gaps > 1 {
		gap += fmt.Sprintf("; and %d more gaps", gaps-1)
	}
	if gaps > 0 {
		return failed(gap)
	}
	return passed(fmt.Sprintf("no number is missing from %d to %d; launches before and after are not shown", first.Value, last.Value))
}
