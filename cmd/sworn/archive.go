package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/cer/archive"
	"github.com/sworn-run/sworn/internal/limits"
	"github.com/sworn-run/sworn/verifier"
)

// recordSuffix ends the names of the records that a folder holds.
const recordSuffix = ".cer.json"

// dirRecords is the folder that records are extracted to.
const dirRecords = "records/"

// archiveFlags are the flags of `sworn archive`.
type archiveFlags struct {
	out, roots, extract string
	policies, ledgers   []string
	list                bool
}

func (a *app) archiveCommand() *cobra.Command {
	var f archiveFlags
	cmd := &cobra.Command{
		Use:   "archive [flags] RECORD...|FOLDER|ARCHIVE",
		Short: "Hand over many records as one file",
		Long: `Packs records into one file that stores what they share once: statements, their
evidence, logs, what vendors signed, time stamps, large inputs and outputs. "sworn
verify" and "sworn inspect" take the file as it is, however many records it holds.
Of a folder, the files in it whose names end in .cer.json are packed.

Policies, roots and ledgers may go with it, for whoever wants to look. Verifying
never takes them from the archive, because whoever made it chose them: extract them,
read them, and give them with --policy and --roots.

The file is a tar archive whose bytes are determined by what it holds: the same
records give the same file. With --list it is read, and what it holds is printed as
sha256sum prints it; with --extract DIR all of it is written below DIR, which must
not be there yet, every record byte for byte as it was packed.`,
		Example: `  sworn archive -o june.tar --policy policy.json --roots roots/ records/
  sworn verify --policy policy.json --roots roots/ june.tar
  sworn archive --list june.tar
  sworn archive --extract june/ june.tar`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage("sworn archive -o FILE RECORD…", "no record given")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.check(args); err != nil {
				return err
			}
			switch {
			case f.list:
				return a.archiveList(args[0])
			case f.extract != "":
				return a.archiveExtract(args[0], f.extract)
			default:
				return a.archivePack(cmd.Context(), &f, args)
			}
		},
	}
	fl := cmd.Flags()
	fl.StringVarP(&f.out, "out", "o", "sworn-archive.tar", "write the archive to `FILE`, which must not be there yet")
	fl.StringArrayVar(&f.policies, "policy", nil, "put a policy `FILE` into the archive (repeatable)")
	fl.StringVar(&f.roots, "roots", "", "put the files of a roots `DIR` into the archive")
	fl.StringArrayVar(&f.ledgers, "ledger", nil, "put a ledger `FILE` into the archive, unread (repeatable)")
	fl.BoolVar(&f.list, "list", false, "print what an archive holds, with SHA-256 of each")
	fl.StringVar(&f.extract, "extract", "", "write what an archive holds below `DIR`")
	folder(cmd, "roots")
	folder(cmd, "extract")
	return cmd
}

// check refuses flags that say nothing together.
func (f *archiveFlags) check(args []string) error {
	reads := count(f.list, f.extract != "")
	packs := len(f.policies) > 0 || f.roots != "" || len(f.ledgers) > 0
	switch {
	case reads > 1:
		return usage("give one of them", "--list and --extract exclude each other")
	case reads == 1 && packs:
		return usage("leave them out", "--policy, --roots and --ledger go into an archive that is made")
	case reads == 1 && len(args) != 1:
		return usage("sworn archive --list ARCHIVE", "%d files, want one archive", len(args))
	}
	return nil
}

// archivePack makes an archive.
func (a *app) archivePack(ctx context.Context, f *archiveFlags, args []string) error {
	if _, err := os.Lstat(f.out); err == nil {
		return usage("choose another path with -o FILE", "%s is there already", f.out)
	}
	beside, err := f.files()
	if err != nil {
		return err
	}
	names, left, err := recordFiles(args)
	if err != nil {
		return err
	}
	scratch, err := os.CreateTemp(filepath.Dir(f.out), ".sworn-archive-*")
	if err != nil {
		return wrap(fmt.Errorf("creating %s: %w", f.out, pathless(err)), "does the folder exist, and may this user write there?")
	}
	defer func() { _ = scratch.Close(); _ = os.Remove(scratch.Name()) }()
	kept := bufio.NewWriterSize(scratch, 1<<20)
	b, err := archive.NewBuilder(&scratchFile{kept, scratch}, self(), beside)
	if err != nil {
		return wrap(err, "give the file another name")
	}
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := addRecord(b, name); err != nil {
			return err
		}
	}
	if err := writeArchive(b, f.out); err != nil {
		return err
	}
	if left > 0 {
		_, err = fmt.Fprintf(a.stderr, "%d records; %d other files in the folder left out: their names do not end in %s\n", len(names), left, recordSuffix)
	}
	return err
}

// self names this program as its reports do.
func self() string { return "sworn " + version + " " + cer.SHA256Digest(selfDigest()) }

// pathless leaves out the path of a temporary file, which tells the user nothing.
func pathless(err error) error {
	if at, ok := errors.AsType[*fs.PathError](err); ok {
		return at.Err
	}
	return err
}

// scratchFile is a file that is read back while it is written.
type scratchFile struct {
	*bufio.Writer
	f *os.File
}

// ReadAt reads what has been written.
func (s *scratchFile) ReadAt(b []byte, at int64) (int, error) {
	if s.Buffered() > 0 {
		if err := s.Flush(); err != nil {
			return 0, err
		}
	}
	return s.f.ReadAt(b, at)
}

// writeArchive writes the archive to a file that appears when it is whole.
func writeArchive(b *archive.Builder, name string) error {
	out, err := createFile(name, 0o644)
	if err != nil {
		return err
	}
	defer out.abandon()
	w := bufio.NewWriterSize(out, 1<<20)
	err = b.Write(w)
	if err == nil {
		err = w.Flush()
	}
	switch {
	case errors.Is(err, archive.ErrAdd):
		return wrap(err, "pack fewer records at a time")
	case err != nil:
		return wrap(fmt.Errorf("writing %s: %w", name, pathless(err)), "is the disk full?")
	}
	return out.commit()
}

// files reads what goes beside the records.
func (f *archiveFlags) files() ([]archive.File, error) {
	var out []archive.File
	for _, name := range f.policies {
		if _, err := loadPolicy(name, nil); err != nil {
			return nil, err
		}
		b, err := readFile(name, limits.PolicyFile)
		if err != nil {
			return nil, err
		}
		out = append(out, archive.File{Path: archive.DirPolicies + filepath.Base(name), Data: b})
	}
	for _, name := range f.ledgers {
		b, err := readFile(name, limits.ArchiveFile)
		if err != nil {
			return nil, err
		}
		out = append(out, archive.File{Path: archive.DirLedger + filepath.Base(name), Data: b})
	}
	roots, err := readRoots(f.roots)
	if err != nil {
		return nil, err
	}
	if _, err := verifier.NewTrustStore(roots); err != nil {
		return nil, wrap(err, rootsHint(f.roots))
	}
	for _, r := range roots {
		out = append(out, archive.File{Path: archive.DirRoots + r.Path, Data: r.Data})
	}
	return out, nil
}

// recordFiles returns the files to pack: those given, and of a folder those whose names
// say that they are records; left counts the others.
func recordFiles(args []string) (names []string, left int, err error) {
	for _, arg := range args {
		st, err := os.Stat(arg)
		if err != nil {
			return nil, 0, wrap(err, fileHint(arg, err))
		}
		if !st.IsDir() {
			names = append(names, arg)
			continue
		}
		entries, err := os.ReadDir(arg)
		if err != nil {
			return nil, 0, wrap(err, "may this user read it?")
		}
		before := len(names)
		for _, e := range entries {
			if strings.HasSuffix(e.Name(), recordSuffix) && e.Type().IsRegular() {
				names = append(names, filepath.Join(arg, e.Name()))
			} else {
				left++
			}
		}
		if len(names) == before {
			return nil, 0, usage("records are files in it whose names end in "+recordSuffix, "no record in the folder %s", arg)
		}
	}
	return names, left, nil
}

// addRecord packs one file.
func addRecord(b *archive.Builder, name string) error {
	file, err := readCapsule(name)
	if err != nil {
		return err
	}
	base := filepath.Base(name)
	if err := archive.CheckName(base); err != nil {
		return wrap(err, "give the file a name of letters and digits, as records have that are written on any system")
	}
	if err := b.Add(base, file); err != nil {
		hint := kindHint(name, file, "record")
		if hint == "" {
			hint = "an archive holds records that sworn run made, each under a name of its own"
		}
		return wrap(fmt.Errorf("%s: %w", name, err), hint)
	}
	return nil
}

// isArchive reports whether a file is meant to be an archive; its errors are for whoever
// reads it then.
func isArchive(name string) bool {
	f, err := openRegular(name)
	if err != nil {
		return false
	}
	defer f.Close()
	begin := make([]byte, 512)
	n, err := io.ReadFull(f, begin)
	return err == nil && archive.Is(begin[:n])
}

// openArchive opens an archive; what is none is said so, for commands that judge nothing.
func openArchive(name string) (*os.File, *archive.Reader, error) {
	f, err := openRegular(name)
	if err != nil {
		return nil, nil, err
	}
	r, err := newArchive(f)
	if err != nil {
		_ = f.Close()
		return nil, nil, archiveError(name, err)
	}
	return f, r, nil
}

// newArchive begins to read an archive.
func newArchive(f *os.File) (*archive.Reader, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return archive.Open(f, st.Size())
}

// archiveError gives an error about an archive a name and a hint.
func archiveError(name string, err error) error {
	if errors.Is(err, archive.ErrForm) {
		return wrap(fmt.Errorf("%s: %w", name, err), "give a file that sworn archive made, not compressed, byte for byte")
	}
	return wrap(fmt.Errorf("%s: %w", name, err), "is the file readable for this user?")
}

// eachFile calls what with every file of an archive, at its path as it is extracted.
func eachFile(r *archive.Reader, what func(path string, data []byte) error) error {
	for i := range r.Head().Files {
		info := &r.Head().Files[i]
		b, err := r.File(info)
		if err != nil {
			return err
		}
		if err := what(info.Path, b); err != nil {
			return err
		}
	}
	return eachRecord(r, func(s *archive.Set, rec *archive.Record) error {
		shared, err := s.Shared()
		if err != nil {
			return err
		}
		return what(dirRecords+rec.Name, shared.AppendFile(nil, rec.Record, rec.Inclusion))
	})
}

// eachRecord calls what with every record of an archive, in their order.
func eachRecord(r *archive.Reader, what func(*archive.Set, *archive.Record) error) error {
	for {
		s, err := r.Next()
		if errors.Is(err, io.EOF) {
			return r.Finish()
		}
		if err != nil {
			return err
		}
		for rec, err := range s.All() {
			if err != nil {
				return err
			}
			if err := r.Accept(s, rec); err != nil {
				return err
			}
			if err := what(s, rec); err != nil {
				return err
			}
		}
	}
}

// archiveList prints what an archive holds.
func (a *app) archiveList(name string) error {
	f, r, err := openArchive(name)
	if err != nil {
		return err
	}
	defer f.Close()
	w := bufio.NewWriter(a.stdout)
	err = eachFile(r, func(path string, data []byte) error {
		_, err := fmt.Fprintf(w, "%x  %s\n", sha256.Sum256(data), path)
		return err
	})
	if err != nil {
		return archiveError(name, errors.Join(err, w.Flush()))
	}
	return w.Flush()
}

// archiveExtract writes what an archive holds below a folder, which it makes.
func (a *app) archiveExtract(name, dir string) error {
	f, r, err := openArchive(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := os.Mkdir(dir, 0o750); err != nil {
		return wrap(err, "give a folder that is not there yet")
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return wrap(err, "may this user write there?")
	}
	defer root.Close()
	records := 0
	err = eachFile(r, func(to string, data []byte) error {
		if strings.HasPrefix(to, dirRecords) {
			records++
		}
		if err := root.MkdirAll(path.Dir(to), 0o750); err != nil {
			return err
		}
		// A name that is there already is one that stands twice here.
		out, err := root.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
		if err != nil {
			return err
		}
		_, err = out.Write(data)
		return errors.Join(err, out.Close())
	})
	if err != nil {
		return archiveError(name, fmt.Errorf("after %d records: %w", records, err))
	}
	if _, err := fmt.Fprintf(a.stderr, "%d records and %d other files written below %s\n", records, len(r.Head().Files), dir); err != nil {
		return err
	}
	return nil
}
