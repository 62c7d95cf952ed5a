package verifier_test

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/bootlog"
	"github.com/sworn-run/sworn/internal/bootlog/ima"
)

// event is one that extends the same bytes in every bank of a log.
func event(l *bootlog.Log, index uint32, data string) bootlog.Event {
	e := bootlog.Event{Index: index, Type: 0xD, Data: []byte(data)}
	for _, a := range l.Algs {
		e.Digests = append(e.Digests, bootlog.Digest{Alg: a.Alg, Value: a.Alg.Sum(e.Data)})
	}
	return e
}

// TestReturned: an image that gave control back to the firmware did not start what
// came after it, though the same digests stand in the same order.
func TestReturned(t *testing.T) {
	f := newForger(t)
	for between, want := range map[string]bool{
		"": true,
		"Returning from EFI Application from Boot Option": false,
		"Calling EFI Application from Boot Option":        false,
	} {
		b, rules := rooted(t)
		b.relog(t, func(l *bootlog.Log) {
			at := slices.IndexFunc(l.Events, func(e bootlog.Event) bool { return e.Index == 4 && e.Type == 0x80000003 }) + 1
			l.Events = slices.Insert(l.Events, at, event(l, 4, "the kernel inside"))
			if between != "" {
				l.Events = slices.Insert(l.Events, at, event(l, 4, between))
			}
		})
		in := bootInput(t, f, b, rules)
		if r := verify(t, f.record(t, b.forgery(t)), in); r.Trusted != want {
			t.Errorf("%q: trusted %v: %s", between, r.Trusted, r.Headline)
		}
	}
}

// TestExtensionsElsewhere: where the log is anchored in another register, PCR 13 is one
// that nobody explains, and what systemd-stub measured there counts.
func TestExtensionsElsewhere(t *testing.T) {
	f := newForger(t)
	for _, listed := range []bool{true, false} {
		b, rules := rooted(t)
		in := f.input(t, func(p map[string]any) {
			r := b.rules(t)
			rules(r)
			delete(imageOf(r), "extensions")
			if listed {
				object(r, "registers")["13"] = []any{hex.EncodeToString(b.pcrs[attest.SHA256][13])}
			}
			object(p, "formats", "tpm")["boot"] = r
			object(p, "formats", "tpm")["register"] = 15
			p["waive"] = []any{}
		})
		x := b.forgery(t)
		before := x.events
		x.events = func(l *attest.Log) {
			l.Register = 15
			before(l)
		}
		x.statement = func(s *attest.Statement) { s.Manifest[0].Register.Index = 15 }
		if r := verify(t, f.record(t, x), in); r.Trusted != listed {
			t.Errorf("listed %v, trusted %v: %s", listed, r.Trusted, r.Headline)
		}
	}
}

// TestOtherText: a policy that accepts two command lines and has the text of one knows
// nothing of what the other opens.
func TestOtherText(t *testing.T) {
	f := newForger(t)
	const text = "console=ttyS0 lockdown=integrity rd.systemd.gpt_auto=0"
	for booted, want := range map[string]bool{
		text: true, text + "\n": true, " " + text + " ": true,
		text + " systemd.debug_shell": false, "systemd.debug_shell\n" + text: false,
	} {
		b := captured(t, "run-llmsb")
		b.boots(t, booted)
		in := bootInput(t, f, b, func(r map[string]any) {
			x := imageOf(r)
			x["launchers"], x["cmdline"] = []any{launcherDigest(t)}, text
			stub := x["stub"].([]any)
			stub[0] = append(stub[0].([]any), hex.EncodeToString(attest.SHA256.Sum(bootlog.UTF16(text))))
			if booted == text {
				stub[0] = stub[0].([]any)[:1]
			}
		})
		r := verify(t, f.record(t, b.forgery(t)), in)
		if r.Trusted != want || statusOf(r, "slot.measurement") != "passed" {
			t.Errorf("%q: trusted %v: %s", booted, r.Trusted, r.Headline)
		}
	}
}

// TestInitrdNotMeasured: a launcher in an initial file system that nothing measured is
// rooted by nothing.
func TestInitrdNotMeasured(t *testing.T) {
	f := newForger(t)
	b := captured(t, "run-llm")
	b.boots(t, "console=ttyS0 lockdown=integrity rd.systemd.gpt_auto=0")
	why := func() string {
		in := bootInput(t, f, b, func(r map[string]any) { imageOf(r)["launchers"] = []any{launcherDigest(t)} })
		return detailOf(verify(t, f.record(t, b.forgery(t)), in), "launcher.rooted")
	}
	measured := why()
	b.relog(t, func(l *bootlog.Log) {
		l.Events = slices.DeleteFunc(l.Events, func(e bootlog.Event) bool {
			return e.Index == 9 && strings.Contains(string(e.Data), "Linux initrd")
		})
	})
	in := bootInput(t, f, b, func(r map[string]any) { imageOf(r)["launchers"] = []any{launcherDigest(t)} })
	r := verify(t, f.record(t, b.forgery(t)), in)
	if s := statusOf(r, "slot.measurement"); s != "passed" || r.Trusted || why() == measured {
		t.Errorf("slot.measurement %s, trusted %v: %s; %s", s, r.Trusted, r.Headline, measured)
	}
}

// TestForeignEntry: an entry of another register stands in the kernel's list under no
// quoted value, and anybody could have put it there.
func TestForeignEntry(t *testing.T) {
	f := newForger(t)
	b, rules := rooted(t)
	in := bootInput(t, f, b, func(r map[string]any) {
		rules(r)
		delete(r, "ima")
	})
	x := b.forgery(t)
	then(func(c *cer.Capsule) {
		l, err := ima.Parse(c.Collateral[1].Data)
		if err != nil {
			t.Fatal(err)
		}
		foreign := l.Entries[1]
		foreign.Index = 11
		c.Collateral[1].Data = marshalIMA(&ima.List{Entries: slices.Insert(l.Entries, 1, foreign)})
	})(&x)
	if r := verify(t, f.record(t, x), in); r.Trusted || statusOf(r, "boot.log") != "failed" {
		t.Errorf("trusted %v: %s", r.Trusted, detailOf(r, "boot.log"))
	}
}

// hostileLog is a log of 4 MiB with as many events as fit.
func hostileLog(index uint32) []byte {
	le := binary.LittleEndian
	spec := append([]byte("Spec ID Event03\x00"), 0, 0, 0, 0, 0, 2, 0, 2, 1, 0, 0, 0, 0x0B, 0, 32, 0, 0)
	out := append(make([]byte, 4), 3, 0, 0, 0)
	out = append(out, make([]byte, 20)...)
	out = append(le.AppendUint32(out, uint32(len(spec))), spec...)
	for i := range 65536 {
		data := fmt.Sprintf("a %010d\x00", i)[:13]
		out = le.AppendUint32(le.AppendUint32(le.AppendUint32(out, index), 0xD), 1)
		out = append(append(out, 0x0B, 0), attest.SHA256.Sum([]byte(data), []byte{1})...)
		out = append(le.AppendUint32(out, uint32(len(data))), data...)
	}
	return out
}

// TestBootCost: many images in a policy and a log as long as it may be cost no more
// than reading the log a few times.
func TestBootCost(t *testing.T) {
	f := newForger(t)
	limit := 20 * time.Second
	if raceEnabled {
		limit *= 10
	}
	for _, index := range []uint32{4, 11} {
		b := captured(t, "run-llm")
		good := b.rules(t)
		b.log = hostileLog(index)
		l, err := bootlog.Parse(b.log, bootlog.PCRs)
		if err != nil {
			t.Fatal(err)
		}
		values, err := l.Replay(attest.SHA256, nil)
		if err != nil {
			t.Fatal(err)
		}
		b.pcrs[attest.SHA256][index] = values[0].Value
		var images []any
		for i := range 64 {
			image := map[string]any{"name": fmt.Sprint(i), "loaded": []any{strings.Repeat("ab", 32)}, "cmdline": "", "sections": []any{
				map[string]any{"name": ".linux", "digest": strings.Repeat("ab", 32)},
			}, "phases": []any{fmt.Sprint("phase ", i)}}
			images = append(images, image)
		}
		in := f.input(t, func(p map[string]any) {
			object(p, "formats", "tpm")["boot"] = map[string]any{"images": images, "ima": good["ima"]}
			p["waive"] = []any{}
		})
		file := f.record(t, b.forgery(t))
		start := time.Now()
		r := verify(t, file, in)
		t.Log(index, len(b.log), time.Since(start), len(r.Summary.Booted))
		if d := time.Since(start); d > limit || r.Trusted || len(r.Summary.Booted) > 100 {
			t.Errorf("%v, %d lines, trusted %v", d, len(r.Summary.Booted), r.Trusted)
		}
	}
}

// TestAnchoredLow: where a register that rules read anchors the log, Sworn's own events
// follow the firmware's there and hide none of them.
func TestAnchoredLow(t *testing.T) {
	f := newForger(t)
	for _, index := range []uint32{4, 9, 11, 12} {
		for _, other := range []bool{false, true} {
			b, rules := rooted(t)
			in := f.input(t, func(p map[string]any) {
				r := b.rules(t)
				rules(r)
				delete(r, "ima")
				registers := object(r, "registers")
				registers["13"] = []any{hex.EncodeToString(b.pcrs[attest.SHA256][13])}
				delete(registers, fmt.Sprint(index))
				var held []any
				for _, m := range b.facts(t).Of(index) {
					held = append(held, hex.EncodeToString(m.Digest))
				}
				imageOf(r)["extensions"] = held
				object(p, "formats", "tpm")["boot"] = r
				object(p, "formats", "tpm")["register"] = index
				p["waive"] = []any{}
			})
			if other {
				b.relog(t, func(l *bootlog.Log) { l.Events = append(l.Events, event(l, index, "another")) })
				if index == 12 {
					for bank, v := range b.pcrs {
						v[12] = bank.Sum(v[12], bank.Sum([]byte("another")))
					}
				}
			}
			x := b.forgery(t)
			before := x.events
			x.events = func(l *attest.Log) {
				l.Register = index
				before(l)
			}
			x.statement = func(s *attest.Statement) { s.Manifest[0].Register.Index = index }
			if r := verify(t, f.record(t, x), in); r.Trusted == other {
				t.Errorf("register %d, something else %v: trusted %v: %s", index, other, r.Trusted, r.Headline)
			}
		}
	}
}

// TestFoundRoot: systemd in an image mounts a root file system that it finds, unless
// the command line names one or says that it shall not.
func TestFoundRoot(t *testing.T) {
	f := newForger(t)
	for add, want := range map[string]bool{
		"":                                       false,
		" rd.systemd.gpt_auto=0":                 true,
		" systemd.gpt_auto=no":                   true,
		" systemd.gpt_auto=1":                    false,
		" root=/dev/mapper/r roothash=ab":        true,
		" root=gpt-auto":                         false,
		" root=gpt-auto rd.systemd.gpt_auto=0":   false,
		" rd.systemd.gpt-auto=0":                 true,
		" -- rd.systemd.gpt_auto=0":              false,
		" rd.systemd.gpt_auto=0 x=\"a systemd\"": true,
	} {
		b := captured(t, "run-llmsb")
		b.boots(t, b.cmdline+" lockdown=integrity"+add)
		in := bootInput(t, f, b, func(r map[string]any) { imageOf(r)["launchers"] = []any{launcherDigest(t)} })
		if r := verify(t, f.record(t, b.forgery(t)), in); r.Trusted != want {
			t.Errorf("%q: trusted %v: %s", add, r.Trusted, r.Headline)
		}
	}
}
