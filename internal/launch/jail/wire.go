//go:build linux

package jail

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/sworn-run/sworn/internal/launch/modelfile"
)

// maxMessage bounds one message between launcher, init and stage, in bytes.
const maxMessage = 64 << 20

// errWire says that a message is over its bound, malformed or out of turn.
var errWire = errors.New("malformed message")

// config is what the launcher tells init: the part of a Spec that init needs.
type config struct {
	Open       bool     `json:"open"`
	UserNS     bool     `json:"user_ns"`
	Files      []File   `json:"files"`
	Input      string   `json:"input"`
	OutputFile string   `json:"output_file"`
	Command    Command  `json:"command"`
	Proc       bool     `json:"proc"`
	Volumes    []Volume `json:"volumes"`
	Devices    []string `json:"devices"`
	Image      *Image   `json:"image,omitempty"`
	Network    bool     `json:"network"`
	TimeoutNS  int64    `json:"timeout_ns"`
	Limits     Limits   `json:"limits"`
	Scratch    uint64   `json:"scratch"`
	Tmpfs      uint64   `json:"tmpfs"`
	MaxOutput  uint64   `json:"max_output"`
	// UID and GID are the job's wanted ids; -1 leaves the launcher's.
	UID int `json:"uid"`
	GID int `json:"gid"`
}

// The verbs that the launcher sends init after the config.
const (
	verbGo    = "go"    // execute the job
	verbKill  = "kill"  // a limit was passed: kill the job and report
	verbReady = "ready" // init to launcher: all is prepared
)

// order is what the launcher tells init after the config.
type order struct {
	Verb string `json:"verb"`
}

// Kinds of failure that init reports.
const (
	failSource    = "source"
	failIsolation = "isolation" // this attempt's namespaces could not be had
	failLaunch    = "launch"
	failSpec      = "spec"
)

// failure is why init gave up.
type failure struct {
	Kind  string `json:"kind"`
	Text  string `json:"text"`
	Errno string `json:"errno"`
}

// progress counts bytes.
type progress struct {
	Done  uint64 `json:"done"`
	Total uint64 `json:"total"`
}

// fileDigest is a Digest on the wire.
type fileDigest struct {
	SHA256     []byte           `json:"sha256"`
	FSVerity   []byte           `json:"fsverity"`
	Size       uint64           `json:"size"`
	Protection string           `json:"protection"`
	Described  []modelfile.Fact `json:"described,omitempty"`
}

// ready is what init reports before the job is executed: the digests in the
// order of config.Files, the input's last where there is one.
type ready struct {
	Digests   []fileDigest `json:"digests"`
	Isolation Isolation    `json:"isolation"`
	Image     *Unpacked    `json:"image,omitempty"`
}

// ended is how the job ended, as init saw it.
type ended struct {
	Code       int    `json:"code"`
	Signal     int    `json:"signal"`
	Timeout    bool   `json:"timeout"`
	DurationNS int64  `json:"duration_ns"`
	OutputOK   bool   `json:"output_ok"`
	OutputSize uint64 `json:"output_size"`
}

// event is what init tells the launcher: exactly one member is set.
type event struct {
	Progress *progress `json:"progress,omitempty"`
	Failure  *failure  `json:"failure,omitempty"`
	Ready    *ready    `json:"ready,omitempty"`
	Ended    *ended    `json:"ended,omitempty"`
}

// stageConfig is what init tells the stage.
type stageConfig struct {
	Command Command `json:"command"`
	Limits  Limits  `json:"limits"`
	UID     int     `json:"uid"`
	GID     int     `json:"gid"`
	// Closed says that the root is the job's; Sealed, that the program is to be
	// executed from the descriptor stageProgram.
	Closed bool `json:"closed"`
	Sealed bool `json:"sealed"`
	// Network and Devices say what Landlock leaves to the job.
	Network bool `json:"network"`
	Devices bool `json:"devices"`
}

// stageReport is what the stage says: an empty one when it is there, then the
// facts it established, or why it failed.
type stageReport struct {
	UID           int    `json:"uid"`
	GID           int    `json:"gid"`
	OwnUID        State  `json:"own_uid"`
	GroupsDropped State  `json:"groups_dropped"`
	NoNewPrivs    State  `json:"no_new_privs"`
	CapsDropped   State  `json:"caps_dropped"`
	Seccomp       State  `json:"seccomp"`
	Keyring       State  `json:"keyring"`
	NoCore        State  `json:"no_core"`
	Landlock      State  `json:"landlock"`
	Error         string `json:"error,omitempty"`
}

// conn frames messages: a length of four bytes, big-endian, and JSON.
type conn struct {
	rw io.ReadWriter
	mu sync.Mutex // serialises send
}

// send writes one message.
func (c *conn) send(v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encoding message: %w", err)
	}
	if len(body) > maxMessage {
		return fmt.Errorf("%w: %d bytes to send, at most %d", errWire, len(body), maxMessage)
	}
	framed := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(body)), uint32(len(body)))
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, err := c.rw.Write(append(framed, body...)); err != nil {
		return fmt.Errorf("sending message: %w", err)
	}
	return nil
}

// receive reads one message into v. It returns io.EOF, unwrapped by a cause of
// its own, when the other side is gone.
func (c *conn) receive(v any) error {
	var head [4]byte
	if _, err := io.ReadFull(c.rw, head[:]); err != nil {
		return fmt.Errorf("receiving message: %w", err)
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > maxMessage {
		return fmt.Errorf("%w: %d bytes announced, at most %d", errWire, n, maxMessage)
	}
	// The buffer grows with what arrives, not with what is announced.
	var body bytes.Buffer
	if _, err := io.CopyN(&body, c.rw, int64(n)); err != nil {
		return fmt.Errorf("receiving message: %w", err)
	}
	return decode(body.Bytes(), v)
}

// decode parses one JSON value strictly: known members only, nothing after it.
func decode(body []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return fmt.Errorf("%w: %w", errWire, err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: trailing data", errWire)
	}
	return nil
}
