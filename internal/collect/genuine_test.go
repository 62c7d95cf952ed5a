package collect

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/sev"
)

// shared reads a file of the shared evidence, or skips the test where there is none.
func shared(t *testing.T, elem ...string) []byte {
	t.Helper()
	const dir = "../../../shared/evidence"
	if _, err := os.Stat(dir); err != nil {
		t.Skip("the shared evidence is not there")
	}
	b, err := os.ReadFile(filepath.Join(append([]string{dir}, elem...)...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestGenuineSNP collects real certificates and a real revocation list for a real report,
// and the scheme relies on each of them once, under the pins that are built in.
func TestGenuineSNP(t *testing.T) {
	report, vcek := shared(t, "sev-snp", "snp-milan-v3-ms", "report.bin"), shared(t, "sev-snp", "snp-milan-v3-ms", "vek.der")
	chain, list := shared(t, "sev-snp", "snp-milan-v3-ms", "ask_ark.pem"), shared(t, "roots", "crl-amd-openpcc", "ark_milan.crl.der")
	v := newVendor(t)
	r, err := readReport(report)
	if err != nil {
		t.Fatal(err)
	}
	v.on(r.vcekPath("Milan"), body(vcek))
	v.on("/vcek/v1/Milan/cert_chain", body(chain))
	v.on("/vcek/v1/Milan/crl", body(list))
	client, now, _ := testClient(t, v, nil)
	*now = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	ev, err := sev.NewEvidence(0, report)
	if err != nil {
		t.Fatal(err)
	}
	got, problems := client.Evidence(t.Context(), ev)
	noProblems(t, problems)
	anchors := &attest.Anchors{Pins: sev.Pins()}
	junk := newAMD(t, "Milan", 3)
	kept, err := Select(sev.Scheme{}, ev, append(got, cert(junk.ask), crl(junk.crl)), anchors, *now)
	if err != nil || kinds(kept) != "certificate certificate certificate crl" {
		t.Fatalf("kept %s, %v", kinds(kept), err)
	}
	ev.Collateral = kept
	claims, err := sev.Scheme{}.Verify(ev, anchors, *now)
	if err != nil || claims.Identity.Status != attest.Passed || claims.Revocation.Status != attest.Passed || len(claims.Used) != len(kept) {
		t.Errorf("%+v, %v", claims, err)
	}
	// A year later the list is old, and still the newest that there is.
	*now = time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	ev.Collateral = nil
	got, problems = client.Evidence(t.Context(), ev)
	onlyProblem(t, problems, "revocation list of ARK-Milan", ErrStale)
	if kept, err = Select(sev.Scheme{}, ev, got, anchors, *now); err != nil || kinds(kept) != kinds(got) {
		t.Errorf("kept %s of %s, %v", kinds(kept), kinds(got), err)
	}
}
