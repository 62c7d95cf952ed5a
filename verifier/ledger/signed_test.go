package ledger

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/note"

	"github.com/sworn-run/sworn/internal/limits"
)

func TestSignOpen(t *testing.T) {
	want := document()
	file, key := signed(t, want)
	_, other := newKey(t, "example.com/other")
	l, err := Open(file, []*Key{other, nil, {}, key})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(*want, l.Document()); d != "" {
		t.Error(d)
	}
	if l.Name() != want.Name || l.Version() != 7 || l.Issued().Format("2006-01-02") != want.Issued || l.Digest() != sha256.Sum256(file) {
		t.Errorf("%v", l)
	}
	if !strings.HasPrefix(key.String(), l.Signer()+"+") || key.Name() != "example.com/key" {
		t.Errorf("signer %q, key %q", l.Signer(), key)
	}
	d, who, err := InspectUnsafe(file)
	if err != nil || who != l.Signer() || cmp.Diff(want, d) != "" {
		t.Errorf("InspectUnsafe = %+v, %q, %v", d, who, err)
	}
}

// TestOpenRefuses: other keys, no signature, several, and other spellings of one.
func TestOpenRefuses(t *testing.T) {
	file, key := signed(t, document())
	sameName, _ := newKey(t, key.Name())
	byOther, err := Sign(document(), sameName)
	if err != nil {
		t.Fatal(err)
	}
	text, sig, _ := strings.Cut(string(file), "\n\n")
	n, err := note.Open(file, note.VerifierList(key.note))
	if err != nil {
		t.Fatal(err)
	}
	s, err := note.NewSigner(sameName)
	if err != nil {
		t.Fatal(err)
	}
	both, err := note.Sign(n, s)
	if err != nil {
		t.Fatal(err)
	}
	pretty := strings.Replace(text, `{"class"`, `{ "class"`, 1)
	for name, tc := range map[string]struct {
		file string
		want error
	}{
		"another key of that name":   {string(byOther), ErrSignature},
		"nothing":                    {"", ErrForm},
		"no signature":               {text + "\n", ErrSignature},
		"a pretty document":          {"{\n  \"type\": 1\n}\n", ErrSignature},
		"a signature of another":     {text + "\n\n" + strings.SplitN(string(byOther), "\n\n", 2)[1], ErrSignature},
		"two keys":                   {string(both), ErrForm},
		"one signature twice":        {text + "\n\n" + sig + sig, ErrForm},
		"signed text with a blank":   {strings.Replace(string(file), text, pretty, 1), ErrSignature},
		"a line more":                {string(file) + "\n", ErrSignature},
		"a line less":                {strings.TrimSuffix(string(file), "\n"), ErrSignature},
		"carriage returns":           {strings.ReplaceAll(string(file), "\n", "\r\n"), ErrSignature},
		"an empty line before":       {"\n" + string(file), ErrSignature},
		"two documents":              {text + "\n" + string(file), ErrSignature},
		"another dash":               {strings.Replace(string(file), "\u2014", "\u2013", 1), ErrSignature},
		"base64 with spare bits":     {respelled(t, string(file)), ErrForm},
		"a file without end":         {strings.Repeat("{", limits.LedgerFile+limits.LedgerSignature+1), ErrForm},
		"signature without the key":  {text + "\n\n\u2014 example.com/key AAAA\n", ErrSignature},
		"signed, but no document":    {resigned(t, key.Name(), "hello\n"), ErrForm},
		"signed, but two lines":      {resigned(t, key.Name(), text+"\n{}\n"), ErrForm},
		"signed, but not canonical":  {resigned(t, key.Name(), pretty+"\n"), ErrForm},
		"signed, but another member": {resigned(t, key.Name(), strings.Replace(text, `{"entries"`, `{"also":1,"entries"`, 1)+"\n"), ErrForm},
		"signed, but a rule broken":  {resigned(t, key.Name(), strings.Replace(text, `"version":"7"`, `"version":"0"`, 1)+"\n"), ErrForm},
	} {
		t.Run(name, func(t *testing.T) {
			keys := []*Key{key}
			if strings.HasPrefix(name, "signed, but ") {
				keys = append(keys[:0], resignKey(t, key.Name()))
			}
			l, err := Open([]byte(tc.file), keys)
			if !errors.Is(err, tc.want) || l != nil {
				t.Errorf("Open = %v, %v, want %v", l, err, tc.want)
			}
		})
	}
	for _, keys := range [][]*Key{nil, {}, {nil}, {{}}} {
		if l, err := Open(file, keys); !errors.Is(err, ErrSignature) || l != nil {
			t.Errorf("without a key: %v, %v", l, err)
		}
	}
}

// The key of resigned is always the same one.
const resignSeed = "0123456789abcdef0123456789abcdef"

func resignKey(tb testing.TB, name string) *Key {
	tb.Helper()
	_, k, err := GenerateKey(strings.NewReader(resignSeed), name)
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

// resigned signs any text.
func resigned(tb testing.TB, name, text string) string {
	tb.Helper()
	private, _, err := GenerateKey(strings.NewReader(resignSeed), name)
	if err != nil {
		tb.Fatal(err)
	}
	s, err := note.NewSigner(private)
	if err != nil {
		tb.Fatal(err)
	}
	b, err := note.Sign(&note.Note{Text: text}, s)
	if err != nil {
		tb.Fatal(err)
	}
	return string(b)
}

// respelled changes the last character of the signature's base64 in bits that stand for
// nothing, which the package that parses notes passes over.
func respelled(tb testing.TB, file string) string {
	tb.Helper()
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	at := len(file) - len("x=\n")
	if file[at+1] != '=' {
		tb.Fatalf("no padding at the end of %q", file[len(file)-8:])
	}
	out := file[:at] + string(alphabet[strings.IndexByte(alphabet, file[at])^1]) + file[at+1:]
	a, errA := base64.StdEncoding.DecodeString(file[strings.LastIndexByte(file, ' ')+1 : len(file)-1])
	b, errB := base64.StdEncoding.DecodeString(out[strings.LastIndexByte(out, ' ')+1 : len(out)-1])
	if errA != nil || errB != nil || !bytes.Equal(a, b) || out == file {
		tb.Fatal("not another spelling of the same signature")
	}
	return out
}

// TestFlip: no bit of the file can change.
func TestFlip(t *testing.T) {
	d := document()
	d.Entries = d.Entries[:1]
	file, key := signed(t, d)
	flips(file, func(i int, b []byte) {
		l, err := Open(b, []*Key{key})
		if l != nil || !errors.Is(err, ErrForm) && !errors.Is(err, ErrSignature) {
			t.Fatalf("bit %d of byte %d (%q): %v, %v", i%8, i/8, file[i/8], l, err)
		}
	})
	for i := range file {
		if l, err := Open(file[:i], []*Key{key}); l != nil || err == nil {
			t.Fatalf("the first %d bytes: %v", i, l)
		}
	}
}

func TestParseKey(t *testing.T) {
	_, key := newKey(t, "example.com/key")
	text := key.String()
	for _, good := range []string{text, text + "\n"} {
		if k, err := ParseKey(good); err != nil || k.String() != text {
			t.Errorf("ParseKey(%q) = %v, %v", good, k, err)
		}
	}
	name, rest, _ := strings.Cut(text, "+")
	hash, b64, _ := strings.Cut(rest, "+")
	for _, bad := range []string{
		"", "\n", text + "\n\n", " " + text, text + " ", name + "x+" + hash + "+" + b64, name + "+" + strings.ToUpper(hash) + "x+" + b64,
		name + "+00000000+" + b64, "PRIVATE+KEY+" + text, strings.Replace(text, "example", "ex\u00e4mple", 1), name + "+" + hash + "+" + b64[:8] + "\n" + b64[8:],
	} {
		if k, err := ParseKey(bad); !errors.Is(err, ErrForm) || k != nil {
			t.Errorf("ParseKey(%q) = %v, %v", bad, k, err)
		}
	}
	flips([]byte(text), func(i int, b []byte) {
		if k, err := ParseKey(string(b)); err == nil || k != nil {
			t.Errorf("bit %d of %q makes another key", i, text[i/8])
		}
	})
	for _, name := range []string{"", "a b", "a+b", "\u00e4", strings.Repeat("x", maxName+1)} {
		if p, k, err := GenerateKey(strings.NewReader(resignSeed), name); !errors.Is(err, ErrForm) || p != "" || k != nil {
			t.Errorf("GenerateKey(%q): %v", name, err)
		}
	}
	if _, k, err := GenerateKey(strings.NewReader("short"), "a"); err == nil || k != nil {
		t.Error("a key without randomness")
	}
	for _, private := range []string{"", text, "PRIVATE+KEY+x"} {
		if b, err := Sign(document(), private); !errors.Is(err, ErrForm) || b != nil {
			t.Errorf("Sign with %q: %v", private, err)
		}
	}
}

func TestNewer(t *testing.T) {
	open := func(version, title string) *Ledger {
		d := document()
		d.Version, d.Entries[0].Title = version, title
		file, key := signed(t, d)
		l, err := Open(file, []*Key{key})
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	known := open("7", "a title")
	for _, tc := range []struct {
		l    *Ledger
		want error
	}{
		{open("8", "x"), nil},
		{open("18446744073709551615", "x"), nil},
		{open("7", "a title"), nil}, // signed again, by another key
		{open("7", "x"), ErrRollback},
		{open("6", "a title"), ErrRollback},
	} {
		if err := tc.l.Newer(known); !errors.Is(err, tc.want) {
			t.Errorf("%v after %v: %v", tc.l, known, err)
		}
	}
	builtin, err := Builtin()
	if err != nil {
		t.Fatal(err)
	}
	if err := open("1", "x").Newer(builtin); err != nil {
		t.Errorf("another name: %v", err)
	}
	if err := (*Ledger)(nil).Newer(known); err != nil {
		t.Errorf("none: %v", err)
	}
}

func TestZeroLedger(t *testing.T) {
	for _, l := range []*Ledger{nil, {}} {
		if l.Name() != "" || l.Version() != 0 || !l.Issued().IsZero() || l.Digest() != [32]byte{} || l.Signer() != "" ||
			l.String() != "no ledger" || l.Matches(subject(), l.Issued()) != nil || len(l.Document().Entries) != 0 {
			t.Errorf("a zero ledger says something: %v", l)
		}
	}
}
