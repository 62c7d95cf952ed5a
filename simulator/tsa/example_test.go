package tsa_test

import (
	"crypto"
	"fmt"
	"time"

	"github.com/sworn-run/sworn/simulator/tsa"
	"github.com/sworn-run/sworn/verifier/stamp"
)

// An authority stamps whatever it is given, at whatever time it is told.
func Example() {
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	a, err := tsa.New(now, tsa.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	s := &tsa.Service{Authority: a, Now: func() time.Time { return now.AddDate(5, 0, 0) }}
	q := stamp.Request{Hash: crypto.SHA256, Imprint: make([]byte, 32), Certificates: true}
	query, err := q.Marshal()
	if err != nil {
		fmt.Println(err)
		return
	}
	reply, err := stamp.ParseResponse(s.Respond(query))
	if err != nil {
		fmt.Println(err)
		return
	}
	token, err := reply.Check(&q)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(token.Time, a.Signer().Subject.CommonName)
	// Output:
	// 2031-06-01 12:00:00 +0000 UTC Time Stamp Signer SIMULATED
}
