package verifier

import (
	"encoding/hex"
	"slices"
	"strconv"
	"strings"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/bootlog"
)

func checkLauncherRooted(a *appraisal) outcome {
	if len(a.slots) == 0 {
		return unknown("the manifest cannot be read")
	}
	own := a.launcher(a.components)
	if own == nil || a.launchErr != nil {
		return unknown("the launch has no launcher that could be read")
	}
	first := unknown("no measured boot covers the launcher: it measured itself")
	for i := range a.slots {
		s := &a.slots[i]
		rules, bank := a.bootRules(s)
		if rules == nil {
			continue
		}
		if o := checkSlotMeasurement(a, i); o.Status != attest.Passed {
			first = unknown("what booted is not the policy's (slot.measurement): it measured itself")
			continue
		}
		return a.rooted(s, rules, bank, own)
	}
	return first
}

// rooted judges whether what booted, which is the policy's, covers the launcher.
func (a *appraisal) rooted(s *slotResult, rules *BootPolicy, bank attest.Alg, own *cer.Component) outcome {
	if len(rules.Registers["0"]) == 0 {
		return unknown("the policy has no value of PCR 0, so any firmware could have measured the rest")
	}
	image, _ := a.bootedImage(s, rules, bank)
	if image == nil || len(rules.Images) == 0 {
		return unknown("the policy names no boot image")
	}
	if image.Cmdline == "" {
		return unknown("the policy does not have the text of the kernel's command line")
	}
	if problem := openKernel(image.Cmdline); problem != "" {
		return unknown("the kernel is open: " + problem)
	}
	if slices.ContainsFunc(own.Digest, func(d string) bool { return slices.Contains(image.Launchers, d) }) {
		return passed("the launcher lies in image " + strconv.Quote(image.Name) + ", which booted")
	}
	if rules.IMA != nil && a.boot.list != nil && measuresPrograms(image.Cmdline) {
		for i := range a.boot.list.Entries {
			if d := imaDigest(&a.boot.list.Entries[i]); slices.Contains(own.Digest, d) {
				return passed("the kernel measured the launcher, and every other file that it measured is the policy's")
			}
		}
	}
	return unknown("the launcher is in no image that booted, and the kernel's list does not have it")
}

// measuresPrograms reports whether a command line makes the kernel measure every
// program, by one of its built-in policies.
func measuresPrograms(cmdline string) bool {
	for _, p := range bootlog.Parameters(cmdline) {
		if v, ok := strings.CutPrefix(p, "ima_policy="); ok {
			return slices.Contains(strings.Split(strings.Trim(v, `"`), "|"), "tcb")
		}
	}
	return false
}

// explained reports whether the policy's image accounts for what the register that
// anchors the log held before the first launch: the firmware's log has exactly these
// events there, and the policy lists each.
func (a *appraisal) explained() bool {
	for i := range a.slots {
		s := &a.slots[i]
		rules, bank := a.bootRules(s)
		if rules == nil || s.slot.Register == nil || s.claims == nil {
			continue
		}
		image, _ := a.bootedImage(s, rules, bank)
		if image == nil || len(image.Extensions) == 0 {
			continue
		}
		f, _ := a.facts(s, bank, image.Phases)
		if f == nil || bootlog.Require(f.Registers, s.slot.Register.Index) != nil {
			continue
		}
		var got []string
		for _, m := range f.Of(s.slot.Register.Index) {
			got = append(got, hex.EncodeToString(m.Digest))
		}
		if slices.Equal(got, image.Extensions) {
			return true
		}
	}
	return false
}
