package appraise

import (
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/nitro"
	"github.com/sworn-run/sworn/sev"
	"github.com/sworn-run/sworn/tdx"
	"github.com/sworn-run/sworn/tpm"
)

// TestIndex refuses what is no index, and paths that lead out of its folder.
func TestIndex(t *testing.T) {
	const file = `{"path":"a/b","sha256":"0000000000000000000000000000000000000000000000000000000000000000","size":1}`
	item := func(path, rest string) string {
		return `{"items":[{"id":"x","tech":"tpm","files":[` + strings.Replace(file, "a/b", path, 1) + `]` + rest + `}]}`
	}
	for name, in := range map[string]string{
		"with a verdict": item("a/b", `,"verify_at":"2026-02-10T00:00:00Z","verdict":{"by":"strict","accept":true}`),
		"undated":        item("a/b", `,"verify_at":null,"verdict":{"by":"none"}`),
		"a list":         `[{"id":"x","tech":"sgx"}]`,
	} {
		if list, err := ParseIndex([]byte(in)); err != nil || len(list) != 1 {
			t.Errorf("%s: %v, %v", name, list, err)
		}
	}
	for name, in := range map[string]string{
		"absolute":       item("/etc/passwd", ""),
		"above":          item("../b", ""),
		"above, within":  item("a/../../b", ""),
		"backslash":      item(`a\\b`, ""),
		"drive":          item("c:b", ""),
		"dot":            item(".", ""),
		"empty":          item("", ""),
		"id of words":    `[{"id":"x y","tech":"sgx"}]`,
		"twice":          `[{"id":"x","tech":"sgx"},{"id":"x","tech":"sgx"}]`,
		"none":           `{"items":[]}`,
		"member twice":   `[{"id":"x","id":"y","tech":"sgx"}]`,
		"something else": `7`,
	} {
		if list, err := ParseIndex([]byte(in)); !errors.Is(err, attest.ErrForm) || list != nil {
			t.Errorf("%s: %v, %v", name, list, err)
		}
	}
}

// TestVerdicts: an item whose verdict cannot be read is an error of that item, and of no
// other.
func TestVerdicts(t *testing.T) {
	for name, c := range map[string]struct {
		rest string
		ok   bool
	}{
		"good":          {`"verify_at":"2026-02-10","verdict":{"by":"parse","accept":true}`, true},
		"none":          {`"verify_at":null`, true},
		"unknown basis": {`"verdict":{"by":"luck","accept":true}`, false},
		"no accept":     {`"verdict":{"by":"strict"}`, false},
		"bad facts":     {`"verdict":{"by":"replay","accept":true,"facts":{"0":"00"}}`, false},
		"no facts":      {`"verdict":{"by":"replay","accept":true}`, false},
		"bad time":      {`"verify_at":"yesterday","verdict":{"by":"parse","accept":true}`, false},
	} {
		items, err := ParseIndex([]byte(`[{"id":"x","tech":"eventlog",` + c.rest + `}]`))
		if err != nil || len(items) != 1 {
			t.Fatalf("%s: %v", name, err)
		}
		o, err := items[0].Appraise([]File{{"log", capture(t)["eventlog"]}}, nil, testTime)
		if err != nil || (o.Got == failed) == c.ok || o.Agree && !c.ok {
			t.Errorf("%s: %+v, %v", name, o, err)
		}
	}
}

// TestItems compares outcomes with expected ones, each way.
func TestItems(t *testing.T) {
	files := fileList(capture(t))
	log := []File{{"log", capture(t)["eventlog"]}}
	r := report(t, Input{Files: log})
	facts := r.Replays[0].Values
	other := append([]attest.RegisterValue{}, facts...)
	other[3].Value = make([]byte, len(other[3].Value))
	for name, c := range map[string]struct {
		item  Item
		files []File
		got   string
		agree bool
	}{
		"strictly refused":       {Item{Tech: "tpm", By: ByStrict}, files, refused, true},
		"strictly expected":      {Item{Tech: "tpm", By: ByStrict, Accept: true}, files, refused, false},
		"accepted and not to be": {Item{Tech: "eventlog", By: ByParse}, log, accepted, false},
		"parsed":                 {Item{Tech: "eventlog", By: ByParse, Accept: true}, log, accepted, true},
		"replayed":               {Item{Tech: "eventlog", By: ByReplay, Accept: true, Facts: facts}, log, accepted, true},
		"one bank":               {Item{Tech: "eventlog", By: ByReplay, Accept: true, Facts: bankOf(facts, attest.SHA256)}, log, accepted, true},
		"other value":            {Item{Tech: "eventlog", By: ByReplay, Accept: true, Facts: other}, log, "other-registers", false},
		"one too many":           {Item{Tech: "eventlog", By: ByReplay, Accept: true, Facts: append(slices.Clip(facts), attest.RegisterValue{Bank: attest.SHA384, Index: 23, Value: value(attest.SHA384, 1)})}, log, "other-registers", false},
		"one less":               {Item{Tech: "eventlog", By: ByReplay, Accept: true, Facts: facts[1:]}, log, "other-registers", false},
		"no facts":               {Item{Tech: "eventlog", By: ByReplay, Accept: true}, log, "other-registers", false},
		"not judged":             {Item{Tech: "eventlog", By: ByNone}, log, accepted, false},
	} {
		o, err := c.item.Appraise(c.files, nil, testTime)
		if err != nil || o.Got != c.got || o.Agree != c.agree || o.Judged != (c.item.By != ByNone) {
			t.Errorf("%s: %+v, %v", name, o, err)
		}
	}
}

func bankOf(list []attest.RegisterValue, bank attest.Alg) (out []attest.RegisterValue) {
	for _, v := range list {
		if v.Bank == bank {
			out = append(out, v)
		}
	}
	return out
}

// TestLocality: register 0 begins with the locality. Facts of a tool that extends the
// event that says so are told by their value; any other value is a difference.
func TestLocality(t *testing.T) {
	log := capture(t)["eventlog"]
	events := eventsOf(t, log)
	// The locality is an event of no action that has zeros for digests.
	locality := make([]byte, events[1]-events[0])
	locality = locality[:0]
	locality = append(locality, 0, 0, 0, 0, 3, 0, 0, 0)
	n := get32(log, events[0]+8)
	locality = append(locality, log[events[0]+8:events[0]+12]...)
	at := events[0] + 12
	for range n {
		alg := attest.Alg(uint16(log[at]) | uint16(log[at+1])<<8)
		locality = append(locality, log[at], log[at+1])
		locality = append(locality, make([]byte, alg.Size())...)
		at += 2 + alg.Size()
	}
	locality = append(locality, 17, 0, 0, 0)
	locality = append(locality, "StartupLocality\x00\x03"...)
	with := append(append(append([]byte{}, log[:events[0]]...), locality...), log[events[0]:]...)
	files := []File{{"log", with}}
	r := report(t, Input{Files: files})
	plain := report(t, Input{Files: []File{{"log", log}}})
	facts := append([]attest.RegisterValue{}, r.Replays[0].Values...)
	for i := range facts {
		if facts[i].Index == 0 && hex.EncodeToString(facts[i].Value) == hex.EncodeToString(plain.Replays[0].Values[i].Value) {
			t.Fatal("the locality counts for nothing")
		}
	}
	item := Item{Tech: "eventlog", By: ByReplay, Accept: true, Facts: facts}
	if o, err := item.Appraise(files, nil, testTime); err != nil || !o.Agree || len(o.Notes) != 0 {
		t.Fatalf("%+v, %v", o, err)
	}
	zero := -1
	for i := range facts {
		if facts[i].Bank == attest.SHA256 && facts[i].Index == 0 {
			zero = i
		}
	}
	sum := make([]byte, 32)
	sum = attest.SHA256.Sum(sum, make([]byte, 32))
	for i := range len(events) - 1 {
		if get32(log, events[i]) != 0 || get32(log, events[i]+4) == 3 {
			continue
		}
		at := events[i] + 12
		for {
			alg := attest.Alg(uint16(log[at]) | uint16(log[at+1])<<8)
			if alg == attest.SHA256 {
				break
			}
			at += 2 + alg.Size()
		}
		sum = attest.SHA256.Sum(sum, log[at+2:at+34])
	}
	facts[zero].Value = sum
	if o, err := item.Appraise(files, nil, testTime); err != nil || !o.Agree || len(o.Notes) != 1 {
		t.Fatalf("%+v, %v", o, err)
	}
	facts[zero].Value = plain.Replays[0].Values[zero].Value
	if o, err := item.Appraise(files, nil, testTime); err != nil || o.Agree {
		t.Fatalf("a value without the locality: %+v, %v", o, err)
	}
}

// TestShared appraises every item of the shared evidence that this version can, and
// prints what came out. What is trusted are the pins; the certificates of the roots
// come from the evidence.
func TestShared(t *testing.T) {
	dir := os.Getenv("SWORN_SHARED")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared")
	}
	dir = filepath.Join(dir, "evidence")
	b, err := os.ReadFile(filepath.Join(dir, "INDEX.json"))
	if err != nil {
		t.Skip("the shared evidence folder is not here: set SWORN_SHARED")
	}
	items, err := ParseIndex(b)
	if err != nil {
		t.Fatal(err)
	}
	anchors := sharedRoots(t, dir, items)
	counts := map[string]int{}
	for i := range items {
		item := &items[i]
		o := item.Expect()
		if item.Kind() != "" {
			if o, err = item.Appraise(sharedFiles(t, dir, item), anchors, testTime); err != nil {
				t.Fatalf("%s: %v", item.ID, err)
			}
			t.Logf("%-32s %-8s %-16s %v", item.ID, o.Expected, o.Got, o.Agree)
		}
		switch {
		case item.Kind() == "":
			counts["unsupported"]++
		case !o.Judged:
			counts["not judged"]++
		case o.Agree:
			counts["agree"]++
		default:
			t.Errorf("%s: %+v", item.ID, o)
		}
	}
	t.Log(counts)
	if counts["agree"] < 60 {
		t.Errorf("only %d items agree", counts["agree"])
	}
}

func sharedFiles(t *testing.T, dir string, item *Item) []File {
	t.Helper()
	var out []File
	for _, f := range item.Files {
		b, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(f.Path)))
		if err != nil || int64(len(b)) != f.Size {
			t.Fatalf("%s: %d bytes: %v", f.Path, len(b), err)
		}
		out = append(out, File{filepath.Base(f.Path), b})
	}
	return out
}

// sharedRoots are the pins, and the certificates of all roots in the evidence.
func sharedRoots(t *testing.T, dir string, items []Item) *attest.Anchors {
	t.Helper()
	var files []File
	for i := range items {
		if items[i].Tech == "roots" {
			files = append(files, sharedFiles(t, dir, &items[i])...)
		}
	}
	a := WithCertificates(&attest.Anchors{Pins: slices.Concat(tpm.Pins(), sev.Pins(), tdx.Pins(), nitro.Pins())}, files)
	if len(a.Roots) < 50 {
		t.Fatalf("%d certificates of %d files", len(a.Roots), len(files))
	}
	for _, r := range a.Roots {
		if r.UserSupplied {
			t.Fatalf("%v counts as the user's", r.Certificate.Subject)
		}
	}
	return a
}

// TestWithCertificates: nothing becomes trusted by being there.
func TestWithCertificates(t *testing.T) {
	m, f := newMaker(t), newTPM(t, elliptic.P256(), restrictedKey)
	files := f.quoted(t, attest.SHA256, nil)
	files["ak.crt"] = m.certify(t, f, nil)
	given := newMaker(t).anchors()
	there := []File{{"root.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: m.cert.Raw})}, {"text", []byte("no certificate")}, {"leaf", files["ak.crt"]}}
	for name, c := range map[string]struct {
		pins []attest.Pin
		want error
	}{
		"not pinned": {nil, ErrRefused},
		"pinned":     {[]attest.Pin{{Role: tpm.RoleAK, Subject: m.cert.Subject.String(), SPKI: sha256.Sum256(m.cert.RawSubjectPublicKeyInfo), From: testTime, Until: testTime}}, nil},
		"another":    {[]attest.Pin{{Role: tpm.RoleEK, Subject: m.cert.Subject.String(), SPKI: sha256.Sum256(m.cert.RawSubjectPublicKeyInfo), From: testTime, Until: testTime}}, ErrRefused},
	} {
		a := *given
		a.Pins = c.pins
		r := report(t, Input{Files: fileList(files), Anchors: WithCertificates(&a, there), Strict: true})
		if !errors.Is(r.Refusal, c.want) || len(a.Roots) != 1 {
			t.Errorf("%s: %v, want %v", name, r.Refusal, c.want)
		}
	}
	if a := WithCertificates(nil, there); len(a.Roots) != 0 {
		t.Errorf("%d roots out of nothing", len(a.Roots))
	}
}

// indexJSON is an index of one item, for the fuzz target's seeds.
func indexJSON(tb testing.TB, by Basis) []byte {
	tb.Helper()
	b, err := json.Marshal(map[string]any{"items": []any{map[string]any{
		"id": "x", "tech": "eventlog", "verify_at": "2026-02-10T00:00:00Z",
		"files":   []any{map[string]any{"path": "a/b", "sha256": fmt.Sprintf("%064x", 7), "size": 3}},
		"verdict": map[string]any{"by": by, "accept": true, "facts_file": "b"},
	}}})
	if err != nil {
		tb.Fatal(err)
	}
	return b
}
