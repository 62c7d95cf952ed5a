package wasm

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/sworn-run/sworn/internal/limits"
)

// wasi is the one module that a job's module can import from.
const wasi = "wasi_snapshot_preview1"

// offered are the functions of WASI preview1 that a job can import, in ascending
// order. There are no sockets and no signals among them. Those that would change a
// file fail when they are called: compilers import them whether they are or not.
func offered() []string {
	return []string{
		"args_get", "args_sizes_get", "clock_res_get", "clock_time_get", "environ_get", "environ_sizes_get",
		"fd_advise", "fd_allocate", "fd_close", "fd_datasync", "fd_fdstat_get", "fd_fdstat_set_flags",
		"fd_fdstat_set_rights", "fd_filestat_get", "fd_filestat_set_size", "fd_filestat_set_times", "fd_pread",
		"fd_prestat_dir_name", "fd_prestat_get", "fd_pwrite", "fd_read", "fd_readdir", "fd_renumber", "fd_seek",
		"fd_sync", "fd_tell", "fd_write", "path_create_directory", "path_filestat_get", "path_filestat_set_times",
		"path_link", "path_open", "path_readlink", "path_remove_directory", "path_rename", "path_symlink",
		"path_unlink_file", "poll_oneoff", "proc_exit", "random_get", "sched_yield",
	}
}

// The sections of a module (core specification 2.0, section 5.5.2) that are looked
// at, and the last one there is.
const (
	sectionCustom = 0
	sectionImport = 2
	sectionMemory = 5
	sectionExport = 7
	sectionLast   = 12
)

// The kinds of what is imported and exported (section 5.5.5).
const (
	kindFunction = 0
	kindMemory   = 2
)

// Check looks at a module without running or compiling it: that it is a module of
// WebAssembly, its sections are in order and fill it, it imports nothing but what is
// offered, has one memory that begins with no more than the given pages, few tables, and
// functions of sizes that others take too, and exports memory and a function _start, as a
// command of WASI does. Whether its code is valid is
// for the engine. The error wraps ErrModule or ErrImport.
func Check(module []byte, pages uint32) error {
	if len(module) > limits.WasmModule {
		return fmt.Errorf("%d bytes, at most %d: %w", len(module), limits.WasmModule, ErrModule)
	}
	body, ok := bytes.CutPrefix(module, []byte("\x00asm\x01\x00\x00\x00"))
	if !ok {
		return fmt.Errorf("it does not begin as a module of version 1 does: %w", ErrModule)
	}
	m := checker{pages: pages}
	r := reader{b: body}
	for last := 0; len(r.b) > 0 && r.err == nil; {
		id := r.byte()
		section := reader{b: r.bytes()}
		if r.err != nil {
			break
		}
		if id > sectionLast {
			return fmt.Errorf("section %d is unknown: %w", id, ErrModule)
		}
		if id == sectionCustom {
			continue
		}
		if place(id) <= last {
			return fmt.Errorf("section %d is out of order: %w", id, ErrModule)
		}
		last = place(id)
		if err := m.section(id, &section); err != nil {
			return err
		}
	}
	if r.err != nil {
		return r.err
	}
	return m.finish()
}

// place is where a section stands among the others: the count of data segments
// (12) stands before the code (10).
func place(id byte) int {
	switch id {
	case 10, 11:
		return int(id) + 1
	case 12:
		return 10
	default:
		return int(id)
	}
}

// checker is what is known of a module.
type checker struct {
	pages               uint32
	memories            int
	hasMemory, hasStart bool
}

// section looks at one section, if it is of interest.
func (m *checker) section(id byte, r *reader) error {
	var err error
	switch id {
	case sectionType:
		m.types(r)
	case sectionTable:
		readTables(r)
	case sectionCode:
		m.code(r)
	case sectionImport:
		err = m.imports(r)
	case sectionMemory:
		err = m.memory(r)
	case sectionExport:
		m.exports(r)
	default:
		return nil
	}
	switch {
	case err != nil:
		return err
	case r.err != nil:
		return fmt.Errorf("section %d: %w", id, r.err)
	case len(r.b) > 0:
		return fmt.Errorf("section %d has %d bytes too many: %w", id, len(r.b), ErrModule)
	}
	return nil
}

// imports refuses what is not offered.
func (m *checker) imports(r *reader) error {
	n := r.uint32()
	if r.err == nil && n > limits.WasmImports {
		return fmt.Errorf("%d imports, at most %d: %w", n, limits.WasmImports, ErrModule)
	}
	for range n {
		from, name, kind := r.name(), r.name(), r.byte()
		if r.err != nil {
			return r.err
		}
		if _, known := slices.BinarySearch(offered(), name); kind != kindFunction || from != wasi || !known {
			what := "a table, memory, global or tag"
			if kind == kindFunction {
				what = "a function"
			}
			return fmt.Errorf("it imports %s %q from %q: %w: a job gets functions of %s for its arguments, variables, standard streams and read-only files, a clock and random bytes, and nothing else",
				what, name, from, ErrImport, wasi)
		}
		r.uint32() // its type
	}
	return nil
}

// memory looks at the bounds of the memory.
func (m *checker) memory(r *reader) error {
	n := r.uint32()
	if r.err == nil && n > 1 {
		return fmt.Errorf("%d memories, at most one: %w", n, ErrModule)
	}
	for range n {
		flags := r.byte()
		if r.err == nil && flags > 1 {
			return fmt.Errorf("a memory that is shared or of 64 bits: %w", ErrModule)
		}
		least := r.uint32()
		if flags == 1 {
			r.uint32() // the most it wants
		}
		if r.err == nil && least > m.pages {
			return fmt.Errorf("its memory begins with %d pages of %d bytes, its limit is %d: %w", least, PageSize, m.pages, ErrModule)
		}
		m.memories++
	}
	return nil
}

// exports looks for what a command exports.
func (m *checker) exports(r *reader) {
	for range r.uint32() {
		name, kind := r.name(), r.byte()
		r.uint32() // which
		if r.err != nil {
			return
		}
		m.hasStart = m.hasStart || name == "_start" && kind == kindFunction
		m.hasMemory = m.hasMemory || name == "memory" && kind == kindMemory
	}
}

// finish judges the whole.
func (m *checker) finish() error {
	switch {
	case !m.hasStart:
		return fmt.Errorf("it exports no function _start, so it is no command of WASI preview1: %w", ErrModule)
	case m.memories == 0 || !m.hasMemory:
		return fmt.Errorf("it exports no memory: %w", ErrModule)
	}
	return nil
}

// reader reads a module's encoding (section 5.2). After its first error it reads
// zeros.
type reader struct {
	b   []byte
	err error
}

// fail notes an error.
func (r *reader) fail(what string) {
	if r.err == nil {
		r.err = fmt.Errorf("%s: %w", what, ErrModule)
	}
	r.b = nil
}

// byte reads a byte.
func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.fail("it ends too early")
		return 0
	}
	b := r.b[0]
	r.b = r.b[1:]
	return b
}

// uint32 reads an unsigned LEB128 number of at most five bytes.
func (r *reader) uint32() uint32 {
	v, n := binary.Uvarint(r.b[:min(len(r.b), 5)])
	if n <= 0 || v > 1<<32-1 {
		r.fail("a number is malformed or too large")
		return 0
	}
	r.b = r.b[n:]
	return uint32(v)
}

// bytes reads a length and as many bytes.
func (r *reader) bytes() []byte {
	n := r.uint32()
	if uint64(n) > uint64(len(r.b)) {
		r.fail("a length reaches beyond the end")
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

// name reads a name.
func (r *reader) name() string {
	b := r.bytes()
	if !utf8.Valid(b) {
		r.fail("a name is not UTF-8")
		return ""
	}
	return string(b)
}
