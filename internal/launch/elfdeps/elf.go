package elfdeps

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
)

// Bounds on what one ELF file may announce.
const (
	maxSegments = 512
	maxDynamic  = 1 << 16 // entries of the dynamic section
	maxNeeded   = 4096
	maxString   = 4096 // PATH_MAX
)

// Sizes of the structures of a 64-bit ELF file (System V gABI, "ELF header",
// "Program header", "Dynamic section").
const (
	headerSize  = 64
	segmentSize = 56
	dynamicSize = 16
)

// object is what the loader reads from one ELF file. It looks at segments only,
// as the kernel and the loader do: sections may be missing or say otherwise.
type object struct {
	machine elf.Machine
	interp  string
	soname  string
	needed  []string // DT_NEEDED and DT_FILTER
	// An object with a RUNPATH has no RPATH for the loader.
	rpath, runpath string
	hasRunpath     bool
	// noDefault is DF_1_NODEFLIB: neither cache nor default folders serve it.
	noDefault bool
}

// segment is a program header.
type segment struct {
	kind               elf.ProgType
	off, vaddr, filesz uint64
}

// parse reads the parts of an ELF file that the loader needs to find libraries.
func parse(r io.ReaderAt, size int64) (*object, error) {
	segments, o, err := parseHeader(r, size)
	if err != nil {
		return nil, err
	}
	var dynamic []byte
	for _, s := range segments {
		switch s.kind {
		case elf.PT_INTERP:
			if o.interp, err = readInterp(r, s); err != nil {
				return nil, err
			}
		case elf.PT_DYNAMIC:
			if s.filesz > maxDynamic*dynamicSize {
				return nil, fmt.Errorf("%w: dynamic section of %d bytes", ErrFormat, s.filesz)
			}
			dynamic = make([]byte, s.filesz)
			if err := readFull(r, dynamic, s.off); err != nil {
				return nil, err
			}
		default: // nothing that the loader's search depends on
		}
	}
	if err := o.parseDynamic(r, dynamic, segments); err != nil {
		return nil, err
	}
	return o, nil
}

// parseHeader checks the ELF header and reads the program headers.
func parseHeader(r io.ReaderAt, size int64) ([]segment, *object, error) {
	var h [headerSize]byte
	err := readFull(r, h[:], 0)
	if errors.Is(err, ErrRead) {
		return nil, nil, err
	}
	if !bytes.HasPrefix(h[:], []byte(elf.ELFMAG)) {
		return nil, nil, fmt.Errorf("%w: not an ELF file", ErrUnsupported)
	}
	if err != nil {
		return nil, nil, err
	}
	le := binary.LittleEndian
	kind := elf.Type(le.Uint16(h[16:]))
	switch {
	case elf.Class(h[elf.EI_CLASS]) != elf.ELFCLASS64 || elf.Data(h[elf.EI_DATA]) != elf.ELFDATA2LSB:
		return nil, nil, fmt.Errorf("%w: not 64-bit little-endian", ErrUnsupported)
	case elf.Version(h[elf.EI_VERSION]) != elf.EV_CURRENT:
		return nil, nil, fmt.Errorf("%w: ELF version %d", ErrUnsupported, h[elf.EI_VERSION])
	case kind != elf.ET_EXEC && kind != elf.ET_DYN:
		return nil, nil, fmt.Errorf("%w: ELF type %d", ErrUnsupported, kind)
	}
	off, entry, n := le.Uint64(h[32:]), le.Uint16(h[54:]), le.Uint16(h[56:])
	if entry != segmentSize || n > maxSegments {
		return nil, nil, fmt.Errorf("%w: %d program headers of %d bytes", ErrFormat, n, entry)
	}
	raw := make([]byte, int(n)*segmentSize)
	if err := readFull(r, raw, off); err != nil {
		return nil, nil, err
	}
	segments := make([]segment, n)
	for i := range segments {
		b := raw[i*segmentSize:]
		s := segment{
			kind: elf.ProgType(le.Uint32(b)), off: le.Uint64(b[8:]), vaddr: le.Uint64(b[16:]), filesz: le.Uint64(b[32:]),
		}
		if s.off > uint64(size) || s.filesz > uint64(size)-s.off {
			return nil, nil, fmt.Errorf("%w: segment %d is outside the file", ErrFormat, i)
		}
		segments[i] = s
	}
	return segments, &object{machine: elf.Machine(le.Uint16(h[18:]))}, nil
}

// readFull reads exactly len(b) bytes at off.
func readFull(r io.ReaderAt, b []byte, off uint64) error {
	if off > math.MaxInt64-uint64(len(b)) {
		return fmt.Errorf("%w: offset %d", ErrFormat, off)
	}
	if len(b) == 0 {
		return nil
	}
	n, err := r.ReadAt(b, int64(off))
	switch {
	case n == len(b):
		return nil
	case errors.Is(err, io.EOF):
		return fmt.Errorf("%w: cut off at %d", ErrFormat, off)
	default:
		return fmt.Errorf("%w: %w", ErrRead, err)
	}
}

// readInterp reads the path of the interpreter: it ends with the one NUL that is
// the segment's last byte.
func readInterp(r io.ReaderAt, s segment) (string, error) {
	if s.filesz < 2 || s.filesz > maxString {
		return "", fmt.Errorf("%w: interpreter of %d bytes", ErrFormat, s.filesz)
	}
	b := make([]byte, s.filesz)
	if err := readFull(r, b, s.off); err != nil {
		return "", err
	}
	path, rest, found := bytes.Cut(b, []byte{0})
	if !found || len(rest) != 0 || len(path) == 0 || path[0] != '/' {
		return "", fmt.Errorf("%w: interpreter %q is not an absolute path", ErrFormat, b)
	}
	return string(path), nil
}

// table is the dynamic string table of a file.
type table struct {
	r         io.ReaderAt
	off, size uint64
}

// at returns the string at an offset of the table.
func (t *table) at(i uint64) (string, error) {
	if i >= t.size {
		return "", fmt.Errorf("%w: string %d is outside the table", ErrFormat, i)
	}
	b := make([]byte, min(maxString, t.size-i))
	if err := readFull(t.r, b, t.off+i); err != nil {
		return "", err
	}
	s, _, found := bytes.Cut(b, []byte{0})
	if !found {
		return "", fmt.Errorf("%w: string %d has no end", ErrFormat, i)
	}
	return string(s), nil
}

// locate finds the string table in the file by its address in memory.
func locate(r io.ReaderAt, segments []segment, addr, size uint64) (*table, error) {
	for _, s := range segments {
		if s.kind == elf.PT_LOAD && addr >= s.vaddr && addr-s.vaddr < s.filesz && size <= s.filesz-(addr-s.vaddr) {
			return &table{r, s.off + (addr - s.vaddr), size}, nil
		}
	}
	return nil, fmt.Errorf("%w: string table at %#x is in no segment", ErrFormat, addr)
}

// parseDynamic reads the dynamic section.
func (o *object) parseDynamic(r io.ReaderAt, b []byte, segments []segment) error {
	le := binary.LittleEndian
	type entry struct {
		tag   elf.DynTag
		value uint64
	}
	var strings []entry
	var addr, size uint64
	for ; len(b) >= dynamicSize; b = b[dynamicSize:] {
		e := entry{elf.DynTag(int64(le.Uint64(b))), le.Uint64(b[8:])}
		if e.tag == elf.DT_NULL {
			break
		}
		switch e.tag {
		case elf.DT_STRTAB:
			addr = e.value
		case elf.DT_STRSZ:
			size = e.value
		case elf.DT_FLAGS_1:
			o.noDefault = elf.DynFlag1(e.value)&elf.DF_1_NODEFLIB != 0
		case elf.DT_NEEDED, elf.DT_FILTER, elf.DT_SONAME, elf.DT_RPATH, elf.DT_RUNPATH:
			strings = append(strings, e)
		default: // nothing that the loader's search depends on
		}
		if len(strings) > maxNeeded {
			return fmt.Errorf("%w: more than %d dynamic strings", ErrFormat, maxNeeded)
		}
	}
	if len(strings) == 0 {
		return nil
	}
	t, err := locate(r, segments, addr, size)
	if err != nil {
		return err
	}
	for _, e := range strings {
		s, err := t.at(e.value)
		if err != nil {
			return err
		}
		o.set(e.tag, s)
	}
	return nil
}

// set takes one string of the dynamic section.
func (o *object) set(tag elf.DynTag, s string) {
	switch tag {
	case elf.DT_NEEDED, elf.DT_FILTER:
		o.needed = append(o.needed, s)
	case elf.DT_SONAME:
		o.soname = s
	case elf.DT_RPATH:
		o.rpath = s
	case elf.DT_RUNPATH:
		o.runpath, o.hasRunpath = s, true
	default: // parseDynamic keeps no other
	}
}
