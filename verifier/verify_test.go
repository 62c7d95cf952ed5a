package verifier_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/verifier"
)

// sameReport compares all that a report shows.
func sameReport(a, b *verifier.Report) string {
	return cmp.Diff(a, b, cmpopts.IgnoreUnexported(verifier.Check{}))
}

// TestVerifyConcurrently: several goroutines verify under one input, get what one
// alone gets, and leave what they were given as it was. It is what the race detector
// sees of this package.
func TestVerifyConcurrently(t *testing.T) {
	in := goldenInput(t, "page")
	in.At, in.Policy.AllowAt = in.Now, true
	in.InputFile = goldenFile(t, "page.input")
	in.Weights = []verifier.NamedFile{{Name: "default", File: *goldenFile(t, "weights.bin")}}
	type work struct {
		file []byte
		in   verifier.Input
		want *verifier.Report
	}
	var all []work
	add := func(file []byte, in verifier.Input) { all = append(all, work{file, in, verify(t, file, in)}) }
	for _, name := range []string{"golden", "page", "full"} {
		file := golden(t, name+".cer.json")
		add(file, in)
		// What is refused, for one reason or another, takes other ways.
		for bit := 500; bit < 8*len(file); bit += len(file) {
			mutant := bytes.Clone(file)
			mutant[bit/8] ^= 1 << (bit % 8)
			add(mutant, in)
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(teeKinds())) {
		add(encodeCapsule(t, teeCapsule(t, kind)), teeInput(t, kind))
	}
	given := make([][]byte, len(all))
	for i := range all {
		given[i] = bytes.Clone(all[i].file)
	}
	var group sync.WaitGroup
	for i := range 4 {
		group.Go(func() {
			for j := range all {
				w := all[(i+j)%len(all)]
				r, err := verifier.Verify(w.file, w.in)
				if err != nil {
					t.Error(err)
					return
				}
				if d := sameReport(w.want, r); d != "" {
					t.Error(d)
					return
				}
			}
		})
	}
	group.Wait()
	for i := range all {
		if !bytes.Equal(all[i].file, given[i]) {
			t.Errorf("file %d has been changed", i)
		}
	}
	fresh := goldenInput(t, "page")
	fresh.Policy.AllowAt = true
	if !reflect.DeepEqual(in.Policy, fresh.Policy) {
		t.Error("the policy has been changed")
	}
	if !reflect.DeepEqual(in.Roots, fresh.Roots) {
		t.Error("the roots have been changed")
	}
	if !bytes.Equal(in.Nonce, fresh.Nonce) || *in.InputFile != *goldenFile(t, "page.input") || in.Weights[0].File != *goldenFile(t, "weights.bin") {
		t.Error("nonce or files have been changed")
	}
}

// TestReportIsItsOwn: changing what was given, after, changes no report.
func TestReportIsItsOwn(t *testing.T) {
	in, file := goldenInput(t, "page"), golden(t, "page.cer.json")
	r := verify(t, file, in)
	before := reportText(t, r, true)
	again := verify(t, golden(t, "page.cer.json"), goldenInput(t, "page"))
	clear(file)
	clear(in.Nonce)
	clear(in.Policy.Components)
	clear(in.Policy.Waive)
	if d := sameReport(again, r); d != "" {
		t.Error(d)
	}
	if reportText(t, r, true) != before {
		t.Error("the text has changed")
	}
}

// FuzzVerify: no file makes Verify panic or fail; none is trusted but the one
// that is known; every report keeps to its schema, and its text is safe.
func FuzzVerify(f *testing.F) {
	seeds := 0
	add := func(b []byte) {
		seeds++
		f.Add(b)
	}
	for _, name := range []string{"golden", "page", "full"} {
		b := golden(f, name+".cer.json")
		add(b)
		add(b[:len(b)-1])
		for i := range 40 {
			flipped := bytes.Clone(b)
			flipped[len(b)*i/40] ^= 1 << (i % 8)
			add(flipped)
		}
		for _, member := range []string{`"cer":`, `"kind":`, `"nonce":`, `"slot":0`, `"v":1`, `,"tokens":[]`, `"complete":true`} {
			add(bytes.Replace(b, []byte(member), nil, 1))
			add(bytes.Replace(b, []byte(member), []byte(member+member), 1))
			add(bytes.Replace(b, []byte(member), []byte(`"zz":0,`+member), 1))
		}
	}
	forger := newForger(f)
	add(forger.record(f, forgery{}))
	add(forger.record(f, forgery{events: func(l *attest.Log) { editEnvironment(f, l, cer.KindMemory, setFact("swap", hostile)) }}))
	for _, s := range []string{"", "\n", "{}\n", "null\n", `{"cer":{}}` + "\n"} {
		add([]byte(s))
	}
	if seeds < 100 {
		f.Fatalf("%d seeds", seeds)
	}
	in, good := goldenInput(f, "page"), golden(f, "page.cer.json")
	shape := reportSchema(f)
	f.Fuzz(func(t *testing.T, file []byte) {
		r, err := verifier.Verify(file, in)
		if err != nil || r == nil {
			t.Fatalf("report %v, error %v", r, err)
		}
		if r.Trusted != bytes.Equal(file, good) || r.Trusted != (len(blocking(r)) == 0) || r.Trusted == (named(r) != "") {
			t.Fatalf("%s; blocked by %v", r.Headline, blocking(r))
		}
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if problem := shape.judge(t, b); problem != "" {
			t.Fatal(problem)
		}
		wantSafe(t, reportText(t, r, true), 96<<10)
		p, err := verifier.PolicyFromRecord(file, in.Roots, in.Now, "fuzz", in.Policy.Waive)
		if (p == nil) == (err == nil) {
			t.Fatalf("policy %v, error %v", p, err)
		}
	})
}

// BenchmarkVerify appraises records under their policies: the golden page, and
// one of the size of the demo's, with as many libraries as Tesseract has.
func BenchmarkVerify(b *testing.B) {
	f := newForger(b)
	in := goldenInput(b, "page")
	bench := func(name string, file []byte, in verifier.Input) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(file)))
			b.ReportAllocs()
			for b.Loop() {
				if r, err := verifier.Verify(file, in); err != nil || !r.Trusted {
					b.Fatal(err, r)
				}
			}
		})
	}
	bench("page", golden(b, "page.cer.json"), in)
	var libraries []any
	file := f.record(b, forgery{events: func(l *attest.Log) {
		for i := range 55 {
			c := &cer.Component{
				Role: cer.RoleLibrary, Name: fmt.Sprintf("libsomething%d.so.1", i), Path: fmt.Sprintf("/usr/lib/x86_64-linux-gnu/libsomething%d.so.1", i),
				Digest: []string{hexDigest(i)}, Size: "1234567", Protection: cer.ProtectionSealed,
			}
			addComponent(b, l, c)
			libraries = append(libraries, map[string]any{"role": c.Role, "name": c.Name, "digest": []any{c.Digest[0]}})
		}
	}})
	bench("demo", file, f.input(b, func(p map[string]any) { p["components"] = append(list(p, "components"), libraries...) }))
}
