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

	"github.com/oasisprotocol/oasis-core/go/common/sgx/pcs"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/enclave"
	"github.com/sworn-run/sworn/tdx"
)

// oasis is the module that is compared with, and whose test data are the evidence.
const oasis = "github.com/oasisprotocol/oasis-core/go"

// vectors returns the folder of its test data.
func vectors(tb testing.TB) string {
	tb.Helper()
	b, err := exec.Command("go", "list", "-m", "-json", oasis).Output()
	if err != nil {
		tb.Fatalf("finding %s: %v, %s", oasis, err, b)
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(b, &module); err != nil || module.Dir == "" {
		tb.Fatalf("%s: %v, %s", oasis, err, b)
	}
	return filepath.Join(module.Dir, "common", "sgx", "pcs", "testdata")
}

// oasisVector is its quote of an enclave with Intel's collateral, as both sides take it.
type oasisVector struct {
	ev                           attest.Evidence
	quote                        []byte
	info, identity, certificates []byte
}

// newOasisVector reads it, with the certificates of the signer of the TCB info from a file.
func newOasisVector(tb testing.TB, certificates string) *oasisVector {
	tb.Helper()
	dir := vectors(tb)
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			tb.Fatal(err)
		}
		return b
	}
	v := &oasisVector{quote: read("quote_v3_ecdsa_p256_pck_chain.bin")}
	v.info, v.identity, v.certificates = read("tcb_info_v3_fmspc_00606A000000.json"), read("qe_identity_v2.json"), read(certificates)
	ev, err := enclave.NewEvidence(0, v.quote)
	if err != nil {
		tb.Fatal(err)
	}
	v.ev = *ev
	v.ev.Collateral = []attest.Collateral{{Kind: attest.CollateralTCBInfo, Data: v.info}, {Kind: attest.CollateralQEIdentity, Data: v.identity}}
	for block, rest := pem.Decode(v.certificates); block != nil; block, rest = pem.Decode(rest) {
		v.ev.Collateral = append(v.ev.Collateral, attest.Collateral{Kind: attest.CollateralCertificate, Data: block.Bytes})
	}
	return v
}

// ours says what keeps this project from accepting the quote, up to date and not; nil if
// nothing does. oasis-core asks for no revocation list.
func (v *oasisVector) ours(at time.Time) error {
	c, err := enclave.Scheme{}.Verify(&v.ev, &attest.Anchors{Pins: tdx.Pins()}, at)
	if err != nil {
		return err
	}
	for _, f := range []attest.Finding{c.Identity.Finding, c.Coherent, c.TCB.Finding} {
		if f.Status != attest.Passed {
			return errors.New(f.Detail)
		}
	}
	return nil
}

// theirs says what keeps oasis-core from it.
func (v *oasisVector) theirs(at time.Time) error {
	b := pcs.QuoteBundle{Quote: v.quote, TCB: pcs.TCBBundle{Certificates: v.certificates}}
	if err := errors.Join(json.Unmarshal(v.info, &b.TCB.TCBInfo), json.Unmarshal(v.identity, &b.TCB.QEIdentity)); err != nil {
		return err
	}
	_, err := b.Verify(nil, at)
	return err
}

// TestOasisRuns has both sides judge the quote at the instants of TestOasisSGX.
func TestOasisRuns(t *testing.T) {
	const good, bad = "tcb_info_v3_fmspc_00606A000000_certs.pem", "tcb_info_v3_fmspc_00606A000000_certs_bad.pem"
	for name, c := range map[string]struct {
		at           int64
		certificates string
		accepted     bool
	}{
		"current":                               {1671497404, good, true},
		"the PCK's certificate has expired":     {1891163522, good, false},
		"it is not valid yet":                   {1670238720, good, false},
		"the QE identity is of later":           {1671194735, good, false},
		"it has expired":                        {1673786737 + 86400*2, good, false},
		"a bad certificate of the TCB's signer": {1671497404, bad, false},
	} {
		v := newOasisVector(t, c.certificates)
		ours, theirs := v.ours(time.Unix(c.at, 0)), v.theirs(time.Unix(c.at, 0))
		if (ours == nil) != c.accepted || (theirs == nil) != c.accepted {
			t.Errorf("%s: here %v, there %v, want accepted %v", name, ours, theirs, c.accepted)
		}
	}
	// Every bit of what the processor signed.
	v := newOasisVector(t, good)
	at := time.Unix(1671497404, 0)
	for bit := 0; bit < (48+384)*8; bit += 61 {
		v.quote[bit/8] ^= 1 << (bit % 8)
		ev, err := enclave.NewEvidence(0, v.quote)
		if err == nil {
			w := *v
			w.ev.Parts = ev.Parts
			err = w.ours(at)
		}
		if theirs := v.theirs(at); err == nil || theirs == nil {
			t.Errorf("bit %d: here %v, there %v", bit, err, theirs)
		}
		v.quote[bit/8] ^= 1 << (bit % 8)
	}
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
