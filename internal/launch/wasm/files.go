package wasm

import (
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	expsys "github.com/tetratelabs/wazero/experimental/sys"
	"github.com/tetratelabs/wazero/experimental/sysfs"
	"github.com/tetratelabs/wazero/sys"

	"github.com/sworn-run/sworn/internal/limits"
)

// tree is the file system of a module: its files, the folders that they need, and
// nothing that differs between two runs.
type tree struct {
	nodes map[string]*node
	// open counts what is open.
	open *atomic.Int64
}

// node is a file or a folder.
type node struct {
	name string
	file *File // nil for a folder
	// number is its inode's: its place in the order of paths, from 1.
	number uint64
	// entries are those of a folder, in ascending order of their names.
	entries []fs.DirEntry
}

// newTree makes the file system of some files. The error wraps ErrOptions.
func newTree(files []File) (none tree, err error) {
	nodes := map[string]*node{".": {name: "."}}
	for i := range files {
		f := &files[i]
		name, ok := strings.CutPrefix(f.Path, "/")
		if !ok || name == "." || !fs.ValidPath(name) || f.Size < 0 || f.Open == nil || nodes[name] != nil {
			return none, fmt.Errorf("file %q: want one clean absolute path, a size and a way to open it: %w", f.Path, ErrOptions)
		}
		nodes[name] = &node{name: path.Base(name), file: f}
		for dir := path.Dir(name); ; dir = path.Dir(dir) {
			above := nodes[dir]
			if above != nil && above.file != nil {
				return none, fmt.Errorf("file %q is the folder of %q: %w", "/"+dir, f.Path, ErrOptions)
			}
			if above != nil {
				break
			}
			nodes[dir] = &node{name: path.Base(dir)}
		}
	}
	t := tree{nodes: nodes, open: new(atomic.Int64)}
	t.number()
	return t, nil
}

// number gives all nodes their numbers and folders their entries.
func (t tree) number() {
	var names []string
	for name := range t.nodes {
		names = append(names, name)
	}
	slices.Sort(names)
	for i, name := range names {
		n := t.nodes[name]
		n.number = uint64(i + 1)
		if dir := t.nodes[path.Dir(name)]; name != "." {
			dir.entries = append(dir.entries, fs.FileInfoToDirEntry(n))
		}
	}
	for _, n := range t.nodes {
		slices.SortFunc(n.entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	}
}

// Open implements fs.FS.
func (t tree) Open(name string) (fs.File, error) {
	n := t.nodes[name]
	if n == nil || !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	if n.file == nil {
		t.open.Add(1)
		return &folder{node: n, open: t.open}, nil
	}
	from, err := n.file.Open()
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	t.open.Add(1)
	return &opened{open: t.open, SectionReader: io.NewSectionReader(from, 0, n.file.Size), node: n, from: from}, nil
}

// Name implements fs.FileInfo, of which a node is its own.
func (n *node) Name() string { return n.name }

// Size implements fs.FileInfo.
func (n *node) Size() int64 {
	if n.file == nil {
		return 0
	}
	return n.file.Size
}

// Mode implements fs.FileInfo.
func (n *node) Mode() fs.FileMode {
	if n.file == nil {
		return fs.ModeDir | 0o555
	}
	return 0o444
}

// ModTime implements fs.FileInfo.
func (n *node) ModTime() time.Time { return time.Unix(0, epoch).UTC() }

// IsDir implements fs.FileInfo.
func (n *node) IsDir() bool { return n.file == nil }

// Sys implements fs.FileInfo: the engine takes from it what fs.FileInfo has not.
func (n *node) Sys() any {
	return &sys.Stat_t{
		Dev: 1, Ino: n.number, Mode: n.Mode(), Nlink: 1, Size: n.Size(), Atim: epoch, Mtim: epoch, Ctim: epoch,
	}
}

// opened is an open file.
type opened struct {
	*io.SectionReader
	node *node
	from io.ReaderAt
	open *atomic.Int64
}

// Stat implements fs.File.
func (f *opened) Stat() (fs.FileInfo, error) { return f.node, nil }

// Close implements fs.File.
func (f *opened) Close() error {
	f.open.Add(-1)
	if c, ok := f.from.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// folder is an open folder.
type folder struct {
	node *node
	at   int
	open *atomic.Int64
}

// Stat implements fs.File.
func (f *folder) Stat() (fs.FileInfo, error) { return f.node, nil }

// Read implements fs.File.
func (f *folder) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: f.node.name, Err: expsys.EISDIR}
}

// Close implements fs.File.
func (f *folder) Close() error {
	f.open.Add(-1)
	return nil
}

// ReadDir implements fs.ReadDirFile.
func (f *folder) ReadDir(n int) ([]fs.DirEntry, error) {
	left := f.node.entries[f.at:]
	if n > 0 {
		if len(left) == 0 {
			return nil, io.EOF
		}
		left = left[:min(n, len(left))]
	}
	f.at += len(left)
	return slices.Clone(left), nil
}

// readOnly refuses to open for anything but reading, with the errno of a file system
// that is mounted so, and more than limits.WasmOpenFiles at once: each takes the
// engine's memory.
type readOnly struct {
	expsys.FS
	open *atomic.Int64
}

// OpenFile implements experimental/sys.FS.
func (r readOnly) OpenFile(name string, flag expsys.Oflag, perm fs.FileMode) (expsys.File, expsys.Errno) {
	if flag&(expsys.O_WRONLY|expsys.O_RDWR|expsys.O_APPEND|expsys.O_CREAT|expsys.O_TRUNC) != 0 {
		return nil, expsys.EROFS
	}
	if r.open.Load() >= limits.WasmOpenFiles {
		return nil, expsys.EIO // the engine has no ENFILE
	}
	return r.FS.OpenFile(name, flag, perm)
}

// mount is the tree as the engine takes it.
func (t tree) mount() expsys.FS {
	return readOnly{FS: &sysfs.ReadFS{FS: &sysfs.AdaptFS{FS: t}}, open: t.open}
}
