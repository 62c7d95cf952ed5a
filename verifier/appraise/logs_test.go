package appraise

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/sworn-run/sworn/attest"
)

func get32(b []byte, at int) uint32 { return binary.LittleEndian.Uint32(b[at:]) }

func put32(b []byte, at int, v uint32) []byte {
	out := bytes.Clone(b)
	binary.LittleEndian.PutUint32(out[at:], v)
	return out
}

// eventsOf returns where the events of a crypto-agile log begin, and its end.
func eventsOf(tb testing.TB, b []byte) []int {
	tb.Helper()
	at := 32 + int(get32(b, 28))
	out := []int{at}
	for at < len(b) {
		n, end := int(get32(b, at+8)), at+12
		for range n {
			end += 2 + attest.Alg(binary.LittleEndian.Uint16(b[end:])).Size()
		}
		at = end + 4 + int(get32(b, end))
		out = append(out, at)
	}
	if at != len(b) || len(out) < 20 {
		tb.Fatalf("%d events, %d of %d bytes", len(out), at, len(b))
	}
	return out
}

// without returns a log without the events whose data begins with a text.
func without(tb testing.TB, log []byte, text string) []byte {
	tb.Helper()
	events := eventsOf(tb, log)
	out := bytes.Clone(log[:events[0]])
	removed := 0
	for i := range len(events) - 1 {
		e := log[events[i]:events[i+1]]
		if bytes.Contains(e, []byte(text)) {
			removed++
			continue
		}
		out = append(out, e...)
	}
	if removed == 0 {
		tb.Fatal("nothing removed")
	}
	return out
}

// older makes a log in the older format: pairs of register and text.
func older(events ...any) []byte {
	var out []byte
	for i := 0; i < len(events); i += 2 {
		text := []byte(events[i+1].(string))
		out = binary.LittleEndian.AppendUint32(out, uint32(events[i].(int)))
		out = binary.LittleEndian.AppendUint32(out, 0x80000007)
		out = append(out, attest.SHA1.Sum(text)...)
		out = binary.LittleEndian.AppendUint32(out, uint32(len(text)))
		out = append(out, text...)
	}
	return out
}

const (
	called   = "Calling EFI Application from Boot Option"
	returned = "Returning from EFI Application from Boot Option"
	invoked  = "Exit Boot Services Invocation"
	ended    = "Exit Boot Services Returned with Success"
)

// TestWhole refuses a log in the older format that begins an attempt to boot and does
// not end it in the register where it would.
func TestWhole(t *testing.T) {
	for name, c := range map[string]struct {
		log  []byte
		want error
	}{
		"called in 5":         {older(0, "firmware", 5, called), ErrRefused},
		"called in 4":         {older(0, "firmware", 4, called), nil},
		"ended":               {older(0, "firmware", 5, called, 5, invoked, 5, ended), nil},
		"returned":            {older(0, "firmware", 5, called, 5, returned), nil},
		"called again":        {older(0, "firmware", 5, called, 5, returned, 5, called), ErrRefused},
		"ended elsewhere":     {older(0, "firmware", 5, called, 4, ended), ErrRefused},
		"nothing of the kind": {older(0, "firmware", 5, "partition table"), nil},
	} {
		r := report(t, Input{Kind: EventLog, Files: []File{{"eventlog.bin", c.log}}})
		if !errors.Is(r.Refusal, c.want) {
			t.Errorf("%s: %v, want %v", name, r.Refusal, c.want)
		}
	}
}

// TestLogAlone reads a log that no quote came with: nothing of it is proven.
func TestLogAlone(t *testing.T) {
	log := capture(t)["eventlog"]
	r := report(t, Input{Files: []File{{"log", log}}})
	if !r.Accepted() || r.Kind != EventLog || len(r.Replays) != 1 || len(r.Replays[0].Values) < 24 {
		t.Fatalf("%+v", r)
	}
	for _, f := range r.Findings {
		if f.Status != attest.NotEstablished {
			t.Errorf("%+v", f)
		}
	}
	for name, b := range map[string][]byte{
		"cut":   log[:len(log)-1],
		"text":  []byte("This is no log, but a line of text.\n"),
		"empty": {},
	} {
		if r := report(t, Input{Kind: EventLog, Files: []File{{"eventlog.bin", b}}}); !errors.Is(r.Refusal, attest.ErrForm) {
			t.Errorf("%s: %v", name, r.Refusal)
		}
	}
	// The registers of a TPM are none of confidential computing.
	if r := report(t, Input{Kind: CCEL, Files: []File{{"ccel", log}}}); !errors.Is(r.Refusal, attest.ErrForm) {
		t.Errorf("as CCEL: %v", r.Refusal)
	}
}

// TestLists reads a list in both forms: they are one list.
func TestLists(t *testing.T) {
	files := capture(t)
	var values [][]byte
	for _, name := range []string{"ima_binary", "ima_ascii"} {
		r := report(t, Input{Files: []File{{name, files[name]}}})
		if !r.Accepted() || r.Kind != IMA || len(r.Replays) != 1 || len(r.Replays[0].Values) != 2 {
			t.Fatalf("%s: %+v", name, r)
		}
		values = append(values, r.Replays[0].Values[1].Value)
	}
	if !bytes.Equal(values[0], values[1]) {
		t.Errorf("%x and %x", values[0], values[1])
	}
	bad := bytes.Replace(files["ima_ascii"], []byte("ima-ng"), []byte("ima-xx"), 1)
	if r := report(t, Input{Kind: IMA, Files: []File{{"list", bad}}}); !errors.Is(r.Refusal, attest.ErrForm) {
		t.Errorf("another template: %v", r.Refusal)
	}
}

// TestArguments refuses input beyond its bounds.
func TestArguments(t *testing.T) {
	one := []File{{"a", []byte("text that is nothing")}}
	many := make([]File, maxFiles+1)
	for i := range many {
		many[i].Name = strings.Repeat("x", i)
	}
	for name, in := range map[string]Input{
		"no time":      {Files: one},
		"no files":     {At: testTime},
		"too many":     {Files: many, At: testTime},
		"twice":        {Files: append(one, one...), At: testTime},
		"unknown kind": {Kind: "cca", Files: one, At: testTime},
		"unknown file": {Files: one, At: testTime},
		"too large":    {Files: []File{{"a", make([]byte, 16<<20+1)}}, At: testTime},
	} {
		if r, err := Appraise(in); r != nil || !errors.Is(err, attest.ErrArgument) {
			t.Errorf("%s: %v, %v", name, r, err)
		}
	}
	var none *Report
	if none.Accepted() {
		t.Error("no report is accepted")
	}
}
