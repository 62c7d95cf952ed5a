package ledger

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzParseDocument: an error of the class and nothing else, or a document that encodes to
// what parses to the same.
func FuzzParseDocument(f *testing.F) {
	b, err := document().Encode()
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range [][]byte{b, []byte(builtin), nil, []byte("{}"), []byte("null"), []byte(`{"type":"sworn.ledger/v1"}`)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := ParseDocument(b)
		if err != nil {
			if !errors.Is(err, ErrForm) || d != nil {
				t.Fatalf("%v, %v", d, err)
			}
			return
		}
		text, err := d.Encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseDocument(text)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(d.clone(), again.clone()); diff != "" && len(d.Entries) > 0 {
			t.Fatal(diff)
		}
		for i := range d.Entries {
			if d.Entries[i].Match.Matches(&Subject{}) {
				t.Fatalf("%+v is about nothing", d.Entries[i].Match)
			}
		}
	})
}

// FuzzOpen: of all files only those that the key signed open, and they are what was
// signed, to the byte.
func FuzzOpen(f *testing.F) {
	private, key, err := GenerateKey(zeros{}, "example.com/key")
	if err != nil {
		f.Fatal(err)
	}
	file, err := Sign(document(), private)
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range [][]byte{file, append(slices.Clip(file), '\n'), []byte(builtin), []byte("\n\n\u2014 a AAAA\n"), nil} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := Open(b, []*Key{key})
		if err != nil {
			if l != nil || !errors.Is(err, ErrForm) && !errors.Is(err, ErrSignature) {
				t.Fatalf("%v, %v", l, err)
			}
			return
		}
		d := l.Document()
		again, err := Sign(&d, private)
		if err != nil || string(again) != string(b) {
			t.Fatalf("%q opens and is not what is signed: %v", b, err)
		}
	})
}

// zeros is a source of no randomness.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}
