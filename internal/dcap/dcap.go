// Package dcap appraises the quotes of Intel's Data Center Attestation Primitives:
// SGX enclaves in versions 3 to 5, TDX trust domains in versions 4 and 5. Packages
// tdx and enclave stand on it; what a body means to a relying party is theirs.
//
// [ParseQuote] reads exactly the bytes of a quote, and [Quote.Appraise] finds out
// whether it is genuine and what Intel says of the platform that made it. A quote
// is a chain of keys: the attestation key signed header and body, the quoting
// enclave (QE) vouches for that key in its report data, and the provisioning
// certification key (PCK) of the platform signed the QE's report. If one of these
// does not hold there is no appraisal, but an error. Whose platform it is, whether
// it is revoked and how old its TCB is, are findings: they rest on the PCK's
// certificate chain and on collateral, at a time that the caller gives.
//
// # Only what is signed is read
//
// TCB info and QE identity must have the very form in which Intel's service answers,
// {"tcbInfo":…,"signature":"…"}, without another byte: so there is one reading of
// which bytes are signed, and it is these bytes that are parsed, with member names
// compared exactly and none of them twice. A second member "TCBInfo" beside the
// signed one, which readers that ignore case take for it, has no place.
//
// # Whose quoting enclave
//
// A PCK vouches for any enclave that its platform's owner lets at the provisioning
// key. That the reporting enclave is Intel's QE, only the QE identity tells: without
// it, whose key signed the quote is not established, whatever the chain says.
//
// Clauses are those of Intel's "SGX ECDSA Quote Library API" (SGX-QL, A.3 for version
// 4 and 5 and A.4 for version 3), of the "SGX PCK Certificate and Certificate
// Revocation List Profile Specification" (PCK profile), and of the Provisioning
// Certification Service API, version 4 (PCS). The rule for the status is that of
// Intel's quote verification library (QVL).
package dcap

import "github.com/sworn-run/sworn/attest"

// Role is the role of Intel's roots (docs/SPEC.md, section 9).
const Role = "intel-sgx"

// Bounds on hostile input, checked before anything is allocated. Genuine quotes have
// some 5 KB, chains three certificates of 1 KB, documents 10 KB.
const (
	// MaxQuote is the largest quote in bytes.
	MaxQuote = 64 << 10

	maxDocument   = 1 << 20
	maxCRL        = 4 << 20
	maxLevels     = 1024
	maxIdentities = 256
	maxAdvisories = 1024
	maxText       = 128
	maxSigners    = 8  // certificates of who signs documents
	maxDocuments  = 32 // of a kind
)

// TEE is the type of trusted execution environment in a quote's header.
type TEE uint32

// The types (SGX-QL, A.3.1).
const (
	// SGX is an enclave.
	SGX TEE = 0
	// TDX is a trust domain.
	TDX TEE = 0x81
)

// String returns the name that TCB info has for it.
func (t TEE) String() string {
	if t == TDX {
		return "TDX"
	}
	return "SGX"
}

// detail is a short way to make one.
func detail(name, value string) attest.Detail { return attest.Detail{Name: name, Value: value} }
