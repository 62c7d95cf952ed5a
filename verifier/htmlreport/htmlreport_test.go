package htmlreport_test

import (
	"crypto"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/simulator/tsa"
	"github.com/sworn-run/sworn/testdata"
	"github.com/sworn-run/sworn/verifier"
)

// file returns a file of testdata/golden.
func file(tb testing.TB, name string) []byte {
	tb.Helper()
	b, err := testdata.Golden.ReadFile("golden/" + name)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// input is what trusts the golden record.
func input(tb testing.TB) verifier.Input {
	tb.Helper()
	const maker = "tpm-ak/SIMULATED-tpm-maker.pem"
	roots, err := verifier.NewTrustStore([]verifier.RootFile{{Path: maker, Data: file(tb, "roots/"+maker)}})
	if err != nil {
		tb.Fatal(err)
	}
	policy, err := verifier.ParsePolicy(file(tb, "policy.json"))
	if err != nil {
		tb.Fatal(err)
	}
	now, err := time.Parse(time.RFC3339, strings.TrimSpace(string(file(tb, "time"))))
	if err != nil {
		tb.Fatal(err)
	}
	nonce, err := hex.DecodeString(strings.TrimSpace(string(file(tb, "page.nonce"))))
	if err != nil {
		tb.Fatal(err)
	}
	return verifier.Input{Policy: policy, Roots: roots, Now: now, Nonce: nonce, Version: "test"}
}

// stamped is the golden record with a time stamp, what trusts its authority as well, and
// some years later, when the certificate of the key that quoted has run out.
func stamped(tb testing.TB) ([]byte, verifier.Input) {
	tb.Helper()
	in := input(tb)
	authority, err := tsa.New(in.Now.Add(-time.Hour), tsa.Options{
		Until: in.Now.AddDate(25, 0, 0), EditIssuer: func(c *x509.Certificate) { c.NotAfter = in.Now.AddDate(25, 0, 0) },
	})
	if err != nil {
		tb.Fatal(err)
	}
	c, err := cer.ParseCapsule(file(tb, "page.cer.json"))
	if err != nil {
		tb.Fatal(err)
	}
	e := c.EvidenceDigest()
	token, err := authority.Token(tsa.Order{Hash: crypto.SHA256, Imprint: e[:], Time: in.Now})
	if err != nil {
		tb.Fatal(err)
	}
	c.Tokens = [][]byte{token}
	b, err := c.Encode()
	if err != nil {
		tb.Fatal(err)
	}
	const maker = "tpm-ak/SIMULATED-tpm-maker.pem"
	if in.Roots, err = verifier.NewTrustStore([]verifier.RootFile{
		{Path: maker, Data: file(tb, "roots/"+maker)},
		{Path: "tsa/a.pem", Data: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authority.Root().Raw})},
	}); err != nil {
		tb.Fatal(err)
	}
	return b, in
}

// report judges the golden record.
func report(tb testing.TB, change func(*verifier.Input)) *verifier.Report {
	tb.Helper()
	in := input(tb)
	if change != nil {
		change(&in)
	}
	r, err := verifier.Verify(file(tb, "page.cer.json"), in)
	if err != nil {
		tb.Fatal(err)
	}
	return r
}
