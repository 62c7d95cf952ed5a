package enroll

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/tpm/tpmdev"
)

// keyFile is the enrolled AK in the state folder.
const keyFile = "enrolled-ak.json"

// storedKey is that file.
type storedKey struct {
	Type         string   `json:"type"`
	Public       []byte   `json:"public"`
	Private      []byte   `json:"private"`
	Auth         []byte   `json:"auth"`
	Parent       []byte   `json:"parent"`
	Certificates [][]byte `json:"certificates"`
}

// Save keeps an enrolled AK in the state folder dir, which is made if it is not
// there (0700), in a file of mode 0600 that appears whole; one that is there is
// replaced. The error wraps ErrFile.
func Save(dir string, e *tpmdev.Enrolled) error {
	b, err := cer.MarshalCanonical(&storedKey{
		Type: typeKey, Public: e.Public, Private: e.Private, Auth: e.Auth, Parent: e.Parent, Certificates: e.Certificates,
	})
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err == nil {
		err = writePrivate(filepath.Join(dir, keyFile), b, true)
	}
	if err != nil {
		return fmt.Errorf("keeping the enrolled AK: %w: %w", ErrFile, err)
	}
	return nil
}

// Load returns the enrolled AK in the state folder dir, and nil if there is
// none. A file that others may read or that is another user's is refused: whoever
// has read it can use the key. The error wraps ErrFile.
func Load(dir string) (*tpmdev.Enrolled, error) {
	name := filepath.Join(dir, keyFile)
	b, err := readPrivate(name, maxMessage)
	// A state folder that is no folder is for who makes it to refuse.
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil, nil
	}
	var k storedKey
	if err == nil {
		err = cer.UnmarshalCanonical(b, maxDepth, &k)
	}
	if err == nil && k.Type != typeKey {
		err = fmt.Errorf("it is of type %.40q", k.Type)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the enrolled AK in %s: %w: %w", name, ErrFile, err)
	}
	return &tpmdev.Enrolled{Public: k.Public, Private: k.Private, Auth: k.Auth, Parent: k.Parent, Certificates: k.Certificates}, nil
}

// writePrivate writes a file of mode 0600 that appears whole under its name. It
// does not replace one unless told.
func writePrivate(name string, data []byte, replace bool) error {
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".tmp-*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	if replace {
		return os.Rename(f.Name(), name)
	}
	return os.Link(f.Name(), name)
}

// readPrivate reads a regular file that its owner alone may read.
func readPrivate(name string, limit int64) ([]byte, error) {
	st, err := os.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() || st.Size() > limit {
		return nil, fmt.Errorf("%s is not a regular file of at most %d bytes", name, limit)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	opened, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !os.SameFile(st, opened) {
		return nil, fmt.Errorf("%s changed while it was opened", name)
	}
	if mode := opened.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("%s may be read by others (mode %04o, want 0600)", name, mode)
	}
	if !ours(opened) {
		return nil, fmt.Errorf("%s belongs to another user", name)
	}
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%s has more than %d bytes", name, limit)
	}
	return b, err
}
