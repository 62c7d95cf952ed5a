package tpm

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/sworn-run/sworn/attest"
)

// details returns the decoded fields under the names of the TPM 2.0 Library
// Specification, Part 2, in the order of the parts.
func (e *evidence) details() []attest.Detail {
	p := e.public
	d := append(e.quote.details(), []attest.Detail{
		{Name: "sigAlg", Value: fmt.Sprintf("%v with %v", e.signature.alg, e.signature.hash)},
		{Name: "AK type", Value: p.typeText()},
		{Name: "AK nameAlg", Value: p.nameAlg.String()},
		{Name: "AK objectAttributes", Value: p.attributes.String()},
		{Name: "AK authPolicy", Value: orNone(p.authPolicy)},
		{Name: "AK Name", Value: hex.EncodeToString(p.name())},
	}...)
	parent := "TPM_RH_ENDORSEMENT"
	if e.parent != nil {
		parent += ", storage key " + hex.EncodeToString(e.parent)
	}
	return append(append(d, attest.Detail{Name: "AK parent", Value: parent}), e.counter.details()...)
}

// QuoteDetails returns the decoded fields of a quote by itself: of the exact
// bytes of a TPMS_ATTEST (Part 2, 10.12.12) with a TPMS_QUOTE_INFO, under the
// names and in the order of Part 2, with their units. Nothing is verified. The
// error wraps [attest.ErrForm].
func QuoteDetails(b []byte) ([]attest.Detail, error) {
	if len(b) > maxAttest {
		return nil, fmt.Errorf("quote of %d bytes, limit %d: %w", len(b), maxAttest, attest.ErrForm)
	}
	q, err := parseQuote(b)
	if err != nil {
		return nil, fmt.Errorf("parsing a quote: %w", err)
	}
	return q.details(), nil
}

// details returns the decoded fields of the quote.
func (q *quote) details() []attest.Detail {
	return append(q.header.details(stAttestQuote),
		attest.Detail{Name: "pcrSelect", Value: q.selectionText()},
		attest.Detail{Name: "pcrDigest", Value: hex.EncodeToString(q.digest)})
}

// details returns the decoded fields that every TPMS_ATTEST has.
func (h *header) details(tag uint16) []attest.Detail {
	return []attest.Detail{
		{Name: "type", Value: attestType(tag)},
		{Name: "qualifiedSigner", Value: hex.EncodeToString(h.qualifiedSigner)},
		{Name: "extraData", Value: orNone(h.extraData)},
		{Name: "clockInfo.clock", Value: strconv.FormatUint(h.clock, 10) + " ms"},
		{Name: "clockInfo.resetCount", Value: strconv.FormatUint(uint64(h.resetCount), 10)},
		{Name: "clockInfo.restartCount", Value: strconv.FormatUint(uint64(h.restartCount), 10)},
		{Name: "clockInfo.safe", Value: strconv.FormatBool(h.safe)},
		{Name: "firmwareVersion", Value: fmt.Sprintf("0x%016x", h.firmware)},
	}
}

// orNone returns b in hex, or "none".
func orNone(b []byte) string {
	if len(b) == 0 {
		return "none"
	}
	return hex.EncodeToString(b)
}

// selectionText returns the selection as tpm2-tools write it, such as
// "sha256:0,7,13".
func (q *quote) selectionText() string {
	banks := make([]string, len(q.selection))
	for i := range q.selection {
		var indices []string
		for _, n := range q.selection[i].indices() {
			indices = append(indices, strconv.FormatUint(uint64(n), 10))
		}
		banks[i] = q.selection[i].bank.String() + ":" + strings.Join(indices, ",")
	}
	return strings.Join(banks, "+")
}

// typeText returns the key's type and size, such as "ECC P-256".
func (p *public) typeText() string {
	if p.typ == algRSA {
		return fmt.Sprintf("RSA %d", p.bits)
	}
	return fmt.Sprintf("ECC P-%d", coordinateSize(p.curve)*8)
}
