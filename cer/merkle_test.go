package cer_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/limits"
)

func entries(n int) [][32]byte {
	out := make([][32]byte, n)
	for i := range out {
		out[i] = sha256.Sum256(binary.BigEndian.AppendUint32(nil, uint32(i)))
	}
	return out
}

// rangeRoot is the root as transparency-dev/merkle computes it.
func rangeRoot(t *testing.T, leaves [][32]byte) []byte {
	t.Helper()
	factory := compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}
	r := factory.NewEmptyRange(0)
	for _, l := range leaves {
		if err := r.Append(rfc6962.DefaultHasher.HashLeaf(l[:]), nil); err != nil {
			t.Fatal(err)
		}
	}
	root, err := r.GetRootHash(nil)
	if err != nil {
		t.Fatal(err)
	}
	if root == nil {
		return rfc6962.DefaultHasher.EmptyRoot()
	}
	return root
}

func TestRoot(t *testing.T) {
	empty := cer.Root(nil)
	if got := hex.EncodeToString(empty[:]); got != "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" {
		t.Errorf("root of nothing = %s, want SHA-256 of nothing", got)
	}
	one := entries(1)
	if got, want := cer.Root(one), cer.LeafHash(one[0]); got != want {
		t.Errorf("root of one = %x, want its leaf hash %x", got, want)
	}
	for n := range 130 {
		e := entries(n)
		want := rangeRoot(t, e)
		if got := cer.Root(e); !bytes.Equal(got[:], want) {
			t.Errorf("Root of %d = %x, want %x", n, got, want)
		}
		if got := cer.LogRoot(e); !bytes.Equal(got[:], want) {
			t.Errorf("LogRoot of %d = %x, want %x", n, got, want)
		}
	}
}

func TestInclusion(t *testing.T) {
	for n := 1; n < 70; n++ {
		e := entries(n)
		tree, err := cer.NewTree(e)
		if err != nil {
			t.Fatal(err)
		}
		root := tree.Root()
		if root != cer.Root(e) || tree.Size() != uint64(n) {
			t.Fatalf("tree of %d: size %d, root %x", n, tree.Size(), root)
		}
		for i := range uint64(n) {
			path, err := tree.Inclusion(i)
			if err != nil {
				t.Fatal(err)
			}
			if err := cer.VerifyInclusion(e[i], i, uint64(n), path, root); err != nil {
				t.Errorf("%d of %d: %v", i, n, err)
			}
			refuseVariants(t, e, i, path, root)
		}
	}
}

// refuseVariants changes one thing at a time about a good proof.
func refuseVariants(t *testing.T, e [][32]byte, i uint64, path [][32]byte, root [32]byte) {
	t.Helper()
	n := uint64(len(e))
	want := func(what string, err, sentinel error) {
		t.Helper()
		if !errors.Is(err, sentinel) {
			t.Errorf("%d of %d, %s: %v, want %v", i, n, what, err, sentinel)
		}
	}
	other := e[i]
	other[31] ^= 1
	want("other leaf", cer.VerifyInclusion(other, i, n, path, root), cer.ErrHash)
	want("leaf hash for leaf", cer.VerifyInclusion(cer.LeafHash(e[i]), i, n, path, root), cer.ErrHash)
	badRoot := root
	badRoot[0] ^= 0x80
	want("other root", cer.VerifyInclusion(e[i], i, n, path, badRoot), cer.ErrHash)
	for k := range path {
		bad := append([][32]byte(nil), path...)
		bad[k][7] ^= 1
		want("other node", cer.VerifyInclusion(e[i], i, n, bad, root), cer.ErrHash)
	}
	want("longer", cer.VerifyInclusion(e[i], i, n, append(slices.Clip(path), root), root), cer.ErrSchema)
	if len(path) > 0 {
		want("shorter", cer.VerifyInclusion(e[i], i, n, path[1:], root), cer.ErrSchema)
	}
	want("index = size", cer.VerifyInclusion(e[i], n, n, path, root), cer.ErrSchema)
	for k := range n {
		if k != i && cer.VerifyInclusion(e[i], k, n, path, root) == nil {
			t.Errorf("%d of %d also proves index %d", i, n, k)
		}
	}
}

func TestInclusionBounds(t *testing.T) {
	if err := cer.VerifyInclusion([32]byte{}, 0, 0, nil, [32]byte{}); !errors.Is(err, cer.ErrSchema) {
		t.Errorf("empty tree: %v, want ErrSchema", err)
	}
	long := make([][32]byte, limits.Inclusion+1)
	if err := cer.VerifyInclusion([32]byte{}, 0, 1<<63, long, [32]byte{}); !errors.Is(err, cer.ErrSchema) {
		t.Errorf("long path: %v, want ErrSchema", err)
	}
	if err := cer.VerifyInclusion([32]byte{}, 1<<63, 1<<64-1, long[:64], [32]byte{}); !errors.Is(err, cer.ErrHash) && !errors.Is(err, cer.ErrSchema) {
		t.Errorf("largest tree: %v", err)
	}
	for _, n := range []int{0, limits.BatchRecords + 1} {
		if tree, err := cer.NewTree(make([][32]byte, n)); !errors.Is(err, cer.ErrSchema) || tree != nil {
			t.Errorf("NewTree of %d: %v, want ErrSchema alone", n, err)
		}
	}
	var zero cer.Tree
	if path, err := zero.Inclusion(0); !errors.Is(err, cer.ErrSchema) || path != nil {
		t.Errorf("zero tree: %v, want ErrSchema alone", err)
	}
	if diff := cmp.Diff([32]byte{}, zero.Root()); diff != "" || zero.Size() != 0 {
		t.Errorf("zero tree has a root or a size: %s", diff)
	}
	tree, err := cer.NewTree(entries(3))
	if err != nil {
		t.Fatal(err)
	}
	if path, err := tree.Inclusion(3); !errors.Is(err, cer.ErrSchema) || path != nil {
		t.Errorf("index 3 of 3: %v, want ErrSchema alone", err)
	}
}

// TestTreeLeavesEntriesAlone: the library may hash in place; our nodes stay.
func TestTreeLeavesEntriesAlone(t *testing.T) {
	e := entries(7)
	tree, err := cer.NewTree(e)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		for i := range uint64(7) {
			path, err := tree.Inclusion(i)
			if err != nil {
				t.Fatal(err)
			}
			if err := cer.VerifyInclusion(e[i], i, 7, path, tree.Root()); err != nil {
				t.Error(err)
			}
			for k := range path {
				path[k] = [32]byte{}
			}
		}
	}
}

func FuzzVerifyInclusion(f *testing.F) {
	tree, err := cer.NewTree(entries(11))
	if err != nil {
		f.Fatal(err)
	}
	seeds := 0
	for i := range tree.Size() {
		path, err := tree.Inclusion(i)
		if err != nil {
			f.Fatal(err)
		}
		var raw []byte
		for _, h := range path {
			raw = append(raw, h[:]...)
		}
		f.Add(i, tree.Size(), raw)
		seeds++
	}
	if seeds == 0 {
		f.Fatal("empty seed corpus")
	}
	e := entries(11)
	root := tree.Root()
	f.Fuzz(func(t *testing.T, index, size uint64, raw []byte) {
		path := make([][32]byte, len(raw)/32)
		for i := range path {
			path[i] = [32]byte(raw[32*i:])
		}
		err := cer.VerifyInclusion(e[index%11], index, size, path, root)
		if err == nil {
			want, treeErr := tree.Inclusion(index)
			if size == 11 && (treeErr != nil || !cmp.Equal(want, path)) {
				t.Fatalf("a second proof of %d: %x", index, path)
			}
			return
		}
		if !errors.Is(err, cer.ErrHash) && !errors.Is(err, cer.ErrSchema) {
			t.Fatalf("unclassified error: %v", err)
		}
	})
}
