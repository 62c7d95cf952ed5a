package bootlog

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"unicode/utf16"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/limits"
)

// GUID is an EFI_GUID as it stands in memory: the first three fields are
// little-endian (UEFI 2.10, appendix A).
type GUID [16]byte

// String returns the GUID as it is written, such as
// "8be4df61-93ca-11d2-aa0d-00e098032b8c".
func (g GUID) String() string {
	var b [16]byte
	binary.BigEndian.PutUint32(b[0:], binary.LittleEndian.Uint32(g[0:]))
	binary.BigEndian.PutUint16(b[4:], binary.LittleEndian.Uint16(g[4:]))
	binary.BigEndian.PutUint16(b[6:], binary.LittleEndian.Uint16(g[6:]))
	copy(b[8:], g[8:])
	s := hex.EncodeToString(b[:])
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

// The namespaces of the Secure Boot variables (UEFI 2.10, 3.3 and 32.4.1), and
// types of signatures.
const (
	// GlobalVariable is the namespace of SecureBoot, PK and KEK.
	GlobalVariable = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
	// SecurityDatabase is the namespace of db and dbx.
	SecurityDatabase = "d719b2cb-3d3a-4596-a3bc-dad00e67656f"
	// CertX509 is the type of signatures that are DER certificates.
	CertX509 = "a5c059a1-94e4-4aa7-87b5-ab155c2bf072"
	// CertSHA256 is the type of signatures that are Authenticode digests.
	CertSHA256 = "c1c41626-504c-4092-aca9-41f936934328"
)

// maxVariableName is the longest name of a variable, in UTF-16 units.
const maxVariableName = 256

// variable is a UEFI_VARIABLE_DATA (PFP, 10.4.2.2).
type variable struct {
	GUID  GUID
	Name  string
	Value []byte
}

// parseVariable parses exactly a UEFI_VARIABLE_DATA.
func parseVariable(b []byte) (*variable, error) {
	r := reader{b: b}
	var v variable
	copy(v.GUID[:], r.take(16))
	name, size := r.u64(), r.u64()
	if r.short || name > maxVariableName || size > limits.BootEventData {
		return nil, fmt.Errorf("variable: %w", attest.ErrForm)
	}
	text, ok := text16(append(bytes.Clone(r.take(2*name)), 0, 0))
	v.Name, v.Value = text, r.take(size)
	if !ok || !r.done() {
		return nil, fmt.Errorf("variable is truncated, has trailing bytes or a name that is no text: %w", attest.ErrForm)
	}
	return &v, nil
}

// marshal writes a UEFI_VARIABLE_DATA.
func (v *variable) marshal() []byte {
	name := UTF16(v.Name)
	name = name[:len(name)-2]
	b := bytes.Clone(v.GUID[:])
	b = binary.LittleEndian.AppendUint64(b, uint64(len(name)/2))
	b = binary.LittleEndian.AppendUint64(b, uint64(len(v.Value)))
	return append(append(b, name...), v.Value...)
}

// Signature is one entry of a Secure Boot database: an EFI_SIGNATURE_DATA with the
// type of its list (UEFI 2.10, 32.4.1).
type Signature struct {
	// Type is what Data is, such as [CertX509] or [CertSHA256].
	Type GUID
	// Owner is who put it there.
	Owner GUID
	// Data is not interpreted; it aliases the input.
	Data []byte
}

// ParseSignatures parses exactly a sequence of EFI_SIGNATURE_LISTs, which may be
// empty: at most 65,536 signatures in order. The error wraps [attest.ErrForm].
func ParseSignatures(b []byte) ([]Signature, error) {
	if len(b) > limits.BootEventData {
		return nil, fmt.Errorf("signature lists of %d bytes, limit %d: %w", len(b), limits.BootEventData, attest.ErrForm)
	}
	var out []Signature
	for r := (reader{b: b}); !r.done(); {
		var kind GUID
		copy(kind[:], r.take(16))
		list, header, size := r.u32(), r.u32(), r.u32()
		const fixed = 28
		if r.short || list < fixed || header > list-fixed || size <= 16 {
			return nil, fmt.Errorf("signature list of %d bytes, header %d, signatures %d: %w", list, header, size, attest.ErrForm)
		}
		r.take(uint64(header))
		body := reader{b: r.take(uint64(list - fixed - header))}
		if r.short || uint64(len(body.b))%uint64(size) != 0 || len(out)+len(body.b)/int(size) > limits.Signatures {
			return nil, fmt.Errorf("signature list of %d bytes with signatures of %d: %w", list, size, attest.ErrForm)
		}
		for len(body.b) > 0 {
			s := Signature{Type: kind}
			copy(s.Owner[:], body.take(16))
			s.Data = body.take(uint64(size - 16))
			out = append(out, s)
		}
	}
	return out, nil
}

// Partition is an entry of a GUID partition table (UEFI 2.10, 5.3.3).
type Partition struct {
	// Type and ID are the type and the unique GUID.
	Type, ID GUID
	// First and Last are block numbers, both inclusive.
	First, Last uint64
	// Name is its name.
	Name string
}

// Disk is the partition table of the disk that was booted from.
type Disk struct {
	// ID is the disk's GUID.
	ID GUID
	// Partitions are those in use, in order.
	Partitions []Partition
}

// parseDisk parses exactly a UEFI_GPT_DATA (PFP, 10.4.2.3).
func parseDisk(b []byte) (*Disk, error) {
	r := reader{b: b}
	if !bytes.Equal(r.take(8), []byte("EFI PART")) {
		return nil, fmt.Errorf("partition table: signature: %w", attest.ErrForm)
	}
	var d Disk
	// Revision, header size and checksum, reserved; four block numbers.
	r.take(16 + 32)
	copy(d.ID[:], r.take(16))
	// Where the entries start, how many there are.
	r.take(8 + 4)
	size := r.u32()
	// Their checksum; then the count that the log has.
	r.take(4)
	n := r.u64()
	if r.short || size < 128 || size > 4096 || n > limits.Partitions {
		return nil, fmt.Errorf("partition table of %d entries of %d bytes: %w", n, size, attest.ErrForm)
	}
	for range n {
		e := reader{b: r.take(uint64(size))}
		if r.short {
			break
		}
		var p Partition
		copy(p.Type[:], e.take(16))
		copy(p.ID[:], e.take(16))
		p.First, p.Last = e.u64(), e.u64()
		// Attributes.
		e.take(8)
		p.Name = partitionName(e.take(72))
		d.Partitions = append(d.Partitions, p)
	}
	if !r.done() {
		return nil, fmt.Errorf("partition table is truncated or has trailing bytes: %w", attest.ErrForm)
	}
	return &d, nil
}

// partitionName decodes a name up to its first NUL.
func partitionName(b []byte) string {
	var units []uint16
	for ; len(b) >= 2 && (b[0] != 0 || b[1] != 0); b = b[2:] {
		units = append(units, binary.LittleEndian.Uint16(b))
	}
	return string(utf16.Decode(units))
}
