package sevdev_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/sworn-run/sworn/sev/sevdev"
)

// oldDevice stands for /dev/sev-guest. It answers by what include/uapi/linux/sev-guest.h
// says, through the memory of the caller, which is this process.
type oldDevice struct {
	fs.Inode
	// table are the certificates; nil refuses to be asked for any.
	table []byte
	// errno refuses everything, if it is not 0.
	errno syscall.Errno
	// status is what the firmware says, size the report's, as it claims.
	status, size uint32
	calls        atomic.Int32
}

func (d *oldDevice) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	return nil, fuse.FOPEN_DIRECT_IO, 0
}

func (d *oldDevice) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	out.Mode = 0o600
	return 0
}

// memory reads, or writes, memory of this process at an address.
func memory(address uint64, b []byte, write bool) error {
	local := []unix.Iovec{{Base: &b[0], Len: uint64(len(b))}}
	remote := []unix.RemoteIovec{{Base: uintptr(address), Len: len(b)}}
	do := unix.ProcessVMReadv
	if write {
		do = unix.ProcessVMWritev
	}
	_, err := do(os.Getpid(), local, remote, 0)
	return err
}

func (d *oldDevice) Ioctl(_ context.Context, _ fs.FileHandle, cmd uint32, _ uint64, in, out []byte) (int32, syscall.Errno) {
	d.calls.Add(1)
	const get, extended = 0xc0205300, 0xc0205302
	if len(in) != 32 || in[0] != 1 || cmd != get && cmd != extended {
		return 0, syscall.EINVAL
	}
	if d.errno != 0 {
		return 0, d.errno
	}
	copy(out, in)
	if cmd == extended && d.table == nil {
		return 0, syscall.EIO
	}
	request := make([]byte, 112)
	if err := memory(binary.LittleEndian.Uint64(in[8:]), request[:96], false); err != nil {
		return 0, syscall.EFAULT
	}
	if cmd == extended {
		if err := memory(binary.LittleEndian.Uint64(in[8:])+96, request[96:], false); err != nil {
			return 0, syscall.EFAULT
		}
		room := binary.LittleEndian.Uint32(request[104:])
		if room%4096 != 0 || room > 16<<10 || int(room) < len(d.table) {
			return 0, syscall.EINVAL
		}
		if err := memory(binary.LittleEndian.Uint64(request[96:]), d.table, true); err != nil {
			return 0, syscall.EFAULT
		}
	}
	answer := make([]byte, 4000)
	binary.LittleEndian.PutUint32(answer, d.status)
	binary.LittleEndian.PutUint32(answer[4:], d.size)
	copy(answer[32:], report(request[:64], uint(binary.LittleEndian.Uint32(request[64:]))))
	if err := memory(binary.LittleEndian.Uint64(in[16:]), answer, true); err != nil {
		return 0, syscall.EFAULT
	}
	return 0, 0
}

// mountOld mounts the device and returns its path.
func mountOld(t *testing.T, d *oldDevice) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("FUSE is mounted by root")
	}
	dir := t.TempDir()
	root := &fs.Inode{}
	server, err := fs.Mount(dir, root, &fs.Options{
		MountOptions: fuse.MountOptions{DirectMountStrict: true},
		OnAdd: func(ctx context.Context) {
			root.AddChild("sev-guest", root.NewPersistentInode(ctx, d, fs.StableAttr{}), false)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Unmount(); err != nil {
			t.Error(err)
		}
	})
	return filepath.Join(dir, "sev-guest")
}

// TestOldKernel: without reports in configfs, they come from the device.
func TestOldKernel(t *testing.T) {
	certificates := table(entry{vcek, der(1)})
	for name, c := range map[string]struct {
		device *oldDevice
		items  int
		want   error
	}{
		"certificates":        {&oldDevice{table: certificates, size: 1184}, 1, nil},
		"none":                {&oldDevice{table: []byte{0}, size: 1184}, 0, nil},
		"not to be asked for": {&oldDevice{size: 1184}, 0, nil},
		"refused":             {&oldDevice{size: 1184, status: 0x16}, 0, sevdev.ErrDevice},
		"cut":                 {&oldDevice{size: 1183}, 0, sevdev.ErrDevice},
		"huge":                {&oldDevice{size: 0xffffffff}, 0, sevdev.ErrDevice},
		"busy":                {&oldDevice{errno: syscall.EAGAIN}, 0, sevdev.ErrBusy},
		"broken":              {&oldDevice{errno: syscall.EIO}, 0, sevdev.ErrDevice},
		"denied":              {&oldDevice{errno: syscall.EPERM}, 0, sevdev.ErrDenied},
	} {
		o := sevdev.Options{ConfigFS: t.TempDir(), Device: mountOld(t, c.device), VMPL: new(uint(2))}
		d, err := sevdev.Open(t.Context(), o)
		if !errors.Is(err, c.want) || (err == nil) != (d != nil) {
			t.Errorf("%s: %v", name, err)
		}
		if c.device.calls.Load() == 0 {
			t.Errorf("%s: the device was not asked", name)
		}
		if ok, detail := sevdev.Probe(t.Context(), o); !ok {
			t.Errorf("%s: not found: %s", name, detail)
		}
		if d == nil {
			continue
		}
		ev, err := d.Attest(t.Context(), 0, statement(t, d))
		if err != nil || !bytes.Equal(ev.Parts[0].Data[0x30:0x34], []byte{2, 0, 0, 0}) {
			t.Errorf("%s: %v", name, err)
		}
		if items, err := d.Collateral(t.Context()); err != nil || len(items) != c.items {
			t.Errorf("%s: %v, %v", name, items, err)
		}
	}
}
