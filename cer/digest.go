package cer

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// The digest schemes of components (SPEC, section 5.4): what stands before the
// colon of a digest, but for the salt of dm-verity.
const (
	// SchemeSHA256 is SHA-256 over the file's bytes.
	SchemeSHA256 = "sha256"
	// SchemeFSVerity is the fs-verity file digest: SHA-256 over the descriptor
	// (version 1, no salt) of the Merkle tree with SHA-256 over blocks of 4,096
	// bytes (Linux, Documentation/filesystems/fsverity.rst), as
	// FS_IOC_MEASURE_VERITY and `fsverity digest` give it.
	SchemeFSVerity = "fsverity-sha256;block=4096"
	// SchemeDMVerity begins the scheme of a dm-verity root digest (format type 1,
	// SHA-256, data and hash blocks of 4,096 bytes), as `veritysetup format` gives
	// it. The salt in hexadecimal follows, "-" if it is empty.
	SchemeDMVerity = "dmverity-sha256;block=4096;salt="
	// SchemeOMS is the root digest of an OpenSSF Model Signing manifest: SHA-256
	// over the SHA-256 digests of its files in the manifest's order.
	SchemeOMS = "oms-sha256"
	// SchemeList is SHA-256 over the list of a folder's files as `sha256sum` prints
	// it, in ascending order of the paths: unlike SchemeOMS it covers the names.
	SchemeList = "list-sha256"
)

// maxVeritySalt is the longest salt of dm-verity in bytes.
const maxVeritySalt = 256

// SHA256Digest returns the component digest "sha256:<hex>".
func SHA256Digest(sum [32]byte) string { return SchemeSHA256 + ":" + hex.EncodeToString(sum[:]) }

// FSVerityDigest returns the component digest of a file's fs-verity digest.
func FSVerityDigest(sum [32]byte) string { return SchemeFSVerity + ":" + hex.EncodeToString(sum[:]) }

// OMSDigest returns the component digest of a manifest's root digest.
func OMSDigest(sum [32]byte) string { return SchemeOMS + ":" + hex.EncodeToString(sum[:]) }

// ListDigest returns the component digest of a list of files.
func ListDigest(sum [32]byte) string { return SchemeList + ":" + hex.EncodeToString(sum[:]) }

// DMVerityDigest returns the component digest of a dm-verity root digest made
// with a salt of at most 256 bytes.
func DMVerityDigest(root [32]byte, salt []byte) string {
	s := hex.EncodeToString(salt)
	if s == "" {
		s = "-"
	}
	return SchemeDMVerity + s + ":" + hex.EncodeToString(root[:])
}

// CheckDigest reports whether d is "sha256:" and 64 lower-case hexadecimal
// digits, as ids and keys are named. The error wraps ErrSchema.
func CheckDigest(d string) error {
	scheme, hexa, ok := strings.Cut(d, ":")
	if !ok || scheme != SchemeSHA256 {
		return fmt.Errorf("digest %q: unknown scheme, want sha256: %w", d, ErrSchema)
	}
	if err := checkHex32(hexa); err != nil {
		return fmt.Errorf("digest %q: %w", d, err)
	}
	return nil
}

// CheckComponentDigest reports whether d is a component digest in its one
// spelling and of a scheme this version knows. The error wraps ErrSchema.
func CheckComponentDigest(d string) error {
	scheme, hexa, ok := strings.Cut(d, ":")
	if !ok || !knownScheme(scheme) {
		return fmt.Errorf("digest %q: unknown scheme, want %s, %s, %sHEX, %s or %s: %w",
			d, SchemeSHA256, SchemeFSVerity, SchemeDMVerity, SchemeOMS, SchemeList, ErrSchema)
	}
	if err := checkHex32(hexa); err != nil {
		return fmt.Errorf("digest %q: %w", d, err)
	}
	return nil
}

func knownScheme(scheme string) bool {
	switch scheme {
	case SchemeSHA256, SchemeFSVerity, SchemeOMS, SchemeList:
		return true
	}
	salt, ok := strings.CutPrefix(scheme, SchemeDMVerity)
	if !ok || salt == "-" {
		return ok
	}
	b, err := hex.DecodeString(salt)
	return err == nil && len(b) > 0 && len(b) <= maxVeritySalt && hex.EncodeToString(b) == salt
}

// DigestScheme returns what stands before the colon of a component digest: two
// digests can be compared only if theirs are equal.
func DigestScheme(d string) string {
	scheme, _, _ := strings.Cut(d, ":")
	return scheme
}

// MatchDigests reports whether a component with the digests got is one that
// want accepts: at least one scheme stands in both, and for each such scheme got
// holds one of the digests that want lists.
func MatchDigests(got, want []string) bool {
	common := false
	for _, g := range got {
		if slices.Contains(want, g) {
			common = true
			continue
		}
		if slices.ContainsFunc(want, func(w string) bool { return DigestScheme(w) == DigestScheme(g) }) {
			return false
		}
	}
	return common
}

// checkDigests checks digests and size of a component that has bytes.
func (c *Component) checkDigests() error {
	if len(c.Digest) == 0 || len(c.Digest) > 8 {
		return fmt.Errorf("component %s: needs 1 to 8 digests: %w", c.Key(), ErrSchema)
	}
	for i, d := range c.Digest {
		if err := CheckComponentDigest(d); err != nil {
			return fmt.Errorf("component %s: %w", c.Key(), err)
		}
		scheme := DigestScheme(d)
		if slices.ContainsFunc(c.Digest[:i], func(o string) bool { return DigestScheme(o) == scheme }) {
			return fmt.Errorf("component %s: two digests of scheme %s: %w", c.Key(), scheme, ErrSchema)
		}
	}
	if _, err := ParseUint(c.Size); err != nil {
		return fmt.Errorf("component %s: size: %w", c.Key(), err)
	}
	return nil
}
