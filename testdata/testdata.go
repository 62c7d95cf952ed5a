// Package testdata makes the vectors and the recorded vendor data of this
// folder available to the tests of every package. It holds no logic: one
// read-only file system per kind of data, with the paths as they are here.
package testdata

import "embed"

//go:generate go run ../internal/genvectors/main.go ../internal/genvectors/logs.go ../internal/genvectors/commitments.go vectors/sworn

// Vectors holds vectors/: inputs with one expected outcome each. What they are
// and where they come from stands in the README.md of every subfolder.
//
//go:embed vectors
var Vectors embed.FS

// Golden holds golden/: records of one job on a software TPM, the policy made
// from the first, and the simulated maker's root; below tee the same of
// confidential VMs. Its README.md says how they were made and what is expected of
// them.
//
//go:embed golden
var Golden embed.FS
