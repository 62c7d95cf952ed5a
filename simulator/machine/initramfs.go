//go:build linux

package machine

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/sworn-run/sworn/attest"
)

// maxInitramfs is the most that the files of an initramfs hold together, in
// bytes: they stand in memory, here and there.
const maxInitramfs = 512 << 20

// Initramfs returns an initramfs of these files: a cpio archive in the format
// newc (Documentation/driver-api/early-userspace/buffer-format.rst), compressed
// with gzip. The bytes depend on the files' paths, modes and contents alone:
// owners are root, times are zero, names are in order. The error wraps
// [attest.ErrArgument] for a file that [File] does not allow, or that stands
// where another needs a folder, else [ErrFiles].
func Initramfs(files []File) ([]byte, error) {
	if err := checkFiles(files); err != nil {
		return nil, fmt.Errorf("making an initramfs: %w", err)
	}
	entries := map[string]*File{}
	for i := range files {
		entries[files[i].Path] = &files[i]
	}
	folders := map[string]bool{}
	for name := range entries {
		for dir := path.Dir(name); dir != "/"; dir = path.Dir(dir) {
			if entries[dir] != nil {
				return nil, fmt.Errorf("making an initramfs: %q is a file and a folder: %w", dir, attest.ErrArgument)
			}
			folders[dir] = true
		}
	}
	a := &archive{}
	// A folder sorts before what it holds.
	for _, name := range slices.Sorted(maps.Keys(merged(entries, folders))) {
		if err := a.put(name, entries[name]); err != nil {
			return nil, fmt.Errorf("making an initramfs: %q: %w", name, err)
		}
	}
	a.header("TRAILER!!!", 0, 0)
	return compress(a.buffer.Bytes())
}

// merged returns the names of both.
func merged(files map[string]*File, folders map[string]bool) map[string]bool {
	all := maps.Clone(folders)
	for name := range files {
		all[name] = true
	}
	return all
}

// archive is a cpio archive that is being written.
type archive struct {
	buffer bytes.Buffer
	inode  int
}

// put adds a file, or a folder if there is none.
func (a *archive) put(name string, f *File) error {
	const folder, regular = 0o040000, 0o100000 // S_IFDIR, S_IFREG
	name = strings.TrimPrefix(name, "/")
	if f == nil {
		a.header(name, folder|0o755, 0)
		return nil
	}
	data, err := f.content(maxInitramfs - a.buffer.Len())
	if err != nil {
		return err
	}
	a.header(name, regular|uint32(f.Mode), len(data))
	a.buffer.Write(data)
	a.pad()
	return nil
}

// content returns what the file holds, at most limit bytes.
func (f *File) content(limit int) ([]byte, error) {
	data := f.Data
	if f.Source != "" {
		var err error
		if data, err = readFile(f.Source, limit); err != nil {
			return nil, err
		}
	}
	if len(data) > limit {
		return nil, fmt.Errorf("more than %d bytes: %w", limit, ErrFiles)
	}
	return data, nil
}

// readFile reads a regular file of at most limit bytes.
func readFile(name string, limit int) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFiles, err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no file: %w", name, ErrFiles)
	}
	data, err := io.ReadAll(io.LimitReader(f, int64(max(limit, 0))+1))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFiles, err)
	}
	if len(data) > limit {
		return nil, fmt.Errorf("%s: more than %d bytes: %w", name, limit, ErrFiles)
	}
	return data, nil
}

// header writes the header of an entry: fields of 8 hexadecimal digits.
func (a *archive) header(name string, mode uint32, size int) {
	a.inode++
	fmt.Fprintf(&a.buffer, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X",
		a.inode, mode,
		0, 0, // owner and group
		1, // links
		0, // time
		size,
		0, 0, 0, 0, // devices
		len(name)+1,
		0) // check sum, of another format
	a.buffer.WriteString(name)
	a.buffer.WriteByte(0)
	a.pad()
}

// pad fills up to a multiple of 4 bytes.
func (a *archive) pad() { a.buffer.Write(make([]byte, (4-a.buffer.Len()%4)%4)) }

// compress compresses without a name or a time.
func compress(data []byte) ([]byte, error) {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(data); err != nil {
		return nil, fmt.Errorf("compressing: %w: %w", ErrFiles, err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("compressing: %w: %w", ErrFiles, err)
	}
	return b.Bytes(), nil
}

// initramfs returns the initramfs of a machine: the first process, the modules
// in the order of loading, the policy of IMA, and the caller's files.
func (c *Config) initramfs() ([]byte, error) {
	files := slices.Clone(c.Files)
	files = append(files, File{Path: "/init", Mode: 0o755, Source: c.Init})
	if c.IMAPolicy != "" {
		files = append(files, File{Path: "/etc/ima-policy", Mode: 0o600, Data: []byte(c.IMAPolicy)})
	}
	names := slices.Concat(c.needed(), c.Modules)
	modules, err := c.Kernel.closure(names)
	if err != nil {
		return nil, err
	}
	for i, file := range modules {
		to := fmt.Sprintf("/lib/modules/%03d-%s", i, path.Base(file))
		files = append(files, File{Path: to, Mode: fs.FileMode(0o644), Source: file})
	}
	return Initramfs(files)
}

// needed names the modules that every machine of this kind needs.
func (c *Config) needed() []string {
	names := []string{"virtio_pci", "virtio_console", "virtio_blk"}
	if c.Boot != Legacy {
		names = append(names, "efivarfs")
	}
	return names
}
