package canon

import "bytes"

// FewValues reports whether a text has at most that many commas and colons
// outside of strings, and so not many more values. It relies on no grammar and
// builds nothing: each value costs a reader many times its own length.
func FewValues(b []byte, most int) bool {
	return len(b) <= most || count(b, most) <= most
}

// Values returns the number of commas and colons outside of strings.
func Values(b []byte) int { return count(b, len(b)) }

// count counts commas and colons outside of strings, no further than shows that there
// are more than most.
func count(b []byte, most int) int {
	n := 0
	for i := 0; i < len(b) && n <= most; {
		switch b[i] {
		case '"':
			i = skipString(b, i)
			continue
		case ',', ':':
			n++
		}
		i++
	}
	return n
}

// skipString returns the index after the string that begins at i; of a string
// without an end, the end of the text.
func skipString(b []byte, i int) int {
	i++
	end := bytes.IndexByte(b[i:], '"')
	if end < 0 {
		return len(b)
	}
	escape := bytes.IndexByte(b[i:i+end], '\\')
	if escape < 0 {
		return i + end + 1
	}
	for i += escape; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(b)
}
