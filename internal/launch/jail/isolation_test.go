//go:build linux

package jail_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sworn-run/sworn/internal/launch/jail"
)

func itoa(n int) string { return strconv.Itoa(n) }

// listeners are what a job of the host could reach.
func listeners(t *testing.T) (path, abstract, port string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "sock")
	abstract = "sworn-jail" + path
	for _, a := range [][2]string{{"unix", path}, {"unix", "@" + abstract}, {"tcp", "127.0.0.1:0"}} {
		l, err := net.Listen(a[0], a[1])
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		if tcp, ok := l.Addr().(*net.TCPAddr); ok {
			port = itoa(tcp.Port)
		}
	}
	return path, abstract, port
}

// probe runs jobProbe and returns what it reports.
func probe(t *testing.T, proc bool) (map[string]string, ran) {
	t.Helper()
	path, abstract, port := listeners(t)
	secret := write(t, "secret", []byte("secret"))
	spec := jobSpec(t, "probe", itoa(os.Getpid()), path, abstract, port, secret)
	spec.InputFile, spec.Proc = secret, proc
	spec.Command.Env = []string{"A=b"}
	got := runJob(t, spec, "")
	facts := make(map[string]string)
	for line := range strings.Lines(got.out) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		facts[name] = value
	}
	if got.exit.Code != 0 {
		t.Fatalf("probe: %+v", got)
	}
	facts["secret"] = facts["open:"+secret]
	facts["socket"] = facts["open:"+path]
	facts["launcher"] = facts["open:/proc/"+itoa(os.Getpid())+"/mem"]
	return facts, got
}

func TestProbe(t *testing.T) {
	for _, proc := range []bool{false, true} {
		facts, got := probe(t, proc)
		for name, want := range map[string][]string{
			"open:/dev/tpmrm0": {"ENOENT"}, "open:/dev/tpm0": {"ENOENT"}, "open:/dev/tdx_guest": {"ENOENT"},
			"open:/dev/sev-guest": {"ENOENT"}, "open:/dev/kmsg": {"ENOENT"}, "open:/dev/mem": {"ENOENT"},
			"open:/sys": {"ENOENT"}, "open:/sys/kernel/config": {"ENOENT"}, "open:/etc/passwd": {"ENOENT"},
			"open:/etc/ld.so.cache": {"ENOENT"}, "secret": {"ENOENT"}, "socket": {"ENOENT"}, "launcher": {"ENOENT"},
			"open:/proc/1/mem": {"ENOENT", "EACCES"}, "open:/proc/1/root": {"ENOENT", "EACCES"},
			"open:/dev/null": {"ok"}, "open:/dev/urandom": {"ok"}, "open:" + jobTarget: {"ok"},
			"connect:path": {"ENOENT"}, "connect:abstract": {"ECONNREFUSED"}, "connect:tcp": {"ENETUNREACH", "EACCES"},
			"connect:vsock": {"EAFNOSUPPORT"},
			// A process without rights over init, and a signal that PID 1 ignores.
			"ptrace:init": {"EPERM"}, "kill:init": {"EPERM", "ok"},
			"write:root": {"EROFS"}, "write:job": {"EROFS"}, "write:input": {"EROFS"},
			"write:scratch": {"ok"}, "write:null": {"ok"},
			"mknod": {"EPERM", "EACCES"}, "mount": {"EPERM"}, "unshare": {"EPERM"}, "keyring": {"EPERM"},
			"setuid": {"EPERM", "EINVAL"}, "setgroups": {"EPERM"},
		} {
			if !slices.Contains(want, facts[name]) {
				t.Errorf("proc %v: %s is %q, want %v", proc, name, facts[name], want)
			}
		}
		self := fmt.Sprintf("uid %d gid %d ", got.iso.UID, got.iso.GID)
		rest := ` host sworn dir /scratch nnp 1 dumpable 1 bound 0 caps [{0 0 0} {0 0 0}] leader true env ["A=b"]`
		if !strings.HasPrefix(facts["self"], self) || !strings.HasSuffix(facts["self"], rest) {
			t.Errorf("self is %q, want %q … %q", facts["self"], self, rest)
		}
		if facts["open"] != "[0 1 2]" {
			t.Errorf("pipes and sockets are %s, want the job's three", facts["open"])
		}
		want := []string{"/bin/job", "/dev/null", "/dev/urandom", jail.InputTarget, "/scratch/x"}
		have := strings.Fields(strings.Trim(facts["files"], "[]"))
		slices.Sort(have)
		if !slices.Equal(have, want) {
			t.Errorf("files are %q, want %q", have, want)
		}
	}
}

// Every fact is stated, and what is stated agrees with who runs the test.
func TestIsolation(t *testing.T) {
	iso := start(t, jobSpec(t, "nothing")).Isolation()
	b, err := json.Marshal(iso)
	if err != nil {
		t.Fatal(err)
	}
	var members map[string]any
	if err := json.Unmarshal(b, &members); err != nil {
		t.Fatal(err)
	}
	for name, v := range members {
		if v == "" || name != strings.ToLower(name) {
			t.Errorf("%s is %q", name, v)
		}
	}
	var missing []string
	for _, f := range iso.Missing() {
		missing = append(missing, f.Name)
		if f.State != jail.No && f.State.Errno() == "" {
			t.Errorf("%s is %q", f.Name, f.State)
		}
	}
	want := []string{"launcher_non_dumpable"}
	if os.Geteuid() == 0 {
		if iso.UID < 61184 || iso.UID > 65519 || iso.GID != iso.UID {
			t.Errorf("uid %d gid %d", iso.UID, iso.GID)
		}
	} else {
		want = []string{"own_uid", "groups_dropped", "launcher_non_dumpable", "noswap"}
		if iso.Locked == jail.Yes {
			want = want[:3]
		}
		if iso.UID != os.Getuid() || iso.UserNS != jail.Yes {
			t.Errorf("uid %d, user namespace %s", iso.UID, iso.UserNS)
		}
	}
	if os.Geteuid() != 0 && iso.Cgroup.Errno() != "" {
		// Where nobody has delegated a control group to this user.
		missing = slices.DeleteFunc(missing, func(name string) bool { return name == "cgroup" })
	}
	if !slices.Equal(missing, want) {
		t.Errorf("missing %v, want %v\n%s", missing, want, b)
	}
}

func TestStrict(t *testing.T) {
	spec := jobSpec(t, "nothing")
	spec.Strict = true
	// This process is dumpable.
	if j, err := jail.Start(context.Background(), spec); !errors.Is(err, jail.ErrIsolation) || j != nil {
		t.Errorf("got %v", err)
	}
	if os.Geteuid() != 0 {
		return // strict isolation needs root, for the job's uid
	}
	if out := launcher(t, "strict", 0); out != "42 []" {
		t.Errorf("hardened launcher: %s", out)
	}
}

// launcherMain is the test binary as a launcher.
func launcherMain(role string) int {
	spec := newSpec("echo")
	switch role {
	case "fuse":
		return status(serveLiar())
	case "caged":
		return status(cage())
	case "refused":
		if j, err := jail.Start(context.Background(), spec); !errors.Is(err, jail.ErrIsolation) || j != nil {
			return status(fmt.Errorf("without an open command: %w", err))
		}
		spec.Open = &jail.Command{Path: spec.Files[0].Source, Argv: spec.Command.Argv}
	case "orphan":
		spec.Command.Argv[0] = "job:hang"
	case "strict":
		jail.Harden()
		spec.Strict = true
	case "hardened":
		for _, f := range jail.Harden() {
			if f.Name != "launcher_locked" && f.State != jail.Yes {
				fmt.Println(f)
			}
		}
	}
	j, err := jail.Start(context.Background(), spec)
	if err != nil {
		return status(err)
	}
	if role == "orphan" {
		fmt.Println(j.Isolation().UID)
	}
	exit, err := j.Run(context.Background(), jail.IO{})
	if err != nil {
		return status(err)
	}
	iso := j.Isolation()
	if role == "refused" || role == "contained" {
		fmt.Print(exit.Code, " ", iso.Mode, " ", iso.OwnUID)
		return status(j.Close())
	}
	fmt.Print(exit.Code, " ", iso.Missing())
	return status(j.Close())
}

// cage gives up, in a user namespace, the right to make any namespace, and
// executes the launcher "refused".
func cage() error {
	runtime.LockOSThread()
	if err := os.WriteFile("/proc/sys/user/max_user_namespaces", []byte("0"), 0); err != nil {
		return err
	}
	const noRoot = 0x01 | 0x02
	if err := unix.Prctl(unix.PR_SET_SECUREBITS, noRoot, 0, 0, 0); err != nil {
		return err
	}
	return syscall.Exec("/proc/self/exe", []string{"launcher:refused"}, os.Environ())
}

// In a user namespace like that of a container there is a closed root without an
// own uid; where no namespaces can be had, a run is open if the Spec says so.
func TestContained(t *testing.T) {
	for role, want := range map[string]string{
		"contained": "42 closed refused:EINVAL",
		"caged":     "42 open no",
	} {
		cmd := launcherCmd(t, "launcher:"+role, 0)
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  unix.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		}
		if out, err := cmd.CombinedOutput(); err != nil || string(out) != want {
			t.Errorf("%s: %v, got %q, want %q", role, err, out, want)
		}
	}
}

// launcherCmd makes a command of the test binary, as another user if uid is
// not 0. Such a user needs a copy of it.
func launcherCmd(t *testing.T, name string, uid uint32) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Args = []string{name}
	if uid == 0 {
		return cmd
	}
	dir, err := os.MkdirTemp("", "jail")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	b, err := os.ReadFile(exe)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Path = filepath.Join(dir, "jail.test")
	if err := errors.Join(os.WriteFile(cmd.Path, b, 0o755), os.Chown(dir, int(uid), int(uid)), os.Chmod(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	cmd.Env, cmd.Dir = append(os.Environ(), "TMPDIR="+dir), dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	return cmd
}

// launcher runs launcherMain and returns what it prints.
func launcher(t *testing.T, role string, uid uint32) string {
	t.Helper()
	out, err := launcherCmd(t, "launcher:"+role, uid).CombinedOutput()
	if err != nil {
		t.Errorf("launcher: %v", err)
	}
	return string(out)
}

// nobody is a user without rights.
const nobody = 65534

// A hardened launcher, which owns nothing below /proc/self any more, starts jobs
// as root and as another.
func TestHardened(t *testing.T) {
	if os.Geteuid() != 0 {
		return // TestRootless runs this test's other half
	}
	if out := launcher(t, "hardened", 0); out != "42 []" {
		t.Errorf("as root: %s", out)
	}
	out := launcher(t, "hardened", nobody)
	if !strings.HasPrefix(out, "42 [{own_uid refused:") || strings.Contains(out, "launcher_non_dumpable") {
		t.Errorf("as nobody: %s", out)
	}
}

// All that needs no root is run again without it.
func TestRootless(t *testing.T) {
	if os.Geteuid() != 0 {
		return // this is it
	}
	cmd := launcherCmd(t, "jail.test", nobody)
	cmd.Args = append(cmd.Args, "-test.v", "-test.skip", "^TestRootless$")
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("--- PASS: TestProbe")) || bytes.Contains(out, []byte("--- SKIP")) {
		t.Errorf("as nobody: %v\n%s", err, out)
	}
}

// processesOf counts the processes of a uid.
func processesOf(t *testing.T, uid int) int {
	t.Helper()
	names, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, name := range names {
		var st unix.Stat_t
		if unix.Stat(name, &st) == nil && int(st.Uid) == uid {
			n++
		}
	}
	return n
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for range 3000 {
		if condition() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%s: not within 30 s", what)
}

// When the launcher is killed, so is the job.
func TestLauncherDies(t *testing.T) {
	if os.Geteuid() != 0 {
		return // the job's processes are told by their uid, which root alone gives
	}
	cmd := launcherCmd(t, "launcher:orphan", 0)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var uid int
	if _, err := fmt.Fscan(out, &uid); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the job runs", func() bool { return processesOf(t, uid) > 0 })
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	eventually(t, "the job is gone", func() bool { return processesOf(t, uid) == 0 })
}

func TestForkBomb(t *testing.T) {
	spec := jobSpec(t, "bomb", jobTarget)
	spec.Timeout, spec.Limits.Processes = time.Second, 100
	got := runJob(t, spec, "")
	if !got.exit.Timeout || !strings.Contains(got.err, "EAGAIN") {
		t.Errorf("got %+v", got)
	}
	if os.Geteuid() == 0 {
		if n := processesOf(t, got.iso.UID); n != 0 {
			t.Errorf("%d processes are left", n)
		}
	}
}

// Children that hold the streams do not hold up Run, and do not outlive it.
func TestBackground(t *testing.T) {
	for mode, spec := range map[string]jail.Spec{
		"closed": jobSpec(t, "background", jobTarget),
		"open":   openSpec(t, "background", os.Getenv(jobVariable)),
	} {
		got := runJob(t, spec, "")
		if got.exit.Code != 0 || got.exit.Stdout != whole("left") || got.exit.Duration > 10*time.Second {
			t.Errorf("%s: got %+v", mode, got)
		}
	}
}

func TestLimits(t *testing.T) {
	spec := jobSpec(t, "limits")
	spec.Limits = jail.Limits{AddressSpace: 4 << 30, OpenFiles: 20, Processes: 30, FileSize: 1 << 20, CPUSeconds: 9}
	got := runJob(t, spec, "")
	if want := "1\n4294967296\n20\n30\n1048576\n9\n"; got.out != want {
		t.Errorf("got %q, want %q; %s", got.out, want, got.err)
	}
}

// A limit on memory that the launcher's own runtime could not live with, and an
// environment of the largest size.
func TestSmallAddressSpace(t *testing.T) {
	spec := shellSpec(t, "sh", "-c", "echo ${#LARGE}")
	spec.Limits.AddressSpace = 16 << 20
	spec.Command.Env = []string{"LARGE=" + strings.Repeat("x", 100_000)}
	for i := range 7 {
		spec.Command.Env = append(spec.Command.Env, "MORE"+itoa(i)+"="+strings.Repeat("y", 120_000))
	}
	if got := runJob(t, spec, ""); got.out != "100000\n" || got.exit.Code != 0 {
		t.Errorf("got %+v", got)
	}
}

// Nothing of a job is left in the launcher.
func TestNoLeaks(t *testing.T) {
	open := func() int {
		names, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(names)
	}
	one := func() {
		j, err := jail.Start(context.Background(), jobSpec(t, "echo"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := j.Run(context.Background(), jail.IO{}); err != nil {
			t.Error(err)
		}
		if err := j.Close(); err != nil {
			t.Error(err)
		}
		bad := jobSpec(t, "echo")
		bad.Files[0].Source = "/none"
		if _, err := jail.Start(context.Background(), bad); !errors.Is(err, jail.ErrSource) {
			t.Error(err)
		}
	}
	one()
	files, routines := open(), runtime.NumGoroutine()
	for range 5 {
		one()
	}
	eventually(t, "descriptors and goroutines are freed", func() bool {
		return open() <= files && runtime.NumGoroutine() <= routines
	})
}
