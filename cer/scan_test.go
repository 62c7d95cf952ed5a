package cer

import (
	"bytes"
	"reflect"
	"testing"

	"github.com/sworn-run/sworn/internal/limits"
	"github.com/sworn-run/sworn/testdata"
)

// scanned compares the reading of one form with that of all forms: what the first accepts,
// the second does, and reads it alike.
func scanned(t *testing.T, b []byte) (bundle, runtime, inclusion bool) {
	t.Helper()
	before := bytes.Clone(b)
	same := func(what string, ok bool, got, want any, depth int) bool {
		t.Helper()
		if !ok {
			return false
		}
		if err := UnmarshalCanonical(b, depth, want); err != nil {
			t.Fatalf("%s: read, and refused as %v", what, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%s: read as %+v, and is %+v", what, got, want)
		}
		return true
	}
	x, ok := scanBundle(b)
	bundle = same("bundle", ok, x, &Bundle{}, limits.CapsuleDepth)
	y, ok := scanRuntime(b)
	runtime = same("runtime", ok, y, &Runtime{}, eventDepth)
	var z wireInclusion
	inclusion = same("inclusion", scanInclusion(b, &z), &z, &wireInclusion{}, limits.CapsuleDepth-1)
	if !bytes.Equal(b, before) {
		t.Fatal("reading changes the text")
	}
	return bundle, runtime, inclusion
}

// scanSeeds are records, their runtimes and inclusion proofs.
func scanSeeds(tb testing.TB) (bundles, runtimes, inclusions [][]byte) {
	tb.Helper()
	for _, name := range []string{"golden", "page", "full", "tee/tdx", "tee/sev-snp"} {
		file, err := testdata.Golden.ReadFile("golden/" + name + ".cer.json")
		if err != nil {
			tb.Fatal(err)
		}
		record, inclusion, _, err := Split(file, nil)
		if err != nil {
			tb.Fatal(err)
		}
		b, err := ParseBundle(record)
		if err != nil {
			tb.Fatal(err)
		}
		bundles, runtimes, inclusions = append(bundles, record), append(runtimes, b.Snapshot.Runtime), append(inclusions, inclusion)
	}
	proof, err := (&Inclusion{Index: 5, Size: 9, Path: [][32]byte{{1}, {2}, {3}}}).Encode()
	if err != nil {
		tb.Fatal(err)
	}
	return bundles, runtimes, append(inclusions, proof)
}

// TestScan: the records that sworn makes are read by their form, and every bit of them
// that is another is read as it is, or not at all.
func TestScan(t *testing.T) {
	bundles, runtimes, inclusions := scanSeeds(t)
	for i, all := range [][][]byte{bundles, runtimes, inclusions} {
		for j, seed := range all {
			bundle, runtime, inclusion := scanned(t, seed)
			if got := [3]bool{bundle, runtime, inclusion}; got != [3]bool{i == 0, i == 1, i == 2} {
				t.Errorf("kind %d, seed %d is read as %v", i, j, got)
			}
			for at := 0; at < len(seed); at += 1 + len(seed)/1500 {
				mutant := bytes.Clone(seed)
				mutant[at] ^= 1 << (at % 8)
				scanned(t, mutant)
			}
			for n := 0; n < len(seed); n += 1 + n%37 {
				scanned(t, seed[:n])
				scanned(t, append(bytes.Clone(seed[:n]), seed[n/2:]...))
			}
		}
	}
}

func FuzzScan(f *testing.F) {
	bundles, runtimes, inclusions := scanSeeds(f)
	for _, all := range [][][]byte{bundles, runtimes, inclusions} {
		for _, seed := range all {
			f.Add(seed)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) { scanned(t, b) })
}
