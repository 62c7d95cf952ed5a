package verifier_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/sworn-run/sworn/verifier"
)

func FuzzParsePolicy(f *testing.F) {
	seeds := [][]byte{examplePolicy(f), mustEncode(f, parsePolicy(f, examplePolicy(f)))}
	for _, r := range policyRefusals() {
		seeds = append(seeds, edit(f, r.change))
	}
	if len(seeds) < 100 {
		f.Fatal("no seeds")
	}
	for _, s := range seeds {
		f.Add(s)
	}
	s := policySchema(f)
	f.Fuzz(func(t *testing.T, file []byte) {
		p, err := verifier.ParsePolicy(file)
		if err != nil {
			if p != nil || !errors.Is(err, verifier.ErrPolicy) {
				t.Fatalf("policy %v, error %v", p, err)
			}
			return
		}
		if problem := s.judge(t, file); problem != "" {
			t.Fatalf("the parser accepts, the schema does not: %s", problem)
		}
		b := mustEncode(t, p)
		again := parsePolicy(t, b)
		if d := samePolicy(p, again); d != "" {
			t.Fatal(d)
		}
		if !bytes.Equal(b, mustEncode(t, again)) {
			t.Fatal("encoding is not stable")
		}
		if len(p.Lint()) < len(p.Waive) {
			t.Fatal("lint passes over a waiver")
		}
	})
}

func FuzzParseWaiver(f *testing.F) {
	for _, s := range []string{"slot.tcb=published nowhere", "slot.tcb=", "cer.hash=x", "=", "slot.tcb=\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		w, err := verifier.ParseWaiver(s)
		if err != nil {
			if w != (verifier.Waiver{}) || !errors.Is(err, verifier.ErrPolicy) {
				t.Fatalf("waiver %v, error %v", w, err)
			}
			return
		}
		if class, ok := verifier.CheckClass(w.Check); !ok || class != verifier.ClassRequired || w.Check+"="+w.Reason != s {
			t.Fatalf("waiver %+v of %q", w, s)
		}
	})
}
