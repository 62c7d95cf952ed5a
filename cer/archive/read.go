package archive

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/limits"
)

// Reader reads an archive from its beginning to its end. What it has read of it before
// the end says nothing about the rest: a caller relies on the whole once [Reader.Finish]
// returned nil.
//
// Its methods are for one goroutine, but for [Set.Parse] and [Set.Shared], which
// several may call.
type Reader struct {
	t    tarReader
	head Head
	// blobs are those that several sets share.
	blobs map[digest]*stored
	next  uint64 // the number of the next set
	whole uint64 // the number of sets that were read to their ends

	// What Accept has seen.
	accepted    uint64
	inSet       uint64
	first, last string // names of the set, as fold has them
	lastSet     *Set
}

// stored is a blob in the archive. uses counts the sets and cuts that name it, up to 2.
type stored struct {
	place
	uses int
}

// Head is what an archive says of itself first. It is its maker's word.
type Head struct {
	// Verifier is the program that made the archive.
	Verifier string
	// Records, Sets and Blobs are the numbers of capsules, of different statements with
	// their evidence, and of blobs that several share.
	Records, Sets, Blobs uint64
	// Files are the files beside the capsules, in ascending order of their paths.
	Files []FileInfo
}

// FileInfo is a file beside the capsules.
type FileInfo struct {
	// Path begins with DirPolicies, DirRoots or DirLedger.
	Path string
	// Size is its size in bytes.
	Size int64
	// SHA256 is its digest, which was checked when the archive was opened.
	SHA256 [32]byte

	at int64
}

// Open reads the head of an archive of that size in bytes, and looks at what stands
// before the first set. The error wraps ErrForm, or is the reader's.
func Open(r io.ReaderAt, size int64) (*Reader, error) {
	a := &Reader{t: tarReader{r: r, size: size}, blobs: map[digest]*stored{}, next: 1}
	files, err := a.readHead()
	if err != nil {
		return nil, err
	}
	for i, f := range files {
		if err := a.readFile(i, f); err != nil {
			return nil, err
		}
	}
	last := ""
	for range a.head.Blobs {
		d, at, size, err := a.anyBlob()
		if err != nil {
			return nil, err
		}
		if blobName(d) <= last {
			return nil, fmt.Errorf("shared blobs are not in ascending order: %w", ErrForm)
		}
		last = blobName(d)
		a.blobs[d] = &stored{place: place{at, size}}
	}
	return a, nil
}

// readHead reads the head.
func (a *Reader) readHead() ([]wireFile, error) {
	at, size, err := a.t.next(nameHead, limits.ArchiveHead)
	if err != nil {
		return nil, err
	}
	var w wireHead
	if err := a.json(at, size, &w); err != nil {
		return nil, fmt.Errorf("the archive's head: %w", err)
	}
	if w.Type != Type {
		return nil, fmt.Errorf("archive of type %.100q, want %q: %w", w.Type, Type, ErrForm)
	}
	if len(w.Files) > limits.ArchiveFiles {
		return nil, fmt.Errorf("%d files, at most %d: %w", len(w.Files), limits.ArchiveFiles, ErrForm)
	}
	h := &a.head
	h.Verifier = w.Verifier
	for _, n := range []struct {
		what, text string
		limit      uint64
		to         *uint64
	}{
		{"number of records", w.Records, limits.ArchiveRecords, &h.Records},
		{"number of sets", w.Sets, limits.ArchiveSets, &h.Sets},
		{"number of blobs", w.Blobs, limits.ArchiveBlobs, &h.Blobs},
	} {
		if *n.to, err = parseCount(n.what, n.text, n.limit); err != nil {
			return nil, err
		}
	}
	if h.Sets == 0 || h.Records < h.Sets {
		return nil, fmt.Errorf("%d records in %d sets: %w", h.Records, h.Sets, ErrForm)
	}
	return w.Files, nil
}

// json decodes a member that is one canonical JSON text and a line feed.
func (a *Reader) json(at, size int64, v any) error {
	b := make([]byte, size)
	if err := readAt(a.t.r, b, at); err != nil {
		return err
	}
	body, ok := bytes.CutSuffix(b, []byte("\n"))
	if !ok {
		return fmt.Errorf("JSON does not end in one line feed: %w", ErrForm)
	}
	if err := cer.UnmarshalCanonical(body, 4, v); err != nil {
		return fmt.Errorf("%w: %w", ErrForm, err)
	}
	return nil
}

// readFile checks a file beside the capsules.
func (a *Reader) readFile(i int, w wireFile) error {
	if err := checkPath(w.Path); err != nil {
		return fmt.Errorf("%w: %w", ErrForm, err)
	}
	if i > 0 && fold(a.head.Files[i-1].Path) >= fold(w.Path) {
		return fmt.Errorf("files are not in ascending order at %q: %w", w.Path, ErrForm)
	}
	want, err := parseDigest(w.SHA256)
	if err != nil {
		return err
	}
	at, size, err := a.t.next(w.Path, limits.ArchiveFile)
	if err != nil {
		return err
	}
	if w.Size != strconv.FormatInt(size, 10) {
		return fmt.Errorf("%s has %d bytes, the head says %.20q: %w", w.Path, size, w.Size, ErrForm)
	}
	if _, err := readAll(a.t.r, at, size, want); err != nil {
		return fmt.Errorf("%s: %w", w.Path, err)
	}
	a.head.Files = append(a.head.Files, FileInfo{w.Path, size, want, at})
	return nil
}

// anyBlob reads the next member, which must be a blob, and checks it.
func (a *Reader) anyBlob() (d digest, at, size int64, err error) {
	name, _, err := a.t.peek()
	if err != nil {
		return d, 0, 0, err
	}
	h, ok := strings.CutPrefix(name, dirBlobs)
	b, err := hex.DecodeString(h)
	if !ok || err != nil || len(b) != len(d) || blobName(digest(b)) != name {
		return d, 0, 0, fmt.Errorf("member %.100q stands where a blob has to: %w", name, ErrForm)
	}
	d = digest(b)
	if at, size, err = a.t.next(name, limits.CapsuleFile); err == nil {
		_, err = readAll(a.t.r, at, size, d)
	}
	return d, at, size, err
}

// Head returns what the archive says of itself. It must not be changed.
func (a *Reader) Head() *Head { return &a.head }

// File returns the content of a file of the head. The error wraps ErrForm if it has
// changed since, or is the reader's.
func (a *Reader) File(f *FileInfo) ([]byte, error) { return readAll(a.t.r, f.at, f.Size, f.SHA256) }

// Next returns the next set, and io.EOF after the last. Every line of the set before
// must have been read. The error wraps ErrForm, or is the reader's.
func (a *Reader) Next() (*Set, error) {
	if a.next > a.head.Sets {
		if err := a.t.close(); err != nil {
			return nil, err
		}
		return nil, io.EOF
	}
	at, size, err := a.t.next(setName(a.next), limits.ArchiveSet)
	if err != nil {
		return nil, err
	}
	var w wireSet
	if err := a.json(at, size, &w); err != nil {
		return nil, fmt.Errorf("set %d: %w", a.next, err)
	}
	s := &Set{Number: a.next, r: a, hash: sha256.New()}
	if err := s.read(&w); err != nil {
		return nil, fmt.Errorf("set %d: %w", a.next, err)
	}
	a.next++
	return s, nil
}

// Accept takes note of a record, in the order of the archive: names ascend, and no
// record is missing. The error wraps ErrForm.
func (a *Reader) Accept(s *Set, r *Record) error {
	if s != a.lastSet {
		if err := a.full(s.Number); err != nil {
			return err
		}
		for _, d := range s.names {
			a.blobs[d].uses++
		}
		if a.lastSet != nil && fold(r.Name) <= a.first {
			return fmt.Errorf("sets are not in ascending order of names at %q: %w", r.Name, ErrForm)
		}
		a.lastSet, a.inSet, a.first = s, 0, fold(r.Name)
	}
	if a.inSet > 0 && fold(r.Name) <= a.last {
		return fmt.Errorf("set %d: names are not in ascending order at %q: %w", s.Number, r.Name, ErrForm)
	}
	for _, c := range r.cuts {
		a.blobs[c.digest].uses++
	}
	a.last = fold(r.Name)
	a.inSet++
	a.accepted++
	return nil
}

// full wants all records of the sets before one to have been accepted.
func (a *Reader) full(number uint64) error {
	n, last := uint64(0), a.lastSet
	if last != nil {
		n = last.Number
	}
	if n+1 != number || last != nil && a.inSet != last.Records {
		return fmt.Errorf("set %d has another number of records than its description says: %w", n, ErrForm)
	}
	return nil
}

// Finish reports whether the archive was read to its end and is whole: as many records
// as its head says, every shared blob used. The error wraps ErrForm.
func (a *Reader) Finish() error {
	switch {
	case a.whole != a.head.Sets || a.t.at != a.t.size:
		return fmt.Errorf("the archive was not read to its end: %w", ErrForm)
	case a.full(a.head.Sets+1) != nil || a.accepted != a.head.Records:
		return fmt.Errorf("%d records, the head says %d: %w", a.accepted, a.head.Records, ErrForm)
	}
	for d, b := range a.blobs {
		if b.uses < 2 {
			return fmt.Errorf("blob %x is not used by several: %w", d, ErrForm)
		}
	}
	return nil
}
