package cer

import (
	"crypto"
	_ "crypto/sha512" // SHA-384 and SHA-512 of archive digests
	"encoding/binary"
	"fmt"
	"math/bits"

	"github.com/sworn-run/sworn/attest"
)

// labelArchive starts the first leaf of an archive digest.
const labelArchive = "sworn.run/archive/v1\x00"

// EvidenceDigest returns the capsule's evidence digest E (SPEC, section 6.5): what a
// time-stamp token has to cover to say when the quote existed.
func (c *Capsule) EvidenceDigest() [32]byte {
	return attest.EvidenceDigest(c.Statement, c.Signature, c.Items)
}

// ArchiveDigest returns the archive digest A of the capsule before its token number
// tokens (SPEC, section 6.6), by h: SHA-256, SHA-384 or SHA-512. It covers the record,
// what the evidence digest covers, log, collateral, and the first tokens of the
// capsule, each of them by h itself, so that a token over it outlives the hashes and
// signatures of everything before. The error wraps ErrSchema: another hash, or fewer
// tokens in the capsule than that.
func (c *Capsule) ArchiveDigest(h crypto.Hash, tokens int) ([]byte, error) {
	switch h {
	case crypto.SHA256, crypto.SHA384, crypto.SHA512:
	default:
		return nil, fmt.Errorf("archive digest by %s: %w", h, ErrSchema)
	}
	if tokens < 0 || tokens > len(c.Tokens) {
		return nil, fmt.Errorf("archive digest over %d tokens of %d: %w", tokens, len(c.Tokens), ErrSchema)
	}
	e := c.EvidenceDigest()
	head := append([]byte(labelArchive), e[:]...)
	for _, n := range []int{len(c.Items), len(c.Collateral), tokens} {
		head = binary.BigEndian.AppendUint16(head, uint16(n))
	}
	leaves := [][]byte{leafBy(h, head), leafBy(h, c.CER), leafBy(h, c.Statement), leafBy(h, c.Signature)}
	for _, it := range c.Items {
		leaves = append(leaves, leafBy(h, it))
	}
	leaves = append(leaves, leafBy(h, c.Log))
	for _, x := range c.Collateral {
		leaves = append(leaves, leafBy(h, []byte(x.Kind), []byte{0}, x.Data))
	}
	for _, t := range c.Tokens[:tokens] {
		leaves = append(leaves, leafBy(h, t))
	}
	return rootBy(h, leaves), nil
}

// leafBy returns RFC 6962's leaf hash of an entry, given in pieces, by any hash.
func leafBy(h crypto.Hash, pieces ...[]byte) []byte {
	w := h.New()
	_, _ = w.Write([]byte{0})
	for _, p := range pieces {
		_, _ = w.Write(p)
	}
	return w.Sum(nil)
}

// rootBy returns RFC 6962's tree hash (section 2.1) over leaf hashes, of which there is
// one at least: the left subtree is the largest perfect one that is smaller than all.
func rootBy(h crypto.Hash, leaves [][]byte) []byte {
	if len(leaves) == 1 {
		return leaves[0]
	}
	k := 1 << (bits.Len(uint(len(leaves)-1)) - 1)
	w := h.New()
	_, _ = w.Write([]byte{1})
	_, _ = w.Write(rootBy(h, leaves[:k]))
	_, _ = w.Write(rootBy(h, leaves[k:]))
	return w.Sum(nil)
}
