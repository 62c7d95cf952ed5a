package verifier_test

import (
	"crypto/x509"
	"encoding/pem"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/verifier"
)

// TestPins: what is built in are roots of roles that a roots folder has, and
// none of a simulated maker.
func TestPins(t *testing.T) {
	pins := verifier.Pins()
	if len(pins) == 0 {
		t.Fatal("no pins")
	}
	for _, p := range pins {
		if !slices.Contains([]string{"tpm-ek", "tpm-ak", "amd-ark", "intel-sgx", "aws-nitro"}, p.Role) {
			t.Errorf("role %q", p.Role)
		}
		if strings.Contains(strings.ToUpper(p.Subject), "SIMULATED") {
			t.Errorf("%s is simulated", p.Subject)
		}
	}
	files, err := filepath.Glob(filepath.Join("..", "testdata", "golden", "roots", "*", "*.pem"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden roots: %v", err)
	}
	for _, f := range files {
		role := filepath.Base(filepath.Dir(f))
		block, _ := pem.Decode(golden(t, filepath.ToSlash(filepath.Join("roots", role, filepath.Base(f)))))
		if block == nil {
			t.Fatalf("%s is not PEM", f)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		if (&attest.Anchors{Pins: pins}).Pinned(role, c) != nil {
			t.Errorf("%s is pinned", f)
		}
	}
}

// TestRootsOnly: it takes the pins away and nothing else.
func TestRootsOnly(t *testing.T) {
	in := goldenInput(t, "page")
	in.RootsOnly = true
	r, err := verifier.Verify(golden(t, "page.cer.json"), in)
	if err != nil || !r.Trusted {
		t.Fatalf("%v, %+v", err, r)
	}
	in.Roots = nil
	if r, err = verifier.Verify(golden(t, "page.cer.json"), in); err != nil || r.Trusted {
		t.Errorf("trusted without any root: %v, %+v", err, r)
	}
}
