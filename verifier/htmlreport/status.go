package htmlreport

import "github.com/sworn-run/sworn/verifier"

// The statuses that a report shows: those of checks and verdicts, and those of checks
// that the policy waives.
const (
	passed         = "passed"
	failed         = "failed"
	notEstablished = "not established"
	notApplicable  = "not applicable"
	assumed        = "assumed"
	failedWaived   = "failed, waived"
)

// shown is a check's status, with whether it was waived.
func shown(c *verifier.Check) string {
	switch {
	case c.Waived == "":
		return c.Status
	case c.Status == failed:
		return failedWaived
	default:
		return assumed
	}
}

// statusClass is the look of a status; of one it does not know that of what is not
// established.
func statusClass(status string) string {
	switch status {
	case passed, "trusted":
		return "pass"
	case failed, "not trusted":
		return "fail"
	case notApplicable:
		return "none"
	case assumed, failedWaived:
		return "take"
	default:
		return "open"
	}
}

// badge writes a status: its shape, and its words.
func (p *page) badge(look, words string) {
	p.in(elSpan, func() {
		p.icon(look)
		p.with(elSpan, words)
	}, class("badge "+look))
}

// icon draws the shape of a look; the words beside it say the same.
func (p *page) icon(look string) {
	was := p.vector
	p.vector = true
	p.in(elSVG, func() { p.mark(look, 12, 12) }, attribute{"viewBox", "0 0 24 24"}, attribute{"aria-hidden", "true"}, attribute{"focusable", "false"})
	p.vector = was
}

// mark draws the shape of a look around a point: a circle with a tick, an octagon with a
// cross, a triangle with an exclamation mark, a circle with a dash, a diamond with a
// question mark.
func (p *page) mark(look string, x, y int) {
	lines := func(outline, sign string) {
		place := func(d string) attribute { return attribute{"d", placed(d, x, y)} }
		p.tag(elPath, []attribute{place(outline), class("mark")})
		p.b = append(p.b, "</path>"...)
		p.tag(elPath, []attribute{place(sign), class("mark"), {"fill-opacity", "0"}})
		p.b = append(p.b, "</path>"...)
	}
	const circle = "M-9 0a9 9 0 1 0 18 0a9 9 0 1 0 -18 0z"
	switch look {
	case "pass":
		lines(circle, "m-4.2 0.4l3 3.2l5.6 -6.6")
	case "fail":
		lines("m-4 -9.5h8l5.5 5.5v8l-5.5 5.5h-8l-5.5 -5.5v-8z", "m-3.5 -3.5l7 7m0 -7l-7 7")
	case "take":
		lines("m0 -10l10.5 18h-21z", "m0 -3.5v5.5m0 3.2v0.1")
	case "none":
		lines(circle, "m-4 0h8")
	default:
		lines("m0 -10.5l10.5 10.5l-10.5 10.5l-10.5 -10.5z", "m-2.7 -2.2c0 -3.8 5.4 -3.6 5.4 -0.3c0 2.2 -2.7 2 -2.7 4.1m0 3.2v0.1")
	}
}
