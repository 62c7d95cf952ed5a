package dcap

import (
	"encoding/hex"
	"time"

	"github.com/sworn-run/sworn/attest"
)

// looked is when the table was last reviewed, row by row.
const looked = "2026-11-28"

// row is one pinned root: subject, SHA-256 of its SubjectPublicKeyInfo, first and
// last day, and where Intel publishes it.
type row struct{ subject, spki, from, until, source string }

// rows is the reviewed table. Platforms before production chain to another key under
// the same name, which is why a name alone is none.
func rows() []row {
	return []row{{
		"CN=Intel SGX Root CA,O=Intel Corporation,L=Santa Clara,ST=CA,C=US",
		"a0af031289f5d5d4132f9186068a7fc13628633ba235777472e29b6b6c67a49e",
		"2018-05-21", "2049-12-31",
		"https://certificates.trustedservices.intel.com/Intel_SGX_Provisioning_Certification_RootCA.cer",
	}}
}

// Pins returns Intel's roots (role "intel-sgx") that this version knows: names of
// keys, by which nothing is trusted until a relying party puts them into its anchors.
// Simulated ones are never among them. A row that cannot be read is left out, and this
// package's test fails.
func Pins() []attest.Pin {
	var out []attest.Pin
	for _, r := range rows() {
		p := attest.Pin{Role: Role, Subject: r.subject, Source: r.source}
		spki, err := hex.DecodeString(r.spki)
		bad := err != nil || copy(p.SPKI[:], spki) != len(p.SPKI)
		for _, d := range []struct {
			text string
			to   *time.Time
		}{{r.from, &p.From}, {r.until, &p.Until}, {looked, &p.Looked}} {
			t, err := time.Parse(time.DateOnly, d.text)
			bad = bad || err != nil
			*d.to = t
		}
		if !bad {
			out = append(out, p)
		}
	}
	return out
}
