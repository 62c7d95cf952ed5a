//go:build linux

package oci

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"github.com/opencontainers/go-digest"
	ispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// source is where the files of an image lie. Nothing that comes from it is
// trusted.
type source interface {
	// open returns the content of a file and its size, which may change.
	open(name string) (io.ReadCloser, int64, error)
}

// blobName returns where a layout keeps a blob.
func blobName(d digest.Digest) string {
	return path.Join(ispec.ImageBlobsDir, d.Algorithm().String(), d.Encoded())
}

// folder is a source in a folder.
type folder struct{ dir string }

// open opens a regular file below the folder.
func (f folder) open(name string) (io.ReadCloser, int64, error) {
	root, err := os.OpenRoot(f.dir)
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %w", ErrIO, err)
	}
	defer root.Close()
	return regular(root.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0))
}

// regular returns an opened file with its size if it is a regular file.
func regular(f *os.File, err error) (*os.File, int64, error) {
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %w", ErrIO, err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%q: %w", f.Name(), fs.ErrInvalid)
	}
	if err != nil {
		return nil, 0, errors.Join(fmt.Errorf("%w: %w", ErrIO, err), f.Close())
	}
	return f, info.Size(), nil
}

// readNamed reads a file that no digest names, of at most maxDocument bytes.
func readNamed(ctx context.Context, src source, name string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrIO, err)
	}
	f, _, err := src.open(name)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", name, err)
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxDocument+1))
	if err != nil {
		return nil, fmt.Errorf("%w: reading %s: %w", ErrIO, name, err)
	}
	if len(raw) > maxDocument {
		return nil, fmt.Errorf("%w: %s has more than %d bytes", ErrLimit, name, maxDocument)
	}
	return raw, nil
}

// readPinned reads a document of which only the digest is known.
func readPinned(ctx context.Context, src source, want digest.Digest) ([]byte, error) {
	raw, err := readNamed(ctx, src, blobName(want))
	if err != nil {
		return nil, err
	}
	if got := digest.FromBytes(raw); got != want {
		return nil, fmt.Errorf("%w: %s is %s", ErrDigest, want, got)
	}
	return raw, nil
}

// readBlob reads an index, a manifest or a config, and returns it if it is what
// the descriptor says.
func readBlob(ctx context.Context, src source, d ispec.Descriptor) ([]byte, error) {
	if d.Size > maxDocument {
		return nil, fmt.Errorf("%w: %s has %d bytes, at most %d", ErrLimit, d.Digest, d.Size, maxDocument)
	}
	var b bytes.Buffer
	if err := copyVerified(ctx, &b, src, blobName(d.Digest), d); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// copyVerified copies a blob. Only if it returns nil, what was written is what
// the descriptor says; it never writes more bytes than that has.
func copyVerified(ctx context.Context, w io.Writer, src source, name string, d ispec.Descriptor) error {
	f, size, err := src.open(name)
	if err != nil {
		return fmt.Errorf("opening %s: %w", d.Digest, err)
	}
	defer f.Close()
	if size != d.Size {
		return fmt.Errorf("%w: %s has %d bytes, its descriptor says %d", ErrDigest, d.Digest, size, d.Size)
	}
	h := sha256.New()
	n, err := copyBytes(ctx, io.MultiWriter(h, w), io.LimitReader(f, d.Size))
	if err != nil {
		return fmt.Errorf("%w: copying %s: %w", ErrIO, d.Digest, err)
	}
	if got := digest.NewDigest(digest.SHA256, h); got != d.Digest || n != d.Size {
		return fmt.Errorf("%w: %s is %s, of %d bytes", ErrDigest, d.Digest, got, n)
	}
	return nil
}

// copyBytes is io.Copy until the context ends.
func copyBytes(ctx context.Context, w io.Writer, r io.Reader) (int64, error) {
	return io.CopyBuffer(struct{ io.Writer }{w}, &contextReader{ctx, r}, make([]byte, 256<<10))
}

// contextReader reads until the context ends.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *contextReader) Read(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(b)
}
