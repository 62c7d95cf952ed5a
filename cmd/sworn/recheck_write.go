package main

import (
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"maps"
	"slices"
	"strings"
)

// rowWriter writes what recheck finds, as it comes.
type rowWriter interface {
	head(*recheckHead) error
	row(*recheckRow) error
	sums(*recheckSums) error
}

// newRowWriter returns the writer of the format.
func newRowWriter(w io.Writer, f *recheckFlags, head *recheckHead) rowWriter {
	switch f.format {
	case formatJSON:
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		return &jsonRows{enc}
	case formatHTML:
		return &htmlRows{w: w, compared: head.Against != "" || f.against != ""}
	default:
		return &textRows{w: w, all: f.all}
	}
}

// jsonRows writes a line for each.
type jsonRows struct{ enc *json.Encoder }

func (w *jsonRows) head(h *recheckHead) error { return w.enc.Encode(h) }
func (w *jsonRows) row(r *recheckRow) error   { return w.enc.Encode(r) }
func (w *jsonRows) sums(s *recheckSums) error { return w.enc.Encode(s) }

// textRows writes a table for people.
type textRows struct {
	w   io.Writer
	all bool
}

func (w *textRows) head(h *recheckHead) error {
	text := "as of " + h.Time + ", by " + line(ledgerLine(h.Ledgers))
	if h.Against != "" {
		text += "; compared with " + line(h.Against)
	}
	_, err := fmt.Fprintln(w.w, text)
	return err
}

func (w *textRows) row(r *recheckRow) error {
	if !w.all && r.Status == rowTrusted && (r.Change == "" || r.Change == changeSame) {
		return nil
	}
	text := r.Status
	if r.Change != "" {
		text = fmt.Sprintf("%-9s %s", r.Change, r.Status)
		if r.Was != "" && r.Was != r.Status {
			text += ", was " + r.Was
		}
	}
	if _, err := fmt.Fprintf(w.w, "%-24s %s\n", text, line(r.Path)); err != nil {
		return err
	}
	for _, l := range r.lines() {
		if _, err := fmt.Fprintf(w.w, "%-24s   %s\n", "", line(l)); err != nil {
			return err
		}
	}
	return nil
}

// lines are what a row says beside its status: the headline, and what changed unless the
// headline has said it.
func (r *recheckRow) lines() []string {
	out := []string{strings.TrimPrefix(r.Headline, rowNotTrusted+": ")}
	for _, why := range r.Why {
		if why != r.Headline {
			out = append(out, why)
		}
	}
	return out
}

func (w *textRows) sums(s *recheckSums) error {
	_, err := fmt.Fprintln(w.w, s.text())
	return err
}

// text sums up in one line.
func (s *recheckSums) text() string {
	parts := []string{fmt.Sprintf("%d records", s.Records)}
	for _, status := range []string{rowTrusted, rowNotTrusted, rowUnreadable} {
		if n := s.ByStatus[status]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, status))
		}
	}
	text := strings.Join(parts, ", ")
	var changes []string
	for _, c := range slices.Sorted(maps.Keys(s.ByChange)) {
		changes = append(changes, fmt.Sprintf("%d %s", s.ByChange[c], c))
	}
	if changes != nil {
		text += "; " + strings.Join(changes, ", ")
	}
	if s.NotLooked > 0 {
		text += fmt.Sprintf("; %d other files", s.NotLooked)
	}
	return text
}

// htmlRows writes one page that loads nothing.
type htmlRows struct {
	w        io.Writer
	compared bool
}

func (w *htmlRows) head(h *recheckHead) error {
	return pageHead.Execute(w.w, struct {
		*recheckHead
		Text     string
		Compared bool
	}{h, ledgerLine(h.Ledgers), w.compared})
}

func (w *htmlRows) row(r *recheckRow) error {
	return pageRow.Execute(w.w, struct {
		*recheckRow
		Lines    []string
		Class    string
		Compared bool
	}{r, r.lines(), strings.ReplaceAll(r.Status, " ", "-"), w.compared})
}

func (w *htmlRows) sums(s *recheckSums) error { return pageEnd.Execute(w.w, s.text()) }

// The page, in three pieces. Everything in it that is not of these lines is escaped.
var (
	pageHead = template.Must(template.New("head").Parse(`<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Records checked anew on {{.Time}}</title>
<style>
body{font:14px/1.4 sans-serif;margin:2em}table{border-collapse:collapse;width:100%}
td,th{border:1px solid #bbb;padding:.3em .6em;text-align:left;vertical-align:top;overflow-wrap:anywhere}
.trusted td:first-child{background:#dff0d8}.not-trusted td:first-child{background:#f2c4c4}.unreadable td:first-child{background:#e0e0e0}
code{font-size:12px}
</style></head><body>
<h1>Records checked anew</h1>
<p>As of {{.Time}}{{if .Against}}, compared with {{.Against}}{{end}}. Ledgers: {{.Text}}.</p>
<p>Policy <code>{{.Policy}}</code>, roots <code>{{.Roots}}</code>, <code>{{.Verifier}}</code></p>
<table><thead><tr><th>verdict</th>{{if .Compared}}<th>change</th>{{end}}<th>record</th><th>why</th></tr></thead><tbody>
`))
	pageRow = template.Must(template.New("row").Parse(`<tr class="{{.Class}}"><td>{{.Status}}</td>{{if .Compared}}<td>{{.Change}}{{if .Was}}, was {{.Was}}{{end}}</td>{{end}}<td>{{.Path}}{{if .SHA256}}<br><code>{{.SHA256}}</code>{{end}}</td><td>{{range $i, $l := .Lines}}{{if $i}}<br>{{end}}{{$l}}{{end}}</td></tr>
`))
	pageEnd = template.Must(template.New("end").Parse(`</tbody></table>
<p>{{.}}</p>
</body></html>
`))
)
