// Package oracle compares this project's reading of boot logs with that of Google's
// go-attestation and go-eventlog: whatever one of them replays to a value, so must the
// other, and where both state how Secure Boot was set up, they must agree; a quote that
// one of them accepts, so must the other. It stands in a module of its own, which keeps
// them out of the product, and holds nothing but tests.
package oracle
