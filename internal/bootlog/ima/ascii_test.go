package ima

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sworn-run/sworn/attest"
)

// ascii writes a list as the kernel shows it beside the binary one, with the
// templates' digests of an algorithm.
func ascii(l *List, alg attest.Alg) []byte {
	var out bytes.Buffer
	for i := range l.Entries {
		e := &l.Entries[i]
		sum, digest := alg.Sum(e.Data), e.Digest
		if e.Violation {
			sum = make([]byte, alg.Size())
		}
		fmt.Fprintf(&out, "%d %x %s %s:%x %s", e.Index, sum, e.Template, e.Alg, digest, e.Path)
		switch e.Template {
		case "ima-sig":
			fmt.Fprintf(&out, " %x", e.Signature)
		case "ima-buf":
			fmt.Fprintf(&out, " %x", e.Buffer)
		}
		out.WriteByte('\n')
	}
	return out.Bytes()
}

// everything is a list with all templates that can be read back.
func everything(tb testing.TB) *List {
	tb.Helper()
	b := append(read(tb, "run-llmsb", "ima_binary"), entry(10, "ima-sig", digest("sha256", 32)+field("/a\x00")+field(""), false)...)
	b = append(b, entry(10, "ima-sig", digest("sha512", 64)+field("/b\x00")+field("\x03\x02sig"), false)...)
	b = append(b, entry(11, "ima-buf", digest("sha256", 32)+field(".ima\x00")+field("key"), false)...)
	b = append(b, entry(10, "ima-ng", digest("sha1", 20)+field("/c\x00"), true)...)
	return parse(tb, b)
}

// TestASCII makes of the text what the kernel shows in binary.
func TestASCII(t *testing.T) {
	l := everything(t)
	for _, alg := range []attest.Alg{attest.SHA1, attest.SHA256, attest.SHA384, attest.SHA512} {
		got, err := ParseASCII(ascii(l, alg))
		if err != nil || !bytes.Equal(got.Marshal(), l.Marshal()) {
			t.Errorf("%v: %v", alg, err)
		}
	}
	whole := ascii(l, attest.SHA1)
	if got, err := ParseASCII(bytes.TrimSuffix(whole, []byte("\n"))); err != nil || len(got.Entries) != len(l.Entries) {
		t.Errorf("without the last line's end: %v", err)
	}
	line := string(bytes.SplitAfter(whole, []byte("\n"))[0])
	for name, s := range map[string]string{
		"empty":             "",
		"an empty line":     line + "\n",
		"other digest":      strings.Replace(line, "sha256:", "sha512:", 1),
		"other path":        strings.Replace(line, "boot_aggregate", "boot_aggregatf", 1),
		"other template":    strings.Replace(line, "ima-ng", "ima", 1),
		"other register":    "32" + line[2:],
		"no number":         "x" + line,
		"a word too many":   strings.TrimSuffix(line, "\n") + " 00\n",
		"cut":               line[:len(line)/2],
		"no digest":         strings.Replace(line, line[3:43], "", 1),
		"no hexadecimal":    strings.Replace(line, "sha256:", "sha256:x", 1),
		"a digest of bytes": strings.Replace(line, line[3:43], "0011", 1),
	} {
		if l, err := ParseASCII([]byte(s)); l != nil || !errors.Is(err, attest.ErrForm) {
			t.Errorf("%s: %v, %v", name, l, err)
		}
	}
	// Zeros of any length tell of a violation, and nothing is known of the file.
	if l, err := ParseASCII([]byte(strings.Replace(line, line[3:43], strings.Repeat("0", 40), 1))); err != nil || !l.Entries[0].Violation {
		t.Errorf("a violation: %v", err)
	}
}

// FuzzParseASCII: what is read is a binary list, and its text is read as the same.
func FuzzParseASCII(f *testing.F) {
	seeds, err := filepath.Glob(filepath.Join("..", "testdata", "run-*", "ima_binary"))
	if err != nil || len(seeds) == 0 {
		f.Fatal("no seeds", err)
	}
	for _, name := range seeds {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(ascii(parse(f, b), attest.SHA1))
	}
	f.Add(ascii(everything(f), attest.SHA256))
	f.Add([]byte("10 " + hex.EncodeToString(make([]byte, 20)) + " ima-ng sha1:00 /x\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := ParseASCII(b)
		if err != nil {
			if l != nil || !errors.Is(err, attest.ErrForm) {
				t.Fatalf("%v, %v", l, err)
			}
			return
		}
		again, err := ParseASCII(ascii(l, attest.SHA1))
		if err != nil || !bytes.Equal(again.Marshal(), l.Marshal()) {
			t.Fatalf("%v: %q", err, ascii(l, attest.SHA1))
		}
	})
}
