package appraise

import (
	"fmt"
	"maps"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sworn-run/sworn/attest"
)

// jsonAttestation reads an attest.Attestation in protobuf's JSON form, with the
// strictness of parseAttestation: bytes in base64, hashes by name.
func jsonAttestation(m map[string]jsontext.Value) (*attestation, error) {
	a := &attestation{}
	for _, name := range slices.Sorted(maps.Keys(m)) {
		var err error
		switch name {
		case "akPub":
			a.akPub, err = member[[]byte](m, name)
		case "eventLog":
			a.eventLog, err = member[[]byte](m, name)
		case "akCert":
			a.akCert, err = member[[]byte](m, name)
		case "intermediateCerts":
			var list [][]byte
			list, err = member[[][]byte](m, name)
			for _, der := range list {
				if err == nil {
					err = a.addIntermediate(der)
				}
			}
		case "quotes":
			err = a.jsonQuotes(m)
		default:
			a.unread = append(a.unread, fmt.Sprintf("%.40q", name))
		}
		if err != nil {
			return nil, err
		}
	}
	return a, a.check()
}

// jsonQuotes reads the quotes.
func (a *attestation) jsonQuotes(m map[string]jsontext.Value) error {
	list, err := member[[]struct {
		Quote  []byte `json:"quote"`
		RawSig []byte `json:"rawSig"`
		PCRs   struct {
			Hash string            `json:"hash"`
			PCRs map[string][]byte `json:"pcrs"`
		} `json:"pcrs"`
	}](m, "quotes")
	if err != nil || len(list) > maxQuotes {
		return fmt.Errorf("%d quotes, limit %d, or not of their form: %w", len(list), maxQuotes, attest.ErrForm)
	}
	for _, x := range list {
		bank, ok := bankName(x.PCRs.Hash)
		if !ok {
			return fmt.Errorf("hash %.40q: %w", x.PCRs.Hash, attest.ErrForm)
		}
		q := pbQuote{quote: x.Quote, sig: x.RawSig}
		for name, v := range x.PCRs.PCRs {
			index, ok := registerName(name)
			if !ok {
				return fmt.Errorf("register %.40q: %w", name, attest.ErrForm)
			}
			q.registers = append(q.registers, attest.RegisterValue{Index: index, Value: v})
		}
		if q.registers, err = labelled(q.registers, bank); err != nil {
			return err
		}
		a.quotes = append(a.quotes, q)
	}
	return nil
}
