package oms

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/sworn-run/sworn/internal/limits"
)

// File is one file of a model.
type File struct {
	// Path is relative to the model's folder: UTF-8, clean, its elements apart by
	// slashes, at most 4,096 bytes. A model that is a single file, and no folder,
	// has the path ".".
	Path string
	// SHA256 is the digest of the file's bytes.
	SHA256 [32]byte
}

// Options is what a manifest says beside the files.
type Options struct {
	// Name is a name for the model. It is for people: nothing depends on it.
	Name string
	// Ignore are the paths that were left out when the model was hashed, each
	// with all that is below it. See [Ignored].
	Ignore []string
	// Symlinks says that symbolic links were followed. Without it a model with
	// a symbolic link in it must not be hashed at all.
	Symlinks bool
}

// Manifest is a list of files in canonical order. The zero Manifest lists none
// and matches nothing.
type Manifest struct {
	files []File
	root  [32]byte
	opts  Options
}

// NewManifest makes a manifest of files in any order, at least one and at most
// 65,536. It refuses paths that are not as [File] has them, those that occur
// twice, and a file below another file; the error wraps [ErrMalformed].
func NewManifest(files []File, opts Options) (*Manifest, error) {
	if len(files) == 0 || len(files) > limits.ModelFiles {
		return nil, fmt.Errorf("%w: %d files, want 1 to %d", ErrMalformed, len(files), limits.ModelFiles)
	}
	if err := checkOptions(opts); err != nil {
		return nil, err
	}
	m := &Manifest{files: slices.Clone(files), opts: opts}
	m.opts.Ignore = slices.Clone(opts.Ignore)
	slices.SortFunc(m.files, func(a, b File) int { return comparePaths(a.Path, b.Path) })
	hash := sha256.New()
	for i := range m.files {
		f := &m.files[i]
		if err := checkPath(f.Path, len(files) == 1); err != nil {
			return nil, err
		}
		// What is below a path follows it at once.
		if i > 0 {
			switch before := m.files[i-1].Path; {
			case before == f.Path:
				return nil, fmt.Errorf("%w: the path %q occurs twice", ErrMalformed, before)
			case strings.HasPrefix(f.Path, before+"/"):
				return nil, fmt.Errorf("%w: %q is below the file %q", ErrMalformed, f.Path, before)
			}
		}
		hash.Write(f.SHA256[:])
	}
	hash.Sum(m.root[:0])
	return m, nil
}

func checkOptions(opts Options) error {
	if !utf8.ValidString(opts.Name) || len(opts.Name) > limits.ModelPath {
		return fmt.Errorf("%w: the name is not UTF-8, or longer than %d bytes", ErrMalformed, limits.ModelPath)
	}
	if len(opts.Ignore) > limits.ModelFiles {
		return fmt.Errorf("%w: %d ignored paths, at most %d", ErrMalformed, len(opts.Ignore), limits.ModelFiles)
	}
	for _, p := range opts.Ignore {
		if p == "" || !utf8.ValidString(p) || len(p) > limits.ModelPath {
			return fmt.Errorf("%w: an ignored path is empty, not UTF-8, or longer than %d bytes", ErrMalformed, limits.ModelPath)
		}
	}
	return nil
}

// checkPath checks the path of a file, which may be "." if it is the only one.
func checkPath(p string, only bool) error {
	switch {
	case len(p) > limits.ModelPath:
		return fmt.Errorf("%w: a path of %d bytes, at most %d", ErrMalformed, len(p), limits.ModelPath)
	case !utf8.ValidString(p) || strings.ContainsRune(p, 0):
		return fmt.Errorf("%w: the path %q is not UTF-8, or has a zero byte", ErrMalformed, p)
	case p == "" || path.IsAbs(p) || path.Clean(p) != p || p == ".." || strings.HasPrefix(p, "../"):
		return fmt.Errorf("%w: the path %q is empty, absolute, not clean, or leads out of the folder", ErrMalformed, p)
	case p == "." && !only:
		return fmt.Errorf(`%w: the path "." stands for the only file of a model, and there are others`, ErrMalformed)
	}
	return nil
}

// comparePaths orders paths as lists of their elements: the tool compares
// pathlib objects, so that "a/b" comes before "a-b". Elements compare by code
// point, which is the order of their bytes.
func comparePaths(a, b string) int {
	for i := range min(len(a), len(b)) {
		switch {
		case a[i] == b[i]:
		case a[i] == '/':
			return -1
		case b[i] == '/':
			return 1
		case a[i] < b[i]:
			return -1
		default:
			return 1
		}
	}
	return len(a) - len(b)
}

// Name returns the model's name, which nothing depends on.
func (m *Manifest) Name() string { return m.opts.Name }

// Files returns a copy of the list, in canonical order: by the elements of the
// paths, each by code point.
func (m *Manifest) Files() []File { return slices.Clone(m.files) }

// Ignore returns a copy of the paths that were left out of the list.
func (m *Manifest) Ignore() []string { return slices.Clone(m.opts.Ignore) }

// Symlinks reports whether symbolic links were followed.
func (m *Manifest) Symlinks() bool { return m.opts.Symlinks }

// Root returns the root digest: SHA-256 over the digests of the files in their
// order. It does not cover the paths.
func (m *Manifest) Root() [32]byte { return m.root }

// Digest returns the root digest as a component digest, "oms-sha256:<hex>", and
// "" for the zero Manifest.
func (m *Manifest) Digest() string {
	if len(m.files) == 0 {
		return ""
	}
	return Scheme + ":" + hex.EncodeToString(m.root[:])
}

// Equal reports whether both list the same files with the same digests; two that
// list none are not equal.
func (m *Manifest) Equal(o *Manifest) bool {
	return m != nil && o != nil && len(m.files) > 0 && slices.Equal(m.files, o.files)
}

// Check reports whether files, in any order, are the ones that m lists, no more
// and no fewer. The caller leaves out what [Ignored] says. The error wraps
// [ErrMismatch] and names the first file, in canonical order, that is missing,
// not listed, or different; or it wraps [ErrMalformed], if there can be no such
// list of files.
func (m *Manifest) Check(files []File) error {
	if m == nil || len(m.files) == 0 {
		return fmt.Errorf("%w: nothing was signed", ErrMismatch)
	}
	got, err := NewManifest(files, Options{})
	if err != nil {
		return fmt.Errorf("files of the model: %w", err)
	}
	for i := range max(len(m.files), len(got.files)) {
		switch {
		case i == len(got.files):
			return fmt.Errorf("%w: %q is missing", ErrMismatch, m.files[i].Path)
		case i == len(m.files):
			return fmt.Errorf("%w: %q is not signed", ErrMismatch, got.files[i].Path)
		}
		want, have := &m.files[i], &got.files[i]
		switch c := comparePaths(want.Path, have.Path); {
		case c < 0:
			return fmt.Errorf("%w: %q is missing", ErrMismatch, want.Path)
		case c > 0:
			return fmt.Errorf("%w: %q is not signed", ErrMismatch, have.Path)
		case want.SHA256 != have.SHA256:
			return fmt.Errorf("%w: %q has SHA-256 %x, signed is %x", ErrMismatch, want.Path, have.SHA256, want.SHA256)
		}
	}
	return nil
}

// GitPaths returns the paths that the format's tool leaves out of every model
// unless it is told otherwise, beside the signature file itself: .git,
// .gitattributes, .github and .gitignore.
func GitPaths() []string { return []string{".git", ".gitattributes", ".github", ".gitignore"} }

// Ignored reports whether a path, relative to the model's folder, is one of the
// ignored paths or below one. Both are taken as clean; an ignored path that is
// absolute or leads out of the folder ignores nothing, and "." everything.
func Ignored(name string, ignore []string) bool {
	name = path.Clean(name)
	for _, p := range ignore {
		switch p = path.Clean(p); {
		case path.IsAbs(p) || p == ".." || strings.HasPrefix(p, "../"):
		case p == "." || p == name || strings.HasPrefix(name, p+"/"):
			return true
		}
	}
	return false
}
