//go:build linux

package machine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sworn-run/sworn/simulator"
	"github.com/sworn-run/sworn/simulator/machine/internal/wire"
)

// portName names the port to the guest.
const portName = wire.Port

// Guest is the import path of the program that is a machine's first process.
const Guest = "github.com/sworn-run/sworn/simulator/machine/guest"

// Build builds a program of this module for the inside of a machine: static, and
// the same bytes wherever it is built. It takes the go command and this module's
// source around the working directory. The error wraps
// [simulator.ErrNotInstalled] or [ErrFiles].
func Build(ctx context.Context, pkg, file string) error {
	program, err := lookTool("go")
	if err != nil {
		return fmt.Errorf("building %s: %w", pkg, err)
	}
	c := exec.CommandContext(ctx, program, "build", "-trimpath", "-buildvcs=false", "-ldflags=-buildid=", "-o", file, pkg)
	c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "GOAMD64=v1", "GOFLAGS=")
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("building %s: %w: %w: %s", pkg, ErrFiles, err, lastText(out))
	}
	return nil
}

// Machine is a machine that has booted. Its methods are safe for concurrent use
// and do one thing after another.
type Machine struct {
	config   Config
	took     time.Duration
	tpm      *simulator.SWTPM
	qemu     *process
	conn     net.Conn
	replies  *wire.Reader
	reading  sync.Mutex
	mu       sync.Mutex
	requests uint64
	close    func() error
}

// Start makes what a machine boots from, boots it, and waits until its first
// process speaks. The machine lives until it is switched off, [Machine.Close] is
// called, ctx ends, or this process does.
//
// The error wraps [attest.ErrArgument] for a description that is not allowed,
// [simulator.ErrNotInstalled] if something is missing (bash tools/setup.sh vm),
// [simulator.ErrRunning] if a machine of that folder is running, another of
// package simulator's if the TPM fails, [ErrSecureBoot] if firmware refuses the
// image, [ErrBoot] if the machine ends or takes too long, [ErrFiles], or the
// context's if that ended first. On error nothing is left running.
func Start(ctx context.Context, c Config) (*Machine, error) {
	m, err := start(ctx, c)
	if err != nil {
		if e := ctx.Err(); e != nil && !errors.Is(err, e) {
			err = fmt.Errorf("%w: %w", e, err)
		}
		return nil, fmt.Errorf("starting a machine: %w", err)
	}
	return m, nil
}

// Prepare makes what a machine boots from, as [Start] does, and boots nothing: for who
// wants to predict its registers before it boots. No machine of that folder may be
// running. The error is that of Start.
func Prepare(ctx context.Context, c Config) (Media, error) {
	c, err := c.filled()
	if err == nil {
		err = os.MkdirAll(c.Dir, 0o700)
	}
	if err == nil {
		err = c.prepare(ctx)
	}
	if err != nil {
		return Media{}, fmt.Errorf("preparing a machine: %w", err)
	}
	return c.media(), nil
}

// start is Start.
func start(ctx context.Context, c Config) (_ *Machine, err error) {
	if c, err = c.filled(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFiles, err)
	}
	t, err := simulator.StartSWTPM(ctx, simulator.Options{Dir: c.path(tpmDir), Machine: true})
	if err != nil {
		return nil, err
	}
	m := &Machine{config: c, tpm: t}
	m.close = sync.OnceValue(m.end)
	if err := m.boot(ctx); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	go func() {
		select {
		case <-ctx.Done():
			_ = m.Close()
		case <-m.qemu.ended:
		}
	}()
	return m, nil
}

// prepare makes the files that the machine boots from.
func (c *Config) prepare(ctx context.Context) error {
	if c.Kernel == nil {
		k, err := FindKernel(ctx, "")
		if err != nil {
			return err
		}
		c.Kernel = k
	}
	initrd, err := c.initramfs()
	if err != nil {
		return err
	}
	if err := c.write(initrdFile, initrd); err != nil {
		return err
	}
	// Of an earlier boot.
	if err := c.write(consoleFile, nil); err != nil {
		return err
	}
	if c.Boot != Legacy {
		if err := c.copyVariables(); err != nil {
			return err
		}
	}
	if c.Boot.uki() {
		return c.buildUKI(ctx)
	}
	return nil
}

// boot starts QEMU and waits for the guest.
func (m *Machine) boot(ctx context.Context) error {
	if err := m.config.prepare(ctx); err != nil {
		return err
	}
	began := time.Now()
	theirs, err := m.connect()
	if err != nil {
		return err
	}
	defer theirs.Close()
	if m.qemu, err = m.config.runQEMU(theirs); err != nil {
		return err
	}
	if err := m.await(ctx); err != nil {
		return err
	}
	m.took = time.Since(began)
	return nil
}

// connect makes the two ends of the port, and returns QEMU's.
func (m *Machine) connect() (*os.File, error) {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("making the port: %w: %w", ErrFiles, err)
	}
	ours, theirs := os.NewFile(uintptr(ends[0]), "port"), os.NewFile(uintptr(ends[1]), "port of QEMU")
	defer ours.Close() // FileConn makes a descriptor of its own
	if m.conn, err = net.FileConn(ours); err != nil {
		return nil, errors.Join(fmt.Errorf("making the port: %w: %w", ErrFiles, err), theirs.Close())
	}
	m.replies = wire.NewReader(m.conn)
	return theirs, nil
}

// await waits for the guest's first word, and looks at what firmware says
// meanwhile: refused by Secure Boot, it waits for somebody at the keyboard.
func (m *Machine) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, m.config.Timeout, ErrBoot)
	defer cancel()
	spoke := make(chan error, 1)
	go func() { spoke <- m.replies.Receive(&wire.Response{}) }()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-spoke:
			if err == nil {
				return nil
			}
			return fmt.Errorf("%w: it has ended (%v): %s", ErrBoot, err, m.consoleEnd())
		case <-m.qemu.ended:
			return fmt.Errorf("%w: QEMU has ended (%v: %s): %s", ErrBoot, m.qemu.err, lastText(m.qemu.stderr.Bytes()), m.consoleEnd())
		case <-tick.C:
			if m.config.Boot.secure() && refusedBySecureBoot(m.console()) {
				return fmt.Errorf("%w: %s", ErrSecureBoot, m.consoleEnd())
			}
		case <-ctx.Done():
			return fmt.Errorf("%w: no word from it: %s", context.Cause(ctx), m.consoleEnd())
		}
	}
}

// refusedBySecureBoot reports whether firmware said that it does not boot an
// image for what Secure Boot knows of it: EFI_SECURITY_VIOLATION or, in other
// versions, EFI_ACCESS_DENIED.
func refusedBySecureBoot(console []byte) bool {
	return bytes.Contains(console, []byte("Security Violation")) || bytes.Contains(console, []byte("Access Denied"))
}

// console returns the console's log, its first MiB.
func (m *Machine) console() []byte {
	f, err := os.Open(m.config.path(consoleFile))
	if err != nil {
		return nil
	}
	defer f.Close()
	b := make([]byte, 1<<20)
	n, _ := f.Read(b)
	return b[:n]
}

// consoleEnd returns the end of the console's log, for an error message.
func (m *Machine) consoleEnd() string { return "console: " + lastText(m.console()) }

// process is a program that was started.
type process struct {
	cmd *exec.Cmd
	// ended is closed when it has ended; err and stderr are complete then.
	ended  chan struct{}
	err    error
	stderr bytes.Buffer
}

// runQEMU starts QEMU, which ends with this process: its parent is a thread
// that lives until then, because the parent-death signal comes when the thread
// ends that started the program (prctl(2), PR_SET_PDEATHSIG).
func (c *Config) runQEMU(port *os.File) (*process, error) {
	program, err := lookTool("qemu-system-x86_64")
	if err != nil {
		return nil, err
	}
	args, err := c.qemuArgs()
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.Command(program, args...), ended: make(chan struct{})}
	p.cmd.Dir, p.cmd.Stderr, p.cmd.ExtraFiles = c.Dir, &p.stderr, []*os.File{port}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			p.err = p.cmd.Wait()
			close(p.ended)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("running QEMU: %w: %w", ErrBoot, err)
	}
	return p, nil
}

// Close ends the machine at once, as if the plug had been pulled, and its TPM.
// More calls do nothing and return the same error.
func (m *Machine) Close() error { return m.close() }

// end is Close.
func (m *Machine) end() error {
	if m.qemu != nil {
		_ = m.qemu.cmd.Process.Kill()
		<-m.qemu.ended
	}
	if m.conn != nil {
		_ = m.conn.Close()
	}
	return m.tpm.Close()
}

// Took returns how long the machine took to boot, from QEMU's start to the first
// process's first word.
func (m *Machine) Took() time.Duration { return m.took }

// TPM returns the machine's TPM: its maker, and the folder of roots.
func (m *Machine) TPM() *simulator.SWTPM { return m.tpm }

// Media are the paths of what a machine booted from, for who wants to predict
// its registers. What it has not is "".
type Media struct {
	// Kernel is an UEFI application, as Debian ships it; QEMU changes a few
	// bytes of its header before a Direct or Legacy boot.
	Kernel string
	Initrd string
	// Cmdline is the command line itself, without what QEMU or firmware append.
	Cmdline string
	// UKI is the unified kernel image, Disk the image of the disk with it.
	UKI, Disk string
	// Firmware is the firmware's code; SeaBIOS is QEMU's own.
	Firmware string
	// Memory is the size of the memory in MiB.
	Memory int
}

// Media returns what the machine booted from.
func (m *Machine) Media() Media { return m.config.media() }

func (c *Config) media() Media {
	media := Media{Kernel: c.Kernel.Image, Initrd: c.path(initrdFile), Cmdline: c.cmdline(), Memory: c.Memory}
	if c.Boot.uki() {
		media.UKI, media.Disk = c.path(ukiFile), c.path(diskFile)
	}
	if c.Boot != Legacy {
		media.Firmware, _ = c.Boot.firmware()
	}
	return media
}

// Console returns the path of the console's log.
func (m *Machine) Console() string { return filepath.Join(m.config.Dir, consoleFile) }
