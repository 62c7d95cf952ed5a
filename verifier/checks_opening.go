package verifier

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sworn-run/sworn/cer"
)

// readOpening reads the opening given with the record, if one was. It counts only if
// all of it is right: what opens one field and not another is not what the record's
// maker kept.
func (a *appraisal) readOpening() {
	if a.in.Opening == nil || a.runtime == nil {
		return
	}
	o, err := cer.ParseOpening(a.in.Opening)
	if err == nil {
		err = o.Check(a.bundle.CertificateHash, a.runtime)
	}
	if err != nil {
		a.openingErr = err
		return
	}
	a.opening = o
}

// open returns what the opening says of a field; nil if it says nothing.
func (a *appraisal) open(field string) *cer.OpenField {
	if a.opening == nil {
		return nil
	}
	return a.opening.Field(field)
}

// shown returns a stream as record or opening state it, and whether either does.
func (a *appraisal) shown(field string, s cer.Stream) (cer.Stream, bool) {
	if s.Commitment == "" {
		return s, true
	}
	if f := a.open(field); f != nil {
		return cer.Stream{SHA256: f.Stream.SHA256, Size: f.Stream.Size, Complete: f.Stream.Complete, Commitment: s.Commitment}, true
	}
	return s, false
}

func askedDisclosure(a *appraisal) bool { return a.in.Policy != nil && len(a.in.Policy.Disclosure) > 0 }

func checkDisclosure(a *appraisal) outcome {
	switch {
	case !askedDisclosure(a):
		return notApplicable("the policy names no disclosure")
	case a.runtime == nil:
		return unknown("the record cannot be read")
	}
	want, got := a.in.Policy.Disclosure, a.runtime.Disclosure
	if !slices.Contains(want, got) {
		return failed(fmt.Sprintf("the disclosure is %q, which the policy does not list", got)).with(strings.Join(want, " or "), got)
	}
	return passed("disclosure " + got)
}

func askedOpening(a *appraisal) bool { return a.in.Opening != nil }

func checkOpening(a *appraisal) outcome {
	switch {
	case !askedOpening(a):
		return notApplicable("no opening was given")
	case a.runtime == nil:
		return unknown("the record cannot be read")
	case a.openingErr != nil:
		return failed(a.openingErr.Error())
	}
	names := a.opening.Names()
	return passed(fmt.Sprintf("%d of %d commitments opened: %s", len(names), len(a.runtime.CommittedFields()), few(names)))
}

// claimCommitted says what of a record is not as one that commits, or one that states,
// has it: the log says before the job which of them it is.
func claimCommitted(a *appraisal) string {
	if (a.environments[cer.KindCommitments] != nil) != a.runtime.Committed() {
		return fmt.Sprintf("the log says otherwise whether the record commits to its fields than runtime version %d", a.runtime.V)
	}
	if !a.runtime.Committed() {
		return ""
	}
	facts, template := a.environments[cer.KindCommitments].Facts, a.argv()
	if len(facts) != len(a.runtime.Parameters) {
		return "parameters are not those of the log"
	}
	for i, p := range a.runtime.Parameters {
		if p.Name != facts[i].Name || p.Commitment != facts[i].Value {
			return fmt.Sprintf("parameter %q is not that of the log", p.Name)
		}
		if p.Applied != cer.Applied(template, p.Name) {
			return fmt.Sprintf("parameter %q: applied is not what the command template says", p.Name)
		}
	}
	s := a.bundle.Snapshot
	if s.Timestamp != a.bundle.CreatedAt || a.begin.Clock != "0" {
		return "timestamp or launch-begin tells when the job began, and so how long it took"
	}
	for _, c := range []struct {
		what   string
		value  cer.Value
		stream cer.Stream
	}{{cer.FieldInput, s.Input, a.runtime.Input}, {cer.FieldOutput, s.Output, a.runtime.Output}} {
		want, err := cer.ContentCommitment(c.stream)
		got, rawErr := c.value.Raw()
		if err != nil || rawErr != nil || string(want) != string(got) {
			return c.what + " is not the descriptor of its commitment"
		}
	}
	return ""
}

// sdkVersion is what Sworn writes as sdkVersion beside a runtime.
func sdkVersion(r *cer.Runtime) string {
	if r.Committed() {
		return cer.SDKVersion2
	}
	return cer.SDKVersion
}

// Stream is a stream in a report: digest, size and whether it is complete, or a
// commitment to these, and with it what a right opening says.
type Stream struct {
	// SHA256 is the digest of the bytes, 64 hexadecimal digits; empty if the record
	// commits to it and nothing opens it.
	SHA256 string `json:"sha256,omitempty"`
	// Size is their number in decimal; empty as SHA256 is.
	Size string `json:"size,omitempty"`
	// Complete is false if the stream was cut; nil if that is not known.
	Complete *bool `json:"complete,omitempty"`
	// Commitment is the commitment, 64 hexadecimal digits; empty if there is none.
	Commitment string `json:"commitment,omitempty"`
	// Opened is true if an opening says what was committed to.
	Opened bool `json:"opened,omitempty"`
}

// Stated returns what record or opening say of the stream, and whether they do.
func (s *Stream) Stated() (cer.Stream, bool) {
	if s == nil || s.SHA256 == "" || s.Complete == nil {
		return cer.Stream{}, false
	}
	return cer.Stream{SHA256: s.SHA256, Size: s.Size, Complete: *s.Complete}, true
}

// Parameter is a parameter in a report: its value, or a commitment to it, and with it
// the value that a right opening says.
type Parameter struct {
	// Name is the parameter's name.
	Name string `json:"name"`
	// Value is its value; nil if the record commits to it and nothing opens it.
	Value *string `json:"value,omitempty"`
	// Applied is true if the command template holds {param:NAME}.
	Applied bool `json:"applied"`
	// Commitment is the commitment to the value, 64 hexadecimal digits; empty if there
	// is none.
	Commitment string `json:"commitment,omitempty"`
	// Opened is true if an opening says what was committed to.
	Opened bool `json:"opened,omitempty"`
}

// stream returns a stream for the report.
func (a *appraisal) stream(field string, s cer.Stream) *Stream {
	got, ok := a.shown(field, s)
	out := &Stream{SHA256: got.SHA256, Size: got.Size, Commitment: s.Commitment, Opened: ok && s.Commitment != ""}
	// Of the output alone a record that commits says whether it is whole.
	if ok || field == cer.FieldOutput {
		out.Complete = &got.Complete
	}
	return out
}

// parameters returns the parameters for the report.
func (a *appraisal) parameters() []Parameter {
	var out []Parameter
	for _, p := range a.runtime.Parameters {
		r := Parameter{Name: p.Name, Applied: p.Applied, Commitment: p.Commitment}
		if f := a.open(cer.ParameterField(p.Name)); f != nil && p.Commitment != "" {
			r.Value, r.Opened = f.Value, true
		} else if p.Commitment == "" {
			r.Value = &p.Value
		}
		out = append(out, r)
	}
	return out
}

// text says what is known of a stream.
func (s *Stream) text(what string) string {
	switch {
	case s.SHA256 == "":
		return what + " committed, not opened"
	case s.Opened:
		return fmt.Sprintf("%s %s bytes sha256:%.12s… (opened)", what, s.Size, s.SHA256)
	default:
		return fmt.Sprintf("%s %s bytes sha256:%.12s…", what, s.Size, s.SHA256)
	}
}

// text says what is known of a parameter.
func (p *Parameter) text() string {
	switch {
	case p.Value == nil:
		return fmt.Sprintf("%.40q committed, not opened", p.Name)
	case p.Opened:
		return fmt.Sprintf("%.40q=%.100q (opened)", p.Name, *p.Value)
	default:
		return fmt.Sprintf("%.40q=%.100q", p.Name, *p.Value)
	}
}
