package cer

import (
	"fmt"
	"slices"
	"strings"
)

// The facts of an environment of [KindWasm], all of them there, in this order.
const (
	// FactWasmClock is what the module's clock shows first, and how much it goes on
	// at each reading, such as "2000-01-01T00:00:00Z+1ms".
	FactWasmClock = "clock"
	// FactWasmEngine is how the module is executed: "compiler" or "interpreter".
	FactWasmEngine = "engine"
	// FactWasmMemoryPages is the bound of its memory in pages of 64 KiB, in decimal.
	FactWasmMemoryPages = "memory_pages"
	// FactWasmRandom is the random source and its seed, such as "chacha8:" and 64
	// hexadecimal digits.
	FactWasmRandom = "random"
	// FactWasmRuntime is what runs it, with its version, such as "wazero v1.12.0".
	FactWasmRuntime = "runtime"
)

// The component that executes a module: the launcher's own executable once more, as
// a file of the job's root.
const (
	// WasmInterpreterName is its name, under [RoleInterpreter].
	WasmInterpreterName = "sworn"
)

// checkWasm enforces the facts of [KindWasm].
func (e *Environment) checkWasm() error {
	names := []string{FactWasmClock, FactWasmEngine, FactWasmMemoryPages, FactWasmRandom, FactWasmRuntime}
	same := slices.EqualFunc(e.Facts, names, func(f Fact, name string) bool { return f.Name == name && f.Value != "" })
	engine, _ := e.Get(FactWasmEngine)
	pages, _ := e.Get(FactWasmMemoryPages)
	n, number := ParseUint(pages)
	if !same || engine != "compiler" && engine != "interpreter" || number != nil || n == 0 {
		return fmt.Errorf("environment %s: want %s, an engine that is compiler or interpreter, and pages in decimal: %w",
			e.Kind, strings.Join(names, ", "), ErrSchema)
	}
	return nil
}

// CheckWasm checks what a launch with an environment of [KindWasm] measures: the
// component [RoleInterpreter] [WasmInterpreterName] must have a digest of the
// launcher's, for it was the launcher's own program that executed the module. The
// error wraps ErrSchema.
func CheckWasm(components []*Component) error {
	find := func(role string) *Component {
		i := slices.IndexFunc(components, func(c *Component) bool { return c.Role == role && c.Name == WasmInterpreterName })
		if i < 0 {
			return nil
		}
		return components[i]
	}
	launcher, interpreter := find(RoleLauncher), find(RoleInterpreter)
	if launcher == nil || interpreter == nil ||
		!slices.ContainsFunc(interpreter.Digest, func(d string) bool { return slices.Contains(launcher.Digest, d) }) {
		return fmt.Errorf("a module was run, and not by the launcher's own program: want an %s %q with the launcher's digest: %w",
			RoleInterpreter, WasmInterpreterName, ErrSchema)
	}
	return nil
}
