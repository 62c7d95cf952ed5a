package main

import (
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/sworn-run/sworn/internal/launch"
	"github.com/sworn-run/sworn/internal/launch/wasm"
)

// registerWasm adds the flags of a job that is a WebAssembly module.
func (j *jobFlags) registerWasm(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&j.wasm, "wasm", "", "the job is a WebAssembly module, a WASI preview1 command in `FILE`; after -- stand its arguments alone. It can read its measured files and be run again by \"sworn replay\"")
	engineFlag(cmd, &j.wasmEngine, defaultEngine)
}

// engineFlag adds --wasm-engine.
func engineFlag(cmd *cobra.Command, engine *string, otherwise string) {
	cmd.Flags().StringVar(engine, "wasm-engine", otherwise, "how the module is executed: `compiler`, or interpreter, which needs no executable memory")
	choices(cmd, "wasm-engine", wasm.Compiler, wasm.Interpreter)
}

// useWasm makes the module that the flags name the job.
func (j *jobFlags) useWasm(job *launch.Job) error {
	switch {
	case j.wasm == "" && j.wasmEngine != defaultEngine:
		return usage("--wasm job.wasm --wasm-engine "+j.wasmEngine, "--wasm-engine is for a job that is a WebAssembly module")
	case j.wasm == "":
		return nil
	case j.wasmEngine != wasm.Compiler && j.wasmEngine != wasm.Interpreter:
		return usage("--wasm-engine "+wasm.Compiler, "engine %q: want %s or %s", j.wasmEngine, wasm.Compiler, wasm.Interpreter)
	case j.hasImage():
		return usage("leave one of them out", "--wasm excludes a container image: a module has no programs beside it")
	}
	job.Wasm = &launch.Wasm{Module: j.wasm, Engine: j.wasmEngine, Inside: j.inside}
	if j.inside {
		job.Launcher = ""
	}
	job.Command = append([]string{filepath.Base(j.wasm)}, job.Command...)
	return nil
}
