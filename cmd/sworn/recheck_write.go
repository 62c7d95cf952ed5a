package main

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/sworn-run/sworn/verifier"
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
		enc := json.NewEncoder(verifier.PrintableJSON(w))
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

// rowStyle is the page's style sheet. On a narrow screen each row is a block.
const rowStyle = `
:root{color-scheme:light dark;--line:#c9d0d8;--pass:#eaf5ee;--fail:#fcecec;--none:#eceff2;--soft:#525b66}
@media (prefers-color-scheme:dark){:root{--line:#3c444d;--pass:#16281e;--fail:#2f191a;--none:#23282e;--soft:#a9b3bd}}
body{font:15px/1.45 system-ui,"Segoe UI",Roboto,"Liberation Sans","DejaVu Sans",sans-serif;margin:0 auto;padding:1.5rem 1rem;max-width:76rem;overflow-wrap:anywhere}
h1{font-size:1.5rem;margin:0 0 .5rem}p{margin:.4rem 0}
code{font:.82em/1.4 ui-monospace,Menlo,Consolas,"DejaVu Sans Mono",monospace;color:var(--soft)}
table{border-collapse:collapse;width:100%;margin:1rem 0}
td,th{border-bottom:1px solid var(--line);padding:.4rem .6rem;text-align:left;vertical-align:top;font-weight:400}
thead th{border-bottom:2px solid;font-weight:600}
.verdict{white-space:nowrap;font-weight:600}
.trusted .verdict{background:var(--pass)}.not-trusted .verdict{background:var(--fail)}.unreadable .verdict{background:var(--none)}
bdi{unicode-bidi:isolate}
@media (max-width:44rem){thead{display:none}tr,td,th{display:block;border:0}tr{border-bottom:1px solid var(--line);padding:.4rem 0}td,tbody th{padding:.15rem .4rem}}
@media print{body{max-width:none;padding:0}tr{break-inside:avoid}}
`

// rowPolicy is the page's content security policy: that style sheet and nothing else.
func rowPolicy() string {
	sum := sha256.Sum256([]byte(rowStyle))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; form-action 'none'"
}

// rowTemplate parses a piece of the page. Everything in it that is not of these lines is
// escaped; "line" makes what comes from files one printable line, without marks that
// reorder what is read.
func rowTemplate(text string) *template.Template {
	return template.Must(template.New("").Funcs(template.FuncMap{
		"line": line, "policy": rowPolicy, "style": func() template.CSS { return rowStyle },
	}).Parse(text))
}

// The page, in three pieces.
var (
	pageHead = rowTemplate(`<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{{policy}}">
<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="referrer" content="no-referrer">
<title>Records checked anew on {{line .Time}}</title>
<style>{{style}}</style></head><body>
<h1>Records checked anew</h1>
<p>As of {{line .Time}}{{if .Against}}, compared with <bdi>{{line .Against}}</bdi>{{end}}. Ledgers: {{line .Text}}.</p>
<p>Policy <code>{{line .Policy}}</code>, roots <code>{{line .Roots}}</code>, <code>{{line .Verifier}}</code></p>
<table><thead><tr><th scope="col">verdict</th>{{if .Compared}}<th scope="col">change</th>{{end}}<th scope="col">record</th><th scope="col">why</th></tr></thead><tbody>
`)
	pageRow = rowTemplate(`<tr class="{{.Class}}"><td class="verdict">{{line .Status}}</td>{{if .Compared}}<td>{{line .Change}}{{if .Was}}, was {{line .Was}}{{end}}</td>{{end}}` +
		`<th scope="row"><bdi>{{line .Path}}</bdi>{{if .SHA256}}<br><code>{{line .SHA256}}</code>{{end}}</th>` +
		`<td>{{range $i, $l := .Lines}}{{if $i}}<br>{{end}}<bdi>{{line $l}}</bdi>{{end}}</td></tr>
`)
	pageEnd = rowTemplate(`</tbody></table>
<p>{{line .}}</p>
</body></html>
`)
)
