package tpmdev

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/tpm"
)

// softTPM is a swtpm of its own, with its state, for one test.
type softTPM struct {
	unix string
	dir  string
	cmd  *exec.Cmd
}

// startTPM makes and starts a software TPM that serves a unix socket.
func startTPM(t *testing.T) *softTPM {
	t.Helper()
	dir := manufacture(t)
	sock := filepath.Join(dir, "s")
	s := &softTPM{unix: "unix:" + sock}
	s.start(t, dir, "type=unixio,path="+sock)
	waitFor(t, "unix", sock)
	return s
}

// manufacture makes the state of a TPM whose SHA-256 and SHA-384 banks are
// active, in a folder with a short path.
func manufacture(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "swtpm")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	out, err := exec.Command("swtpm_setup", "--tpm2", "--tpmstate", dir, "--pcr-banks", "sha256,sha384").CombinedOutput()
	if err != nil {
		t.Fatalf("swtpm_setup (package swtpm-tools): %v\n%s", err, out)
	}
	return dir
}

// start starts swtpm over the state in dir.
func (s *softTPM) start(t *testing.T, dir, server string) {
	t.Helper()
	s.dir = dir
	s.cmd = exec.Command("swtpm", "socket", "--tpm2", "--tpmstate", "dir="+dir, "--server", server,
		"--ctrl", "type=unixio,path="+filepath.Join(dir, "c"), "--flags", "not-need-init,startup-clear")
	if err := s.cmd.Start(); err != nil {
		t.Fatalf("swtpm: %v", err)
	}
	t.Cleanup(func() { s.kill() })
}

// control sends the TPM a message on its control channel, by swtpm_ioctl.
func control(t *testing.T, s *softTPM, args ...string) {
	t.Helper()
	args = append([]string{"--unix", filepath.Join(s.dir, "c")}, args...)
	if out, err := exec.Command("swtpm_ioctl", args...).CombinedOutput(); err != nil {
		t.Fatalf("swtpm_ioctl: %v\n%s", err, out)
	}
}

// kill ends the TPM at once, as a crash would; a second kill does nothing.
func (s *softTPM) kill() {
	if s.cmd.ProcessState == nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
	}
}

// waitFor waits until something listens. It connects, which swtpm takes for a
// client that comes and goes.
func waitFor(t *testing.T, network, address string) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if c, err := net.Dial(network, address); err == nil {
			_ = c.Close()
			return
		}
	}
	t.Fatalf("nothing listens on %s %s", network, address)
}

// open opens the TPM and closes it with the test.
func open(t *testing.T, addr string, opts Options) *TPM {
	t.Helper()
	d, err := Open(t.Context(), addr, opts)
	if err != nil {
		t.Fatalf("Open(%q): %v", strings.SplitN(addr, ":", 2)[0], err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// statement returns a statement whose slot 0 is what d announces.
func statement(t *testing.T, d attest.Attester) *attest.Statement {
	t.Helper()
	slot, err := d.Manifest(t.Context())
	if err != nil {
		t.Fatalf("Manifest: %v", err)
	}
	return &attest.Statement{
		Type: attest.TypeRun, Time: 1700000000000,
		Series: [32]byte{1}, Launch: [32]byte{2}, KeyID: [32]byte{3},
		LogSize: 1, LogRoot: [32]byte{4}, RecordCount: 1, TreeRoot: [32]byte{5},
		Manifest: []attest.Slot{slot},
	}
}

// attestOne quotes a statement and returns the evidence and its claims.
func attestOne(t *testing.T, d *TPM) (*attest.Evidence, *attest.Claims) {
	t.Helper()
	st := statement(t, d)
	ev, err := d.Attest(t.Context(), 0, st)
	if err != nil {
		t.Fatalf("Attest: %v", err)
	}
	claims, err := tpm.Scheme{}.Verify(ev, nil, time.Now())
	if err != nil {
		t.Fatalf("verifying the quote: %v", err)
	}
	return ev, claims
}

// digests returns a digest of text for each of the banks.
func digests(t *testing.T, d *TPM, text string) [][]byte {
	t.Helper()
	banks, err := d.Banks(t.Context())
	if err != nil {
		t.Fatalf("Banks: %v", err)
	}
	var out [][]byte
	for _, b := range banks {
		out = append(out, b.Sum([]byte(text)))
	}
	return out
}
