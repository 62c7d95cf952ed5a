package tdx_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sworn-run/sworn/attest"
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

// read reads a file.
func read(tb testing.TB, elem ...string) []byte {
	tb.Helper()
	b, err := os.ReadFile(filepath.Join(elem...))
	if err != nil {
		tb.Fatal(err)
	}
	return b
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
		der, err := hex.DecodeString(c[name])
		if err != nil {
			tb.Fatal(err)
		}
		items = append(items, attest.Collateral{Kind: attest.CollateralCRL, Data: der})
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
	At       time.Time `json:"verify_at"`
	Expected struct {
		Strict bool `json:"accept_strict"`
		Debug  bool
		VE     bool   `json:"sept_ve_disable"`
		Sig    string `json:"quote_signature"`
	}
	Quote struct {
		Body     string
		Trailing int `json:"trailing_bytes"`
	}
}

// evidence makes evidence of an item's quote, its collateral and its firmware's log.
func evidence(tb testing.TB, id string) (ev *attest.Evidence, surplus int) {
	tb.Helper()
	dir := filepath.Join(shared(tb), "tdx", id)
	quote, rest, err := tdx.Surplus(read(tb, dir, "quote.bin"))
	if err != nil {
		tb.Fatal(err)
	}
	ev, err = tdx.NewEvidence(0, quote)
	if err != nil {
		tb.Fatal(err)
	}
	ev.Collateral = collateral(tb, read(tb, dir, "collateral.json"))
	if b, err := os.ReadFile(filepath.Join(dir, "ccel_data.bin")); err == nil {
		ev.Collateral = append(ev.Collateral, attest.Collateral{Kind: attest.CollateralCCEL, Data: b})
	}
	return ev, len(rest)
}

// TestShared verifies every real quote of a TD in the shared evidence, at the instant for
// which the index has a verdict, by the pins alone.
func TestShared(t *testing.T) {
	var list struct{ Items []item }
	for _, raw := range rawItems(t) {
		var it item
		if err := json.Unmarshal(raw, &it); err == nil && it.Tech == "tdx" {
			list.Items = append(list.Items, it)
		}
	}
	if len(list.Items) < 12 {
		t.Fatalf("only %d items", len(list.Items))
	}
	for _, it := range list.Items {
		t.Run(it.ID, func(t *testing.T) {
			ev, surplus := evidence(t, it.ID)
			if surplus != it.Quote.Trailing {
				t.Errorf("surplus of %d bytes, want %d", surplus, it.Quote.Trailing)
			}
			c, err := tdx.Scheme{}.Verify(ev, &attest.Anchors{Pins: tdx.Pins()}, it.At)
			if (c == nil) != (err != nil) {
				t.Fatalf("%v, %v", c, err)
			}
			switch {
			case it.Expected.Debug:
				if !errors.Is(err, attest.ErrMode) {
					t.Errorf("a debug TD: %v", err)
				}
				return
			case it.Expected.Sig != "valid":
				if !errors.Is(err, attest.ErrSignature) {
					t.Errorf("a forged body: %v", err)
				}
				return
			case err != nil:
				t.Fatal(err)
			}
			it.check(t, ev, c)
		})
	}
}

// rawItems returns the entries of the index.
func rawItems(tb testing.TB) []json.RawMessage {
	tb.Helper()
	var list struct{ Items []json.RawMessage }
	if err := json.Unmarshal(read(tb, shared(tb), "INDEX.json"), &list); err != nil {
		tb.Fatal(err)
	}
	return list.Items
}

// check compares claims with the index.
func (it *item) check(t *testing.T, ev *attest.Evidence, c *attest.Claims) {
	accept := c.Identity.Status == attest.Passed && c.Revocation.Status == attest.Passed && c.Coherent.Status == attest.Passed &&
		c.TCB.Finding.Status == attest.Passed && c.TCB.Status == "UpToDate"
	if accept != it.Expected.Strict {
		t.Errorf("accepted %v, want %v\n%+v", accept, it.Expected.Strict, c)
	}
	if c.Identity.Status != attest.Passed || c.Identity.Root.UserSupplied || c.Revocation.Status != attest.Passed || c.Coherent.Status != attest.Passed {
		t.Errorf("%+v\n%+v\n%+v", c.Identity, c.Revocation, c.Coherent)
	}
	if len(c.Used) != len(ev.Collateral) {
		t.Errorf("%d of %d items used: %+v", len(c.Used), len(ev.Collateral), c.Used)
	}
	if got := number(c, "sept_ve_disable") == 1; got != it.Expected.VE {
		t.Errorf("sept_ve_disable %v", got)
	}
	if bytes.Equal(digest(c, "mrtd"), make([]byte, 48)) || len(c.Registers) != 4 || !bytes.Equal(c.Registers[2].Value, digest(c, "rtmr2")) || len(c.Quoted) != 64 {
		t.Errorf("%+v", c)
	}
	conforms(t, c)
}

// number returns an attribute.
func number(c *attest.Claims, name string) uint64 {
	for _, a := range c.Attributes {
		if a.Name == name {
			return a.Value
		}
	}
	return 1 << 63
}

// digest returns a measurement.
func digest(c *attest.Claims, name string) []byte {
	for _, m := range c.Measurements {
		if m.Name == name {
			return m.Value
		}
	}
	return nil
}

// conforms checks that claims state what the format describes, in its order.
func conforms(t *testing.T, c *attest.Claims) {
	t.Helper()
	d := tdx.Scheme{}.Describe()
	if len(c.Measurements) != len(d.Measurements) || len(c.Attributes) != len(d.Attributes) || len(c.TCB.Versions) != len(d.Versions) {
		t.Fatalf("%d measurements, %d attributes, %d versions", len(c.Measurements), len(c.Attributes), len(c.TCB.Versions))
	}
	for i, m := range c.Measurements {
		if m.Name != d.Measurements[i].Name || len(m.Value) != d.Measurements[i].Size {
			t.Errorf("measurement %+v", m)
		}
	}
	for i, a := range c.Attributes {
		if a.Name != d.Attributes[i].Name {
			t.Errorf("attribute %+v", a)
		}
	}
	for i, v := range c.TCB.Versions {
		if v.Name != d.Versions[i] {
			t.Errorf("version %+v", v)
		}
	}
	if c.Format != tdx.Format || c.KeyID != [32]byte{} || c.Counters != nil || c.Counter != nil || c.Device != [32]byte{} {
		t.Errorf("%+v", c)
	}
	for _, x := range c.Details {
		if x.Name == "" || strings.ContainsAny(x.Value, "\n") {
			t.Errorf("detail %+v", x)
		}
	}
}

// TestFirmwareLog: a firmware's log that gives RTMR0 to RTMR2 is confirmed by the quote
// it came with, and by no other.
func TestFirmwareLog(t *testing.T) {
	at := time.Date(2025, 2, 5, 11, 57, 3, 0, time.UTC)
	ev, _ := evidence(t, "tdx-v4-gcp-cos113-ccel")
	last := len(ev.Collateral) - 1
	if ev.Collateral[last].Kind != attest.CollateralCCEL {
		t.Fatal("no log")
	}
	anchors := &attest.Anchors{Pins: tdx.Pins()}
	verify := func(ev *attest.Evidence) *attest.Claims {
		c, err := tdx.Scheme{}.Verify(ev, anchors, at)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := verify(ev)
	if n := len(c.Used); n == 0 || c.Used[n-1].Index != last || c.Coherent.Status != attest.Passed {
		t.Errorf("%+v", c)
	}
	l, err := tdx.BootLog(c.Registers, ev.Collateral[last].Data)
	if err != nil || len(l.Events) < 20 {
		t.Errorf("%v", err)
	}
	other, _ := evidence(t, "tdx-v4-gcp-outofdate-automata")
	other.Collateral = append(other.Collateral, ev.Collateral[last])
	if c := verify(other); c.Coherent.Status != attest.Failed || c.Used[len(c.Used)-1].Index == len(other.Collateral)-1 {
		t.Errorf("the log of another boot: %+v", c.Coherent)
	}
	if _, err := tdx.BootLog(verify(other).Registers, ev.Collateral[last].Data); !errors.Is(err, tdx.ErrLog) {
		t.Errorf("the log of another boot: %v", err)
	}
	ev.Collateral[last].Data = ev.Collateral[last].Data[:100]
	if c := verify(ev); c.Coherent.Status != attest.Failed {
		t.Errorf("a log cut short: %+v", c.Coherent)
	}
	if _, err := tdx.BootLog(c.Registers, nil); !errors.Is(err, attest.ErrForm) {
		t.Errorf("no log: %v", err)
	}
}

// TestAzure verifies the quote inside an item of Azure's, whose report data is the
// digest of what the paravisor says, and zeros.
func TestAzure(t *testing.T) {
	dir := filepath.Join(shared(t), "azure-tdx", "aztdx-trustee-v1")
	quote, surplus, err := tdx.Surplus(read(t, dir, "td_quote.bin"))
	if err != nil || len(surplus) != 70 {
		t.Fatal(len(surplus), err)
	}
	ev, err := tdx.NewEvidence(0, quote)
	if err != nil {
		t.Fatal(err)
	}
	ev.Collateral = collateral(t, read(t, dir, "collateral.json"))
	c, err := tdx.Scheme{}.Verify(ev, &attest.Anchors{Pins: tdx.Pins()}, time.Date(2025, 2, 5, 11, 57, 3, 0, time.UTC))
	if err != nil {
		t.Fatal(err)
	}
	want := append(attest.SHA256.Sum(read(t, dir, "runtime_data.json")), make([]byte, 32)...)
	if c.TCB.Status != "OutOfDate" || c.Identity.Status != attest.Passed || c.Revocation.Status != attest.Passed || !bytes.Equal(c.Quoted, want) {
		t.Errorf("%+v", c)
	}
	if len(c.Used) != len(ev.Collateral) || number(c, "sept_ve_disable") != 0 {
		t.Errorf("%+v", c.Used)
	}
}
