//go:build !race

package verifier_test

// raceEnabled says that the tests run under the race detector, ten times slower.
const raceEnabled = false
