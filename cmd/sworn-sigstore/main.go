// Command sworn-sigstore verifies model signatures that were made through
// Sigstore, for the programs "sworn run" and "sworn verify", which start it where
// --sigstore names it. It is a program and a module of its own because what it
// needs is many times what they need, and so that none of that is in the launcher
// that is measured.
//
// It reads one request from standard input, {"bundle":…,"trusted_root":…}, both
// in base64, and writes {"issuer":…,"subject":…,"payload":…,"time":…}: the
// certificate's identity, SHA-256 of the signed payload in hexadecimal, and the
// time of signing (RFC 3339) by the log. Nothing is fetched. Exit status: 0
// verified, 1 not, with the reason on standard error.
package main

import (
	"fmt"
	"os"
)

func main() {
	if err := serve(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "sworn-sigstore:", err)
		os.Exit(1)
	}
}
