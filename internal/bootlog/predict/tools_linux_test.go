package predict

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sworn-run/sworn/attest"
)

// Programs that say the same, from Debian's systemd, systemd-boot-efi and sbsigntool;
// tools/setup.sh installs them.
const (
	measure = "/lib/systemd/systemd-measure"
	efiStub = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub"
)

// run runs a program that must succeed, and returns what it prints.
func run(t *testing.T, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(name, args...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v: %s", name, err, errs.String())
	}
	return out
}

// write writes a file into a folder of the test's own.
func write(t *testing.T, dir, name string, b []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestSystemdMeasure compares random sections with systemd-measure.
func TestSystemdMeasure(t *testing.T) {
	dir := t.TempDir()
	args := []string{"calculate", "--phase=:", "--bank=sha256", "--bank=sha384"}
	var sections []Section
	for i, name := range Stub252() {
		b := make([]byte, 1000*(i+1))
		if _, err := rand.Read(b); err != nil {
			t.Fatal(err)
		}
		sections = append(sections, Section{name, b})
		args = append(args, "--"+name[1:]+"="+write(t, dir, name, b))
	}
	out := string(run(t, measure, args...))
	for _, bank := range []attest.Alg{attest.SHA256, attest.SHA384} {
		x, err := MeasureSections(sections, bank)
		if err != nil {
			t.Fatal(err)
		}
		value, err := Value(bank, x)
		if want := "11:" + bank.String() + "=" + hex.EncodeToString(value) + "\n"; err != nil || !strings.Contains(out, want) {
			t.Errorf("systemd-measure does not print %s but %s: %v", want, out, err)
		}
	}
}

// TestSign lets sbsign sign images; the digest that it signed must be the one computed
// here, before and after.
func TestSign(t *testing.T) {
	dir := t.TempDir()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyFile := write(t, dir, "key", pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
	certFile := write(t, dir, "cert", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}))
	stub, err := os.ReadFile(efiStub)
	if err != nil {
		t.Fatal(err)
	}
	for name, image := range map[string][]byte{"made here": kernelImage().build(), "systemd-stub": stub} {
		in, out := write(t, dir, "in", image), filepath.Join(dir, "out")
		run(t, "sbsign", "--key", keyFile, "--cert", certFile, "--output", out, in)
		signed, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		// What is signed is a multiple of 8 bytes; sbsign adds zeros.
		before, err := Authenticode(append(bytes.Clone(image), make([]byte, -len(image)&7)...), attest.SHA256)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		after, err := Authenticode(signed, attest.SHA256)
		if err != nil || !bytes.Equal(before, after) {
			t.Errorf("%s: %x unsigned, %x signed: %v", name, before, after, err)
		}
		if m, err := parse(signed); err != nil || m.table == 0 || !bytes.Contains(signed[len(signed)-m.table:], after) {
			t.Errorf("%s: sbsign did not sign %x: %v", name, after, err)
		}
	}
}
