package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/launch"
	"github.com/sworn-run/sworn/internal/launch/jail"
	"github.com/sworn-run/sworn/internal/launch/wasm"
	"github.com/sworn-run/sworn/verifier"
)

// paths are those of the files given, without names.
func (f *replayFlags) paths() []string {
	var out []string
	for _, s := range slices.Concat(f.weights, f.config, f.add) {
		_, path, found := strings.Cut(s, "=")
		if !found {
			path = s
		}
		out = append(out, path)
	}
	return out
}

// job is the recorded job, with the files that are given in the places of the
// recorded ones.
func (f *replayFlags) job(s *verifier.Summary) (*launch.Job, error) {
	if err := replayable(s); err != nil {
		return nil, err
	}
	job := &launch.Job{Protect: launch.ProtectAuto, Launcher: "/proc/self/exe"}
	for _, c := range s.Components {
		switch c.Role {
		case cer.RoleBinary:
			job.Wasm = &launch.Wasm{Module: f.wasm, Target: c.Path, Engine: f.wasmEngine}
		case cer.RoleArgv:
			if err := json.Unmarshal([]byte(c.Value), &job.Command); err != nil {
				return nil, fmt.Errorf("reading the recorded arguments: %w", err)
			}
		case cer.RoleEnv:
			var value string
			if err := json.Unmarshal([]byte(c.Value), &value); err != nil {
				return nil, fmt.Errorf("reading a recorded variable: %w", err)
			}
			job.Env = append(job.Env, c.Name+"="+value)
		}
		if c.Protection == cer.ProtectionDMVerity {
			return nil, usage("a record of weights that are given as files can be replayed", "the recorded weights %q are a volume", c.Name)
		}
	}
	if job.Wasm == nil || len(job.Command) == 0 {
		return nil, usage("sworn verify", "the record has no module, or no arguments")
	}
	if f.wasmEngine == "" {
		job.Wasm.Engine, _ = (&cer.Environment{Facts: s.Wasm}).Get(cer.FactWasmEngine)
	}
	for _, p := range s.Parameters {
		if p.Value == nil {
			return nil, notOpened(cer.ParameterField(p.Name))
		}
		job.Params = append(job.Params, cer.Fact{Name: p.Name, Value: *p.Value})
	}
	var err error
	if job.Limits, err = recordedLimits(s); err != nil {
		return nil, err
	}
	if err := sameWorld(s, job); err != nil {
		return nil, err
	}
	for _, g := range []struct {
		flag, role string
		given      []string
		to         *[]launch.Named
	}{
		{"--weights", cer.RoleWeights, f.weights, &job.Weights},
		{"--config", cer.RoleConfig, f.config, &job.Config},
		{"--add", cer.RoleFile, f.add, &job.Add},
	} {
		if *g.to, err = place(s, g.flag, g.role, g.given); err != nil {
			return nil, err
		}
	}
	return job, nil
}

// notOpened says which field of a record that commits is needed and not opened.
func notOpened(field string) error {
	return usage("--opening FILE, with that field: sworn open lists what a file opens", "the record commits to %q, and nothing shows what it is", field)
}

// stated returns a stream that replay needs. The error says that nothing shows it.
func stated(field string, s *verifier.Stream) (cer.Stream, error) {
	out, ok := s.Stated()
	if !ok {
		return out, notOpened(field)
	}
	return out, nil
}

// replayable refuses the records of jobs whose output nothing determines.
func replayable(s *verifier.Summary) error {
	const hint = "the output of such a job is not determined by what went in"
	switch {
	case len(s.Wasm) == 0:
		return usage(`the job is a program of this machine's; jobs of "sworn run --wasm" can be replayed`, "a native job cannot be replayed: nothing fixes its clock, its threads and its processor")
	case s.Exit == nil || s.Output == nil || s.Input == nil:
		return usage("sworn verify", "the record does not say what came out")
	case s.Exit.Timeout || s.Exit.Signal != nil:
		return usage(hint, "the recorded job did not end by itself")
	}
	if _, err := stated(cer.FieldInput, s.Input); err != nil {
		return err
	}
	output, err := stated(cer.FieldOutput, s.Output)
	if err == nil && !output.Complete {
		return usage(hint, "the recorded output is not complete")
	}
	return err
}

// recordedLimits are those that were set for the job.
func recordedLimits(s *verifier.Summary) (l jail.Limits, err error) {
	for _, f := range s.Limits {
		n, err := strconv.ParseUint(f.Value, 10, 63)
		switch {
		case err != nil:
			return l, fmt.Errorf("reading the recorded limit %s: %w", f.Name, err)
		case f.Name == "memory":
			l.Memory = n
		case f.Name == "cpu_seconds":
			l.CPUSeconds = n
		}
	}
	return l, nil
}

// sameWorld refuses a record whose module saw another clock, random source or bound
// of memory than it would here.
func sameWorld(s *verifier.Summary, job *launch.Job) error {
	pages, err := wasm.Pages(job.Limits.Memory)
	if err != nil {
		return err
	}
	facts, err := wasm.Facts(job.Wasm.Engine, pages, cer.WasmOwn)
	if err != nil {
		return wrap(err, "--wasm-engine "+wasm.Compiler)
	}
	recorded := &cer.Environment{Facts: s.Wasm}
	for _, f := range facts {
		was, _ := recorded.Get(f.Name)
		if was != f.Value && f.Name != cer.FactWasmEngine && f.Name != cer.FactWasmProcess && f.Name != cer.FactWasmRuntime {
			return usage("replay it with the version of sworn that made it", "the recorded module's %s was %s; here it is %s", f.Name, was, f.Value)
		}
	}
	return nil
}

// place gives the files that are given the names and places of the recorded ones of
// that role. Each must be recorded, and each recorded one given.
func place(s *verifier.Summary, flag, role string, given []string) ([]launch.Named, error) {
	var out []launch.Named
	used := map[string]bool{}
	for _, g := range given {
		name, path := splitRecorded(s, role, g)
		target, names := recordedPlace(s, role, name)
		if target == "" {
			return nil, usage(listRecorded(s, flag, role), "%s %s: the record has no %s %q", flag, g, role, name)
		}
		for _, n := range names {
			used[n] = true
		}
		out = append(out, launch.Named{Name: name, Path: path, Target: target})
	}
	for _, c := range s.Components {
		if c.Role == role && !used[c.Name] {
			return nil, usage(listRecorded(s, flag, role), "the recorded %s %q is not given", role, c.Name)
		}
	}
	return out, nil
}

// splitRecorded splits [NAME=]PATH. A name is one that is recorded, whatever is in
// it: that of an added file is a path.
func splitRecorded(s *verifier.Summary, role, g string) (name, path string) {
	for i, r := range g {
		if r == '=' {
			if target, _ := recordedPlace(s, role, g[:i]); target != "" {
				return g[:i], g[i+1:]
			}
		}
	}
	if n, p := named(g); n != "" {
		return n, p
	}
	if role != cer.RoleFile {
		return "default", g
	}
	if abs, err := filepath.Abs(g); err == nil {
		return abs, g
	}
	return g, g
}

// recordedPlace returns where a recorded file, or folder of files, of a name stood in
// the job's root, and the names of its files; "" if there is none.
func recordedPlace(s *verifier.Summary, role, name string) (target string, names []string) {
	for _, c := range s.Components {
		if c.Role != role {
			continue
		}
		if c.Name == name {
			return c.Path, []string{name}
		}
		rel, below := strings.CutPrefix(c.Name, name+"/")
		dir, stands := strings.CutSuffix(c.Path, "/"+rel)
		if below && stands && dir != "" {
			target, names = dir, append(names, c.Name)
		}
	}
	return target, names
}

// listRecorded is a hint with what the record has of a role.
func listRecorded(s *verifier.Summary, flag, role string) string {
	var names []string
	for _, c := range s.Components {
		if c.Role == role {
			names = append(names, c.Name)
		}
	}
	if len(names) == 0 {
		return "leave " + flag + " out: the record has none"
	}
	return fmt.Sprintf("%s NAME=PATH of %s", flag, strings.Join(names[:min(len(names), 5)], ", "))
}

// takesInput reports whether a command takes its input as a file.
func takesInput(command []string) bool {
	return slices.ContainsFunc(command[1:], func(arg string) bool { return strings.Contains(arg, "{input}") })
}

// differences holds what was measured against the record: module, weights,
// configuration and added files.
func differences(s *verifier.Summary, measured []*cer.Component) []string {
	roles := []string{cer.RoleBinary, cer.RoleWeights, cer.RoleConfig, cer.RoleFile}
	var out []string
	matched := map[string]bool{}
	for _, m := range measured {
		if !slices.Contains(roles, m.Role) {
			continue
		}
		i := slices.IndexFunc(s.Components, func(c verifier.Component) bool { return c.Role == m.Role && c.Name == m.Name })
		if i < 0 {
			out = append(out, fmt.Sprintf("%s %q is not in the record", m.Role, m.Name))
			continue
		}
		matched[m.Key()] = true
		if d := unlike(m.Digest, s.Components[i].Digest); d != "" {
			out = append(out, fmt.Sprintf("%s %q is %s", m.Role, m.Name, d))
		}
	}
	for _, c := range s.Components {
		if slices.Contains(roles, c.Role) && !matched[(&cer.Component{Role: c.Role, Name: c.Name}).Key()] {
			out = append(out, fmt.Sprintf("%s %q of the record is not there", c.Role, c.Name))
		}
	}
	return out
}

// unlike says how digests differ from recorded ones; "" if they are of one file. Any
// scheme that both have decides, and all that both have must agree.
func unlike(got, recorded []string) string {
	common := 0
	for _, g := range got {
		for _, r := range recorded {
			if cer.DigestScheme(g) != cer.DigestScheme(r) {
				continue
			}
			if g != r {
				return g + ", the record has " + r
			}
			common++
		}
	}
	if common == 0 {
		return strings.Join(got, " ") + ", the record has " + strings.Join(recorded, " ")
	}
	return ""
}
