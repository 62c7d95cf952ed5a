package intel

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"fmt"
	"math/big"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/simulator/internal/pki"
)

// Platform is one simulated machine. Its fields may be changed before it is used, to
// make the machine another; it is not safe for concurrent use while they are.
type Platform struct {
	vendor *Vendor
	// PCK is what its certificate says, but for serial number, key and dates: these
	// depend on PPID, CPUSVN and PCESVN.
	PCK PCK
	// TEETCBSVN are the security versions of its TDX module: of the module, of its
	// interface (1 is TDX 1.5's), and of the loader.
	TEETCBSVN [16]byte
	// QE and TDQE are the quoting enclaves for enclaves and for TDs.
	QE, TDQE Enclave
}

// qeProd and tdqeProd are the product ids of Intel's quoting enclaves, and qeSVN is
// the version of the simulated ones.
const (
	qeProd   = 1
	tdqeProd = 2
	qeSVN    = 8
)

// Platform returns the machine of that name: always the same for one vendor, with
// firmware that is new, certified by the platform CA.
func (v *Vendor) Platform(name string) (*Platform, error) {
	if v == nil || v.root == nil {
		return nil, fmt.Errorf("a platform of no vendor: %w", ErrIssue)
	}
	ids, err := pki.Derive(v.seed, 32, []byte("platform"), []byte(name))
	if err != nil {
		return nil, err
	}
	p := &Platform{vendor: v, TEETCBSVN: [16]byte{6, 1, 3}}
	p.PCK = PCK{
		CA:         PlatformCA,
		Components: [16]uint8{3, 3, 2, 2, 4, 1, 0, 5},
		CPUSVN:     [16]byte{3, 3, 2, 2, 4, 1, 0, 5},
		PCESVN:     11,
		FMSPC:      [6]byte{'S', 'I', 'M', 'U', 0, 0},
		Type:       1,
		Dynamic:    true, CachedKeys: true, SMT: true,
	}
	copy(p.PCK.PPID[:], ids)
	copy(p.PCK.Instance[:], ids[16:])
	p.QE, p.TDQE = quotingEnclave("QE", qeProd), quotingEnclave("TD_QE", tdqeProd)
	p.QE.CPUSVN, p.TDQE.CPUSVN = p.PCK.CPUSVN, p.PCK.CPUSVN
	return p, nil
}

// quotingEnclave returns a quoting enclave.
func quotingEnclave(name string, product uint16) Enclave {
	return Enclave{
		Flags: EnclaveInit | Enclave64Bit | EnclaveProvKey, XFRM: 0xe7,
		MRENCLAVE: sha256.Sum256([]byte("simulated enclave " + name)),
		MRSIGNER:  sha256.Sum256([]byte("simulated signer of quoting enclaves")),
		ProdID:    product, SVN: qeSVN,
	}
}

// key returns a private key of the machine.
func (p *Platform) key(purpose string) (*ecdsa.PrivateKey, error) {
	if p == nil || p.vendor == nil || p.vendor.root == nil {
		return nil, fmt.Errorf("a key of no platform: %w", ErrIssue)
	}
	return pki.DeriveKey(elliptic.P256(), p.vendor.seed, p.identity(purpose)...)
}

// identity returns what the machine's keys and serial number depend on.
func (p *Platform) identity(purpose string) [][]byte {
	return [][]byte{[]byte(purpose), p.PCK.PPID[:], p.PCK.CPUSVN[:], {byte(p.PCK.PCESVN >> 8), byte(p.PCK.PCESVN)}}
}

// Describe returns what the machine's PCK certificate says if it is issued now.
// Change what shall be otherwise and hand it to [Vendor.Certify]. The error wraps
// [ErrIssue].
func (p *Platform) Describe(now time.Time) (PCK, error) {
	key, err := p.key("pck")
	if err != nil {
		return PCK{}, err
	}
	serial, err := pki.Derive(p.vendor.seed, 20, p.identity("serial")...)
	if err != nil {
		return PCK{}, err
	}
	serial[0] = serial[0]&0x7f | 0x40 // positive, and 20 bytes
	k := p.PCK
	k.Serial, k.Public = new(big.Int).SetBytes(serial), &key.PublicKey
	k.NotBefore = now.Add(-pki.Backdate).Truncate(time.Second)
	if from := p.vendor.Root().NotBefore; k.NotBefore.Before(from) {
		k.NotBefore = from
	}
	k.NotAfter = k.NotBefore.AddDate(leafYears, 0, 0)
	return k, nil
}

// Certificate issues the machine's PCK certificate; its serial number is always the
// same. The error wraps [ErrIssue].
func (p *Platform) Certificate(now time.Time) (*x509.Certificate, error) {
	k, err := p.Describe(now)
	if err != nil {
		return nil, err
	}
	return p.vendor.Certify(k)
}

// Chain returns the PEM chain for a PCK certificate of this vendor, leaf first.
func (v *Vendor) Chain(leaf *x509.Certificate, ca CA) []byte {
	return pki.PEM(leaf, v.Issuer(ca), v.Root())
}

// TD returns the report body of a guest of that name that nothing is wrong with: no
// debugging, not migratable, empty registers.
func (p *Platform) TD(guest string, reportData [64]byte) *TD {
	return &TD{
		TEETCBSVN: p.TEETCBSVN, TEETCBSVN2: p.TEETCBSVN,
		MRSEAM:     sha512.Sum384([]byte("simulated TDX module")),
		Attributes: TDSeptVEDisable, XFAM: 0x602e7,
		MRTD:       sha512.Sum384([]byte("simulated TD " + guest)),
		ReportData: reportData,
	}
}

// Enclave returns the report body of an enclave of that name that nothing is wrong
// with: no debugging.
func (p *Platform) Enclave(name string, reportData [64]byte) *Enclave {
	return &Enclave{
		CPUSVN: p.PCK.CPUSVN, Flags: EnclaveInit | Enclave64Bit, XFRM: 0xe7,
		MRENCLAVE: sha256.Sum256([]byte("simulated enclave " + name)),
		MRSIGNER:  sha256.Sum256([]byte("simulated signer of enclaves")),
		ProdID:    1, SVN: 1, ReportData: reportData,
	}
}

// TDQuote returns the quote of a TD: of version 4 with the body of TDX 1.0, of
// version 5 with that of TDX 1.5. Change what shall be otherwise before it is
// encoded. The error wraps [ErrIssue].
func (p *Platform) TDQuote(td *TD, version uint16, now time.Time) (*Quote, error) {
	q, err := p.quote(now)
	if err != nil {
		return nil, err
	}
	q.Version, q.TEE, q.QE = version, TEETDX, p.TDQE
	q.BodyType, q.Body = BodyTD15, td.Marshal(version == 5)
	return q, nil
}

// SGXQuote returns the quote, version 3, of an enclave. Change what shall be
// otherwise before it is encoded. The error wraps [ErrIssue].
func (p *Platform) SGXQuote(e *Enclave, now time.Time) (*Quote, error) {
	q, err := p.quote(now)
	if err != nil {
		return nil, err
	}
	q.Version, q.TEE, q.QE = 3, TEESGX, p.QE
	q.Reserved = [2]uint16{p.QE.SVN, p.PCK.PCESVN}
	q.BodyType, q.Body = BodyEnclave, e.Marshal()
	return q, nil
}

// quote returns what all quotes of the machine have.
func (p *Platform) quote(now time.Time) (*Quote, error) {
	leaf, err := p.Certificate(now)
	if err != nil {
		return nil, err
	}
	q := &Quote{
		KeyType: attestationP256, QEVendor: intelQE(),
		Chain: p.vendor.Chain(leaf, p.PCK.CA), AuthData: make([]byte, 32),
	}
	for i := range q.AuthData {
		q.AuthData[i] = byte(i)
	}
	copy(q.UserData[:], p.PCK.PPID[:])
	if q.PCK, err = p.key("pck"); err != nil {
		return nil, err
	}
	if q.Attestation, err = p.key("attestation"); err != nil {
		return nil, err
	}
	return q, nil
}

// intelQE returns the id of Intel's quoting enclaves.
func intelQE() [16]byte {
	return [16]byte{0x93, 0x9a, 0x72, 0x33, 0xf7, 0x9c, 0x4c, 0xa9, 0x94, 0x0a, 0x0d, 0xb3, 0x95, 0x7f, 0x06, 0x07}
}

// Collateral returns everything that a verifier needs beside a quote of the machine:
// TCB information, the quoting enclave's identity, the certificate of the key that
// signs both, and the lists of the root and of the CA that certified the machine,
// which revoke nothing. The error wraps [ErrIssue].
func (p *Platform) Collateral(tee uint32, now time.Time) ([]attest.Collateral, error) {
	v := p.vendor
	info, err := v.SignTCBInfo(p.TCBInfo(tee, now))
	if err != nil {
		return nil, err
	}
	identity, err := v.SignIdentity(p.Identity(tee, now))
	if err != nil {
		return nil, err
	}
	root, err := v.RootCRL(CRL{Number: 1}, now)
	if err != nil {
		return nil, err
	}
	pck, err := v.PCKCRL(p.PCK.CA, CRL{Number: 1}, now)
	if err != nil {
		return nil, err
	}
	return []attest.Collateral{
		{Kind: attest.CollateralTCBInfo, Data: info},
		{Kind: attest.CollateralQEIdentity, Data: identity},
		{Kind: attest.CollateralCertificate, Data: v.TCBSigning().Raw},
		{Kind: attest.CollateralCRL, Data: root},
		{Kind: attest.CollateralCRL, Data: pck},
	}, nil
}
