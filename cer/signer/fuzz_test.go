package signer_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"math/big"
	"testing"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer/signer"
)

// FuzzParse: an item is refused with the one class of errors, or is exactly what it says:
// its claim has one encoding, which stands in it, and its place can be told.
func FuzzParse(f *testing.F) {
	for _, item := range items(f, signer.RoleOperator) {
		f.Add(item.Kind == signer.KindSSH, item.Data)
		f.Add(item.Kind != signer.KindSSH, item.Data)
		f.Add(item.Kind == signer.KindSSH, item.Data[:len(item.Data)/2])
	}
	f.Add(true, []byte("\n-----BEGIN SSH SIGNATURE-----\n-----END SSH SIGNATURE-----\n"))
	f.Add(false, []byte("e30.e30.e30"))
	f.Fuzz(func(t *testing.T, ssh bool, data []byte) {
		kind := signer.KindX509
		if ssh {
			kind = signer.KindSSH
		}
		before := bytes.Clone(data)
		s, err := signer.Parse(kind, data)
		if (s == nil) != errors.Is(err, signer.ErrForm) || (s == nil) != (err != nil) {
			t.Fatalf("%+v beside %v", s, err)
		}
		if !bytes.Equal(before, data) {
			t.Fatal("the input was changed")
		}
		if s == nil {
			return
		}
		line, err := s.Encode()
		if err != nil || ssh && !bytes.HasPrefix(data, append(line, '\n')) {
			t.Fatalf("the claim %s, %v", line, err)
		}
		if err := s.Verify(s.Evidence); err != nil && !errors.Is(err, signer.ErrSignature) {
			t.Fatalf("class of %v", err)
		}
		if err := signer.CheckID(s.Key.Fingerprint()); err != nil || !s.Key.Names(s.Key.Fingerprint()) {
			t.Fatalf("fingerprint %s: %v", s.Key.Fingerprint(), err)
		}
		item := attest.Collateral{Kind: kind, Data: data}
		all, err := signer.Insert(nil, item)
		if err != nil || len(all) != 1 {
			t.Fatalf("inserting it: %v", err)
		}
		if _, err := signer.Insert(all, item); !errors.Is(err, signer.ErrPlace) {
			t.Fatalf("inserting it twice: %v", err)
		}
	})
}

// FuzzParseKey: a key is refused, or is read to the byte.
func FuzzParseKey(f *testing.F) {
	for _, name := range []string{"p256", "ed25519"} {
		f.Add((&fido{key: keys()[name]}).blob())
	}
	rsaKey := keys()["rsa"].Public().(*rsa.PublicKey)
	f.Add(cat(str([]byte("ssh-rsa")), mp(big.NewInt(65537)), mp(rsaKey.N)))
	f.Add(cat(str([]byte("ssh-ed25519")), str(keys()["ed25519"].Public().(ed25519.PublicKey))))
	f.Fuzz(func(t *testing.T, blob []byte) {
		k, err := signer.ParseKey(blob)
		if (k == nil) != errors.Is(err, signer.ErrForm) || (k == nil) != (err != nil) {
			t.Fatalf("%+v beside %v", k, err)
		}
		if k == nil {
			return
		}
		if _, err := signer.ParseKey(append(bytes.Clone(blob), 0)); err == nil {
			t.Fatal("a byte more is accepted")
		}
		if k.Describe() == "" || !k.Names(k.Fingerprint()) {
			t.Fatalf("%+v has no name", k)
		}
	})
}
