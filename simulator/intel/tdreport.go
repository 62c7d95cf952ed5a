package intel

import (
	"crypto/sha512"
	"encoding/binary"
	"fmt"
)

// TDReportSize is the size of a TDREPORT in bytes.
const TDReportSize = 1024

// Where a TDREPORT has what (Intel TDX Module ABI: TDREPORT_STRUCT).
const (
	reportTCB  = 256 // TEE_TCB_INFO, 239 bytes
	reportInfo = 512 // TDINFO, 512 bytes
	tcbSize    = 239
	// tcbValid is TEE_TCB_INFO.VALID of a module of TDX 1.5.
	tcbValid = 0x301ff
	// typeTD is the type of a report of a TD.
	typeTD = 0x81
)

// Report encodes the TDREPORT that a TD on the platform gets of itself: what a TD quote is
// made of. Its MAC is zeros, which nothing but the quoting enclave could check.
func (p *Platform) Report(td *TD) []byte {
	le := binary.LittleEndian
	b := make([]byte, TDReportSize)
	b[0] = typeTD
	if td.MRSERVICETD != [48]byte{} {
		b[2] = 1
	}
	copy(b[16:], p.PCK.CPUSVN[:])
	copy(b[128:], td.ReportData[:])
	tcb := le.AppendUint64(b[:reportTCB], tcbValid)
	tcb = append(tcb, td.TEETCBSVN[:]...)
	tcb = append(tcb, td.MRSEAM[:]...)
	tcb = append(tcb, td.MRSIGNERSEAM[:]...)
	tcb = le.AppendUint64(tcb, td.SEAMAttributes)
	_ = append(tcb, td.TEETCBSVN2[:]...)
	info := le.AppendUint64(b[:reportInfo], td.Attributes)
	info = le.AppendUint64(info, td.XFAM)
	for _, x := range [][48]byte{td.MRTD, td.MRConfigID, td.MROwner, td.MROwnerConfig, td.RTMR[0], td.RTMR[1], td.RTMR[2], td.RTMR[3], td.MRSERVICETD} {
		info = append(info, x[:]...)
	}
	sum := sha512.Sum384(b[reportTCB : reportTCB+tcbSize])
	copy(b[32:], sum[:])
	sum = sha512.Sum384(b[reportInfo:])
	copy(b[80:], sum[:])
	return b
}

// ParseReport returns the TD of a TDREPORT that [Platform.Report] made. The error wraps
// [ErrIssue] for one of another size.
func ParseReport(b []byte) (*TD, error) {
	if len(b) != TDReportSize {
		return nil, fmt.Errorf("a TDREPORT of %d bytes: %w", len(b), ErrIssue)
	}
	le := binary.LittleEndian
	td := &TD{SEAMAttributes: le.Uint64(b[reportTCB+120:]), Attributes: le.Uint64(b[reportInfo:]), XFAM: le.Uint64(b[reportInfo+8:])}
	copy(td.ReportData[:], b[128:])
	copy(td.TEETCBSVN[:], b[reportTCB+8:])
	copy(td.MRSEAM[:], b[reportTCB+24:])
	copy(td.MRSIGNERSEAM[:], b[reportTCB+72:])
	copy(td.TEETCBSVN2[:], b[reportTCB+128:])
	for i, x := range []*[48]byte{
		&td.MRTD, &td.MRConfigID, &td.MROwner, &td.MROwnerConfig, &td.RTMR[0], &td.RTMR[1], &td.RTMR[2], &td.RTMR[3], &td.MRSERVICETD,
	} {
		copy(x[:], b[reportInfo+16+48*i:])
	}
	return td, nil
}
