package verifier

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/bootlog/predict"
)

// UKI is a unified kernel image of which reference values are wanted.
type UKI struct {
	// Name is what the policy calls it.
	Name string
	// File is the whole image, at most 512 MiB.
	File []byte
	// Bank is the bank of the policy's format.
	Bank attest.Alg
	// SecureBoot says that the firmware has Secure Boot on: systemd-stub then starts
	// the kernel in the image itself. Otherwise it may have the firmware do it, as
	// version 252 does, and there are two images to accept.
	SecureBoot bool
	// Sections names the sections that the image's systemd-stub measures; nil for
	// those of version 252 and 253.
	Sections []string
	// Phases are those of BootImage.
	Phases []string
	// Launchers are those of BootImage.
	Launchers []string
}

// Images returns what the image will be measured as when it boots. The error wraps
// [attest.ErrForm] for what is no unified kernel image, [attest.ErrArgument] for a
// section or a bank that is not measured.
func (u *UKI) Images() ([]BootImage, error) {
	measured := u.Sections
	if measured == nil {
		measured = predict.Stub252()
	}
	p, err := predict.UKI(u.File, u.Bank, measured)
	if err != nil {
		return nil, fmt.Errorf("predicting a unified kernel image: %w", err)
	}
	sections, err := predict.Sections(u.File, measured)
	if err != nil {
		return nil, fmt.Errorf("predicting a unified kernel image: %w", err)
	}
	image := BootImage{
		Name: u.Name, Loaded: []string{hex.EncodeToString(p.Digest)}, Phases: u.Phases, Launchers: u.Launchers,
	}
	for _, s := range sections {
		image.Sections = append(image.Sections, BootSection{Name: s.Name, Digest: hex.EncodeToString(u.Bank.Sum(s.Content))})
		if s.Name == ".cmdline" {
			image.Cmdline = tidyCmdline(s.Content)
		}
	}
	image.Stub = stub(p)
	if u.SecureBoot || p.Inner == nil {
		return []BootImage{image}, nil
	}
	inner := image
	inner.Loaded = append(slices.Clone(image.Loaded), hex.EncodeToString(p.Inner))
	return []BootImage{inner, image}, nil
}

// stub returns what the kernel's stub measures.
func stub(p *predict.Image) [][]string {
	var out [][]string
	var lines []string
	for _, d := range p.CommandLines {
		lines = append(lines, hex.EncodeToString(d))
	}
	if lines != nil {
		out = append(out, lines)
	}
	if p.Initrd != nil {
		out = append(out, []string{hex.EncodeToString(p.Initrd)})
	}
	return out
}

// tidyCmdline returns the text of a section as a kernel reads it: to its NUL, with
// spaces for control characters, without the white space around it. "" for what is
// not UTF-8.
func tidyCmdline(section []byte) string {
	text, _, _ := bytes.Cut(section, []byte{0})
	if !utf8.Valid(text) {
		return ""
	}
	return strings.Trim(strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, string(text)), " ")
}

// QEMUKernel is a kernel that QEMU hands to UEFI firmware (-kernel, -initrd,
// -append), of which reference values are wanted.
type QEMUKernel struct {
	// Name is what the policy calls it.
	Name string
	// Kernel and Initrd are the files; Initrd is empty for none.
	Kernel, Initrd []byte
	// Cmdline is the text given with -append.
	Cmdline string
	// Low is the guest's memory below 4 GiB in bytes: QEMU puts where the initial
	// file system will lie into the kernel's header, which is measured.
	Low uint64
	// Bank is the bank of the policy's format.
	Bank attest.Alg
	// Launchers are those of BootImage.
	Launchers []string
}

// Image returns what the kernel will be measured as when it boots. The error wraps
// [attest.ErrForm] for what is no kernel for x86, [attest.ErrArgument] for memory that
// does not hold the initial file system.
func (k *QEMUKernel) Image() (*BootImage, error) {
	p, err := predict.QEMU(k.Kernel, k.Initrd, k.Cmdline, k.Low, k.Bank)
	if err != nil {
		return nil, fmt.Errorf("predicting a kernel that QEMU boots: %w", err)
	}
	cmdline := k.Cmdline
	if len(k.Initrd) > 0 {
		cmdline += " initrd=initrd"
	}
	return &BootImage{
		Name: k.Name, Loaded: []string{hex.EncodeToString(p.Digest)}, Stub: stub(p), Cmdline: cmdline, Launchers: k.Launchers,
	}, nil
}

// Booted is what a genuine record says of the boot of the machine that made it.
type Booted struct {
	// Registers are the quoted values of one bank.
	Registers map[uint32][]byte
	// Files are the digests of the files that the kernel measured, each once, as
	// "sha256:" and hexadecimal; nil if no list is carried.
	Files []string
}

// BootedFrom reads what booted from a record known to be good: every core check must
// pass, and the quoting key must chain to one of the roots. Values that the policy then
// has are as good as the machine was when the record was made. The error wraps
// ErrRecord, or ErrInput for a zero time.
func BootedFrom(capsule []byte, roots *TrustStore, now time.Time, bank attest.Alg) (*Booted, error) {
	if now.IsZero() {
		return nil, fmt.Errorf("no time given: %w", ErrInput)
	}
	a := newAppraisal(&Input{Roots: roots, Now: now}, now, capsule)
	r := newReport(a)
	if err := r.Genuine(); err != nil {
		return nil, err
	}
	for i := range a.slots {
		s := &a.slots[i]
		if o := checkSlotIdentity(a, i); o.Status != attest.Passed {
			return nil, fmt.Errorf("%w: slot.identity: %s", ErrRecord, oneLine(o.Detail))
		}
		if s.desc.Name != formatTPM {
			continue
		}
		b := &Booted{Registers: map[uint32][]byte{}}
		for _, q := range s.claims.Registers {
			if q.Bank == bank {
				b.Registers[q.Index] = bytes.Clone(q.Value)
			}
		}
		if len(b.Registers) == 0 {
			return nil, fmt.Errorf("%w: its quote has no registers of bank %v", ErrRecord, bank)
		}
		b.readFiles(a)
		return b, nil
	}
	return nil, fmt.Errorf("%w: it has no TPM quote", ErrRecord)
}

// readFiles lists the files of the kernel's list; the first entry is no file.
func (b *Booted) readFiles(a *appraisal) {
	if a.boot.list == nil {
		return
	}
	seen := map[string]bool{}
	for i := range a.boot.list.Entries {
		d := imaDigest(&a.boot.list.Entries[i])
		if i > 0 && cer.CheckDigest(d) == nil && !seen[d] {
			seen[d] = true
			b.Files = append(b.Files, d)
		}
	}
	slices.Sort(b.Files)
}
