//go:build linux

package jail

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Descriptors of init and shim, beside their own 0, 1 and 2.
const (
	initControl = 3 // socket to the launcher
	initStdin   = 4 // the job's three
	initStdout  = 5
	initStderr  = 6
	initOutput  = 7 // pipe for the output file
	initLast    = initOutput
)

// progressInterval is the time between two progress events.
const progressInterval = 100 * time.Millisecond

// kindError is an error with the kind of failure that the launcher is told.
type kindError struct {
	kind string
	err  error
}

// Error implements error.
func (e *kindError) Error() string { return e.err.Error() }

// Unwrap gives the cause.
func (e *kindError) Unwrap() error { return e.err }

// as gives an error a kind of failure. A nil error stays nil.
func as(kind string, err error) error {
	if err == nil {
		return nil
	}
	return &kindError{kind, err}
}

// initProcess is the trusted process between launcher and job: PID 1 of the
// job's PID namespace.
type initProcess struct {
	cfg  config
	ctl  *conn
	root *root
	iso  Isolation
	// stage is the process that becomes the job.
	stage    int
	stageCtl *os.File
	sources  []source
	unpacked *Unpacked
}

// initMain runs init. A failure before the job's execution is reported to the
// launcher and returned.
func initMain() error {
	p := &initProcess{ctl: &conn{rw: os.NewFile(initControl, "control")}}
	if err := p.prepare(); err != nil {
		kind := failLaunch
		if k := (*kindError)(nil); errors.As(err, &k) {
			kind = k.kind
		}
		f := &failure{Kind: kind, Text: err.Error(), Errno: Refused(err).Errno()}
		return errors.Join(err, p.ctl.send(event{Failure: f}))
	}
	return p.supervise()
}

// prepare does everything up to the execution of the job.
func (p *initProcess) prepare() error {
	p.iso = Isolation{
		InitNonDumpable: nonDumpable(), Mode: "open", Network: "host", Devices: []string{"host"}, DevicesBy: "host",
		ClosedRoot: No, ReadOnlyRoot: No, MountNS: No, PIDNS: No, IPCNS: No, UTSNS: No, NetNS: No, UserNS: No,
		NoSwap: No, Locked: No, Proc: Yes, SealedProgram: No, KillOnEnd: No, Landlock: No, Cgroup: No,
	}
	if err := unix.CloseRange(initControl, ^uint(0), unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("marking descriptors: %w", err)
	}
	// Best effort: init holds buffers of the sources for as long as it copies.
	_ = unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE | unix.MCL_ONFAULT)
	if err := p.ctl.receive(&p.cfg); err != nil {
		return err
	}
	unix.Umask(0)
	var digests []fileDigest
	var err error
	if p.cfg.Open {
		digests, err = p.prepareOpen()
	} else {
		digests, err = p.prepareClosed()
	}
	if err != nil {
		return err
	}
	return p.ctl.send(event{Ready: &ready{Digests: digests, Isolation: p.iso, Image: p.unpacked}})
}

// prepareClosed builds and enters the closed root.
func (p *initProcess) prepareClosed() ([]fileDigest, error) {
	if err := p.checkNamespaces(); err != nil {
		return nil, as(failIsolation, err)
	}
	var total uint64
	var err error
	if p.sources, total, err = planSources(&p.cfg); err != nil {
		return nil, as(failSource, err)
	}
	if err := hold(p.sources); err != nil {
		return nil, as(failSource, err)
	}
	defer closeHeld(p.sources)
	copied, size := copies(p.sources)
	if p.cfg.Tmpfs != 0 && size > p.cfg.Tmpfs {
		return nil, as(failSpec, fmt.Errorf("the copies need %d bytes, at most %d are allowed", size, p.cfg.Tmpfs))
	}
	if img := p.cfg.Image; img != nil {
		size += uint64(img.MaxBytes) // 0 for a volume's
	}
	if p.root, p.iso.NoSwap, err = newRoot(copied, size); err != nil {
		return nil, as(failIsolation, err)
	}
	if err := p.root.takeVolumes(p.cfg.Volumes); err != nil {
		return nil, as(failLaunch, err)
	}
	if p.unpacked, err = p.imageRoot(context.Background()); err != nil {
		return nil, err
	}
	if err := p.startStage(nil); err != nil {
		return nil, err
	}
	if err := p.root.mkdirs(p.sources, p.cfg.Proc); err != nil {
		return nil, err
	}
	digests, err := p.measured(total, p.root.create)
	if err != nil {
		return nil, err
	}
	if err := p.root.link(copied); err != nil {
		return nil, err
	}
	if p.iso.NoSwap != Yes {
		p.iso.Locked = No // an unpacked image's files are not
		if p.cfg.Image == nil || p.cfg.Image.Volume != nil {
			p.iso.Locked = stateOf(p.root.lock(copied))
		}
	}
	if err := p.awaitStage(); err != nil {
		return nil, err
	}
	if err := p.finishRoot(); err != nil {
		return nil, err
	}
	if p.cfg.Command.Dir == "" {
		p.cfg.Command.Dir = ScratchDir
	}
	if err := p.cfg.Command.lookUp(); err != nil {
		return nil, err
	}
	return digests, p.dropStage()
}

// checkNamespaces makes sure that the process is where it should be, and that
// no mount of it reaches the machine.
func (p *initProcess) checkNamespaces() error {
	if os.Getpid() != 1 {
		return fmt.Errorf("init has process id %d: %w", os.Getpid(), unix.EPERM)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	if err := unix.Sethostname([]byte("sworn")); err != nil {
		return fmt.Errorf("setting the host name: %w", err)
	}
	p.iso.Mode, p.iso.UserNS = "closed", No
	if p.cfg.UserNS {
		p.iso.UserNS = Yes
	}
	for _, s := range []*State{&p.iso.MountNS, &p.iso.PIDNS, &p.iso.IPCNS, &p.iso.UTSNS, &p.iso.KillOnEnd} {
		*s = Yes
	}
	if !p.cfg.Network {
		p.iso.NetNS = Yes
	}
	return nil
}

// finishRoot completes the filled root and enters it.
func (p *initProcess) finishRoot() error {
	if err := p.root.attach(); err != nil {
		return as(failIsolation, err)
	}
	by, err := p.root.placeDevices(p.cfg.Devices)
	if errors.Is(err, errDevice) {
		return as(failSource, err)
	}
	if err != nil {
		return as(failIsolation, err)
	}
	p.iso.Devices, p.iso.DevicesBy, p.iso.Proc = append([]string{"null", "urandom"}, p.cfg.Devices...), by, No
	p.iso.DeviceNumbers = p.root.numbers
	if err := p.root.bind(p.sources); err != nil {
		return as(failLaunch, err)
	}
	if err := p.root.placeVolumes(p.cfg.Volumes); err != nil {
		return as(failLaunch, err)
	}
	if err := p.root.placeScratch(&p.cfg); err != nil {
		return as(failIsolation, err)
	}
	if p.cfg.Proc {
		if err := p.root.placeProc(); err != nil {
			return err
		}
		p.iso.Proc = Yes
	}
	p.iso.ReadOnlyRoot = p.root.seal()
	if err := p.root.enter(); err != nil {
		return as(failIsolation, err)
	}
	p.iso.ClosedRoot = Yes
	return nil
}

// measured copies the sources while the launcher is told how far it got.
func (p *initProcess) measured(total uint64, open func(*source) (*os.File, error)) ([]fileDigest, error) {
	var done atomic.Uint64
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(progressInterval)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				// A launcher that is gone shows at the next message.
				_ = p.ctl.send(event{Progress: &progress{done.Load(), total}})
			}
		}
	}()
	digests, err := measureAll(p.sources, &done, open)
	close(stop)
	<-stopped
	if err != nil {
		return nil, as(failSource, err)
	}
	return digests, p.ctl.send(event{Progress: &progress{done.Load(), total}})
}

// startStage starts the process that becomes the job, while the program's own
// file can still be executed: in the old root. Like every process of the mount
// namespace it is in the new root once init has pivoted.
func (p *initProcess) startStage(program *os.File) error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("making the stage's socket: %w", err)
	}
	unused := uintptr(2)
	if program != nil {
		unused = program.Fd()
	}
	files := []uintptr{initStdin, initStdout, 2, uintptr(pair[1]), unused, initStderr}
	p.stageCtl = os.NewFile(uintptr(pair[0]), "stage")
	p.stage, err = syscall.ForkExec("/proc/self/exe", []string{nameStage}, &syscall.ProcAttr{
		Dir: "/", Env: []string{}, Files: files, Sys: &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return fmt.Errorf("starting the stage: %w", err)
	}
	for _, fd := range []int{initStdin, initStdout, initStderr, pair[1]} {
		if err := unix.Close(fd); err != nil {
			return fmt.Errorf("closing the stage's descriptors: %w", err)
		}
	}
	return nil
}

// awaitStage waits until the stage runs: until then it may still be loading its
// own libraries from the old root.
func (p *initProcess) awaitStage() error {
	var hello stageReport
	if err := (&conn{rw: p.stageCtl}).receive(&hello); err != nil {
		return fmt.Errorf("waiting for the stage: %w", err)
	}
	return nil
}

// dropStage makes the stage give up its privileges and takes its report.
func (p *initProcess) dropStage() error {
	c := &conn{rw: p.stageCtl}
	limits := p.cfg.Limits
	if limits.Processes == 0 {
		limits.Processes = defaultProcesses
	}
	err := c.send(stageConfig{
		Command: p.cfg.Command, Limits: limits, UID: p.cfg.UID, GID: p.cfg.GID,
		Closed: !p.cfg.Open, Sealed: p.cfg.Open, Network: p.cfg.Network, Devices: len(p.cfg.Devices) > 0,
	})
	if err != nil {
		return fmt.Errorf("configuring the stage: %w", err)
	}
	var r stageReport
	if err := c.receive(&r); err != nil {
		return fmt.Errorf("waiting for the stage: %w", err)
	}
	if r.Error != "" {
		return fmt.Errorf("stage: %s", r.Error)
	}
	p.iso.OwnUID, p.iso.UID, p.iso.GID, p.iso.GroupsDropped = r.OwnUID, r.UID, r.GID, r.GroupsDropped
	p.iso.NoNewPrivs, p.iso.CapsDropped, p.iso.Seccomp = r.NoNewPrivs, r.CapsDropped, r.Seccomp
	p.iso.Keyring, p.iso.NoCore, p.iso.Landlock = r.Keyring, r.NoCore, r.Landlock
	if p.iso.NetNS == Yes && p.iso.Seccomp == Yes {
		p.iso.Network = "none"
	}
	return nil
}

// execute lets the stage execute the job: the socket closes when it has. A stage
// that ended by itself is told from a job by what it said before.
func (p *initProcess) execute() error {
	if _, err := p.stageCtl.Write([]byte{stageGo}); err != nil {
		return fmt.Errorf("ordering the stage to execute: %w", err)
	}
	answer, err := io.ReadAll(io.LimitReader(p.stageCtl, 16))
	if err != nil {
		return fmt.Errorf("executing the job: %w", err)
	}
	if bytes.Equal(answer, []byte{stageExecuting}) {
		return p.stageCtl.Close()
	}
	if n := len(answer) - 3; n >= 0 && answer[n] == stageFailed {
		errno := unix.Errno(answer[n+1]) | unix.Errno(answer[n+2])<<8
		return fmt.Errorf("executing %s: %w", p.cfg.Command.Path, errno)
	}
	return fmt.Errorf("executing %s: the stage is lost: %w", p.cfg.Command.Path, errWire)
}

// shimMain starts init for a launcher that is not root: the launcher may be
// non-dumpable, and the kernel lets nobody write the uid map of the child of
// such a process; this one is dumpable until that is done.
func shimMain() error {
	runtime.LockOSThread() // init is killed when this thread ends
	files := make([]uintptr, 0, initLast+1)
	for fd := range uintptr(initLast + 1) {
		files = append(files, fd)
	}
	pid, err := syscall.ForkExec("/proc/self/exe", []string{nameInit}, &syscall.ProcAttr{
		Dir: "/", Env: []string{}, Files: files, Sys: rootlessAttr(len(os.Args) > 1 && os.Args[1] == shimNetwork),
	})
	ctl := &conn{rw: os.NewFile(initControl, "control")}
	if err != nil {
		f := &failure{Kind: failIsolation, Text: "starting init: " + err.Error(), Errno: Refused(err).Errno()}
		return errors.Join(err, ctl.send(event{Failure: f}))
	}
	_ = nonDumpable() // of no consequence: the shim holds nothing
	if err := unix.CloseRange(initControl, initLast, 0); err != nil {
		return err
	}
	for {
		_, err := syscall.Wait4(pid, nil, 0, nil)
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}
