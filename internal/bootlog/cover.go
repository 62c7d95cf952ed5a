package bootlog

import (
	"bytes"
	"encoding/binary"
	"unicode/utf16"

	"github.com/sworn-run/sworn/attest"
)

// Coverage tells what part of an event's data its digest covers.
type Coverage uint8

const (
	// CoversNothing means that the digest is that of something else, an image or a file
	// for the most part. The data is anybody's word.
	CoversNothing Coverage = 0
	// CoversData means all of it.
	CoversData Coverage = 1
	// CoversVariable means the value of a UEFI_VARIABLE_DATA (PFP, 10.4.2.2), not
	// its name.
	CoversVariable Coverage = 2
	// CoversTagged means the content of a TCG_PCClientTaggedEvent (PFP, 10.4.2.1),
	// not its number.
	CoversTagged Coverage = 3
	// CoversText means a text without the word before it, as GRUB logs it: in some
	// versions with the NUL after it, in others without.
	CoversText Coverage = 4
	// CoversName means an ASCII name with its NUL, which the log has in UTF-16, as
	// systemd-stub logs it.
	CoversName Coverage = 5
	// CoversHead means all but its last byte, as versions of shim log a
	// variable.
	CoversHead Coverage = 6
)

// String returns the name of the coverage.
func (c Coverage) String() string {
	switch c {
	case CoversNothing:
		return "nothing"
	case CoversData:
		return "data"
	case CoversVariable:
		return "variable"
	case CoversTagged:
		return "tagged"
	case CoversText:
		return "text"
	case CoversName:
		return "name"
	case CoversHead:
		return "head"
	default:
		return "unknown"
	}
}

// maxText bounds what is tried as a text or a name, so that each event is hashed
// a fixed number of times.
const maxText = 64 << 10

// Covered returns how the event's digest in a bank covers its data, and the very
// bytes that it covers. It looks at nothing but the digest and the data. The bank
// must be [attest.Alg.Accepted]; in any other nothing is covered.
func (e *Event) Covered(bank attest.Alg) (Coverage, []byte) {
	digest := e.Digest(bank)
	if !bank.Accepted() || digest == nil {
		return CoversNothing, nil
	}
	is := func(b []byte) bool { return bytes.Equal(bank.Sum(b), digest) }
	if is(e.Data) {
		return CoversData, e.Data
	}
	if v, err := parseVariable(e.Data); err == nil && is(v.Value) {
		return CoversVariable, v.Value
	}
	if b := tagged(e.Data); b != nil && is(b) {
		return CoversTagged, b
	}
	for _, b := range labelled(e.Data) {
		if is(b) {
			return CoversText, b
		}
	}
	if b := narrow(e.Data); b != nil && is(b) {
		return CoversName, b
	}
	if n := len(e.Data) - 1; n > 0 && is(e.Data[:n]) {
		return CoversHead, e.Data[:n]
	}
	return CoversNothing, nil
}

// tagged returns the content of a TCG_PCClientTaggedEvent; nil for anything else.
func tagged(b []byte) []byte {
	if len(b) < 8 || uint64(binary.LittleEndian.Uint32(b[4:])) != uint64(len(b)-8) {
		return nil
	}
	return b[8:]
}

// labelled returns what the digest of a labelled text may cover: "word: text" and a
// NUL without either, or "word text" with it.
func labelled(b []byte) [][]byte {
	if len(b) > maxText || len(b) == 0 || b[len(b)-1] != 0 {
		return nil
	}
	label, text, ok := bytes.Cut(b, []byte(" "))
	if !ok || len(label) == 0 || len(text) == 0 || bytes.IndexByte(label, 0) >= 0 {
		return nil
	}
	return [][]byte{text[:len(text)-1], text}
}

// narrow returns an ASCII text in UTF-16 as ASCII, its NUL included; nil for
// anything else.
func narrow(b []byte) []byte {
	if len(b) > maxText || len(b) < 4 || len(b)%2 != 0 {
		return nil
	}
	out := make([]byte, 0, len(b)/2)
	for i := 0; i < len(b); i += 2 {
		last := i == len(b)-2
		if b[i+1] != 0 || b[i] > 0x7E || b[i] == 0 != last {
			return nil
		}
		out = append(out, b[i])
	}
	return out
}

// UTF16 returns the encoding of a text in UTF-16LE with its NUL: what a boot
// loader or the kernel's EFI stub hashes of a command line.
func UTF16(text string) []byte {
	var out []byte
	for _, u := range utf16.Encode([]rune(text)) {
		out = binary.LittleEndian.AppendUint16(out, u)
	}
	return append(out, 0, 0)
}

// text16 returns the text that UTF16 would encode as exactly b.
func text16(b []byte) (string, bool) {
	if len(b) < 2 || len(b)%2 != 0 || len(b) > maxText {
		return "", false
	}
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = binary.LittleEndian.Uint16(b[2*i:])
	}
	text := string(utf16.Decode(units[:len(units)-1]))
	return text, bytes.Equal(UTF16(text), b) && !bytes.ContainsRune([]byte(text), 0)
}
