package verifier

import (
	"fmt"
	"slices"
	"strings"
)

// Account is a report in sentences, for somebody who has to rely on it and knows no
// check by its name. It says no more than the report: under "not trusted" nothing is
// proven but what the core checks show.
type Account struct {
	// Proven is what the checks that passed show.
	Proven []Sentence
	// Claimed is what somebody says and nothing here shows.
	Claimed []Sentence
	// NotEstablished is what nothing here shows, and what is assumed instead.
	NotEstablished []Sentence
	// Why says what the verdict rests on, or what stands in its way.
	Why []Sentence
}

// Sentence is one statement of an account.
type Sentence struct {
	// Topic is what it is about, in a word or three.
	Topic string
	// Text is the sentence. Names from a hostile record are quoted in it, and other
	// text of the record may be: it is data, neither markup nor safe for a terminal.
	Text string
	// Checks are the ids of the checks that it rests on.
	Checks []string
}

// Account tells the report in sentences.
func (r *Report) Account() Account {
	t := teller{r: r, checks: r.Deciding()}
	return Account{Proven: t.proven(), Claimed: t.claimed(), NotEstablished: t.unproven(), Why: t.why()}
}

// Deciding returns the checks of the verdict that decides: those as of the record's time
// where the record is trusted as of then alone, else [Report.Checks].
func (r *Report) Deciding() []Check {
	if r.Decides == decidesRecord {
		return r.RecordChecks
	}
	return r.Checks
}

// teller tells a report by the checks of the verdict that decides.
type teller struct {
	r      *Report
	checks []Check
}

// sentence makes a sentence about checks.
func sentence(topic, text string, checks ...string) Sentence {
	return Sentence{Topic: topic, Text: strings.ReplaceAll(text, "….", "…"), Checks: checks}
}

// status returns the status of the check with the given id: of several slots the worst.
func (t *teller) status(id string) string {
	worst, order := "", []string{statusPassed, statusNotApplicable, notEstablished, statusFailed}
	for i := range t.checks {
		if c := &t.checks[i]; c.ID == id && slices.Index(order, c.Status) >= slices.Index(order, worst) {
			worst = c.Status
		}
	}
	if worst == "" {
		return notEstablished
	}
	return worst
}

// holds reports whether every check named passed.
func (t *teller) holds(ids ...string) bool {
	for _, id := range ids {
		if t.status(id) != statusPassed {
			return false
		}
	}
	return true
}

// detail returns what the check found, the slots' joined.
func (t *teller) detail(id string) string {
	var out []string
	for i := range t.checks {
		if c := &t.checks[i]; c.ID == id && c.Detail != "" && !slices.Contains(out, c.Detail) {
			out = append(out, c.Detail)
		}
	}
	return strings.Join(out, "; ")
}

// broken returns the core check that did not pass and needs no policy; nil if none.
func (t *teller) broken() *Check {
	var first *Check
	for i := range t.checks {
		c := &t.checks[i]
		stands := c.Class == ClassCore.String() && c.ID != "slot.policy" && c.Status != statusPassed && c.Status != statusNotApplicable
		if stands && (first == nil || first.Status != statusFailed && c.Status == statusFailed) {
			first = c
		}
	}
	return first
}

// proven tells what the checks show.
func (t *teller) proven() []Sentence {
	if len(t.checks) == 0 {
		return []Sentence{sentence("nothing", "No check was made.")}
	}
	if c := t.broken(); c != nil {
		return []Sentence{sentence("nothing", "A check that no policy can excuse did not pass, so that nothing that the file says can be relied on.", c.ID)}
	}
	out := []Sentence{sentence("record", "Record, log and statement are, byte for byte, what the launch key signed, and the quote covers that statement.",
		"cer.hash", "statement.inclusion", "statement.signature", "log.replay", "slot.binding", "slot.signature")}
	out = append(out, t.whose()...)
	out = append(out, sentence("log", t.r.where(t)+".", "log.replay", "log.launch"))
	if !t.r.Trusted {
		return out
	}
	out = append(out, t.byLauncher()...)
	out = append(out, t.job()...)
	out = append(out, t.setting()...)
	return append(out, t.fresh()...)
}

// whose tells who vouches for the keys.
func (t *teller) whose() []Sentence {
	var out []Sentence
	for i := range t.checks {
		c := &t.checks[i]
		if c.ID != "slot.identity" {
			continue
		}
		which := ""
		if n := len(t.r.Summary.Evidence); c.Slot != nil && n > 1 {
			which = fmt.Sprintf(" of slot %d", *c.Slot)
		}
		if c.Status == statusPassed {
			out = append(out, sentence("on whose word", "The key that signed the quote"+which+" is vouched for: "+c.Detail+".", c.ID))
		} else if !t.r.Trusted {
			out = append(out, sentence("by a key", "Nothing shows whose key signed the quote"+which+": anybody can make a key, and a record with it.", c.ID))
		}
	}
	return out
}

// job tells what was measured, given and written.
func (t *teller) job() []Sentence {
	r := t.r
	var out []Sentence
	for _, row := range t.jobRows() {
		out = append(out, sentence(row[0], row[1], "log.launch", "runtime.claims"))
	}
	if len(out) > 0 {
		out[0].Checks = append(out[0].Checks, "components.match")
	}
	if t.holds("component.file") {
		out = append(out, sentence("weights", "The weights are the files given: "+t.detail("component.file")+".", "component.file"))
	}
	if t.holds("model.signature") {
		out = append(out, sentence("weights by", t.detail("model.signature")+".", "model.signature"))
	}
	if t.holds("signer.match") && len(r.Summary.Signatures) > 0 {
		out = append(out, sentence("signed by", t.signedBy(), "signer.signature", "signer.match"))
	}
	if len(r.Summary.Booted) > 0 {
		out = append(out, sentence("booted", t.booted()+".", "boot.log", "slot.measurement"))
	}
	return out
}

// byLauncher says what the rest is worth where nothing shows that the launcher is the
// program that the log names.
func (t *teller) byLauncher() []Sentence {
	if t.holds("launcher.rooted") {
		return nil
	}
	return []Sentence{sentence("by the launcher", "What follows is the word of the launcher that the log names, and the quote shows that it is in the log. That this launcher is what really ran is assumed, below.", "launcher.rooted")}
}

// conditions are what holds where required checks passed that have no sentence of their
// own.
func conditions() [][2]string {
	return [][2]string{
		{"components.closed", "the job's root held the measured files and nothing else"},
		{"protection.storage", "the job could read no bytes but the measured ones"},
		{"compute.inside", "it had no device and no network beyond what the policy allows"},
		{"launcher.exclusive", "it could not quote, extend or trace"},
		{"protection.memory", "its memory could not leave by swap, hibernation or dump"},
		{"log.sole", "earlier launches in the log are complete, disclosed and allowed"},
		{"slot.revocation", "no revocation list that the issuers publish names a certificate of the chain"},
		{"slot.tcb", "the platform's trusted computing base is current"},
		{"slot.counters", "the machine was not reset since the log began"},
		{"launcher.rooted", "a measured boot covers the launcher"},
		{"composite.same-machine", "all evidence is of one machine"},
	}
}

// setting tells in what surroundings the job ran.
func (t *teller) setting() []Sentence {
	var parts, ids []string
	for _, c := range conditions() {
		if t.holds(c[0]) {
			parts, ids = append(parts, c[1]), append(ids, c[0])
		}
	}
	var out []Sentence
	if len(parts) > 0 {
		out = append(out, sentence("how", upper(strings.Join(parts, "; "))+".", ids...))
	}
	for _, id := range []string{"series.order", "series.complete"} {
		if t.holds(id) {
			out = append(out, sentence("series", upper(t.detail(id))+".", id))
		}
	}
	return out
}

// fresh tells what bounds the time.
func (t *teller) fresh() []Sentence {
	var out []Sentence
	if t.holds("nonce.quote") {
		text, ids := "fresh: your nonce is in the quote", []string{"nonce.quote"}
		if t.holds("nonce.execution") {
			text, ids = text+" and in the record", append(ids, "nonce.execution")
		}
		out = append(out, sentence("not before", text+".", ids...))
	}
	if t.holds("time.token") {
		out = append(out, sentence("not after", upper(t.detail("time.token"))+".", "time.token", "time.order"))
	}
	return out
}

// upper makes the first letter of a sentence a capital, if it is one of ASCII.
func upper(s string) string {
	if s != "" && s[0] >= 'a' && s[0] <= 'z' {
		return string(s[0]-'a'+'A') + s[1:]
	}
	return s
}
