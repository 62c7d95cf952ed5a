package oracle

import (
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/enclave"
	"github.com/sworn-run/sworn/tdx"
)

// oasis is the module whose test data and stated results are compared with. Its own code is
// not run: it needs a replaced module, which no checksum database vouches for.
const oasis = "github.com/oasisprotocol/oasis-core/go@v0.2601.0"

// vectors returns the folder of its test data. The go command checks the module's digest.
func vectors(t *testing.T) string {
	t.Helper()
	b, err := exec.Command("go", "mod", "download", "-json", oasis).Output()
	if err != nil {
		t.Fatalf("downloading %s: %v, %s", oasis, err, b)
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(b, &module); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(module.Dir, "common", "sgx", "pcs", "testdata")
}

// TestOasisSGX has the quote of an enclave, with Intel's collateral, judged at the instants
// for which that module's tests state what becomes of it.
func TestOasisSGX(t *testing.T) {
	dir := vectors(t)
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	ev, err := enclave.NewEvidence(0, read("quote_v3_ecdsa_p256_pck_chain.bin"))
	if err != nil {
		t.Fatal(err)
	}
	ev.Collateral = []attest.Collateral{
		{Kind: attest.CollateralTCBInfo, Data: read("tcb_info_v3_fmspc_00606A000000.json")},
		{Kind: attest.CollateralQEIdentity, Data: read("qe_identity_v2.json")},
	}
	certificates := func(name string) (out []attest.Collateral) {
		for block, rest := pem.Decode(read(name)); block != nil; block, rest = pem.Decode(rest) {
			out = append(out, attest.Collateral{Kind: attest.CollateralCertificate, Data: block.Bytes})
		}
		return out
	}
	documents := slices.Clone(ev.Collateral)
	ev.Collateral = append(documents, certificates("tcb_info_v3_fmspc_00606A000000_certs.pem")...)
	judge := func(at int64) *attest.Claims {
		c, err := enclave.Scheme{}.Verify(ev, &attest.Anchors{Pins: tdx.Pins()}, time.Unix(at, 0))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := judge(1671497404)
	if c.Identity.Status != attest.Passed || c.Coherent.Status != attest.Passed || c.TCB.Finding.Status != attest.Passed {
		t.Errorf("%+v, %+v, %+v", c.Identity, c.Coherent, c.TCB)
	}
	want := map[string]string{
		"unique_id": "68823bc62f409ee33a32ea270cfe45d4b19a6fb3c8570d7bc186cbe062398e8f",
		"signer_id": "9affcfae47b848ec2caf1c49b4b283531e1cc425f93582b36806e52a43d78d1a",
	}
	for _, m := range c.Measurements {
		if w := want[m.Name]; w != "" && w != hex.EncodeToString(m.Value) {
			t.Errorf("%s is %x, want %s", m.Name, m.Value, w)
		}
	}
	const data = "026a69ced96c3e0295d16d6b388e057a137a14319671662a5844c7472f3c62ae0e3d3f99b77dd89b0fc1436c4fe96828391a52588a0f883455a18b8f5872e3f0"
	if got := hex.EncodeToString(c.Quoted); got != data {
		t.Errorf("report data %s", got)
	}
	for name, at := range map[string]int64{"the PCK's certificate has expired": 1891163522, "it is not valid yet": 1670238720} {
		if c := judge(at); c.Identity.Status == attest.Passed {
			t.Errorf("%s: %+v", name, c.Identity)
		}
	}
	for name, at := range map[string]int64{"the QE identity is of later": 1671194735, "it has expired": 1673786737 + 86400*2} {
		if c := judge(at); c.Coherent.Status == attest.Passed || c.TCB.Finding.Status == attest.Passed {
			t.Errorf("%s: %+v, %+v", name, c.Coherent, c.TCB)
		}
	}
	ev.Collateral = append(slices.Clone(documents), certificates("tcb_info_v3_fmspc_00606A000000_certs_bad.pem")...)
	if c := judge(1671497404); c.Coherent.Status == attest.Passed {
		t.Errorf("a bad certificate of the signer: %+v", c.Coherent)
	}
	if _, err := enclave.NewEvidence(0, read("quote_v3_ecdsa_p256_eppid.bin")); !errors.Is(err, attest.ErrForm) {
		t.Errorf("certification data without a chain: %v", err)
	}
}
