package browser

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// ErrMarkup is wrapped by what is wrong with a document.
var ErrMarkup = errors.New("markup")

// Markup is what a document of the strictest kind is made of: a kind that every parser of
// HTML reads alike, because nothing in it is left to a parser to mend.
type Markup struct {
	// Elements and Attributes are their names, in order of appearance, each as often as
	// it stands there; an attribute's is "element name".
	Elements, Attributes []string
	// IDs are the values of id, Names those that labels refer to by id.
	IDs, Names []string
	// Headings are the levels of the headings.
	Headings []int
	// Style is the style sheet, Policy the content security policy, Text all text that is
	// shown, in order.
	Style, Policy, Text string

	shown strings.Builder
}

// attributeForm is the one form of attributes.
var attributeForm = regexp.MustCompile(`^ ([a-zA-Z-]+)="([^"<>]*)"`)

// entities are the characters that are escaped, and how.
var entities = strings.NewReplacer("&lt;", "<", "&gt;", ">", "&#34;", `"`, "&#39;", "'", "&amp;", "&")

// bare reports whether an ampersand begins none of them.
func bare(s string) bool {
	n := strings.Count(s, "&")
	for _, e := range []string{"&lt;", "&gt;", "&#34;", "&#39;", "&amp;"} {
		n -= strings.Count(s, e)
	}
	return n != 0
}

// Read reads a document strictly: every element closed in its order, every attribute in
// double quotes, the five characters of markup escaped wherever they are text, nothing
// that cannot be printed. It knows one element without an end, meta, and one whose
// content is no text, style.
func Read(doc []byte) (*Markup, error) {
	m := &Markup{}
	s := string(doc)
	if !utf8.Valid(doc) {
		return nil, fmt.Errorf("%w: not UTF-8", ErrMarkup)
	}
	for i, r := range s {
		if r != '\n' && !unicode.IsPrint(r) {
			return nil, fmt.Errorf("%w: %U at %d", ErrMarkup, r, i)
		}
	}
	s, ok := strings.CutPrefix(s, "<!DOCTYPE html>\n")
	if !ok {
		return nil, fmt.Errorf("%w: no DOCTYPE", ErrMarkup)
	}
	var open []string
	for s != "" {
		text, rest, found := strings.Cut(s, "<")
		if err := m.text(text); err != nil {
			return nil, err
		}
		if !found {
			break
		}
		tag, rest, found := strings.Cut(rest, ">")
		if !found {
			return nil, fmt.Errorf("%w: %.40q has no end", ErrMarkup, tag)
		}
		s = rest
		if name, end := strings.CutPrefix(tag, "/"); end {
			if len(open) == 0 || open[len(open)-1] != name {
				return nil, fmt.Errorf("%w: %q ends within %q", ErrMarkup, name, open)
			}
			open = open[:len(open)-1]
			continue
		}
		name, err := m.tag(tag)
		if err != nil {
			return nil, err
		}
		if name == "style" {
			if m.Style, s, found = strings.Cut(s, "</style>"); !found || strings.Contains(m.Style, "<") {
				return nil, fmt.Errorf("%w: a style sheet with markup", ErrMarkup)
			}
		} else if name != "meta" {
			open = append(open, name)
		}
	}
	if len(open) > 0 {
		return nil, fmt.Errorf("%w: %q is open at the end", ErrMarkup, open)
	}
	m.Text = m.shown.String()
	return m, m.refers()
}

// text takes text between tags.
func (m *Markup) text(s string) error {
	if strings.Contains(s, ">") || bare(s) {
		return fmt.Errorf("%w: %.40q is not escaped", ErrMarkup, s)
	}
	m.shown.WriteString(entities.Replace(s))
	return nil
}

// tag takes a start tag and returns its name.
func (m *Markup) tag(tag string) (string, error) {
	name, rest := tag, ""
	if i := strings.IndexByte(tag, ' '); i >= 0 {
		name, rest = tag[:i], tag[i:]
	}
	m.Elements = append(m.Elements, name)
	if len(name) == 2 && name[0] == 'h' && name[1] >= '1' && name[1] <= '6' {
		m.Headings = append(m.Headings, int(name[1]-'0'))
	}
	seen := map[string]string{}
	for rest != "" {
		a := attributeForm.FindStringSubmatch(rest)
		if a == nil || bare(a[2]) {
			return "", fmt.Errorf("%w: attributes %.60q of %s", ErrMarkup, rest, name)
		}
		if _, twice := seen[a[1]]; twice {
			return "", fmt.Errorf("%w: %s has %s twice", ErrMarkup, name, a[1])
		}
		rest = rest[len(a[0]):]
		value := entities.Replace(a[2])
		seen[a[1]] = value
		m.Attributes = append(m.Attributes, name+" "+a[1])
		switch a[1] {
		case "id":
			m.IDs = append(m.IDs, value)
		case "aria-labelledby", "aria-describedby":
			m.Names = append(m.Names, strings.Fields(value)...)
		}
	}
	if seen["http-equiv"] == "Content-Security-Policy" {
		m.Policy = seen["content"]
	}
	return name, nil
}

// refers wants every id once, every label there, and headings that skip no level.
func (m *Markup) refers() error {
	for i, id := range m.IDs {
		if slices.Contains(m.IDs[:i], id) {
			return fmt.Errorf("%w: id %q twice", ErrMarkup, id)
		}
	}
	for _, name := range m.Names {
		if !slices.Contains(m.IDs, name) {
			return fmt.Errorf("%w: no id %q", ErrMarkup, name)
		}
	}
	last := 0
	for _, h := range m.Headings {
		if h > last+1 {
			return fmt.Errorf("%w: a heading h%d after h%d", ErrMarkup, h, last)
		}
		last = h
	}
	return nil
}
