package attest

import (
	"context"
	"time"
)

// The kinds of collateral items that vendors sign. A format reads those that it
// knows and no other (docs/SPEC.md, section 3).
const (
	// CollateralCertificate is one X.509 certificate in DER, at most 64 KiB.
	CollateralCertificate = "certificate"
	// CollateralCRL is one X.509 certificate revocation list in DER, version 2.
	CollateralCRL = "crl"
	// CollateralTCBInfo is Intel's TCB info as its service answers: the JSON object
	// of members tcbInfo and signature, byte for byte.
	CollateralTCBInfo = "tcb-info"
	// CollateralQEIdentity is the identity of Intel's quoting enclave, as its service
	// answers: the JSON object of members enclaveIdentity and signature.
	CollateralQEIdentity = "qe-identity"
	// CollateralCCEL is the firmware's log of what it extended into the measurement
	// registers of a confidential VM (the data that the ACPI table CCEL points to).
	// Nobody signs it: the quote confirms it or not.
	CollateralCCEL = "ccel"
)

// Measurement is one digest that evidence states: of an image, of a
// configuration, of a key that signed for either.
type Measurement struct {
	// Name is the format's name of the field, such as "measurement" or "mrtd".
	Name string
	// Value is the digest as signed.
	Value []byte
}

// Attribute is one number that evidence states: a privilege level, a bit of a
// policy, a security version.
type Attribute struct {
	// Name is the format's name of the field, such as "vmpl".
	Name string
	// Value is the number; 0 or 1 for a bit.
	Value uint64
}

// TCB is what evidence and collateral together say of the security version of the
// platform. The zero TCB is not established.
type TCB struct {
	// Finding is Passed if the vendor's word on this platform is established, whatever
	// it is, or, where vendors give none, if the versions below are those of the
	// certificate that vouches for the key; Failed if the vendor has revoked the
	// platform, or the versions contradict the certificate. Whether a status or a version
	// is good enough is for the verifier's policy.
	Finding
	// Status is the vendor's word, merged over all parts of the platform, such as
	// "UpToDate"; empty for a vendor that publishes none.
	Status string
	// Advisories are the ids of the vendor's advisories that apply, ascending.
	Advisories []string
	// Evaluation is the number of the vendor's evaluation data by which Status was
	// found (tcbEvaluationDataNumber); 0 where there is none.
	Evaluation uint32
	// Versions are the security versions that a policy may hold a minimum against; each
	// is the least that the evidence states for this part of the platform.
	Versions []Attribute
}

// Key is a public key that evidence rests on: the one that quoted, or one that certifies
// it, directly or not.
type Key struct {
	// What is the key for people, such as "VCEK".
	What string
	// SPKI is its SubjectPublicKeyInfo in DER.
	SPKI []byte
}

// Use tells of one collateral item that a scheme relied on, or that concerns the evidence.
type Use struct {
	// Index is the item's index in [Evidence.Collateral].
	Index int
	// What is the item for people: its kind, and whose it is.
	What string
	// From and Until are the dates within which its vendor wants it to be used: of an
	// update, or of a certificate. Zero for what has none.
	From, Until time.Time
}

// MeasurementField is one measurement that a format states (see [Measurement]).
type MeasurementField struct {
	// Name is its name in claims and policies.
	Name string
	// Size is its size in bytes.
	Size int
	// Image tells that it identifies what was launched, and is more than what a host or a
	// launched system may set at will.
	Image bool
	// With are the attributes, and the versions, that a policy must name beside it for it to
	// identify what was launched: it is that of a signer who signs other things too.
	With []string
}

// AttributeField is one attribute that a format states (see [Attribute]).
type AttributeField struct {
	// Name is its name in claims and policies.
	Name string
	// Free tells that any value is acceptable to a policy that does not name it.
	Free bool
	// Default is the value that a policy which does not name it wants, unless Free.
	Default uint64
}

// CollateralReader is the optional capability of an [Attester] whose machine keeps what
// vendors signed for it, such as the certificates of the key that quotes.
type CollateralReader interface {
	// Collateral returns the items that belong to the evidence which was made last, each
	// of a kind above; nil if there are none. Nothing that it returns is trusted.
	Collateral(ctx context.Context) ([]Collateral, error)
}

// FirmwareLogReader is the optional capability of an [Attester] of a confidential VM
// whose firmware logs what it extends into measurement registers.
type FirmwareLogReader interface {
	// FirmwareLog returns the data of the log ([CollateralCCEL]) up to where it ends;
	// nil if there is none.
	FirmwareLog(ctx context.Context) ([]byte, error)
}
