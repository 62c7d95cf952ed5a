package verifier

import (
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/bootlog"
)

// Bounds of a policy's reference values (SPEC, section 9).
const (
	maxBootImages  = 64
	maxBootEvents  = 64   // images loaded, sections, digests of one register
	maxBootValues  = 256  // values of one register, and certificates of a db
	maxCommandLine = 4096 // bytes; the kernel takes 2,048 on x86
	maxIMAFiles    = 1 << 16
	maxPhase       = 256 // bytes
)

// SecureBootEnabled is the one value of [SecureBootPolicy.State].
const SecureBootEnabled = "enabled"

// BootPolicy are reference values of what booted. The zero BootPolicy has none, so
// that slot.measurement is not established. Each member that is there must hold.
// Digests of events and values of registers are lower-case hexadecimal, of the
// format's bank.
type BootPolicy struct {
	// Registers has the acceptable quoted values of PCRs 0 to 15, by the number in
	// plain decimal; any one.
	Registers map[string][]string `json:"registers,omitzero"`
	// SecureBoot says what the firmware must have measured of Secure Boot.
	SecureBoot *SecureBootPolicy `json:"secure_boot,omitzero"`
	// Images are the acceptable boot images; what booted must be one of them, and
	// nothing else.
	Images []BootImage `json:"images,omitzero"`
	// IMA says which files the kernel may have measured while it ran.
	IMA *IMAPolicy `json:"ima,omitzero"`
}

// SecureBootPolicy is what a policy wants of Secure Boot.
type SecureBootPolicy struct {
	// State is SecureBootEnabled: on, and the firmware in no mode for debugging.
	State string `json:"state"`
	// DB lists what the variable db may hold: SHA-256 of DER certificates and the
	// digests of images, each as "sha256:" and hexadecimal. Empty asks nothing of
	// db.
	DB []string `json:"db,omitzero"`
}

// BootImage is a boot image: a unified kernel image, or a kernel that firmware starts
// with its initial file system and command line. The firmware and the boot loader
// must have measured exactly these digests into the registers below, in this order,
// separators and the texts that name the firmware's own actions aside; nothing at all
// into PCRs 8, 12 and 14, unless [BootPolicy.Registers] has their values.
type BootImage struct {
	// Name is what people call the image, one printable line.
	Name string `json:"name"`
	// Loaded are the Authenticode digests of the images that the firmware started,
	// in PCR 4.
	Loaded []string `json:"loaded"`
	// Sections are the sections that systemd-stub measured, in PCR 11; none for a
	// kernel without it.
	Sections []BootSection `json:"sections,omitzero"`
	// Phases are the words that systemd-pcrphase measured into PCR 11 after the
	// firmware's log ended, such as "enter-initrd".
	Phases []string `json:"phases,omitzero"`
	// Stub is what the kernel's own EFI stub measured, in PCR 9: command line and
	// initial file system, each with its acceptable digests.
	Stub [][]string `json:"stub,omitzero"`
	// Extensions are digests that boot loaders measured into the register that
	// anchors the event log, before the first launch (systemd-stub's extensions
	// share PCR 13).
	Extensions []string `json:"extensions,omitzero"`
	// Cmdline is the kernel's command line. Its digest must stand first in Stub:
	// it is what checks about the kernel read. May be empty.
	Cmdline string `json:"cmdline,omitzero"`
	// Launchers are the digests of the launchers that lie in the image's initial
	// file system, as components have them ("sha256:…"). Whoever writes the policy
	// has looked into it.
	Launchers []string `json:"launchers,omitzero"`
}

// BootSection is one section of a unified kernel image.
type BootSection struct {
	// Name is the section's name, such as ".linux".
	Name string `json:"name"`
	// Digest is that of its content.
	Digest string `json:"digest"`
}

// IMAPolicy is what a policy wants of the kernel's list of measured files.
type IMAPolicy struct {
	// Files lists the acceptable digests of files, as "sha256:" and hexadecimal.
	// Every entry of the list must have one of them.
	Files []string `json:"files"`
}

// empty reports whether there is nothing to appraise.
func (b *BootPolicy) empty() bool {
	return len(b.Registers) == 0 && b.SecureBoot == nil && len(b.Images) == 0 && b.IMA == nil
}

// normalize gives empty lists their one form.
func (b *BootPolicy) normalize() {
	if len(b.Registers) == 0 {
		b.Registers = nil
	}
	b.Images = nonEmpty(b.Images)
	for i := range b.Images {
		x := &b.Images[i]
		x.Sections, x.Phases, x.Stub = nonEmpty(x.Sections), nonEmpty(x.Phases), nonEmpty(x.Stub)
		x.Extensions, x.Launchers = nonEmpty(x.Extensions), nonEmpty(x.Launchers)
	}
	if b.SecureBoot != nil {
		b.SecureBoot.DB = nonEmpty(b.SecureBoot.DB)
	}
}

// check enforces the rules of reference values in a bank.
func (b *BootPolicy) check(at string, bank attest.Alg, register uint32) error {
	for _, name := range slices.Sorted(maps.Keys(b.Registers)) {
		member := fmt.Sprintf("%s.registers[%.20q]", at, name)
		n, err := strconv.ParseUint(name, 10, 8)
		if err != nil || strconv.FormatUint(n, 10) != name || n > maxRegister {
			return policyError(member, "want the number of a PCR, 0 to %d", maxRegister)
		}
		if uint32(n) == register {
			return policyError(member, "anchors the event log, which changes it")
		}
		if err := checkHexes(member, b.Registers[name], bank, 1, maxBootValues); err != nil {
			return err
		}
	}
	if err := b.SecureBoot.check(at + ".secure_boot"); err != nil {
		return err
	}
	if len(b.Images) > maxBootImages {
		return policyError(at+".images", "has %d, limit %d", len(b.Images), maxBootImages)
	}
	for i := range b.Images {
		if err := b.Images[i].check(fmt.Sprintf("%s.images[%d]", at, i), bank); err != nil {
			return err
		}
	}
	if b.IMA != nil {
		return checkDigestList(at+".ima.files", b.IMA.Files, 1, maxIMAFiles)
	}
	return nil
}

func (s *SecureBootPolicy) check(at string) error {
	if s == nil {
		return nil
	}
	if s.State != SecureBootEnabled {
		return policyError(at+".state", "is %.40q, want %q", s.State, SecureBootEnabled)
	}
	return checkDigestList(at+".db", s.DB, 0, maxBootValues)
}

func (i *BootImage) check(at string, bank attest.Alg) error {
	if err := checkLine(i.Name, maxPolicyName); err != nil {
		return policyError(at+".name", "%w", err)
	}
	if err := checkHexes(at+".loaded", i.Loaded, bank, 1, maxBootEvents); err != nil {
		return err
	}
	names := bootlog.SectionNames()
	seen := map[string]bool{}
	for j, s := range i.Sections {
		member := fmt.Sprintf("%s.sections[%d]", at, j)
		if !slices.Contains(names, s.Name) || seen[s.Name] {
			return policyError(member, "name is %.40q, want a section that systemd-stub measures, once", s.Name)
		}
		seen[s.Name] = true
		if err := checkHexes(member, []string{s.Digest}, bank, 1, 1); err != nil {
			return err
		}
	}
	if len(i.Stub) > maxBootEvents {
		return policyError(at+".stub", "has %d, limit %d", len(i.Stub), maxBootEvents)
	}
	for j, d := range i.Stub {
		if err := checkHexes(fmt.Sprintf("%s.stub[%d]", at, j), d, bank, 1, maxBootValues); err != nil {
			return err
		}
	}
	for j, p := range i.Phases {
		if err := checkLine(p, maxPhase); err != nil || j == maxBootEvents || len(i.Sections) == 0 {
			return policyError(fmt.Sprintf("%s.phases[%d]", at, j), "want at most %d short lines, and sections before them", maxBootEvents)
		}
	}
	if err := checkHexes(at+".extensions", i.Extensions, bank, 0, maxBootEvents); err != nil {
		return err
	}
	if err := checkDigestList(at+".launchers", i.Launchers, 0, maxDigests); err != nil {
		return err
	}
	return i.checkCmdline(at+".cmdline", bank)
}

// checkCmdline checks that the text is the one whose digest is wanted.
func (i *BootImage) checkCmdline(at string, bank attest.Alg) error {
	if i.Cmdline == "" {
		return nil
	}
	if err := checkLine(i.Cmdline, maxCommandLine); err != nil {
		return policyError(at, "%w", err)
	}
	if len(i.Stub) == 0 || !slices.Contains(i.Stub[0], hex.EncodeToString(bank.Sum(bootlog.UTF16(i.Cmdline)))) {
		return policyError(at, "is not the text whose digest (UTF-16 with its NUL) stands first in stub")
	}
	return nil
}

// checkHexes checks digests of a bank, least to most of them.
func checkHexes(at string, values []string, bank attest.Alg, least, most int) error {
	if len(values) < least || len(values) > most {
		return policyError(at, "has %d digests, want %d to %d", len(values), least, most)
	}
	for _, v := range values {
		if b, err := hex.DecodeString(v); err != nil || len(b) != bank.Size() || hex.EncodeToString(b) != v {
			return policyError(at, "has %.80q, want %d lower-case hexadecimal digits of bank %v", v, 2*bank.Size(), bank)
		}
	}
	return nil
}

// checkDigestList checks digests of files, least to most of them.
func checkDigestList(at string, values []string, least, most int) error {
	if len(values) < least || len(values) > most {
		return policyError(at, "has %d digests, want %d to %d", len(values), least, most)
	}
	seen := make(map[string]bool, len(values))
	for _, v := range values {
		if cer.CheckDigest(v) != nil || seen[v] {
			return policyError(at, "has %.80q, want sha256: and 64 lower-case hexadecimal digits, each once", v)
		}
		seen[v] = true
	}
	return nil
}
