// Package oracle compares this project with libraries of others that read the same.
// Boot logs: whatever go-attestation or go-eventlog replays to a value, so must this
// project's reading and the other way round, and where both state how Secure Boot was
// set up, they must agree; a quote that one of them accepts, so must the other. What
// the simulated vendors sign must be for go-sev-guest and go-tdx-guest what it was made
// to be; and what oasis-core says of a quote of SGX must be said here too. It stands in a
// module of its own, which keeps them out of the product, and holds nothing but tests.
package oracle
