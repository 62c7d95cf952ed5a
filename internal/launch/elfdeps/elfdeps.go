// Package elfdeps finds the files that a program needs to start: its
// interpreter and the shared libraries that the dynamic loader of glibc or musl
// would load for it. It reads the ELF files and /etc/ld.so.cache itself and runs
// nothing; ldd would execute what it is asked about.
//
// What is found here is what the loader finds *in a root that holds nothing
// else*, no ld.so.cache among it: a library that only the cache leads to is
// reported with its folder in Result.LibraryPath, which the job gets as
// LD_LIBRARY_PATH. Libraries that a program opens by name while it runs
// (dlopen, NSS, gconv) cannot be known and are not found; in a closed root their
// absence shows as ENOENT.
//
// All input is taken for hostile: every length is bounded, and what is beyond a
// bound is an error.
package elfdeps

import (
	"errors"
)

// The errors of this package. Every error it returns wraps exactly one of them.
var (
	// ErrFormat says that a file is not what it claims: a malformed ELF file, or
	// one beyond a bound.
	ErrFormat = errors.New("malformed executable")
	// ErrUnsupported says that a file is well formed and of a kind that is not
	// handled: another class, byte order or machine, not an executable at all.
	ErrUnsupported = errors.New("unsupported executable")
	// ErrNotFound says that a needed file is nowhere the loader would look.
	ErrNotFound = errors.New("dependency not found")
	// ErrRead says that a file is there and cannot be read.
	ErrRead = errors.New("unreadable file")
)

// Role says what a Dep is to the program.
type Role string

// The roles, as the event log names them.
const (
	// RoleInterpreter is the dynamic loader (PT_INTERP).
	RoleInterpreter Role = "interpreter"
	// RoleLibrary is a shared library (DT_NEEDED).
	RoleLibrary Role = "library"
	// RoleScriptInterpreter is the program of a #! line, or the one that
	// /usr/bin/env is told to start in it.
	RoleScriptInterpreter Role = "script-interpreter"
)

// Dep is one file that the program needs.
type Dep struct {
	// Role is what the file is needed as.
	Role Role
	// Name is the DT_NEEDED name of a library ("libc.so.6"), and the path as
	// written for the other roles.
	Name string
	// Target is the absolute path under which the loader or the kernel will look
	// the file up in the job's root.
	Target string
	// Source is the absolute path of the file itself, free of symbolic links,
	// below Options.Root.
	Source string
}

// Result is the closure of one program.
type Result struct {
	// Deps are the files, the program itself not among them, in the order in which
	// the loader comes to them; Targets are unique. Empty for a static program.
	Deps []Dep
	// LibraryPath are the folders that the job needs in LD_LIBRARY_PATH, in this
	// order, because nothing but ld.so.cache or the program's own $ORIGIN leads to
	// them. It begins with Options.LibraryPath if that is not empty.
	LibraryPath []string
}

// Options say where and for which processor to look. The zero value means this
// machine's root and the plainest processor.
type Options struct {
	// Root is the folder that all paths are looked up in, symbolic links
	// included. Empty means "/".
	Root string
	// HWCaps are the glibc-hwcaps subfolders that the processor supports, best
	// first ("x86-64-v3", "x86-64-v2"): see HWCaps.
	HWCaps []string
	// LibraryPath is the LD_LIBRARY_PATH that the job is given anyway.
	LibraryPath []string
	// Path is where "#!/usr/bin/env NAME" looks NAME up. Empty means
	// /usr/local/bin, /usr/bin and /bin.
	Path []string
}
