//go:build linux

// Package oci takes a container image from files, verifies all of it, and
// unpacks it as the root of a job. It speaks to no registry.
//
// An image is named by a reference, in one of these forms:
//
//	oci:DIR              an OCI image layout that holds one image for this machine
//	oci:DIR:TAG          the image that index.json names so
//	oci:DIR@sha256:HEX   the image manifest, or the index, with this digest
//	FILE                 an archive: an OCI image layout in a tar, or what docker save writes
//	FILE@sha256:HEX      the same, the digest as above
//
// The measured identity of an image is [Image.ManifestDigest], the digest of the
// image manifest's bytes. Everything below it hangs on it by digests: the
// config, the layers, and by the config the uncompressed layers. Nothing hangs
// on index.json, which any writer of the disk can change: which image a reference
// without a digest leads to is known by ManifestDigest alone. With a digest,
// index.json is not read.
//
// The files lie where an attacker may write at any time. So no byte of a blob
// reaches a parser, a decompressor or the root before the whole blob was copied
// to memory or to a private file ([Options.Private]) and the copy was found to
// have the size and the digest that its descriptor states; from then on only the
// copy is used. A [Store] of uncompressed layers saves the decompression, and is
// trusted no more than the source.
//
// What the root holds depends on the layers alone, not on who unpacks them: plain
// files of mode 0644, or 0755 if the image lets anybody execute them, folders of
// mode 0755, symbolic links, all owned by the caller. Owners, other modes and
// extended attributes mean nothing to a job that runs as one user of its own in a
// read-only root. Modification times are kept.
//
// Files are written by descriptors, and the kernel resolves every folder inside
// the root (openat2, RESOLVE_IN_ROOT: Linux 5.6), so a link that an image
// brings leads nowhere else.
package oci

import "errors"

// The errors of this package. Every error it returns wraps at least one of them.
var (
	// ErrUsage says that the caller's options or reference cannot be used, or
	// lead to no image, or to more than one, for this machine.
	ErrUsage = errors.New("unusable image reference")
	// ErrDigest says that bytes are not those that a digest or a size names.
	ErrDigest = errors.New("image digest mismatch")
	// ErrFormat says that a part of the image is malformed, or of a kind that is
	// not handled.
	ErrFormat = errors.New("malformed image")
	// ErrLimit says that the image is beyond a bound.
	ErrLimit = errors.New("image beyond a limit")
	// ErrUnsafe says that a layer holds what no root may hold, or would write
	// where its own entries do not lead.
	ErrUnsafe = errors.New("unsafe image layer")
	// ErrIO says that a file could not be read or written, or that the context
	// ended.
	ErrIO = errors.New("image input or output")
)

// The bounds beside [Options.MaxBytes]. All are inclusive.
const (
	// maxDocument is the largest index, manifest or config, in bytes.
	maxDocument = 4 << 20
	// maxValues is the largest number of objects, arrays and commas in one of
	// those: each costs a reader tens of times its own length.
	maxValues = 65536
	// maxLayers is the largest number of layers.
	maxLayers = 512
	// maxIndexes is how many indexes may stand between index.json, or the digest
	// of a reference, and the image manifest.
	maxIndexes = 2
	// maxEntries is the largest number of files, folders and links of an image,
	// over all its layers, the folders that no entry names among them.
	maxEntries = 1_000_000
	// maxNames is the largest sum of the lengths of the names of one layer and of
	// what its links lead to, in bytes: it bounds the memory of a scan.
	maxNames = 256 << 20
	// maxPath and maxName bound a path and one name in it, in bytes, as Linux
	// does; maxDepth bounds the names in a path.
	maxPath, maxName, maxDepth = 4095, 255, 256
	// maxArchive is the largest number of entries of an archive.
	maxArchive = 16384
	// maxDropped is the largest number of lines of Summary.Dropped.
	maxDropped = 256
	// maxWindow is the largest window of a zstd frame, in bytes: what
	// "zstd --ultra -22" writes.
	maxWindow = 128 << 20
)
