package verifier

import (
	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/tpm"
)

// Schemes returns the evidence formats this verifier appraises, in order.
func Schemes() []attest.Scheme {
	return []attest.Scheme{
		tpm.Scheme{},
	}
}

// scheme returns the scheme of a format; nil if there is none.
func scheme(f attest.Format) attest.Scheme {
	for _, s := range Schemes() {
		if s.Describe().Format == f {
			return s
		}
	}
	return nil
}
