package htmlreport

import (
	"fmt"
	"strconv"
	"unicode"
	"unicode/utf8"
)

// The elements that a report is made of. There is no other way to write one.
type element string

const (
	elHTML    element = "html"
	elHead    element = "head"
	elBody    element = "body"
	elMeta    element = "meta"
	elTitle   element = "title"
	elStyle   element = "style"
	elHeader  element = "header"
	elMain    element = "main"
	elFooter  element = "footer"
	elSection element = "section"
	elH1      element = "h1"
	elH2      element = "h2"
	elH3      element = "h3"
	elH4      element = "h4"
	elP       element = "p"
	elSpan    element = "span"
	elCode    element = "code"
	elBDI     element = "bdi"
	elDL      element = "dl"
	elDT      element = "dt"
	elDD      element = "dd"
	elDiv     element = "div"
	elOL      element = "ol"
	elLI      element = "li"
	elTable   element = "table"
	elCaption element = "caption"
	elThead   element = "thead"
	elTbody   element = "tbody"
	elTR      element = "tr"
	elTH      element = "th"
	elTD      element = "td"
	elFigure  element = "figure"
	elFigCap  element = "figcaption"
	elSVG     element = "svg"
	elDesc    element = "desc"
	elG       element = "g"
	elRect    element = "rect"
	elPath    element = "path"
	elText    element = "text"
)

// attribute is one attribute; its name is one of this package's, and its value is
// escaped like any text.
type attribute struct{ name, value string }

func class(c string) attribute   { return attribute{"class", c} }
func scope(s string) attribute   { return attribute{"scope", s} }
func ident(id string) attribute  { return attribute{"id", id} }
func labels(id string) attribute { return attribute{"aria-labelledby", id} }
func at(name string, n int) attribute {
	return attribute{name, strconv.Itoa(n)}
}

// textLimit is the largest number of bytes of one text that a report shows; the JSON
// report has it whole.
const textLimit = 4096

// marks is how many combining marks in a row are shown as they are: more of them could
// be made to cover what stands beside.
const marks = 4

// page is a document in the making. Its methods escape all they are given.
type page struct {
	b []byte
	// vector is true inside an SVG, where no element isolates text.
	vector bool
}

// in writes an element with what body writes in it.
func (p *page) in(e element, body func(), attributes ...attribute) {
	p.tag(e, attributes)
	body()
	p.b = append(p.b, '<', '/')
	p.b = append(p.b, e...)
	p.b = append(p.b, '>')
	switch e {
	case elSpan, elCode, elBDI, elText:
	default:
		p.b = append(p.b, '\n')
	}
}

// with writes an element that holds a text.
func (p *page) with(e element, text string, attributes ...attribute) {
	p.in(e, func() { p.text(text) }, attributes...)
}

// tag writes a start tag, all there is of a meta element.
func (p *page) tag(e element, attributes []attribute) {
	p.b = append(p.b, '<')
	p.b = append(p.b, e...)
	for _, a := range attributes {
		p.b = append(p.b, ' ')
		p.b = append(p.b, a.name...)
		p.b = append(p.b, '=', '"')
		p.plain(a.value)
		p.b = append(p.b, '"')
	}
	p.b = append(p.b, '>')
}

// text writes text. What has no width, reorders, controls or is no character at all is
// spelled out as U+; letters that are written from right to left are isolated, so that
// they move nothing beside them.
func (p *page) text(s string) {
	if len(s) > textLimit {
		n := textLimit
		for n > 0 && !utf8.RuneStart(s[n]) {
			n--
		}
		defer p.plain(fmt.Sprintf("… (%d bytes in all)", len(s)))
		s = s[:n]
	}
	for s != "" {
		n := leftward(s)
		if n == 0 || p.vector {
			n = max(n, rightward(s))
			p.plain(s[:n])
		} else {
			p.tag(elBDI, nil)
			p.plain(s[:n])
			p.b = append(p.b, "</bdi>"...)
		}
		s = s[n:]
	}
}

// leftward returns how many bytes at the start of s are a run of words that are written
// from right to left; 0 if there is none.
func leftward(s string) int {
	end := 0
	for i, r := range s {
		switch {
		case rightToLeft(r):
			end = i + utf8.RuneLen(r)
		case end == 0 || r != ' ' && !unicode.Is(unicode.Mn, r):
			return end
		}
	}
	return end
}

// rightward returns how many bytes come before the first such run.
func rightward(s string) int {
	for i, r := range s {
		if rightToLeft(r) {
			return i
		}
	}
	return len(s)
}

// rightToLeft reports whether Unicode gives or reserves the character for writing from
// right to left (DerivedBidiClass.txt).
func rightToLeft(r rune) bool {
	switch {
	case r < 0x590:
		return false
	case r <= 0x8ff, r >= 0xfb1d && r <= 0xfdff, r >= 0xfe70 && r <= 0xfeff:
		return true
	default:
		return r >= 0x10800 && r <= 0x10fff || r >= 0x1e800 && r <= 0x1efff
	}
}

// plain writes characters, escaped.
func (p *page) plain(s string) {
	row := 0
	for i, r := range s {
		if r == utf8.RuneError {
			if _, size := utf8.DecodeRuneInString(s[i:]); size == 1 {
				p.b = fmt.Appendf(p.b, "⟨%#02x⟩", s[i])
				row = 0
				continue
			}
		}
		if unicode.Is(unicode.M, r) {
			row++
		} else {
			row = 0
		}
		switch {
		case r == '&':
			p.b = append(p.b, "&amp;"...)
		case r == '<':
			p.b = append(p.b, "&lt;"...)
		case r == '>':
			p.b = append(p.b, "&gt;"...)
		case r == '"':
			p.b = append(p.b, "&#34;"...)
		case r == '\'':
			p.b = append(p.b, "&#39;"...)
		case !unicode.IsPrint(r) || row > marks || blank(r):
			p.b = fmt.Appendf(p.b, "⟨%U⟩", r)
		default:
			p.b = utf8.AppendRune(p.b, r)
		}
	}
}

// blank reports whether a character that counts as a letter or symbol shows nothing.
func blank(r rune) bool {
	switch r {
	case 0x115f, 0x1160, 0x2800, 0x3164, 0xffa0, 0x034f, 0x17b4, 0x17b5:
		return true
	default:
		return r >= 0xfe00 && r <= 0xfe0f || r >= 0xe0100 && r <= 0xe01ef || r >= 0x180b && r <= 0x180f
	}
}
