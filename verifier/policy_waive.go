package verifier

import (
	"fmt"
	"slices"
	"strings"
)

// ParseWaiver parses a waiver as the command line has it, "ID=REASON", where
// ID is a required check and REASON is not blank. The error wraps ErrPolicy.
func ParseWaiver(s string) (Waiver, error) {
	id, reason, ok := strings.Cut(s, "=")
	if !ok {
		return Waiver{}, policyError("waiver "+fmt.Sprintf("%q", s), "want ID=REASON")
	}
	w := Waiver{Check: id, Reason: reason}
	if err := w.check("waiver"); err != nil {
		return Waiver{}, err
	}
	return w, nil
}

// AddWaivers adds waivers to those of the policy: all of them or, on error,
// none. A check that is waived already is an error. [Policy.Digest] stays that
// of the file. The error wraps ErrPolicy.
func (p *Policy) AddWaivers(waivers []Waiver) error {
	if p == nil {
		return fmt.Errorf("%w: none given", ErrPolicy)
	}
	all := slices.Concat(p.Waive, waivers)
	if err := checkWaivers(all); err != nil {
		return err
	}
	p.Waive = all
	return nil
}

// checkWaivers checks every waiver and that no check is waived twice.
func checkWaivers(waivers []Waiver) error {
	seen := map[string]bool{}
	for i := range waivers {
		w := &waivers[i]
		at := fmt.Sprintf("waive[%d]", i)
		if err := w.check(at); err != nil {
			return err
		}
		if seen[w.Check] {
			return policyError(at, "%s is waived twice", w.Check)
		}
		seen[w.Check] = true
	}
	return nil
}

// check checks one waiver.
func (w *Waiver) check(at string) error {
	class, ok := CheckClass(w.Check)
	switch {
	case !ok:
		return policyError(at+".check", "%q is no check", w.Check)
	case class == ClassCore:
		return policyError(at+".check", "%s is a core check, which nothing excuses", w.Check)
	case class != ClassRequired:
		return policyError(at+".check", "%s only informs, there is nothing to waive", w.Check)
	}
	if err := checkLine(w.Reason, maxReason); err != nil {
		return policyError(at+".reason", "of %s %w", w.Check, err)
	}
	return nil
}
