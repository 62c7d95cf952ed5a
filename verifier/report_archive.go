package verifier

import (
	"encoding/json"
	"fmt"
	"io"
)

// ArchiveReportType is the type and version of an [ArchiveReport].
const ArchiveReportType = "sworn.archive-report/v1"

// ArchiveReport is what is said of an archive of records (docs/SPEC.md, section 11) after
// what is said of each. The zero value says that nothing is trusted.
type ArchiveReport struct {
	// Type is ArchiveReportType.
	Type string `json:"type"`
	// File is the name of the archive.
	File string `json:"file"`
	// Trusted tells that the archive was read to its end, and that every record of it is
	// trusted.
	Trusted bool `json:"trusted"`
	// Error says why the archive was not read to its end, or is none; empty if it was.
	Error string `json:"error,omitempty"`
	// Records were judged, TrustedRecords of them are trusted.
	Records        uint64 `json:"records,string"`
	TrustedRecords uint64 `json:"trustedRecords,string"`
	// Sets counts the statements with their evidence.
	Sets uint64 `json:"sets,string"`
	// SHA256 is the digest of the archive, in hexadecimal.
	SHA256 string `json:"sha256"`
	// MadeBy is the program that made it, by its own word.
	MadeBy string `json:"madeBy"`

	// Refused is the first report that is not trusted, if any.
	Refused *Report `json:"-"`
}

// Count counts a record of a set, which are numbered from 1.
func (a *ArchiveReport) Count(set uint64, r *Report) {
	a.Records++
	a.Sets = set
	if r.Trusted {
		a.TrustedRecords++
	} else if a.Refused == nil {
		a.Refused = r
	}
}

// End says how reading the archive ended: reason is empty if it was whole.
func (a *ArchiveReport) End(reason string) {
	a.Type, a.Error = ArchiveReportType, oneLine(reason)
	a.Trusted = reason == "" && a.Records > 0 && a.TrustedRecords == a.Records
}

// Headline says in one line what [ArchiveReport.End] found.
func (a *ArchiveReport) Headline() string {
	switch {
	case a.Error != "":
		return fmt.Sprintf("not trusted: archive: %s; %d of the %d records before that are trusted", a.Error, a.TrustedRecords, a.Records)
	case !a.Trusted:
		return fmt.Sprintf("not trusted: %d of %d records; %d are trusted", a.Records-a.TrustedRecords, a.Records, a.TrustedRecords)
	default:
		return fmt.Sprintf("all %d records are trusted", a.Records)
	}
}

// WriteJSON writes the report as one line of JSON. The error is the writer's.
func (a *ArchiveReport) WriteJSON(w io.Writer) error { return writeLine(w, a) }

// WriteArchiveJSON writes the report on a record of an archive as one line of JSON, with
// the names of both before the other members. The error is the writer's.
func (r *Report) WriteArchiveJSON(w io.Writer, file, record string) error {
	return writeLine(w, struct {
		File   string `json:"file"`
		Record string `json:"record"`
		*Report
	}{file, record, r})
}

// writeLine writes one line of JSON.
func writeLine(w io.Writer, v any) error {
	enc := json.NewEncoder(PrintableJSON(w))
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}
