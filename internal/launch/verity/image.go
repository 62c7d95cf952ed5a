//go:build linux

package verity

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Where the volume of a container image has what it holds.
const (
	// ImageTree is the folder with the image's files.
	ImageTree = "root"
	// ImageFile is the file with the text of [Image.Encode]: as part of the volume it
	// is as sure as the files are, and a description that says anything else is found
	// out.
	ImageFile = "image.json"
)

// ErrKind says that a volume holds weights where an image is wanted, or the reverse.
var ErrKind = errors.New("volume of another kind")

// Image is what the volume of a container image says of it. Whose word that is, is
// for a policy to know: whoever made the volume.
type Image struct {
	// Manifest is the digest of the manifest that the files were unpacked by,
	// "sha256:" and 64 hexadecimal digits. Nothing proves it.
	Manifest string `json:"manifest"`
	// Entrypoint and Cmd together are the command, and Env its variables, as
	// "NAME=VALUE".
	Entrypoint []string `json:"entrypoint,omitempty"`
	Cmd        []string `json:"cmd,omitempty"`
	Env        []string `json:"env,omitempty"`
	// WorkingDir is where the program starts, a clean absolute path.
	WorkingDir string `json:"working_dir"`
}

// Encode returns the text that stands in the volume. The error wraps [ErrVolume].
func (i *Image) Encode() ([]byte, error) {
	if err := i.check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrVolume, err)
	}
	b, err := json.Marshal(i)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrVolume, err)
	}
	return b, nil
}

func (i *Image) check() error {
	hexa, ok := strings.CutPrefix(i.Manifest, "sha256:")
	sum, err := hex.DecodeString(hexa)
	switch {
	case !ok || err != nil || len(sum) != 32 || hex.EncodeToString(sum) != hexa:
		return fmt.Errorf("manifest is %q, want sha256: and 64 lower-case hexadecimal digits", i.Manifest)
	case !path.IsAbs(i.WorkingDir) || path.Clean(i.WorkingDir) != i.WorkingDir:
		return fmt.Errorf("working_dir is %q, want a clean absolute path", i.WorkingDir)
	}
	for _, s := range append(slices.Concat(i.Entrypoint, i.Cmd, i.Env), i.WorkingDir) {
		if strings.ContainsRune(s, 0) {
			return fmt.Errorf("%q holds a NUL", s)
		}
	}
	return nil
}

// MakeImage writes the files of an image into a volume as [MakeVolume] does weights.
// They stand in the folder ImageTree of the folder given, which holds nothing else
// and is the caller's alone: ImageFile is written into it, and what a folder's
// modification time says of the unpacking is taken away. The same files, image and
// salt give the same volume. The error wraps [ErrTool] or [ErrVolume].
func MakeImage(ctx context.Context, out, folder string, image *Image, salt []byte) (*Volume, error) {
	if err := absent(out); err != nil {
		return nil, err
	}
	b, err := image.Encode()
	if err != nil {
		return nil, err
	}
	file := filepath.Join(folder, ImageFile)
	err = errors.Join(os.WriteFile(file, b, 0o600), os.Chmod(file, 0o644), os.Chmod(folder, 0o755)) //nolint:gosec // The folder above is the caller's alone.
	if err == nil {
		err = settle(folder, file)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrVolume, err)
	}
	// Programs compare the times of files: Python those of its sources.
	return write(ctx, out, folder, &Volume{OCI: image}, salt, "-x-1")
}

// settle gives a file, and all folders, the same time.
func settle(folder, file string) error {
	epoch := time.Unix(0, 0)
	return errors.Join(os.Chtimes(file, epoch, epoch), filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		return os.Chtimes(path, epoch, epoch)
	}))
}
