package intel

import "encoding/binary"

// The sizes of report bodies in bytes: of an enclave, of a TD of TDX 1.0 and of TDX
// 1.5.
const (
	EnclaveSize = 384
	TD10Size    = 584
	TD15Size    = 648
)

// The attributes of an enclave.
const (
	EnclaveInit    uint64 = 1 << 0
	EnclaveDebug   uint64 = 1 << 1
	Enclave64Bit   uint64 = 1 << 2
	EnclaveProvKey uint64 = 1 << 4
)

// The attributes of a TD.
const (
	TDDebug         uint64 = 1 << 0
	TDSeptVEDisable uint64 = 1 << 28
	TDMigratable    uint64 = 1 << 29
	TDPKS           uint64 = 1 << 30
	TDKeyLocker     uint64 = 1 << 31
	TDPerfmon       uint64 = 1 << 63
)

// Enclave is every field of an enclave's report body (SGX ECDSA Quote Library
// Reference, A.4), in its order.
type Enclave struct {
	// CPUSVN is the raw security version of the platform.
	CPUSVN [16]byte
	// MiscSelect tells which state of the enclave is saved on exit.
	MiscSelect uint32
	// ExtProdID is the extended product id.
	ExtProdID [16]byte
	// Flags and XFRM are the attributes.
	Flags, XFRM uint64
	// MRENCLAVE is the enclave's measurement, MRSIGNER SHA-256 of its signer's key.
	MRENCLAVE, MRSIGNER [32]byte
	// ConfigID is its configuration's.
	ConfigID [64]byte
	// ProdID, SVN and ConfigSVN are its product, its version and its configuration's.
	ProdID, SVN, ConfigSVN uint16
	// FamilyID is its product family.
	FamilyID [16]byte
	// ReportData is what the enclave asked to be signed.
	ReportData [64]byte
}

// Marshal encodes the body, [EnclaveSize] bytes.
func (e *Enclave) Marshal() []byte {
	le := binary.LittleEndian
	b := make([]byte, 0, EnclaveSize)
	b = append(b, e.CPUSVN[:]...)
	b = le.AppendUint32(b, e.MiscSelect)
	b = append(b, make([]byte, 12)...)
	b = append(b, e.ExtProdID[:]...)
	b = le.AppendUint64(b, e.Flags)
	b = le.AppendUint64(b, e.XFRM)
	b = append(b, e.MRENCLAVE[:]...)
	b = append(b, make([]byte, 32)...)
	b = append(b, e.MRSIGNER[:]...)
	b = append(b, make([]byte, 32)...)
	b = append(b, e.ConfigID[:]...)
	b = le.AppendUint16(b, e.ProdID)
	b = le.AppendUint16(b, e.SVN)
	b = le.AppendUint16(b, e.ConfigSVN)
	b = append(b, make([]byte, 42)...)
	b = append(b, e.FamilyID[:]...)
	return append(b, e.ReportData[:]...)
}

// TD is every field of a TD's report body (TDX DCAP Quoting Library API, A.3), in
// its order.
type TD struct {
	// TEETCBSVN are the security versions of the TDX module and its loader.
	TEETCBSVN [16]byte
	// MRSEAM is the measurement of the TDX module, MRSIGNERSEAM its signer: zeros for
	// Intel.
	MRSEAM, MRSIGNERSEAM [48]byte
	// SEAMAttributes are those of the module: zero.
	SEAMAttributes uint64
	// Attributes are those of the TD, XFAM the processor features that it may use.
	Attributes, XFAM uint64
	// MRTD is the measurement of what the TD was built of.
	MRTD [48]byte
	// MRConfigID, MROwner and MROwnerConfig are what its owner said of it.
	MRConfigID, MROwner, MROwnerConfig [48]byte
	// RTMR are its registers.
	RTMR [4][48]byte
	// ReportData is what the TD asked to be signed.
	ReportData [64]byte
	// TEETCBSVN2 are the versions of the module that runs now, which may have been
	// updated since the TD was started; TDX 1.5 only.
	TEETCBSVN2 [16]byte
	// MRSERVICETD are the measurements of the service TDs bound to it; TDX 1.5 only.
	MRSERVICETD [48]byte
}

// Marshal encodes the body: [TD10Size] bytes, or [TD15Size] for TDX 1.5.
func (t *TD) Marshal(tdx15 bool) []byte {
	le := binary.LittleEndian
	b := make([]byte, 0, TD15Size)
	b = append(b, t.TEETCBSVN[:]...)
	b = append(b, t.MRSEAM[:]...)
	b = append(b, t.MRSIGNERSEAM[:]...)
	b = le.AppendUint64(b, t.SEAMAttributes)
	b = le.AppendUint64(b, t.Attributes)
	b = le.AppendUint64(b, t.XFAM)
	b = append(b, t.MRTD[:]...)
	b = append(b, t.MRConfigID[:]...)
	b = append(b, t.MROwner[:]...)
	b = append(b, t.MROwnerConfig[:]...)
	for i := range t.RTMR {
		b = append(b, t.RTMR[i][:]...)
	}
	b = append(b, t.ReportData[:]...)
	if tdx15 {
		b = append(b, t.TEETCBSVN2[:]...)
		b = append(b, t.MRSERVICETD[:]...)
	}
	return b
}
