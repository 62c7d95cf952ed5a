package predict

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/limits"
)

// Offsets in a PE image (PE Format, "Overview"). Those of the optional header count
// from its own beginning, and are the same for PE32 and PE32+ up to the directories.
const (
	offPE          = 0x3C
	sizeCOFF       = 4 + 20
	offSize        = 60 // SizeOfHeaders
	offChecksum    = 64
	offCount32     = 92 // NumberOfRvaAndSizes
	offCount64     = 108
	magic32        = 0x10B
	magic64        = 0x20B
	certificates   = 4 // the directory of the certificate table
	sizeDirectory  = 8
	sizeSection    = 40
	maxDirectories = 16
)

// image is a parsed PE image.
type image struct {
	raw []byte
	// checksum and directory are the offsets of what Authenticode leaves out;
	// directory is 0 if the image has none.
	checksum, directory int
	headers             int
	// table is the size of the certificate table at the end.
	table    int
	sections []section
}

// section is an entry of the section table.
type section struct {
	name                   string
	virtual, size, pointer uint32
}

// parse parses a PE image as strictly as the firmware's own hashing needs it to mean
// one thing: the sections follow the headers without a gap or an overlap, and the
// certificate table is the end.
func parse(b []byte) (*image, error) {
	if len(b) < offPE+4 || len(b) > limits.BootImage || b[0] != 'M' || b[1] != 'Z' {
		return nil, fmt.Errorf("image of %d bytes is no PE image: %w", len(b), attest.ErrForm)
	}
	le := binary.LittleEndian
	at := int64(le.Uint32(b[offPE:]))
	if at < offPE+4 || at+sizeCOFF+offCount64+4 > int64(len(b)) || !bytes.Equal(b[at:at+4], []byte("PE\x00\x00")) {
		return nil, fmt.Errorf("image without a PE header: %w", attest.ErrForm)
	}
	count, optSize := int(le.Uint16(b[at+6:])), int(le.Uint16(b[at+20:]))
	opt := int(at) + sizeCOFF
	m := &image{raw: b, checksum: opt + offChecksum, headers: int(min(le.Uint32(b[opt+offSize:]), limits.BootImage+1))}
	dirs := opt + offCount64
	switch le.Uint16(b[opt:]) {
	case magic64:
	case magic32:
		dirs = opt + offCount32
	default:
		return nil, fmt.Errorf("image with an optional header that is not PE32 or PE32+: %w", attest.ErrForm)
	}
	n := int(min(le.Uint32(b[dirs:]), maxDirectories+1))
	dirs += 4
	table := opt + optSize
	if n > maxDirectories || dirs+n*sizeDirectory > table || count < 1 || count > limits.BootSections ||
		table+count*sizeSection > m.headers || m.headers > len(b) {
		return nil, fmt.Errorf("image of %d directories and %d sections in %d bytes of headers: %w", n, count, m.headers, attest.ErrForm)
	}
	if n > certificates {
		m.directory = dirs + certificates*sizeDirectory
	}
	for i := range count {
		e := b[table+i*sizeSection:][:sizeSection]
		name := bytes.TrimRight(e[:8], "\x00")
		m.sections = append(m.sections, section{string(name), le.Uint32(e[8:]), le.Uint32(e[16:]), le.Uint32(e[20:])})
	}
	return m, m.check()
}

// check refuses gaps and overlaps.
func (m *image) check() error {
	end := int64(m.headers)
	for _, s := range m.inFile() {
		if int64(s.pointer) != end {
			return fmt.Errorf("section %q at %d, want it at %d: %w", s.name, s.pointer, end, attest.ErrForm)
		}
		end += int64(s.size)
	}
	if end > int64(len(m.raw)) {
		return fmt.Errorf("image of %d bytes with sections up to %d: %w", len(m.raw), end, attest.ErrForm)
	}
	if m.directory == 0 {
		return nil
	}
	at := int64(binary.LittleEndian.Uint32(m.raw[m.directory:]))
	size := int64(binary.LittleEndian.Uint32(m.raw[m.directory+4:]))
	if size == 0 {
		return nil
	}
	if at < end || at+size != int64(len(m.raw)) {
		return fmt.Errorf("certificate table of %d bytes at %d is not the image's end: %w", size, at, attest.ErrForm)
	}
	m.table = int(size)
	return nil
}

// inFile returns the sections that have bytes in the file, in its order.
func (m *image) inFile() []section {
	list := slices.DeleteFunc(slices.Clone(m.sections), func(s section) bool { return s.size == 0 })
	slices.SortStableFunc(list, func(a, b section) int { return cmp.Compare(a.pointer, b.pointer) })
	return list
}

// loaded returns a section as it stands in memory: as long as its virtual size, with
// zeros where the file has less.
func (m *image) loaded(s section) []byte {
	var content []byte
	if s.size > 0 { // Else it has no place in the file, whatever its pointer says.
		content = m.raw[s.pointer:][:min(s.size, s.virtual)]
	}
	if uint64(s.virtual) == uint64(len(content)) {
		return content
	}
	return append(bytes.Clone(content), make([]byte, int(s.virtual)-len(content))...)
}

// Authenticode returns the digest of a PE image that a firmware extends into PCR 4
// when it starts the image, and that a signature for Secure Boot is over: all but the
// checksum, the entry of the certificate table and that table (Windows Authenticode
// Portable Executable Signature Format, "Calculating the PE Image Hash").
//
// The image is at most 512 MiB. One with gaps or overlaps between headers, sections
// and certificates is refused, because implementations hash it in different ways. The
// error wraps [attest.ErrForm], or [attest.ErrArgument] for an algorithm that is not
// [attest.Alg.Accepted].
func Authenticode(b []byte, alg attest.Alg) ([]byte, error) {
	if !alg.Accepted() {
		return nil, fmt.Errorf("hashing an image with %v: %w", alg, attest.ErrArgument)
	}
	m, err := parse(b)
	if err != nil {
		return nil, fmt.Errorf("hashing an image: %w", err)
	}
	end := len(b) - m.table
	head := b[:m.checksum]
	if m.directory == 0 {
		return alg.Sum(head, b[m.checksum+4:end]), nil
	}
	return alg.Sum(head, b[m.checksum+4:m.directory], b[m.directory+sizeDirectory:end]), nil
}
