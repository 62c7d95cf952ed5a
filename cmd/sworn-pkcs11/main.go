// Command sworn-pkcs11 signs with keys on PKCS #11 tokens, for "sworn run" and "sworn
// countersign", which start it where --pkcs11 names it. It is a program and a module of
// its own because it needs C and loads the module of the token's maker, and so that
// neither is in the launcher that is measured.
//
// It reads one request from standard input and writes one answer. {"op":"key","uri":…}
// is answered by {"public":…,"certificates":[…]}, the key's SubjectPublicKeyInfo and the
// certificate that the token has for it, in base64, or by {"login":true} if the token wants
// a PIN that the request does not have. {"op":"sign","uri":…,"hash":…,"data":…} is
// answered by {"signature":…}: data is the digest by that hash, or without a hash the
// message (Ed25519); an ECDSA signature is in DER. A request may have "pin".
//
// The URI is one of RFC 7512: it must name the module (module-path), and leave exactly one
// private key. A PIN in it is refused, because the list of processes shows it; pin-source
// names a file. Exit status: 0 answered, 1 not, with the reason on standard error.
package main

import (
	"fmt"
	"os"
)

func main() {
	if err := serve(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "sworn-pkcs11:", err)
		os.Exit(1)
	}
}
