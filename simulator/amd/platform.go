package amd

import (
	"crypto/ecdsa"
	"crypto/sha512"
	"fmt"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/simulator/internal/pki"
)

// Platform is one simulated machine of a vendor. Its fields may be changed before it
// is used, to make the machine another; it is not safe for concurrent use while they
// are.
type Platform struct {
	vendor *Vendor
	// ChipID is the chip's id: 64 bytes, 8 on Turin. The VCEK depends on it.
	ChipID []byte
	// TCB is the version that the machine's VCEK and VLEK stand for. Both depend on
	// it.
	TCB TCB
	// CSP is the cloud that the machine's VLEK was given to. The VLEK depends on it.
	CSP string
}

// Platform returns the machine of that name: always the same for one vendor, with
// firmware that is new.
func (v *Vendor) Platform(name string) (*Platform, error) {
	if v == nil || v.ark == nil {
		return nil, fmt.Errorf("a platform of no vendor: %w", ErrIssue)
	}
	size := 64
	tcb := TCB{BootLoader: 4, SNP: 0x18, Microcode: 0xdb}
	switch v.product {
	case Milan:
	case Genoa:
		tcb = TCB{BootLoader: 10, SNP: 0x17, Microcode: 0x54}
	case Turin:
		size, tcb = 8, TCB{FMC: 1, BootLoader: 1, TEE: 1, SNP: 4, Microcode: 0x51}
	}
	id, err := pki.Derive(v.seed, size, []byte("chip"), []byte(name))
	if err != nil {
		return nil, err
	}
	return &Platform{vendor: v, ChipID: id, TCB: tcb, CSP: "CN=cc-simulated.invalid"}, nil
}

// Vendor returns the platform's vendor.
func (p *Platform) Vendor() *Vendor { return p.vendor }

// Report returns a report as the machine gives it to a guest that nothing is wrong
// with: VMPL 0, no debugging, no migration agent, signed by the VCEK, measurement of
// a guest of that name. Change what shall be otherwise and hand it to
// [Platform.Sign].
func (p *Platform) Report(guest string, reportData [64]byte) *Report {
	tcb := p.TCB.Version(p.vendor.product)
	r := &Report{
		Version: 3, Policy: PolicyReserved1 | PolicySMT | 0x1f, SignatureAlgo: signatureECDSA,
		CurrentTCB: tcb, ReportedTCB: tcb, CommittedTCB: tcb, LaunchTCB: tcb,
		PlatformInfo: PlatformSMT | PlatformECC | PlatformAliasCheck,
		ReportData:   reportData,
		Measurement:  sha512.Sum384([]byte("simulated SNP guest " + guest)),
		Family:       0x19, Model: 1, Stepping: 1,
		Current: Firmware{Build: 29, Minor: 55, Major: 1}, Committed: Firmware{Build: 29, Minor: 55, Major: 1},
	}
	switch p.vendor.product {
	case Milan:
	case Genoa:
		r.Model = 0x11
	case Turin:
		r.Version, r.Family, r.Model = 5, 0x1a, 2
		r.LaunchMitigations, r.CurrentMitigations = 0x3f, 0x3f
	}
	id := sha512.Sum384(append([]byte("simulated report id "+guest), p.ChipID...))
	copy(r.ReportID[:], id[:])
	for i := range r.ReportIDMA {
		r.ReportIDMA[i] = 0xff
	}
	copy(r.ChipID[:], p.ChipID)
	return r
}

// Sign encodes a report and signs it with the key that it names, of this machine
// and its TCB, whatever the report says about either; one that names no such key is
// left without a signature. The error wraps [ErrIssue].
func (p *Platform) Sign(r *Report) ([]byte, error) {
	b := r.Marshal()
	if r.SigningKey != VCEK && r.SigningKey != VLEK {
		return b, nil
	}
	if err := p.SignBytes(b, r.SigningKey); err != nil {
		return nil, err
	}
	return b, nil
}

// SignBytes signs the [ReportSize] bytes of a report in place, whatever stands in
// them. The error wraps [ErrIssue].
func (p *Platform) SignBytes(report []byte, kind SigningKey) error {
	key, err := p.key(kind)
	if err != nil {
		return err
	}
	return sign(report, key)
}

// key returns the private VCEK or VLEK.
func (p *Platform) key(kind SigningKey) (*ecdsa.PrivateKey, error) {
	if p == nil || p.vendor == nil || p.vendor.ark == nil {
		return nil, fmt.Errorf("a key of no platform: %w", ErrIssue)
	}
	owner := p.ChipID
	if kind == VLEK {
		owner = []byte(p.CSP)
	}
	return p.vendor.key(kind, owner, p.TCB)
}

// EndorsementKey returns what the certificate of the machine's VCEK or VLEK says if
// it is issued now. Change what shall be otherwise and hand it to [Vendor.Certify].
// The error wraps [ErrIssue].
func (p *Platform) EndorsementKey(kind SigningKey, now time.Time) (EndorsementKey, error) {
	key, err := p.key(kind)
	if err != nil {
		return EndorsementKey{}, err
	}
	k := EndorsementKey{Kind: kind, ProductName: string(p.vendor.product), TCB: p.TCB, Public: &key.PublicKey}
	k.NotBefore = now.Add(-pki.Backdate).Truncate(time.Second)
	if from := p.vendor.ARK().NotBefore; k.NotBefore.Before(from) {
		k.NotBefore = from
	}
	k.NotAfter = k.NotBefore.AddDate(chipYears, 0, 0)
	switch {
	case p.vendor.product == Turin:
		k.StructVersion = 1
	case p.vendor.product == Milan && kind == VCEK:
		k.ProductName = "Milan-B0"
	}
	if kind == VLEK {
		k.CSP, k.NotAfter = p.CSP, k.NotBefore.AddDate(1, 0, 0)
	} else {
		k.HWID = p.ChipID
	}
	return k, nil
}

// Certificate issues the certificate of the machine's VCEK or VLEK, DER. The error
// wraps [ErrIssue].
func (p *Platform) Certificate(kind SigningKey, now time.Time) ([]byte, error) {
	k, err := p.EndorsementKey(kind, now)
	if err != nil {
		return nil, err
	}
	return p.vendor.Certify(k)
}

// Collateral returns everything that a verifier needs beside a report signed by
// that key: its certificate, those of the authorities, and the ARK's list, which
// revokes nothing. The error wraps [ErrIssue].
func (p *Platform) Collateral(kind SigningKey, now time.Time) ([]attest.Collateral, error) {
	leaf, err := p.Certificate(kind, now)
	if err != nil {
		return nil, err
	}
	crl, err := p.vendor.CRL(CRL{Number: 1}, now)
	if err != nil {
		return nil, err
	}
	issuer := p.vendor.ASK()
	if kind == VLEK {
		issuer = p.vendor.ASVK()
	}
	return []attest.Collateral{
		{Kind: attest.CollateralCertificate, Data: leaf},
		{Kind: attest.CollateralCertificate, Data: issuer.Raw},
		{Kind: attest.CollateralCertificate, Data: p.vendor.ARK().Raw},
		{Kind: attest.CollateralCRL, Data: crl},
	}, nil
}
