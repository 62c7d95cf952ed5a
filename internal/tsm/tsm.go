// Package tsm is a client of the kernel's interface for attestation reports of
// confidential VMs (Linux 6.7, Documentation/ABI/testing/configfs-tsm-report): a
// folder made in configfs is one request, whose attributes take what is to be
// signed and give what was.
//
// Any process that may make such a folder may also write into those of others, so the
// kernel counts the writes to each of them, its generation. [Client.Report] compares the
// count before and after with its own writes, and tries again in a new folder when somebody
// else was there. It removes each folder that it made,
// and those that a process which was killed has left.
package tsm

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// The sentinels of this package, which the device packages hand on as their own. Every
// error wraps one of them, or is the context's.
var (
	// ErrAbsent: the kernel has no such interface, or no driver for it.
	ErrAbsent = errors.New("not there")
	// ErrDenied: this process may not use the interface. It comes with fs.ErrPermission.
	ErrDenied = errors.New("not permitted")
	// ErrBusy: somebody else kept interfering, or the device kept refusing for now.
	ErrBusy = errors.New("device is busy")
	// ErrDevice: the interface failed, or answered what it must not.
	ErrDevice = errors.New("device failed")
	// ErrUsage: the caller's mistake.
	ErrUsage = errors.New("usage")
)

// DefaultConfigFS is where configfs is mounted.
const DefaultConfigFS = "/sys/kernel/config"

// InBlob is the size in bytes of what a report covers: the report data of SEV-SNP and
// of TDX.
const InBlob = 64

const (
	// attempts bounds how often a report is asked for where others write to the request.
	attempts = 5
	// patience bounds it where the driver refuses for now, as TDX's does while the host is
	// at work on another quote: for some ten seconds.
	patience = 15
	// pause is the first wait between two attempts; each is twice as long as the one
	// before, up to a second.
	pause = 20 * time.Millisecond
	// textSize bounds an attribute in text.
	textSize = 4096
	// entryPrefix begins the names of requests, and the process's id follows; leftAfter is
	// the age at which one is no longer being used.
	entryPrefix = "sworn-"
	leftAfter   = time.Hour
	// MaxPrivLevel is the largest privilege level (TSM_REPORT_PRIVLEVEL_MAX).
	MaxPrivLevel = 3
)

// Client is the interface below one mount of configfs.
type Client struct {
	// ConfigFS is where configfs is mounted; empty is DefaultConfigFS.
	ConfigFS string
	// Provider is the kernel's name of the driver that is to answer, such as "sev_guest".
	Provider string
	// Module is the driver's module, for people.
	Module string
}

// Request is one report to be made.
type Request struct {
	// InBlob is what the report is to cover.
	InBlob [InBlob]byte
	// PrivLevel is the privilege level to report from, 0 to MaxPrivLevel; nil is the least
	// that the driver answers for, which is the kernel's own.
	PrivLevel *uint
	// MaxOut bounds the report, in bytes.
	MaxOut int
	// MaxAux bounds what comes beside it, in bytes; 0 does not ask for that.
	MaxAux int
}

// Response is what the driver gave.
type Response struct {
	// Out is the report.
	Out []byte
	// Aux is what comes beside it: for SEV-SNP, a table of certificates. Nil for none.
	Aux []byte
}

// What another attempt may mend; both come with ErrBusy.
var (
	errDisturbed = errors.New("somebody else wrote to the request")
	errLater     = errors.New("not now")
)

// dir returns the folder of requests.
func (c *Client) dir() string {
	root := c.ConfigFS
	if root == "" {
		root = DefaultConfigFS
	}
	return filepath.Join(root, "tsm", "report")
}

// Report has one report made. Both sizes in its answer are within the bounds of r. The
// error wraps [ErrAbsent], [ErrDenied], [ErrBusy], [ErrDevice] or [ErrUsage], or is the
// context's, which comes with ErrBusy if it ended the wait for another attempt. A driver
// that is at work is not interrupted.
func (c *Client) Report(ctx context.Context, r *Request) (*Response, error) {
	if c == nil || r == nil || r.MaxOut <= 0 || r.MaxAux < 0 || r.PrivLevel != nil && *r.PrivLevel > MaxPrivLevel {
		return nil, fmt.Errorf("asking for a report: %w", ErrUsage)
	}
	var rsp *Response
	for i := 1; ; i++ {
		err := c.with(ctx, func(e entry) (err error) {
			rsp, err = e.report(r)
			return err
		})
		switch {
		case err == nil:
			return rsp, nil
		case !errors.Is(err, errDisturbed) && !errors.Is(err, errLater):
			return nil, fmt.Errorf("asking for a report: %w", err)
		case i == patience, i >= attempts && errors.Is(err, errDisturbed):
			return nil, fmt.Errorf("asking for a report, %d times: %w", i, err)
		}
		if e := wait(ctx, min(pause<<(i-1), time.Second)); e != nil {
			return nil, fmt.Errorf("asking for a report: %w: %w", e, err)
		}
	}
}

// Probe finds out whether the driver is there, and returns the least privilege level that
// it answers for, 0 where it has none. The error is as that of [Client.Report].
func (c *Client) Probe(ctx context.Context) (floor uint, err error) {
	err = c.with(ctx, func(e entry) (err error) {
		floor, err = e.floor()
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("looking for %s: %w", c.Provider, err)
	}
	return floor, nil
}

// with makes a folder, has it used if the driver is the one wanted, and removes it.
func (c *Client) with(ctx context.Context, use func(entry) error) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	e, err := c.make()
	if err != nil {
		return err
	}
	defer func() {
		if e := os.Remove(string(e)); e != nil && !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, fmt.Errorf("removing the request: %w: %w", ErrDevice, e))
		}
	}()
	name, err := e.read("provider", textSize)
	if err != nil {
		return err
	}
	if got := strings.TrimSuffix(string(name), "\n"); got != c.Provider {
		return fmt.Errorf("the reports of this machine come from %.32q, not from %q: %w", got, c.Provider, ErrAbsent)
	}
	return use(e)
}

// sweep removes the requests of processes that were killed: those made here long ago by
// a process that is not there any more. What cannot be removed stays.
func sweep(dir string, now time.Time) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		rest, ours := strings.CutPrefix(e.Name(), entryPrefix)
		text, _, whole := strings.Cut(rest, "-")
		pid, err := strconv.ParseUint(text, 10, 31)
		if !ours || !whole || err != nil || pid == 0 || !gone(int(pid)) {
			continue
		}
		// A process of another namespace cannot be seen, but takes no more than seconds.
		if info, err := e.Info(); err == nil && info.IsDir() && now.Sub(info.ModTime()) > leftAfter {
			_ = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}

// make makes a folder under a name that nobody else has.
func (c *Client) make() (entry, error) {
	dir := c.dir()
	sweep(dir, time.Now())
	path := filepath.Join(dir, fmt.Sprintf(entryPrefix+"%d-%s", os.Getpid(), rand.Text()))
	err := number(os.Mkdir(path, 0o700))
	switch {
	case err == nil:
		return entry(path), nil
	case errors.Is(err, syscall.ENXIO):
		return "", fmt.Errorf("no driver answers for reports (modprobe %s; the machine must be a confidential VM): %w: %w", c.Module, ErrAbsent, err)
	case errors.Is(err, fs.ErrPermission):
		return "", fmt.Errorf("making a request (root may): %w: %w", ErrDenied, err)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return "", c.missing(err)
	}
	return "", fmt.Errorf("making a request: %w: %w", ErrDevice, err)
}

// missing says what is missing, and what to do.
func (c *Client) missing(cause error) error {
	root := filepath.Dir(filepath.Dir(c.dir()))
	what := fmt.Sprintf("%s has no tsm/report (modprobe %s, or Linux 6.7 with CONFIG_TSM_REPORTS)", root, c.Module)
	names, err := os.ReadDir(root)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		what = fmt.Sprintf("there is no %s (a kernel with CONFIG_CONFIGFS_FS has)", root)
	case err == nil && len(names) == 0:
		what = fmt.Sprintf("%s is empty (mount -t configfs none %s; modprobe %s; Linux 6.7 with CONFIG_TSM_REPORTS)", root, root, c.Module)
	}
	return fmt.Errorf("%s: %w: %w", what, ErrAbsent, cause)
}

// entry is one request: the path of its folder.
type entry string

// report writes the request and reads the answer.
func (e entry) report(r *Request) (*Response, error) {
	want, err := e.number("generation")
	if err != nil {
		return nil, err
	}
	level := r.PrivLevel
	if level == nil {
		// The kernel takes 0 if nothing is written, which its own level may not reach.
		floor, err := e.floor()
		if err != nil {
			return nil, err
		}
		if floor > 0 {
			level = &floor
		}
	}
	if level != nil {
		if err := e.write("privlevel", strconv.AppendUint(nil, uint64(*level), 10)); err != nil {
			return nil, privError(*level, err)
		}
		want++
	}
	if err := e.write("inblob", r.InBlob[:]); err != nil {
		return nil, err
	}
	want++
	if err := e.expect(want); err != nil {
		return nil, err
	}
	rsp := &Response{}
	if rsp.Out, err = e.read("outblob", r.MaxOut); err != nil {
		return nil, err
	}
	if r.MaxAux > 0 {
		rsp.Aux, err = e.read("auxblob", r.MaxAux)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	if err := e.expect(want); err != nil {
		return nil, err
	}
	if len(rsp.Out) == 0 {
		return nil, fmt.Errorf("an empty report: %w", ErrDevice)
	}
	return rsp, nil
}

// floor returns the least privilege level, 0 if the driver knows none.
func (e entry) floor() (uint, error) {
	n, err := e.number("privlevel_floor")
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return 0, nil
	case err != nil:
		return 0, err
	case n > MaxPrivLevel:
		return 0, fmt.Errorf("least privilege level %d: %w", n, ErrDevice)
	}
	return uint(n), nil
}

// expect compares the count of writes with those of this process.
func (e entry) expect(want uint64) error {
	got, err := e.number("generation")
	if err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("%w: %w (generation %d, want %d)", ErrBusy, errDisturbed, got, want)
	}
	return nil
}

// number reads an attribute that holds a number.
func (e entry) number(name string) (uint64, error) {
	b, err := e.read(name, textSize)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(strings.TrimSuffix(string(b), "\n"), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s is not a number: %w: %w", name, ErrDevice, err)
	}
	return n, nil
}

// read reads an attribute of at most limit bytes; one that is empty is nil.
func (e entry) read(name string, limit int) ([]byte, error) {
	f, err := os.Open(filepath.Join(string(e), name))
	if err != nil {
		return nil, classify("reading "+name, err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, int64(limit)+1))
	switch {
	case err != nil:
		return nil, classify("reading "+name, err)
	case len(b) > limit:
		return nil, fmt.Errorf("%s has more than %d bytes: %w", name, limit, ErrDevice)
	case len(b) == 0:
		return nil, nil
	}
	return b, nil
}

// write writes an attribute in one call: the kernel takes a value of bytes when the file
// is closed, and each call as a value of text.
func (e entry) write(name string, value []byte) error {
	f, err := os.OpenFile(filepath.Join(string(e), name), os.O_WRONLY, 0)
	if err != nil {
		return classify("writing "+name, err)
	}
	_, err = f.Write(value)
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return classify("writing "+name, err)
	}
	return nil
}

// privError explains a refused privilege level.
func privError(level uint, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("the driver knows no privilege levels: %w: %w", ErrUsage, err)
	case errors.Is(err, syscall.EINVAL):
		return fmt.Errorf("privilege level %d is below the least that this VM reports from (privlevel_floor): %w: %w", level, ErrUsage, err)
	}
	return err
}

// classify gives an error of the file system its sentinel.
func classify(what string, err error) error {
	switch err = number(err); {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s: %w: %w", what, ErrDenied, err)
	case errors.Is(err, syscall.ENXIO):
		return fmt.Errorf("%s: the driver is gone: %w: %w", what, ErrAbsent, err)
	case errors.Is(err, syscall.EBUSY), errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.EINTR):
		return fmt.Errorf("%s: %w, %w: %w", what, ErrBusy, errLater, err)
	}
	return fmt.Errorf("%s: %w: %w", what, ErrDevice, err)
}

// number returns what an error of the file system says without the path, which tells
// nobody anything.
func number(err error) error {
	if e, ok := errors.AsType[syscall.Errno](err); ok {
		return e
	}
	return err
}

// wait waits, or returns the context's error.
func wait(ctx context.Context, d time.Duration) error {
	pause, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	<-pause.Done()
	return ctx.Err()
}
