package archive_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"runtime"
	"testing"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/cer/archive"
)

// FuzzRead: whatever is read as an archive, errors are of one class, what comes out are
// capsules, packing them again loses nothing, and the memory taken is bounded by what is
// there and not by what is said of it.
func FuzzRead(f *testing.F) {
	small := func(_ int, c *cer.Capsule) { c.Tokens, c.Log = nil, c.Log[:5] }
	for _, seed := range [][]byte{
		pack(f, nil, batch(f, 1, 1, small)),
		pack(f, files(), batch(f, 1, 3, nil)),
		pack(f, nil, append(batch(f, 1, 2, small), batch(f, 2, 1, small)...)),
		pack(f, nil, collections(f)["outputs"][:2]),
		pack(f, nil, golden(f)[:2]),
	} {
		if _, _, err := unpack(seed, 500); err != nil {
			f.Fatal(err)
		}
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		if len(file) > 1<<20 {
			return
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		capsules, beside, err := unpack(file, 500)
		runtime.ReadMemStats(&after)
		if took, most := after.TotalAlloc-before.TotalAlloc, uint64(64<<20+20_000*len(file)); took > most {
			t.Errorf("%d bytes were allocated for %d", took, len(file))
		}
		if err != nil {
			if !errors.Is(err, archive.ErrForm) {
				t.Errorf("an error of another class: %v", err)
			}
			return
		}
		again, err := archive.NewBuilder(&memory{}, "", beside)
		if err != nil {
			t.Fatal(err)
		}
		for name, file := range capsules {
			if _, err := cer.ParseCapsule([]byte(file)); err != nil {
				t.Errorf("%s is no capsule: %v", name, err)
			}
			if err := again.Add(name, []byte(file)); err != nil {
				t.Errorf("%s cannot be packed: %v", name, err)
			}
		}
		var out bytes.Buffer
		if err := again.Write(&out); err != nil {
			t.Fatal(err)
		}
		if got, _, err := unpack(out.Bytes(), 500); err != nil || !maps.Equal(got, capsules) {
			t.Errorf("packed again it is another: %v", err)
		}
	})
}

// batches returns the capsules of several batches.
func batches(tb testing.TB, sets, records int) []named {
	tb.Helper()
	var all []named
	for i := range sets {
		for _, c := range batch(tb, uint64(i), records, nil) {
			all = append(all, named{fmt.Sprintf("%06d %s", i, c.name), c.file})
		}
	}
	return all
}

// TestMemory: what reading takes does not grow with the number of records, nor with that
// of sets.
func TestMemory(t *testing.T) {
	peak := func(sets, records int) uint64 {
		file := pack(t, nil, batches(t, sets, records))
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		begin, most := m.HeapAlloc, uint64(0)
		r, err := archive.Open(bytes.NewReader(file), int64(len(file)))
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for {
			s, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			for {
				b, err := s.Block(1 << 12)
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				for l := range bytes.Lines(b) {
					rec, err := s.Parse(l)
					if err != nil {
						t.Fatal(err)
					}
					if err := r.Accept(s, rec); err != nil {
						t.Fatal(err)
					}
					n++
				}
			}
			if s.Number%(uint64(sets)/10) == 0 {
				runtime.GC()
				runtime.ReadMemStats(&m)
				most = max(most, m.HeapAlloc)
			}
		}
		if err := r.Finish(); err != nil || n != sets*records {
			t.Fatalf("%d records: %v", n, err)
		}
		runtime.KeepAlive(file)
		if most < begin {
			return 0
		}
		return most - begin
	}
	few, many := peak(20, 4), peak(400, 4)
	t.Logf("%d bytes for 80 records, %d for 1600", few, many)
	if many > few+200_000 {
		t.Errorf("%d bytes for 80 records, %d for 1600", few, many)
	}
}
