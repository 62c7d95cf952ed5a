// Package dcaptest makes quotes and collateral of a made-up Intel, whose names all say
// SIMULATED, for the tests of the packages that read the real one's. Every field can be
// set, so that each rule can be broken by itself; nothing here is fit for more.
package dcaptest

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"
)

// Holder is a certificate and its key.
type Holder struct {
	Key  *ecdsa.PrivateKey
	Cert *x509.Certificate
}

// Platform is what a PCK certificate says.
type Platform struct {
	FMSPC      [6]byte
	PCEID      [2]byte
	Components [16]uint8
	PCESVN     uint16
}

// Vendor is a made-up Intel with one platform.
type Vendor struct {
	// At is the instant around which everything is valid: a day before to a month
	// after, certificates a year on either side.
	At time.Time
	// Root, CA, Signer and PCK are the chain and the TCB signing key.
	Root, CA, Signer, PCK Holder
	// Attestation is the attestation key.
	Attestation *ecdsa.PrivateKey
	// Platform is what the PCK's certificate says.
	Platform Platform

	name   string
	serial int64
	keys   int
}

// New makes a vendor whose keys are derived from name. The same calls make the same
// bytes: fuzzing depends on it.
func New(at time.Time, name string) (*Vendor, error) {
	v := &Vendor{At: at, name: name, Platform: Platform{
		FMSPC:      [6]byte{0x90, 0xC0, 0x6F, 0, 0, 0},
		Components: [16]uint8{3, 3, 2, 2, 4, 1, 0, 5},
		PCESVN:     13,
	}}
	var err error
	if v.Root, err = v.Issue(nil, "Intel SGX Root CA", nil); err != nil {
		return nil, err
	}
	if v.CA, err = v.Issue(&v.Root, "Intel SGX PCK Platform CA", nil); err != nil {
		return nil, err
	}
	if v.Signer, err = v.Issue(&v.Root, "Intel SGX TCB Signing", nil); err != nil {
		return nil, err
	}
	if v.PCK, err = v.Issue(&v.CA, "Intel SGX PCK Certificate", nil); err != nil {
		return nil, err
	}
	v.Attestation, err = v.key()
	return v, err
}

// key derives the next key.
func (v *Vendor) key() (*ecdsa.PrivateKey, error) {
	v.keys++
	sum := sha256.Sum256(fmt.Appendf(nil, "SIMULATED %s %d", v.name, v.keys))
	return ecdsa.ParseRawPrivateKey(elliptic.P256(), sum[:])
}

// Issue makes a certificate of that name under parent, self-signed for nil; change may
// alter the template. The last words of the name say what kind it is.
func (v *Vendor) Issue(parent *Holder, name string, change func(*x509.Certificate)) (Holder, error) {
	v.serial++
	t := &x509.Certificate{
		SerialNumber:          big.NewInt(v.serial),
		Subject:               pkix.Name{CommonName: "SIMULATED " + name, Organization: []string{"SIMULATED Intel"}},
		NotBefore:             v.At.AddDate(-1, 0, 0),
		NotAfter:              v.At.AddDate(1, 0, 0),
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
	}
	switch name {
	case "Intel SGX PCK Certificate":
		der, err := v.Platform.extension()
		if err != nil {
			return Holder{}, err
		}
		t.ExtraExtensions = []pkix.Extension{{Id: arc(), Value: der}}
	case "Intel SGX TCB Signing":
	default:
		t.IsCA, t.KeyUsage = true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign
	}
	if change != nil {
		change(t)
	}
	return v.Sign(parent, t, nil)
}

// Sign makes a certificate of a template, for a given key or a fresh one.
func (v *Vendor) Sign(parent *Holder, t *x509.Certificate, key *ecdsa.PrivateKey) (Holder, error) {
	if key == nil {
		var err error
		if key, err = v.key(); err != nil {
			return Holder{}, err
		}
	}
	issuer, signer := t, key
	if parent != nil {
		issuer, signer = parent.Cert, parent.Key
	}
	der, err := x509.CreateCertificate(nil, t, issuer, key.Public(), signer)
	if err != nil {
		return Holder{}, err
	}
	c, err := x509.ParseCertificate(der)
	return Holder{Key: key, Cert: c}, err
}

// arc is the arc of the PCK's extension.
func arc(n ...int) asn1.ObjectIdentifier {
	return append(asn1.ObjectIdentifier{1, 2, 840, 113741, 1, 13, 1}, n...)
}

// extension encodes the PCK's extension.
func (p *Platform) extension() ([]byte, error) {
	type entry struct {
		ID    asn1.ObjectIdentifier
		Value any
	}
	var tcb []entry
	for i, c := range p.Components {
		tcb = append(tcb, entry{arc(2, i+1), int(c)})
	}
	tcb = append(tcb, entry{arc(2, 17), int(p.PCESVN)}, entry{arc(2, 18), p.Components[:]})
	return asn1.Marshal([]entry{
		{arc(1), make([]byte, 16)},
		{arc(2), tcb},
		{arc(3), p.PCEID[:]},
		{arc(4), p.FMSPC[:]},
		{arc(5), asn1.Enumerated(1)},
	})
}

// CRL makes the revocation list of an issuer, valid from a day before [Vendor.At] on.
func (v *Vendor) CRL(issuer Holder, revoked ...*big.Int) ([]byte, error) {
	return v.CRLOf(issuer, v.At.AddDate(0, 0, -1), v.At.AddDate(0, 0, 29), revoked...)
}

// CRLOf makes the revocation list of an issuer with its dates.
func (v *Vendor) CRLOf(issuer Holder, from, until time.Time, revoked ...*big.Int) ([]byte, error) {
	v.serial++
	t := &x509.RevocationList{Number: big.NewInt(v.serial), ThisUpdate: from, NextUpdate: until}
	for _, s := range revoked {
		t.RevokedCertificateEntries = append(t.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: s, RevocationTime: from})
	}
	return x509.CreateRevocationList(nil, t, issuer.Cert, issuer.Key)
}

// Quote describes a quote. Its zero fields are filled in with what verifies.
type Quote struct {
	// Version is 3, 4 or 5.
	Version uint16
	// Body is the enclave's or the TD's report; see [TD] and [Enclave].
	Body []byte
	// QE is the report of the QE; its report data is filled in.
	QE []byte
	// Auth is the QE's authentication data.
	Auth []byte
	// Header may change the header before it is signed.
	Header func([]byte)
	// Chain replaces the PEM chain.
	Chain []byte
}

// TD returns the body of a TD's report of version 1.0, or of 1.5; change may alter it.
// Its module has major version 1, and no attribute but SEPT_VE_DISABLE.
func TD(v15 bool, change func([]byte)) []byte {
	b := make([]byte, 584)
	if v15 {
		b = make([]byte, 648)
		copy(b[584:], []byte{5, 1, 2})
	}
	copy(b, []byte{5, 1, 2})
	binary.LittleEndian.PutUint64(b[120:], 1<<28)
	binary.LittleEndian.PutUint64(b[128:], 0x600E7)
	for i, at := range []int{16, 136, 328, 376, 424, 472} {
		copy(b[at:at+48], bytes.Repeat([]byte{byte(0x11 * (i + 1))}, 48))
	}
	copy(b[520:], bytes.Repeat([]byte{0xDA}, 64))
	if change != nil {
		change(b)
	}
	return b
}

// Enclave returns the body of an enclave's report; change may alter it.
func Enclave(change func([]byte)) []byte {
	b := make([]byte, 384)
	copy(b[48:], []byte{5, 0, 0, 0, 0, 0, 0, 0, 0xE7})
	copy(b[64:], bytes.Repeat([]byte{0x22}, 32))
	copy(b[128:], bytes.Repeat([]byte{0x33}, 32))
	if change != nil {
		change(b)
	}
	return b
}

// QE returns the report of the QE that [Vendor.QEIdentity] describes: product 2 for a
// TD's, 1 for an enclave's.
func QE(td bool, change func([]byte)) []byte {
	b := make([]byte, 384)
	copy(b[48:], []byte{0x11, 0, 0, 0, 0, 0, 0, 0, 0xE7})
	copy(b[128:], bytes.Repeat([]byte{0x8C}, 32))
	b[256], b[258] = 1, 8
	if td {
		b[256] = 2
	}
	if change != nil {
		change(b)
	}
	return b
}

// Make makes the quote.
func (v *Vendor) Make(q Quote) ([]byte, error) {
	td := len(q.Body) > 384
	if q.QE == nil {
		q.QE = QE(td, nil)
	}
	if q.Auth == nil {
		q.Auth = bytes.Repeat([]byte{0xAA}, 32)
	}
	h := make([]byte, 48)
	binary.LittleEndian.PutUint16(h, q.Version)
	binary.LittleEndian.PutUint16(h[2:], 2)
	if td {
		h[4] = 0x81
	}
	copy(h[12:], []byte{0x93, 0x9A, 0x72, 0x33, 0xF7, 0x9C, 0x4C, 0xA9, 0x94, 0x0A, 0x0D, 0xB3, 0x95, 0x7F, 0x06, 0x07})
	if q.Header != nil {
		q.Header(h)
	}
	if q.Version == 5 {
		kind := uint16(1)
		if td {
			kind = 2
		}
		if len(q.Body) == 648 {
			kind = 3
		}
		h = binary.LittleEndian.AppendUint16(h, kind)
		h = binary.LittleEndian.AppendUint32(h, uint32(len(q.Body)))
	}
	out := append(h, q.Body...)
	data, err := v.signatureData(&q, out)
	if err != nil {
		return nil, err
	}
	return append(binary.LittleEndian.AppendUint32(out, uint32(len(data))), data...), nil
}

// signatureData makes what follows the body.
func (v *Vendor) signatureData(q *Quote, signed []byte) ([]byte, error) {
	sig, err := signRaw(v.Attestation, signed)
	if err != nil {
		return nil, err
	}
	point, err := v.Attestation.PublicKey.Bytes()
	if err != nil {
		return nil, err
	}
	key := point[1:]
	qe := bytes.Clone(q.QE)
	sum := sha256.Sum256(append(bytes.Clone(key), q.Auth...))
	copy(qe[320:], sum[:])
	qeSig, err := signRaw(v.PCK.Key, qe)
	if err != nil {
		return nil, err
	}
	chain := q.Chain
	if chain == nil {
		chain = Chain(v.PCK.Cert, v.CA.Cert, v.Root.Cert)
	}
	inner := append(bytes.Clone(qe), qeSig...)
	inner = binary.LittleEndian.AppendUint16(inner, uint16(len(q.Auth)))
	inner = append(inner, q.Auth...)
	inner = binary.LittleEndian.AppendUint16(inner, 5)
	inner = binary.LittleEndian.AppendUint32(inner, uint32(len(chain)))
	inner = append(inner, chain...)
	out := append(sig, key...)
	if q.Version != 3 {
		out = binary.LittleEndian.AppendUint16(out, 6)
		out = binary.LittleEndian.AppendUint32(out, uint32(len(inner)))
	}
	return append(out, inner...), nil
}

// Chain writes certificates in PEM.
func Chain(list ...*x509.Certificate) []byte {
	var out []byte
	for _, c := range list {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return out
}

// signRaw signs data and returns r and s.
func signRaw(key *ecdsa.PrivateKey, data []byte) ([]byte, error) {
	digest := sha256.Sum256(data)
	// Without a source of randomness the signature is that of RFC 6979.
	der, err := key.Sign(nil, digest[:], crypto.SHA256)
	if err != nil {
		return nil, err
	}
	var sig struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &sig); err != nil {
		return nil, err
	}
	out := make([]byte, 64)
	sig.R.FillBytes(out[:32])
	sig.S.FillBytes(out[32:])
	return out, nil
}

// Answer signs the JSON of a document and puts it into the form of an answer.
func Answer(signer Holder, member, document string) ([]byte, error) {
	sig, err := signRaw(signer.Key, []byte(document))
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, `{"%s":%s,"signature":"%s"}`, member, document, hex.EncodeToString(sig)), nil
}
