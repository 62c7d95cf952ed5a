package kernel

import (
	"context"
	"errors"
	"sync"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// attribute is a file whose content is made when it is opened and first read, and whose
// value is taken when it is written, as in sysfs and configfs.
type attribute struct {
	fs.Inode
	mode, size uint32
	// open is called first; nil allows.
	open func() syscall.Errno
	// read makes the content; nil for a file that cannot be read.
	read func() ([]byte, error)
	// write takes what one call wrote at an offset; nil for a file that cannot be written,
	// unless commit is there.
	write func(data []byte, off int64) error
	// commit takes everything that was written, when the file is closed.
	commit func(data []byte) error
	// limit bounds what commit takes, in bytes.
	limit int
}

// Getattr answers what the kernel would.
func (a *attribute) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	out.Mode, out.Size = a.mode, uint64(a.size)
	return 0
}

// Setattr does nothing: a file that is opened to be written anew is not cut.
func (a *attribute) Setattr(ctx context.Context, h fs.FileHandle, _ *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	return a.Getattr(ctx, h, out)
}

// Open refuses, for root too, what the file is not for.
func (a *attribute) Open(_ context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	how := flags & unix.O_ACCMODE
	if how != unix.O_WRONLY && a.read == nil || how != unix.O_RDONLY && a.write == nil && a.commit == nil {
		return nil, 0, syscall.EACCES
	}
	if a.open != nil {
		if errno := a.open(); errno != 0 {
			return nil, 0, errno
		}
	}
	return &handle{a: a}, fuse.FOPEN_DIRECT_IO, 0
}

// handle is an attribute that is open.
type handle struct {
	a *attribute

	mu      sync.Mutex
	read    bool
	content []byte
	written []byte
}

// Read returns the content as it was at the first read.
func (h *handle) Read(_ context.Context, dst []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.a.read == nil {
		return nil, syscall.EBADF
	}
	if !h.read {
		content, err := h.a.read()
		if err != nil {
			return nil, errno(err)
		}
		h.read, h.content = true, content
	}
	rest := h.content[min(off, int64(len(h.content))):]
	return fuse.ReadResultData(rest[:min(len(rest), len(dst))]), 0
}

// Write takes a value, or a piece of one.
func (h *handle) Write(_ context.Context, data []byte, off int64) (uint32, syscall.Errno) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.a.write != nil {
		if err := h.a.write(data, off); err != nil {
			return 0, errno(err)
		}
		return uint32(len(data)), 0
	}
	end := off + int64(len(data))
	switch {
	case h.a.commit == nil:
		return 0, syscall.EBADF
	case end > int64(h.a.limit):
		return 0, syscall.EFBIG
	case end > int64(len(h.written)):
		h.written = append(h.written, make([]byte, end-int64(len(h.written)))...)
	}
	copy(h.written[off:], data)
	return uint32(len(data)), 0
}

// Flush takes what was written: the kernel does so before close returns, and tells nobody
// whether it was refused.
func (h *handle) Flush(context.Context) syscall.Errno {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.written != nil && h.a.commit != nil {
		_ = h.a.commit(h.written)
		h.written = nil
	}
	return 0
}

// errno returns the number of an error; EIO for one that has none.
func errno(err error) syscall.Errno {
	if e, ok := errors.AsType[syscall.Errno](err); ok && e != 0 {
		return e
	}
	return syscall.EIO
}

// registers fills the folder of the registers of a TD.
func (o *Options) registers(ctx context.Context, n *folder) {
	for _, name := range registerNames() {
		a := &attribute{
			mode: 0o444, size: registerSize,
			read: func() ([]byte, error) { return o.Registers.Value(name), nil },
		}
		if extendable(name) {
			a.mode = 0o644
			a.write = func(data []byte, off int64) error {
				if off != 0 || o.Registers.Extend(name, data) != nil {
					return syscall.EINVAL
				}
				return nil
			}
		}
		n.add(ctx, name, a)
	}
}

// log fills the folder of the tables of ACPI: the table CCEL, which says
// where the log is, and the log.
func (o *Options) log(ctx context.Context, n *folder) {
	fixed := func(b []byte) *attribute {
		return &attribute{mode: 0o400, size: uint32(len(b)), read: func() ([]byte, error) { return b, nil }}
	}
	n.add(ctx, "CCEL", fixed(ccelTable(len(o.CCEL))))
	n.add(ctx, "data", &folder{make: func(ctx context.Context, n *folder) { n.add(ctx, "CCEL", fixed(o.CCEL)) }})
}
