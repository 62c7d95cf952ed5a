package kernel

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// Bounds of the kernel's (include/linux/tsm.h).
const (
	maxPrivLevel = 3
	inBlobSize   = 64
	outBlobSize  = 16 << 20
	textSize     = 4096
)

// requests is the folder whose folders are requests.
type requests struct {
	fs.Inode
	o *Options
}

// Getattr answers the folder's mode.
func (r *requests) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	out.Mode = 0o755
	return 0
}

// interfere asks the options.
func (r *requests) interfere(name, attribute string) syscall.Errno {
	if r.o.Interfere == nil {
		return 0
	}
	return r.o.Interfere(strings.Join([]string{configDir, "tsm", "report", name}, "/"), attribute)
}

// Mkdir makes a request.
func (r *requests) Mkdir(ctx context.Context, name string, _ uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	if errno := r.interfere(name, "mkdir"); errno != 0 {
		return nil, errno
	}
	if r.o.Provider == "" {
		return nil, syscall.ENXIO
	}
	if r.GetChild(name) != nil {
		return nil, syscall.EEXIST
	}
	out.Mode = unix.S_IFDIR | 0o755
	return r.NewPersistentInode(ctx, &request{all: r, name: name}, fs.StableAttr{Mode: unix.S_IFDIR}), 0
}

// Rmdir removes a request with its attributes.
func (r *requests) Rmdir(_ context.Context, name string) syscall.Errno {
	if errno := r.interfere(name, "rmdir"); errno != 0 {
		return errno
	}
	child := r.GetChild(name)
	if child == nil {
		return syscall.ENOENT
	}
	for _, a := range child.Children() {
		a.ForgetPersistent()
	}
	child.ForgetPersistent()
	return 0
}

// request is one request for a report.
type request struct {
	fs.Inode
	all  *requests
	name string

	mu             sync.Mutex
	in             []byte
	level          uint
	written, given uint64
	out, aux       []byte
	made           bool
}

// Getattr answers the folder's mode.
func (r *request) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	out.Mode = 0o755
	return 0
}

// Unlink refuses: attributes come and go with their folder.
func (r *request) Unlink(context.Context, string) syscall.Errno { return syscall.EPERM }

// OnAdd fills the folder: what is beside the report is for SEV-SNP only.
func (r *request) OnAdd(ctx context.Context) {
	r.add(ctx, "generation", &attribute{mode: 0o444, size: textSize, read: r.generation})
	r.add(ctx, "provider", r.text(r.all.o.Provider))
	r.add(ctx, "inblob", &attribute{mode: 0o200, commit: r.setIn, limit: inBlobSize})
	r.add(ctx, "outblob", &attribute{mode: 0o400, read: func() ([]byte, error) { return r.report(false) }})
	if r.all.o.Provider != SEVGuest {
		return
	}
	r.add(ctx, "auxblob", &attribute{mode: 0o400, read: func() ([]byte, error) { return r.report(true) }})
	r.add(ctx, "privlevel", &attribute{mode: 0o200, size: textSize, write: r.setLevel})
	r.add(ctx, "privlevel_floor", r.text(fmt.Sprint(r.all.o.PrivLevelFloor)))
}

// add adds an attribute.
func (r *request) add(ctx context.Context, name string, a *attribute) {
	a.open = func() syscall.Errno { return r.all.interfere(r.name, name) }
	addTo(ctx, &r.Inode, name, a)
}

// text is an attribute that never changes.
func (r *request) text(s string) *attribute {
	return &attribute{mode: 0o444, size: textSize, read: func() ([]byte, error) { return []byte(s + "\n"), nil }}
}

// generation reads how often the request was written to.
func (r *request) generation() ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append(strconv.AppendUint(nil, r.written, 10), '\n'), nil
}

// advance counts one more write. Whoever writes so often that the count comes round has
// to read first.
func (r *request) advance() error {
	if r.written == r.given-1 {
		return syscall.EBUSY
	}
	r.written++
	return nil
}

// setIn takes what the report is to cover.
func (r *request) setIn(b []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.advance(); err != nil {
		return err
	}
	r.in = b
	return nil
}

// setLevel takes the privilege level.
func (r *request) setLevel(b []byte, _ int64) error {
	n, err := strconv.ParseUint(strings.TrimSuffix(string(b), "\n"), 0, 32)
	if err != nil || n > maxPrivLevel || uint(n) < r.all.o.PrivLevelFloor {
		return syscall.EINVAL
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.advance(); err != nil {
		return err
	}
	r.level = uint(n)
	return nil
}

// report makes the report unless there is one of what was last written. Writers wait
// meanwhile.
func (r *request) report(aux bool) ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.in) == 0 {
		return nil, syscall.EINVAL
	}
	if !r.made || r.given != r.written {
		r.made = false
		if len(r.in) != inBlobSize {
			return nil, syscall.EINVAL
		}
		out, table, err := r.all.o.Report(r.in, r.level)
		if err != nil {
			return nil, err
		}
		if len(out) > outBlobSize || len(table) > outBlobSize {
			return nil, syscall.EFBIG
		}
		r.out, r.aux, r.made, r.given = out, table, true, r.written
	}
	if aux {
		return r.aux, nil
	}
	return r.out, nil
}

// ccelTable returns the table CCEL for a log of so many bytes: a header of 36 bytes, the
// type of the VM (2, TDX), the log's size and where it is.
func ccelTable(size int) []byte {
	t := make([]byte, 56)
	copy(t, "CCEL")
	binary.LittleEndian.PutUint32(t[4:], uint32(len(t)))
	t[8] = 1
	copy(t[10:], "SWORN ")
	copy(t[16:], "SIMULATE")
	t[36] = 2
	binary.LittleEndian.PutUint64(t[40:], uint64(min(size, math.MaxInt32)))
	binary.LittleEndian.PutUint64(t[48:], 0x7ffff000)
	var sum byte
	for _, b := range t {
		sum += b
	}
	t[9] = -sum
	return t
}
