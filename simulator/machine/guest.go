//go:build linux

package machine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/simulator/machine/internal/wire"
)

// slack is how long an answer may take beyond what was asked for: the machine
// is emulated, and may share its processor.
const slack = 60 * time.Second

// maxFile is the largest file that is read or written, in bytes.
const maxFile = 256 << 20

// Command is a program to run in a machine, as root.
type Command struct {
	// Argv is the program's absolute path in there, and its arguments.
	Argv []string
	// Env is the whole environment, as NAME=VALUE.
	Env []string
	// Dir is the working directory; "" is the root.
	Dir string
	// Stdin is the standard input, at most 1 MiB.
	Stdin []byte
	// Timeout ends the program; 0 is 60 s.
	Timeout time.Duration
}

// Result is what came of a program.
type Result struct {
	// Code is its exit status, or 128 and the number of the signal that ended
	// it.
	Code int
	// Stdout and Stderr are at most 1 MiB each: a program that writes more is
	// ended.
	Stdout, Stderr []byte
}

// Exec runs a program to its end, and ends what it has left running. A program
// that fails is no error. The error wraps [ErrGuest] if it could not be started,
// wrote too much or took too long, [ErrGone], or the context's; then, and if the
// machine does not answer, the machine is ended.
func (m *Machine) Exec(ctx context.Context, c Command) (*Result, error) {
	if c.Timeout == 0 {
		c.Timeout = time.Minute
	}
	if len(c.Argv) == 0 || len(c.Stdin) > wire.MaxData || c.Timeout < time.Millisecond {
		return nil, fmt.Errorf("running %q in a machine: %w", c.Argv, attest.ErrArgument)
	}
	r, err := m.call(ctx, c.Timeout, &wire.Request{
		Op: wire.OpExec, Argv: c.Argv, Env: c.Env, Dir: c.Dir, Data: c.Stdin, Timeout: c.Timeout.Milliseconds(),
	})
	if err != nil {
		return nil, fmt.Errorf("running %q in a machine: %w", c.Argv[0], err)
	}
	return &Result{Code: r.Code, Stdout: r.Data, Stderr: r.Stderr}, nil
}

// ReadFile reads a file of the machine, of the kernel's too, of at most 256 MiB.
// The errors are those of [Machine.Exec].
func (m *Machine) ReadFile(ctx context.Context, name string) ([]byte, error) {
	m.reading.Lock() // the guest reads one file at a time
	defer m.reading.Unlock()
	var data []byte
	for {
		r, err := m.call(ctx, 0, &wire.Request{Op: wire.OpRead, Path: name, Offset: int64(len(data))})
		if err != nil {
			return nil, fmt.Errorf("reading %q in a machine: %w", name, err)
		}
		data = append(data, r.Data...)
		switch {
		case len(r.Data) == 0:
			return data, nil
		case len(data) > maxFile:
			return nil, fmt.Errorf("reading %q in a machine: %w: more than %d bytes", name, ErrGuest, maxFile)
		}
	}
}

// WriteFile writes a file of the machine, of at most 256 MiB, and makes the
// folders above it. The errors are those of [Machine.Exec].
func (m *Machine) WriteFile(ctx context.Context, name string, data []byte, mode fs.FileMode) error {
	if len(data) > maxFile || mode&^fs.ModePerm != 0 {
		return fmt.Errorf("writing %q in a machine: %d bytes, mode %v: %w", name, len(data), mode, attest.ErrArgument)
	}
	for at := 0; at == 0 || at < len(data); at += wire.MaxData {
		piece := data[at:min(len(data), at+wire.MaxData)]
		q := &wire.Request{Op: wire.OpWrite, Path: name, Offset: int64(at), Mode: uint32(mode), Data: piece}
		if _, err := m.call(ctx, 0, q); err != nil {
			return fmt.Errorf("writing %q in a machine: %w", name, err)
		}
	}
	return nil
}

// Mount mounts a device of the machine, with a file system of that kind, in a
// folder of it, which is made if need be; flags and options are those of
// mount(2). The errors are those of [Machine.Exec].
func (m *Machine) Mount(ctx context.Context, device, folder, kind string, flags uintptr, options string) error {
	q := &wire.Request{Op: wire.OpMount, Source: device, Path: folder, Type: kind, Flags: uint64(flags), Options: options}
	if _, err := m.call(ctx, 0, q); err != nil {
		return fmt.Errorf("mounting %q in a machine: %w", device, err)
	}
	return nil
}

// EnableVerity puts a file of the machine under fs-verity (SHA-256, blocks of
// 4096 bytes, no salt) and returns the digest that the kernel reports, 32 bytes.
// The errors are those of [Machine.Exec].
func (m *Machine) EnableVerity(ctx context.Context, name string) ([]byte, error) {
	r, err := m.call(ctx, 0, &wire.Request{Op: wire.OpEnableVerity, Path: name})
	if err != nil {
		return nil, fmt.Errorf("enabling verity in a machine: %w", err)
	}
	return r.Data, nil
}

// Verity describes a device under dm-verity as `veritysetup format` makes it:
// version 1, SHA-256, blocks of 4096 bytes, the hashes on a device of their own.
type Verity struct {
	// Name is the name of the device that is made, at most 100 bytes.
	Name string
	// Data and Hash are the paths, in the machine, of the devices of data and
	// of hashes.
	Data, Hash string
	// Blocks counts the blocks of data.
	Blocks uint64
	// Root is the root hash and Salt the salt, both hexadecimal.
	Root, Salt string
}

// MapVerity makes a device of the machine by dm-verity, and returns its path.
// The machine must have loaded the module dm-verity. The errors are those of
// [Machine.Exec].
func (m *Machine) MapVerity(ctx context.Context, v Verity) (string, error) {
	w := wire.Verity(v)
	r, err := m.call(ctx, 0, &wire.Request{Op: wire.OpMapVerity, Verity: &w})
	if err != nil {
		return "", fmt.Errorf("mapping %q in a machine: %w", v.Name, err)
	}
	return r.Path, nil
}

// PowerOff switches the machine off in an orderly way, and waits until it is.
// [Machine.Close] is needed none the less. The errors are those of
// [Machine.Exec].
func (m *Machine) PowerOff(ctx context.Context) error {
	if _, err := m.call(ctx, 0, &wire.Request{Op: wire.OpPowerOff}); err != nil {
		return fmt.Errorf("switching a machine off: %w", err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, slack, ErrGuest)
	defer cancel()
	select {
	case <-m.qemu.ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("switching a machine off: %w", context.Cause(ctx))
	}
}

// call asks for something and waits for the answer. Where none comes, nothing
// can be asked any more, and the machine is ended.
func (m *Machine) call(ctx context.Context, limit time.Duration, q *wire.Request) (*wire.Response, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.requests++
	q.ID = m.requests
	if err := m.conn.SetDeadline(time.Now().Add(limit + slack)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrGone, err)
	}
	defer context.AfterFunc(ctx, func() { _ = m.conn.SetDeadline(time.Unix(1, 0)) })()
	r, err := m.exchange(q)
	if errors.Is(err, attest.ErrArgument) {
		return nil, err // nothing was sent
	}
	if err != nil {
		_ = m.Close()
		if e := ctx.Err(); e != nil {
			return nil, e
		}
		return nil, fmt.Errorf("%w: %w: %s", ErrGone, err, m.consoleEnd())
	}
	if r.Error != "" {
		return nil, fmt.Errorf("%w: %s", ErrGuest, r.Error)
	}
	return r, nil
}

// exchange sends a request and receives its answer.
func (m *Machine) exchange(q *wire.Request) (*wire.Response, error) {
	err := wire.Send(m.conn, q)
	if errors.Is(err, wire.ErrMessage) {
		return nil, fmt.Errorf("%w: %w", attest.ErrArgument, err)
	}
	if err != nil {
		return nil, err
	}
	r := &wire.Response{}
	if err := m.replies.Receive(r); err != nil {
		return nil, err
	}
	if r.ID != q.ID {
		return nil, fmt.Errorf("answer %d to request %d: %w", r.ID, q.ID, wire.ErrMessage)
	}
	return r, nil
}
