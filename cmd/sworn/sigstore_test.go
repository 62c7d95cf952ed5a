package main

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

func FuzzSigstoreAnswer(f *testing.F) {
	good := `{"issuer":"https://issuer.example","subject":"a@example.com","payload":"` + strings.Repeat("0a", 32) + `","time":"2025-10-10T02:12:20Z"}`
	if _, err := parseSigner([]byte(good)); err != nil {
		f.Fatal(err)
	}
	for _, b := range []string{
		good, "", "{}", "null", good + good, strings.Replace(good, "0a", "0", 1), strings.Replace(good, "2025", "25", 1),
		strings.Replace(good, "issuer", "Issuer", 1), good + strings.Repeat(" ", 16<<10),
	} {
		f.Add([]byte(b))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parseSigner(b)
		if (s == nil) != errors.Is(err, errSigstore) || (s == nil) != (err != nil) {
			t.Fatalf("%+v beside %v", s, err)
		}
		if s == nil {
			return
		}
		again, err := json.Marshal(map[string]string{
			"issuer": s.Issuer, "subject": s.Subject, "payload": hex.EncodeToString(s.Payload[:]), "time": s.Time.Format(time.RFC3339Nano),
		})
		if err != nil {
			t.Fatal(err)
		}
		o, err := parseSigner(again)
		if err != nil || o.Identity != s.Identity || o.Payload != s.Payload || !o.Time.Equal(s.Time) {
			t.Fatalf("%+v became %+v, %v", s, o, err)
		}
	})
}
