//go:build linux

package jail

import (
	"errors"
	"io"
	"time"

	"github.com/sworn-run/sworn/internal/launch/modelfile"
)

// The errors of this package. Every error it returns wraps exactly one of them.
var (
	// ErrSpec says that a Spec is contradictory, incomplete or over a limit.
	ErrSpec = errors.New("invalid job specification")
	// ErrSource says that a source file is missing, unreadable, not a regular
	// file, or that it changed while it was copied. Nothing was launched.
	ErrSource = errors.New("unusable source file")
	// ErrIsolation says that namespaces could not be had and Spec.Open is nil, or
	// that Spec.Strict is set and a fact of the isolation was refused. Nothing
	// was launched.
	ErrIsolation = errors.New("isolation refused")
	// ErrLaunch says that the root could not be built or the job could not be
	// executed.
	ErrLaunch = errors.New("job not launched")
	// ErrRun says that a launched job could not be followed to its end: the
	// input could not be read, or init was lost. There is no Exit then.
	ErrRun = errors.New("job not followed to its end")
)

// Directories of the job's root that the jail makes itself. No File may stand
// in them.
const (
	// ScratchDir is the writable tmpfs and the job's working directory. Nothing can
	// be executed from it: what a job writes was never measured.
	ScratchDir = "/scratch"
	// InputDir holds the input file, if Spec.InputFile is set.
	InputDir = "/input"
	// InputTarget is the input file in the job's root, whatever it is called
	// outside: its name there is measured by nobody, and must not reach the job.
	InputTarget = InputDir + "/input"
)

// Limits that hold for every Spec.
const (
	// MaxFiles bounds Spec.Files.
	MaxFiles = 65536
	// MaxStrings bounds the number of arguments and of environment entries, and
	// MaxStringBytes their total length in bytes.
	MaxStrings     = 65536
	MaxStringBytes = 1 << 20
	// DefaultStreamBytes is the bound of each stream when the Spec gives none.
	DefaultStreamBytes = 1 << 30
	// DefaultScratchBytes is the size of /scratch when the Spec gives none.
	DefaultScratchBytes = 64 << 20
)

// File is one file of the job's root.
type File struct {
	// ID is the caller's own number for the file; it comes back in its Digest.
	// IDs need not be unique.
	ID int `json:"id"`
	// Source is the absolute path of a regular file outside, free of symbolic
	// links: one anywhere in it is ErrSource, as whoever can put one there could
	// have the job given any file.
	Source string `json:"source"`
	// Target is the absolute, clean path of the file in the job's root, outside
	// /scratch, /input, /dev and /proc. Targets are unique, and none is the folder
	// of another.
	Target string `json:"target"`
	// Executable gives the copy mode 0555; without it, it has mode 0444. Files with
	// one source and one Protect are one file in the root too, with several names
	// and one mode.
	Executable bool `json:"executable"`
	// Protect is how the job's view of the bytes is kept from changing:
	// ProtectSealed, the zero value, ProtectAuto, ProtectVerity or ProtectNone.
	Protect string `json:"protect"`
	// Verity asks for the fs-verity digest of a copy too.
	Verity bool `json:"verity"`
	// Flat asks for the flat SHA-256 whatever the size and protection. A sealed
	// copy of up to FlatBytes has it always.
	Flat bool `json:"flat"`
	// Describe asks for what the header of a model file says of the model.
	Describe bool `json:"describe"`
}

// The values of File.Protect.
const (
	// ProtectSealed copies the file into the root while it is hashed.
	ProtectSealed = ""
	// ProtectAuto takes the file where it is if the kernel checks what is read
	// of it (fs-verity that counts, see package verity), and else copies it.
	ProtectAuto = "auto"
	// ProtectVerity takes it where it is, and is ErrSource where the kernel does
	// not check it.
	ProtectVerity = "verity"
	// ProtectNone hashes the file and takes it where it is, unprotected.
	ProtectNone = "none"
)

// FlatBytes is the size up to which a copy's flat SHA-256 is made unasked, in
// bytes: it cannot be made in parallel.
const FlatBytes = 256 << 20

// Volume is a file system on a block device that the kernel checks at every
// read: it is mounted read-only into the root, which needs real root rights.
type Volume struct {
	// Device is the path of the device's node, and Number what stat(2) must say
	// of it.
	Device string `json:"device"`
	Number uint64 `json:"number"`
	// Filesystem is the type for mount(2).
	Filesystem string `json:"filesystem"`
	// Target is the absolute, clean path of the mount in the root, under the same
	// rules as File.Target.
	Target string `json:"target"`
}

// Limits are resource limits of the job (setrlimit(2)). Zero leaves the limit
// that the launcher has. RLIMIT_CORE is always 1, which stops every dump.
type Limits struct {
	// AddressSpace is RLIMIT_AS in bytes.
	AddressSpace uint64 `json:"address_space"`
	// OpenFiles is RLIMIT_NOFILE. Zero means a soft limit of 1024 below the hard
	// one that the launcher has.
	OpenFiles uint64 `json:"open_files"`
	// Processes is RLIMIT_NPROC: processes and threads of the job's uid. Zero
	// means 4096: there is always a bound.
	Processes uint64 `json:"processes"`
	// FileSize is RLIMIT_FSIZE in bytes.
	FileSize uint64 `json:"file_size"`
	// CPUSeconds is RLIMIT_CPU in seconds.
	CPUSeconds uint64 `json:"cpu_seconds"`
	// Memory bounds what the job may take in bytes beside the measured files, by
	// a control group of its own (memory.max, with no swap). Where the kernel
	// gives none, a launch with this limit is ErrLaunch.
	Memory uint64 `json:"memory"`
}

// Command is what the job executes.
type Command struct {
	// Path is the absolute path of the program: a File's Target in the closed
	// root, a File's Source in an open run. A script needs its interpreter, and
	// an ELF program its loader and libraries, among the Files.
	Path string `json:"path"`
	// Argv is the argument vector with argv[0]; at least one element.
	Argv []string `json:"argv"`
	// Env is the whole environment of the job, as NAME=value. Nothing is
	// inherited.
	Env []string `json:"env"`
	// Dir is the absolute working directory; empty means /scratch in the closed
	// root and / in an open run.
	Dir string `json:"dir"`
}

// Spec says what to run, on which files and how far apart from the machine. The
// zero value is refused.
type Spec struct {
	// Files are the files of the root, measured in this order.
	Files []File
	// Image is a container image that the root is filled with, or that is mounted into
	// it; nil for none. The
	// programs of Command need not be among the Files then: a name without a slash
	// is looked for in the PATH of Command.Env.
	Image *Image
	// Volumes are mounted into the root.
	Volumes []Volume
	// Devices are devices that the job can open beside null and urandom, as their
	// paths below /dev.
	Devices []string
	// Network leaves the job in the launcher's network.
	Network bool
	// InputFile is the source path of the input, where the job takes it as a file:
	// it stands at InputTarget, is copied and hashed like the others,
	// and its digest is Jail.Input. Empty: none.
	InputFile string
	// OutputFile is the path of the output in the root, directly or deeper under
	// /scratch, where the job writes it to a file: it is handed to IO.Output after
	// the job's end. Empty: none. It needs the closed root.
	OutputFile string
	// Command is executed in the closed root.
	Command Command
	// Open is executed instead, without a closed root, where the kernel gives no
	// namespaces at all: files are then hashed where they are (protection
	// "none"), and only the program itself runs from a sealed copy. Nil, the zero
	// value, refuses that: ErrIsolation.
	Open *Command
	// ForceOpen goes to the open run at once. It is for tests of that path, and
	// for a launcher whose user asks for no protection. It needs Open.
	ForceOpen bool
	// Strict makes every refused fact of the isolation an error: see
	// Isolation.Refused.
	Strict bool
	// Proc mounts a read-only /proc of the job's own PID namespace, with other
	// users' processes hidden. Without it there is none.
	Proc bool
	// Timeout is the time that the job may take from its execution on; zero is
	// refused, so that no job runs for ever by omission. At its end everything in
	// the job's PID namespace is killed.
	Timeout time.Duration
	// Limits are the job's resource limits.
	Limits Limits
	// ScratchBytes is the size of /scratch in bytes; zero means
	// DefaultScratchBytes.
	ScratchBytes uint64
	// TmpfsBytes bounds the bytes of all files together; zero means no bound but
	// the memory. More is ErrSpec before anything is copied.
	TmpfsBytes uint64
	// MaxInput, MaxOutput bound standard input, and each of standard output,
	// standard error and the output file, in bytes; zero means DefaultStreamBytes.
	// A larger input is ErrRun; a larger output kills the job, and the stream is
	// not complete.
	MaxInput  uint64
	MaxOutput uint64
	// Progress, if not nil, is told from one goroutine how many bytes of how many
	// are copied and hashed, at most about ten times a second and once at the end.
	Progress func(done, total uint64)
}

// Digest is the measurement of one file: of exactly the bytes that stand in the
// job's root.
type Digest struct {
	// ID is the File's; for the input file it is 0.
	ID int
	// SHA256 is the flat SHA-256 of the content, if HasSHA256.
	SHA256 [32]byte
	// HasSHA256 says that SHA256 was made.
	HasSHA256 bool
	// FSVerity is the fs-verity digest of the content, if HasFSVerity.
	FSVerity [32]byte
	// HasFSVerity says that FSVerity was made, or measured by the kernel.
	HasFSVerity bool
	// Protection is how the bytes are kept: "sealed", "fs-verity" or "none".
	Protection string
	// Described is what the header of the measured bytes says of the model; nil
	// where that was not asked for, or there is no header that is understood.
	Described []modelfile.Fact
	// Size is the length in bytes.
	Size uint64
}

// IO connects a job. A nil Stdin is empty, a nil writer discards (what it would
// have got is hashed and counted all the same).
type IO struct {
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
	// Output gets the content of Spec.OutputFile after the job's end.
	Output io.Writer
}

// StreamInfo describes what went through one stream.
type StreamInfo struct {
	// SHA256 is the hash of the bytes counted by Size. For standard input these
	// are the bytes read from IO.Stdin, whether the job took them or not; for the
	// others, the bytes that the writer accepted.
	SHA256 [32]byte
	// Size is their number.
	Size uint64
	// Complete says, for standard input: the reader ended and the job was given
	// every byte and the end of file. For standard output and error: all that the
	// job wrote was accepted by the writer, and the job was killed neither by
	// timeout nor by a limit. For the output file: it was there, regular, and all
	// of it was accepted.
	Complete bool
}

// Exit is how a job ended.
type Exit struct {
	// Code is the exit status, 0 to 255; -1 when a signal ended the job.
	Code int
	// Signal is the name of the signal that ended the job ("SIGKILL"), or empty.
	Signal string
	// Timeout says that the job was killed because Spec.Timeout was over.
	Timeout bool
	// Limit says that the job was killed because an output was larger than
	// Spec.MaxOutput.
	Limit bool
	// Stdin, Stdout and Stderr are the standard streams.
	Stdin, Stdout, Stderr StreamInfo
	// Output is the output file; zero without Spec.OutputFile.
	Output StreamInfo
	// Duration is the time from execution to end as init saw it.
	Duration time.Duration
}
