package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/verifier"
)

// showBundle shows a NexArt bundle, Sworn's or another's.
func showBundle(t *treeWriter, file []byte) error {
	if b, err := cer.ParseBundle(file); err == nil {
		treeRecord(t, b)
	} else {
		treeForeign(t, file)
	}
	treeIntegrity(t, file)
	return nil
}

// treeIntegrity shows whether a bundle's hashes are those of its bytes.
func treeIntegrity(t *treeWriter, file []byte) {
	in, err := cer.VerifyIntegrity(file)
	if err != nil {
		t.row(1, "integrity", "fails: "+err.Error())
		return
	}
	t.row(1, "integrity", "holds: certificateHash is that of what it covers, which anybody can compute")
	t.row(1, "not covered", listOrNone(in.Uncovered))
	t.row(1, "withheld", listOrNone(in.Withheld))
}

// listOrNone joins a list, or says that it is empty.
func listOrNone(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}

// treeForeign shows a bundle that is not one of a capsule: its members and
// those of its snapshot, as they stand.
func treeForeign(t *treeWriter, file []byte) {
	t.head("NexArt bundle", "not of the form that a capsule holds")
	treeJSON(t, 1, file)
}

// shortJSON returns a JSON value, cut where it is long.
func shortJSON(v jsontext.Value) string {
	const limit = 200
	s := strings.ToValidUTF8(string(v), "")
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + fmt.Sprintf("… (%d bytes)", len(s))
}

// showPolicy shows a policy with its defaults filled in.
func showPolicy(t *treeWriter, file []byte) error {
	p, err := verifier.ParsePolicy(file)
	if err != nil {
		return err
	}
	t.head("policy", fmt.Sprintf("%s, %d bytes, sha256:%x", p.Type, len(file), p.Digest()))
	t.row(1, "name", p.Name)
	for _, set := range p.Slots {
		t.row(1, "slots", strings.Join(set, " + "))
	}
	for _, name := range slices.Sorted(maps.Keys(p.Formats)) {
		f := p.Formats[name]
		t.row(1, "format", name)
		t.row(2, "identity", "role "+f.Identity.Role)
		for _, s := range f.Identity.SPKI {
			t.row(2, "identity SPKI", s)
		}
		t.row(2, "bank", f.Bank)
		t.row(2, "register", fmt.Sprint(f.Register))
		t.row(2, "boot", fmt.Sprintf("%d reference values", len(f.Boot)))
	}
	for i := range p.Components {
		c := &p.Components[i]
		t.row(1, c.Role, strings.TrimSpace(c.Name+" "+strings.Join(c.Digest, " or ")+string(c.Value)))
		if c.Path != "" {
			t.row(2, "path", c.Path)
		}
	}
	treePolicyRules(t, p)
	return nil
}

// treePolicyRules shows what a policy says of the launch, and what a person
// should know of it.
func treePolicyRules(t *treeWriter, p *verifier.Policy) {
	t.rows([][2]string{
		{"others", p.Others},
		{"protection", listOrNone(p.Protection)},
		{"devices", listOrNone(p.Devices)},
		{"network", fmt.Sprint(p.Network)},
		{"exit", fmt.Sprint(p.Exit)},
		{"nonce.quote", fmt.Sprint(p.Nonce.Quote)},
		{"nonce.execution", fmt.Sprint(p.Nonce.Execution)},
		{"time.token", fmt.Sprint(p.Time.Token)},
		{"prior_launches", p.PriorLaunches},
		{"series", p.Series},
		{"allow_at", fmt.Sprint(p.AllowAt)},
	})
	for _, w := range p.Waive {
		t.row(1, "waive", w.Check+": "+w.Reason)
	}
	for _, l := range p.Lint() {
		t.row(1, "note", l)
	}
}

// showReport shows a report that `sworn verify --format json` printed. It says
// what the report says; whether it is true, only verifying again tells.
func showReport(t *treeWriter, file []byte) error {
	var r struct {
		Type     string           `json:"type"`
		File     string           `json:"file"`
		Headline string           `json:"headline"`
		Now      verifier.Verdict `json:"verdictNow"`
		Checks   []verifier.Check `json:"checks"`
		Capsule  string           `json:"capsule"`
		Policy   string           `json:"policy"`
		Roots    string           `json:"roots"`
		Verifier string           `json:"verifier"`
	}
	if err := json.Unmarshal(file, &r); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	t.head("report", r.Type+", as whoever made it says")
	t.rows([][2]string{
		{"file", r.File},
		{"headline", r.Headline},
		{"time", r.Now.Time},
		{"horizon", r.Now.Horizon},
		{"capsule", "sha256:" + r.Capsule},
		{"policy", "sha256:" + r.Policy},
		{"roots", "sha256:" + r.Roots},
		{"verifier", r.Verifier},
	})
	for i := range r.Checks {
		c := &r.Checks[i]
		text := c.Status + ": " + c.Detail
		if c.Waived != "" {
			text = c.Status + " (waived: " + c.Waived + "): " + c.Detail
		}
		t.row(1, c.ID, text)
	}
	return nil
}
