//go:build linux

package oci

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	ispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Store keeps uncompressed layers by their diff_id, so that an image is
// decompressed once. It is a cache and never trusted: what is taken from it is
// copied to the private folder, and the copy must have the digest that the
// image's config states. Several processes may use one store.
type Store struct {
	// Dir is the folder; layers lie in it as sha256/HEX, mode 0600. It is made if
	// it is not there.
	Dir string
}

// folder returns where the layers lie.
func (s *Store) folder() string { return filepath.Join(s.Dir, digest.SHA256.String()) }

// get returns a private copy of a layer, verified, or nil if the store does not
// have it. What is no longer what its name says is removed.
func (s *Store) get(ctx context.Context, dir string, diffID digest.Digest, max int64) (*os.File, error) {
	src, name := folder{s.folder()}, diffID.Encoded()
	info, err := os.Lstat(filepath.Join(src.dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w: store: %w", ErrIO, err)
	}
	if info.Size() > max {
		// Unpacking the blob tells whether the image or the store is to blame.
		return nil, nil
	}
	if info.Mode().IsRegular() {
		f, err := private(dir)
		if err != nil {
			return nil, err
		}
		err = copyVerified(ctx, f, src, name, ispec.Descriptor{Digest: diffID, Size: info.Size()})
		if err == nil {
			err = rewind(f)
		}
		if err == nil {
			return f, nil
		}
		if err = errors.Join(err, f.Close()); !errors.Is(err, ErrDigest) {
			return nil, fmt.Errorf("store: %w", err)
		}
	}
	if err := os.RemoveAll(filepath.Join(src.dir, name)); err != nil {
		return nil, fmt.Errorf("%w: store: %w", ErrIO, err)
	}
	return nil, nil
}

// put keeps a verified layer. It appears in the store whole or not at all.
func (s *Store) put(ctx context.Context, diffID digest.Digest, tar *os.File) error {
	if err := rewind(tar); err != nil {
		return err
	}
	if err := os.MkdirAll(s.folder(), 0o700); err != nil {
		return fmt.Errorf("%w: store: %w", ErrIO, err)
	}
	f, err := os.CreateTemp(s.folder(), "new-")
	if err != nil {
		return fmt.Errorf("%w: store: %w", ErrIO, err)
	}
	_, err = copyBytes(ctx, f, tar)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), filepath.Join(s.folder(), diffID.Encoded()))
	}
	if err != nil {
		return fmt.Errorf("%w: store: %w", ErrIO, errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}
