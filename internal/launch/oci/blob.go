//go:build linux

package oci

import (
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	ispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// compression is how a layer's tar is packed.
type compression int

const (
	plain compression = iota
	gzipped
	zstandard
)

// compressionOf returns how a layer of this media type is packed.
func compressionOf(mediaType string) (compression, error) {
	switch mediaType {
	case ispec.MediaTypeImageLayer, dockerLayer:
		return plain, nil
	case ispec.MediaTypeImageLayerGzip, dockerLayerGzip:
		return gzipped, nil
	case ispec.MediaTypeImageLayerZstd, dockerLayerZstd:
		return zstandard, nil
	}
	return plain, fmt.Errorf("%w: layer of type %.80q", ErrFormat, mediaType)
}

// private makes a file in the private folder that has no name.
func private(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, "layer-")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrIO, err)
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %w", ErrIO, err), f.Close())
	}
	return f, nil
}

// rewind goes back to the beginning of a private file.
func rewind(f *os.File) error {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("%w: %w", ErrIO, err)
	}
	return nil
}

// uncompressed returns a private copy of the tar of a layer, of at most max
// bytes, verified against its diff_id, and whether it came from the store.
func (img *Image) uncompressed(ctx context.Context, i int, max int64) (f *os.File, reused bool, err error) {
	l := img.Layers[i]
	packed, err := compressionOf(l.MediaType)
	if err != nil {
		return nil, false, err
	}
	store := img.options.Store
	if packed != plain && store != nil {
		f, err := store.get(ctx, img.options.Private, digest.Digest(l.DiffID), max)
		if f != nil || err != nil {
			return f, true, err
		}
	}
	blob, err := img.copyLayer(ctx, i)
	if err != nil {
		return nil, false, err
	}
	if packed != plain {
		f, err = img.decompress(ctx, blob, packed, l.DiffID, max)
		if err = errors.Join(err, blob.Close()); err == nil && store != nil {
			err = store.put(ctx, digest.Digest(l.DiffID), f)
		}
	} else {
		f = blob
		if l.Digest != l.DiffID {
			err = fmt.Errorf("%w: the layer is %s, its diff_id %s", ErrDigest, l.Digest, l.DiffID)
		} else if l.Size > max {
			err = fmt.Errorf("%w: the layer has %d bytes, %d are left", ErrLimit, l.Size, max)
		}
	}
	if err == nil {
		err = rewind(f)
	}
	if err != nil && f != nil {
		return nil, false, errors.Join(err, f.Close())
	}
	return f, false, err
}

// copyLayer returns a private copy of a layer's blob, verified.
func (img *Image) copyLayer(ctx context.Context, i int) (*os.File, error) {
	l := img.Layers[i]
	f, err := private(img.options.Private)
	if err != nil {
		return nil, err
	}
	err = copyVerified(ctx, f, img.src, img.names[i], ispec.Descriptor{Digest: digest.Digest(l.Digest), Size: l.Size})
	if err == nil {
		err = rewind(f)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// decompress unpacks a verified blob into a private file.
func (img *Image) decompress(ctx context.Context, blob io.Reader, packed compression, diffID string, max int64) (*os.File, error) {
	r, err := decompressor(blob, packed)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	f, err := private(img.options.Private)
	if err != nil {
		return nil, err
	}
	if err := verifyTo(ctx, f, r, diffID, max, img.options.MaxBytes); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// decompressor returns a reader of what is packed in r.
func decompressor(r io.Reader, packed compression) (io.ReadCloser, error) {
	if packed == gzipped {
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, fmt.Errorf("%w: gzip: %w", ErrFormat, err)
		}
		return z, nil
	}
	z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return nil, fmt.Errorf("%w: zstd: %w", ErrFormat, err)
	}
	return z.IOReadCloser(), nil
}

// verifyTo copies what a decompressor gives, at most max bytes, and compares its
// digest. max is what is left of the whole.
func verifyTo(ctx context.Context, w io.Writer, r io.Reader, diffID string, max, whole int64) error {
	h := sha256.New()
	n, err := copyBytes(ctx, io.MultiWriter(h, &limitedWriter{w, max}), r)
	switch {
	case errors.Is(err, errFull):
		return fmt.Errorf("%w: the layer unpacks to more than %d bytes, which is what is left of %d", ErrLimit, max, whole)
	case ctx.Err() != nil:
		return fmt.Errorf("%w: %w", ErrIO, ctx.Err())
	case isPathError(err):
		return fmt.Errorf("%w: %w", ErrIO, err)
	case err != nil:
		return fmt.Errorf("%w: decompressing after %d bytes: %w", ErrFormat, n, err)
	}
	if got := digest.NewDigest(digest.SHA256, h); string(got) != diffID {
		return fmt.Errorf("%w: the uncompressed layer is %s, its diff_id %s", ErrDigest, got, diffID)
	}
	return nil
}

// errFull is what a limitedWriter says.
var errFull = errors.New("no room left")

// limitedWriter refuses what is beyond its limit.
type limitedWriter struct {
	w    io.Writer
	left int64
}

func (l *limitedWriter) Write(b []byte) (int, error) {
	if int64(len(b)) > l.left {
		return 0, errFull
	}
	l.left -= int64(len(b))
	return l.w.Write(b)
}

// isPathError tells an error of the file system from one of a decompressor.
func isPathError(err error) bool {
	_, ok := errors.AsType[*os.PathError](err)
	return ok
}
