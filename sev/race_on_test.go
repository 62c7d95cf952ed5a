//go:build race

package sev

// raceEnabled says that the tests run under the race detector, which slows down some
// code more than other.
const raceEnabled = true
