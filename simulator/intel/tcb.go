package intel

import (
	"bytes"
	"crypto/ecdsa"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/sworn-run/sworn/simulator/internal/pki"
)

// The statuses of a level.
const (
	UpToDate  = "UpToDate"
	OutOfDate = "OutOfDate"
	Revoked   = "Revoked"
)

// validDays is how long TCB information and identities are valid.
const validDays = 30

// evaluation is the number of the simulated vendor's evaluation data.
const evaluation = 17

// advisory is the id of the advisory that the older levels are affected by.
const advisory = "INTEL-SA-99999"

// Hex is bytes that stand in JSON as hexadecimal digits in upper case.
type Hex []byte

// MarshalJSON implements [json.Marshaler].
func (h Hex) MarshalJSON() ([]byte, error) {
	return json.Marshal(strings.ToUpper(hex.EncodeToString(h)))
}

// Component is one component of a level.
type Component struct {
	// SVN is its security version.
	SVN uint8 `json:"svn"`
	// Category and Type are for people.
	Category string `json:"category,omitempty"`
	Type     string `json:"type,omitempty"`
}

// LevelTCB are the versions of a level of a platform.
type LevelTCB struct {
	// SGX are the components that the PCK certificate tells.
	SGX []Component `json:"sgxtcbcomponents"`
	// PCESVN is the version of the provisioning certification enclave.
	PCESVN uint16 `json:"pcesvn"`
	// TDX are the components that a TD's report tells; for TDX only.
	TDX []Component `json:"tdxtcbcomponents,omitempty"`
}

// Level is a level of a platform.
type Level struct {
	// TCB are the least versions.
	TCB LevelTCB `json:"tcb"`
	// Date, Status and Advisories are what holds for platforms of this level.
	Date       time.Time `json:"tcbDate"`
	Status     string    `json:"tcbStatus"`
	Advisories []string  `json:"advisoryIDs,omitempty"`
}

// ModuleTCB is the version of a level of a TDX module or an enclave.
type ModuleTCB struct {
	// SVN is the least version.
	SVN uint16 `json:"isvsvn"`
}

// ModuleLevel is a level of a TDX module or an enclave.
type ModuleLevel struct {
	// TCB is the least version.
	TCB ModuleTCB `json:"tcb"`
	// Date, Status and Advisories are what holds for modules of this level.
	Date       time.Time `json:"tcbDate"`
	Status     string    `json:"tcbStatus"`
	Advisories []string  `json:"advisoryIDs,omitempty"`
}

// Module is the identity of a TDX module.
type Module struct {
	// ID is "TDX_" and the version of the interface; empty for the one that TDX
	// information has beside its list.
	ID string `json:"id,omitempty"`
	// MRSigner, Attributes and Mask are what a report must have.
	MRSigner   Hex `json:"mrsigner"`
	Attributes Hex `json:"attributes"`
	Mask       Hex `json:"attributesMask"`
	// Levels are its levels, new ones first.
	Levels []ModuleLevel `json:"tcbLevels,omitempty"`
}

// TCBInfo is TCB information of version 3, members in Intel's order.
type TCBInfo struct {
	// ID is "SGX" or "TDX", Version 3.
	ID      string `json:"id"`
	Version int    `json:"version"`
	// Issue and Next are its dates.
	Issue time.Time `json:"issueDate"`
	Next  time.Time `json:"nextUpdate"`
	// FMSPC and PCEID say whose it is.
	FMSPC Hex `json:"fmspc"`
	PCEID Hex `json:"pceId"`
	// Type is 0: versions are compared one by one.
	Type int `json:"tcbType"`
	// Evaluation is the number of the evaluation data.
	Evaluation uint32 `json:"tcbEvaluationDataNumber"`
	// Module and Modules are the identities of TDX modules; for TDX only.
	Module  *Module  `json:"tdxModule,omitempty"`
	Modules []Module `json:"tdxModuleIdentities,omitempty"`
	// Levels are the levels, new ones first.
	Levels []Level `json:"tcbLevels"`
}

// Identity is the identity of a quoting enclave, version 2, members in Intel's
// order.
type Identity struct {
	// ID is "QE" or "TD_QE", Version 2.
	ID      string `json:"id"`
	Version int    `json:"version"`
	// Issue and Next are its dates.
	Issue time.Time `json:"issueDate"`
	Next  time.Time `json:"nextUpdate"`
	// Evaluation is the number of the evaluation data.
	Evaluation uint32 `json:"tcbEvaluationDataNumber"`
	// MiscSelect to ProdID are what the enclave's report must have.
	MiscSelect     Hex    `json:"miscselect"`
	MiscSelectMask Hex    `json:"miscselectMask"`
	Attributes     Hex    `json:"attributes"`
	AttributesMask Hex    `json:"attributesMask"`
	MRSigner       Hex    `json:"mrsigner"`
	ProdID         uint16 `json:"isvprodid"`
	// Levels are the levels, new ones first.
	Levels []ModuleLevel `json:"tcbLevels"`
}

// TCBInfo returns the information on machines like this one, for a TEE: what the
// machine has now is up to date, everything older is not.
func (p *Platform) TCBInfo(tee uint32, now time.Time) *TCBInfo {
	issue := issued(now)
	i := &TCBInfo{
		ID: "SGX", Version: 3, Issue: issue, Next: issue.AddDate(0, 0, validDays),
		FMSPC: bytes.Clone(p.PCK.FMSPC[:]), PCEID: bytes.Clone(p.PCK.PCEID[:]), Evaluation: evaluation,
	}
	levels := []LevelTCB{
		{SGX: components(p.PCK.Components), PCESVN: p.PCK.PCESVN},
		{SGX: components([16]uint8{}), PCESVN: 0},
	}
	if tee == TEETDX {
		i.ID = "TDX"
		plain, module := intelModule(), intelModule()
		i.Module = &plain
		module.ID = fmt.Sprintf("TDX_%02X", p.TEETCBSVN[1])
		module.Levels = moduleLevels(uint16(p.TEETCBSVN[0]), now)
		i.Modules = []Module{module}
		tdx := p.TEETCBSVN
		tdx[1] = 0 // the version of the interface is no security version
		levels[0].TDX, levels[1].TDX = components(tdx), components([16]uint8{})
	}
	i.Levels = []Level{
		{TCB: levels[0], Date: levelDate(now), Status: UpToDate},
		{TCB: levels[1], Date: levelDate(now).AddDate(-5, 0, 0), Status: OutOfDate, Advisories: []string{advisory}},
	}
	return i
}

// intelModule returns what the report of every TDX module of Intel's has.
func intelModule() Module {
	return Module{MRSigner: make(Hex, 48), Attributes: make(Hex, 8), Mask: bytes.Repeat(Hex{0xff}, 8)}
}

// Identity returns the identity of the machine's quoting enclave for a TEE.
func (p *Platform) Identity(tee uint32, now time.Time) *Identity {
	id, qe := "QE", &p.QE
	if tee == TEETDX {
		id, qe = "TD_QE", &p.TDQE
	}
	attributes := binary.LittleEndian.AppendUint64(nil, qe.Flags&^Enclave64Bit)
	mask := append(binary.LittleEndian.AppendUint64(nil, ^Enclave64Bit), make([]byte, 8)...)
	issue := issued(now)
	return &Identity{
		ID: id, Version: 2, Issue: issue, Next: issue.AddDate(0, 0, validDays), Evaluation: evaluation,
		MiscSelect: binary.LittleEndian.AppendUint32(nil, qe.MiscSelect), MiscSelectMask: bytes.Repeat(Hex{0xff}, 4),
		Attributes: append(attributes, make([]byte, 8)...), AttributesMask: mask,
		MRSigner: bytes.Clone(qe.MRSIGNER[:]), ProdID: qe.ProdID, Levels: moduleLevels(qe.SVN, now),
	}
}

// issued returns the date of what is issued now.
func issued(now time.Time) time.Time { return now.Add(-pki.Backdate).UTC().Truncate(time.Second) }

// levelDate returns the date of the newest levels.
func levelDate(now time.Time) time.Time {
	return now.UTC().Truncate(24*time.Hour).AddDate(0, -3, 0)
}

// components returns the components with these versions.
func components(svn [16]uint8) []Component {
	out := make([]Component, len(svn))
	for i := range svn {
		out[i].SVN = svn[i]
	}
	out[0].Category = "BIOS"
	return out
}

// moduleLevels returns levels of which the given version is up to date.
func moduleLevels(svn uint16, now time.Time) []ModuleLevel {
	return []ModuleLevel{
		{TCB: ModuleTCB{svn}, Date: levelDate(now), Status: UpToDate},
		{TCB: ModuleTCB{1}, Date: levelDate(now).AddDate(-5, 0, 0), Status: OutOfDate, Advisories: []string{advisory}},
	}
}

// SignTCBInfo signs TCB information as the service answers it: a JSON object with
// members tcbInfo and signature. The error wraps [ErrIssue].
func (v *Vendor) SignTCBInfo(i *TCBInfo) ([]byte, error) { return v.sign("tcbInfo", i) }

// SignIdentity signs an identity as the service answers it: a JSON object with
// members enclaveIdentity and signature. The error wraps [ErrIssue].
func (v *Vendor) SignIdentity(i *Identity) ([]byte, error) { return v.sign("enclaveIdentity", i) }

func (v *Vendor) sign(member string, value any) ([]byte, error) {
	text, err := json.Marshal(value)
	if err != nil {
		return nil, fmt.Errorf("encoding %s: %w: %w", member, ErrIssue, err)
	}
	return v.SignText(member, text)
}

// SignText signs any text as the value of a member, byte for byte. The error wraps
// [ErrIssue].
func (v *Vendor) SignText(member string, text []byte) ([]byte, error) {
	if v == nil || v.tcb == nil {
		return nil, fmt.Errorf("signing %s without a vendor: %w", member, ErrIssue)
	}
	key, ok := v.tcb.Key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("signing %s with a %T: %w", member, v.tcb.Key, ErrIssue)
	}
	signature, err := signP256(key, text)
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, `{"%s":%s,"signature":"%x"}`, member, text, signature), nil
}
