package launch

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

// The GUIDs of the table of hashes, as they stand there (QEMU, target/i386/sev.c).
const (
	guidTable   = "06d63894224fc94cb479a793d411fd21"
	guidKernel  = "3794e74dd2ab7f42b835d5b172d2045b"
	guidInitrd  = "31f7ba442f3ad74b9af141e29169781d"
	guidCmdline = "d82dd09720bd944caa78e7714d36ab2a"
)

// tableSize is the size of the table: its own GUID and length, and three entries of a
// GUID, a length and a hash. It is padded to a multiple of 16 bytes.
const tableSize = 18 + 3*(18+sha256.Size)

// page returns the page with the table of hashes, which goes to an address in memory.
func (b *Boot) page(address uint32) ([]byte, error) {
	at := int(address % pageSize)
	if address == 0 || at+(tableSize+15)&^15 > pageSize {
		return nil, fmt.Errorf("no place for the hashes of a kernel at 0x%x: %w", address, ErrImage)
	}
	table := header(guidTable, tableSize)
	for _, e := range []struct {
		guid string
		hash [sha256.Size]byte
	}{
		// The firmware compares the command line with the NUL that ends it.
		{guidCmdline, sha256.Sum256(append([]byte(b.Cmdline), 0))},
		{guidInitrd, b.Initrd},
		{guidKernel, b.Kernel},
	} {
		table = append(append(table, header(e.guid, 18+sha256.Size)...), e.hash[:]...)
	}
	page := make([]byte, pageSize)
	copy(page[at:], table)
	return page, nil
}

// header returns a GUID and a length of 2 bytes.
func header(guid string, size uint16) []byte {
	b, err := hex.DecodeString(guid)
	if err != nil {
		return nil // The test of the published digests fails then.
	}
	return binary.LittleEndian.AppendUint16(b, size)
}
