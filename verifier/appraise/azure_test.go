package appraise

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/hcl"
	"github.com/sworn-run/sworn/tdx"
	"github.com/sworn-run/sworn/verifier"
)

// fakeSNP stands for the scheme of the hardware: a report is genuine if it ends in the
// SHA-256 of what is before. Its findings are as given.
type fakeSNP struct {
	identity, revocation, coherent, tcb attest.Status
	status                              string
	vendor                              bool
}

func (f fakeSNP) Describe() attest.Description {
	return attest.Description{Format: 2, Name: "fake", VendorStatus: f.vendor}
}

func sealed(b []byte) []byte {
	sum := sha256.Sum256(b[:len(b)-32])
	return append(bytes.Clone(b[:len(b)-32]), sum[:]...)
}

func (f fakeSNP) Verify(ev *attest.Evidence, _ *attest.Anchors, _ time.Time) (*attest.Claims, error) {
	b := ev.Parts[0].Data
	if !bytes.Equal(sealed(b), b) {
		return nil, fmt.Errorf("fake: %w", attest.ErrSignature)
	}
	finding := func(s attest.Status) attest.Finding { return attest.Finding{Status: s, Detail: "as a fake says"} }
	c := &attest.Claims{
		Quoted: b[0x50:0x90], Identity: attest.Identity{Finding: finding(f.identity)}, Revocation: finding(f.revocation),
		Coherent: finding(f.coherent), TCB: attest.TCB{Finding: finding(f.tcb), Status: f.status},
		Measurements: []attest.Measurement{{Name: "measurement", Value: []byte{1}}},
	}
	if len(ev.Collateral) > 0 {
		c.Used = []attest.Use{{Index: 0, What: "the VCEK"}}
	}
	return c, nil
}

// good is a hardware that is as it should be.
func good() fakeSNP {
	return fakeSNP{identity: attest.Passed, coherent: attest.Passed, tcb: attest.Passed}
}

// azureFiles are the files of a machine, by name.
func azureFiles(t *testing.T, nonce []byte) map[string][]byte {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ak := hcl.Key{Modulus: k.N.Bytes(), Exponent: 65537}
	r := &hcl.Report{Version: 2, Type: hcl.SNP, Hash: attest.SHA256, Hardware: make([]byte, hcl.SNPSize), Padding: 50}
	r.Runtime = []byte(`{"keys":[{"kid":"HCLAkPub","key_ops":["sign"],"kty":"RSA","e":"AQAB","n":"` + base64.RawURLEncoding.EncodeToString(ak.Modulus) + `"}]}`)
	copy(r.Hardware[0x50:], r.ReportData())
	r.Hardware = sealed(r.Hardware)
	report, err := r.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	values := make([]string, 24)
	for i := range values {
		values[i] = hex.EncodeToString(value(attest.SHA256, i))
	}
	pcrs, err := json.Marshal(values)
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeTPM{area: ak.Area()}
	quote := f.attest(nonce, attest.SHA256.Sum(value(attest.SHA256, 0), value(attest.SHA256, 13)), select1{attest.SHA256, []byte{1, 0x20, 0}})
	sum := sha256.Sum256(quote)
	sig, err := rsa.SignPKCS1v15(rand.Reader, k, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	m := newMaker(t)
	template := &x509.Certificate{SerialNumber: big.NewInt(7), NotBefore: testTime, NotAfter: testTime.Add(time.Hour)}
	akCertificate, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	return map[string][]byte{
		"hcl_report.bin": report, "runtime_data.json": r.Runtime, "tpm_quote.msg": quote, "tpm_quote.sig": sig,
		"pcrs.json": pcrs, "vcek.der": m.cert.Raw, "ak_cert.der": append(akCertificate, make([]byte, 100)...), "notes.txt": []byte("hello"),
	}
}

// judge appraises files with a hardware.
func judge(t *testing.T, hardware fakeSNP, files []File, strict bool) *Report {
	t.Helper()
	a := &appraisal{in: Input{Kind: AzureSNP, Files: files, At: testTime, Strict: strict}, report: &Report{Kind: AzureSNP}}
	a.report.Refusal = a.azure(verifier.AzureSNP(hardware))
	return a.report
}

func TestAzure(t *testing.T) {
	files := azureFiles(t, []byte("challenge"))
	r := judge(t, good(), fileList(files), true)
	if r.Refusal != nil || len(r.Quoted) != 2 {
		t.Fatalf("%v, %v", r.Refusal, r.Quoted)
	}
	text := ""
	for _, f := range r.Findings {
		text += fmt.Sprintf("%s/%s: %v %s\n", f.Subject, f.Name, f.Status, f.Detail)
	}
	for _, want := range []string{
		"hcl_report.bin/report data: passed", "tpm_quote.msg/signature: passed", "tpm_quote.msg/key: passed",
		"hcl_report.bin/identity: passed", "hcl_report.bin/revocation: not established", "hcl_report.bin/TCB: passed",
		"hcl_report.bin/measurement: passed 01", "vcek.der/used: passed the VCEK", "ak_cert.der/not used: not established",
		"runtime_data.json/runtime data: passed", "notes.txt/not read: not established", "freshness: not established extraData is 6368616c6c656e6765",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if kind, err := tell(fileList(files)); kind != AzureSNP || err != nil {
		t.Errorf("kind %q, %v", kind, err)
	}
	// The real scheme of the hardware wants AMD's signature.
	got, err := Appraise(Input{Files: fileList(files), At: testTime})
	if err != nil || got.Kind != AzureSNP || !errors.Is(got.Refusal, attest.ErrForm) && !errors.Is(got.Refusal, attest.ErrSignature) && !errors.Is(got.Refusal, attest.ErrMode) {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestAzureRefused: what is missing, broken or not of one machine.
func TestAzureRefused(t *testing.T) {
	files, other := azureFiles(t, []byte("challenge")), azureFiles(t, []byte("challenge"))
	flip := func(name string, at int) func(map[string][]byte) {
		return func(m map[string][]byte) {
			m[name] = bytes.Clone(m[name])
			m[name][at] ^= 1
		}
	}
	without := func(name string) func(map[string][]byte) { return func(m map[string][]byte) { delete(m, name) } }
	swap := func(name string) func(map[string][]byte) { return func(m map[string][]byte) { m[name] = other[name] } }
	for name, c := range map[string]struct {
		change func(map[string][]byte)
		want   error
	}{
		"no report":    {without("hcl_report.bin"), attest.ErrForm},
		"no quote":     {without("tpm_quote.msg"), attest.ErrForm},
		"no signature": {without("tpm_quote.sig"), attest.ErrForm},
		"no registers": {without("pcrs.json"), attest.ErrForm},
		"two reports":  {func(m map[string][]byte) { m["second"] = m["hcl_report.bin"] }, attest.ErrForm},
		"two quotes": {func(m map[string][]byte) {
			m["tpm_quote2.msg"], m["tpm_quote2.sig"] = m["tpm_quote.msg"], m["tpm_quote.sig"]
		}, attest.ErrForm},
		"report's form":       {flip("hcl_report.bin", 5), attest.ErrForm},
		"hardware":            {flip("hcl_report.bin", 300), attest.ErrSignature},
		"quote":               {flip("tpm_quote.msg", 60), attest.ErrSignature},
		"signature":           {flip("tpm_quote.sig", 60), attest.ErrSignature},
		"register":            {flip("pcrs.json", 5), attest.ErrSignature},
		"another's report":    {swap("hcl_report.bin"), attest.ErrSignature},
		"another's quote":     {swap("tpm_quote.msg"), attest.ErrSignature},
		"other runtime data":  {swap("runtime_data.json"), ErrRefused},
		"broken runtime data": {flip("runtime_data.json", 40), ErrRefused},
		"a register less": {func(m map[string][]byte) {
			m["pcrs.json"] = []byte(`{"sha256":{"0":"` + strings.Repeat("00", 32) + `"}}`)
		}, attest.ErrForm},
		"broken collateral": {func(m map[string][]byte) { m["collateral.json"] = []byte(`{"tcb_info":7}`) }, attest.ErrForm},
		"a TD quote":        {func(m map[string][]byte) { m["td"] = append([]byte{4, 0, 2, 0, 0x81}, make([]byte, 100)...) }, attest.ErrForm},
	} {
		m := maps.Clone(files)
		c.change(m)
		if r := judge(t, good(), fileList(m), false); !errors.Is(r.Refusal, c.want) {
			t.Errorf("%s: %v, want %v", name, r.Refusal, c.want)
		}
	}
}

// TestAzureStrict: what counts against the evidence in any case, and what strictly.
func TestAzureStrict(t *testing.T) {
	files := fileList(azureFiles(t, []byte("challenge")))
	with := func(change func(*fakeSNP)) fakeSNP {
		f := good()
		change(&f)
		return f
	}
	for name, c := range map[string]struct {
		hardware      fakeSNP
		strict, plain bool
	}{
		"good":             {good(), true, true},
		"stranger":         {with(func(f *fakeSNP) { f.identity = attest.NotEstablished }), false, true},
		"forged chain":     {with(func(f *fakeSNP) { f.identity = attest.Failed }), false, false},
		"revoked":          {with(func(f *fakeSNP) { f.revocation = attest.Failed }), false, false},
		"not known":        {with(func(f *fakeSNP) { f.coherent = attest.NotEstablished }), false, true},
		"another platform": {with(func(f *fakeSNP) { f.coherent = attest.Failed }), false, false},
		"no TCB":           {with(func(f *fakeSNP) { f.tcb = attest.NotEstablished }), false, true},
		"revoked platform": {with(func(f *fakeSNP) { f.tcb = attest.Failed }), false, false},
		"out of date":      {with(func(f *fakeSNP) { f.vendor, f.status = true, "OutOfDate" }), false, true},
		"up to date": {with(func(f *fakeSNP) {
			f.vendor, f.status, f.revocation = true, "UpToDate", attest.Passed
		}), true, true},
		"no lists of who publishes a status": {with(func(f *fakeSNP) { f.vendor, f.status = true, "UpToDate" }), false, true},
		"vendor without word":                {with(func(f *fakeSNP) { f.vendor = true }), false, true},
	} {
		for _, strict := range []bool{true, false} {
			want := c.plain
			if strict {
				want = c.strict
			}
			r := judge(t, c.hardware, files, strict)
			if r.Accepted() != want || !want && !errors.Is(r.Refusal, ErrRefused) {
				t.Errorf("%s, strict %v: %v", name, strict, r.Refusal)
			}
		}
	}
	empty := fileList(azureFiles(t, nil))
	if r := judge(t, good(), empty, true); !errors.Is(r.Refusal, ErrRefused) {
		t.Errorf("nothing asked for, strictly: %v", r.Refusal)
	}
	if r := judge(t, good(), empty, false); !r.Accepted() {
		t.Errorf("nothing asked for: %v", r.Refusal)
	}
}

func TestQuoteCollateral(t *testing.T) {
	maker := func() string {
		return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: newMaker(t).cert.Raw}))
	}
	text := func(m map[string]string) []byte {
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	all := map[string]string{
		"tcb_info": `{"id":"TDX", "a":[1]}`, "tcb_info_signature": "00ff", "qe_identity": `{}`, "qe_identity_signature": "01",
		"root_ca_crl": "3000", "pck_crl": "3001", "pck_crl_issuer_chain": maker() + maker(), "tcb_info_issuer_chain": maker(), "qe_identity_issuer_chain": "",
	}
	m, err := object(text(all))
	if err != nil {
		t.Fatal(err)
	}
	got, err := quoteCollateral(m)
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, c := range got {
		kinds = append(kinds, c.Kind)
	}
	if want := []string{"tcb-info", "qe-identity", "crl", "crl", "certificate", "certificate", "certificate"}; !slices.Equal(kinds, want) {
		t.Errorf("%q, want %q", kinds, want)
	}
	if string(got[0].Data) != `{"tcbInfo":{"id":"TDX", "a":[1]},"signature":"00ff"}` || !bytes.Equal(got[3].Data, []byte{0x30, 1}) {
		t.Errorf("%s, %x", got[0].Data, got[3].Data)
	}
	for name, value := range map[string]string{
		"tcb_info": "7", "qe_identity": "", "tcb_info_signature": "x", "root_ca_crl": "0", "pck_crl": "zz",
	} {
		changed := maps.Clone(all)
		changed[name] = value
		m, err := object(text(changed))
		if err != nil {
			t.Fatal(err)
		}
		got, err := quoteCollateral(m)
		if name == "qe_identity" {
			if err != nil || len(got) != 6 {
				t.Errorf("without %s: %d items, %v", name, len(got), err)
			}
			continue
		}
		if !errors.Is(err, attest.ErrForm) || got != nil {
			t.Errorf("%s %q: %v", name, value, err)
		}
	}
}

// TestAzureTDX: a machine of Azure whose platform Intel called out of date; it is refused
// for that, strictly, and for nothing else.
func TestAzureTDX(t *testing.T) {
	dir := os.Getenv("SWORN_SHARED")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared")
	}
	dir = filepath.Join(dir, "evidence", "azure-tdx", "aztdx-trustee-v1")
	if _, err := os.Stat(dir); err != nil {
		t.Skip("the shared evidence folder is not here: set SWORN_SHARED")
	}
	var files []File
	for _, name := range []string{"hcl_report.bin", "runtime_data.json", "tpm_quote.msg", "tpm_quote.sig", "pcrs.json", "td_quote.bin", "collateral.json"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, File{name, b})
	}
	in := Input{Files: files, Anchors: &attest.Anchors{Pins: tdx.Pins()}, At: time.Date(2025, 2, 5, 11, 57, 3, 0, time.UTC)}
	r, err := Appraise(in)
	if err != nil || r.Refusal != nil || r.Kind != AzureTDX {
		t.Fatalf("%+v, %v", r, err)
	}
	for name, want := range map[string]attest.Status{
		"report data": attest.Passed, "TD quote": attest.Passed, "signature": attest.Passed, "identity": attest.Passed,
		"revocation": attest.Passed, "collateral": attest.Passed, "TCB": attest.Passed, "mrtd": attest.Passed,
	} {
		at := slices.IndexFunc(r.Findings, func(f Finding) bool { return f.Name == name })
		if at < 0 || r.Findings[at].Status != want {
			t.Errorf("%s: %+v", name, r.Findings)
		} else if name == "TCB" && !strings.HasPrefix(r.Findings[at].Detail, "OutOfDate ") {
			t.Errorf("TCB: %s", r.Findings[at].Detail)
		}
	}
	in.Strict = true
	if r, err := Appraise(in); err != nil || !errors.Is(r.Refusal, ErrRefused) {
		t.Errorf("strictly: %v, %v", r.Refusal, err)
	}
	// The surplus that hosts pad quotes with is told.
	in.Strict = false
	in.Files = slices.Clone(files)
	in.Files[5].Data = append(bytes.Clone(files[5].Data), 0, 0, 0)
	r, err = Appraise(in)
	if err != nil || r.Refusal != nil || !slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Name == "surplus" }) {
		t.Errorf("surplus: %+v, %v", r, err)
	}
}
