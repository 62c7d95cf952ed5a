package cer

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"math/bits"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/sworn-run/sworn/internal/limits"
)

// LeafHash returns the RFC 6962, 2.1 leaf hash of a 32-byte entry:
// SHA-256(0x00 ‖ entry). The entry of a record is its certificateHash as 32
// raw bytes, that of an event its digest.
func LeafHash(entry [32]byte) [32]byte {
	var b [33]byte
	copy(b[1:], entry[:])
	return sha256.Sum256(b[:])
}

// nodeHash returns SHA-256(0x01 ‖ left ‖ right). RFC 6962, 2.1.
func nodeHash(left, right [32]byte) [32]byte {
	var b [65]byte
	b[0] = 1
	copy(b[1:], left[:])
	copy(b[33:], right[:])
	return sha256.Sum256(b[:])
}

// Root returns the RFC 6962, 2.1 Merkle tree hash over certificateHash values
// of 32 raw bytes each, in record order. Of no entries it is SHA-256(""). It
// allocates nothing.
func Root(certificateHashes [][32]byte) [32]byte {
	return treeHash(certificateHashes)
}

// LogRoot returns the RFC 6962, 2.1 Merkle tree hash over event digests, in
// log order. Of no events it is SHA-256(""). The root that a statement names
// is that of the prefix before the statement's own commit: pass
// digests[:size]. It allocates nothing.
func LogRoot(digests [][32]byte) [32]byte {
	return treeHash(digests)
}

// treeHash keeps the roots of the perfect subtrees on the left border, one for
// each bit that is set in the number of entries so far.
func treeHash(entries [][32]byte) [32]byte {
	if len(entries) == 0 {
		return sha256.Sum256(nil)
	}
	var border [64][32]byte
	top := 0
	for i, e := range entries {
		h := LeafHash(e)
		for range bits.TrailingZeros(uint(i) + 1) {
			top--
			h = nodeHash(border[top], h)
		}
		border[top] = h
		top++
	}
	root := border[top-1]
	for i := top - 2; i >= 0; i-- {
		root = nodeHash(border[i], root)
	}
	return root
}

// A Tree is an RFC 6962 Merkle tree over a batch of records that gives the
// inclusion proof of each. The zero Tree has no entries and proves nothing.
type Tree struct {
	levels [][][32]byte // of perfect subtrees only; levels[0] are leaf hashes
	root   [32]byte
}

// NewTree builds the tree over certificateHash values of 32 raw bytes each, in
// record order: 1 to 1,048,576 of them, else the error wraps [ErrSchema].
func NewTree(certificateHashes [][32]byte) (*Tree, error) {
	n := len(certificateHashes)
	if n == 0 || n > limits.BatchRecords {
		return nil, fmt.Errorf("building a tree: %w: %d records, want 1 to %d", ErrSchema, n, limits.BatchRecords)
	}
	level := make([][32]byte, n)
	for i, e := range certificateHashes {
		level[i] = LeafHash(e)
	}
	t := &Tree{root: treeHash(certificateHashes)}
	for len(level) > 0 {
		t.levels = append(t.levels, level)
		next := make([][32]byte, len(level)/2)
		for i := range next {
			next[i] = nodeHash(level[2*i], level[2*i+1])
		}
		level = next
	}
	return t, nil
}

// Size returns the number of records in the tree.
func (t *Tree) Size() uint64 {
	if len(t.levels) == 0 {
		return 0
	}
	return uint64(len(t.levels[0]))
}

// Root returns the tree's root, the same as [Root] of its entries. That of the
// zero Tree is all zeros, which is the root of nothing.
func (t *Tree) Root() [32]byte { return t.root }

// Inclusion returns the RFC 6962, 2.1.1 audit path of the record at index,
// counted from 0, leaf side first. The path of the only record of a tree is
// empty. The error wraps [ErrSchema].
func (t *Tree) Inclusion(index uint64) ([][32]byte, error) {
	nodes, err := proof.Inclusion(index, t.Size())
	if err != nil {
		return nil, fmt.Errorf("proving inclusion: %w: %w", ErrSchema, err)
	}
	hashes := make([][]byte, len(nodes.IDs))
	for i, id := range nodes.IDs {
		hashes[i] = append([]byte(nil), t.levels[id.Level][id.Index][:]...)
	}
	hashes, err = nodes.Rehash(hashes, rfc6962.DefaultHasher.HashChildren)
	if err != nil {
		return nil, fmt.Errorf("proving inclusion: %w: %w", ErrSchema, err)
	}
	path := make([][32]byte, len(hashes))
	for i, h := range hashes {
		path[i] = [32]byte(h)
	}
	return path, nil
}

// VerifyInclusion checks the RFC 6962, 2.1.1 audit path of the 32-byte entry
// leaf (a certificateHash, not its leaf hash) at index in a tree of size
// entries with that root. It returns nil only if the path proves it; the error
// wraps [ErrSchema] where no path could (index out of range, a path of the
// wrong length) and [ErrHash] where this one does not.
func VerifyInclusion(leaf [32]byte, index, size uint64, path [][32]byte, root [32]byte) error {
	if index >= size {
		return fmt.Errorf("verifying inclusion: %w: index %d in a tree of %d", ErrSchema, index, size)
	}
	if len(path) > limits.Inclusion {
		return fmt.Errorf("verifying inclusion: %w: path of %d nodes, at most %d", ErrSchema, len(path), limits.Inclusion)
	}
	nodes := make([][]byte, len(path))
	for i := range path {
		nodes[i] = path[i][:]
	}
	h := LeafHash(leaf)
	err := proof.VerifyInclusion(rfc6962.DefaultHasher, index, size, h[:], nodes, root[:])
	if _, mismatch := errors.AsType[proof.RootMismatchError](err); mismatch {
		return fmt.Errorf("verifying inclusion: %w: the path leads to another root", ErrHash)
	}
	if err != nil {
		return fmt.Errorf("verifying inclusion: %w: %w", ErrSchema, err)
	}
	return nil
}
