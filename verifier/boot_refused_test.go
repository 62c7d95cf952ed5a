package verifier_test

import (
	"bytes"
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/bootlog/ima"
	"github.com/sworn-run/sworn/verifier"
)

// rooted is the captured machine with Secure Boot, its kernel locked down, and rules
// under which its record is trusted without a waiver.
func rooted(tb testing.TB) (*boot, func(rules map[string]any)) {
	tb.Helper()
	b := captured(tb, "run-llmsb")
	b.boots(tb, b.cmdline+" lockdown=confidentiality rd.systemd.gpt_auto=0")
	digest := launcherDigest(tb)
	return b, func(rules map[string]any) { imageOf(rules)["launchers"] = []any{digest} }
}

// imageOf is the one image of the rules.
func imageOf(rules map[string]any) map[string]any {
	return rules["images"].([]any)[0].(map[string]any)
}

// TestBootRefused changes one thing of a machine that is trusted, of its record or of
// the rules, and wants the check that says so.
func TestBootRefused(t *testing.T) {
	f := newForger(t)
	for _, c := range []struct {
		name, check string
		// rules changes the policy, machine what was quoted, record the file.
		rules   func(rules map[string]any)
		machine func(b *boot)
		record  func(x *forgery)
	}{
		{name: "another firmware", check: "slot.measurement", machine: func(b *boot) { b.pcrs[attest.SHA256][0][0] ^= 1 }},
		{name: "another kernel", check: "slot.measurement", rules: func(r map[string]any) { imageOf(r)["loaded"] = []any{strings.Repeat("ab", 32)} }},
		{name: "one image more", check: "slot.measurement", rules: func(r map[string]any) {
			imageOf(r)["loaded"] = append(imageOf(r)["loaded"].([]any), strings.Repeat("ab", 32))
		}},
		{name: "another section", check: "slot.measurement", rules: func(r map[string]any) {
			imageOf(r)["sections"].([]any)[0].(map[string]any)["digest"] = strings.Repeat("ab", 32)
		}},
		{name: "a section less", check: "slot.measurement", rules: func(r map[string]any) { imageOf(r)["sections"] = imageOf(r)["sections"].([]any)[1:] }},
		{name: "a phase", check: "slot.measurement", rules: func(r map[string]any) { imageOf(r)["phases"] = []any{"enter-initrd"} }},
		{name: "another initial file system", check: "slot.measurement", rules: func(r map[string]any) {
			imageOf(r)["stub"].([]any)[1] = []any{strings.Repeat("ab", 32)}
		}},
		{name: "something more in PCR 9", check: "slot.measurement", rules: func(r map[string]any) { imageOf(r)["stub"] = imageOf(r)["stub"].([]any)[:1] }},
		{name: "PCR 14 used", check: "slot.measurement", machine: func(b *boot) { b.pcrs[attest.SHA256][14][0] ^= 1 }},
		{name: "PCR 8 used", check: "slot.measurement", machine: func(b *boot) { b.pcrs[attest.SHA256][8][0] ^= 1 }},
		{name: "PCR 12 not listed", check: "slot.measurement", rules: func(r map[string]any) { delete(r["registers"].(map[string]any), "12") }},
		{name: "a certificate more in db", check: "slot.measurement", rules: func(r map[string]any) {
			r["secure_boot"].(map[string]any)["db"] = []any{hexDigest(1)}
		}},
		{name: "a file that is not listed", check: "slot.measurement", rules: func(r map[string]any) {
			x := r["ima"].(map[string]any)
			x["files"] = x["files"].([]any)[1:]
		}},
		{name: "PCR 9 extended after the log", check: "slot.measurement", machine: func(b *boot) { b.pcrs[attest.SHA256][9][0] ^= 1 }},
		{name: "no value of PCR 0", check: "launcher.rooted", rules: func(r map[string]any) { delete(r["registers"].(map[string]any), "0") }},
		{name: "no value of PCR 2", check: "launcher.rooted", rules: func(r map[string]any) { delete(r["registers"].(map[string]any), "2") }},
		{name: "nothing of PCR 7", check: "launcher.rooted", rules: func(r map[string]any) {
			delete(r["registers"].(map[string]any), "7")
			delete(r, "secure_boot")
		}},
		{name: "no text of the command line", check: "launcher.rooted", rules: func(r map[string]any) { delete(imageOf(r), "cmdline") }},
		{name: "the launcher is elsewhere", check: "launcher.rooted", rules: func(r map[string]any) { imageOf(r)["launchers"] = []any{hexDigest(1)} }},
		{name: "no Secure Boot wanted of an image with systemd's stub", check: "launcher.rooted", rules: func(r map[string]any) { delete(r, "secure_boot") }},
		{name: "no images", check: "launcher.rooted", rules: func(r map[string]any) { delete(r, "images") }},
		{name: "an extension that is not listed", check: "log.origin", rules: func(r map[string]any) { delete(imageOf(r), "extensions") }},
		{name: "another extension", check: "log.origin", rules: func(r map[string]any) { imageOf(r)["extensions"] = []any{strings.Repeat("ab", 32)} }},
		{name: "no log", check: "boot.log", record: func(x *forgery) { x.capsule = func(*cer.Capsule) {} }},
		{name: "no list", check: "boot.log", record: then(func(c *cer.Capsule) { c.Collateral = c.Collateral[:1] })},
		{name: "the logs change places", check: "boot.log", record: then(func(c *cer.Capsule) { slices.Reverse(c.Collateral) })},
		{name: "a log twice", check: "boot.log", record: then(func(c *cer.Capsule) { c.Collateral = append(c.Collateral[:1], c.Collateral...) })},
		{name: "a list of a longer life", check: "boot.log", record: then(func(c *cer.Capsule) {
			d := c.Collateral[1].Data
			l, err := ima.Parse(d)
			if err != nil {
				t.Fatal(err)
			}
			c.Collateral[1].Data = append(bytes.Clone(d), marshalIMA(&ima.List{Entries: l.Entries[1:2]})...)
		})},
		{name: "a list cut short", check: "boot.log", record: then(func(c *cer.Capsule) {
			l, err := ima.Parse(c.Collateral[1].Data)
			if err != nil {
				t.Fatal(err)
			}
			c.Collateral[1].Data = marshalIMA(&ima.List{Entries: l.Entries[:len(l.Entries)-1]})
		})},
		{name: "logs that no launch named", check: "boot.log", record: func(x *forgery) { x.events = func(l *attest.Log) { captured(t, "run-llmsb").extend(t, l) } }},
		{name: "something beside the logs", check: "evidence.set", record: then(func(c *cer.Capsule) {
			c.Collateral = append([]attest.Collateral{{Kind: "revocation-list", Data: []byte("x")}}, c.Collateral...)
		})},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, rules := rooted(t)
			in := bootInput(t, f, b, func(r map[string]any) {
				rules(r)
				if c.rules != nil {
					c.rules(r)
				}
			})
			if c.machine != nil {
				c.machine(b)
			}
			x := b.forgery(t)
			if c.record != nil {
				c.record(&x)
			}
			r := verify(t, f.record(t, x), in)
			if s := statusOf(r, c.check); r.Trusted || s == "passed" {
				t.Errorf("trusted %v; %s is %s: %s", r.Trusted, c.check, s, detailOf(r, c.check))
			}
		})
	}
}

// then changes the capsule after the logs were put into it.
func then(change func(c *cer.Capsule)) func(*forgery) {
	return func(x *forgery) {
		before := x.capsule
		x.capsule = func(c *cer.Capsule) {
			before(c)
			change(c)
		}
	}
}

// TestSecureBootOff: what the policy wants on, and what the log shows off, fails by
// name, and so does a state that the log hides.
func TestSecureBootOff(t *testing.T) {
	f := newForger(t)
	for run, want := range map[string]string{"run-llm": "failed", "run-llmsb": "passed"} {
		b := captured(t, run)
		in := bootInput(t, f, b, func(r map[string]any) {
			r["secure_boot"] = map[string]any{"state": "enabled"}
			delete(r, "registers")
			delete(r, "images")
		})
		r := verify(t, f.record(t, b.forgery(t)), in)
		if s := statusOf(r, "slot.measurement"); s != want {
			t.Errorf("%s: %s, want %s: %s", run, s, want, detailOf(r, "slot.measurement"))
		}
	}
	b := captured(t, "run-llmsb")
	in := bootInput(t, f, b, nil)
	b.pcrs[attest.SHA256][7][0] ^= 1
	if r := verify(t, f.record(t, b.forgery(t)), in); r.Trusted || statusOf(r, "slot.measurement") != "not established" {
		t.Errorf("a register that the log does not give: %s", detailOf(r, "slot.measurement"))
	}
}

// TestBootLogFlipped: every byte of the logs counts. Those of the firmware's log count
// even where no digest of the firmware covers them: the launch named the log.
func TestBootLogFlipped(t *testing.T) {
	f := newForger(t)
	b, rules := rooted(t)
	in := bootInput(t, f, b, rules)
	if r := verify(t, f.record(t, b.forgery(t)), in); !r.Trusted {
		t.Fatal(r.Headline)
	}
	flips := func(item, step int) {
		for at := 0; at < len([][]byte{b.log, b.list}[item]); at += step {
			x := b.forgery(t)
			then(func(c *cer.Capsule) {
				d := bytes.Clone(c.Collateral[item].Data)
				d[at] ^= 1 << (at % 8)
				c.Collateral[item].Data = d
			})(&x)
			// A template's name is in no digest, and the file is not judged under
			// another one.
			r := verify(t, f.record(t, x), in)
			if s := statusOf(r, "boot.log"); r.Trusted || s != "failed" && (item == 0 || statusOf(r, "slot.measurement") != "failed") {
				t.Fatalf("item %d, byte %d: trusted %v: %s", item, at, r.Trusted, detailOf(r, "boot.log"))
			}
		}
	}
	flips(0, 211)
	flips(1, 37)
}

// TestOpenKernel: a command line that opens a way around what was measured roots
// nothing, whatever else holds.
func TestOpenKernel(t *testing.T) {
	f := newForger(t)
	for add, want := range map[string]string{
		"lockdown=integrity":                           "passed",
		"lockdown=confidentiality console=a console=b": "passed",
		"init=/sbin/init lockdown=integrity":           "passed",
		"quiet":                                        "not established",
		"lockdown=none":                                "not established",
		"lockdown=integrity lockdown=none":             "not established",
		"lockdown=integrity init=/bin/sh":              "not established",
		"lockdown=integrity rdinit=/usr/bin/busybox":   "not established",
		"lockdown=integrity module.sig-enforce=0":      "not established",
		"lockdown=integrity quiet quiet":               "not established",
		"lockdown=integrity single":                    "not established",
		"lockdown=integrity rd.break=pre-mount":        "not established",
		"lockdown=integrity systemd.debug-shell=1":     "not established",
		"lockdown=integrity ima_appraise=fix":          "not established",
		"-- lockdown=integrity":                        "not established",
		// What the kernel's stub loads by itself, wherever in the text, it does not measure.
		"lockdown=integrity initrd=initrd":                 "not established",
		"lockdown=integrity quiet=\"x noinitrd=x\"":        "not established",
		"lockdown=integrity dtb=board.dtb":                 "not established",
		"lockdown=integrity root=/dev/sda1":                "not established",
		"lockdown=integrity root=/dev/sda1 roothash=ab":    "not established",
		"lockdown=integrity root=/dev/mapper/root":         "not established",
		"lockdown=integrity root=/dev/mapper/r roothash=a": "passed",
		// A kernel reads the quote at the end as part of the value.
		"lockdown=integrity\"":                             "not established",
		"lockdown=integrity lsm=yama,apparmor":             "not established",
		"lockdown=integrity lsm=lockdown,yama":             "passed",
		"lockdown=integrity bootconfig":                    "not established",
		"lockdown=integrity -- rd.break":                   "not established",
		"lockdown=integrity rd.systemd.unit=rescue.target": "not established",
		"lockdown=integrity systemd.run=/usr/bin/id":       "not established",
		"lockdown=integrity x=\"a break b\"":               "not established",
		"lockdown=integrity 'systemd.debug_shell'":         "not established",
		"lockdown=integrity x=\u00e0":                      "not established",
		"lockdown=integrity module.sig_enforce=f":          "not established",
		"lockdown=integrity module.sig_enforce":            "passed",
		"lockdown=integrity initcall_blacklist=init_ima":   "not established",
		"lockdown=integrity init=/usr/bin/python3":         "not established",
	} {
		b := captured(t, "run-llmsb")
		b.boots(t, "rd.systemd.gpt_auto=0 console=ttyS0 "+add)
		in := bootInput(t, f, b, func(r map[string]any) { imageOf(r)["launchers"] = []any{launcherDigest(t)} })
		r := verify(t, f.record(t, b.forgery(t)), in)
		if s := statusOf(r, "launcher.rooted"); s != want || r.Trusted != (want == "passed") {
			t.Errorf("%q: %s, trusted %v: %s", add, s, r.Trusted, detailOf(r, "launcher.rooted"))
		}
	}
}

// TestListRootsNothing: that the kernel measured the launcher, and nothing that the policy
// does not list, does not say that this launcher made the record. Root runs another from
// a file system in memory, which the kernel's policies leave out.
func TestListRootsNothing(t *testing.T) {
	f := newForger(t)
	for _, add := range []string{" ima_policy=tcb", ""} {
		b := captured(t, "run-llm")
		b.measures(t, launcherDigest(t))
		b.boots(t, "lockdown=integrity"+add)
		in := bootInput(t, f, b, nil)
		r := verify(t, f.record(t, b.forgery(t)), in)
		if r.Trusted || statusOf(r, "launcher.rooted") != "not established" || statusOf(r, "slot.measurement") != "passed" {
			t.Errorf("%q: trusted %v: %s", add, r.Trusted, r.Headline)
		}
	}
}

// measures has the kernel measure one file more.
func (b *boot) measures(tb testing.TB, digest string) {
	tb.Helper()
	raw, err := hex.DecodeString(strings.TrimPrefix(digest, "sha256:"))
	if err != nil {
		tb.Fatal(err)
	}
	field := func(v []byte) []byte { return append([]byte{byte(len(v)), 0, 0, 0}, v...) }
	data := append(field(append([]byte("sha256:\x00"), raw...)), field([]byte("/bin/sworn\x00"))...)
	b.list = append(bytes.Clone(b.list), marshalIMA(&ima.List{Entries: []ima.Entry{{Index: ima.Register, Template: "ima-ng", Data: data}}})...)
}

// TestGoldenBoot reads registers and files of a record for a policy.
func TestGoldenBoot(t *testing.T) {
	f := newForger(t)
	b := captured(t, "run-llmsb")
	file := f.record(t, b.forgery(t))
	in := f.input(t, nil)
	got, err := verifier.BootedFrom(file, in.Roots, in.Now, attest.SHA256)
	if err != nil || !bytes.Equal(got.Registers[7], b.pcrs[attest.SHA256][7]) || len(got.Files) == 0 {
		t.Errorf("%+v, %v", got, err)
	}
	for name, at := range map[string]struct {
		roots *verifier.TrustStore
		file  []byte
		bank  attest.Alg
	}{
		"nobody's TPM":   {nil, file, attest.SHA256},
		"another record": {in.Roots, append(bytes.Clone(file), ' '), attest.SHA256},
		"another bank":   {in.Roots, file, attest.SHA512},
	} {
		if got, err := verifier.BootedFrom(at.file, at.roots, in.Now, at.bank); err == nil || got != nil {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}
