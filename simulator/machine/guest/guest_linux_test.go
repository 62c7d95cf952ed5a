package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sworn-run/sworn/simulator/machine/internal/wire"
)

// TestMain runs as the program that the tests run, if it is asked to.
func TestMain(m *testing.M) {
	switch os.Getenv("GUEST_TEST") {
	case "":
		os.Exit(m.Run())
	case "cat":
		b, _ := io.ReadAll(os.Stdin)
		_, _ = os.Stdout.Write(b)
		_, _ = os.Stderr.WriteString("done")
		os.Exit(7)
	case "flood":
		for {
			if _, err := os.Stdout.Write(make([]byte, 1<<16)); err != nil {
				os.Exit(1)
			}
		}
	case "wait":
		select {}
	}
}

// host is the other end of the port of a guest that serves.
type host struct {
	t    *testing.T
	conn net.Conn
	r    *wire.Reader
	end  chan error
	last uint64
}

func newHost(t *testing.T) *host {
	t.Helper()
	ours, theirs := net.Pipe()
	h := &host{t: t, conn: ours, r: wire.NewReader(ours), end: make(chan error, 1)}
	go func() { h.end <- serve(theirs); _ = theirs.Close() }()
	t.Cleanup(func() { _ = ours.Close() })
	if err := h.r.Receive(&wire.Response{}); err != nil {
		t.Fatalf("no greeting: %v", err)
	}
	return h
}

// ask sends a request and returns its answer.
func (h *host) ask(q wire.Request) wire.Response {
	h.t.Helper()
	h.last++
	q.ID = h.last
	var a wire.Response
	if err := wire.Send(h.conn, &q); err != nil {
		h.t.Fatal(err)
	}
	if err := h.r.Receive(&a); err != nil {
		h.t.Fatal(err)
	}
	if a.ID != q.ID {
		h.t.Fatalf("answer %d to request %d", a.ID, q.ID)
	}
	return a
}

func TestExec(t *testing.T) {
	h := newHost(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	run := func(mode string, timeout int64) wire.Response {
		return h.ask(wire.Request{Op: wire.OpExec, Argv: []string{self}, Env: []string{"GUEST_TEST=" + mode}, Data: []byte("in"), Timeout: timeout})
	}
	if a := run("cat", 60_000); a.Error != "" || a.Code != 7 || string(a.Data) != "in" || string(a.Stderr) != "done" {
		t.Errorf("%+v", a)
	}
	began := time.Now()
	if a := run("flood", 600_000); a.Error == "" || a.Data != nil || time.Since(began) > 5*time.Minute {
		t.Errorf("a program that writes without end: %d bytes after %v", len(a.Data), time.Since(began))
	}
	if a := run("wait", 100); a.Error == "" {
		t.Errorf("a program without an end: %+v", a)
	}
	for _, q := range []wire.Request{
		{Op: wire.OpExec, Argv: []string{"/no/such/program"}, Timeout: 1000},
		{Op: wire.OpExec, Argv: []string{self}},
		{Op: wire.OpExec, Timeout: 1000},
		{Op: "else"},
		{Op: wire.OpMapVerity},
		{Op: wire.OpMapVerity, Verity: &wire.Verity{Name: "a", Blocks: 1, Root: "00"}},
		{Op: wire.OpRead, Path: t.TempDir()},
	} {
		if a := h.ask(q); a.Error == "" {
			t.Errorf("%+v is not refused", q)
		}
	}
	if a := h.ask(wire.Request{Op: wire.OpPowerOff}); a.Error != "" {
		t.Error(a.Error)
	}
	if err := <-h.end; err != nil {
		t.Errorf("switched off: %v", err)
	}
}

func TestFiles(t *testing.T) {
	h := newHost(t)
	name := filepath.Join(t.TempDir(), "a", "b")
	want := append(bytes.Repeat([]byte{1}, wire.MaxData), 2, 3)
	for _, at := range []int{0, wire.MaxData} {
		piece := want[at:min(at+wire.MaxData, len(want))]
		if a := h.ask(wire.Request{Op: wire.OpWrite, Path: name, Offset: int64(at), Mode: 0o640, Data: piece}); a.Error != "" {
			t.Fatal(a.Error)
		}
	}
	if info, err := os.Stat(name); err != nil || info.Mode() != 0o640 {
		t.Errorf("%v, %v", info, err)
	}
	var got []byte
	for {
		a := h.ask(wire.Request{Op: wire.OpRead, Path: name, Offset: int64(len(got))})
		if a.Error != "" {
			t.Fatal(a.Error)
		}
		if len(a.Data) == 0 {
			break
		}
		got = append(got, a.Data...)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%d bytes of %d", len(got), len(want))
	}
	if a := h.ask(wire.Request{Op: wire.OpRead, Path: name, Offset: 5}); a.Error == "" {
		t.Error("a piece out of order")
	}
	_ = h.conn.Close()
	if err := <-h.end; !errors.Is(err, io.EOF) && !errors.Is(err, wire.ErrStream) {
		t.Errorf("a host that has gone: %v", err)
	}
}

// TestDeviceMapperLayout compares with the sizes of linux/dm-ioctl.h.
func TestDeviceMapperLayout(t *testing.T) {
	if n := binary.Size(&dmHeader{}); n != 312 {
		t.Errorf("struct dm_ioctl has %d bytes", n)
	}
	if n := binary.Size(&dmTarget{}); n != 40 {
		t.Errorf("struct dm_target_spec has %d bytes", n)
	}
	b, err := verityTarget(3, "1 /dev/a")
	if err != nil || len(b)%8 != 0 || b[len(b)-1] != 0 || binary.NativeEndian.Uint64(b[8:]) != 24 {
		t.Errorf("%x, %v", b, err)
	}
}
