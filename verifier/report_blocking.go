package verifier

import "slices"

// Blocking returns the checks that keep the verdict as of now from being trusted, in their
// order: those that count, did not pass, and are not waived. Without a policy a verdict is
// never trusted, whether or not one does.
func (r *Report) Blocking() []Check {
	return slices.DeleteFunc(slices.Clone(r.Checks), func(c Check) bool { return !c.blocks() })
}
