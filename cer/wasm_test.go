package cer_test

import (
	"errors"
	"testing"

	"github.com/sworn-run/sworn/cer"
)

const wasmText = `{"facts":[{"name":"clock","value":"2000-01-01T00:00:00Z+1ms"},{"name":"engine","value":"compiler"},` +
	`{"name":"memory_pages","value":"16384"},{"name":"process","value":"own"},{"name":"random","value":"chacha8:00"},{"name":"runtime","value":"wazero v1.12.0"}],"kind":"wasm"}`

func TestWasmEnvironment(t *testing.T) {
	e, err := cer.ParseEnvironment([]byte(wasmText))
	if err != nil {
		t.Fatal(err)
	}
	if b, err := e.Encode(); err != nil || string(b) != wasmText {
		t.Errorf("encodes to %s, %v", b, err)
	}
	// Every member is wanted, none beside them, and two have values of their own.
	for i := range e.Facts {
		change := func(name, value string) {
			t.Helper()
			facts := append([]cer.Fact{}, e.Facts...)
			facts[i] = cer.Fact{Name: name, Value: value}
			if b, err := cer.NewEnvironment(cer.KindWasm, facts).Encode(); b != nil || !errors.Is(err, cer.ErrSchema) {
				t.Errorf("%s is %q: %s, %v", name, value, b, err)
			}
		}
		change(e.Facts[i].Name, "")
		change(e.Facts[i].Name+"x", e.Facts[i].Value)
		switch e.Facts[i].Name {
		case cer.FactWasmEngine:
			change(cer.FactWasmEngine, "Compiler")
		case cer.FactWasmProcess:
			change(cer.FactWasmProcess, "Launcher")
		case cer.FactWasmMemoryPages:
			change(cer.FactWasmMemoryPages, "0")
			change(cer.FactWasmMemoryPages, "-1")
			change(cer.FactWasmMemoryPages, "01")
		}
		if b, err := cer.NewEnvironment(cer.KindWasm, append(append([]cer.Fact{}, e.Facts[:i]...), e.Facts[i+1:]...)).Encode(); b != nil || !errors.Is(err, cer.ErrSchema) {
			t.Errorf("without %s: %s, %v", e.Facts[i].Name, b, err)
		}
	}
	more := append([]cer.Fact{{Name: "z", Value: "1"}}, e.Facts...)
	if b, err := cer.NewEnvironment(cer.KindWasm, more).Encode(); b != nil || !errors.Is(err, cer.ErrSchema) {
		t.Errorf("with another fact: %s, %v", b, err)
	}
}

// Who executes a module, the isolation's mode and the components are one story, in
// every combination.
func TestCheckWasm(t *testing.T) {
	launcher := &cer.Component{Role: cer.RoleLauncher, Name: "sworn", Digest: []string{"sha256:" + hex1}}
	same := &cer.Component{Role: cer.RoleInterpreter, Name: cer.WasmInterpreterName, Digest: []string{"fsverity-sha256;block=4096:" + hexF, "sha256:" + hex1}}
	other := &cer.Component{Role: cer.RoleInterpreter, Name: cer.WasmInterpreterName, Digest: []string{"sha256:" + hexF}}
	run := func(process string) *cer.Environment {
		return cer.NewEnvironment(cer.KindWasm, []cer.Fact{{Name: cer.FactWasmProcess, Value: process}})
	}
	runs := map[string]*cer.Environment{"none": nil, "own": run(cer.WasmOwn), "launcher": run(cer.WasmLauncher)}
	modes := map[string]*cer.Environment{"none": nil}
	for _, mode := range []string{"closed", "open", cer.ModeInside} {
		modes[mode] = cer.NewEnvironment(cer.KindIsolation, []cer.Fact{{Name: cer.FactMode, Value: mode}})
	}
	sets := map[string][]*cer.Component{
		"nothing": nil, "launcher": {launcher}, "interpreter": {same}, "both": {launcher, same}, "another": {launcher, other},
	}
	for r, e := range runs {
		for mode, isolation := range modes {
			for set, components := range sets {
				good := r == "none" && mode != cer.ModeInside || r == "own" && mode != cer.ModeInside && set == "both" ||
					r == "launcher" && mode == cer.ModeInside && set == "launcher"
				if err := cer.CheckWasm(e, isolation, components); (err == nil) != good || err != nil && !errors.Is(err, cer.ErrSchema) {
					t.Errorf("process %s, mode %s, components %s: %v", r, mode, set, err)
				}
			}
		}
	}
}
