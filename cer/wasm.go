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
	// FactWasmProcess is the process that the module runs in: [WasmOwn] or
	// [WasmLauncher].
	FactWasmProcess = "process"
	// FactWasmRandom is the random source and its seed, such as "chacha8:" and 64
	// hexadecimal digits.
	FactWasmRandom = "random"
	// FactWasmRuntime is what runs it, with its version, such as "wazero v1.12.0".
	FactWasmRuntime = "runtime"
)

// The processes that a module can run in.
const (
	// WasmOwn: a process of its own in the job's root, which is killed at the time
	// limit.
	WasmOwn = "own"
	// WasmLauncher: the launcher's, as in an enclave, which can start none. The engine
	// ends the module at the time limit.
	WasmLauncher = "launcher"
)

// What an isolation says of a module within the launcher.
const (
	// FactMode is the isolation's fact that says how the job is kept apart.
	FactMode = "mode"
	// ModeInside is its value where nothing but the engine of WebAssembly stands
	// between job and launcher.
	ModeInside = "inside"
)

// The component that executes a module in a process of its own: the launcher's own
// executable once more, as a file of the job's root.
const (
	// WasmInterpreterName is its name, under [RoleInterpreter].
	WasmInterpreterName = "sworn"
)

// checkWasm enforces the facts of [KindWasm].
func (e *Environment) checkWasm() error {
	names := []string{FactWasmClock, FactWasmEngine, FactWasmMemoryPages, FactWasmProcess, FactWasmRandom, FactWasmRuntime}
	same := slices.EqualFunc(e.Facts, names, func(f Fact, name string) bool { return f.Name == name && f.Value != "" })
	engine, _ := e.Get(FactWasmEngine)
	process, _ := e.Get(FactWasmProcess)
	pages, _ := e.Get(FactWasmMemoryPages)
	n, number := ParseUint(pages)
	if !same || engine != "compiler" && engine != "interpreter" || process != WasmOwn && process != WasmLauncher || number != nil || n == 0 {
		return fmt.Errorf("environment %s: want %s, an engine that is compiler or interpreter, a process that is %s or %s, and pages in decimal: %w",
			e.Kind, strings.Join(names, ", "), WasmOwn, WasmLauncher, ErrSchema)
	}
	return nil
}

// Inside reports whether an isolation says that the job runs within the launcher's
// process.
func (e *Environment) Inside() bool {
	mode, _ := e.Get(FactMode)
	return mode == ModeInside
}

// CheckWasm checks that what a launch says of who executes a module is one story.
// run is its environment of [KindWasm], nil for none, and isolation the one of
// [KindIsolation]. In a process of its own it is executed by the component
// [RoleInterpreter] [WasmInterpreterName], which must have a digest of the launcher's,
// for it was the launcher's own program. In the launcher's process there is no such
// component, and the isolation's mode is [ModeInside], which no other job has. The
// error wraps ErrSchema.
func CheckWasm(run, isolation *Environment, components []*Component) error {
	process, _ := run.Get(FactWasmProcess)
	if (process == WasmLauncher) != isolation.Inside() {
		return fmt.Errorf("a module that runs in the launcher's process has an isolation of mode %s, and no other job has: %w", ModeInside, ErrSchema)
	}
	if run == nil {
		return nil
	}
	find := func(role string) *Component {
		i := slices.IndexFunc(components, func(c *Component) bool { return c.Role == role && c.Name == WasmInterpreterName })
		if i < 0 {
			return nil
		}
		return components[i]
	}
	launcher, interpreter := find(RoleLauncher), find(RoleInterpreter)
	if process == WasmLauncher {
		if launcher == nil || interpreter != nil {
			return fmt.Errorf("a module was run in the launcher's process: want a launcher %q and no %s of that name: %w",
				WasmInterpreterName, RoleInterpreter, ErrSchema)
		}
		return nil
	}
	if launcher == nil || interpreter == nil ||
		!slices.ContainsFunc(interpreter.Digest, func(d string) bool { return slices.Contains(launcher.Digest, d) }) {
		return fmt.Errorf("a module was run, and not by the launcher's own program: want an %s %q with the launcher's digest: %w",
			RoleInterpreter, WasmInterpreterName, ErrSchema)
	}
	return nil
}
