package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/spf13/cobra"

	"github.com/sworn-run/sworn/cer/oms"
	"github.com/sworn-run/sworn/internal/launch/measure"
)

// The methods of `sworn measure`.
const (
	methodFSVerity = "fsverity-sha256"
	methodDMVerity = "dmverity-sha256"
	methodFlat     = "sha256"
	methodOMS      = "oms"
)

// measured is one line of `sworn measure`.
type measured struct {
	Path   string   `json:"path"`
	Size   uint64   `json:"size"`
	Digest []string `json:"digest"`
}

// measureFlags are the flags of `sworn measure`.
type measureFlags struct {
	method, salt        string
	flat, asJSON, quiet bool
}

func (a *app) measureCommand() *cobra.Command {
	var f measureFlags
	cmd := &cobra.Command{
		Use:   "measure [flags] PATH...",
		Short: "Print the digests a launch would measure, without running anything",
		Long: `Prints the digests of each file, or of each file below a folder, as policies name
them. Without --method: fsverity-sha256, and sha256 for a file of at most 256 MiB.

sha256 is SHA-256 over the file's bytes, as sha256sum prints it. It cannot be
computed in parallel, so for larger files it has to be asked for with --flat.

fsverity-sha256 is what "fsverity digest" prints: the root of a Merkle tree over
blocks of 4096 bytes, computed on all processors.

dmverity-sha256 is the root hash of "veritysetup format" with blocks of 4096 bytes
and the salt of --salt. The file is an image of whole blocks.

oms prints oms-sha256 for each path: the root digest of an OpenSSF model signature
over the files of the folder, or over the one file. Left out is what belongs to
git: .git, .gitattributes, .github and .gitignore.

A file that changes while it is measured is an error, and nothing is printed.`,
		Example: `  sworn measure /usr/share/tesseract-ocr/5/tessdata/eng.traineddata
  sworn measure --flat model.gguf
  sworn measure --method dmverity-sha256 --salt 5eed weights.img
  sworn measure --method oms models/llama`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage("sworn measure PATH", "no path given")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return a.measure(cmd.Context(), args, &f) },
	}
	fl := cmd.Flags()
	fl.StringVar(&f.method, "method", "", "print this `METHOD`'s digests alone")
	fl.StringVar(&f.salt, "salt", "", "the salt of dmverity-sha256 in `HEX`, or - for none")
	fl.BoolVar(&f.flat, "flat", false, "print sha256 too, whatever the size")
	fl.BoolVar(&f.asJSON, "json", false, "print one JSON object per file")
	fl.BoolVarP(&f.quiet, "quiet", "q", false, "print nothing but errors to standard error")
	choices(cmd, "method", methodFSVerity, methodFlat, methodDMVerity, methodOMS)
	return cmd
}

// wanted says which digests the flags ask for.
func (f *measureFlags) wanted() (w measure.Wanted, err error) {
	if f.salt != "" && f.method != methodDMVerity {
		return w, usage("--method "+methodDMVerity+" --salt "+f.salt, "--salt is for %s", methodDMVerity)
	}
	switch f.method {
	case "":
		w = measure.Wanted{FSVerity: true, Flat: measure.FlatSmall}
	case methodFSVerity:
		w.FSVerity = true
	case methodDMVerity:
		w.DMVerity = new(measure.DMVerity)
		if f.salt != "" && f.salt != "-" {
			w.DMVerity.Salt, err = hex.DecodeString(f.salt)
		}
		if err != nil || len(w.DMVerity.Salt) > measure.MaxSalt {
			return w, usage("--salt $(openssl rand -hex 32)", "salt: want at most %d bytes in hexadecimal", measure.MaxSalt)
		}
	case methodFlat, methodOMS:
		w.Flat = measure.FlatAlways
	default:
		return w, usage("--method "+methodFSVerity, "unknown method %q, want %s, %s, %s or %s", f.method, methodFSVerity, methodFlat, methodDMVerity, methodOMS)
	}
	if f.flat {
		w.Flat = measure.FlatAlways
	}
	return w, nil
}

// measure prints the digests of all files of the paths, once it has all.
func (a *app) measure(ctx context.Context, paths []string, f *measureFlags) error {
	w, err := f.wanted()
	if err != nil {
		return err
	}
	if f.method == methodOMS {
		return a.measureModels(ctx, paths, f)
	}
	names, total, err := filesBelow(paths)
	if err != nil {
		return wrap(err, belowHint(err))
	}
	sums, err := a.sums(ctx, names, total, w, f)
	if err != nil {
		return err
	}
	for i, s := range sums {
		if err := a.printSums(names[i], s, f.asJSON); err != nil {
			return err
		}
	}
	return nil
}

// sums measures files, with a progress bar.
func (a *app) sums(ctx context.Context, names []string, total uint64, w measure.Wanted, f *measureFlags) ([]measure.Sums, error) {
	var done atomic.Uint64
	bar := a.progress(f.quiet)
	stop := bar.watch(&done, total)
	sums, err := measure.Paths(ctx, names, w, measure.Options{Done: &done})
	stop()
	if err != nil {
		return nil, wrap(err, measureHint(err, f))
	}
	return sums, nil
}

// measureModels prints the root digests of models, once it has all.
func (a *app) measureModels(ctx context.Context, models []string, f *measureFlags) error {
	lines := make([]measured, 0, len(models))
	for _, top := range models {
		m, err := a.measureModel(ctx, top, f)
		if err != nil {
			return err
		}
		lines = append(lines, m)
	}
	for _, m := range lines {
		if err := a.printMeasured(m, f.asJSON); err != nil {
			return err
		}
	}
	return nil
}

// measureModel measures the files of one model and makes their manifest.
func (a *app) measureModel(ctx context.Context, top string, f *measureFlags) (m measured, err error) {
	names, _, err := filesBelow([]string{top})
	if err != nil {
		return m, wrap(err, belowHint(err))
	}
	var kept, relative []string
	var total uint64
	for _, name := range names {
		rel, err := filepath.Rel(top, name)
		if err != nil {
			return m, wrap(err, "give the path of a folder")
		}
		if rel = filepath.ToSlash(rel); oms.Ignored(rel, oms.GitPaths()) {
			continue
		}
		kept, relative = append(kept, name), append(relative, rel)
		if st, err := os.Stat(name); err == nil {
			total += uint64(max(0, st.Size()))
		}
	}
	if len(kept) == 0 {
		return m, usage("what belongs to git is no part of a model", "no file of a model below %s", top)
	}
	sums, err := a.sums(ctx, kept, total, measure.Wanted{Flat: measure.FlatAlways}, f)
	if err != nil {
		return m, err
	}
	files := make([]oms.File, len(sums))
	m.Path = top
	for i, s := range sums {
		files[i] = oms.File{Path: relative[i], SHA256: s.Flat}
		m.Size += s.Size
	}
	manifest, err := oms.NewManifest(files, oms.Options{Ignore: oms.GitPaths()})
	if err != nil {
		return m, wrap(err, "rename what the message names")
	}
	m.Digest = []string{manifest.Digest()}
	return m, nil
}

// errNoFile: a folder holds no file.
var errNoFile = errors.New("no file")

// belowHint returns the hint for an error of filesBelow.
func belowHint(err error) string {
	switch {
	case errors.Is(err, errNoFile):
		return "give a file, or a folder with files"
	case errors.Is(err, fs.ErrNotExist):
		return "give the path of a file that exists; a link may lead nowhere"
	case errors.Is(err, fs.ErrPermission):
		return "may this user read it?"
	default:
		return "give paths of regular files or folders"
	}
}

// filesBelow returns the files that the paths lead to, and the sum of their sizes.
// A path may be a link to a folder; below it, links to folders are not followed.
func filesBelow(paths []string) (names []string, total uint64, err error) {
	for _, top := range paths {
		before := len(names)
		from := top
		if isFolder(top) {
			from += "/"
		}
		err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			info, err := os.Stat(path)
			if err != nil {
				return err
			}
			names = append(names, path)
			total += uint64(max(0, info.Size()))
			return nil
		})
		if err != nil {
			return nil, 0, err
		}
		if len(names) == before {
			return nil, 0, fmt.Errorf("%w below %s", errNoFile, top)
		}
	}
	return names, total, nil
}

// measureHint returns the hint for an error of the measuring engine.
func measureHint(err error, f *measureFlags) string {
	switch {
	case errors.Is(err, context.Canceled):
		return noHint
	case errors.Is(err, measure.ErrChanged):
		return "let nothing write to the file meanwhile, or measure a copy"
	case errors.Is(err, os.ErrPermission):
		return "may this user read the file?"
	case errors.Is(err, measure.ErrUnfit) && f.method == methodDMVerity:
		return "give images of whole blocks of 4096 bytes; " + methodFSVerity + " is for any file"
	default:
		return "give paths of regular files or folders"
	}
}

// printSums prints the digests of one file.
func (a *app) printSums(path string, s measure.Sums, asJSON bool) error {
	return a.printMeasured(measured{path, s.Size, s.Digests()}, asJSON)
}

func (a *app) printMeasured(m measured, asJSON bool) error {
	if asJSON {
		b, err := json.Marshal(m)
		if err == nil {
			_, err = fmt.Fprintf(a.stdout, "%s\n", b)
		}
		return err
	}
	for _, digest := range m.Digest {
		if _, err := fmt.Fprintf(a.stdout, "%s  %s\n", digest, line(m.Path)); err != nil {
			return err
		}
	}
	return nil
}
