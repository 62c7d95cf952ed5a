package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
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
		if f.Register != nil {
			t.row(2, "bank", f.Bank)
			t.row(2, "register", fmt.Sprint(*f.Register))
			treeBoot(t, &f.Boot)
		}
		treeLaunched(t, &f)
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

// treeLaunched shows what a policy wants of a confidential VM or an enclave.
func treeLaunched(t *treeWriter, f *verifier.FormatPolicy) {
	for _, name := range slices.Sorted(maps.Keys(f.Measurements)) {
		t.row(2, name, strings.Join(f.Measurements[name], " or "))
	}
	for i := range f.Images {
		x := &f.Images[i]
		t.row(2, "image", x.Name)
		for _, name := range slices.Sorted(maps.Keys(x.Measurements)) {
			t.row(3, name, x.Measurements[name])
		}
		t.row(3, "command line", x.Cmdline)
		for _, d := range x.Launchers {
			t.row(3, "launcher", d)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(f.Attributes)) {
		t.row(2, name, fmt.Sprint(f.Attributes[name]))
	}
	if len(f.TCB.Status) > 0 {
		t.row(2, "TCB status", strings.Join(f.TCB.Status, " or "))
	}
	if len(f.TCB.AdvisoriesAllowed) > 0 {
		t.row(2, "advisories allowed", strings.Join(f.TCB.AdvisoriesAllowed, ", "))
	}
	if f.TCB.MinEvaluation > 0 {
		t.row(2, "evaluation data", fmt.Sprintf("number %d or later", f.TCB.MinEvaluation))
	}
	for _, name := range slices.Sorted(maps.Keys(f.TCB.Minimum)) {
		t.row(2, "TCB "+name, fmt.Sprintf("%d or later", f.TCB.Minimum[name]))
	}
}

// treeBoot shows a policy's reference values of what booted.
func treeBoot(t *treeWriter, b *verifier.BootPolicy) {
	if len(b.Registers) == 0 && b.SecureBoot == nil && len(b.Images) == 0 && b.IMA == nil {
		t.row(2, "boot", "no reference values")
		return
	}
	for i := range 16 {
		if values := b.Registers[strconv.Itoa(i)]; len(values) > 0 {
			t.row(2, fmt.Sprintf("PCR %d", i), strings.Join(values, " or "))
		}
	}
	if s := b.SecureBoot; s != nil {
		t.row(2, "Secure Boot", s.State)
		for _, d := range s.DB {
			t.row(3, "db", d)
		}
	}
	for i := range b.Images {
		x := &b.Images[i]
		t.row(2, "boot image", x.Name)
		t.row(3, "PCR 4", strings.Join(x.Loaded, ", "))
		for _, s := range x.Sections {
			t.row(3, "PCR 11 "+s.Name, s.Digest)
		}
		for _, p := range x.Phases {
			t.row(3, "PCR 11 phase", p)
		}
		for _, s := range x.Stub {
			t.row(3, "PCR 9", strings.Join(s, " or "))
		}
		for _, d := range x.Extensions {
			t.row(3, "before the log", d)
		}
		t.row(3, "command line", x.Cmdline)
		for _, d := range x.Launchers {
			t.row(3, "launcher", d)
		}
	}
	if b.IMA != nil {
		t.row(2, "files measured", fmt.Sprintf("%d digests", len(b.IMA.Files)))
	}
}

// treePolicyRules shows what a policy says of the launch, and what a person
// should know of it.
func treePolicyRules(t *treeWriter, p *verifier.Policy) {
	t.rows([][2]string{
		{"others", p.Others},
		{"protection", listOrNone(p.Protection)},
		{"disclosure", listOrNone(p.Disclosure)},
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
		{"policy", digestOrNone(r.Policy)},
		{"roots", digestOrNone(r.Roots)},
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

// digestOrNone spells a digest that a report may lack.
func digestOrNone(hex string) string {
	if hex == "" {
		return "none given"
	}
	return "sha256:" + hex
}
