//go:build linux

package launch

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/launch/jail"
	"github.com/sworn-run/sworn/internal/limits"
)

// opener makes the commitments of one launch, and keeps what opens them.
type opener struct {
	series [32]byte
	fields []cer.OpenField
	// parameters has the commitments to the parameters, by their names.
	parameters map[string]string
}

// commit commits to a field under a fresh salt, and returns the commitment.
func (o *opener) commit(f cer.OpenField) (string, error) {
	var salt [32]byte
	_, _ = rand.Read(salt[:])
	f.Salt = hex.EncodeToString(salt[:])
	value, err := f.Bytes()
	if err != nil {
		return "", err
	}
	c := cer.Commit(o.series, salt, f.Name, value)
	o.fields = append(o.fields, f)
	return hex.EncodeToString(c[:]), nil
}

// stream commits to a stream; the opening carries its content, if there is any.
func (o *opener) stream(field string, s *cer.Stream, content jsontext.Value) error {
	plain := cer.Stream{SHA256: s.SHA256, Size: s.Size, Complete: s.Complete, Content: content}
	c, err := o.commit(cer.OpenField{Name: field, Stream: &plain})
	if err != nil {
		return err
	}
	// Of the output alone the record says whether it is whole: a policy asks for it.
	*s = cer.Stream{Commitment: c, Complete: s.Complete && field == cer.FieldOutput}
	return nil
}

// commitParameters commits to the parameters before anything is measured, so that the
// commitments are what the log has; where the record states them it does nothing.
func (l *launch) commitParameters() error {
	if l.o.Disclose != cer.DiscloseCommit {
		return nil
	}
	l.opener = &opener{series: l.series, parameters: map[string]string{}}
	if n := len(l.o.Plan.job.Params); n > limits.OpeningFields-3 {
		return fmt.Errorf("%d parameters, at most %d can be committed to: %w", n, limits.OpeningFields-3, ErrUsage)
	}
	for _, p := range l.o.Plan.job.Params {
		if len(p.Value) > limits.ParameterValue || !utf8.ValidString(p.Value) {
			return fmt.Errorf("parameter %q: %d bytes; want UTF-8 of at most %d to commit to: %w", p.Name, len(p.Value), limits.ParameterValue, ErrUsage)
		}
		c, err := l.opener.commit(cer.OpenField{Name: cer.ParameterField(p.Name), Value: &p.Value})
		if err != nil {
			return err
		}
		l.opener.parameters[p.Name] = c
	}
	return nil
}

// parameters returns the event of the parameters: their values, or commitments.
func (l *launch) parameters() *cer.Environment {
	if l.opener == nil {
		return cer.NewEnvironment(cer.KindParameters, l.o.Plan.job.Params)
	}
	var facts []cer.Fact
	for _, p := range l.o.Plan.job.Params {
		facts = append(facts, cer.Fact{Name: p.Name, Value: l.opener.parameters[p.Name]})
	}
	return cer.NewEnvironment(cer.KindCommitments, facts)
}

// commit turns a runtime that states everything into one that commits to it, and
// returns the descriptors of input and output.
func (l *launch) commit(rt *cer.Runtime, in *keeper, c *capture) (input, output jsontext.Value, err error) {
	rt.V = cer.RuntimeVersion2
	for _, s := range []struct {
		field string
		*cer.Stream
		*keeper
	}{{cer.FieldInput, &rt.Input, in}, {cer.FieldOutput, &rt.Output, c.output}, {cer.FieldStderr, &rt.Stderr, c.stderr}} {
		bytes, err := carried(s.keeper, *s.Stream)
		if err != nil {
			return nil, nil, err
		}
		if err := l.opener.stream(s.field, s.Stream, bytes); err != nil {
			return nil, nil, err
		}
	}
	for i := range rt.Parameters {
		p := &rt.Parameters[i]
		p.Value, p.Commitment = "", l.opener.parameters[p.Name]
	}
	rt.NotApplicable = cer.ForcedSnapshot(rt.Parameters, l.components, l.id, 0).NotApplicable
	if input, err = cer.ContentCommitment(rt.Input); err != nil {
		return nil, nil, err
	}
	output, err = cer.ContentCommitment(rt.Output)
	return input, output, err
}

// carried returns the bytes of a stream as an opening has them; nil where they were not
// kept or are not the stream's.
func carried(k *keeper, s cer.Stream) (jsontext.Value, error) {
	if k == nil || k.over {
		return nil, nil
	}
	if sum := sha256.Sum256(k.buf.Bytes()); hex.EncodeToString(sum[:]) != s.SHA256 {
		return nil, nil
	}
	return cer.ContentFull(k.buf.Bytes())
}

// opening returns the opening file of the record; nil where the record commits to
// nothing. It refuses a record beside which something else tells what was committed
// to.
func (l *launch) opening(certificateHash string, exit *jail.Exit) ([]byte, error) {
	if l.opener == nil {
		return nil, nil
	}
	given, _ := l.sandbox.Input()
	for _, s := range []struct {
		what string
		sum  [32]byte
		size uint64
	}{
		{"input", given.SHA256, given.Size},
		{"input", exit.Stdin.SHA256, exit.Stdin.Size},
		{"output", exit.Stdout.SHA256, exit.Stdout.Size},
		{"output", exit.Output.SHA256, exit.Output.Size},
		{"standard error", exit.Stderr.SHA256, exit.Stderr.Size},
	} {
		if s.size > 0 && bytes.Contains(l.boot.listed, s.sum[:]) {
			return nil, fmt.Errorf("the kernel's list of measured files has the digest of the %s: %w", s.what, ErrRecord)
		}
	}
	o := &cer.Opening{Type: cer.OpeningType, CertificateHash: certificateHash, Fields: l.opener.fields}
	all := o.Names()
	o, err := o.Only(all, true)
	if err != nil {
		return nil, err
	}
	file, err := o.Encode()
	if err != nil && l.o.OpeningContent {
		if l.o.Log != nil {
			l.o.Log.Warn("the opening is made without the bytes of input, output and stderr", "reason", err.Error())
		}
		if o, err = o.Only(all, false); err == nil {
			file, err = o.Encode()
		}
	}
	return file, err
}

// refuseTold refuses, before anything is measured, to commit to an input that the
// record would tell by something else: by the digest of a component, or in the kernel's
// list of measured files.
func (l *launch) refuseTold() error {
	if l.opener == nil {
		return nil
	}
	path := l.o.Plan.input
	if f, ok := l.o.Stdin.(*os.File); ok {
		if name, err := resolve(f.Name()); err == nil { // of a pipe there is none
			path = name
		}
	}
	if d, ok := l.sandbox.Input(); ok && d.Size > 0 {
		for _, c := range l.components {
			for _, digest := range c.Digest {
				if digest == cer.SHA256Digest(d.SHA256) {
					return fmt.Errorf("the input is also %s, whose digest stands in the record: a commitment to it hides nothing: %w", c.Key(), ErrUsage)
				}
			}
		}
		if bytes.Contains(l.boot.listed, d.SHA256[:]) {
			return errListed
		}
	}
	// A path stands in the list after its length, with a NUL (ima-ng, n-ng).
	if named := append([]byte(path), 0); path != "" && bytes.Contains(l.boot.listed, append(binary.LittleEndian.AppendUint32(nil, uint32(len(named))), named...)) {
		return errListed
	}
	return nil
}

// errListed is an input whose digest the record's quote would cover.
var errListed = fmt.Errorf("the kernel's list of measured files has the input, and the quote covers that list: a commitment to it hides nothing: %w", ErrUsage)
