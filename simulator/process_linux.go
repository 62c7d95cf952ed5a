package simulator

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/google/go-tpm/tpm2"

	"github.com/sworn-run/sworn/tpm/tpmdev"
)

// Commands of swtpm's control channel: a number, big-endian, answered by a
// result of 4 bytes, zero for success (swtpm_ioctls(3), "UnixIO").
const (
	ctrlGetCapability = 1
	ctrlShutdown      = 3
)

// spawn starts swtpm with the state in that folder and these options about who
// brings commands, and waits until it answers on its control socket.
func (h *home) spawn(ctx context.Context, state string, options []string, detach bool) error {
	program, err := lookSWTPM()
	if err != nil {
		return err
	}
	log, err := os.OpenFile(h.path(logFile), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDir, err)
	}
	defer log.Close()
	// Not bound to ctx: the TPM outlives the start.
	cmd := exec.Command(program, append([]string{
		"socket", "--tpm2",
		"--tpmstate", "dir=" + state,
		"--ctrl", "type=unixio,path=" + ctrlFile + ",mode=0600",
		"--pid", "file=" + pidFile,
	}, options...)...)
	cmd.Dir = h.dir
	cmd.Stdout, cmd.Stderr = log, log
	// In a session of its own, no terminal's signals reach it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if !detach {
		cmd.SysProcAttr.Pdeathsig = syscall.SIGTERM
	}
	c, err := run(cmd)
	if err != nil {
		return fmt.Errorf("running swtpm: %w: %w", ErrTPM, err)
	}
	if err := h.await(ctx, c); err != nil {
		_ = cmd.Process.Kill()
		<-c.ended
		out, _ := os.ReadFile(h.path(logFile))
		return fmt.Errorf("waiting for swtpm: %w: %w: %s", ErrTPM, errors.Join(err, h.clean()), lastLines(out))
	}
	return nil
}

// run starts a program. The program's
// parent is a thread of its own, which waits for it: a parent-death signal comes
// when the thread ends that started the program (prctl(2), PR_SET_PDEATHSIG).
func run(cmd *exec.Cmd) (*child, error) {
	c := &child{ended: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			c.err = cmd.Wait()
			close(c.ended)
		}
	}()
	return c, <-started
}

// child is a program that was started.
type child struct {
	// ended is closed when the program has ended; err is its status then.
	ended chan struct{}
	err   error
}

// serverOptions returns the options by which swtpm, powered on and started up,
// listens at an address.
func serverOptions(addr string) []string {
	server := "type=unixio,path=" + socketFile + ",mode=0600"
	if network, address := splitAddr(addr); network != "unix" {
		// Checked by listenAddr.
		host, port, _ := net.SplitHostPort(address)
		server = "type=tcp,port=" + port + ",bindaddr=" + host
	}
	return []string{"--server", server, "--flags", "not-need-init,startup-clear"}
}

// await waits until swtpm answers, ends, or has had enough time.
func (h *home) await(ctx context.Context, c *child) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		if h.control(ctx, ctrlGetCapability) == nil {
			return nil
		}
		select {
		case <-c.ended:
			return fmt.Errorf("it has ended: %w", cmp.Or(c.err, io.EOF))
		default:
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
}

// control sends one command to the control socket and returns nil if it
// succeeded.
func (h *home) control(ctx context.Context, command uint32) error {
	ctx, cancel := context.WithTimeout(ctx, patience/4)
	defer cancel()
	c, err := (&net.Dialer{}).DialContext(ctx, "unix", h.path(ctrlFile))
	if err != nil {
		return err
	}
	defer c.Close()
	deadline, _ := ctx.Deadline()
	if err := c.SetDeadline(deadline); err != nil {
		return err
	}
	if _, err := c.Write(binary.BigEndian.AppendUint32(nil, command)); err != nil {
		return err
	}
	result := make([]byte, 4)
	if _, err := io.ReadFull(c, result); err != nil {
		return err
	}
	if command == ctrlShutdown && binary.BigEndian.Uint32(result) != 0 {
		return fmt.Errorf("result 0x%08x: %w", binary.BigEndian.Uint32(result), ErrTPM)
	}
	return nil
}

// find returns the swtpm that runs in this directory; nil if none does. The
// number in the pid file may meanwhile be another's: what counts is that the
// process runs swtpm in this directory.
func (h *home) find() *os.Process {
	text, err := os.ReadFile(h.path(pidFile))
	if err != nil || len(text) > 20 {
		return nil
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid <= 1 {
		return nil
	}
	// The handle is taken first, so that the process looked at is the one that
	// signals will reach (pidfd_open(2)).
	p, err := os.FindProcess(pid)
	if err != nil || !h.isOurs(pid) {
		return nil
	}
	return p
}

// isOurs reports whether the process runs swtpm in this directory, or may do,
// where that is not for us to see.
func (h *home) isOurs(pid int) bool {
	proc := filepath.Join("/proc", strconv.Itoa(pid))
	comm, err := os.ReadFile(filepath.Join(proc, "comm"))
	if err != nil || strings.TrimSpace(string(comm)) != "swtpm" {
		return false
	}
	// A process that has ended and was not waited for has no directory.
	cwd, err := os.Readlink(filepath.Join(proc, "cwd"))
	return cwd == h.abs || errors.Is(err, fs.ErrPermission)
}

// clean removes what a TPM that is not running has left.
func (h *home) clean() error {
	for _, name := range []string{pidFile, socketFile, ctrlFile} {
		if err := os.Remove(h.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w: %w", ErrDir, err)
		}
	}
	return nil
}

// stop ends the TPM, politely first.
func (h *home) stop(ctx context.Context) error {
	p := h.find()
	if p == nil {
		return h.clean()
	}
	steps := []func() error{
		func() error { h.shutdown(ctx); return h.control(ctx, ctrlShutdown) },
		func() error { return p.Signal(syscall.SIGTERM) },
		func() error { return p.Signal(syscall.SIGKILL) },
	}
	for _, step := range steps {
		if step() != nil && !hasEnded(p.Pid) {
			continue
		}
		gone, err := awaitEnd(ctx, p.Pid)
		if err != nil {
			return err
		}
		if gone {
			return h.clean()
		}
	}
	return fmt.Errorf("process %d does not end: %w", p.Pid, ErrTPM)
}

// awaitEnd waits until the process has ended; false if it takes too long. It is
// then done with its files, as it need not be when its sockets and its pid file
// are gone.
func awaitEnd(ctx context.Context, pid int) (bool, error) {
	for end := time.Now().Add(patience / 2); time.Now().Before(end); {
		if hasEnded(pid) {
			return true, nil
		}
		if err := pause(ctx); err != nil {
			return false, fmt.Errorf("waiting for swtpm to end: %w", err)
		}
	}
	return false, nil
}

// hasEnded reports whether there is no such process any more, or only its
// status for its parent (proc_pid_stat(5)), or another's that is no swtpm.
func hasEnded(pid int) bool {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return true
	}
	_, state, ok := strings.Cut(string(stat), " (swtpm) ")
	return !ok || strings.HasPrefix(state, "Z") || strings.HasPrefix(state, "X")
}

// shutdown tells the TPM that power goes, as an operating system does
// (TPM2_Shutdown; Part 3, 9.4), so that its counters are marked as safe. With
// a client connected, or on TCP, whose port is not kept, it is not told: then
// it is as if the plug had been pulled.
func (h *home) shutdown(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, patience/20)
	defer cancel()
	t, err := tpmdev.Dial(ctx, "unix:"+h.path(socketFile))
	if err != nil {
		return
	}
	defer t.Close()
	_, _ = tpm2.Shutdown{ShutdownType: tpm2.TPMSUClear}.Execute(t)
}
