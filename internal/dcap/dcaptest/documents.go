package dcaptest

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/sworn-run/sworn/attest"
)

// Level is one level of a TCB info.
type Level struct {
	SGX, TDX   [16]uint8
	PCESVN     uint16
	Status     string
	Advisories []string
}

// ModuleLevel is one level of a TDX module or of the QE.
type ModuleLevel struct {
	ISVSVN     uint16
	Status     string
	Advisories []string
}

// TCBInfo describes a TCB info.
type TCBInfo struct {
	// ID is "SGX" or "TDX".
	ID string
	// FMSPC and PCEID are hexadecimal.
	FMSPC, PCEID string
	// Evaluation is tcbEvaluationDataNumber.
	Evaluation uint32
	// Issued and Next are the dates.
	Issued, Next time.Time
	// Modules are the levels of the modules of each major version.
	Modules map[uint8][]ModuleLevel
	// Levels are the platform's.
	Levels []Level
}

// NewTCBInfo describes the TCB info by which the vendor's platform is up to date.
func (v *Vendor) NewTCBInfo(td bool) *TCBInfo {
	t := &TCBInfo{
		ID: "SGX", FMSPC: fmt.Sprintf("%X", v.Platform.FMSPC), PCEID: fmt.Sprintf("%X", v.Platform.PCEID),
		Evaluation: 18, Issued: v.At.AddDate(0, 0, -1), Next: v.At.AddDate(0, 0, 29),
	}
	best := Level{SGX: v.Platform.Components, PCESVN: v.Platform.PCESVN, Status: "UpToDate"}
	if td {
		t.ID = "TDX"
		best.TDX = [16]uint8{5, 0, 2}
		t.Modules = map[uint8][]ModuleLevel{1: {{ISVSVN: 5, Status: "UpToDate"}, {ISVSVN: 2, Status: "OutOfDate", Advisories: []string{"INTEL-SA-00002"}}}}
	}
	t.Levels = []Level{best, {Status: "OutOfDate", Advisories: []string{"INTEL-SA-00001"}}}
	return t
}

// stamp writes a date as the service does.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

// ids writes advisories.
func ids(list []string) string {
	if len(list) == 0 {
		return ""
	}
	b, err := json.Marshal(list)
	if err != nil {
		return ""
	}
	return `,"advisoryIDs":` + string(b)
}

// components writes 16 components.
func components(svn [16]uint8) string {
	var parts []string
	for _, c := range svn {
		parts = append(parts, fmt.Sprintf(`{"svn":%d}`, c))
	}
	return "[" + strings.Join(parts, ",") + "]"
}

// JSON writes it, version 3.
func (t *TCBInfo) JSON() string {
	const identity = `"mrsigner":"000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000","attributes":"0000000000000000","attributesMask":"FFFFFFFFFFFFFFFF"`
	var b strings.Builder
	fmt.Fprintf(&b, `{"id":%q,"version":3,"issueDate":%q,"nextUpdate":%q,"fmspc":%q,"pceId":%q,"tcbType":0,"tcbEvaluationDataNumber":%d`,
		t.ID, stamp(t.Issued), stamp(t.Next), t.FMSPC, t.PCEID, t.Evaluation)
	if t.ID == "TDX" {
		fmt.Fprintf(&b, `,"tdxModule":{%s},"tdxModuleIdentities":[`, identity)
		first := true
		for major := range 256 {
			if list, ok := t.Modules[uint8(major)]; ok {
				if !first {
					b.WriteByte(',')
				}
				first = false
				fmt.Fprintf(&b, `{"id":"TDX_%02X",%s,"tcbLevels":%s}`, major, identity, moduleLevels(list))
			}
		}
		b.WriteString("]")
	}
	b.WriteString(`,"tcbLevels":[`)
	for i, l := range t.Levels {
		if i > 0 {
			b.WriteByte(',')
		}
		tdx := ""
		if t.ID == "TDX" {
			tdx = `,"tdxtcbcomponents":` + components(l.TDX)
		}
		fmt.Fprintf(&b, `{"tcb":{"sgxtcbcomponents":%s,"pcesvn":%d%s},"tcbDate":"2024-03-13T00:00:00Z","tcbStatus":%q%s}`,
			components(l.SGX), l.PCESVN, tdx, l.Status, ids(l.Advisories))
	}
	b.WriteString("]}")
	return b.String()
}

// moduleLevels writes levels told apart by isvsvn.
func moduleLevels(list []ModuleLevel) string {
	var parts []string
	for _, l := range list {
		parts = append(parts, fmt.Sprintf(`{"tcb":{"isvsvn":%d},"tcbDate":"2024-03-13T00:00:00Z","tcbStatus":%q%s}`, l.ISVSVN, l.Status, ids(l.Advisories)))
	}
	return "[" + strings.Join(parts, ",") + "]"
}

// QEIdentity describes the identity of the QE.
type QEIdentity struct {
	// ID is "QE" or "TD_QE".
	ID string
	// Evaluation is tcbEvaluationDataNumber.
	Evaluation uint32
	// Issued and Next are the dates.
	Issued, Next time.Time
	// MRSigner is hexadecimal.
	MRSigner string
	// ISVProdID is the product.
	ISVProdID uint16
	// Levels are the QE's.
	Levels []ModuleLevel
}

// NewQEIdentity describes the identity that [QE] has.
func (v *Vendor) NewQEIdentity(td bool) *QEIdentity {
	q := &QEIdentity{
		ID: "QE", Evaluation: 18, Issued: v.At.AddDate(0, 0, -1), Next: v.At.AddDate(0, 0, 29),
		MRSigner: strings.Repeat("8c", 32), ISVProdID: 1,
		Levels: []ModuleLevel{{ISVSVN: 8, Status: "UpToDate"}, {ISVSVN: 4, Status: "OutOfDate", Advisories: []string{"INTEL-SA-00003"}}},
	}
	if td {
		q.ID, q.ISVProdID = "TD_QE", 2
	}
	return q
}

// JSON writes it, version 2.
func (q *QEIdentity) JSON() string {
	return fmt.Sprintf(`{"id":%q,"version":2,"issueDate":%q,"nextUpdate":%q,"tcbEvaluationDataNumber":%d,"miscselect":"00000000","miscselectMask":"FFFFFFFF","attributes":"11000000000000000000000000000000","attributesMask":"FBFFFFFFFFFFFFFF0000000000000000","mrsigner":%q,"isvprodid":%d,"tcbLevels":%s}`,
		q.ID, stamp(q.Issued), stamp(q.Next), q.Evaluation, q.MRSigner, q.ISVProdID, moduleLevels(q.Levels))
}

// Collateral makes all that a quote needs: TCB info, QE identity, the lists of root
// and CA, the certificate of the TCB signing key.
func (v *Vendor) Collateral(td bool) ([]attest.Collateral, error) {
	return v.CollateralOf(v.NewTCBInfo(td), v.NewQEIdentity(td))
}

// CollateralOf makes it of given documents.
func (v *Vendor) CollateralOf(t *TCBInfo, q *QEIdentity) ([]attest.Collateral, error) {
	info, err := Answer(v.Signer, "tcbInfo", t.JSON())
	if err != nil {
		return nil, err
	}
	qe, err := Answer(v.Signer, "enclaveIdentity", q.JSON())
	if err != nil {
		return nil, err
	}
	rootCRL, err := v.CRL(v.Root)
	if err != nil {
		return nil, err
	}
	pckCRL, err := v.CRL(v.CA)
	if err != nil {
		return nil, err
	}
	return []attest.Collateral{
		{Kind: attest.CollateralTCBInfo, Data: info},
		{Kind: attest.CollateralQEIdentity, Data: qe},
		{Kind: attest.CollateralCRL, Data: rootCRL},
		{Kind: attest.CollateralCRL, Data: pckCRL},
		{Kind: attest.CollateralCertificate, Data: v.Signer.Cert.Raw},
	}, nil
}

// Anchors trusts the vendor's root.
func (v *Vendor) Anchors() *attest.Anchors {
	return &attest.Anchors{Roots: []attest.Root{{Role: "intel-sgx", Certificate: v.Root.Cert, UserSupplied: true}}}
}
