package bootlog

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// CommandLine is a kernel's command line whose text a digest covers.
type CommandLine struct {
	Text
	// Image is the kernel's path if a boot loader measured it as the first
	// word; else empty.
	Image string
	// Duplicates are the names of parameters that occur more than once, in
	// order. Which one counts depends on the parameter: a policy allows those
	// it knows, such as console.
	Duplicates []string
}

// texts reads what boot loaders measure as text: GRUB its commands into one
// register, systemd-stub a command line that did not come with the image into
// another.
func (a *appraisal) texts() {
	f := a.facts
	for i := range a.events {
		m := &a.events[i]
		if a.explained[i] || m.Coverage == CoversNothing {
			continue
		}
		if text, ok := text16(m.Covered); ok && text != "" && m.Index == a.at.stub {
			a.explained[i] = true
			f.CommandLines = append(f.CommandLines, commandLine(Text{m.Event, m.Index, text}, false))
			continue
		}
		text := bytes.TrimSuffix(m.Covered, []byte{0})
		if m.Index != a.at.loader || !printable(text) {
			continue
		}
		a.explained[i] = true
		t := Text{m.Event, m.Index, string(text)}
		if n := len(f.Commands); n > 0 && boots(f.Commands[n-1].Text, t.Text) {
			f.CommandLines = append(f.CommandLines, commandLine(t, true))
		}
		f.Commands = append(f.Commands, t)
	}
}

// printable reports whether b is a text of one character or more.
func printable(b []byte) bool {
	if len(b) == 0 || len(b) > maxText || !utf8.Valid(b) {
		return false
	}
	return !bytes.ContainsFunc(b, func(r rune) bool { return r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0x7F })
}

// boots reports whether command is GRUB's command to load a kernel with exactly this
// command line, which GRUB measures right after it. The word that the log puts
// before the text is not covered and does not count. GRUB measures the command
// without quotes and the command line with them.
func boots(command, line string) bool {
	name, rest, ok := strings.Cut(command, " ")
	switch name {
	case "linux", "linuxefi", "linux16", "kernel":
		return ok && unquote(rest) == unquote(line)
	default:
		return false
	}
}

// unquote drops the characters that quote.
func unquote(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '"' || r == '\'' || r == '\\' {
			return -1
		}
		return r
	}, s)
}

// commandLine finds a command line's duplicates; image is true if its first word is
// the kernel's path.
func commandLine(t Text, image bool) CommandLine {
	c := CommandLine{Text: t}
	text := t.Text
	if image {
		c.Image, text, _ = strings.Cut(text, " ")
	}
	seen := map[string]int{}
	for _, p := range Parameters(text) {
		name, _, _ := strings.Cut(p, "=")
		name = strings.ReplaceAll(name, "-", "_")
		if seen[name]++; seen[name] == 2 {
			c.Duplicates = append(c.Duplicates, name)
		}
	}
	return c
}

// Parameters splits a kernel's command line as the kernel does: at white space
// outside of double quotes, up to "--", after which all is for the first process.
// Quotes are kept.
func Parameters(text string) []string {
	var out []string
	quoted := false
	for _, p := range strings.FieldsFunc(text, func(r rune) bool {
		if r == '"' {
			quoted = !quoted
		}
		return !quoted && (r == ' ' || r >= '\t' && r <= '\r' || r == 0xA0)
	}) {
		if p == "--" {
			break
		}
		out = append(out, p)
	}
	return out
}

// Sections are the sections of a unified kernel image, as systemd-stub measures
// them: for each its name, then its content. They are established if they are the
// first that the register got.
type Sections struct {
	Finding
	List []Section
}

// Section is a section's name and the digest of its content, which is not in the
// log.
type Section struct {
	// Event is that of the content.
	Event int
	// Name begins with a dot, such as ".linux".
	Name string
	// Digest is that of the content, in the bank.
	Digest []byte
}

// SectionNames returns the sections that systemd-stub measures, in its order. Which
// of them a version knows differs; the order does not.
func SectionNames() []string {
	return []string{
		".linux", ".osrel", ".cmdline", ".initrd", ".ucode", ".splash", ".dtb", ".uname", ".sbat", ".pcrpkey",
		".profile", ".dtbauto", ".hwids", ".efifw",
	}
}

// sections reads pairs of name and content from the register's first event on.
func (a *appraisal) sections() {
	var events []int
	for i := range a.events {
		if a.events[i].Index == a.at.sections {
			events = append(events, i)
		}
	}
	names := SectionNames()
	digests := make([][]byte, len(names))
	for i, name := range names {
		digests[i] = a.bank.Sum([]byte(name + "\x00"))
	}
	var s Sections
	seen := map[string]bool{}
	for len(events) >= 2 {
		name := ""
		for i := range digests {
			if bytes.Equal(digests[i], a.events[events[0]].Digest) {
				name = names[i]
			}
		}
		if name == "" {
			break
		}
		if seen[name] {
			a.facts.Sections.Finding = unestablished("section %s is measured twice", name)
			return
		}
		m := a.events[events[1]]
		seen[name] = true
		s.List = append(s.List, Section{m.Event, name, m.Digest})
		events = events[2:]
	}
	if len(s.List) == 0 {
		a.facts.Sections.Finding = unestablished("register %d is not confirmed or does not begin with a section", a.at.sections)
		return
	}
	for i := range a.events {
		if m := &a.events[i]; m.Index == a.at.sections && m.Event <= s.List[len(s.List)-1].Event {
			a.explained[i] = true
		}
	}
	s.Established = true
	a.facts.Sections = s
}
