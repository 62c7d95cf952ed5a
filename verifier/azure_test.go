package verifier_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/hcl"
	"github.com/sworn-run/sworn/sev"
	"github.com/sworn-run/sworn/tdx"
	"github.com/sworn-run/sworn/tpm"
	"github.com/sworn-run/sworn/verifier"
)

// azureTime is when the tests of Azure's formats verify.
var azureTime = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// fakeHardware stands for the scheme of the hardware. It takes its one part for genuine
// if that ends in the SHA-256 of what is before.
type fakeHardware struct {
	format attest.Format
	part   string
	// at is the offset of the report data.
	at int
}

func (f fakeHardware) Describe() attest.Description {
	return attest.Description{
		Format: f.format, Name: "fake", Mode: attest.ModeDirect, Anchor: attest.AnchorStatementOnly,
		QuotedHash: attest.SHA512, RootRole: "fake-root", NotApplicable: []string{"slot.counters"},
		Measurements: []attest.MeasurementField{{Name: "measurement", Size: 48, Image: true}},
		Attributes:   []attest.AttributeField{{Name: "vmpl"}}, Versions: []string{"snp"}, VendorStatus: true,
	}
}

// seal makes b genuine.
func (f fakeHardware) seal(b []byte) []byte {
	h := sha256.Sum256(b[:len(b)-32])
	return append(bytes.Clone(b[:len(b)-32]), h[:]...)
}

func (f fakeHardware) Verify(ev *attest.Evidence, _ *attest.Anchors, at time.Time) (*attest.Claims, error) {
	if ev.Format != f.format || at.IsZero() || len(ev.Parts) != 1 || ev.Parts[0].Name != f.part || len(ev.Parts[0].Data) < f.at+64+32 {
		return nil, fmt.Errorf("fake: %w", attest.ErrForm)
	}
	b := ev.Parts[0].Data
	if !bytes.Equal(f.seal(b), b) {
		return nil, fmt.Errorf("fake: %w", attest.ErrSignature)
	}
	passed := attest.Finding{Status: attest.Passed}
	c := &attest.Claims{
		Format: f.format, Quoted: b[f.at : f.at+64],
		Identity:   attest.Identity{Finding: passed, Root: &attest.Root{Role: "fake-root"}, Provenance: "by a fake"},
		Revocation: passed, Coherent: passed, TCB: attest.TCB{Finding: passed, Status: "UpToDate"},
		Measurements: []attest.Measurement{{Name: "measurement", Value: make([]byte, 48)}},
		Attributes:   []attest.Attribute{{Name: "vmpl", Value: 0}},
		Details:      []attest.Detail{{Name: "VERSION", Value: "3"}},
	}
	for i := range ev.Collateral {
		c.Used = append(c.Used, attest.Use{Index: i, What: "fake"})
	}
	return c, nil
}

// azureAK is the key of a virtual TPM made of Go's crypto.
type azureAK struct{ key *rsa.PrivateKey }

func newAzureAK(tb testing.TB) *azureAK {
	tb.Helper()
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		tb.Fatal(err)
	}
	return &azureAK{k}
}

func (a *azureAK) public() *hcl.Key {
	return &hcl.Key{Modulus: a.key.N.Bytes(), Exponent: 65537}
}

// quote returns the TPM's parts of a quote over register 13.
func (a *azureAK) quote(tb testing.TB, extra []byte) []attest.Part {
	tb.Helper()
	be := binary.BigEndian
	area := a.public().Area()
	name := sha256.Sum256(area)
	qualified := sha256.Sum256(slices.Concat([]byte{0x40, 0, 0, 0x0B, 0, 0x0B}, name[:]))
	value := bytes.Repeat([]byte{0xA5}, 32)
	digest := sha256.Sum256(value)
	q := []byte{0xff, 'T', 'C', 'G', 0x80, 0x18, 0, 34, 0, 0x0B}
	q = append(q, qualified[:]...)
	q = append(be.AppendUint16(q, uint16(len(extra))), extra...)
	q = be.AppendUint64(q, 1234)
	q = be.AppendUint64(q, 0x00000005_00000006)
	q = append(q, 1)
	q = be.AppendUint64(q, 0x20191023_00163636)
	q = append(q, 0, 0, 0, 1, 0, 0x0B, 3, 0, 0x20, 0, 0, 32)
	q = append(q, digest[:]...)
	sum := sha256.Sum256(q)
	sig, err := rsa.SignPKCS1v15(rand.Reader, a.key, crypto.SHA256, sum[:])
	if err != nil {
		tb.Fatal(err)
	}
	return []attest.Part{
		{Name: tpm.PartAttest, Data: q},
		{Name: tpm.PartSignature, Data: append([]byte{0, 0x14, 0, 0x0B, 1, 0}, sig...)},
		{Name: tpm.PartPublic, Data: area},
		{Name: tpm.PartPCRs, Data: value},
	}
}

// azureCase is a format with evidence that is accepted.
type azureCase struct {
	scheme   attest.Scheme
	hardware fakeHardware
	ev       *attest.Evidence
	ak       *azureAK
}

// runtimeWith is runtime data that names an AK.
func runtimeWith(k *hcl.Key) []byte {
	return []byte(`{"keys":[{"kid":"HCLAkPub","key_ops":["sign"],"kty":"RSA","e":"AQAB","n":"` +
		base64.RawURLEncoding.EncodeToString(k.Modulus) + `"}],"vm-configuration":{"secure-boot":true},"user-data":"` + strings.Repeat("00", 64) + `"}`)
}

// snpReport returns the paravisor's report around a hardware report that change has had.
func snpReport(tb testing.TB, f fakeHardware, k *hcl.Key, change func(*hcl.Report)) []byte {
	tb.Helper()
	r := &hcl.Report{Version: 2, Type: hcl.SNP, Hash: attest.SHA256, Hardware: make([]byte, hcl.SNPSize), Runtime: runtimeWith(k), Padding: 40}
	copy(r.Hardware[0x50:], r.ReportData())
	if change != nil {
		change(r)
	}
	r.Hardware = f.seal(r.Hardware)
	b, err := r.Marshal()
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// tdReport returns the paravisor's report with a TDREPORT, and a quote over it.
func tdReport(tb testing.TB, f fakeHardware, k *hcl.Key, change func(*hcl.Report)) (report, quote []byte) {
	tb.Helper()
	r := &hcl.Report{Version: 2, Type: hcl.TDX, Hash: attest.SHA256, Hardware: make([]byte, hcl.TDXSize), Runtime: runtimeWith(k)}
	t := r.Hardware
	t[0] = 0x81
	copy(t[128:], r.ReportData())
	for i := range 400 {
		t[512+i] = byte(i)
	}
	if change != nil {
		change(r)
	}
	tcb, info := sha512.Sum384(t[256:256+239]), sha512.Sum384(t[512:])
	copy(t[32:], tcb[:])
	copy(t[80:], info[:])
	quote = make([]byte, 48)
	quote[0] = 4
	quote = slices.Concat(quote, t[264:384], t[512:512+400], t[128:192], make([]byte, 32))
	b, err := r.Marshal()
	if err != nil {
		tb.Fatal(err)
	}
	return b, f.seal(quote)
}

// azureCases returns both formats.
func azureCases(tb testing.TB) map[string]*azureCase {
	tb.Helper()
	ak := newAzureAK(tb)
	extra := bytes.Repeat([]byte{7}, 32)
	snp := fakeHardware{2, "report", 0x50}
	tdx := fakeHardware{3, "quote", 48 + 520}
	report, quote := tdReport(tb, tdx, ak.public(), nil)
	collateral := []attest.Collateral{{Kind: attest.CollateralCRL, Data: []byte{1}}}
	return map[string]*azureCase{
		"azure-snp": {verifier.AzureSNP(snp), snp, &attest.Evidence{
			Slot: 1, Format: 5, Collateral: collateral,
			Parts: append([]attest.Part{{Name: "hcl", Data: snpReport(tb, snp, ak.public(), nil)}}, ak.quote(tb, extra)...),
		}, ak},
		"azure-tdx": {verifier.AzureTDX(tdx), tdx, &attest.Evidence{
			Slot: 1, Format: 6, Collateral: collateral,
			Parts: append([]attest.Part{{Name: "hcl", Data: report}, {Name: "quote", Data: quote}}, ak.quote(tb, extra)...),
		}, ak},
	}
}

func TestAzure(t *testing.T) {
	for name, c := range azureCases(t) {
		d := c.scheme.Describe()
		if d.Name != name || d.Format != c.ev.Format || d.Mode != attest.ModeViaAK || d.Anchor != attest.AnchorRegister ||
			d.QuotedHash != attest.SHA256 || d.RootRole != "fake-root" || len(d.NotApplicable) != 0 ||
			len(d.Measurements) != 1 || len(d.Attributes) != 1 || len(d.Versions) != 1 || !d.VendorStatus {
			t.Errorf("%s: %+v", name, d)
		}
		got, err := c.scheme.Verify(c.ev, nil, azureTime)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		id, err := tpm.KeyID(c.ak.public().Area())
		if err != nil {
			t.Fatal(err)
		}
		if got.Format != c.ev.Format || got.KeyID != id || !bytes.Equal(got.Quoted, bytes.Repeat([]byte{7}, 32)) ||
			len(got.Registers) != 1 || got.Counters.ResetCount != 5 || got.Device != id {
			t.Errorf("%s: the TPM's claims are %+v", name, got)
		}
		if got.Identity.Status != attest.Passed || got.Identity.Root.Role != "fake-root" || !strings.HasSuffix(got.Identity.Provenance, ": by a fake") ||
			got.Revocation.Status != attest.Passed || got.Coherent.Status != attest.Passed || got.TCB.Status != "UpToDate" ||
			len(got.Measurements) != 1 || len(got.Attributes) != 1 || len(got.Used) != 1 {
			t.Errorf("%s: the hardware's claims are %+v", name, got)
		}
		seen := map[string]bool{}
		for _, d := range got.Details {
			seen[d.Name] = true
		}
		for _, want := range []string{"HCL user-data", "TPM qualifiedSigner", map[string]string{"azure-snp": "SEV-SNP VERSION", "azure-tdx": "TDX VERSION"}[name]} {
			if !seen[want] {
				t.Errorf("%s: no detail %s", name, want)
			}
		}
	}
}

// TestAzureFlip: no bit of the evidence can be changed but those of a TDREPORT that the
// quote leaves out.
func TestAzureFlip(t *testing.T) {
	for name, c := range azureCases(t) {
		accepted := 0
		for part := range c.ev.Parts {
			genuine := c.ev.Parts[part].Data
			for i := range 8 * len(genuine) {
				at := i / 8
				b := bytes.Clone(genuine)
				b[at] ^= 1 << (i % 8)
				c.ev.Parts[part].Data = b
				got, err := c.scheme.Verify(c.ev, nil, azureTime)
				at -= 32
				if name == "azure-tdx" && part == 0 && (at >= 16 && at < 32 || at >= 224 && at < 256) {
					if err == nil {
						accepted++
					}
					continue
				}
				if err == nil || got != nil || !errors.Is(err, attest.ErrForm) && !errors.Is(err, attest.ErrSignature) && !errors.Is(err, attest.ErrMode) {
					t.Fatalf("%s: part %s, bit %d: %v", name, c.ev.Parts[part].Name, i, err)
				}
			}
			c.ev.Parts[part].Data = genuine
		}
		if want := map[string]int{"azure-tdx": 8 * 48}[name]; accepted != want {
			t.Errorf("%s: %d bits do not count, want %d", name, accepted, want)
		}
	}
}

func TestAzureParts(t *testing.T) {
	for name, c := range azureCases(t) {
		parts := c.ev.Parts
		refused := func(what string, list ...attest.Part) {
			t.Helper()
			ev := *c.ev
			ev.Parts = list
			if got, err := c.scheme.Verify(&ev, nil, azureTime); !errors.Is(err, attest.ErrForm) || got != nil {
				t.Errorf("%s: %s: %v", name, what, err)
			}
		}
		for i := range parts {
			refused("without "+parts[i].Name, slices.Delete(slices.Clone(parts), i, i+1)...)
			refused("twice "+parts[i].Name, slices.Insert(slices.Clone(parts), i, parts[i])...)
			if i > 0 {
				swapped := slices.Clone(parts)
				swapped[i], swapped[i-1] = swapped[i-1], swapped[i]
				refused("swapped "+parts[i].Name, swapped...)
			}
			renamed := slices.Clone(parts)
			renamed[i].Name = "other"
			refused("renamed "+parts[i].Name, renamed...)
		}
		refused("a certificate", append(slices.Clone(parts), attest.Part{Name: tpm.PartCertificate, Data: []byte{0x30, 0}})...)
		refused("nothing")
		other := *c.ev
		other.Format = 1
		if _, err := c.scheme.Verify(&other, nil, azureTime); !errors.Is(err, attest.ErrForm) {
			t.Errorf("%s: another format: %v", name, err)
		}
		for _, err := range []error{
			second(c.scheme.Verify(nil, nil, azureTime)), second(c.scheme.Verify(c.ev, nil, time.Time{})),
			second(verifier.AzureSNP(nil).Verify(c.ev, nil, azureTime)),
		} {
			if !errors.Is(err, attest.ErrArgument) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if d := verifier.AzureTDX(nil).Describe(); d.Format != 6 {
		t.Errorf("%+v", d)
	}
}

func second(_ *attest.Claims, err error) error { return err }

// TestAzureForged: genuine pieces that do not belong together.
func TestAzureForged(t *testing.T) {
	cases := azureCases(t)
	snp, tdx := cases["azure-snp"], cases["azure-tdx"]
	other := newAzureAK(t)
	extra := bytes.Repeat([]byte{7}, 32)
	with := func(ev *attest.Evidence, report []byte, more ...attest.Part) *attest.Evidence {
		out := *ev
		out.Parts = append([]attest.Part{{Name: "hcl", Data: report}}, more...)
		return &out
	}
	tdParts := func(change func(*hcl.Report), k *hcl.Key, quoted []attest.Part) *attest.Evidence {
		report, quote := tdReport(t, tdx.hardware, k, change)
		return with(tdx.ev, report, append([]attest.Part{{Name: "quote", Data: quote}}, quoted...)...)
	}
	quoted := snp.ev.Parts[1:]
	otherReport, _ := tdReport(t, tdx.hardware, tdx.ak.public(), func(r *hcl.Report) { r.Hardware[600] ^= 1 })
	for name, c := range map[string]struct {
		scheme attest.Scheme
		ev     *attest.Evidence
		want   error
	}{
		"SNP: report names another AK": {snp.scheme, with(snp.ev, snpReport(t, snp.hardware, other.public(), nil), quoted...), attest.ErrSignature},
		"SNP: another AK quotes":       {snp.scheme, with(snp.ev, snp.ev.Parts[0].Data, other.quote(t, extra)...), attest.ErrSignature},
		"SNP: report data is another digest": {snp.scheme, with(snp.ev, snpReport(t, snp.hardware, snp.ak.public(), func(r *hcl.Report) {
			r.Hardware[0x50] ^= 1
		}), quoted...), attest.ErrSignature},
		"SNP: report data goes on": {snp.scheme, with(snp.ev, snpReport(t, snp.hardware, snp.ak.public(), func(r *hcl.Report) {
			r.Hardware[0x50+63] = 1
		}), quoted...), attest.ErrSignature},
		"SNP: runtime data exchanged": {snp.scheme, with(snp.ev, snpReport(t, snp.hardware, other.public(), func(r *hcl.Report) {
			r.Runtime = runtimeWith(snp.ak.public())
		}), quoted...), attest.ErrSignature},
		"SNP: VMPL 1": {snp.scheme, with(snp.ev, snpReport(t, snp.hardware, snp.ak.public(), func(r *hcl.Report) {
			r.Hardware[0x30] = 1
		}), quoted...), attest.ErrMode},
		"SNP: hashed with SHA-384": {snp.scheme, with(snp.ev, snpReport(t, snp.hardware, snp.ak.public(), func(r *hcl.Report) {
			r.Hash = attest.SHA384
			copy(r.Hardware[0x50:], r.ReportData())
		}), quoted...), attest.ErrForm},
		"SNP: report of a TD": {snp.scheme, with(snp.ev, tdx.ev.Parts[0].Data, quoted...), attest.ErrForm},
		"TDX: report of SNP":  {tdx.scheme, with(tdx.ev, snp.ev.Parts[0].Data, tdx.ev.Parts[1:]...), attest.ErrForm},
		"TDX: another AK":     {tdx.scheme, tdParts(nil, other.public(), quoted), attest.ErrSignature},
		"TDX: report data is another digest": {tdx.scheme, tdParts(func(r *hcl.Report) {
			r.Hardware[128] ^= 1
		}, tdx.ak.public(), quoted), attest.ErrSignature},
		"TDX: quote over another TDREPORT": {tdx.scheme, with(tdx.ev, otherReport, tdx.ev.Parts[1:]...), attest.ErrSignature},
	} {
		if got, err := c.scheme.Verify(c.ev, nil, azureTime); !errors.Is(err, c.want) || got != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	// What these cases have in common is accepted.
	if _, err := tdx.scheme.Verify(tdParts(nil, tdx.ak.public(), quoted), nil, azureTime); err != nil {
		t.Error(err)
	}
}

// TestAzureGenuine: the quotes of Azure's machines, with the AK's public area made from
// the runtime data, and, for SEV-SNP, AMD's certificates. Intel's collateral is tried in
// package appraise.
func TestAzureGenuine(t *testing.T) {
	dir := os.Getenv("SWORN_SHARED")
	if dir == "" {
		dir = filepath.Join("..", "..", "shared")
	}
	if _, err := os.Stat(filepath.Join(dir, "evidence")); err != nil {
		t.Skip("the shared evidence folder is not here: set SWORN_SHARED")
	}
	for _, id := range []string{"azsnp-milan-v3-trustee-v0", "azsnp-milan-v3-trustee-v1", "azsnp-genoa-v3-trustee", "aztdx-trustee-v1"} {
		tech := "azure-" + id[2:5]
		read := func(name string) []byte {
			b, err := os.ReadFile(filepath.Join(dir, "evidence", tech, id, name))
			if err != nil {
				t.Fatal(err)
			}
			return b
		}
		r, err := hcl.Parse(read("hcl_report.bin"))
		if err != nil {
			t.Fatal(err)
		}
		scheme := verifier.AzureSNP(sev.Scheme{})
		ev := &attest.Evidence{Format: 5, Parts: []attest.Part{{Name: "hcl", Data: read("hcl_report.bin")}}}
		if tech == "azure-tdx" {
			scheme = verifier.AzureTDX(tdx.Scheme{})
			ev.Format = 6
			quote, surplus, err := tdx.Surplus(read("td_quote.bin"))
			if err != nil || len(surplus) != 70 {
				t.Fatal(len(surplus), err)
			}
			ev.Parts = append(ev.Parts, attest.Part{Name: "quote", Data: quote})
		} else {
			ev.Collateral = []attest.Collateral{{Kind: attest.CollateralCertificate, Data: read("vcek.der")}}
			for block, rest := pem.Decode(read("ask_ark.pem")); block != nil; block, rest = pem.Decode(rest) {
				ev.Collateral = append(ev.Collateral, attest.Collateral{Kind: attest.CollateralCertificate, Data: block.Bytes})
			}
		}
		msg, key := read("tpm_quote.msg"), r.AK.Public()
		sig, err := tpm.PlainSignature(msg, read("tpm_quote.sig"), key)
		if err != nil {
			t.Fatal(err)
		}
		ev.Parts = append(ev.Parts, attest.Part{Name: tpm.PartAttest, Data: msg}, attest.Part{Name: tpm.PartSignature, Data: sig},
			attest.Part{Name: tpm.PartPublic, Data: r.AK.Area()}, attest.Part{Name: tpm.PartPCRs, Data: allRegisters(t, read("pcrs.json"), msg)})
		c, err := scheme.Verify(ev, &attest.Anchors{Pins: sev.Pins()}, azureTime)
		if err != nil {
			t.Errorf("%s: %v", id, err)
			continue
		}
		if tech == "azure-snp" && (c.Identity.Status != attest.Passed || c.Coherent.Status != attest.Passed || c.TCB.Finding.Status != attest.Passed || len(c.Used) != len(ev.Collateral)) {
			t.Errorf("%s: %+v", id, c)
		}
		if c.Identity.Status == attest.Failed || len(c.Measurements) == 0 || len(c.Attributes) == 0 {
			t.Errorf("%s: %+v", id, c)
		}
		if len(c.Quoted) == 0 || len(c.Registers) == 0 {
			t.Errorf("%s: %+v", id, c)
		}
	}
}

// allRegisters returns the values of the quoted registers of SHA-256, from the list of
// all 24.
func allRegisters(t *testing.T, list, msg []byte) []byte {
	t.Helper()
	selection, err := tpm.QuoteSelection(msg)
	if err != nil || len(selection) != 1 {
		t.Fatal(selection, err)
	}
	values := strings.FieldsFunc(string(list), func(r rune) bool { return !strings.ContainsRune("0123456789abcdef", r) })
	if len(values) != 24 {
		t.Fatalf("%d registers", len(values))
	}
	var out []byte
	for _, i := range selection[0].Indices {
		out = fmt.Appendf(out, "%s", unhexText(t, values[i]))
	}
	return out
}

func unhexText(t *testing.T, s string) []byte {
	t.Helper()
	var out []byte
	if _, err := fmt.Sscanf(s, "%x", &out); err != nil {
		t.Fatal(err)
	}
	return out
}
