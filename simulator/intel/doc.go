// Package intel is Intel, simulated: the SGX root, the CAs below it that certify
// platforms and the key that signs TCB information, the platforms with their
// provisioning certification keys (PCK) and quoting enclaves, revocation lists, TCB
// information and enclave identities, signed SGX and TDX quotes, and the
// provisioning certification service (PCS) that publishes all but the quotes.
//
// Layouts and profiles are those of Intel's "SGX PCK Certificate and CRL Profile
// Specification" (revision 1.5), of the "SGX ECDSA Quote Library Reference" (quote
// version 3) and the "TDX DCAP Quoting Library API" (versions 4 and 5), and of the
// PCS API version 4; everything is as real platforms have it, with these exceptions:
// every common name ends in " SIMULATED", the addresses in certificates end in
// ".invalid", and the quoting enclaves are signed by nobody that signs real ones. Who
// wants to accept what a simulated platform signs puts the vendor's root into a
// folder of roots; none is built in anywhere.
//
// # What a simulated platform proves
//
// Nothing. Its keys are derived from a seed that lies in a file of its vendor;
// whoever has the file signs what he likes. Every field of a quote, of a certificate
// and of TCB information can be set, to show what a verifier does with it.
package intel

import "github.com/sworn-run/sworn/simulator/internal/pki"

// The errors of this package; every error returned wraps one of them.
var (
	// ErrDir reports a directory that cannot be used: it cannot be written, or
	// what lies in it is not what this package put there.
	ErrDir = pki.ErrDir
	// ErrIssue reports that a certificate, a list, a signed text or a quote could not
	// be made out of what was asked for.
	ErrIssue = pki.ErrIssue
)
