package oms

import (
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/sworn-run/sworn/cer"
)

// Weights returns the files of the weights with the given name, as a launch
// measured them, for a manifest: those below the folder of that name, or the one
// file. Left out are [GitPaths] and what is ignored. The error wraps
// [ErrMismatch] if a file has no flat SHA-256, which manifests list.
func Weights(components []*cer.Component, name string, ignore []string) ([]File, error) {
	var out []File
	folder := name + "/"
	for _, c := range components {
		rel, below := strings.CutPrefix(c.Name, folder)
		switch {
		case c.Role != cer.RoleWeights || !below && c.Name != name:
			continue
		case !below:
			rel = "."
		case Ignored(rel, GitPaths()) || Ignored(rel, ignore):
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
