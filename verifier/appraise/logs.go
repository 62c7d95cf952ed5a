package appraise

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/bootlog"
	"github.com/sworn-run/sworn/internal/bootlog/ima"
)

// logs appraises logs that no quote came with.
func (a *appraisal) logs() error {
	var list []*File
	var unused []string
	for i := range a.in.Files {
		f := &a.in.Files[i]
		// What is named the evidence is taken for it, so that it is told why it is
		// none.
		if c := contentOf(f); c == isLog || c != isJSON && len(a.in.Files) == 1 || strings.HasSuffix(f.Name, ".bin") {
			list = append(list, f)
		} else {
			unused = append(unused, f.Name)
		}
	}
	if len(list) == 0 {
		return fmt.Errorf("no log of a firmware in %s: %w", strings.Join(unused, ", "), attest.ErrForm)
	}
	kind := bootlog.PCRs
	a.report.Form = "firmware log"
	if a.in.Kind == CCEL {
		kind = bootlog.MRs
		a.report.Form = "log of confidential computing"
	}
	for _, f := range list {
		if err := a.log(f, kind); err != nil {
			return err
		}
	}
	a.unread(unused)
	return nil
}

// log appraises one log.
func (a *appraisal) log(f *File, kind bootlog.Registers) error {
	l, err := bootlog.Parse(f.Data, kind)
	if err != nil {
		return fmt.Errorf("%s: %w", f.Name, err)
	}
	a.open(f.Name, "form", "%d events, %d bytes of padding; no quote confirms any of them", len(l.Events), l.Padding)
	replay := Replay{Subject: f.Name, Name: "PCR"}
	if kind == bootlog.MRs {
		replay.Name = "RTMR"
	}
	var best attest.Alg
	for _, alg := range l.Algs {
		if !alg.Alg.Known() {
			a.open(f.Name, "bank", "%v is not replayed", alg.Alg)
			continue
		}
		values, err := l.Replay(alg.Alg, nil)
		if err != nil {
			return fmt.Errorf("%s: %w", f.Name, refusal(err))
		}
		for _, v := range values {
			index := v.Index
			if kind == bootlog.MRs {
				if index == 0 {
					continue // MRTD is no register that can be extended.
				}
				index--
			}
			replay.Values = append(replay.Values, attest.RegisterValue{Bank: alg.Alg, Index: index, Value: v.Value})
		}
		if alg.Alg.Accepted() && best == 0 {
			best = alg.Alg
		}
	}
	a.report.Replays = append(a.report.Replays, replay)
	if err := a.whole(f.Name, l); err != nil {
		return err
	}
	if best == 0 {
		a.open(f.Name, "facts", "the log has digests of SHA-1 alone, which prove nothing even if they are quoted")
		return nil
	}
	return a.unquotedFacts(f, l, best)
}

// unquotedFacts reads what the log would establish if its own values were quoted.
func (a *appraisal) unquotedFacts(f *File, l *bootlog.Log, bank attest.Alg) error {
	values, err := l.Replay(bank, nil)
	if err != nil {
		return fmt.Errorf("%s: %w", f.Name, refusal(err))
	}
	var quoted []attest.RegisterValue
	for _, v := range values {
		quoted = append(quoted, attest.RegisterValue{Bank: bank, Index: v.Index, Value: v.Value})
	}
	facts, err := l.Appraise(bank, quoted, bootlog.Options{})
	if err != nil {
		return fmt.Errorf("%s: %w", f.Name, refusal(err))
	}
	a.facts(f.Name, facts, false)
	return nil
}

// whole refuses a log of which the log itself says that its end is missing.
//
// A firmware that measures its attempts to boot into PCR 5, as the TCG EFI Platform
// Specification had it, measures there one after the other that it calls the boot
// option, and that the option returned or the firmware's services ended. In the
// crypto-agile format the end may stand in a table apart, which not everybody reads
// (TCG EFI Protocol Specification, EFI_TCG2_FINAL_EVENTS_TABLE). The older format has
// no such table: a log in it whose PCR 5 begins an attempt and ends none was cut. It
// cannot be that of a system that runs, and what it gives for PCR 5 no TPM of such a
// system holds. Where the call is measured elsewhere, nothing says that this firmware
// measures the end at all.
func (a *appraisal) whole(name string, l *bootlog.Log) error {
	if l.Agile || l.Registers != bootlog.PCRs {
		return nil
	}
	begun := 0
	for i := range l.Events {
		e := &l.Events[i]
		if e.Index != 5 || !e.Extends() {
			continue
		}
		is := func(text string) bool { return bytes.Equal(e.Digest(attest.SHA1), attest.SHA1.Sum([]byte(text))) }
		switch {
		case is("Calling EFI Application from Boot Option"):
			begun++
		case is("Returning from EFI Application from Boot Option"):
			begun--
		case is("Exit Boot Services Returned with Success"), is("Exit Boot Services Invocation"):
			return nil
		}
	}
	if begun > 0 {
		return a.against(name, "completeness", "register 5 says that a boot option was called, and neither that it returned nor that the firmware's services ended: the log was cut, and what it says of the boot is not the whole")
	}
	return nil
}

// facts reports what a log establishes, or would.
func (a *appraisal) facts(name string, f *bootlog.Facts, quoted bool) {
	add := func(what string, finding bootlog.Finding, format string, args ...any) {
		switch detail := fmt.Sprintf(format, args...); {
		case !finding.Established:
			a.open(name, what, "%s", finding.Reason)
		case !quoted:
			a.open(name, what, "%s, if the registers are quoted so", detail)
		default:
			a.proven(name, what, "%s", detail)
		}
	}
	sure := bootlog.Finding{Established: true}
	s := f.SecureBoot
	extra := ""
	if s.Debug {
		extra += ", with the firmware's debug mode"
	}
	if s.DMA {
		extra += ", with memory open to devices"
	}
	add("Secure Boot", s.Finding, "%v%s", s.State, extra)
	v := f.Variables
	add("Secure Boot databases", v.Finding, "PK %d, KEK %d, db %d, dbx %d entries", len(v.PK), len(v.KEK), len(v.DB), len(v.DBX))
	add("authorities", f.Authorities.Finding, "%d", len(f.Authorities.List))
	add("images", sure, "%d", len(f.Images))
	for _, c := range f.CommandLines {
		add("command line", sure, "%q", c.Text.Text)
	}
	if f.Sections.Established {
		names := make([]string, 0, len(f.Sections.List))
		for _, s := range f.Sections.List {
			names = append(names, s.Name)
		}
		add("unified kernel image", f.Sections.Finding, "%s", strings.Join(names, " "))
	}
	if x := f.ExitBootServices; x.Invoked+x.Succeeded > 0 {
		add("end of the firmware's services", sure, "invoked %d, failed %d, succeeded %d", x.Invoked, x.Failed, x.Succeeded)
	} else {
		a.open(name, "end of the firmware's services", "not in the log")
	}
	if n := len(f.Rest); n > 0 {
		add("other events", sure, "%d whose meaning only a reference value can tell", n)
	}
}

// lists appraises IMA lists that no quote came with.
func (a *appraisal) lists() error {
	a.report.Form = "IMA list"
	read := 0
	var unused []string
	for i := range a.in.Files {
		f := &a.in.Files[i]
		if c := contentOf(f); c != isList && c != isASCIIList && len(a.in.Files) > 1 {
			unused = append(unused, f.Name)
			continue
		}
		read++
		l, err := asList(f)
		if err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
		a.list(f.Name, l)
	}
	if read == 0 {
		return fmt.Errorf("no IMA list in %s: %w", strings.Join(unused, ", "), attest.ErrForm)
	}
	a.unread(unused)
	return nil
}

// list reports one list.
func (a *appraisal) list(name string, l *ima.List) {
	templates := map[string]int{}
	for i := range l.Entries {
		templates[l.Entries[i].Template]++
	}
	a.open(name, "form", "%d entries, %d templates; no quote confirms any of them", len(l.Entries), len(templates))
	replay := Replay{Subject: name, Name: "PCR"}
	for _, bank := range []attest.Alg{attest.SHA1, attest.SHA256} {
		var values [24][]byte
		for i := range l.Entries {
			e := &l.Entries[i]
			if values[e.Index] == nil {
				values[e.Index] = make([]byte, bank.Size())
			}
			extended := bank.Sum(e.Data)
			if e.Violation {
				extended = bytes.Repeat([]byte{0xFF}, bank.Size())
			}
			values[e.Index] = bank.Sum(values[e.Index], extended)
		}
		for i, v := range values {
			if v != nil {
				replay.Values = append(replay.Values, attest.RegisterValue{Bank: bank, Index: uint32(i), Value: v})
			}
		}
	}
	a.report.Replays = append(a.report.Replays, replay)
	a.violations(name, l.Entries)
}

// violations counts the entries of files that changed while they were measured.
func (a *appraisal) violations(name string, entries []ima.Entry) {
	n := 0
	for i := range entries {
		if entries[i].Violation {
			n++
		}
	}
	if n > 0 {
		a.open(name, "violations", "%d files were written to while they were measured", n)
	}
}
