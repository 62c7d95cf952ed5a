package bootlog

import (
	"bytes"
	"fmt"

	"github.com/sworn-run/sworn/attest"
)

// Facts are what the confirmed registers establish. Nothing in them depends on an
// event's type, or on bytes that no digest covers: they are read from registers,
// digests, their order, and the bytes that have these digests.
//
// A log that counts measurement registers has in one of them what a TPM has in
// several. There, a host that chooses what the firmware measures (a boot variable, a
// file) can have bytes measured that read as something else; what is established is
// established in spite of that, what is only listed is not.
type Facts struct {
	// Bank is the bank that was compared with the quote.
	Bank attest.Alg
	// Registers are all that the log extends; only those that are
	// [Confirmed] give facts.
	Registers []Register
	// Separators are the points at which the firmware gave a register up, by
	// register and then in order.
	Separators []Separator
	// SecureBoot is the state in which Secure Boot was when the firmware
	// measured it.
	SecureBoot SecureBoot
	// Variables are the Secure Boot variables before the separator.
	Variables Variables
	// Authorities are what images were verified with.
	Authorities Authorities
	// Images are the digests of what was loaded: boot managers, loaders,
	// kernels, drivers from a disk.
	Images []Measured
	// Disks are the partition tables of the disks booted from.
	Disks []Disk
	// Commands are the texts that a boot loader measured, in order.
	Commands []Text
	// CommandLines are the kernel's command lines among them. That there is
	// none does not mean that the kernel had none: the kernel's own stub
	// measures its command line without logging the text, see
	// [Facts.FindCommandLine].
	CommandLines []CommandLine
	// Sections are the sections of the unified kernel image.
	Sections Sections
	// ExitBootServices tells whether the firmware ended its services.
	ExitBootServices Exit
	// Rest are the events of confirmed registers that none of the facts above
	// explains, in order: files read by a loader, credentials, extensions,
	// firmware volumes. What they are, only a digest known from elsewhere can
	// say.
	Rest []Measured

	all []Measured
	of  [24][]Measured
}

// Find returns the events of confirmed registers that have this digest.
func (f *Facts) Find(digest []byte) []Measured {
	var out []Measured
	for _, m := range f.all {
		if bytes.Equal(m.Digest, digest) {
			out = append(out, m)
		}
	}
	return out
}

// FindCommandLine returns the events of confirmed registers that measured exactly
// this command line in UTF-16 with its NUL, as the kernel's EFI stub does into PCR 9
// and systemd-stub, for one given at boot, into PCR 12. Where is for the caller to
// check: a file with the same bytes is measured alike, and whoever chooses the initial
// file system chooses what follows the command line in PCR 9.
func (f *Facts) FindCommandLine(text string) []Measured {
	return f.Find(f.Bank.Sum(UTF16(text)))
}

// Of returns all events of a register in order, which must not be changed; none if it
// is not confirmed.
func (f *Facts) Of(index uint32) []Measured {
	if index >= uint32(len(f.of)) {
		return nil
	}
	return f.of[index]
}

// Measured is a digest in a confirmed register.
type Measured struct {
	// Event counts from 0 in [Log.Events].
	Event int
	// Index is the register.
	Index uint32
	// Digest is the digest in the bank.
	Digest []byte
	// Coverage and Covered are those of [Event.Covered].
	Coverage Coverage
	Covered  []byte
	// After is true if the register's first separator came before it.
	After bool
}

// Separator is the digest that ends what the firmware measured into a register
// (PFP, 3.3.2.2).
type Separator struct {
	Event int
	Index uint32
	// Failed is true for the separator that says that the firmware failed.
	Failed bool
}

// Text is a text whose every character a digest covers.
type Text struct {
	Event int
	Index uint32
	Text  string
}

// Exit tells what the firmware measured of the end of its services (PFP,
// 8.2.4): the attempts, and which of them failed.
type Exit struct {
	Invoked, Failed, Succeeded int
}

// layout is which register holds what: PCRs as PFP, 3.3.4 and the boot loaders'
// own conventions have it, measurement registers as several of them in one (UEFI
// 2.10, table 38.5).
type layout struct {
	secureBoot, images, disk, loader, sections, stub uint32
}

func (l *Log) layout() layout {
	if l.Registers == MRs {
		return layout{secureBoot: 1, images: 2, disk: 2, loader: 3, sections: 3, stub: 3}
	}
	return layout{secureBoot: 7, images: 4, disk: 5, loader: 8, sections: 11, stub: 12}
}

// appraisal is the work of one call of Appraise.
type appraisal struct {
	at        layout
	bank      attest.Alg
	known     [][]byte
	events    []Measured
	explained []bool
	facts     *Facts
}

// Options are what the caller of [Log.Appraise] knows beside the quote.
type Options struct {
	// Further are the digests extended after the log ended.
	Further []Extend
	// Known are digests that the caller knows the meaning of, from a
	// reference value: they hide nothing.
	Known [][]byte
}

// Appraise compares the log with a quote, as [Log.Compare] does, and reads what the
// confirmed registers establish. A register that is not confirmed contributes
// nothing; [Require] on Facts.Registers tells the caller.
//
// The error is that of [Log.Compare].
func (l *Log) Appraise(bank attest.Alg, quoted []attest.RegisterValue, o Options) (*Facts, error) {
	registers, err := l.Compare(bank, quoted, o.Further)
	if err != nil {
		return nil, err
	}
	a := &appraisal{
		at: l.layout(), bank: bank, known: o.Known,
		facts: &Facts{Bank: bank, Registers: registers},
	}
	var confirmed [24]bool
	for _, r := range registers {
		confirmed[r.Index] = r.Status == Confirmed
	}
	for i := range l.Events {
		e := &l.Events[i]
		if e.Extends() && confirmed[e.Index] {
			m := Measured{Event: i, Index: e.Index, Digest: e.Digest(bank)}
			m.Coverage, m.Covered = e.Covered(bank)
			a.events = append(a.events, m)
		}
	}
	a.explained = make([]bool, len(a.events))
	a.separators()
	a.exit()
	a.actions()
	a.secureBoot()
	a.disks()
	a.texts()
	a.sections()
	a.images()
	for i := range a.events {
		if !a.explained[i] {
			a.facts.Rest = append(a.facts.Rest, a.events[i])
		}
	}
	a.facts.all = a.events
	for _, m := range a.events {
		a.facts.of[m.Index] = append(a.facts.of[m.Index], m)
	}
	return a.facts, nil
}

// separators finds the separators by their digests (PFP, 10.4.1: four bytes of
// 0x00 or 0xFF, or 1 for a failure). A failure counts where nothing ended the
// register before, and not in PCR 1, where a boot order can have the same bytes; it
// goes into the others too.
func (a *appraisal) separators() {
	zeros := a.bank.Sum([]byte{0, 0, 0, 0})
	ones := a.bank.Sum([]byte{0xFF, 0xFF, 0xFF, 0xFF})
	failed := a.bank.Sum([]byte{1, 0, 0, 0})
	var after [24]bool
	for i := range a.events {
		m := &a.events[i]
		m.After = after[m.Index]
		bad := bytes.Equal(m.Digest, failed) && !m.After && (a.at.secureBoot != 7 || m.Index != 1)
		if bad || bytes.Equal(m.Digest, zeros) || bytes.Equal(m.Digest, ones) {
			after[m.Index], a.explained[i] = true, true
			a.facts.Separators = append(a.facts.Separators, Separator{m.Event, m.Index, bad})
		}
	}
}

// exit counts the events of ExitBootServices by their digests.
func (a *appraisal) exit() {
	x := &a.facts.ExitBootServices
	for _, c := range []struct {
		text string
		n    *int
	}{
		{"Exit Boot Services Invocation", &x.Invoked},
		{"Exit Boot Services Returned with Failure", &x.Failed},
		{"Exit Boot Services Returned with Success", &x.Succeeded},
	} {
		*c.n = a.explain(a.at.disk, a.bank.Sum([]byte(c.text)))
	}
}

// actions explains the other texts that a firmware measures beside images: they
// are no images.
func (a *appraisal) actions() {
	for _, text := range []string{
		"Calling EFI Application from Boot Option",
		"Returning from EFI Application from Boot Option",
	} {
		digest := a.bank.Sum([]byte(text))
		a.explain(a.at.images, digest)
		a.explain(a.at.disk, digest)
	}
}

// explain marks the events of a register with this digest and counts them.
func (a *appraisal) explain(index uint32, digest []byte) int {
	n := 0
	for i := range a.events {
		if m := &a.events[i]; !a.explained[i] && m.Index == index && bytes.Equal(m.Digest, digest) {
			a.explained[i] = true
			n++
		}
	}
	return n
}

// vouched reports whether the caller knows the digest.
func (a *appraisal) vouched(digest []byte) bool {
	for _, k := range a.known {
		if bytes.Equal(k, digest) {
			return true
		}
	}
	return false
}

// disks reads the partition tables.
func (a *appraisal) disks() {
	for i := range a.events {
		m := &a.events[i]
		if m.Index != a.at.disk || m.Coverage == CoversNothing {
			continue
		}
		if d, err := parseDisk(m.Covered); err == nil {
			a.explained[i] = true
			a.facts.Disks = append(a.facts.Disks, *d)
		}
	}
}

// images lists what is left in the register of boot applications. Where a log
// counts measurement registers, that of drivers and partition tables is the same.
func (a *appraisal) images() {
	for i := range a.events {
		if m := a.events[i]; !a.explained[i] && m.Index == a.at.images {
			a.explained[i] = true
			a.facts.Images = append(a.facts.Images, m)
		}
	}
}

// Finding is whether a fact is established, and why not.
type Finding struct {
	// Established is false in the zero value.
	Established bool
	// Reason tells why it is not, for people.
	Reason string
}

func unestablished(format string, args ...any) Finding {
	return Finding{Reason: fmt.Sprintf(format, args...)}
}
