//go:build linux

package launch

import (
	"path"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
)

// Unused returns what was given to the job and is named by no placeholder of its
// command, as the flags that gave it, such as "--weights NAME": the job gets
// these files, and is not told where. It says nothing of an input without a
// placeholder, which the job may read from its standard input.
func (p *Plan) Unused() []string {
	var out []string
	for _, w := range p.job.Weights {
		if !p.names(path.Join(modelDir, w.Name), w.Name, "weights", "weights.dir") {
			out = append(out, "--weights "+w.Name)
		}
	}
	for _, c := range p.job.Config {
		if !p.names(path.Join(configDir, filepath.Base(c.Path)), c.Name, "config") {
			out = append(out, "--config "+c.Name)
		}
	}
	return out
}

// names reports whether the command names a component: by a placeholder of one
// of the kinds, or by the place where the job will find it.
func (p *Plan) names(place, name string, kinds ...string) bool {
	words := []string{place}
	for _, kind := range kinds {
		words = append(words, "{"+kind+":"+name+"}")
		if name == "default" {
			words = append(words, "{"+kind+"}")
		}
	}
	return slices.ContainsFunc(p.job.Command[1:], func(arg string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(arg, w) })
	})
}

// Placeholders returns the kinds of placeholders a command may hold, without
// braces and names.
func Placeholders() []string {
	return []string{"weights", "weights.dir", "config", "input", "output", "param"}
}

// Literals returns the words in braces of a command that are no placeholders and
// stay as they stand: "{weightz}". What holds anything but letters, dots and a
// name after a colon is left out: it is somebody's JSON or code.
func (p *Plan) Literals() []string {
	var out []string
	letter := func(r rune) bool { return unicode.IsLetter(r) || r == '.' }
	for _, arg := range p.job.Command[1:] {
		for rest := arg; ; {
			_, after, begun := strings.Cut(rest, "{")
			word, next, ended := strings.Cut(after, "}")
			if !begun || !ended {
				break
			}
			kind, _, _ := strings.Cut(word, ":")
			plain := kind != "" && strings.TrimFunc(kind, letter) == ""
			if plain && !slices.Contains(Placeholders(), kind) {
				out = append(out, "{"+word+"}")
			}
			rest = next
		}
	}
	return out
}
