//go:build vm

package machine_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/sworn-run/sworn/simulator"
	"github.com/sworn-run/sworn/simulator/machine"
)

// enrolledKey is where a machine's launcher looks for the key that it enrolled.
const enrolledKey = "/run/sworn/enrolled-ak.json"

// enrol has the machine's TPM, while the machine is off, enrol an attestation key with
// a CA of the test's own. It returns the key, wrapped by the TPM, and the folder of
// roots by which a relying party verifies what it quotes.
func enrol(t *testing.T, c machine.Config) (key []byte, roots string) {
	t.Helper()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	tpm, err := simulator.StartSWTPM(t.Context(), simulator.Options{Dir: filepath.Join(c.Dir, "tpm")})
	if err != nil {
		t.Fatal(err)
	}
	defer tpm.Close()
	new := []string{"req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"}
	must(t, "openssl", append(new, "-subj", "/CN=tls", "-keyout", at("tls.key"), "-out", at("tls.pem"))...)
	for name, extension := range map[string]string{"server": "subjectAltName=IP:127.0.0.1", "me": "extendedKeyUsage=clientAuth"} {
		must(t, "openssl", append(new, "-CA", at("tls.pem"), "-CAkey", at("tls.key"), "-subj", "/CN="+name, "-addext", extension,
			"-addext", "basicConstraints=critical,CA:FALSE", "-keyout", at(name+".key"), "-out", at(name+".pem"))...)
	}
	must(t, built(t, sworn), "enroll", "init-ca", at("ca"))
	addr := serveEnrolment(t, "--dir", at("ca"), "--roots-only", tpm.RootsDir(), "--clients", at("tls.pem"), "--cert", at("server.pem"), "--key", at("server.key"))
	t.Log(must(t, built(t, sworn), "enroll", "--server", "https://"+addr, "--ca", at("tls.pem"), "--cert", at("me.pem"), "--key", at("me.key"),
		"--tpm", tpm.Addr(), "--state", at("state"), "--issuers", filepath.Join(c.Dir, "tpm", "maker", "ek-ca.pem")))
	if key, err = os.ReadFile(filepath.Join(at("state"), filepath.Base(enrolledKey))); err != nil {
		t.Fatal(err)
	}
	return key, filepath.Join(at("ca"), "roots")
}

// serveEnrolment runs the enrolling party until the test ends, and returns where it
// listens.
func serveEnrolment(t *testing.T, args ...string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	server := exec.CommandContext(t.Context(), built(t, sworn), append([]string{"enroll", "serve", "--listen", addr}, args...)...)
	server.Stderr = os.Stderr
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if c, err := net.Dial("tcp", addr); err == nil {
			_ = c.Close()
			return addr
		}
	}
	t.Fatalf("nobody listens on %s", addr)
	return ""
}
