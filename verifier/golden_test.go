package verifier_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/testdata"
	"github.com/sworn-run/sworn/verifier"
)

// golden returns a file of testdata/golden.
func golden(tb testing.TB, name string) []byte {
	tb.Helper()
	b, err := testdata.Golden.ReadFile("golden/" + name)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// goldenTime is when the golden records were made.
func goldenTime(tb testing.TB) time.Time {
	tb.Helper()
	at, err := time.Parse(time.RFC3339, strings.TrimSpace(string(golden(tb, "time"))))
	if err != nil {
		tb.Fatal(err)
	}
	return at
}

// goldenNonce returns the nonce of a golden record.
func goldenNonce(tb testing.TB, record string) []byte {
	tb.Helper()
	n, err := hex.DecodeString(strings.TrimSpace(string(golden(tb, record+".nonce"))))
	if err != nil {
		tb.Fatal(err)
	}
	return n
}

// goldenRoots returns the simulated maker's trust store.
func goldenRoots(tb testing.TB) *verifier.TrustStore {
	tb.Helper()
	var files []verifier.RootFile
	sub, err := fs.Sub(testdata.Golden, "golden/roots")
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
	if err != nil {
		tb.Fatal(err)
	}
	roots, err := verifier.NewTrustStore(files)
	if err != nil {
		tb.Fatal(err)
	}
	if roots.Empty() {
		tb.Fatal("no golden roots")
	}
	return roots
}

// goldenInput returns the input under which the golden record of that name is
// trusted.
func goldenInput(tb testing.TB, record string) verifier.Input {
	tb.Helper()
	return verifier.Input{
		Policy: parsePolicy(tb, golden(tb, "policy.json")), Roots: goldenRoots(tb),
		Now: goldenTime(tb), Nonce: goldenNonce(tb, record), Version: "test",
	}
}

// goldenCapsule returns a golden record, parsed anew, so that the caller may
// change it.
func goldenCapsule(tb testing.TB, record string) *cer.Capsule {
	tb.Helper()
	c, err := cer.ParseCapsule(golden(tb, record+".cer.json"))
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// encodeCapsule encodes a capsule that a test has changed.
func encodeCapsule(tb testing.TB, c *cer.Capsule) []byte {
	tb.Helper()
	b, err := c.Encode()
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// verify appraises and fails on an error.
func verify(tb testing.TB, capsule []byte, in verifier.Input) *verifier.Report {
	tb.Helper()
	r, err := verifier.Verify(capsule, in)
	if err != nil || r == nil {
		tb.Fatalf("report %v, error %v", r, err)
	}
	return r
}

// find returns the first check with that id.
func find(tb testing.TB, r *verifier.Report, id string) *verifier.Check {
	tb.Helper()
	for i := range r.Checks {
		if r.Checks[i].ID == id {
			return &r.Checks[i]
		}
	}
	tb.Fatalf("no check %s", id)
	return nil
}

// blocking returns the ids of the checks that keep a verdict from being
// trusted, in their order: what the JSON of the report says of them.
func blocking(r *verifier.Report) []string {
	var out []string
	for i := range r.Checks {
		c := &r.Checks[i]
		if c.Class != "info" && c.Waived == "" && c.Status != "passed" && c.Status != "not applicable" && !unasked(c) {
			out = append(out, c.ID)
		}
	}
	return out
}

// unasked reports whether a check does not count because nobody asked.
func unasked(c *verifier.Check) bool {
	return c.ID == "time.token" || c.ID == "time.order"
}

// named returns the check that the headline of a refusal names; empty if it is
// none.
func named(r *verifier.Report) string {
	rest, refused := strings.CutPrefix(r.Headline, "not trusted: ")
	id, _, found := strings.Cut(rest, ": ")
	if r.Trusted || !refused || !found {
		return ""
	}
	return id
}

// wantRefused wants a report that is not trusted and names the check.
func wantRefused(tb testing.TB, r *verifier.Report, check string) {
	tb.Helper()
	if got := named(r); got != check {
		tb.Errorf("refused by %s, want %s (%s; blocked by %v)", got, check, r.Headline, blocking(r))
	}
}

// TestGolden: the real records are trusted under the policy of the first, and
// every check that is not is known.
func TestGolden(t *testing.T) {
	for record, earlier := range map[string]int{"golden": 0, "page": 1, "full": 2} {
		t.Run(record, func(t *testing.T) {
			in := goldenInput(t, record)
			in.InputFile, in.OutputFile = goldenFile(t, record+".input"), goldenFile(t, record+".output")
			in.Weights = []verifier.NamedFile{{Name: "default", File: *goldenFile(t, "weights.bin")}}
			r := verify(t, golden(t, record+".cer.json"), in)
			if !r.Trusted || r.Now.Status != "trusted" || r.Genuine() != nil {
				t.Fatalf("%s", r.Headline)
			}
			if len(r.Assuming) != 3 || !strings.HasPrefix(r.Assuming[0], `user-supplied root "SIMULATED TPM maker" `) ||
				r.Assuming[1] != "slot.measurement" || r.Assuming[2] != "launcher.rooted" {
				t.Errorf("assuming %q", r.Assuming)
			}
			if r.Summary.EarlierLaunches != earlier {
				t.Errorf("%d earlier launches, want %d", r.Summary.EarlierLaunches, earlier)
			}
			for _, c := range r.Checks {
				want := "passed"
				switch c.ID {
				case "slot.measurement", "launcher.rooted", "time.token", "time.order":
					want = "not established"
				case "slot.tcb", "model.signature", "signer.match", "composite.same-machine", "series.order", "series.complete", "collateral.coherent", "record.disclosure", "record.opening":
					want = "not applicable"
				}
				if c.Status != want {
					t.Errorf("%s is %s, want %s: %s", c.ID, c.Status, want, c.Detail)
				}
			}
		})
	}
}

// goldenFile returns a golden file as a relying party holds it against a record.
func goldenFile(tb testing.TB, name string) *verifier.File {
	tb.Helper()
	b := golden(tb, name)
	return &verifier.File{SHA256: sha256.Sum256(b), Size: uint64(len(b)), Label: name}
}

// TestGoldenRoundTrip: the helpers that mutations use change nothing by
// themselves.
func TestGoldenRoundTrip(t *testing.T) {
	for _, record := range []string{"golden", "page", "full"} {
		if b := golden(t, record+".cer.json"); !bytes.Equal(encodeCapsule(t, goldenCapsule(t, record)), b) {
			t.Errorf("%s does not re-encode to itself", record)
		}
	}
}
