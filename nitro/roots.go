package nitro

import (
	"encoding/hex"
	"time"

	"github.com/sworn-run/sworn/attest"
)

// row is one pinned root: subject, SHA-256 of its SubjectPublicKeyInfo, first and last
// day, where its vendor publishes it, and when the row was last reviewed.
type row struct{ subject, spki, from, until, source, looked string }

// rows is the reviewed table.
func rows() []row {
	return []row{{
		"CN=aws.nitro-enclaves,OU=AWS,O=Amazon,C=US", "f2caf5ecc6190b4a8399b78bc58a2bbcd0382375db8a1bfd78a82743874fd225",
		"2019-10-28", "2049-10-28", "https://aws-nitro-enclaves.amazonaws.com/AWS_NitroEnclaves_Root-G1.zip", "2026-11-28",
	}}
}

// Pins returns the roots of AWS (role "aws-nitro") that this version knows: one, which
// certifies enclaves and NitroTPMs. They are names of keys: nothing is trusted by them
// until a relying party puts them into its anchors and names the key in its policy. A
// simulated vendor is never among them. A row that cannot be read is left out, and this
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
		}{{r.from, &p.From}, {r.until, &p.Until}, {r.looked, &p.Looked}} {
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
