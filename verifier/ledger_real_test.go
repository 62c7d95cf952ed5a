package verifier_test

import (
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/enclave"
	"github.com/sworn-run/sworn/sev"
	"github.com/sworn-run/sworn/tdx"
	"github.com/sworn-run/sworn/verifier"
	"github.com/sworn-run/sworn/verifier/ledger"
)

// TestLedgerHardware: entries about what records of simulated confidential VMs state by
// themselves, each by another member, and the same with another value.
func TestLedgerHardware(t *testing.T) {
	k := newKeeper(t)
	for kind, tc := range map[string]struct{ hit, miss ledger.Selector }{
		"sev-snp": {
			ledger.Selector{Products: []string{"Milan"}, Attributes: []ledger.Range{{Name: "signing_key", Max: "0"}}, Versions: []ledger.Range{{Name: "snp", Min: "0"}}},
			ledger.Selector{Products: []string{"Genoa", "Turin"}},
		},
		"azure-snp": {
			ledger.Selector{Formats: []string{"azure-snp"}, Products: []string{"M????"}}, ledger.Selector{Formats: []string{"sev-snp", "tpm"}},
		},
		"tdx": {
			ledger.Selector{Products: []string{"????????????"}, KeyTypes: []string{ledger.KeyECDSA}},
			ledger.Selector{Products: []string{"????????????"}, Manufacturers: []string{"INTC"}},
		},
		"tpm-sev-snp": {ledger.Selector{Formats: []string{"sev-snp"}}, ledger.Selector{Formats: []string{"tdx"}}},
	} {
		in, file := teeInput(t, kind), golden(t, "tee/"+kind+".cer.json")
		for _, class := range []ledger.Class{ledger.ClassSoftware, ledger.ClassPhysical} {
			in.Ledgers = []*ledger.Ledger{k.publish(t, "x", "1", entryAbout("E-1", class, tc.miss))}
			before := verify(t, file, in)
			if !before.Trusted || slices.ContainsFunc(before.Assuming, func(s string) bool { return strings.Contains(s, "E-1") }) {
				t.Errorf("%s: %s", kind, before.Headline)
			}
			in.Ledgers = []*ledger.Ledger{k.publish(t, "x", "1", entryAbout("E-1", class, tc.hit))}
			r := verify(t, file, in)
			if class == ledger.ClassSoftware {
				wantRefused(t, r, "ledger")
			} else if !r.Trusted || len(r.Assuming) != len(before.Assuming)+1 {
				t.Errorf("%s: %s", kind, r.Headline)
			}
		}
	}
}

// realItem is one of the shared evidence's index.
type realItem struct {
	ID, Tech string
	Files    []struct{ Path string }
	VerifyAt *time.Time `json:"verify_at"`
}

// realItems returns those of the shared evidence, and its folder; without it the test is
// skipped.
func realItems(tb testing.TB) ([]realItem, string) {
	tb.Helper()
	dir := os.Getenv("SWORN_SHARED")
	if dir == "" {
		dir = filepath.Join("..", "..", "shared")
	}
	dir = filepath.Join(dir, "evidence")
	b, err := os.ReadFile(filepath.Join(dir, "INDEX.json"))
	if err != nil {
		tb.Skip("the shared evidence folder is not here: set SWORN_SHARED")
	}
	var index struct{ Items []realItem }
	if err := json.Unmarshal(b, &index); err != nil {
		tb.Fatal(err)
	}
	return index.Items, dir
}

// files returns the item's files by name.
func (i *realItem) files(tb testing.TB, dir string) map[string][]byte {
	tb.Helper()
	out := map[string][]byte{}
	for _, f := range i.Files {
		b, err := os.ReadFile(filepath.Join(dir, f.Path))
		if err != nil {
			tb.Fatal(err)
		}
		out[filepath.Base(f.Path)] = b
	}
	return out
}

// realCollateral makes collateral of an item's files.
func realCollateral(files map[string][]byte) []attest.Collateral {
	var out []attest.Collateral
	add := func(kind string, b []byte) {
		if len(b) > 0 {
			out = append(out, attest.Collateral{Kind: kind, Data: b})
		}
	}
	add(attest.CollateralCertificate, files["vek.der"])
	for block, rest := pem.Decode(files["ask_ark.pem"]); block != nil; block, rest = pem.Decode(rest) {
		add(attest.CollateralCertificate, block.Bytes)
	}
	var c map[string]string
	if json.Unmarshal(files["collateral.json"], &c) != nil {
		return out
	}
	add(attest.CollateralTCBInfo, []byte(`{"tcbInfo":`+c["tcb_info"]+`,"signature":"`+c["tcb_info_signature"]+`"}`))
	add(attest.CollateralQEIdentity, []byte(`{"enclaveIdentity":`+c["qe_identity"]+`,"signature":"`+c["qe_identity_signature"]+`"}`))
	for _, name := range []string{"root_ca_crl", "pck_crl"} {
		if der, err := hex.DecodeString(c[name]); err == nil {
			add(attest.CollateralCRL, der)
		}
	}
	for _, name := range []string{"tcb_info_issuer_chain", "qe_identity_issuer_chain"} {
		for block, rest := pem.Decode([]byte(c[name])); block != nil; block, rest = pem.Decode(rest) {
			add(attest.CollateralCertificate, block.Bytes)
		}
	}
	return out
}

// TestBuiltinLedgerReal holds the built-in ledger against evidence of real hardware whose
// chain ends in a vendor's pinned root: what bites there is what its products are known for.
func TestBuiltinLedgerReal(t *testing.T) {
	items, dir := realItems(t)
	l, err := ledger.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	schemes := map[string]struct {
		scheme attest.Scheme
		part   string
		file   string
	}{
		"sev-snp": {sev.Scheme{}, sev.PartReport, "report.bin"}, "tdx": {tdx.Scheme{}, tdx.PartQuote, "quote.bin"}, "sgx": {enclave.Scheme{}, enclave.PartQuote, "quote.bin"},
	}
	seen := map[string]int{}
	for _, item := range items {
		s, ok := schemes[item.Tech]
		files := item.files(t, dir)
		if !ok || files[s.file] == nil {
			continue
		}
		at := time.Date(2026, 11, 29, 0, 0, 0, 0, time.UTC)
		if item.VerifyAt != nil {
			at = *item.VerifyAt
		}
		ev := &attest.Evidence{Format: s.scheme.Describe().Format, Parts: []attest.Part{{Name: s.part, Data: files[s.file]}}, Collateral: realCollateral(files)}
		c, err := s.scheme.Verify(ev, &attest.Anchors{Pins: verifier.Pins()}, at)
		if err != nil || c.Identity.Root == nil {
			continue
		}
		x := ledger.SubjectOf(s.scheme.Describe().Name, c)
		for _, m := range l.Matches(x, time.Time{}) {
			seen[x.What()+": "+m.Entry.ID]++
		}
		if got := l.Matches(x, time.Date(2017, 1, 1, 0, 0, 0, 0, time.UTC)); len(got) != 0 {
			t.Errorf("%s: %d entries apply to what was stamped before all of them", item.ID, len(got))
		}
	}
	got := slices.Sorted(maps.Keys(seen))
	t.Logf("%d kinds: %v", len(got), seen)
	for _, want := range []string{
		"sev-snp Milan: AMD-MILAN-SEED", "sev-snp Milan: AMD-MILAN-VLEK", "sev-snp Milan: BATTERING-RAM-AMD",
		"sev-snp Genoa: TEE.FAIL-AMD", "sev-snp Turin: TEE.FAIL-AMD", "sgx 00606A000000: WIRETAP-SGX", "tdx 90C06F000000: TEE.FAIL-TDX",
	} {
		if seen[want] == 0 {
			t.Errorf("nothing real is %s", want)
		}
	}
	for _, what := range got {
		product, id, _ := strings.Cut(what, ": ")
		switch {
		case strings.Contains(id, "MILAN") && product != "sev-snp Milan", id == "TEE.FAIL-TDX" && !strings.HasPrefix(product, "tdx "),
			id == "WIRETAP-SGX" && !strings.Contains(product, "606"), strings.HasPrefix(product, "sev-snp ") && strings.HasSuffix(id, "SGX"):
			t.Errorf("%s", what)
		}
	}
}
