package main

import (
	"slices"
	"strings"
	"testing"
)

// A module runs on a simulated SGX platform: its record is trusted by who supplies the
// simulated root, whose name stands in the headline, and by nobody else. A program that is
// started outside of an enclave gets no such record.
func TestSimulatedSGX(t *testing.T) {
	t.Parallel()
	m := bareMachine(t)
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
	do(0, "policy", "from-record", launch("golden"), "--roots", roots, "-o", policy, "--waive", swapWaiver)
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
}
