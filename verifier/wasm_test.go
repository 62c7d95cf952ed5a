package verifier_test

import (
	"crypto/sha256"
	"slices"
	"testing"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
)

// wasmFacts are those of a module's record.
func wasmFacts() []cer.Fact {
	return []cer.Fact{
		{Name: cer.FactWasmClock, Value: "2000-01-01T00:00:00Z+1ms"},
		{Name: cer.FactWasmEngine, Value: "compiler"},
		{Name: cer.FactWasmMemoryPages, Value: "16384"},
		{Name: cer.FactWasmProcess, Value: cer.WasmOwn},
		{Name: cer.FactWasmRandom, Value: "chacha8:00"},
		{Name: cer.FactWasmRuntime, Value: "wazero v1.12.0"},
	}
}

// A record says that a module was run by the launcher's own program: then a program
// with the launcher's digest has to be among what was measured.
func TestWasmInterpreter(t *testing.T) {
	f := newForger(t)
	in := f.input(t, nil)
	launcherOf := func(l *attest.Log) (c *cer.Component) {
		editComponent(t, l, cer.RoleLauncher, func(found *cer.Component) { c = found })
		return c
	}
	interpreter := func(digest ...string) *cer.Component {
		return &cer.Component{
			Role: cer.RoleInterpreter, Name: cer.WasmInterpreterName, Path: "/sworn", Digest: digest, Size: "1", Protection: cer.ProtectionSealed,
		}
	}
	other := cer.SHA256Digest(sha256.Sum256([]byte("another program")))
	for name, c := range map[string]struct {
		add  func(l *attest.Log)
		want string
	}{
		"the launcher's":  {func(l *attest.Log) { addComponent(t, l, interpreter(launcherOf(l).Digest...)) }, "passed"},
		"another program": {func(l *attest.Log) { addComponent(t, l, interpreter(other)) }, "failed"},
		"another scheme":  {func(l *attest.Log) { addComponent(t, l, interpreter("fsverity-sha256;block=4096:"+other[7:])) }, "failed"},
		"nothing":         {func(*attest.Log) {}, "failed"},
		"under other name": {func(l *attest.Log) {
			i := interpreter(launcherOf(l).Digest...)
			i.Name = "other"
			addComponent(t, l, i)
		}, "failed"},
	} {
		r := verify(t, f.record(t, forgery{events: func(l *attest.Log) {
			c.add(l)
			data, err := cer.NewEnvironment(cer.KindWasm, wasmFacts()).Encode()
			if err != nil {
				t.Fatal(err)
			}
			at := lastOf(l, attest.EventEnvironment)
			l.Events = slices.Insert(l.Events, at+1, attest.NewEvent(0, attest.EventEnvironment, l.Events[at].Launch, [32]byte{7}, data))
		}}), in)
		for _, check := range r.Checks {
			if check.ID == "log.launch" && check.Status != c.want {
				t.Errorf("%s: log.launch %s: %s, want %s", name, check.Status, check.Detail, c.want)
			}
		}
		if !slices.Equal(r.Summary.Wasm, wasmFacts()) {
			t.Errorf("%s: the report has %v", name, r.Summary.Wasm)
		}
		if c.want == "failed" && r.Genuine() == nil {
			t.Errorf("%s: genuine", name)
		}
	}
}

// A module in the launcher's process is no exclusive job where nothing but a TPM speaks for
// the launcher, whatever else the isolation says, and isolation and process tell one story.
func TestInside(t *testing.T) {
	f := newForger(t)
	in := f.input(t, nil)
	record := func(mode, process string) []byte {
		return f.record(t, forgery{
			events: func(l *attest.Log) {
				editEnvironment(t, l, cer.KindIsolation, func(facts []cer.Fact) []cer.Fact {
					for i := range facts {
						if facts[i].Name == cer.FactMode {
							facts[i].Value = mode
						}
						if facts[i].Name == "devices" && mode == cer.ModeInside {
							facts[i].Value = ""
						}
					}
					return facts
				})
				facts := wasmFacts()
				for i := range facts {
					if facts[i].Name == cer.FactWasmProcess {
						facts[i].Value = process
					}
				}
				data, err := cer.NewEnvironment(cer.KindWasm, facts).Encode()
				if err != nil {
					t.Fatal(err)
				}
				at := lastOf(l, attest.EventEnvironment)
				l.Events = slices.Insert(l.Events, at+1, attest.NewEvent(0, attest.EventEnvironment, l.Events[at].Launch, [32]byte{7}, data))
			},
		})
	}
	status := func(capsule []byte, id string) string {
		for _, c := range verify(t, capsule, in).Checks {
			if c.ID == id {
				return c.Status
			}
		}
		return ""
	}
	both := record(cer.ModeInside, cer.WasmLauncher)
	for id, want := range map[string]string{"log.launch": "passed", "launcher.exclusive": "failed", "log.sole": "not established"} {
		if got := status(both, id); got != want {
			t.Errorf("%s: %s, want %s", id, got, want)
		}
	}
	for _, c := range [][2]string{{"closed", cer.WasmLauncher}, {cer.ModeInside, cer.WasmOwn}} {
		if got := status(record(c[0], c[1]), "log.launch"); got != "failed" {
			t.Errorf("mode %s, process %s: log.launch %s", c[0], c[1], got)
		}
	}
}
