package archive_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/cer/archive"
	"github.com/sworn-run/sworn/internal/limits"
	"github.com/sworn-run/sworn/testdata"
)

// memory is a scratch file in memory.
type memory struct{ b []byte }

func (m *memory) Write(b []byte) (int, error) { m.b = append(m.b, b...); return len(b), nil }

func (m *memory) ReadAt(b []byte, at int64) (int, error) {
	return bytes.NewReader(m.b).ReadAt(b, at)
}

// named is a capsule with its name.
type named struct {
	name string
	file []byte
}

// golden returns the golden records.
func golden(tb testing.TB) []named {
	tb.Helper()
	var out []named
	for _, name := range []string{
		"golden.cer.json", "page.cer.json", "full.cer.json", "tee/tdx.cer.json", "tee/tdx.first.cer.json",
		"tee/azure-snp.cer.json", "tee/tpm-sev-snp.cer.json",
	} {
		b, err := testdata.Golden.ReadFile("golden/" + name)
		if err != nil {
			tb.Fatal(err)
		}
		out = append(out, named{name[strings.LastIndexByte(name, '/')+1:], b})
	}
	return out
}

// record returns a record, with an output of that size in it.
func record(tb testing.TB, number, size int) []byte {
	tb.Helper()
	b, err := cer.Seal(cer.Snapshot{
		ProtocolVersion: cer.Protocol120, ExecutionID: fmt.Sprint("run-", number), Timestamp: "2026-11-22T04:00:00.000Z",
		Provider: "self-hosted", Model: "m", Prompt: "sworn:none", Parameters: cer.Parameters{Temperature: 0, MaxTokens: 0},
		Input: textValue(tb, "in"), Output: textValue(tb, strings.Repeat("a", size)),
	}, "2026-11-22T04:00:00.000Z")
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func textValue(tb testing.TB, s string) cer.Value {
	tb.Helper()
	v, err := cer.TextValue(s)
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

// random returns bytes that are the same for the same numbers.
func random(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// batch returns n capsules of one statement, which nobody would trust.
func batch(tb testing.TB, seed uint64, n int, change func(int, *cer.Capsule)) []named {
	tb.Helper()
	r := rand.New(rand.NewPCG(seed, 1))
	c := cer.Capsule{
		Statement: random(r, 300), Signature: random(r, 64), Log: random(r, 2000),
		Evidence:   []attest.Evidence{{Slot: 0, Format: 1, Parts: []attest.Part{{Name: "attest", Data: random(r, 100)}}}},
		Collateral: []attest.Collateral{{Kind: "crl", Data: []byte("a list that all have")}, {Kind: "crl", Data: random(r, 90)}},
		Tokens:     [][]byte{random(r, 700)},
	}
	var out []named
	for i := range n {
		c.CER = record(tb, i, 10)
		c.Inclusion = cer.Inclusion{Index: uint64(i), Size: uint64(n), Path: [][32]byte{{byte(i)}, {2}}}
		mine := c
		if change != nil {
			change(i, &mine)
		}
		file, err := mine.Encode()
		if err != nil {
			tb.Fatal(err)
		}
		out = append(out, named{fmt.Sprintf("batch %d-%03d.cer.json", seed, i), file})
	}
	return out
}

// files are beside the capsules.
func files() []archive.File {
	return []archive.File{
		{Path: archive.DirPolicies + "policy.json", Data: []byte("{}\n")},
		{Path: archive.DirRoots + "tpm-ak/SIMULATED-tpm-maker.pem", Data: []byte("a root")},
		{Path: archive.DirRoots + "amd-ark/Milan/ark.der", Data: bytes.Repeat([]byte{7}, 1000)},
		{Path: archive.DirLedger + "ledger.json", Data: nil},
	}
}

// pack makes an archive.
func pack(tb testing.TB, files []archive.File, capsules []named) []byte {
	tb.Helper()
	b, err := archive.NewBuilder(&memory{}, "sworn test", files)
	if err != nil {
		tb.Fatal(err)
	}
	for _, c := range capsules {
		if err := b.Add(c.name, c.file); err != nil {
			tb.Fatalf("%s: %v", c.name, err)
		}
	}
	var out bytes.Buffer
	if err := b.Write(&out); err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

// unpack reads a whole archive in blocks of that size.
func unpack(file []byte, block int) (map[string]string, []archive.File, error) {
	r, err := archive.Open(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		return nil, nil, err
	}
	capsules, beside := map[string]string{}, []archive.File{}
	for i := range r.Head().Files {
		f := &r.Head().Files[i]
		b, err := r.File(f)
		if err != nil {
			return nil, nil, err
		}
		beside = append(beside, archive.File{Path: f.Path, Data: b})
	}
	for {
		s, err := r.Next()
		if errors.Is(err, io.EOF) {
			return capsules, beside, r.Finish()
		}
		if err != nil {
			return nil, nil, err
		}
		if err := unpackSet(r, s, block, capsules); err != nil {
			return nil, nil, err
		}
	}
}

// unpackSet reads a set.
func unpackSet(r *archive.Reader, s *archive.Set, block int, capsules map[string]string) error {
	shared, err := s.Shared()
	if err != nil {
		return err
	}
	for {
		b, err := s.Block(block)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		for line := range bytes.Lines(b) {
			rec, err := s.Parse(line)
			if err != nil {
				return err
			}
			if err := r.Accept(s, rec); err != nil {
				return err
			}
			if _, err := shared.Capsule(rec.Record, rec.Inclusion); err != nil {
				return fmt.Errorf("%w: %w", archive.ErrForm, err)
			}
			capsules[rec.Name] = string(shared.AppendFile(nil, rec.Record, rec.Inclusion))
		}
	}
}

// collections are capsules to be packed together.
func collections(tb testing.TB) map[string][]named {
	tb.Helper()
	long := func(size int) func(int, *cer.Capsule) {
		return func(i int, c *cer.Capsule) { c.CER = record(tb, i, size) }
	}
	out := map[string][]named{
		"golden":          golden(tb),
		"one":             golden(tb)[:1],
		"a batch":         batch(tb, 1, 40, nil),
		"two batches":     slices.Concat(batch(tb, 1, 3, nil), batch(tb, 2, 5, nil)),
		"one output":      batch(tb, 3, 6, long(10*limits.ArchiveContent)),
		"outputs":         batch(tb, 4, 6, func(i int, c *cer.Capsule) { c.CER = record(tb, i, limits.ArchiveContent+i/2) }),
		"other tokens":    batch(tb, 5, 6, func(i int, c *cer.Capsule) { c.Tokens = [][]byte{{byte(i % 3)}, []byte("a token")} }),
		"nothing but one": batch(tb, 6, 2, func(_ int, c *cer.Capsule) { c.Tokens, c.Collateral, c.Log = nil, nil, nil }),
		"the same twice": batch(tb, 7, 2, func(_ int, c *cer.Capsule) {
			c.Collateral = []attest.Collateral{{Kind: "a", Data: []byte("x")}, {Kind: "b", Data: []byte("x")}}
		}),
		"input is output": batch(tb, 8, 1, func(_ int, c *cer.Capsule) {
			same := textValue(tb, strings.Repeat("s", limits.ArchiveContent))
			b, err := cer.ParseBundle(c.CER)
			if err != nil {
				tb.Fatal(err)
			}
			b.Snapshot.Input, b.Snapshot.Output, b.Snapshot.InputHash, b.Snapshot.OutputHash = same, same, "", ""
			if c.CER, err = cer.Seal(b.Snapshot, b.CreatedAt); err != nil {
				tb.Fatal(err)
			}
		}),
	}
	out["all"] = slices.Concat(out["golden"], out["two batches"], out["one output"], out["outputs"], out["other tokens"])
	return out
}

// TestRoundTrip: every capsule and file comes back byte for byte, whatever the order in
// which they were added and the size of what is read at a time; and packing that again
// gives the same archive.
func TestRoundTrip(t *testing.T) {
	for name, capsules := range collections(t) {
		t.Run(name, func(t *testing.T) {
			file := pack(t, files(), capsules)
			if !archive.Is(file) {
				t.Error("an archive that is not told by its beginning")
			}
			shuffled := slices.Clone(capsules)
			for range 5 {
				rand.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
				if !bytes.Equal(pack(t, files(), shuffled), file) {
					t.Fatal("another archive of the same capsules")
				}
			}
			for _, block := range []int{0, 1, 100, 1 << 20} {
				got, beside, err := unpack(file, block)
				if err != nil {
					t.Fatal(err)
				}
				if len(got) != len(capsules) || len(beside) != len(files()) {
					t.Fatalf("%d capsules and %d files, want %d and %d", len(got), len(beside), len(capsules), len(files()))
				}
				for _, c := range capsules {
					if got[c.name] != string(c.file) {
						t.Errorf("%s came back otherwise", c.name)
					}
				}
				for _, f := range files() {
					if !slices.ContainsFunc(beside, func(g archive.File) bool { return g.Path == f.Path && bytes.Equal(g.Data, f.Data) }) {
						t.Errorf("%s came back otherwise", f.Path)
					}
				}
			}
		})
	}
}

// TestStoredOnce: what capsules share stands in the archive once.
func TestStoredOnce(t *testing.T) {
	for name, capsules := range collections(t) {
		file := pack(t, nil, capsules)
		seen, records := map[string]bool{}, 0
		r := tar.NewReader(bytes.NewReader(file))
		for {
			h, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: tar cannot read it: %v", name, err)
			}
			b, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			if hex, ok := strings.CutPrefix(h.Name, "blobs/sha256/"); ok && hex != fmt.Sprintf("%x", sha256.Sum256(b)) {
				t.Errorf("%s: %s is not what its name says", name, h.Name)
			}
			if seen[h.Name] {
				t.Errorf("%s: %s stands twice", name, h.Name)
			}
			seen[h.Name] = true
			if strings.HasSuffix(h.Name, ".records") {
				records += bytes.Count(b, []byte("\n"))
			}
		}
		if records != len(capsules) {
			t.Errorf("%s: %d lines, want %d", name, records, len(capsules))
		}
	}
	// Six records of one long output: less than two of them would take.
	if n := len(pack(t, nil, collections(t)["one output"])); n > 2*10*limits.ArchiveContent {
		t.Errorf("%d bytes for one output", n)
	}
}

// TestEveryBit: an archive in which one bit is another is refused, or some capsule in it
// is another, or says something else of its maker.
func TestEveryBit(t *testing.T) {
	file := pack(t, files()[:1], batch(t, 1, 2, func(_ int, c *cer.Capsule) { c.Log, c.Tokens, c.Collateral = []byte{1}, nil, c.Collateral[:1] }))
	before, _, err := unpack(file, 4096)
	if err != nil {
		t.Fatal(err)
	}
	verifier := bytes.Index(file, []byte("sworn test"))
	silent := 0
	for i := range file {
		for bit := range 8 {
			if file[i] == 0 && bit != i%8 {
				continue // padding, most of it
			}
			file[i] ^= 1 << bit
			after, _, err := unpack(file, 4096)
			switch {
			case err == nil && i >= verifier && i < verifier+len("sworn test"):
				silent++
			case err == nil && len(after) == len(before) && !maps.Equal(before, after): // a kind of collateral
			case err == nil:
				t.Errorf("byte %d bit %d: accepted", i, bit)
			case !errors.Is(err, archive.ErrForm):
				t.Errorf("byte %d bit %d: an error of another class: %v", i, bit, err)
			}
			file[i] ^= 1 << bit
		}
	}
	if silent == 0 {
		t.Error("no bit of the maker's name was tried")
	}
}

// TestCut: an archive that ends early, or late, is refused.
func TestCut(t *testing.T) {
	file := pack(t, files(), batch(t, 1, 2, nil))
	for n := 0; n < len(file); n += 1 + n%13 {
		if _, _, err := unpack(file[:n], 1000); !errors.Is(err, archive.ErrForm) {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
	}
	for _, more := range [][]byte{{0}, make([]byte, 512), make([]byte, 10240), []byte("x"), file} {
		if _, _, err := unpack(append(slices.Clone(file), more...), 1000); !errors.Is(err, archive.ErrForm) {
			t.Errorf("with %d bytes behind it: %v", len(more), err)
		}
	}
}

func TestBuilderRefuses(t *testing.T) {
	good := golden(t)[0]
	b, err := archive.NewBuilder(&memory{}, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Write(io.Discard); !errors.Is(err, archive.ErrAdd) {
		t.Errorf("an archive of nothing: %v", err)
	}
	if err := b.Add("A.json", good.file); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"A.json", "a.json", "", ".", "..", ".hidden", "-o", " a", "a ", "a.", "a/b", "/a", `a\b`, `C:a`, "a\x00", "a\n", "ä", "a\x7f",
		`a"`, "a*", "a?", "a<b", "a>b", "a|b", strings.Repeat("a", limits.ArchiveName+1),
	} {
		if err := b.Add(name, good.file); !errors.Is(err, archive.ErrAdd) {
			t.Errorf("name %q: %v", name, err)
		}
	}
	for name, file := range map[string][]byte{
		"nothing": nil, "JSON": []byte("{}\n"), "no end": good.file[:len(good.file)-1], "twice": append(slices.Clone(good.file), good.file...),
	} {
		err := b.Add(name, file)
		if !errors.Is(err, archive.ErrAdd) || !errors.Is(err, cer.ErrStrict) && !errors.Is(err, cer.ErrSchema) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, path := range []string{"", "a", "roots", "roots/", "/roots/a", "policies/../a", "policies/a/b", "roots/a/b/c/d", `roots\a`, "records/a", "Roots/a", "blobs/sha256/a"} {
		if _, err := archive.NewBuilder(&memory{}, "", []archive.File{{Path: path}}); !errors.Is(err, archive.ErrAdd) {
			t.Errorf("path %q: %v", path, err)
		}
	}
	twice := []archive.File{{Path: "policies/a"}, {Path: "policies/A"}}
	if _, err := archive.NewBuilder(&memory{}, "", twice); !errors.Is(err, archive.ErrAdd) {
		t.Errorf("a path twice: %v", err)
	}
	if _, err := archive.NewBuilder(&memory{}, "", make([]archive.File, limits.ArchiveFiles+1)); !errors.Is(err, archive.ErrAdd) {
		t.Errorf("too many files: %v", err)
	}
	if _, err := archive.NewBuilder(&memory{}, "", []archive.File{{Path: "policies/a", Data: make([]byte, limits.ArchiveFile+1)}}); !errors.Is(err, archive.ErrAdd) {
		t.Errorf("a large file: %v", err)
	}
	if _, err := archive.NewBuilder(nil, "", nil); !errors.Is(err, archive.ErrAdd) {
		t.Errorf("no scratch file: %v", err)
	}
}

// member is a member of an archive that a test takes apart.
type member struct {
	name string
	data []byte
}

// members takes an archive apart.
func members(tb testing.TB, file []byte) []member {
	tb.Helper()
	var out []member
	r := tar.NewReader(bytes.NewReader(file))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			tb.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			tb.Fatal(err)
		}
		out = append(out, member{h.Name, b})
	}
}

// join puts an archive together, its headers as this package writes them.
func join(tb testing.TB, all []member) []byte {
	tb.Helper()
	var out []byte
	for _, m := range all {
		out = append(out, archive.Header(m.name, int64(len(m.data)))...)
		out = append(out, m.data...)
		out = append(out, make([]byte, -len(m.data)&511)...)
	}
	return append(out, make([]byte, 1024)...)
}

// swap replaces text in the member of that name, and mends the digests and sizes of the
// descriptions where mend says so, as somebody would who wants to be believed.
func swap(tb testing.TB, all []member, name, old, fresh string) []member {
	tb.Helper()
	out := slices.Clone(all)
	i := slices.IndexFunc(out, func(m member) bool { return m.name == name })
	if i < 0 || !bytes.Contains(out[i].data, []byte(old)) {
		tb.Fatalf("%s holds no %q", name, old)
	}
	out[i].data = bytes.Replace(out[i].data, []byte(old), []byte(fresh), 1)
	return out
}

// mend makes the description of each set fit its lines again.
func mend(tb testing.TB, all []member) []member {
	tb.Helper()
	out := slices.Clone(all)
	for _, m := range out {
		number, ok := strings.CutSuffix(m.name, ".records")
		if !ok {
			continue
		}
		j := slices.IndexFunc(out, func(m member) bool { return m.name == number+".json" })
		text := string(out[j].data)
		begin, end := strings.Index(text, `"records":{`), strings.Index(text, `,"signature"`)
		records := fmt.Sprintf(`"records":{"count":"%d","sha256":"sha256:%x","size":"%d"}`, bytes.Count(m.data, []byte("\n")), sha256.Sum256(m.data), len(m.data))
		out[j].data = []byte(text[:begin] + records + text[end:])
	}
	return out
}

// TestHostile: archives that somebody has made with care.
func TestHostile(t *testing.T) {
	all := members(t, pack(t, files(), slices.Concat(batch(t, 1, 3, nil), batch(t, 2, 2, nil))))
	if _, _, err := unpack(join(t, mend(t, all)), 1000); err != nil {
		t.Fatal("taken apart and put together it is refused: ", err)
	}
	at := func(name string) int {
		i := slices.IndexFunc(all, func(m member) bool { return strings.Contains(m.name, name) })
		if i < 0 {
			t.Fatalf("no member %s", name)
		}
		return i
	}
	lines := func(set int) []string {
		return slices.Collect(strings.Lines(string(all[at(fmt.Sprintf("%08d.records", set))].data)))
	}
	withLines := func(set int, l ...string) []member {
		out := slices.Clone(all)
		out[at(fmt.Sprintf("%08d.records", set))].data = []byte(strings.Join(l, ""))
		return mend(t, out)
	}
	without := func(i int) []member { return slices.Delete(slices.Clone(all), i, i+1) }
	with := func(i int, m ...member) []member { return slices.Insert(slices.Clone(all), i, m...) }
	set1, rec1 := "sets/00000001.json", "sets/00000001.records"
	one := lines(1)
	shared := all[at("blobs/")]
	own := all[at(set1)+1]
	for name, forged := range map[string][]member{
		"no head":                         without(0),
		"head twice":                      with(1, all[0]),
		"head elsewhere":                  append(without(0), all[0]),
		"head of another type":            swap(t, all, all[0].name, "archive/v1", "archive/v2"),
		"head with a member more":         swap(t, all, all[0].name, `{"blobs"`, `{"a":1,"blobs"`),
		"head not canonical":              swap(t, all, all[0].name, `,"sets"`, `, "sets"`),
		"head with a space behind it":     swap(t, all, all[0].name, "\n", " \n"),
		"head says fewer records":         swap(t, all, all[0].name, `"records":"5"`, `"records":"4"`),
		"head says more records":          swap(t, all, all[0].name, `"records":"5"`, `"records":"6"`),
		"head says fewer sets":            swap(t, all, all[0].name, `"sets":"2"`, `"sets":"1"`),
		"head says more sets":             swap(t, all, all[0].name, `"sets":"2"`, `"sets":"3"`),
		"head says no sets":               swap(t, all, all[0].name, `"sets":"2"`, `"sets":"0"`),
		"head says more blobs":            swap(t, all, all[0].name, `"blobs":"1"`, `"blobs":"2"`),
		"head says fewer blobs":           swap(t, all, all[0].name, `"blobs":"1"`, `"blobs":"0"`),
		"head says too many blobs":        swap(t, all, all[0].name, `"blobs":"1"`, `"blobs":"65537"`),
		"head says too many records":      swap(t, all, all[0].name, `"records":"5"`, `"records":"18446744073709551615"`),
		"a file that is not there":        without(at("policy.json")),
		"a file more":                     with(at("blobs/"), member{"roots/tpm-ak/x", nil}),
		"another policy":                  swap(t, all, "policies/policy.json", "{}", "[]"),
		"another root":                    swap(t, all, "roots/tpm-ak/SIMULATED-tpm-maker.pem", "a", "b"),
		"a file's size":                   swap(t, all, all[0].name, `"size":"3"`, `"size":"4"`),
		"a file outside":                  swap(t, all, all[0].name, "policies/policy.json", "policies/../x.json"),
		"a file at the root":              swap(t, all, all[0].name, "policies/policy.json", "/etc/passwd"),
		"files in another order":          swap(t, all, all[0].name, "ledger/ledger.json", "policies/z.json"),
		"no shared blob":                  without(at("blobs/")),
		"shared blob of another name":     swap(t, all, shared.name, "all", "ALL"),
		"shared blob twice":               with(at("blobs/"), shared),
		"shared blob in the set too":      with(at(set1)+1, shared),
		"an unused blob in front":         swap(t, with(at("blobs/"), member{strings.Replace(shared.name, shared.name[len(shared.name)-64:], fmt.Sprintf("%x", sha256.Sum256(nil)), 1), nil}), all[0].name, `"blobs":"1"`, `"blobs":"2"`),
		"an unused blob in a set":         with(at(set1)+1, member{fmt.Sprintf("blobs/sha256/%x", sha256.Sum256(nil)), nil}),
		"a blob of the set missing":       without(at(set1) + 1),
		"a blob of the set twice":         with(at(set1)+1, own),
		"blobs in another order":          slices.Concat(all[:at(set1)+1], []member{all[at(set1)+2], own}, all[at(set1)+3:]),
		"a blob that is another":          swap(t, all, own.name, string(own.data[:3]), "xyz"),
		"a blob's name in capitals":       slices.Concat(all[:at(set1)+1], []member{{"blobs/sha256/" + strings.ToUpper(own.name[13:]), own.data}}, all[at(set1)+2:]),
		"sets in another order":           slices.Concat(all[:at(set1)], all[at("00000002.json"):], all[at(set1):at("00000002.json")]),
		"a set twice":                     append(slices.Clone(all), all[at("00000002.json"):]...),
		"a set missing":                   all[:at("00000002.json")],
		"a description not canonical":     swap(t, all, set1, `,"log"`, `,  "log"`),
		"a description with a member":     swap(t, all, set1, `{"coll`, `{"a":"","coll`),
		"a description of no statement":   swap(t, all, set1, `"statement":"sha256:`, `"statement":"sha512:`),
		"a description in capitals":       swap(t, all, set1, `"statement"`, `"Statement"`),
		"evidence taken out":              swap(t, all, set1, `"evidence":["`+between(t, all, set1, `"evidence":["`, `"]`)+`"]`, `"evidence":[]`),
		"the count of lines":              swap(t, all, set1, `"count":"3"`, `"count":"2"`),
		"the size of lines":               swap(t, all, set1, `"size":"`, `"size":"1`),
		"a line changed":                  swap(t, all, rec1, "batch 1-001", "batch 1-00l"),
		"a line taken out":                withLines(1, one[0], one[2]),
		"a line twice":                    withLines(1, one[0], one[0], one[2]),
		"lines in another order":          withLines(1, one[1], one[0], one[2]),
		"a name in capitals beside it":    withLines(1, one[0], strings.ReplaceAll(one[0], "batch", "BATCH"), one[2]),
		"no lines":                        withLines(1),
		"an empty line":                   withLines(1, one[0], "\n", one[2]),
		"a line without an end":           withLines(1, one[0], one[1], strings.TrimSuffix(one[2], "\n")),
		"a line with a space":             withLines(1, one[0], " "+one[1], one[2]),
		"a line with a member more":       withLines(1, one[0], strings.Replace(one[1], `,"inclusion"`, `,"e":1,"inclusion"`, 1), one[2]),
		"a line without a name":           withLines(1, one[0], strings.Replace(one[1], `"name"`, `"nam"`, 1), one[2]),
		"a line of no object":             withLines(1, one[0], "[]\n", one[2]),
		"a name with a path":              withLines(1, one[0], strings.Replace(one[1], "batch 1", "../../1", 1), one[2]),
		"a name with a backslash":         withLines(1, one[0], strings.Replace(one[1], "batch 1", `ba\\tch 1`, 1), one[2]),
		"a name of no letters":            withLines(1, one[0], strings.Replace(one[1], "batch 1", "..", 1), one[2]),
		"an empty list of cuts":           withLines(1, one[0], strings.Replace(one[1], `,"inclusion"`, `,"cut":[],"inclusion"`, 1), one[2]),
		"a cut of a blob that is not":     withLines(1, one[0], cutAt(t, one[1], fmt.Sprintf("%x", sha256.Sum256(nil))), one[2]),
		"a cut of a small blob":           withLines(1, one[0], cutAt(t, one[1], shared.name[13:]), one[2]),
		"a record of another place":       withLines(1, one[0], strings.Replace(one[1], `{"cer":{`, `{"cer":[{`, 1), one[2]),
		"a record that is not canonical":  withLines(1, one[0], strings.Replace(one[1], `,"version"`, `, "version"`, 1), one[2]),
		"an inclusion of another form":    withLines(1, one[0], strings.Replace(one[1], `"index":"1"`, `"index":"01"`, 1), one[2]),
		"an inclusion with a member more": withLines(1, one[0], strings.Replace(one[1], `"index":"1"`, `"a":"","index":"1"`, 1), one[2]),
		"an archive in an archive":        with(1, member{"records.tar", join(t, all)}),
		"a folder":                        with(1, member{"roots/", nil}),
		"a member that goes up":           with(1, member{"../../etc/passwd", nil}),
		"an absolute member":              with(1, member{"/etc/passwd", nil}),
		"a member with a backslash":       with(1, member{`..\x`, nil}),
	} {
		if _, _, err := unpack(join(t, forged), 1000); !errors.Is(err, archive.ErrForm) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// between returns what stands between two texts in a member.
func between(tb testing.TB, all []member, name, begin, end string) string {
	tb.Helper()
	i := slices.IndexFunc(all, func(m member) bool { return m.name == name })
	_, after, ok := strings.Cut(string(all[i].data), begin)
	text, _, ok2 := strings.Cut(after, end)
	if !ok || !ok2 {
		tb.Fatalf("%s holds nothing between %q and %q", name, begin, end)
	}
	return text
}

// cutAt says that the number after maxTokens of a line was cut out.
func cutAt(tb testing.TB, line, hex string) string {
	tb.Helper()
	at := strings.Index(line, `"maxTokens":0`) + len(`"maxTokens":`) - len(`{"cer":`)
	out := strings.Replace(line, `,"inclusion"`, `,"cut":[{"at":"`+strconv.Itoa(at)+`","sha256":"sha256:`+hex+`"}],"inclusion"`, 1)
	if out == line {
		tb.Fatal("nothing was cut")
	}
	return out
}

// TestForeignTar: tar archives with the same members, as other programs write them.
func TestForeignTar(t *testing.T) {
	all := members(t, pack(t, nil, batch(t, 1, 2, nil)))
	write := func(change func(*tar.Header)) []byte {
		var out bytes.Buffer
		w := tar.NewWriter(&out)
		for _, m := range all {
			h := &tar.Header{Name: m.name, Size: int64(len(m.data)), Mode: 0o644, Typeflag: tar.TypeReg, Format: tar.FormatUSTAR}
			change(h)
			if err := w.WriteHeader(h); err != nil {
				t.Fatal(err)
			}
			if h.Size == 0 {
				continue
			}
			if _, err := w.Write(m.data); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	if _, _, err := unpack(write(func(*tar.Header) {}), 1000); err != nil {
		t.Errorf("as Go's tar writes it: %v", err)
	}
	kind := func(k byte) func(*tar.Header) {
		return func(h *tar.Header) {
			if strings.HasPrefix(h.Name, "blobs/") {
				h.Typeflag, h.Linkname, h.Size = k, "sworn-archive.json", 0
			}
		}
	}
	for name, change := range map[string]func(*tar.Header){
		"of a user":   func(h *tar.Header) { h.Uid = 1000 },
		"with a name": func(h *tar.Header) { h.Uname = "root" },
		"executable":  func(h *tar.Header) { h.Mode = 0o755 },
		"GNU's form":  func(h *tar.Header) { h.Format = tar.FormatGNU },
		"with extensions": func(h *tar.Header) {
			h.Format, h.PAXRecords = tar.FormatPAX, map[string]string{"comment": strings.Repeat("x", 9000)}
		},
		"symbolic links":   kind(tar.TypeSymlink),
		"links":            kind(tar.TypeLink),
		"folders":          kind(tar.TypeDir),
		"devices":          kind(tar.TypeChar),
		"pipes":            kind(tar.TypeFifo),
		"contiguous files": func(h *tar.Header) { h.Typeflag = tar.TypeCont },
	} {
		file := write(change)
		if _, _, err := unpack(file, 1000); !errors.Is(err, archive.ErrForm) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSizes: what a header says of a member's size.
func TestSizes(t *testing.T) {
	good := pack(t, nil, batch(t, 1, 1, nil))
	for name, size := range map[string]string{
		"nothing":      "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
		"spaces":       "        144 ",
		"without NUL":  "000000000144",
		"binary":       "\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x64",
		"negative":     "-0000000144\x00",
		"signed":       "+0000000144\x00",
		"underscored":  "0000_000144\x00",
		"largest":      "77777777777\x00",
		"the file's":   fmt.Sprintf("%011o\x00", len(good)),
		"not octal":    "00000000199\x00",
		"overflow bin": "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
	} {
		for _, at := range []int{0, bytes.Index(good, []byte("sets/00000001.json")), bytes.LastIndex(good, []byte(".records\x00")) - len("sets/00000001")} {
			file := bytes.Clone(good)
			copy(file[at+124:], size)
			checksum(file[at : at+512])
			if _, _, err := unpack(file, 1000); !errors.Is(err, archive.ErrForm) {
				t.Errorf("size %s at %d: %v", name, at, err)
			}
		}
	}
}

// checksum makes a header's checksum right.
func checksum(h []byte) {
	copy(h[148:], "        ")
	sum := 0
	for _, c := range h {
		sum += int(c)
	}
	copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
}
