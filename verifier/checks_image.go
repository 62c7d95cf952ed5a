package verifier

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/bootlog"
)

// imageRule judges what the firmware and the boot loader started.
func imageRule(a *appraisal, s *slotResult, rules *BootPolicy, bank attest.Alg) outcome {
	if len(rules.Images) == 0 {
		return passed("")
	}
	image, o := a.bootedImage(s, rules, bank)
	if image == nil {
		return o
	}
	return passed("image " + strconv.Quote(image.Name))
}

// bootedImage returns the policy's image that booted; nil, and why, if none did. The
// reason is that of the first image.
func (a *appraisal) bootedImage(s *slotResult, rules *BootPolicy, bank attest.Alg) (*BootImage, outcome) {
	if !s.boot.sought {
		s.boot.image, s.boot.found = a.seekImage(s, rules, bank)
		s.boot.sought = true
	}
	return s.boot.image, s.boot.found
}

// seekImage goes through the policy's images.
func (a *appraisal) seekImage(s *slotResult, rules *BootPolicy, bank attest.Alg) (*BootImage, outcome) {
	var first outcome
	for i := range rules.Images {
		o := a.booted(s, rules, &rules.Images[i], bank)
		if o.Status == attest.Passed {
			return &rules.Images[i], o
		}
		if i == 0 {
			first = o
		}
	}
	if len(rules.Images) > 1 {
		first.Detail = fmt.Sprintf("none of %d images booted; the first: %s", len(rules.Images), first.Detail)
	}
	return nil, first
}

// booted judges whether an image is what booted.
func (a *appraisal) booted(s *slotResult, rules *BootPolicy, image *BootImage, bank attest.Alg) outcome {
	name := "image " + strconv.Quote(image.Name) + ": "
	f, ended, problem := a.facts(s, bank, image.Phases)
	if f == nil {
		return unknown(name + problem)
	}
	if err := bootlog.Require(f.Registers, imageRegister); err != nil {
		return failed(name + err.Error())
	}
	var loaded []string
	for _, m := range f.Images[:min(len(f.Images), maxShown)] {
		loaded = append(loaded, hex.EncodeToString(m.Digest))
	}
	switch {
	case !slices.Equal(loaded, image.Loaded):
		return failed(name+"the firmware started something else"+otherSections(f, image)).with(strings.Join(image.Loaded, " "), strings.Join(loaded, " "))
	case returned(f):
		return failed(name + "an image gave control back to the firmware, which started the next")
	case !ended:
		return failed(fmt.Sprintf("%ssections: register %d differs from the log with the phases after it", name, sectionRegister))
	}
	for _, compare := range []func(*slotResult, *bootlog.Facts, *BootImage, attest.Alg) outcome{compareSections, compareStub} {
		if o := compare(s, f, image, bank); o.Status != attest.Passed {
			o.Detail = name + o.Detail
			return o
		}
	}
	for _, quiet := range []uint32{8, 12, 13, 14} {
		if _, listed := rules.Registers[strconv.Itoa(int(quiet))]; !listed && !s.zeros(bank, quiet) && (s.slot.Register == nil || s.slot.Register.Index != quiet) {
			return failed(fmt.Sprintf("%sPCR %d has measurements that the policy does not list", name, quiet))
		}
	}
	return passed("")
}

// returned reports whether the firmware itself did anything between the first image and
// the last: then the last was not started by the one before, but with whatever command
// line a boot option has.
func returned(f *bootlog.Facts) bool {
	n := len(f.Images)
	if n < 2 {
		return false
	}
	between := 0
	for _, m := range f.Of(imageRegister) {
		if m.Event >= f.Images[0].Event && m.Event <= f.Images[n-1].Event && !separates(f, m.Event) {
			between++
		}
	}
	return between != n
}

// otherSections names the sections in which the image that booted is another, for
// people; nothing where it is not known to be a unified kernel image.
func otherSections(f *bootlog.Facts, image *BootImage) string {
	var out []string
	for _, got := range f.Sections.List {
		i := slices.IndexFunc(image.Sections, func(w BootSection) bool { return w.Name == got.Name })
		if i < 0 || image.Sections[i].Digest != hex.EncodeToString(got.Digest) {
			out = append(out, got.Name)
		}
	}
	switch {
	case len(image.Sections) == 0 || !f.Sections.Established:
		return ""
	case len(out) == 0:
		return ", with the image's sections"
	default:
		return ", another " + strings.Join(out, " and ")
	}
}

// compareSections compares what systemd-stub measured, and the phases after it.
func compareSections(s *slotResult, f *bootlog.Facts, image *BootImage, bank attest.Alg) outcome {
	var want []string
	for _, x := range image.Sections {
		want = append(want, hex.EncodeToString(bank.Sum([]byte(x.Name+"\x00"))), x.Digest)
	}
	return compareRegister(s, f, sectionRegister, bank, "sections", one(want))
}

// compareStub compares what the kernel's stub measured.
func compareStub(s *slotResult, f *bootlog.Facts, image *BootImage, bank attest.Alg) outcome {
	return compareRegister(s, f, stubRegister, bank, "command line or initial file system", image.Stub)
}

// one makes each digest the only acceptable one.
func one(digests []string) [][]string {
	var out [][]string
	for _, d := range digests {
		out = append(out, []string{d})
	}
	return out
}

// compareRegister wants exactly these events in a register, separators aside: each
// with one of its digests. For none, the register must be as a reset left it, or have
// nothing but separators.
func compareRegister(s *slotResult, f *bootlog.Facts, index uint32, bank attest.Alg, what string, want [][]string) outcome {
	if len(want) == 0 && s.zeros(bank, index) {
		return passed("")
	}
	if err := bootlog.Require(f.Registers, index); err != nil {
		return failed(what + ": " + err.Error())
	}
	got := unseparated(f, index)
	ok := len(got) == len(want)
	for i := 0; ok && i < len(want); i++ {
		ok = slices.Contains(want[i], got[i])
	}
	if ok {
		return passed("")
	}
	var wanted []string
	for _, w := range want {
		wanted = append(wanted, strings.Join(w, "|"))
	}
	return failed(fmt.Sprintf("%s: PCR %d has other measurements", what, index)).with(strings.Join(wanted, " "), strings.Join(got, " "))
}
