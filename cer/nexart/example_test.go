package nexart_test

import (
	"fmt"
	"time"

	"github.com/sworn-run/sworn/cer/nexart"
)

// A record that was sealed can be checked by anybody, and made by anybody: no
// receipt says who vouches for it.
func Example() {
	record, err := nexart.Seal([]byte(`{
		"executionId": "e-1", "provider": "example", "model": "m-1",
		"prompt": "Say hello.", "input": "", "output": "Hello.",
		"parameters": {"temperature": 0, "maxTokens": 16}
	}`), nexart.SealOptions{CreatedAt: time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)})
	if err != nil {
		fmt.Println(err)
		return
	}
	report := nexart.Verify(record, nil)
	fmt.Println(report.Verdict, report.Integrity, report.Receipt, report.Envelope)
	fmt.Println(report.CertificateHash)
	// Output:
	// VERIFIED PASS SKIPPED SKIPPED
	// sha256:8f280db9ebd3a5f35e0b2313059a79d25a0a5c27aa62ee4e59658e153b396979
}
