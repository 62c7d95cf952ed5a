package archive

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"iter"
	"strconv"
	"sync"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/cer/internal/canon"
	"github.com/sworn-run/sworn/internal/limits"
)

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

// All ranges over the records of the set that have not been read yet, up to the first
// error, which is one of [Set.Block] or [Set.Parse].
func (s *Set) All() iter.Seq2[*Record, error] {
	return func(yield func(*Record, error) bool) {
		for {
			block, err := s.Block(blockOfLines)
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				yield(nil, err)
				return
			}
			for line := range bytes.Lines(block) {
				rec, err := s.Parse(line)
				if !yield(rec, err) || err != nil {
					return
				}
			}
		}
	}
}

// blockOfLines is how much is read at a time.
const blockOfLines = 64 << 10

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
