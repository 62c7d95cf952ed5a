package main

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/sworn-run/sworn/cer/archive"
	"github.com/sworn-run/sworn/testdata"
	"github.com/sworn-run/sworn/verifier"
	"github.com/sworn-run/sworn/verifier/ledger"
)

var now = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

const goldenNonce = "00112233445566778899aabbccddeeff"

func golden(tb testing.TB, name string) []byte {
	tb.Helper()
	b, err := fs.ReadFile(testdata.Golden, "golden/"+name)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// rootFiles are those of a folder of roots, as they are when the folder is dropped.
func rootFiles(tb testing.TB, dir string) []file {
	tb.Helper()
	var out []file
	err := fs.WalkDir(testdata.Golden, "golden/"+dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := fs.ReadFile(testdata.Golden, name)
		out = append(out, file{Path: strings.TrimPrefix(name, "golden/"), Data: b})
		return err
	})
	if err != nil || len(out) == 0 {
		tb.Fatal(len(out), err)
	}
	return out
}

// whole is everything that the golden record needs.
func whole(tb testing.TB) *request {
	tb.Helper()
	r := &request{Nonce: " " + strings.ToUpper(goldenNonce) + "\n", Now: now}
	r.Files = append(rootFiles(tb, "roots"), file{Path: "policy.json", Data: golden(tb, "policy.json")}, file{Path: "page.cer.json", Data: golden(tb, "page.cer.json")})
	return r
}

// TestAppraise: the page's answer is that of the verifier, and says by which files.
func TestAppraise(t *testing.T) {
	a, err := appraise(whole(t))
	if err != nil {
		t.Fatal(err)
	}
	if !a.Trusted || !strings.HasPrefix(a.Headline, "trusted, assuming: ") {
		t.Error(a.Headline)
	}
	if !bytes.Contains(a.JSON, []byte(`"file": "page.cer.json"`)) || !bytes.Contains(a.JSON, []byte(`"trusted": true`)) || !bytes.HasPrefix(a.HTML, []byte("<!DOCTYPE html>")) {
		t.Errorf("%.200s", a.JSON)
	}
	for name, edit := range map[string]func(*request){
		"no roots":      func(r *request) { r.Files = r.Files[len(r.Files)-2:] },
		"no policy":     func(r *request) { r.Files = append(r.Files[:len(r.Files)-2], r.Files[len(r.Files)-1]) },
		"another nonce": func(r *request) { r.Nonce = strings.Repeat("00", 16) },
		"no nonce":      func(r *request) { r.Nonce = "" },
		"a flipped bit": func(r *request) {
			r.Files[len(r.Files)-1].Data = bytes.Replace(golden(t, "page.cer.json"), []byte("self-hosted"), []byte("self-hostee"), 1)
		},
		"no record": func(r *request) { r.Files[len(r.Files)-1].Data = []byte("hello") },
		"many": func(r *request) {
			r.Files = append(r.Files, file{Path: "other.cer.json", Data: golden(t, "golden.cer.json")})
			r.Nonce = goldenNonce
		},
	} {
		r := whole(t)
		edit(r)
		a, err := appraise(r)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if a.Trusted {
			t.Errorf("%s: %s", name, a.Headline)
		}
	}
}

// TestMistakes: what cannot be judged is said in a line, with what to do.
func TestMistakes(t *testing.T) {
	for name, edit := range map[string]func(*request){
		"nothing":             func(r *request) { r.Files = nil },
		"no record":           func(r *request) { r.Files = r.Files[:len(r.Files)-1] },
		"two policies":        func(r *request) { r.Files = append(r.Files, file{Path: "p.json", Data: golden(t, "policy.json")}) },
		"a root without role": func(r *request) { r.Files[0].Path = "maker.pem" },
		"a zip file":          func(r *request) { r.Files = append(r.Files, file{Path: "a.zip", Data: []byte("PK\x03\x04")}) },
		"two archives": func(r *request) {
			r.Files = append(r.Files[:len(r.Files)-1], file{Path: "a.tar", Data: pack(t, 1)}, file{Path: "b.tar", Data: pack(t, 1)})
		},
		"an archive and a record": func(r *request) { r.Files = append(r.Files, file{Path: "a.tar", Data: pack(t, 1)}) },
		"a large archive": func(r *request) {
			r.Files[len(r.Files)-1] = file{Path: "a.tar", Data: pack(t, archiveRecords+1)}
		},
		"an archive in a series": func(r *request) {
			r.Files[len(r.Files)-1] = file{Path: "a.tar", Data: pack(t, 1)}
			r.Files[len(r.Files)-2].Data = bytes.Replace(golden(t, "policy.json"), []byte(`"series": "none"`), []byte(`"series": "counter"`), 1)
		},
		"a nonce of words": func(r *request) { r.Nonce = "mine" },
		"a short nonce":    func(r *request) { r.Nonce = "00" },
	} {
		r := whole(t)
		edit(r)
		a, err := appraise(r)
		var m *mistake
		if a != nil || !errors.As(err, &m) || m.hint == "" {
			t.Errorf("%s: %v, %v", name, a != nil, err)
		}
	}
	for name, x := range map[string]struct {
		edit func(*request)
		want error
	}{
		"a root in a wrong role": {func(r *request) { r.Files[0].Path = "roots/amd-ark/Naples/x.pem" }, verifier.ErrRoots},
		"no root":                {func(r *request) { r.Files[0].Data = []byte("x") }, verifier.ErrRoots},
		"a policy of nothing":    {func(r *request) { r.Files[len(r.Files)-2].Data = []byte(`{"type":"sworn.policy/v1"}`) }, verifier.ErrPolicy},
		"no time":                {func(r *request) { r.Now = time.Time{} }, verifier.ErrInput},
	} {
		r := whole(t)
		x.edit(r)
		if a, err := appraise(r); a != nil || !errors.Is(err, x.want) {
			t.Errorf("%s: %v, %v", name, a != nil, err)
		}
	}
}

// TestKinds: a root's role is that of the innermost folder, or what the user chose.
func TestKinds(t *testing.T) {
	pem := []byte("-----BEGIN CERTIFICATE-----\n")
	for _, x := range []struct {
		f    file
		want kind
	}{
		{file{Path: "roots/tpm-ak/maker.pem", Data: pem}, kind{kindRoot, "tpm-ak/maker.pem"}},
		{file{Path: "/tsa/tpm-ak/maker.pem", Data: pem}, kind{kindRoot, "tpm-ak/maker.pem"}},
		{file{Path: "amd-ark/Milan/ark.der", Data: []byte{0x30, 0x82, 0}}, kind{kindRoot, "amd-ark/Milan/ark.der"}},
		{file{Path: "maker.pem", Data: pem}, kind{kindNoRole, ""}},
		{file{Path: "x/maker.pem", Role: "tsa", Data: pem}, kind{kindRoot, "tsa/maker.pem"}},
		{file{Path: "tsa", Data: pem}, kind{kindNoRole, ""}},
		{file{Path: "p.json", Data: golden(t, "policy.json")}, kind{kindPolicy, ""}},
		{file{Path: "p.json", Data: golden(t, "page.cer.json")}, kind{kindRecord, ""}},
		{file{Path: "p.png", Data: []byte("\x89PNG")}, kind{kindRecord, ""}},
		{file{Path: "empty"}, kind{kindRecord, ""}},
	} {
		if got := x.f.kind(); got != x.want {
			t.Errorf("%s: %+v, want %+v", x.f.Path, got, x.want)
		}
	}
}

// memory keeps what an archive is built from.
type memory struct{ b []byte }

func (m *memory) Write(p []byte) (int, error) { m.b = append(m.b, p...); return len(p), nil }

func (m *memory) ReadAt(p []byte, at int64) (int, error) { return copy(p, m.b[at:]), nil }

// pack returns an archive of as many copies of the golden record.
func pack(tb testing.TB, records int) []byte {
	tb.Helper()
	b, err := archive.NewBuilder(&memory{}, "sworn "+version, nil)
	if err != nil {
		tb.Fatal(err)
	}
	for i := range records {
		if err := b.Add(fmt.Sprintf("%04d.cer.json", i), golden(tb, "page.cer.json")); err != nil {
			tb.Fatal(err)
		}
	}
	var out bytes.Buffer
	if err := b.Write(&out); err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

// TestArchive: every record of an archive is judged, and the archive to its end.
func TestArchive(t *testing.T) {
	ask := func(data []byte) *answer {
		t.Helper()
		r := whole(t)
		r.Files[len(r.Files)-1] = file{Path: "x/a.tar", Data: data}
		a, err := appraise(r)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	data := pack(t, 3)
	if a := ask(data); !a.Trusted || a.Headline != "all 3 records are trusted" || bytes.Count(a.JSON, []byte("\n")) != 4 {
		t.Errorf("%s\n%.2000s", a.Headline, a.JSON)
	}
	for at := 512; at < len(data); at += 257 {
		mutant := bytes.Clone(data)
		mutant[at] ^= 4
		if a := ask(mutant); a.Trusted || !bytes.Contains(a.JSON, []byte(`"trusted":false`)) {
			t.Errorf("byte %d changed: %s", at, a.Headline)
		}
	}
	for n := 512; n < len(data); n += 512 {
		if a := ask(data[:n]); a.Trusted {
			t.Errorf("cut after %d bytes: %s", n, a.Headline)
		}
	}
}

// TestLedger: a ledger whose key is among the roots is asked; one of another key is not
// read, and one that was changed neither.
func TestLedger(t *testing.T) {
	private, public, err := ledger.GenerateKey(rand.Reader, "example.com/security")
	if err != nil {
		t.Fatal(err)
	}
	data, err := ledger.Sign(&ledger.Document{
		Type: ledger.Type, Name: "example.com/distrust", Version: "1", Issued: "2026-11-29",
		Entries: []ledger.Entry{{
			ID: "NO-TPM", Title: "every TPM", Class: ledger.ClassSoftware, Reason: "for a test", References: []string{},
			Match: ledger.Selector{Formats: []string{"tpm"}},
		}},
	}, private)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(files ...file) (*answer, error) {
		r := whole(t)
		r.Files = append(r.Files, files...)
		return appraise(r)
	}
	list, key := file{Path: "distrust.ledger", Data: data}, file{Path: "roots/ledger/example.pub", Data: []byte(public.String() + "\n")}
	a, err := ask(list, key)
	if err != nil {
		t.Fatal(err)
	}
	if a.Trusted || !strings.HasPrefix(a.Headline, "not trusted: ledger: NO-TPM (") {
		t.Error(a.Headline)
	}
	var m *mistake
	if a, err := ask(list); a != nil || !errors.As(err, &m) {
		t.Errorf("without the key: %v, %v", a != nil, err)
	}
	for i := range data {
		changed := file{Path: "distrust.ledger", Data: bytes.Clone(data)}
		changed.Data[i] ^= 1
		if a, err := ask(changed, key); err == nil && a.Trusted {
			t.Fatalf("byte %d changed: %s", i, a.Headline)
		}
	}
}

// TestOpening: an opening of another record, or of several, opens none.
func TestOpening(t *testing.T) {
	b, err := fs.ReadFile(testdata.Vectors, "vectors/sworn/opening-all.json")
	if err != nil {
		t.Fatal(err)
	}
	var vector struct{ Opening string }
	if err := json.Unmarshal(b, &vector); err != nil {
		t.Fatal(err)
	}
	opening := file{Path: "job.cer.json.opening.json", Data: []byte(vector.Opening)}
	if k := opening.kind(); k.name != kindOpening {
		t.Fatal(k)
	}
	r := whole(t)
	r.Files = append(r.Files, opening)
	a, err := appraise(r)
	if err != nil || a.Trusted || !strings.HasPrefix(a.Headline, "not trusted: record.opening: ") {
		t.Errorf("of another record: %+v, %v", a, err)
	}
	for name, more := range map[string]file{
		"two openings": opening, "two records": {Path: "b.cer.json", Data: golden(t, "golden.cer.json")},
	} {
		r := whole(t)
		r.Files = append(r.Files, opening, more)
		var m *mistake
		if a, err := appraise(r); a != nil || !errors.As(err, &m) || m.hint == "" {
			t.Errorf("%s: %v, %v", name, a != nil, err)
		}
	}
}
