package cer

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// CommitScheme is the scheme of every commitment (SPEC, section 6.8); it also begins
// what is hashed, followed by a zero byte.
const CommitScheme = "sworn.run/commit/v1"

// The fields of a record that are committed to. A parameter's field is
// [ParameterField] of its name.
const (
	// FieldInput is what was given to the job.
	FieldInput = "input"
	// FieldOutput is what the job gave back.
	FieldOutput = "output"
	// FieldStderr is what the job wrote to its standard error.
	FieldStderr = "stderr"
	// fieldParameter begins the fields of parameters.
	fieldParameter = "param:"
)

// maxFieldName is the longest name of a field: its length has two bytes.
const maxFieldName = 1<<16 - 1

// ParameterField returns the field of the parameter with the given name.
func ParameterField(name string) string { return fieldParameter + name }

// FieldParameter returns the name of the parameter that a field is, and whether it
// is one.
func FieldParameter(field string) (name string, ok bool) {
	name, ok = strings.CutPrefix(field, fieldParameter)
	return name, ok && CheckParameter(name) == nil
}

// Commit returns the commitment to one field's value: HMAC-SHA256 under the salt,
// which is 32 fresh random bytes for each field, over the label, the series id, the
// field's name, of at most 65,535 bytes, and its value, the last two each after its
// length (SPEC, section 6.8).
//
// Without the salt nothing can be learnt of the value, its length neither; with it,
// no other value, field or series fits.
func Commit(series, salt [32]byte, field string, value []byte) [32]byte {
	h := hmac.New(sha256.New, salt[:])
	h.Write([]byte(CommitScheme + "\x00"))
	h.Write(series[:])
	h.Write(binary.BigEndian.AppendUint16(nil, uint16(len(field))))
	h.Write([]byte(field))
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(value))))
	h.Write(value)
	return [32]byte(h.Sum(nil))
}

// committedStream is what a commitment to a stream is over.
type committedStream struct {
	Complete bool   `json:"complete"`
	SHA256   string `json:"sha256"`
	Size     string `json:"size"`
}

// StreamBytes returns the value that a commitment to a stream is over: the canonical
// JSON of its digest, its size and whether it is complete. The error wraps ErrSchema.
func StreamBytes(s Stream) ([]byte, error) {
	if err := s.checkPlain(); err != nil {
		return nil, err
	}
	return MarshalCanonical(&committedStream{Complete: s.Complete, SHA256: s.SHA256, Size: s.Size})
}

// committedDescriptor stands for content that is committed to.
type committedDescriptor struct {
	Commitment string `json:"commitment"`
	Scheme     string `json:"scheme"`
}

// ContentCommitment returns the canonical JSON of the descriptor of a stream that is
// committed to. The error wraps ErrSchema.
func ContentCommitment(s Stream) (jsontext.Value, error) {
	if err := checkHex32(s.Commitment); err != nil {
		return nil, fmt.Errorf("commitment: %w", err)
	}
	return MarshalCanonical(&committedDescriptor{Commitment: s.Commitment, Scheme: CommitScheme})
}

// Committed reports whether the record commits to its input, output, stderr and
// parameters instead of stating them: runtime version 2.
func (r *Runtime) Committed() bool { return r.V == RuntimeVersion2 }

// Commitment returns the commitment to a field, and whether the record has that
// field and commits to it.
func (r *Runtime) Commitment(field string) (digest [32]byte, ok bool) {
	s := ""
	switch field {
	case FieldInput:
		s = r.Input.Commitment
	case FieldOutput:
		s = r.Output.Commitment
	case FieldStderr:
		s = r.Stderr.Commitment
	default:
		name, isParameter := FieldParameter(field)
		for i := range r.Parameters {
			if isParameter && r.Parameters[i].Name == name {
				s = r.Parameters[i].Commitment
			}
		}
	}
	if !r.Committed() || checkHex32(s) != nil {
		return digest, false
	}
	_, err := hex.Decode(digest[:], []byte(s))
	return digest, err == nil
}

// CommittedFields returns the fields that the record commits to, in ascending order;
// none if it states them.
func (r *Runtime) CommittedFields() []string {
	if !r.Committed() {
		return nil
	}
	out := []string{FieldInput, FieldOutput}
	for i := range r.Parameters {
		out = append(out, ParameterField(r.Parameters[i].Name))
	}
	return append(out, FieldStderr)
}
