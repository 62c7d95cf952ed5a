package tpmdev

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/google/go-tpm/tpm2/transport"
)

// busyTimeout is how long a TPM may take to answer its first command, which
// needs no computation, before it counts as busy with somebody else.
const busyTimeout = 5 * time.Second

// busyPause lies between two attempts to connect to a unix socket whose queue is
// full.
const busyPause = 50 * time.Millisecond

// maxSocketPath is the longest path of a unix socket in bytes: sun_path of
// struct sockaddr_un holds 108 with the final NUL (unix(7)).
const maxSocketPath = 107

// Dial connects to the TPM at addr and waits for its first sign of life:
//
//	/dev/PATH      a character device of the kernel's TPM driver
//	unix:PATH      a unix socket that speaks raw TPM commands, such as swtpm's
//	tcp:HOST:PORT  the same over TCP
//
// The connection serves one command at a time, takes exactly one response for
// each, repeats a command that the TPM asks for again, and is of no further
// use after the first failure. Whoever holds it can do anything with the TPM;
// what Sworn quotes goes through [Open].
//
// The error wraps [ErrAbsent] if nothing is there, [ErrBusy] if the TPM is in
// use by somebody else (no answer within 5 s), [ErrDevice] if it fails
// otherwise, [ErrUsage] for an address of another form, or the context's.
func Dial(ctx context.Context, addr string) (transport.TPMCloser, error) {
	c, err := dial(ctx, addr, defaultTimeout)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// dial is Dial with a limit for each later command.
func dial(ctx context.Context, addr string, timeout time.Duration) (*conn, error) {
	c, err := connect(ctx, addr)
	if err != nil {
		return nil, fmt.Errorf("connecting to TPM %q: %w", addr, err)
	}
	c.timeout = timeout
	if err := c.probe(ctx); err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("waiting for TPM %q: %w", addr, err)
	}
	return c, nil
}

// connect reads the address.
func connect(ctx context.Context, addr string) (*conn, error) {
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		if path == "" {
			return nil, fmt.Errorf("no path: %w", ErrUsage)
		}
		if len(path) > maxSocketPath {
			return nil, fmt.Errorf("path of %d bytes, a unix socket's has %d at most (make it shorter, or relative to the working directory): %w",
				len(path), maxSocketPath, ErrUsage)
		}
		return connectSocket(ctx, "unix", path)
	}
	if hostPort, ok := strings.CutPrefix(addr, "tcp:"); ok {
		if _, port, err := net.SplitHostPort(hostPort); err != nil || port == "" {
			return nil, fmt.Errorf("want tcp:HOST:PORT: %w", ErrUsage)
		}
		return connectSocket(ctx, "tcp", hostPort)
	}
	if strings.HasPrefix(addr, "/dev/") && filepath.Clean(addr) == addr {
		f, err := openDevice(addr)
		if err != nil {
			return nil, classify(err)
		}
		c := newConn(f, f.SetDeadline)
		c.chip = kernelTPM(f)
		return c, nil
	}
	return nil, fmt.Errorf("want /dev/NAME, unix:PATH or tcp:HOST:PORT: %w", ErrUsage)
}

// connectSocket connects to a software TPM.
func connectSocket(ctx context.Context, network, address string) (*conn, error) {
	d := net.Dialer{Deadline: time.Now().Add(busyTimeout)}
	s, err := d.DialContext(ctx, network, address)
	// A unix socket whose queue is full says so at once; others are served in
	// turn, and so may we be.
	for errors.Is(err, syscall.EAGAIN) && time.Now().Before(d.Deadline) && ctx.Err() == nil {
		time.Sleep(busyPause)
		s, err = d.DialContext(ctx, network, address)
	}
	if err != nil {
		if e := ctx.Err(); e != nil {
			return nil, fmt.Errorf("%w: %w", ErrAbsent, e)
		}
		return nil, classify(err)
	}
	c := newConn(s, s.SetDeadline)
	c.alone = true
	return c, nil
}

// classify gives an error of connecting its sentinel.
func classify(err error) error {
	var dns *net.DNSError
	var timeout net.Error
	switch {
	case errors.Is(err, ErrUsage):
		return err
	case errors.Is(err, syscall.EISDIR):
		return fmt.Errorf("%w: %w", ErrUsage, err)
	case errors.Is(err, syscall.EBUSY), errors.Is(err, syscall.EAGAIN),
		errors.As(err, &timeout) && timeout.Timeout() && !errors.As(err, &dns):
		// A bare TPM device has one opener; a full listen queue has others
		// waiting before us: a unix socket says so at once, TCP is silent.
		return fmt.Errorf("%w: %w", ErrBusy, err)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENXIO),
		errors.Is(err, syscall.ENODEV), errors.Is(err, syscall.ENOTSOCK),
		errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH), errors.As(err, &dns):
		return fmt.Errorf("%w: %w", ErrAbsent, err)
	default:
		return fmt.Errorf("%w: %w", ErrDevice, err)
	}
}

// conn is a framed connection to a TPM.
type conn struct {
	rw          io.ReadWriteCloser
	setDeadline func(time.Time) error
	timeout     time.Duration
	// alone is set if the TPM serves one client at a time, on a socket.
	alone bool
	// chip is the kernel's name of the TPM; "" for one on a socket.
	chip string

	// mu serialises commands and guards broken.
	mu     sync.Mutex
	broken error
}

// newConn frames a stream. setDeadline may return [os.ErrNoDeadline], as
// blocking files do.
func newConn(rw io.ReadWriteCloser, setDeadline func(time.Time) error) *conn {
	return &conn{rw: rw, setDeadline: setDeadline, timeout: defaultTimeout}
}

// Send implements transport.TPM: it sends one command and returns the response,
// repeating the command if the TPM asks for it.
func (c *conn) Send(command []byte) ([]byte, error) {
	l := &link{ctx: context.Background(), send: c.exchange, limit: c.timeout}
	return l.Send(command)
}

// Close ends the connection, also under a command.
func (c *conn) Close() error { return c.rw.Close() }

// probe asks for the manufacturer (Part 3, 30.2), which every TPM answers at
// once, if only that it has not been started.
func (c *conn) probe(ctx context.Context) error {
	command := []byte{
		0x80, 0x01, 0, 0, 0, 22, 0, 0, 0x01, 0x7A, // TPM_ST_NO_SESSIONS, TPM_CC_GetCapability
		0, 0, 0, 6, 0, 0, 0x01, 0x05, 0, 0, 0, 1, // TPM_CAP_TPM_PROPERTIES, TPM_PT_MANUFACTURER
	}
	stop := context.AfterFunc(ctx, func() { _ = c.rw.Close() })
	defer stop()
	l := &link{ctx: ctx, send: c.exchange, limit: busyTimeout}
	response, err := l.Send(command)
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("%w: %w", ErrBusy, ctx.Err())
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("no answer in %v, it may be serving somebody else: %w: %w", busyTimeout, ErrBusy, err)
	case err != nil:
		return err
	case isPatience(response):
		return fmt.Errorf("it has asked for patience for %v: %w", busyTimeout, ErrBusy)
	default:
		return nil
	}
}

// exchange sends one command and reads its one response, both within limit.
// After a failure the connection is closed: an answer that comes late must not
// be taken for another command's. The error wraps ErrDevice.
func (c *conn) exchange(command []byte, limit time.Duration) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken != nil {
		return nil, c.broken
	}
	if len(command) < headerSize || len(command) > maxFrame {
		return nil, fmt.Errorf("command of %d bytes, want %d to %d: %w", len(command), headerSize, maxFrame, ErrUsage)
	}
	response, err := c.within(command, limit)
	if err != nil {
		c.broken = fmt.Errorf("talking to the TPM: %w: %w", ErrDevice, err)
		_ = c.rw.Close()
		return nil, c.broken
	}
	return response, nil
}

// within bounds a round trip: by the stream's deadline, or, where it has none,
// by leaving a stuck system call behind.
func (c *conn) within(command []byte, limit time.Duration) ([]byte, error) {
	if err := c.setDeadline(time.Now().Add(limit)); err == nil {
		return c.roundTrip(command)
	} else if !errors.Is(err, os.ErrNoDeadline) {
		return nil, err
	}
	type result struct {
		response []byte
		err      error
	}
	done := make(chan result, 1)
	go func() {
		response, err := c.roundTrip(command)
		done <- result{response, err}
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case r := <-done:
		return r.response, r.err
	case <-timer.C:
		return nil, os.ErrDeadlineExceeded
	}
}

// roundTrip writes the command in one piece and reads exactly the bytes that
// the response's header announces. It reads as much as there is each time: some
// drivers drop what a short read leaves.
func (c *conn) roundTrip(command []byte) ([]byte, error) {
	if _, err := c.rw.Write(command); err != nil {
		return nil, err
	}
	buf := make([]byte, maxFrame)
	n, want := 0, headerSize
	for n < want {
		m, err := c.rw.Read(buf[n:])
		n += m
		if n >= headerSize && want == headerSize {
			size := binary.BigEndian.Uint32(buf[2:])
			if size < headerSize || size > maxFrame {
				return nil, fmt.Errorf("response announces %d bytes, want %d to %d", size, headerSize, maxFrame)
			}
			want = int(size)
		}
		if n < want && err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
	if n > want {
		return nil, fmt.Errorf("%d bytes follow the response", n-want)
	}
	return buf[:n], nil
}
