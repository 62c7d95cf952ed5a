package verifier

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/sworn-run/sworn/cer"
)

// shownComponents is how many components one sentence names.
const shownComponents = 24

// jobRows answers the questions that people ask of a job: under "trusted" what was
// measured and given, else what the record says.
func (t *teller) jobRows() [][2]string {
	s := &t.r.Summary
	if s.Input == nil || s.Output == nil || len(s.Components) == 0 {
		return nil
	}
	rows := [][2]string{{"what ran", t.whatRan()}}
	if text := parametersText(s.Parameters, true); text != "" {
		rows = append(rows, [2]string{"with what", "parameters applied: " + text + "."})
	}
	if len(s.Limits) > 0 {
		rows = append(rows, [2]string{"within limits", limitsText(s.Limits) + "."})
	}
	return append(rows,
		[2]string{"on what", "Given to the job: " + s.Input.text("input") + t.isFile("input.file") + taken(s.Input) + "."},
		[2]string{"what came out", "It wrote: " + s.Output.text("output") + t.isFile("output.file") + cut(s.Output) + ", " + exitText(s.Exit) + "."},
	)
}

// whatRan says which program, with which files.
func (t *teller) whatRan() string {
	text := t.listed()
	match := "held against no policy"
	if t.r.Policy != "" {
		switch t.status("components.match") {
		case statusPassed:
			match = "matches the policy"
		case statusFailed:
			match = "does not match the policy"
		default:
			match = "not established whether it matches the policy"
		}
	}
	if !t.r.Trusted {
		return text + ", " + match + " (as the record says)."
	}
	return "The launcher measured, before the job began, and gave to it: " + text + ", " + match + "."
}

// listed names the components, libraries apart.
func (t *teller) listed() string {
	var parts []string
	libraries, more := 0, 0
	for _, c := range t.r.Summary.Components {
		part := ""
		switch c.Role {
		case cer.RoleBinary:
			part = fmt.Sprintf("%.100q (%s)", path.Base(c.Path), shownDigest(c.Digest))
		case cer.RoleWeights, cer.RoleConfig, cer.RoleManifest, cer.RoleImage:
			part = fmt.Sprintf("%s %.100q %s", c.Role, path.Base(c.Path), shownDigest(c.Digest))
		case cer.RoleLibrary:
			libraries++
			continue
		default:
			continue
		}
		if len(parts) == shownComponents {
			more++
			continue
		}
		parts = append(parts, part)
	}
	if more > 0 {
		parts = append(parts, fmt.Sprintf("%d more", more))
	}
	if libraries > 0 {
		parts = append(parts, numbered(libraries, "library", "libraries"))
	}
	if e := (cer.Environment{Facts: t.r.Summary.Wasm}); len(e.Facts) > 0 {
		runtime, _ := e.Get(cer.FactWasmRuntime)
		engine, _ := e.Get(cer.FactWasmEngine)
		by := fmt.Sprintf("as WebAssembly by %.100s (%.100s)", runtime, engine)
		if process, _ := e.Get(cer.FactWasmProcess); process == cer.WasmLauncher {
			by += " within the launcher"
		}
		parts = append(parts, by)
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

// where says what the quote confirms of the log.
func (r *Report) where(t *teller) string {
	var formats []string
	for _, f := range r.Summary.Evidence {
		if len(f) > 0 {
			formats = append(formats, f[0].Value)
		}
	}
	out := strings.Join(formats, " + ") + " quote"
	switch {
	case len(formats) == 0:
		out = "quote"
	case slices.Equal(formats, []string{"tpm"}):
		out = "TPM 2.0 quote"
	}
	earlier := numbered(r.Summary.EarlierLaunches, "earlier launch", "earlier launches")
	what := "register replayed"
	if t.status("log.origin") == statusNotApplicable {
		what = "log in the statement"
	}
	return fmt.Sprintf("%s, %s (%d events, %s)", out, what, r.Summary.Events, earlier)
}

// booted is what booted, and whether that was wanted.
func (t *teller) booted() string {
	text := strings.Join(t.r.Summary.Booted, "; ")
	switch t.status("slot.measurement") {
	case statusPassed:
		return text + ", matches the policy"
	case statusFailed:
		return text + ", does not match the policy"
	default:
		return text + " (held against no reference values)"
	}
}

// when is what the producer says of the time.
func (t *teller) when() string {
	claimed := t.r.Summary.ClaimedTime + " claimed by the producer"
	if t.r.Record.Time != "" {
		return claimed + ", stamped at " + t.r.Record.Time
	}
	return claimed + ", no time stamp: no verdict as of then"
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
		if len(facts) > 0 && len(out) < shownComponents {
			out = append(out, fmt.Sprintf("%.100q describes itself as ", path.Base(c.Path))+strings.Join(facts, ", "))
		}
	}
	if len(out) == 0 {
		return ""
	}
	return strings.Join(out, "; ") + " (the file's own word, checked by nobody)."
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

// parametersText lists the parameters that reached the command, or those that
// somebody declared beside it. A policy wants the command's template and takes
// any value in it, so that whoever relies on the verdict has to see them.
func parametersText(parameters []Parameter, applied bool) string {
	var out []string
	for i := range parameters {
		if p := &parameters[i]; p.Applied == applied {
			out = append(out, p.text())
		}
	}
	return strings.Join(out, ", ")
}

func (t *teller) isFile(id string) string {
	switch t.status(id) {
	case statusPassed:
		return " = the file given"
	case statusFailed:
		return " ≠ the file given"
	default:
		return ""
	}
}

// taken says so where the job did not take all of its input.
func taken(s *Stream) string {
	if s.Complete == nil || *s.Complete {
		return ""
	}
	return " (it did not take all of it)"
}

// cut says so where the record is not about all of the output.
func cut(s *Stream) string {
	if s.Complete == nil || *s.Complete {
		return ""
	}
	return " (and more, which was cut off)"
}

func exitText(x *cer.Exit) string {
	switch {
	case x == nil:
		return "exit unknown"
	case x.Timeout:
		return "ended at its time limit"
	case x.Signal != nil:
		return fmt.Sprintf("ended by %.40q", *x.Signal)
	default:
		return fmt.Sprintf("exit %d", x.Code)
	}
}

// signedBy says for people who signed the record.
func (t *teller) signedBy() string {
	var out []string
	for i := range t.r.Summary.Signatures {
		s := &t.r.Summary.Signatures[i]
		text := s.Role + " " + s.Key + " " + s.Fingerprint
		if s.Subject != "" {
			text += fmt.Sprintf(", whose certificate says %.100q", s.Subject)
		}
		if s.Time != "" {
			text += ", on " + s.Time + " by their own word"
		}
		if s.Comment != "" {
			text += fmt.Sprintf(", saying %q", s.Comment)
		}
		if s.Records != "" {
			text += ", over all " + s.Records + " records of the statement at once"
		}
		if !s.Valid {
			text += " (WRONG: not over this record, or not by this key)"
		}
		out = append(out, text)
	}
	line := strings.Join(out, "; ")
	if t.holds("signer.match") {
		return line + "; as the policy wants."
	}
	return line + "; named by no policy, so the verdict does not rest on it."
}
