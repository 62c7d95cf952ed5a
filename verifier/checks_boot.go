package verifier

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/bootlog"
	"github.com/sworn-run/sworn/internal/bootlog/ima"
	"github.com/sworn-run/sworn/tdx"
)

// The kinds of collateral items that tell what booted (SPEC, section 5.5). Nobody
// signs them: a quote confirms them or not.
const (
	// CollateralEventLog is a firmware's event log (TCG PC Client Platform
	// Firmware Profile, 10.2), as the launch read it.
	CollateralEventLog = "eventlog"
	// CollateralIMA is the beginning of the kernel's list of measured files
	// (binary_runtime_measurements) that the quote covers.
	CollateralIMA = "ima"
)

// bootLogs are the logs of what booted that a capsule carries.
type bootLogs struct {
	log  *bootlog.Log
	list *ima.List
	// ccel is the log of a confidential VM's firmware.
	ccel []byte
	// problem says what keeps the logs from being those that the launch named.
	problem string
}

// readBoot reads the logs of what booted. The launch and the slots have been read.
func (a *appraisal) readBoot() {
	b := &a.boot
	for _, item := range a.capsule.Collateral {
		var err error
		switch item.Kind {
		case CollateralEventLog:
			b.log, err = bootlog.Parse(item.Data, bootlog.PCRs)
		case CollateralIMA:
			b.list, err = ima.Parse(item.Data)
		case attest.CollateralCCEL:
			b.ccel = item.Data
		}
		if err != nil && b.problem == "" {
			b.problem = err.Error()
		}
	}
}

// bootDigests returns the kinds and digests of the items that the launch announced,
// in their order; an empty digest for one that grew after that.
func (a *appraisal) bootDigests() [][2]string {
	var out [][2]string
	e := a.environments[cer.KindBoot]
	if d, ok := e.Get(cer.FactCCEL); ok {
		out = append(out, [2]string{attest.CollateralCCEL, d})
	}
	if d, ok := e.Get(cer.FactEventLog); ok && d != cer.NoBootLog {
		out = append(out, [2]string{CollateralEventLog, d})
	}
	if v, ok := e.Get(cer.FactIMA); ok && v == cer.CarriedIMA {
		out = append(out, [2]string{CollateralIMA, ""})
	}
	return out
}

func checkBootLog(a *appraisal) outcome {
	if a.capsule == nil || a.launchErr != nil || a.own == nil {
		return unknown("the launch cannot be read")
	}
	var got []attest.Collateral
	for _, item := range a.capsule.Collateral {
		if bootKind(item.Kind) {
			got = append(got, item)
		}
	}
	want := a.bootDigests()
	if len(got) != len(want) {
		return failed("the logs of what booted are not those that the launch named").
			with(fmt.Sprintf("%d log(s)", len(want)), fmt.Sprintf("%d", len(got)))
	}
	var names []string
	for i, w := range want {
		digest := cer.SHA256Digest(sha256.Sum256(got[i].Data))
		if got[i].Kind != w[0] || w[1] != "" && digest != w[1] {
			return failed("the logs of what booted are not those that the launch named").with(w[0]+" "+w[1], got[i].Kind+" "+digest)
		}
		names = append(names, w[0])
	}
	if a.boot.problem != "" {
		return failed(a.boot.problem)
	}
	if a.boot.list != nil {
		if problem := a.listProblem(); problem != "" {
			return failed(problem)
		}
	}
	if a.boot.ccel != nil {
		if problem := a.ccelProblem(); problem != "" {
			return failed(problem)
		}
	}
	if len(names) == 0 {
		return passed("the launch named none")
	}
	return passed(strings.Join(names, " and ") + ", as the launch named")
}

// ccelProblem says what keeps a quote from confirming the log of a confidential VM's
// firmware, or nothing. Systems extend nothing into these registers after it ended.
func (a *appraisal) ccelProblem() string {
	for i := range a.slots {
		s := &a.slots[i]
		if s.desc.RegisterBank == 0 || s.claims == nil {
			continue
		}
		if _, err := tdx.BootLog(s.claims.Registers, a.boot.ccel); err != nil {
			return err.Error()
		}
		return ""
	}
	return "no quote has the registers that the log of a confidential VM's firmware would explain"
}

// listProblem says what keeps the quote from confirming all of the kernel's list, or
// nothing.
func (a *appraisal) listProblem() string {
	if slices.ContainsFunc(a.boot.list.Entries, func(e ima.Entry) bool { return e.Index != ima.Register }) {
		return fmt.Sprintf("the kernel's list of measured files has an entry that is not of register %d", ima.Register)
	}
	for i := range a.slots {
		if v := a.slots[i].register(attest.SHA256, ima.Register); v != nil {
			if n, err := a.boot.list.Confirmed(ima.Register, v); err == nil && n == len(a.boot.list.Entries) {
				return ""
			}
			return fmt.Sprintf("the kernel's list of measured files does not give register %d of the quote", ima.Register)
		}
	}
	return fmt.Sprintf("no quote has register %d in bank sha256, which the kernel's list of measured files would explain", ima.Register)
}

// register returns a quoted register; nil if the quote has none such.
func (s *slotResult) register(bank attest.Alg, index uint32) []byte {
	if s.claims == nil {
		return nil
	}
	for _, r := range s.claims.Registers {
		if r.Bank == bank && r.Index == index {
			return r.Value
		}
	}
	return nil
}

// zeros reports whether a quoted register is as a reset left it.
func (s *slotResult) zeros(bank attest.Alg, index uint32) bool {
	v := s.register(bank, index)
	return v != nil && bytes.Equal(v, make([]byte, bank.Size()))
}

// bootRules returns the policy's reference values for a slot, and its bank; nil if
// there are none.
func (a *appraisal) bootRules(s *slotResult) (*BootPolicy, attest.Alg) {
	if a.in.Policy == nil {
		return nil, 0
	}
	f, ok := a.in.Policy.Formats[s.desc.Name]
	bank, err := attest.ParseAlg(f.Bank)
	if !ok || err != nil || !bank.Accepted() || f.Boot.empty() {
		return nil, 0
	}
	return &f.Boot, bank
}

func checkSlotMeasurement(a *appraisal, i int) outcome {
	s := &a.slots[i]
	if s.boot.measured == nil {
		o := a.measured(s)
		s.boot.measured = &o
	}
	return *s.boot.measured
}

// measured is slot.measurement of one slot.
func (a *appraisal) measured(s *slotResult) outcome {
	if s.claims == nil {
		return noEvidence(s)
	}
	if a.in.Policy == nil {
		return unknown("no policy given")
	}
	f := a.rules(s)
	if f == nil || f.Boot.empty() && !f.namesImage(&s.desc) {
		if len(s.desc.Measurements) > 0 {
			return unknown("the policy has no reference values of what was launched")
		}
		return unknown("the policy has no reference values of what booted")
	}
	o := launchRules(s, f)
	if o.Status != attest.Passed {
		return o
	}
	var established []string
	if o.Detail != "" {
		established = append(established, o.Detail)
	}
	rules, bank := a.bootRules(s)
	if rules == nil {
		return passed(strings.Join(established, "; "))
	}
	for _, rule := range []func(*appraisal, *slotResult, *BootPolicy, attest.Alg) outcome{secureBootRule, registerRule, imageRule, imaRule} {
		o := rule(a, s, rules, bank)
		if o.Status != attest.Passed {
			return o
		}
		if o.Detail != "" {
			established = append(established, o.Detail)
		}
	}
	return passed(strings.Join(established, "; "))
}

// registerRule compares quoted registers.
func registerRule(_ *appraisal, s *slotResult, rules *BootPolicy, bank attest.Alg) outcome {
	for _, n := range slices.Sorted(maps.Keys(rules.Registers)) {
		index, err := strconv.ParseUint(n, 10, 8)
		if err != nil {
			return failed("register " + n)
		}
		got := hex.EncodeToString(s.register(bank, uint32(index)))
		if !slices.Contains(rules.Registers[n], got) {
			return failed(fmt.Sprintf("PCR %s of bank %v has another value", n, bank)).with(strings.Join(rules.Registers[n], " or "), got)
		}
	}
	if n := len(rules.Registers); n > 0 {
		return passed(fmt.Sprintf("%d registers with the policy's values", n))
	}
	return passed("")
}

// The registers that rules read (PFP, 3.3.4; systemd-stub(7); Linux, EFI stub).
const (
	imageRegister   = 4
	secureRegister  = 7
	stubRegister    = 9
	sectionRegister = 11
)

// secureBootRule judges Secure Boot.
func secureBootRule(a *appraisal, s *slotResult, rules *BootPolicy, bank attest.Alg) outcome {
	if rules.SecureBoot == nil {
		return passed("")
	}
	f, _, problem := a.facts(s, bank, nil)
	if f == nil {
		return unknown("Secure Boot: " + problem)
	}
	switch sb := f.SecureBoot; {
	case !sb.Established:
		return unknown("Secure Boot: " + sb.Reason)
	case sb.State != bootlog.Enabled:
		return failed("Secure Boot is "+sb.State.String()).with(SecureBootEnabled, sb.State.String())
	case sb.Debug:
		return failed("Secure Boot: the firmware was in a mode for debugging")
	case sb.DMA:
		return failed("Secure Boot: the firmware left memory open to devices")
	}
	if len(rules.SecureBoot.DB) == 0 {
		return passed("Secure Boot on")
	}
	if !f.Variables.Established {
		return unknown("Secure Boot: " + f.Variables.Reason)
	}
	for _, sig := range f.Variables.DB {
		if d := databaseDigest(&sig); !slices.Contains(rules.SecureBoot.DB, d) {
			return failed("Secure Boot: db has an entry that the policy does not list").with(strings.Join(rules.SecureBoot.DB, " or "), d)
		}
	}
	return passed(fmt.Sprintf("Secure Boot on, with the policy's db (%d entries)", len(f.Variables.DB)))
}

// databaseDigest names an entry of db: a certificate by SHA-256 of its DER, an
// image by its digest, anything else by its type.
func databaseDigest(s *bootlog.Signature) string {
	switch {
	case s.Type.String() == bootlog.CertSHA256 && len(s.Data) == sha256.Size:
		return cer.SHA256Digest([32]byte(s.Data))
	case s.Type.String() == bootlog.CertX509:
		return cer.SHA256Digest(sha256.Sum256(s.Data))
	default:
		return "an entry of type " + s.Type.String()
	}
}

// imaRule judges the kernel's list of measured files.
func imaRule(a *appraisal, s *slotResult, rules *BootPolicy, _ attest.Alg) outcome {
	if rules.IMA == nil {
		return passed("")
	}
	list := a.boot.list
	if list == nil || a.boot.problem != "" || a.listProblem() != "" {
		return unknown("no list of the kernel's measured files is carried")
	}
	var registers [][]byte
	for i := range uint32(10) {
		registers = append(registers, s.register(attest.SHA256, i))
	}
	if !list.CheckAggregate(registers) {
		return failed("the kernel's list of measured files does not begin with the digest of this boot's registers")
	}
	allowed := make(map[string]bool, len(rules.IMA.Files))
	for _, d := range rules.IMA.Files {
		allowed[d] = true
	}
	for i := range list.Entries {
		e := &list.Entries[i]
		digest := imaDigest(e)
		if i > 0 && !allowed[digest] {
			return failed(fmt.Sprintf("the kernel measured %q, which the policy does not list", e.Path)).with("a listed digest", digest)
		}
	}
	return passed(fmt.Sprintf("%d files that the kernel measured, all listed", len(list.Entries)-1))
}

// imaDigest returns the digest of an entry's file as policies write it, or what keeps
// it from being one.
func imaDigest(e *ima.Entry) string {
	switch {
	case e.Violation:
		return "a file that was written to meanwhile"
	case e.Index != ima.Register || e.Alg != attest.SHA256.String() || len(e.Digest) != sha256.Size:
		return "a digest of another kind (" + oneLine(e.Alg) + ")"
	default:
		return cer.SHA256Digest([32]byte(e.Digest))
	}
}
