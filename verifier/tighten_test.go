package verifier_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/verifier"
)

// TestTightened: each member of the policy, made to want something else, refuses
// the record that was trusted, by the check that is about it.
func TestTightened(t *testing.T) {
	other := "sha256:" + strings.Repeat("5", 64)
	components := func(edit func(list []any) []any) func(p map[string]any) {
		return func(p map[string]any) { p["components"] = edit(list(p, "components")) }
	}
	tpmRules := func(name string, v any) func(p map[string]any) {
		return func(p map[string]any) { object(p, "formats", "tpm")[name] = v }
	}
	for _, x := range []struct {
		name, check string
		change      func(p map[string]any)
	}{
		{"another root", "slot.identity", func(p map[string]any) { object(p, "formats", "tpm", "identity")["spki"] = []any{other} }},
		{"bank sha384 is quoted too, and wanted", "", tpmRules("bank", "sha384")},
		{"bank sha512 is not there", "log.replay", tpmRules("bank", "sha512")},
		{"register 12", "log.replay", tpmRules("register", 12)},
		{"register 0", "log.replay", tpmRules("register", 0)},
		{"exit 1", "job.exit", func(p map[string]any) { p["exit"] = []any{1} }},
		{"exit 0 among others", "", func(p map[string]any) { p["exit"] = []any{1, 0} }},
		{"protection by verity", "protection.storage", func(p map[string]any) { p["protection"] = []any{"verity"} }},
		{"no protection is enough", "protection.storage", func(p map[string]any) { p["protection"] = []any{} }},
		{"a disclosure that is the record's", "", func(p map[string]any) { p["disclosure"] = []any{"full", "hash"} }},
		{"another disclosure", "record.disclosure", func(p map[string]any) { p["disclosure"] = []any{"full", "commit"} }},
		{"no earlier launch", "log.sole", func(p map[string]any) { p["prior_launches"] = "none" }},
		{"any earlier launch", "", func(p map[string]any) { p["prior_launches"] = "any" }},
		{"a time stamp", "time.token", func(p map[string]any) { p["time"] = map[string]any{"token": true} }},
		{"no waiver of the measurement", "slot.measurement", func(p map[string]any) { p["waive"] = list(p, "waive")[1:] }},
		{"no waiver of the launcher", "launcher.rooted", func(p map[string]any) { p["waive"] = list(p, "waive")[:1] }},
		{"no waiver", "slot.measurement", func(p map[string]any) { p["waive"] = []any{} }},
		{"no component listed", "components.match", components(func([]any) []any { return nil })},
		{"the first component not listed", "components.match", components(func(l []any) []any { return l[1:] })},
		{"the last component not listed", "components.match", components(func(l []any) []any { return l[:len(l)-1] })},
		{"the last not listed, and reported", "components.closed", func(p map[string]any) {
			p["others"] = "report"
			p["components"] = list(p, "components")[:len(list(p, "components"))-1]
		}},
		{"a component that was not measured", "components.match", components(func(l []any) []any {
			return append(l, map[string]any{"role": "config", "name": "default", "digest": []any{other}})
		})},
		{"a component that was not measured, others reported", "components.match", func(p map[string]any) {
			p["others"] = "report"
			p["components"] = append(list(p, "components"), map[string]any{"role": "config", "name": "default", "digest": []any{other}})
		}},
		{"another digest of the binary", "components.match", func(p map[string]any) {
			list(p, "components")[1].(map[string]any)["digest"] = []any{other}
		}},
		{"one digest more of the binary", "", func(p map[string]any) {
			c := list(p, "components")[1].(map[string]any)
			c["digest"] = append([]any{other}, c["digest"].([]any)...)
		}},
		{"another name of the binary", "components.match", func(p map[string]any) {
			list(p, "components")[1].(map[string]any)["name"] = "/usr/local/bin/cat"
		}},
		{"another role of the binary", "components.match", func(p map[string]any) {
			list(p, "components")[1].(map[string]any)["role"] = "file"
		}},
		{"another command", "components.match", func(p map[string]any) {
			list(p, "components")[5].(map[string]any)["value"] = []any{"cat", "{weights}"}
		}},
		{"another value of a variable", "components.match", func(p map[string]any) {
			list(p, "components")[6].(map[string]any)["value"] = ""
		}},
	} {
		t.Run(x.name, func(t *testing.T) {
			in := goldenInput(t, "page")
			in.Policy = changedPolicy(t, x.change)
			r := verify(t, golden(t, "page.cer.json"), in)
			if x.check == "" {
				if !r.Trusted {
					t.Error(r.Headline)
				}
				return
			}
			wantRefused(t, r, x.check)
			if got := blocking(r); !slices.Contains(got, x.check) && x.check != "time.token" {
				t.Errorf("blocked by %v, not by %s", got, x.check)
			}
		})
	}
}

// TestPolicyAllows: what a policy allows beside the default passes for a record
// that has it, and for no other.
func TestPolicyAllows(t *testing.T) {
	f := newForger(t)
	iso := func(name, value string) forgery {
		return forgery{events: func(l *attest.Log) { editEnvironment(t, l, cer.KindIsolation, setFact(name, value)) }}
	}
	device := func(name, number string) forgery {
		return forgery{events: func(l *attest.Log) {
			editEnvironment(t, l, cer.KindIsolation, setFact("devices", "null urandom "+name))
			editEnvironment(t, l, cer.KindIsolation, setFact("device_numbers", number))
		}}
	}
	for _, x := range []struct {
		name   string
		record forgery
		change func(p map[string]any)
	}{
		{"a device", device("fuse", "c10:229"), func(p map[string]any) { p["devices"] = []any{"fuse"} }},
		{"a network", iso("network", "host"), func(p map[string]any) { p["network"] = true }},
		{"another exit code", forgery{runtime: func(r *cer.Runtime) { r.Exit.Code = 3 }}, func(p map[string]any) { p["exit"] = []any{3} }},
		{"an unfinished earlier launch", forgery{events: func(l *attest.Log) {
			i := slices.IndexFunc(l.Events, func(e attest.Event) bool { return e.Type == attest.EventEnd })
			l.Events = slices.Delete(l.Events, i, i+1)
		}}, func(p map[string]any) { p["prior_launches"] = "any" }},
		{"no earlier launch", forgery{events: func(l *attest.Log) {
			l.Events = append(l.Events[:1:1], l.Events[lastOf(l, attest.EventLaunchBegin):]...)
		}}, func(p map[string]any) { p["prior_launches"] = "none" }},
		{"swap, waived", forgery{events: func(l *attest.Log) { editEnvironment(t, l, cer.KindMemory, setFact("swap", "/dev/vda2")) }}, func(p map[string]any) {
			p["waive"] = append(list(p, "waive"), map[string]any{"check": "protection.memory", "reason": "swap is encrypted"})
		}},
	} {
		t.Run(x.name, func(t *testing.T) {
			file := f.record(t, x.record)
			if r := verify(t, file, f.input(t, x.change)); !r.Trusted {
				t.Errorf("with it: %s", r.Headline)
			}
			r := verify(t, file, f.input(t, nil))
			if trusted := x.name == "no earlier launch"; r.Trusted != trusted {
				t.Errorf("without it: %s", r.Headline)
			}
		})
	}
}

// TestAccelerators: a device that computes fails also where the policy lists it,
// and whoever checks the policy is told.
func TestAccelerators(t *testing.T) {
	f := newForger(t)
	for _, device := range []string{
		"nvidia0", "nvidia-uvm", "dri/renderD128", "accel/accel0", "kfd", "vfio/1", "apex_0", "hailo0", "nvhost-ctrl", "hl0",
		"hl_controlD0", "habanalabs/hl0", "davinci0", "mali0", "tenstorrent/0", "bus/usb/001/002", "kgsl-3d0", "uio0",
	} {
		file := f.record(t, forgery{events: func(l *attest.Log) {
			editEnvironment(t, l, cer.KindIsolation, setFact("devices", "null urandom "+device))
			editEnvironment(t, l, cer.KindIsolation, setFact("device_numbers", "c240:0"))
		}})
		in := f.input(t, func(p map[string]any) { p["devices"] = []any{device} })
		r := verify(t, file, in)
		i := slices.IndexFunc(r.Checks, func(c verifier.Check) bool { return c.ID == "compute.inside" })
		if r.Trusted || i < 0 || r.Checks[i].Status != "failed" {
			t.Errorf("%s: %s", device, r.Headline)
		}
		if !slices.ContainsFunc(in.Policy.Lint(), func(s string) bool { return strings.Contains(s, "compute.inside cannot pass") }) {
			t.Errorf("%s: the policy is not said to fail", device)
		}
	}
}

// TestDeviceNumbers: a named device has a number in the record, in its one spelling,
// and what the number says counts beside the name.
func TestDeviceNumbers(t *testing.T) {
	f := newForger(t)
	for _, x := range []struct {
		devices, numbers, check string
	}{
		{"null urandom fuse", "c10:229", ""},
		{"null urandom fuse full", "c10:229 c1:7", ""},
		{"null urandom fuse", "b7:0", ""},
		{"null urandom fuse", "c195:0", "compute.inside"},
		{"null urandom fuse", "c226:128", "compute.inside"},
		{"null urandom fuse", "c261:0", "compute.inside"},
		{"null urandom fuse", "c10:196", "compute.inside"},
		{"null urandom fuse", "b195:0", ""},
		{"null urandom fuse", "c10:224", "launcher.exclusive"},
		{"null urandom fuse", "c1:1", "launcher.exclusive"},
		{"null urandom fuse", "c1:4", "launcher.exclusive"},
		{"null urandom fuse", "", "launcher.exclusive"},
		{"null urandom fuse full", "c10:229", "launcher.exclusive"},
		{"null urandom fuse", "c10:229 c1:7", "launcher.exclusive"},
		{"null urandom", "c10:229", "launcher.exclusive"},
		{"null urandom fuse", "c10:0229", "launcher.exclusive"},
		{"null urandom fuse", "c+10:229", "launcher.exclusive"},
		{"null urandom fuse", "10:229", "launcher.exclusive"},
		{"null urandom fuse", "c10", "launcher.exclusive"},
		{"null urandom fuse", "c10:4294967296", "launcher.exclusive"},
		{"null urandom fuse", " c10:229", "launcher.exclusive"},
	} {
		file := f.record(t, forgery{events: func(l *attest.Log) {
			editEnvironment(t, l, cer.KindIsolation, setFact("devices", x.devices))
			editEnvironment(t, l, cer.KindIsolation, setFact("device_numbers", x.numbers))
		}})
		r := verify(t, file, f.input(t, func(p map[string]any) { p["devices"] = []any{"fuse", "full"} }))
		if blocked := blocking(r); r.Trusted != (x.check == "") || x.check != "" && !slices.Contains(blocked, x.check) {
			t.Errorf("%s with %q: %s; blocked by %v", x.devices, x.numbers, r.Headline, blocked)
		}
	}
}

// TestFailedAndWaived: a waiver of a check that failed is shown with what the
// check found, not only with its name.
func TestFailedAndWaived(t *testing.T) {
	f := newForger(t)
	file := f.record(t, forgery{events: func(l *attest.Log) { editEnvironment(t, l, cer.KindMemory, setFact("swap", "/dev/vda2")) }})
	r := verify(t, file, f.input(t, func(p map[string]any) {
		p["waive"] = append(list(p, "waive"), map[string]any{"check": "protection.memory", "reason": "swap is encrypted"})
	}))
	var out bytes.Buffer
	if err := r.WriteText(&out, false); err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(out.String()), " ") // Lines are broken anywhere.
	if !r.Trusted || !strings.Contains(r.Headline, "protection.memory") || !strings.Contains(text, `swap is "/dev/vda2"`) || !strings.Contains(text, "swap is encrypted") {
		t.Errorf("%s", out.String())
	}
}

// passedChecks returns the checks that count and passed.
func passedChecks(r *verifier.Report) []string {
	var out []string
	for _, c := range r.Checks {
		if c.Class != "info" && c.Status == "passed" {
			out = append(out, c.ID)
		}
	}
	return out
}

// TestRemoving: taking something away from what the verifier is given never
// makes a check pass that did not, and what made the record trusted is missed
// by name.
func TestRemoving(t *testing.T) {
	base := verify(t, golden(t, "page.cer.json"), goldenInput(t, "page"))
	for _, x := range []struct {
		name, check string
		remove      func(in *verifier.Input)
	}{
		{"roots", "slot.identity", func(in *verifier.Input) { in.Roots = nil }},
		{"every root", "slot.identity", func(in *verifier.Input) { in.Roots = &verifier.TrustStore{} }},
		{"nonce", "nonce.quote", func(in *verifier.Input) { in.Nonce = nil }},
		{"policy", "", func(in *verifier.Input) { in.Policy = nil }},
		{"policy and roots", "", func(in *verifier.Input) { in.Policy, in.Roots = nil, nil }},
		{"policy and nonce", "", func(in *verifier.Input) { in.Policy, in.Nonce = nil, nil }},
	} {
		in := goldenInput(t, "page")
		x.remove(&in)
		r := verify(t, golden(t, "page.cer.json"), in)
		if r.Trusted || r.Now.Status != "not trusted" {
			t.Errorf("without %s: %s", x.name, r.Headline)
		}
		if x.check != "" && named(r) != x.check {
			t.Errorf("without %s: %s", x.name, r.Headline)
		}
		for _, id := range passedChecks(r) {
			if !slices.Contains(passedChecks(base), id) {
				t.Errorf("without %s, %s passes", x.name, id)
			}
		}
	}
	// What a record without a nonce shows is not the relying party's nonce.
	in := goldenInput(t, "page")
	in.Nonce = bytes.Repeat([]byte{1}, 16)
	wantRefused(t, verify(t, golden(t, "page.cer.json"), in), "nonce.quote")
}

// TestNothingGainedByStripping: of every mutant of the record's structure that
// takes something away, no check passes that did not before.
func TestNothingGainedByStripping(t *testing.T) {
	in := goldenInput(t, "page")
	file := golden(t, "page.cer.json")
	before := passedChecks(verify(t, file, in))
	n := 0
	for _, m := range structural(t, bytes.TrimSuffix(file, []byte("\n")), mutantStride()) {
		if !strings.HasPrefix(m.name, "without") && m.name != "emptied" && m.name != "shorter" {
			continue
		}
		n++
		r := verify(t, append(m.file, '\n'), in)
		for _, id := range passedChecks(r) {
			if !slices.Contains(before, id) {
				t.Errorf("%q %s: %s passes", m.at, m.name, id)
			}
		}
	}
	if n < 200/mutantStride() {
		t.Errorf("%d mutants: too few", n)
	}
}

// TestWaivers: a waiver excuses its own check only, and only where it is needed
// is it shown.
func TestWaivers(t *testing.T) {
	in := goldenInput(t, "page")
	if err := in.Policy.AddWaivers([]verifier.Waiver{{Check: "slot.identity", Reason: "a test"}, {Check: "log.sole", Reason: "not needed"}}); err != nil {
		t.Fatal(err)
	}
	in.Roots = nil
	r := verify(t, golden(t, "page.cer.json"), in)
	// Without roots revocation is not established either, and nobody waived it.
	wantRefused(t, r, "slot.revocation")
	if err := in.Policy.AddWaivers([]verifier.Waiver{{Check: "slot.revocation", Reason: "a test"}}); err != nil {
		t.Fatal(err)
	}
	// Of hardware that nobody vouches for no ledger can tell.
	r = verify(t, golden(t, "page.cer.json"), in)
	wantRefused(t, r, "ledger")
	if err := in.Policy.AddWaivers([]verifier.Waiver{{Check: "ledger", Reason: "a test"}}); err != nil {
		t.Fatal(err)
	}
	r = verify(t, golden(t, "page.cer.json"), in)
	if want := []string{"slot.identity", "slot.revocation", "slot.measurement", "launcher.rooted", "ledger"}; !r.Trusted || !slices.Equal(r.Assuming, want) {
		t.Errorf("%s: assuming %q", r.Headline, r.Assuming)
	}
	if c := find(t, r, "log.sole"); c.Waived != "" {
		t.Errorf("a check that passed is shown as waived: %+v", c)
	}
}

// TestTimes: the certificates' dates at the verdict's time, and what At does.
func TestTimes(t *testing.T) {
	file, at := golden(t, "page.cer.json"), goldenTime(t)
	past, future := at.AddDate(-1, 0, 0), at.AddDate(30, 0, 0)
	for _, x := range []struct {
		name      string
		now, then time.Time
		allow     bool
		trusted   bool
		hypo      string
	}{
		{"now", at, time.Time{}, false, true, ""},
		{"twenty years less a day", at.AddDate(20, 0, -1), time.Time{}, false, true, ""},
		{"expired", future, time.Time{}, false, false, ""},
		{"before the certificates", past, time.Time{}, false, false, ""},
		{"hypothetically expired", at, future, false, true, "not trusted"},
		{"hypothetically not yet", at, past, false, true, "not trusted"},
		{"hypothetically then, expired now", future, at, false, false, "trusted"},
		{"allowed then, expired now", future, at, true, true, "trusted"},
		{"allowed, and expired then", at, future, true, false, "not trusted"},
	} {
		t.Run(x.name, func(t *testing.T) {
			in := goldenInput(t, "page")
			in.Now, in.At, in.Policy.AllowAt = x.now, x.then, x.allow
			r := verify(t, file, in)
			if r.Trusted != x.trusted {
				t.Errorf("%s", r.Headline)
			}
			if (r.Hypothetical == nil) != x.then.IsZero() || r.Hypothetical != nil && (r.Hypothetical.Status != x.hypo || r.Hypothetical.Time != x.then.Format(time.RFC3339)) {
				t.Errorf("hypothetical verdict %+v, want %s", r.Hypothetical, x.hypo)
			}
			if !x.trusted && named(r) != "slot.identity" {
				t.Errorf("%s", r.Headline)
			}
			// The verdict as of now is of now, whatever else is asked.
			now := verify(t, file, func() verifier.Input { i := in; i.At = time.Time{}; return i }())
			if r.Now.Status != now.Now.Status || r.Now.Time != x.now.Format(time.RFC3339) {
				t.Errorf("verdict now %+v, want %+v", r.Now, now.Now)
			}
			if r.Record.Status != "not established" || r.Record.Time != "" {
				t.Errorf("verdict as of the record's time %+v", r.Record)
			}
			if x.allow && !strings.Contains(r.Headline, "(at "+x.then.Format(time.RFC3339)+", as the policy allows)") {
				t.Errorf("headline %q does not say at what time", r.Headline)
			}
		})
	}
	// Without a policy nothing allows At to decide.
	in := goldenInput(t, "page")
	in.Policy, in.At = nil, at
	if r := verify(t, file, in); r.Trusted || r.Hypothetical == nil || r.Hypothetical.Status != "not trusted" {
		t.Errorf("%s", r.Headline)
	}
}
