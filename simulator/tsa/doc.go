// Package tsa is a time-stamping authority (RFC 3161), simulated: a root, an authority
// below it, a signer for time-stamping alone, the revocation lists of both, and the HTTP
// service that stamps. It tells whatever time its clock is set to.
//
// It writes its tokens itself, with encoding/asn1, and shares no code with the verifier
// that reads them. Every common name ends in " SIMULATED", and no root of it is built in
// anywhere: who wants to accept its tokens puts its root into a folder of roots, in tsa/.
//
// # What a simulated authority proves
//
// Nothing: it says that anything existed at any time. Every part of a token can be changed
// before it is signed ([Order].Edit), to show what a verifier does with it.
package tsa

import "github.com/sworn-run/sworn/simulator/internal/pki"

// The errors of this package; every error returned wraps one of them.
var (
	// ErrDir reports a directory that cannot be used: it cannot be written, or what lies
	// in it is not what this package put there.
	ErrDir = pki.ErrDir
	// ErrIssue reports that a certificate, a list or a token could not be made out of what
	// was asked for.
	ErrIssue = pki.ErrIssue
)
