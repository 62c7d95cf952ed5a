package archive

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/cer/internal/canon"
	"github.com/sworn-run/sworn/internal/limits"
)

// Scratch keeps what a [Builder] was given until it is written: a temporary file. It
// grows to the size of the archive.
type Scratch interface {
	io.Writer
	io.ReaderAt
}

// Builder makes an archive. It remembers some hundred bytes of each capsule, and the
// rest in its scratch file. The order in which capsules are added makes no difference
// to the archive.
type Builder struct {
	scratch  Scratch
	end      int64
	verifier string
	files    []File

	names map[string]bool
	blobs map[digest]*blob
	sets  map[digest]*builderSet

	// The set of the capsule before.
	known    *cer.Shared
	knownSet *builderSet
	records  uint64
}

// place is where the scratch file holds something.
type place struct{ at, size int64 }

// blob is content that is stored once. uses is how many sets and cuts name it.
type blob struct {
	place
	uses int
}

// builderSet is capsules that have everything in common but record and inclusion.
type builderSet struct {
	wire    wireSet
	blobs   []digest // named by wire, each once
	records []builderRecord
}

// builderRecord is one capsule of a set.
type builderRecord struct {
	name string
	// record is where the record stands, with a placeholder for each cut.
	record, inclusion place
	cuts              []cut
}

// NewBuilder returns a builder of an archive with these files beside the capsules.
// verifier names the program that makes it, for whoever reads the archive. The error
// wraps ErrAdd: a path that no archive has, or twice; a file that is too large.
func NewBuilder(scratch Scratch, verifier string, files []File) (*Builder, error) {
	b := &Builder{
		scratch: scratch, verifier: verifier, files: slices.Clone(files),
		names: map[string]bool{}, blobs: map[digest]*blob{}, sets: map[digest]*builderSet{},
	}
	if scratch == nil || len(files) > limits.ArchiveFiles {
		return nil, fmt.Errorf("no scratch file, or %d files, at most %d: %w", len(files), limits.ArchiveFiles, ErrAdd)
	}
	slices.SortFunc(b.files, func(x, y File) int { return cmp.Compare(fold(x.Path), fold(y.Path)) })
	for i, f := range b.files {
		if err := checkPath(f.Path); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrAdd, err)
		}
		if len(f.Data) > limits.ArchiveFile || i > 0 && fold(b.files[i-1].Path) == fold(f.Path) {
			return nil, fmt.Errorf("%s stands twice, or is larger than %d bytes: %w", f.Path, limits.ArchiveFile, ErrAdd)
		}
	}
	if _, err := b.head(0, 0); err != nil {
		return nil, err
	}
	return b, nil
}

// Add packs a capsule under a name ([CheckName]), which no other has, capitals and
// small letters counting as one. The error wraps ErrAdd, for a file that is no capsule
// also cer.ErrStrict or cer.ErrSchema, or is the scratch file's.
func (b *Builder) Add(name string, capsule []byte) error {
	if err := CheckName(name); err != nil {
		return err
	}
	if b.names[fold(name)] {
		return fmt.Errorf("%q stands twice: %w", name, ErrAdd)
	}
	record, inclusion, s, err := cer.Split(capsule, b.known)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrAdd, err)
	}
	if !bytes.Equal(s.AppendFile(make([]byte, 0, len(capsule)), record, inclusion), capsule) {
		return fmt.Errorf("the capsule is not made of its parts: %w", ErrAdd)
	}
	if s != b.known {
		set, err := b.set(s.Empty())
		if err != nil {
			return err
		}
		b.known, b.knownSet = s, set
	}
	r := builderRecord{name: name}
	if record, r.cuts, err = b.cut(record); err != nil {
		return err
	}
	if r.record, err = b.keep(record); err != nil {
		return err
	}
	if r.inclusion, err = b.keep(inclusion); err != nil {
		return err
	}
	b.names[fold(name)] = true
	b.knownSet.records = append(b.knownSet.records, r)
	b.records++
	return nil
}

// keep writes to the scratch file.
func (b *Builder) keep(data []byte) (place, error) {
	p := place{b.end, int64(len(data))}
	if _, err := b.scratch.Write(data); err != nil {
		return place{}, fmt.Errorf("keeping what is to be archived: %w", err)
	}
	b.end += p.size
	return p, nil
}

// blob keeps content once, and returns it.
func (b *Builder) blob(data []byte) (digest, *blob, error) {
	d := sha256.Sum256(data)
	if known := b.blobs[d]; known != nil {
		return d, known, nil
	}
	p, err := b.keep(data)
	if err != nil {
		return d, nil, err
	}
	b.blobs[d] = &blob{place: p}
	return d, b.blobs[d], nil
}

// set returns the set of capsules that share what c has.
func (b *Builder) set(c *cer.Capsule) (*builderSet, error) {
	set := &builderSet{wire: wireSet{Collateral: []wireItem{}, Evidence: []string{}, Tokens: []string{}}}
	var failed error
	named := map[digest]*blob{}
	ref := func(data []byte) string {
		d, kept, err := b.blob(data)
		failed = errors.Join(failed, err)
		if named[d] == nil && err == nil {
			named[d] = kept
			set.blobs = append(set.blobs, d)
		}
		return text(d)
	}
	w := &set.wire
	w.Statement, w.Signature = ref(c.Statement), ref(c.Signature)
	for _, it := range c.Items {
		w.Evidence = append(w.Evidence, ref(it))
	}
	w.Log = ref(c.Log)
	for _, x := range c.Collateral {
		w.Collateral = append(w.Collateral, wireItem{x.Kind, ref(x.Data)})
	}
	for _, t := range c.Tokens {
		w.Tokens = append(w.Tokens, ref(t))
	}
	if failed != nil {
		return nil, failed
	}
	key, err := cer.MarshalCanonical(w)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAdd, err)
	}
	id := sha256.Sum256(key)
	if known := b.sets[id]; known != nil {
		return known, nil
	}
	for _, kept := range named {
		kept.uses++
	}
	b.sets[id] = set
	return set, nil
}

// cut takes large inputs and outputs out of a record: several records may have one.
func (b *Builder) cut(record []byte) (rest []byte, cuts []cut, err error) {
	d, err := canon.Parse(record, limits.CapsuleDepth, true, 2)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrAdd, err)
	}
	at := 0
	for _, member := range []string{"input", "output"} { // the order of the canonical form
		v := d.Root().Get("snapshot").Get(member)
		content := v.Raw()
		if len(content) < limits.ArchiveContent || v.Offset() < at {
			continue
		}
		sum, kept, err := b.blob(content)
		if err != nil {
			return nil, nil, err
		}
		kept.uses++
		rest = append(rest, record[at:v.Offset()]...)
		cuts = append(cuts, cut{len(rest), sum})
		rest = append(rest, placeholder)
		at = v.Offset() + len(content)
	}
	return append(rest, record[at:]...), cuts, nil
}

// content reads from the scratch file.
func (b *Builder) content(p place) ([]byte, error) {
	out := make([]byte, p.size)
	if err := readAt(b.scratch, out, p.at); err != nil {
		return nil, err
	}
	return out, nil
}

// shared returns the blobs that stand once for several, in ascending order.
func (b *Builder) shared() []digest {
	var out []digest
	for d := range maps.Keys(b.blobs) {
		if b.blobs[d].uses > 1 {
			out = append(out, d)
		}
	}
	slices.SortFunc(out, func(x, y digest) int { return bytes.Compare(x[:], y[:]) })
	return out
}

// ordered returns the sets in their order, their records in theirs.
func (b *Builder) ordered() []*builderSet {
	sets := slices.Collect(maps.Values(b.sets))
	for _, s := range sets {
		slices.SortFunc(s.records, func(x, y builderRecord) int { return cmp.Compare(fold(x.name), fold(y.name)) })
	}
	slices.SortFunc(sets, func(x, y *builderSet) int { return cmp.Compare(fold(x.records[0].name), fold(y.records[0].name)) })
	return sets
}

// head returns the head of the archive.
func (b *Builder) head(blobs, sets int) ([]byte, error) {
	w := wireHead{
		Blobs: strconv.Itoa(blobs), Sets: strconv.Itoa(sets), Records: strconv.FormatUint(b.records, 10),
		Type: Type, Verifier: b.verifier, Files: []wireFile{},
	}
	for _, f := range b.files {
		w.Files = append(w.Files, wireFile{f.Path, text(sha256.Sum256(f.Data)), strconv.Itoa(len(f.Data))})
	}
	out, err := cer.MarshalCanonical(&w)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAdd, err)
	}
	if len(out)+1 > limits.ArchiveHead {
		return nil, fmt.Errorf("head of %d bytes, at most %d: %w", len(out)+1, limits.ArchiveHead, ErrAdd)
	}
	return append(out, '\n'), nil
}

// Write writes the archive: of the same capsules and files, the same bytes. The error
// wraps ErrAdd, or is the scratch file's or the writer's.
func (b *Builder) Write(w io.Writer) error {
	shared, sets := b.shared(), b.ordered()
	if b.records == 0 || len(sets) > limits.ArchiveSets || len(shared) > limits.ArchiveBlobs {
		return fmt.Errorf("%d capsules of %d sets that share %d blobs, want 1 or more of at most %d that share at most %d: %w",
			b.records, len(sets), len(shared), limits.ArchiveSets, limits.ArchiveBlobs, ErrAdd)
	}
	t := &tarWriter{w}
	head, err := b.head(len(shared), len(sets))
	if err != nil {
		return err
	}
	if err := t.member(nameHead, head); err != nil {
		return err
	}
	for _, f := range b.files {
		if err := t.member(f.Path, f.Data); err != nil {
			return err
		}
	}
	for _, d := range shared {
		if err := b.writeBlob(t, d); err != nil {
			return err
		}
	}
	for i, s := range sets {
		if err := b.writeSet(t, uint64(i+1), s); err != nil {
			return err
		}
	}
	return t.close()
}

// writeBlob writes a blob as a member.
func (b *Builder) writeBlob(t *tarWriter, d digest) error {
	data, err := b.content(b.blobs[d].place)
	if err != nil {
		return err
	}
	return t.member(blobName(d), data)
}

// writeSet writes a set: its description, the blobs that it alone has, its records.
func (b *Builder) writeSet(t *tarWriter, number uint64, s *builderSet) error {
	h := sha256.New()
	size, err := b.writeRecords(h, s)
	if err != nil {
		return err
	}
	w := s.wire
	w.Records = wireRecords{strconv.Itoa(len(s.records)), text(digest(h.Sum(nil))), strconv.FormatInt(size, 10)}
	description, err := cer.MarshalCanonical(&w)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrAdd, err)
	}
	if err := t.member(setName(number), append(description, '\n')); err != nil {
		return err
	}
	for _, d := range s.blobs {
		if b.blobs[d].uses == 1 {
			if err := b.writeBlob(t, d); err != nil {
				return err
			}
		}
	}
	if err := t.begin(recordsName(number), size); err != nil {
		return err
	}
	if _, err := b.writeRecords(t.w, s); err != nil {
		return err
	}
	return t.end(size)
}

// writeRecords writes the lines of a set, and returns their size.
func (b *Builder) writeRecords(w io.Writer, s *builderSet) (size int64, err error) {
	for i := range s.records {
		l, err := b.line(&s.records[i])
		if err != nil {
			return 0, err
		}
		if _, err := w.Write(l); err != nil {
			return 0, err
		}
		size += int64(len(l))
	}
	return size, nil
}

// line returns the line of a capsule: a record without the contents that others have
// too, where they were, the inclusion proof and the name.
func (b *Builder) line(r *builderRecord) ([]byte, error) {
	record, err := b.content(r.record)
	if err != nil {
		return nil, err
	}
	inclusion, err := b.content(r.inclusion)
	if err != nil {
		return nil, err
	}
	var cuts []wireCut
	text := make([]byte, 0, len(record))
	at := 0
	for _, c := range r.cuts {
		text = append(text, record[at:c.at]...)
		at = c.at + 1
		if kept := b.blobs[c.digest]; kept.uses > 1 {
			cuts = append(cuts, wireCut{strconv.Itoa(len(text)), cer.SHA256Digest(c.digest)})
			text = append(text, placeholder)
			continue
		}
		content, err := b.content(b.blobs[c.digest].place)
		if err != nil {
			return nil, err
		}
		text = append(text, content...)
	}
	return appendLine(append(text, record[at:]...), cuts, inclusion, r.name)
}

// appendLine returns a line of its parts. The name needs no escapes ([CheckName]).
func appendLine(record []byte, cuts []wireCut, inclusion []byte, name string) ([]byte, error) {
	out := append(append(make([]byte, 0, len(record)+len(inclusion)+256), `{"cer":`...), record...)
	if len(cuts) > 0 {
		list, err := cer.MarshalCanonical(cuts)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrAdd, err)
		}
		out = append(append(out, `,"cut":`...), list...)
	}
	out = append(append(out, `,"inclusion":`...), inclusion...)
	return append(append(append(out, `,"name":"`...), name...), "\"}\n"...), nil
}
