package main

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/sworn-run/sworn/verifier"
)

// errSelfTest means that the verifier does not do here what it has to.
var errSelfTest = errors.New("self-test")

// selfTest has a record judged whose verdict is known, as it is and with one bit changed,
// before anybody relies on one: of the first each core check has to pass, of the second
// one has to fail, and neither may be trusted, since nobody's root is given. So
// it also takes what a first verdict takes longer in a browser, which translates code when it is
// first needed. The error wraps errSelfTest.
func selfTest(record, policy []byte, now time.Time) error {
	p, err := verifier.ParsePolicy(policy)
	if err != nil {
		return fmt.Errorf("%w: %w", errSelfTest, err)
	}
	changed := bytes.Clone(record)
	if len(changed) > 0 {
		changed[len(changed)/2] ^= 1
	}
	files := []file{{Path: "sample", Data: record}, {Path: "changed", Data: changed}}
	reports, err := judge(files, verifier.Input{Now: now, Version: version, Policy: p})
	if err != nil {
		return fmt.Errorf("%w: %w", errSelfTest, err)
	}
	for i, r := range reports {
		if r.Trusted || sound(r) != (i == 0) {
			return fmt.Errorf("%w: the verdict of the %s record is %.200q", errSelfTest, files[i].Path, r.Headline)
		}
	}
	if a, err := show(files, reports); err != nil || a.Trusted || len(a.HTML) == 0 {
		return fmt.Errorf("%w: the report cannot be written: %w", errSelfTest, err)
	}
	return nil
}

// sound reports whether a record's core checks passed, that of its evidence's signature
// among them, and nothing failed.
func sound(r *verifier.Report) bool {
	signed := false
	for i := range r.Checks {
		c := &r.Checks[i]
		signed = signed || c.ID == "slot.signature" && c.Status == "passed"
		if c.Status == "failed" || c.Class == "core" && c.Status != "passed" && c.Status != "not applicable" {
			return false
		}
	}
	return signed
}
