package verifier

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
)

// registered reports whether any format of the manifest keeps the log in a register.
func (a *appraisal) registered() bool {
	return slices.ContainsFunc(a.slots, func(s slotResult) bool { return s.desc.Anchor != attest.AnchorStatementOnly })
}

func checkLogOrigin(a *appraisal) outcome {
	switch {
	case a.origin == nil:
		return unknown("the log's origin cannot be read")
	case len(a.slots) > 0 && !a.registered():
		return notApplicable("no register keeps the log")
	}
	for i := range a.origin.Start {
		alg, v, err := a.origin.StartValue(i)
		if err != nil {
			return failed(err.Error())
		}
		if !bytes.Equal(v, make([]byte, alg.Size())) {
			if a.explained() {
				return passed("the firmware's log explains what the register held when the log began, and the policy lists it")
			}
			return unknown(fmt.Sprintf("the register was not zero when the log began, and nothing explains its value (%v)", alg)).
				with("zeros", hex.EncodeToString(v))
		}
	}
	return passed("the register was zero when the log began")
}

// start returns the register's start value in one bank; nil if the origin does
// not give it.
func (a *appraisal) start(bank attest.Alg) []byte {
	for i := range a.origin.Start {
		if alg, v, err := a.origin.StartValue(i); err == nil && alg == bank {
			return v
		}
	}
	return nil
}

// originBanks returns the banks that the origin gives start values for, in its
// order: what was active, and so extended, and all that a log may carry digests
// for.
func (a *appraisal) originBanks() []attest.Alg {
	var out []attest.Alg
	for i := range a.origin.Start {
		if alg, _, err := a.origin.StartValue(i); err == nil {
			out = append(out, alg)
		}
	}
	return out
}

func checkLogReplay(a *appraisal) outcome {
	switch {
	case a.capsule == nil || a.statement == nil:
		return unknown("capsule or statement cannot be read")
	case a.logErr != nil:
		return failed(a.logErr.Error())
	case a.origin == nil:
		return unknown("the log's origin cannot be read")
	}
	if banks := a.originBanks(); !slices.Equal(banks, a.log.Banks) {
		return failed("the log's banks are not those of its origin").with(fmt.Sprint(banks), fmt.Sprint(a.log.Banks))
	}
	n := uint64(len(a.log.Events))
	if a.statement.LogSize+1 != n {
		return failed("the log is not the one the statement names").
			with(fmt.Sprintf("%d events and the commit", a.statement.LogSize), fmt.Sprintf("%d events", n))
	}
	if cer.LogRoot(a.log.Digests(a.statement.LogSize)) != a.statement.LogRoot {
		return failed("the log's root is not the one the statement names")
	}
	detail := ""
	for i := range a.slots {
		o := a.replaySlot(&a.slots[i])
		if o.Status != attest.Passed {
			return o
		}
		detail = o.Detail
	}
	if detail == "" {
		return unknown("no slot to replay against")
	}
	return passed(detail)
}

// replaySlot replays the log into the register of one slot, in every bank that
// the quote covers.
func (a *appraisal) replaySlot(s *slotResult) outcome {
	r := s.slot.Register
	if s.claims == nil {
		return noEvidence(s)
	}
	if r == nil {
		return passed("statement-only: the log's root is in the statement")
	}
	banks := []attest.Alg{r.Bank}
	if p := a.in.Policy; p != nil {
		f := p.Formats[s.desc.Name]
		index, bank := f.anchor(&s.desc)
		if bank == 0 || index != r.Index {
			return failed("the register is not the policy's").
				with(fmt.Sprintf("%d (%v)", index, bank), fmt.Sprintf("%d (%v)", r.Index, r.Bank))
		}
		if bank != r.Bank {
			banks = append(banks, bank)
		}
	}
	if !a.ownRegister(s) && !a.secondRegister(s) {
		return failed(fmt.Sprintf("the log is of register %d, the manifest names %d", a.log.Register, r.Index))
	}
	for _, q := range s.claims.Registers {
		if q.Index == r.Index && !slices.Contains(banks, q.Bank) {
			banks = append(banks, q.Bank)
		}
	}
	for _, b := range banks {
		if problem := a.replayBank(s, b); problem != "" {
			return failed(problem)
		}
	}
	return passed(fmt.Sprintf("register %d, %d events, banks %v", r.Index, len(a.log.Events), banks))
}

// ownRegister reports whether the log is that of the slot's register.
func (a *appraisal) ownRegister(s *slotResult) bool {
	return a.log.Register == s.slot.Register.Index && slices.Contains(a.log.Banks, s.slot.Register.Bank)
}

// secondRegister reports whether the log is that of a PCR which another slot quotes,
// and this slot's register, the one of its format, was extended beside it from zero.
func (a *appraisal) secondRegister(s *slotResult) bool {
	return s.desc.RegisterBank != 0 && s.desc.RegisterBank == s.slot.Register.Bank &&
		slices.ContainsFunc(a.slots, func(o slotResult) bool {
			return o.slot != s.slot && quotesPCRs(&o.desc) && o.slot.Register != nil && a.ownRegister(&o)
		})
}

// replayBank replays one bank; it returns what is wrong, or nothing.
func (a *appraisal) replayBank(s *slotResult, bank attest.Alg) string {
	r, n := s.slot.Register, uint64(len(a.log.Events))
	start, log := a.start(bank), a.log
	if a.secondRegister(s) {
		start, log = make([]byte, bank.Size()), &attest.Log{Banks: []attest.Alg{bank}, Events: a.log.Events}
	}
	if start == nil || !bank.Accepted() {
		return fmt.Sprintf("the log does not cover bank %v", bank)
	}
	before := log.Replay(bank, start, n-1)
	if bank == r.Bank && !bytes.Equal(before, r.Value) {
		return fmt.Sprintf("the log before the commit replays to another value than the manifest's (%v)", bank)
	}
	whole := log.Replay(bank, start, n)
	found := false
	for _, q := range s.claims.Registers {
		if q.Index == r.Index && q.Bank == bank {
			if whole == nil || !bytes.Equal(whole, q.Value) {
				return fmt.Sprintf("the log replays to another value of register %d than the quoted one (%v)", r.Index, bank)
			}
			found = true
		}
	}
	if !found {
		return fmt.Sprintf("the quote leaves out register %d in bank %v", r.Index, bank)
	}
	return ""
}

func checkLogLaunch(a *appraisal) outcome {
	switch {
	case a.statement == nil:
		return unknown("the statement cannot be read")
	case a.log == nil:
		return unknown("the log cannot be read")
	case a.launchErr != nil:
		return failed(a.launchErr.Error())
	case a.own.Launch != a.statement.Launch:
		return failed("the log's last launch is not the statement's").
			with(hex.EncodeToString(a.statement.Launch[:]), hex.EncodeToString(a.own.Launch[:]))
	case a.begin.Series != hex.EncodeToString(a.statement.Series[:]):
		return failed("the log's series is not the statement's")
	}
	return passed(fmt.Sprintf("%d components, %d environments, key before the separator", len(a.own.Components), len(a.own.Environments)))
}

func checkLogCommit(a *appraisal) outcome {
	if a.statement == nil || a.own == nil {
		return unknown("statement or log cannot be read")
	}
	n := len(a.own.Commits)
	if n != 1 && a.statement.Type != attest.TypeBatch || n == 0 || a.own.End != nil {
		return failed(fmt.Sprintf("a run commits once and the log ends there; got %d commit(s)", n))
	}
	want := sha256.Sum256(a.capsule.Statement)
	c := a.own.Commits[n-1]
	if !c.Disclosed {
		return unknown("the commit is withheld")
	}
	if !bytes.Equal(c.Data, want[:]) {
		return failed("the log commits another statement").with(hex.EncodeToString(want[:]), hex.EncodeToString(c.Data))
	}
	return passed("event " + fmt.Sprint(c.Index))
}

func checkLogAnchor(a *appraisal) outcome {
	if len(a.slots) == 0 {
		return unknown("the manifest cannot be read")
	}
	for _, s := range a.slots {
		if s.slot.Anchor != attest.AnchorRegister {
			return unknown("statement-only: nothing but the statement keeps the log")
		}
	}
	return passed("a register that can only be extended")
}

func checkLogSole(a *appraisal) outcome {
	if a.structure == nil || a.launchErr != nil {
		return unknown("the log cannot be read")
	}
	rule := PriorSameLauncher
	if a.in.Policy != nil {
		rule = a.in.Policy.PriorLaunches
	}
	if problem := a.exclusive(a.environments[cer.KindIsolation]); problem != "" {
		return unknown("the isolation in force did not deny the job the register: " + problem)
	}
	if !a.registered() {
		if o := checkLauncherRooted(a); o.Status != attest.Passed {
			return unknown("statement-only: nothing but a launcher that was launched with the machine keeps others from having quotes made: " + o.Detail)
		}
	}
	earlier := a.structure.Segments[:len(a.structure.Segments)-1]
	if len(earlier) == 0 {
		return passed("the only launch in this log")
	}
	switch rule {
	case PriorAny:
		return passed(fmt.Sprintf("%d earlier launch(es), whatever they were", len(earlier)))
	case PriorNone:
		return failed(fmt.Sprintf("%d earlier launch(es) in this register, the policy wants none", len(earlier)))
	}
	own := a.launcher(a.components)
	for i := range earlier {
		if problem := a.earlierLaunch(&earlier[i], own); problem != "" {
			return unknown(fmt.Sprintf("earlier launch %d of %d: %s", i+1, len(earlier), problem))
		}
	}
	return passed(fmt.Sprintf("%d earlier launch(es) by the same launcher", len(earlier)))
}

// launcher returns the launcher among components; nil if there is none.
func (a *appraisal) launcher(components []*cer.Component) *cer.Component {
	for _, c := range components {
		if c.Role == cer.RoleLauncher {
			return c
		}
	}
	return nil
}

// earlierLaunch says what is wrong with an earlier launch, or nothing: it must
// be complete, its launcher disclosed and the same as this record's, its
// isolation disclosed and such that its job could not reach the register.
func (a *appraisal) earlierLaunch(seg *attest.Segment, own *cer.Component) string {
	if seg.Key == nil || seg.Separator == nil || seg.End == nil {
		return "it was cut short"
	}
	if !seg.Begin.Disclosed || !seg.Separator.Disclosed {
		return "its launch-begin or separator is withheld"
	}
	if _, err := cer.ParseBegin(seg.Begin.Data); err != nil {
		return "its launch-begin cannot be read"
	}
	var components []*cer.Component
	for _, e := range seg.Components {
		if e.Disclosed {
			c, err := cer.ParseComponent(e.Data)
			if err != nil {
				return "a component cannot be read"
			}
			components = append(components, c)
		}
	}
	was := a.launcher(components)
	if was == nil {
		return "its launcher is withheld"
	}
	if own == nil || !slices.Equal(was.Digest, own.Digest) || was.Name != own.Name {
		return "its launcher is another"
	}
	var isolation *cer.Environment
	for _, e := range seg.Environments {
		if e.Disclosed {
			env, err := cer.ParseEnvironment(e.Data)
			if err != nil {
				return "an environment cannot be read"
			}
			if env.Kind == cer.KindIsolation {
				if isolation != nil {
					return "its isolation stands twice"
				}
				isolation = env
			}
		}
	}
	if problem := a.exclusive(isolation); problem != "" {
		return "its isolation did not deny the job the register: " + problem
	}
	return ""
}
