//go:build linux

package launch

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/launch/elfdeps"
	"github.com/sworn-run/sworn/internal/launch/jail"
)

// Named is a path with the name its component gets.
type Named struct {
	// Name is the component's name; empty for the default.
	Name string
	// Path is the path on this machine: a file or a folder.
	Path string
}

// Job is what the user asks to run.
type Job struct {
	// Command is the command template: a program and its arguments, with
	// placeholders.
	Command []string
	// Weights are files or folders of model weights; the default name is
	// "default".
	Weights []Named
	// Config are configuration files; the default name is "default".
	Config []Named
	// Add are further files or folders, each at its own path; the default name is
	// that path.
	Add []Named
	// Input is the path of the input; empty for standard input.
	Input string
	// Env are the variables given to the job, as NAME=value.
	Env []string
	// Params are the parameters, as NAME and value.
	Params []cer.Fact
	// Limits are the job's resource limits; each that is set is a component.
	Limits jail.Limits
	// Launcher is the path of the launcher's own executable.
	Launcher string
	// Root is where programs and libraries are looked up; empty for "/".
	Root string
}

// Plan is a job with every file found: what will be measured, and where it will
// stand in the job's root.
type Plan struct {
	job      Job
	files    []planned
	argv     []string
	program  string
	env      []string
	output   string
	input    string
	launcher *cer.Component
}

// planned is one file of the job's root.
type planned struct {
	role, name, source, target string
	executable                 bool
}

// The folders of the job's root that hold weights and configuration.
const (
	modelDir  = "/model"
	configDir = "/config"
	// outputFile is where {output} points.
	outputFile = jail.ScratchDir + "/output"
)

// NewPlan finds every file of a job. Nothing is run and nothing is hashed but
// the launcher. The error wraps ErrUsage or one of package elfdeps.
func NewPlan(job Job) (*Plan, error) {
	p := &Plan{job: job}
	if len(job.Command) == 0 || job.Command[0] == "" {
		return nil, fmt.Errorf("no command given: %w", ErrUsage)
	}
	if err := p.addProgram(); err != nil {
		return nil, err
	}
	for _, f := range []func() error{p.addWeights, p.addConfig, p.addOthers, p.setEnv, p.substitute, p.checkUnique, p.measureLauncher} {
		if err := f(); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// regular follows symbolic links to a regular file.
func regular(file string) (string, error) {
	real, err := filepath.EvalSymlinks(file)
	if err == nil {
		real, err = filepath.Abs(real)
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w: %w", file, ErrUsage, err)
	}
	st, err := os.Stat(real)
	if err != nil {
		return "", fmt.Errorf("%s: %w: %w", file, ErrUsage, err)
	}
	if !st.Mode().IsRegular() {
		return "", fmt.Errorf("%s is not a regular file: %w", file, ErrUsage)
	}
	return real, nil
}

// addProgram resolves the program, its interpreter and its libraries.
func (p *Plan) addProgram() error {
	found, err := exec.LookPath(p.job.Command[0])
	if err != nil && !errors.Is(err, exec.ErrDot) {
		return fmt.Errorf("program %q: %w: %w", p.job.Command[0], ErrUsage, err)
	}
	if p.program, err = filepath.Abs(found); err != nil {
		return fmt.Errorf("program %q: %w: %w", found, ErrUsage, err)
	}
	source, err := regular(p.program)
	if err != nil {
		return err
	}
	p.files = append(p.files, planned{cer.RoleBinary, p.program, source, p.program, true})
	cpuinfo, _ := os.ReadFile("/proc/cpuinfo") // none: the plainest processor
	res, err := elfdeps.Closure(source, elfdeps.Options{Root: p.job.Root, HWCaps: elfdeps.HWCaps(cpuinfo), LibraryPath: p.libraryPath()})
	if err != nil {
		return err
	}
	for _, d := range res.Deps {
		p.files = append(p.files, planned{string(d.Role), d.Name, d.Source, d.Target, true})
	}
	given := p.libraryPath()
	switch {
	case len(given) == 0 && len(res.LibraryPath) > 0:
		p.env = append(p.env, "LD_LIBRARY_PATH="+strings.Join(res.LibraryPath, ":"))
	case len(res.LibraryPath) > len(given):
		return fmt.Errorf("LD_LIBRARY_PATH lacks folders the program needs, give it as %s: %w", strings.Join(res.LibraryPath, ":"), ErrUsage)
	}
	return nil
}

// libraryPath returns the folders of the LD_LIBRARY_PATH that the job is given
// by name, which the loader will look in first.
func (p *Plan) libraryPath() []string {
	for _, e := range p.job.Env {
		if v, ok := strings.CutPrefix(e, "LD_LIBRARY_PATH="); ok && v != "" {
			return strings.Split(v, ":")
		}
	}
	return nil
}

// checkName refuses names that cannot be a folder or a placeholder.
func checkName(kind, name string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/{}:=\x00\n") || len(name) > 255 {
		return fmt.Errorf("%s name %q: want a plain word: %w", kind, name, ErrUsage)
	}
	return nil
}

func (p *Plan) addWeights() error {
	for i := range p.job.Weights {
		w := &p.job.Weights[i]
		if w.Name == "" {
			w.Name = "default"
		}
		if err := checkName("weights", w.Name); err != nil {
			return err
		}
		if err := p.addTree(cer.RoleWeights, w.Name, w.Path, path.Join(modelDir, w.Name, filepath.Base(w.Path))); err != nil {
			return err
		}
	}
	return nil
}

func (p *Plan) addConfig() error {
	for i := range p.job.Config {
		c := &p.job.Config[i]
		if c.Name == "" {
			c.Name = "default"
		}
		if err := checkName("config", c.Name); err != nil {
			return err
		}
		source, err := regular(c.Path)
		if err != nil {
			return err
		}
		p.files = append(p.files, planned{cer.RoleConfig, c.Name, source, path.Join(configDir, filepath.Base(c.Path)), false})
	}
	return nil
}

func (p *Plan) addOthers() error {
	for _, a := range p.job.Add {
		target, err := filepath.Abs(a.Path)
		if err != nil {
			return fmt.Errorf("%s: %w: %w", a.Path, ErrUsage, err)
		}
		name := a.Name
		if name == "" {
			name = target
		}
		if err := p.addTree(cer.RoleFile, name, a.Path, target); err != nil {
			return err
		}
	}
	return nil
}

// addTree adds a file, or every file below a folder. A symbolic link inside the
// folder must lead to a file inside it.
func (p *Plan) addTree(role, name, source, target string) error {
	top, err := filepath.EvalSymlinks(source)
	if err != nil {
		return fmt.Errorf("%s: %w: %w", source, ErrUsage, err)
	}
	if top, err = filepath.Abs(top); err != nil {
		return fmt.Errorf("%s: %w: %w", source, ErrUsage, err)
	}
	st, err := os.Stat(top)
	if err != nil {
		return fmt.Errorf("%s: %w: %w", source, ErrUsage, err)
	}
	if !st.IsDir() {
		real, err := regular(source)
		if err != nil {
			return err
		}
		p.files = append(p.files, planned{role, name, real, target, st.Mode()&0o111 != 0})
		return nil
	}
	before := len(p.files)
	err = filepath.WalkDir(top, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		real, err := regular(file)
		if err != nil {
			return err
		}
		if !strings.HasPrefix(real, top+"/") {
			return fmt.Errorf("%s leads out of its folder: %w", file, ErrUsage)
		}
		info, err := os.Stat(real)
		if err != nil {
			return err
		}
		rel := strings.TrimPrefix(file, top+"/")
		p.files = append(p.files, planned{role, name + "/" + rel, real, path.Join(target, rel), info.Mode()&0o111 != 0})
		return nil
	})
	switch {
	case err != nil && errors.Is(err, ErrUsage):
		return err
	case err != nil:
		return fmt.Errorf("%s: %w: %w", source, ErrUsage, err)
	case len(p.files) == before:
		return fmt.Errorf("%s is an empty folder: %w", source, ErrUsage)
	}
	return nil
}

// setEnv takes the allow-listed variables, sorted by name.
func (p *Plan) setEnv() error {
	p.env = append(p.env, p.job.Env...)
	sort.Strings(p.env)
	for i, e := range p.env {
		name, _, ok := strings.Cut(e, "=")
		if !ok || name == "" || strings.ContainsAny(e, "\x00") {
			return fmt.Errorf("environment %q: want NAME=value: %w", e, ErrUsage)
		}
		if i > 0 && strings.HasPrefix(p.env[i-1], name+"=") {
			return fmt.Errorf("environment variable %s is given twice: %w", name, ErrUsage)
		}
	}
	return nil
}

// substitute replaces the placeholders of the command template.
func (p *Plan) substitute() error {
	if !slices.IsSortedFunc(p.job.Params, func(a, b cer.Fact) int { return strings.Compare(a.Name, b.Name) }) {
		return fmt.Errorf("parameters are not sorted: %w", ErrUsage)
	}
	for _, f := range p.job.Params {
		if err := cer.CheckParameter(f.Name); err != nil {
			return fmt.Errorf("%w: %w", ErrUsage, err)
		}
	}
	for i, arg := range p.job.Command {
		if i == 0 {
			p.argv = append(p.argv, arg)
			continue
		}
		out, err := p.expand(arg)
		if err != nil {
			return err
		}
		p.argv = append(p.argv, out)
	}
	return nil
}

// expand replaces the placeholders of one argument. Braces that begin no
// placeholder stay as they are.
func (p *Plan) expand(arg string) (string, error) {
	var b strings.Builder
	for {
		i := strings.IndexByte(arg, '{')
		if i < 0 {
			b.WriteString(arg)
			return b.String(), nil
		}
		b.WriteString(arg[:i])
		arg = arg[i:]
		end := strings.IndexByte(arg, '}')
		if end < 0 {
			b.WriteString(arg)
			return b.String(), nil
		}
		value, known, err := p.placeholder(arg[1:end])
		if err != nil {
			return "", err
		}
		if !known {
			b.WriteByte('{')
			arg = arg[1:]
			continue
		}
		b.WriteString(value)
		arg = arg[end+1:]
	}
}

// placeholder returns the value of a placeholder, and whether it is one.
func (p *Plan) placeholder(word string) (string, bool, error) {
	kind, name, named := strings.Cut(word, ":")
	if !named {
		name = "default"
	}
	var value string
	switch kind {
	case "weights":
		value = p.target(cer.RoleWeights, name, p.job.Weights, modelDir)
	case "weights.dir":
		if value = p.target(cer.RoleWeights, name, p.job.Weights, modelDir); value != "" && !p.isFolder(name) {
			value = path.Dir(value)
		}
	case "config":
		value = p.target(cer.RoleConfig, name, p.job.Config, configDir)
	case "input":
		if named || p.job.Input == "" {
			return "", true, fmt.Errorf("placeholder {%s}: give the input as a file with --input PATH: %w", word, ErrUsage)
		}
		source, err := regular(p.job.Input)
		if err != nil {
			return "", true, err
		}
		p.input, value = source, jail.InputTarget
	case "output":
		if !named {
			p.output, value = outputFile, outputFile
		}
	case "param":
		i := slices.IndexFunc(p.job.Params, func(f cer.Fact) bool { return f.Name == name })
		if named && i >= 0 {
			return p.job.Params[i].Value, true, nil
		}
	default:
		return "", false, nil
	}
	if value == "" {
		return "", true, fmt.Errorf("placeholder {%s} names nothing that was given: %w", word, ErrUsage)
	}
	return value, true, nil
}

// target returns the path in the job's root of a named file or folder.
func (p *Plan) target(role, name string, given []Named, dir string) string {
	for _, f := range p.files {
		if f.role == role && f.name == name {
			return f.target
		}
	}
	for _, g := range given {
		if g.Name == name && role == cer.RoleWeights {
			return path.Join(dir, name, filepath.Base(g.Path))
		}
	}
	return ""
}

// isFolder reports whether the weights of that name were given as a folder.
func (p *Plan) isFolder(name string) bool {
	return !slices.ContainsFunc(p.files, func(f planned) bool { return f.role == cer.RoleWeights && f.name == name })
}

// checkUnique drops files that are listed twice for one target (a library that
// was also added by name), and refuses two components of one role and name.
func (p *Plan) checkUnique() error {
	targets, keys := map[string]planned{}, map[string]bool{}
	var out []planned
	for _, f := range p.files {
		if old, ok := targets[f.target]; ok {
			if old.source != f.source {
				return fmt.Errorf("%s and %s would both stand at %s: %w", old.source, f.source, f.target, ErrUsage)
			}
			continue
		}
		key := f.role + "\x00" + f.name
		if keys[key] {
			return fmt.Errorf("two %s components are named %q: %w", f.role, f.name, ErrUsage)
		}
		targets[f.target], keys[key] = f, true
		out = append(out, f)
	}
	p.files = out
	return nil
}

// InputIsFile reports whether the command takes the input as a file, by
// {input}, rather than on its standard input.
func (p *Plan) InputIsFile() bool { return p.input != "" }

// spec returns what the jail needs.
func (p *Plan) spec(o *Options) jail.Spec {
	s := jail.Spec{
		InputFile: p.input, OutputFile: p.output, Strict: o.Strict, Proc: o.Proc,
		Timeout: o.Timeout, Limits: p.job.Limits, Progress: o.Progress,
		Command: jail.Command{Path: p.program, Argv: p.argv, Env: p.env},
	}
	for i, f := range p.files {
		s.Files = append(s.Files, jail.File{ID: i, Source: f.source, Target: f.target, Executable: f.executable})
	}
	if !o.Strict {
		s.Open = p.openCommand()
	}
	return s
}

// openCommand is the command of a run without a closed root: the template's
// placeholders become the paths outside. It is nil where that cannot be done.
func (p *Plan) openCommand() *jail.Command {
	if p.output != "" {
		return nil
	}
	outside := map[string]string{}
	for _, f := range p.files {
		outside[f.target] = f.source
	}
	c := &jail.Command{Path: p.files[0].source, Env: p.env}
	for i, a := range p.argv {
		if real, ok := outside[a]; ok && i > 0 {
			a = real
		} else if dir, ok := outsideDir(outside, a); ok && i > 0 {
			a = dir
		}
		c.Argv = append(c.Argv, a)
	}
	if p.input != "" {
		return nil
	}
	return c
}

// outsideDir maps a folder of the job's root to the folder outside that holds
// its files.
func outsideDir(outside map[string]string, dir string) (string, bool) {
	if !strings.HasPrefix(dir, modelDir+"/") {
		return "", false
	}
	for target, source := range outside {
		if rel, ok := strings.CutPrefix(target, dir+"/"); ok && strings.HasSuffix(source, "/"+rel) {
			return strings.TrimSuffix(source, "/"+rel), true
		}
	}
	return "", false
}
