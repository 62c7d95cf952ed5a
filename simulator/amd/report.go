package amd

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha512"
	"encoding/binary"
	"fmt"
	"slices"
)

// ReportSize is the size of an attestation report in bytes, and signedSize how many
// of them are signed (56860, table 23).
const (
	ReportSize = 1184
	signedSize = 0x2a0
)

// scalarSize is the size of r and of s in a signature, little-endian (56860, table
// 140).
const scalarSize = 72

// The bits of a guest's policy (56860, 4.3). Bit 17 is always 1.
const (
	PolicySMT          uint64 = 1 << 16
	PolicyReserved1    uint64 = 1 << 17
	PolicyMigrateMA    uint64 = 1 << 18
	PolicyDebug        uint64 = 1 << 19
	PolicySingleSocket uint64 = 1 << 20
)

// The bits of a platform's information (56860, table 24).
const (
	PlatformSMT           uint64 = 1 << 0
	PlatformTSME          uint64 = 1 << 1
	PlatformECC           uint64 = 1 << 2
	PlatformRAPLDisabled  uint64 = 1 << 3
	PlatformCiphertextHid uint64 = 1 << 4
	PlatformAliasCheck    uint64 = 1 << 5
)

// signatureECDSA is the number of ECDSA on P-384 with SHA-384 (56860, table 138).
const signatureECDSA = 1

// Firmware is a version of the chip's firmware.
type Firmware struct {
	// Build, Minor and Major are its parts.
	Build, Minor, Major uint8
}

// Report is every field of an attestation report (56860, table 23), in its order.
type Report struct {
	// Version is the version of the report: 2 to 5.
	Version uint32
	// GuestSVN is the guest's security version, from its ID block.
	GuestSVN uint32
	// Policy is the guest's policy.
	Policy uint64
	// FamilyID and ImageID are from the ID block.
	FamilyID, ImageID [16]byte
	// VMPL is the privilege level that asked for the report.
	VMPL uint32
	// SignatureAlgo is the algorithm of the signature; 1.
	SignatureAlgo uint32
	// CurrentTCB is the TCB_VERSION of the running firmware.
	CurrentTCB uint64
	// PlatformInfo tells how the platform is set up.
	PlatformInfo uint64
	// AuthorKey tells that an author key signed the ID key.
	AuthorKey bool
	// MaskChipKey tells that the platform does not sign with the VCEK.
	MaskChipKey bool
	// SigningKey is the key that signs.
	SigningKey SigningKey
	// ReportData is what the guest asked to be signed.
	ReportData [64]byte
	// Measurement is the launch digest.
	Measurement [48]byte
	// HostData is what the host had to say at launch.
	HostData [32]byte
	// IDKeyDigest and AuthorKeyDigest are SHA-384 of the keys of the ID block.
	IDKeyDigest, AuthorKeyDigest [48]byte
	// ReportID is the guest's own, ReportIDMA that of its migration agent.
	ReportID, ReportIDMA [32]byte
	// ReportedTCB is the TCB_VERSION that the VCEK stands for.
	ReportedTCB uint64
	// Family, Model and Stepping are those of CPUID; since version 3.
	Family, Model, Stepping uint8
	// ChipID is the chip's id, on Turin its first 8 bytes; zeros where masked.
	ChipID [64]byte
	// CommittedTCB is the TCB_VERSION that the firmware cannot be rolled back below.
	CommittedTCB uint64
	// Current and Committed are versions of the firmware.
	Current, Committed Firmware
	// LaunchTCB is the TCB_VERSION at launch.
	LaunchTCB uint64
	// LaunchMitigations and CurrentMitigations are mitigation vectors; since version 5.
	LaunchMitigations, CurrentMitigations uint64
}

// Marshal encodes the report without a signature, [ReportSize] bytes. Fields that
// the version does not have yet are encoded all the same: they are zero unless set.
func (r *Report) Marshal() []byte {
	flags := uint32(r.SigningKey&7) << 2
	if r.AuthorKey {
		flags |= 1
	}
	if r.MaskChipKey {
		flags |= 2
	}
	le := binary.LittleEndian
	b := make([]byte, 0, ReportSize)
	b = le.AppendUint32(b, r.Version)
	b = le.AppendUint32(b, r.GuestSVN)
	b = le.AppendUint64(b, r.Policy)
	b = append(b, r.FamilyID[:]...)
	b = append(b, r.ImageID[:]...)
	b = le.AppendUint32(b, r.VMPL)
	b = le.AppendUint32(b, r.SignatureAlgo)
	b = le.AppendUint64(b, r.CurrentTCB)
	b = le.AppendUint64(b, r.PlatformInfo)
	b = le.AppendUint32(b, flags)
	b = le.AppendUint32(b, 0)
	b = append(b, r.ReportData[:]...)
	b = append(b, r.Measurement[:]...)
	b = append(b, r.HostData[:]...)
	b = append(b, r.IDKeyDigest[:]...)
	b = append(b, r.AuthorKeyDigest[:]...)
	b = append(b, r.ReportID[:]...)
	b = append(b, r.ReportIDMA[:]...)
	b = le.AppendUint64(b, r.ReportedTCB)
	b = append(b, r.Family, r.Model, r.Stepping)
	b = append(b, make([]byte, 21)...)
	b = append(b, r.ChipID[:]...)
	b = le.AppendUint64(b, r.CommittedTCB)
	b = append(b, r.Current.Build, r.Current.Minor, r.Current.Major, 0)
	b = append(b, r.Committed.Build, r.Committed.Minor, r.Committed.Major, 0)
	b = le.AppendUint64(b, r.LaunchTCB)
	b = le.AppendUint64(b, r.LaunchMitigations)
	b = le.AppendUint64(b, r.CurrentMitigations)
	return b[:ReportSize]
}

// sign signs what stands in a report with a key on P-384.
func sign(report []byte, key *ecdsa.PrivateKey) error {
	if len(report) != ReportSize {
		return fmt.Errorf("signing a report of %d bytes, want %d: %w", len(report), ReportSize, ErrIssue)
	}
	digest := sha512.Sum384(report[:signedSize])
	r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
	if err != nil {
		return fmt.Errorf("signing a report: %w: %w", ErrIssue, err)
	}
	clear(report[signedSize:])
	r.FillBytes(report[signedSize:][:scalarSize])
	slices.Reverse(report[signedSize:][:scalarSize])
	s.FillBytes(report[signedSize+scalarSize:][:scalarSize])
	slices.Reverse(report[signedSize+scalarSize:][:scalarSize])
	return nil
}
