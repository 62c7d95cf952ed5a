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
// ran, ErrTrap, or ErrEngine. Status and error exclude each other. Where the context can
// end the module, an error of its end wraps ErrTrap and the cause, and Run returns also if
// the engine still compiles: it then does so for a while in the background, and runs
// nothing.
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
	defer func() {
		if p := recover(); p != nil {
			status, err = 0, fmt.Errorf("%w: %v", ErrEngine, p)
		}
	}()
	c, err := o.compile(ctx)
	if err != nil {
		return 0, err
	}
	defer c.close()
	m, err := c.runtime.InstantiateModule(ctx, c.module, module)
	switch {
	case err == nil:
		return call(ctx, m)
	case ended(ctx, &o) != nil:
		return 0, fmt.Errorf("instantiating: %w: %w", ErrTrap, ended(ctx, &o))
	default:
		return 0, fmt.Errorf("instantiating: %w: %s", blame(err, ErrModule), firstLine(err))
	}
}

// ended is why a module is ended; nil while it is not, and where the context cannot.
func ended(ctx context.Context, o *Options) error {
	if !o.Interruptible {
		return nil
	}
	return context.Cause(ctx)
}

// blame tells an engine that stumbles from what a module does.
func blame(err, otherwise error) error {
	if _, stumbled := errors.AsType[runtime.Error](err); stumbled {
		return ErrEngine
	}
	return otherwise
}

// compiled is a module that is ready to run.
type compiled struct {
	runtime wazero.Runtime
	module  wazero.CompiledModule
	err     error
}

// close frees memory, and has nothing to say.
func (c *compiled) close() { _ = c.runtime.Close(context.Background()) }

// compile makes a module ready. Not every engine looks at the context while it compiles,
// so it does so beside.
func (o *Options) compile(ctx context.Context) (*compiled, error) {
	done := make(chan *compiled)
	gone := make(chan struct{})
	defer close(gone)
	background := context.WithoutCancel(ctx)
	if o.Interruptible {
		background = ctx
	}
	go func() {
		c := o.ready(background)
		select {
		case done <- c:
		case <-gone:
			if c.err == nil {
				c.close()
			}
		}
	}()
	select {
	case c := <-done:
		if why := ended(ctx, o); c.err != nil && why != nil {
			return nil, fmt.Errorf("compiling: %w: %w", ErrTrap, why)
		}
		return c, c.err
	case <-background.Done():
		return nil, fmt.Errorf("compiling: %w: %w", ErrTrap, context.Cause(ctx))
	}
}

// ready compiles a module, and offers it WASI. An error is in what it returns.
func (o *Options) ready(ctx context.Context) (c *compiled) {
	c = &compiled{}
	defer func() {
		if p := recover(); p != nil {
			c.err = fmt.Errorf("compiling: %w: %v", ErrEngine, p)
		}
		if c.err != nil && c.runtime != nil {
			c.close()
		}
	}()
	ctx = experimental.WithCompilationWorkers(ctx, runtime.GOMAXPROCS(0))
	c.runtime = wazero.NewRuntimeWithConfig(ctx, o.engine())
	if _, err := wasi_snapshot_preview1.Instantiate(ctx, c.runtime); err != nil {
		c.err = fmt.Errorf("preparing WASI: %w: %w", ErrEngine, err)
		return c
	}
	var err error
	if c.module, err = c.runtime.CompileModule(ctx, bounded(o.Module)); err != nil {
		c.err = fmt.Errorf("compiling: %w: %s", blame(err, ErrModule), firstLine(err))
	}
	return c
}

// call calls the module's entry.
func call(ctx context.Context, m api.Module) (int, error) {
	_, err := m.ExportedFunction("_start").Call(ctx)
	exit, exited := errors.AsType[*sys.ExitError](err)
	switch {
	case err == nil:
		return 0, nil
	case ctx.Err() != nil:
		return 0, fmt.Errorf("%w: %w", ErrTrap, context.Cause(ctx))
	case exited:
		return int(min(exit.ExitCode(), 255)), nil
	default:
		return 0, fmt.Errorf("%w: %s", blame(err, ErrTrap), firstLine(err))
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
