package collect

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/limits"
)

// VendorKind reports whether vendors sign collateral of the kind, and schemes read it.
func VendorKind(kind string) bool {
	switch kind {
	case attest.CollateralCertificate, attest.CollateralCRL, attest.CollateralTCBInfo, attest.CollateralQEIdentity:
		return true
	default:
		return false
	}
}

// Select returns those of the candidates that the scheme relies on for the evidence, in
// their order: the newest of each that is valid at the time, by the scheme's own
// judgement. The evidence's own Collateral is not looked at. A root that comes with the
// candidates and that anchors do not have counts as trusted if nothing else is: what a
// record carries is no verdict, and whoever verifies it may trust other roots. The error
// is the scheme's: evidence that does not verify with the candidates relies on none.
func Select(scheme attest.Scheme, ev *attest.Evidence, candidates []attest.Collateral, anchors *attest.Anchors, at time.Time) ([]attest.Collateral, error) {
	if scheme == nil || ev == nil {
		return nil, fmt.Errorf("selecting collateral without a scheme or evidence: %w", ErrArgument)
	}
	return selectFor([]slot{{scheme, ev}}, candidates, anchors, at)
}

// slot is the evidence of one slot and its scheme.
type slot struct {
	scheme attest.Scheme
	ev     *attest.Evidence
}

// maxRounds bounds how often a selection is narrowed. A scheme that relies on other
// items once those are gone that it did not rely on is not understood.
const maxRounds = 4

// selectFor selects for all slots together. What does not verify relies on nothing, and
// its error is returned beside what the others rely on.
func selectFor(slots []slot, candidates []attest.Collateral, anchors *attest.Anchors, at time.Time) ([]attest.Collateral, error) {
	left := distinct(candidates)
	var bad error
	for range maxRounds {
		used, good, err := usedBy(slots, left, anchors, at)
		// What failed with more fails with less, for another reason.
		slots, bad = good, errors.Join(bad, err)
		if len(used) == len(left) {
			return left, bad
		}
		var kept []attest.Collateral
		for i := range left {
			if used[i] {
				kept = append(kept, left[i])
			}
		}
		left = kept
	}
	return nil, fmt.Errorf("the scheme relies on other items each time that it is asked: %w", ErrArgument)
}

// usedBy returns the indices that the slots' schemes rely on, and the slots whose
// evidence verifies.
func usedBy(slots []slot, items []attest.Collateral, anchors *attest.Anchors, at time.Time) (used map[int]bool, good []slot, bad error) {
	used = map[int]bool{}
	for _, s := range slots {
		claims, err := verifyWith(s, items, anchors, at)
		if err != nil {
			bad = errors.Join(bad, fmt.Errorf("slot %d: %w", s.ev.Slot, err))
			continue
		}
		good = append(good, s)
		for _, u := range claims.Used {
			if u.Index >= 0 && u.Index < len(items) {
				used[u.Index] = true
			}
		}
	}
	return used, good, bad
}

// verifyWith verifies evidence with items; if no root is established, once more with the
// roots among the items.
func verifyWith(s slot, items []attest.Collateral, anchors *attest.Anchors, at time.Time) (*attest.Claims, error) {
	ev := *s.ev
	ev.Collateral = items
	claims, err := s.scheme.Verify(&ev, anchors, at)
	if err != nil || claims.Identity.Status == attest.Passed {
		return claims, err
	}
	role := s.scheme.Describe().RootRole
	with := attest.Anchors{}
	if anchors != nil {
		with.Pins, with.Roots = anchors.Pins, slices.Clone(anchors.Roots)
	}
	for _, c := range certificates(items) {
		if c.IsCA && c.CheckSignatureFrom(c) == nil {
			with.Roots = append(with.Roots, attest.Root{Role: role, Certificate: c, UserSupplied: true})
		}
	}
	if again, err := s.scheme.Verify(&ev, &with, at); err == nil && again.Identity.Status == attest.Passed {
		return again, nil
	}
	return claims, nil
}

// distinct returns the vendors' items without duplicates, in order, and no more than a
// capsule carries.
func distinct(items []attest.Collateral) []attest.Collateral {
	g := &gathered{}
	for i := range items {
		if VendorKind(items[i].Kind) && len(items[i].Data) <= limits.CollateralItem && len(g.items) < limits.CollateralItems {
			g.add(items[i].Kind, items[i].Data)
		}
	}
	return g.items
}

// Collector gets and selects collateral for the evidence of a launch or of a record. The
// zero Collector gets nothing.
type Collector struct {
	// Client gets what is not at hand; nil for nobody.
	Client *Client
	// More are further candidates.
	More []attest.Collateral
	// Schemes are the formats that are known; evidence of another has no collateral.
	Schemes []attest.Scheme
	// Anchors are what is trusted for the selection (see [Select]).
	Anchors *attest.Anchors
	// Now is the clock.
	Now func() time.Time
	// Timeout bounds getting; zero for no bound but the context's.
	Timeout time.Duration
	// Log is told of each item that could not be had; nil for nothing.
	Log *slog.Logger
}

// Collect returns what a record of that evidence is to carry: of what is at hand, in
// each evidence's Collateral, and of what can be got, the items that its schemes rely
// on. Where evidence does not verify even so, everything of the vendors' that is at hand
// is returned as well: it may be to be had nowhere else. What could not be had is told to
// the log and missing, and is no error.
func (c *Collector) Collect(ctx context.Context, evidence []attest.Evidence) []attest.Collateral {
	items, problems, err := c.gather(ctx, evidence)
	if c == nil || c.Log == nil {
		return items
	}
	for _, p := range problems {
		c.Log.Warn("made without some collateral", "item", p.Item, "error", p.Err.Error())
	}
	if err != nil {
		c.Log.Warn("the evidence does not verify with the collateral that could be had", "error", err.Error())
	}
	return items
}

// gather is Collect, and returns what could not be had, and why evidence does not verify.
func (c *Collector) gather(ctx context.Context, evidence []attest.Evidence) ([]attest.Collateral, []*ItemError, error) {
	var hand []attest.Collateral
	for i := range evidence {
		hand = append(hand, evidence[i].Collateral...)
	}
	hand = distinct(hand)
	if c == nil || c.Now == nil {
		return hand, nil, fmt.Errorf("a collector without a clock: %w", ErrArgument)
	}
	if c.Timeout > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, c.Timeout)
		defer stop()
	}
	var slots []slot
	candidates := append(slices.Clone(hand), c.More...)
	var problems []*ItemError
	for i := range evidence {
		s := c.scheme(evidence[i].Format)
		if s == nil {
			continue
		}
		slots = append(slots, slot{s, &evidence[i]})
		if c.Client != nil {
			ev := evidence[i]
			ev.Collateral = candidates
			got, p := c.Client.Evidence(ctx, &ev)
			candidates, problems = append(candidates, got...), append(problems, p...)
		}
	}
	kept, err := selectFor(slots, candidates, c.Anchors, c.Now())
	if err != nil {
		kept = distinct(append(kept, hand...))
	}
	return kept, problems, err
}

// scheme returns the scheme of a format; nil for none.
func (c *Collector) scheme(f attest.Format) attest.Scheme {
	for _, s := range c.Schemes {
		if s.Describe().Format == f {
			return s
		}
	}
	return nil
}
