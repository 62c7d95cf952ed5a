package main

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"
)

// manager is to a software TPM what /dev/tpmrm0 is to a chip: it lets several
// processes use one TPM, a command at a time. Unlike the kernel's, it keeps
// their handles apart only in that it lists nobody's. The test is one of the processes (Send), sworn
// another, which can be stopped before or after a command of its own.
type manager struct {
	mu   sync.Mutex
	tpm  net.Conn
	stop []*stop
	// clients are the connections of sworn, true for those that were cut.
	clients map[net.Conn]bool
}

// stop is where sworn is held up: at its n-th command of a kind, counted from 1.
type stop struct {
	code  tpm2.TPMCC
	n     int
	after bool
	// command is the one that sworn has sent, complete when reached is closed.
	command []byte
	reached chan struct{}
	resume  chan struct{}
}

// manage puts a manager between the machine and its TPM.
func (m *machine) manage(t *testing.T) *manager {
	t.Helper()
	path, _ := strings.CutPrefix(m.tpm.Addr(), "unix:")
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	g := &manager{tpm: c, clients: map[net.Conn]bool{}}
	sock := filepath.Join(m.dir, "rm")
	l, err := net.Listen("unix", sock)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close(); g.cut(); _ = c.Close() })
	m.addr = "unix:" + sock
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			g.mu.Lock()
			g.clients[c] = false
			g.mu.Unlock()
			go g.serve(c)
		}
	}()
	return g
}

// cut ends every connection of sworn.
func (g *manager) cut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for c := range g.clients {
		g.clients[c] = true
		_ = c.Close()
	}
}

// isCut reports whether a connection was cut.
func (g *manager) isCut(c net.Conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.clients[c]
}

// at has sworn held up at its n-th command of a kind from now on.
func (g *manager) at(code tpm2.TPMCC, n int, after bool) *stop {
	s := &stop{code: code, n: n, after: after, reached: make(chan struct{}), resume: make(chan struct{})}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stop = append(g.stop, s)
	return s
}

// wait waits until sworn is held up.
func (s *stop) wait(t *testing.T) {
	t.Helper()
	select {
	case <-s.reached:
	case <-time.After(30 * time.Second):
		t.Fatalf("sworn has not sent command 0x%x", uint32(s.code))
	}
}

// release lets sworn go on.
func (s *stop) release() { close(s.resume) }

// due returns the stop that a command has come to; nil if none.
func (g *manager) due(command []byte) *stop {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, s := range g.stop {
		if tpm2.TPMCC(binary.BigEndian.Uint32(command[6:])) != s.code {
			continue
		}
		if s.n--; s.n == 0 {
			s.command = command
			return s
		}
	}
	return nil
}

// serve passes sworn's commands on.
func (g *manager) serve(c net.Conn) {
	defer c.Close()
	for {
		command, err := frame(c)
		if err != nil {
			return
		}
		s := g.due(command)
		hold := func() {
			close(s.reached)
			<-s.resume
		}
		if s != nil && !s.after {
			hold()
		}
		if g.isCut(c) {
			return
		}
		response := noHandles()
		if !listsHandles(command) {
			if response, err = g.Send(command); err != nil {
				return
			}
		}
		if s != nil && s.after {
			hold()
		}
		if _, err := c.Write(response); err != nil {
			return
		}
	}
}

// listsHandles reports whether a command asks which handles are loaded (Part 3,
// 30.2, TPM_CAP_HANDLES).
func listsHandles(command []byte) bool {
	return len(command) >= 14 && tpm2.TPMCC(binary.BigEndian.Uint32(command[6:])) == tpm2.TPMCCGetCapability &&
		tpm2.TPMCap(binary.BigEndian.Uint32(command[10:])) == tpm2.TPMCapHandles
}

// noHandles is the answer that none is: the handles of others are not shown to a
// client that has just come.
func noHandles() []byte {
	return []byte{
		0x80, 0x01, 0, 0, 0, 19, 0, 0, 0, 0, // TPM_ST_NO_SESSIONS, TPM_RC_SUCCESS
		0, 0, 0, 0, 1, 0, 0, 0, 0, // no more data, TPM_CAP_HANDLES, an empty list
	}
}

// Send implements transport.TPM for the test.
func (g *manager) Send(command []byte) ([]byte, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, err := g.tpm.Write(command); err != nil {
		return nil, err
	}
	return frame(g.tpm)
}

// errFrame is a command or response of no TPM.
var errFrame = errors.New("no frame")

// frame reads one command or response: 10 bytes of header, the size in it.
func frame(r io.Reader) ([]byte, error) {
	b := make([]byte, 10)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(b[2:])
	if n < 10 || n > 4096 {
		return nil, errFrame
	}
	b = append(b, make([]byte, n-10)...)
	_, err := io.ReadFull(r, b[10:])
	return b, err
}
