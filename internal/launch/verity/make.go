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
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sworn-run/sworn/internal/launch/measure"
)

// noUUID is the id of everything that is made here: the same files and salt give
// the same image.
const noUUID = "00000000-0000-0000-0000-000000000000"

// ErrTool says that a tool which makes volumes is missing, or failed.
var ErrTool = errors.New("tool failed")

// MakeVolume writes a folder, or a single file, into an EROFS image at out with
// its dm-verity hash tree behind it, and the description to out + ".json". It
// runs mkfs.erofs and veritysetup, and computes the root digest itself as well:
// the two must agree. Nothing is left behind with an error. The error wraps
// [ErrTool] or [ErrVolume].
func MakeVolume(ctx context.Context, out, source string, salt []byte) (*Volume, error) {
	if err := absent(out); err != nil {
		return nil, err
	}
	folder, done, err := folderOf(source)
	if err != nil {
		return nil, err
	}
	defer done()
	return write(ctx, out, folder, &Volume{}, salt, "-T0")
}

// outputs are the files that a volume consists of.
func outputs(out string) []string { return []string{out, out + ".json"} }

// absent refuses to write over anything.
func absent(out string) error {
	for _, name := range outputs(out) {
		if _, err := os.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s is there already: %w", name, ErrVolume)
		}
	}
	return nil
}

// write writes the volume of a folder, and completes and writes its description.
func write(ctx context.Context, out, folder string, v *Volume, salt []byte, options ...string) (_ *Volume, err error) {
	defer func() {
		if err != nil {
			for _, name := range outputs(out) {
				_ = os.Remove(name)
			}
		}
	}()
	if _, err := tool(ctx, "mkfs.erofs", append(options, "--all-root", "-U", noUUID, "--quiet", out, folder)...); err != nil {
		return nil, err
	}
	st, err := os.Stat(out)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrVolume, err)
	}
	if st.Size() == 0 || st.Size()%BlockSize != 0 {
		return nil, fmt.Errorf("mkfs.erofs wrote %d bytes, no whole blocks: %w", st.Size(), ErrTool)
	}
	sums, err := measure.Paths(ctx, []string{out}, measure.Wanted{DMVerity: &measure.DMVerity{Salt: salt}}, measure.Options{})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrVolume, err)
	}
	v.Type, v.Image, v.Filesystem, v.DataBlocks = VolumeType, filepath.Base(out), "erofs", uint64(st.Size())/BlockSize
	v.HashOffset = uint64(st.Size()) + BlockSize
	v.Root, v.Salt = hex.EncodeToString(sums[0].DMVerity[:]), hex.EncodeToString(salt)
	if err := v.writeTree(ctx, out); err != nil {
		return nil, err
	}
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrVolume, err)
	}
	b = append(b, '\n')
	if _, err := ParseVolume(b); err != nil {
		return nil, err
	}
	if err := os.WriteFile(out+".json", b, 0o644); err != nil { //nolint:gosec // Nothing in it is secret.
		return nil, fmt.Errorf("%w: %w", ErrVolume, err)
	}
	return v, nil
}

// writeTree has veritysetup write its superblock and the hash tree behind the
// data, and holds its root digest against the description's.
func (v *Volume) writeTree(ctx context.Context, image string) error {
	salt := v.Salt
	if salt == "" {
		salt = "-"
	}
	size := strconv.Itoa(BlockSize)
	text, err := tool(ctx, "veritysetup", "format", "--format", "1", "--hash", "sha256", "--data-block-size", size, "--hash-block-size", size,
		"--data-blocks", strconv.FormatUint(v.DataBlocks, 10), "--hash-offset", strconv.FormatUint(v.Size(), 10), "--salt", salt, "--uuid", noUUID, image, image)
	if err != nil {
		return err
	}
	// The tree of a single block is empty, and must have a place all the same.
	if st, err := os.Stat(image); err != nil || uint64(st.Size()) < v.HashOffset {
		if err := errors.Join(err, os.Truncate(image, int64(v.HashOffset))); err != nil {
			return fmt.Errorf("%w: %w", ErrVolume, err)
		}
	}
	for line := range strings.Lines(text) {
		if root, ok := strings.CutPrefix(line, "Root hash:"); ok {
			if strings.TrimSpace(root) == v.Root {
				return nil
			}
			return fmt.Errorf("veritysetup says that the root is %s, it is %s: %w", strings.TrimSpace(root), v.Root, ErrTool)
		}
	}
	return fmt.Errorf("veritysetup names no root: %w", ErrTool)
}

// folderOf returns the folder to make an image of: the source, or one that holds
// nothing but the source. What the job could not read is refused.
func folderOf(source string) (folder string, done func(), err error) {
	st, err := os.Stat(source)
	if err != nil {
		return "", nil, fmt.Errorf("%w: %w", ErrVolume, err)
	}
	if st.IsDir() {
		return source, func() {}, readable(source)
	}
	if !st.Mode().IsRegular() {
		return "", nil, fmt.Errorf("%s is neither a folder nor a regular file: %w", source, ErrVolume)
	}
	// A link to the file is to be the file.
	real, err := filepath.EvalSymlinks(source)
	if err != nil {
		return "", nil, fmt.Errorf("%w: %w", ErrVolume, err)
	}
	folder, err = os.MkdirTemp(filepath.Dir(real), ".sworn-volume-")
	if err != nil {
		return "", nil, fmt.Errorf("%w: %w", ErrVolume, err)
	}
	done = func() { _ = os.RemoveAll(folder) }
	err = errors.Join(os.Chmod(folder, 0o755), os.Link(real, filepath.Join(folder, filepath.Base(source)))) //nolint:gosec // The image keeps the mode, and the job must enter.
	if err == nil {
		err = readable(folder)
	} else {
		err = fmt.Errorf("%w: %w", ErrVolume, err)
	}
	if err != nil {
		done()
		return "", nil, err
	}
	return folder, done, nil
}

// readable refuses a folder that holds anything which the job, that has a uid of
// its own, could not read, or that is neither file nor folder nor link, or a link
// that leads out of it: the image would hold the link and not the file.
func readable(folder string) error {
	top, err := filepath.EvalSymlinks(folder)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrVolume, err)
	}
	err = filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		switch mode := info.Mode(); {
		case mode&fs.ModeSymlink != 0:
			real, err := filepath.EvalSymlinks(path)
			if err != nil {
				return err
			}
			if link, err := os.Readlink(path); err != nil || filepath.IsAbs(link) || !strings.HasPrefix(real, top+"/") {
				return errors.Join(err, fmt.Errorf("the link %s leads out of its folder", path))
			}
			return nil
		case !mode.IsRegular() && !mode.IsDir():
			return fmt.Errorf("%s is neither file nor folder nor link", path)
		case mode.Perm()&0o004 == 0 || mode.IsDir() && mode.Perm()&0o001 == 0:
			return fmt.Errorf("%s cannot be read by others, as whom the job runs (chmod -R o+rX)", path)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrVolume, err)
	}
	return nil
}

// tool runs a tool and returns what it printed.
func tool(ctx context.Context, name string, args ...string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		// Debian keeps some of them where users do not look.
		for _, dir := range []string{"/usr/sbin/", "/sbin/"} {
			if unix.Access(dir+name, unix.X_OK) == nil {
				path, err = dir+name, nil
				break
			}
		}
	}
	if err != nil {
		return "", fmt.Errorf("%s is not installed: %w", name, ErrTool)
	}
	cmd := exec.CommandContext(ctx, path, args...)
	// Without -T, mkfs.erofs keeps the files' times up to this one, which it takes for
	// the present.
	cmd.Env = append(os.Environ(), "LC_ALL=C", "SOURCE_DATE_EPOCH=4294967295")
	out, err := cmd.CombinedOutput()
	if err != nil {
		text := strings.Join(strings.Fields(string(out)), " ")
		return "", fmt.Errorf("%s: %w: %w: %.300s", name, ErrTool, err, text)
	}
	return string(out), nil
}
