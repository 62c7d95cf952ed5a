package oms_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/sworn-run/sworn/cer/oms"
)

// Whoever makes a model signs the digests of its files; whoever uses it verifies
// the signature and compares the files.
func Example() {
	files := []oms.File{
		{Path: "weights/model.safetensors", SHA256: sha256.Sum256([]byte("weights"))},
		{Path: "config.json", SHA256: sha256.Sum256([]byte("{}"))},
	}
	manifest, err := oms.NewManifest(files, oms.Options{Name: "example", Ignore: append(oms.GitPaths(), "model.sig")})
	if err != nil {
		fmt.Println(err)
		return
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		fmt.Println(err)
		return
	}
	file, err := oms.Sign(rand.Reader, manifest, key)
	if err != nil {
		fmt.Println(err)
		return
	}

	signature, err := oms.Parse(file)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, signed, err := signature.Verify([]crypto.PublicKey{key.Public()})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(signed.Digest())
	fmt.Println(oms.Ignored(".git/HEAD", signed.Ignore()), signed.Check(files))
	files[1].SHA256 = sha256.Sum256([]byte(`{"changed": true}`))
	fmt.Println(errors.Is(signed.Check(files), oms.ErrMismatch))
	// Output:
	// oms-sha256:c3bf65fb99ad2d0895377a5964fe0881130addd6c41095e22e5ba7da167dcde9
	// true <nil>
	// true
}
