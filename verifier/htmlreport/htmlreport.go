// Package htmlreport writes reports as one HTML document to file away: it holds no
// script, names no other file and no address, and shows whatever a hostile record says of
// itself as text. It is pure code; a browser that runs it shows the same bytes.
package htmlreport

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"

	"github.com/sworn-run/sworn/verifier"
)

// Record is one record's report.
type Record struct {
	// File is the name of the record's file, for people; it may be empty.
	File string
	// Report is what was found. Nil is written as a report that says nothing.
	Report *verifier.Report
}

// Policy is the document's content security policy: nothing may be loaded, run, sent or
// framed, and the one style sheet is the one whose digest stands in it.
func Policy() string {
	sum := sha256.Sum256([]byte(styleSheet))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; img-src data:; base-uri 'none'; form-action 'none'"
}

// Render returns a document in UTF-8 with a section for each record. The same reports
// give the same bytes.
func Render(records ...Record) []byte {
	p := &page{}
	p.b = append(p.b, "<!DOCTYPE html>\n"...)
	p.in(elHTML, func() {
		p.in(elHead, func() { p.head(records) })
		p.in(elBody, func() {
			if len(records) != 1 {
				p.in(elHeader, func() { p.overview(records) })
			}
			p.in(elMain, func() {
				for i := range records {
					newDocument(p, records, i).write()
				}
			})
			p.in(elFooter, func() {
				p.with(elP, "This document holds no script and loads nothing. It is not signed, and anybody can write one like it: what counts is the record. To rely on it, verify the record again, with the policy and the roots whose digests stand here.")
			})
		})
	}, attribute{"lang", "en"})
	return p.b
}

// newDocument returns what writes record number i.
func newDocument(p *page, records []Record, i int) *document {
	d := &document{page: p, file: records[i].File, r: records[i].Report, n: i + 1, title: elH1, sub: elH2, minor: elH3}
	if d.r == nil {
		d.r = &verifier.Report{}
	}
	if d.many = len(records) > 1; d.many {
		d.title, d.sub, d.minor = elH2, elH3, elH4
	}
	return d
}

// head writes what stands in the head.
func (p *page) head(records []Record) {
	p.tag(elMeta, []attribute{{"charset", "utf-8"}})
	p.tag(elMeta, []attribute{{"http-equiv", "Content-Security-Policy"}, {"content", Policy()}})
	p.tag(elMeta, []attribute{{"name", "viewport"}, {"content", "width=device-width, initial-scale=1"}})
	p.tag(elMeta, []attribute{{"name", "referrer"}, {"content", "no-referrer"}})
	p.tag(elMeta, []attribute{{"name", "color-scheme"}, {"content", "light dark"}})
	title := fmt.Sprintf("Sworn: report on %d records", len(records))
	if len(records) == 1 {
		title = "Sworn: report"
		if r := records[0].Report; r != nil {
			title = "Sworn: " + verdictWord(r)
		}
		if f := records[0].File; f != "" {
			title += ": " + f
		}
	}
	p.vector = true // no element stands in a title
	p.with(elTitle, title)
	p.vector = false
	p.tag(elStyle, nil)
	p.b = append(p.b, styleSheet...)
	p.b = append(p.b, "</style>\n"...)
}

// overview lists the records of a document that has several.
func (p *page) overview(records []Record) {
	p.in(elP, func() { p.text("Sworn verification report") }, class("kind"))
	p.with(elH1, fmt.Sprintf("%d records", len(records)))
	p.in(elOL, func() {
		for _, x := range records {
			p.in(elLI, func() {
				if x.Report != nil {
					p.badge(verdictClass(x.Report), verdictWord(x.Report))
				}
				p.with(elCode, x.File)
			})
		}
	}, class("records"))
}

// verdictWord is the verdict in two words.
func verdictWord(r *verifier.Report) string {
	if r.Trusted {
		return "trusted"
	}
	return "not trusted"
}

// verdictClass is the look of a verdict.
func verdictClass(r *verifier.Report) string {
	if r.Trusted {
		return statusClass(passed)
	}
	return statusClass(failed)
}
