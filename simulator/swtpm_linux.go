package simulator

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/go-tpm/tpm2/transport"
	"golang.org/x/sys/unix"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/tpm/tpmdev"
)

// The files of a software TPM below its directory, beside the maker's. swtpm
// runs in that directory and is given these names as they are: the characters
// and the length of the directory's own path do not matter to it.
const (
	stateDir    = "state"
	newStateDir = "state.new"
	socketFile  = "tpm.sock"
	ctrlFile    = socketFile + ".ctrl"
	pidFile     = "swtpm.pid"
	logFile     = "swtpm.log"
	lockFile    = "swtpm.lock"
)

// maxSocketPath is the longest path of a unix socket, in bytes: sun_path has
// 108, one of them the final NUL (unix(7)).
const maxSocketPath = 107

// patience is how long swtpm may take to start, or to stop when asked, before
// it is taken to have failed.
const patience = 10 * time.Second

// Options say which software TPM to run.
type Options struct {
	// Dir holds everything: the TPM's state, the maker, sockets. It is made if
	// it is not there. Required.
	Dir string
	// Addr is where the TPM listens: "" for a unix socket at Dir/tpm.sock, or
	// "tcp:HOST:PORT" with a loopback address; port 0 chooses a free one. There
	// is no access control on TCP: every user of the machine can use the TPM.
	// The control socket is at Dir/tpm.sock.ctrl in either case.
	Addr string
	// Detach leaves the TPM running when Close is called and when this process
	// ends; [StopSWTPM] stops it. Otherwise it ends with this process.
	Detach bool
	// Machine gives the TPM to a virtual machine: provisioned, it is switched
	// off and waits, with no power yet, at its control socket for QEMU's
	// tpm-emulator, which brings the channel for commands; the machine's
	// firmware starts it up. Addr must be "".
	Machine bool
}

// SWTPM is a software TPM that was started. Its methods are safe for
// concurrent use.
type SWTPM struct {
	dir    string
	addr   string
	detach bool
	maker  *Maker
	close  func() error
}

// Addr returns where the TPM listens: "unix:PATH" or "tcp:HOST:PORT". The path
// begins with Options.Dir as it was given. It serves one client at a time. With
// Options.Machine, the path is that of the control socket, for QEMU alone.
func (s *SWTPM) Addr() string { return s.addr }

// RootsDir returns the folder of roots of the TPM's maker: Dir/roots.
func (s *SWTPM) RootsDir() string { return s.maker.RootsDir() }

// Maker returns the TPM's maker.
func (s *SWTPM) Maker() *Maker { return s.maker }

// Close stops the TPM, unless it was started to be left running. Its state
// stays in its directory. More calls do nothing and return the same error.
func (s *SWTPM) Close() error {
	if s.detach || s.close == nil {
		return nil
	}
	return s.close()
}

// StartSWTPM starts the software TPM of a directory with swtpm: a new one,
// with PCR banks SHA-256 and SHA-384, if there is none, else the same as
// before, as if its machine had been switched off and on (resetCount grows,
// registers are zero). It has a maker of its own and is provisioned, see
// [Maker.Provision]. What a crash left behind (sockets, the pid file) is
// removed.
//
// The error wraps [ErrNotInstalled] if swtpm is missing,
// [ErrDir] or [ErrSocketPath] for a directory that cannot be used,
// [attest.ErrArgument] for an address, [ErrRunning] if this TPM is running, [ErrTPM] if swtpm fails, or the
// context's error if that ended first. On error nothing is left running.
func StartSWTPM(ctx context.Context, o Options) (*SWTPM, error) {
	s, err := startSWTPM(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("starting a software TPM in %q: %w", o.Dir, err)
	}
	return s, nil
}

// startSWTPM is StartSWTPM.
func startSWTPM(ctx context.Context, o Options) (*SWTPM, error) {
	h, err := openHome(ctx, o.Dir)
	if err != nil {
		return nil, err
	}
	defer h.unlock()
	if o.Machine && o.Addr != "" {
		return nil, fmt.Errorf("an address for the TPM of a virtual machine: %w", attest.ErrArgument)
	}
	addr, err := h.listenAddr(o.Addr)
	if err != nil {
		return nil, err
	}
	if h.find() != nil {
		return nil, ErrRunning
	}
	if err := h.clean(); err != nil {
		return nil, err
	}
	maker, err := OpenMaker(o.Dir)
	if err != nil {
		return nil, err
	}
	if err := h.setUp(ctx); err != nil {
		return nil, err
	}
	if err := h.spawn(ctx, stateDir, serverOptions(addr), o.Detach); err != nil {
		return nil, err
	}
	if err := talk(ctx, addr, maker.Provision); err != nil {
		return nil, errors.Join(err, h.stop(context.WithoutCancel(ctx)))
	}
	if o.Machine {
		if err := h.stop(context.WithoutCancel(ctx)); err != nil {
			return nil, err
		}
		addr = "unix:" + h.path(ctrlFile)
		if err := h.spawn(ctx, stateDir, nil, o.Detach); err != nil {
			return nil, err
		}
	}
	stop := sync.OnceValue(func() error { return StopSWTPM(context.Background(), o.Dir) })
	return &SWTPM{dir: o.Dir, addr: addr, detach: o.Detach, maker: maker, close: stop}, nil
}

// StopSWTPM stops the software TPM of a directory, whoever started it: by its
// control socket, and by signals if it does not answer. It waits until the TPM
// has ended, and removes what it may have left. It does nothing if none is
// running. The error wraps [ErrDir] if there is no such directory, [ErrTPM] if
// the TPM cannot be stopped, or the context's error.
func StopSWTPM(ctx context.Context, dir string) error {
	if _, err := os.Stat(dir); err != nil {
		return fmt.Errorf("stopping a software TPM: %w: %w", ErrDir, err)
	}
	if _, err := os.Stat(filepath.Join(dir, lockFile)); errors.Is(err, fs.ErrNotExist) {
		return nil // none was ever started here
	}
	h, err := openHome(ctx, dir)
	if err != nil {
		return fmt.Errorf("stopping the software TPM in %q: %w", dir, err)
	}
	defer h.unlock()
	if err := h.stop(ctx); err != nil {
		return fmt.Errorf("stopping the software TPM in %q: %w", dir, err)
	}
	return nil
}

// talk connects to the TPM for what is to be done with it.
func talk(ctx context.Context, addr string, do func(context.Context, transport.TPM) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	t, err := tpmdev.Dial(ctx, addr)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrTPM, err)
	}
	defer t.Close()
	// A command that takes too long ends with its connection.
	defer context.AfterFunc(ctx, func() { _ = t.Close() })()
	err = do(ctx, t)
	if e := ctx.Err(); err != nil && e != nil {
		return fmt.Errorf("%w: %w", e, err)
	}
	return err
}

// home is the directory of a software TPM, locked against others who would
// start or stop it.
type home struct {
	// dir is as it was given, abs is what /proc calls it.
	dir, abs string
	lock     *os.File
}

// openHome makes the directory, if need be, and locks it.
func openHome(ctx context.Context, dir string) (*home, error) {
	if dir == "" {
		return nil, fmt.Errorf("no directory given: %w", ErrDir)
	}
	h := &home{dir: filepath.Clean(dir)}
	if n := len(h.path(ctrlFile)); n > maxSocketPath {
		return nil, fmt.Errorf("%w (%q has %d bytes, limit %d)", ErrSocketPath, h.path(ctrlFile), n, maxSocketPath)
	}
	if err := os.MkdirAll(h.dir, 0o700); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDir, err)
	}
	abs, err := filepath.Abs(h.dir)
	if err == nil {
		h.abs, err = filepath.EvalSymlinks(abs)
	}
	if err == nil {
		err = checkOwner(h.abs)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDir, err)
	}
	if h.lock, err = os.OpenFile(h.path(lockFile), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDir, err)
	}
	for {
		err := unix.Flock(int(h.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return h, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return nil, errors.Join(fmt.Errorf("locking: %w: %w", ErrDir, err), h.lock.Close())
		}
		if err := pause(ctx); err != nil {
			return nil, errors.Join(fmt.Errorf("waiting for another start or stop: %w", err), h.lock.Close())
		}
	}
}

// checkOwner refuses a directory that is another user's or that others may write
// to, such as a /tmp/tpm that somebody was first to make: with links in it they
// would have this user overwrite files, and the maker's keys would be theirs.
func checkOwner(dir string) error {
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR || st.Mode&0o022 != 0 || int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("%q is not a directory that this user alone may write to", dir)
	}
	return nil
}

// unlock lets others start and stop the TPM. Closing the file releases the
// lock; nothing was written to it.
func (h *home) unlock() { _ = h.lock.Close() }

// path returns the path of a file of the directory.
func (h *home) path(name string) string { return filepath.Join(h.dir, name) }

// pause waits a moment, or returns the context's error.
func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(5 * time.Millisecond):
		return nil
	}
}

// listenAddr returns the address to listen at, with a port if it was left
// open.
func (h *home) listenAddr(addr string) (string, error) {
	if addr == "" {
		return "unix:" + h.path(socketFile), nil
	}
	hostPort, ok := strings.CutPrefix(addr, "tcp:")
	host, port, err := net.SplitHostPort(hostPort)
	ip := net.ParseIP(host)
	if !ok || err != nil || ip == nil || !ip.IsLoopback() {
		return "", fmt.Errorf("%q is not tcp:HOST:PORT with a loopback address: %w", addr, attest.ErrArgument)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return "", fmt.Errorf("%q has no port: %w: %w", addr, attest.ErrArgument, err)
	}
	if n != 0 {
		return "tcp:" + net.JoinHostPort(ip.String(), strconv.FormatUint(n, 10)), nil
	}
	// swtpm cannot choose one itself, nor be handed a listening socket.
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return "", fmt.Errorf("choosing a port: %w: %w", ErrTPM, err)
	}
	defer l.Close()
	return "tcp:" + l.Addr().String(), nil
}

// splitAddr returns network and address as package net takes them.
func splitAddr(addr string) (network, address string) {
	network, address, _ = strings.Cut(addr, ":")
	return network, address
}

// setUp makes the TPM's state if there is none: swtpm does by itself, but with
// other PCR banks. The state gets its name when it is complete.
func (h *home) setUp(ctx context.Context) error {
	if _, err := os.Stat(h.path(stateDir)); !errors.Is(err, fs.ErrNotExist) {
		if err != nil {
			return fmt.Errorf("%w: %w", ErrDir, err)
		}
		return nil
	}
	part := h.path(newStateDir)
	if err := os.RemoveAll(part); err != nil {
		return fmt.Errorf("%w: %w", ErrDir, err)
	}
	if err := os.Mkdir(part, 0o700); err != nil {
		return fmt.Errorf("%w: %w", ErrDir, err)
	}
	addr := "unix:" + h.path(socketFile)
	if err := h.spawn(ctx, newStateDir, serverOptions(addr), false); err != nil {
		return err
	}
	err := talk(ctx, addr, func(_ context.Context, t transport.TPM) error { return allocateBanks(t) })
	if err := errors.Join(err, h.stop(context.WithoutCancel(ctx))); err != nil {
		return fmt.Errorf("setting up the PCR banks: %w", err)
	}
	if err := os.Rename(part, h.path(stateDir)); err != nil {
		return fmt.Errorf("%w: %w", ErrDir, err)
	}
	return nil
}

// lookSWTPM finds swtpm.
func lookSWTPM() (string, error) {
	path, err := exec.LookPath("swtpm")
	if err != nil {
		return "", fmt.Errorf("swtpm: %w (apt-get install swtpm): %w", ErrNotInstalled, err)
	}
	return path, nil
}

// lastLines returns the end of a program's output, for an error message.
func lastLines(out []byte) string {
	const most = 400
	text := strings.TrimSpace(string(out))
	if len(text) > most {
		text = text[len(text)-most:]
	}
	return strconv.QuoteToGraphic(text)
}
