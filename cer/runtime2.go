package cer

import (
	"fmt"

	"github.com/go-json-experiment/json"
)

// RuntimeVersion2 is the version of snapshot.runtime in a record that commits to
// input, output, stderr and parameters (SPEC, section 6.8). Its streams and
// parameters have other members than those of version 1, so that neither can be read
// as the other.
const RuntimeVersion2 = 2

// SDKVersion2 is the snapshot's sdkVersion of such a record.
const SDKVersion2 = "sworn-runtime/2"

// The wire form of version 2.
type (
	runtime2 struct {
		V             int          `json:"v"`
		Series        string       `json:"series"`
		Launch        string       `json:"launch"`
		Key           string       `json:"key"`
		Record        string       `json:"record"`
		Nonce         *string      `json:"nonce"`
		Input         stream2      `json:"input"`
		Output        output2      `json:"output"`
		Stderr        stream2      `json:"stderr"`
		Exit          Exit         `json:"exit"`
		Disclosure    string       `json:"disclosure"`
		Isolation     []Fact       `json:"isolation"`
		Parameters    []parameter2 `json:"parameters"`
		NotApplicable []string     `json:"notApplicable"`
		After         []Fact       `json:"after"`
	}
	stream2 struct {
		Commitment string `json:"commitment"`
	}
	// output2 says beside the commitment whether the output is whole, because
	// policies ask for that; whether the job took all of its input would tell of the
	// input's length.
	output2 struct {
		Commitment string `json:"commitment"`
		Complete   bool   `json:"complete"`
	}
	parameter2 struct {
		Applied    bool   `json:"applied"`
		Commitment string `json:"commitment"`
		Name       string `json:"name"`
	}
)

// wire2 returns the wire form of a runtime of version 2.
func (r *Runtime) wire2() *runtime2 {
	w := &runtime2{
		V: r.V, Series: r.Series, Launch: r.Launch, Key: r.Key, Record: r.Record, Nonce: r.Nonce,
		Input: stream2{r.Input.Commitment}, Output: output2{r.Output.Commitment, r.Output.Complete}, Stderr: stream2{r.Stderr.Commitment},
		Exit: r.Exit, Disclosure: r.Disclosure, Isolation: r.Isolation, Parameters: []parameter2{},
		NotApplicable: r.NotApplicable, After: r.After,
	}
	for _, p := range r.Parameters {
		w.Parameters = append(w.Parameters, parameter2{Applied: p.Applied, Commitment: p.Commitment, Name: p.Name})
	}
	return w
}

// runtime returns what a wire form says.
func (w *runtime2) runtime() *Runtime {
	r := &Runtime{
		V: w.V, Series: w.Series, Launch: w.Launch, Key: w.Key, Record: w.Record, Nonce: w.Nonce,
		Input:  Stream{Commitment: w.Input.Commitment},
		Output: Stream{Commitment: w.Output.Commitment, Complete: w.Output.Complete},
		Stderr: Stream{Commitment: w.Stderr.Commitment},
		Exit:   w.Exit, Disclosure: w.Disclosure, Isolation: w.Isolation, Parameters: []Parameter{},
		NotApplicable: w.NotApplicable, After: w.After,
	}
	for _, p := range w.Parameters {
		r.Parameters = append(r.Parameters, Parameter{Name: p.Name, Applied: p.Applied, Commitment: p.Commitment})
	}
	return r
}

// versionOf returns the member v of a runtime; 0 if there is none that is a number.
func versionOf(b []byte) int {
	var head struct {
		V int `json:"v"`
	}
	if json.Unmarshal(b, &head) != nil {
		return 0
	}
	return head.V
}

// checkPlain wants digest and size, and no commitment.
func (s *Stream) checkPlain() error {
	if s.Commitment != "" {
		return fmt.Errorf("stream with a commitment: %w", ErrSchema)
	}
	if err := checkHex32(s.SHA256); err != nil {
		return err
	}
	_, err := ParseUint(s.Size)
	return err
}

// checkCommitted wants commitments, and nothing that the wire form does not have.
func (r *Runtime) checkCommitted() error {
	for _, named := range []struct {
		name string
		*Stream
	}{{FieldInput, &r.Input}, {FieldOutput, &r.Output}, {FieldStderr, &r.Stderr}} {
		if err := checkHex32(named.Commitment); err != nil {
			return fmt.Errorf("runtime %s: %w", named.name, err)
		}
		if named.SHA256 != "" || named.Size != "" || named.Content != nil || named.Complete && named.name != FieldOutput {
			return fmt.Errorf("runtime %s tells what it commits to: %w", named.name, ErrSchema)
		}
	}
	for i := range r.Parameters {
		p := &r.Parameters[i]
		if err := checkHex32(p.Commitment); err != nil {
			return fmt.Errorf("runtime parameter %q: %w", p.Name, err)
		}
		if len(ParameterField(p.Name)) > maxFieldName {
			return fmt.Errorf("runtime parameter with a name of %d bytes: %w", len(p.Name), ErrSchema)
		}
		if p.Value != "" {
			return fmt.Errorf("runtime parameter %q tells what it commits to: %w", p.Name, ErrSchema)
		}
	}
	return nil
}
