package main

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/enclave"
	"github.com/sworn-run/sworn/internal/dcap"
	"github.com/sworn-run/sworn/internal/hcl"
	"github.com/sworn-run/sworn/nitro"
	"github.com/sworn-run/sworn/sev"
	"github.com/sworn-run/sworn/tdx"
)

// beginHCL begins the report of a paravisor.
const beginHCL = "HCLA"

// isSNPReport reports whether a file begins as a report of SEV-SNP: its size, versions
// that there may be, and ECDSA P-384 with SHA-384 as its algorithm (56860, Table 23).
func isSNPReport(file []byte) bool {
	if len(file) < sev.ReportSize || bytes.HasPrefix(file, []byte(beginHCL)) {
		return false
	}
	version := binary.LittleEndian.Uint32(file)
	return version >= 1 && version < 16 && binary.LittleEndian.Uint32(file[0x34:]) == 1
}

// isQuote reports whether a file begins as a quote of an enclave or a TD: a version, an
// attestation key on P-256, and the id of Intel's quoting enclave (SGX-QL, A.3.1).
// EGo and Open Enclave put a header before it.
func isQuote(file []byte) bool {
	return enclave.IsReport(file) || len(file) >= 48 && file[0] >= 3 && file[0] < 16 && file[1] == 0 && file[2] == 2 && file[3] == 0 &&
		hex.EncodeToString(file[12:28]) == "939a7233f79c4ca9940a0db3957f0607"
}

// isCertTable reports whether a file is a table of certificates that a host hands to its
// guests, with an entry that is known.
func isCertTable(file []byte) bool {
	entries, err := sev.ParseCertTable(file)
	if err != nil {
		return false
	}
	for i := range entries {
		if entries[i].Name != "" {
			return true
		}
	}
	return false
}

// details writes decoded fields.
func (t *treeWriter) details(depth int, list []attest.Detail) {
	for _, d := range list {
		t.row(depth, d.Name, d.Value)
	}
}

// surplus says what follows a structure in its file.
func (t *treeWriter) surplus(depth int, b []byte) {
	if len(b) > 0 {
		t.row(depth, "surplus", fmt.Sprintf("%d bytes after it, which nobody signed", len(b)))
	}
}

// showSNPReport shows a report of AMD SEV-SNP, of whoever's file it begins.
func showSNPReport(t *treeWriter, file []byte) error {
	report, surplus, err := sev.SplitReport(file)
	if err != nil {
		return err
	}
	list, err := sev.Details(report)
	if err != nil {
		return err
	}
	t.head("SEV-SNP report", fmt.Sprintf("ATTESTATION_REPORT, 56860, Table 23, %d bytes", len(report)))
	t.details(1, list)
	t.surplus(1, surplus)
	return nil
}

// showDCAPQuote shows a quote of a TD or an enclave, with the certificates in it.
func showDCAPQuote(t *treeWriter, file []byte) error {
	quote, surplus, err := enclave.Surplus(file)
	if err != nil {
		return err
	}
	q, err := dcap.ParseQuote(quote)
	if err != nil {
		return err
	}
	name := "SGX quote"
	list := append(q.Details(), q.Signatures()...)
	if q.TD != nil {
		if list, err = tdx.Details(quote); err != nil {
			return err
		}
		name = "TDX quote"
	} else {
		list = append(list, q.Enclave.Details()...)
	}
	t.head(name, fmt.Sprintf("SGX-QL, A.3 and A.4, %d bytes", len(quote)))
	if n := len(file) - len(quote) - len(surplus); n > 0 {
		t.row(1, "header", fmt.Sprintf("%d bytes of Open Enclave before it, which nobody signed", n))
	}
	t.details(1, list)
	t.surplus(1, surplus)
	for _, c := range q.Certificates() {
		treeCertificate(t, c)
	}
	return nil
}

// showHCL shows the report of Azure's paravisor, and the hardware's report in it.
func showHCL(t *treeWriter, file []byte) error {
	r, err := hcl.Parse(file)
	if err != nil {
		return err
	}
	covered := "no: it covers something else"
	if r.Covered() {
		covered = "yes: its report data are their digest"
	}
	t.head("report of a paravisor", fmt.Sprintf("HCLA, %d bytes", len(file)))
	t.rows([][2]string{
		{"version", fmt.Sprintf("%d, not signed", r.Version)},
		{"report type", fmt.Sprintf("%d (%s)", r.Type, map[hcl.Type]string{hcl.SNP: "SEV-SNP", hcl.TDX: "TDX"}[r.Type])},
		{"report hash type", r.Hash.String()},
		{"runtime data", fmt.Sprintf("%d bytes, %x", len(r.Runtime), r.Hash.Sum(r.Runtime))},
		{"covered by the hardware", covered},
		{"zeros after the report", fmt.Sprintf("%d bytes, not signed", r.Padding)},
	})
	treeHCLKey(t, "HCLAkPub", &r.AK)
	if r.EK != nil {
		treeHCLKey(t, "HCLEkPub", r.EK)
	}
	t.row(1, "user-data", hexOrNone(r.UserData))
	if r.Configuration != nil {
		t.row(1, "vm-configuration", "")
		treeJSON(t, 2, r.Configuration)
	}
	if r.Type == hcl.SNP {
		return showSNPReport(t, r.Hardware)
	}
	return showTDReport(t, r.Hardware)
}

// treeHCLKey shows a key of the virtual TPM.
func treeHCLKey(t *treeWriter, name string, k *hcl.Key) {
	t.row(1, name, fmt.Sprintf("RSA, %d bits, exponent %d, modulus %x", 8*len(k.Modulus), k.Exponent, k.Modulus))
}

// showTDReport shows a TDREPORT, which a quoting enclave of the same machine can verify
// and nobody else.
func showTDReport(t *treeWriter, report []byte) error {
	body, err := hcl.QuoteBody(report)
	if err != nil {
		return err
	}
	list, err := tdx.BodyDetails(body)
	if err != nil {
		return err
	}
	t.head("TDREPORT", fmt.Sprintf("%d bytes; only its own machine can verify it, a quote is made of it", len(report)))
	t.row(1, "REPORTTYPE", hex.EncodeToString(report[:4]))
	t.row(1, "CPUSVN", hex.EncodeToString(report[16:32]))
	t.row(1, "TEE_TCB_INFO_HASH", hex.EncodeToString(report[32:80]))
	t.row(1, "TEE_INFO_HASH", hex.EncodeToString(report[80:128]))
	t.row(1, "MAC", hex.EncodeToString(report[224:256]))
	t.details(1, list)
	return nil
}

// showNitro shows a document of AWS Nitro with its certificates.
func showNitro(t *treeWriter, file []byte) error {
	list, certificates, err := nitro.Details(file)
	if err != nil {
		return err
	}
	t.head("Nitro document", fmt.Sprintf("COSE_Sign1 under ES384, RFC 9052, 4.2, %d bytes", len(file)))
	t.details(1, list)
	for _, c := range certificates {
		treeCertificate(t, c)
	}
	return nil
}

// showCertTable shows a table of certificates that a host hands to its guests.
func showCertTable(t *treeWriter, file []byte) error {
	entries, err := sev.ParseCertTable(file)
	if err != nil {
		return err
	}
	t.head("certificate table", fmt.Sprintf("GHCB, 4.1.8.1, %d entries, %d bytes; whatever the host put there", len(entries), len(file)))
	for i := range entries {
		e := &entries[i]
		what := []string{fmt.Sprintf("%d bytes", len(e.Data))}
		if e.PEM {
			what = append(what, "PEM where DER belongs")
		}
		if e.Surplus > 0 {
			what = append(what, fmt.Sprintf("%d bytes too many", e.Surplus))
		}
		name := e.Name
		if name == "" {
			name = "unknown"
		}
		t.row(1, name, e.GUID+", "+strings.Join(what, ", "))
	}
	for i := range entries {
		for _, item := range entries[i].Collateral() {
			show := showCertificate
			if item.Kind == attest.CollateralCRL {
				show = showCRL
			}
			if err := show(t, item.Data); err != nil {
				t.head(entries[i].Name, "refused: "+err.Error())
			}
		}
	}
	return nil
}

// showDocument shows an answer of Intel's service. One that is not exactly as the service
// writes it is shown as JSON, and why it is none.
func showDocument(kind string) func(*treeWriter, []byte) error {
	return func(t *treeWriter, file []byte) error {
		item := &attest.Collateral{Kind: kind, Data: file}
		if trimmed := bytes.TrimSpace(file); len(trimmed) < len(file) {
			item.Data = trimmed
		}
		t.head(kind, fmt.Sprintf("PCS, version 4, %d bytes", len(file)))
		if err := treeDocument(t, item); err != nil {
			t.row(1, "refused", err.Error())
			treeJSON(t, 1, file)
			return nil
		}
		t.surplus(1, file[len(item.Data):])
		return nil
	}
}

// treeDocument shows the fields of an answer of Intel's service.
func treeDocument(t *treeWriter, item *attest.Collateral) error {
	list, err := dcap.DocumentDetails(item)
	if err != nil {
		return err
	}
	t.details(1, list)
	return nil
}
