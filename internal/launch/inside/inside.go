//go:build linux

// Package inside runs a job that is a WebAssembly module within this process: for a
// launcher in an enclave, which can start no other, and whose evidence is of what runs in
// it alone.
//
// What package jail does by the kernel, the engine of WebAssembly does here. The files of
// the job are copied into memory while they are hashed, and are all that the module finds;
// its time limit ends it by the engine. Nothing else stands between a module and the
// launcher's memory, and [Job.Isolation] says so.
//
// It has the two steps of package jail, and its types:
//
//	j, err := inside.Start(ctx, spec) // files copied and hashed; nothing runs yet
//	exit, err := j.Run(ctx, jail.IO{Stdin: in, Stdout: out, Stderr: errs})
package inside

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/launch/jail"
	"github.com/sworn-run/sworn/internal/launch/measure"
	"github.com/sworn-run/sworn/internal/launch/modelfile"
	"github.com/sworn-run/sworn/internal/launch/wasm"
)

// Spec says what to run. The zero value is refused.
type Spec struct {
	// Files are the job's files, measured in this order: all are copied.
	Files []jail.File
	// InputFile is the path of the input, which then stands at jail.InputTarget; empty
	// for none.
	InputFile string
	// Command is the module by its Target among the Files, how it is run, what of the
	// Files it sees, and its variables.
	Command wasm.Command
	// Args are its arguments, with its name as the first.
	Args []string
	// Timeout is the time that it may take, compiling included; zero is refused.
	Timeout time.Duration
	// Bytes bounds the sizes of all files together; zero means no bound but the memory.
	// More is jail.ErrSpec before anything is copied.
	Bytes uint64
	// MaxInput bounds standard input, and MaxOutput each of standard output and standard
	// error, in bytes; zero means jail.DefaultStreamBytes. A larger input is jail.ErrRun;
	// a larger output ends the module, and the stream is not complete.
	MaxInput, MaxOutput uint64
	// Hardened are the facts of jail.Harden; nil if it was not called.
	Hardened []jail.Fact
	// Progress, if not nil, is told how many bytes of how many are copied and hashed,
	// when none are and when all are.
	Progress func(done, total uint64)
}

// Job is a job that is measured, or has run. Its methods are for one goroutine.
type Job struct {
	spec    Spec
	digests []jail.Digest
	input   *jail.Digest
	copies  []copied
	ran     bool
}

// copied is a file in memory.
type copied struct {
	target string
	size   uint64
	bytes  buffer
}

// Start copies and measures the files. The caller must Close the Job. The error wraps
// jail.ErrSpec or jail.ErrSource.
func Start(ctx context.Context, spec Spec) (*Job, error) {
	j := &Job{spec: spec}
	files := slices.Clone(spec.Files)
	if spec.InputFile != "" {
		files = append(files, jail.File{Source: spec.InputFile, Target: jail.InputTarget, Flat: true})
	}
	if err := j.check(len(files)); err != nil {
		return nil, fmt.Errorf("%w: %w", jail.ErrSpec, err)
	}
	total := uint64(0)
	for _, f := range files {
		size, err := examine(f.Source)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", jail.ErrSource, err)
		}
		if total += size; spec.Bytes > 0 && total > spec.Bytes {
			return nil, fmt.Errorf("%w: the files have more than the %d bytes that there is room for", jail.ErrSpec, spec.Bytes)
		}
		j.copies = append(j.copies, copied{target: f.Target, size: size})
	}
	if err := j.measure(ctx, files, total); err != nil {
		return nil, fmt.Errorf("%w: %w", jail.ErrSource, err)
	}
	return j, nil
}

// examine returns the size of a regular file whose path has no symbolic link in it:
// whoever owns a folder can have put one there since the caller looked.
func examine(name string) (uint64, error) {
	real, err := filepath.EvalSymlinks(name)
	if err != nil {
		return 0, err
	}
	if real != filepath.Clean(name) {
		return 0, fmt.Errorf("%s leads through a symbolic link", name)
	}
	h, err := measure.OpenFile(name)
	if err != nil {
		return 0, err
	}
	return h.Size(), h.Close()
}

// check refuses what cannot be meant, before anything is opened.
func (j *Job) check(files int) error {
	switch c := &j.spec.Command; {
	case j.spec.Timeout <= 0:
		return fmt.Errorf("timeout is %v, must be positive", j.spec.Timeout)
	case files > jail.MaxFiles:
		return fmt.Errorf("%d files, at most %d", files, jail.MaxFiles)
	case len(j.spec.Args) == 0:
		return errors.New("a module without its name")
	case !slices.ContainsFunc(j.spec.Files, func(f jail.File) bool { return f.Target == c.Module }):
		return fmt.Errorf("module %q is none of the files", c.Module)
	}
	return nil
}

// measure copies all files into memory, and keeps the digests of what it copied.
func (j *Job) measure(ctx context.Context, files []jail.File, total uint64) error {
	if j.spec.Progress != nil {
		j.spec.Progress(0, total)
	}
	var passes []measure.File
	for i := range files {
		passes = append(passes, j.copies[i].pass(&files[i]))
	}
	var done atomic.Uint64
	sums, err := measure.Files(ctx, passes, measure.Options{Done: &done})
	if err != nil {
		return err
	}
	for i, s := range sums {
		d := jail.Digest{
			ID: files[i].ID, SHA256: s.Flat, HasSHA256: s.HasFlat, FSVerity: s.FSVerity, HasFSVerity: s.HasFSVerity,
			Size: s.Size, Protection: cer.ProtectionSealed,
		}
		if files[i].Describe {
			d.Described = describe(j.copies[i].bytes)
		}
		if i == len(j.spec.Files) {
			j.input = &d
			break
		}
		j.digests = append(j.digests, d)
	}
	if j.spec.Progress != nil {
		j.spec.Progress(total, total)
	}
	return nil
}

// pass is how one file is measured: what is hashed is what was written to memory.
func (c *copied) pass(f *jail.File) measure.File {
	wanted := measure.Wanted{FSVerity: f.Verity, Flat: measure.FlatSmall}
	if f.Flat || !f.Verity {
		wanted.Flat = measure.FlatAlways
	}
	return measure.File{Name: f.Source, Size: c.size, Wanted: wanted, Open: func() (measure.Open, error) {
		held, err := measure.OpenFile(f.Source)
		if err != nil {
			return measure.Open{}, err
		}
		c.bytes = make(buffer, c.size)
		return measure.Open{Source: held, Target: c.bytes, Close: func() error {
			return errors.Join(held.Unchanged(), held.Close())
		}}, nil
	}}
}

// buffer is a file's content.
type buffer []byte

// WriteAt implements io.WriterAt.
func (b buffer) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 || off > int64(len(b)) || len(p) > len(b)-int(off) {
		return 0, io.ErrShortWrite
	}
	return copy(b[off:], p), nil
}

// describe returns what the header of a model file says of the model; nil if it says
// nothing that is understood.
func describe(b buffer) []modelfile.Fact {
	info, err := modelfile.Read(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil
	}
	return append([]modelfile.Fact{{Name: "format", Value: info.Format}}, info.Facts...)
}

// Files returns the measurements, in the order of Spec.Files.
func (j *Job) Files() []jail.Digest { return slices.Clone(j.digests) }

// Input returns the measurement of Spec.InputFile, and whether there is one.
func (j *Job) Input() (jail.Digest, bool) {
	if j.input == nil {
		return jail.Digest{}, false
	}
	return *j.input, true
}

// Image returns nil: there is none.
func (j *Job) Image() *jail.Unpacked { return nil }

// Isolation returns what is in force for the job: a root of its own, which is read-only,
// by the engine; of what the kernel gives, nothing.
func (j *Job) Isolation() jail.Isolation {
	hardened := func(name string) jail.State {
		for _, f := range j.spec.Hardened {
			if f.Name == name {
				return f.State
			}
		}
		return jail.No
	}
	return jail.Isolation{
		Mode: cer.ModeInside, ClosedRoot: jail.Yes, ReadOnlyRoot: jail.Yes,
		MountNS: jail.No, PIDNS: jail.No, IPCNS: jail.No, UTSNS: jail.No, NetNS: jail.No, UserNS: jail.No,
		Network: "none", OwnUID: jail.No, UID: unix.Getuid(), GID: unix.Getgid(), GroupsDropped: jail.No,
		NoNewPrivs: jail.No, CapsDropped: jail.No, Seccomp: jail.No, Landlock: jail.No, Cgroup: jail.No, Keyring: jail.No,
		NoCore: hardened("launcher_no_core"), InitNonDumpable: jail.No, LauncherNonDumpable: hardened("launcher_non_dumpable"),
		NoSwap: jail.No, Locked: hardened("launcher_locked"), Devices: []string{}, DevicesBy: "none",
		Proc: jail.No, SealedProgram: jail.No, KillOnEnd: jail.No,
	}
}

// Close forgets the files. It returns nil.
func (j *Job) Close() error {
	j.copies = nil
	return nil
}

// visible are the files that the module can open: those below the roots, and not itself.
func (j *Job) visible() []wasm.File {
	var out []wasm.File
	for _, c := range j.copies {
		below := slices.ContainsFunc(j.spec.Command.Roots, func(root string) bool {
			return c.target == root || len(c.target) > len(root) && c.target[:len(root)] == root && c.target[len(root)] == '/'
		})
		if !below || c.target != path.Clean(c.target) {
			continue
		}
		out = append(out, wasm.File{Path: c.target, Size: int64(len(c.bytes)), Open: func() (io.ReaderAt, error) { return bytes.NewReader(c.bytes), nil }})
	}
	return out
}

// module returns the module's bytes: those that were measured.
func (j *Job) module() []byte {
	for _, c := range j.copies {
		if c.target == j.spec.Command.Module {
			return c.bytes
		}
	}
	return nil
}
