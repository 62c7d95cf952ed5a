package verifier

import (
	"slices"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/enclave"
	"github.com/sworn-run/sworn/nitro"
	"github.com/sworn-run/sworn/sev"
	"github.com/sworn-run/sworn/tdx"
	"github.com/sworn-run/sworn/tpm"
)

// Schemes returns the evidence formats this verifier appraises, in order.
func Schemes() []attest.Scheme { return schemes(nil) }

// signatures bounds the cache of [schemes]: the chains of some hundred machines.
const signatures = 256

// schemes are [Schemes], with a cache of AMD's signatures that they share; nil for none.
func schemes(cache *sev.Cache) []attest.Scheme {
	snp := sev.Scheme{Cache: cache}
	return []attest.Scheme{
		tpm.Scheme{},
		snp,
		tdx.Scheme{},
		enclave.Scheme{},
		AzureSNP(snp),
		AzureTDX(tdx.Scheme{}),
		nitro.Scheme{},
	}
}

// Pins returns the vendor roots that are built in, of all formats: names of
// keys, which a policy has to name as well (docs/SPEC.md, section 9.4).
func Pins() []attest.Pin {
	return slices.Concat(tpm.Pins(), sev.Pins(), tdx.Pins(), nitro.Pins())
}

// scheme returns the scheme of a format; nil if there is none.
func scheme(all []attest.Scheme, f attest.Format) attest.Scheme {
	for _, s := range all {
		if s.Describe().Format == f {
			return s
		}
	}
	return nil
}
