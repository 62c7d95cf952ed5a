package attest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// Counter is the body of a run statement that has one (SPEC, section 4.6): the
// hardware counter of the launches of one TPM, and the number that this launch
// took from it. The zero Counter is refused.
type Counter struct {
	// Name is the TPM Name of the counter's NV index: SHA-256's algorithm id,
	// 000B, and the digest of its public area.
	Name [34]byte
	// Value is the counter's value, at least 1.
	Value uint64
}

// counterSize is the size of a Counter in a body, in bytes.
const counterSize = 34 + 8

// Body returns the 42 bytes of a statement's body: Name, then Value.
func (c *Counter) Body() []byte {
	return binary.BigEndian.AppendUint64(bytes.Clone(c.Name[:]), c.Value)
}

// ParseCounter parses the exact bytes of a body that is not empty. The error
// wraps ErrForm.
func ParseCounter(body []byte) (*Counter, error) {
	if len(body) != counterSize {
		return nil, fmt.Errorf("body of %d bytes, a counter has %d: %w", len(body), counterSize, ErrForm)
	}
	r := reader{b: body}
	c := &Counter{Name: [34]byte(r.take(34)), Value: r.u64()}
	switch {
	case Alg(binary.BigEndian.Uint16(c.Name[:])) != SHA256:
		return nil, fmt.Errorf("the counter's Name is not one of SHA-256: %w", ErrForm)
	case c.Value == 0:
		return nil, fmt.Errorf("the counter has counted nothing: %w", ErrForm)
	}
	return c, nil
}

// Counter returns the counter in the statement's body; nil if the body is
// empty, or is none.
func (s *Statement) Counter() *Counter {
	c, err := ParseCounter(s.Body)
	if err != nil {
		return nil
	}
	return c
}

// QuotedCounter returns the 32 bytes that the certification of a counter must
// carry over the given statement bytes (SPEC, section 4.6).
func QuotedCounter(statement []byte) []byte {
	st := sha256.Sum256(statement)
	h := sha256.Sum256(append([]byte(labelCounter), st[:]...))
	return h[:]
}

// CertifiedCounter is what a TPM says of its counter beside a quote.
type CertifiedCounter struct {
	Counter
	// Quoted is the data that the certification covers.
	Quoted []byte
	// Counters are the TPM's clock and counts when it certified.
	Counters Counters
}

// Incrementer is the optional capability of an [Attester] that has a counter
// which its TPM never lets go back.
type Incrementer interface {
	// Increment adds one and returns the counter: it is the body of the next
	// statement, which [Attester.Attest] then certifies.
	Increment(ctx context.Context) (*Counter, error)
}
