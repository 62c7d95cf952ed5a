//go:build linux

package launch

import (
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/launch/jail"
)

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
		if i := slices.IndexFunc(p.volumes, func(v volume) bool { return v.name == name }); i >= 0 {
			return p.volumes[i].target, true, nil
		}
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
	if slices.ContainsFunc(p.volumes, func(v volume) bool { return v.name == name && role == cer.RoleWeights }) {
		return ""
	}
	for _, f := range p.files {
		if f.role == role && f.name == name {
			return f.target
		}
	}
	for _, g := range given {
		if g.Name == name && role == cer.RoleWeights {
			return g.at(path.Join(dir, name, filepath.Base(g.Path)))
		}
	}
	return ""
}

// isFolder reports whether the weights of that name were given as a folder.
func (p *Plan) isFolder(name string) bool {
	return !slices.ContainsFunc(p.files, func(f planned) bool { return f.role == cer.RoleWeights && f.name == name })
}
