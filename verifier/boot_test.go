package verifier_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/bootlog"
	"github.com/sworn-run/sworn/internal/bootlog/ima"
	"github.com/sworn-run/sworn/verifier"
)

// boot is a machine that booted, as two captured ones did.
type boot struct {
	log, list []byte
	pcrs      map[attest.Alg]map[uint32][]byte
	cmdline   string
}

// captured reads a capture; the registers that its job extended are zero again.
func captured(tb testing.TB, run string) *boot {
	tb.Helper()
	dir := filepath.Join("..", "internal", "bootlog", "testdata", run)
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			tb.Fatal(err)
		}
		return b
	}
	b := &boot{
		log: read("eventlog"), list: read("ima_binary"), pcrs: map[attest.Alg]map[uint32][]byte{},
		cmdline: strings.TrimSuffix(string(read("cmdline")), "\n"),
	}
	for _, bank := range []attest.Alg{attest.SHA256, attest.SHA384} {
		var values map[string]string
		if err := json.Unmarshal(read("pcrs_"+bank.String()), &values); err != nil {
			tb.Fatal(err)
		}
		b.pcrs[bank] = map[uint32][]byte{}
		for name, v := range values {
			n, err := strconv.Atoi(name)
			value, hexErr := hex.DecodeString(v)
			if err != nil || hexErr != nil {
				tb.Fatal(name, v)
			}
			if n == 14 || n > 15 {
				value = make([]byte, bank.Size())
			}
			if n < 16 {
				b.pcrs[bank][uint32(n)] = value
			}
		}
	}
	return b
}

// facts are what the capture's log establishes in the bank of SHA-256.
func (b *boot) facts(tb testing.TB) *bootlog.Facts {
	tb.Helper()
	l, err := bootlog.Parse(b.log, bootlog.PCRs)
	if err != nil {
		tb.Fatal(err)
	}
	var quoted []attest.RegisterValue
	for i, v := range b.pcrs[attest.SHA256] {
		quoted = append(quoted, attest.RegisterValue{Bank: attest.SHA256, Index: i, Value: v})
	}
	f, err := l.Appraise(attest.SHA256, quoted, bootlog.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	return f
}

// rules are reference values that the capture meets, as a policy's JSON.
func (b *boot) rules(tb testing.TB) map[string]any {
	tb.Helper()
	f := b.facts(tb)
	texts := func(of []bootlog.Measured) []any {
		out := []any{}
		for _, m := range of {
			out = append(out, hex.EncodeToString(m.Digest))
		}
		return out
	}
	image := map[string]any{"name": "captured", "loaded": texts(f.Images), "cmdline": b.cmdline}
	var stub, sections []any
	for _, d := range texts(f.Of(9)) {
		stub = append(stub, []any{d})
	}
	image["stub"] = stub
	for _, s := range f.Sections.List {
		sections = append(sections, map[string]any{"name": s.Name, "digest": hex.EncodeToString(s.Digest)})
	}
	if sections != nil {
		image["sections"] = sections
	}
	if of := texts(f.Of(13)); len(of) > 0 {
		image["extensions"] = of
	}
	registers := map[string]any{}
	for _, n := range []uint32{0, 2, 3, 7, 12} {
		registers[strconv.Itoa(int(n))] = []any{hex.EncodeToString(b.pcrs[attest.SHA256][n])}
	}
	rules := map[string]any{"registers": registers, "images": []any{image}}
	if f.SecureBoot.State == bootlog.Enabled {
		var db []any
		for _, s := range f.Variables.DB {
			db = append(db, cer.SHA256Digest(sha256.Sum256(s.Data)))
		}
		rules["secure_boot"] = map[string]any{"state": "enabled", "db": db}
	}
	list, err := ima.Parse(b.list)
	if err != nil {
		tb.Fatal(err)
	}
	files := map[string]bool{}
	for _, e := range list.Entries[1:] {
		files[cer.SHA256Digest([32]byte(e.Digest))] = true
	}
	var listed []any
	for _, d := range slices.Sorted(maps.Keys(files)) {
		listed = append(listed, d)
	}
	rules["ima"] = map[string]any{"files": listed}
	return rules
}

// forgery is a record made on that machine: its logs are carried, its registers
// quoted beside the one that anchors the log.
func (b *boot) forgery(tb testing.TB) forgery {
	tb.Helper()
	return forgery{
		events: func(l *attest.Log) {
			at := lastOf(l, attest.EventEnvironment)
			data, err := cer.NewEnvironment(cer.KindBoot, []cer.Fact{
				{Name: cer.FactEventLog, Value: cer.SHA256Digest(sha256.Sum256(b.log))}, {Name: cer.FactIMA, Value: cer.CarriedIMA},
			}).Encode()
			if err != nil {
				tb.Fatal(err)
			}
			l.Events = slices.Insert(l.Events, at+1, attest.NewEvent(0, attest.EventEnvironment, l.Events[at].Launch, [32]byte{7}, data))
			b.extend(tb, l)
		},
		quote: func(q *quoted) {
			for bank, values := range b.pcrs {
				for i, v := range values {
					if q.registers[bank] != nil && q.registers[bank][i] == nil {
						q.registers[bank][i] = v
					}
				}
			}
		},
		capsule: func(c *cer.Capsule) {
			c.Collateral = append(c.Collateral, attest.Collateral{Kind: verifier.CollateralEventLog, Data: b.log},
				attest.Collateral{Kind: verifier.CollateralIMA, Data: b.list})
		},
	}
}

// extend lets the log begin with what the machine's firmware left in its register.
func (b *boot) extend(tb testing.TB, l *attest.Log) {
	tb.Helper()
	o, err := cer.ParseOrigin(l.Events[0].Data)
	if err != nil {
		tb.Fatal(err)
	}
	for i := range o.Start {
		alg, _, err := o.StartValue(i)
		if err != nil {
			tb.Fatal(err)
		}
		if v := b.pcrs[alg][l.Register]; v != nil {
			o.Start[i].Value = hex.EncodeToString(v)
		}
	}
	data, err := o.Encode()
	if err != nil {
		tb.Fatal(err)
	}
	setData(l, 0, data)
}

// boots puts another command line in the machine's place: the register of the
// kernel's stub and the rules are computed anew.
func (b *boot) boots(tb testing.TB, cmdline string) {
	tb.Helper()
	b.relog(tb, func(l *bootlog.Log) {
		for i := range l.Events {
			e := &l.Events[i]
			for j := range e.Digests {
				d := &e.Digests[j]
				if e.Index == 9 && bytes.Equal(d.Value, d.Alg.Sum(bootlog.UTF16(b.cmdline))) {
					d.Value = d.Alg.Sum(bootlog.UTF16(cmdline))
				}
			}
		}
	})
	b.cmdline = cmdline
}

// relog changes the firmware's log, and with it the registers of images and stubs.
func (b *boot) relog(tb testing.TB, change func(l *bootlog.Log)) {
	tb.Helper()
	l, err := bootlog.Parse(b.log, bootlog.PCRs)
	if err != nil {
		tb.Fatal(err)
	}
	change(l)
	if b.log, err = l.Marshal(); err != nil {
		tb.Fatal(err)
	}
	for bank := range b.pcrs {
		values, err := l.Replay(bank, nil)
		if err != nil {
			tb.Fatal(err)
		}
		for _, v := range values {
			if slices.Contains([]uint32{4, 9, 11}, v.Index) {
				b.pcrs[bank][v.Index] = v.Value
			}
		}
	}
	// The kernel's list begins with the digest of the registers.
	list, err := ima.Parse(b.list)
	if err != nil {
		tb.Fatal(err)
	}
	var registers [][]byte
	for i := range uint32(10) {
		registers = append(registers, b.pcrs[attest.SHA256][i])
	}
	first := &list.Entries[0]
	first.Data = bytes.Replace(first.Data, first.Digest, attest.SHA256.Sum(registers...), 1)
	b.list = marshalIMA(list)
	value := make([]byte, 32)
	if list, err = ima.Parse(b.list); err != nil {
		tb.Fatal(err)
	}
	for i := range list.Entries {
		value = attest.SHA256.Sum(value, list.Entries[i].Extended())
	}
	b.pcrs[attest.SHA256][10] = value
}

// marshalIMA writes a list with its template digests computed anew.
func marshalIMA(l *ima.List) []byte {
	var out []byte
	u32 := func(n int) { out = append(out, byte(n), byte(n>>8), byte(n>>16), byte(n>>24)) }
	for i := range l.Entries {
		e := &l.Entries[i]
		u32(int(e.Index))
		out = append(out, attest.SHA1.Sum(e.Data)...)
		u32(len(e.Template))
		out = append(out, e.Template...)
		u32(len(e.Data))
		out = append(out, e.Data...)
	}
	return out
}

// TestBooted: both captured machines meet reference values made from their own logs,
// and the verdict lists what booted. The launcher is rooted only by an image that holds
// it, under a command line that locks the kernel down.
func TestBooted(t *testing.T) {
	f := newForger(t)
	for _, run := range []string{"run-llm", "run-llmsb"} {
		b := captured(t, run)
		in := bootInput(t, f, b, nil)
		r := verify(t, f.record(t, b.forgery(t)), in)
		if s := statusOf(r, "slot.measurement"); s != "passed" {
			t.Errorf("%s: slot.measurement %s: %s", run, s, detailOf(r, "slot.measurement"))
		}
		if s := statusOf(r, "boot.log"); s != "passed" {
			t.Errorf("%s: boot.log %s: %s", run, s, detailOf(r, "boot.log"))
		}
		if s := statusOf(r, "launcher.rooted"); s != "not established" || r.Trusted {
			t.Errorf("%s: launcher.rooted %s, trusted %v: %s", run, s, r.Trusted, detailOf(r, "launcher.rooted"))
		}
		if len(r.Summary.Booted) < 2 {
			t.Errorf("%s: booted %q", run, r.Summary.Booted)
		}
		b.boots(t, strings.ReplaceAll(b.cmdline, " initrd=initrd", "")+" lockdown=integrity rd.systemd.gpt_auto=0")
		for _, covered := range []bool{false, true} {
			in := bootInput(t, f, b, func(rules map[string]any) {
				if covered {
					rules["images"].([]any)[0].(map[string]any)["launchers"] = []any{launcherDigest(t)}
				}
			})
			r := verify(t, f.record(t, b.forgery(t)), in)
			// The other machine booted without Secure Boot, and the policy wants none.
			if r.Trusted != (covered && run == "run-llmsb") {
				t.Errorf("%s: launcher in the image %v, trusted %v: %s", run, covered, r.Trusted, r.Headline)
			}
		}
	}
}

// bootInput is the forger's input with reference values and without waivers.
func bootInput(tb testing.TB, f *forger, b *boot, change func(rules map[string]any)) verifier.Input {
	tb.Helper()
	rules := b.rules(tb)
	if change != nil {
		change(rules)
	}
	return f.input(tb, func(p map[string]any) {
		object(p, "formats", "tpm")["boot"] = rules
		p["waive"] = []any{}
	})
}

// launcherDigest is the digest of the golden record's launcher.
func launcherDigest(tb testing.TB) string {
	tb.Helper()
	for _, c := range verify(tb, golden(tb, "page.cer.json"), goldenInput(tb, "page")).Summary.Components {
		if c.Role == cer.RoleLauncher {
			return c.Digest[0]
		}
	}
	tb.Fatal("no launcher")
	return ""
}

func statusOf(r *verifier.Report, id string) string {
	for _, c := range r.Checks {
		if c.ID == id {
			return c.Status
		}
	}
	return ""
}

func detailOf(r *verifier.Report, id string) string {
	for _, c := range r.Checks {
		if c.ID == id {
			return c.Detail + " want " + c.Want + " got " + c.Got
		}
	}
	return ""
}
