package simulator

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/tpm/tpmdev"
)

// start starts a software TPM and stops it at the end of the test.
func start(t *testing.T, o Options) *SWTPM {
	t.Helper()
	s, err := StartSWTPM(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := StopSWTPM(context.Background(), o.Dir); err != nil {
			t.Error(err)
		}
	})
	return s
}

// connect connects to a software TPM for the rest of the test.
func connect(t *testing.T, s *SWTPM) transport.TPM {
	t.Helper()
	dev, err := tpmdev.Dial(t.Context(), s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dev.Close() })
	return dev
}

// counters returns the TPM's counters.
func counters(t *testing.T, s *SWTPM) tpm2.TPMSClockInfo {
	t.Helper()
	dev, err := tpmdev.Dial(t.Context(), s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	rsp, err := tpm2.ReadClock{}.Execute(dev)
	if err != nil {
		t.Fatal(err)
	}
	return rsp.CurrentTime.ClockInfo
}

func TestSWTPM(t *testing.T) {
	s := start(t, Options{Dir: t.TempDir()})
	suite(t, connect(t, s), s.Maker())
}

func TestSWTPMOverTCP(t *testing.T) {
	s := start(t, Options{Dir: t.TempDir(), Addr: "tcp:127.0.0.1:0"})
	if !strings.HasPrefix(s.Addr(), "tcp:127.0.0.1:") {
		t.Errorf("address %q", s.Addr())
	}
	testContents(t, connect(t, s), s.Maker())
}

// TestSWTPMRestart switches the TPM off and on.
func TestSWTPMRestart(t *testing.T) {
	// Characters that mean something to swtpm's options, or to a shell.
	dir := filepath.Join(t.TempDir(), "a, b=c 'd'")
	s := start(t, Options{Dir: dir})
	root, first := s.Maker().Root(), counters(t, s)
	dev, err := tpmdev.Dial(t.Context(), s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	before := snapshot(t, dev)
	if err := dev.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := net.Dial("unix", filepath.Join(dir, socketFile)); err == nil {
		t.Fatal("it still listens")
	}
	s = start(t, Options{Dir: dir})
	if !s.Maker().Root().Equal(root) {
		t.Error("another maker")
	}
	second := counters(t, s)
	if second.ResetCount != first.ResetCount+1 || !second.Safe {
		t.Errorf("counters %+v, before %+v", second, first)
	}
	again := connect(t, s)
	for i, b := range snapshot(t, again) {
		if string(b) != string(before[i]) {
			t.Errorf("NV index 0x%08x changed", uint32(indices()[i]))
		}
	}
	testContents(t, again, s.Maker())
}

func TestSWTPMAlreadyRunning(t *testing.T) {
	dir := t.TempDir()
	s := start(t, Options{Dir: dir})
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{dir, link} {
		if second, err := StartSWTPM(t.Context(), Options{Dir: d}); !errors.Is(err, ErrRunning) || second != nil {
			t.Errorf("a second start: %v, %v", second, err)
		}
	}
	testContents(t, connect(t, s), s.Maker())
}

// TestSWTPMRace has many start the same TPM: one does.
func TestSWTPMRace(t *testing.T) {
	dir := t.TempDir()
	t.Cleanup(func() { _ = StopSWTPM(context.Background(), dir) })
	const n = 4
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { _, errs[i] = StartSWTPM(t.Context(), Options{Dir: dir}) })
	}
	wg.Wait()
	started := 0
	for _, err := range errs {
		if err == nil {
			started++
		} else if !errors.Is(err, ErrRunning) {
			t.Error(err)
		}
	}
	if started != 1 {
		t.Errorf("%d started", started)
	}
}

func TestStopSWTPM(t *testing.T) {
	dir := t.TempDir()
	stop := func() {
		t.Helper()
		if err := StopSWTPM(t.Context(), dir); err != nil {
			t.Error(err)
		}
	}
	stop()
	start(t, Options{Dir: dir, Detach: true})
	stop()
	stop()
	for _, name := range []string{pidFile, socketFile, ctrlFile} {
		if _, err := os.Lstat(filepath.Join(dir, name)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left: %v", name, err)
		}
	}
	if err := StopSWTPM(t.Context(), filepath.Join(dir, "absent")); !errors.Is(err, ErrDir) {
		t.Errorf("no directory: %v", err)
	}
	dir = t.TempDir()
	stop()
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("in a directory of something else: %v, %v", entries, err)
	}
}

// TestDetach closes a TPM that is to be left running.
func TestDetach(t *testing.T) {
	s := start(t, Options{Dir: t.TempDir(), Detach: true})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	testContents(t, connect(t, s), s.Maker())
}

// TestStopBusy stops a TPM that has a client, and one that does not answer.
func TestStopBusy(t *testing.T) {
	dir := t.TempDir()
	s := start(t, Options{Dir: dir})
	connect(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	start(t, Options{Dir: dir})
	if err := os.Remove(filepath.Join(dir, ctrlFile)); err != nil {
		t.Fatal(err)
	}
	if err := StopSWTPM(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	if _, err := net.Dial("unix", filepath.Join(dir, socketFile)); err == nil {
		t.Error("it still listens")
	}
}

// TestStalePID has the pid file and the sockets of a TPM that was killed, and
// the pid of a process that is none.
func TestStalePID(t *testing.T) {
	dir := t.TempDir()
	start(t, Options{Dir: dir})
	h := &home{dir: dir, abs: dir}
	p := h.find()
	if p == nil {
		t.Fatal("the TPM was not found")
	}
	if err := p.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if gone, err := awaitEnd(t.Context(), p.Pid); !gone || err != nil {
		t.Fatalf("gone %v, %v", gone, err)
	}
	if _, err := os.Lstat(filepath.Join(dir, socketFile)); err != nil {
		t.Fatal(err)
	}
	for _, pid := range []string{"", strconv.Itoa(os.Getpid()), "0", "-1", "1", strings.Repeat("9", 30), "x"} {
		if pid != "" {
			if err := os.WriteFile(filepath.Join(dir, pidFile), []byte(pid), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		s := start(t, Options{Dir: dir})
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTwoSWTPMs has one TPM's EK certificate in another of the same maker, and
// then the AK of one activated with the EK of the other.
func TestTwoSWTPMs(t *testing.T) {
	a, b := start(t, Options{Dir: t.TempDir()}), start(t, Options{Dir: t.TempDir()})
	if a.Maker().Root().Equal(b.Maker().Root()) {
		t.Error("two makers have the same root")
	}
	devA, devB := connect(t, a), connect(t, b)
	maker := a.Maker()
	provisionAll(t, devB, maker)
	testContents(t, devB, maker)
	put(t, devB, nvEKCertificate, area(t, devA, nvEKCertificate))
	if err := maker.Provision(t.Context(), devB); !errors.Is(err, ErrActivation) {
		t.Errorf("Provision: %v", err)
	}
	// What A's EK was certified for, B cannot open, nor A for B's AK.
	ek := chain(t, devA, maker, nvEKCertificate, maker.ekCA.certificate)[0]
	template := akTemplate()
	ekA, akA := primary(t, devA, &tpm2.ECCEKTemplate), primary(t, devA, &template)
	ekB, akB := primary(t, devB, &tpm2.ECCEKTemplate), primary(t, devB, &template)
	if err := maker.activate(devA, ek, ekA, akA); err != nil {
		t.Errorf("activation in A: %v", err)
	}
	if err := maker.activate(devB, ek, ekB, akB); !errors.Is(err, ErrActivation) {
		t.Errorf("activation in B with A's certificate: %v", err)
	}
	crossed := *akA
	crossed.public = akB.public
	if err := maker.activate(devA, ek, ekA, &crossed); !errors.Is(err, ErrActivation) {
		t.Errorf("activation in A of B's AK: %v", err)
	}
	if err := b.Maker().activate(devA, ek, ekA, akA); !errors.Is(err, ErrActivation) {
		t.Errorf("activation by another maker: %v", err)
	}
}

// TestActivateKind refuses to certify a key that is not restricted.
func TestActivateKind(t *testing.T) {
	s := start(t, Options{Dir: t.TempDir()})
	dev := connect(t, s)
	ek := primary(t, dev, &tpm2.ECCEKTemplate)
	certificate := chain(t, dev, s.Maker(), nvEKCertificate, s.Maker().ekCA.certificate)[0]
	for name, change := range map[string]func(*tpm2.TPMTPublic){
		"unrestricted": func(p *tpm2.TPMTPublic) { p.ObjectAttributes.Restricted = false },
		"under DA":     func(p *tpm2.TPMTPublic) { p.ObjectAttributes.NoDA = false },
		"with policy":  func(p *tpm2.TPMTPublic) { p.AuthPolicy.Buffer = make([]byte, 32) },
	} {
		template := akTemplate()
		change(&template)
		t.Run(name, func(t *testing.T) {
			ak := primary(t, dev, &template)
			if err := s.Maker().activate(dev, certificate, ek, ak); !errors.Is(err, ErrActivation) {
				t.Errorf("activate: %v", err)
			}
		})
	}
}

func TestStartSWTPMRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	base := t.TempDir()
	long := filepath.Join(base, strings.Repeat("x", maxSocketPath-len(base)-len("/")-len("/"+ctrlFile)+1))
	for name, test := range map[string]struct {
		o    Options
		want error
	}{
		"zero":             {Options{}, ErrDir},
		"file":             {Options{Dir: file}, ErrDir},
		"below a file":     {Options{Dir: filepath.Join(file, "x")}, ErrDir},
		"too long":         {Options{Dir: long}, ErrSocketPath},
		"not loopback":     {Options{Dir: t.TempDir(), Addr: "tcp:0.0.0.0:0"}, attest.ErrArgument},
		"a name":           {Options{Dir: t.TempDir(), Addr: "tcp:localhost:0"}, attest.ErrArgument},
		"no port":          {Options{Dir: t.TempDir(), Addr: "tcp:127.0.0.1"}, attest.ErrArgument},
		"port out of 16":   {Options{Dir: t.TempDir(), Addr: "tcp:127.0.0.1:65536"}, attest.ErrArgument},
		"option smuggling": {Options{Dir: t.TempDir(), Addr: "tcp:127.0.0.1:1,fd=3"}, attest.ErrArgument},
		"another network":  {Options{Dir: t.TempDir(), Addr: "udp:127.0.0.1:1"}, attest.ErrArgument},
	} {
		t.Run(name, func(t *testing.T) {
			if s, err := StartSWTPM(t.Context(), test.o); !errors.Is(err, test.want) || s != nil {
				t.Errorf("StartSWTPM: %v, %v", s, err)
			}
		})
	}
}

// TestSocketPathLimit starts a TPM at the longest path that works.
func TestSocketPathLimit(t *testing.T) {
	base := t.TempDir()
	dir := filepath.Join(base, strings.Repeat("x", maxSocketPath-len(base)-len("/")-len("/"+ctrlFile)))
	s := start(t, Options{Dir: dir})
	testContents(t, connect(t, s), s.Maker())
}

func TestPortInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dir := t.TempDir()
	if s, err := StartSWTPM(t.Context(), Options{Dir: dir, Addr: "tcp:" + l.Addr().String()}); !errors.Is(err, ErrTPM) || s != nil {
		t.Errorf("StartSWTPM: %v, %v", s, err)
	}
	if (&home{dir: dir, abs: dir}).find() != nil {
		t.Error("it is left running")
	}
}

// TestCorruptState has swtpm refuse its state.
func TestCorruptState(t *testing.T) {
	dir := t.TempDir()
	s := start(t, Options{Dir: dir})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, stateDir, "tpm2-00.permall"), []byte("not a TPM"), 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err := StartSWTPM(t.Context(), Options{Dir: dir}); !errors.Is(err, ErrTPM) || s != nil {
		t.Errorf("StartSWTPM: %v, %v", s, err)
	}
	if (&home{dir: dir, abs: dir}).find() != nil {
		t.Error("it is left running")
	}
}

// TestProcessEnd kills the process that started a TPM: the TPM ends with it,
// unless it was to be left running.
func TestProcessEnd(t *testing.T) {
	const variable = "SIMULATOR_TEST_START"
	if dir, ok := os.LookupEnv(variable); ok {
		_, err := StartSWTPM(t.Context(), Options{Dir: dir, Detach: strings.HasSuffix(dir, "detached")})
		if err != nil {
			t.Fatal(err)
		}
		p, err := os.FindProcess(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		t.Fatal(p.Kill())
	}
	for _, name := range []string{"attached", "detached"} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), name)
			t.Cleanup(func() { _ = StopSWTPM(context.Background(), dir) })
			cmd := exec.Command(os.Args[0], "-test.run=^TestProcessEnd$")
			cmd.Env = append(os.Environ(), variable+"="+dir)
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
				t.Fatalf("%v: %s", err, out)
			}
			h := &home{dir: dir, abs: dir}
			patience := 20 * time.Second
			if name == "detached" {
				patience = time.Second // in which it would end
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			for h.find() != nil && pause(ctx) == nil {
			}
			if running := h.find() != nil; running != (name == "detached") {
				t.Errorf("running: %v", running)
			}
		})
	}
}

// TestStartSWTPMInterrupted cancels a start at various moments, and starts
// again.
func TestStartSWTPMInterrupted(t *testing.T) {
	dir := t.TempDir()
	for after := time.Millisecond; after < 50*time.Millisecond; after += 2 * time.Millisecond {
		ctx, cancel := context.WithTimeout(t.Context(), after)
		s, err := StartSWTPM(ctx, Options{Dir: dir})
		cancel()
		if err == nil {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("after %v: %v", after, err)
		}
		if (&home{dir: dir, abs: dir}).find() != nil {
			t.Errorf("after %v it is left running", after)
		}
	}
	testContents(t, connect(t, start(t, Options{Dir: dir})), openMaker(t, dir))
}

func TestNotInstalled(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if s, err := StartSWTPM(t.Context(), Options{Dir: t.TempDir()}); !errors.Is(err, ErrNotInstalled) || s != nil {
		t.Errorf("StartSWTPM: %v, %v", s, err)
	}
}

func TestStartSWTPMCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dir := t.TempDir()
	if s, err := StartSWTPM(ctx, Options{Dir: dir}); !errors.Is(err, context.Canceled) || s != nil {
		t.Errorf("StartSWTPM: %v, %v", s, err)
	}
	if _, err := os.Lstat(filepath.Join(dir, stateDir)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("state was made: %v", err)
	}
	start(t, Options{Dir: dir})
}

func ExampleStartSWTPM() {
	dir, err := os.MkdirTemp("", "tpm")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	s, err := StartSWTPM(context.Background(), Options{Dir: dir})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()
	fmt.Println(strings.HasSuffix(s.Addr(), "/tpm.sock"), s.Maker().Root().Subject)
	// Output: true CN=SIMULATED TPM maker
}
