//go:build linux

// Guest is the first process of a simulated machine, in a virtual machine and
// nowhere else: it mounts what a small system has, loads the kernel modules that
// lie in the initramfs, and then does what the host asks for over a
// virtio-serial port, until it is told to switch off. It is one static program,
// because there is nothing else in there.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sworn-run/sworn/simulator/machine/internal/wire"
)

// Where the initramfs holds what concerns this program.
const (
	moduleDir  = "/lib/modules"
	policyFile = "/etc/ima-policy"
	policyNode = "/sys/kernel/security/ima/policy"
)

// errGuest is wrapped by what this program itself refuses.
var errGuest = errors.New("guest refused")

// portPatience is how long the port may take to appear.
const portPatience = 10 * time.Second

func main() {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "error: this is the first process of a simulated machine, and does nothing elsewhere")
		os.Exit(2)
	}
	if err := run(); err != nil {
		fmt.Fprintf(os.Stderr, "error: %v\n", err)
	}
	unix.Sync()
	// The machine ends here; were this process to end, the kernel would panic.
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	select {}
}

// run is the life of the machine.
func run() error {
	if err := settle(); err != nil {
		return err
	}
	// On a processor that is too busy firmware or the kernel's driver, which is
	// no module, may have given up on the TPM; then nothing is measured.
	for _, name := range []string{"/dev/tpmrm0", "/sys/kernel/security/tpm0/binary_bios_measurements"} {
		if _, err := os.Stat(name); err != nil {
			return fmt.Errorf("nothing was measured: %w", err)
		}
	}
	if err := measure(); err != nil {
		return err
	}
	if err := loadModules(); err != nil {
		return err
	}
	// Only where firmware is UEFI; it is a module.
	if _, err := os.Stat("/sys/firmware/efi/efivars"); err == nil {
		if err := unix.Mount("efivarfs", "/sys/firmware/efi/efivars", "efivarfs", 0, ""); err != nil {
			fmt.Fprintf(os.Stderr, "mounting the firmware's variables: %v\n", err)
		}
	}
	port, err := openPort()
	if err != nil {
		return err
	}
	defer port.Close()
	return serve(port)
}

// settle gives the machine a root and the file systems of the kernel.
func settle() error {
	// The root of an initramfs is mounted on nothing, so that no process can
	// leave it with pivot_root(2). Bound to itself, it is.
	if err := os.Mkdir("/root", 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("making a root: %w", err)
	}
	if err := unix.Mount("/", "/root", "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("binding the root: %w", err)
	}
	if err := os.Chdir("/root"); err != nil {
		return fmt.Errorf("entering the root: %w", err)
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("moving the root: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return fmt.Errorf("changing the root: %w", err)
	}
	const quiet = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	for _, m := range []struct {
		kind, target string
		flags        uintptr
		options      string
	}{
		{"proc", "/proc", quiet, ""},
		{"sysfs", "/sys", quiet, ""},
		{"devtmpfs", "/dev", unix.MS_NOSUID, "mode=0755"},
		{"devpts", "/dev/pts", unix.MS_NOSUID | unix.MS_NOEXEC, "mode=0620,ptmxmode=0666"},
		{"tmpfs", "/dev/shm", unix.MS_NOSUID | unix.MS_NODEV, "mode=1777"},
		{"securityfs", "/sys/kernel/security", quiet, ""},
		{"cgroup2", "/sys/fs/cgroup", quiet, ""},
		{"tmpfs", "/run", unix.MS_NOSUID | unix.MS_NODEV, "mode=0755"},
		{"tmpfs", "/tmp", unix.MS_NOSUID | unix.MS_NODEV, "mode=1777"},
	} {
		if err := mount(m.kind, m.target, m.kind, m.flags, m.options); err != nil {
			return err
		}
	}
	return raiseLoopback()
}

// mount mounts a file system on a folder, which is made if need be.
func mount(source, target, kind string, flags uintptr, options string) error {
	if err := os.MkdirAll(target, 0o755); err != nil { //nolint:gosec // G301: the folders of a system are for everybody.
		return fmt.Errorf("making the folder of a mount: %w", err)
	}
	if err := unix.Mount(source, target, kind, flags, options); err != nil {
		return fmt.Errorf("mounting %q at %q: %w", kind, target, err)
	}
	return nil
}

// raiseLoopback switches the interface lo on.
func raiseLoopback() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("making a socket: %w", err)
	}
	defer unix.Close(s)
	r, err := unix.NewIfreq("lo")
	if err == nil {
		r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
		err = unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, r)
	}
	if err != nil {
		return fmt.Errorf("switching lo on: %w", err)
	}
	return nil
}

// measure hands the kernel its policy of what to measure, if there is one: in
// one write, because it takes no other.
func measure() error {
	policy, err := os.ReadFile(policyFile)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = os.WriteFile(policyNode, policy, 0o600)
	}
	if err != nil {
		return fmt.Errorf("setting the policy of measurement: %w", err)
	}
	return nil
}

// loadModules loads the modules in the order of their files' names.
func loadModules() error {
	files, err := filepath.Glob(moduleDir + "/*.ko")
	if err != nil {
		return fmt.Errorf("listing modules: %w", err)
	}
	for _, file := range files {
		if err := loadModule(file); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("loading %s: %w", file, err)
		}
	}
	return nil
}

func loadModule(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.FinitModule(int(f.Fd()), "", 0)
}

// openPort opens the port by which the host speaks to this program.
func openPort() (io.ReadWriteCloser, error) {
	for end := time.Now().Add(portPatience); ; time.Sleep(10 * time.Millisecond) {
		names, err := filepath.Glob("/sys/class/virtio-ports/*/name")
		if err != nil {
			return nil, fmt.Errorf("listing ports: %w", err)
		}
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil || strings.TrimSpace(string(text)) != wire.Port {
				continue
			}
			f, err := os.OpenFile("/dev/"+filepath.Base(filepath.Dir(name)), os.O_RDWR, 0)
			if err == nil {
				return f, nil
			}
			if !errors.Is(err, os.ErrNotExist) {
				return nil, fmt.Errorf("opening the host's port: %w", err)
			}
		}
		if time.Now().After(end) {
			return nil, fmt.Errorf("no port %q: %w", wire.Port, errGuest)
		}
	}
}
