package ledger

import (
	"crypto/sha256"
	_ "embed" // for the built-in ledger
	"fmt"
	"sync"
)

// BuiltinName is the name of the ledger that is part of this package.
const BuiltinName = "sworn.run/ledger"

//go:embed builtin.json
var builtin string

// Builtin returns the ledger that is part of this package, as its source was reviewed on
// the day that it names. It speaks of vendors' own hardware by their own keys, so that
// nothing simulated is in it, but for weaknesses that show in a key itself. An error is a
// fault of the build and wraps [ErrForm]: nobody may go on without it.
func Builtin() (*Ledger, error) { return parsed() }

// parsed is the built-in ledger, read once: every verdict asks for it.
var parsed = sync.OnceValues(parseBuiltin)

// parseBuiltin reads it.
func parseBuiltin() (*Ledger, error) {
	d, err := ParseDocument([]byte(builtin))
	if err != nil {
		return nil, fmt.Errorf("reading the built-in ledger: %w", err)
	}
	text, err := d.Encode()
	if err != nil {
		return nil, fmt.Errorf("encoding the built-in ledger: %w", err)
	}
	return &Ledger{doc: *d, digest: sha256.Sum256(text)}, nil
}
