package tpmdev

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"
)

func TestAddresses(t *testing.T) {
	dir := shortDir(t)
	gone := filepath.Join(dir, "gone")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: gone, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	_ = l.Close()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = free.Close()
	for name, c := range map[string]struct {
		addr string
		want error
	}{
		"empty":               {"", ErrUsage},
		"no scheme":           {"tpmrm0", ErrUsage},
		"plain path":          {gone, ErrUsage},
		"another scheme":      {"udp:127.0.0.1:1", ErrUsage},
		"no path":             {"unix:", ErrUsage},
		"no port":             {"tcp:127.0.0.1", ErrUsage},
		"empty port":          {"tcp:127.0.0.1:", ErrUsage},
		"path out of /dev":    {"/dev/../etc/passwd", ErrUsage},
		"folder in /dev":      {"/dev/fd", ErrUsage},
		"too long":            {"unix:" + dir + "/" + strings.Repeat("x", 108-len(dir)-1), ErrUsage},
		"longest, absent":     {"unix:" + dir + "/" + strings.Repeat("x", 107-len(dir)-1), ErrAbsent},
		"absent device":       {"/dev/sworn-has-no-such-device", ErrAbsent},
		"absent socket":       {"unix:" + dir + "/none", ErrAbsent},
		"socket left behind":  {"unix:" + gone, ErrAbsent},
		"port nobody serves":  {"tcp:" + free.Addr().String(), ErrAbsent},
		"device that is null": {"/dev/null", ErrDevice},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := Open(t.Context(), c.addr, Options{})
			if !errors.Is(err, c.want) || d != nil {
				t.Errorf("Open(%q) = %v, %v, want %v", c.addr, d, err, c.want)
			}
		})
	}
}

// shortDir returns a folder whose path leaves room for a socket's name.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "tpmdev")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// serve answers each connection to a socket with handle and returns the
// socket's address.
func serve(t *testing.T, handle func(c net.Conn)) string {
	t.Helper()
	path := filepath.Join(shortDir(t), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				handle(c)
			}()
		}
	}()
	return "unix:" + path
}

// answer returns a response without parameters.
func answer(rc tpm2.TPMRC) []byte {
	return binary.BigEndian.AppendUint32([]byte{0x80, 0x01, 0, 0, 0, headerSize}, uint32(rc))
}

// readCommand reads one command off a connection; false at its end.
func readCommand(c net.Conn) bool {
	header := make([]byte, headerSize)
	if _, err := io.ReadFull(c, header); err != nil {
		return false
	}
	_, err := io.CopyN(io.Discard, c, int64(binary.BigEndian.Uint32(header[2:]))-headerSize)
	return err == nil
}

// TestFraming sends one command after the probe to a TPM that answers in its
// own way.
func TestFraming(t *testing.T) {
	long := append([]byte{0x80, 0x01, 0, 0, 0x0F, 0xA0, 0, 0, 0, 0}, make([]byte, 4000-headerSize)...)
	for name, c := range map[string]struct {
		answers [][]byte
		want    error
		size    int
	}{
		"in one piece":      {[][]byte{answer(0)}, nil, headerSize},
		"long":              {[][]byte{long}, nil, 4000},
		"after retry":       {[][]byte{answer(tpm2.TPMRCRetry), answer(0)}, nil, headerSize},
		"after testing":     {[][]byte{answer(tpm2.TPMRCTesting), answer(tpm2.TPMRCTesting), answer(0)}, nil, headerSize},
		"after yielding":    {[][]byte{answer(tpm2.TPMRCYielded), answer(0)}, nil, headerSize},
		"an error":          {[][]byte{answer(tpm2.TPMRCInitialize)}, nil, headerSize},
		"trailing byte":     {[][]byte{append(answer(0), 0)}, ErrDevice, 0},
		"two answers":       {[][]byte{append(answer(0), answer(0)...)}, ErrDevice, 0},
		"too large":         {[][]byte{{0x80, 0x01, 0, 0, 0x10, 0x01, 0, 0, 0, 0}}, ErrDevice, 0},
		"huge":              {[][]byte{{0x80, 0x01, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0}}, ErrDevice, 0},
		"smaller than self": {[][]byte{{0x80, 0x01, 0, 0, 0, 9, 0, 0, 0, 0}}, ErrDevice, 0},
		"cut short":         {[][]byte{answer(0)[:7]}, ErrDevice, 0},
		"nothing":           {nil, ErrDevice, 0},
	} {
		pieces := []int{1 << 16, 1}
		if c.want != nil {
			pieces = pieces[:1] // Byte by byte, what follows comes too late to be seen.
		}
		for _, piece := range pieces {
			t.Run(name, func(t *testing.T) {
				addr := serve(t, func(conn net.Conn) {
					for _, a := range append([][]byte{answer(0)}, c.answers...) {
						if !readCommand(conn) {
							return
						}
						for len(a) > 0 {
							n := min(piece, len(a))
							if _, err := conn.Write(a[:n]); err != nil {
								return
							}
							a = a[n:]
						}
					}
					if n := len(c.answers); n == 0 || len(c.answers[n-1]) < headerSize {
						return
					}
					// It works again, and must not be believed.
					for readCommand(conn) {
						_, _ = conn.Write(answer(0))
					}
				})
				d, err := Dial(t.Context(), addr)
				if err != nil {
					t.Fatal(err)
				}
				defer d.Close()
				got, err := d.Send(answer(0))
				if !errors.Is(err, c.want) || len(got) != c.size {
					t.Fatalf("Send = %d bytes, %v, want %d, %v", len(got), err, c.size, c.want)
				}
				if err == nil {
					return
				}
				if _, again := d.Send(answer(0)); !errors.Is(again, ErrDevice) {
					t.Errorf("Send after a failure = %v, want ErrDevice", again)
				}
			})
		}
	}
}

func TestCommandSize(t *testing.T) {
	addr := serve(t, func(c net.Conn) {
		for readCommand(c) {
			_, _ = c.Write(answer(0))
		}
	})
	d, err := Dial(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for _, n := range []int{0, headerSize - 1, maxFrame + 1} {
		if got, err := d.Send(make([]byte, n)); !errors.Is(err, ErrUsage) || got != nil {
			t.Errorf("Send of %d bytes = %x, %v, want ErrUsage", n, got, err)
		}
	}
	if _, err := d.Send(answer(0)); err != nil {
		t.Errorf("Send after refusals: %v", err)
	}
}

// late is by how much a busy machine may be behind: what is too late hangs for longer.
const late = 20 * time.Second

func TestSilentFromTheStart(t *testing.T) {
	t.Parallel()
	addr := serve(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	start := time.Now()
	d, err := Dial(t.Context(), addr)
	if !errors.Is(err, ErrBusy) || d != nil {
		t.Fatalf("Dial = %v, %v, want ErrBusy", d, err)
	}
	if took := time.Since(start); took < busyTimeout || took > busyTimeout+late {
		t.Errorf("it took %v, want about %v", took, busyTimeout)
	}
}

func TestPatienceWithoutEnd(t *testing.T) {
	t.Parallel()
	addr := serve(t, func(c net.Conn) {
		for readCommand(c) {
			_, _ = c.Write(answer(tpm2.TPMRCTesting))
		}
	})
	if _, err := Dial(t.Context(), addr); !errors.Is(err, ErrBusy) {
		t.Errorf("Dial = %v, want ErrBusy", err)
	}
}

func TestDialGivesUpWithItsContext(t *testing.T) {
	addr := serve(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) })
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := Dial(ctx, addr)
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > late {
		t.Errorf("Dial = %v after %v, want the context's error at once", err, time.Since(start))
	}
	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	if _, err := Dial(ctx, addr); !errors.Is(err, context.Canceled) {
		t.Errorf("Dial with a context at its end = %v", err)
	}
}

// TestSilentLater: a TPM that stops answering ends the call within the timeout,
// and every later one at once.
func TestSilentLater(t *testing.T) {
	for name, deadline := range map[string]bool{"with deadlines": true, "blocking": false} {
		t.Run(name, func(t *testing.T) {
			ours, theirs := net.Pipe()
			defer theirs.Close()
			go func() { _, _ = io.Copy(io.Discard, theirs) }()
			set := ours.SetDeadline
			if !deadline {
				set = func(time.Time) error { return os.ErrNoDeadline }
			}
			c := newConn(ours, set)
			start := time.Now()
			_, err := c.exchange(answer(0), 50*time.Millisecond)
			if !errors.Is(err, ErrDevice) || !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("exchange = %v, want ErrDevice for a deadline", err)
			}
			if _, err := c.exchange(answer(0), time.Hour); !errors.Is(err, ErrDevice) {
				t.Errorf("second exchange = %v, want ErrDevice", err)
			}
			if took := time.Since(start); took > late {
				t.Errorf("it took %v", took)
			}
		})
	}
}
