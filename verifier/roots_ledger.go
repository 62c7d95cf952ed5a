package verifier

import (
	"errors"
	"fmt"
	"slices"

	"github.com/sworn-run/sworn/internal/limits"
	"github.com/sworn-run/sworn/verifier/ledger"
)

// LedgerKeys returns the keys of role ledger, in the order of their paths. A nil store has
// none.
func (s *TrustStore) LedgerKeys() []*ledger.Key {
	if s == nil {
		return nil
	}
	return slices.Clone(s.keepers)
}

// addKeeper reads one file of role ledger. Its errors continue a sentence that begins with
// the path.
func (s *TrustStore) addKeeper(f RootFile) error {
	if _, _, err := parseRootPath(f.Path); err != nil {
		return err
	}
	if n := len(f.Data); n == 0 || n > limits.LedgerKey {
		return fmt.Errorf("has %d bytes, want one verifier key of 1 to %d", n, limits.LedgerKey)
	}
	k, err := ledger.ParseKey(string(f.Data))
	if err != nil {
		return fmt.Errorf("is no key for ledgers: %w", err)
	}
	for _, o := range s.keepers {
		if o.String() == k.String() {
			return errors.New("has a key that is there already")
		}
	}
	s.keepers = append(s.keepers, k)
	return nil
}
