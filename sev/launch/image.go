package launch

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

// The GUIDs of the table at the end of an OVMF image, as they stand there.
const (
	guidFooter   = "de82b596b21ff745baeaa366c55a082d"
	guidReset    = "de71f7007e1acb4f890e68c77e2fb44e"
	guidHashes   = "1f3755723b3a044b927b1da6efa8d454"
	guidMetadata = "666588dc4a989847a75e5585a7bf67cc"
)

// sectionKind is the type of a section in OVMF's SEV metadata.
type sectionKind uint32

// The types of sections (OvmfPkg/ResetVector/X64/OvmfSevMetadata.asm).
const (
	sectionMemory  sectionKind = 1
	sectionSecrets sectionKind = 2
	sectionCPUID   sectionKind = 3
	sectionCAA     sectionKind = 4
	sectionHashes  sectionKind = 0x10
)

// section is memory that the hypervisor prepares before the launch.
type section struct {
	address uint64
	size    uint64
	kind    sectionKind
}

// image is what an OVMF image says of its launch.
type image struct {
	size     int
	sections []section
	// reset is where processors but the first begin; 0 if it does not say.
	reset uint32
	// hashes is where in memory the table of hashes goes; 0 if it has no place.
	hashes uint32
}

// The bounds of the metadata.
const (
	tailSize    = 32      // what follows the table
	entrySize   = 18      // a length of 2 bytes and a GUID
	maxSections = 64      // OVMF has 7
	maxMemory   = 1 << 30 // of all sections together
	fourGiB     = 1 << 32
)

// start returns the guest physical address of the image.
func (f *image) start() uint64 { return fourGiB - uint64(f.size) }

// has reports whether there is a section of that type.
func (f *image) has(kind sectionKind) bool {
	for _, s := range f.sections {
		if s.kind == kind {
			return true
		}
	}
	return false
}

// parseImage reads the table at the end of an image, and its SEV metadata.
func parseImage(b []byte) (*image, error) {
	if len(b) == 0 || len(b)%pageSize != 0 || len(b) > MaxImage {
		return nil, fmt.Errorf("%d bytes, want whole pages up to %d: %w", len(b), MaxImage, ErrImage)
	}
	table, err := splitTable(b)
	if err != nil {
		return nil, err
	}
	f := &image{size: len(b)}
	for guid, to := range map[string]*uint32{guidReset: &f.reset, guidHashes: &f.hashes} {
		if data, ok := table[guid]; ok {
			if len(data) < 4 {
				return nil, fmt.Errorf("entry %s of %d bytes: %w", guid, len(data), ErrImage)
			}
			*to = binary.LittleEndian.Uint32(data)
		}
	}
	if f.sections, err = splitMetadata(b, table[guidMetadata]); err != nil {
		return nil, err
	}
	return f, nil
}

// splitTable reads the table, which stands before the image's last 32 bytes and is
// read from its end.
func splitTable(b []byte) (map[string][]byte, error) {
	end := len(b) - tailSize
	size, guid := footer(b[:end])
	if guid != guidFooter || size < entrySize || size > end {
		return nil, fmt.Errorf("no table at its end: %w", ErrImage)
	}
	table, rest := map[string][]byte{}, b[end-size:end-entrySize]
	for len(rest) > 0 {
		size, guid := footer(rest)
		if size < entrySize || size > len(rest) {
			return nil, fmt.Errorf("an entry of %d bytes in the %d of its table: %w", size, len(rest), ErrImage)
		}
		if _, twice := table[guid]; twice {
			return nil, fmt.Errorf("entry %s stands twice in its table: %w", guid, ErrImage)
		}
		table[guid] = rest[len(rest)-size : len(rest)-entrySize]
		rest = rest[:len(rest)-size]
	}
	return table, nil
}

// footer reads the last 18 bytes: the length of the entry that they end, and its GUID.
func footer(b []byte) (size int, guid string) {
	if len(b) < entrySize {
		return 0, ""
	}
	b = b[len(b)-entrySize:]
	return int(binary.LittleEndian.Uint16(b)), hex.EncodeToString(b[2:])
}

// splitMetadata reads the sections; entry has the offset of the metadata from the
// image's end.
func splitMetadata(b, entry []byte) ([]section, error) {
	if len(entry) < 4 {
		return nil, fmt.Errorf("no SEV metadata: %w", ErrImage)
	}
	le := binary.LittleEndian
	offset := uint64(le.Uint32(entry))
	if offset < 16 || offset > uint64(len(b)) {
		return nil, fmt.Errorf("SEV metadata %d bytes before its end: %w", offset, ErrImage)
	}
	m := b[uint64(len(b))-offset:]
	size, version, count := le.Uint32(m[4:]), le.Uint32(m[8:]), le.Uint32(m[12:])
	if !bytes.Equal(m[:4], []byte("ASEV")) || version != 1 || count > maxSections ||
		size != 16+12*count || uint64(size) > uint64(len(m)) {
		return nil, fmt.Errorf("SEV metadata %q version %d, %d sections in %d bytes: %w", m[:4], version, count, size, ErrImage)
	}
	var out []section
	total := uint64(0)
	for i := range count {
		d := m[16+12*i:]
		s := section{uint64(le.Uint32(d)), uint64(le.Uint32(d[4:])), sectionKind(le.Uint32(d[8:]))}
		total += s.size
		if s.address%pageSize != 0 || s.size%pageSize != 0 || s.size == 0 || total > maxMemory {
			return nil, fmt.Errorf("a section at 0x%x of %d bytes: %w", s.address, s.size, ErrImage)
		}
		out = append(out, s)
	}
	return out, nil
}
