package dcap

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sworn-run/sworn/attest"
)

// sharedDir returns the shared evidence folder, or skips the test where there is none.
func sharedDir(tb testing.TB) string {
	tb.Helper()
	dir := os.Getenv("SWORN_SHARED")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared")
	}
	dir = filepath.Join(dir, "evidence")
	if _, err := os.Stat(dir); err != nil {
		tb.Skip("the shared evidence folder is not here: set SWORN_SHARED")
	}
	return dir
}

// readFile reads a file.
func readFile(tb testing.TB, elem ...string) []byte {
	tb.Helper()
	b, err := os.ReadFile(filepath.Join(elem...))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// item is an entry of the evidence's index.
type item struct {
	ID, Tech string
	At       *time.Time `json:"verify_at"`
	Expected struct {
		Status *string `json:"tcb_status"`
		Strict bool    `json:"accept_strict"`
		Debug  bool
		Chain  string `json:"pck_chain"`
	}
	Peers struct {
		QVL string `json:"intel_qvl"`
	} `json:"peer_verdicts"`
}

// index reads the index.
func index(tb testing.TB) []item {
	tb.Helper()
	var list struct{ Items []item }
	if err := json.Unmarshal(readFile(tb, sharedDir(tb), "INDEX.json"), &list); err != nil {
		tb.Fatal(err)
	}
	return list.Items
}

// collateral makes items of the evidence's collateral.json.
func collateral(tb testing.TB, b []byte) []attest.Collateral {
	tb.Helper()
	var c struct {
		CRLChain  string `json:"pck_crl_issuer_chain"`
		RootCRL   string `json:"root_ca_crl"`
		PCKCRL    string `json:"pck_crl"`
		InfoChain string `json:"tcb_info_issuer_chain"`
		Info      string `json:"tcb_info"`
		InfoSig   string `json:"tcb_info_signature"`
		QEChain   string `json:"qe_identity_issuer_chain"`
		QE        string `json:"qe_identity"`
		QESig     string `json:"qe_identity_signature"`
	}
	if err := json.Unmarshal(b, &c); err != nil {
		tb.Fatal(err)
	}
	items := []attest.Collateral{
		{Kind: attest.CollateralTCBInfo, Data: []byte(`{"tcbInfo":` + c.Info + `,"signature":"` + c.InfoSig + `"}`)},
		{Kind: attest.CollateralQEIdentity, Data: []byte(`{"enclaveIdentity":` + c.QE + `,"signature":"` + c.QESig + `"}`)},
	}
	for _, h := range []string{c.RootCRL, c.PCKCRL} {
		der, err := hex.DecodeString(h)
		if err != nil {
			tb.Fatal(err)
		}
		items = append(items, attest.Collateral{Kind: attest.CollateralCRL, Data: der})
	}
	// One item was kept without the line feed between two certificates.
	chains := strings.ReplaceAll(c.CRLChain+"\n"+c.InfoChain+"\n"+c.QEChain, "----------BEGIN", "-----\n-----BEGIN")
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

// pinned returns anchors that hold the pins alone.
func pinned() *attest.Anchors { return &attest.Anchors{Pins: Pins()} }

// TestShared appraises every real quote of the shared evidence that has collateral,
// and wants the status that Intel's own library gives it, at the same instant.
func TestShared(t *testing.T) {
	dir, judged := sharedDir(t), 0
	for _, it := range index(t) {
		if it.Tech != "tdx" && it.Tech != "sgx" || it.At == nil {
			continue
		}
		judged++
		t.Run(it.ID, func(t *testing.T) {
			b := readFile(t, dir, it.Tech, it.ID, "quote.bin")
			n, err := Length(b)
			if err != nil {
				t.Fatal(err)
			}
			q, err := ParseQuote(b[:n])
			if err != nil {
				t.Fatal(err)
			}
			items := collateral(t, readFile(t, dir, it.Tech, it.ID, "collateral.json"))
			a, err := q.Appraise(items, pinned(), *it.At)
			if strings.Contains(it.Peers.QVL, "INVALID_QUOTE_SIGNATURE") {
				if err == nil || a != nil {
					t.Fatalf("a forged body: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			it.check(t, q, a, len(items))
		})
	}
	if judged < 19 {
		t.Fatalf("only %d items", judged)
	}
}

// check compares an appraisal with what the index says.
func (it *item) check(t *testing.T, q *Quote, a *Appraisal, items int) {
	if a.Identity.Status != attest.Passed || a.Identity.Root == nil || a.Identity.Root.UserSupplied || a.Coherent.Status != attest.Passed {
		t.Errorf("identity %+v\ncoherent %+v", a.Identity, a.Coherent)
	}
	stale := strings.Contains(it.Expected.Chain, "EXPIRED")
	if (a.Revocation.Status == attest.Passed) == stale {
		t.Errorf("revocation %+v", a.Revocation)
	}
	if len(a.Used) != items {
		t.Errorf("%d of %d items used: %+v", len(a.Used), items, a.Used)
	}
	want := ""
	if it.Expected.Status != nil && *it.Expected.Status != "NoMatchingTCBLevel" {
		want = *it.Expected.Status
	}
	if a.TCB.Status != want || (a.TCB.Finding.Status == attest.Passed) != (want != "") {
		t.Errorf("tcb %+v, want %q", a.TCB, want)
	}
	debug := q.TD != nil && q.TD.TDAttributes&0xFF != 0 || q.Enclave != nil && q.Enclave.Attributes[0]&2 != 0
	accept := a.Identity.Status == attest.Passed && a.Revocation.Status == attest.Passed && a.Coherent.Status == attest.Passed &&
		a.TCB.Finding.Status == attest.Passed && a.TCB.Status == UpToDate && !debug
	if accept != it.Expected.Strict || debug != it.Expected.Debug {
		t.Errorf("accepted %v, debug %v: want %v, %v", accept, debug, it.Expected.Strict, it.Expected.Debug)
	}
}
