//go:build linux

package jail

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// process is the child of the launcher, shim or init, and the launcher's ends of
// what joins the two.
type process struct {
	cmd    *exec.Cmd
	ctl    *conn
	ctlEnd *os.File
	// stdinRead is a second reading end of the job's standard input: it shows
	// what the job left in the pipe.
	stdin, stdinRead, stdout, stderr, output *os.File
	done                                     chan struct{} // closed when the child is gone
	log                                      tail
	// cgroup is the job's control group; nil where it has none, and inCgroup says
	// why.
	cgroup   *cgroup
	inCgroup State
	once     sync.Once
}

// spawn starts shim or init with all that joins it to the launcher.
func (a *attempt) spawn(spec *Spec) (*process, error) {
	p := &process{done: make(chan struct{})}
	theirs, err := p.join()
	defer func() {
		for _, f := range theirs {
			_ = f.Close() // the child has its own
		}
	}()
	if err != nil {
		p.closeEnds()
		return nil, fmt.Errorf("%w: %w", ErrLaunch, err)
	}
	args := []string{nameInit}
	if a.shim {
		args = []string{nameShim}
		if spec.Network {
			args = append(args, shimNetwork)
		}
	}
	a.attr.Pdeathsig = unix.SIGKILL
	command := func() *exec.Cmd {
		return &exec.Cmd{
			Path: "/proc/self/exe", Args: args, Env: []string{}, Dir: "/",
			ExtraFiles: theirs, Stderr: &p.log, SysProcAttr: a.attr, WaitDelay: time.Second,
		}
	}
	p.cgroup, err = newCgroup(spec.Limits.Memory > 0)
	if p.inCgroup = stateOf(err); err == nil {
		a.attr.UseCgroupFD, a.attr.CgroupFD = true, int(p.cgroup.dir.Fd())
	}
	p.cmd = command()
	err = p.start()
	if err != nil && p.cgroup != nil {
		p.cgroup.close()
		p.cgroup, p.inCgroup, a.attr.UseCgroupFD = nil, Refused(err), false
		p.cmd = command()
		err = p.start()
	}
	if err != nil {
		p.closeEnds()
		if isolationErrno(err) {
			return nil, fmt.Errorf("%w: starting init: %w", ErrIsolation, err)
		}
		return nil, fmt.Errorf("%w: starting init: %w", ErrLaunch, err)
	}
	return p, nil
}

// isolationErrno reports whether err is how a kernel or a container refuses
// namespaces.
func isolationErrno(err error) bool {
	for _, errno := range []error{unix.EPERM, unix.EACCES, unix.EINVAL, unix.ENOSPC, unix.EUSERS, unix.ENOSYS} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// start starts the child from a thread that lives as long as the child does:
// the kernel kills the child when the thread that started it ends.
func (p *process) start() error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait() // how init ended is told by its last message
			close(p.done)
		}
	}()
	return <-started
}

// join makes the socket and the pipes, and returns the child's ends in the order
// of its descriptors from initControl on.
func (p *process) join() (theirs []*os.File, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("making the control socket: %w", err)
	}
	theirs = append(theirs, os.NewFile(uintptr(pair[1]), "control"))
	if p.ctlEnd, err = ours(pair[0]); err != nil {
		return theirs, err
	}
	p.ctl = &conn{rw: p.ctlEnd}
	read, write, err := pipe()
	if err != nil {
		return theirs, err
	}
	theirs = append(theirs, os.NewFile(uintptr(read), "stdin"))
	if p.stdin, err = ours(write); err != nil {
		return theirs, err
	}
	dup, err := unix.FcntlInt(uintptr(read), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return theirs, fmt.Errorf("keeping the job's input: %w", err)
	}
	p.stdinRead = os.NewFile(uintptr(dup), "stdin")
	for _, end := range []**os.File{&p.stdout, &p.stderr, &p.output} {
		read, write, err := pipe()
		if err != nil {
			return theirs, err
		}
		theirs = append(theirs, os.NewFile(uintptr(write), "output"))
		if *end, err = ours(read); err != nil {
			return theirs, err
		}
	}
	return theirs, nil
}

// pipe makes a pipe whose ends block.
func pipe() (read, write int, err error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return -1, -1, fmt.Errorf("making a pipe: %w", err)
	}
	return fds[0], fds[1], nil
}

// ours makes a File of the launcher's own end, with deadlines.
func ours(fd int) (*os.File, error) {
	err := unix.SetNonblock(fd, true)
	f := os.NewFile(uintptr(fd), "job")
	if err != nil {
		return nil, errors.Join(fmt.Errorf("setting a descriptor to non-blocking: %w", err), f.Close())
	}
	return f, nil
}

// kill kills the child, and so everything in the job's PID namespace.
func (p *process) kill() {
	// The process may have ended, and its id is not reused while it is not
	// waited for: os.Process sees to that.
	_ = p.cmd.Process.Kill()
}

// close kills the child, waits for its end and closes the launcher's ends.
func (p *process) close() {
	p.once.Do(func() {
		p.kill()
		<-p.done
		p.cgroup.close()
		p.closeEnds()
	})
}

// closeEnds closes the launcher's ends.
func (p *process) closeEnds() {
	for _, f := range []*os.File{p.ctlEnd, p.stdin, p.stdinRead, p.stdout, p.stderr, p.output} {
		if f != nil {
			_ = f.Close() // none has anything to flush
		}
	}
}

// lost makes an error of a child that is gone without a report: kind, cause, and
// what it wrote to its standard error.
func (p *process) lost(kind, cause error) error {
	p.kill()
	<-p.done
	return fmt.Errorf("%w: init is lost: %w%s", kind, cause, p.log.text())
}

// tail keeps the last logBytes written to it.
type tail struct {
	mu sync.Mutex
	b  []byte
}

// Write implements io.Writer.
func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, b...)
	if extra := len(t.b) - logBytes; extra > 0 {
		t.b = append([]byte(nil), t.b[extra:]...)
	}
	return len(b), nil
}

// text returns what was kept, for the end of an error message.
func (t *tail) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.b) == 0 {
		return ""
	}
	return fmt.Sprintf(" (%q)", t.b)
}
