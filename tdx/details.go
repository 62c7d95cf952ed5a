package tdx

import (
	"fmt"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/dcap"
)

// Details returns the decoded fields of a quote by itself, of a TD and of exactly its
// bytes: header, the QE's report, the platform's PCK and the body, under the names of the
// manuals. Nothing is verified. The error wraps [attest.ErrForm].
func Details(quote []byte) ([]attest.Detail, error) {
	ev := &attest.Evidence{Format: Format, Parts: []attest.Part{{Name: PartQuote, Data: quote}}}
	q, err := parseEvidence(ev)
	if err != nil {
		return nil, err
	}
	return append(append(q.Details(), details(q.TD)...), q.Signatures()...), nil
}

// BodyDetails returns the decoded fields of the body of a quote by itself: a TD report of
// 584 bytes (TDX 1.0) or 648 (TDX 1.5). Nothing is verified. The error wraps
// [attest.ErrForm].
func BodyDetails(body []byte) ([]attest.Detail, error) {
	t, err := dcap.ParseTDReport(body)
	if err != nil {
		return nil, fmt.Errorf("parsing a TD report: %w", err)
	}
	return details(t), nil
}
