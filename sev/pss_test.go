package sev

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha512"
	"math/big"
	"slices"
	"testing"
)

// TestPSS holds the verification of signatures against the standard library's.
func TestPSS(t *testing.T) {
	key, other := testKey(t, "ark"), testKey(t, "ask")
	options := &rsa.PSSOptions{SaltLength: 48, Hash: crypto.SHA384}
	check := func(name string, k *rsa.PublicKey, message, sig []byte, want bool) {
		t.Helper()
		digest := sha512.Sum384(message)
		theirs := rsa.VerifyPSS(k, crypto.SHA384, digest[:], sig, options) == nil
		if ours := verifyPSS(k, message, sig); ours != want || theirs != want {
			t.Errorf("%s: ours %v, theirs %v, want %v", name, ours, theirs, want)
		}
	}
	sign := func(message []byte, salt int) []byte {
		digest := sha512.Sum384(message)
		sig, err := rsa.SignPSS(rand.Reader, key, crypto.SHA384, digest[:], &rsa.PSSOptions{SaltLength: salt, Hash: crypto.SHA384})
		if err != nil {
			t.Fatal(err)
		}
		return sig
	}
	message := []byte("what is signed")
	for range 8 {
		check("good", &key.PublicKey, message, sign(message, 48), true)
	}
	for _, salt := range []int{0, 1, 47, 49, 414} {
		check("another salt", &key.PublicKey, message, sign(message, salt), false)
	}
	sig := sign(message, 48)
	check("another message", &key.PublicKey, message[1:], sig, false)
	check("another key", &other.PublicKey, message, sig, false)
	check("cut", &key.PublicKey, message, sig[1:], false)
	check("with a zero before", &key.PublicKey, message, append([]byte{0}, sig...), false)
	check("none", &key.PublicKey, message, nil, false)
	check("zeros", &key.PublicKey, message, make([]byte, 512), false)
	check("one", &key.PublicKey, message, big.NewInt(1).FillBytes(make([]byte, 512)), false)
	check("the modulus", &key.PublicKey, message, key.N.Bytes(), false)
	check("more than the modulus", &key.PublicKey, message, slices.Repeat([]byte{0xFF}, 512), false)
	sum := new(big.Int).Add(new(big.Int).SetBytes(sig), key.N)
	if b := sum.Bytes(); len(b) == 512 {
		check("the signature and the modulus", &key.PublicKey, message, b, false)
	}
	for bit := 0; bit < len(sig)*8; bit += 61 {
		sig[bit/8] ^= 1 << (bit % 8)
		check("a bit of the signature", &key.PublicKey, message, sig, false)
		sig[bit/8] ^= 1 << (bit % 8)
	}
}
