package dcap

import (
	"fmt"
	"strings"

	"github.com/sworn-run/sworn/attest"
)

// details returns header, QE report and PCK under the names of the manuals.
func (q *Quote) details() []attest.Detail {
	out := []attest.Detail{
		detail("quote version", fmt.Sprint(q.Version)),
		detail("TEE type", fmt.Sprintf("%v (0x%02x)", q.TEE, uint32(q.TEE))),
		detail("attestation key type", "2, ECDSA with P-256"),
	}
	if q.Version == 3 {
		out = append(out, detail("QE SVN", fmt.Sprint(q.QESVN)), detail("PCE SVN", fmt.Sprint(q.PCESVN)))
	}
	vendor := vendorID()
	out = append(out,
		detail("QE vendor ID", fmt.Sprintf("%x", vendor[:])),
		detail("user data", fmt.Sprintf("%x", q.UserData)))
	for _, d := range q.QE.Details() {
		out = append(out, detail("QE "+d.Name, d.Value))
	}
	p := q.PCK
	out = append(out,
		detail("QE authentication data", fmt.Sprintf("%x", q.qeAuth)),
		detail("PCK issuer", q.chain[1].Subject.CommonName),
		detail("PCK serial", fmt.Sprintf("%x", q.chain[0].SerialNumber)),
		detail("PPID", fmt.Sprintf("%x", p.PPID)),
		detail("FMSPC", fmt.Sprintf("%x", p.FMSPC)),
		detail("PCE-ID", fmt.Sprintf("%x", p.PCEID)),
		detail("TCB components", numbers(p.Components[:])),
		detail("PCESVN", fmt.Sprint(p.PCESVN)),
		detail("CPUSVN", fmt.Sprintf("%x", p.CPUSVN)),
		detail("SGX type", [3]string{"standard", "scalable", "scalable with integrity"}[p.Type]))
	if p.Instance != nil {
		out = append(out, detail("platform instance ID", fmt.Sprintf("%x", p.Instance)))
	}
	return out
}

// Details returns the fields of a report in their order.
func (r *Report) Details() []attest.Detail {
	return []attest.Detail{
		detail("CPUSVN", fmt.Sprintf("%x", r.CPUSVN)),
		detail("MISCSELECT", fmt.Sprintf("0x%08x", r.MiscSelect)),
		detail("CET_ATTRIBUTES", fmt.Sprintf("0x%02x", r.CETAttributes)),
		detail("ISVEXTPRODID", fmt.Sprintf("%x", r.ISVExtProdID)),
		detail("ATTRIBUTES", fmt.Sprintf("%x", r.Attributes)),
		detail("MRENCLAVE", fmt.Sprintf("%x", r.MREnclave)),
		detail("MRSIGNER", fmt.Sprintf("%x", r.MRSigner)),
		detail("CONFIGID", fmt.Sprintf("%x", r.ConfigID)),
		detail("ISVPRODID", fmt.Sprint(r.ISVProdID)),
		detail("ISVSVN", fmt.Sprint(r.ISVSVN)),
		detail("CONFIGSVN", fmt.Sprint(r.ConfigSVN)),
		detail("ISVFAMILYID", fmt.Sprintf("%x", r.ISVFamilyID)),
		detail("REPORTDATA", fmt.Sprintf("%x", r.ReportData)),
	}
}

// numbers writes components for people.
func numbers(list []uint8) string { return strings.Trim(fmt.Sprint(list), "[]") }

// documentDetails returns numbers and dates of the documents that count.
func documentDetails(documents ...*document) []attest.Detail {
	var out []attest.Detail
	for _, d := range documents {
		if d == nil {
			continue
		}
		name := "TCB info"
		if d.qe != nil {
			name = "QE identity"
		}
		out = append(out,
			detail(name, d.subject()),
			detail(name+" tcbEvaluationDataNumber", fmt.Sprint(d.evaluation)),
			detail(name+" issueDate, nextUpdate", d.dates.String()))
	}
	return out
}

// details returns the statuses of the parts.
func (o *outcome) details() []attest.Detail {
	var out []attest.Detail
	for _, p := range []struct{ name, value string }{
		{"platform TCB status", o.platform}, {"TDX module TCB status", o.module}, {"QE TCB status", o.qe},
	} {
		if p.value != "" {
			out = append(out, detail(p.name, p.value))
		}
	}
	return out
}
