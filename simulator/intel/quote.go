package intel

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// The types of TEE in a quote's header.
const (
	TEESGX uint32 = 0
	TEETDX uint32 = 0x81
)

// The types of a body in a quote of version 5.
const (
	BodyEnclave uint16 = 1
	BodyTD10    uint16 = 2
	BodyTD15    uint16 = 3
)

// The types of certification data.
const (
	CertificationChain  uint16 = 5
	CertificationReport uint16 = 6
)

// attestationP256 is the type of the attestation key: ECDSA on P-256 with SHA-256.
const attestationP256 = 2

// Quote is everything that a quote is made of, beside its signatures.
type Quote struct {
	// Version is 3, 4 or 5.
	Version uint16
	// KeyType is the type of the attestation key; 2.
	KeyType uint16
	// TEE is the type of TEE; in version 3 a field that is reserved.
	TEE uint32
	// Reserved are two fields of the header; in version 3 the versions of the quoting
	// and the provisioning certification enclave.
	Reserved [2]uint16
	// QEVendor is the id of the vendor of the quoting enclave.
	QEVendor [16]byte
	// UserData is the quoting enclave's own.
	UserData [20]byte
	// BodyType is the type of Body; version 5 only.
	BodyType uint16
	// Body is the report that is quoted.
	Body []byte
	// QE is the report of the quoting enclave. Its report data is set to the digest
	// of attestation key and AuthData, unless ForeignKey is set.
	QE Enclave
	// ForeignKey leaves the report data of QE as it stands.
	ForeignKey bool
	// AuthData is the quoting enclave's authentication data.
	AuthData []byte
	// Certification is the type of the certification data; 0 stands for
	// [CertificationChain].
	Certification uint16
	// Chain is the certification data; of type 5 PEM certificates, leaf first.
	Chain []byte
	// Attestation is the private attestation key and PCK the key that certifies the
	// quoting enclave's report, both on P-256.
	Attestation, PCK *ecdsa.PrivateKey
}

// Marshal encodes and signs the quote. The error wraps [ErrIssue].
func (q *Quote) Marshal() ([]byte, error) {
	if q.Attestation == nil || q.PCK == nil {
		return nil, fmt.Errorf("quoting without keys: %w", ErrIssue)
	}
	le := binary.LittleEndian
	signed := q.signed()
	signature, err := signP256(q.Attestation, signed)
	if err != nil {
		return nil, err
	}
	point, err := q.Attestation.PublicKey.Bytes()
	if err != nil {
		return nil, fmt.Errorf("encoding the attestation key: %w: %w", ErrIssue, err)
	}
	attestation := point[1:] // without the mark of an uncompressed point
	certified, err := q.certified(attestation)
	if err != nil {
		return nil, err
	}
	data := append(signature, attestation...)
	if q.Version != 3 {
		data = le.AppendUint16(data, CertificationReport)
		data = le.AppendUint32(data, uint32(len(certified)))
	}
	data = append(data, certified...)
	return append(le.AppendUint32(signed, uint32(len(data))), data...), nil
}

// signed returns what the attestation key signs: the header and the body.
func (q *Quote) signed() []byte {
	le := binary.LittleEndian
	b := le.AppendUint16(nil, q.Version)
	b = le.AppendUint16(b, q.KeyType)
	b = le.AppendUint32(b, q.TEE)
	b = le.AppendUint16(b, q.Reserved[0])
	b = le.AppendUint16(b, q.Reserved[1])
	b = append(b, q.QEVendor[:]...)
	b = append(b, q.UserData[:]...)
	if q.Version == 5 {
		b = le.AppendUint16(b, q.BodyType)
		b = le.AppendUint32(b, uint32(len(q.Body)))
	}
	return append(b, q.Body...)
}

// certified returns the report of the quoting enclave with its signature,
// authentication data and certification data.
func (q *Quote) certified(attestation []byte) ([]byte, error) {
	qe := q.QE
	if !q.ForeignKey {
		sum := sha256.Sum256(append(append([]byte{}, attestation...), q.AuthData...))
		qe.ReportData = [64]byte{}
		copy(qe.ReportData[:], sum[:])
	}
	report := qe.Marshal()
	signature, err := signP256(q.PCK, report)
	if err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	b := append(report, signature...)
	b = le.AppendUint16(b, uint16(len(q.AuthData)))
	b = append(b, q.AuthData...)
	b = le.AppendUint16(b, cmp.Or(q.Certification, CertificationChain))
	b = le.AppendUint32(b, uint32(len(q.Chain)))
	return append(b, q.Chain...), nil
}

// signP256 signs with ECDSA over SHA-256: r and s, 32 bytes each, big-endian.
func signP256(key *ecdsa.PrivateKey, data []byte) ([]byte, error) {
	digest := sha256.Sum256(data)
	r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
	if err != nil {
		return nil, fmt.Errorf("signing: %w: %w", ErrIssue, err)
	}
	out := make([]byte, 64)
	r.FillBytes(out[:32])
	s.FillBytes(out[32:])
	return out, nil
}
