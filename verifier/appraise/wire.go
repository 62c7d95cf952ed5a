package appraise

import (
	"encoding/binary"
	"fmt"

	"github.com/sworn-run/sworn/attest"
)

// attestation is the part of go-tpm-tools' attest.Attestation that is read
// (proto/attest.proto and proto/tpm.proto there; the numbers are its fields').
type attestation struct {
	akPub         []byte    // 1
	quotes        []pbQuote // 2
	eventLog      []byte    // 3
	akCert        []byte    // 6
	intermediates [][]byte  // 7
	// unread names the fields that are there and not read.
	unread []string
}

// pbQuote is a tpm.Quote.
type pbQuote struct {
	quote, sig []byte // 1, 2
	// registers are those of 3, a tpm.PCRs: hash in 1, a map in 2.
	registers []attest.RegisterValue
}

// maxFields bounds the fields of one message, maxIntermediates and maxCertificates
// what certificates there are.
const (
	maxFields        = 1024
	maxIntermediates = 6
	maxCertificates  = 8
)

// wireField is one field of a message in protobuf's wire format: a number, or
// bytes.
type wireField struct {
	number uint64
	value  uint64
	data   []byte
	isData bool
}

// varint takes a varint off b.
func varint(b []byte) (uint64, []byte, error) {
	v, n := binary.Uvarint(b)
	if n <= 0 || n > 1 && b[n-1] == 0 {
		return 0, nil, fmt.Errorf("protobuf: varint is cut, too long, or not the shortest: %w", attest.ErrForm)
	}
	return v, b[n:], nil
}

// fields splits a message. Groups are refused, numbers are at least 1.
func fields(b []byte) ([]wireField, error) {
	var out []wireField
	for len(b) > 0 {
		if len(out) == maxFields {
			return nil, fmt.Errorf("protobuf: more than %d fields: %w", maxFields, attest.ErrForm)
		}
		tag, rest, err := varint(b)
		if err != nil {
			return nil, err
		}
		f := wireField{number: tag >> 3}
		size := uint64(0)
		switch tag & 7 {
		case 0:
			f.value, rest, err = varint(rest)
		case 1:
			size = 8
		case 2:
			f.isData = true
			size, rest, err = varint(rest)
		case 5:
			size = 4
		default:
			err = fmt.Errorf("protobuf: wire type %d: %w", tag&7, attest.ErrForm)
		}
		if err != nil {
			return nil, err
		}
		if f.number < 1 || f.number > 1<<29-1 || size > uint64(len(rest)) {
			return nil, fmt.Errorf("protobuf: field %d of %d bytes where %d are left: %w", f.number, size, len(rest), attest.ErrForm)
		}
		f.data, b = rest[:size:size], rest[size:]
		out = append(out, f)
	}
	return out, nil
}

// parseAttestation reads the wire format of an attest.Attestation. A field that
// may stand once and stands twice is refused, though protobuf takes the last: two
// readers must not see two keys.
func parseAttestation(b []byte) (*attestation, error) {
	list, err := fields(b)
	if err != nil {
		return nil, err
	}
	a := &attestation{}
	for _, f := range list {
		once := map[uint64]*[]byte{1: &a.akPub, 3: &a.eventLog, 6: &a.akCert}[f.number]
		switch {
		case !f.isData:
			err = fmt.Errorf("protobuf: field %d is a number: %w", f.number, attest.ErrForm)
		case once != nil && *once != nil:
			err = fmt.Errorf("protobuf: field %d stands twice: %w", f.number, attest.ErrForm)
		case once != nil:
			*once = f.data
		case f.number == 2:
			err = a.addQuote(f.data)
		case f.number == 7:
			err = a.addIntermediate(f.data)
		default:
			a.skip(f.number)
		}
		if err != nil {
			return nil, err
		}
	}
	return a, a.check()
}

// check refuses what is no attestation.
func (a *attestation) check() error {
	if len(a.quotes) == 0 || len(a.akPub) == 0 {
		return fmt.Errorf("attestation with %d quotes and a key of %d bytes: %w", len(a.quotes), len(a.akPub), attest.ErrForm)
	}
	return nil
}

func (a *attestation) addIntermediate(b []byte) error {
	if len(a.intermediates) == maxIntermediates {
		return fmt.Errorf("more than %d intermediate certificates: %w", maxIntermediates, attest.ErrForm)
	}
	a.intermediates = append(a.intermediates, b)
	return nil
}

// skip notes a field that is not read.
func (a *attestation) skip(number uint64) {
	name := map[uint64]string{
		4: "instance_info", 5: "canonical_event_log", 8: "sev_snp_attestation", 9: "tdx_attestation",
	}[number]
	if name == "" {
		name = fmt.Sprintf("field %d", number)
	}
	a.unread = append(a.unread, name)
}

// addQuote reads a tpm.Quote.
func (a *attestation) addQuote(b []byte) error {
	if len(a.quotes) == maxQuotes {
		return fmt.Errorf("more than %d quotes: %w", maxQuotes, attest.ErrForm)
	}
	list, err := fields(b)
	if err != nil {
		return err
	}
	var q pbQuote
	var pcrs []byte
	for _, f := range list {
		once := map[uint64]*[]byte{1: &q.quote, 2: &q.sig, 3: &pcrs}[f.number]
		switch {
		case once == nil:
			continue
		case !f.isData || *once != nil:
			return fmt.Errorf("protobuf: field %d of a quote is a number or stands twice: %w", f.number, attest.ErrForm)
		default:
			*once = f.data
		}
	}
	if q.registers, err = wirePCRs(pcrs); err != nil {
		return err
	}
	a.quotes = append(a.quotes, q)
	return nil
}

// wirePCRs reads a tpm.PCRs. A map's entry that lacks a field has its zero value.
func wirePCRs(b []byte) ([]attest.RegisterValue, error) {
	list, err := fields(b)
	if err != nil {
		return nil, err
	}
	var bank attest.Alg
	var out []attest.RegisterValue
	for _, f := range list {
		switch {
		case f.number == 1 && !f.isData && bank == 0 && f.value <= 0xFFFF:
			bank = attest.Alg(f.value)
		case f.number == 2 && f.isData:
			entry, err := fields(f.data)
			if err != nil {
				return nil, err
			}
			var v attest.RegisterValue
			for _, e := range entry {
				switch {
				case e.number == 1 && !e.isData && e.value < 32:
					v.Index = uint32(e.value)
				case e.number == 2 && e.isData:
					v.Value = e.data
				default:
					return nil, fmt.Errorf("protobuf: field %d of a register: %w", e.number, attest.ErrForm)
				}
			}
			out = append(out, v)
		default:
			return nil, fmt.Errorf("protobuf: field %d of registers: %w", f.number, attest.ErrForm)
		}
	}
	return labelled(out, bank)
}

// labelled gives registers their bank, which must fit their sizes.
func labelled(list []attest.RegisterValue, bank attest.Alg) ([]attest.RegisterValue, error) {
	if len(list) > maxValues {
		return nil, fmt.Errorf("more than %d register values: %w", maxValues, attest.ErrForm)
	}
	for i := range list {
		if list[i].Bank = bank; !bank.Known() || len(list[i].Value) != bank.Size() {
			return nil, fmt.Errorf("register %d of %d bytes for bank %v: %w", list[i].Index, len(list[i].Value), bank, attest.ErrForm)
		}
	}
	return sorted(list)
}
