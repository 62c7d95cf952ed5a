// Package launch computes beforehand the MEASUREMENT that AMD's firmware puts into the
// attestation report of an SEV-SNP guest: from its firmware image, the kernel that is
// booted directly, and what the hypervisor sets the virtual processors to. Nothing is
// verified here; what a report states is package sev's.
//
// The launch digest is a chain over pages (56860, section 8.17.2, PAGE_INFO): the
// image's pages, the sections that the image's metadata asks for, and one save area
// for each processor. Its value depends on the hypervisor ([Host]) in details that no
// specification fixes; those known here are QEMU's with KVM, and what others have
// published of Amazon EC2 and Google Compute Engine.
package launch

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// Size is the size of a launch digest: SHA-384's.
const Size = sha512.Size384

// MaxImage is the largest firmware image in bytes: 64 MiB.
const MaxImage = 64 << 20

// MaxCPUs is the largest number of virtual processors.
const MaxCPUs = 4096

// MaxCmdline is the longest kernel command line in bytes.
const MaxCmdline = 64 << 10

// The sentinels that every error of this package wraps.
var (
	// ErrImage: a firmware image that cannot be launched as an SEV-SNP guest, or whose
	// metadata do not parse, or that has no place for what is to be booted.
	ErrImage = errors.New("unsuitable firmware image")
	// ErrArgument: the caller's own mistake: no processors, an unknown host.
	ErrArgument = errors.New("invalid argument")
)

// Host is the hypervisor. Its zero value is none, and refused.
type Host uint8

// The hypervisors.
const (
	// QEMU is QEMU with KVM.
	QEMU Host = 1
	// EC2 is Amazon EC2.
	EC2 Host = 2
	// GCE is Google Compute Engine.
	GCE Host = 3
)

// The bits of SEV_FEATURES that hosts set (APM volume 2, table B-4). All of them are
// measured.
const (
	// SNPActive must be set.
	SNPActive uint64 = 1 << 0
	// DebugSwap: the debug registers are the guest's own.
	DebugSwap uint64 = 1 << 5
)

// Boot is what the hypervisor boots directly, by the hashes that it puts into the
// guest's memory for the firmware to compare.
type Boot struct {
	// Kernel is SHA-256 of the kernel's file.
	Kernel [sha256.Size]byte
	// Initrd is SHA-256 of the initial file system; [NoInitrd] without one.
	Initrd [sha256.Size]byte
	// Cmdline is the kernel's command line, at most [MaxCmdline] bytes without a NUL.
	Cmdline string
}

// NoInitrd is the hash where there is no initial file system: that of no bytes.
func NoInitrd() [sha256.Size]byte { return sha256.Sum256(nil) }

// Machine is what is launched. The zero Machine is refused.
type Machine struct {
	// Host is the hypervisor.
	Host Host
	// Firmware is the whole image, whole pages of 4096 bytes, at most [MaxImage]. It
	// ends at 4 GiB.
	Firmware []byte
	// Boot is what is booted directly; nil if the firmware looks for it by itself.
	Boot *Boot
	// CPUs is the number of virtual processors, 1 to [MaxCPUs].
	CPUs int
	// Signature is EAX of the processor's CPUID function 1 (see [Signature] and
	// [CPU]). EC2 and GCE do not look at it.
	Signature uint32
	// Features is SEV_FEATURES, with [SNPActive].
	Features uint64
}

// Digest returns the MEASUREMENT of the machine. The error wraps [ErrImage] or
// [ErrArgument].
func Digest(m *Machine) ([Size]byte, error) {
	if err := m.check(); err != nil {
		return [Size]byte{}, err
	}
	f, err := parseImage(m.Firmware)
	if err != nil {
		return [Size]byte{}, err
	}
	var d digest
	d.pages(pageNormal, f.start(), m.Firmware)
	if err := d.launch(m, f); err != nil {
		return [Size]byte{}, err
	}
	return d.sum, nil
}

// check refuses what the caller must not ask for.
func (m *Machine) check() error {
	switch {
	case m == nil:
		return fmt.Errorf("no machine: %w", ErrArgument)
	case m.Host < QEMU || m.Host > GCE:
		return fmt.Errorf("host %d is unknown: %w", m.Host, ErrArgument)
	case m.CPUs < 1 || m.CPUs > MaxCPUs:
		return fmt.Errorf("%d processors, want 1 to %d: %w", m.CPUs, MaxCPUs, ErrArgument)
	case m.Features&SNPActive == 0:
		return fmt.Errorf("SEV_FEATURES 0x%x without SNP: %w", m.Features, ErrArgument)
	case m.Boot != nil && len(m.Boot.Cmdline) > MaxCmdline:
		return fmt.Errorf("command line of %d bytes, limit %d: %w", len(m.Boot.Cmdline), MaxCmdline, ErrArgument)
	case m.Boot != nil && strings.Contains(m.Boot.Cmdline, "\x00"):
		return fmt.Errorf("a NUL in the command line: %w", ErrArgument)
	}
	return nil
}

// pageSize is the size of a page in bytes.
const pageSize = 4096

// pageType is PAGE_TYPE of SNP_LAUNCH_UPDATE (56860, table 68).
type pageType uint8

// The types of pages.
const (
	pageNormal     pageType = 1
	pageVMSA       pageType = 2
	pageZero       pageType = 3
	pageUnmeasured pageType = 4
	pageSecrets    pageType = 5
	pageCPUID      pageType = 6
)

// vmsaAddress is the guest physical address that a save area has in the digest.
const vmsaAddress = 0xFFFFFFFFF000

// digest is a launch digest as it grows.
type digest struct{ sum [Size]byte }

// extend adds one page: a PAGE_INFO of 112 bytes with the digest so far, that of the
// contents, and no permissions for lower privilege levels.
func (d *digest) extend(t pageType, address uint64, contents [Size]byte) {
	info := make([]byte, 0, 112)
	info = append(append(info, d.sum[:]...), contents[:]...)
	info = binary.LittleEndian.AppendUint16(info, uint16(cap(info)))
	info = append(info, byte(t), 0, 0, 0, 0, 0)
	info = binary.LittleEndian.AppendUint64(info, address)
	d.sum = sha512.Sum384(info)
}

// pages adds pages with their contents.
func (d *digest) pages(t pageType, address uint64, data []byte) {
	for len(data) > 0 {
		d.extend(t, address, sha512.Sum384(data[:pageSize]))
		data, address = data[pageSize:], address+pageSize
	}
}

// bare adds n pages whose contents are not measured.
func (d *digest) bare(t pageType, address, n uint64) {
	for i := range n {
		d.extend(t, address+i*pageSize, [Size]byte{})
	}
}

// launch adds what follows the image's own pages.
func (d *digest) launch(m *Machine, f *image) error {
	if m.Boot != nil && !f.has(sectionHashes) {
		return fmt.Errorf("it has no section for hashes of a kernel: %w", ErrImage)
	}
	if m.CPUs > 1 && f.reset == 0 {
		return fmt.Errorf("it does not say where further processors begin: %w", ErrImage)
	}
	for _, s := range f.sections {
		if err := d.section(m, f, s); err != nil {
			return err
		}
	}
	if m.Host == EC2 { // There this page comes last.
		for _, s := range f.sections {
			if s.kind == sectionCPUID {
				d.bare(pageCPUID, s.address, 1)
			}
		}
	}
	d.pages(pageVMSA, vmsaAddress, saveArea(m, resetVector))
	if m.CPUs > 1 {
		page := saveArea(m, f.reset)
		for range m.CPUs - 1 {
			d.pages(pageVMSA, vmsaAddress, page)
		}
	}
	return nil
}

// section adds what one section of the metadata asks for.
func (d *digest) section(m *Machine, f *image, s section) error {
	n := s.size / pageSize
	switch s.kind {
	case sectionMemory:
		if m.Host == GCE {
			d.bare(pageUnmeasured, s.address, n)
		} else {
			d.bare(pageZero, s.address, n)
		}
	case sectionCAA:
		d.bare(pageZero, s.address, n)
	case sectionSecrets:
		d.bare(pageSecrets, s.address, 1)
	case sectionCPUID:
		if m.Host != EC2 {
			d.bare(pageCPUID, s.address, 1)
		}
	case sectionHashes:
		if m.Boot == nil {
			d.bare(pageZero, s.address, n)
			return nil
		}
		page, err := m.Boot.page(f.hashes)
		if err != nil {
			return err
		}
		if s.size != pageSize {
			return fmt.Errorf("a section of %d bytes for hashes: %w", s.size, ErrImage)
		}
		d.pages(pageNormal, s.address, page)
	default:
		return fmt.Errorf("a section of type %d, which is not known: %w", s.kind, ErrImage)
	}
	return nil
}
