//go:build linux

package oci

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"
)

// The names by which a layer removes what lower layers hold: a name behind the
// prefix, or all there is in a folder. Names behind hiddenPrefix are notes of
// the tool that wrote the layer.
const (
	whiteoutPrefix = ".wh."
	hiddenPrefix   = ".wh..wh."
	whiteoutOpaque = ".wh..wh..opq"
)

// entry is one file, folder or link of a layer. Its path is relative to the
// root, clean, and leads through no link of its own layer.
type entry struct {
	path  string
	kind  byte   // tar.TypeReg, TypeDir, TypeSymlink, TypeLink
	link  string // of a symbolic link as it stands there, of a hard link a clean path
	size  int64
	exec  bool
	mtime time.Time
	// at is the number of the header in the layer, counted from 0.
	at int
}

// layer is what a layer's tar holds, found safe in itself.
type layer struct {
	entries []entry
	// removed are the paths that the layer removes from the lower layers, and
	// opaque the folders of which it removes all that is in them.
	removed, opaque []string
}

// report collects what was left out.
type report struct {
	lines []string
	more  int
}

func (r *report) add(format string, args ...any) {
	if len(r.lines) == maxDropped {
		r.more++
		return
	}
	r.lines = append(r.lines, fmt.Sprintf(format, args...))
}

// scanner reads the headers of one layer.
type scanner struct {
	layer
	// known holds every path that an entry names or implies, and what it is;
	// implied stands for a folder that no entry has named yet.
	known map[string]byte
	// early are the hard links whose targets no entry has named before them.
	early   map[string]string
	names   int
	budget  *int
	dropped *report
}

// implied is the kind of a folder that an entry lies in.
const implied = 'i'

// scan reads the tar of a layer to its end and returns what it holds if all of it
// is safe. budget is the number of entries that the image may have yet.
func scan(ctx context.Context, f io.ReadSeeker, budget *int, dropped *report) (*layer, error) {
	s := scanner{known: map[string]byte{}, early: map[string]string{}, budget: budget, dropped: dropped}
	t := tar.NewReader(f)
	for n := 0; ; n++ {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%w: layer: %w", ErrFormat, err)
		}
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrIO, err)
		}
		if err := s.header(h, n); err != nil {
			return nil, fmt.Errorf("entry %.200q: %w", h.Name, err)
		}
	}
	for name, link := range s.early {
		if _, later := s.known[link]; later {
			return nil, fmt.Errorf("entry %.200q: %w: a hard link to a later entry", name, ErrUnsafe)
		}
	}
	if err := onlyZeros(ctx, f); err != nil {
		return nil, err
	}
	return &s.layer, nil
}

// onlyZeros reads what follows the end of a tar.
func onlyZeros(ctx context.Context, f io.Reader) error {
	b := make([]byte, 64<<10)
	r := contextReader{ctx, f}
	for {
		n, err := r.Read(b)
		if slices.ContainsFunc(b[:n], func(c byte) bool { return c != 0 }) {
			return fmt.Errorf("%w: the layer goes on after the end of its tar", ErrFormat)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrIO, err)
		}
	}
}

// header takes one header in.
func (s *scanner) header(h *tar.Header, at int) error {
	if s.spend(h.Name, h.Linkname) != nil {
		return fmt.Errorf("%w: more than %d entries, or names of more than %d bytes", ErrLimit, maxEntries, maxNames)
	}
	name, err := cleanPath(h.Name)
	if err != nil {
		return err
	}
	if err := s.checkHeader(h); err != nil {
		return err
	}
	if name == "." {
		return s.rootEntry(h)
	}
	dir, base := path.Split(name)
	if strings.HasPrefix(dir, whiteoutPrefix) || strings.Contains(dir, "/"+whiteoutPrefix) {
		return fmt.Errorf("%w: in a folder with the name of a whiteout", ErrUnsafe)
	}
	dir = path.Clean(dir)
	if err := s.imply(dir); err != nil {
		return err
	}
	if strings.HasPrefix(base, whiteoutPrefix) {
		return s.whiteout(h, name, dir, base)
	}
	e := entry{path: name, kind: h.Typeflag, size: h.Size, exec: h.Mode&0o111 != 0, mtime: h.ModTime, at: at}
	switch h.Typeflag {
	case tar.TypeSymlink:
		e.link = h.Linkname
	case tar.TypeLink:
		if e.link, err = s.hardLink(name, h.Linkname); err != nil {
			return err
		}
	}
	if err := s.enter(name, h.Typeflag); err != nil {
		return err
	}
	s.reportDropped(h)
	s.entries = append(s.entries, e)
	return nil
}

// spend takes one entry, and the memory of its names, from what is left.
func (s *scanner) spend(names ...string) error {
	*s.budget--
	for _, name := range names {
		s.names += len(name)
	}
	if *s.budget < 0 || s.names > maxNames {
		return ErrLimit
	}
	return nil
}

// cleanPath returns the path of an entry, relative to the root and clean, or
// "." for the root itself.
func cleanPath(name string) (string, error) {
	switch {
	case name == "" || strings.ContainsRune(name, 0):
		return "", fmt.Errorf("%w: an empty name, or one with a NUL", ErrUnsafe)
	case name[0] == '/':
		return "", fmt.Errorf("%w: an absolute name", ErrUnsafe)
	case len(name) > maxPath:
		return "", fmt.Errorf("%w: a path of %d bytes, at most %d", ErrLimit, len(name), maxPath)
	}
	depth := 0
	for part := range strings.SplitSeq(name, "/") {
		switch {
		case part == "..":
			return "", fmt.Errorf("%w: a name that leads up", ErrUnsafe)
		case len(part) > maxName:
			return "", fmt.Errorf("%w: a name of %d bytes, at most %d", ErrLimit, len(part), maxName)
		case part != "" && part != ".":
			depth++
		}
	}
	if depth > maxDepth {
		return "", fmt.Errorf("%w: a path of %d names, at most %d", ErrLimit, depth, maxDepth)
	}
	return path.Clean(name), nil
}

// checkHeader checks what does not depend on other entries.
func (s *scanner) checkHeader(h *tar.Header) error {
	if sparse(h) {
		return fmt.Errorf("%w: a sparse file", ErrUnsafe)
	}
	switch h.Typeflag {
	case tar.TypeReg:
		if strings.HasSuffix(h.Name, "/") {
			return fmt.Errorf("%w: a file with the name of a folder", ErrUnsafe)
		}
		return nil
	case tar.TypeDir:
	case tar.TypeSymlink, tar.TypeLink:
		if l := h.Linkname; l == "" || len(l) > maxPath || strings.ContainsRune(l, 0) {
			return fmt.Errorf("%w: a link to %.80q", ErrUnsafe, l)
		}
	default:
		return fmt.Errorf("%w: of type %q: a device, a pipe, or nothing for a root", ErrUnsafe, h.Typeflag)
	}
	// Readers do not agree whether content follows.
	if h.Size != 0 {
		return fmt.Errorf("%w: of type %q with %d bytes", ErrUnsafe, h.Typeflag, h.Size)
	}
	return nil
}

// rootEntry takes the entry of the root itself, which changes nothing.
func (s *scanner) rootEntry(h *tar.Header) error {
	if h.Typeflag != tar.TypeDir {
		return fmt.Errorf("%w: the root is no folder", ErrUnsafe)
	}
	if err := s.enter(".", h.Typeflag); err != nil {
		return err
	}
	s.reportDropped(h)
	return nil
}

// imply makes sure that a path and all above it are folders as far as this
// layer knows.
func (s *scanner) imply(dir string) error {
	for ; dir != "."; dir = path.Dir(dir) {
		switch kind, ok := s.known[dir]; {
		case ok && kind != tar.TypeDir && kind != implied:
			return fmt.Errorf("%w: %.200q is no folder", ErrUnsafe, dir)
		case ok:
			return nil
		}
		// A part of the entry's name: the map costs no memory for it but its own.
		if s.spend() != nil {
			return fmt.Errorf("%w: more than %d entries", ErrLimit, maxEntries)
		}
		s.known[dir] = implied
	}
	return nil
}

// enter notes what a path is.
func (s *scanner) enter(name string, kind byte) error {
	switch was, ok := s.known[name]; {
	case ok && was != implied:
		return fmt.Errorf("%w: there twice", ErrUnsafe)
	case ok && kind != tar.TypeDir:
		return fmt.Errorf("%w: entries below what is no folder", ErrUnsafe)
	}
	s.known[name] = kind
	return nil
}

// hardLink checks the target of a hard link, which is a file of this layer, to
// be named before, or of a lower one.
func (s *scanner) hardLink(name, link string) (string, error) {
	target, err := cleanPath(link)
	if err != nil {
		return "", fmt.Errorf("hard link to %.200q: %w", link, err)
	}
	switch kind, ok := s.known[target]; {
	case target == "." || target == name || ok && kind != tar.TypeReg && kind != tar.TypeLink:
		return "", fmt.Errorf("%w: a hard link to %.200q, which is no file", ErrUnsafe, link)
	case !ok:
		s.early[name] = target
	}
	return target, nil
}

// whiteout takes an entry that removes something.
func (s *scanner) whiteout(h *tar.Header, name, dir, base string) error {
	if h.Typeflag != tar.TypeReg || h.Size != 0 {
		return fmt.Errorf("%w: a whiteout that is no empty file", ErrUnsafe)
	}
	if err := s.enter(name, h.Typeflag); err != nil {
		return err
	}
	hidden := strings.TrimPrefix(base, whiteoutPrefix)
	switch {
	case base == whiteoutOpaque:
		s.opaque = append(s.opaque, dir)
	case strings.HasPrefix(base, hiddenPrefix):
		s.dropped.add("%q: a note of the tool that wrote the layer", name)
	case hidden == "" || hidden == "." || hidden == "..":
		return fmt.Errorf("%w: a whiteout of %q", ErrUnsafe, hidden)
	default:
		s.removed = append(s.removed, path.Join(dir, hidden))
	}
	return nil
}

// attributes are the beginnings of PAX keys that mean extended attributes,
// access control lists and file flags.
var attributes = [...]string{"SCHILY.xattr.", "LIBARCHIVE.xattr.", "SCHILY.acl.", "SCHILY.fflags"}

// reportDropped tells what of a header has no effect though it should have one
// for a program that relies on it.
func (s *scanner) reportDropped(h *tar.Header) {
	if h.Typeflag != tar.TypeSymlink && h.Typeflag != tar.TypeLink && h.Mode&0o7000 != 0 {
		s.dropped.add("%q: setuid, setgid or sticky in mode %04o", h.Name, h.Mode&0o7777)
	}
	var keys []string
	for key := range h.PAXRecords {
		if slices.ContainsFunc(attributes[:], func(a string) bool { return strings.HasPrefix(key, a) }) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	for _, key := range keys {
		s.dropped.add("%q: %.100q", h.Name, key)
	}
}
