//go:build linux

package launch

import (
	"context"
	"fmt"
	"path"
	"path/filepath"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/launch/elfdeps"
	"github.com/sworn-run/sworn/internal/launch/inside"
	"github.com/sworn-run/sworn/internal/launch/jail"
	"github.com/sworn-run/sworn/internal/launch/wasm"
)

// Wasm is a job that is a WebAssembly module. The launcher's own program runs it (package
// wasm): as a process of its own in the job's root, or Inside.
type Wasm struct {
	// Module is the module's path.
	Module string
	// Target is where it stands in the job's root; empty for its base name in /wasm.
	Target string
	// Engine is wasm.Compiler, which empty stands for, or wasm.Interpreter.
	Engine string
	// Inside has the launcher's process itself run it (package inside): for an enclave,
	// which can start no other.
	Inside bool
	// command is what the process is told.
	command wasm.Command
}

// The places in the job's root of modules, and of the program that runs them.
const (
	moduleDir  = "/wasm"
	runnerPath = "/sworn"
)

// addModule adds the module and the program that runs it. A module that imports what
// is not offered, or is none, is refused here: nothing is launched then.
func (p *Plan) addModule() error {
	w := *p.job.Wasm
	p.job.Wasm = &w
	switch l := p.job.Limits; {
	case p.image != nil || p.job.Network || len(p.job.Devices) > 0:
		return fmt.Errorf("a WebAssembly module gets no image, network or device: %w", ErrUsage)
	case l.AddressSpace|l.OpenFiles|l.Processes|l.FileSize != 0:
		return fmt.Errorf("the limits of a WebAssembly module are memory and cpu: %w", ErrUsage)
	case w.Inside && l.CPUSeconds != 0:
		return fmt.Errorf("a WebAssembly module within the launcher has the one limit memory: %w", ErrUsage)
	case w.Inside && (p.job.Protect == ProtectVerity || p.job.Protect == ProtectNone):
		return fmt.Errorf("protection %q: a WebAssembly module within the launcher reads copies in memory: %w", p.job.Protect, ErrUsage)
	}
	if w.Engine == "" {
		w.Engine = wasm.Compiler
	}
	pages, err := wasm.Pages(p.job.Limits.Memory)
	if err == nil {
		_, err = wasm.Facts(w.Engine, pages, w.process())
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUsage, err)
	}
	source, err := regular(w.Module)
	if err != nil {
		return err
	}
	b, err := wasm.ReadModule(source)
	if err == nil {
		err = wasm.Check(b, pages)
	}
	if err != nil {
		return fmt.Errorf("%s: %w: %w", w.Module, ErrUsage, err)
	}
	target := (&Named{Target: w.Target}).at(path.Join(moduleDir, filepath.Base(w.Module)))
	p.files = append(p.files, planned{role: cer.RoleBinary, name: path.Base(target), source: source, target: target})
	w.command = wasm.Command{Module: target, Engine: w.Engine, Pages: pages}
	if w.Inside {
		return nil
	}
	return p.addRunner()
}

// process is where the module runs, as the record names it.
func (w *Wasm) process() string {
	if w.Inside {
		return cer.WasmLauncher
	}
	return cer.WasmOwn
}

// addRunner adds the launcher's own program and what that needs.
func (p *Plan) addRunner() error {
	source, err := regular(p.job.Launcher)
	if err != nil {
		return err
	}
	res, err := elfdeps.Closure(source, elfdeps.Options{Root: p.job.Root})
	if err != nil {
		return err
	}
	if len(res.LibraryPath) > 0 {
		return fmt.Errorf("%s needs libraries that its loader does not find by itself: %w", source, ErrUsage)
	}
	p.program = runnerPath
	p.files = append(p.files, planned{role: cer.RoleInterpreter, name: cer.WasmInterpreterName, source: source, target: runnerPath, executable: true})
	for _, d := range res.Deps {
		p.files = append(p.files, planned{role: string(d.Role), name: d.Name, source: d.Source, target: d.Target, executable: true})
	}
	return nil
}

// checkModule is the last look at a module's job: all that it is given is known.
func (p *Plan) checkModule() error {
	if p.job.Wasm == nil {
		return nil
	}
	if p.output != "" {
		return fmt.Errorf("placeholder {output}: a WebAssembly module can write no file, and its output is its standard output: %w", ErrUsage)
	}
	if p.job.Wasm.Inside && len(p.volumes) > 0 {
		return fmt.Errorf("%s: a WebAssembly module within the launcher gets no volume: %w", &p.volumes[0], ErrUsage)
	}
	c := &p.job.Wasm.command
	c.Env = p.env
	c.Roots = []string{modelDir, configDir, jail.InputDir}
	for _, a := range p.job.Add {
		target, err := filepath.Abs(a.Path)
		if err != nil {
			return fmt.Errorf("%s: %w: %w", a.Path, ErrUsage, err)
		}
		c.Roots = append(c.Roots, a.at(target))
	}
	if _, err := c.Argv(p.argv); err != nil {
		return fmt.Errorf("%w: %w", ErrUsage, err)
	}
	return nil
}

// runModule has the module run by its runner, where the job is one. Its memory is
// bounded by the runner: a control group would count the compiler's too.
func (p *Plan) runModule(s *jail.Spec) {
	if p.job.Wasm == nil || p.inside() {
		return
	}
	argv, err := p.job.Wasm.command.Argv(p.argv)
	if err != nil {
		return // checkModule has seen to that; the jail refuses a command without words
	}
	s.Command.Argv, s.Command.Env, s.Limits.Memory = argv, nil, 0
}

// sandbox is what keeps a job apart: a jail or, within the launcher, the engine alone.
type sandbox interface {
	Files() []jail.Digest
	Input() (jail.Digest, bool)
	Image() *jail.Unpacked
	Isolation() jail.Isolation
	Run(ctx context.Context, streams jail.IO) (jail.Exit, error)
	Close() error
}

// inside reports whether the job runs within the launcher.
func (p *Plan) inside() bool { return p.job.Wasm != nil && p.job.Wasm.Inside }

// start makes the job ready, as spec says. hardened is what jail.Harden said.
func (p *Plan) start(ctx context.Context, spec *jail.Spec, hardened []jail.Fact) (sandbox, error) {
	if !p.inside() {
		j, err := jail.Start(ctx, *spec)
		if err != nil {
			return nil, err
		}
		return j, nil
	}
	if spec.Strict {
		return nil, fmt.Errorf("%w: isolation is strict, and a job within the launcher has no namespace, uid or filter of its own", jail.ErrIsolation)
	}
	j, err := inside.Start(ctx, inside.Spec{
		Files: spec.Files, InputFile: spec.InputFile, Command: p.job.Wasm.command, Args: p.argv, Timeout: spec.Timeout,
		Bytes: spec.TmpfsBytes, Hardened: hardened, Progress: spec.Progress,
	})
	if err != nil {
		return nil, err
	}
	return j, nil
}

// wasmEnvironment says how the module is run; nil where there is none.
func (p *Plan) wasmEnvironment() *cer.Environment {
	if p.job.Wasm == nil {
		return nil
	}
	facts, err := wasm.Facts(p.job.Wasm.command.Engine, p.job.Wasm.command.Pages, p.job.Wasm.process())
	if err != nil {
		return nil
	}
	return cer.NewEnvironment(cer.KindWasm, facts)
}
