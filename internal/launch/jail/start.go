//go:build linux

package jail

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The uids and gids that jobs get: those that systemd takes for dynamic users,
// which no account has (systemd.io/UIDS-GIDS).
const (
	firstUID = 61184
	lastUID  = 65519
)

// logBytes is how much of init's standard error is kept for an error message.
const logBytes = 4096

// Jail is a job that is measured and prepared, or running. Its methods are for
// one goroutine; Close may be called from another.
type Jail struct {
	spec      Spec
	digests   []Digest
	input     *Digest
	isolation Isolation
	proc      *process
	ran       bool
}

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
	once                                     sync.Once
}

// attempt is one way to get namespaces.
type attempt struct {
	name string
	cfg  func(*config)
	attr *syscall.SysProcAttr
	shim bool
}

// Start builds the job's root, measures the files into it and prepares the job,
// which does not run yet. It tries namespaces alone (root), then with a user
// namespace; where neither can be had, it prepares an open run if the Spec has
// one. The caller must Close the Jail. With an error nothing is left behind;
// when ctx ends before Start does, that error also wraps its cause.
func Start(ctx context.Context, spec Spec) (*Jail, error) {
	if err := spec.check(); err != nil {
		return nil, err
	}
	uid, err := randomUID()
	if err != nil {
		return nil, fmt.Errorf("%w: choosing a uid: %w", ErrLaunch, err)
	}
	var refused []error
	for _, a := range attempts(&spec, uid) {
		j, err := a.start(ctx, spec)
		if err == nil {
			return j, nil
		}
		if !errors.Is(err, ErrIsolation) || ctx.Err() != nil || errors.Is(err, errStrict) {
			return nil, err
		}
		refused = append(refused, fmt.Errorf("%s: %w", a.name, err))
	}
	return nil, errors.Join(refused...)
}

// randomUID chooses the uid, and gid, of a job.
func randomUID() (int, error) {
	var b [4]byte
	if _, err := rand.Read(b[:]); err != nil {
		return 0, err
	}
	return firstUID + int(binary.BigEndian.Uint32(b[:])%(lastUID-firstUID+1)), nil
}

// namespaces are those that every closed root has.
const namespaces = unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWNET

// attempts lists the ways that this user has, best first.
func attempts(spec *Spec, uid int) []attempt {
	var list []attempt
	if !spec.ForceOpen {
		if os.Geteuid() == 0 {
			ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}, {ContainerID: uid, HostID: uid, Size: 1}}
			list = append(list, attempt{
				name: "namespaces",
				cfg:  func(c *config) { c.UID, c.GID = uid, uid },
				attr: &syscall.SysProcAttr{Cloneflags: namespaces},
			}, attempt{
				name: "namespaces with a user namespace",
				cfg:  func(c *config) { c.UID, c.GID, c.UserNS = uid, uid, true },
				attr: &syscall.SysProcAttr{
					Cloneflags: namespaces | unix.CLONE_NEWUSER, UidMappings: ids, GidMappings: ids,
					GidMappingsEnableSetgroups: true,
				},
			})
		} else {
			list = append(list, attempt{
				name: "namespaces with a user namespace",
				cfg:  func(c *config) { c.UID, c.GID, c.UserNS = uid, uid, true },
				attr: &syscall.SysProcAttr{},
				shim: true,
			})
		}
	}
	if spec.Open != nil && !spec.Strict {
		list = append(list, attempt{
			name: "open run",
			cfg:  func(c *config) { c.Open, c.Command, c.UID, c.GID = true, *spec.Open, -1, -1 },
			attr: &syscall.SysProcAttr{},
		})
	}
	return list
}

// rootlessAttr are the attributes with which the shim starts init: the user's
// own uid and gid are the only ones of the user namespace, and init keeps there
// the capabilities it needs to set up mounts and to drop everything.
func rootlessAttr() *syscall.SysProcAttr {
	uid, gid := os.Geteuid(), os.Getegid()
	return &syscall.SysProcAttr{
		Cloneflags:  namespaces | unix.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: uid, HostID: uid, Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: gid, HostID: gid, Size: 1}},
		AmbientCaps: []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_SETPCAP},
		Pdeathsig:   unix.SIGKILL,
	}
}

// start makes one attempt. An error that wraps ErrIsolation lets the next one be
// made.
func (a *attempt) start(ctx context.Context, spec Spec) (*Jail, error) {
	p, err := a.spawn()
	if err != nil {
		return nil, err
	}
	j := &Jail{spec: spec, proc: p}
	stop := context.AfterFunc(ctx, p.kill)
	defer stop()
	if err = j.prepare(a); err == nil {
		err = j.judge()
	}
	if cause := ctx.Err(); cause != nil && (err != nil || !stop()) {
		err = fmt.Errorf("%w: %w", ErrLaunch, cause)
	}
	if err != nil {
		p.close()
		return nil, err
	}
	return j, nil
}

// errStrict marks an ErrIsolation that no other attempt mends.
var errStrict = errors.New("isolation is strict")

// judge applies Spec.Strict.
func (j *Jail) judge() error {
	if missing := j.isolation.Missing(); j.spec.Strict && len(missing) > 0 {
		var words []string
		for _, m := range missing {
			words = append(words, m.Name+" ("+string(m.State)+")")
		}
		return fmt.Errorf("%w: %w and misses %s", ErrIsolation, errStrict, strings.Join(words, ", "))
	}
	return nil
}

// prepare configures init and takes its measurements.
func (j *Jail) prepare(a *attempt) error {
	s := &j.spec
	cfg := config{
		Files: s.Files, Input: s.InputFile, OutputFile: s.OutputFile, Command: s.Command, Proc: s.Proc,
		TimeoutNS: s.Timeout.Nanoseconds(), Limits: s.Limits, Tmpfs: s.TmpfsBytes,
		Scratch:   orDefault(s.ScratchBytes, DefaultScratchBytes),
		MaxOutput: orDefault(s.MaxOutput, DefaultStreamBytes),
	}
	a.cfg(&cfg)
	if cfg.Open {
		cfg.OutputFile = ""
	}
	if err := j.proc.ctl.send(cfg); err != nil {
		return j.proc.lost(ErrLaunch, err)
	}
	for {
		var e event
		if err := j.proc.ctl.receive(&e); err != nil {
			return j.proc.lost(ErrLaunch, err)
		}
		switch {
		case e.Progress != nil:
			if s.Progress != nil {
				s.Progress(e.Progress.Done, e.Progress.Total)
			}
		case e.Failure != nil:
			return e.Failure.error()
		case e.Ready != nil:
			return j.accept(e.Ready)
		default:
			return fmt.Errorf("%w: %w", ErrLaunch, errWire)
		}
	}
}

// accept takes init's report over.
func (j *Jail) accept(r *ready) error {
	want := len(j.spec.Files)
	if j.spec.InputFile != "" {
		want++
	}
	if len(r.Digests) != want {
		return fmt.Errorf("%w: %d digests for %d files", ErrLaunch, len(r.Digests), want)
	}
	for i, d := range r.Digests {
		digest := Digest{Size: d.Size}
		if copy(digest.SHA256[:], d.SHA256) != len(digest.SHA256) || len(d.SHA256) != len(digest.SHA256) {
			return fmt.Errorf("%w: digest %d has %d bytes", ErrLaunch, i, len(d.SHA256))
		}
		if i == len(j.spec.Files) {
			j.input = &digest
			break
		}
		digest.ID = j.spec.Files[i].ID
		j.digests = append(j.digests, digest)
	}
	j.isolation = r.Isolation
	j.isolation.LauncherNonDumpable = isNonDumpable()
	return nil
}

// orDefault returns v, or the default for zero.
func orDefault(v, otherwise uint64) uint64 {
	if v == 0 {
		return otherwise
	}
	return v
}

// error turns what init reports into this package's errors.
func (f *failure) error() error {
	kind := ErrLaunch
	switch f.Kind {
	case failSource:
		kind = ErrSource
	case failIsolation:
		kind = ErrIsolation
	case failSpec:
		kind = ErrSpec
	}
	return fmt.Errorf("%w: %s", kind, f.Text)
}

// Files returns the measurements, in the order of Spec.Files.
func (j *Jail) Files() []Digest { return append([]Digest(nil), j.digests...) }

// Input returns the measurement of Spec.InputFile, and whether there is one.
func (j *Jail) Input() (Digest, bool) {
	if j.input == nil {
		return Digest{}, false
	}
	return *j.input, true
}

// Isolation returns what is in force for the job.
func (j *Jail) Isolation() Isolation {
	i := j.isolation
	i.Devices = append([]string(nil), i.Devices...)
	return i
}

// Close kills the job and everything it started, waits until it is gone, and
// frees what the Jail holds. It may be called more than once.
func (j *Jail) Close() error {
	j.proc.close()
	return nil
}

// spawn starts shim or init with all that joins it to the launcher.
func (a *attempt) spawn() (*process, error) {
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
	name := nameInit
	if a.shim {
		name = nameShim
	}
	a.attr.Pdeathsig = unix.SIGKILL
	p.cmd = &exec.Cmd{
		Path: "/proc/self/exe", Args: []string{name}, Env: []string{}, Dir: "/",
		ExtraFiles: theirs, Stderr: &p.log, SysProcAttr: a.attr, WaitDelay: time.Second,
	}
	if err := p.start(); err != nil {
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
