package main

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/sworn-run/sworn/testdata"
)

// What the build puts into the page passes; a verifier that took everything, or nothing,
// would not.
func TestSelfTest(t *testing.T) {
	read := func(name string) []byte {
		b, err := testdata.Golden.ReadFile("golden/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	record, policy := read("full.cer.json"), read("policy.json")
	now := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	if err := selfTest(record, policy, now); err != nil {
		t.Fatal(err)
	}
	// Whose key it was is told by the certificates alone, for which no root is given.
	from, to := bytes.Index(record, []byte(`,"name":"pcrs"`)), bytes.LastIndex(record, []byte(`,"name":"certificate"`))
	for i := 0; i < len(record); i += 97 {
		if from < i && i < to {
			continue
		}
		record[i] ^= 1
		if err := selfTest(record, policy, now); !errors.Is(err, errSelfTest) {
			t.Errorf("with byte %d changed: %v", i, err)
		}
		record[i] ^= 1
	}
	for name, c := range map[string][2][]byte{"no record": {nil, policy}, "no policy": {record, nil}, "the other way round": {policy, record}} {
		if err := selfTest(c[0], c[1], now); !errors.Is(err, errSelfTest) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
