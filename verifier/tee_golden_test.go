package verifier_test

import (
	"bytes"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/testdata"
	"github.com/sworn-run/sworn/verifier"
)

// teeKinds are the kinds of confidential VMs of which there are golden records, and what
// their policies waive.
func teeKinds() map[string][]string {
	return map[string][]string{
		"sev-snp": nil, "tdx": nil,
		"azure-snp": {"launcher.rooted"}, "azure-tdx": {"launcher.rooted"},
		"tpm-sev-snp": {"slot.measurement", "composite.same-machine"},
	}
}

// teeTime is when the golden records of confidential VMs were made.
func teeTime(tb testing.TB) time.Time {
	tb.Helper()
	at, err := time.Parse(time.RFC3339, strings.TrimSpace(string(golden(tb, "tee/time"))))
	if err != nil {
		tb.Fatal(err)
	}
	return at
}

// teeRootFiles are the simulated vendors' roots.
func teeRootFiles(tb testing.TB) []verifier.RootFile {
	tb.Helper()
	var files []verifier.RootFile
	sub, err := fs.Sub(testdata.Golden, "golden/tee/roots")
	if err != nil {
		tb.Fatal(err)
	}
	err = fs.WalkDir(sub, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := fs.ReadFile(sub, name)
		files = append(files, verifier.RootFile{Path: name, Data: b})
		return err
	})
	if err != nil || len(files) == 0 {
		tb.Fatal(len(files), err)
	}
	return files
}

// teeInput returns the input under which the golden record of the kind is trusted.
func teeInput(tb testing.TB, kind string) verifier.Input {
	tb.Helper()
	roots, err := verifier.NewTrustStore(teeRootFiles(tb))
	if err != nil {
		tb.Fatal(err)
	}
	return verifier.Input{
		Policy: parsePolicy(tb, golden(tb, "tee/"+kind+".policy.json")), Roots: roots,
		Now: teeTime(tb), Nonce: goldenNonce(tb, "tee/tee"), Version: "test",
	}
}

// teeCapsule returns a golden record of a confidential VM, parsed anew.
func teeCapsule(tb testing.TB, kind string) *cer.Capsule {
	tb.Helper()
	return goldenCapsule(tb, "tee/"+kind)
}

// TestGoldenTEE: the records of confidential VMs are trusted under the policies of the
// records before them, and rest on what is waived and no more; each item of collateral
// counts.
func TestGoldenTEE(t *testing.T) {
	for kind, waived := range teeKinds() {
		t.Run(kind, func(t *testing.T) {
			in, c := teeInput(t, kind), teeCapsule(t, kind)
			r := verify(t, encodeCapsule(t, c), in)
			if !r.Trusted || r.Genuine() != nil {
				t.Fatal(r.Headline)
			}
			var assuming []string
			for _, s := range r.Assuming {
				if !strings.HasPrefix(s, "user-supplied root ") || !strings.Contains(s, "SIMULATED") {
					assuming = append(assuming, s)
				}
			}
			if !slices.Equal(assuming, waived) || len(assuming) == len(r.Assuming) {
				t.Errorf("assuming %q", r.Assuming)
			}
			for i := range r.Checks {
				x := &r.Checks[i]
				switch x.ID {
				case "slot.signature", "slot.identity", "slot.revocation", "slot.mode", "log.replay", "log.sole", "evidence.set", "collateral.coherent":
					if x.Status != "passed" && (x.Slot == nil || *x.Slot != 0 || kind != "tpm-sev-snp") {
						t.Errorf("%s: %s, %s", x.ID, x.Status, x.Detail)
					}
				case "slot.tcb":
					if want := "passed"; x.Status != want && (kind != "tpm-sev-snp" || *x.Slot != 0) {
						t.Errorf("%s: %s, %s", x.ID, x.Status, x.Detail)
					}
				}
			}
			if !bytes.Equal(encodeCapsule(t, c), golden(t, "tee/"+kind+".cer.json")) {
				t.Error("does not re-encode to itself")
			}
			in.Nonce = nil
			wantRefused(t, verify(t, encodeCapsule(t, c), in), "nonce.quote")
			in.Nonce, in.Roots = goldenNonce(t, "tee/tee"), nil
			wantRefused(t, verify(t, encodeCapsule(t, c), in), "slot.identity")
		})
	}
}
