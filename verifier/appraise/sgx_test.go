package appraise

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"strings"
	"testing"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/dcap/dcaptest"
)

// wrapped puts Open Enclave's header before a quote.
func wrapped(quote []byte, size int) []byte {
	head := []byte{1, 0, 0, 0, 2, 0, 0, 0, byte(size), byte(size >> 8), 0, 0, 0, 0, 0, 0}
	return append(head, quote...)
}

// sgxFiles are a quote of a made-up vendor's and its collateral, as DCAP's tools keep it.
func sgxFiles(t *testing.T, v *dcaptest.Vendor, quote []byte) []File {
	t.Helper()
	items, err := v.Collateral(false)
	if err != nil {
		t.Fatal(err)
	}
	cut := func(b []byte, name string) (text, sig string) {
		body, tail, ok := strings.Cut(strings.TrimPrefix(string(b), `{"`+name+`":`), `,"signature":"`)
		if !ok {
			t.Fatalf("%s", b)
		}
		return body, strings.TrimSuffix(tail, `"}`)
	}
	info, infoSig := cut(items[0].Data, "tcbInfo")
	qe, qeSig := cut(items[1].Data, "enclaveIdentity")
	chain := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: items[4].Data}))
	b, err := json.Marshal(map[string]string{
		"tcb_info": info, "tcb_info_signature": infoSig, "qe_identity": qe, "qe_identity_signature": qeSig,
		"root_ca_crl": hex.EncodeToString(items[2].Data), "pck_crl": hex.EncodeToString(items[3].Data), "tcb_info_issuer_chain": chain,
	})
	if err != nil {
		t.Fatal(err)
	}
	return []File{{"quote.bin", quote}, {"collateral.json", b}}
}

// TestSGX: an enclave's quote is appraised bare, as EGo and Open Enclave report it, and with
// what was kept after it; what contradicts itself is refused.
func TestSGX(t *testing.T) {
	v, err := dcaptest.New(testTime, "Intel")
	if err != nil {
		t.Fatal(err)
	}
	made := func(change func([]byte)) []byte {
		q, err := v.Make(dcaptest.Quote{Version: 3, Body: dcaptest.Enclave(change)})
		if err != nil {
			t.Fatal(err)
		}
		return q
	}
	quote := made(nil)
	n := len(quote)
	td, err := v.Make(dcaptest.Quote{Version: 4, Body: dcaptest.TD(false, nil)})
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(quote)
	flipped[48+64] ^= 1
	for name, tc := range map[string]struct {
		quote []byte
		found string
		want  error
	}{
		"bare":              {quote, "", nil},
		"reported":          {wrapped(quote, n), "header", nil},
		"padded":            {append(bytes.Clone(quote), 0, 0), "surplus", nil},
		"reported, padded":  {wrapped(append(bytes.Clone(quote), 0, 0), n), "surplus", nil},
		"a size too small":  {wrapped(quote, n-1), "", attest.ErrForm},
		"a size too large":  {wrapped(quote, n+1), "", attest.ErrForm},
		"debug":             {made(func(b []byte) { b[48] |= 2 }), "", attest.ErrMode},
		"another MRENCLAVE": {flipped, "", attest.ErrSignature},
		"cut":               {quote[:n-1], "", attest.ErrForm},
		"a TD's":            {td, "", attest.ErrForm},
	} {
		for _, strict := range []bool{false, true} {
			r := report(t, Input{Kind: SGX, Files: sgxFiles(t, v, tc.quote), Anchors: v.Anchors(), Strict: strict})
			if !errors.Is(r.Refusal, tc.want) {
				t.Errorf("%s, strictly %v: %v, want %v", name, strict, r.Refusal, tc.want)
			}
			found := tc.found == ""
			for _, f := range r.Findings {
				found = found || f.Name == tc.found && f.Status == attest.NotEstablished
			}
			if !found {
				t.Errorf("%s: nothing is said of the %s: %+v", name, tc.found, r.Findings)
			}
		}
	}
	for _, b := range [][]byte{quote, wrapped(quote, n)} {
		if r := report(t, Input{Files: sgxFiles(t, v, b), Anchors: v.Anchors()}); r.Kind != SGX || !r.Accepted() {
			t.Errorf("told as %s: %v", r.Kind, r.Refusal)
		}
	}
	// Strictly, somebody must be trusted, and Intel's lists must be there.
	files := sgxFiles(t, v, quote)
	if r := report(t, Input{Kind: SGX, Files: files, Strict: true}); !errors.Is(r.Refusal, ErrRefused) {
		t.Errorf("nobody is trusted: %v", r.Refusal)
	}
	files[1].Data = bytes.Replace(files[1].Data, []byte(`"pck_crl"`), []byte(`"other"`), 1)
	if r := report(t, Input{Kind: SGX, Files: files, Anchors: v.Anchors(), Strict: true}); !errors.Is(r.Refusal, ErrRefused) {
		t.Errorf("without the PCK's list: %v", r.Refusal)
	}
	if r := report(t, Input{Kind: SGX, Files: files, Anchors: v.Anchors()}); !r.Accepted() {
		t.Errorf("without the PCK's list, not strictly: %v", r.Refusal)
	}
}
