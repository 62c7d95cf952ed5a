package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/launch"
	"github.com/sworn-run/sworn/internal/launch/jail"
	"github.com/sworn-run/sworn/internal/launch/measure"
	"github.com/sworn-run/sworn/internal/launch/oci"
	"github.com/sworn-run/sworn/internal/launch/verity"
)

// saltBytes is the size of the salts made here, that of the hash.
const saltBytes = 32

// protectFlags are the flags of `sworn protect`.
type protectFlags struct{ volume, salt, image, imageArchive string }

func (a *app) protectCommand() *cobra.Command {
	var f protectFlags
	cmd := &cobra.Command{
		Use:   "protect [flags] [PATH...]",
		Short: "Have the kernel check weights or an image at every read",
		Long: `Without --volume, enables fs-verity on each file, or on each file below a folder:
from then on nobody can write to it, and the kernel refuses to read what is not
what it was. The file system must be ext4 (with the feature verity), btrfs or
f2fs. "sworn run" recognises such files and takes them where they are, however
large they are; nothing is copied.

With --volume, writes one folder or file into a read-only image (EROFS) with a
dm-verity hash tree, and FILE.json that describes it. Give that to "sworn run" as
--weights verity:FILE.json; it needs root and a kernel with dm-verity.

With --image or --image-archive beside it, what goes into the volume is a container
image, verified and unpacked as "sworn run" does. Give FILE.json as --image-volume.
The same image and --salt give the same digest.

Either way it prints the digests as policies name them, and runs nothing.`,
		Example: `  sworn protect /models/llama.gguf
  sworn protect --volume /models/llama.img /models/llama
  sworn protect --volume /srv/engine.img --image oci:engine:v1`,
		Args: func(_ *cobra.Command, args []string) error { return f.check(args) },
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case f.image+f.imageArchive != "":
				return a.protectImage(cmd.Context(), &f)
			case f.volume != "":
				return a.protectVolume(cmd.Context(), &f, args[0])
			}
			return a.protectFiles(args)
		},
	}
	cmd.Flags().StringVar(&f.volume, "volume", "", "write an image with a dm-verity hash tree to `FILE`, and its description to FILE.json")
	cmd.Flags().StringVar(&f.salt, "salt", "", "the salt of --volume, in `HEX`, or - for none (default 32 random bytes)")
	cmd.Flags().StringVar(&f.image, "image", "", "write a container image into --volume: `oci:DIR[:TAG]` or oci:DIR@sha256:DIGEST, a layout in a folder")
	cmd.Flags().StringVar(&f.imageArchive, "image-archive", "", "write a container image into --volume that is one `FILE`, of docker save or a layout, also FILE@sha256:DIGEST")
	return cmd
}

// check refuses flags and paths that contradict each other.
func (f *protectFlags) check(args []string) error {
	switch image := f.image+f.imageArchive != ""; {
	case image && f.volume == "":
		return usage("sworn protect --volume FILE --image oci:DIR", "an image is for --volume")
	case image && len(args) > 0:
		return usage("leave the paths out", "--volume takes an image or a folder, both were given")
	case image:
	case len(args) == 0:
		return usage("sworn protect PATH", "no path given")
	case f.volume != "" && len(args) != 1:
		return usage("put the files into one folder", "--volume takes one folder or file, %d were given", len(args))
	case f.volume == "" && f.salt != "":
		return usage("sworn protect --volume FILE --salt HEX PATH", "a salt is for --volume")
	}
	return nil
}

// protectFiles enables fs-verity on files.
func (a *app) protectFiles(paths []string) error {
	for _, top := range paths {
		found := false
		// Root may do this in a folder that somebody else can write to.
		err := measure.Below(top, func(path string, file *measure.Held) error {
			found = true
			return a.protectFile(path, file)
		})
		if err != nil {
			return protectError(err)
		}
		if !found {
			return usage("give a file, or a folder with files", "%s holds no file", top)
		}
	}
	return nil
}

func (a *app) protectFile(path string, file *measure.Held) error {
	if err := verity.Enable(file.File); err != nil {
		return err
	}
	digest, err := verity.Measure(file.File)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.stdout, "%s  %s\n", cer.FSVerityDigest(digest), line(path))
	return err
}

// protectVolume writes a volume of weights.
func (a *app) protectVolume(ctx context.Context, f *protectFlags, source string) error {
	salt, err := f.saltBytes()
	if err != nil {
		return err
	}
	if _, _, err := filesBelow([]string{source}); err != nil {
		return wrap(err, belowHint(err))
	}
	if err := f.checkPlace(); err != nil {
		return err
	}
	v, err := verity.MakeVolume(ctx, f.volume, source, salt)
	if err != nil {
		return protectError(err)
	}
	return a.volumeLine(v, f.volume)
}

// protectImage writes a volume of a container image.
func (a *app) protectImage(ctx context.Context, f *protectFlags) error {
	salt, err := f.saltBytes()
	if err != nil {
		return err
	}
	reference, err := imageReference(f.image, f.imageArchive)
	if err != nil {
		return err
	}
	if err := f.checkPlace(); err != nil {
		return err
	}
	v, err := launch.MakeImageVolume(ctx, reference, f.volume, salt)
	if err != nil {
		return protectImageError(err)
	}
	if err := a.volumeLine(v, f.volume); err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.stdout, "%s  %s\n", v.OCI.Manifest, line(f.image+f.imageArchive))
	return err
}

// saltBytes returns the salt that was given, or a random one.
func (f *protectFlags) saltBytes() ([]byte, error) {
	if f.salt != "" {
		return parseSalt(f.salt)
	}
	salt := make([]byte, saltBytes)
	_, _ = rand.Read(salt)
	return salt, nil
}

// checkPlace refuses a place where a volume cannot be written, or is already.
func (f *protectFlags) checkPlace() error {
	if dir := filepath.Dir(f.volume); !isFolder(dir) {
		return usage("mkdir "+dir, "no folder %s to write the volume into", dir)
	}
	if dir := filepath.Dir(f.volume); !writable(dir) {
		return usage("choose a folder of your own", "this user cannot write to %s", dir)
	}
	for _, name := range []string{f.volume, f.volume + ".json"} {
		if _, err := os.Lstat(name); err == nil {
			return usage("choose another FILE; remove an old volume together with its .json", "%s is there already", name)
		}
	}
	return nil
}

// volumeLine prints a volume's digest.
func (a *app) volumeLine(v *verity.Volume, name string) error {
	root, salt, err := v.Digest()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.stdout, "%s  %s\n", cer.DMVerityDigest(root, salt), line(name))
	return err
}

// isFolder reports whether a path leads to a folder.
func isFolder(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.IsDir()
}

// parseSalt parses a salt of dm-verity.
func parseSalt(text string) ([]byte, error) {
	if text == "-" {
		return nil, nil
	}
	salt, err := hex.DecodeString(text)
	if err != nil || len(salt) == 0 || len(salt) > measure.MaxSalt {
		return nil, usage("--salt 00ff", "salt %q: want 1 to %d bytes in hexadecimal, or - for none", text, measure.MaxSalt)
	}
	return salt, nil
}

// protectImageError gives an error of writing an image its hint.
func protectImageError(err error) error {
	switch {
	case errors.Is(err, verity.ErrTool), errors.Is(err, verity.ErrVolume):
		return protectError(err)
	case errors.Is(err, jail.ErrSource):
		return wrap(err, "make the image without what the message names; nothing was written")
	case errors.Is(err, oci.ErrLimit), errors.Is(err, unix.ENOSPC):
		return wrap(err, "is there space beside the volume for the image, unpacked?")
	}
	return wrap(err, platformHint(err))
}

// protectError gives an error of protecting its hint.
func protectError(err error) error {
	switch {
	case errors.Is(err, verity.ErrUnsupported):
		return wrap(err, "ext4 needs the feature (tune2fs -O verity), the kernel CONFIG_FS_VERITY; or --volume FILE, or none: sworn run copies what is not protected")
	case errors.Is(err, verity.ErrTool) && strings.Contains(err.Error(), "is not installed"):
		return wrap(err, "apt-get install erofs-utils cryptsetup-bin")
	case errors.Is(err, os.ErrPermission):
		return wrap(err, "fs-verity is for the file's owner or root; may this user write there?")
	case errors.Is(err, verity.ErrNone):
		return wrap(err, "is the file open for writing somewhere, or on a read-only file system?")
	case errors.Is(err, os.ErrNotExist):
		return wrap(err, "give the path of a file that exists")
	case errors.Is(err, measure.ErrChanged):
		return wrap(err, "somebody changes the folder meanwhile: files may be protected that are listed above, and no others")
	case errors.Is(err, measure.ErrUnfit):
		return wrap(err, "give regular files, or folders that hold nothing else")
	case errors.Is(err, verity.ErrTool):
		return wrap(err, "is there space for the image and its tree, 101 % of the files?")
	case errors.Is(err, verity.ErrVolume):
		return wrap(err, "a volume takes files, folders and links that everybody may read")
	default:
		return wrap(err, "sworn protect --help")
	}
}
