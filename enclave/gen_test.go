package enclave_test

import (
	"bytes"
	"crypto/x509"
	"encoding/binary"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/enclave"
	"github.com/sworn-run/sworn/internal/dcap/dcaptest"
)

var update = flag.Bool("update", false, "make testdata/example anew")

// TestExampleData wants the example's files to be there, and to verify; -update makes
// them anew with a fresh vendor.
func TestExampleData(t *testing.T) {
	dir := filepath.Join("testdata", "example")
	names := []string{"tcb-info.json", "qe-identity.json", "root.crl", "pck.crl", "tcb-signing.der"}
	if *update {
		v := must(dcaptest.New(testTime, "Intel"))(t)
		quote := must(v.Make(dcaptest.Quote{Version: 3, Body: body(func(b []byte) { binary.LittleEndian.PutUint32(b[256:], 1|1<<16) })}))(t)
		files := map[string][]byte{"report.bin": header(1, 2, uint64(len(quote)), quote), "root.der": v.Root.Cert.Raw}
		for i, c := range must(v.Collateral(false))(t) {
			files[names[i]] = c.Data
		}
		for name, b := range files {
			if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	read := func(name string) []byte { return must(os.ReadFile(filepath.Join(dir, name)))(t) }
	ev := must(enclave.NewEvidence(0, must(enclave.Unwrap(read("report.bin")))(t)))(t)
	kinds := []string{attest.CollateralTCBInfo, attest.CollateralQEIdentity, attest.CollateralCRL, attest.CollateralCRL, attest.CollateralCertificate}
	for i, name := range names {
		ev.Collateral = append(ev.Collateral, attest.Collateral{Kind: kinds[i], Data: read(name)})
	}
	root := must(x509.ParseCertificate(read("root.der")))(t)
	anchors := &attest.Anchors{Roots: []attest.Root{{Role: enclave.Role, Certificate: root, UserSupplied: true}}}
	c := must(enclave.Scheme{}.Verify(ev, anchors, testTime))(t)
	if c.Identity.Status != attest.Passed || c.Revocation.Status != attest.Passed || c.TCB.Status != "UpToDate" || len(c.Used) != 5 ||
		!bytes.Equal(c.Quoted, bytes.Repeat([]byte{0xDA}, 64)) {
		t.Errorf("claims %+v", c)
	}
}
