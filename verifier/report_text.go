package verifier

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// WriteText writes the report for people: the headline, then what is proven, what is
// claimed, what is not established, and why ([Report.Account]). With explain it lists
// every check.
func (r *Report) WriteText(w io.Writer, explain bool) error {
	p := &printer{w: w}
	p.line(oneLineLong(r.Headline))
	if r.Hypothetical != nil {
		p.row("hypothetically", "as of "+r.Hypothetical.Time+": "+r.Hypothetical.Headline)
	}
	account := r.Account()
	p.part("What is proven", account.Proven)
	p.part("What is claimed", account.Claimed)
	p.part("What is not established", account.NotEstablished)
	p.part("Why", account.Why)
	p.row("digests", r.digests())
	p.row("checks", r.counts())
	if explain {
		if len(r.RecordChecks) > 0 {
			p.line("\nEvery check as of " + r.Record.Time)
			p.checks(r.RecordChecks)
			p.line("\nEvery check as of " + r.Now.Time)
		} else {
			p.line("")
		}
		p.checks(r.Checks)
	}
	return p.err
}

// printer keeps the first write error.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) line(s string) {
	if p.err == nil {
		_, p.err = fmt.Fprintln(p.w, strings.TrimRight(s, " "))
	}
}

// part writes one of the four parts.
func (p *printer) part(name string, sentences []Sentence) {
	p.line("\n" + name)
	for _, s := range sentences {
		p.row(s.Topic, s.Text)
	}
}

// textWidth is the width of a line of text, unless one word is longer.
const textWidth = 100

// row writes a name and, beside it, text in as many lines as it takes.
func (p *printer) row(name, text string) {
	head := fmt.Sprintf("  %-16s ", name)
	for l := range strings.SplitSeq(fold(oneLineLong(text), textWidth-len(head)), "\n") {
		p.line(head + l)
		head = strings.Repeat(" ", len(head))
	}
}

// fold breaks text at spaces into lines of at most width characters, where it can.
func fold(text string, width int) string {
	var out strings.Builder
	used := 0
	for word := range strings.SplitSeq(text, " ") {
		n := utf8.RuneCountInString(word)
		switch {
		case used == 0:
		case used+1+n > width:
			out.WriteByte('\n')
			used = 0
		default:
			out.WriteByte(' ')
			used++
		}
		out.WriteString(word)
		used += n
	}
	return out.String()
}

// checks lists checks.
func (p *printer) checks(checks []Check) {
	for i := range checks {
		c := &checks[i]
		p.line(fmt.Sprintf("  %-15s %-22s %-8s %s", c.Status+waivedMark(c), c.ID, c.Class, oneLine(c.Detail)))
		p.line(fmt.Sprintf("  %-15s passes when %s (%s)", "", c.Passes, c.Spec))
		if c.Want != "" || c.Got != "" {
			p.line(fmt.Sprintf("  %-15s want %s; got %s", "", oneLine(c.Want), oneLine(c.Got)))
		}
	}
}

// oneLineLong is oneLine for lines that Sworn composes of bounded pieces.
func oneLineLong(s string) string {
	var out []string
	for len(s) > 250 {
		cut := strings.LastIndexByte(s[:250], ' ') + 1
		if cut == 0 {
			cut = 250
		}
		out, s = append(out, oneLine(s[:cut])), s[cut:]
		if len(out) == 64 {
			return strings.Join(out, "") + "…"
		}
	}
	return strings.Join(append(out, oneLine(s)), "")
}

func waivedMark(c *Check) string {
	if c.Waived != "" {
		return "*"
	}
	return ""
}

func (r *Report) digests() string {
	var out []string
	for _, d := range [][2]string{{"policy", r.Policy}, {"roots", r.Roots}, {"capsule", r.Capsule}} {
		if d[1] != "" {
			out = append(out, fmt.Sprintf("%s sha256:%.16s…", d[0], d[1]))
		}
	}
	return strings.Join(append(out, r.Verifier), "  ")
}

// counts sums up the checks as of now.
func (r *Report) counts() string {
	n := map[string]int{}
	waived := 0
	for i := range r.Checks {
		if r.Checks[i].Waived != "" {
			waived++
			continue
		}
		n[r.Checks[i].Status]++
	}
	return fmt.Sprintf("%d checks: %d passed, %d failed, %d waived, %d not established, %d not applicable",
		len(r.Checks), n[statusPassed], n[statusFailed], waived, n[notEstablished], n[statusNotApplicable])
}
