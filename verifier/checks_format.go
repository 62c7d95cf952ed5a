package verifier

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
)

// namesImage reports whether the policy has reference values of what was launched.
func (f *FormatPolicy) namesImage(d *attest.Description) bool {
	return len(f.Images) > 0 || slices.ContainsFunc(d.Measurements, func(m attest.MeasurementField) bool {
		return m.Image && len(f.Measurements[m.Name]) > 0 && !slices.ContainsFunc(m.With, func(n string) bool { return !f.namesNumber(n) })
	})
}

// namesNumber reports whether the policy has a value of the attribute, or a minimum of the
// version.
func (f *FormatPolicy) namesNumber(name string) bool {
	_, attribute := f.Attributes[name]
	_, version := f.TCB.Minimum[name]
	return attribute || version
}

// rules returns the policy's rules for a slot; nil if there are none.
func (a *appraisal) rules(s *slotResult) *FormatPolicy {
	if a.in.Policy == nil {
		return nil
	}
	if f, ok := a.in.Policy.Formats[s.desc.Name]; ok {
		return &f
	}
	return nil
}

// measurement returns a stated digest in hexadecimal; empty if there is none.
func (s *slotResult) measurement(name string) string {
	for _, m := range s.claims.Measurements {
		if m.Name == name {
			return hex.EncodeToString(m.Value)
		}
	}
	return ""
}

// launchRules are slot.measurement's rules about the digests that evidence states.
func launchRules(s *slotResult, f *FormatPolicy) outcome {
	for _, name := range slices.Sorted(maps.Keys(f.Measurements)) {
		if got := s.measurement(name); !slices.Contains(f.Measurements[name], got) {
			return failed(name+" has another value").with(strings.Join(f.Measurements[name], " or "), got)
		}
	}
	var established []string
	if n := len(f.Measurements); n > 0 {
		established = append(established, fmt.Sprintf("%d measurement(s) with the policy's values", n))
	}
	if len(f.Images) > 0 {
		image, problem := f.launched(s)
		if image == nil {
			return problem
		}
		established = append(established, "image "+strconv.Quote(image.Name)+" was launched")
	}
	return passed(strings.Join(established, "; "))
}

// launched returns the policy's image that was launched, or why it is none.
func (f *FormatPolicy) launched(s *slotResult) (*LaunchImage, outcome) {
	first := outcome{}
	for i := range f.Images {
		x := &f.Images[i]
		differs := ""
		for _, name := range slices.Sorted(maps.Keys(x.Measurements)) {
			if s.measurement(name) != x.Measurements[name] {
				differs = name
				break
			}
		}
		if differs == "" {
			return x, outcome{}
		}
		if i == 0 {
			first = failed(fmt.Sprintf("what was launched is not image %q: %s has another value", x.Name, differs)).
				with(x.Measurements[differs], s.measurement(differs))
		}
	}
	if len(f.Images) > 1 {
		first.Detail = fmt.Sprintf("what was launched is none of the policy's %d images; %s", len(f.Images), first.Detail)
	}
	return nil, first
}

// open says what keeps a launcher in an image from being what runs, or nothing.
func (i *LaunchImage) open() string {
	switch {
	case len(i.Launchers) == 0:
		return "it has no launcher in it"
	case i.Cmdline == "":
		return "the policy does not have the text of its command line"
	}
	if problem := openKernel(i.Cmdline); problem != "" {
		return "its kernel is open: " + problem
	}
	if findsRoot(i.Cmdline) {
		return "its command line names no root file system, and does not keep systemd from finding one (rd.systemd.gpt_auto=0)"
	}
	return openRoot(i.Cmdline)
}

// identities are the digests of the program that the evidence is of, as a component
// launcher has them: the measurements that identify it by themselves.
func (s *slotResult) identities() []string {
	var out []string
	for _, m := range s.desc.Measurements {
		if b, err := hex.DecodeString(s.measurement(m.Name)); m.Image && m.With == nil && err == nil && len(b) == sha256.Size {
			out = append(out, cer.SHA256Digest([32]byte(b)))
		}
	}
	return out
}

// measured reports whether a launcher is the program that the evidence is of.
func (s *slotResult) measured(launcher *cer.Component) bool {
	return s.desc.Program && s.claims != nil && slices.ContainsFunc(launcher.Digest, func(d string) bool { return slices.Contains(s.identities(), d) })
}

// rootedLaunch judges whether what was launched covers the launcher.
func rootedLaunch(s *slotResult, f *FormatPolicy, own *cer.Component) outcome {
	if s.desc.Program {
		if !s.measured(own) {
			return unknown("the component launcher is not the program that the evidence is of").
				with(strings.Join(s.identities(), " or "), strings.Join(own.Digest, " or "))
		}
		return passed("the launcher is what was launched, and nothing else is in it")
	}
	image, _ := f.launched(s)
	if image == nil {
		return unknown("the policy names no image that was launched")
	}
	if !slices.ContainsFunc(own.Digest, func(d string) bool { return slices.Contains(image.Launchers, d) }) {
		return unknown("the launcher is not in image " + strconv.Quote(image.Name) + ", which was launched")
	}
	if problem := image.open(); problem != "" {
		return unknown("image " + strconv.Quote(image.Name) + ": " + problem)
	}
	return passed("the launcher lies in image " + strconv.Quote(image.Name) + ", which was launched")
}

// attributesFit compares what the evidence states with the policy's values, and with
// the defaults of those that it does not name. Without a policy nobody has said what is
// wanted: what no policy could accept, a scheme has refused.
func (a *appraisal) attributesFit(s *slotResult) outcome {
	var named map[string]uint64
	if f := a.rules(s); f != nil {
		named = f.Attributes
	}
	got, odd := map[string]uint64{}, []string(nil)
	for _, x := range s.claims.Attributes {
		got[x.Name] = x.Value
	}
	for _, x := range s.desc.Attributes {
		want, asked := named[x.Name]
		v, stated := got[x.Name]
		switch {
		case !asked && (x.Free || !stated):
			continue
		case !asked:
			want = x.Default
		case !stated:
			return unknown("the evidence states no " + x.Name)
		}
		if v != want && a.in.Policy == nil {
			odd = append(odd, fmt.Sprintf("%s is %d", x.Name, v))
			continue
		}
		if v != want {
			return failed(x.Name+" has another value than is wanted").with(strconv.FormatUint(want, 10), strconv.FormatUint(v, 10))
		}
	}
	if len(s.desc.Attributes) == 0 {
		return passed("restricted, fixed to its TPM, signing only")
	}
	if len(odd) > 0 {
		return passed("not a debug mode; no policy says that it may be so: " + strings.Join(odd, ", "))
	}
	return passed(fmt.Sprintf("not a debug mode; %d attributes as wanted", len(s.claims.Attributes)))
}

func checkSlotTCB(a *appraisal, i int) outcome {
	s := &a.slots[i]
	o := s.finding("slot.tcb", func(c *attest.Claims) attest.Finding { return c.TCB.Finding })
	if o.Status != attest.Passed {
		return o
	}
	if a.now != nil && i < len(a.now.slots) && a.now.slots[i].claims != nil && a.now.slots[i].claims.TCB.Finding.Status == attest.Failed {
		// It does not say since when its keys may be known to others.
		return failed("the vendor has revoked the platform since: " + a.now.slots[i].claims.TCB.Detail)
	}
	t, rule := &s.claims.TCB, TCBPolicy{}
	if f := a.rules(s); f != nil {
		rule = f.TCB
	}
	for _, v := range t.Versions {
		if least, asked := rule.Minimum[v.Name]; asked && v.Value < least {
			return failed("the platform's "+v.Name+" is older than the policy wants").
				with("≥ "+strconv.FormatUint(least, 10), strconv.FormatUint(v.Value, 10))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(rule.Minimum)) {
		if !slices.ContainsFunc(t.Versions, func(v attest.Attribute) bool { return v.Name == name }) {
			return unknown("the evidence states no version of " + name)
		}
	}
	if !s.desc.VendorStatus {
		if len(rule.Minimum) == 0 {
			return unknown("the vendor publishes no status, and the policy names no least version; " + o.Detail)
		}
		return passed(o.Detail)
	}
	return rule.statusFits(t, o.Detail)
}

// statusFits compares the vendor's word on a platform with the policy's.
func (r *TCBPolicy) statusFits(t *attest.TCB, detail string) outcome {
	want := r.Status
	if len(want) == 0 {
		want = []string{StatusUpToDate}
	}
	if !slices.Contains(want, t.Status) {
		return failed("the vendor says of the platform: "+t.Status).with(strings.Join(want, " or "), t.Status)
	}
	for _, id := range t.Advisories {
		if !slices.Contains(r.AdvisoriesAllowed, id) {
			return failed("the vendor's advisory "+id+" applies").with(strings.Join(r.AdvisoriesAllowed, ", "), strings.Join(t.Advisories, ", "))
		}
	}
	if t.Evaluation < r.MinEvaluation {
		return failed("the vendor's status is by older evaluation data than the policy wants").
			with(fmt.Sprintf("≥ %d", r.MinEvaluation), strconv.FormatUint(uint64(t.Evaluation), 10))
	}
	return passed(detail)
}

// checkSameMachine: two quotes over one statement may come from two machines, because
// what measured software says in report data is what it talked to.
func checkSameMachine(a *appraisal) outcome {
	switch {
	case len(a.slots) == 0:
		return unknown("the manifest cannot be read")
	case len(a.slots) > 1:
		return unknown("nothing binds the slots to one machine")
	case a.slots[0].desc.Mode == attest.ModeViaAK && a.slots[0].claims == nil:
		return noEvidence(&a.slots[0])
	case a.slots[0].desc.Mode == attest.ModeViaAK:
		return passed("the report of the machine names the key of the TPM that quoted")
	default:
		return notApplicable("one slot")
	}
}
