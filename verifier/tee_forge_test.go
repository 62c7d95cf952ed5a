package verifier_test

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/sev"
	"github.com/sworn-run/sworn/simulator/amd"
	"github.com/sworn-run/sworn/simulator/intel"
	"github.com/sworn-run/sworn/tdx"
	"github.com/sworn-run/sworn/verifier"
)

// teeForger has vendors' keys: what it makes is genuine in every respect but the one that
// a test changes.
type teeForger struct {
	at     time.Time
	amd    *amd.Platform
	intel  *intel.Platform
	vendor *intel.Vendor
}

func newTEEForger(tb testing.TB) *teeForger {
	tb.Helper()
	oneForger.Do(func() { oneForger.f = makeTEEForger(tb) })
	if oneForger.f == nil {
		tb.Fatal("the vendors' keys could not be made")
	}
	return oneForger.f
}

// oneForger is made once: AMD's keys are of 4,096 bits, and nothing changes a forger.
var oneForger struct {
	sync.Once
	f *teeForger
}

func makeTEEForger(tb testing.TB) *teeForger {
	tb.Helper()
	f := &teeForger{at: teeTime(tb)}
	a, err := amd.NewOfKeys(amd.Milan, f.at, amdKey(tb, "ark"), amdKey(tb, "ask"), amdKey(tb, "asvk"))
	if err != nil {
		tb.Fatal(err)
	}
	if f.vendor, err = intel.New(f.at); err != nil {
		tb.Fatal(err)
	}
	if f.amd, err = a.Platform("forger"); err != nil {
		tb.Fatal(err)
	}
	if f.intel, err = f.vendor.Platform("forger"); err != nil {
		tb.Fatal(err)
	}
	return f
}

// amdKey returns one of the keys that the tests of package sev have in a file.
func amdKey(tb testing.TB, name string) *rsa.PrivateKey {
	tb.Helper()
	b, err := os.ReadFile("../sev/testdata/keys/" + name + ".pem")
	if err != nil {
		tb.Fatal(err)
	}
	block, _ := pem.Decode(b)
	if block == nil {
		tb.Fatalf("%s is not PEM", name)
	}
	k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		tb.Fatal(err)
	}
	return k.(*rsa.PrivateKey)
}

// input is that of the golden record of the kind, but that it is the forger's roots that
// are trusted, and what change makes of the rules for the format.
func (f *teeForger) input(tb testing.TB, kind string, change func(rules map[string]any)) verifier.Input {
	tb.Helper()
	path, root := "amd-ark/Milan/root.pem", f.amd.Vendor().ARK()
	if kind == "tdx" {
		path, root = "intel-sgx/root.pem", f.vendor.Root()
	}
	roots, err := verifier.NewTrustStore([]verifier.RootFile{{Path: path, Data: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Raw})}})
	if err != nil {
		tb.Fatal(err)
	}
	in := teeInput(tb, kind)
	in.Roots = roots
	in.Policy = teePolicy(tb, kind, func(rules map[string]any) {
		rules["identity"].(map[string]any)["spki"] = []any{cer.SHA256Digest(verifier.SPKIDigest(root))}
		if change != nil {
			change(rules)
		}
	})
	return in
}

// teePolicy changes the rules that the golden policy of a kind has for the format of that
// name.
func teePolicy(tb testing.TB, kind string, change func(rules map[string]any)) *verifier.Policy {
	tb.Helper()
	var m map[string]any
	if err := json.Unmarshal(golden(tb, "tee/"+kind+".policy.json"), &m); err != nil {
		tb.Fatal(err)
	}
	change(object(m, "formats", kind))
	b, err := json.Marshal(m, json.Deterministic(true))
	if err != nil {
		tb.Fatal(err)
	}
	return parsePolicy(tb, b)
}

// member returns an object of rules, made where there is none.
func member(rules map[string]any, name string) map[string]any {
	if rules[name] == nil {
		rules[name] = map[string]any{}
	}
	return rules[name].(map[string]any)
}

// snp exchanges the report of the golden record for the forger's own, which says the same
// of statement, guest and image, and then what change makes of it.
func (f *teeForger) snp(tb testing.TB, change func(*amd.Report), collateral func([]attest.Collateral) []attest.Collateral) []byte {
	tb.Helper()
	c := teeCapsule(tb, "sev-snp")
	was := c.Evidence[0].Parts[0].Data
	r := f.amd.Report("guest", [64]byte(attest.Quoted(attest.SHA512, 0, sev.Format, c.Statement)))
	copy(r.ReportID[:], was[0x140:])
	copy(r.Measurement[:], was[0x90:])
	if change != nil {
		change(r)
	}
	b, err := f.amd.Sign(r)
	if err != nil {
		tb.Fatal(err)
	}
	kind := r.SigningKey
	if kind == amd.None {
		kind = amd.VCEK
	}
	items, err := f.amd.Collateral(kind, f.at)
	if err != nil {
		tb.Fatal(err)
	}
	if collateral != nil {
		items = collateral(items)
	}
	c.Evidence[0].Parts[0].Data, c.Collateral = b, items
	return encodeCapsule(tb, c)
}

// tdBody is where the body of a quote of version 5 begins.
const tdBody = 54

// tdx exchanges the quote of the golden record for the forger's own over the same body,
// and what change makes of both.
func (f *teeForger) tdx(tb testing.TB, change func(*intel.Quote), collateral func([]attest.Collateral) []attest.Collateral) []byte {
	tb.Helper()
	c := teeCapsule(tb, "tdx")
	was := c.Evidence[0].Parts[0].Data
	q, err := f.intel.TDQuote(f.intel.TD("guest", [64]byte{}), 5, f.at)
	if err != nil {
		tb.Fatal(err)
	}
	if was[0] != 5 {
		tb.Fatalf("the golden quote is of version %d", was[0])
	}
	q.Body = bytes.Clone(was[tdBody : tdBody+intel.TD15Size])
	if change != nil {
		change(q)
	}
	b, err := q.Marshal()
	if err != nil {
		tb.Fatal(err)
	}
	items, err := f.intel.Collateral(intel.TEETDX, f.at)
	if err != nil {
		tb.Fatal(err)
	}
	if collateral != nil {
		items = collateral(items)
	}
	c.Evidence[0].Parts[0].Data, c.Collateral = b, items
	return encodeCapsule(tb, c)
}

// instead exchanges the only item of that kind which fits for another.
func instead(tb testing.TB, kind string, fits func([]byte) bool, data []byte, err error) func([]attest.Collateral) []attest.Collateral {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
	return func(items []attest.Collateral) []attest.Collateral {
		n := 0
		for i := range items {
			if items[i].Kind == kind && (fits == nil || fits(items[i].Data)) {
				items[i].Data = data
				n++
			}
		}
		if n != 1 {
			tb.Fatalf("%d items of kind %s", n, kind)
		}
		return items
	}
}

// listOf tells the lists of an issuer.
func listOf(issuer *x509.Certificate) func([]byte) bool {
	return func(b []byte) bool {
		l, err := x509.ParseRevocationList(b)
		return err == nil && bytes.Equal(l.RawIssuer, issuer.RawSubject)
	}
}

// quotedAs returns the report data for another slot or format than the record's.
func quotedAs(tb testing.TB, kind string, slot uint8, format attest.Format) [64]byte {
	tb.Helper()
	return [64]byte(attest.Quoted(attest.SHA512, slot, format, teeCapsule(tb, kind).Statement))
}

// tdxFormat names the format for tests that forge a report of another.
const tdxFormat = tdx.Format
