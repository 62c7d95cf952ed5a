package verifier_test

import (
	"errors"
	"fmt"

	"github.com/sworn-run/sworn/verifier"
)

// A policy is read strictly, takes the waivers of the command line, and says
// itself what weakens it.
func ExampleParsePolicy() {
	p, err := verifier.ParsePolicy([]byte(`{
	  "type": "sworn.policy/v1",
	  "slots": [["tpm"]],
	  "formats": {"tpm": {
	    "identity": {"role": "tpm-ak", "spki": ["sha256:9f1c6f0e0b7d2f0a4f3c9f6d6f3f8c1f0a5e4c7b2d9e8f7a6b5c4d3e2f1a0b9c"]},
	    "bank": "sha256", "register": 13
	  }},
	  "components": [
	    {"role": "launcher", "name": "sworn", "digest": ["sha256:1f0c000000000000000000000000000000000000000000000000000000000001"]},
	    {"role": "binary", "name": "/usr/bin/true", "digest": ["sha256:1f0c000000000000000000000000000000000000000000000000000000000002"]},
	    {"role": "argv", "value": ["true"]}
	  ],
	  "protection": ["sealed"],
	  "exit": [0],
	  "nonce": {"quote": true, "execution": true},
	  "waive": [{"check": "slot.measurement", "reason": "software TPM: nothing was booted under it"}]
	}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	w, err := verifier.ParseWaiver("launcher.rooted=software TPM: nothing was booted under it")
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := p.AddWaivers([]verifier.Waiver{w}); err != nil {
		fmt.Println(err)
		return
	}
	for _, line := range p.Lint() {
		fmt.Println(line)
	}
	_, err = verifier.ParseWaiver("statement.signature=it fails")
	fmt.Println(errors.Is(err, verifier.ErrPolicy))
	// Output:
	// components: lists no weights, so a job that was given any is refused
	// time: no time stamp is asked for, so no verdict holds as of the record's time
	// waive: slot.measurement need not pass, every verdict says so: software TPM: nothing was booted under it
	// waive: launcher.rooted need not pass, every verdict says so: software TPM: nothing was booted under it
	// true
}
