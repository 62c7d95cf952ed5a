package tpmdev

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-tpm/tpm2"
)

// TestQuoteNeedsTheAuthorization: who reaches the TPM and the loaded AK, but
// does not know its authorization value, gets no quote.
func TestQuoteNeedsTheAuthorization(t *testing.T) {
	d := open(t, startTPM(t).unix, Options{})
	for name, auth := range map[string]tpm2.Session{
		"empty password": tpm2.PasswordAuth(nil),
		"wrong password": tpm2.PasswordAuth(bytes.Repeat([]byte{1}, authSize)),
		"empty HMAC":     tpm2.HMAC(tpm2.TPMAlgSHA256, nonceSize),
		"wrong HMAC":     tpm2.HMAC(tpm2.TPMAlgSHA256, nonceSize, tpm2.Auth(bytes.Repeat([]byte{1}, authSize))),
	} {
		_, err := tpm2.Quote{
			SignHandle:     tpm2.AuthHandle{Handle: d.ak.handle, Name: d.ak.name, Auth: auth},
			QualifyingData: tpm2.TPM2BData{Buffer: make([]byte, 32)},
			InScheme:       tpm2.TPMTSigScheme{Scheme: tpm2.TPMAlgNull},
			PCRSelect:      wire(selectIn(d.banks, quoted)),
		}.Execute(d.on(t.Context()))
		if !errors.Is(err, tpm2.TPMRCBadAuth) {
			t.Errorf("%s: %v, want TPM_RC_BAD_AUTH", name, err)
		}
	}
	attestOne(t, d) // It is not locked out.
	checkHandles(t, d)
}

// TestAuthorizationStaysHere: no command carries the AK's authorization value
// in clear, so that nobody on the way to the TPM learns it.
func TestAuthorizationStaysHere(t *testing.T) {
	rw, err := Dial(t.Context(), startTPM(t).unix)
	if err != nil {
		t.Fatal(err)
	}
	defer rw.Close()
	var commands []byte
	d, err := OpenTransport(t.Context(), sendFunc(func(command []byte) ([]byte, error) {
		commands = append(commands, command...)
		return rw.Send(command)
	}), Options{})
	if err != nil {
		t.Fatal(err)
	}
	attestOne(t, d)
	auth := bytes.Clone(d.ak.auth)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if len(auth) != authSize || len(commands) < 500 {
		t.Fatalf("%d bytes of authorization value, %d of commands", len(auth), len(commands))
	}
	if bytes.Contains(commands, auth[:8]) {
		t.Error("the authorization value is in a command")
	}
}

// TestAuthorizationHasNoZero: see newAuth.
func TestAuthorizationHasNoZero(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		auth := newAuth()
		if len(auth) != authSize || bytes.IndexByte(auth, 0) >= 0 {
			t.Fatalf("authorization value %x", auth)
		}
		seen[string(auth)] = true
	}
	if len(seen) != 1000 {
		t.Errorf("%d of 1000 values differ", len(seen))
	}
}
