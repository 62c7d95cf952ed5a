package wasm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
	"github.com/tetratelabs/wazero/experimental/sysfs"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
	"github.com/tetratelabs/wazero/sys"
)

// Run runs a module to its end and returns its exit status, 0 to 255: one above is
// 255. The error wraps ErrOptions, ErrModule or ErrImport if nothing of the module
// ran, and else ErrTrap. Status and error exclude each other.
func Run(ctx context.Context, o Options) (status int, err error) {
	if err := checkEngine(o.Engine, o.Pages); err != nil {
		return 0, err
	}
	if err := Check(o.Module, o.Pages); err != nil {
		return 0, err
	}
	module, err := o.config()
	if err != nil {
		return 0, err
	}
	ctx = experimental.WithCompilationWorkers(ctx, runtime.GOMAXPROCS(0))
	r := wazero.NewRuntimeWithConfig(ctx, o.engine())
	defer func() { _ = r.Close(context.WithoutCancel(ctx)) }() // frees memory, and has nothing to say
	if _, err := wasi_snapshot_preview1.Instantiate(ctx, r); err != nil {
		return 0, fmt.Errorf("preparing WASI: %w: %w", ErrModule, err)
	}
	compiled, err := r.CompileModule(ctx, o.Module)
	if err != nil {
		return 0, fmt.Errorf("compiling: %w: %s", ErrModule, firstLine(err))
	}
	m, err := r.InstantiateModule(ctx, compiled, module)
	if err != nil {
		return 0, fmt.Errorf("instantiating: %w: %s", ErrModule, firstLine(err))
	}
	return call(ctx, m)
}

// call calls the module's entry.
func call(ctx context.Context, m api.Module) (int, error) {
	_, err := m.ExportedFunction("_start").Call(ctx)
	exit, exited := errors.AsType[*sys.ExitError](err)
	switch {
	case err == nil:
		return 0, nil
	case ctx.Err() != nil:
		return 0, fmt.Errorf("%w: %w", ErrTrap, ctx.Err())
	case exited:
		return int(min(exit.ExitCode(), 255)), nil
	default:
		return 0, fmt.Errorf("%w: %s", ErrTrap, firstLine(err))
	}
}

// firstLine is what an engine says, without its stack.
func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// engine configures it.
func (o *Options) engine() wazero.RuntimeConfig {
	c := wazero.NewRuntimeConfigCompiler()
	if o.Engine == Interpreter {
		c = wazero.NewRuntimeConfigInterpreter()
	}
	return c.WithCoreFeatures(api.CoreFeaturesV2).WithMemoryLimitPages(o.Pages).
		WithCloseOnContextDone(o.Interruptible).WithDebugInfoEnabled(false)
}

// config says what the module gets.
func (o *Options) config() (wazero.ModuleConfig, error) {
	files, err := newTree(o.Files)
	if err != nil {
		return nil, err
	}
	mounts, ok := wazero.NewFSConfig().(sysfs.FSConfig)
	if !ok {
		return nil, fmt.Errorf("the engine takes no file system: %w", ErrOptions)
	}
	t := &clock{now: epoch}
	c := wazero.NewModuleConfig().WithName("").WithStartFunctions().WithArgs(o.Args...).
		WithFSConfig(mounts.WithSysFSMount(files.mount(), "/")).WithRandSource(random()).
		WithWalltime(t.wall, sys.ClockResolution(tick)).WithNanotime(t.read, sys.ClockResolution(tick)).
		WithNanosleep(t.sleep).WithOsyield(func() {})
	for _, v := range o.Env {
		name, value, ok := strings.Cut(v, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("variable %q: want NAME=value: %w", v, ErrOptions)
		}
		c = c.WithEnv(name, value)
	}
	if o.Stdin != nil {
		c = c.WithStdin(whole{o.Stdin})
	}
	if o.Stdout != nil {
		c = c.WithStdout(plain{o.Stdout})
	}
	if o.Stderr != nil {
		c = c.WithStderr(plain{o.Stderr})
	}
	return c, nil
}

// whole fills each buffer: how much of a pipe can be read at a time depends on who
// writes to it, and the module must not see that.
type whole struct{ r io.Reader }

// Read implements io.Reader.
func (w whole) Read(b []byte) (int, error) {
	n, err := io.ReadFull(w.r, b)
	if errors.Is(err, io.ErrUnexpectedEOF) || n > 0 && errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

// plain hides what a writer is beside: the module is not to learn of a terminal.
type plain struct{ io.Writer }
