package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sworn-run/sworn/internal/launch/jail"
	"github.com/sworn-run/sworn/tpm/tpmdev"
	"github.com/sworn-run/sworn/verifier"
)

// doctor returns doctor's findings about checks on a machine, by check.
func (m *machine) doctor(t *testing.T) map[string]finding {
	t.Helper()
	return found(t, m.do(t, "doctor", "--json", "--tpm", m.addr, "--state", m.state))
}

// found reads doctor's findings about checks.
func found(t *testing.T, d done) map[string]finding {
	t.Helper()
	if d.code != 0 || d.err != "" {
		t.Fatalf("sworn doctor: exit status %d: %s", d.code, d.err)
	}
	out := map[string]finding{}
	for l := range strings.Lines(d.out) {
		var f finding
		if err := json.Unmarshal([]byte(l), &f); err != nil {
			t.Fatalf("%q: %v", l, err)
		}
		if id, ok := strings.CutPrefix(f.Name, "check "); ok {
			out[id] = f
		}
		if !f.OK && !f.Unused && f.Change == "" {
			t.Errorf("%s is missing, and nothing is said that changes it", f.Name)
		}
	}
	return out
}

// What doctor says of a check is what the verdict about a record says that is
// made then and there, for root and for a user without rights.
func TestDoctorAgreesWithVerdict(t *testing.T) {
	for name, machineOf := range map[string]func(*testing.T) *machine{"as it runs": newMachine, "nobody": nobody} {
		t.Run(name, func(t *testing.T) {
			m := machineOf(t)
			for _, launch := range []string{"first", "second"} {
				found := m.doctor(t)
				golden := m.run(t, launch, nil, "cat", "-")
				r, err := verifier.Verify(golden, verifier.Input{Policy: m.policy(t, golden), Roots: m.trust(t), Now: time.Now()})
				if err != nil {
					t.Fatal(err)
				}
				if len(found) < 10 {
					t.Fatalf("only %d checks", len(found))
				}
				for i := range r.Checks {
					c := &r.Checks[i]
					if f, ok := found[c.ID]; ok && f.OK != (c.Status == "passed") {
						t.Errorf("%s launch: doctor says of %s %v (%s), the verdict %s (%s)", launch, c.ID, f.OK, f.Found, c.Status, c.Detail)
					}
				}
			}
			// A lost log is found out before it costs a launch.
			if err := os.RemoveAll(m.state); err != nil {
				t.Fatal(err)
			}
			if f := m.doctor(t)["log.origin"]; f.OK || !strings.Contains(f.Found, "PCR 13 is not zero") {
				t.Errorf("without its log: %+v", f)
			}
		})
	}
}

// Other hardware is named, present or not, and never as something that counts.
func TestDoctorHardware(t *testing.T) {
	d := &diagnosis{root: t.TempDir()}
	all := d.findHardware()
	if len(all) != 1 || !all[0].Unused || all[0].OK || !strings.HasPrefix(all[0].Found, "not found: Intel SGX, AWS Nitro; ") {
		t.Errorf("nothing there: %+v", all)
	}
	for _, p := range []string{"dev/sgx/enclave", "dev/nsm"} {
		if err := os.MkdirAll(filepath.Join(d.root, p), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	all = d.findHardware()
	if len(all) != 2 {
		t.Fatalf("%d findings, want 2: %+v", len(all), all)
	}
	for _, f := range all {
		if !f.Unused || f.OK || !strings.HasSuffix(f.Found, " is there; not used by this version") {
			t.Errorf("%+v", f)
		}
	}
}

// Every fact that a check wants, taken away, is named with what changes it.
func TestDoctorNamesFacts(t *testing.T) {
	whole := func() *diagnosis {
		d := &diagnosis{
			root: t.TempDir(), facts: map[string]string{"network": "none", "devices": "null urandom", "own_uid": factHolds},
			memory: map[string]string{"swap": "none", "hibernation": "none", "kexec_loaded": "no", "core_pattern": "core"},
		}
		for _, n := range needs() {
			for name, want := range n.facts {
				if slices.Equal(want, []string{factHolds}) {
					d.facts[name] = factHolds
				}
			}
		}
		return d
	}
	for _, n := range needs() {
		if _, known := verifier.CheckClass(n.check); !known {
			t.Errorf("there is no check %s", n.check)
		}
		if f := whole().checkNeed(&n); !f.OK || f.Change != "" {
			t.Errorf("%s with all facts: %+v", n.check, f)
		}
		for name := range n.facts {
			d := whole()
			if d.memory[name] != "" {
				d.memory[name] = "other"
			} else {
				d.facts[name] = "refused:EPERM"
			}
			if f := d.checkNeed(&n); f.OK || !strings.Contains(f.Found, name) || f.Change == "" {
				t.Errorf("%s without %s: %+v", n.check, name, f)
			}
		}
		d := whole()
		d.jobError = jail.ErrIsolation
		if f := d.checkNeed(&n); f.OK || f.Change == "" {
			t.Errorf("%s without any job: %+v", n.check, f)
		}
	}
	d := whole()
	d.facts["own_uid"], d.facts["user_ns"] = "no", "no"
	if f := d.checkNeed(&needs()[1]); f.OK {
		t.Errorf("neither uid nor user namespace: %+v", f)
	}
	d.facts["user_ns"] = factHolds
	if f := d.checkNeed(&needs()[1]); !f.OK {
		t.Errorf("a user namespace: %+v", f)
	}
}

// What changes something is one command, and fits what is wrong.
func TestDoctorChanges(t *testing.T) {
	for _, test := range []struct {
		addr string
		err  error
		want string
	}{
		{"/dev/no-such-tpm", fmt.Errorf("%w: %w", tpmdev.ErrDevice, fs.ErrPermission), "sudo usermod -aG tss $USER"},
		{"unix:x", fmt.Errorf("%w: %w", tpmdev.ErrDevice, fs.ErrPermission), "as the user that started it"},
		{"/dev/tpm0", tpmdev.ErrBusy, "/dev/tpmrm0"},
		{"x", tpmdev.ErrUsage, "--tpm /dev/tpmrm0, unix:PATH"},
		{"/dev/tpmrm0", tpmdev.ErrAbsent, "sworn simulate tpm "},
		{"/dev/tpmrm0", errors.New("broken"), "sworn simulate tpm "},
	} {
		if got := tpmChange(test.addr, test.err); !strings.Contains(got, test.want) {
			t.Errorf("%s, %v: %q, want %q", test.addr, test.err, got, test.want)
		}
	}
	d := &diagnosis{root: t.TempDir()}
	if got := d.isolationChange("closed_root"); !strings.Contains(got, "--cap-add SYS_ADMIN") {
		t.Errorf("root without namespaces: %q", got)
	}
	d.uid = 1000
	if got := d.isolationChange("closed_root"); got != "sudo sworn run …" {
		t.Errorf("a user, with nothing that refuses: %q", got)
	}
	if err := os.MkdirAll(filepath.Join(d.root, "proc/sys/kernel"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(d.root, "proc/sys/kernel/unprivileged_userns_clone"), []byte("0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := d.isolationChange("closed_root"); got != "sudo sysctl kernel.unprivileged_userns_clone=1" {
		t.Errorf("user namespaces refused: %q", got)
	}
}

// What a machine has for large weights is found where it is, and never missing.
func TestDoctorWeights(t *testing.T) {
	root := t.TempDir()
	d := &diagnosis{root: root, uid: 0}
	all := func(want bool) {
		t.Helper()
		for _, f := range d.findWeights() {
			if f.OK != want || f.Unused == want || f.Found == "" {
				t.Errorf("%+v, want OK %v", f, want)
			}
		}
	}
	all(false)
	for name, text := range map[string]string{
		"sys/fs/ext4/features/verity": "supported\n", "dev/mapper/control": "", "dev/loop-control": "",
		"sys/fs/cgroup/cgroup.controllers": "cpu memory pids\n",
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	all(true)
	if err := os.WriteFile(filepath.Join(root, "sys/fs/cgroup/cgroup.controllers"), []byte("cpu memoryless\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	d.uid = 1000
	if f := d.findWeights(); !f[0].OK || f[1].OK || f[2].OK {
		t.Errorf("%+v", f)
	}
}
