// Package predict computes what an image will be measured as when it boots: what a
// policy can require without having seen the machine boot.
//
// It knows what a UEFI firmware, systemd-stub, the kernel's EFI stub and QEMU do
// with a unified kernel image or with a kernel and its initial file system. What it
// returns are digests, to be found in the facts of package bootlog.
package predict

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/bootlog"
	"github.com/sworn-run/sworn/internal/limits"
)

// Registers of a TPM that the predictions are for.
const (
	// Images gets the digests of what the firmware starts.
	Images = 4
	// Stub gets what the kernel's EFI stub measures: its command line, the
	// initial file system.
	Stub = 9
	// Kernel gets the sections of a unified kernel image.
	Kernel = 11
)

// Section is a section of a unified kernel image.
type Section struct {
	// Name begins with a dot, such as ".linux".
	Name string
	// Content is what stands in memory once the image is loaded.
	Content []byte
}

// Stub252 returns the sections that systemd-stub 252 and 253 measure, Debian 12's
// among them. Later versions know more of [bootlog.SectionNames]; .sbat is one that an
// image of version 252 has and does not measure.
func Stub252() []string {
	return []string{".linux", ".osrel", ".cmdline", ".initrd", ".splash", ".dtb", ".pcrpkey"}
}

// Image is what can be predicted of a unified kernel image, or of a kernel that QEMU
// boots, in one bank.
type Image struct {
	// Digest is what the firmware extends into PCR 4 for the image.
	Digest []byte
	// Inner is what it extends there for the kernel in it, where systemd-stub
	// starts it through the firmware: version 252 with Secure Boot off. Nil if
	// the image has no section .linux, or one that is no PE image.
	Inner []byte
	// Sections are what systemd-stub extends into PCR 11.
	Sections []bootlog.Extend
	// CommandLines are what the kernel's stub extends into PCR 9 for the command
	// line in the image: as it stands and, if that is another text, without the
	// white space around it and with spaces for control characters, as later
	// versions of systemd-stub hand it on. Empty if there is none or it is not
	// UTF-8. Another command line given at boot, which counts only with Secure
	// Boot off, goes into PCR 12.
	CommandLines [][]byte
	// Initrd is what the kernel's stub extends into PCR 9 for the initial file
	// system in the image, if nothing was added to it: no credentials, no
	// extensions. Nil if there is none.
	Initrd []byte
}

// UKI predicts a unified kernel image, at most 512 MiB, in a bank; measured are the
// sections that the systemd-stub in it measures, such as [Stub252]. The error wraps
// [attest.ErrForm] for an image that [Authenticode] refuses, or that has a section twice
// or none that is measured; or [attest.ErrArgument] for a bank that is not
// [attest.Alg.Accepted] and a name that is not of [bootlog.SectionNames].
func UKI(b []byte, bank attest.Alg, measured []string) (*Image, error) {
	digest, err := Authenticode(b, bank)
	if err != nil {
		return nil, err
	}
	sections, err := Sections(b, measured)
	if err != nil {
		return nil, err
	}
	if len(sections) == 0 {
		return nil, fmt.Errorf("image without a section that is measured: %w", attest.ErrForm)
	}
	extends, err := MeasureSections(sections, bank)
	if err != nil {
		return nil, err
	}
	out := &Image{Digest: digest, Sections: extends}
	for _, s := range sections {
		switch s.Name {
		case ".linux":
			if out.Inner, err = Authenticode(s.Content, bank); err != nil {
				out.Inner = nil
			}
		case ".cmdline":
			out.CommandLines = commandLines(s.Content, bank)
		case ".initrd":
			out.Initrd = bank.Sum(s.Content)
		}
	}
	return out, nil
}

// commandLines returns the digests for Image.CommandLines.
func commandLines(section []byte, bank attest.Alg) [][]byte {
	text, _, _ := bytes.Cut(section, []byte{0})
	if !utf8.Valid(text) {
		return nil
	}
	plain := string(text)
	tidy := strings.Trim(strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, plain), " ")
	out := [][]byte{bank.Sum(bootlog.UTF16(plain))}
	if tidy != plain {
		out = append(out, bank.Sum(bootlog.UTF16(tidy)))
	}
	return out
}

// Sections returns those sections of an image that are named in measured, in the order
// of [bootlog.SectionNames]; empty ones are left out, as systemd-stub does. The error
// wraps [attest.ErrForm], or [attest.ErrArgument] for a name that is none of those.
func Sections(b []byte, measured []string) ([]Section, error) {
	m, err := parse(b)
	if err != nil {
		return nil, fmt.Errorf("reading an image's sections: %w", err)
	}
	names := bootlog.SectionNames()
	for _, name := range measured {
		if !slices.Contains(names, name) {
			return nil, fmt.Errorf("section %q is not one that is measured: %w", name, attest.ErrArgument)
		}
	}
	var out []Section
	for _, name := range names {
		found := false
		for _, s := range m.sections {
			if s.name != name || s.virtual == 0 || !slices.Contains(measured, name) {
				continue
			}
			if found || s.virtual > limits.BootImage || uint64(s.virtual) > uint64(len(b))+maxZeros {
				return nil, fmt.Errorf("section %s twice or of %d bytes: %w", name, s.virtual, attest.ErrForm)
			}
			found = true
			out = append(out, Section{name, m.loaded(s)})
		}
	}
	return out, nil
}

// maxZeros is how much longer a section may be in memory than the whole file.
const maxZeros = 1 << 20

// MeasureSections returns what systemd-stub extends into PCR 11 for sections, which it
// takes in the order of [bootlog.SectionNames]: the name with a NUL, then the content.
// The error wraps [attest.ErrArgument] for a section that is not measured or is there
// twice, for none at all, and for a bank that is not [attest.Alg.Accepted].
func MeasureSections(sections []Section, bank attest.Alg) ([]bootlog.Extend, error) {
	if !bank.Accepted() {
		return nil, fmt.Errorf("measuring sections in bank %v: %w", bank, attest.ErrArgument)
	}
	names := bootlog.SectionNames()
	ordered := make([]*Section, len(names))
	for i := range sections {
		at := slices.Index(names, sections[i].Name)
		if at < 0 || ordered[at] != nil {
			return nil, fmt.Errorf("section %q is not measured, or there twice: %w", sections[i].Name, attest.ErrArgument)
		}
		ordered[at] = &sections[i]
	}
	var out []bootlog.Extend
	for _, s := range ordered {
		if s != nil {
			out = append(out,
				bootlog.Extend{Index: Kernel, Digest: bank.Sum([]byte(s.Name + "\x00"))},
				bootlog.Extend{Index: Kernel, Digest: bank.Sum(s.Content)})
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no section that is measured: %w", attest.ErrArgument)
	}
	return out, nil
}

// Value returns the register that starts with zeros and gets the digests in order; they
// must be of the bank's size and for one register. The error wraps
// [attest.ErrArgument].
func Value(bank attest.Alg, extends []bootlog.Extend) ([]byte, error) {
	if !bank.Accepted() || len(extends) == 0 {
		return nil, fmt.Errorf("computing a register in bank %v from %d digests: %w", bank, len(extends), attest.ErrArgument)
	}
	value := make([]byte, bank.Size())
	for _, x := range extends {
		if len(x.Digest) != bank.Size() || x.Index != extends[0].Index {
			return nil, fmt.Errorf("a digest of %d bytes for register %d: %w", len(x.Digest), x.Index, attest.ErrArgument)
		}
		value = bank.Sum(value, x.Digest)
	}
	return value, nil
}
