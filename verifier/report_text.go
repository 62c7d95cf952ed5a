package verifier

import (
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
)

// WriteText writes the report for people: the headline, then what ran, on what,
// where and when, then what is not established. With explain it lists every
// check.
func (r *Report) WriteText(w io.Writer, explain bool) error {
	p := &printer{w: w}
	p.line(oneLineLong(r.Headline))
	if r.Hypothetical != nil {
		p.row("at "+r.Hypothetical.Time, "hypothetically: "+oneLine(r.Hypothetical.Headline))
	}
	for _, row := range r.rows() {
		p.row(row[0], oneLineLong(row[1]))
	}
	r.then(p)
	r.problems(p)
	p.row("ledger", r.ledgersText())
	p.row("digests", r.digests())
	p.row("checks", r.counts())
	if explain {
		p.line("")
		for i := range r.Checks {
			c := &r.Checks[i]
			p.line(fmt.Sprintf("  %-15s %-22s %-8s %s", c.Status+r.waivedMark(c), c.ID, c.Class, oneLine(c.Detail)))
			p.line(fmt.Sprintf("  %-15s passes when %s (%s)", "", c.Passes, c.Spec))
			if c.Want != "" || c.Got != "" {
				p.line(fmt.Sprintf("  %-15s want %s; got %s", "", oneLine(c.Want), oneLine(c.Got)))
			}
		}
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

func (p *printer) row(name, text string) { p.line(fmt.Sprintf("  %-16s %s", name, text)) }

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

// status returns the status of the first check with the given id.
func (r *Report) status(id string) attest.Status {
	for i := range r.Checks {
		if r.Checks[i].ID == id {
			return r.Checks[i].status
		}
	}
	return attest.NotEstablished
}

// rows answers the questions people ask.
func (r *Report) rows() [][2]string {
	s := &r.Summary
	if s.Input == nil || len(s.Components) == 0 {
		return nil
	}
	claim := ""
	if !r.Trusted {
		claim = "  (as the capsule says)"
	}
	rows := [][2]string{{"what ran", r.whatRan() + claim}}
	if text := describedText(s.Components); text != "" {
		rows = append(rows, [2]string{"it says", text})
	}
	if len(s.Parameters) > 0 {
		rows = append(rows, [2]string{"with what", parametersText(s.Parameters)})
	}
	if len(s.Limits) > 0 {
		rows = append(rows, [2]string{"within limits", limitsText(s.Limits)})
	}
	rows = append(rows, [][2]string{
		{"on what", s.Input.text("input") + r.isFile("input.file") + taken(s.Input)},
		{"what came out", s.Output.text("output") + r.isFile("output.file") + ", " + exitText(s.Exit)},
		{"where", r.where()},
	}...)
	if len(s.Booted) > 0 {
		rows = append(rows, [2]string{"booted", r.booted()})
	}
	if len(s.Signatures) > 0 {
		rows = append(rows, [2]string{"signed by", r.signedBy()})
	}
	return append(rows, [2]string{"when", r.when()})
}

// describedText says what model files say of themselves. It is a claim of whoever
// made the file, and stands apart from what was measured.
func describedText(components []Component) string {
	var out []string
	for i := range components {
		c := &components[i]
		var facts []string
		for _, f := range c.Described {
			facts = append(facts, fmt.Sprintf("%.60s=%.100q", f.Name, f.Value))
		}
		if len(facts) > 0 {
			out = append(out, path.Base(c.Path)+" describes itself as "+strings.Join(facts, ", "))
		}
	}
	if len(out) == 0 {
		return ""
	}
	return strings.Join(out, "; ") + " (the file's own word, checked by nobody)"
}

// limitsText lists the resource limits. A policy says nothing of them, and a job
// that may open no file can do without one and end well.
func limitsText(limits []cer.Fact) string {
	var out []string
	for _, f := range limits {
		out = append(out, fmt.Sprintf("%.40q=%.40q", f.Name, f.Value))
	}
	return strings.Join(out, ", ")
}

// parametersText tells the parameters that reached the command from those that
// somebody declared beside it. A policy wants the command's template and takes
// any value in it, so that whoever relies on the verdict has to see them.
func parametersText(parameters []Parameter) string {
	var applied, declared []string
	for _, p := range parameters {
		if text := p.text(); p.Applied {
			applied = append(applied, text)
		} else {
			declared = append(declared, text)
		}
	}
	var out []string
	if len(applied) > 0 {
		out = append(out, "parameters applied: "+strings.Join(applied, ", "))
	}
	if len(declared) > 0 {
		out = append(out, "declared, and nothing more: "+strings.Join(declared, ", "))
	}
	return strings.Join(out, "; ")
}

func (r *Report) isFile(id string) string {
	switch r.status(id) {
	case attest.Passed:
		return " = the file given"
	case attest.Failed:
		return " ≠ the file given"
	case attest.NotEstablished, attest.NotApplicable:
		return ""
	default:
		return ""
	}
}

// taken says so where the job did not take all of its input.
func taken(s *Stream) string {
	if s.Complete == nil || *s.Complete {
		return ""
	}
	return " (given to the job, which did not take all of it)"
}

func exitText(x *cer.Exit) string {
	switch {
	case x == nil:
		return "exit unknown"
	case x.Timeout:
		return "ended at its time limit"
	case x.Signal != nil:
		return "ended by " + *x.Signal
	default:
		return fmt.Sprintf("exit %d", x.Code)
	}
}

func (r *Report) whatRan() string {
	var parts []string
	libraries := 0
	for _, c := range r.Summary.Components {
		switch c.Role {
		case cer.RoleBinary:
			parts = append(parts, path.Base(c.Path)+" ("+shownDigest(c.Digest)+")")
		case cer.RoleWeights, cer.RoleConfig, cer.RoleManifest, cer.RoleImage:
			parts = append(parts, c.Role+" "+path.Base(c.Path)+" "+shownDigest(c.Digest))
		case cer.RoleLibrary:
			libraries++
		}
	}
	if libraries > 0 {
		noun := "libraries"
		if libraries == 1 {
			noun = "library"
		}
		parts = append(parts, fmt.Sprintf("%d %s", libraries, noun))
	}
	if e := (cer.Environment{Facts: r.Summary.Wasm}); len(e.Facts) > 0 {
		runtime, _ := e.Get(cer.FactWasmRuntime)
		engine, _ := e.Get(cer.FactWasmEngine)
		by := "as WebAssembly by " + oneLine(runtime) + " (" + engine + ")"
		if process, _ := e.Get(cer.FactWasmProcess); process == cer.WasmLauncher {
			by += " within the launcher"
		}
		parts = append(parts, by)
	}
	if r.Policy != "" {
		if r.status("components.match") == attest.Passed {
			parts = append(parts, "matches the policy")
		} else {
			parts = append(parts, "does not match the policy")
		}
	}
	return strings.Join(parts, ", ")
}

// shownDigest shortens the digest that people know a file by: the flat one, if it
// has one.
func shownDigest(ds []string) string {
	for _, d := range ds {
		if cer.DigestScheme(d) == cer.SchemeSHA256 {
			return shortDigest([]string{d})
		}
	}
	return shortDigest(ds[:min(len(ds), 1)])
}

func (r *Report) where() string {
	var formats []string
	for _, f := range r.Summary.Evidence {
		if len(f) > 0 {
			formats = append(formats, f[0].Value)
		}
	}
	name := strings.Join(formats, " + ")
	if name == "" {
		return "no genuine evidence"
	}
	out := name + " quote"
	if name == "tpm" {
		out = "TPM 2.0 quote"
	}
	if r.status("log.replay") == attest.Passed {
		earlier := fmt.Sprintf("%d earlier launches", r.Summary.EarlierLaunches)
		if r.Summary.EarlierLaunches == 1 {
			earlier = "1 earlier launch"
		}
		what := "register replayed"
		if r.status("log.origin") == attest.NotApplicable {
			what = "log in the statement"
		}
		out += fmt.Sprintf(", %s (%d events, %s)", what, r.Summary.Events, earlier)
	} else {
		out += ", log not replayed"
	}
	return out
}

// then writes the verdict as of the record's time, the tokens that give it, and what
// changed since.
func (r *Report) then(p *printer) {
	if len(r.TimeStamps) == 0 {
		return
	}
	p.row("as of then", oneLineLong(r.Record.Headline))
	p.row("as of now", oneLineLong(r.Now.Headline))
	for _, s := range r.TimeStamps {
		words := slices.DeleteFunc([]string{s.Time, s.Authority, s.Covers, s.Status}, func(w string) bool { return w == "" })
		p.row("time stamp", oneLineLong(strings.Join(words, ", ")+": "+s.Detail))
	}
	for _, c := range r.Changes {
		p.row("changed since", c.ID+": "+c.Then+" then, "+c.Now+" now: "+oneLine(c.Detail))
	}
}

func (r *Report) when() string {
	out := r.Summary.ClaimedTime + " claimed by the producer, no time stamp: no verdict as of then"
	if r.Record.Time != "" {
		out = r.Summary.ClaimedTime + " claimed by the producer, stamped at " + r.Record.Time
	}
	if r.status("nonce.quote") == attest.Passed {
		out += "; fresh: your nonce is in the quote"
		if r.status("nonce.execution") == attest.Passed {
			out += " and in the record"
		}
	}
	return out
}

// problems writes what stands in the way, and what nothing establishes. One part
// that cannot be read leaves dozens of checks not established: where any check
// failed, the others are listed by name only, and --explain has their reasons.
func (r *Report) problems(p *printer) {
	anyFailed := slices.ContainsFunc(r.Checks, func(c Check) bool { return c.blocks() && c.status == attest.Failed })
	var rest []string
	for i := range r.Checks {
		c := &r.Checks[i]
		switch {
		case c.blocks() && (c.status == attest.Failed || !anyFailed):
			p.row(c.Status, c.ID+": "+oneLine(c.Detail))
		case c.status == attest.Failed && c.Waived != "":
			p.row("failed, waived", c.ID+": "+oneLine(c.Detail)+" (waived: "+oneLine(c.Waived)+")")
		case c.status == attest.NotEstablished && c.class != ClassInfo && c.Waived != "":
			rest = append(rest, c.ID+" (waived: "+oneLine(c.Waived)+")")
		case c.status == attest.NotEstablished && c.class != ClassInfo:
			rest = append(rest, c.ID)
		}
	}
	if len(rest) > 0 {
		p.row(notEstablished, strings.Join(rest, ", "))
	}
}

func (r *Report) waivedMark(c *Check) string {
	if c.Waived != "" {
		return "*"
	}
	return ""
}

func (r *Report) digests() string {
	var out []string
	for _, d := range [][2]string{{"policy", r.Policy}, {"roots", r.Roots}, {"capsule", r.Capsule}} {
		if d[1] != "" {
			out = append(out, d[0]+" sha256:"+d[1][:16]+"…")
		}
	}
	return strings.Join(append(out, r.Verifier), "  ")
}

// counts sums the checks up; the two verdicts count as checks 43 and 44 do.
func (r *Report) counts() string {
	n := map[attest.Status]int{}
	waived := 0
	for i := range r.Checks {
		if r.Checks[i].Waived != "" {
			waived++
			continue
		}
		n[r.Checks[i].status]++
	}
	return fmt.Sprintf("%d checks: %d passed, %d failed, %d waived, %d not established, %d not applicable",
		len(r.Checks), n[attest.Passed], n[attest.Failed], waived, n[attest.NotEstablished], n[attest.NotApplicable])
}
