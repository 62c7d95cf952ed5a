package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// maxSecret is the longest passphrase that is read, in bytes.
const maxSecret = 1024

// askSecret reads a line from the terminal without showing it. The caller clears it.
func askSecret(ctx context.Context, prompt string) ([]byte, error) {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("there is no terminal to ask at: %w", err)
	}
	defer tty.Close()
	raw, err := tty.SyscallConn()
	if err != nil {
		return nil, err
	}
	var before *unix.Termios
	var failed error
	set := func(change func(t *unix.Termios)) error {
		err := raw.Control(func(fd uintptr) {
			if before == nil {
				if before, failed = unix.IoctlGetTermios(int(fd), unix.TCGETS); failed != nil {
					return
				}
			}
			t := *before
			change(&t)
			failed = unix.IoctlSetTermios(int(fd), unix.TCSETSF, &t)
		})
		return errors.Join(err, failed)
	}
	if err := set(func(t *unix.Termios) { t.Lflag = t.Lflag&^unix.ECHO | unix.ICANON | unix.ISIG }); err != nil {
		return nil, fmt.Errorf("the terminal would show it: %w", err)
	}
	restore := sync.OnceFunc(func() { _ = set(func(*unix.Termios) {}) })
	defer restore()
	// Whoever gives up gets a terminal back that shows what they type.
	stop := context.AfterFunc(ctx, func() {
		restore()
		_ = tty.Close()
	})
	defer stop()
	if _, err := io.WriteString(tty, line(prompt)); err != nil {
		return nil, err
	}
	b := make([]byte, 0, maxSecret+1)
	for !bytes.HasSuffix(b, []byte("\n")) {
		n, err := tty.Read(b[len(b):cap(b)])
		if b = b[:len(b)+n]; err != nil || len(b) > maxSecret {
			clear(b)
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return nil, errors.Join(err, fmt.Errorf("no line of at most %d bytes", maxSecret))
		}
	}
	_, _ = io.WriteString(tty, "\n")
	return bytes.TrimRight(b, "\r\n"), nil
}
