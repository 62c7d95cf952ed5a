package verifier

import (
	"fmt"

	"github.com/sworn-run/sworn/internal/bootlog"
)

// bootLines says what booted, as far as the quote confirms the firmware's log, one line
// for each fact.
func (a *appraisal) bootLines() []string {
	if a.boot.log == nil || a.boot.problem != "" {
		return nil
	}
	for i := range a.slots {
		s := &a.slots[i]
		if s.claims == nil || s.slot.Register == nil {
			continue
		}
		bank := s.slot.Register.Bank
		if _, b := a.bootRules(s); b != 0 {
			bank = b
		}
		if f, _, _ := a.facts(s, bank, nil); f != nil {
			return factLines(f)
		}
	}
	return nil
}

// factLines spells out facts.
func factLines(f *bootlog.Facts) []string {
	out := []string{"Secure Boot not established: " + f.SecureBoot.Reason}
	if f.SecureBoot.Established {
		out[0] = "Secure Boot " + f.SecureBoot.State.String()
	}
	for i, m := range f.Images {
		if i == maxBootEvents {
			out = append(out, fmt.Sprintf("started %d images more", len(f.Images)-i))
			break
		}
		out = append(out, fmt.Sprintf("started image %v:%x", f.Bank, m.Digest))
	}
	if f.Sections.Established {
		for _, s := range f.Sections.List {
			out = append(out, fmt.Sprintf("section %s %v:%x", s.Name, f.Bank, s.Digest))
		}
	}
	for i, c := range f.CommandLines {
		if i == maxBootEvents {
			out = append(out, fmt.Sprintf("%d command lines more", len(f.CommandLines)-i))
			break
		}
		out = append(out, fmt.Sprintf("command line %.400q", c.Text.Text))
	}
	return out
}
