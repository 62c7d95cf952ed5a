// Package verifier appraises capsules: it answers whether what ran is what a
// relying party's policy wants, on whose word, and what that does not prove.
//
// It is pure: no file, no network, no clock. Roots, policy and time are
// arguments, and their zero values refuse. Every check of docs/SPEC.md, section
// 8, runs on every capsule and stands in the [Report] with what it wanted and
// what it got; the [Report]'s headline says what the verdict rests on.
//
// A check that is not established counts as not passed: stripping anything from
// a capsule never improves a verdict.
package verifier
