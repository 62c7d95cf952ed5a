package intel

import (
	"crypto/ecdsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"time"
)

// PCK is what the certificate of a platform's provisioning certification key says
// (PCK Certificate Profile, 1.3.5).
type PCK struct {
	// CA is the authority that issues it. Only certificates of the platform CA tell the
	// platform's instance and configuration.
	CA CA
	// PPID names the platform.
	PPID [16]byte
	// Components are the security versions of its 16 components, and CPUSVN the
	// same as raw bytes.
	Components [16]uint8
	// CPUSVN is the raw version.
	CPUSVN [16]byte
	// PCESVN is the version of the provisioning certification enclave.
	PCESVN uint16
	// PCEID is that enclave's id.
	PCEID [2]byte
	// FMSPC is the platform's family, model, stepping, platform type and custom SKU.
	FMSPC [6]byte
	// Type is 0 for standard, 1 for scalable SGX, 2 for scalable with integrity.
	Type int
	// Instance is the platform's instance id.
	Instance [16]byte
	// Dynamic, CachedKeys and SMT are its configuration: that packages can be added,
	// that keys are cached by Intel, that hyperthreading is on.
	Dynamic, CachedKeys, SMT bool
	// Serial is the certificate's serial number; random if nil.
	Serial *big.Int
	// NotBefore and NotAfter are its dates.
	NotBefore, NotAfter time.Time
	// Public is the key, on P-256.
	Public *ecdsa.PublicKey
}

// sgxOID returns an id of Intel's extensions.
func sgxOID(arcs ...int) asn1.ObjectIdentifier {
	return append(asn1.ObjectIdentifier{1, 2, 840, 113741, 1, 13, 1}, arcs...)
}

// value is one entry of the extension.
type value struct {
	ID    asn1.ObjectIdentifier
	Value any
}

// Certify issues the certificate of a PCK. Nothing is checked. The error wraps
// [ErrIssue].
func (v *Vendor) Certify(p PCK) (*x509.Certificate, error) {
	if v == nil || v.root == nil || p.Public == nil {
		return nil, fmt.Errorf("certifying without a vendor or a key: %w", ErrIssue)
	}
	t, err := template(namePCK, p.Public, "sgx/certification/v4/pckcrl?ca="+string(p.CA)+"&encoding=der")
	if err != nil {
		return nil, err
	}
	t.SerialNumber, t.KeyUsage, t.NotBefore, t.NotAfter = p.Serial, keyUsageSign, p.NotBefore.UTC(), p.NotAfter.UTC()
	extension, err := asn1.Marshal(p.values())
	if err != nil {
		return nil, fmt.Errorf("encoding the SGX extensions: %w: %w", ErrIssue, err)
	}
	t.ExtraExtensions = []pkix.Extension{{Id: sgxOID(), Value: extension}}
	return v.authority(p.CA).Issue(t, p.Public)
}

// values returns the SGX extensions.
func (p *PCK) values() []value {
	var tcb []value
	for i, svn := range p.Components {
		tcb = append(tcb, value{sgxOID(2, i+1), int(svn)})
	}
	tcb = append(tcb, value{sgxOID(2, 17), int(p.PCESVN)}, value{sgxOID(2, 18), p.CPUSVN[:]})
	out := []value{
		{sgxOID(1), p.PPID[:]},
		{sgxOID(2), tcb},
		{sgxOID(3), p.PCEID[:]},
		{sgxOID(4), p.FMSPC[:]},
		{sgxOID(5), asn1.Enumerated(p.Type)},
	}
	if p.CA == PlatformCA {
		out = append(out, value{sgxOID(6), p.Instance[:]}, value{sgxOID(7), []value{
			{sgxOID(7, 1), p.Dynamic}, {sgxOID(7, 2), p.CachedKeys}, {sgxOID(7, 3), p.SMT},
		}})
	}
	return out
}
