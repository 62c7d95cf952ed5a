package elfdeps

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Bounds on one search.
const (
	maxInterpreter = 16 << 20
	maxPathDirs    = 1024
)

// hwcapsDir is where glibc keeps variants of libraries for better processors,
// below each folder it searches.
const hwcapsDir = "glibc-hwcaps"

// loader is what is known of the dynamic loader that serves one program.
type loader struct {
	files
	opts    *Options
	machine elf.Machine
	// defaults are the folders that the loader searches by itself.
	defaults []string
	// lib and platform are what $LIB and $PLATFORM stand for.
	lib, platform string
	cache         map[string][]cached
}

// hit is a library that was found.
type hit struct {
	object       *object
	target, real string
	// dir is the folder that was searched, without an hwcaps subfolder; extra
	// says that the loader in the job's root needs it in LD_LIBRARY_PATH.
	dir   string
	extra bool
}

// newLoader examines the interpreter at a path and reads the cache that belongs
// to it.
func newLoader(f files, opts *Options, interp string, machine elf.Machine) (*loader, error) {
	b, err := f.read(interp, maxInterpreter)
	if err != nil {
		return nil, fmt.Errorf("interpreter: %w", err)
	}
	l := &loader{files: f, opts: opts, machine: machine, lib: "lib", platform: platform(machine)}
	if strings.HasPrefix(path.Base(interp), "ld-musl-") {
		l.defaults = []string{"/lib", "/usr/local/lib", "/usr/lib"}
		return l, nil
	}
	l.systemDirs(b)
	raw, err := f.read("/etc/ld.so.cache", maxCache)
	if errors.Is(err, ErrNotFound) {
		return l, nil
	}
	if err != nil {
		return nil, err
	}
	l.cache, err = parseCache(raw)
	return l, err
}

// platform returns the AT_PLATFORM of a machine, which is also the first part of
// its multiarch name.
func platform(m elf.Machine) string {
	switch m {
	case elf.EM_X86_64:
		return "x86_64"
	case elf.EM_AARCH64:
		return "aarch64"
	case elf.EM_RISCV:
		return "riscv64"
	case elf.EM_LOONGARCH:
		return "loongarch64"
	case elf.EM_PPC64:
		return "powerpc64le"
	default:
		return "unknown"
	}
}

// systemDirs finds the folders that were built into glibc's loader, by the
// strings in it: each ends with a slash and a NUL. They differ between
// distributions, and nothing else says which it has.
func (l *loader) systemDirs(interp []byte) {
	triplet := l.platform + "-linux-gnu"
	for _, c := range []struct{ dir, lib string }{
		{"/lib/" + triplet, "lib/" + triplet},
		{"/usr/lib/" + triplet, "lib/" + triplet},
		{"/lib64", "lib64"},
		{"/usr/lib64", "lib64"},
		{"/lib", "lib"},
		{"/usr/lib", "lib"},
	} {
		if !bytes.Contains(interp, []byte("\x00"+c.dir+"/\x00")) && !bytes.HasPrefix(interp, []byte(c.dir+"/\x00")) {
			continue
		}
		if l.defaults == nil {
			l.lib = c.lib
		}
		l.defaults = append(l.defaults, c.dir)
	}
}

// find looks a DT_NEEDED name up as ld.so does (ld.so(8)).
func (l *loader) find(name string, by *loaded) (*hit, error) {
	if strings.Contains(name, "/") {
		return l.findPath(name, by)
	}
	if !by.object.hasRunpath {
		for o := by; o != nil; o = o.by {
			if !o.object.hasRunpath && o.object.rpath != "" {
				if h, err := l.searchIn(l.expand(o.object.rpath, o), name); h != nil || err != nil {
					return h, err
				}
			}
		}
	}
	if h, err := l.searchIn(plain(l.opts.LibraryPath), name); h != nil || err != nil {
		return h, err
	}
	if by.object.hasRunpath {
		if h, err := l.searchIn(l.expand(by.object.runpath, by), name); h != nil || err != nil {
			return h, err
		}
	}
	if !by.object.noDefault {
		if h, err := l.findCached(name); h != nil || err != nil {
			return h, err
		}
		if h, err := l.searchIn(plain(l.defaults), name); h != nil || err != nil {
			return h, err
		}
	}
	return nil, fmt.Errorf("%w: %s, needed by %s", ErrNotFound, name, by.target)
}

// findPath takes a name with a slash, which is a path.
func (l *loader) findPath(name string, by *loaded) (*hit, error) {
	expanded, own := l.substitute(name, by)
	if own || !path.IsAbs(expanded) {
		return nil, fmt.Errorf("%w: library path %q of %s", ErrUnsupported, name, by.target)
	}
	h, err := l.try(path.Clean(expanded))
	if h == nil && err == nil {
		err = fmt.Errorf("%w: %s, needed by %s", ErrNotFound, name, by.target)
	}
	return h, err
}

// folder is one folder to search.
type folder struct {
	dir string
	// own says that it comes from the program's own $ORIGIN, which the loader
	// learns from /proc/self/exe: without /proc it does not.
	own bool
}

// plain makes folders of paths.
func plain(dirs []string) []folder {
	list := make([]folder, 0, len(dirs))
	for _, dir := range dirs {
		list = append(list, folder{dir: dir})
	}
	return list
}

// expand splits an RPATH or RUNPATH of an object. Empty and relative elements
// mean the working directory, where nothing measured is: they are left out.
func (l *loader) expand(list string, o *loaded) []folder {
	var dirs []folder
	for part := range strings.SplitSeq(list, ":") {
		dir, own := l.substitute(part, o)
		if path.IsAbs(dir) && len(dirs) < maxPathDirs {
			dirs = append(dirs, folder{path.Clean(dir), own})
		}
	}
	return dirs
}

// substitute replaces the dynamic string tokens (ld.so(8)). It reports whether
// $ORIGIN of the program itself is among them.
func (l *loader) substitute(s string, o *loaded) (expanded string, own bool) {
	for _, token := range []struct{ name, value string }{
		{"ORIGIN", o.origin}, {"LIB", l.lib}, {"PLATFORM", l.platform},
	} {
		before := s
		s = strings.ReplaceAll(s, "${"+token.name+"}", token.value)
		s = replaceToken(s, token.name, token.value)
		if s != before && token.name == "ORIGIN" {
			own = o.by == nil
		}
	}
	return s, own
}

// replaceToken replaces $NAME where no letter, digit or underscore follows.
func replaceToken(s, name, value string) string {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(s, "$"+name)
		b.WriteString(before)
		if !found {
			return b.String()
		}
		if after != "" && (after[0] == '_' || after[0] >= '0' && after[0] <= '9' ||
			after[0] >= 'A' && after[0] <= 'Z' || after[0] >= 'a' && after[0] <= 'z') {
			b.WriteString("$" + name)
		} else {
			b.WriteString(value)
		}
		s = after
	}
}

// searchIn looks a name up in folders, the hwcaps subfolders of each first. It
// returns nil and no error where it is in none.
func (l *loader) searchIn(dirs []folder, name string) (*hit, error) {
	for _, d := range dirs {
		for _, hwcap := range append(slices.Clone(l.opts.HWCaps), "") {
			sub := d.dir
			if hwcap != "" {
				sub = path.Join(d.dir, hwcapsDir, hwcap)
			}
			h, err := l.try(path.Join(sub, name))
			if err != nil {
				return nil, err
			}
			if h != nil {
				h.dir, h.extra = d.dir, d.own
				return h, nil
			}
		}
	}
	return nil, nil
}

// findCached looks a name up in ld.so.cache: the best variant for the processor.
func (l *loader) findCached(name string) (*hit, error) {
	candidates := l.cache[name]
	for _, hwcap := range append(slices.Clone(l.opts.HWCaps), "") {
		for _, c := range candidates {
			if c.hwcap != hwcap || !path.IsAbs(c.path) {
				continue
			}
			h, err := l.try(path.Clean(c.path))
			if err != nil {
				return nil, err
			}
			if h != nil {
				h.dir = path.Dir(h.target)
				if hwcap != "" {
					h.dir = strings.TrimSuffix(h.dir, "/"+hwcapsDir+"/"+hwcap)
				}
				h.extra = !slices.Contains(l.defaults, h.dir)
				return h, nil
			}
		}
	}
	return nil, nil
}

// try takes the file at a path if it is there and is for this machine. As for
// the loader, a file of another class or machine, or one that may not be read,
// is as good as none.
func (l *loader) try(target string) (*hit, error) {
	o, real, err := l.object(target)
	switch {
	case errors.Is(err, ErrNotFound) || errors.Is(err, ErrUnsupported) || errors.Is(err, fs.ErrPermission):
		return nil, nil
	case err != nil:
		return nil, err
	case o.machine != l.machine:
		return nil, nil
	}
	return &hit{object: o, target: target, real: real}, nil
}
