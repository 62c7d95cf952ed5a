package main

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/enclave"
	"github.com/sworn-run/sworn/internal/dcap"
	"github.com/sworn-run/sworn/internal/hcl"
	"github.com/sworn-run/sworn/nitro"
	"github.com/sworn-run/sworn/sev"
	"github.com/sworn-run/sworn/tdx"
	"github.com/sworn-run/sworn/tpm"
	"github.com/sworn-run/sworn/verifier"
)

// treeEvidence shows what the slots have, each with the collateral of the record.
func treeEvidence(t *treeWriter, evidence []attest.Evidence, collateral []attest.Collateral) {
	for i := range evidence {
		ev := evidence[i]
		ev.Collateral = collateral
		name := formatName(ev.Format)
		t.head("evidence", fmt.Sprintf("slot %d, format %d (%s)", ev.Slot, ev.Format, name))
		for _, p := range ev.Parts {
			t.row(1, p.Name, fmt.Sprintf("%d bytes", len(p.Data)))
		}
		treeClaims(t, &ev, name)
		treeParts(t, &ev)
	}
}

// treeClaims shows what the evidence states, in the words of its format. Where that cannot
// be said, such as for want of the certificate of the key, the parts are shown alone.
func treeClaims(t *treeWriter, ev *attest.Evidence, name string) {
	i := slices.IndexFunc(verifier.Schemes(), func(s attest.Scheme) bool { return s.Describe().Format == ev.Format })
	if i < 0 {
		return
	}
	claims, err := verifier.Schemes()[i].Verify(ev, &attest.Anchors{}, time.Now())
	if err != nil {
		t.row(1, name, "refused: "+err.Error())
		for _, p := range ev.Parts {
			if list := partDetails(p.Name, p.Data); list != nil {
				t.row(1, p.Name, "what it says, of which nothing is verified")
				t.details(2, list)
			}
		}
		return
	}
	t.row(1, name, "what the parts say")
	t.details(2, claims.Details)
	for _, r := range claims.Registers {
		t.row(2, fmt.Sprintf("register %d (%v)", r.Index, r.Bank), hex.EncodeToString(r.Value))
	}
	for _, v := range claims.TCB.Versions {
		t.row(2, "version "+v.Name, fmt.Sprint(v.Value))
	}
	for _, u := range claims.Used {
		t.row(2, fmt.Sprintf("uses collateral %d", u.Index), u.What)
	}
}

// partDetails returns the fields of one part by itself; nil for one that has none, or
// does not parse.
func partDetails(name string, data []byte) []attest.Detail {
	var list []attest.Detail
	var err error
	switch name {
	case sev.PartReport:
		list, err = sev.Details(data)
	case tdx.PartQuote:
		if list, err = tdx.Details(data); err != nil {
			list, err = enclave.Details(data) // Both formats have the part.
		}
	case nitro.PartDocument:
		list, _, err = nitro.Details(data)
	case tpm.PartAttest:
		list, err = tpm.QuoteDetails(data)
	}
	if err != nil {
		return nil
	}
	return list
}

// treeParts shows what stands in parts: certificates, and the report of a paravisor.
func treeParts(t *treeWriter, ev *attest.Evidence) {
	var certificates []*x509.Certificate
	for _, p := range ev.Parts {
		switch p.Name {
		case tpm.PartCertificate:
			if c, err := x509.ParseCertificate(p.Data); err == nil {
				certificates = append(certificates, c)
			}
		case tdx.PartQuote:
			if q, err := dcap.ParseQuote(p.Data); err == nil {
				certificates = append(certificates, q.Certificates()...)
			}
		case nitro.PartDocument:
			if _, chain, err := nitro.Details(p.Data); err == nil {
				certificates = append(certificates, chain...)
			}
		case hcl.PartReport:
			if err := showHCL(t, p.Data); err != nil {
				t.row(1, hcl.PartReport, "refused: "+err.Error())
			}
		}
	}
	for _, c := range certificates {
		treeCertificate(t, c)
	}
}

// treeVendor shows the extensions in which AMD and Intel say what a key belongs to.
func treeVendor(t *treeWriter, c *x509.Certificate) {
	for _, vendor := range []struct {
		name    string
		details func(*x509.Certificate) ([]attest.Detail, error)
	}{
		{"AMD, 57230, of a VCEK or VLEK", sev.CertificateDetails},
		{"Intel, PCK profile, 1.3.5, of a PCK", dcap.PCKDetails},
	} {
		list, err := vendor.details(c)
		switch {
		case err != nil:
			t.row(1, "extensions", vendor.name+": refused: "+err.Error())
		case len(list) > 0:
			t.row(1, "extensions", vendor.name)
			t.details(2, list)
		}
	}
}

// showObject shows a JSON file as it stands, without the values of members that are
// nobody's business, and with the certificates in it.
func showObject(name, note string, hidden ...string) func(*treeWriter, []byte) error {
	return func(t *treeWriter, file []byte) error {
		var members map[string]jsontext.Value
		if err := json.Unmarshal(file, &members); err != nil {
			return err
		}
		t.head(name, fmt.Sprintf("%s, %d bytes", note, len(file)))
		for _, h := range hidden {
			if members[h] != nil {
				members[h] = jsontext.Value(`"not shown"`)
			}
		}
		shown, err := json.Marshal(members, json.Deterministic(true))
		if err != nil {
			return err
		}
		treeJSON(t, 1, shown)
		for _, member := range []string{"certificate", "certificates"} {
			treeBase64(t, members[member])
		}
		return nil
	}
}

// treeBase64 shows certificates in base64, one or a list of them.
func treeBase64(t *treeWriter, v jsontext.Value) {
	var list []string
	var one string
	if json.Unmarshal(v, &list) != nil {
		if json.Unmarshal(v, &one) != nil {
			return
		}
		list = []string{one}
	}
	for _, s := range list {
		if der, err := base64.StdEncoding.DecodeString(s); err == nil {
			if c, err := x509.ParseCertificate(der); err == nil {
				treeCertificate(t, c)
			}
		}
	}
}

// formatName returns the name of a format.
func formatName(f attest.Format) string {
	for _, s := range verifier.Schemes() {
		if d := s.Describe(); d.Format == f {
			return d.Name
		}
	}
	return fmt.Sprintf("format %d", f)
}
