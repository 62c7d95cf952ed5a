package measure

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"io"
)

const (
	// hashSize is the size of a SHA-256 digest.
	hashSize = sha256.Size
	// fanout is the number of digests in a block.
	fanout = BlockSize / hashSize
	// superblockSize is the size of dm-verity's superblock with its padding.
	superblockSize = BlockSize
)

// DMVerity are the parameters of a dm-verity tree of format 1 over SHA-256, with
// blocks of [BlockSize], as "veritysetup format" makes it. The zero value is a
// tree without salt whose blocks are not kept.
type DMVerity struct {
	// Salt is hashed before each block, at most [MaxSalt] bytes, empty for none.
	Salt []byte
	// Tree, if not nil, gets the blocks of hashes, each at its place: the top level
	// first, the lowest last, after the superblock if there is one. They come in
	// another order, and [DMVerity.TreeSize] says how many bytes there are. It is
	// for one file: that of another would lie over it.
	Tree io.WriterAt
	// Superblock puts the superblock of format version 1 before the tree.
	Superblock bool
	// UUID stands in the superblock.
	UUID [16]byte
}

// TreeSize returns how many bytes Tree gets for data of the size in bytes.
func (d *DMVerity) TreeSize(size uint64) uint64 {
	_, end := treeOffsets(blocks(size))
	if d.Superblock {
		end += superblockSize
	}
	return end
}

// superblock returns the verity superblock of format version 1, hash type 1, of
// data of the size in bytes, padded to a block.
func (d *DMVerity) superblock(size uint64) []byte {
	b := make([]byte, superblockSize)
	copy(b, "verity\x00\x00")
	binary.LittleEndian.PutUint32(b[8:], 1)
	binary.LittleEndian.PutUint32(b[12:], 1)
	copy(b[16:32], d.UUID[:])
	copy(b[32:64], "sha256")
	binary.LittleEndian.PutUint32(b[64:], BlockSize)
	binary.LittleEndian.PutUint32(b[68:], BlockSize)
	binary.LittleEndian.PutUint64(b[72:], blocks(size))
	binary.LittleEndian.PutUint16(b[80:], uint16(len(d.Salt)))
	copy(b[88:88+MaxSalt], d.Salt)
	return b
}

// blocks returns the number of blocks that hold size bytes.
func blocks(size uint64) uint64 {
	return size/BlockSize + min(1, size%BlockSize)
}

// treeOffsets returns where each level of a tree over n blocks begins, the
// lowest level first, and where the tree ends. The levels lie in the other
// order, and the root stands in none of them.
func treeOffsets(n uint64) (offsets []uint64, end uint64) {
	for n > 1 {
		n = (n + fanout - 1) / fanout
		offsets = append(offsets, n)
	}
	for i := len(offsets) - 1; i >= 0; i-- {
		offsets[i], end = end, end+offsets[i]*BlockSize
	}
	return offsets, end
}

// level is one level of a tree in the making: its last block, which is not full
// yet, and where that will lie.
type level struct {
	block [BlockSize]byte
	fill  int
	at    uint64
}

// tree makes a Merkle tree from the digests of the data blocks, in their order,
// and keeps of each level no more than one block.
type tree struct {
	levels []level
	root   [hashSize]byte
	hasher blockHasher
	out    io.WriterAt
}

// newTree returns a tree over n data blocks. Its blocks go to out, if that is
// not nil, from the offset base on.
func newTree(n uint64, salt []byte, out io.WriterAt, base uint64) *tree {
	offsets, _ := treeOffsets(n)
	t := &tree{levels: make([]level, len(offsets)), hasher: newBlockHasher(salt), out: out}
	for i, offset := range offsets {
		t.levels[i].at = base + offset
	}
	return t
}

// push adds digests of data blocks, one after the other.
func (t *tree) push(digests []byte) error {
	if len(t.levels) == 0 {
		copy(t.root[:], digests)
		return nil
	}
	for l := &t.levels[0]; len(digests) > 0; {
		n := copy(l.block[l.fill:], digests)
		l.fill += n
		digests = digests[n:]
		if l.fill == BlockSize {
			if err := t.flush(0); err != nil {
				return err
			}
		}
	}
	return nil
}

// flush hashes the block of level i, and puts the digest into the level above,
// whose block it flushes in turn if that is full.
func (t *tree) flush(i int) error {
	for ; ; i++ {
		l := &t.levels[i]
		clear(l.block[l.fill:])
		if t.out != nil {
			if _, err := t.out.WriteAt(l.block[:], int64(l.at)); err != nil {
				return fmt.Errorf("writing the hash tree: %w: %w", ErrIO, err)
			}
		}
		l.at += BlockSize
		l.fill = 0
		if i+1 == len(t.levels) {
			t.hasher.sum(t.root[:], l.block[:])
			return nil
		}
		up := &t.levels[i+1]
		t.hasher.sum(up.block[up.fill:up.fill+hashSize], l.block[:])
		up.fill += hashSize
		if up.fill < BlockSize {
			return nil
		}
	}
}

// close flushes what is left and returns the root: zero for no data.
func (t *tree) close() ([hashSize]byte, error) {
	for i := range t.levels {
		if t.levels[i].fill > 0 {
			if err := t.flush(i); err != nil {
				return [hashSize]byte{}, err
			}
		}
	}
	return t.root, nil
}

// blockHasher hashes blocks behind a salt.
type blockHasher struct {
	salt []byte
	h    hash.Hash
}

// newBlockHasher returns a hasher of blocks behind the salt.
func newBlockHasher(salt []byte) blockHasher {
	if len(salt) == 0 {
		return blockHasher{}
	}
	return blockHasher{salt, sha256.New()}
}

// sum writes the digest of the block to dst, which has [hashSize] bytes.
func (b *blockHasher) sum(dst, block []byte) {
	if b.h == nil {
		sum := sha256.Sum256(block)
		copy(dst, sum[:])
		return
	}
	b.h.Reset()
	b.h.Write(b.salt)
	b.h.Write(block)
	b.h.Sum(dst[:0])
}

// fsverityDigest returns the fs-verity digest of a file of the size in bytes:
// SHA-256 over struct fsverity_descriptor (Linux, Documentation/filesystems/
// fsverity.rst, "fs-verity descriptor") with version 1, SHA-256, blocks of
// 2^12 bytes, neither salt nor signature.
func fsverityDigest(size uint64, root [hashSize]byte) [32]byte {
	var d [256]byte
	d[0], d[1], d[2] = 1, 1, 12
	binary.LittleEndian.PutUint64(d[8:], size)
	copy(d[16:], root[:])
	return sha256.Sum256(d[:])
}
