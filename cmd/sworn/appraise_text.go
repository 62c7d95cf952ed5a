package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/verifier"
	"github.com/sworn-run/sworn/verifier/appraise"
)

// writeJSON writes one value, on one line if indent is empty.
func writeJSON(w io.Writer, v any, indent string) error {
	enc := json.NewEncoder(verifier.PrintableJSON(w))
	enc.SetEscapeHTML(false)
	enc.SetIndent("", indent)
	return enc.Encode(v)
}

// headline is the outcome in one line.
func headline(r *appraise.Report) string {
	what := string(r.Kind)
	if r.Form != "" {
		what += ", " + r.Form
	}
	if r.Accepted() {
		return "accepted: " + what + assumption(r)
	}
	return "refused: " + what + ": " + r.Refusal.Error()
}

// assumption is what everything below an acceptance rests on, beside what is proven.
func assumption(r *appraise.Report) string {
	enclave, machine := r.Kind == appraise.SGX, r.Kind == appraise.SEVSNP || r.Kind == appraise.TDX
	if len(r.Quoted) == 0 && !enclave && !machine {
		return "; no quote confirms it"
	}
	for _, f := range r.Findings {
		switch {
		case f.Name != "identity":
		case r.Kind == appraise.Nitro || r.Kind == appraise.NitroTPM:
			// The document's own comes first, and states the registers by itself.
			if f.Status == attest.Passed {
				return ""
			}
			return ", assuming that AWS's hypervisor holds the key: nobody who is trusted vouches for it"
		case f.Status != attest.Passed && enclave:
			return ", assuming that an SGX platform holds the key: nobody who is trusted vouches for it"
		case f.Status != attest.Passed && machine:
			return ", assuming that the hardware holds the key: nobody who is trusted vouches for it"
		case f.Status != attest.Passed:
			return ", assuming that a TPM holds the key: nobody who is trusted vouches for it"
		}
	}
	return ""
}

// writeAppraisal writes a report for people: the outcome, what was found of each
// subject, and the registers that a log gives.
func writeAppraisal(w io.Writer, r *appraise.Report) error {
	var b strings.Builder
	b.WriteString(line(headline(r)) + "\n")
	subject := ""
	for _, f := range r.Findings {
		if f.Subject != subject {
			subject = f.Subject
			b.WriteString(line(subject) + ":\n")
		}
		fmt.Fprintf(&b, "  %-16s %s: %s\n", statusWord(f.Status), f.Name, line(f.Detail))
	}
	for _, p := range r.Replays {
		b.WriteString(line(p.Subject) + ", replayed:\n")
		for _, v := range p.Values {
			fmt.Fprintf(&b, "  %-7s %s%-3d %x\n", v.Bank, p.Name, v.Index, v.Value)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
