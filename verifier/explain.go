package verifier

import (
	_ "embed" // for the explanations
	"strings"
)

//go:embed explain.txt
var explanations string

// Explanation says what one check is for, to somebody who has never heard of
// it. Every text is plain sentences in one line, without markup.
type Explanation struct {
	// ID is the check's id.
	ID string `json:"id"`
	// Class is the check's class.
	Class Class `json:"-"`
	// Spec is the clause that defines the check.
	Spec string `json:"spec"`
	// Passes says when the check passes, as reports do.
	Passes string `json:"passes"`
	// Defends says what holds if the check passed.
	Defends string `json:"defends"`
	// Attack is the attack that the check answers.
	Attack string `json:"attack"`
	// Satisfy says what whoever makes records does to satisfy it.
	Satisfy string `json:"satisfy"`
	// Ask says how a relying party asks for it.
	Ask string `json:"ask"`
	// Waive says whether and how it is waived, and what that costs.
	Waive string `json:"waive"`
}

// Explain returns the explanation of the check with the given id, and whether
// there is such a check.
func Explain(id string) (Explanation, bool) {
	for _, e := range Explanations() {
		if e.ID == id {
			return e, true
		}
	}
	return Explanation{}, false
}

// Explanations returns the explanation of every check, in the order of
// [CheckIDs].
func Explanations() []Explanation {
	texts := explanationTexts(explanations)
	out := make([]Explanation, 0, len(texts))
	for _, d := range definitions() {
		t := texts[d.id]
		out = append(out, Explanation{
			ID: d.id, Class: d.class, Spec: d.spec, Passes: d.passes,
			Defends: t["defends"], Attack: t["attack"], Satisfy: t["satisfy"], Ask: t["ask"], Waive: t["waive"],
		})
	}
	return out
}

// Reason returns the id of the check that the headline names, the first that
// failed or else the first that is not established of those in the way of the
// verdict, and whether there is one: there is none in a trusted report.
func (r *Report) Reason() (string, bool) {
	if c := r.reason((*Check).blocks); c != nil && !r.Trusted {
		return c.ID, true
	}
	return "", false
}

// explanationTexts reads explain.txt: a line "# id" opens a check, every other
// line that is not empty is "field: text" of it.
func explanationTexts(file string) map[string]map[string]string {
	out := map[string]map[string]string{}
	id := ""
	for line := range strings.Lines(file) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "# "); ok {
			id = name
			out[id] = map[string]string{}
			continue
		}
		if field, text, ok := strings.Cut(line, ": "); ok && id != "" {
			out[id][field] = text
		}
	}
	return out
}
