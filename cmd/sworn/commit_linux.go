package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sworn-run/sworn/cer"
)

// checkOpening completes and checks the flags about the opening file.
func (f *runFlags) checkOpening() error {
	if f.disclose != cer.DiscloseCommit {
		if f.opening != "" || f.openingContent {
			return usage("--disclose commit", "--opening and --opening-content are for records that commit")
		}
		return nil
	}
	if f.opening == "" {
		f.opening = f.record + openingSuffix
	}
	// What an opening opens cannot be opened by anything else.
	if _, err := os.Lstat(f.opening); !errors.Is(err, fs.ErrNotExist) {
		return usage("move it away, or choose another path with --opening", "%s is there already, and may be all that opens another record", f.opening)
	}
	return nil
}

// untold refuses to commit to an input that is measured under its digest besides.
func (f *runFlags) untold() error {
	if f.disclose != cer.DiscloseCommit || f.input == "" || f.input == "-" {
		return nil
	}
	for _, s := range slices.Concat(f.weights, f.config, f.add) {
		if _, path := named(s); samePath(f.input, path) || within(f.input, path) {
			return usage("give the input as the input alone", "the digest of %s would stand in the record as that of a file: a commitment to it hides nothing", f.input)
		}
	}
	return nil
}

// within reports whether a file is in a folder, or would be.
func within(file, folder string) bool {
	st, err := os.Stat(folder)
	if err != nil || !st.IsDir() {
		return false
	}
	real := realPath(file)
	return strings.HasPrefix(real, strings.TrimSuffix(realPath(folder), "/")+"/")
}

// realPath returns a path free of symbolic links; as it is where there is no such file.
func realPath(name string) string {
	abs, err := filepath.Abs(name)
	if err != nil {
		return name
	}
	if real, err := filepath.EvalSymlinks(abs); err == nil {
		return real
	}
	return abs
}
