package sev

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sworn-run/sworn/attest"
)

// sharedDir returns the shared evidence folder, or skips the test where there is
// none.
func sharedDir(tb testing.TB) string {
	tb.Helper()
	dir := os.Getenv("SWORN_SHARED")
	if dir == "" {
		dir = filepath.Join("..", "..", "shared")
	}
	dir = filepath.Join(dir, "evidence")
	if _, err := os.Stat(dir); err != nil {
		tb.Skip("the shared evidence folder is not here: set SWORN_SHARED")
	}
	return dir
}

// item is one of INDEX.json.
type item struct {
	ID, Tech string
	Files    []struct{ Path string }
	VerifyAt *time.Time `json:"verify_at"`
	Verdict  struct {
		By     string
		Accept bool
	}
	Report struct {
		Version     uint64
		Signer      string
		VMPL        uint64
		Measurement string
	}
	dir string
}

// items returns those of the technology.
func items(tb testing.TB, tech string) []item {
	tb.Helper()
	dir := sharedDir(tb)
	b, err := os.ReadFile(filepath.Join(dir, "INDEX.json"))
	if err != nil {
		tb.Fatal(err)
	}
	var index struct{ Items []item }
	if err := json.Unmarshal(b, &index); err != nil {
		tb.Fatal(err)
	}
	var out []item
	for _, i := range index.Items {
		if i.Tech == tech {
			i.dir = dir
			out = append(out, i)
		}
	}
	if len(out) == 0 {
		tb.Fatalf("no item of %s", tech)
	}
	return out
}

// byID returns the item of that name.
func byID(tb testing.TB, id string) item {
	tb.Helper()
	for _, i := range items(tb, "sev-snp") {
		if i.ID == id {
			return i
		}
	}
	tb.Fatalf("no item %s", id)
	return item{}
}

// file returns a file of the item, nil if it has none of that name.
func (i *item) file(tb testing.TB, name string) []byte {
	tb.Helper()
	for _, f := range i.Files {
		if filepath.Base(f.Path) == name {
			b, err := os.ReadFile(filepath.Join(i.dir, f.Path))
			if err != nil {
				tb.Fatal(err)
			}
			return b
		}
	}
	return nil
}

// evidence returns the report with its certificates as collateral.
func (i *item) evidence(tb testing.TB) *attest.Evidence {
	tb.Helper()
	ev := &attest.Evidence{Format: Format, Parts: []attest.Part{{Name: PartReport, Data: i.file(tb, "report.bin")}}}
	ev.Collateral = append(ev.Collateral, attest.Collateral{Kind: attest.CollateralCertificate, Data: i.file(tb, "vek.der")})
	for _, der := range unPEM(i.file(tb, "ask_ark.pem")) {
		ev.Collateral = append(ev.Collateral, attest.Collateral{Kind: attest.CollateralCertificate, Data: der})
	}
	return ev
}

// unPEM returns the blocks of a PEM file.
func unPEM(b []byte) [][]byte {
	var out [][]byte
	for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
		out = append(out, block.Bytes)
	}
	return out
}

// accepted is what the index calls strict: the signature, the chain, the dates, the
// chip, no debugging. Most items have no revocation list.
func accepted(c *attest.Claims, err error) bool {
	return err == nil && c.Identity.Status == attest.Passed && c.Coherent.Status == attest.Passed &&
		c.TCB.Finding.Status == attest.Passed && c.Revocation.Status != attest.Failed
}

// TestShared verifies every item of the index under AMD's pinned roots.
func TestShared(t *testing.T) {
	anchors := &attest.Anchors{Pins: Pins()}
	for _, i := range items(t, "sev-snp") {
		t.Run(i.ID, func(t *testing.T) {
			if i.Verdict.By != "strict" || i.VerifyAt == nil {
				t.Fatalf("verdict by %q", i.Verdict.By)
			}
			ev := i.evidence(t)
			claims, err := Scheme{}.Verify(ev, anchors, *i.VerifyAt)
			if got := accepted(claims, err); got != i.Verdict.Accept {
				t.Fatalf("accepted %v, want %v: %v, %+v", got, i.Verdict.Accept, err, claims)
			}
			if err != nil {
				t.Log(err)
				return
			}
			checkReport(t, &i, claims)
			if len(claims.Used) != len(ev.Collateral) {
				t.Errorf("used %+v of %d", claims.Used, len(ev.Collateral))
			}
			after, err := Scheme{}.Verify(ev, anchors, i.VerifyAt.AddDate(8, 0, 0))
			if err != nil || after.Identity.Status != attest.Failed || after.TCB.Finding.Status != attest.NotEstablished {
				t.Errorf("8 years later: %v, %+v", err, after)
			}
			bare, err := Scheme{}.Verify(ev, nil, *i.VerifyAt)
			if err != nil || bare.Identity.Status != attest.NotEstablished || bare.Coherent.Status != attest.NotEstablished {
				t.Errorf("without anchors: %v, %+v", err, bare)
			}
		})
	}
}

// checkReport compares claims with what the index says of the report.
func checkReport(t *testing.T, i *item, c *attest.Claims) {
	t.Helper()
	numbers := map[string]uint64{}
	for _, a := range c.Attributes {
		numbers[a.Name] = a.Value
	}
	signers := map[string]uint64{"VCEK": 0, "VLEK": 1}
	if numbers["version"] != i.Report.Version || numbers["vmpl"] != i.Report.VMPL || numbers["signing_key"] != signers[i.Report.Signer] {
		t.Errorf("attributes %+v, want %+v", c.Attributes, i.Report)
	}
	for _, d := range c.Details {
		if d.Name == "MEASUREMENT" && d.Value != i.Report.Measurement {
			t.Errorf("measurement %s", d.Value)
		}
	}
	if id := c.Identity; id.Root == nil || id.Root.UserSupplied || id.Root.Pin == nil || id.Provenance == "" {
		t.Errorf("identity %+v", id)
	}
	t.Log(c.Identity.Provenance, c.TCB.Versions, c.Coherent.Detail)
}

// TestSharedLists takes AMD's own revocation lists for the items of their products.
func TestSharedLists(t *testing.T) {
	lists := map[string][]byte{}
	for _, i := range items(t, "roots") {
		if i.ID == "crl-amd-openpcc" {
			lists["milan"], lists["genoa"] = i.file(t, "ark_milan.crl.der"), i.file(t, "ark_genoa.crl.der")
		}
	}
	anchors := &attest.Anchors{Pins: Pins()}
	for _, test := range []struct {
		id, list, at string
		want         attest.Status
	}{
		{"snp-milan-v3-ms", "milan", "2026-02-06T01:04:33Z", attest.Passed},
		{"snp-milan-v2-virtee", "milan", "2025-05-06T12:39:06Z", attest.Passed},
		{"snp-milan-v2-virtee", "milan", "2025-05-06T12:39:05Z", attest.NotEstablished},
		{"snp-milan-v2-virtee", "milan", "2026-05-11T23:59:59Z", attest.Passed},
		{"snp-milan-v2-virtee", "milan", "2026-05-12T00:00:00Z", attest.NotEstablished},
		{"snp-milan-v2-virtee", "genoa", "2025-06-06T00:00:00Z", attest.NotEstablished},
		{"snp-genoa-v3-ms", "genoa", "2026-02-06T02:05:07Z", attest.NotEstablished},
		{"snp-vlek-v3-aws-us-east-2-trustee", "milan", "2025-06-06T00:00:00Z", attest.Passed},
	} {
		at, err := time.Parse(time.RFC3339, test.at)
		if err != nil {
			t.Fatal(err)
		}
		i := byID(t, test.id)
		ev := i.evidence(t)
		ev.Collateral = append(ev.Collateral, attest.Collateral{Kind: attest.CollateralCRL, Data: lists[test.list]})
		c, err := Scheme{}.Verify(ev, anchors, at)
		if err != nil {
			t.Fatal(err)
		}
		own := strings.Contains(test.id, test.list) || test.list == "milan"
		if c.Identity.Status != attest.Passed || c.Revocation.Status != test.want || (len(c.Used) == 4) != own {
			t.Errorf("%s at %s: %+v, used %+v", test.id, test.at, c.Revocation, c.Used)
		}
	}
}

// TestSharedPins holds every row against the lists of roots that others keep.
func TestSharedPins(t *testing.T) {
	byKey := map[[32]byte]*x509.Certificate{}
	for _, i := range items(t, "roots") {
		for _, f := range i.Files {
			if !strings.HasSuffix(f.Path, ".pem") {
				continue
			}
			for _, der := range unPEM(i.file(t, filepath.Base(f.Path))) {
				if c, err := x509.ParseCertificate(der); err == nil && selfIssued(c) {
					byKey[sha256.Sum256(c.RawSubjectPublicKeyInfo)] = c
				}
			}
		}
	}
	for _, p := range Pins() {
		c := byKey[p.SPKI]
		if !p.Certificate(c) || checkAuthority(c) != "" {
			t.Errorf("%s %x: no list has its certificate, or with another name", p.Subject, p.SPKI)
			continue
		}
		if c.NotBefore.Format(time.DateOnly) != p.From.Format(time.DateOnly) || c.NotAfter.Format(time.DateOnly) != p.Until.Format(time.DateOnly) {
			t.Errorf("%s: from %v until %v", p.Subject, c.NotBefore, c.NotAfter)
		}
	}
}
