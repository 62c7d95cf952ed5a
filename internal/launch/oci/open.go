//go:build linux

package oci

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/opencontainers/go-digest"
	ispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Options say where an image may be unpacked from and to. The zero value is
// refused.
type Options struct {
	// Private is a folder that only the caller can write, a private tmpfs in
	// production. Copies of the layers lie there, one at a time, compressed and
	// not, as files without a name. Required.
	Private string
	// MaxBytes bounds the sum of the layers' sizes, in bytes, compressed and
	// uncompressed each. Required, positive.
	MaxBytes int64
	// Store keeps uncompressed layers for the next time. Nil means none.
	Store *Store
}

// Config is what an image says about the program to run, as it says it: nothing
// of it is resolved. No string of it holds a NUL.
type Config struct {
	// Entrypoint and Cmd together are the arguments, the program first.
	Entrypoint, Cmd []string
	// Env holds "NAME=VALUE".
	Env []string
	// WorkingDir is where the program starts. Empty means the root.
	WorkingDir string
	// User is the name or number, and after a colon the group's, that the
	// program wants to run as.
	User string
}

// Layer is one layer of an image.
type Layer struct {
	// MediaType is that of the blob.
	MediaType string
	// Digest and Size are those of the blob, "sha256:" and 64 hexadecimal digits,
	// and bytes.
	Digest string
	Size   int64
	// DiffID is the digest of the uncompressed layer.
	DiffID string
}

// Image is an image whose manifest and config are verified. Its layers are
// verified as they are unpacked.
type Image struct {
	// ManifestDigest names the image: "sha256:" and 64 hexadecimal digits.
	ManifestDigest string
	// Manifest is the manifest itself, of at most 4 MiB: SHA-256 over it gives
	// ManifestDigest.
	Manifest []byte
	// Made reports that the archive had no manifest (docker save before version
	// 25) and that Manifest was made from what lies in it: an OCI image manifest
	// over the config and the layers as they are in the archive, without white
	// space, members in the order of the specification.
	Made bool
	// Config is what the image says about the program.
	Config Config
	// Layers are the layers, the lowest first, at least one and at most 512.
	Layers []Layer

	src     source
	names   []string // where each layer lies in src
	options Options
}

// reference is a parsed reference.
type reference struct {
	path   string // absolute
	layout bool   // a folder
	tag    string
	digest digest.Digest
}

// parseReference reads the forms that the package comment lists.
func parseReference(text string) (reference, error) {
	var r reference
	rest, layout := strings.CutPrefix(text, "oci:")
	r.layout = layout
	if at := strings.LastIndex(rest, "@"); at >= 0 && strings.HasPrefix(rest[at+1:], "sha256:") {
		r.digest = digest.Digest(rest[at+1:])
		if err := checkDigest(r.digest); err != nil {
			return r, fmt.Errorf("%w: reference %q: %v", ErrUsage, text, err)
		}
		rest = rest[:at]
	}
	if r.layout {
		var tagged bool
		if rest, r.tag, tagged = strings.Cut(rest, ":"); tagged && (r.tag == "" || r.digest != "") {
			return r, fmt.Errorf("%w: reference %q has an empty tag, or a tag and a digest", ErrUsage, text)
		}
	}
	if rest == "" || strings.ContainsRune(text, 0) {
		return r, fmt.Errorf("%w: reference %q names no file", ErrUsage, text)
	}
	var err error
	if r.path, err = filepath.Abs(rest); err != nil {
		return r, fmt.Errorf("%w: reference %q: %w", ErrUsage, text, err)
	}
	return r, nil
}

// Open finds the image that a reference leads to, for Linux and the processor
// architecture of the running program, and verifies its manifest and config
// against the digests that name them.
//
// An error wraps [ErrUsage], [ErrDigest], [ErrFormat], [ErrLimit] or [ErrIO],
// and there is no image beside it.
func Open(ctx context.Context, ref string, o Options) (*Image, error) {
	if o.Private == "" || o.MaxBytes <= 0 {
		return nil, fmt.Errorf("%w: a private folder and a limit are required", ErrUsage)
	}
	if o.Store != nil && o.Store.Dir == "" {
		return nil, fmt.Errorf("%w: the store has no folder", ErrUsage)
	}
	r, err := parseReference(ref)
	if err != nil {
		return nil, err
	}
	img := &Image{options: o}
	if r.layout {
		img.src = folder{r.path}
	} else {
		a, err := openArchive(ctx, r.path)
		if err != nil {
			return nil, fmt.Errorf("opening the archive %q: %w", r.path, err)
		}
		img.src = a
		if !a.has(ispec.ImageLayoutFile) {
			if err := img.openSaved(ctx, a, r.digest); err != nil {
				return nil, fmt.Errorf("opening the archive %q: %w", r.path, err)
			}
			return img, nil
		}
	}
	if err := img.openLayout(ctx, r); err != nil {
		return nil, fmt.Errorf("opening the image layout %q: %w", r.path, err)
	}
	return img, nil
}

// openLayout opens an image of a layout, in a folder or an archive.
func (img *Image) openLayout(ctx context.Context, r reference) error {
	if err := checkLayout(ctx, img.src); err != nil {
		return err
	}
	desc, err := findManifest(ctx, img.src, r.tag, r.digest)
	if err != nil {
		return err
	}
	raw, err := readBlob(ctx, img.src, desc)
	if err != nil {
		return fmt.Errorf("reading the manifest: %w", err)
	}
	m, err := parseManifest(raw, desc.MediaType)
	if err != nil {
		return err
	}
	config, err := readBlob(ctx, img.src, m.Config)
	if err != nil {
		return fmt.Errorf("reading the config: %w", err)
	}
	for _, l := range m.Layers {
		img.names = append(img.names, blobName(l.Digest))
	}
	return img.fill(raw, m, config)
}

// fill enters a verified manifest and config.
func (img *Image) fill(raw []byte, m *ispec.Manifest, config []byte) error {
	c, err := parseConfig(config)
	if err != nil {
		return err
	}
	if len(c.RootFS.DiffIDs) != len(m.Layers) {
		return fmt.Errorf("%w: %d layers and %d diff_ids", ErrFormat, len(m.Layers), len(c.RootFS.DiffIDs))
	}
	left := img.options.MaxBytes
	for i, l := range m.Layers {
		if l.Size > left {
			return fmt.Errorf("%w: %d layers have more than %d bytes", ErrLimit, i+1, img.options.MaxBytes)
		}
		left -= l.Size
		img.Layers = append(img.Layers, Layer{
			MediaType: l.MediaType, Digest: string(l.Digest), Size: l.Size, DiffID: string(c.RootFS.DiffIDs[i]),
		})
	}
	img.Manifest, img.ManifestDigest = raw, string(digest.FromBytes(raw))
	img.Config = Config{
		Entrypoint: c.Config.Entrypoint, Cmd: c.Config.Cmd, Env: c.Config.Env,
		WorkingDir: c.Config.WorkingDir, User: c.Config.User,
	}
	return nil
}
