package dcap

import (
	"encoding/binary"
	"fmt"

	"github.com/sworn-run/sworn/attest"
)

// qeIdentity is the content of an enclave identity (PCS, "Get Quoting Enclave
// Identity"). The identities of other enclaves, QVE and QAE, are refused.
type qeIdentity struct {
	tee                  TEE
	miscselect, miscMask [4]byte
	attributes, attrMask [16]byte
	mrsigner             [32]byte
	isvprodid            uint16
	levels               []moduleLevel
}

// qeIdentityJSON is the JSON of it, version 2.
type qeIdentityJSON struct {
	head
	MiscSelect     *string           `json:"miscselect"`
	MiscSelectMask *string           `json:"miscselectMask"`
	Attributes     *string           `json:"attributes"`
	AttributesMask *string           `json:"attributesMask"`
	MRSigner       *string           `json:"mrsigner"`
	ISVProdID      *uint16           `json:"isvprodid"`
	Levels         []moduleLevelJSON `json:"tcbLevels"`
}

// parseQEIdentity parses the signed bytes and writes dates and number into d.
func parseQEIdentity(raw []byte, d *document) (*qeIdentity, error) {
	var j qeIdentityJSON
	if err := unmarshal(raw, &j); err != nil {
		return nil, err
	}
	if err := j.read(d); err != nil {
		return nil, err
	}
	q := &qeIdentity{}
	switch {
	case *j.Version == 2 && j.ID != nil && *j.ID == "QE":
	case *j.Version == 2 && j.ID != nil && *j.ID == "TD_QE":
		q.tee = TDX
	default:
		return nil, fmt.Errorf("version %d or id is not that of a QE: %w", *j.Version, attest.ErrForm)
	}
	for _, f := range []struct {
		name string
		from *string
		to   []byte
	}{
		{"miscselect", j.MiscSelect, q.miscselect[:]},
		{"miscselectMask", j.MiscSelectMask, q.miscMask[:]},
		{"attributes", j.Attributes, q.attributes[:]},
		{"attributesMask", j.AttributesMask, q.attrMask[:]},
		{"mrsigner", j.MRSigner, q.mrsigner[:]},
	} {
		if err := unhex(f.from, f.to); err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
	}
	if j.ISVProdID == nil {
		return nil, fmt.Errorf("isvprodid is missing: %w", attest.ErrForm)
	}
	q.isvprodid = *j.ISVProdID
	var err error
	q.levels, err = readModuleLevels(j.Levels, UpToDate, OutOfDate, ConfigurationNeeded, OutOfDateConfigurationNeeded, Revoked)
	return q, err
}

// name returns the id.
func (q *qeIdentity) name() string {
	if q.tee == TDX {
		return "TD_QE"
	}
	return "QE"
}

// mismatch returns what of the report is not what the identity wants, or "". QVL,
// 4.1.2.9: masked values must equal, so that a wanted bit outside of the mask fits
// nothing.
func (q *qeIdentity) mismatch(r *Report) string {
	// The identity has MISCSELECT as its bytes stand in the report.
	if r.MiscSelect&binary.LittleEndian.Uint32(q.miscMask[:]) != binary.LittleEndian.Uint32(q.miscselect[:]) {
		return "MISCSELECT"
	}
	for i := range r.Attributes {
		if r.Attributes[i]&q.attrMask[i] != q.attributes[i] {
			return "ATTRIBUTES"
		}
	}
	switch {
	case r.MRSigner != q.mrsigner:
		return "MRSIGNER"
	case r.ISVProdID != q.isvprodid:
		return "ISVPRODID"
	default:
		return ""
	}
}
