package measure

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// noise returns n bytes that no two places share.
func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(b)
	return b
}

// refTree computes a Merkle tree level by level, the whole of each in memory, and
// returns its root and its blocks, the top level first.
func refTree(data, salt []byte) (root [32]byte, tree []byte) {
	for first := true; first || len(data) > BlockSize; first = false {
		var up []byte
		for len(data) > 0 {
			block := make([]byte, BlockSize)
			data = data[copy(block, data):]
			sum := sha256.Sum256(append(bytes.Clone(salt), block...))
			up = append(up, sum[:]...)
		}
		if len(up) <= 32 {
			copy(root[:], up)
			return root, tree
		}
		data = append(up, make([]byte, -len(up)&(BlockSize-1))...)
		tree = append(bytes.Clone(data), tree...)
	}
	return sha256.Sum256(append(bytes.Clone(salt), data...)), tree
}

// reference computes what a file's sums must be.
func reference(data []byte, w Wanted) Sums {
	s := Sums{Size: uint64(len(data))}
	if w.FSVerity {
		root, _ := refTree(data, nil)
		d := []byte{1, 1, 12, 0, 0, 0, 0, 0}
		d = binary.LittleEndian.AppendUint64(d, s.Size)
		d = append(append(d, root[:]...), make([]byte, 256-16-32)...)
		s.HasFSVerity, s.FSVerity = true, sha256.Sum256(d)
	}
	if w.DMVerity != nil {
		s.HasDMVerity, s.Salt = true, w.DMVerity.Salt
		s.DMVerity, _ = refTree(data, w.DMVerity.Salt)
	}
	if w.Flat == FlatAlways || w.Flat == FlatSmall && s.Size <= 256<<20 {
		s.HasFlat, s.Flat = true, sha256.Sum256(data)
	}
	return s
}

// memory is a target in memory. It notes when a place is written twice.
type memory struct {
	mu    sync.Mutex
	b     []byte
	wrote map[int64]bool
}

func (m *memory) WriteAt(p []byte, at int64) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.wrote == nil {
		m.wrote = make(map[int64]bool)
	}
	if m.wrote[at] {
		return 0, fmt.Errorf("offset %d written twice", at)
	}
	m.wrote[at] = true
	if need := int(at) + len(p); need > len(m.b) {
		m.b = append(m.b, make([]byte, need-len(m.b))...)
	}
	return copy(m.b[at:], p), nil
}

// counting counts what is read, byte for byte.
type counting struct {
	r     io.ReaderAt
	bytes atomic.Int64
}

func (c *counting) ReadAt(p []byte, at int64) (int, error) {
	n, err := c.r.ReadAt(p, at)
	c.bytes.Add(int64(n))
	return n, err
}

// sizes are the sizes at which something changes in a tree.
var sizes = []int{0, 1, 4095, 4096, 4097, 8192, 127*4096 + 1, 128*4096 - 1, 128 * 4096, 128*4096 + 1, 129 * 4096, 3<<20 + 17}

// TestCopy wants any number of workers and any chunking to give what a plain
// computation gives, each byte to be read once, and the copy to be one.
func TestCopy(t *testing.T) {
	all := noise(sizes[len(sizes)-1])
	for _, size := range sizes {
		data := all[:size]
		for _, salt := range [][]byte{nil, {0}, noise(MaxSalt)} {
			w := Wanted{FSVerity: true, Flat: FlatAlways}
			var tree *memory
			if size > 0 && size%BlockSize == 0 {
				tree = new(memory)
				w.DMVerity = &DMVerity{Salt: salt, Tree: tree}
			}
			want := reference(data, w)
			for _, workers := range []int{0, 1, 2, 3, 7, MaxWorkers + 1} {
				for _, chunk := range []int{0, 4096, 3 * 4096, 128 * 4096} {
					var done atomic.Uint64
					src, dst := &counting{r: bytes.NewReader(data)}, new(memory)
					if tree != nil {
						*tree = memory{}
					}
					got, err := Copy(t.Context(), src, dst, uint64(size), w, Options{Workers: workers, Done: &done, chunk: chunk})
					name := fmt.Sprintf("%d bytes, salt of %d, %d workers, chunks of %d", size, len(salt), workers, chunk)
					if err != nil {
						t.Fatalf("%s: %v", name, err)
					}
					if diff := cmp.Diff(want, got); diff != "" {
						t.Fatalf("%s: %s", name, diff)
					}
					if !bytes.Equal(dst.b, data) || src.bytes.Load() != int64(size) || done.Load() != uint64(size) {
						t.Fatalf("%s: read %d bytes, counted %d, wrote %d", name, src.bytes.Load(), done.Load(), len(dst.b))
					}
					if tree == nil {
						continue
					}
					if _, blocks := refTree(data, salt); !bytes.Equal(tree.b, blocks) || w.DMVerity.TreeSize(uint64(size)) != uint64(len(blocks)) {
						t.Fatalf("%s: another tree", name)
					}
				}
			}
		}
	}
}

// TestFiles measures files of all sizes in one call, each with another wish.
func TestFiles(t *testing.T) {
	all := noise(sizes[len(sizes)-1])
	for _, workers := range []int{1, 2, 5} {
		var files []File
		var want []Sums
		var opened, closed atomic.Int64
		for i := range 10 * len(sizes) {
			data := all[:sizes[i%len(sizes)]]
			w := Wanted{FSVerity: i%3 != 0, Flat: FlatSmall}
			want = append(want, reference(data, w))
			files = append(files, File{Size: uint64(len(data)), Wanted: w, Open: func() (Open, error) {
				opened.Add(1)
				return Open{Source: bytes.NewReader(data), Close: func() error { closed.Add(1); return nil }}, nil
			}})
		}
		got, err := Files(t.Context(), files, Options{Workers: workers, chunk: 16 << 10})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%d workers: %s", workers, diff)
		}
		if n := int64(len(files)); opened.Load() != n || closed.Load() != n {
			t.Errorf("%d workers: %d files opened and %d closed, want %d", workers, opened.Load(), closed.Load(), n)
		}
	}
	if got, err := Files(t.Context(), nil, Options{}); err != nil || len(got) != 0 {
		t.Errorf("no files: %v, %v", got, err)
	}
}

// TestFlatLimit wants the digest over the bytes at the limit and not above.
func TestFlatLimit(t *testing.T) {
	for _, test := range []struct {
		flat Flat
		size uint64
		want bool
	}{{FlatNever, 0, false}, {FlatSmall, FlatLimit, true}, {FlatSmall, FlatLimit + 1, false}, {FlatAlways, FlatLimit + 1, true}} {
		if got := (Wanted{FSVerity: true, Flat: test.flat}).flat(test.size); got != test.want {
			t.Errorf("%d of %d bytes: %v", test.flat, test.size, got)
		}
	}
}

// broken is a source or a target that fails at a place.
type broken struct {
	io.ReaderAt
	at  int64
	err error
}

func (b broken) ReadAt(p []byte, at int64) (int, error) {
	if at <= b.at && b.at < at+int64(len(p)) {
		return 0, b.err
	}
	return b.ReaderAt.ReadAt(p, at)
}

func (b broken) WriteAt(p []byte, at int64) (int, error) {
	if at <= b.at && b.at < at+int64(len(p)) {
		return 0, b.err
	}
	return len(p), nil
}

// TestRefused wants each failure in its class, without sums.
func TestRefused(t *testing.T) {
	data := noise(1 << 20)
	src := bytes.NewReader(data)
	cause := errors.New("cause")
	verity := Wanted{FSVerity: true}
	dm := func(d DMVerity) Wanted { return Wanted{DMVerity: &d} }
	for name, test := range map[string]struct {
		src  io.ReaderAt
		dst  io.WriterAt
		size uint64
		w    Wanted
		want error
	}{
		"nothing wanted":          {src, nil, 1 << 20, Wanted{}, ErrUnfit},
		"nothing for this size":   {src, nil, FlatLimit + 1, Wanted{Flat: FlatSmall}, ErrUnfit},
		"unknown kind":            {src, nil, 1 << 20, Wanted{FSVerity: true, Flat: 3}, ErrUnfit},
		"no source":               {nil, nil, 1 << 20, verity, ErrUnfit},
		"huge":                    {src, nil, 1 << 63, verity, ErrUnfit},
		"long salt":               {src, nil, 1 << 20, dm(DMVerity{Salt: make([]byte, MaxSalt+1)}), ErrUnfit},
		"no whole block":          {src, nil, 4097, dm(DMVerity{}), ErrUnfit},
		"no block":                {src, nil, 0, dm(DMVerity{}), ErrUnfit},
		"shrunk":                  {src, nil, 1<<20 + 1, verity, ErrChanged},
		"shrunk by more":          {src, nil, 5 << 20, verity, ErrChanged},
		"grown":                   {src, nil, 1<<20 - 1, verity, ErrChanged},
		"grown from nothing":      {src, nil, 0, verity, ErrChanged},
		"read error":              {broken{src, 500000, cause}, nil, 1 << 20, verity, ErrIO},
		"read error at the end":   {broken{src, 1 << 20, cause}, nil, 1 << 20, verity, ErrIO},
		"reads nothing":           {broken{src, 500000, nil}, nil, 1 << 20, verity, ErrIO},
		"reads nothing at end":    {broken{src, 1 << 20, nil}, nil, 1 << 20, verity, ErrIO},
		"write error":             {src, broken{nil, 500000, cause}, 1 << 20, verity, ErrIO},
		"tree cannot be written":  {src, nil, 1 << 20, dm(DMVerity{Tree: broken{nil, 4096, cause}}), ErrIO},
		"top cannot be written":   {src, nil, 1 << 20, dm(DMVerity{Tree: broken{nil, 0, cause}}), ErrIO},
		"superblock is no better": {src, nil, 4096 * 100, dm(DMVerity{Tree: broken{nil, 0, cause}, Superblock: true}), ErrIO},
	} {
		source := test.src
		if name == "superblock is no better" {
			source = bytes.NewReader(data[:4096*100])
		}
		for _, workers := range []int{1, 2, 8} {
			got, err := Copy(t.Context(), source, test.dst, test.size, test.w, Options{Workers: workers, chunk: 64 << 10})
			if !errors.Is(err, test.want) {
				t.Errorf("%s: %v", name, err)
			}
			if diff := cmp.Diff(Sums{}, got); diff != "" {
				t.Errorf("%s: sums beside an error: %s", name, diff)
			}
			for _, class := range []error{ErrChanged, ErrUnfit, ErrIO} {
				if !errors.Is(test.want, class) && errors.Is(err, class) {
					t.Errorf("%s: also of the class %v", name, class)
				}
			}
		}
	}
}

// TestOpenAndClose wants errors of the caller's functions to end the pass, and
// what was opened to be closed once whatever happens.
func TestOpenAndClose(t *testing.T) {
	data := noise(1 << 20)
	cause := errors.New("cause")
	for name, test := range map[string]struct {
		open, close error
		src         io.ReaderAt
		want        error
	}{
		"open fails":          {cause, nil, nil, ErrIO},
		"open sees a change":  {fmt.Errorf("%w: x", ErrChanged), nil, nil, ErrChanged},
		"close fails":         {nil, cause, bytes.NewReader(data), ErrIO},
		"close sees a change": {nil, fmt.Errorf("%w: x", ErrChanged), bytes.NewReader(data), ErrChanged},
		"reading fails":       {nil, nil, broken{bytes.NewReader(data), 70000, cause}, ErrIO},
		"no source":           {nil, nil, nil, ErrUnfit},
	} {
		var opened, closed atomic.Int64
		good := func() (Open, error) {
			opened.Add(1)
			return Open{Source: bytes.NewReader(data), Close: func() error { closed.Add(1); return nil }}, nil
		}
		bad := func() (Open, error) {
			if test.open != nil {
				return Open{}, test.open
			}
			opened.Add(1)
			return Open{Source: test.src, Close: func() error { closed.Add(1); return test.close }}, nil
		}
		w := Wanted{FSVerity: true}
		files := []File{{Size: 1 << 20, Wanted: w, Open: good}, {Name: "bad", Size: 1 << 20, Wanted: w, Open: bad}, {Size: 1 << 20, Wanted: w, Open: good}}
		got, err := Files(t.Context(), files, Options{Workers: 3, chunk: 4096})
		if !errors.Is(err, test.want) || got != nil {
			t.Errorf("%s: %v, %v", name, got, err)
		}
		if opened.Load() != closed.Load() {
			t.Errorf("%s: %d opened, %d closed", name, opened.Load(), closed.Load())
		}
	}
	if _, err := Files(t.Context(), []File{{Wanted: Wanted{FSVerity: true}}}, Options{}); !errors.Is(err, ErrUnfit) {
		t.Errorf("no function to open: %v", err)
	}
}

// endless is a source that never ends, and tells of its first read.
type endless struct{ began chan struct{} }

func (e endless) ReadAt(p []byte, _ int64) (int, error) {
	select {
	case e.began <- struct{}{}:
	default:
	}
	return len(p), nil
}

// TestCancel wants a pass to end with its context, with the cause.
func TestCancel(t *testing.T) {
	cause := errors.New("enough")
	ended, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	if got, err := Copy(ended, bytes.NewReader(nil), nil, 0, Wanted{FSVerity: true}, Options{}); !errors.Is(err, cause) || got.HasFSVerity {
		t.Errorf("with an ended context: %v", err)
	}
	for _, flat := range []Flat{FlatNever, FlatAlways} {
		ctx, cancel := context.WithCancelCause(t.Context())
		src := endless{make(chan struct{}, 1)}
		go func() { <-src.began; cancel(cause) }()
		began := time.Now()
		got, err := Copy(ctx, src, nil, 1<<50, Wanted{FSVerity: true, Flat: flat}, Options{})
		if !errors.Is(err, cause) || got.HasFSVerity {
			t.Errorf("got %v", err)
		}
		if took := time.Since(began); took > time.Minute {
			t.Errorf("ended after %v", took)
		}
	}
}

// BenchmarkCopy measures each kind of digest with one worker and with all.
func BenchmarkCopy(b *testing.B) {
	data := noise(64 << 20)
	for _, workers := range []int{1, 0} {
		for name, w := range map[string]Wanted{
			"fsverity": {FSVerity: true}, "flat": {Flat: FlatAlways}, "both": {FSVerity: true, Flat: FlatAlways},
			"dmverity": {DMVerity: &DMVerity{Salt: noise(32)}},
		} {
			b.Run(fmt.Sprintf("%s/workers=%d", name, workers), func(b *testing.B) {
				b.SetBytes(int64(len(data)))
				b.ReportAllocs()
				for b.Loop() {
					if _, err := Copy(b.Context(), bytes.NewReader(data), nil, uint64(len(data)), w, Options{Workers: workers}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
