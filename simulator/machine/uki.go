//go:build linux

package machine

import (
	"context"
	"debug/pe"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/sworn-run/sworn/simulator"
)

// What Debian's packages systemd-boot-efi and ovmf hold.
const (
	stubFile       = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub"
	snakeoilKey    = "/usr/share/ovmf/PkKek-1-snakeoil.key"
	snakeoilCert   = "/usr/share/ovmf/PkKek-1-snakeoil.pem"
	snakeoilPhrase = "pass:snakeoil"
)

// osRelease is what the image says of its system.
const osRelease = "ID=sworn-machine\nNAME=\"Sworn's simulated machine\"\n"

// The files of a machine, below its folder.
const (
	initrdFile  = "initrd"
	ukiFile     = "uki.efi"
	diskFile    = "esp.img"
	variables   = "variables.fd"
	consoleFile = "console.log"
	tpmDir      = "tpm"
)

// buildUKI makes the unified kernel image, signed if the machine wants it, and
// the disk that it boots from.
func (c *Config) buildUKI(ctx context.Context) error {
	if _, err := os.Stat(stubFile); err != nil {
		return fmt.Errorf("systemd's stub: %w (bash tools/setup.sh vm)", simulator.ErrNotInstalled)
	}
	unsigned := ukiFile
	if c.Boot == SecureBoot {
		unsigned = "unsigned.efi"
	}
	if err := c.joinUKI(ctx, unsigned); err != nil {
		return fmt.Errorf("making a unified kernel image: %w", err)
	}
	if c.Boot == SecureBoot {
		if err := c.sign(ctx, unsigned); err != nil {
			return fmt.Errorf("signing: %w", err)
		}
	}
	if err := c.buildDisk(ctx); err != nil {
		return fmt.Errorf("making the disk to boot from: %w", err)
	}
	return nil
}

// joinUKI puts the parts behind the stub.
func (c *Config) joinUKI(ctx context.Context, to string) error {
	for name, text := range map[string]string{"osrel": osRelease, "cmdline": c.cmdline()} {
		if err := c.write(name, []byte(text)); err != nil {
			return err
		}
	}
	kernel, err := filepath.Abs(c.Kernel.Image)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrFiles, err)
	}
	// The kernel comes last: it needs memory behind it.
	parts := []part{{".osrel", "osrel"}, {".cmdline", "cmdline"}, {".initrd", initrdFile}, {".linux", kernel}}
	var args []string
	at, err := stubEnd(stubFile)
	if err != nil {
		return err
	}
	for _, p := range parts {
		args = append(args, "--add-section", p.section+"="+p.file, "--change-section-vma", fmt.Sprintf("%s=%#x", p.section, at))
		info, err := os.Stat(p.path(c.Dir))
		if err != nil {
			return fmt.Errorf("%w: %w", ErrFiles, err)
		}
		at = pageUp(at + uint64(info.Size()))
	}
	if _, err = tool(ctx, c.Dir, "objcopy", append(args, stubFile, to)...); err != nil {
		return err
	}
	return clearTime(c.path(to))
}

// clearTime zeroes the time stamp in an image's header, which is measured: objcopy puts
// the time there (PE format, COFF file header).
func clearTime(name string) error {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrFiles, err)
	}
	var at [4]byte
	if _, err = f.ReadAt(at[:], 0x3c); err == nil {
		_, err = f.WriteAt(make([]byte, 4), int64(binary.LittleEndian.Uint32(at[:]))+8)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("%w: %w", ErrFiles, err)
	}
	return nil
}

// part is a section of the image and the file that it holds.
type part struct{ section, file string }

// path returns where the file is, seen from anywhere.
func (p part) path(dir string) string {
	if filepath.IsAbs(p.file) {
		return p.file
	}
	return filepath.Join(dir, p.file)
}

// pageUp rounds up to pages of 4096 bytes.
func pageUp(n uint64) uint64 { return (n + 4095) &^ 4095 }

// stubEnd returns the first address, at a page, that no section of the stub
// uses.
func stubEnd(name string) (uint64, error) {
	f, err := pe.Open(name)
	if err != nil {
		return 0, fmt.Errorf("%s: %w: %w", name, ErrFiles, err)
	}
	defer f.Close()
	h, ok := f.OptionalHeader.(*pe.OptionalHeader64)
	if !ok || len(f.Sections) == 0 {
		return 0, fmt.Errorf("%s is no program for 64 bit: %w", name, ErrFiles)
	}
	var end uint64
	for _, s := range f.Sections {
		end = max(end, h.ImageBase+uint64(s.VirtualAddress)+uint64(max(s.VirtualSize, s.Size)))
	}
	return pageUp(end), nil
}

// sign signs with the key that firmware trusts, which everybody has.
func (c *Config) sign(ctx context.Context, from string) error {
	const key = "snakeoil.key"
	if _, err := tool(ctx, c.Dir, "openssl", "pkey", "-in", snakeoilKey, "-passin", snakeoilPhrase, "-out", key); err != nil {
		return err
	}
	_, err := tool(ctx, c.Dir, "sbsign", "--key", key, "--cert", snakeoilCert, "--output", ukiFile, from)
	return err
}

// buildDisk makes a disk with one EFI system partition of FAT 16, and the image
// where firmware looks for it. The identifiers are fixed: they are measured.
func (c *Config) buildDisk(ctx context.Context) error {
	const first, mib = 2048, 1 << 20 // the partition's first sector
	info, err := os.Stat(c.path(ukiFile))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrFiles, err)
	}
	size := (info.Size() + 16*mib) &^ (mib - 1)
	disk := c.path(diskFile)
	if err := os.WriteFile(disk, nil, 0o600); err != nil {
		return fmt.Errorf("%w: %w", ErrFiles, err)
	}
	if err := os.Truncate(disk, size+2*mib); err != nil {
		return fmt.Errorf("%w: %w", ErrFiles, err)
	}
	table := fmt.Sprintf("label: gpt\nlabel-id: 5377306e-0000-4000-8000-000000000001\n"+
		"start=%d, size=%d, type=uefi, uuid=5377306e-0000-4000-8000-000000000002\n", first, size/512)
	image := fmt.Sprintf("%s@@%d", diskFile, first*512)
	if _, err := feed(ctx, c.Dir, table, "sfdisk", "--no-reread", "--no-tell-kernel", "--quiet", diskFile); err != nil {
		return err
	}
	for _, command := range [][]string{
		{"mkfs.vfat", "--invariant", "-F", "16", "--offset", fmt.Sprint(first), diskFile, fmt.Sprint(size / 1024)},
		{"mmd", "-i", image, "::/EFI", "::/EFI/BOOT"},
		{"mcopy", "-i", image, ukiFile, "::/EFI/BOOT/BOOTX64.EFI"},
	} {
		if _, err := tool(ctx, c.Dir, command[0], command[1:]...); err != nil {
			return err
		}
	}
	return nil
}

// path returns the path of a file of the machine.
func (c *Config) path(name string) string { return filepath.Join(c.Dir, name) }

// write writes a file of the machine.
func (c *Config) write(name string, data []byte) error {
	if err := os.WriteFile(c.path(name), data, 0o600); err != nil {
		return fmt.Errorf("%w: %w", ErrFiles, err)
	}
	return nil
}

// firmware returns the paths of the firmware's code and of its variables as
// they are shipped.
func (b Boot) firmware() (code, vars string) {
	const dir = "/usr/share/OVMF/"
	if b.secure() {
		return dir + "OVMF_CODE_4M.snakeoil.fd", dir + "OVMF_VARS_4M.snakeoil.fd"
	}
	return dir + "OVMF_CODE_4M.fd", dir + "OVMF_VARS_4M.fd"
}

// copyVariables gives the machine firmware variables of its own.
func (c *Config) copyVariables() error {
	_, from := c.Boot.firmware()
	b, err := readFile(from, 64<<20)
	if err != nil {
		return fmt.Errorf("firmware: %w: %w (bash tools/setup.sh vm)", simulator.ErrNotInstalled, err)
	}
	return c.write(variables, b)
}

// qemuArgs returns QEMU's arguments; it runs in the machine's folder, and its
// file descriptor 3 is the port to the guest.
func (c *Config) qemuArgs() ([]string, error) {
	smm := "off"
	if c.Boot.secure() {
		smm = "on"
	}
	args := []string{
		"-machine", "q35,smm=" + smm, "-accel", "tcg,thread=multi", "-cpu", "max", "-m", fmt.Sprint(c.Memory), "-smp", "1",
		"-display", "none", "-no-reboot", "-nodefaults", "-no-user-config", "-net", "none",
		"-chardev", "socket,id=tpm,path=" + filepath.Join(tpmDir, "tpm.sock.ctrl"),
		"-tpmdev", "emulator,id=tpm0,chardev=tpm",
		"-chardev", "file,id=console,path=" + consoleFile, "-serial", "chardev:console",
		"-chardev", "socket,id=guest,fd=3",
		"-device", "virtio-serial-pci", "-device", "virtserialport,chardev=guest,name=" + portName,
	}
	if c.Boot == Legacy {
		args = append(args, "-device", "tpm-tis,tpmdev=tpm0")
	} else {
		code, _ := c.Boot.firmware()
		args = append(args,
			"-device", "tpm-crb,tpmdev=tpm0",
			"-drive", "if=pflash,format=raw,unit=0,readonly=on,file="+code,
			"-drive", "if=pflash,format=raw,unit=1,file="+variables)
	}
	if c.Boot.secure() {
		args = append(args, "-global", "driver=cfi.pflash01,property=secure,value=on")
	}
	if c.Boot.uki() {
		args = append(args, "-drive", "if=none,id=esp,format=raw,readonly=on,file="+diskFile,
			"-device", "virtio-blk-pci,drive=esp,bootindex=0")
	} else {
		kernel, err := filepath.Abs(c.Kernel.Image)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrFiles, err)
		}
		args = append(args, "-kernel", kernel, "-initrd", initrdFile, "-append", c.cmdline())
	}
	disks, err := c.diskArgs()
	return slices.Concat(args, disks), err
}

// diskArgs returns the arguments that attach the caller's disks.
func (c *Config) diskArgs() ([]string, error) {
	var args []string
	for i, d := range c.Disks {
		file, err := filepath.Abs(d.Path)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrFiles, err)
		}
		args = append(args,
			"-blockdev", fmt.Sprintf(`{"driver":"raw","node-name":"disk%d","read-only":%t,"file":{"driver":"file","filename":%q,"read-only":%t}}`,
				i, d.ReadOnly, file, d.ReadOnly),
			"-device", fmt.Sprintf("virtio-blk-pci,drive=disk%d", i))
	}
	return args, nil
}
