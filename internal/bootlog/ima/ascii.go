package ima

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/limits"
)

// ParseASCII parses a whole list as read from ascii_runtime_measurements, by making
// of it the binary list that the kernel would have shown beside it. The lines are
// bounded as the entries of [Parse] are. Templates ima-ng, ima-sig and ima-buf can
// be read back; a line of another one is refused, because what the kernel hashed of
// it is not in the text. The digest on each line must be that of what was read back:
// SHA-1, or that of another bank, of which kernels since 6.10 have a list each.
//
// Every error wraps [attest.ErrForm].
func ParseASCII(b []byte) (*List, error) {
	if len(b) == 0 || len(b) > limits.BootLog {
		return nil, fmt.Errorf("ima list of %d bytes, want 1 to %d: %w", len(b), limits.BootLog, attest.ErrForm)
	}
	var out []byte
	n := 0
	for line := range bytes.Lines(b) {
		n++
		if n > limits.IMAEntries {
			return nil, fmt.Errorf("ima list of more than %d entries: %w", limits.IMAEntries, attest.ErrForm)
		}
		entry, err := readLine(bytes.TrimSuffix(line, []byte("\n")))
		if err != nil {
			return nil, fmt.Errorf("ima list, line %d: %w", n, err)
		}
		out = append(out, entry...)
	}
	return Parse(out)
}

// readLine makes the binary entry of a line: register, digest, template, digest of
// the file, path, and for two templates one more field in hexadecimal. A path has no
// blank, because the kernel writes another character for it.
func readLine(line []byte) ([]byte, error) {
	words := bytes.Split(line, []byte(" "))
	for len(words) > 5 && len(words[len(words)-1]) == 0 {
		words = words[:len(words)-1] // The field that is empty.
	}
	if len(words) < 5 || len(words) > 6 {
		return nil, fmt.Errorf("%d words: %w", len(words), attest.ErrForm)
	}
	index, err := strconv.ParseUint(string(words[0]), 10, 5)
	if err != nil {
		return nil, fmt.Errorf("register %.10q: %w", words[0], attest.ErrForm)
	}
	said, err := hex.DecodeString(string(words[1]))
	if err != nil {
		return nil, fmt.Errorf("template digest: %w", attest.ErrForm)
	}
	data, err := templateData(words[2:])
	if err != nil {
		return nil, err
	}
	violation, err := checkLine(said, data)
	if err != nil {
		return nil, err
	}
	sum := attest.SHA1.Sum(data)
	if violation {
		sum = make([]byte, sizeSHA1)
	}
	out := binary.LittleEndian.AppendUint32(nil, uint32(index))
	out = append(out, sum...)
	out = appendField(out, words[2])
	return appendField(out, data), nil
}

// checkLine compares a line's digest with that of its data; it returns true for the
// zeros that stand for a violation.
func checkLine(said, data []byte) (violation bool, err error) {
	for _, a := range []attest.Alg{attest.SHA1, attest.SHA256, attest.SHA384, attest.SHA512} {
		switch {
		case len(said) != a.Size():
		case bytes.Equal(said, make([]byte, len(said))):
			return true, nil
		case bytes.Equal(said, a.Sum(data)):
			return false, nil
		default:
			return false, fmt.Errorf("template digest is not that of the line: %w", attest.ErrForm)
		}
	}
	return false, fmt.Errorf("template digest of %d bytes: %w", len(said), attest.ErrForm)
}

// templateData returns what the kernel hashes of a line's template, digest, path
// and further field.
func templateData(words [][]byte) ([]byte, error) {
	template := string(words[0])
	further := len(words) == 4
	if template != "ima-ng" && template != "ima-sig" && template != "ima-buf" || template == "ima-ng" && further {
		return nil, fmt.Errorf("template %.40q of %d words: %w", template, len(words), attest.ErrForm)
	}
	alg, text, ok := bytes.Cut(words[1], []byte(":"))
	digest, err := hex.DecodeString(string(text))
	if !ok || err != nil {
		return nil, fmt.Errorf("digest of a file: %w", attest.ErrForm)
	}
	out := appendField(nil, append(append(bytes.Clone(alg), ":\x00"...), digest...))
	out = appendField(out, append(bytes.Clone(words[2]), 0))
	if template == "ima-ng" {
		return out, nil
	}
	var last []byte
	if further {
		if last, err = hex.DecodeString(string(words[3])); err != nil {
			return nil, fmt.Errorf("last field of template %s: %w", template, attest.ErrForm)
		}
	}
	return appendField(out, last), nil
}

// appendField appends a length and that many bytes.
func appendField(out, b []byte) []byte {
	out = binary.LittleEndian.AppendUint32(out, uint32(len(b)))
	return append(out, b...)
}
