package kernel

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// The folders of the file system.
const (
	configDir   = "config"
	registerDir = "tdx_guest"
	acpiDir     = "acpi"
)

// Kernel is a simulated kernel's files, mounted. The caller must Close it.
type Kernel struct {
	dir     string
	options Options
	server  *fuse.Server
	// over are the mounts of Overlay, in their order.
	over []string
}

// Start mounts the files at a folder, which must be there. They are served by this
// process until Close. The error wraps [ErrMount] or [ErrArgument].
func Start(mountpoint string, o Options) (*Kernel, error) {
	if o.Provider != "" && o.Report == nil || o.PrivLevelFloor > maxPrivLevel {
		return nil, fmt.Errorf("simulating a kernel: %w", ErrArgument)
	}
	root := &folder{make: func(ctx context.Context, n *folder) {
		tsm := &folder{make: func(ctx context.Context, n *folder) { n.add(ctx, "report", &requests{o: &o}) }}
		n.add(ctx, configDir, &folder{make: func(ctx context.Context, n *folder) { n.add(ctx, "tsm", tsm) }})
		if o.Registers != nil {
			n.add(ctx, registerDir, &folder{make: func(ctx context.Context, n *folder) {
				n.add(ctx, "measurements", &folder{make: o.registers})
			}})
		}
		if o.CCEL != nil {
			n.add(ctx, acpiDir, &folder{make: o.log})
		}
	}}
	server, err := fs.Mount(mountpoint, root, &fs.Options{MountOptions: fuse.MountOptions{
		DirectMountStrict: true, AllowOther: true, FsName: "sworn-kernel", Name: "sworn",
		Options: []string{"default_permissions"},
	}})
	if err != nil {
		return nil, fmt.Errorf("simulating a kernel at %s: %w: %w", mountpoint, ErrMount, err)
	}
	return &Kernel{dir: mountpoint, options: o, server: server}, nil
}

// ConfigFS returns the folder that stands for a mount of configfs.
func (k *Kernel) ConfigFS() string { return filepath.Join(k.dir, configDir) }

// Measurements returns the folder of the registers of a TD.
func (k *Kernel) Measurements() string { return filepath.Join(k.dir, registerDir, "measurements") }

// CCEL returns the path of the firmware's log.
func (k *Kernel) CCEL() string { return filepath.Join(k.dir, acpiDir, "data", "CCEL") }

// Close undoes Overlay and unmounts the files; those that are open stay readable until
// they are closed. The error wraps [ErrMount].
func (k *Kernel) Close() error {
	var err error
	for _, at := range slices.Backward(k.over) {
		if e := unix.Unmount(at, unix.MNT_DETACH); e != nil {
			err = errors.Join(err, fmt.Errorf("unmounting %s: %w: %w", at, ErrMount, e))
		}
	}
	k.over = nil
	if e := k.server.Unmount(); e != nil {
		err = errors.Join(err, fmt.Errorf("unmounting %s: %w: %w", k.dir, ErrMount, e))
	}
	return err
}

// Overlay puts the files where the kernel has them, below /sys, for every process of this
// mount namespace. It hides what else stands in the same folders. The error wraps
// [ErrNamespace] if this is the namespace of the system's first process, or, where that
// cannot be seen, of this process's parent, whose files are not to be hidden; or it wraps
// [ErrMount].
func (k *Kernel) Overlay() error {
	if err := apart(); err != nil {
		return fmt.Errorf("laying the files over /sys: %w", err)
	}
	if err := k.over1("/sys/kernel", configDir, "config"); err != nil {
		return err
	}
	if k.options.Registers != nil {
		if err := k.over1("/sys/devices/virtual/misc", registerDir, registerDir); err != nil {
			return err
		}
	}
	if k.options.CCEL != nil {
		return k.over1("/sys/firmware", acpiDir, "acpi/tables")
	}
	return nil
}

// apart refuses a mount namespace that is the system's.
func apart() error {
	own, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNamespace, err)
	}
	other, err := os.Readlink("/proc/1/ns/mnt")
	if errors.Is(err, os.ErrPermission) {
		other, err = os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", os.Getppid()))
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNamespace, err)
	}
	if own == other {
		return ErrNamespace
	}
	return nil
}

// over1 puts one folder of the file system below a folder of sysfs, where nothing can be
// made: an empty one is mounted there first.
func (k *Kernel) over1(parent, source, target string) error {
	fail := func(err error) error { return fmt.Errorf("laying files over %s: %w: %w", parent, ErrMount, err) }
	if err := unix.Mount("sworn", parent, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=0755"); err != nil {
		return fail(err)
	}
	k.over = append(k.over, parent)
	at := filepath.Join(parent, target)
	if err := os.MkdirAll(at, 0o750); err != nil {
		return fail(err)
	}
	if err := unix.Mount(filepath.Join(k.dir, source), at, "", unix.MS_BIND, ""); err != nil {
		return fail(err)
	}
	k.over = append(k.over, at)
	return nil
}

// folder is a folder that is filled once, when it is added.
type folder struct {
	fs.Inode
	make func(ctx context.Context, n *folder)
}

// OnAdd fills the folder.
func (f *folder) OnAdd(ctx context.Context) { f.make(ctx, f) }

// add adds a file or a folder.
func (f *folder) add(ctx context.Context, name string, child fs.InodeEmbedder) {
	addTo(ctx, &f.Inode, name, child)
}

// Getattr answers the folder's mode.
func (f *folder) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	out.Mode = 0o755
	return 0
}

// addTo adds a file or a folder to one.
func addTo(ctx context.Context, parent *fs.Inode, name string, child fs.InodeEmbedder) {
	mode := uint32(unix.S_IFREG)
	switch child.(type) {
	case *folder, *requests, *request:
		mode = unix.S_IFDIR
	}
	parent.AddChild(name, parent.NewPersistentInode(ctx, child, fs.StableAttr{Mode: mode}), true)
}
