package cer_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strconv"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sworn-run/sworn/cer"
)

// streamOf is what a record says of the bytes.
func streamOf(b []byte) cer.Stream { return cer.NewStream(sha256.Sum256(b), uint64(len(b)), true) }

// descriptorText is a descriptor in its canonical bytes, by the words of SPEC,
// section 6.
func descriptorText(b []byte, carried bool) string {
	sum := sha256.Sum256(b)
	enc := ""
	if carried {
		enc = `"base64":"` + base64.StdEncoding.EncodeToString(b) + `",`
	}
	return `{` + enc + `"mediaType":"application/octet-stream","sha256":"` + hex.EncodeToString(sum[:]) + `","size":"` + strconv.Itoa(len(b)) + `"}`
}

// contents are what jobs take and give.
var contents = map[string]struct {
	bytes string
	full  string // empty: a descriptor with base64
}{
	"empty":             {"", `""`},
	"text":              {"Total due: 1,284.50 EUR\n", `"Total due: 1,284.50 EUR\n"`},
	"looks like JSON":   {`{"a":1}`, `"{\"a\":1}"`},
	"byte order mark":   {"\xef\xbb\xbftext", "\"\ufefftext\""},
	"line separators":   {"a\u2028b\u2029", "\"a\u2028b\u2029\""},
	"NUL":               {"\x00", `"\u0000"`},
	"binary":            {"\x89PNG\r\n\x1a\n", ""},
	"one byte":          {"\xff", ""},
	"surrogate":         {"\xed\xa0\x80", ""},
	"overlong":          {"\xc0\x80", ""},
	"text, then binary": {"text \xfe", ""},
}

func TestContent(t *testing.T) {
	for name, c := range contents {
		b, s := []byte(c.bytes), streamOf([]byte(c.bytes))
		want := c.full
		if want == "" {
			want = descriptorText(b, true)
		}
		full, err := cer.ContentFull(b)
		if err != nil || string(full) != want {
			t.Errorf("%s: full %s, %v", name, full, err)
		}
		hash, err := cer.ContentHash(s)
		if err != nil || string(hash) != descriptorText(b, false) {
			t.Errorf("%s: hash %s, %v", name, hash, err)
		}
		if got, carried, err := cer.Content(full); err != nil || !carried || !bytes.Equal(got, b) {
			t.Errorf("%s: carries %q, %v, %v", name, got, carried, err)
		}
		if got, carried, err := cer.Content(hash); err != nil || carried || got != nil {
			t.Errorf("%s: a descriptor carries %q, %v, %v", name, got, carried, err)
		}
		for _, test := range []struct {
			v          jsontext.Value
			disclosure string
			want       error
		}{
			{full, cer.DiscloseFull, nil},
			{hash, cer.DiscloseFull, nil}, // too large to carry
			{hash, cer.DiscloseHash, nil},
			{full, cer.DiscloseHash, cer.ErrSchema},
			{full, "", cer.ErrSchema},
		} {
			if err := cer.CheckContent(test.v, s, test.disclosure); !errors.Is(err, test.want) {
				t.Errorf("%s: %s under %q: %v, want %v", name, test.v, test.disclosure, err, test.want)
			}
		}
	}
}

func TestCheckContentRefuses(t *testing.T) {
	b := []byte("\xff binary")
	s, other := streamOf(b), streamOf([]byte("\xfe binary"))
	longer := s
	longer.Size = "99"
	full, hash := descriptorText(b, true), descriptorText(b, false)
	replaced := func(old, now string) string {
		out := string(bytes.Replace([]byte(full), []byte(old), []byte(now), 1))
		if out == full {
			t.Fatalf("%q is not there", old)
		}
		return out
	}
	std := base64.StdEncoding.EncodeToString(b)
	for _, test := range []struct {
		name, v string
		stream  cer.Stream
		want    error
	}{
		{"bytes of another stream", full, other, cer.ErrHash},
		{"descriptor of another stream", hash, other, cer.ErrHash},
		{"text of another stream", `"text"`, s, cer.ErrHash},
		{"another size", full, longer, cer.ErrHash},
		{"descriptor of another size", hash, longer, cer.ErrHash},
		{"descriptor disagrees with its bytes", replaced(s.SHA256, other.SHA256), s, cer.ErrHash},
		{"size disagrees with its bytes", replaced(`"size":"8"`, `"size":"9"`), s, cer.ErrHash},
		{"another media type", replaced("application/octet-stream", "image/png"), s, cer.ErrHash},
		{"text in base64", descriptorText([]byte("text"), true), streamOf([]byte("text")), cer.ErrSchema},
		{"empty in base64", descriptorText(nil, true), streamOf(nil), cer.ErrSchema},
		{"base64 without padding", replaced(std, std[:len(std)-1]), s, cer.ErrSchema},
		{"base64 with a newline", replaced(std, std[:4]+`\n`+std[4:]), s, cer.ErrSchema},
		{"base64url", replaced(std, "__8=") /* not the standard alphabet */, s, cer.ErrSchema},
		{"trailing bits", replaced(std, std[:len(std)-2]+"5="), s, cer.ErrSchema},
		{"unknown member", replaced(`"mediaType"`, `"encoding":"x","mediaType"`), s, cer.ErrSchema},
		{"not canonical", replaced(`{`, `{ `), s, cer.ErrStrict},
		{"string not closed", `"text`, s, cer.ErrStrict},
		{"nothing", ``, s, cer.ErrStrict},
		{"null", `null`, s, cer.ErrSchema},
		{"number", `1`, s, cer.ErrSchema},
		{"array", `[]`, s, cer.ErrSchema},
	} {
		if err := cer.CheckContent(jsontext.Value(test.v), test.stream, cer.DiscloseFull); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
	}
	wantRefused(t, mutations(t, []byte(full)), []string{
		"/base64 is missing", // then it is the descriptor of what is not carried
	}, func(v []byte) (any, error) {
		if _, _, err := cer.Content(v); err != nil {
			return nil, err
		}
		return nil, cer.CheckContent(v, s, cer.DiscloseFull)
	})
}

func TestRawValues(t *testing.T) {
	for _, raw := range []string{`""`, `"text \"quoted\""`, "\"\u2028\"", `{}`, `{"a":[1,null]}`} {
		v, err := cer.RawToValue(jsontext.Value(raw))
		if err != nil {
			t.Errorf("%s: %v", raw, err)
			continue
		}
		if again, err := v.Raw(); err != nil || string(again) != raw {
			t.Errorf("%s: back as %s, %v", raw, again, err)
		}
	}
	for raw, want := range map[string]error{
		``: cer.ErrStrict, `"a`: cer.ErrStrict, `"a"x`: cer.ErrStrict, `{"a":1,"a":1}`: cer.ErrStrict, `{ }`: cer.ErrStrict,
		`1`: cer.ErrSchema, `[]`: cer.ErrSchema, `null`: cer.ErrSchema, `true`: cer.ErrSchema,
	} {
		if _, err := cer.RawToValue(jsontext.Value(raw)); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", raw, err, want)
		}
	}
}

func FuzzContent(f *testing.F) {
	for _, c := range contents {
		f.Add([]byte(c.bytes))
	}
	if len(contents) == 0 {
		f.Fatal("no seeds")
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		full, err := cer.ContentFull(b)
		if err != nil {
			t.Fatal(err)
		}
		got, carried, err := cer.Content(full)
		if err != nil || !carried || !bytes.Equal(got, b) {
			t.Fatalf("carries %q, %v, %v", got, carried, err)
		}
		if err := cer.CheckContent(full, streamOf(b), cer.DiscloseFull); err != nil {
			t.Fatal(err)
		}
		if err := cer.CheckContent(full, streamOf(append(b, 0)), cer.DiscloseFull); !errors.Is(err, cer.ErrHash) {
			t.Fatalf("of another stream: %v", err)
		}
		if _, _, err := cer.Content(jsontext.Value(b)); err != nil && !errors.Is(err, cer.ErrStrict) && !errors.Is(err, cer.ErrSchema) {
			t.Fatalf("error %v", err)
		}
	})
}
