package sev

import (
	"encoding/hex"
	"time"

	"github.com/sworn-run/sworn/attest"
)

// Role is the role of AMD's root keys (docs/SPEC.md, section 9).
const Role = "amd-ark"

// looked is when the table was last reviewed, row by row.
const looked = "2026-11-28"

// row is one pinned root: product, SHA-256 of its SubjectPublicKeyInfo, first and
// last day.
type row struct {
	product           product
	spki, from, until string
}

// rows is the reviewed table. A root of AMD's certifies the keys of one product, and
// those of no other.
func rows() []row {
	return []row{
		{milan, "9f056bee44377e29308cb5ffa895bdfb62d18881fa6bed8d6f075b0204089cb9", "2020-10-22", "2045-10-22"},
		{genoa, "429a69c9422aa258ee4d8db5fcda9c6470ef15f8cd5a9cebd6cbc7d90b863831", "2022-01-26", "2047-01-26"},
		{turin, "4f125410563a2ab9a50356f9243f6fe0b6f73de98603f53f90339c70e9d7ad08", "2023-05-15", "2048-05-15"},
	}
}

// Pins returns AMD's roots (role "amd-ark") that this version knows, one for each
// product. They are names of keys: nothing is trusted by them until a relying party
// puts them into its anchors and names the key in its policy. Nothing simulated is
// among them. A row that cannot be read is left out, and this package's test fails.
func Pins() []attest.Pin {
	var out []attest.Pin
	for _, r := range rows() {
		p := attest.Pin{
			Role:    Role,
			Product: string(r.product),
			Subject: "CN=ARK-" + string(r.product) + ",OU=Engineering,O=Advanced Micro Devices,L=Santa Clara,ST=CA,C=US",
			Source:  "https://kdsintf.amd.com/vcek/v1/" + string(r.product) + "/cert_chain",
		}
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
