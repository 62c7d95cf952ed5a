package collect

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/hcl"
	simintel "github.com/sworn-run/sworn/simulator/intel"
)

// noProblems fails the test for each problem.
func noProblems(t *testing.T, problems []*ItemError) {
	t.Helper()
	for _, p := range problems {
		t.Error(p)
	}
}

// onlyProblem wants one problem, about the item, of the class.
func onlyProblem(t *testing.T, problems []*ItemError, item string, class error) {
	t.Helper()
	if len(problems) != 1 || problems[0].Item != item || !errors.Is(problems[0], class) {
		t.Errorf("problems %v, want one about %q that is %v", problems, item, class)
	}
}

// TestReport gets everything about a report once, and then asks nobody.
func TestReport(t *testing.T) {
	for product, chip := range map[string]string{
		"Milan": chipMilan + splMilan,
		"Genoa": chipMilan + splMilan,
		"Turin": "0102030405060708?fmcSPL=01&blSPL=02&teeSPL=03&snpSPL=04&ucodeSPL=88",
	} {
		t.Run(product, func(t *testing.T) {
			v, a := newVendor(t), newAMD(t, product, 5)
			a.publish(v, product)
			c, _, _ := testClient(t, v, nil)
			got, problems := c.Evidence(t.Context(), evidence(partReport, a.report))
			noProblems(t, problems)
			want := []attest.Collateral{cert(a.vcek), cert(a.ask), cert(a.ark), {Kind: attest.CollateralCRL, Data: a.crl}}
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
			base := "/vcek/v1/" + product + "/"
			if d := cmp.Diff([]string{base + chip, base + "cert_chain", base + "crl"}, v.requests()); d != "" {
				t.Error(d)
			}
			again, problems := c.Evidence(t.Context(), evidence(partReport, a.report))
			noProblems(t, problems)
			if d := cmp.Diff(got, again); d != "" || v.requests() != nil {
				t.Errorf("asked again, or another answer:\n%s", d)
			}
		})
	}
}

// TestReportUnnamed tries the products that an old report can be of.
func TestReportUnnamed(t *testing.T) {
	v, a := newVendor(t), newAMD(t, "Genoa", 2)
	a.publish(v, "Genoa")
	c, _, _ := testClient(t, v, nil)
	got, problems := c.Evidence(t.Context(), evidence(partReport, a.report))
	noProblems(t, problems)
	if kinds(got) != "certificate certificate certificate crl" {
		t.Errorf("got %s", kinds(got))
	}
	if asked := v.requests(); !strings.HasPrefix(asked[0], "/vcek/v1/Milan/") || !strings.HasPrefix(asked[1], "/vcek/v1/Genoa/") {
		t.Errorf("asked %q", asked)
	}
	// A certificate at hand names the product.
	c, _, _ = testClient(t, v, nil)
	_, problems = c.Evidence(t.Context(), evidence(partReport, a.report, cert(a.ask)))
	noProblems(t, problems)
	if asked := v.requests(); !strings.HasPrefix(asked[0], "/vcek/v1/Genoa/") {
		t.Errorf("asked %q", asked)
	}
}

// TestReportAtHand sends no chip id for what the machine has.
func TestReportAtHand(t *testing.T) {
	v, a := newVendor(t), newAMD(t, "Milan", 3)
	a.publish(v, "Milan")
	c, _, _ := testClient(t, v, nil)
	got, problems := c.Evidence(t.Context(), evidence(partReport, a.report, cert(a.vcek), cert(a.ark), cert(a.ask)))
	noProblems(t, problems)
	if asked := v.requests(); kinds(got) != "crl" || !slices.Equal(asked, []string{"/vcek/v1/Milan/crl"}) {
		t.Errorf("got %s, asked %q", kinds(got), asked)
	}
	// That of another key is none.
	other := newAMD(t, "Milan", 3)
	got, problems = c.Evidence(t.Context(), evidence(partReport, a.report, cert(other.vcek)))
	noProblems(t, problems)
	if !has(got, attest.CollateralCertificate, a.vcek.cert.Raw) {
		t.Error("took the certificate of another key")
	}
}

// TestVLEK takes a provider's key from the machine, and gets what is above it.
func TestVLEK(t *testing.T) {
	v, a := newVendor(t), newAMD(t, "Milan", 3)
	a.publish(v, "Milan")
	clear(a.report[offChip : offChip+64])
	a.sign(t, a.vlek)
	c, _, _ := testClient(t, v, nil)
	got, problems := c.Evidence(t.Context(), evidence(partReport, a.report, cert(a.vlek)))
	noProblems(t, problems)
	if kinds(got) != "certificate certificate crl" || !has(got, attest.CollateralCertificate, a.asvk.cert.Raw) {
		t.Errorf("got %s", kinds(got))
	}
	if d := cmp.Diff([]string{"/vlek/v1/Milan/cert_chain", "/vlek/v1/Milan/crl"}, v.requests()); d != "" {
		t.Error(d)
	}
	got, problems = c.Evidence(t.Context(), evidence(partReport, a.report))
	onlyProblem(t, problems, "VLEK", ErrUnavailable)
	if kinds(got) != "certificate certificate crl" {
		t.Errorf("got %s", kinds(got))
	}
}

// TestReportNot tells why nothing can be got.
func TestReportNot(t *testing.T) {
	for name, c := range map[string]struct {
		change func(a *amd)
		item   string
		class  error
		kinds  string
	}{
		"cut":         {func(a *amd) { a.report = a.report[:1183] }, "attestation report", ErrArgument, ""},
		"signed none": {func(a *amd) { a.report[offFlags] = 7 << 2 }, "certificate of the signing key", ErrUnavailable, ""},
		"processor":   {func(a *amd) { a.report[offFamily] = 0x1B }, "certificates", ErrUnavailable, ""},
		"masked chip": {func(a *amd) { clear(a.report[offChip : offChip+64]) }, "VCEK", ErrUnavailable, "certificate certificate crl"},
		"other chip":  {func(a *amd) { a.report[offChip] ^= 1 }, "VCEK", ErrUnavailable, "certificate certificate crl"},
		"forged":      {func(a *amd) { a.report[0x90] ^= 1 }, "VCEK", ErrAnswer, "certificate certificate crl"},
	} {
		t.Run(name, func(t *testing.T) {
			v, a := newVendor(t), newAMD(t, "Milan", 3)
			a.publish(v, "Milan")
			c.change(a)
			client, _, _ := testClient(t, v, nil)
			got, problems := client.Evidence(t.Context(), evidence(partReport, a.report))
			onlyProblem(t, problems, c.item, c.class)
			if kinds(got) != c.kinds {
				t.Errorf("got %q, want %q", kinds(got), c.kinds)
			}
		})
	}
}

// TestQuote gets everything about quotes of all versions once, and then asks nobody.
func TestQuote(t *testing.T) {
	for _, c := range []struct {
		name    string
		version uint16
		ca      simintel.CA
	}{
		{"sgx 3", 3, simintel.ProcessorCA}, {"tdx 4", 4, simintel.PlatformCA}, {"tdx 5", 5, simintel.PlatformCA},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, x := newVendor(t), newIntel(t, c.ca, c.version > 3)
			x.publish(t, v)
			client, _, _ := testClient(t, v, nil)
			quote := append(x.quote(t, c.version), 0, 0)
			got, problems := client.Evidence(t.Context(), evidence(partQuote, quote))
			noProblems(t, problems)
			want := []attest.Collateral{
				{Kind: attest.CollateralTCBInfo, Data: x.tcb},
				cert(x.signer), cert(x.root),
				{Kind: attest.CollateralQEIdentity, Data: x.qe},
				crl(x.crl), cert(x.ca), crl(x.rootCRL),
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff([]string{x.pathTCB(), x.pathQE(), x.pathCRL(), pathRootCRL}, v.requests()); d != "" {
				t.Error(d)
			}
			again, problems := client.Evidence(t.Context(), evidence(partQuote, quote))
			noProblems(t, problems)
			if d := cmp.Diff(got, again); d != "" || v.requests() != nil {
				t.Errorf("asked again, or another answer:\n%s", d)
			}
			_, problems = client.Evidence(t.Context(), evidence(partQuote, quote[:len(quote)/2]))
			onlyProblem(t, problems, "quote", ErrArgument)
		})
	}
}

// TestQuotePartly gets what there is, and names the rest.
func TestQuotePartly(t *testing.T) {
	v, x := newVendor(t), newIntel(t, simintel.PlatformCA, true)
	x.publish(t, v)
	v.on(x.pathQE(), nil)
	v.on(pathRootCRL, nil)
	v.on("/IntelSGXRootCA.der", body(x.rootCRL))
	c, _, _ := testClient(t, v, nil)
	quote := x.quote(t, 4)
	got, problems := c.Evidence(t.Context(), evidence(partQuote, quote))
	onlyProblem(t, problems, "identity of the TDX quoting enclave", ErrUnavailable)
	if kinds(got) != "tcb-info certificate certificate crl certificate crl" {
		t.Errorf("got %s", kinds(got))
	}
	// What is at hand and up to date is not missed.
	hand := attest.Collateral{Kind: attest.CollateralQEIdentity, Data: x.qe}
	_, problems = c.Evidence(t.Context(), evidence(partQuote, quote, hand))
	noProblems(t, problems)
}

// TestNothing: formats without collateral ask nobody.
func TestNothing(t *testing.T) {
	v := newVendor(t)
	c, _, _ := testClient(t, v, nil)
	got, problems := c.Evidence(t.Context(), evidence("attest", []byte("x")))
	if got != nil || problems != nil || v.requests() != nil {
		t.Errorf("got %v, %v", got, problems)
	}
	_, problems = (*Client)(nil).Evidence(t.Context(), evidence("attest", nil))
	onlyProblem(t, problems, "collateral", ErrArgument)
	_, problems = (&Client{}).Evidence(t.Context(), evidence("attest", nil))
	onlyProblem(t, problems, "collateral", ErrArgument)
}

// TestNewClient refuses what is no URL of a service.
func TestNewClient(t *testing.T) {
	for _, u := range []string{"kds", "ftp://kds", "https://", "https://me:secret@kds", "https://kds/?a=b", "https://kds#x", "https://k ds", "//kds"} {
		if _, err := NewClient(&Options{KDS: u, Now: time.Now}); !errors.Is(err, ErrArgument) {
			t.Errorf("%q: %v", u, err)
		}
	}
	for _, o := range []*Options{nil, {}} {
		if _, err := NewClient(o); !errors.Is(err, ErrArgument) {
			t.Errorf("%v: %v", o, err)
		}
	}
	c, err := NewClient(&Options{Now: time.Now})
	if err != nil || c.kds != DefaultKDS || c.pcs != DefaultPCS {
		t.Errorf("%v, %v", c, err)
	}
}

// TestAzure reads the report inside a paravisor's.
func TestAzure(t *testing.T) {
	v, a := newVendor(t), newAMD(t, "Genoa", 3)
	a.publish(v, "Genoa")
	c, _, _ := testClient(t, v, nil)
	n := base64.RawURLEncoding.EncodeToString(append([]byte{0x80}, make([]byte, 255)...))
	h, err := (&hcl.Report{
		Version: 2, Type: hcl.SNP, Hardware: a.report, Hash: attest.SHA256,
		Runtime: fmt.Appendf(nil, `{"keys":[{"kid":"HCLAkPub","key_ops":["sign"],"kty":"RSA","e":"AQAB","n":%q}]}`, n),
	}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	got, problems := c.Evidence(t.Context(), evidence(partHCL, h))
	noProblems(t, problems)
	if !has(got, attest.CollateralCertificate, a.vcek.cert.Raw) {
		t.Errorf("got %s", kinds(got))
	}
	_, problems = c.Evidence(t.Context(), evidence(partHCL, h[:len(h)-1]))
	onlyProblem(t, problems, "attestation report in the paravisor's", ErrArgument)
}

// TestGenuine reads real reports and quotes, and finds the key's certificate at hand.
func TestGenuine(t *testing.T) {
	const dir = "../../../shared/evidence"
	if _, err := os.Stat(dir); err != nil {
		t.Skip("the shared evidence is not there")
	}
	for item, product := range map[string]string{
		"snp-milan-v3-ms": "Milan", "snp-genoa-v3-ms": "Genoa", "snp-turin-v5-ms": "Turin", "snp-milan-v2-virtee": "Milan",
		"snp-vlek-v3-aws-us-east-2-trustee": "Milan",
	} {
		b, err := os.ReadFile(filepath.Join(dir, "sev-snp", item, "report.bin"))
		if err != nil {
			t.Fatal(err)
		}
		vek, err := os.ReadFile(filepath.Join(dir, "sev-snp", item, "vek.der"))
		if err != nil {
			t.Fatal(err)
		}
		r, err := readReport(b[:reportSize])
		if err != nil {
			t.Fatal(err)
		}
		hand := certificates([]attest.Collateral{{Kind: attest.CollateralCertificate, Data: vek}})
		if r.leaf(hand) == nil || !slices.Equal(r.products(hand), []string{product}) {
			t.Errorf("%s: %v, products %v", item, r.leaf(hand), r.products(hand))
		}
	}
	quotes, err := filepath.Glob(filepath.Join(dir, "[st][gd]x", "*", "quote.bin"))
	if err != nil || len(quotes) < 10 {
		t.Fatalf("%d quotes: %v", len(quotes), err)
	}
	read := 0
	for _, name := range quotes {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		p, err := readQuote(b)
		if err != nil {
			t.Logf("%s: %v", name, err)
			continue
		}
		read++
		if len(p.fmspc) != 12 || p.tdx != strings.Contains(name, "/tdx/") {
			t.Errorf("%s: %+v", name, p)
		}
	}
	if read < len(quotes)*3/4 {
		t.Errorf("read %d of %d quotes", read, len(quotes))
	}
}

// FuzzParseFile: items or an error of its class, and the items can be read again.
func FuzzParseFile(f *testing.F) {
	x := newIntel(f, simintel.PlatformCA, true)
	x.publish(f, newVendor(f))
	for _, b := range [][]byte{x.tcb, x.qe, x.crl, x.root.cert.Raw, pemOf(x.ca, x.root)} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		items, err := ParseFile(b)
		if (len(items) == 0) == (err == nil) || err != nil && !errors.Is(err, ErrAnswer) {
			t.Fatalf("%v, %v", items, err)
		}
		for _, item := range items {
			again, err := ParseFile(item.Data)
			if err != nil || !cmp.Equal(again, []attest.Collateral{item}) {
				t.Fatalf("%v, %v", again, err)
			}
			if !VendorKind(item.Kind) {
				t.Fatal(item.Kind)
			}
		}
	})
}

// TestLabels names items, and files as they can be.
func TestLabels(t *testing.T) {
	x := newIntel(t, simintel.PlatformCA, true)
	x.publish(t, newVendor(t))
	odd := issue(t, "../..\x00/ü", nil, nil)
	for _, c := range []struct {
		item       attest.Collateral
		what, file string
	}{
		{cert(x.root), "certificate of Intel SGX Root CA SIMULATED", "certificate-intel-sgx-root-ca-"},
		{cert(odd), "certificate of ../..\x00/ü", "certificate--"},
		{crl(x.crl), "revocation list of Intel SGX PCK Platform CA SIMULATED", "crl-intel-sgx-pck-platform-ca-"},
		{attest.Collateral{Kind: attest.CollateralTCBInfo, Data: x.tcb}, "tcb-info of TDX " + strings.ToUpper(x.fmspc), "tcb-info-tdx-" + x.fmspc + "-"},
		{attest.Collateral{Kind: attest.CollateralQEIdentity, Data: x.qe}, "qe-identity of TD_QE", "qe-identity-td-qe-"},
	} {
		l, err := NewLabel(&c.item)
		if err != nil || l.What != c.what || !strings.HasPrefix(l.File, c.file) || l.Until.IsZero() || filepath.Base(l.File) != l.File {
			t.Errorf("%+v, %v", l, err)
		}
	}
	if _, err := NewLabel(&attest.Collateral{Kind: "ccel"}); !errors.Is(err, ErrAnswer) {
		t.Error(err)
	}
}
