package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/sworn-run/sworn/internal/launch/measure"
	"github.com/sworn-run/sworn/internal/limits"
	"github.com/sworn-run/sworn/verifier"
)

// readFile reads a regular file of at most limit bytes.
func readFile(name string, limit int64) ([]byte, error) {
	f, err := openRegular(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	if int64(len(b)) > limit {
		return nil, usage("is it the right file?", "%s is larger than %d bytes", name, limit)
	}
	return b, nil
}

// openRegular opens a file and refuses what is not a regular file, without
// waiting on a FIFO.
func openRegular(name string) (*os.File, error) {
	st, err := os.Stat(name)
	if err != nil {
		return nil, wrap(err, fileHint(name, err))
	}
	// A device is not opened even so: that may do something.
	if !st.Mode().IsRegular() {
		return nil, usage("give the path of a file", "%s is not a regular file", name)
	}
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, wrap(err, "is the file readable for this user?")
	}
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		_ = f.Close()
		return nil, usage("give the path of a file", "%s is no regular file any more", name)
	}
	return f, nil
}

// fileHint says what to do about a file that is not to be had.
func fileHint(name string, err error) string {
	if errors.Is(err, fs.ErrPermission) {
		return "may this user read it?"
	}
	entries, _ := os.ReadDir(filepath.Dir(name)) // none: nothing is near
	var names []string
	for i := range min(len(entries), 1000) {
		names = append(names, filepath.Join(filepath.Dir(name), entries[i].Name()))
	}
	return hintMeant(nearest(filepath.Clean(name), names), "%s", "give the path of a file that exists")
}

// samePath reports whether two paths lead to one file, or would.
func samePath(a, b string) bool {
	if a == "" || b == "" {
		return false
	}
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	if errX == nil && errY == nil {
		return os.SameFile(x, y)
	}
	p, errP := filepath.Abs(a)
	q, errQ := filepath.Abs(b)
	return errP == nil && errQ == nil && p == q
}

// hashFile returns what the verifier needs of a file the user holds against a
// record.
func hashFile(ctx context.Context, name string) (*verifier.File, error) {
	f, err := openRegular(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	wanted := measure.Wanted{FSVerity: true, Flat: measure.FlatAlways}
	sums, err := measure.Copy(ctx, f, nil, uint64(st.Size()), wanted, measure.Options{})
	if err != nil {
		return nil, wrap(fmt.Errorf("reading %s: %w", name, err), "is somebody writing to it?")
	}
	return &verifier.File{SHA256: sums.Flat, FSVerity: &sums.FSVerity, Size: sums.Size, Label: filepath.Base(name)}, nil
}

// hashWeights returns what the verifier needs of weights, a file or a folder,
// whose files it names as a launch does.
func hashWeights(ctx context.Context, name, top string) (files []verifier.NamedFile, err error) {
	add := func(name, path string) error {
		file, err := hashFile(ctx, path)
		if err == nil {
			files = append(files, verifier.NamedFile{Name: name, File: *file})
		}
		return err
	}
	if st, err := os.Stat(top); err != nil || !st.IsDir() {
		return files, add(name, top)
	}
	// With the slash, a link to a folder is followed.
	err = filepath.WalkDir(top+"/", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(top, path)
		if err != nil {
			return err
		}
		return add(name+"/"+filepath.ToSlash(rel), path)
	})
	if err == nil && len(files) == 0 {
		err = usage("give a file, or a folder with files", "no file below %s", top)
	}
	return files, err
}

// writeFile writes a file in one step: a temporary file beside it, synced, then
// renamed. There is never half a file.
func writeFile(name string, data []byte, mode fs.FileMode) error {
	w, err := createFile(name, mode)
	if err != nil {
		return err
	}
	defer w.abandon()
	if _, err := w.Write(data); err != nil {
		return wrap(fmt.Errorf("writing %s: %w", name, err), "is the disk full?")
	}
	return w.commit()
}

// pendingFile is a file that appears under its name only when it is whole.
type pendingFile struct {
	*os.File
	name string
	done bool
}

// createFile begins a file. It gets the mode less what the user's umask takes,
// and less what a file of that name keeps to itself: outputs and full records
// are private to who says so.
func createFile(name string, mode fs.FileMode) (*pendingFile, error) {
	if st, err := os.Stat(name); err == nil {
		if !st.Mode().IsRegular() {
			return nil, usage("choose another path", "%s exists and is not a regular file", name)
		}
		mode &= st.Mode().Perm()
	}
	var f *os.File
	err := fs.ErrExist
	for try := 0; try < 100 && errors.Is(err, fs.ErrExist); try++ {
		part := filepath.Join(filepath.Dir(name), "."+filepath.Base(name)+".tmp-"+rand.Text())
		f, err = os.OpenFile(part, os.O_RDWR|os.O_CREATE|os.O_EXCL, mode)
	}
	if err != nil {
		// The path of the temporary file tells the user nothing.
		if at, ok := errors.AsType[*fs.PathError](err); ok {
			err = at.Err
		}
		return nil, wrap(fmt.Errorf("creating %s: %w", name, err), "does the folder exist, and may this user write there?")
	}
	return &pendingFile{File: f, name: name}, nil
}

// commit syncs the file and gives it its name.
func (p *pendingFile) commit() error { return p.commitAs(p.name) }

// commitAs syncs the file and gives it another name.
func (p *pendingFile) commitAs(name string) error {
	err := p.Sync()
	if e := p.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(p.Name(), name)
	}
	if err != nil {
		_ = os.Remove(p.Name())
		p.done = true
		return wrap(fmt.Errorf("writing %s: %w", name, err), "is the disk full?")
	}
	p.done = true
	if d, err := os.Open(filepath.Dir(name)); err == nil {
		_ = d.Sync()
		_ = d.Close()
	}
	return nil
}

// abandon removes the file unless it was committed.
func (p *pendingFile) abandon() {
	if !p.done {
		_ = p.Close()
		_ = os.Remove(p.Name())
	}
}

// loadRoots reads a roots folder (docs/SPEC.md, section 9).
func loadRoots(dir string) (*verifier.TrustStore, error) {
	files, err := readRoots(dir)
	if err != nil || dir == "" {
		return nil, err
	}
	store, err := verifier.NewTrustStore(files)
	if err != nil {
		return nil, wrap(err, rootsHint(dir))
	}
	return store, nil
}

// readRoots reads the files of a roots folder; none if none is named.
func readRoots(dir string) ([]verifier.RootFile, error) {
	if dir == "" {
		return nil, nil
	}
	hint := rootsHint(dir)
	var files []verifier.RootFile
	st, err := os.Lstat(dir)
	if err == nil && st.Mode()&fs.ModeSymlink != 0 {
		st, err = os.Stat(dir)
	}
	if err != nil {
		return nil, wrap(err, hint)
	}
	if !st.IsDir() {
		return nil, usage(hint, "%s is not a folder", dir)
	}
	top, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, wrap(err, hint)
	}
	err = filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(top, path)
		if err != nil {
			return err
		}
		if !d.Type().IsRegular() {
			return usage(hint, "roots: %s is not a regular file", rel)
		}
		if len(files) == limits.RootsFiles {
			return usage(hint, "roots: more than %d files in %s", limits.RootsFiles, dir)
		}
		b, err := readFile(path, limits.RootsFile)
		if err != nil {
			return err
		}
		files = append(files, verifier.RootFile{Path: filepath.ToSlash(rel), Data: b})
		return nil
	})
	if err != nil {
		if _, ok := errors.AsType[*statusError](err); ok {
			return nil, err
		}
		return nil, wrap(err, hint)
	}
	return files, nil
}

// named splits NAME=PATH; the name is empty if there is none.
func named(s string) (name, path string) {
	if n, p, ok := strings.Cut(s, "="); ok && !strings.ContainsAny(n, "/.") {
		return n, p
	}
	return "", s
}

// sizeText writes a size for people, in decimal units.
func sizeText(n uint64) string {
	switch {
	case n >= 1e9:
		return fmt.Sprintf("%.1f GB", float64(n)/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.0f MB", float64(n)/1e6)
	case n >= 1e3:
		return fmt.Sprintf("%.0f KB", float64(n)/1e3)
	default:
		return fmt.Sprintf("%d B", n)
	}
}
