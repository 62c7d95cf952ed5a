package main

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/hcl"
	"github.com/sworn-run/sworn/sev"
	"github.com/sworn-run/sworn/simulator/amd"
	"github.com/sworn-run/sworn/simulator/intel"
)

// chip is a machine of a simulated AMD, and processor one of a simulated Intel.
func chip(tb testing.TB) *amd.Platform {
	tb.Helper()
	maker, err := amd.NewSize(amd.Turin, time.Now(), 2048)
	if err != nil {
		tb.Fatal(err)
	}
	p, err := maker.Platform("a")
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

func processor(tb testing.TB) *intel.Platform {
	tb.Helper()
	maker, err := intel.New(time.Now())
	if err != nil {
		tb.Fatal(err)
	}
	p, err := maker.Platform("a")
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

// must returns bytes, or ends the test.
func must(tb testing.TB, b []byte, err error) []byte {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// paravisor returns the report of a paravisor over a report of the hardware.
func paravisor(tb testing.TB, typ hcl.Type, hardware func([64]byte) []byte) []byte {
	tb.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		tb.Fatal(err)
	}
	runtime := fmt.Sprintf(`{"keys":[{"kid":"HCLAkPub","key_ops":["sign"],"kty":"RSA","e":"AQAB","n":"%s"}],"vm-configuration":{"secure-boot":true},"user-data":"%s"}`,
		base64.RawURLEncoding.EncodeToString(key.N.Bytes()), strings.Repeat("00", 64))
	var data [64]byte
	digest := sha256.Sum256([]byte(runtime))
	copy(data[:], digest[:])
	r := &hcl.Report{Version: 2, Type: typ, Hardware: hardware(data), Hash: attest.SHA256, Runtime: []byte(runtime), Padding: 1}
	b, err := r.Marshal()
	return must(tb, b, err)
}

// ccel returns a firmware's log of a confidential VM, of one separator in RTMR0.
func ccel() []byte {
	data := []byte{0, 0, 0, 0}
	digest := sha512.Sum384(data)
	head := append([]byte("Spec ID Event03\x00"), 0, 0, 0, 0, 0, 2, 0, 2)
	head = append(head, 1, 0, 0, 0, 0x0c, 0, 48, 0, 0)
	b := append([]byte{1, 0, 0, 0, 3, 0, 0, 0}, make([]byte, 20)...)
	b = append(binary.LittleEndian.AppendUint32(b, uint32(len(head))), head...)
	b = append(b, 1, 0, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0x0c, 0)
	b = append(append(b, digest[:]...), 4, 0, 0, 0)
	return append(append(b, data...), 0xff)
}

// teeSpecimens returns a file of every kind that confidential VMs, enclaves and their
// vendors make.
func teeSpecimens(tb testing.TB) []specimen {
	tb.Helper()
	now := time.Now()
	snp, td := chip(tb), processor(tb)
	report, err := snp.Sign(snp.Report("guest", [64]byte{0xaa}))
	must(tb, report, err)
	table, err := snp.Table(amd.VCEK, now)
	must(tb, table, err)
	vcek, err := snp.Certificate(amd.VCEK, now)
	must(tb, vcek, err)
	vlek, err := snp.Certificate(amd.VLEK, now)
	must(tb, vlek, err)
	crl, err := snp.Vendor().CRL(amd.CRL{}, now)
	must(tb, crl, err)
	quotes := map[string][]byte{}
	for name, make := range map[string]func() (*intel.Quote, error){
		"v4":  func() (*intel.Quote, error) { return td.TDQuote(td.TD("guest", [64]byte{0xbb}), 4, now) },
		"v5":  func() (*intel.Quote, error) { return td.TDQuote(td.TD("guest", [64]byte{0xbb}), 5, now) },
		"sgx": func() (*intel.Quote, error) { return td.SGXQuote(td.Enclave("enclave", [64]byte{0xcc}), now) },
	} {
		q, err := make()
		if err != nil {
			tb.Fatal(err)
		}
		b, err := q.Marshal()
		quotes[name] = must(tb, b, err)
	}
	snpWant := []string{"VERSION ", "POLICY 0x", "REPORTED_TCB fmc ", "CHIP_ID ", "SIGNING_KEY VCEK", "REPORT_DATA aa000", "SIGNATURE R "}
	vcekWant := []string{"extensions AMD, 57230", "productName Turin", "blSPL ", "teeSPL ", "snpSPL ", "ucodeSPL ", "fmcSPL ", "hwID "}
	qeWant := []string{"QE MRSIGNER ", "QE ISVSVN ", "FMSPC ", "PCESVN ", "PPID ", "attestation key ", "extensions Intel, PCK profile", "TCB components "}
	tdWant := append([]string{"TDX quote", "quote version ", "MRTD ", "RTMR3 ", "TDATTRIBUTES ", "XFAM ", "MRSEAM ", "REPORTDATA bb000"}, qeWant...)
	infoWant := []string{"id TDX", "issueDate ", "nextUpdate ", "tcbEvaluationDataNumber ", "fmspc ", "tcbLevels[0] UpToDate, tcbDate ", "tdxtcbcomponents ", "signature "}
	document, err := os.ReadFile("../../nitro/testdata/document.cbor")
	must(tb, document, err)
	published, err := td.Collateral(intel.TEETDX, now)
	if err != nil {
		tb.Fatal(err)
	}
	var info, identity []byte
	for _, item := range published {
		switch item.Kind {
		case attest.CollateralTCBInfo:
			info = item.Data
		case attest.CollateralQEIdentity:
			identity = item.Data
		}
	}
	hclSNP := paravisor(tb, hcl.SNP, func(data [64]byte) []byte {
		b, err := snp.Sign(snp.Report("paravisor", data))
		return must(tb, b, err)
	})
	hclWant := []string{"version 2, not signed", "covered by the hardware yes", "HCLAkPub RSA, 2048 bits", "secure-boot true", "zeros after the report 1 bytes"}
	return []specimen{
		{"SEV-SNP report", report, snpWant},
		{"SEV-SNP report and more", append(bytes.Clone(report), 1), append([]string{"surplus 1 bytes after it"}, snpWant...)},
		{"certificate table", table, append([]string{"VCEK 63da758d-e664-4564-adc5-f4b93be8accd, ", "ARK ", "ASK "}, vcekWant...)},
		{"VCEK", vcek, vcekWant},
		{"VLEK", vlek, []string{"productName Turin", "cspID "}},
		{"AMD's revocation list", crl, []string{"thisUpdate ", "nextUpdate ", "revokedCertificates 0"}},
		{"TDX quote of version 4", quotes["v4"], tdWant},
		{"TDX quote of version 5", quotes["v5"], append([]string{"MRSERVICETD ", "TEE_TCB_SVN_2 "}, tdWant...)},
		{"TDX quote and more", append(bytes.Clone(quotes["v4"]), 0), append([]string{"surplus 1 bytes after it"}, tdWant...)},
		{"SGX quote", quotes["sgx"], append([]string{"SGX quote", "MRENCLAVE ", "REPORTDATA cc000"}, qeWant...)},
		{"SGX quote as EGo reports it", intel.Wrap(quotes["sgx"]), append([]string{"SGX quote", "header 16 bytes of Open Enclave", "MRENCLAVE "}, qeWant...)},
		{"TCB info", info, infoWant},
		{"TCB info with a line end", append(bytes.Clone(info), '\n'), append([]string{"surplus 1 bytes after it"}, infoWant...)},
		{"TCB info, indented", bytes.Replace(info, []byte(`{"tcbInfo":`), []byte(`{ "tcbInfo":`), 1), []string{"refused parsing a tcb-info: ", `id "TDX"`, "tcbEvaluationDataNumber "}},
		{"QE identity", identity, []string{"id TD_QE", "mrsigner ", "isvprodid ", "tcbLevels[0] UpToDate, tcbDate "}},
		{"paravisor with SEV-SNP", hclSNP, append(append([]string{"report type 2 (SEV-SNP)"}, hclWant...), "MEASUREMENT ")},
		{"paravisor with TDX", paravisor(tb, hcl.TDX, func(data [64]byte) []byte { return td.Report(td.TD("paravisor", data)) }), append(append([]string{"report type 4 (TDX)", "TDREPORT", "MAC "}, hclWant...), "MRTD ")},
		{"Nitro document", document, []string{"module_id ", "timestamp ", "pcrs[0] ", "cabundle[0] ", "signature ", "public key ECC P-384"}},
		{"firmware's log of a confidential VM", ccel(), []string{"firmware's event log (of a confidential VM (CCEL), 1 events", "event 0 RTMR0, sha384:", "replay of RTMR0 "}},
		{"appraisal", []byte(`{"type":"sworn.run/appraisal/v1","kind":"sev-snp","findings":[{"name":"identity","status":"proven"}]}`), []string{`kind "sev-snp"`}},
		{"description of a volume", []byte(`{"type":"sworn.dm-verity/v1","image":"weights.img","data_blocks":16,"root":"00"}`), []string{`image "weights.img"`, "data_blocks 16"}},
		{"transcript of an enrolment", []byte(`{"type":"sworn.enroll.transcript/v1","vendor":"id:53544D20","certificate":"` + base64.StdEncoding.EncodeToString(newAuthority(tb).cert.Raw) + `"}`), []string{`vendor "id:53544D20"`, `subject "CN=authority"`}},
		{"enrolled key", []byte(`{"type":"sworn.enroll.key/v1","public":"AAAA","private":"c2VjcmV0","auth":"c2VjcmV0"}`), []string{`private "not shown"`, `auth "not shown"`, `public "AAAA"`}},
	}
}

// The secrets of an enrolled key are not shown.
func TestInspectHidesSecrets(t *testing.T) {
	code, out, errs := inspect(t, []byte(`{"type":"sworn.enroll.key/v1","public":"AAAA","private":"c2VjcmV0","auth":"c2VjcmV0"}`))
	if code != 0 || errs != "" || strings.Contains(out, "c2VjcmV0") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
}

// Evidence in a record is shown with what vendors said of it, and without as far as it
// goes.
func TestInspectEvidence(t *testing.T) {
	now := time.Now()
	snp, td := chip(t), processor(t)
	report, err := snp.Sign(snp.Report("guest", [64]byte{1}))
	must(t, report, err)
	q, err := td.TDQuote(td.TD("guest", [64]byte{1}), 4, now)
	if err != nil {
		t.Fatal(err)
	}
	quote, err := q.Marshal()
	must(t, quote, err)
	e, err := td.SGXQuote(td.Enclave("enclave", [64]byte{1}), now)
	if err != nil {
		t.Fatal(err)
	}
	sgx, err := e.Marshal()
	must(t, sgx, err)
	amds, err := snp.Collateral(amd.VCEK, now)
	if err != nil {
		t.Fatal(err)
	}
	intels, err := td.Collateral(intel.TEETDX, now)
	if err != nil {
		t.Fatal(err)
	}
	evidence := []attest.Evidence{
		{Slot: 0, Format: sev.Format, Parts: []attest.Part{{Name: sev.PartReport, Data: report}}},
		{Slot: 1, Format: 3, Parts: []attest.Part{{Name: "quote", Data: quote}}},
		{Slot: 2, Format: 99, Parts: []attest.Part{{Name: "other", Data: []byte("x")}}},
		{Slot: 3, Format: 4, Parts: []attest.Part{{Name: "quote", Data: sgx}}},
	}
	for name, c := range map[string]struct {
		collateral []attest.Collateral
		want, not  []string
	}{
		"with collateral": {
			slices.Concat(amds, intels, []attest.Collateral{{Kind: attest.CollateralCCEL, Data: ccel()}, {Kind: "other", Data: []byte("x")}, {Kind: attest.CollateralCRL, Data: []byte("x")}}),
			[]string{
				"evidence (slot 0, format 2 (sev-snp))", "sev-snp what the parts say", "certificate productName Turin", "version snp ", "uses collateral 0 certificate of the VCEK",
				"evidence (slot 1, format 3 (tdx))", "tdx what the parts say", "register 3 (sha384)", "version tdx_module ",
				"slot 2, format 99", "evidence (slot 3, format 4 (sgx))", "sgx what the parts say", "MRENCLAVE ", "version security_version 1", "collateral (tcb-info, ", "id TDX", "collateral (ccel, ", "replay of RTMR0", "collateral (crl, 1 bytes", "refused ",
			},
			[]string{"no certificate of the signing key"},
		},
		"without": {nil, []string{"sev-snp refused: ", "report what it says, of which nothing is verified", "MEASUREMENT ", "tdx what the parts say", "MRTD "}, []string{"certificate productName"}},
	} {
		w := &treeWriter{}
		treeEvidence(w, evidence, c.collateral)
		treeCollateral(w, c.collateral)
		var out bytes.Buffer
		if err := w.writeText(&out); err != nil {
			t.Fatal(err)
		}
		text := strings.Join(strings.Fields(out.String()), " ")
		for _, want := range c.want {
			if !strings.Contains(text, want) {
				t.Errorf("%s: no %q in\n%s", name, want, &out)
			}
		}
		for _, not := range c.not {
			if strings.Contains(text, not) {
				t.Errorf("%s: %q in\n%s", name, not, &out)
			}
		}
		checkPrintable(t, out.String())
	}
}
