package verifier

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/hcl"
	"github.com/sworn-run/sworn/tpm"
)

// azure is the scheme of Azure's confidential VMs (docs/SPEC.md, section 3.6): a quote of
// the virtual TPM that the paravisor runs, and the hardware's word on whose TPM that is.
type azure struct {
	format attest.Format
	name   string
	// label begins the names of the hardware's details.
	label string
	typ   hcl.Type
	// part is the name of the hardware's only part, in its own format.
	part     string
	hardware attest.Scheme
}

// AzureSNP returns the scheme of format 5, "azure-snp". hardware is that of format 2,
// "sev-snp", which appraises the report inside the paravisor's.
func AzureSNP(hardware attest.Scheme) attest.Scheme {
	return azure{format: hcl.FormatSNP, name: "azure-snp", label: "SEV-SNP ", typ: hcl.SNP, part: "report", hardware: hardware}
}

// AzureTDX returns the scheme of format 6, "azure-tdx". hardware is that of format 3,
// "tdx", which appraises the quote over the TDREPORT inside the paravisor's report.
func AzureTDX(hardware attest.Scheme) attest.Scheme {
	return azure{format: hcl.FormatTDX, name: "azure-tdx", label: "TDX ", typ: hcl.TDX, part: hcl.PartQuote, hardware: hardware}
}

// Describe returns the constants of the format: those of a TPM's quote for what is quoted
// and the log, those of the hardware for everything else.
func (z azure) Describe() attest.Description {
	d := attest.Description{Format: z.format}
	if z.hardware != nil {
		d = z.hardware.Describe()
	}
	quote := tpm.Scheme{}.Describe()
	na := slices.DeleteFunc(slices.Clone(d.NotApplicable), func(id string) bool { return !slices.Contains(quote.NotApplicable, id) })
	return attest.Description{
		Format: z.format, Name: z.name, Mode: attest.ModeViaAK,
		Anchor: quote.Anchor, QuotedHash: quote.QuotedHash, RootRole: d.RootRole, NotApplicable: na,
		Measurements: d.Measurements, Attributes: d.Attributes, Versions: d.Versions, VendorStatus: d.VendorStatus,
	}
}

// Verify checks the quote, the hardware's report or quote, and that the one names the key
// of the other: report data is SHA-256 of the runtime data and 32 zeros, and the runtime
// data names the AK that signed. What is quoted, the registers and counters are the TPM's;
// identity, revocation, TCB and measurements are the hardware's.
//
// The error is that of either scheme, or wraps [attest.ErrForm] for a paravisor's report
// that does not parse exactly, [attest.ErrSignature] if the hardware covers other runtime
// data, or it another AK, or [attest.ErrMode] for a report of another privilege level than
// VMPL 0, which is the paravisor's.
func (z azure) Verify(ev *attest.Evidence, anchors *attest.Anchors, at time.Time) (*attest.Claims, error) {
	if ev == nil || at.IsZero() || z.hardware == nil {
		return nil, fmt.Errorf("verifying %s evidence, nil or at the zero time: %w", z.name, attest.ErrArgument)
	}
	p, err := z.split(ev)
	if err != nil {
		return nil, err
	}
	quote, err := tpm.Scheme{}.Verify(&p.quote, nil, at)
	if err != nil {
		return nil, fmt.Errorf("the virtual TPM: %w", err)
	}
	hardware, err := z.hardware.Verify(&p.hardware, anchors, at)
	if err != nil {
		return nil, fmt.Errorf("the hardware: %w", err)
	}
	if err := z.bind(p, hardware); err != nil {
		return nil, err
	}
	return &attest.Claims{
		Format: z.format,
		KeyID:  quote.KeyID, Quoted: quote.Quoted, Registers: quote.Registers,
		Counters: quote.Counters, Counter: quote.Counter, Device: quote.Device,
		Keys: slices.Concat(quote.Keys, hardware.Keys), Product: hardware.Product,
		Identity: z.identity(hardware.Identity), Revocation: hardware.Revocation, Coherent: hardware.Coherent,
		TCB: hardware.TCB, Measurements: hardware.Measurements, Attributes: hardware.Attributes, Used: hardware.Used, Spare: hardware.Spare,
		Details: z.details(p.report, quote, hardware),
	}, nil
}

// azureParts are the parts of the evidence, sorted by who appraises them.
type azureParts struct {
	report          *hcl.Report
	hardware, quote attest.Evidence
}

// split takes the paravisor's report, for TDX the TD quote, and leaves what is the TPM's.
// The AK's certificate has no place here: the hardware names the AK.
func (z azure) split(ev *attest.Evidence) (*azureParts, error) {
	if ev.Format != z.format {
		return nil, fmt.Errorf("evidence of format %d, want %d: %w", ev.Format, z.format, attest.ErrForm)
	}
	names := []string{hcl.PartReport}
	if z.typ == hcl.TDX {
		names = append(names, hcl.PartQuote)
	}
	for i, name := range names {
		if len(ev.Parts) <= i || ev.Parts[i].Name != name {
			return nil, fmt.Errorf("part %q is not where it belongs: %w", name, attest.ErrForm)
		}
	}
	rest := ev.Parts[len(names):]
	if slices.ContainsFunc(rest, func(p attest.Part) bool { return p.Name == tpm.PartCertificate }) {
		return nil, fmt.Errorf("part %q, where the hardware names the AK: %w", tpm.PartCertificate, attest.ErrForm)
	}
	r, err := hcl.Parse(ev.Parts[0].Data)
	if err != nil {
		return nil, fmt.Errorf("part %q: %w", hcl.PartReport, err)
	}
	if r.Type != z.typ || r.Hash != attest.SHA256 {
		return nil, fmt.Errorf("part %q is of type %d and %v, want %d and sha256: %w", hcl.PartReport, r.Type, r.Hash, z.typ, attest.ErrForm)
	}
	signed := r.Hardware
	if z.typ == hcl.TDX {
		signed = ev.Parts[1].Data
	}
	return &azureParts{
		report: r,
		quote:  attest.Evidence{Slot: ev.Slot, Format: tpm.Format, Parts: rest},
		hardware: attest.Evidence{
			Slot: ev.Slot, Format: z.hardware.Describe().Format,
			Parts: []attest.Part{{Name: z.part, Data: signed}}, Collateral: ev.Collateral,
		},
	}, nil
}

// bind checks that the hardware covers the runtime data, and that names the AK.
func (z azure) bind(p *azureParts, hardware *attest.Claims) error {
	if !bytes.Equal(hardware.Quoted, p.report.ReportData()) {
		return fmt.Errorf("the hardware's report data is not the digest of the runtime data: %w", attest.ErrSignature)
	}
	switch z.typ {
	case hcl.SNP:
		level, err := hcl.VMPL(p.report.Hardware)
		if err != nil {
			return err
		}
		if level != 0 {
			return fmt.Errorf("report for VMPL %d, the paravisor runs at 0: %w", level, attest.ErrMode)
		}
	case hcl.TDX:
		if err := hcl.MatchQuote(p.report.Hardware, p.hardware.Parts[0].Data); err != nil {
			return fmt.Errorf("comparing the TD quote with the TDREPORT: %w", err)
		}
	}
	for _, part := range p.quote.Parts {
		if part.Name != tpm.PartPublic {
			continue
		}
		key, err := tpm.PublicKey(part.Data)
		if err != nil {
			return err
		}
		if p.report.AK.Equal(key) {
			return nil
		}
	}
	return fmt.Errorf("another key quoted than the AK that the hardware's report names: %w", attest.ErrSignature)
}

// identity is the hardware's; it tells how the AK comes to be vouched for.
func (z azure) identity(id attest.Identity) attest.Identity {
	if id.Provenance != "" {
		id.Provenance = "AK of the paravisor's virtual TPM, named in the runtime data that the hardware's report covers: " + id.Provenance
	}
	return id
}

// details returns the fields of the paravisor's report, the hardware's and the TPM's.
func (z azure) details(r *hcl.Report, quote, hardware *attest.Claims) []attest.Detail {
	out := []attest.Detail{
		{Name: "HCL version", Value: strconv.FormatUint(uint64(r.Version), 10) + ", not signed"},
		{Name: "HCL report type", Value: strconv.FormatUint(uint64(r.Type), 10)},
		{Name: "HCL runtime data", Value: fmt.Sprintf("%d bytes, %v %x", len(r.Runtime), r.Hash, r.ReportData()[:r.Hash.Size()])},
		{Name: "HCL vm-configuration", Value: plainText(r.Configuration)},
		{Name: "HCL user-data", Value: hex.EncodeToString(r.UserData)},
		{Name: "HCL zeros after the report", Value: fmt.Sprintf("%d bytes, not signed", r.Padding)},
	}
	if r.Type == hcl.TDX {
		out = append(out, attest.Detail{
			Name:  "TDREPORT, what no quote has",
			Value: "CPUSVN, MAC and, in a quote of TDX 1.0, TEE_TCB_SVN2 and SERVTD_HASH: not signed, not used",
		})
	}
	for _, d := range hardware.Details {
		out = append(out, attest.Detail{Name: z.label + d.Name, Value: d.Value})
	}
	for _, d := range quote.Details {
		out = append(out, attest.Detail{Name: "TPM " + d.Name, Value: d.Value})
	}
	return out
}

// maxPlain is the most of a text of the evidence that is shown, in bytes.
const maxPlain = 1024

// plainText returns the beginning of b for one line; what is not ASCII, which could hide
// or turn what stands beside it, becomes a question mark.
func plainText(b []byte) string {
	out := bytes.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, b[:min(len(b), maxPlain)])
	return string(out)
}
