package oms

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/sworn-run/sworn/cer"
)

// Weights returns the files of the weights with the given name, as a launch
// measured them, for a manifest: those below the folder of that name, or the one
// file. Left out are [GitPaths] and what is ignored. The error wraps
// [ErrMismatch] if a file has no flat SHA-256, which manifests list.
func Weights(components []*cer.Component, name string, ignore []string) ([]File, error) {
	return collect(components, name, func(rel string) bool { return Ignored(rel, GitPaths()) || Ignored(rel, ignore) })
}

// Uncovered returns the names of the components that [Weights] leaves out, in the
// order of the log.
func Uncovered(components []*cer.Component, name string, ignore []string) []string {
	var out []string
	for _, c := range components {
		rel, below := strings.CutPrefix(c.Name, name+"/")
		if c.Role == cer.RoleWeights && below && (Ignored(rel, GitPaths()) || Ignored(rel, ignore)) {
			out = append(out, c.Name)
		}
	}
	return out
}

// collect returns the files of weights but for those below the folder that are to
// be left out.
func collect(components []*cer.Component, name string, without func(rel string) bool) ([]File, error) {
	var out []File
	folder := name + "/"
	for _, c := range components {
		rel, below := strings.CutPrefix(c.Name, folder)
		switch {
		case c.Role != cer.RoleWeights || !below && c.Name != name:
			continue
		case !below:
			rel = "."
		case without(rel):
			continue
		}
		sum, ok := flat(c.Digest)
		if !ok {
			return nil, fmt.Errorf("%w: %s has no flat SHA-256", ErrMismatch, c.Key())
		}
		out = append(out, File{Path: rel, SHA256: sum})
	}
	return out, nil
}

// Digests returns the digests of the manifest component of a folder of weights:
// the root digest of its manifest, [GitPaths] left out, and the digest of the list
// of all its files ([ListSum]), which covers their names. The error wraps
// [ErrMismatch] if a file has no flat SHA-256, [ErrMalformed] if no manifest can
// list them.
func Digests(components []*cer.Component, name string) ([]string, error) {
	files, err := Weights(components, name, nil)
	if err != nil {
		return nil, err
	}
	m, err := NewManifest(files, Options{})
	if err != nil {
		return nil, err
	}
	all, err := collect(components, name, func(string) bool { return false })
	if err != nil {
		return nil, err
	}
	return []string{cer.OMSDigest(m.Root()), cer.ListDigest(ListSum(all))}, nil
}

// ListSum returns SHA-256 over a list of files in ascending order of the bytes of
// their paths, each in the line that `sha256sum` prints for it: digest in
// hexadecimal, two blanks, path, line feed. As there, a path with a backslash, a
// line feed or a carriage return has these escaped, and the line begins with a
// backslash, so that no two lists have the same text.
func ListSum(files []File) [32]byte {
	sorted := slices.SortedFunc(slices.Values(files), func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	escape := strings.NewReplacer("\\", `\\`, "\n", `\n`, "\r", `\r`)
	hash := sha256.New()
	for _, f := range sorted {
		mark, path := "", escape.Replace(f.Path)
		if path != f.Path {
			mark = `\`
		}
		fmt.Fprintf(hash, "%s%x  %s\n", mark, f.SHA256, path)
	}
	return [32]byte(hash.Sum(nil))
}

// flat returns the flat SHA-256 among component digests, and whether it is there.
func flat(digests []string) (sum [32]byte, ok bool) {
	for _, d := range digests {
		if hexa, found := strings.CutPrefix(d, cer.SchemeSHA256+":"); found {
			b, err := hex.DecodeString(hexa)
			if err != nil || len(b) != len(sum) {
				return sum, false
			}
			return [32]byte(b), true
		}
	}
	return sum, false
}
