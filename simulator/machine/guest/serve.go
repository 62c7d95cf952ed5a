//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sworn-run/sworn/simulator/machine/internal/wire"
)

// serve answers requests until the host has gone or wants the machine off.
func serve(port io.ReadWriter) error {
	if err := wire.Send(port, &wire.Response{}); err != nil {
		return fmt.Errorf("greeting the host: %w", err)
	}
	r, reading := wire.NewReader(port), &source{}
	for {
		var q wire.Request
		if err := r.Receive(&q); err != nil {
			return fmt.Errorf("hearing the host: %w", err)
		}
		a := &wire.Response{}
		if err := answer(&q, a, reading); err != nil {
			a = &wire.Response{Error: err.Error()}
		}
		a.ID = q.ID
		if err := wire.Send(port, a); err != nil {
			return fmt.Errorf("answering the host: %w", err)
		}
		if q.Op == wire.OpPowerOff {
			return nil
		}
	}
}

// answer does what is asked for.
func answer(q *wire.Request, a *wire.Response, reading *source) (err error) {
	switch q.Op {
	case wire.OpExec:
		return execute(q, a)
	case wire.OpRead:
		a.Data, err = reading.read(q.Path, q.Offset)
	case wire.OpWrite:
		err = writeAt(q)
	case wire.OpMount:
		err = mount(q.Source, q.Path, q.Type, uintptr(q.Flags), q.Options)
	case wire.OpEnableVerity:
		a.Data, err = enableVerity(q.Path)
	case wire.OpMapVerity:
		a.Path, err = mapVerity(q.Verity)
	case wire.OpPowerOff:
	default:
		err = fmt.Errorf("operation %q: %w", q.Op, errGuest)
	}
	return err
}

// bounded keeps what a program writes, and ends the program when it is too much.
// The buffer is not embedded: its ReadFrom knows no bound.
type bounded struct {
	kept []byte
	full func()
	over bool
}

func (b *bounded) Write(p []byte) (int, error) {
	if len(b.kept)+len(p) > wire.MaxData {
		b.over = true
		b.full()
		return 0, errGuest
	}
	b.kept = append(b.kept, p...)
	return len(p), nil
}

// execute runs a program in a process group of its own, and ends what is left
// of the group after it.
func execute(q *wire.Request, a *wire.Response) error {
	if len(q.Argv) == 0 || q.Timeout <= 0 {
		return fmt.Errorf("no program or no limit of time: %w", errGuest)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(q.Timeout)*time.Millisecond)
	defer cancel()
	out, stderr := &bounded{full: cancel}, &bounded{full: cancel}
	c := exec.CommandContext(ctx, q.Argv[0], q.Argv[1:]...)
	c.Dir, c.Env, c.Stdin, c.Stdout, c.Stderr = q.Dir, q.Env, bytes.NewReader(q.Data), out, stderr
	if c.Env == nil {
		c.Env = []string{}
	}
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Cancel = func() error { return unix.Kill(-c.Process.Pid, unix.SIGKILL) }
	c.WaitDelay = 2 * time.Second
	if err := c.Start(); err != nil {
		return fmt.Errorf("starting %q: %w", q.Argv[0], err)
	}
	err := c.Wait()
	_ = unix.Kill(-c.Process.Pid, unix.SIGKILL)
	reap()
	var exit *exec.ExitError
	switch {
	case out.over || stderr.over:
		return fmt.Errorf("%q wrote more than %d bytes: %w", q.Argv[0], wire.MaxData, errGuest)
	case ctx.Err() != nil:
		return fmt.Errorf("%q took more than %d ms: %w: %q", q.Argv[0], q.Timeout, ctx.Err(), tail(stderr.kept))
	case err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay):
		return fmt.Errorf("running %q: %w", q.Argv[0], err)
	}
	a.Code, a.Data, a.Stderr = c.ProcessState.ExitCode(), out.kept, stderr.kept
	if s, ok := c.ProcessState.Sys().(syscall.WaitStatus); ok && s.Signaled() {
		a.Code = 128 + int(s.Signal())
	}
	return nil
}

// tail returns the end of a text.
func tail(b []byte) []byte { return b[max(0, len(b)-2000):] }

// reap takes leave of the orphans that have ended: this is their parent. None
// of this program's own children is running now.
func reap() {
	for {
		pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
		if pid <= 0 && !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// source is a file that is being read, piece by piece, in order and from one
// descriptor: the kernel's own files need that. Opened anew, the event log of a
// TPM gives its last event again and again for every offset behind its end.
type source struct {
	name string
	file *os.File
	at   int64
}

// read reads the next piece, up to the limit, from the beginning if offset is 0;
// nothing at the end.
func (s *source) read(name string, offset int64) ([]byte, error) {
	if offset == 0 || s.file == nil {
		if err := s.open(name); err != nil {
			return nil, err
		}
	}
	if s.name != name || s.at != offset {
		return nil, fmt.Errorf("reading %s out of order: %w", name, errGuest)
	}
	b, err := io.ReadAll(io.LimitReader(s.file, wire.MaxData))
	s.at += int64(len(b))
	return b, err
}

// open begins with another file.
func (s *source) open(name string) error {
	if s.file != nil {
		_ = s.file.Close()
	}
	*s = source{name: name}
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return errors.Join(fmt.Errorf("%s is no file: %w", name, errGuest), err, f.Close())
	}
	s.file = f
	return nil
}

// writeAt writes a piece of a file.
func writeAt(q *wire.Request) error {
	flags := os.O_WRONLY
	if q.Offset == 0 {
		flags |= os.O_CREATE | os.O_TRUNC
		if err := os.MkdirAll(filepath.Dir(q.Path), 0o755); err != nil { //nolint:gosec // G301: as above.
			return err
		}
	}
	f, err := os.OpenFile(q.Path, flags, os.FileMode(q.Mode)&os.ModePerm)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(q.Data, q.Offset)
	return errors.Join(err, f.Close())
}
