package verifier

import (
	"encoding/hex"
	"slices"
	"strconv"

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
		f := a.rules(s)
		if rules == nil && (f == nil || quotesPCRs(&s.desc) || !f.namesImage(&s.desc)) {
			continue
		}
		if o := checkSlotMeasurement(a, i); o.Status != attest.Passed {
			first = unknown("what booted is not the policy's (slot.measurement): it measured itself")
			continue
		}
		switch {
		case !quotesPCRs(&s.desc):
			return rootedLaunch(s, f, own)
		case len(s.desc.Measurements) > 0 && !f.namesImage(&s.desc):
			first = unknown("the policy does not name the image that keeps the virtual TPM")
		default:
			return a.rooted(s, rules, bank, own)
		}
	}
	return first
}

// rooted judges whether what booted, which is the policy's, covers the launcher.
func (a *appraisal) rooted(s *slotResult, rules *BootPolicy, bank attest.Alg, own *cer.Component) outcome {
	if problem := openFirmware(rules); problem != "" {
		return unknown(problem)
	}
	image, _ := a.bootedImage(s, rules, bank)
	if image == nil || len(rules.Images) == 0 {
		return unknown("the policy names no boot image")
	}
	if image.Cmdline == "" {
		return unknown("the policy does not have the text of the kernel's command line")
	}
	if !a.saidCmdline(s, image, bank) {
		return unknown("the policy does not have the text of the command line that booted, but of another that it accepts")
	}
	if problem := openKernel(image.Cmdline); problem != "" {
		return unknown("the kernel is open: " + problem)
	}
	if slices.ContainsFunc(own.Digest, func(d string) bool { return slices.Contains(image.Launchers, d) }) {
		if problem := image.openInitrd(); problem != "" {
			return unknown(problem)
		}
		if rules.SecureBoot == nil {
			return unknown("the policy does not want secure_boot, without which systemd in it takes options from a variable that nothing measures")
		}
		return passed("the launcher lies in image " + strconv.Quote(image.Name) + ", which booted")
	}
	return unknown("the launcher is in no image that booted")
}

// openFirmware says what keeps a policy from knowing the firmware, or nothing. A driver
// that firmware finds on a disk is measured into PCR 2, and could then change what is
// measured as the image; a firmware that is being debugged says so in PCR 7.
func openFirmware(rules *BootPolicy) string {
	switch {
	case len(rules.Registers["0"]) == 0:
		return "the policy has no value of PCR 0, so any firmware could have measured the rest"
	case len(rules.Registers["2"]) == 0:
		return "the policy has no value of PCR 2, so any driver could have changed what the firmware measured"
	case len(rules.Registers["7"]) == 0 && rules.SecureBoot == nil:
		return "the policy has neither secure_boot nor a value of PCR 7, so the firmware could have been in a mode for debugging"
	default:
		return ""
	}
}

// openInitrd says what keeps a launcher in an image's initial file system from being
// what runs, or nothing.
func (i *BootImage) openInitrd() string {
	if len(i.Stub) < 2 && !slices.ContainsFunc(i.Sections, func(s BootSection) bool { return s.Name == ".initrd" }) {
		return "the policy has no digest of the image's initial file system"
	}
	if findsRoot(i.Cmdline) {
		return "its command line names no root file system, and does not keep systemd from finding one (rd.systemd.gpt_auto=0)"
	}
	return openRoot(i.Cmdline)
}

// saidCmdline reports whether the command line that booted is the policy's text: as it
// stands, or with the white space around it that boot loaders leave there.
func (a *appraisal) saidCmdline(s *slotResult, image *BootImage, bank attest.Alg) bool {
	f, _, _ := a.facts(s, bank, image.Phases)
	if f == nil {
		return false
	}
	got := unseparated(f, stubRegister)
	if len(got) == 0 {
		return false
	}
	for _, before := range []string{"", " "} {
		for _, after := range []string{"", " ", "\n", " \n", "\r\n"} {
			if got[0] == hex.EncodeToString(bank.Sum(bootlog.UTF16(before+image.Cmdline+after))) {
				return true
			}
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
		f, _, _ := a.facts(s, bank, image.Phases)
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
