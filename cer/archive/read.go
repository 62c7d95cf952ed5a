package archive

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"
	"strings"
	"sync"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/cer/internal/canon"
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

// Set is the capsules of an archive that have everything in common but record and
// inclusion proof.
type Set struct {
	// Number counts the sets of an archive from 1.
	Number uint64
	// Records is the number of capsules.
	Records uint64
	// Digest is SHA-256 of all that the capsules share, by its description.
	Digest [32]byte

	shared func() (*cer.Shared, error)
	names  []digest // what it names of the blobs that several share
	r      *Reader
	hash   hash.Hash
	want   digest
	at     int64 // what is left of the lines
	left   int64
	tail   []byte
	whole  bool // all of its lines were read, and they are those of its description
}

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

// read reads the blobs of a set, and finds its lines.
func (s *Set) read(w *wireSet) error {
	if len(w.Evidence) > limits.EvidenceSlots || len(w.Collateral) > limits.CollateralItems || len(w.Tokens) > limits.Tokens {
		return fmt.Errorf("more items than a capsule has: %w", ErrForm)
	}
	blobs, size := map[string][]byte{}, 0
	for _, name := range w.references() {
		if blobs[name] == nil {
			b, err := s.blob(name)
			if err != nil {
				return err
			}
			blobs[name] = b
		}
		// Also of a blob that stands here again: the capsule has it twice.
		if size += len(blobs[name]); size > limits.CapsuleFile {
			return fmt.Errorf("blobs of more than %d bytes: %w", limits.CapsuleFile, ErrForm)
		}
	}
	n, err := parseCount("number of records", w.Records.Count, s.r.head.Records)
	if err != nil {
		return err
	}
	if s.want, err = parseDigest(w.Records.SHA256); err != nil {
		return err
	}
	s.Records = n
	if s.at, s.left, err = s.r.t.next(recordsName(s.Number), maxMember); err != nil {
		return err
	}
	if n == 0 || w.Records.Size != strconv.FormatInt(s.left, 10) {
		return fmt.Errorf("%d lines of %d bytes, the description says %.20q: %w", n, s.left, w.Records.Size, ErrForm)
	}
	named := *w
	named.Records = wireRecords{}
	id, err := cer.MarshalCanonical(&named)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrForm, err)
	}
	s.Digest = sha256.Sum256(id)
	s.shared = sync.OnceValues(func() (*cer.Shared, error) { return sharedOf(w, blobs) })
	return nil
}

// blob returns a blob that the set names: one of those that several share, or the next
// member.
func (s *Set) blob(name string) ([]byte, error) {
	d, err := parseDigest(name)
	if err != nil {
		return nil, err
	}
	if b := s.r.blobs[d]; b != nil {
		s.names = append(s.names, d)
		return readAll(s.r.t.r, b.at, b.size, d)
	}
	at, size, err := s.r.t.next(blobName(d), limits.CapsuleFile)
	if err != nil {
		return nil, err
	}
	return readAll(s.r.t.r, at, size, d)
}

// sharedOf makes of a set's blobs what its capsules share.
func sharedOf(w *wireSet, blobs map[string][]byte) (*cer.Shared, error) {
	c := cer.Capsule{Statement: blobs[w.Statement], Signature: blobs[w.Signature], Log: blobs[w.Log]}
	for _, name := range w.Evidence {
		ev, err := cer.ParseEvidence(blobs[name])
		if err != nil {
			return nil, fmt.Errorf("%w: evidence: %w", ErrForm, err)
		}
		c.Evidence = append(c.Evidence, *ev)
	}
	for _, x := range w.Collateral {
		c.Collateral = append(c.Collateral, attest.Collateral{Kind: x.Kind, Data: blobs[x.SHA256]})
	}
	for _, name := range w.Tokens {
		c.Tokens = append(c.Tokens, blobs[name])
	}
	s, err := c.Shared()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrForm, err)
	}
	return s, nil
}

// Shared returns what the set's capsules share. The error wraps ErrForm.
func (s *Set) Shared() (*cer.Shared, error) { return s.shared() }

// Block returns the next lines of the set, about as many bytes as asked for, and io.EOF
// after the last. The caller may keep them. The error wraps ErrForm, or is the reader's.
func (s *Set) Block(size int) ([]byte, error) {
	block := s.tail
	s.tail = nil
	for {
		if s.left == 0 {
			if len(block) > 0 {
				return nil, fmt.Errorf("set %d: the last line has no end: %w", s.Number, ErrForm)
			}
			if digest(s.hash.Sum(nil)) != s.want {
				return nil, fmt.Errorf("set %d: its lines are not those that its description names: %w", s.Number, ErrForm)
			}
			if !s.whole {
				s.whole = true
				s.r.whole++
			}
			return nil, io.EOF
		}
		more := make([]byte, min(int64(max(size, 1)), s.left))
		if err := readAt(s.r.t.r, more, s.at); err != nil {
			return nil, err
		}
		s.at, s.left = s.at+int64(len(more)), s.left-int64(len(more))
		s.hash.Write(more)
		old := len(block)
		block = append(block, more...)
		if i := bytes.LastIndexByte(block[old:], '\n'); i >= 0 {
			s.tail = bytes.Clone(block[old+i+1:])
			return block[:old+i+1], nil
		}
		if len(block) > limits.ArchiveLine {
			return nil, fmt.Errorf("set %d: a line of more than %d bytes: %w", s.Number, limits.ArchiveLine, ErrForm)
		}
	}
}

// Record is one capsule of a set, without what it shares.
type Record struct {
	// Name is the capsule's name in the archive.
	Name string
	// Record and Inclusion are as [cer.Split] returns them.
	Record, Inclusion []byte

	cuts []cut
}

// Parse reads one line of a block. It judges the record no further than its JSON. The
// error wraps ErrForm, or is the reader's.
func (s *Set) Parse(line []byte) (*Record, error) {
	body, ok := bytes.CutSuffix(line, []byte("\n"))
	if !ok {
		return nil, fmt.Errorf("a line without an end: %w", ErrForm)
	}
	if !canon.FewValues(body, limits.CapsuleValues+limits.Inclusion) {
		return nil, fmt.Errorf("a line of more values than a capsule has: %w", ErrForm)
	}
	var d canon.Doc
	if err := d.Read(body, limits.CapsuleDepth, true, 1); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrForm, err)
	}
	root := d.Root()
	cer, inclusion, name, cuts := root.Get("cer"), root.Get("inclusion"), root.Get("name"), root.Get("cut")
	members := 3
	if cuts.Kind() != 0 {
		members++
	}
	if !d.Exact() || root.Kind() != '{' || root.Len() != members || cer.Kind() != '{' || inclusion.Kind() != '{' || name.Kind() != '"' {
		return nil, fmt.Errorf("a line that is not a record's: %w", ErrForm)
	}
	r := &Record{Name: name.String(), Record: cer.Raw(), Inclusion: inclusion.Raw()}
	if err := checkName(r.Name); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrForm, err)
	}
	if cuts.Kind() == 0 {
		return r, nil
	}
	return r, s.fill(r, cuts.Raw())
}

// fill puts contents in the places where they were cut out of a record.
func (s *Set) fill(r *Record, list []byte) error {
	var w []wireCut
	if err := cer.UnmarshalCanonical(list, 2, &w); err != nil || len(w) < 1 || len(w) > 2 {
		return fmt.Errorf("cuts of a line: %w", errors.Join(ErrForm, err))
	}
	for _, x := range w {
		at, err := parseCount("a cut", x.At, uint64(len(r.Record)))
		if err != nil {
			return err
		}
		d, err := parseDigest(x.SHA256)
		if err != nil {
			return err
		}
		r.cuts = append(r.cuts, cut{int(at), d})
	}
	full, err := splice(r.Record, r.cuts, func(d digest) ([]byte, error) {
		b := s.r.blobs[d]
		if b == nil || b.size < limits.ArchiveContent {
			return nil, fmt.Errorf("a content that no blob is: %w", ErrForm)
		}
		return readAll(s.r.t.r, b.at, b.size, d)
	})
	r.Record = full
	return err
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
