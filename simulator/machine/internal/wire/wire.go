// Package wire is what a simulated machine and its guest say to each other: one
// JSON object a line, the host's [Request] answered by the guest's [Response],
// one at a time.
package wire

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Port is the name of the virtio-serial port that carries the lines.
const Port = "sworn.machine"

// The limits of one message, in bytes.
const (
	// MaxData is the most that one member of a message carries: a piece of a
	// file, a program's standard input, output or error.
	MaxData = 1 << 20
	// MaxLine is the longest line, its newline included: two members of MaxData
	// in base64, and the rest.
	MaxLine = 4 << 20
)

// The operations.
const (
	// OpExec runs a program to its end: Argv, Env, Dir, Data (its standard
	// input), Timeout. Answered by Code, Data (its standard output), Stderr.
	OpExec = "exec"
	// OpRead reads up to MaxData bytes of the file Path from Offset, which is 0 or
	// where the last reading ended. Answered by Data; none at the end.
	OpRead = "read"
	// OpWrite writes Data to the file Path at Offset; at 0 it makes the file,
	// with Mode, or empties it.
	OpWrite = "write"
	// OpMount mounts Source, of file system Type, at Path, which it makes, with
	// Flags as mount(2) has them and Options.
	OpMount = "mount"
	// OpEnableVerity puts the file Path under fs-verity: SHA-256, blocks of
	// 4096 bytes. Answered by Data, the digest.
	OpEnableVerity = "enable-verity"
	// OpMapVerity maps a read-only device by dm-verity, see [Verity]. Answered
	// by Path, that of the device.
	OpMapVerity = "map-verity"
	// OpPowerOff switches the machine off. The answer comes before.
	OpPowerOff = "poweroff"
)

// Request is what the host asks for. The members that an operation does not
// name are zero.
type Request struct {
	// ID is repeated in the answer. The guest's first message, which nobody
	// asked for, has 0.
	ID uint64 `json:"id"`
	// Op is one of the operations above.
	Op string `json:"op"`
	// Argv is the program's path and its arguments; Env its whole environment,
	// as NAME=VALUE; Dir its working directory.
	Argv []string `json:"argv,omitempty"`
	Env  []string `json:"env,omitempty"`
	Dir  string   `json:"dir,omitempty"`
	// Timeout is how long the program may run, in milliseconds.
	Timeout int64 `json:"timeout,omitempty"`

	Path   string `json:"path,omitempty"`
	Offset int64  `json:"offset,omitempty"`
	// Mode is the permissions of a new file.
	Mode uint32 `json:"mode,omitempty"`
	Data []byte `json:"data,omitempty"`

	Source  string  `json:"source,omitempty"`
	Type    string  `json:"type,omitempty"`
	Flags   uint64  `json:"flags,omitempty"`
	Options string  `json:"options,omitempty"`
	Verity  *Verity `json:"verity,omitempty"`
}

// Verity describes a device under dm-verity: version 1, SHA-256, blocks of 4096
// bytes, the tree of hashes on a device of its own behind one block of
// superblock, as veritysetup(8) lays it out.
type Verity struct {
	// Name is the mapped device's name.
	Name string `json:"name"`
	// Data and Hash are the paths of the devices.
	Data string `json:"data"`
	Hash string `json:"hash"`
	// Blocks counts the blocks of data, of 4096 bytes.
	Blocks uint64 `json:"blocks"`
	// Root is the root hash, Salt the salt, both hexadecimal; an empty salt is
	// none.
	Root string `json:"root"`
	Salt string `json:"salt"`
}

// Response is the guest's answer.
type Response struct {
	// ID is that of the request.
	ID uint64 `json:"id"`
	// Error says why the operation failed; "" if it did not.
	Error string `json:"error,omitempty"`
	// Code is the program's exit status, 128 and the signal's number if one
	// ended it.
	Code   int    `json:"code,omitempty"`
	Data   []byte `json:"data,omitempty"`
	Stderr []byte `json:"stderr,omitempty"`
	Path   string `json:"path,omitempty"`
}

// The errors of this package; every error returned wraps one of them or, at the
// end of the stream, io.EOF.
var (
	// ErrMessage reports a line that is no message or is too long.
	ErrMessage = errors.New("not a message")
	// ErrStream reports that the stream failed.
	ErrStream = errors.New("stream failed")
)

// Send writes a message, a pointer to a [Request] or a [Response].
func Send(w io.Writer, message any) error {
	b, err := json.Marshal(message)
	if err != nil {
		return fmt.Errorf("encoding: %w: %w", ErrMessage, err)
	}
	if len(b) >= MaxLine {
		return fmt.Errorf("%w: %d bytes, limit %d", ErrMessage, len(b), MaxLine-1)
	}
	if _, err := w.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("writing a message: %w: %w", ErrStream, err)
	}
	return nil
}

// Reader reads messages.
type Reader struct{ b *bufio.Reader }

// NewReader returns a reader of the messages of r.
func NewReader(r io.Reader) *Reader { return &Reader{bufio.NewReaderSize(r, 64<<10)} }

// Receive reads one line into message, which must be zero. It holds no more
// than MaxLine bytes. The error is io.EOF if there is none any more.
func (r *Reader) Receive(message any) error {
	var line []byte
	for {
		part, err := r.b.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > MaxLine {
			return fmt.Errorf("%w: more than %d bytes", ErrMessage, MaxLine)
		}
		switch {
		case err == nil:
			return decode(line, message)
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && len(line) == 0:
			return io.EOF
		default:
			return fmt.Errorf("reading a message: %w: %w", ErrStream, err)
		}
	}
}

// decode parses a line: one object, and of known members.
func decode(line []byte, message any) error {
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(message); err != nil {
		return fmt.Errorf("%w: %w", ErrMessage, err)
	}
	if d.InputOffset() != int64(len(line)-1) {
		return fmt.Errorf("%w: more than one value in a line", ErrMessage)
	}
	return nil
}
