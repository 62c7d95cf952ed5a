package dcap

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"slices"
	"strings"

	"github.com/sworn-run/sworn/attest"
)

// Details returns header, QE report and PCK under the names of the manuals. Nothing is
// verified by it.
func (q *Quote) Details() []attest.Detail {
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
	out = append(out,
		detail("QE authentication data", fmt.Sprintf("%x", q.qeAuth)),
		detail("PCK issuer", q.chain[1].Subject.CommonName),
		detail("PCK serial", fmt.Sprintf("%x", q.chain[0].SerialNumber)))
	return append(out, q.PCK.details()...)
}

// Signatures returns the key and the signatures of the quote, which what it says does not
// tell of.
func (q *Quote) Signatures() []attest.Detail {
	return []attest.Detail{
		detail("attestation key", fmt.Sprintf("%x (X, Y on P-256)", q.key)),
		detail("signature", fmt.Sprintf("%x (r, s by the attestation key, over header and body)", q.signature)),
		detail("QE report signature", fmt.Sprintf("%x (r, s by the PCK, over the QE's report)", q.qeSignature)),
	}
}

// PCKDetails returns what a certificate says of its platform under the names of the PCK
// profile; nil for one without the extension. Nothing is verified. The error wraps
// [attest.ErrForm].
func PCKDetails(c *x509.Certificate) ([]attest.Detail, error) {
	if !slices.ContainsFunc(c.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(pckOID()) }) {
		return nil, nil
	}
	p, err := parsePCK(c)
	if err != nil {
		return nil, fmt.Errorf("parsing a PCK certificate: %w", err)
	}
	return p.details(), nil
}

// details returns the fields of the extension.
func (p *PCK) details() []attest.Detail {
	out := []attest.Detail{
		detail("PPID", fmt.Sprintf("%x", p.PPID)),
		detail("FMSPC", fmt.Sprintf("%x", p.FMSPC)),
		detail("PCE-ID", fmt.Sprintf("%x", p.PCEID)),
		detail("TCB components", numbers(p.Components[:])),
		detail("PCESVN", fmt.Sprint(p.PCESVN)),
		detail("CPUSVN", fmt.Sprintf("%x", p.CPUSVN)),
		detail("SGX type", [3]string{"standard", "scalable", "scalable with integrity"}[p.Type]),
	}
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
func numbers(list []uint8) string {
	var words []string
	for _, n := range list {
		words = append(words, fmt.Sprint(n))
	}
	return strings.Join(words, " ")
}

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
			detail(name+" issueDate, nextUpdate", d.String()))
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
