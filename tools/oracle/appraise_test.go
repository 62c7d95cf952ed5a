package oracle

import (
	"bytes"
	"crypto"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	theirs "github.com/google/go-attestation/attest"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/bootlog"
	"github.com/sworn-run/sworn/verifier/appraise"
)

// at is an instant; no certificate is judged here.
var at = time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)

// TestAppraisedLogs appraises every log by itself. Where it is accepted, go-attestation
// must find the replayed registers in it too; where it is refused, it must refuse it as
// well, unless the reason is that the log shows that its end is missing.
func TestAppraisedLogs(t *testing.T) {
	accepted, cut := 0, 0
	for _, l := range logs(t) {
		if l.kind != bootlog.PCRs {
			continue
		}
		r, err := appraise.Appraise(appraise.Input{Kind: appraise.EventLog, Files: []appraise.File{{Name: "log", Data: l.raw}}, At: at})
		if err != nil {
			t.Fatal(err)
		}
		if errors.Is(r.Refusal, appraise.ErrRefused) {
			t.Logf("%s: %v", l.name, r.Refusal)
			cut++
			continue
		}
		if !r.Accepted() {
			if _, err := theirs.ParseEventLog(l.raw); err == nil {
				t.Errorf("%s: refused here alone: %v", l.name, r.Refusal)
			}
			continue
		}
		accepted++
		for bank, hash := range banks() {
			var pcrs []theirs.PCR
			for _, v := range r.Replays[0].Values {
				if v.Bank == bank {
					pcrs = append(pcrs, theirs.PCR{Index: int(v.Index), Digest: v.Value, DigestAlg: hash})
				}
			}
			if len(pcrs) > 0 {
				verify(t, l, pcrs, true)
			}
		}
	}
	if accepted < 20 || cut < 1 {
		t.Fatalf("only %d logs accepted, %d cut", accepted, cut)
	}
	t.Logf("%d logs accepted, %d cut", accepted, cut)
}

// TestQuotes appraises the captured quotes on both sides, as they are and with each
// byte of the quote or of its signature changed.
func TestQuotes(t *testing.T) {
	dir := filepath.Join("..", "..", "verifier", "appraise", "testdata", "run-llmsb")
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	key, err := theirs.ParseAKPublic(read("akpub")[2:])
	if err != nil {
		t.Fatal(err)
	}
	for bank, hash := range map[string]crypto.Hash{"sha256": crypto.SHA256, "sha384": crypto.SHA384} {
		var values map[string]string
		if err := json.Unmarshal(read("pcrs_"+bank), &values); err != nil {
			t.Fatal(err)
		}
		quote, sig := read("quote_"+bank+"_attest"), read("quote_"+bank+"_sig")
		both := func(quote, sig []byte) (ours, other bool) {
			r, err := appraise.Appraise(appraise.Input{Kind: appraise.TPM, At: at, Files: []appraise.File{
				{Name: "quote", Data: quote},
				{Name: "quote.sig", Data: sig},
				{Name: "akpub", Data: read("akpub")},
				{Name: "pcrs", Data: read("pcrs_" + bank)},
				{Name: "nonce", Data: read("nonce")},
			}})
			if err != nil {
				t.Fatal(err)
			}
			var pcrs []theirs.PCR
			for i, v := range values {
				index, err := strconv.Atoi(i)
				if err != nil {
					t.Fatal(err)
				}
				digest, err := hex.DecodeString(v)
				if err != nil {
					t.Fatal(err)
				}
				pcrs = append(pcrs, theirs.PCR{Index: index, Digest: digest, DigestAlg: hash})
			}
			return r.Accepted(), key.Verify(theirs.Quote{Quote: quote, Signature: sig}, pcrs, read("nonce")) == nil
		}
		if ours, other := both(quote, sig); !ours || !other {
			t.Fatalf("%s: here %v, go-attestation %v", bank, ours, other)
		}
		for i := range quote {
			if ours, other := both(flip(quote, i), sig); ours || other {
				t.Errorf("%s, byte %d of the quote: here %v, go-attestation %v", bank, i, ours, other)
			}
		}
		for i := range sig {
			// go-attestation takes the hash from the key, whatever the signature says.
			hash := i == 2 || i == 3
			if ours, other := both(quote, flip(sig, i)); ours || other != hash {
				t.Errorf("%s, byte %d of the signature: here %v, go-attestation %v", bank, i, ours, other)
			}
		}
	}
}

// flip changes one bit.
func flip(b []byte, at int) []byte {
	out := bytes.Clone(b)
	out[at] ^= 4
	return out
}

// TestDump: a dump of SHA-1 alone, which go-attestation ships and verifies, proves
// nothing here.
func TestDump(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(moduleDir(t, "github.com/google/go-attestation"), "attest", "testdata", "windows_gcp_shielded_vm.json"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := appraise.Appraise(appraise.Input{Files: []appraise.File{{Name: "dump.json", Data: b}}, At: at})
	if err != nil || r.Kind != appraise.TPM || !errors.Is(r.Refusal, appraise.ErrRefused) || errors.Is(r.Refusal, attest.ErrForm) {
		t.Errorf("%v, %v", r, err)
	}
}
