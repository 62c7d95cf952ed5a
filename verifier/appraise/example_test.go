package appraise_test

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/sworn-run/sworn/verifier/appraise"
)

// A folder that a machine left: quotes, the log of its firmware, what its kernel
// measured. Nobody vouches for the key that signed.
func Example() {
	var files []appraise.File
	for _, name := range []string{"quote_sha256_attest", "quote_sha256_sig", "akpub", "pcrs_sha256", "nonce", "eventlog", "ima_binary"} {
		b, err := os.ReadFile(filepath.Join("testdata", "run-llmsb", name))
		if err != nil {
			fmt.Println(err)
			return
		}
		files = append(files, appraise.File{Name: name, Data: b})
	}
	r, err := appraise.Appraise(appraise.Input{Files: files, At: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("accepted:", r.Accepted())
	for _, f := range r.Findings {
		if f.Name == "identity" || f.Name == "Secure Boot" || f.Name == "boot aggregate" {
			fmt.Printf("%v: %s: %s\n", f.Status, f.Name, f.Detail)
		}
	}
	// Output:
	// accepted: true
	// not established: identity: no AK certificate in the evidence
	// passed: Secure Boot: enabled
	// passed: boot aggregate: is that of the quoted registers
}
