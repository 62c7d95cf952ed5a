package tsm

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// TestReportRefuses: requests that cannot be.
func TestReportRefuses(t *testing.T) {
	c := &Client{ConfigFS: t.TempDir(), Provider: "sev_guest", Module: "sev-guest"}
	for name, r := range map[string]*Request{
		"none": nil, "no bound": {}, "a negative one": {MaxOut: 1, MaxAux: -1}, "no level": {MaxOut: 1, PrivLevel: new(uint(4))},
	} {
		if rsp, err := c.Report(t.Context(), r); !errors.Is(err, ErrUsage) || rsp != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	var none *Client
	if _, err := none.Report(t.Context(), &Request{MaxOut: 1}); !errors.Is(err, ErrUsage) {
		t.Errorf("no client: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Report(ctx, &Request{MaxOut: 1}); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that ended: %v", err)
	}
	if _, err := c.Probe(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that ended: %v", err)
	}
}

// TestPlainFolder: a folder that is no configfs makes no attributes, and what was made
// there is removed.
func TestPlainFolder(t *testing.T) {
	c := &Client{ConfigFS: t.TempDir(), Provider: "sev_guest", Module: "sev-guest"}
	if err := os.MkdirAll(c.dir(), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Report(t.Context(), &Request{MaxOut: 1}); !errors.Is(err, ErrDevice) {
		t.Errorf("%v", err)
	}
	if left, err := os.ReadDir(c.dir()); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestAttributes reads attributes that a driver would not have.
func TestAttributes(t *testing.T) {
	e := entry(t.TempDir())
	for name, content := range map[string]string{"word": "two\n", "negative": "-1\n", "empty": "", "long": "12345", "privlevel_floor": "4\n"} {
		if err := os.WriteFile(filepath.Join(string(e), name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"word", "negative", "empty", "none"} {
		if n, err := e.number(name); !errors.Is(err, ErrDevice) || n != 0 {
			t.Errorf("%s: %d, %v", name, n, err)
		}
	}
	if b, err := e.read("long", 4); !errors.Is(err, ErrDevice) || b != nil {
		t.Errorf("too long: %q, %v", b, err)
	}
	if b, err := e.read("long", 5); string(b) != "12345" || err != nil {
		t.Errorf("long enough: %q, %v", b, err)
	}
	if b, err := e.read("empty", 5); b != nil || err != nil {
		t.Errorf("empty: %q, %v", b, err)
	}
	if n, err := e.floor(); !errors.Is(err, ErrDevice) || n != 0 {
		t.Errorf("floor: %d, %v", n, err)
	}
}

// TestClassify: what the kernel may answer, and whether it is worth another attempt.
func TestClassify(t *testing.T) {
	for errno, c := range map[syscall.Errno]struct {
		want  error
		again bool
	}{
		syscall.EACCES: {ErrDenied, false}, syscall.EPERM: {ErrDenied, false}, syscall.ENXIO: {ErrAbsent, false},
		syscall.EBUSY: {ErrBusy, true}, syscall.EAGAIN: {ErrBusy, true}, syscall.EINTR: {ErrBusy, true},
		syscall.EINVAL: {ErrDevice, false}, syscall.EIO: {ErrDevice, false}, syscall.EFBIG: {ErrDevice, false},
	} {
		err := classify("reading", &os.PathError{Op: "read", Path: "outblob", Err: errno})
		if !errors.Is(err, c.want) || !errors.Is(err, errno) || errors.Is(err, errRetry) != c.again {
			t.Errorf("%v: %v", errno, err)
		}
	}
}

// TestWait: a context ends the wait.
func TestWait(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := wait(ctx, time.Hour); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	if err := wait(t.Context(), time.Microsecond); err != nil {
		t.Error(err)
	}
}
