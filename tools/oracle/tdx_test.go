package oracle

import (
	"bytes"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	tdxtesting "github.com/google/go-tdx-guest/testing"
	"github.com/google/go-tdx-guest/testing/testdata"
	tdxverify "github.com/google/go-tdx-guest/verify"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/tdx"
)

// tdQuote is a quote with its collateral, as both sides are given it.
type tdQuote struct {
	name  string
	raw   []byte
	at    time.Time
	fmspc string
	parts map[string]string // Of the evidence's collateral.json.
	// answers replace the answers of Intel's service, by kind.
	answers map[string][]byte
}

// answer returns the answer of Intel's service of a kind.
func (q *tdQuote) answer(kind string) []byte {
	if a := q.answers[kind]; a != nil {
		return a
	}
	member, name := "tcbInfo", "tcb_info"
	if kind == attest.CollateralQEIdentity {
		member, name = "enclaveIdentity", "qe_identity"
	}
	return fmt.Appendf(nil, `{"%s":%s,"signature":"%s"}`, member, q.parts[name], q.parts[name+"_signature"])
}

// list returns a revocation list.
func (q *tdQuote) list(name string) []byte {
	b, err := hex.DecodeString(q.parts[name])
	if err != nil {
		return nil
	}
	return b
}

// evidence returns the quote as evidence, with its collateral. What is behind the quote
// is cut off.
func (q *tdQuote) evidence() (*attest.Evidence, error) {
	quote, _, err := tdx.Surplus(q.raw)
	if err != nil {
		return nil, err
	}
	ev, err := tdx.NewEvidence(0, quote)
	if err != nil {
		return nil, err
	}
	ev.Collateral = []attest.Collateral{
		{Kind: attest.CollateralTCBInfo, Data: q.answer(attest.CollateralTCBInfo)},
		{Kind: attest.CollateralQEIdentity, Data: q.answer(attest.CollateralQEIdentity)},
		{Kind: attest.CollateralCRL, Data: q.list("root_ca_crl")},
		{Kind: attest.CollateralCRL, Data: q.list("pck_crl")},
	}
	for block, rest := pem.Decode([]byte(q.parts["tcb_info_issuer_chain"])); block != nil; block, rest = pem.Decode(rest) {
		ev.Collateral = append(ev.Collateral, attest.Collateral{Kind: attest.CollateralCertificate, Data: block.Bytes})
	}
	return ev, nil
}

// ours reports whether the quote is accepted here: genuine, by Intel's root, not
// revoked, current, and up to date.
func (q *tdQuote) ours() (bool, string) {
	ev, err := q.evidence()
	if err != nil {
		return false, err.Error() //nolint:forbidigo // Shown in the log of the test, matched by nothing.
	}
	c, err := tdx.Scheme{}.Verify(ev, &attest.Anchors{Pins: tdx.Pins()}, q.at)
	if err != nil {
		return false, err.Error() //nolint:forbidigo // As above.
	}
	for _, f := range []attest.Finding{c.Identity.Finding, c.Revocation, c.Coherent, c.TCB.Finding} {
		if f.Status != attest.Passed {
			return false, f.Detail
		}
	}
	return c.TCB.Status == "UpToDate", c.TCB.Status
}

// options returns what go-tdx-guest needs to find the same collateral.
func (q *tdQuote) options() *tdxverify.Options {
	chain := func(name string) []string { return []string{url.QueryEscape(q.parts[name])} }
	const api = "https://api.trustedservices.intel.com/"
	// The root that it has built in; without this it writes a warning for every use.
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(q.parts["pck_crl_issuer_chain"]))
	return &tdxverify.Options{
		TrustedRoots:     roots,
		GetCollateral:    true,
		CheckRevocations: true,
		Now:              &tdxverify.TimeSet{PckCertChain: q.at, TcbInfo: q.at, QeIdentity: q.at, PckCrl: q.at, RootCaCrl: q.at},
		Getter: &tdxtesting.Getter{Responses: map[string]tdxtesting.HTTPResponse{
			api + "tdx/certification/v4/qe/identity": {
				Header: map[string][]string{"Sgx-Enclave-Identity-Issuer-Chain": chain("qe_identity_issuer_chain")},
				Body:   q.answer(attest.CollateralQEIdentity),
			},
			api + "tdx/certification/v4/tcb?fmspc=" + q.fmspc: {
				Header: map[string][]string{"Tcb-Info-Issuer-Chain": chain("tcb_info_issuer_chain")},
				Body:   q.answer(attest.CollateralTCBInfo),
			},
			api + "sgx/certification/v4/pckcrl?ca=platform&encoding=der": {
				Header: map[string][]string{"Sgx-Pck-Crl-Issuer-Chain": chain("pck_crl_issuer_chain")},
				Body:   q.list("pck_crl"),
			},
			"https://certificates.trustedservices.intel.com/IntelSGXRootCA.der": {Body: q.list("root_ca_crl")},
		}},
	}
}

// theirs reports whether go-tdx-guest accepts it.
func (q *tdQuote) theirs() error { return tdxverify.RawTdxQuote(q.raw, q.options()) }

// tdQuotes returns the quotes of the shared evidence; without it there are none.
func tdQuotes(tb testing.TB) []*tdQuote {
	tb.Helper()
	dir := os.Getenv("SWORN_SHARED")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared")
	}
	dir = filepath.Join(dir, "evidence")
	b, err := os.ReadFile(filepath.Join(dir, "INDEX.json"))
	if err != nil {
		tb.Skip("the shared evidence folder is not here: set SWORN_SHARED")
	}
	var index struct {
		Items []struct {
			ID, Tech string
			At       *time.Time `json:"verify_at"`
			Quote    json.RawMessage
		}
	}
	if err := json.Unmarshal(b, &index); err != nil {
		tb.Fatal(err)
	}
	var out []*tdQuote
	for _, it := range index.Items {
		if it.Tech != "tdx" || it.At == nil {
			continue
		}
		q := &tdQuote{name: it.ID, at: *it.At, answers: map[string][]byte{}}
		var about struct{ FMSPC string }
		if err := json.Unmarshal(it.Quote, &about); err != nil {
			tb.Fatal(err)
		}
		q.fmspc = about.FMSPC
		if q.raw, err = os.ReadFile(filepath.Join(dir, "tdx", it.ID, "quote.bin")); err != nil {
			tb.Fatal(err)
		}
		c, err := os.ReadFile(filepath.Join(dir, "tdx", it.ID, "collateral.json"))
		if err != nil {
			tb.Fatal(err)
		}
		if err := json.Unmarshal(c, &q.parts); err != nil {
			tb.Fatal(err)
		}
		out = append(out, q)
	}
	return out
}

// differs are the cases in which go-tdx-guest gives another verdict, each with the
// verdict here; docs/TEE-DIFFERENCES.md explains them under the same names.
func differs() map[string]bool {
	return map[string]bool{
		"tdx-v4-gcp-outofdate-automata": false,
		"tdx-key-case-forgery":          false,
		"tdx-platform-revoked":          false,
		"tdx-surplus":                   false,
	}
}

// compare wants the same verdict of both sides, or the other one where that is a known
// difference.
func compare(t *testing.T, name string, q *tdQuote) {
	t.Helper()
	ours, why := q.ours()
	err := q.theirs()
	want, known := differs()[name]
	if (ours != (err == nil)) != known || known && ours != want {
		t.Errorf("%s: here %v (%s), go-tdx-guest: %v", name, ours, why, err)
	}
}

// TestTDX gives both sides every real quote.
func TestTDX(t *testing.T) {
	quotes := tdQuotes(t)
	if len(quotes) < 12 {
		t.Fatalf("only %d quotes", len(quotes))
	}
	for _, q := range quotes {
		compare(t, q.name, q)
	}
}

// genuine returns a quote that both sides accept.
func genuine(tb testing.TB) *tdQuote {
	tb.Helper()
	const name = "tdx-v4-uptodate-near"
	for _, q := range tdQuotes(tb) {
		if q.name != name {
			continue
		}
		// What is behind the quote is a difference of its own.
		quote, _, err := tdx.Surplus(q.raw)
		if err != nil {
			tb.Fatal(err)
		}
		q.raw = quote
		if ok, why := q.ours(); !ok {
			tb.Fatalf("%s is not accepted: %s", name, why)
		}
		return q
	}
	tb.Fatalf("no item %s", name)
	return nil
}

// TestTDXFlipped changes single bits of a genuine quote and of its collateral: neither
// side may accept what the other refuses.
func TestTDXFlipped(t *testing.T) {
	q := genuine(t)
	raw := q.raw
	// The chain's text begins 1258 bytes into a quote of version 4 with 32 bytes of
	// authentication data.
	const text = 48 + 584 + 4 + 128 + 6 + 384 + 64 + 34 + 6
	for bit := 0; bit < 8*len(raw); bit += 173 {
		q.raw = bytes.Clone(raw)
		q.raw[bit/8] ^= 1 << (bit % 8)
		if bit/8 < text {
			compare(t, fmt.Sprintf("bit %d", bit), q)
		} else if ok, why := q.ours(); ok {
			t.Errorf("bit %d of the chain: %s", bit, why)
		}
	}
	q.raw = raw
	for _, kind := range []string{attest.CollateralTCBInfo, attest.CollateralQEIdentity} {
		answer := q.answer(kind)
		for bit := 0; bit < 8*len(answer); bit += 211 {
			changed := bytes.Clone(answer)
			changed[bit/8] ^= 1 << (bit % 8)
			q.answers[kind] = changed
			if ok, why := q.ours(); ok {
				t.Errorf("bit %d of %s: %s", bit, kind, why)
			}
		}
		delete(q.answers, kind)
	}
}

// TestTDXHoles gives both sides the forgeries that go-tdx-guest takes. They need no key
// of Intel's.
func TestTDXHoles(t *testing.T) {
	for _, q := range tdQuotes(t) {
		if q.name != "tdx-v4-oasis-outofdate-2026" {
			continue
		}
		// Genuine, and out of date. Beside the signed TCB info stands a forged one.
		if ours, _ := q.ours(); ours || q.theirs() == nil {
			t.Fatal("not out of date")
		}
		forged := strings.ReplaceAll(q.parts["tcb_info"], `"tcbStatus":"OutOfDate"`, `"tcbStatus":"UpToDate"`)
		answer := string(q.answer(attest.CollateralTCBInfo))
		q.answers[attest.CollateralTCBInfo] = []byte(strings.TrimSuffix(answer, "}") + `,"TCBInfo":` + forged + "}")
		compare(t, "tdx-key-case-forgery", q)
	}
	// A platform that is revoked, whose TDX module is current. Nobody can sign that for
	// the real platform, so the forgery above carries it: what matters is what is made
	// of it.
	q := genuine(t)
	platform, levels, found := strings.Cut(q.parts["tcb_info"], `"tcbLevels":[{"tcb":{"sgx`)
	if !found {
		t.Fatal("no levels of the platform")
	}
	forged := platform + `"tcbLevels":[{"tcb":{"sgx` + strings.ReplaceAll(levels, `"tcbStatus":"UpToDate"`, `"tcbStatus":"Revoked"`)
	answer := string(q.answer(attest.CollateralTCBInfo))
	q.answers[attest.CollateralTCBInfo] = []byte(strings.TrimSuffix(answer, "}") + `,"TCBInfo":` + forged + "}")
	compare(t, "tdx-platform-revoked", q)
}

// TestTDXText: what is behind the quote, and the text of the chain, are nobody's.
func TestTDXText(t *testing.T) {
	q := genuine(t)
	raw := q.raw
	// This package's caller decides about a surplus; a capsule's part has none.
	if _, err := tdx.NewEvidence(0, append(bytes.Clone(raw), 1)); !errors.Is(err, attest.ErrForm) {
		t.Errorf("a surplus: %v", err)
	}
	q.raw = append(bytes.Clone(raw), 1)
	if err := q.theirs(); err != nil {
		t.Errorf("go-tdx-guest: %v", err)
	}
	q.raw = bytes.Replace(raw, []byte("\n-----END"), []byte(" -----END"), 1)
	compare(t, "no line feed", q)
	at := bytes.LastIndexByte(raw, 0)
	if at != len(raw)-1 {
		t.Fatal("the chain does not end in a zero byte")
	}
	q.raw = bytes.Clone(raw)
	q.raw[at] = 'x'
	compare(t, "no zero byte", q)
}

// TestTDXSample gives both sides the quote that the module ships, whose platform no
// level matches.
func TestTDXSample(t *testing.T) {
	parts := map[string]string{
		"root_ca_crl": hex.EncodeToString(testdata.RootCrlBody),
		"pck_crl":     hex.EncodeToString(testdata.PckCrlBody),
	}
	for name, header := range map[string]map[string][]string{
		"tcb_info_issuer_chain": tdxtesting.TcbInfoHeader, "qe_identity_issuer_chain": tdxtesting.QeIdentityHeader, "pck_crl_issuer_chain": tdxtesting.PckCrlHeader,
	} {
		for _, v := range header {
			chain, err := url.QueryUnescape(strings.Join(v, ""))
			if err != nil {
				t.Fatal(err)
			}
			parts[name] = chain
		}
	}
	q := &tdQuote{raw: testdata.RawQuote, fmspc: "50806f000000", at: time.Date(2023, 7, 1, 1, 0, 0, 0, time.UTC), parts: parts, answers: map[string][]byte{
		attest.CollateralTCBInfo:    bytes.TrimSpace(testdata.TcbInfoBody),
		attest.CollateralQEIdentity: bytes.TrimSpace(testdata.QeIdentityBody),
	}}
	compare(t, "sample", q)
	ev, err := q.evidence()
	if err != nil {
		t.Fatal(err)
	}
	c, err := tdx.Scheme{}.Verify(ev, &attest.Anchors{Pins: tdx.Pins()}, q.at)
	if err != nil || c.Identity.Status != attest.Passed || c.Revocation.Status != attest.Passed || c.Coherent.Status != attest.Passed ||
		c.TCB.Finding.Status != attest.Failed || c.TCB.Status != "" {
		t.Errorf("%+v, %v", c, err)
	}
	quote, _, err := tdx.Surplus(testdata.RawQuoteV5)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tdx.NewEvidence(0, quote); err != nil {
		t.Errorf("version 5: %v", err)
	}
}

// TestTDXDifferences: every difference is explained, and nothing is that is none.
func TestTDXDifferences(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("..", "..", "docs", "TEE-DIFFERENCES.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(b), "\n## TDX\n")
	if !found {
		t.Fatal("no section TDX")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	rows := map[string]bool{}
	for line := range strings.Lines(section) {
		if name, _, found := strings.Cut(strings.TrimPrefix(line, "| `"), "` |"); found && strings.HasPrefix(line, "| `") {
			rows[name] = true
		}
	}
	for name := range differs() {
		if !rows[name] {
			t.Errorf("%s is not explained", name)
		}
		delete(rows, name)
	}
	for name := range rows {
		t.Errorf("%s is explained and no difference", name)
	}
}
