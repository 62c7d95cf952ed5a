package ima

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/limits"
)

// read returns a file of a captured machine; see the README beside it.
func read(tb testing.TB, run, name string) []byte {
	tb.Helper()
	b, err := os.ReadFile(filepath.Join("..", "testdata", run, name))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// registers returns the registers 0 to 10 of a capture.
func registers(tb testing.TB, run string) [][]byte {
	tb.Helper()
	var list map[string]string
	if err := json.Unmarshal(read(tb, run, "pcrs_sha256"), &list); err != nil {
		tb.Fatal(err)
	}
	var out [][]byte
	for i := range 11 {
		b, err := hex.DecodeString(list[strconv.Itoa(i)])
		if err != nil || len(b) != 32 {
			tb.Fatal(err, len(b))
		}
		out = append(out, b)
	}
	return out
}

// parse parses a list that is good.
func parse(tb testing.TB, b []byte) *List {
	tb.Helper()
	l, err := Parse(b)
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

// TestCaptures holds the lists of the captured machines against their quotes.
func TestCaptures(t *testing.T) {
	for run, want := range map[string]struct {
		entries int
		last    string
	}{"run-llm": {5, "/tok.bin"}, "run-llmsb": {16, "/tok.bin"}} {
		raw := read(t, run, "ima_binary")
		l := parse(t, raw)
		if !bytes.Equal(l.Marshal(), raw) {
			t.Errorf("%s: does not marshal back to itself", run)
		}
		pcrs := registers(t, run)
		n, err := l.Confirmed(Register, pcrs[Register])
		if err != nil || n != want.entries || n != len(l.Entries) {
			t.Fatalf("%s: %d of %d entries confirmed: %v", run, n, len(l.Entries), err)
		}
		if !l.CheckAggregate(pcrs[:10]) {
			t.Errorf("%s: the aggregate is of another boot", run)
		}
		for i := range 10 {
			other := append([][]byte(nil), pcrs[:10]...)
			other[i] = make([]byte, 32)
			if l.CheckAggregate(other) && !bytes.Equal(pcrs[i], other[i]) {
				t.Errorf("%s: the aggregate does not cover register %d", run, i)
			}
		}
		e := l.Entries[n-1]
		if e.Path != want.last || e.Alg != "sha256" || len(e.Digest) != 32 || e.Violation || len(e.Signature) != 0 ||
			hex.EncodeToString(e.Digest[:4]) != "037cb335" {
			t.Errorf("%s: %+v", run, e)
		}
		for i := range l.Entries {
			l := parse(t, raw)
			l.Entries[i].Data[len(l.Entries[i].Data)-2] ^= 1
			if n, err := l.Confirmed(Register, pcrs[Register]); n != 0 || err != nil {
				t.Errorf("%s: entry %d changed: %d confirmed", run, i, n)
			}
		}
	}
}

// TestConfirmed: a list that went on is confirmed as far as the quote covers it.
func TestConfirmed(t *testing.T) {
	l := parse(t, read(t, "run-llmsb", "ima_binary"))
	value := make([]byte, 32)
	for i := range l.Entries {
		value = attest.SHA256.Sum(value, l.Entries[i].Extended())
		if n, err := l.Confirmed(Register, value); n != i+1 || err != nil {
			t.Errorf("after entry %d: %d, %v", i, n, err)
		}
	}
	for name, c := range map[string]struct {
		index uint32
		value []byte
		want  error
	}{
		"nothing extended": {Register, make([]byte, 32), nil},
		"another register": {11, value, nil},
		"another value":    {Register, attest.SHA256.Sum(value), nil},
		"short":            {Register, value[:31], attest.ErrArgument},
		"of SHA-384":       {Register, make([]byte, 48), attest.ErrArgument},
		"register 24":      {24, value, attest.ErrArgument},
	} {
		if n, err := l.Confirmed(c.index, c.value); n != 0 || !errors.Is(err, c.want) {
			t.Errorf("%s: %d, %v", name, n, err)
		}
	}
	// The front taken away.
	l.Entries = l.Entries[1:]
	if n, _ := l.Confirmed(Register, value); n != 0 {
		t.Errorf("without its front: %d", n)
	}
	if l.CheckAggregate(registers(t, "run-llmsb")[:10]) {
		t.Error("a list without an aggregate")
	}
}

// field is a field of template data.
func field(b string) string {
	return string(binary.LittleEndian.AppendUint32(nil, uint32(len(b)))) + b
}

// digest is a digest field.
func digest(alg string, n int) string { return field(alg + ":\x00" + strings.Repeat("d", n)) }

// entry writes an entry; violation leaves its digest zero.
func entry(index uint32, template, data string, violation bool) []byte {
	le := binary.LittleEndian
	b := le.AppendUint32(nil, index)
	if violation {
		b = append(b, make([]byte, 20)...)
	} else {
		b = append(b, attest.SHA1.Sum([]byte(data))...)
	}
	b = append(le.AppendUint32(b, uint32(len(template))), template...)
	return append(le.AppendUint32(b, uint32(len(data))), data...)
}

// TestTemplates reads each template.
func TestTemplates(t *testing.T) {
	ng := digest("sha256", 32) + field("/bin/a b\x00")
	var b []byte
	b = append(b, entry(10, "ima-ng", ng, false)...)
	b = append(b, entry(10, "ima-sig", ng+field("signature"), false)...)
	b = append(b, entry(10, "ima-sig", ng+field(""), false)...)
	b = append(b, entry(10, "ima-buf", digest("sha384", 48)+field("kernel_version\x00")+field("6.1"), false)...)
	b = append(b, entry(10, "ima-ngv2", "anything", false)...)
	b = append(b, entry(10, "ima-ng", digest("sm3", 7)+field("\xff\x00"), true)...)
	b = append(b, entry(12, "ima-ng", ng, false)...)
	l := parse(t, b)
	if !bytes.Equal(l.Marshal(), b) {
		t.Error("does not marshal back to itself")
	}
	var got []string
	for _, e := range l.Entries {
		got = append(got, fmt.Sprintf("%d %s %s %d %q %q %q %v", e.Index, e.Template, e.Alg, len(e.Digest), e.Path, e.Signature, e.Buffer, e.Violation))
	}
	want := []string{
		`10 ima-ng sha256 32 "/bin/a b" "" "" false`,
		`10 ima-sig sha256 32 "/bin/a b" "signature" "" false`,
		`10 ima-sig sha256 32 "/bin/a b" "" "" false`,
		`10 ima-buf sha384 48 "kernel_version" "" "6.1" false`,
		`10 ima-ngv2  0 "" "" "" false`,
		`10 ima-ng sm3 7 "\xff" "" "" true`,
		`12 ima-ng sha256 32 "/bin/a b" "" "" false`,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
	// A violation extends ones, whatever its data.
	if x := l.Entries[5].Extended(); !bytes.Equal(x, bytes.Repeat([]byte{0xFF}, 32)) {
		t.Errorf("a violation extends %x", x)
	}
	if l.CheckAggregate(make([][]byte, 10)) {
		t.Error("registers without values")
	}
}

// TestParseRefuses hands the parser what is no list.
func TestParseRefuses(t *testing.T) {
	ng := digest("sha256", 32) + field("/a\x00")
	good := entry(10, "ima-ng", ng, false)
	change := func(at int, b ...byte) []byte {
		out := bytes.Clone(good)
		copy(out[at:], b)
		return out
	}
	for name, b := range map[string][]byte{
		"empty":                    nil,
		"zeros":                    make([]byte, 4096),
		"register 24":              change(0, 24),
		"another digest":           change(4, 1, 2, 3),
		"no template":              change(24, 0),
		"a long template":          change(24, 33),
		"2^32-1 bytes of template": change(24, 0xFF, 0xFF, 0xFF, 0xFF),
		"2^32-1 bytes of data":     change(34, 0xFF, 0xFF, 0xFF, 0xFF),
		"trailing byte":            append(bytes.Clone(good), 0),
		"the first template":       entry(10, "ima", ng, false),
		"a template with a space":  entry(10, "ima ng", ng, false),
		"no path":                  entry(10, "ima-ng", digest("sha256", 32), false),
		"a path without its end":   entry(10, "ima-ng", digest("sha256", 32)+field("/a"), false),
		"a path with two ends":     entry(10, "ima-ng", digest("sha256", 32)+field("/a\x00b\x00"), false),
		"a field too many":         entry(10, "ima-ng", ng+field(""), false),
		"a field too few":          entry(10, "ima-sig", ng, false),
		"bytes after the fields":   entry(10, "ima-ng", ng+"x", false),
		"a digest without a name":  entry(10, "ima-ng", field(":\x00abc")+field("/a\x00"), false),
		"a digest without a colon": entry(10, "ima-ng", field("abc")+field("/a\x00"), false),
		"a digest of another size": entry(10, "ima-ng", digest("sha256", 31)+field("/a\x00"), false),
		"a violation, malformed":   entry(10, "ima-ng", "x", true),
		"too much":                 make([]byte, limits.BootLog+1),
		"data of more than 1 MiB":  entry(10, "other", strings.Repeat("x", limits.BootEventData+1), false),
	} {
		if l, err := Parse(b); !errors.Is(err, attest.ErrForm) || l != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for n := 1; n < len(good); n++ {
		if _, err := Parse(good[:n]); !errors.Is(err, attest.ErrForm) {
			t.Errorf("%d bytes of %d: %v", n, len(good), err)
		}
	}
	if n, err := (&List{}).Confirmed(Register, make([]byte, 32)); n != 0 || err != nil || (&List{}).CheckAggregate(nil) {
		t.Errorf("the zero value: %d, %v", n, err)
	}
}

// TestLimit takes a list of as many entries as there may be, and one more.
func TestLimit(t *testing.T) {
	one := entry(10, "x", "", false)
	b := bytes.Repeat(one, limits.IMAEntries+1)
	if _, err := Parse(b); !errors.Is(err, attest.ErrForm) {
		t.Errorf("too many entries: %v", err)
	}
	if l := parse(t, b[len(one):]); len(l.Entries) != limits.IMAEntries {
		t.Errorf("%d entries", len(l.Entries))
	}
}

func FuzzParse(f *testing.F) {
	seeds, err := filepath.Glob(filepath.Join("..", "testdata", "run-*", "ima_binary"))
	if err != nil || len(seeds) == 0 {
		f.Fatal("no seeds", err)
	}
	for _, name := range seeds {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add(entry(10, "ima-buf", digest("sha256", 32)+field("a\x00")+field("b"), false))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := Parse(b)
		if err != nil {
			if l != nil || !errors.Is(err, attest.ErrForm) {
				t.Fatalf("%v, %v", l, err)
			}
			return
		}
		if !bytes.Equal(l.Marshal(), b) || len(l.Entries) == 0 {
			t.Fatal("does not marshal back to itself")
		}
		value := make([]byte, 32)
		for i := range l.Entries {
			if l.Entries[i].Index == Register {
				value = attest.SHA256.Sum(value, l.Entries[i].Extended())
			}
		}
		n, err := l.Confirmed(Register, value)
		if err != nil || n > len(l.Entries) || n > 0 && l.Entries[n-1].Index != Register {
			t.Fatalf("%d of %d entries confirmed: %v", n, len(l.Entries), err)
		}
		for i := range l.Entries {
			if l.Entries[i].Index == Register && i >= n {
				t.Fatalf("entry %d is not confirmed", i)
			}
		}
	})
}
