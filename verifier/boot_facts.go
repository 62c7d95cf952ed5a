package verifier

import (
	"bytes"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/bootlog"
)

// slotBoot is what was found out about one slot's boot: several checks ask, and a log
// from a stranger is long.
type slotBoot struct {
	// measured is the outcome of slot.measurement; nil until it is asked for.
	measured *outcome
	// image is the policy's image that booted, and found what was said of it, if it
	// was sought.
	sought bool
	image  *BootImage
	found  outcome

	// plain are the facts without the phases of any image, if they were read, or what
	// kept them from being read.
	read    bool
	plain   *bootlog.Facts
	problem string
	// own are Sworn's own events in the register that anchors them.
	own []bootlog.Extend
	// sections is what the log alone leaves in the register of sections.
	sections []byte
	// phased are the facts with the phases that the register confirms, and key these
	// phases.
	phased *bootlog.Facts
	key    string
}

// maxShown is how many of a register's digests are looked at: more than any policy lists.
const maxShown = 2*maxBootEvents + 1

// facts replays the firmware's log against a slot's quote. The phases of an image
// follow the log in the register of sections, and Sworn's own events in the register
// that anchors them. Where ended is false, the phases are not what followed, and the
// facts are those without them. A slot is appraised in one bank.
func (a *appraisal) facts(s *slotResult, bank attest.Alg, phases []string) (f *bootlog.Facts, ended bool, problem string) {
	b := &s.boot
	if !b.read {
		a.readFacts(s, bank)
		b.read = true
	}
	if b.plain == nil || len(phases) == 0 {
		return b.plain, true, b.problem
	}
	if key := strings.Join(phases, "\n"); b.phased == nil || b.key != key {
		further := phaseExtends(bank, phases)
		if !s.follow(bank, further) {
			return b.plain, false, ""
		}
		// The phases that give a register are always the same, so that this happens once.
		f, err := a.boot.log.Appraise(bank, s.claims.Registers, bootlog.Options{Further: slices.Concat(further, b.own)})
		if err != nil {
			return nil, false, err.Error()
		}
		b.phased, b.key = f, key
	}
	return b.phased, true, ""
}

// readFacts replays the firmware's log without phases.
func (a *appraisal) readFacts(s *slotResult, bank attest.Alg) {
	b := &s.boot
	if a.boot.log == nil || a.boot.problem != "" {
		b.problem = "no event log of the firmware is carried"
		return
	}
	if r := s.slot.Register; r != nil && a.log != nil {
		for i := range a.log.Events {
			b.own = append(b.own, bootlog.Extend{Index: r.Index, Digest: bank.Sum(a.log.Events[i].Preimage())})
		}
	}
	values, err := a.boot.log.Replay(bank, nil)
	if err == nil {
		b.plain, err = a.boot.log.Appraise(bank, s.claims.Registers, bootlog.Options{Further: b.own})
	}
	if err != nil {
		b.problem = err.Error()
		return
	}
	b.sections = make([]byte, bank.Size())
	for _, v := range values {
		if v.Index == sectionRegister {
			b.sections = v.Value
		}
	}
}

// phaseExtends are the digests of phases.
func phaseExtends(bank attest.Alg, phases []string) []bootlog.Extend {
	var out []bootlog.Extend
	for _, p := range phases {
		out = append(out, bootlog.Extend{Index: sectionRegister, Digest: bank.Sum([]byte(p))})
	}
	return out
}

// follow reports whether phases after the log give the quoted register of sections.
func (s *slotResult) follow(bank attest.Alg, phases []bootlog.Extend) bool {
	value := s.boot.sections
	for _, x := range slices.Concat(phases, s.boot.own) {
		if x.Index == sectionRegister {
			value = bank.Sum(value, x.Digest)
		}
	}
	return bytes.Equal(value, s.register(bank, sectionRegister))
}

// separates reports whether an event is a separator.
func separates(f *bootlog.Facts, event int) bool {
	_, found := slices.BinarySearchFunc(f.Separators, event, func(x bootlog.Separator, event int) int { return x.Event - event })
	return found
}

// unseparated returns the digests of a register's events, separators aside: the first
// of them, if they are more than a policy could list.
func unseparated(f *bootlog.Facts, index uint32) []string {
	var out []string
	for _, m := range f.Of(index) {
		if !separates(f, m.Event) {
			out = append(out, hex.EncodeToString(m.Digest))
		}
		if len(out) == maxShown {
			break
		}
	}
	return out
}
