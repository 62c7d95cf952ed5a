// Package amd is AMD, simulated: for each product a root key (ARK), the keys below
// it that certify chips (ASK) and the keys of clouds (ASVK), the chips themselves
// with their endorsement keys, revocation lists, signed attestation reports, and
// the key distribution service (KDS) that publishes all but the reports.
//
// Profiles of certificates, encodings and paths are those of AMD's publications
// 56860 (SEV-SNP Firmware ABI, revision 1.58), 57230 (VCEK Certificate and KDS
// Interface Specification) and 56421 (GHCB, revision 2.03), and everything is as
// real hardware has it, with two exceptions: every common name ends in " SIMULATED",
// and the addresses in certificates end in ".invalid". Who wants to accept what a
// simulated chip signs puts the vendor's root into a folder of roots; none is built
// in anywhere.
//
// # What a simulated chip proves
//
// Nothing. Its keys are derived from a seed that lies in a file of its vendor, so
// that the service can certify any chip without keeping a list; whoever has the
// file signs what he likes. Every field of a report, of a certificate and of a list
// can be set, to show what a verifier does with it.
package amd

import (
	"errors"

	"github.com/sworn-run/sworn/simulator/internal/pki"
)

// The errors of this package; every error returned wraps one of them.
var (
	// ErrDir reports a directory that cannot be used: it cannot be written, or
	// what lies in it is not what this package put there.
	ErrDir = pki.ErrDir
	// ErrIssue reports that a certificate, a list or a report could not be made out
	// of what was asked for.
	ErrIssue = pki.ErrIssue
	// ErrProduct reports a product that this package does not know.
	ErrProduct = errors.New("unknown product")
)
