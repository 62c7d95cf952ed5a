//go:build vm

package machine_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/bootlog/predict"
	"github.com/sworn-run/sworn/simulator/machine"
)

// locked locks the kernel down, by a command line that is measured, and would keep a
// systemd from mounting what it finds.
const locked = "lockdown=integrity rd.systemd.gpt_auto=0"

// TestRooted writes a policy before a machine boots, from the image's own files and a
// record of the same firmware that booted another image. The machine's attestation key
// is one that it enrolled. What it records is trusted without a waiver; one thing
// changed, each other boot is refused by name.
func TestRooted(t *testing.T) {
	const nonce = "00112233445566778899aabbccddeeff"
	c := describe(t, machine.SecureBoot)
	dir := t.TempDir()
	key, roots := enrol(t, c)
	m := boot(t.Context(), t, c)
	golden := enrolled(t, m, key, dir, "golden", nonce)
	e := evidence(t, m)
	if e.SecureBoot != 1 {
		t.Errorf("SecureBoot is %d", e.SecureBoot)
	}
	// systemd's stub measures the image's sections.
	if bytes.Equal(e.PCRs["sha256"][11], make([]byte, 32)) {
		t.Error("register 11 is zero")
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	base, policy := filepath.Join(dir, "base.json"), filepath.Join(dir, "policy.json")
	must(t, built(t, sworn), "policy", "from-record", golden, "--roots", roots, "-o", base,
		"--waive", "slot.measurement=another image", "--waive", "launcher.rooted=another image")

	c.Cmdline = locked
	media, err := machine.Prepare(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	must(t, built(t, sworn), "policy", "from-boot", "--policy", base, "-o", policy, "--uki", media.UKI, "--name", "appliance",
		"--secure-boot", "--golden", golden, "--roots", roots)
	verify := []string{"verify", "--policy", policy, "--roots", roots, "--nonce", nonce}

	m = boot(t.Context(), t, c)
	record := enrolled(t, m, key, dir, "record", nonce)
	code, out := command(t, built(t, sworn), append(slices.Clone(verify), record)...)
	t.Log(out)
	line, _, _ := strings.Cut(out, "\n")
	if code != 0 || !strings.HasPrefix(line, "trusted, assuming: user-supplied root \"enrolment CA ") || strings.Contains(line, "launcher.rooted") ||
		strings.Contains(line, "slot.measurement") || !strings.Contains(out, "Secure Boot enabled") {
		t.Errorf("exit status %d: %s", code, line)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	// The record of the other image is as good a quote, of a boot that is not the
	// policy's: it had another command line.
	refused(t, append(slices.Clone(verify), golden), "slot.measurement")

	for name, change := range map[string]func(c *machine.Config){
		"one byte of the initrd": func(c *machine.Config) {
			c.Files = append(slices.Clone(c.Files), machine.File{Path: "/etc/x", Mode: 0o600, Data: []byte("x")})
		},
		"Secure Boot off": func(c *machine.Config) { c.Boot = machine.UKI },
	} {
		other := c
		change(&other)
		m := boot(t.Context(), t, other)
		record := enrolled(t, m, key, dir, "other", nonce)
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
		t.Log(name)
		refused(t, append(slices.Clone(verify), record), "slot.measurement")
		if err := os.Remove(record); err != nil {
			t.Fatal(err)
		}
	}
}

// enrolled is attested with the key that the machine enrolled.
func enrolled(t *testing.T, m *machine.Machine, key []byte, dir, name, nonce string) string {
	t.Helper()
	if err := m.WriteFile(t.Context(), enrolledKey, key, 0o600); err != nil {
		t.Fatal(err)
	}
	return attested(t, m, dir, name, nonce)
}

// refused wants a verdict that names the check.
func refused(t *testing.T, verify []string, check string) {
	t.Helper()
	code, out := command(t, built(t, sworn), verify...)
	line, _, _ := strings.Cut(out, "\n")
	t.Log(line)
	if code != 1 || !strings.HasPrefix(line, "not trusted: "+check+": ") {
		t.Errorf("exit status %d, want %s: %s", code, check, out)
	}
}

// TestPrepareTwice: what a machine boots from is the same each time, and so is what
// its registers will hold.
func TestPrepareTwice(t *testing.T) {
	c := describe(t, machine.SecureBoot)
	var images [2][]byte
	for i := range images {
		if i > 0 {
			time.Sleep(1100 * time.Millisecond) // a time stamp counts seconds
		}
		media, err := machine.Prepare(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(media.UKI)
		if err != nil {
			t.Fatal(err)
		}
		if images[i], err = predict.Authenticode(b, attest.SHA256); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(images[0], images[1]) {
		t.Errorf("%x, and then %x", images[0], images[1])
	}
}
