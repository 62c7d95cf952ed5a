//go:build linux

package launch

import (
	"crypto"
	"crypto/x509"
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
	"github.com/sworn-run/sworn/cer/oms"
	"github.com/sworn-run/sworn/internal/launch/elfdeps"
	"github.com/sworn-run/sworn/internal/launch/jail"
)

// Named is a path with the name its component gets.
type Named struct {
	// Name is the component's name; empty for the default.
	Name string
	// Path is the path on this machine: a file or a folder.
	Path string
	// Target is where it stands in the job's root; empty for the usual place.
	Target string
}

// at returns the place in the job's root, given the usual one.
func (n *Named) at(usual string) string {
	if n.Target != "" {
		return n.Target
	}
	return usual
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
	// Protect is how weights are kept from changing: ProtectAuto, the default, or
	// one of the others.
	Protect string
	// Signatures are OpenSSF model signatures of weights, by the weights' names.
	Signatures []Named
	// SignerKeys are the paths of the public keys, or of the certificates of
	// authorities, to check them with; or of one Sigstore trusted root, whose name
	// ends in .json.
	SignerKeys []string
	// SignerIdentities are those who may sign through Sigstore.
	SignerIdentities []oms.Identity
	// Sigstore verifies such a signature; nil if nothing can.
	Sigstore oms.SigstoreVerifier
	// Flat asks for the flat SHA-256 of weights whatever their size.
	Flat bool
	// Image is a reference to a container image whose files are the job's root, as
	// package oci reads it; empty for none. The command is looked up in it, and is
	// its own if none is given.
	Image string
	// ImageVolume is the path of the description of a dm-verity volume that holds an
	// image's files, which are then not unpacked; empty for none. It excludes Image.
	ImageVolume string
	// ImageStore keeps the image's uncompressed layers; empty for nowhere.
	ImageStore string
	// Wasm is the WebAssembly module that the job is; nil for a native program. The
	// first word of Command is then its name.
	Wasm *Wasm
	// Devices are devices that the job can open, as their paths below /dev.
	Devices []string
	// Network leaves the job in this machine's network.
	Network bool
	// Launcher is the path of the launcher's own executable; empty for one that is an
	// enclave, which cannot read it.
	Launcher string
	// Program is what the processor measures of a launcher that is an enclave; nil where
	// it is not one, or the Device says it.
	Program *[32]byte
	// Root is where programs and libraries are looked up; empty for "/".
	Root string
}

// Plan is a job with every file found: what will be measured, and where it will
// stand in the job's root.
type Plan struct {
	job     Job
	files   []planned
	volumes []volume
	// signatures are checked with the three after them.
	signatures   []signature
	signers      []crypto.PublicKey
	authorities  []*x509.Certificate
	sigstoreRoot []byte
	image        *image
	argv         []string
	program      string
	env          []string
	output       string
	input        string
	launcher     *cer.Component
}

// planned is one file of the job's root.
type planned struct {
	role, name, source, target string
	executable                 bool
	protect                    string
	verity, flat, describe     bool
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
	if err := p.openImage(); err != nil {
		return nil, err
	}
	if len(p.job.Command) == 0 || p.job.Command[0] == "" {
		return nil, fmt.Errorf("no command given: %w", ErrUsage)
	}
	if p.job.Wasm != nil {
		if err := p.addModule(); err != nil {
			return nil, err
		}
	} else if p.image != nil {
		p.program = p.job.Command[0]
	} else if err := p.addProgram(); err != nil {
		return nil, err
	}
	for _, f := range []func() error{p.addWeights, p.readSignatures, p.addConfig, p.addOthers, p.setEnv, p.substitute, p.checkModule, p.checkUnique, p.protect, p.measureLauncher} {
		if err := f(); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// resolve returns the absolute path of what the kernel finds at a path, free of
// symbolic links. The working folder may itself be reached through one, so that
// ".." is only resolved after them.
func resolve(file string) (string, error) {
	if file == "" {
		return "", fmt.Errorf("an empty path: %w", ErrUsage)
	}
	abs := file
	if !filepath.IsAbs(abs) {
		wd, err := os.Getwd()
		if err != nil {
			return "", fmt.Errorf("%s: %w: %w", file, ErrUsage, err)
		}
		abs = wd + "/" + file
	}
	real, err := filepath.EvalSymlinks(abs)
	if err != nil {
		return "", fmt.Errorf("%s: %w: %w", file, ErrUsage, err)
	}
	return real, nil
}

// regular follows symbolic links to a regular file.
func regular(file string) (string, error) {
	real, err := resolve(file)
	if err != nil {
		return "", err
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
	p.files = append(p.files, planned{role: cer.RoleBinary, name: p.program, source: source, target: p.program, executable: true})
	cpuinfo, _ := os.ReadFile("/proc/cpuinfo") // none: the plainest processor
	res, err := elfdeps.Closure(source, elfdeps.Options{Root: p.job.Root, HWCaps: elfdeps.HWCaps(cpuinfo), LibraryPath: p.libraryPath()})
	if err != nil {
		return err
	}
	for _, d := range res.Deps {
		p.files = append(p.files, planned{role: string(d.Role), name: d.Name, source: d.Source, target: d.Target, executable: true})
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
		if description, ok := strings.CutPrefix(w.Path, volumePrefix); ok {
			if err := p.addVolume(w.Name, description); err != nil {
				return err
			}
			continue
		}
		// The base name of ".." is no name of a folder.
		if base := filepath.Base(w.Path); w.Path != "" && (base == "." || base == "..") {
			real, err := resolve(w.Path)
			if err != nil {
				return err
			}
			w.Path = real
		}
		if err := p.addTree(cer.RoleWeights, w.Name, w.Path, w.at(path.Join(modelDir, w.Name, filepath.Base(w.Path)))); err != nil {
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
		p.files = append(p.files, planned{role: cer.RoleConfig, name: c.Name, source: source, target: c.at(path.Join(configDir, filepath.Base(c.Path)))})
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
		if err := p.addTree(cer.RoleFile, name, a.Path, a.at(target)); err != nil {
			return err
		}
	}
	return nil
}

// addTree adds a file, or every file below a folder. A symbolic link inside the
// folder must lead to a file inside it.
func (p *Plan) addTree(role, name, source, target string) error {
	if source == "" {
		return fmt.Errorf("%s %q has an empty path: %w", role, name, ErrUsage)
	}
	top, err := resolve(source)
	if err != nil {
		return err
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
		p.files = append(p.files, planned{role: role, name: name, source: real, target: target, executable: st.Mode()&0o111 != 0})
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
			return fmt.Errorf("%s leads out of its folder (cp -rL copies a folder without links): %w", file, ErrUsage)
		}
		info, err := os.Stat(real)
		if err != nil {
			return err
		}
		rel := strings.TrimPrefix(file, top+"/")
		if !plainText(rel) {
			return fmt.Errorf("%q in %s: a name that is not printable UTF-8 cannot be recorded: %w", rel, source, ErrUsage)
		}
		p.files = append(p.files, planned{
			role: role, name: name + "/" + rel, source: real, target: path.Join(target, rel), executable: info.Mode()&0o111 != 0,
		})
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

// checkUnique drops files that are listed twice for one target (a library that
// was also added by name), and refuses two components of one role and name.
func (p *Plan) checkUnique() error {
	targets, keys := map[string]planned{}, map[string]bool{}
	var out []planned
	for _, f := range p.files {
		if !plainText(f.target) {
			return fmt.Errorf("%q: a name that is not printable UTF-8 cannot be recorded: %w", f.source, ErrUsage)
		}
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

// Command returns the command template: the given one, or an image's own.
func (p *Plan) Command() []string { return slices.Clone(p.job.Command) }

// InputIsFile reports whether the command takes the input as a file, by
// {input}, rather than on its standard input.
func (p *Plan) InputIsFile() bool { return p.input != "" }

// spec returns what the jail needs.
func (p *Plan) spec(o *Options) jail.Spec {
	s := jail.Spec{
		InputFile: p.input, OutputFile: p.output, Strict: o.Strict, Proc: o.Proc,
		Timeout: o.Timeout, Limits: p.job.Limits, Progress: o.Progress,
		Devices: p.job.Devices, Network: p.job.Network, TmpfsBytes: availableMemory(),
		Command: jail.Command{Path: p.program, Argv: p.argv, Env: p.env},
	}
	for i, f := range p.files {
		s.Files = append(s.Files, jail.File{
			ID: i, Source: f.source, Target: f.target, Executable: f.executable,
			Protect: f.protect, Verity: f.verity, Flat: f.flat, Describe: f.describe,
		})
	}
	if p.image != nil {
		s.Command.Dir, s.Image = p.image.config.WorkingDir, p.imageSpec()
	}
	if !o.Strict {
		s.Open = p.openCommand()
	}
	p.runModule(&s)
	return s
}

// openCommand is the command of a run without a closed root: the template's
// placeholders become the paths outside. It is nil where that cannot be done, and
// where devices are named: such a run would have them all.
func (p *Plan) openCommand() *jail.Command {
	if p.output != "" || len(p.volumes) > 0 || p.image != nil || len(p.job.Devices) > 0 || p.job.Wasm != nil {
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
