package oracle_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"io/fs"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/veraison/cmw"
	veraison "github.com/veraison/ear"

	"github.com/sworn-run/sworn/testdata"
	"github.com/sworn-run/sworn/verifier"
	"github.com/sworn-run/sworn/verifier/ear"
	"github.com/sworn-run/sworn/verifier/export"
)

// resultReport is a report of a golden record, and its file.
func resultReport(t *testing.T, trusted bool) ([]byte, *verifier.Report) {
	t.Helper()
	read := func(name string) []byte {
		b, err := fs.ReadFile(testdata.Golden, "golden/"+name)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	in := verifier.Input{Now: time.Date(2026, 11, 29, 0, 0, 0, 0, time.UTC), Version: "test"}
	if trusted {
		var err error
		if in.Policy, err = verifier.ParsePolicy(read("policy.json")); err != nil {
			t.Fatal(err)
		}
		var files []verifier.RootFile
		err = fs.WalkDir(testdata.Golden, "golden/roots", func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			files = append(files, verifier.RootFile{Path: name[len("golden/roots/"):], Data: read(name[len("golden/"):])})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if in.Roots, err = verifier.NewTrustStore(files); err != nil {
			t.Fatal(err)
		}
		in.Nonce = []byte{0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff}
	}
	file := read("page.cer.json")
	r, err := verifier.Verify(file, in)
	if err != nil {
		t.Fatal(err)
	}
	if r.Trusted != trusted {
		t.Fatal(r.Headline)
	}
	return file, r
}

// TestEAR has Veraison's library verify the attestation results made here, and draw the
// same tiers from their vectors.
func TestEAR(t *testing.T) {
	_, ed, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	ec, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, trusted := range []bool{true, false} {
		_, r := resultReport(t, trusted)
		result, err := ear.New(r, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		token, err := ear.Sign(result, ec, "")
		if err != nil {
			t.Fatal(err)
		}
		var got veraison.AttestationResult
		if err := got.Verify([]byte(token), jwa.ES384(), &other.PublicKey); err == nil {
			t.Error("verifies by another key")
		}
		if err := got.Verify([]byte(token), jwa.ES384(), &ec.PublicKey); err != nil {
			t.Fatal(err)
		}
		if token, err = ear.Sign(result, ed, "kid"); err != nil {
			t.Fatal(err)
		}
		if err := got.Verify([]byte(token), jwa.EdDSA(), ed.Public()); err != nil {
			t.Fatal(err)
		}
		a, ours := got.Submods[ear.Submodule], result.Submods[ear.Submodule]
		if a == nil || a.Status.String() != ours.Status || trusted && *a.AppraisalPolicyID != ours.PolicyID {
			t.Fatalf("%+v, want %+v", a, ours)
		}
		var theirs ear.Vector
		b, err := json.Marshal(a.TrustVector)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(b, &theirs); err != nil || theirs != ours.Vector {
			t.Errorf("vector %s, %v, want %+v", b, err, ours.Vector)
		}
		// No claim of the vector is worse than the whole.
		status := *a.Status
		a.UpdateStatusFromTrustVector()
		if *a.Status != status {
			t.Errorf("by the vector %s, by us %s", a.Status.String(), status.String())
		}
		for _, c := range []veraison.TrustClaim{a.TrustVector.InstanceIdentity, a.TrustVector.Configuration, a.TrustVector.Executables, a.TrustVector.FileSystem, a.TrustVector.Hardware} {
			tier := c.GetTier()
			if want := ear.Tier(int(c)); tier.String() != want {
				t.Errorf("%d is %s, by us %s", c, tier.String(), want)
			}
		}
	}
}

// TestCMW has Veraison's library read a wrapper made here.
func TestCMW(t *testing.T) {
	file, _ := resultReport(t, false)
	b, err := export.CMW(file, "a.b.c")
	if err != nil {
		t.Fatal(err)
	}
	var got cmw.CMW
	if err := got.UnmarshalJSON(b); err != nil {
		t.Fatal(err)
	}
	if kind, err := got.GetCollectionType(); err != nil || kind != export.CollectionType {
		t.Errorf("%s, %v", kind, err)
	}
	for name, want := range map[string]cmw.Indicator{"record": cmw.Evidence, "evidence-0": cmw.Evidence, "result": cmw.AttestationResults} {
		item, err := got.GetCollectionItem(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if ind, err := item.GetMonadIndicator(); err != nil || ind != want {
			t.Errorf("%s: %v, %v", name, ind, err)
		}
		if name == "record" {
			if v, err := item.GetMonadValue(); err != nil || string(v) != string(file) {
				t.Errorf("another record, %v", err)
			}
		}
	}
}
