package verifier

import (
	"encoding/hex"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
)

// summary reads what the capsule says, without judging it.
func (a *appraisal) summary() Summary {
	if a.evidence != nil {
		s := a.evidence.summary()
		a.recordSummary(&s)
		return s
	}
	s := a.evidenceSummary()
	a.recordSummary(&s)
	return s
}

// recordSummary reads what the record says.
func (a *appraisal) recordSummary(s *Summary) {
	if a.runtime != nil {
		x := a.runtime.Exit
		s.Input, s.Output = a.stream(cer.FieldInput, a.runtime.Input), a.stream(cer.FieldOutput, a.runtime.Output)
		s.Stderr, s.Exit, s.Parameters = a.stream(cer.FieldStderr, a.runtime.Stderr), &x, a.parameters()
	}
	if a.bundle != nil {
		s.CertificateHash = a.bundle.CertificateHash
	}
}

// evidenceSummary reads what the capsule says that it may share with others.
func (a *appraisal) evidenceSummary() Summary {
	s := Summary{Components: []Component{}, Evidence: [][]Field{}, Booted: a.bootLines(), Signatures: a.signatureList()}
	for _, c := range a.components {
		s.Components = append(s.Components, Component{c.Role, c.Name, c.Path, c.Digest, c.Size, c.Protection, string(c.Value), c.Described})
	}
	if e := a.environments[cer.KindLimits]; e != nil {
		for _, f := range e.Facts {
			if f.Value != "0" && f.Name != "timeout_ms" { // the exit tells of a timeout
				s.Limits = append(s.Limits, f)
			}
		}
	}
	if e := a.environments[cer.KindWasm]; e != nil {
		s.Wasm = e.Facts
	}
	if a.statement != nil {
		ms := int64(a.statement.Time)
		s.ClaimedTime = time.UnixMilli(ms).UTC().Format(time.RFC3339)
		d := attest.EvidenceDigest(a.capsule.Statement, a.capsule.Signature, a.capsule.Items)
		s.EvidenceDigest = hex.EncodeToString(d[:])
	}
	if a.structure != nil {
		s.Events, s.EarlierLaunches = len(a.log.Events), len(a.structure.Segments)-1
	}
	for _, sl := range a.slots {
		fields := []Field{}
		if sl.claims != nil {
			fields = append(fields, Field{"format", sl.desc.Name})
			for _, d := range sl.claims.Details {
				fields = append(fields, Field{d.Name, d.Value})
			}
		}
		s.Evidence = append(s.Evidence, fields)
	}
	return s
}
