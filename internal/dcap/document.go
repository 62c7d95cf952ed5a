package dcap

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/sworn-run/sworn/attest"
)

// The name of the member that is signed, by kind of collateral.
const (
	memberTCBInfo    = "tcbInfo"
	memberQEIdentity = "enclaveIdentity"
)

// document is one signed answer of Intel's service.
type document struct {
	index     int
	raw       []byte // The value of the member as received: what is signed.
	signature []byte // r||s.
	digest    [sha256.Size]byte
	dates
	evaluation uint32
	tcb        *tcbInfo
	qe         *qeIdentity
}

// dates are when a document was issued and until when it is to be used.
type dates struct{ issued, next time.Time }

// valid reports whether the document is to be used at t.
func (d *dates) valid(t time.Time) bool { return !t.Before(d.issued) && t.Before(d.next) }

// String returns both dates for people.
func (d *dates) String() string { return span(d.issued, d.next) }

// span returns two dates for people.
func span(from, until time.Time) string {
	return from.UTC().Format(time.RFC3339) + " to " + until.UTC().Format(time.RFC3339)
}

// split takes an answer apart: the member's value and the signature. The answer must
// be those two members, in this order, without a byte between or around them, the
// signature 128 hexadecimal digits in lower case.
func split(b []byte, member string) (raw, signature []byte, err error) {
	const tail = `,"signature":"`
	if len(b) > maxDocument {
		return nil, nil, fmt.Errorf("%d bytes, limit %d: %w", len(b), maxDocument, attest.ErrForm)
	}
	rest, ok := bytes.CutPrefix(b, []byte(`{"`+member+`":`))
	if !ok {
		return nil, nil, fmt.Errorf("does not begin with member %s: %w", member, attest.ErrForm)
	}
	rest, ok = bytes.CutSuffix(rest, []byte(`"}`))
	cut := len(rest) - 2*sigSize - len(tail)
	if !ok || cut < 0 || string(rest[cut:cut+len(tail)]) != tail {
		return nil, nil, fmt.Errorf("does not end with a signature of %d hexadecimal digits: %w", 2*sigSize, attest.ErrForm)
	}
	digits := rest[cut+len(tail):]
	signature, err = hex.DecodeString(string(digits))
	if err != nil || !bytes.Equal(digits, []byte(hex.EncodeToString(signature))) {
		return nil, nil, fmt.Errorf("signature is not hexadecimal in lower case: %w", attest.ErrForm)
	}
	return rest[:cut], signature, nil
}

// parseDocument parses an answer of the given kind. The error wraps [attest.ErrForm].
func parseDocument(c *attest.Collateral, index int) (*document, error) {
	member := memberTCBInfo
	if c.Kind == attest.CollateralQEIdentity {
		member = memberQEIdentity
	}
	raw, signature, err := split(c.Data, member)
	if err != nil {
		return nil, err
	}
	d := &document{index: index, raw: raw, signature: signature, digest: sha256.Sum256(raw)}
	if member == memberTCBInfo {
		d.tcb, err = parseTCBInfo(raw, d)
	} else {
		d.qe, err = parseQEIdentity(raw, d)
	}
	if err != nil {
		return nil, err
	}
	return d, nil
}

// unmarshal decodes one JSON value whose member names are compared exactly and occur
// once, and whose numbers have no fraction and fit. A null counts as absent.
func unmarshal(raw []byte, v any) error {
	if err := json.Unmarshal(raw, v); err != nil {
		return fmt.Errorf("%.200v: %w", err, attest.ErrForm)
	}
	return nil
}

// head is what both kinds of documents begin with.
type head struct {
	ID         *string `json:"id"`
	Version    *uint32 `json:"version"`
	IssueDate  *string `json:"issueDate"`
	NextUpdate *string `json:"nextUpdate"`
	Evaluation *uint32 `json:"tcbEvaluationDataNumber"`
}

// read checks the head and writes what is common into d.
func (h *head) read(d *document) error {
	if h.Version == nil || h.Evaluation == nil {
		return fmt.Errorf("version or tcbEvaluationDataNumber is missing: %w", attest.ErrForm)
	}
	var err error
	if d.issued, err = date(h.IssueDate); err != nil {
		return fmt.Errorf("issueDate: %w", err)
	}
	if d.next, err = date(h.NextUpdate); err != nil {
		return fmt.Errorf("nextUpdate: %w", err)
	}
	d.evaluation = *h.Evaluation
	return nil
}

// date parses a date in the one form that the service writes, in UTC.
func date(s *string) (time.Time, error) {
	const layout = "2006-01-02T15:04:05Z"
	if s == nil {
		return time.Time{}, fmt.Errorf("missing: %w", attest.ErrForm)
	}
	t, err := time.Parse(layout, *s)
	if err != nil || t.Format(layout) != *s {
		return time.Time{}, fmt.Errorf("%.40q is no date: %w", *s, attest.ErrForm)
	}
	return t, nil
}

// unhex decodes hexadecimal of exactly the size of to, in either case: Intel writes
// both.
func unhex(s *string, to []byte) error {
	if s == nil || len(*s) != 2*len(to) {
		return fmt.Errorf("want %d hexadecimal digits: %w", 2*len(to), attest.ErrForm)
	}
	if _, err := hex.Decode(to, []byte(*s)); err != nil {
		return fmt.Errorf("want %d hexadecimal digits: %w", 2*len(to), attest.ErrForm)
	}
	return nil
}

// levelHead is what all levels have: a status, and the advisories that apply to it.
type levelHead struct {
	Date       *string   `json:"tcbDate"`
	Status     *string   `json:"tcbStatus"`
	Advisories []*string `json:"advisoryIDs"`
}

// read checks date, status and advisories.
func (h *levelHead) read(known ...string) (level, error) {
	day, err := date(h.Date)
	if err != nil {
		return level{}, fmt.Errorf("tcbDate: %w", err)
	}
	l := level{date: day}
	for _, k := range known {
		if h.Status != nil && *h.Status == k {
			l.status = k
		}
	}
	if l.status == "" {
		return level{}, fmt.Errorf("tcbStatus is not known: %w", attest.ErrForm)
	}
	if len(h.Advisories) > maxAdvisories {
		return level{}, fmt.Errorf("%d advisories, limit %d: %w", len(h.Advisories), maxAdvisories, attest.ErrForm)
	}
	for _, a := range h.Advisories {
		if a == nil || !advisory(*a) {
			return level{}, fmt.Errorf("advisoryIDs: no id: %w", attest.ErrForm)
		}
		l.advisories = append(l.advisories, *a)
	}
	return l, nil
}

// advisory reports whether s has the form of an id such as "INTEL-SA-00837".
func advisory(s string) bool {
	if s == "" || len(s) > maxText {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c != '-' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return true
}
