//go:build linux

package jail

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// killPatience is how long init hunts for what an open run has left.
const killPatience = 5 * time.Second

// supervise waits for the order to execute, follows the job to its end, kills
// what it leaves, and reports. When the launcher is gone, init ends, and with it
// everything in its PID namespace.
func (p *initProcess) supervise() error {
	orders := make(chan string)
	go func() {
		for {
			var o order
			if err := p.ctl.receive(&o); err != nil {
				p.killAll()
				unix.Exit(exitInternal)
			}
			orders <- o.Verb
		}
	}()
	if verb := <-orders; verb != verbGo {
		return fmt.Errorf("%w: %q", errWire, verb)
	}
	if err := p.execute(); err != nil {
		f := &failure{Kind: failLaunch, Text: err.Error(), Errno: Refused(err).Errno()}
		return errors.Join(err, p.ctl.send(event{Failure: f}))
	}
	end := p.follow(orders)
	if p.cfg.OutputFile != "" {
		out := os.NewFile(initOutput, "output")
		size, err := p.sendOutput(out)
		end.OutputSize, end.OutputOK = size, err == nil && out.Close() == nil
	}
	return p.ctl.send(event{Ended: end})
}

// follow waits for the job's end, for its time to be over or for an order to
// kill it, and returns when nothing of it runs any more.
func (p *initProcess) follow(orders <-chan string) *ended {
	begin := time.Now()
	statuses := make(chan unix.WaitStatus, 1)
	reaped := make(chan struct{})
	go func() {
		defer close(reaped)
		reap(p.stage, statuses)
	}()
	timer := time.NewTimer(time.Duration(p.cfg.TimeoutNS))
	defer timer.Stop()
	end := &ended{}
	var status unix.WaitStatus
	for running := true; running; {
		select {
		case status = <-statuses:
			running = false
		case <-timer.C:
			end.Timeout = true
			p.killAll()
		case verb := <-orders:
			if verb == verbKill {
				p.killAll()
			}
		}
	}
	end.DurationNS = time.Since(begin).Nanoseconds()
	p.killAll()
	p.waitAll(reaped)
	end.Code = -1
	switch {
	case status.Exited():
		end.Code, end.Timeout = status.ExitStatus(), false
	case status.Signaled():
		end.Signal = int(status.Signal())
		end.Timeout = end.Timeout && status.Signal() == unix.SIGKILL
	}
	return end
}

// reap waits for every child, also those that init inherits, until there is
// none, and hands over the status of the main one.
func reap(main int, statuses chan<- unix.WaitStatus) {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return
		case pid == main && (status.Exited() || status.Signaled()):
			statuses <- status
		}
	}
}

// killAll kills everything that the job started: the whole PID namespace but
// init or, in an open run, the job's process group and all that init inherited.
func (p *initProcess) killAll() {
	if p.iso.KillOnEnd == Yes {
		_ = unix.Kill(-1, unix.SIGKILL) // ESRCH: there is none
		return
	}
	if p.stage > 0 {
		_ = unix.Kill(-p.stage, unix.SIGKILL)
	}
	killChildren()
}

// waitAll waits until every process of the job is gone. A PID namespace needs
// one kill; an open run is hunted for killPatience.
func (p *initProcess) waitAll(reaped <-chan struct{}) {
	deadline := time.Now().Add(killPatience)
	for {
		select {
		case <-reaped:
			return
		case <-time.After(10 * time.Millisecond):
		}
		if p.iso.KillOnEnd != Yes && time.Now().After(deadline) {
			return
		}
		p.killAll()
	}
}

// killChildren kills the children of this process, as /proc lists them.
func killChildren() {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return
	}
	for _, name := range stats {
		b, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		// proc_pid_stat(5): pid (comm) state ppid; comm may hold anything.
		fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
		if len(fields) < 2 || string(fields[1]) != strconv.Itoa(os.Getpid()) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name))); err == nil {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	}
}

// sendOutput hands the output file over. Only init runs any more, so the file
// holds still.
func (p *initProcess) sendOutput(to *os.File) (uint64, error) {
	how := unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC | unix.O_NOFOLLOW,
		Resolve: unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV | unix.RESOLVE_BENEATH,
	}
	scratch, err := unix.Open(ScratchDir, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("opening %s: %w", ScratchDir, err)
	}
	defer unix.Close(scratch)
	fd, err := unix.Openat2(scratch, p.cfg.OutputFile[len(ScratchDir)+1:], &how)
	if err != nil {
		return 0, fmt.Errorf("opening the output file: %w", err)
	}
	f := os.NewFile(uintptr(fd), "output")
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return 0, fmt.Errorf("examining the output file: %w", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || uint64(st.Size) > p.cfg.MaxOutput {
		return 0, fmt.Errorf("output file has mode %o and %d bytes: %w", st.Mode, st.Size, unix.EFBIG)
	}
	n, err := io.Copy(to, f)
	if err == nil && n != st.Size {
		err = io.ErrUnexpectedEOF
	}
	return uint64(n), err
}
