// Package wasm runs a job that is a WebAssembly module: a WASI preview1 command, by
// wazero, with nothing but its arguments, its variables, the three standard streams,
// read-only files, a clock that counts and a random source with a fixed seed.
//
// What a module gets is the same at every run, to the byte, so that its output is a
// function of its module, files, input, arguments and variables: the job can be run
// again, and its output compared. Two things are not fixed: the bits of a NaN that an
// operation makes, which WebAssembly leaves open, and where memory or time run out.
//
// [Check] looks at a module before anything runs. [Run] runs one in this process.
// [MaybeRun] makes this process the one that runs a module, in a job's closed root.
package wasm

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/sworn-run/sworn/cer"
)

// The errors of this package; every error it returns wraps one of them.
var (
	// ErrModule: not a module that can be run: malformed, too large, of another
	// kind, or without what a command must have.
	ErrModule = errors.New("unusable WebAssembly module")
	// ErrImport: the module imports what is not offered.
	ErrImport = errors.New("import that is not offered")
	// ErrTrap: the module ran, or was being made ready to, and was ended by a trap, such
	// as an access outside of its memory, or because the context ended.
	ErrTrap = errors.New("module trapped")
	// ErrEngine: the engine failed, and not the module. Nothing can be said of what
	// ran.
	ErrEngine = errors.New("WebAssembly engine failed")
	// ErrOptions: options that cannot be meant.
	ErrOptions = errors.New("invalid options")
)

// The engines, as the record names them.
const (
	// Compiler translates the module to machine code before it runs; the default.
	Compiler = "compiler"
	// Interpreter needs no executable memory, and takes some twenty times as long.
	Interpreter = "interpreter"
)

// Runtime names what runs modules, with its version, as the record does.
const Runtime = "wazero v1.12.0"

// The units and bounds of a module's linear memory.
const (
	// PageSize is the size of a page in bytes (WebAssembly core specification 2.0,
	// section 4.2.8).
	PageSize = 64 << 10
	// MaxPages is the most that a module can address: 4 GiB.
	MaxPages = 1 << 16
	// DefaultPages is the bound where none is given: 1 GiB.
	DefaultPages = 1 << 14
)

// Pages returns the bound in pages for a bound in bytes; 0 stands for the default.
// The error wraps ErrOptions.
func Pages(memory uint64) (uint32, error) {
	if memory == 0 {
		return DefaultPages, nil
	}
	if n := memory / PageSize; n >= 1 && n <= MaxPages {
		return uint32(n), nil
	}
	return 0, fmt.Errorf("memory of %d bytes, want %d to %d: %w", memory, PageSize, uint64(MaxPages)*PageSize, ErrOptions)
}

// Facts are what the record says of how a module is run (SPEC, section 5.5 wasm), in
// the process cer.WasmOwn or cer.WasmLauncher. The error wraps ErrOptions.
func Facts(engine string, pages uint32, process string) ([]cer.Fact, error) {
	if err := checkEngine(engine, pages); err != nil {
		return nil, err
	}
	return []cer.Fact{
		{Name: cer.FactWasmClock, Value: clockFact()},
		{Name: cer.FactWasmEngine, Value: engine},
		{Name: cer.FactWasmMemoryPages, Value: strconv.FormatUint(uint64(pages), 10)},
		{Name: cer.FactWasmProcess, Value: process},
		{Name: cer.FactWasmRandom, Value: randomFact()},
		{Name: cer.FactWasmRuntime, Value: Runtime},
	}, nil
}

// checkEngine checks what an engine is given.
func checkEngine(engine string, pages uint32) error {
	if !slices.Contains([]string{Compiler, Interpreter}, engine) {
		return fmt.Errorf("engine %q, want %s or %s: %w", engine, Compiler, Interpreter, ErrOptions)
	}
	if pages == 0 || pages > MaxPages {
		return fmt.Errorf("memory of %d pages, want 1 to %d: %w", pages, MaxPages, ErrOptions)
	}
	return nil
}

// File is one file that a module can read.
type File struct {
	// Path is the clean, absolute path at which the module finds it.
	Path string
	// Size is its length in bytes. The module reads no more of it.
	Size int64
	// Open opens it; what it returns is closed if it is an io.Closer.
	Open func() (io.ReaderAt, error)
}

// Options are one run. The zero Options are refused.
type Options struct {
	// Module is the module's bytes.
	Module []byte
	// Args are its arguments, with its name as the first.
	Args []string
	// Env are its variables, as NAME=value.
	Env []string
	// Engine is Compiler or Interpreter.
	Engine string
	// Pages bounds its memory, in units of PageSize.
	Pages uint32
	// Files are all it can open, below a folder "/" that it is given.
	Files []File
	// Stdin is its standard input; nil for an empty one.
	Stdin io.Reader
	// Stdout and Stderr take its streams; nil discards.
	Stdout, Stderr io.Writer
	// Interruptible lets the end of the context end the module, which makes it some
	// six times as slow: for a caller that cannot kill the process.
	Interruptible bool
}
