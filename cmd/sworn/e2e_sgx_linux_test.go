package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/simulator/intel"
)

// A module runs on a simulated SGX platform: its record is trusted by who supplies the
// simulated root, whose name stands in the headline, and by nobody else. A program that is
// started outside of an enclave gets no such record.
func TestSimulatedSGX(t *testing.T) {
	t.Parallel()
	m := unraced(t, bareMachine(t)) // a module is compiled in its process
	vendors, module := m.path("vendors"), wasmModule(t)
	input := m.write(t, "page.txt", "page")
	do := func(code int, args ...string) done {
		t.Helper()
		d := m.do(t, args...)
		if d.code != code {
			t.Fatalf("sworn %s: exit status %d: %s%s", strings.Join(args, " "), d.code, d.out, d.err)
		}
		return d
	}
	sgx := []string{"run", "-q", "--tee", "sgx", "--sgx", "simulator:" + vendors, "--state", m.path("state"), "--input", input}
	launch := func(name string, flags ...string) string {
		do(0, slices.Concat(sgx, flags, []string{"--wasm", module, "--output", m.path("page.out"), "--record", m.path(name), "--", "upper", "{input}"})...)
		return m.path(name)
	}
	if d := do(2, append(slices.Clone(sgx), "--wasm", module, "--record", m.path("none"), "--", "upper", "{input}")...); !strings.Contains(d.err, "sworn simulate vendor") {
		t.Errorf("without a vendor: %s", d.err)
	}
	do(0, "simulate", "vendor", "--dir", vendors, "--intel")
	if d := do(2, append(slices.Clone(sgx), "--record", m.path("none"), "--", job(t), "say", "hello")...); !strings.Contains(d.err, "outside of the enclave") {
		t.Errorf("a program that is started: %s", d.err)
	}
	roots, policy := vendors+"/roots", m.path("policy.json")
	// The processor keeps an enclave's memory, whatever the host does with its own.
	do(0, "policy", "from-record", launch("golden"), "--roots", roots, "-o", policy)
	record := launch("page", "--nonce", testNonce)
	if got := string(m.read(t, "page.out")); got != "PAGE" {
		t.Errorf("output %q", got)
	}
	d := do(0, "verify", "--policy", policy, "--roots", roots, "--nonce", testNonce, record)
	if !strings.HasPrefix(d.out, "trusted") || !strings.Contains(d.out, `user-supplied root "Intel SGX Root CA SIMULATED"`) {
		t.Errorf("with the simulated root: %s", d.out)
	}
	d = do(1, "verify", "--policy", policy, "--nonce", testNonce, record)
	if !strings.HasPrefix(d.out, "not trusted: slot.identity") {
		t.Errorf("without it: %s", d.out)
	}
	m.saysInside(t, record)
	d = do(0, "replay", record, "--wasm", module, "--input", input)
	if !strings.HasPrefix(d.out, "reproduced: output sha256:") || strings.Contains(d.err, "another build") {
		t.Errorf("replay: %s%s", d.out, d.err)
	}
	d = do(1, "replay", record, "--wasm", module, "--input", m.write(t, "other.txt", "pagf"))
	if !strings.HasPrefix(d.out, "differs: input is sha256:") {
		t.Errorf("replay with another input: %s", d.out)
	}
	d = do(2, slices.Concat(sgx, []string{"--isolation", "strict", "--wasm", module, "--record", m.path("none"), "--", "upper"})...)
	if !strings.Contains(d.err, "--isolation strict") {
		t.Errorf("strict isolation: %s", d.err)
	}
}

// saysInside checks what a record says of how its job was kept apart.
func (m *machine) saysInside(t *testing.T, record string) {
	t.Helper()
	rt := runtimeOf(t, m.read(t, filepath.Base(record)))
	iso := &cer.Environment{Facts: rt.Isolation}
	for name, want := range map[string]string{
		"mode": "inside", "closed_root": "yes", "read_only_root": "yes", "network": "none", "devices": "", "devices_by": "none",
		"mount_ns": "no", "pid_ns": "no", "net_ns": "no", "own_uid": "no", "seccomp": "no", "caps_dropped": "no", "no_new_privs": "no",
		"landlock": "no", "init_non_dumpable": "no", "kill_on_end": "no",
	} {
		if got, ok := iso.Get(name); !ok || got != want {
			t.Errorf("isolation %s is %q, want %q", name, got, want)
		}
	}
}

// A policy for an enclave is made of files and of the enclave's unique id, and accepts what
// that launcher runs and nothing that another does, or with other files.
func TestSGXPolicyFromFiles(t *testing.T) {
	t.Parallel()
	m := unraced(t, bareMachine(t)) // a module is compiled in its process
	vendors, module := m.path("vendors"), wasmModule(t)
	if d := m.do(t, "simulate", "vendor", "--dir", vendors, "--intel"); d.code != 0 {
		t.Fatal(d.err)
	}
	dev, err := intel.OpenEnclave(vendors, simulatedLauncher, time.Now, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	id := fmt.Sprintf("%x", dev.UniqueID())
	weights, config := m.write(t, "w.bin", "weights "), m.write(t, "c.txt", "config")
	job := []string{"--wasm", module, "--weights", weights, "--config", config, "--", "upper", "{weights}", "{config}"}
	files := func(name, id string) string {
		d := m.do(t, slices.Concat([]string{"policy", "from-files", "--tee", "sgx", "--unique-id", id, "--roots", vendors + "/roots", "-o", m.path(name)}, job)...)
		if d.code != 0 {
			t.Fatal(d.err)
		}
		return m.path(name)
	}
	policy := files("policy.json", id)
	run := func(name string, job ...string) string {
		d := m.do(t, slices.Concat([]string{"run", "-q", "--tee", "sgx", "--sgx", "simulator:" + vendors, "--state", m.path("state"), "--output", m.path(name + ".out"), "--record", m.path(name)}, job)...)
		if d.code != 0 {
			t.Fatal(d.err)
		}
		return m.path(name)
	}
	verify := func(record, policy, want string) {
		t.Helper()
		if d := m.do(t, "verify", "--policy", policy, "--roots", vendors+"/roots", record); !strings.HasPrefix(d.out, want) {
			t.Errorf("%s%s, want %s", d.out, d.err, want)
		}
	}
	record := run("record", job...)
	verify(record, policy, "trusted")
	verify(record, files("another.json", strings.Repeat("12", 32)), "not trusted: slot.measurement")
	altered := slices.Clone(job)
	altered[3] = m.write(t, "w2.bin", "weightz ")
	verify(run("altered", altered...), policy, "not trusted: components.match")
	replay := []string{"replay", record, "--wasm", module, "--weights", weights, "--config", config}
	if d := m.do(t, replay...); d.code != 0 {
		t.Errorf("replay: %s%s", d.out, d.err)
	}
	for at, what := range map[int]string{5: "weights", 7: "config"} {
		changed := slices.Clone(replay)
		changed[at] = altered[3]
		if d := m.do(t, changed...); d.code != 1 || !strings.Contains(d.out, "differs: "+what+` "default" is `) {
			t.Errorf("replay with other %s: %d %s%s", what, d.code, d.out, d.err)
		}
	}
	for want, args := range map[string][]string{
		"which enclave":           {"--tee", "sgx", "--wasm", module},
		"want 32 bytes":           {"--tee", "sgx", "--unique-id", "00", "--wasm", module},
		"runs no other program":   {"--tee", "sgx", "--unique-id", id},
		"--unique-id is about an": {"--unique-id", id, "--wasm", module},
	} {
		d := m.do(t, slices.Concat([]string{"policy", "from-files", "--roots", vendors + "/roots"}, args, []string{"--", "true"})...)
		if d.code != 2 || !strings.Contains(d.err, want) {
			t.Errorf("%q: %d %s", args, d.code, d.err)
		}
	}
}

// A module that takes the launcher down with it leaves no record.
func TestSGXLauncherDies(t *testing.T) {
	t.Parallel()
	m := unraced(t, bareMachine(t)) // a module is compiled in its process
	vendors := m.path("vendors")
	if d := m.do(t, "simulate", "vendor", "--dir", vendors, "--intel"); d.code != 0 {
		t.Fatal(d.err)
	}
	limit, err := exec.LookPath("prlimit")
	if err != nil {
		t.Skip("prlimit is absent")
	}
	// It may have a gigabyte of memory, and takes it: the launcher has no room for that.
	c := exec.Command(limit, "--as="+strconv.Itoa(1200<<20), m.sworn, "run", "-q", "--tee", "sgx", "--sgx", "simulator:"+vendors, "--state", m.path("state"),
		"--timeout", "2m", "--wasm", wasmModule(t), "--output", m.path("out"), "--record", m.path("record"), "--", "grow")
	out, err := c.CombinedOutput()
	exit, ended := errors.AsType[*exec.ExitError](err)
	if !ended || exit.ExitCode() != exitUsage || !strings.Contains(string(out), "out of memory") && !strings.Contains(string(out), "cannot allocate memory") {
		t.Errorf("%v: %.300s", err, out)
	}
	for _, name := range []string{"record", "out"} {
		if _, err := os.Stat(m.path(name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
