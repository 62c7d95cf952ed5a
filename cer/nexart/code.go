package nexart

import (
	"errors"

	"github.com/sworn-run/sworn/cer"
)

// A Code is a reason in NexArt's vocabulary. The zero Code is no reason.
type Code uint8

// The codes: those of CerVerifyCode first, then those that NexArt's verifiers
// and documents use besides.
const (
	// CodeUnknown is no reason; it is never reported.
	CodeUnknown Code = iota
	// CodeCanonicalization: the file has no canonical form that means one thing.
	CodeCanonicalization
	// CodeSchema: a member is missing, of the wrong type, or not known.
	CodeSchema
	// CodeInvalidFormat: a hash is not one.
	CodeInvalidFormat
	// CodeSnapshotHash: inputHash and outputHash are both wrong.
	CodeSnapshotHash
	// CodeInputHash: inputHash is not the hash of input.
	CodeInputHash
	// CodeOutputHash: outputHash is not the hash of output.
	CodeOutputHash
	// CodeCertificateHash: certificateHash is not that of the record.
	CodeCertificateHash
	// CodeProjectHash: projectHash is not that of the project.
	CodeProjectHash
	// CodeStepRegistry: a project's registry contradicts itself or the records.
	CodeStepRegistry
	// CodeAttestationMissing: a signature without what it signs.
	CodeAttestationMissing
	// CodeKeyNotFound: no key of that name among those the reader trusts.
	CodeKeyNotFound
	// CodeInvalidSignature: a signature does not verify.
	CodeInvalidSignature
	// CodeKeyFormat: the key cannot be used for this signature.
	CodeKeyFormat
	// CodeKeyRevoked: the key document says that the key is revoked.
	CodeKeyRevoked
	// CodeContextNotProtected: there are signals that no hash covers.
	CodeContextNotProtected
	// CodeReceiptMissing: what speaks of an attestation holds no receipt.
	CodeReceiptMissing
	// CodeStampLegacy: there is a stamp of the days before receipts: unsigned.
	CodeStampLegacy
	// CodeUnsupportedType: the bundleType is not known.
	CodeUnsupportedType
	// CodeReceiptHash: a receipt is of another record.
	CodeReceiptHash
	// CodeSignatureMissing: a receipt or an envelope without a signature.
	CodeSignatureMissing
	// CodeSchemaVersion: a protocolVersion, receiptVersion or specVersion that
	// is not known, or that two parts of the file disagree about.
	CodeSchemaVersion
	codes
)

// String returns NexArt's spelling, for instance "INPUT_HASH_MISMATCH".
func (c Code) String() string {
	names := [codes]string{
		CodeUnknown:             "UNKNOWN_ERROR",
		CodeCanonicalization:    "CANONICALIZATION_ERROR",
		CodeSchema:              "SCHEMA_ERROR",
		CodeInvalidFormat:       "INVALID_SHA256_FORMAT",
		CodeSnapshotHash:        "SNAPSHOT_HASH_MISMATCH",
		CodeInputHash:           "INPUT_HASH_MISMATCH",
		CodeOutputHash:          "OUTPUT_HASH_MISMATCH",
		CodeCertificateHash:     "CERTIFICATE_HASH_MISMATCH",
		CodeProjectHash:         "PROJECT_HASH_MISMATCH",
		CodeStepRegistry:        "STEP_REGISTRY_MISMATCH",
		CodeAttestationMissing:  "ATTESTATION_MISSING",
		CodeKeyNotFound:         "ATTESTATION_KEY_NOT_FOUND",
		CodeInvalidSignature:    "ATTESTATION_INVALID_SIGNATURE",
		CodeKeyFormat:           "ATTESTATION_KEY_FORMAT_UNSUPPORTED",
		CodeKeyRevoked:          "KEY_REVOKED",
		CodeContextNotProtected: "CONTEXT_NOT_PROTECTED",
		CodeReceiptMissing:      "NODE_RECEIPT_MISSING",
		CodeStampLegacy:         "STAMP_LEGACY",
		CodeUnsupportedType:     "UNSUPPORTED_BUNDLE_TYPE",
		CodeReceiptHash:         "RECEIPT_HASH_MISMATCH",
		CodeSignatureMissing:    "NODE_SIGNATURE_MISSING",
		CodeSchemaVersion:       "SCHEMA_VERSION_UNSUPPORTED",
	}
	if c >= codes {
		c = CodeUnknown
	}
	return names[c]
}

// Reason returns the protocol's own, coarser reasonCode for a Code, for instance
// "BUNDLE_HASH_MISMATCH", or "" where it has none.
func (c Code) Reason() string {
	switch c {
	case CodeSnapshotHash, CodeInputHash, CodeOutputHash, CodeCertificateHash, CodeProjectHash, CodeStepRegistry:
		return "BUNDLE_HASH_MISMATCH"
	case CodeCanonicalization, CodeSchema, CodeInvalidFormat:
		return "BUNDLE_CORRUPTED"
	case CodeUnsupportedType, CodeSchemaVersion:
		return "SCHEMA_VERSION_UNSUPPORTED"
	case CodeKeyNotFound, CodeInvalidSignature, CodeKeyFormat, CodeKeyRevoked:
		return "NODE_SIGNATURE_INVALID"
	case CodeAttestationMissing, CodeReceiptMissing, CodeSignatureMissing, CodeStampLegacy:
		return "NODE_SIGNATURE_MISSING"
	case CodeReceiptHash:
		return "RECEIPT_HASH_MISMATCH"
	case CodeUnknown, CodeContextNotProtected, codes:
	}
	return ""
}

// integrityCode translates what [cer.VerifyIntegrity] says.
func integrityCode(err error) Code {
	ie, ok := errors.AsType[*cer.IntegrityError](err)
	if !ok {
		return CodeUnknown
	}
	switch ie.Code {
	case cer.CodeCanonicalization:
		return CodeCanonicalization
	case cer.CodeSchema:
		return CodeSchema
	case cer.CodeInvalidFormat:
		return CodeInvalidFormat
	case cer.CodeSnapshotHash:
		return CodeSnapshotHash
	case cer.CodeInputHash:
		return CodeInputHash
	case cer.CodeOutputHash:
		return CodeOutputHash
	case cer.CodeCertificateHash:
		return CodeCertificateHash
	case cer.CodeUnknown, cer.CodeOK:
	}
	return CodeUnknown
}
