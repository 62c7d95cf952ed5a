package verifier

import (
	"encoding/json"
	"fmt"
	"io"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// PrintableJSON returns a writer that passes JSON texts on to w and escapes in them, as \u
// and four digits, what is not printable: controls that an encoder leaves as they are (U+007F,
// U+0080 to U+009F), marks that reorder what is read, what is invisible. A terminal obeys or
// misshows them, and no value changes: they stand in strings alone. Each Write must end with a
// whole character, as those of encoders do. The error is w's.
func PrintableJSON(w io.Writer) io.Writer { return printableJSON{w} }

type printableJSON struct{ w io.Writer }

// Write implements [io.Writer].
func (p printableJSON) Write(b []byte) (int, error) {
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); {
		r, size := utf8.DecodeRune(b[i:])
		if r == '\n' || unicode.IsPrint(r) {
			out = append(out, b[i:i+size]...)
		} else {
			for _, unit := range utf16.Encode([]rune{r}) {
				out = fmt.Appendf(out, "\\u%04x", unit)
			}
		}
		i += size
	}
	if _, err := p.w.Write(out); err != nil {
		return 0, fmt.Errorf("writing JSON: %w", err)
	}
	return len(b), nil
}

// WriteJSON writes the report as JSON, with a member "file" for the name of the record's
// file before the others: what the command line prints and what the page in a browser
// offers to save. Alone it is indented; among others it is one line. The error is the
// writer's.
func (r *Report) WriteJSON(w io.Writer, file string, alone bool) error {
	v := struct {
		File string `json:"file"`
		*Report
	}{file, r}
	enc := json.NewEncoder(PrintableJSON(w))
	enc.SetEscapeHTML(false)
	if alone {
		enc.SetIndent("", "  ")
	}
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}
