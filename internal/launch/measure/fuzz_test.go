package measure

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzCopy compares every pass with the plain computation, or wants the one
// class of error that its size and its wishes call for.
func FuzzCopy(f *testing.F) {
	f.Add([]byte("x"), uint32(1), int8(0), []byte(nil), uint8(2), uint8(1), uint8(3))
	f.Add([]byte("abc"), uint32(4096*3), int8(0), []byte("salt"), uint8(3), uint8(2), uint8(7))
	f.Add([]byte{}, uint32(0), int8(0), []byte(nil), uint8(0), uint8(0), uint8(1))
	f.Add([]byte{0, 1, 2}, uint32(128*4096+1), int8(1), []byte(nil), uint8(1), uint8(9), uint8(3))
	f.Add([]byte{0, 1, 2}, uint32(128*4096), int8(-1), make([]byte, MaxSalt+1), uint8(1), uint8(9), uint8(4))
	f.Fuzz(func(t *testing.T, seed []byte, length uint32, off int8, salt []byte, workers, chunk, wish uint8) {
		data := make([]byte, int(length%(1<<20)))
		for i, n := 0, copy(data, seed); n > 0 && i+n < len(data); i += n {
			copy(data[i+n:], data[i:i+n])
			data[i] ^= byte(i >> 8) // No two blocks alike.
		}
		size := max(0, len(data)+int(off))
		w := Wanted{FSVerity: wish&1 != 0, Flat: Flat(wish >> 1 & 1)}
		var tree memory
		if wish&4 != 0 {
			w.DMVerity = &DMVerity{Salt: salt, Tree: &tree}
		}
		fit := (w.FSVerity || w.Flat != FlatNever || w.DMVerity != nil) &&
			(w.DMVerity == nil || len(salt) <= MaxSalt && size > 0 && size%BlockSize == 0)
		var dst memory
		got, err := Copy(t.Context(), bytes.NewReader(data), &dst, uint64(size), w, Options{Workers: int(workers % 9), chunk: int(chunk%40+1) * BlockSize})
		if err != nil {
			if diff := cmp.Diff(Sums{}, got); diff != "" {
				t.Fatalf("sums beside an error: %s", diff)
			}
		}
		switch {
		case !fit:
			if !errors.Is(err, ErrUnfit) || dst.b != nil {
				t.Fatalf("unfit, and %v", err)
			}
		case size != len(data):
			if !errors.Is(err, ErrChanged) {
				t.Fatalf("%d bytes of %d, and %v", size, len(data), err)
			}
		case err != nil:
			t.Fatal(err)
		default:
			if diff := cmp.Diff(reference(data, w), got); diff != "" {
				t.Fatal(diff)
			}
			if !bytes.Equal(dst.b, data) {
				t.Fatal("another copy")
			}
			if _, blocks := refTree(data, salt); w.DMVerity != nil && !bytes.Equal(tree.b, blocks) {
				t.Fatal("another tree")
			}
		}
	})
}
