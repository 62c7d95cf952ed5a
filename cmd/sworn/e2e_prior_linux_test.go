package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/verifier"
)

// waiving returns a policy with one more waiver.
func waiving(p *verifier.Policy, check string) *verifier.Policy {
	c := *p
	c.Waive = append(slices.Clone(p.Waive), verifier.Waiver{Check: check, Reason: "test"})
	return &c
}

// Ten runs in a row are trusted under one policy; one that wants the register
// for itself trusts the first of a register's life only.
func TestTenRuns(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	p := m.files(t, nil, job(t), "copy")
	sole := *p
	sole.PriorLaunches = verifier.PriorNone
	for i := range 10 {
		r := m.run(t, fmt.Sprint("r", i), copyFlags(), job(t), "copy")
		v := m.verify(t, r, p)
		trusted(t, v)
		if v.Summary.EarlierLaunches != i {
			t.Errorf("run %d: %d earlier launches", i, v.Summary.EarlierLaunches)
		}
		if v := m.verify(t, r, &sole); i == 0 {
			trusted(t, v)
		} else {
			refused(t, "wanting none before", v, "log.sole")
		}
	}
	if err := m.tpm.Close(); err != nil {
		t.Fatal(err)
	}
	m.start(t)
	trusted(t, m.verify(t, m.run(t, "again", copyFlags(), job(t), "copy"), &sole))
}

// What a record discloses of earlier launches is no more than check log.sole
// needs: neither their arguments nor their variables nor their nonces.
func TestEarlierLaunchesStayPrivate(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.env = []string{"SECRET=hidden-variable"}
	m.run(t, "first", []string{"--env", "SECRET", "--nonce", goldenNonce, "--param", "p=hidden-parameter"}, job(t), "say", "hidden-argument")
	log := open(t, m.run(t, "second", copyFlags(), job(t), "copy")).Log
	for _, word := range []string{"hidden", goldenNonce} {
		if bytes.Contains(log, []byte(word)) {
			t.Errorf("a later record discloses %q", word)
		}
	}
}

// A launcher that is killed while its job runs leaves its launch open. Later
// records say so, and a policy may waive it; the job does not survive.
func TestKilledLauncher(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	p := m.of(t, job(t), "copy", "mark-of-killed")
	r := m.begin(t, m.runArgs("killed", append(copyFlags(), "--output", m.path("killed.out")), job(t), "copy", "mark-of-killed")...)
	_, _ = r.in.Write([]byte("x"))
	waitUntil(t, func() bool {
		files, _ := filepath.Glob(m.path(".killed.out.tmp-*"))
		if len(files) == 0 {
			return false
		}
		b, err := os.ReadFile(files[0])
		return err == nil && string(b) == "x"
	})
	mark := job(t) + "\x00copy\x00mark-of-killed"
	if len(processes(t, mark)) != 1 {
		t.Fatalf("processes of the job: %v", processes(t, mark))
	}
	if err := r.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = r.cmd.Wait()
	waitUntil(t, func() bool { return len(processes(t, mark)) == 0 })
	for _, name := range []string{"killed.cer.json", "killed.out"} {
		if _, err := os.Stat(m.path(name)); err == nil {
			t.Errorf("%s is there", name)
		}
	}
	for _, name := range []string{"next", "later"} {
		v := m.verify(t, m.run(t, name, copyFlags(), job(t), "copy", "mark-of-killed"), p)
		refused(t, name, v, "log.sole")
		if got := detail(v, "log.sole"); !strings.Contains(got, "cut short") {
			t.Errorf("log.sole: %q", got)
		}
	}
	v := m.verify(t, m.read(t, "later.cer.json"), waiving(p, "log.sole"))
	trusted(t, v)
	if !slices.Contains(v.Assuming, "log.sole") {
		t.Errorf("assuming %v", v.Assuming)
	}
}

// State folders that are not this user's alone.
func TestStateFolder(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.run(t, "first", copyFlags(), job(t), "copy")
	dir := filepath.Dir(m.logFile(t))
	again := func(name string, words ...string) {
		t.Helper()
		d := m.refuse(t, name+".cer.json", m.runArgs(name, copyFlags(), job(t), "copy"), words...)
		if !strings.Contains(d.err, "hint: --state DIR") {
			t.Errorf("%s: no hint: %s", name, d.err)
		}
	}
	for _, mode := range []os.FileMode{0o755, 0o770, 0o701, 0o707} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		again("mode", "0700", dir)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(dir, 1234, 0); err != nil {
			t.Fatal(err)
		}
		again("owner", "0700", dir)
		if err := os.Chown(dir, 0, 0); err != nil {
			t.Fatal(err)
		}
	}
	aside := m.path("aside")
	if err := os.Rename(dir, aside); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(aside, dir); err != nil {
		t.Fatal(err)
	}
	again("link", "0700", dir)
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	again("file", dir)
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(aside, dir); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"lock", "log"} {
		file := filepath.Join(dir, name)
		if err := os.Rename(file, aside); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(m.write(t, "elsewhere", "kept"), file); err != nil {
			t.Fatal(err)
		}
		d := m.do(t, m.runArgs("linked", copyFlags(), job(t), "copy")...)
		if name == "lock" {
			checkRefused(t, d, "lock")
		}
		if got := m.read(t, "elsewhere"); string(got) != "kept" {
			t.Errorf("%s: a link out of the state folder was followed: %q", name, got)
		}
		_ = os.Remove(file)
		if err := os.Rename(aside, file); err != nil {
			t.Fatal(err)
		}
	}
	m.state = m.write(t, "plain", "")
	again("no folder", "plain")
}

// A log that the register does not confirm is set aside, whatever is in it; one
// that only has more than the register is cut back.
func TestDamagedLog(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	p := m.files(t, nil, job(t), "copy")
	m.run(t, "first", copyFlags(), job(t), "copy")
	events := func() []byte { // as if a launcher had died before it could extend them
		l := m.log(t)
		tag := [32]byte{3}
		var b []byte
		for i, typ := range []attest.EventType{attest.EventLaunchBegin, attest.EventKey} {
			e := attest.NewEvent(uint64(len(l.Events)+i), typ, tag, [32]byte{}, []byte("never extended"))
			b = l.AppendRecord(b, &e)
		}
		return b
	}
	for name, tail := range map[string]func() []byte{
		"events that never reached the register": events,
		"half an event":                          func() []byte { return events()[:100] },
		"a byte":                                 func() []byte { return []byte{0} },
		"zeros, as after a power loss":           func() []byte { return make([]byte, 4096) },
	} {
		file := m.logFile(t)
		b, err := os.ReadFile(file)
		if err == nil {
			err = os.WriteFile(file, append(b, tail()...), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		r := m.verify(t, m.run(t, "next", copyFlags(), job(t), "copy"), p)
		if !r.Trusted {
			t.Errorf("%s: %s", name, r.Headline)
		}
	}
	for name, damage := range map[string]func([]byte) []byte{
		"a bit flipped": func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
		"cut in half":   func(b []byte) []byte { return b[:len(b)/2] },
		"emptied":       func([]byte) []byte { return nil },
		"text":          func([]byte) []byte { return []byte("not a log\n") },
		"long lengths":  func([]byte) []byte { return bytes.Repeat([]byte{3, 0xff, 0xff, 0xff, 0xff}, 100) },
	} {
		file := m.logFile(t)
		b, err := os.ReadFile(file)
		if err == nil {
			err = os.WriteFile(file, damage(b), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		r := m.run(t, "next", copyFlags(), job(t), "copy")
		refused(t, name, m.verify(t, r, p), "log.origin")
		trusted(t, m.verify(t, r, waiving(p, "log.origin")))
	}
}

// nobody gives the machine to a user without rights, and starts its TPM as that
// user.
func nobody(t *testing.T) *machine {
	t.Helper()
	needTPM(t)
	if os.Geteuid() != 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("CI runs as root: only root can become another user")
		}
		t.Skip("only root can become another user")
	}
	m := bareMachine(t)
	m.cred = &syscall.Credential{Uid: 65534, Gid: 65534}
	if err := os.Chown(m.dir, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	dir := m.path("tpm")
	if d := m.do(t, "simulate", "tpm", "--dir", dir, "--detach"); d.code != 0 {
		t.Fatalf("starting a software TPM: %s", d.err)
	}
	t.Cleanup(func() { // the test's own context has ended by then
		if out, err := m.command(context.Background(), "simulate", "tpm", "--dir", dir, "--stop").CombinedOutput(); err != nil {
			t.Errorf("stopping the software TPM: %v: %s", err, out)
		}
	})
	m.addr = "unix:" + filepath.Join(dir, "tpm.sock")
	return m
}

// The same run as a user without rights: the record is trusted, or the verdict
// names what was not established.
func TestRootless(t *testing.T) {
	t.Parallel()
	m := nobody(t)
	p := m.files(t, nil, job(t), "copy")
	d := m.do(t, m.runArgs("page", copyFlags(), job(t), "copy")...)
	if d.code != 0 {
		t.Fatalf("exit status %d: %s", d.code, d.err)
	}
	r := m.verify(t, m.read(t, "page.cer.json"), p)
	if !r.Trusted {
		t.Logf("rootless: %s", r.Headline)
		for _, id := range blocking(r) {
			if !slices.Contains([]string{"log.sole", "launcher.exclusive", "components.closed", "protection.storage", "protection.memory", "compute.inside"}, id) {
				t.Errorf("rootless: %s: %s", id, detail(r, id))
			}
		}
	}
	file := m.write(t, "unreadable", "x")
	if err := os.Chmod(file, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, flag := range []string{"--weights", "--config", "--add", "--input"} {
		m.refuse(t, "no.cer.json", m.runArgs("no", []string{flag, file}, job(t), "copy"), "permission denied", file)
	}
	// A folder that cannot be written to, and a program that cannot be executed.
	d = m.do(t, "run", "-q", "--tpm", m.addr, "--state", m.state, "--record", "/root/r.json", "--", job(t), "say")
	checkRefused(t, d, "/root/r.json")
	m.refuse(t, "no.cer.json", m.runArgs("no", nil, file))
	m.state = "/root/state"
	m.refuse(t, "no.cer.json", m.runArgs("no", nil, job(t), "say"), "/root/state")
	m.state = ""
	args := slices.DeleteFunc(m.runArgs("no", nil, job(t), "say"), func(a string) bool { return a == "" || a == "--state" })
	m.refuse(t, "no.cer.json", args, "XDG_RUNTIME_DIR")
	m.env = []string{"XDG_RUNTIME_DIR=" + m.dir}
	d = m.do(t, args...)
	if d.code != 0 {
		t.Errorf("state in XDG_RUNTIME_DIR: %s", d.err)
	}
	if _, err := os.Stat(m.path("sworn")); err != nil {
		t.Error(err)
	}
}

// Strict isolation holds for root, and is refused where a user cannot have it.
func TestStrictIsolation(t *testing.T) {
	t.Parallel()
	if os.Geteuid() == 0 {
		m := newMachine(t)
		p := m.files(t, nil, job(t), "copy")
		trusted(t, m.verify(t, m.run(t, "strict", append(copyFlags(), "--isolation", "strict"), job(t), "copy"), p))
	}
	m := nobody(t)
	d := m.refuse(t, "strict.cer.json", m.runArgs("strict", append(copyFlags(), "--isolation", "strict"), job(t), "copy"), "isolation")
	if !strings.Contains(d.err, "hint: see what the kernel refuses: sworn doctor") {
		t.Errorf("no hint: %s", d.err)
	}
	// Nothing was extended.
	if files, err := filepath.Glob(filepath.Join(m.state, "*", "log")); err == nil && len(files) == 1 {
		if st, err := os.Stat(files[0]); err != nil || st.Size() != 0 {
			t.Errorf("a launch that was refused has written %v, %v", st, err)
		}
	}
}
