package elfdeps

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// Bounds on an ld.so.cache.
const (
	maxCache        = 64 << 20
	maxCacheEntries = 1 << 20
	maxExtensions   = 64
	maxHWCapNames   = 1024
)

// The format of ld.so.cache (glibc, sysdeps/generic/dl-cache.h).
const (
	oldMagic     = "ld.so-1.7.0"
	newMagic     = "glibc-ld.so.cache1.1"
	oldEntrySize = 12
	newHeader    = 48
	newEntrySize = 24
	// extensionMagic starts the extension directory.
	extensionMagic = 0xeaa42174
	// extensionHWCaps is the tag of the names of glibc-hwcaps subfolders.
	extensionHWCaps = 1
	// hwcapExtension in the high half of an entry's hwcap says that the low half
	// is an index into these names.
	hwcapExtension = 1 << 30
	// bigEndian is the value of the header's flags for the other byte order.
	bigEndian = 3
)

// cached is one library of the cache.
type cached struct {
	path  string
	hwcap string // glibc-hwcaps subfolder, or empty
}

// parseCache reads an ld.so.cache: for each library name its candidates in the
// cache's order. Entries for the legacy hardware capabilities, which glibc has
// given up, are left out.
func parseCache(b []byte) (map[string][]cached, error) {
	b, n, err := newFormat(b)
	if err != nil {
		return nil, err
	}
	names, err := hwcapNames(b)
	if err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	libs := make(map[string][]cached)
	for i := range n {
		e := b[newHeader+i*newEntrySize:]
		name, err := stringAt(b, le.Uint32(e[4:]))
		if err != nil {
			return nil, err
		}
		path, err := stringAt(b, le.Uint32(e[8:]))
		if err != nil {
			return nil, err
		}
		c := cached{path: path}
		switch hwcap := le.Uint64(e[16:]); {
		case hwcap == 0:
		case hwcap>>32 != hwcapExtension:
			continue
		case hwcap&0xffffffff >= uint64(len(names)):
			return nil, fmt.Errorf("%w: ld.so.cache entry %d has no subfolder", ErrFormat, i)
		default:
			c.hwcap = names[hwcap&0xffffffff]
		}
		libs[name] = append(libs[name], c)
	}
	return libs, nil
}

// newFormat finds the cache in the format that glibc has written since 2.2, by
// itself or behind one in the old format, and checks its size.
func newFormat(b []byte) (rest []byte, entries int, err error) {
	le := binary.LittleEndian
	if len(b) > maxCache {
		return nil, 0, fmt.Errorf("%w: ld.so.cache of %d bytes", ErrFormat, len(b))
	}
	if bytes.HasPrefix(b, []byte(oldMagic)) && len(b) >= len(oldMagic)+5 {
		start := uint64(len(oldMagic)+5) + uint64(le.Uint32(b[len(oldMagic)+1:]))*oldEntrySize
		start = (start + 7) &^ 7 // ALIGN_CACHE
		if start > uint64(len(b)) {
			return nil, 0, fmt.Errorf("%w: old ld.so.cache is cut off", ErrFormat)
		}
		b = b[start:]
	}
	if !bytes.HasPrefix(b, []byte(newMagic)) || len(b) < newHeader {
		return nil, 0, fmt.Errorf("%w: not an ld.so.cache", ErrFormat)
	}
	n := le.Uint32(b[20:])
	if b[28] == bigEndian || n > maxCacheEntries || uint64(n)*newEntrySize > uint64(len(b)-newHeader) {
		return nil, 0, fmt.Errorf("%w: ld.so.cache with %d entries, flags %d", ErrFormat, n, b[28])
	}
	return b, int(n), nil
}

// hwcapNames reads the names of the glibc-hwcaps subfolders from the extension
// directory, if there is one.
func hwcapNames(b []byte) ([]string, error) {
	le := binary.LittleEndian
	bad := fmt.Errorf("%w: ld.so.cache extension", ErrFormat)
	off := uint64(le.Uint32(b[32:]))
	if off == 0 {
		return nil, nil
	}
	if off%4 != 0 || off+8 > uint64(len(b)) || le.Uint32(b[off:]) != extensionMagic {
		return nil, bad
	}
	count := uint64(le.Uint32(b[off+4:]))
	if count > maxExtensions || off+8+count*16 > uint64(len(b)) {
		return nil, bad
	}
	var names []string
	for i := range count {
		s := b[off+8+i*16:]
		at, size := uint64(le.Uint32(s[8:])), uint64(le.Uint32(s[12:]))
		if le.Uint32(s) != extensionHWCaps {
			continue
		}
		if size%4 != 0 || size/4 > maxHWCapNames || at+size > uint64(len(b)) || names != nil {
			return nil, bad
		}
		for j := range size / 4 {
			name, err := stringAt(b, le.Uint32(b[at+4*j:]))
			if err != nil {
				return nil, err
			}
			names = append(names, name)
		}
	}
	return names, nil
}

// stringAt returns the NUL-ended string at an offset of the cache.
func stringAt(b []byte, off uint32) (string, error) {
	if uint64(off) >= uint64(len(b)) {
		return "", fmt.Errorf("%w: ld.so.cache string %d is outside", ErrFormat, off)
	}
	b = b[off:min(uint64(off)+maxString, uint64(len(b)))]
	s, _, found := bytes.Cut(b, []byte{0})
	if !found {
		return "", fmt.Errorf("%w: ld.so.cache string %d has no end", ErrFormat, off)
	}
	return string(s), nil
}
