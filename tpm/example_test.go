package tpm_test

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/tpm"
)

// A quote over 24 registers, captured from a software TPM, is genuine; whose
// TPM it was is not established, because its key has no certificate.
func ExampleScheme_Verify() {
	read := func(name string) []byte {
		b, err := os.ReadFile("testdata/run-llm/" + name)
		if err != nil {
			panic(err)
		}
		return b
	}
	var registers map[string]string
	if err := json.Unmarshal(read("pcrs_sha256"), &registers); err != nil {
		panic(err)
	}
	var pcrs []byte
	for i := range 24 {
		v, err := hex.DecodeString(registers[strconv.Itoa(i)])
		if err != nil {
			panic(err)
		}
		pcrs = append(pcrs, v...)
	}
	ev, err := tpm.NewEvidence(0, &tpm.Parts{
		Attest:    read("quote_sha256_attest"),
		Signature: read("quote_sha256_sig"),
		Public:    read("akpub")[2:], // without the size field of TPM2B_PUBLIC
		PCRs:      pcrs,
	})
	if err != nil {
		panic(err)
	}

	at := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	claims, err := tpm.Scheme{}.Verify(ev, nil, at)
	if err != nil {
		panic(err)
	}
	fmt.Printf("quoted %x…\n", claims.Quoted[:4])
	fmt.Printf("%d registers, reset count %d\n", len(claims.Registers), claims.Counters.ResetCount)
	fmt.Printf("identity %v: %s\n", claims.Identity.Status, claims.Identity.Detail)

	ev.Parts[3].Data[0] ^= 1 // another value of PCR 0
	_, err = tpm.Scheme{}.Verify(ev, nil, at)
	fmt.Println("tampered:", errors.Is(err, attest.ErrSignature))
	// Output:
	// quoted f8110c78…
	// 24 registers, reset count 15
	// identity not established: no AK certificate in the evidence
	// tampered: true
}
