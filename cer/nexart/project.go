package nexart

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strconv"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/cer/internal/canon"
)

const (
	// maxSteps is the largest number of steps in a project that is judged.
	maxSteps = 4096
	// maxParents is the largest number of parentStepIds in all of them.
	maxParents = 1 << 16
)

// projectMembers are what projectHash covers, in canonical order: the constants,
// what is required, and what counts only where it is there.
var projectMembers = [...]struct {
	name, constant string
	optional       bool
}{
	{name: "appName", optional: true},
	{name: "bundleType", constant: projectType},
	{name: "completedAt"},
	{name: "frameworkName", optional: true},
	{name: "projectBundleId"},
	{name: "projectGoal", optional: true},
	{name: "projectSummary", optional: true},
	{name: "projectTitle"},
	{name: "protocolVersion", constant: cer.Protocol120},
	{name: "startedAt"},
	{name: "stepRegistry"},
	{name: "tags", optional: true},
	{name: "totalSteps"},
	{name: "version", constant: cer.BundleVersion},
}

// A registered step is one entry of a stepRegistry.
type registered struct {
	id, executionID, hash string
	sequence              int
	parents               []string
	embedded              canon.Value
}

// problem is something wrong with a project, of which only the worst kind names
// the record's code.
type problem struct {
	code Code
	text string
}

// project judges a project bundle: the hash over its registry, the registry's own
// rules, and each record in it.
func (c *check) project() {
	c.protocol = cer.Protocol120
	hash := c.record.Get("integrity").Get("projectHash")
	c.claim(hash)
	var found []problem
	add := func(code Code, format string, args ...any) {
		// Every code counts, and as many texts as a report holds.
		if len(found) < maxNotes || !slices.ContainsFunc(found, func(p problem) bool { return p.code == code }) {
			found = append(found, problem{code, fmt.Sprintf(format, args...)})
		}
	}
	c.projectSchema(add)
	got := projectHash(c.record)
	if !hash.Is(got) {
		add(CodeProjectHash, "projectHash is not that of the project, %s", got)
	}
	steps := c.registry(add)
	byStep := Code(0)
	for _, s := range steps {
		if code := c.step(s, add); code != CodeUnknown && byStep == CodeUnknown {
			byStep = code
		}
	}
	c.chain(steps)
	c.projectUncovered(steps)
	if len(found) == 0 {
		c.CertificateHash = got
		c.receiptsOfSteps()
		return
	}
	rank := []Code{CodeProjectHash, CodeStepRegistry, CodeCertificateHash, CodeSchema, byStep}
	slices.SortStableFunc(found, func(a, b problem) int { return rankOf(rank, a.code) - rankOf(rank, b.code) })
	for _, p := range found {
		c.integrityFailed(p.code, "%s", p.text)
	}
}

// rankOf is the place of a code in a list, or behind it.
func rankOf(rank []Code, code Code) int {
	if i := slices.Index(rank, code); i >= 0 {
		return i
	}
	return len(rank)
}

// projectSchema checks the members of the project itself.
func (c *check) projectSchema(add func(Code, string, ...any)) {
	for _, m := range projectMembers {
		v := c.record.Get(m.name)
		switch {
		case m.constant != "" && !v.Is(m.constant):
			add(CodeSchema, "%s is not %q", m.name, m.constant)
		case m.constant != "" || m.optional || m.name == "stepRegistry" || m.name == "totalSteps":
		case v.IsEmpty():
			add(CodeSchema, "%s is not a non-empty string", m.name)
		}
	}
	if v := c.record.Get("integrity").Get("algorithm"); !v.Is("sha256-canonical-json") {
		add(CodeSchema, "integrity.algorithm is not %q", "sha256-canonical-json")
	}
	if c.record.Get("integrity").Get("projectHash").Kind() != '"' {
		add(CodeSchema, "integrity.projectHash is not a string")
	}
	if v := c.record.Get("embeddedBundles"); v.Kind() != '{' || v.Len() > maxSteps {
		add(CodeSchema, "embeddedBundles is not an object of at most %d records", maxSteps)
	}
}

// projectHash hashes the constants, and the rest as it stands.
func projectHash(record canon.Value) string {
	h := sha256.New()
	separator := `{"`
	for _, m := range projectMembers {
		v := record.Get(m.name)
		switch {
		case m.constant != "":
			h.Write([]byte(separator + m.name + `":"` + m.constant + `"`))
		case v.Kind() == 0 || (m.name == "tags" && string(v.Canonical()) == "[]"):
			continue
		default:
			h.Write([]byte(separator + m.name + `":`))
			h.Write(v.Canonical())
		}
		separator = `,"`
	}
	h.Write([]byte("}"))
	return cer.FormatHash([32]byte(h.Sum(nil)))
}

// registry reads the registry and checks its own rules.
func (c *check) registry(add func(Code, string, ...any)) []registered {
	list := c.record.Get("stepRegistry")
	if list.Kind() != '[' {
		add(CodeSchema, "stepRegistry is not an array")
		return nil
	}
	entries := list.Elements(maxSteps, 3)
	if entries == nil {
		add(CodeSchema, "stepRegistry has more than %d steps", maxSteps)
		return nil
	}
	if total := c.record.Get("totalSteps"); string(total.Canonical()) != strconv.Itoa(len(entries)) {
		add(CodeStepRegistry, "totalSteps is not the number of steps, %d", len(entries))
	}
	ids, executions, sequences := map[string]bool{}, map[string]bool{}, map[int]bool{}
	var out []registered
	parents := maxParents
	for i, e := range entries {
		s, ok := readStep(e, parents)
		parents -= len(s.parents)
		switch {
		case !ok:
			add(CodeStepRegistry, "step %d: stepId, sequence, executionId, certificateHash or parentStepIds is missing or malformed", i)
			continue
		case ids[s.id]:
			add(CodeStepRegistry, "stepId %q occurs twice", brief(s.id))
			continue
		case executions[s.executionID]:
			add(CodeStepRegistry, "executionId %q occurs twice", brief(s.executionID))
		case sequences[s.sequence]:
			add(CodeStepRegistry, "sequence %d occurs twice", s.sequence)
		}
		ids[s.id], executions[s.executionID], sequences[s.sequence] = true, true, true
		if v := c.record.Get("embeddedBundles"); v.Len() <= maxSteps {
			s.embedded = v.Get(s.id)
		}
		out = append(out, s)
	}
	resolved := true
	for _, s := range out {
		for _, p := range s.parents {
			if !ids[p] || p == s.id {
				resolved = false
				add(CodeStepRegistry, "step %q: parent %q is no other step", brief(s.id), brief(p))
			}
		}
	}
	if id, ok := inCircle(out); ok && resolved {
		add(CodeStepRegistry, "step %q comes after itself, by its parents", brief(id))
	}
	return out
}

// brief is an identifier, cut to what a line can show.
func brief(id string) string { return cut(id, 100) }

// inCircle finds a step that is among its own ancestors, or below one: of steps whose parents
// are all gone, take one away, until none is left.
func inCircle(steps []registered) (string, bool) {
	waits, children := map[string]int{}, map[string][]string{}
	for _, s := range steps {
		waits[s.id] = len(s.parents)
		for _, p := range s.parents {
			children[p] = append(children[p], s.id)
		}
	}
	var free []string
	for _, s := range steps {
		if len(s.parents) == 0 {
			free = append(free, s.id)
		}
	}
	for len(free) > 0 {
		id := free[len(free)-1]
		free = free[:len(free)-1]
		for _, child := range children[id] {
			if waits[child]--; waits[child] == 0 {
				free = append(free, child)
			}
		}
	}
	for _, s := range steps {
		if waits[s.id] > 0 {
			return s.id, true
		}
	}
	return "", false
}

// readStep reads one entry of the registry, of at most that many parents.
func readStep(e canon.Value, most int) (registered, bool) {
	s := registered{
		id: e.Get("stepId").String(), executionID: e.Get("executionId").String(), hash: e.Get("certificateHash").String(),
	}
	sequence, err := strconv.ParseUint(string(e.Get("sequence").Canonical()), 10, 31)
	if err != nil || s.id == "" || s.executionID == "" {
		return s, false
	}
	s.sequence = int(sequence)
	if _, err := cer.ParseHash(s.hash); err != nil {
		return s, false
	}
	parents := e.Get("parentStepIds")
	if parents.Kind() == 0 || parents.Kind() == 'n' {
		return s, true
	}
	list := parents.Elements(min(maxSteps, most), 1)
	for _, p := range list {
		if p.IsEmpty() {
			return s, false
		}
		s.parents = append(s.parents, p.String())
	}
	return s, list != nil
}

// step compares a step with its record, and judges the record. It returns the
// code of a record that fails.
func (c *check) step(s registered, add func(Code, string, ...any)) Code {
	if s.embedded.Kind() != '{' {
		add(CodeStepRegistry, "step %q: no embedded bundle", brief(s.id))
		return CodeUnknown
	}
	if !s.embedded.Get("certificateHash").Is(s.hash) {
		add(CodeStepRegistry, "step %q: the embedded bundle has another certificateHash", brief(s.id))
	}
	if !s.embedded.Get("snapshot").Get("executionId").Is(s.executionID) {
		add(CodeStepRegistry, "step %q: the embedded bundle has another executionId", brief(s.id))
	}
	inner := &check{
		Report: &Report{Receipt: StatusSkipped, Envelope: StatusSkipped}, keys: c.keys, outer: s.embedded, record: s.embedded,
	}
	if s.embedded.Get("bundleType").Is(projectType) {
		add(CodeSchema, "step %q: a project within a project", brief(s.id))
		return CodeUnknown
	}
	inner.run()
	c.Steps = append(c.Steps, Step{s.id, inner.Report})
	c.confidential = c.confidential || inner.confidential
	c.supplemental = c.supplemental || inner.supplemental
	for _, n := range inner.Notes {
		switch n.Kind {
		case NoteUncovered, NoteWithheld, NoteUnsigned:
			c.note(n.Kind, "/embeddedBundles/%s%s", pointer(s.id), n.Text)
		case NoteFailed: // Said below, or by the layers of the step.
		default:
			c.note(n.Kind, "step %q: %s", brief(s.id), n.Text)
		}
	}
	if inner.Integrity != StatusPass {
		code := CodeSchema
		if len(inner.Codes) > 0 {
			code = inner.Codes[0]
		}
		add(code, "step %q: %s", brief(s.id), firstFailure(inner.Report))
		return code
	}
	return CodeUnknown
}

// firstFailure is what the first failed note says.
func firstFailure(r *Report) string {
	for _, n := range r.Notes {
		if n.Kind == NoteFailed {
			return n.Text
		}
	}
	return "its integrity is not established"
}

// receiptsOfSteps fails the layers of a project of which a record fails its own.
// Those that pass do not make the project's pass: whoever has signed records can
// put them together in any order, under any title.
func (c *check) receiptsOfSteps() {
	receipts, envelopes := 0, 0
	for _, s := range c.Steps {
		if s.Report.Receipt == StatusFail || s.Report.Envelope == StatusFail {
			for _, n := range s.Report.Notes {
				if n.Kind == NoteFailed {
					c.note(NoteFailed, "step %q: %s", brief(s.ID), n.Text)
				}
			}
			for _, code := range s.Report.Codes {
				c.code(code)
			}
		}
		if s.Report.Receipt == StatusFail {
			c.Receipt = StatusFail
		}
		if s.Report.Envelope == StatusFail {
			c.Envelope = StatusFail
		}
		if s.Report.Receipt == StatusPass {
			receipts++
		}
		if s.Report.Envelope == StatusPass {
			envelopes++
		}
	}
	if receipts > 0 || envelopes > 0 {
		c.note(NoteSteps, "of %d records a node signed the receipt of %d, the envelope of %d; that says nothing of the project around them",
			len(c.Steps), receipts, envelopes)
	}
}

// chain looks at prevStepHash, which the records hold and nobody else checks. It
// may speak of a record that is not in the project, so it is no reason to refuse.
func (c *check) chain(steps []registered) {
	sorted := slices.Clone(steps)
	slices.SortStableFunc(sorted, func(a, b registered) int { return a.sequence - b.sequence })
	at := map[string]int{}
	for i, s := range sorted {
		at[s.id] = i
	}
	for i, s := range sorted {
		if i > 0 && s.sequence > sorted[i-1].sequence+1 {
			c.note(NoteChain, "sequence %d follows %d: what was between them is not here", s.sequence, sorted[i-1].sequence)
		}
		for _, p := range s.parents {
			if j, ok := at[p]; ok && j >= i {
				c.note(NoteChain, "step %q comes before its parent %q", brief(s.id), brief(p))
			}
		}
		previous := s.embedded.Get("snapshot").Get("prevStepHash")
		if previous.Kind() != '"' {
			continue
		}
		follows := i > 0 && previous.Is(sorted[i-1].hash)
		for _, p := range s.parents {
			if j, ok := at[p]; ok && previous.Is(sorted[j].hash) {
				follows = true
			}
		}
		if !follows {
			c.note(NoteChain, "step %q: prevStepHash is of no step that it follows", brief(s.id))
		}
	}
}

// projectUncovered notes what projectHash leaves out.
func (c *check) projectUncovered(steps []registered) {
	known := map[string]bool{"embeddedBundles": true}
	for _, m := range projectMembers {
		known[m.name] = true
	}
	for i := 0; i < c.record.Len() && !c.full(); i++ {
		name, v := c.record.Member(i)
		switch {
		case name == "integrity":
			for j := 0; j < v.Len() && !c.full(); j++ {
				if inner := string(v.MemberName(j)); inner != "algorithm" && inner != "projectHash" {
					c.uncovered("/integrity/" + pointer(inner))
				}
			}
		case !known[name] || (name == "tags" && string(v.Canonical()) == "[]"):
			c.uncovered("/" + pointer(name))
		}
	}
	registered := map[string]bool{}
	for _, s := range steps {
		registered[s.id] = true
	}
	embedded := c.record.Get("embeddedBundles")
	for i := 0; i < embedded.Len() && !c.full(); i++ {
		if name := string(embedded.MemberName(i)); !registered[name] {
			c.uncovered("/embeddedBundles/" + pointer(name))
		}
	}
}
