package enclave_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/enclave"
	"github.com/sworn-run/sworn/tdx"
)

// shared returns the shared evidence folder, or skips the test where there is none.
func shared(tb testing.TB) string {
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

// collateral makes items of the evidence's collateral.json.
func collateral(tb testing.TB, b []byte) []attest.Collateral {
	tb.Helper()
	var c map[string]string
	if err := json.Unmarshal(b, &c); err != nil {
		tb.Fatal(err)
	}
	items := []attest.Collateral{
		{Kind: attest.CollateralTCBInfo, Data: []byte(`{"tcbInfo":` + c["tcb_info"] + `,"signature":"` + c["tcb_info_signature"] + `"}`)},
		{Kind: attest.CollateralQEIdentity, Data: []byte(`{"enclaveIdentity":` + c["qe_identity"] + `,"signature":"` + c["qe_identity_signature"] + `"}`)},
	}
	for _, name := range []string{"root_ca_crl", "pck_crl"} {
		items = append(items, attest.Collateral{Kind: attest.CollateralCRL, Data: must(hex.DecodeString(c[name]))(tb)})
	}
	chains := c["pck_crl_issuer_chain"] + "\n" + c["tcb_info_issuer_chain"] + "\n" + c["qe_identity_issuer_chain"]
	for block, rest := pem.Decode([]byte(chains)); block != nil; block, rest = pem.Decode(rest) {
		known := false
		for i := range items {
			known = known || bytes.Equal(items[i].Data, block.Bytes)
		}
		if !known {
			items = append(items, attest.Collateral{Kind: attest.CollateralCertificate, Data: block.Bytes})
		}
	}
	return items
}

// item is an entry of the evidence's index.
type item struct {
	ID, Tech string
	At       *time.Time `json:"verify_at"`
	Expected struct {
		Debug  bool
		Sig    string `json:"quote_signature"`
		Chain  string `json:"pck_chain"`
		Status string `json:"tcb_status"`
	}
	Quote struct{ Version uint16 }
}

// TestShared verifies every real quote of an enclave in the shared evidence, at the
// instant for which the index has a verdict, by the pins alone.
func TestShared(t *testing.T) {
	dir := shared(t)
	var raw struct{ Items []json.RawMessage }
	if err := json.Unmarshal(must(os.ReadFile(filepath.Join(dir, "INDEX.json")))(t), &raw); err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, r := range raw.Items {
		var it item
		if err := json.Unmarshal(r, &it); err != nil || it.Tech != "sgx" {
			continue
		}
		file, err := os.ReadFile(filepath.Join(dir, "sgx", it.ID, "quote.bin"))
		if err != nil {
			continue // An item without a quote.
		}
		seen++
		t.Run(it.ID, func(t *testing.T) { it.verify(t, dir, file) })
	}
	if seen < 9 {
		t.Fatalf("only %d quotes", seen)
	}
}

// verify verifies the item's quote and compares what comes out with the index.
func (it *item) verify(t *testing.T, dir string, file []byte) {
	quote, surplus, err := enclave.Surplus(file)
	if err != nil || len(surplus) != 0 || !enclave.IsQuote(file) {
		t.Fatalf("surplus of %d bytes, %v", len(surplus), err)
	}
	ev := must(enclave.NewEvidence(0, quote))(t)
	at := time.Date(2021, 1, 1, 0, 0, 0, 0, time.UTC)
	if b, err := os.ReadFile(filepath.Join(dir, "sgx", it.ID, "collateral.json")); err == nil {
		ev.Collateral, at = collateral(t, b), *it.At
	}
	c, err := enclave.Scheme{}.Verify(ev, &attest.Anchors{Pins: tdx.Pins()}, at)
	switch {
	case (c == nil) != (err != nil):
		t.Fatalf("%v, %v", c, err)
	case it.Expected.Sig != "valid" && it.Expected.Sig != "peer: valid":
		if !errors.Is(err, attest.ErrSignature) {
			t.Errorf("a forged quote: %v", err)
		}
		return
	case it.Expected.Debug:
		if !errors.Is(err, attest.ErrMode) {
			t.Errorf("a debug enclave: %v", err)
		}
		return
	case err != nil:
		t.Fatal(err)
	}
	conforms(t, c)
	wantRevocation := attest.Passed
	if it.Expected.Chain == "SGX_CRL_EXPIRED" {
		wantRevocation = attest.NotEstablished
	}
	if c.Identity.Status != attest.Passed || c.Identity.Root.UserSupplied || c.Revocation.Status != wantRevocation || c.Coherent.Status != attest.Passed ||
		c.TCB.Status != it.Expected.Status {
		t.Errorf("%+v\n%+v\n%+v\n%+v", c.Identity, c.Revocation, c.Coherent, c.TCB)
	}
	if len(c.Used) != len(ev.Collateral) || number(c.Attributes, "debug") != 0 || bytes.Equal(digest(c, "unique_id"), make([]byte, 32)) {
		t.Errorf("%d of %d items used: %+v", len(c.Used), len(ev.Collateral), c)
	}
}

// TestFlipsReal: no bit of a real quote can change without being noticed.
func TestFlipsReal(t *testing.T) {
	dir := filepath.Join(shared(t), "sgx", "sgx-v3-automata-swhardening")
	quote := must(os.ReadFile(filepath.Join(dir, "quote.bin")))(t)
	items := collateral(t, must(os.ReadFile(filepath.Join(dir, "collateral.json")))(t))
	at := time.Date(2025, 8, 30, 5, 9, 6, 0, time.UTC)
	for bit := 0; bit < 8*len(quote); bit += 61 {
		b := bytes.Clone(quote)
		b[bit/8] ^= 1 << (bit % 8)
		ev := &attest.Evidence{Format: enclave.Format, Collateral: items, Parts: []attest.Part{{Name: enclave.PartQuote, Data: b}}}
		if c, err := (enclave.Scheme{}).Verify(ev, &attest.Anchors{Pins: tdx.Pins()}, at); err == nil && c.Identity.Status == attest.Passed {
			t.Errorf("bit %d of byte %d: accepted", bit%8, bit/8)
		}
	}
}
