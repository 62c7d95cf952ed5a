//go:build linux

package machine

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/sworn-run/sworn/attest"
)

// The errors of this package; every error returned wraps one of them,
// [attest.ErrArgument], one of package simulator, or that of the context if it
// ended first.
var (
	// ErrFiles reports a file that cannot be read, written, fetched or made.
	ErrFiles = errors.New("machine's files failed")
	// ErrBoot reports a machine that did not boot: what its console said last
	// is in the text.
	ErrBoot = errors.New("machine did not boot")
	// ErrSecureBoot reports that firmware refused to boot what is not signed by
	// a key that it knows. It wraps ErrBoot.
	ErrSecureBoot = fmt.Errorf("%w: refused by Secure Boot", ErrBoot)
	// ErrGuest reports that a running machine could not do what was asked for.
	ErrGuest = errors.New("guest failed")
	// ErrGone reports that a machine that had booted is not running any more.
	ErrGone = errors.New("machine is gone")
)

// Boot says how a machine boots.
type Boot int

// The ways to boot. The zero value is none.
const (
	// Direct has QEMU hand kernel, initramfs and command line to OVMF, which
	// starts the kernel as an UEFI application.
	Direct Boot = iota + 1
	// Legacy has SeaBIOS start them, without UEFI: the fastest.
	Legacy
	// UKI boots one unified kernel image from an EFI system partition: kernel,
	// initramfs and command line behind systemd's stub.
	UKI
	// SecureBoot is UKI signed with the snakeoil key of Debian's OVMF, by
	// firmware that boots nothing else.
	SecureBoot
	// SecureBootUnsigned is the same without the signature. It does not boot.
	SecureBootUnsigned
)

// uki reports whether a unified kernel image boots.
func (b Boot) uki() bool { return b >= UKI }

// secure reports whether firmware has Secure Boot on.
func (b Boot) secure() bool { return b >= SecureBoot }

// File is a file of the initramfs. It has the content of the file Source or,
// if that is "", Data.
type File struct {
	// Path is absolute and clean. The folders above it are made, mode 0755.
	Path string
	// Mode is the permissions; no other bits.
	Mode   fs.FileMode
	Source string
	Data   []byte
}

// Disk is a disk of the machine, /dev/vda and so on in order; where a UKI
// boots, its own disk is /dev/vda, and these follow.
type Disk struct {
	// Path is that of a raw image, a multiple of 512 bytes.
	Path string
	// ReadOnly keeps the machine from writing to it.
	ReadOnly bool
}

// IMAPolicy is a policy for the kernel's IMA that measures, into PCR 10, every
// program that is run, every module that is loaded, and every file that root
// reads on the file systems of an initramfs.
const IMAPolicy = "measure func=BPRM_CHECK\n" +
	"measure func=MODULE_CHECK\n" +
	"measure func=FILE_CHECK mask=MAY_READ fowner=0 fsmagic=0x858458f6\n" +
	"measure func=FILE_CHECK mask=MAY_READ fowner=0 fsmagic=0x01021994\n"

// Config describes a machine. Registers are the same each time for the same
// description and the same files.
type Config struct {
	// Dir holds what belongs to the machine, and is made if need be: its TPM,
	// with the folder of its maker's roots, in Dir/tpm, which stays the same
	// from boot to boot; the console's log, Dir/console.log; what boots; the
	// firmware's variables, made anew each time. Required. Its path is short,
	// for the sake of a socket.
	Dir string
	// Boot says how to boot. Required.
	Boot Boot
	// Kernel is the kernel to boot; nil for FindKernel(ctx, "").
	Kernel *Kernel
	// Init is the path of the first process, as [Build] makes it from [Guest].
	// Required.
	Init string
	// Files lie in the initramfs, at most 4096.
	Files []File
	// Modules names the kernel modules to load, beside those that the machine
	// needs itself, such as "erofs", "dm-verity", "fuse". What they depend on
	// comes first.
	Modules []string
	// Cmdline is appended to the kernel's command line.
	Cmdline string
	// IMAPolicy is given to the kernel's IMA before anything is loaded or run,
	// such as the constant of this name; "" is none.
	IMAPolicy string
	// Disks are at most 16.
	Disks []Disk
	// Memory is the size of the memory in MiB, from 192 to 4096; 0 is 512. PCR
	// 0 and 4 may depend on it.
	Memory int
	// Timeout is how long the boot may take; 0 is 120 s.
	Timeout time.Duration
}

// The defaults of a Config.
const (
	defaultMemory  = 512
	defaultTimeout = 120 * time.Second
)

// filled returns the description with its defaults, or an error that wraps
// [attest.ErrArgument].
func (c Config) filled() (Config, error) {
	if c.Memory == 0 {
		c.Memory = defaultMemory
	}
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	var what string
	switch {
	case c.Dir == "":
		what = "no folder"
	case c.Boot < Direct || c.Boot > SecureBootUnsigned:
		what = fmt.Sprintf("boot %d", c.Boot)
	case c.Init == "":
		what = "no first process"
	case c.Memory < 192 || c.Memory > 4096:
		what = fmt.Sprintf("%d MiB of memory", c.Memory)
	case c.Timeout < 0:
		what = fmt.Sprintf("limit of time %v", c.Timeout)
	case len(c.Disks) > 16 || len(c.Files) > 4096 || len(c.Modules) > 256:
		what = "too many disks, files or modules"
	case strings.ContainsAny(c.Cmdline, "\n\x00") || len(c.Cmdline) > 1024:
		what = "command line with line breaks, or too long"
	default:
		return c, checkFiles(c.Files)
	}
	return c, fmt.Errorf("%s: %w", what, attest.ErrArgument)
}

// checkFiles refuses files that have no place in an initramfs.
func checkFiles(files []File) error {
	seen := map[string]bool{}
	for _, f := range files {
		if !path.IsAbs(f.Path) || path.Clean(f.Path) != f.Path || f.Path == "/" || len(f.Path) > 1024 || seen[f.Path] ||
			strings.Contains(f.Path, "\x00") || f.Mode&^fs.ModePerm != 0 || f.Source != "" && f.Data != nil {
			return fmt.Errorf("file %q, mode %v: %w", f.Path, f.Mode, attest.ErrArgument)
		}
		seen[f.Path] = true
	}
	return nil
}

// cmdline returns the kernel's whole command line.
func (c *Config) cmdline() string {
	line := "console=ttyS0 panic=-1 loglevel=4 ima_template=ima-ng"
	if c.Cmdline != "" {
		line += " " + c.Cmdline
	}
	return line
}
