package appraise

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/hcl"
	"github.com/sworn-run/sworn/tdx"
	"github.com/sworn-run/sworn/tpm"
)

// beginReport is the mark of a paravisor's report.
var beginReport = []byte("HCLA")

// upToDate is the one status of a platform that is accepted strictly, of a vendor that
// publishes any.
const upToDate = "UpToDate"

// azureBundle is the evidence of one of Azure's machines.
type azureBundle struct {
	report *File
	parsed *hcl.Report
	// td is the TD quote.
	td *File
	// surplus is how many bytes follow the TD quote.
	surplus int
	// runtime are files that say that they are the runtime data.
	runtime []*File
	vendorFiles
	tpm bundle
}

// azure appraises what was kept of a confidential VM on Azure, with the scheme of its
// format: it puts the evidence together that the machine would have sent. The one part
// that nobody keeps, the AK's public area, is made from the key in the runtime data; the
// quote confirms it or not.
func (a *appraisal) azure(scheme attest.Scheme) error {
	a.report.Form = formFiles
	b := &azureBundle{tpm: bundle{form: formFiles}}
	unused, err := b.sort(a.in.Files)
	if err != nil {
		return fmt.Errorf("reading the evidence: %w", err)
	}
	if len(b.tpm.quotes) != 1 {
		return fmt.Errorf("%d quotes of the virtual TPM, want 1: %w", len(b.tpm.quotes), attest.ErrForm)
	}
	for _, n := range b.dropAK() {
		a.open(n, "not used", "the AK's certificate; the hardware names the AK")
	}
	ev, err := b.evidence(scheme.Describe().Format)
	if err != nil {
		return err
	}
	c, err := scheme.Verify(ev, a.in.Anchors, a.in.At)
	if err != nil {
		return err
	}
	a.azureClaims(b, c)
	for _, f := range b.runtime {
		if !bytes.Equal(f.Data, b.parsed.Runtime) {
			return a.against(f.Name, "runtime data", "is not what the report has")
		}
		a.proven(f.Name, "runtime data", "is what the report has")
	}
	if err := a.strictly(c, scheme.Describe().VendorStatus); err != nil {
		return err
	}
	a.unread(unused)
	return nil
}

// sort tells the files apart. It returns the names of those that are of no use.
func (b *azureBundle) sort(files []File) (unused []string, err error) {
	var quotes, signatures, values []*File
	for i := range files {
		f := &files[i]
		switch {
		case bytes.HasPrefix(f.Data, beginReport):
			if b.report != nil {
				return nil, fmt.Errorf("%s: a second report of a paravisor: %w", f.Name, attest.ErrForm)
			}
			b.report = f
			continue
		case isTDQuote(f.Data):
			if b.td != nil {
				return nil, fmt.Errorf("%s: a second TD quote: %w", f.Name, attest.ErrForm)
			}
			b.td = f
			continue
		}
		switch contentOf(f) {
		case isQuote:
			quotes = append(quotes, f)
		case isSignature:
			signatures = append(signatures, f)
		case isCertificate:
			err = b.addCertificates(f)
		case isJSON:
			known := false
			if known, err = b.sortJSON(f, &values); err == nil && !known {
				unused = append(unused, f.Name)
			}
		case isValues:
			values = append(values, f)
		default:
			unused = append(unused, f.Name)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	if b.report == nil {
		return nil, fmt.Errorf("no report of a paravisor: %w", attest.ErrForm)
	}
	if b.parsed, err = hcl.Parse(b.report.Data); err != nil {
		return nil, fmt.Errorf("%s: %w", b.report.Name, err)
	}
	used, err := b.tpm.pair(quotes, signatures, values, files)
	return slices.DeleteFunc(unused, func(n string) bool { return slices.Contains(used, n) }), err
}

// sortJSON takes runtime data, collateral or registers; false for anything else.
func (b *azureBundle) sortJSON(f *File, values *[]*File) (bool, error) {
	m, err := object(f.Data)
	if err == nil && m["keys"] != nil {
		b.runtime = append(b.runtime, f)
		return true, nil
	}
	if err == nil && m["tcb_info"] != nil {
		return true, b.addCollateral(f, m)
	}
	if _, err := ParseRegisters(f.Data); err != nil {
		return false, nil //nolint:nilerr // It is something else.
	}
	*values = append(*values, f)
	return true, nil
}

// isTDQuote reports whether b begins like a quote of version 4 or 5 of a TD.
func isTDQuote(b []byte) bool {
	return len(b) > 48 && (b[0] == 4 || b[0] == 5) && b[1] == 0 && bytes.Equal(b[4:8], []byte{0x81, 0, 0, 0})
}

// dropAK takes the certificate of the AK out: the hardware names the AK. It returns the
// names of its files.
func (b *azureBundle) dropAK() (names []string) {
	items, from := b.collateral, b.from
	b.collateral, b.from = nil, nil
	for i := range items {
		if c, err := x509.ParseCertificate(items[i].Data); err == nil && b.parsed.AK.Equal(c.PublicKey) {
			names = append(names, from[i])
			continue
		}
		b.add(from[i], items[i])
	}
	return names
}

// evidence puts the parts together.
func (b *azureBundle) evidence(format attest.Format) (*attest.Evidence, error) {
	ev := &attest.Evidence{Format: format, Collateral: b.collateral, Parts: []attest.Part{{Name: hcl.PartReport, Data: b.report.Data}}}
	if b.td != nil {
		quote, surplus, err := tdx.Surplus(b.td.Data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", b.td.Name, err)
		}
		b.surplus = len(surplus)
		ev.Parts = append(ev.Parts, attest.Part{Name: hcl.PartQuote, Data: quote})
	}
	q := &b.tpm.quotes[0]
	sig := q.sig
	if !typedSignature(sig) {
		var err error
		if sig, err = tpm.PlainSignature(q.quote, sig, b.parsed.AK.Public()); err != nil {
			return nil, fmt.Errorf("%s: %w", q.name, err)
		}
	}
	pcrs, err := selected(q)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", q.name, err)
	}
	ev.Parts = append(ev.Parts, attest.Part{Name: tpm.PartAttest, Data: q.quote}, attest.Part{Name: tpm.PartSignature, Data: sig},
		attest.Part{Name: tpm.PartPublic, Data: b.parsed.AK.Area()}, attest.Part{Name: tpm.PartPCRs, Data: pcrs})
	return ev, nil
}

// selected returns the values of the quoted registers, joined.
func selected(q *rawQuote) ([]byte, error) {
	selection, err := tpm.QuoteSelection(q.quote)
	if err != nil {
		return nil, err
	}
	var out []byte
	for _, s := range selection {
		for _, index := range s.Indices {
			at := slices.IndexFunc(q.registers, func(v attest.RegisterValue) bool { return v.Bank == s.Bank && v.Index == index })
			if at < 0 {
				return nil, fmt.Errorf("register %d of bank %v is quoted and its value is not there: %w", index, s.Bank, attest.ErrForm)
			}
			out = append(out, q.registers[at].Value...)
		}
	}
	return out, nil
}

// azureClaims reports what the evidence established.
func (a *appraisal) azureClaims(b *azureBundle, c *attest.Claims) {
	q := b.tpm.quotes[0].name
	a.report.Quoted = c.Registers
	a.proven(b.report.Name, "report data", "%x, the digest of the runtime data, signed by the hardware", b.parsed.ReportData()[:b.parsed.Hash.Size()])
	if b.td != nil {
		a.proven(b.td.Name, "TD quote", "is over the TDREPORT of %s", b.report.Name)
		if b.surplus > 0 {
			a.open(b.td.Name, "surplus", "%d bytes follow the quote, which nothing signs", b.surplus)
		}
	}
	a.proven(q, "signature", "by the AK that the runtime data names")
	a.proven(q, "key", "restricted signing key fixed in its TPM, in the endorsement hierarchy: the signed qualified name is that of Azure's kind of AK")
	a.proven(q, "registers", "%d, the signed digest is that of their values", len(c.Registers))
	a.hardware(b.report.Name, b.from, c)
	if len(c.Quoted) == 0 {
		a.open(q, "freshness", "extraData is empty")
	} else {
		a.open(q, "freshness", "extraData is %x; whether somebody asked for that is not in the evidence", c.Quoted)
	}
}

// hardware reports what is known of the platform, and the collateral that was used; from
// has the names of its files.
func (a *appraisal) hardware(name string, from []string, c *attest.Claims) {
	a.find(name, "identity", c.Identity.Finding)
	a.find(name, "revocation", c.Revocation)
	a.find(name, "collateral", c.Coherent)
	tcb := c.TCB.Finding
	if c.TCB.Status != "" {
		tcb.Detail = strings.Join(append([]string{c.TCB.Status}, c.TCB.Advisories...), " ") + ": " + tcb.Detail
	}
	a.find(name, "TCB", tcb)
	for _, m := range c.Measurements {
		a.proven(name, m.Name, "%x", m.Value)
	}
	for i := range from {
		at := slices.IndexFunc(c.Used, func(u attest.Use) bool { return u.Index == i })
		if at < 0 {
			a.open(from[i], "not used", "item %d of the collateral", i)
			continue
		}
		a.proven(from[i], "used", "%s", c.Used[at].What)
	}
}

// strictly refuses what is not acceptable, or not established where Strict asks for it.
// Revocation counts only against, for not every index keeps the lists of those who publish
// any; but where the vendor's word on the platform is asked for, they belong to it.
func (a *appraisal) strictly(c *attest.Claims, status bool) error {
	for _, f := range []struct {
		name string
		attest.Finding
		want bool
	}{
		{"identity", c.Identity.Finding, true},
		{"revocation", c.Revocation, status},
		{"collateral", c.Coherent, true},
		{"TCB", c.TCB.Finding, true},
	} {
		if f.Status == attest.Failed || a.in.Strict && f.want && f.Status != attest.Passed {
			return fmt.Errorf("%s %v: %s: %w", f.name, f.Status, f.Detail, ErrRefused)
		}
	}
	switch {
	case a.in.Strict && status && c.TCB.Status != upToDate:
		return fmt.Errorf("TCB is %s: %w", c.TCB.Status, ErrRefused)
	case a.in.Strict && len(c.Quoted) == 0:
		return fmt.Errorf("nothing was asked for, the quote could be of any time: %w", ErrRefused)
	}
	return nil
}

// azureKind tells by the paravisor's report of which kind the evidence is; empty if there
// is none.
func azureKind(files []File) Kind {
	for i := range files {
		if !bytes.HasPrefix(files[i].Data, beginReport) {
			continue
		}
		// One that is malformed is taken for the first, and says why it is none.
		if r, err := hcl.Parse(files[i].Data); err == nil && r.Type == hcl.TDX {
			return AzureTDX
		}
		return AzureSNP
	}
	return ""
}
