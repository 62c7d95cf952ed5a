package elfdeps

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"syscall"
)

// Bounds on one closure.
const (
	maxDeps = 8192
	// maxScripts is how many interpreters of interpreters there may be.
	maxScripts = 4
	// shebangSize is BINPRM_BUF_SIZE: what the kernel reads of a file to tell
	// how to execute it.
	shebangSize = 256
)

// isNotDir reports whether a path went through something that is no folder.
func isNotDir(err error) bool { return errors.Is(err, syscall.ENOTDIR) }

// loaded is an object in the loader's list.
type loaded struct {
	object *object
	target string
	// origin is what $ORIGIN means in it.
	origin string
	// by is the object that needed it first; nil for the program.
	by *loaded
}

// walk collects the closure.
type walk struct {
	files
	opts *Options
	res  Result
	seen map[string]bool // targets
}

// Closure returns what the program at an absolute path needs to start: for an
// ELF program its interpreter and libraries, nothing for a static one; for a
// script its interpreter and what that needs.
func Closure(program string, opts Options) (Result, error) {
	if !path.IsAbs(program) {
		return Result{}, fmt.Errorf("%w: program %q is not an absolute path", ErrNotFound, program)
	}
	if opts.Root == "" {
		opts.Root = "/"
	}
	if len(opts.Path) == 0 {
		opts.Path = []string{"/usr/local/bin", "/usr/bin", "/bin"}
	}
	w := &walk{files: files{opts.Root}, opts: &opts, seen: make(map[string]bool)}
	w.res.LibraryPath = slices.Clone(opts.LibraryPath)
	if err := w.program(program, 0); err != nil {
		return Result{}, fmt.Errorf("finding what %s needs: %w", program, err)
	}
	return w.res, nil
}

// program adds what one program needs.
func (w *walk) program(name string, depth int) error {
	head, err := w.head(name, shebangSize)
	if err != nil {
		return err
	}
	if bytes.HasPrefix(head, []byte("#!")) {
		return w.script(name, head, depth)
	}
	return w.elf(name)
}

// add records a dependency once.
func (w *walk) add(d Dep) error {
	if w.seen[d.Target] {
		return nil
	}
	if len(w.res.Deps) >= maxDeps {
		return fmt.Errorf("%w: more than %d dependencies", ErrFormat, maxDeps)
	}
	w.seen[d.Target] = true
	w.res.Deps = append(w.res.Deps, d)
	return nil
}

// script adds the interpreter of a script, and what that needs (execve(2),
// "Interpreter scripts").
func (w *walk) script(name string, head []byte, depth int) error {
	if depth >= maxScripts {
		return fmt.Errorf("%w: more than %d interpreters of %s", ErrFormat, maxScripts, name)
	}
	line, _, ended := bytes.Cut(head[2:], []byte("\n"))
	fields := strings.Fields(string(line))
	switch {
	case len(fields) == 0 || bytes.IndexByte(line, 0) >= 0:
		return fmt.Errorf("%w: empty #! line in %s", ErrFormat, name)
	case !ended && len(head) == shebangSize && len(fields) == 1:
		return fmt.Errorf("%w: #! line of %s is too long", ErrFormat, name)
	}
	if err := w.scriptInterpreter(fields[0], depth); err != nil {
		return err
	}
	if path.Base(fields[0]) != "env" {
		return nil
	}
	command, err := envCommand(fields[1:])
	if err != nil {
		return err
	}
	found, err := w.lookPath(command)
	if err != nil {
		return err
	}
	return w.scriptInterpreter(found, depth)
}

// scriptInterpreter adds one program that a script needs.
func (w *walk) scriptInterpreter(name string, depth int) error {
	if !path.IsAbs(name) || path.Clean(name) != name {
		return fmt.Errorf("%w: interpreter %q is not a clean absolute path", ErrUnsupported, name)
	}
	real, info, err := w.resolve(name)
	if err != nil {
		return fmt.Errorf("interpreter %s: %w", name, err)
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%w: interpreter %s is not a regular file", ErrUnsupported, name)
	}
	if err := w.add(Dep{RoleScriptInterpreter, name, name, w.outside(real)}); err != nil {
		return err
	}
	return w.program(name, depth+1)
}

// envCommand returns the command in the arguments of env(1).
func envCommand(args []string) (string, error) {
	for _, a := range args {
		switch {
		case a == "-S" || a == "-" || a == "-i" || strings.Contains(a, "="):
		case strings.HasPrefix(a, "-"):
			return "", fmt.Errorf("%w: option %s of env in a #! line", ErrUnsupported, a)
		default:
			return a, nil
		}
	}
	return "", fmt.Errorf("%w: env without a command in a #! line", ErrFormat)
}

// lookPath finds a command as env does.
func (w *walk) lookPath(command string) (string, error) {
	if strings.Contains(command, "/") {
		return command, nil
	}
	for _, dir := range w.opts.Path {
		name := path.Join(dir, command)
		_, info, err := w.resolve(name)
		if err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return name, nil
		}
		if err != nil && !errors.Is(err, ErrNotFound) {
			return "", err
		}
	}
	return "", fmt.Errorf("%w: %s is not in %v", ErrNotFound, command, w.opts.Path)
}

// elf adds interpreter and libraries of an ELF program, breadth first as the
// loader does.
func (w *walk) elf(name string) error {
	o, real, err := w.object(name)
	if err != nil {
		return err
	}
	if o.interp == "" {
		return nil // static, or executed by nobody
	}
	if path.Clean(o.interp) != o.interp {
		return fmt.Errorf("%w: interpreter %q is not a clean path", ErrUnsupported, o.interp)
	}
	ldso, ldsoReal, err := w.object(o.interp)
	if err != nil {
		return fmt.Errorf("interpreter: %w", err)
	}
	if ldso.machine != o.machine {
		return fmt.Errorf("%w: interpreter %s is for another machine", ErrUnsupported, o.interp)
	}
	if err := w.add(Dep{RoleInterpreter, o.interp, o.interp, w.outside(ldsoReal)}); err != nil {
		return err
	}
	l, err := newLoader(w.files, w.opts, o.interp, o.machine)
	if err != nil {
		return err
	}
	// The loader is loaded already, under both of its names.
	known := map[string]bool{o.interp: true}
	if ldso.soname != "" {
		known[ldso.soname] = true
	}
	return w.libraries(l, &loaded{object: o, target: name, origin: path.Dir(real)}, known)
}

// libraries adds all that a program needs, directly and through others. known
// are the names that are loaded.
func (w *walk) libraries(l *loader, program *loaded, known map[string]bool) error {
	for queue := []*loaded{program}; len(queue) > 0; queue = queue[1:] {
		by := queue[0]
		for _, name := range by.object.needed {
			if known[name] {
				continue
			}
			h, err := l.find(name, by)
			if err != nil {
				return err
			}
			known[name] = true
			if h.object.soname != "" {
				known[h.object.soname] = true
			}
			if err := w.add(Dep{RoleLibrary, name, h.target, w.outside(h.real)}); err != nil {
				return err
			}
			if h.extra && !slices.Contains(w.res.LibraryPath, h.dir) {
				w.res.LibraryPath = append(w.res.LibraryPath, h.dir)
			}
			queue = append(queue, &loaded{h.object, h.target, path.Dir(h.target), by})
			if len(queue) > maxDeps {
				return fmt.Errorf("%w: more than %d libraries", ErrFormat, maxDeps)
			}
		}
	}
	return nil
}
