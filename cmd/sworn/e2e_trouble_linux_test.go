package main

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"
	"golang.org/x/sys/unix"
)

// mkfifo makes a FIFO.
func mkfifo(t *testing.T, name string) {
	t.Helper()
	if err := syscall.Mkfifo(name, 0o644); err != nil {
		t.Fatal(err)
	}
}

// TPMs that are not there.
func TestNoTPM(t *testing.T) {
	t.Parallel()
	m := bareMachine(t)
	refusing := m.path("refusing")
	l, err := net.Listen("unix", refusing)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	port, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := port.Addr().String()
	if err := port.Close(); err != nil {
		t.Fatal(err)
	}
	for addr, words := range map[string][]string{
		"unix:" + m.path("none"):                   {"not there", "none"},
		"unix:" + refusing:                         {"not there", "refused"},
		"unix:" + m.write(t, "file", "no socket"):  {"not there", "refused"},
		"unix:" + m.path(strings.Repeat("a", 108)): {"107"},
		"unix:":               {"no path"},
		"tcp:" + closed:       {"not there", "refused"},
		"tcp:localhost":       {"tcp:HOST:PORT"},
		"/dev/null":           {"/dev/null"},
		"/dev/no-such-tpm":    {"not there"},
		"/etc/passwd":         {"unix:PATH"},
		"gopher:localhost:70": {"unix:PATH"},
	} {
		m.addr = addr
		d := m.refuse(t, "r.cer.json", m.runArgs("r", nil, job(t), "say"), words...)
		if d.took > promptly {
			t.Errorf("%s: took %v", addr, d.took)
		}
		if strings.Contains(d.err, "hint: sworn --help") {
			t.Errorf("%s: %s", addr, d.err)
		}
	}
	if _, err := os.Stat(m.state); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a launch without a TPM has touched the state folder: %v", err)
	}
}

// What answers is no TPM: it hangs up, says nothing sensible, or too much.
func TestNoTPMAnswers(t *testing.T) {
	t.Parallel()
	m := bareMachine(t)
	for name, answer := range map[string]string{
		"hangs-up": "", "text": "HTTP/1.1 400 Bad Request\r\n\r\n", "zeros": strings.Repeat("\x00", 64),
		"long": "\x80\x01\xff\xff\xff\xff\x00\x00\x00\x00", "short": "\x80\x01\x00\x00\x00\x40\x00\x00",
		"surplus": "\x80\x01\x00\x00\x00\x0a\x00\x00\x00\x00surplus",
		"failure": "\x80\x01\x00\x00\x00\x0a\x00\x00\x01\x01", "nothing": "\x80\x01\x00\x00\x00\x0a\x00\x00\x00\x00",
	} {
		l, err := net.Listen("unix", m.path(name))
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
				if _, err = frame(c); err == nil {
					_, _ = c.Write([]byte(answer))
				}
				_ = c.Close()
			}
		}()
		m.addr = "unix:" + l.Addr().String()
		m.refuse(t, "r.cer.json", m.runArgs("r", nil, job(t), "say"), "TPM")
	}
}

// Another client holds a TPM that serves one at a time.
func TestBusyTPM(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	c, err := net.Dial("unix", strings.TrimPrefix(m.addr, "unix:"))
	if err != nil {
		t.Fatal(err)
	}
	d := m.refuse(t, "r.cer.json", m.runArgs("r", nil, job(t), "say"), "busy")
	if d.took > promptly || !strings.Contains(d.err, "hint: another program holds the TPM") {
		t.Errorf("said so after %v: %s", d.took, d.err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	m.run(t, "after", nil, job(t), "say")
}

// Two launches on one TPM behind a resource manager: the second waits for the
// first, or says who holds the register. Both records are good.
func TestConcurrentLaunches(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.manage(t)
	p := m.of(t, job(t), "copy")
	first := m.begin(t, m.runArgs("first", copyFlags(), job(t), "copy")...)
	_, _ = first.in.Write([]byte("x"))
	first.waitFor(t, "x")
	second := m.begin(t, m.runArgs("second", copyFlags(), job(t), "copy")...)
	_ = second.in.Close()
	d := second.wait(t)
	checkRefused(t, d, "holds the register", strconv.Itoa(first.cmd.Process.Pid))
	if d.took > promptly {
		t.Errorf("said so after %v", d.took)
	}
	third := m.begin(t, m.runArgs("third", copyFlags(), job(t), "copy")...)
	_ = third.in.Close()
	time.Sleep(300 * time.Millisecond) // the third is at the lock
	for _, r := range []*running{first, third} {
		if d := r.end(t); d.code != 0 {
			t.Errorf("exit status %d: %s", d.code, d.err)
		}
	}
	trusted(t, m.verify(t, m.read(t, "first.cer.json"), p))
	r := m.verify(t, m.read(t, "third.cer.json"), p)
	trusted(t, r)
	if r.Summary.EarlierLaunches != 2 {
		t.Errorf("%d earlier launches, want 2", r.Summary.EarlierLaunches)
	}
}

// kill ends the machine's TPM at once.
func (m *machine) kill(t *testing.T) {
	t.Helper()
	pid, err := strconv.Atoi(strings.TrimSpace(string(m.read(t, "tpm/swtpm.pid"))))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// The TPM dies while the job runs: there is no record, and the output is kept
// under a name that says so.
func TestTPMDies(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	p := m.of(t, job(t), "copy")
	page := m.path("page.out")
	r := m.begin(t, m.runArgs("page", append(copyFlags(), "--output", page), job(t), "copy")...)
	_, _ = r.in.Write([]byte("text"))
	// The pending output grows beside its name once the job runs.
	waitUntil(t, func() bool {
		files, _ := filepath.Glob(m.path(".page.out.tmp-*"))
		if len(files) != 1 {
			return false
		}
		b, err := os.ReadFile(files[0])
		return err == nil && string(b) == "text"
	})
	m.kill(t)
	checkRefused(t, r.end(t), "TPM")
	for _, name := range []string{"page.cer.json", "page.out"} {
		if _, err := os.Stat(m.path(name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is there: %v", name, err)
		}
	}
	if got := m.read(t, "page.out.unattested"); string(got) != "text" {
		t.Errorf("output kept: %q", got)
	}
	if left, _ := filepath.Glob(m.path(".page*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	// The machine starts again: another life of the register, another log.
	m.start(t)
	trusted(t, m.verify(t, m.run(t, "again", copyFlags(), job(t), "copy"), p))
}

// waitUntil waits until something holds.
func waitUntil(t *testing.T, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it never came")
		}
	}
}

// The connection breaks at every stage of a launch: there is never a record, and
// the next launch is good again, where the log and the register still agree.
func TestConnectionBreaks(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	g := m.manage(t)
	p := m.of(t, job(t), "copy")
	for _, at := range []struct {
		name  string
		code  tpm2.TPMCC
		n     int
		after bool
		// sole is false where the launch was cut short in the log.
		sole bool
	}{
		{"opening", tpm2.TPMCCCreatePrimary, 1, false, true},
		{"reading the clock", tpm2.TPMCCReadClock, 1, false, true},
		{"before the first extend", tpm2.TPMCCPCRExtend, 1, false, true},
		{"after the first extend", tpm2.TPMCCPCRExtend, 1, true, false},
		{"at the quote", tpm2.TPMCCQuote, 1, false, false},
		{"after the quote", tpm2.TPMCCQuote, 1, true, false},
	} {
		stop := g.at(at.code, at.n, at.after)
		r := m.begin(t, m.runArgs("broken", copyFlags(), job(t), "copy")...)
		_ = r.in.Close()
		stop.wait(t)
		g.cut()
		stop.release()
		checkRefused(t, r.wait(t))
		if _, err := os.Stat(m.path("broken.cer.json")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: a record is there: %v", at.name, err)
		}
		g.flushAll(t)
		v := m.verify(t, m.run(t, "next", copyFlags(), job(t), "copy"), p)
		if at.sole {
			trusted(t, v)
		} else {
			refused(t, at.name, v, "log.sole")
		}
	}
}

// flushAll removes the keys that a launch left in the TPM when its connection
// broke, as /dev/tpmrm0 does.
func (g *manager) flushAll(t *testing.T) {
	t.Helper()
	for _, first := range []uint32{0x80000000, 0x03000000, 0x02000000} {
		rsp, err := tpm2.GetCapability{Capability: tpm2.TPMCapHandles, Property: first, PropertyCount: 16}.Execute(g)
		if err != nil {
			t.Fatal(err)
		}
		list, err := rsp.CapabilityData.Data.Handles()
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range list.Handle {
			if _, err := (tpm2.FlushContext{FlushHandle: h}).Execute(g); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// smallDisk mounts a small file system, where this user may, as in CI.
func smallDisk(t *testing.T, m *machine, name, size string) string {
	t.Helper()
	dir := m.path(name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("mounting a small disk: %v", err)
		}
		t.Skipf("mounting a small disk: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

// fill writes until a disk has no more than some pages left.
func fill(t *testing.T, dir string, pages int) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	block := make([]byte, 4096)
	n := int64(0)
	for {
		if _, err := f.Write(block); err != nil {
			break
		}
		n += 4096
	}
	if err := f.Truncate(n - int64(pages)*4096); err != nil {
		t.Fatal(err)
	}
}

// The disk is full where the record, the output or the log has to go.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	p := m.of(t, job(t), "copy")
	disk := smallDisk(t, m, "disk", "256k")
	fill(t, disk, 1)
	empty := func() {
		t.Helper()
		left, err := filepath.Glob(filepath.Join(disk, "*"))
		hidden, _ := filepath.Glob(filepath.Join(disk, ".*"))
		if err != nil || len(left)+len(hidden) != 1 {
			t.Errorf("on the full disk: %v %v", left, hidden)
		}
	}
	args := m.runArgs("page", append(copyFlags(), "--output", m.path("page.out")), job(t), "copy")
	for i, a := range args {
		if a == m.path("page.cer.json") {
			args[i] = filepath.Join(disk, "page.cer.json")
		}
	}
	r := m.begin(t, args...)
	_, _ = r.in.Write([]byte("text"))
	d := r.end(t)
	checkRefused(t, d, "page.cer.json")
	if !strings.Contains(d.err, "hint: is the disk full?") {
		t.Errorf("no hint: %s", d.err)
	}
	empty()
	if got := m.read(t, "page.out.unattested"); string(got) != "text" {
		t.Errorf("output kept: %q", got)
	}
	// The output does not fit.
	r = m.begin(t, m.runArgs("cut", append(copyFlags(), "--output", filepath.Join(disk, "out")), job(t), "copy")...)
	_, _ = r.in.Write([]byte(strings.Repeat("x", 32<<10)))
	d = r.end(t)
	checkRefused(t, d, "out", "no space left")
	if !strings.Contains(d.err, "hint: is the disk full?") {
		t.Errorf("no hint: %s", d.err)
	}
	for _, name := range []string{m.path("cut.cer.json"), filepath.Join(disk, "out")} {
		if _, err := os.Stat(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is there: %v", name, err)
		}
	}
	// Nor does standard output take it.
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	c := m.command(t.Context(), m.runArgs("cut", copyFlags()[:2], job(t), "say", "text")...)
	errs := &buffer{}
	c.Stdout, c.Stderr = full, errs
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	checkRefused(t, (&running{cmd: c, begun: time.Now(), out: &buffer{}, err: errs}).wait(t), "output", "no space left")
	// The log does not fit: nothing is extended that is not written.
	state := smallDisk(t, m, "state-disk", "64k")
	fill(t, state, 1)
	m.state = filepath.Join(state, "s")
	d = m.refuse(t, "log.cer.json", m.runArgs("log", copyFlags(), job(t), "copy"), "writing the log")
	if !strings.Contains(d.err, "hint: --state DIR") {
		t.Errorf("no hint: %s", d.err)
	}
	m.state = m.path("state")
	v := m.verify(t, m.run(t, "after", copyFlags(), job(t), "copy"), p)
	trusted(t, v)
}

// Whoever reads sworn's standard output goes away: the launch is ended in order,
// and costs later ones nothing.
func TestBrokenPipe(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	p := m.of(t, job(t), "copy")
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c := m.command(t.Context(), m.runArgs("page", copyFlags()[:2], job(t), "flood")...)
	errs := &buffer{}
	c.Stdout, c.Stderr = write, errs
	r := &running{cmd: c, begun: time.Now(), out: &buffer{}, err: errs}
	if err := errors.Join(c.Start(), write.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := read.Read(make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	if err := read.Close(); err != nil {
		t.Fatal(err)
	}
	checkRefused(t, r.wait(t), "output", "broken pipe")
	trusted(t, m.verify(t, m.run(t, "after", copyFlags(), job(t), "copy"), p))
}

// Signals that ask sworn to end: the launch is ended in order, and costs later
// ones nothing.
func TestSignalled(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	p := m.of(t, job(t), "copy")
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		if signal.Ignored(s) {
			continue // as under nohup: sworn then ignores it too
		}
		r := m.begin(t, m.runArgs("page", copyFlags(), job(t), "copy")...)
		_, _ = r.in.Write([]byte("x"))
		r.waitFor(t, "x")
		if err := r.cmd.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
		if d := r.wait(t); d.code != 2 || d.took > promptly {
			t.Errorf("%v: exit status %d after %v: %s", s, d.code, d.took, d.err)
		}
		if _, err := os.Stat(m.path("page.cer.json")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%v: a record is there: %v", s, err)
		}
		trusted(t, m.verify(t, m.run(t, "after", copyFlags(), job(t), "copy"), p))
	}
}
