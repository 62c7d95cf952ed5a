package cer_test

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/limits"
	"github.com/sworn-run/sworn/testdata"
)

// sameSplit wants Split to accept what ParseCapsule accepts, and the parts to be the
// capsule's.
func sameSplit(tb testing.TB, b []byte, known *cer.Shared) *cer.Shared {
	tb.Helper()
	want, wantErr := cer.ParseCapsule(b)
	record, inclusion, s, err := cer.Split(b, known)
	if (err == nil) != (wantErr == nil) {
		tb.Fatalf("split: %v, parsed: %v\n%.300q", err, wantErr, b)
	}
	if err != nil {
		if s != nil || record != nil || inclusion != nil || !errors.Is(err, cer.ErrStrict) && !errors.Is(err, cer.ErrSchema) {
			tb.Fatalf("parts beside an error, or another class: %v", err)
		}
		return nil
	}
	if got := s.AppendFile(nil, record, inclusion); !bytes.Equal(got, b) || s.Size(record, inclusion) != len(b) {
		tb.Fatalf("put together it is %.300q", got)
	}
	got, err := s.Capsule(record, inclusion)
	if err != nil {
		tb.Fatal(err)
	}
	if !reflect.DeepEqual(want, got) {
		tb.Fatalf("another capsule: %s", cmp.Diff(want, got))
	}
	again, err := want.Shared()
	if err != nil {
		tb.Fatal(err)
	}
	if got := again.AppendFile(nil, record, inclusion); !bytes.Equal(got, b) {
		tb.Fatalf("of the capsule's members it is %.300q", got)
	}
	return s
}

// TestSplit: the parts of a capsule are those of the whole, of one that was given too
// much are none, and what another capsule shares is recognised by its text alone.
func TestSplit(t *testing.T) {
	var last *cer.Shared
	for _, name := range []string{"golden", "page", "full", "tee/tdx", "tee/azure-snp", "tee/tpm-sev-snp"} {
		b, err := testdata.Golden.ReadFile("golden/" + name + ".cer.json")
		if err != nil {
			t.Fatal(err)
		}
		s := sameSplit(t, b, last)
		if s == last {
			t.Fatalf("%s shares everything with the record before", name)
		}
		if sameSplit(t, b, s) != s {
			t.Errorf("%s does not share everything with itself", name)
		}
		last = s
	}
	for _, b := range capsuleBounds {
		if b.limit > limits.Token {
			continue // what is large is no other case
		}
		for _, n := range []int{b.limit, b.limit + 1} {
			c := synthetic(t)
			b.set(c, n)
			c.Items = nil
			if file, err := c.Encode(); err == nil {
				sameSplit(t, file, nil)
			}
		}
	}
	good := file(t, synthetic(t))
	for i := range good {
		b := bytes.Clone(good)
		b[i] ^= 1 << (i % 8)
		sameSplit(t, b, last)
	}
	for _, text := range []string{
		"", "\n", "{}\n", "[]\n", "null\n", string(good[:len(good)-1]), string(good) + "\n", `{"cer":{}}` + "\n",
		strings.Replace(string(good), `{"cer":{`, `{"a":0,"cer":{`, 1), strings.Replace(string(good), `"inclusion":{`, `"inclusion":{"a":"",`, 1),
		strings.Replace(string(good), `{"cer":{`, `{"cer":[{`, 1),
	} {
		sameSplit(t, []byte(text), nil)
	}
}

// TestSharedBounds: what is put together is no larger, deeper or fuller than a capsule.
func TestSharedBounds(t *testing.T) {
	_, inclusion, s, err := cer.Split(file(t, synthetic(t)), nil)
	if err != nil {
		t.Fatal(err)
	}
	nested := func(n int) string { return strings.Repeat(`{"a":`, n-1) + "{}" + strings.Repeat("}", n-1) }
	for name, record := range map[string]string{
		"least": `{}`, "nothing": "", "a list": `[]`, "a string": `"{}"`, "not canonical": `{ }`, "twice": `{}{}`, "two members": `{},"collateral":[]`,
		"deep": nested(limits.CapsuleDepth - 1), "too deep": nested(limits.CapsuleDepth), "a number": `{"a":9007199254740993}`,
		"full": `{"a":[` + strings.Repeat("0,", limits.CapsuleValues-100) + `0]}`, "too full": `{"a":[` + strings.Repeat("0,", limits.CapsuleValues) + `0]}`,
		"large": `{"a":"` + strings.Repeat("a", limits.CapsuleFile-10_000) + `"}`, "too large": `{"a":"` + strings.Repeat("a", limits.CapsuleFile-1000) + `"}`,
	} {
		for in, good := range map[string]bool{string(inclusion): true, `{"index":"0","path":[],"size":"0"}`: true, `{}`: false, ``: false, `{"index":"00","path":[],"size":"0"}`: false} {
			if len(record) > 1<<20 && in != string(inclusion) {
				continue
			}
			c, err := s.Capsule([]byte(record), []byte(in))
			whole, wholeErr := cer.ParseCapsule(s.AppendFile(nil, []byte(record), []byte(in)))
			if (err == nil) != (wholeErr == nil) || err == nil && (!good || !bytes.Equal(c.CER, whole.CER)) {
				t.Errorf("%s, %s: %v; whole: %v", name, in, err, wholeErr)
			}
			if err != nil && !errors.Is(err, cer.ErrStrict) && !errors.Is(err, cer.ErrSchema) {
				t.Errorf("%s, %s: another class: %v", name, in, err)
			}
		}
	}
}

// Capsules of one statement differ in record and inclusion proof, and have the rest in
// common.
func ExampleSplit() {
	var known *cer.Shared
	for i := range 2 {
		c := &cer.Capsule{CER: fmt.Appendf(nil, `{"record":%d}`, i), Statement: []byte("statement"), Inclusion: cer.Inclusion{Index: uint64(i), Size: 2}}
		file, err := c.Encode()
		if err != nil {
			fmt.Println(err)
			return
		}
		record, inclusion, shared, err := cer.Split(file, known)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%s %s %v\n", record, inclusion, shared == known)
		known = shared
	}
	// Output:
	// {"record":0} {"index":"0","path":[],"size":"2"} false
	// {"record":1} {"index":"1","path":[],"size":"2"} true
}
