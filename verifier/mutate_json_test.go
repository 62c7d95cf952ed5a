package verifier_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/verifier"
)

// mutant is a changed file.
type mutant struct {
	// name says what was done, at is the member it was done to or in.
	name, at string
	file     []byte
}

// twin marks a member name that is spelled like its neighbour in the file.
const twin = "~twin~"

// tree decodes JSON.
func tree(tb testing.TB, b []byte) any {
	tb.Helper()
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		tb.Fatal(err)
	}
	return v
}

// text encodes JSON in its canonical form, twins resolved.
func text(tb testing.TB, v any) []byte {
	tb.Helper()
	b, err := cer.MarshalCanonical(v)
	if err != nil {
		tb.Fatal(err)
	}
	return bytes.ReplaceAll(b, []byte(twin), nil)
}

// mutantStride returns how many mutants lie between two that are tried: 1, so
// that all are, but where that would take minutes; see flipStride.
func mutantStride() int {
	switch {
	case runtime.GOOS == "js":
		return 53
	case raceEnabled, testing.Short():
		return 31
	default:
		return 1
	}
}

// structural returns every stride-th change of one place in a JSON text that leaves it
// canonical: members deleted, renamed, inserted and doubled, elements dropped,
// doubled and swapped, and every value emptied, altered and put as another type.
func structural(tb testing.TB, b []byte, stride int) []mutant {
	tb.Helper()
	var out []mutant
	n := 0
	var walk func(at string, v any, put func(any))
	root := tree(tb, b)
	walk = func(at string, v any, put func(any)) {
		try := func(what string, with any) {
			if n++; n%stride != 0 {
				return
			}
			put(with)
			out = append(out, mutant{what, at, text(tb, root)})
			put(v)
		}
		for _, other := range []any{nil, true, 4711.0, map[string]any{}, []any{}, "4711"} {
			if fmt.Sprintf("%T", other) != fmt.Sprintf("%T", v) {
				try(fmt.Sprintf("put as %T", other), other)
			}
		}
		switch v := v.(type) {
		case map[string]any:
			for _, name := range slices.Sorted(maps.Keys(v)) {
				less := maps.Clone(v)
				delete(less, name)
				try("without "+name, less)
				renamed := maps.Clone(less)
				renamed[strings.ToUpper(name[:1])+name[1:]+strings.Repeat("x", len(name)%2)] = v[name]
				try("renamed "+name, renamed)
				twice := maps.Clone(v)
				twice[name+twin] = v[name]
				try("twice "+name, twice)
			}
			for _, name := range []string{"", "meta", "zzz", "__proto__"} {
				more := maps.Clone(v)
				more[name] = ""
				try("with "+name, more)
			}
			for _, name := range slices.Sorted(maps.Keys(v)) {
				walk(at+"/"+name, v[name], func(x any) { v[name] = x })
			}
		case []any:
			for i := range v {
				try(fmt.Sprintf("without element %d", i), slices.Delete(slices.Clone(v), i, i+1))
				try(fmt.Sprintf("element %d twice", i), slices.Insert(slices.Clone(v), i, v[i]))
				if i > 0 {
					swapped := slices.Clone(v)
					swapped[i-1], swapped[i] = v[i], v[i-1]
					try(fmt.Sprintf("elements %d and %d swapped", i-1, i), swapped)
				}
			}
			try("with null", append(slices.Clone(v), nil))
			for i, child := range v {
				walk(fmt.Sprintf("%s/%d", at, i), child, func(x any) { v[i] = x })
			}
		case string:
			for _, x := range [][2]string{{"emptied", ""}, {"longer", v + "A"}, {"shorter", v[:max(len(v)-1, 0)]}, {"padded", v + "="}, {"spaced", " " + v}} {
				if x[1] != v {
					try(x[0], x[1])
				}
			}
		case float64:
			try("plus one", v+1)
			try("negative", -v-1)
			try("half", v+0.5)
		case bool:
			try("negated", !v)
		}
	}
	walk("", root, func(any) {})
	return slices.DeleteFunc(out, func(m mutant) bool { return bytes.Equal(m.file, b) })
}

// refuseAll wants every mutant refused by one of the checks that its place
// allows; it logs which was how often.
func refuseAll(t *testing.T, in verifier.Input, mutants []mutant, allowed func(m mutant) []string) {
	t.Helper()
	if len(mutants) == 0 {
		t.Fatal("no mutants")
	}
	var mu sync.Mutex
	reasons := map[string]int{}
	parallel(t, len(mutants), func(i int) {
		m := mutants[i]
		r, err := verifier.Verify(m.file, in)
		if err != nil || r.Trusted {
			t.Errorf("%q %s: error %v, report %+v", m.at, m.name, err, r)
			return
		}
		if want := allowed(m); !slices.Contains(want, named(r)) {
			t.Errorf("%q %s: %s; want one of %v", m.at, m.name, r.Headline, want)
		}
		mu.Lock()
		defer mu.Unlock()
		reasons[named(r)]++
	})
	t.Logf("%d mutants (every %d), each refused: %v", len(mutants), mutantStride(), reasons)
}

// TestStructure: no member can be taken out of the file, put into it or changed,
// at any level.
func TestStructure(t *testing.T) {
	for _, record := range []string{"page", "full"} {
		t.Run(record, func(t *testing.T) { testStructure(t, record) })
	}
}

func testStructure(t *testing.T, record string) {
	file := golden(t, record+".cer.json")
	mutants := structural(t, bytes.TrimSuffix(file, []byte("\n")), mutantStride())
	for i := range mutants {
		mutants[i].file = append(mutants[i].file, '\n')
	}
	refuseAll(t, goldenInput(t, record), mutants, func(m mutant) []string {
		switch {
		case m.at == "", strings.HasPrefix(m.at, "/inclusion"), strings.HasPrefix(m.at, "/collateral"), strings.HasPrefix(m.at, "/tokens"):
			return []string{"capsule.strict", "statement.inclusion"}
		case strings.HasPrefix(m.at, "/cer/"):
			return []string{"cer.canonical", "cer.hash", "capsule.strict"}
		case m.at == "/cer":
			return []string{"capsule.strict", "cer.canonical"}
		case m.at == "/log":
			return []string{"capsule.strict", "log.replay"}
		case m.at == "/signature":
			return []string{"capsule.strict", "statement.signature"}
		case m.at == "/statement":
			return []string{"capsule.strict", "statement.form"}
		default:
			return []string{"capsule.strict", "evidence.set", "slot.form", "slot.identity"}
		}
	})
}

// reseal gives a record that was changed new hashes, as anybody can.
func reseal(tb testing.TB, bundle map[string]any) {
	tb.Helper()
	snapshot, ok := bundle["snapshot"].(map[string]any)
	if !ok {
		return
	}
	for _, name := range []string{"input", "output"} {
		if v, ok := snapshot[name]; ok {
			raw := text(tb, v)
			if s, ok := v.(string); ok {
				raw = []byte(s)
			}
			snapshot[name+"Hash"] = cer.FormatHash(sha256.Sum256(raw))
		}
	}
	delete(bundle, "certificateHash")
	bundle["certificateHash"] = cer.FormatHash(sha256.Sum256(text(tb, bundle)))
}

// TestResealed: whoever edits the record can seal it again, and NexArt's own
// verifier is content; the statement is about another record.
func TestResealed(t *testing.T) {
	c := goldenCapsule(t, "page")
	var mutants []mutant
	for _, m := range structural(t, c.CER, mutantStride()) {
		if strings.HasPrefix(m.name, "twice") {
			continue
		}
		bundle, ok := tree(t, m.file).(map[string]any)
		if !ok {
			continue
		}
		reseal(t, bundle)
		c.CER = text(t, bundle)
		if bytes.Equal(c.CER, goldenCapsule(t, "page").CER) {
			continue // what was changed was a hash
		}
		m.file = encodeCapsule(t, c)
		mutants = append(mutants, m)
	}
	refuseAll(t, goldenInput(t, "page"), mutants, func(m mutant) []string {
		switch {
		case strings.HasPrefix(m.at, "/snapshot/runtime/"):
			return []string{"cer.runtime", "statement.record", "statement.inclusion"}
		default:
			return []string{"cer.canonical", "cer.hash", "cer.runtime", "statement.inclusion"}
		}
	})
}

// TestSplice: no part of one genuine record can stand in another.
func TestSplice(t *testing.T) {
	records := []string{"golden", "page", "full"}
	n := 0
	for _, into := range records {
		for _, from := range records {
			a, b := tree(t, golden(t, into+".cer.json")).(map[string]any), tree(t, golden(t, from+".cer.json")).(map[string]any)
			for _, name := range slices.Sorted(maps.Keys(a)) {
				spliced := maps.Clone(a)
				spliced[name] = b[name]
				file := append(text(t, spliced), '\n')
				if bytes.Equal(file, golden(t, into+".cer.json")) {
					continue
				}
				n++
				for _, under := range []string{into, from} {
					if r := verify(t, file, goldenInput(t, under)); r.Trusted || r.Genuine() == nil {
						t.Errorf("%s of %s in %s, under %s: %s", name, from, into, under, r.Headline)
					}
				}
			}
			// Everything but one member, too: the record of one with the proof of another.
			for _, name := range []string{"cer", "evidence", "log"} {
				spliced := maps.Clone(b)
				spliced[name] = a[name]
				if r := verify(t, append(text(t, spliced), '\n'), goldenInput(t, into)); into != from && r.Trusted {
					t.Errorf("%s of %s in %s: %s", name, into, from, r.Headline)
				}
			}
		}
	}
	if n < 6*5 {
		t.Errorf("%d splices: too few", n)
	}
}
