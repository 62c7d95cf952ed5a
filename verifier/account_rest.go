package verifier

import (
	"fmt"
	"slices"
	"strings"
)

// claimed tells what somebody says and nothing shows.
func (t *teller) claimed() []Sentence {
	s := &t.r.Summary
	var out []Sentence
	if !t.r.Trusted {
		for _, row := range t.jobRows() {
			out = append(out, sentence(row[0], row[1]))
		}
		if len(s.Booted) > 0 {
			out = append(out, sentence("booted", t.booted()+"."))
		}
	}
	if text := parametersText(s.Parameters, false); text != "" {
		out = append(out, sentence("declared", text+". Somebody declared these beside the command, and nothing more.", "runtime.claims"))
	}
	if text := describedText(s.Components); text != "" {
		out = append(out, sentence("it says", text))
	}
	if len(s.Signatures) > 0 && (!t.r.Trusted || !t.holds("signer.match")) {
		out = append(out, sentence("signed by", t.signedBy(), "signer.signature", "signer.match"))
	}
	if s.ClaimedTime != "" {
		out = append(out, sentence("when", t.when()+"."))
	}
	if len(out) == 0 {
		return []Sentence{sentence("nothing", "The record could not be read.")}
	}
	return out
}

// unproven tells what is assumed, and what nothing establishes.
func (t *teller) unproven() []Sentence {
	out := t.assumed()
	anyFailed := slices.ContainsFunc(t.checks, func(c Check) bool { return c.blocks() && c.Status == statusFailed })
	var also, unasked []string
	for i := range t.checks {
		c := &t.checks[i]
		if c.Status != notEstablished || c.Class == ClassInfo.String() || c.Waived != "" {
			continue
		}
		switch {
		case !c.Counts:
			unasked = append(unasked, c.named())
		case anyFailed:
			also = append(also, c.named())
		default:
			out = append(out, sentence(notEstablished, c.named()+": "+c.Detail+".", c.ID))
		}
	}
	if len(also) > 0 {
		out = append(out, sentence(notEstablished, strings.Join(also, ", ")+".", ids(also)...))
	}
	if len(unasked) > 0 {
		out = append(out, sentence(notEstablished, "and not asked for: "+strings.Join(unasked, ", ")+".", ids(unasked)...))
	}
	if t.r.Summary.Input != nil {
		out = append(out, sentence("never", "That the output is right, and that the job made use of all that it was given: no record shows that."))
	}
	if len(out) == 0 {
		return []Sentence{sentence("nothing", "Everything that was asked was answered.")}
	}
	return out
}

// ids cuts slots off.
func ids(named []string) []string {
	var out []string
	for _, n := range named {
		id, _, _ := strings.Cut(n, " ")
		if !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	return out
}

// named is the check's id, with its slot where there can be another.
func (c *Check) named() string {
	if c.Slot != nil && *c.Slot > 0 {
		return fmt.Sprintf("%s (slot %d)", c.ID, *c.Slot)
	}
	return c.ID
}

// assumed tells what the verdict takes for granted: roots that the user supplied, what is
// known to be possible and not excluded, and what the policy waived, with its reason.
func (t *teller) assumed() []Sentence {
	var out []Sentence
	for _, a := range t.r.Assuming {
		if _, isCheck := CheckClass(a); isCheck {
			continue
		}
		out = append(out, sentence("assumed", a+rootMeans(a)))
	}
	for i := range t.checks {
		c := &t.checks[i]
		if c.Waived == "" {
			continue
		}
		text := fmt.Sprintf("%s: whether %s was %s: %s. The policy waives it: %q.", c.named(), c.Passes, checked(c.Status), c.Detail, c.Waived)
		out = append(out, sentence("assumed", text, c.ID))
	}
	return out
}

// checked is a status in a sentence.
func checked(status string) string {
	if status == statusFailed {
		return "checked and failed"
	}
	return status
}

// rootMeans says what it is to take a root's word.
func rootMeans(assumption string) string {
	for _, k := range [][2]string{
		{"user-supplied root ", ": whoever holds its key is taken at its word about hardware. You gave this root."},
		{"user-supplied model ", ": whoever holds its key is taken at its word about models. You gave this key."},
		{"user-supplied signer authority ", ": whoever holds its key is taken at its word about who signed. You gave this authority."},
		{"user-supplied Sigstore root ", ": Sigstore is taken at its word about who signed the model. You gave this root."},
		{"user-supplied time-stamping root ", ": whoever holds its key is taken at its word about the time. You gave this root."},
	} {
		if strings.HasPrefix(assumption, k[0]) {
			return k[1]
		}
	}
	return "."
}

// why tells what the verdict rests on, or what stands in its way.
func (t *teller) why() []Sentence {
	out := []Sentence{t.because()}
	for i := range t.checks {
		if c := &t.checks[i]; c.blocks() && c.Status == statusFailed {
			text := fmt.Sprintf("%s: %s. It passes when %s.", c.named(), c.Detail, c.Passes)
			if c.Want != "" || c.Got != "" {
				text += fmt.Sprintf(" Wanted %s; found %s.", orNothing(c.Want), orNothing(c.Got))
			}
			out = append(out, sentence(statusFailed, text, c.ID))
		}
	}
	out = append(out, t.times()...)
	v := t.r.Now
	if t.r.Decides == decidesRecord {
		v = t.r.Record
	}
	if v.Horizon != "" {
		out = append(out, sentence("known", upper(v.Horizon)+"."))
	}
	return append(out, sentence("ledger", t.r.ledgersText()+".", "ledger"))
}

func orNothing(s string) string {
	if s == "" {
		return "nothing"
	}
	return s
}

// because is the reason in one sentence.
func (t *teller) because() Sentence {
	passes, blocked, waived := 0, 0, []string{}
	for i := range t.checks {
		switch c := &t.checks[i]; {
		case c.Waived != "":
			if !slices.Contains(waived, c.ID) {
				waived = append(waived, c.ID)
			}
		case c.blocks():
			blocked++
		case c.Counts && c.Status == statusPassed:
			passes++
		}
	}
	rest := ""
	if len(waived) > 0 {
		rest = fmt.Sprintf("; the policy waives %s", strings.Join(waived, ", "))
	}
	switch {
	case t.r.Trusted:
		return sentence(trusted, fmt.Sprintf("The checks that the verdict depends on passed, %d of them%s.", passes, rest))
	case t.r.Policy == "":
		return sentence(notTrusted, fmt.Sprintf("There is no policy, which says what is acceptable; %s.", numbered(blocked, "check that the verdict depends on did", "checks that the verdict depends on did")+" not pass"))
	default:
		return sentence(notTrusted, fmt.Sprintf("%s not pass, and one is enough; %d did%s.",
			numbered(blocked, "check that the verdict depends on did", "checks that the verdict depends on did"), passes, rest))
	}
}

func numbered(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// times tells the two verdicts, the tokens that give the first, and what changed since.
func (t *teller) times() []Sentence {
	r := t.r
	if len(r.TimeStamps) == 0 {
		if r.Now.Time == "" {
			return nil
		}
		topic, v := "as of now", r.Now
		if r.Decides == decidesAt && r.Hypothetical != nil {
			topic, v = "as of then", *r.Hypothetical
		}
		return []Sentence{sentence(topic, "The verdict is as of "+v.Time+".")}
	}
	out := []Sentence{sentence("as of then", upper(r.Record.Headline)+"."), sentence("as of now", upper(r.Now.Headline)+" (at "+r.Now.Time+").")}
	for i := range r.TimeStamps {
		s := &r.TimeStamps[i]
		text := strings.Join(slices.DeleteFunc([]string{s.Time, quoted(s.Authority), s.Covers, s.Status}, func(w string) bool { return w == "" }), ", ")
		out = append(out, sentence("time stamp", text+": "+s.Detail+".", "time.token"))
	}
	for i := range r.Changes {
		c := &r.Changes[i]
		out = append(out, sentence("changed since", fmt.Sprintf("%s: %s then, %s now: %s.", c.ID, c.Then, c.Now, c.Detail), c.ID))
	}
	return out
}

// quoted quotes a name, if there is one.
func quoted(name string) string {
	if name == "" {
		return ""
	}
	return fmt.Sprintf("%.100q", name)
}
