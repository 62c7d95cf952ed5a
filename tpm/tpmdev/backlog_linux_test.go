package tpmdev

import (
	"errors"
	"net"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestFullBacklogIsBusy: a TPM whose queue of waiting clients is full lets a
// connection over TCP time out, as it refuses one to its unix socket for now.
// Which of two errors package net then returns is a race of its own.
func TestFullBacklogIsBusy(t *testing.T) {
	addr := fullListener(t)
	for range 10 {
		d := net.Dialer{Timeout: 50 * time.Millisecond}
		c, err := d.Dial("tcp", addr)
		if err == nil {
			_ = c.Close()
			t.Fatal("the queue is not full")
		}
		if err := classify(err); !errors.Is(err, ErrBusy) || errors.Is(err, ErrAbsent) {
			t.Fatalf("classify = %v, want ErrBusy", err)
		}
	}
}

// fullListener returns the address of a TCP socket that has no room for another
// client.
func fullListener(t *testing.T) string {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(sa.(*unix.SockaddrInet4).Port))
	for range 16 {
		c, err := net.DialTimeout("tcp", addr, 200*time.Millisecond)
		if err != nil {
			return addr
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	t.Fatal("the queue does not fill")
	return ""
}
