package verifier

import (
	"encoding/json"
	"fmt"
	"io"
)

// WriteJSON writes the report as JSON, with a member "file" for the name of the record's
// file before the others: what the command line prints and what the page in a browser
// offers to save. Alone it is indented; among others it is one line. The error is the
// writer's.
func (r *Report) WriteJSON(w io.Writer, file string, alone bool) error {
	v := struct {
		File string `json:"file"`
		*Report
	}{file, r}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	if alone {
		enc.SetIndent("", "  ")
	}
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}
