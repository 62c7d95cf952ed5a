package enroll

import (
	"bytes"
	"crypto"
	"encoding/hex"
	"errors"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"github.com/sworn-run/sworn/cer"
)

// FuzzRequest: a request that is read writes the same bytes again, and what is
// not one is refused as such.
func FuzzRequest(f *testing.F) {
	seed, err := cer.MarshalCanonical(&request{Type: typeRequest, EKCertificates: [][]byte{{1, 2}}, EKPublic: []byte{3}, AKPublic: []byte{4}, AKParent: []byte{5}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add([]byte(`{"type":"sworn.enroll.request/v1"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var m request
		if err := decode(bytes.NewReader(b), &m, &m.Type, typeRequest); err != nil {
			if !errors.Is(err, ErrMessage) {
				t.Fatal(err)
			}
			return
		}
		again, err := cer.MarshalCanonical(&m)
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%v\n%s\n%s", err, b, again)
		}
	})
}

// FuzzEKPublic: a public area that is accepted is that of the certified key, and
// written back the same.
func FuzzEKPublic(f *testing.F) {
	p := tpm2.ECCEKTemplate
	p.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{
		// The base point of P-256.
		X: tpm2.TPM2BECCParameter{Buffer: unhex(f, "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296")},
		Y: tpm2.TPM2BECCParameter{Buffer: unhex(f, "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5")},
	})
	key, err := tpm2.Pub(p)
	if err != nil {
		f.Fatal(err)
	}
	seed := tpm2.Marshal(p)
	if got, err := parseEKPublic(seed, key); err != nil || got == nil {
		f.Fatalf("the seed is refused: %v", err)
	}
	f.Add(seed)
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := parseEKPublic(b, key)
		if err != nil {
			if got != nil || !errors.Is(err, ErrMessage) && !errors.Is(err, ErrRefused) {
				t.Fatalf("%v, %v", got, err)
			}
			return
		}
		k, err := tpm2.Pub(*got)
		if err != nil || !bytes.Equal(tpm2.Marshal(*got), b) || !k.(interface{ Equal(crypto.PublicKey) bool }).Equal(key) {
			t.Fatalf("%+v, %v", got, err)
		}
	})
}

// unhex decodes hexadecimal.
func unhex(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}
