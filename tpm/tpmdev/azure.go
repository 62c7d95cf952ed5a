package tpmdev

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/dcap"
	"github.com/sworn-run/sworn/internal/hcl"
	"github.com/sworn-run/sworn/tpm"
)

// AzureOptions are what a confidential VM on Azure needs beside its virtual TPM. The zero
// value is right on Azure.
type AzureOptions struct {
	// Endpoint is the scheme and host of the instance metadata service, without a slash
	// at the end; "" is Azure's, http://169.254.169.254.
	Endpoint string
	// Client sends the requests to it; nil is a client that follows no redirect and knows
	// no proxy. Each request has 30 s.
	Client *http.Client
}

// azure is the paravisor of a confidential VM on Azure.
type azure struct {
	metadata metadata
	// raw is its report as NV memory holds it, quote the TD quote; nil for SEV-SNP.
	raw    []byte
	report *hcl.Report
	quote  []byte
}

// OpenAzure is [Open] for the virtual TPM of a confidential VM on Azure, which the
// paravisor runs: what the TPM attests is then evidence of format 5, "azure-snp", or 6,
// "azure-tdx" (docs/SPEC.md, section 3.6), whichever the machine is. The AK is the one at
// persistent handle 0x81000003, which the hardware names by the paravisor's report in NV
// 0x01400001; a certificate is not asked for. On TDX, OpenAzure gets the TD quote over that
// report from the instance metadata service.
//
// Options.AK must be [Auto] and Options.Enrolled nil. The error is that of Open; it wraps
// [ErrAbsent] if there is no such report or no metadata service, [ErrDevice] for a report
// that is malformed, that the hardware does not cover, or that names another key.
func OpenAzure(ctx context.Context, addr string, opts Options, az AzureOptions) (*TPM, error) {
	s, err := opts.check()
	if err == nil && (opts.AK != Auto || opts.Enrolled != nil) {
		err = fmt.Errorf("the AK is the paravisor's, no other can be chosen: %w", ErrUsage)
	}
	if err != nil {
		return nil, fmt.Errorf("opening TPM %q: %w", addr, err)
	}
	m, err := az.metadata()
	if err != nil {
		return nil, fmt.Errorf("opening TPM %q: %w", addr, err)
	}
	c, err := dial(ctx, addr, s.timeout)
	if err != nil {
		return nil, err
	}
	t := &TPM{
		settings: s, send: c.exchange, hangup: c.Close, alone: c.alone, chip: c.chip, security: securityDir,
		azure: &azure{metadata: m},
	}
	if err := t.start(ctx); err != nil {
		return nil, fmt.Errorf("opening TPM %q: %w", addr, err)
	}
	return t, nil
}

// Paravisor returns the format of the evidence that [OpenAzure] would have this TPM make:
// 5, "azure-snp", or 6, "azure-tdx"; 0 if the TPM has no report of a paravisor. The error
// wraps [ErrDevice] for a report that is malformed, or is that of the TPM.
func (t *TPM) Paravisor(ctx context.Context) (attest.Format, error) {
	l, release, err := t.acquire(ctx)
	if err != nil {
		return 0, fmt.Errorf("looking for a paravisor: %w", err)
	}
	defer release()
	raw, err := l.readNV(hcl.Index)
	if errors.Is(err, errNoIndex) {
		return 0, nil
	}
	if err != nil {
		return 0, fail("looking for a paravisor", err)
	}
	r, err := hcl.Parse(raw)
	if err != nil {
		return 0, fail("reading the paravisor's report", err)
	}
	if r.Type == hcl.TDX {
		return hcl.FormatTDX, nil
	}
	return hcl.FormatSNP, nil
}

// open reads the report and gets the quote.
func (a *azure) open(l *link) error {
	raw, err := l.readNV(hcl.Index)
	if errors.Is(err, errNoIndex) {
		return fmt.Errorf("no report of a paravisor in NV 0x%08x: this is no confidential VM on Azure: %w", hcl.Index, ErrAbsent)
	}
	if err != nil {
		return fail(fmt.Sprintf("reading the paravisor's report, NV 0x%08x", hcl.Index), err)
	}
	if a.report, err = hcl.Parse(raw); err != nil {
		return fail("reading the paravisor's report", err)
	}
	if !a.report.Covered() {
		return fmt.Errorf("the hardware's report covers other runtime data than the paravisor's report has: %w", ErrDevice)
	}
	a.raw = raw
	if a.report.Type != hcl.TDX {
		return nil
	}
	if a.quote, err = a.metadata.quote(l.ctx, a.report.Hardware); err != nil {
		return fail("getting the TD quote", err)
	}
	// Hosts pad quotes; what follows one is signed by nothing and belongs into no record.
	n, err := dcap.Length(a.quote)
	if err != nil {
		return fail("reading the TD quote", err)
	}
	a.quote = a.quote[:n]
	if err := hcl.MatchQuote(a.report.Hardware, a.quote); err != nil {
		return fail("reading the TD quote", err)
	}
	return nil
}

// named returns the AK that the report names.
func (a *azure) named() *hcl.Key { return &a.report.AK }

// paravisorAK finds the AK that the paravisor's report names.
func (l *link) paravisorAK(named *hcl.Key) (*key, error) {
	k, public, err := l.readAK(azureAK)
	if err != nil {
		return nil, err
	}
	p, err := publicKey(public)
	if err != nil {
		return nil, err
	}
	if !named.Equal(p) {
		return nil, fmt.Errorf("the key at handle 0x%08x is not the AK that the paravisor's report names: %w", uint32(azureAK), ErrDevice)
	}
	return k, nil
}

// format returns the format of what t attests.
func (t *TPM) format() attest.Format {
	switch {
	case t.azure == nil:
		return tpm.Format
	case t.azure.report.Type == hcl.TDX:
		return hcl.FormatTDX
	default:
		return hcl.FormatSNP
	}
}

// mode returns the mode of the format.
func (t *TPM) mode() attest.Mode {
	if t.azure == nil {
		return attest.ModeDirect
	}
	return attest.ModeViaAK
}

// carry puts the paravisor's report before the parts of a quote.
func (t *TPM) carry(ev *attest.Evidence) *attest.Evidence {
	if t.azure == nil {
		return ev
	}
	parts := []attest.Part{{Name: hcl.PartReport, Data: bytes.Clone(t.azure.raw)}}
	if t.azure.quote != nil {
		parts = append(parts, attest.Part{Name: hcl.PartQuote, Data: bytes.Clone(t.azure.quote)})
	}
	return &attest.Evidence{Slot: ev.Slot, Format: t.format(), Parts: append(parts, ev.Parts...)}
}

// bare undoes carry.
func (t *TPM) bare(ev *attest.Evidence) *attest.Evidence {
	if t.azure == nil || ev.Format != t.format() {
		return ev
	}
	parts := slices.DeleteFunc(slices.Clone(ev.Parts), func(p attest.Part) bool {
		return p.Name == hcl.PartReport || p.Name == hcl.PartQuote
	})
	return &attest.Evidence{Slot: ev.Slot, Format: tpm.Format, Parts: parts}
}

// Collateral returns the certificates of the key that signed the report of SEV-SNP, as
// Azure's metadata service keeps them for the machine: VCEK, ASK, ARK. It is nil for every
// other TPM. Nothing of it is verified. The error wraps [ErrAbsent], [ErrDevice], or is the
// context's.
func (t *TPM) Collateral(ctx context.Context) ([]attest.Collateral, error) {
	if t.azure == nil || t.azure.report == nil || t.azure.report.Type != hcl.SNP {
		return nil, ctx.Err()
	}
	c, err := t.azure.metadata.certificates(ctx)
	if err != nil {
		return nil, fail("getting the certificates of the machine's key", err)
	}
	return c, nil
}
