package appraise

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/enclave"
	"github.com/sworn-run/sworn/sev"
	"github.com/sworn-run/sworn/tdx"
)

// teeBundle is a report or quote of a confidential VM or an enclave with what came with it.
type teeBundle struct {
	// quote is the report or quote.
	quote *File
	// log is the log of the firmware, and nonces what somebody asked to be reported on.
	log    *File
	nonces []*File
	vendorFiles
}

// isSNPReport reports whether b begins like an ATTESTATION_REPORT (SEV-SNP ABI, table
// 23): a version from 2 to 5, ECDSA P-384 as its algorithm, and its size at least.
func isSNPReport(b []byte) bool {
	if len(b) < sev.ReportSize {
		return false
	}
	version, algorithm := binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[0x34:])
	return version >= 2 && version <= 5 && algorithm == 1
}

// sort tells the files apart by their content; is tells a quote. It returns the names
// of those that are of no use.
func (b *teeBundle) sort(files []File, is func([]byte) bool) (unused []string, err error) {
	for i := range files {
		f := &files[i]
		if is(f.Data) {
			if b.quote != nil {
				return nil, fmt.Errorf("%s: a second quote or report: %w", f.Name, attest.ErrForm)
			}
			b.quote = f
			continue
		}
		if strings.HasPrefix(f.Name, "nonce") && len(f.Data) <= 64 {
			b.nonces = append(b.nonces, f)
			continue
		}
		switch contentOf(f) {
		case isCertificate:
			err = b.addCertificates(f)
		case isJSON:
			m, mErr := object(f.Data)
			if mErr != nil || m["tcb_info"] == nil {
				unused = append(unused, f.Name)
				continue
			}
			err = b.addCollateral(f, m)
		case isLog:
			if b.log != nil {
				return nil, fmt.Errorf("%s: a second log: %w", f.Name, attest.ErrForm)
			}
			b.log = f
		default:
			unused = append(unused, f.Name)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	if b.quote == nil {
		return nil, fmt.Errorf("no file is a quote or report of this kind: %w", attest.ErrForm)
	}
	return unused, nil
}

// snp appraises a report of SEV-SNP.
func (a *appraisal) snp() error {
	b := &teeBundle{}
	unused, err := b.sort(a.in.Files, isSNPReport)
	if err != nil {
		return fmt.Errorf("reading the evidence: %w", err)
	}
	report, surplus, err := sev.SplitReport(b.quote.Data)
	if err != nil {
		return fmt.Errorf("%s: %w", b.quote.Name, err)
	}
	return a.tee(b, sev.Scheme{}, attest.Part{Name: sev.PartReport, Data: report}, surplus, unused)
}

// td appraises a quote of TDX.
func (a *appraisal) td() error {
	b := &teeBundle{}
	unused, err := b.sort(a.in.Files, isTDQuote)
	if err != nil {
		return fmt.Errorf("reading the evidence: %w", err)
	}
	quote, surplus, err := tdx.Surplus(b.quote.Data)
	if err != nil {
		return fmt.Errorf("%s: %w", b.quote.Name, err)
	}
	if b.log != nil {
		b.add(b.log.Name, attest.Collateral{Kind: attest.CollateralCCEL, Data: b.log.Data})
	}
	return a.tee(b, tdx.Scheme{}, attest.Part{Name: tdx.PartQuote, Data: quote}, surplus, unused)
}

// sgx appraises a quote of an enclave.
func (a *appraisal) sgx() error {
	b := &teeBundle{}
	unused, err := b.sort(a.in.Files, enclave.IsQuote)
	if err != nil {
		return fmt.Errorf("reading the evidence: %w", err)
	}
	if b.log != nil {
		unused = append(unused, b.log.Name)
	}
	quote, surplus, err := enclave.Surplus(b.quote.Data)
	if err != nil {
		return fmt.Errorf("%s: %w", b.quote.Name, err)
	}
	if n := len(b.quote.Data) - len(quote) - len(surplus); n > 0 {
		a.open(b.quote.Name, "header", "the %d bytes of Open Enclave's header before the quote, which nothing signs, are of no account", n)
	}
	return a.tee(b, enclave.Scheme{}, attest.Part{Name: enclave.PartQuote, Data: quote}, surplus, unused)
}

// tee appraises one part with its collateral.
func (a *appraisal) tee(b *teeBundle, scheme attest.Scheme, part attest.Part, surplus []byte, unused []string) error {
	a.report.Form = formFiles
	ev := &attest.Evidence{Format: scheme.Describe().Format, Parts: []attest.Part{part}, Collateral: b.collateral}
	c, err := scheme.Verify(ev, a.in.Anchors, a.in.At)
	if err != nil {
		return err
	}
	name := b.quote.Name
	a.report.Quoted = c.Registers
	a.proven(name, "signature", "over the %d bytes received", len(part.Data))
	if len(surplus) > 0 {
		a.open(name, "surplus", "%d bytes follow it, which nothing signs", len(surplus))
	}
	a.proven(name, "report data", "%x", c.Quoted)
	for _, f := range b.nonces {
		if len(f.Data) < attest.MinNonce || !bytes.HasPrefix(c.Quoted, f.Data) {
			a.open(f.Name, "nonce", "is not what the report data begins with")
			continue
		}
		a.proven(f.Name, "nonce", "stands in the report data")
	}
	a.hardware(name, b.from, c)
	for _, x := range c.Attributes {
		a.proven(name, x.Name, "%d", x.Value)
	}
	if err := a.strictly(c, scheme.Describe().VendorStatus); err != nil {
		return err
	}
	a.unread(unused)
	return nil
}

// teeKind tells by the content whether there is a report or quote of a confidential VM or
// an enclave; empty if there is none.
func teeKind(files []File) Kind {
	for i := range files {
		switch {
		case isTDQuote(files[i].Data):
			return TDX
		case isSNPReport(files[i].Data):
			return SEVSNP
		case enclave.IsQuote(files[i].Data):
			return SGX
		}
	}
	return ""
}
