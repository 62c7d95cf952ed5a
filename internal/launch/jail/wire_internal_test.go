//go:build linux

package jail

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// framed makes a message of bytes, announcing n.
func framed(n int, body string) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(n)), body...)
}

func TestReceiveRefuses(t *testing.T) {
	const good = `{"verb":"go"}`
	for name, tt := range map[string]struct {
		b    []byte
		want error
	}{
		"nothing":      {nil, io.EOF},
		"half a head":  {[]byte{0, 0}, io.ErrUnexpectedEOF},
		"half a body":  {framed(len(good), good[:5]), io.EOF},
		"too long":     {framed(maxMessage+1, good), errWire},
		"unknown":      {framed(11, `{"other":1}`), errWire},
		"trailing":     {framed(len(good)+2, good+"{}"), errWire},
		"another type": {framed(2, "[]"), errWire},
		"empty":        {framed(0, ""), errWire},
	} {
		var o order
		c := &conn{rw: bytes.NewBuffer(tt.b)}
		if err := c.receive(&o); !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v, want %v", name, err, tt.want)
		}
	}
	c := &conn{rw: new(bytes.Buffer)}
	if err := c.send(order{strings.Repeat("x", maxMessage)}); !errors.Is(err, errWire) {
		t.Errorf("a message over the limit: %v", err)
	}
}

func FuzzReceive(f *testing.F) {
	seeds := []any{
		event{Progress: &progress{1, 2}},
		event{Failure: &failure{failSource, "text", "ENOENT"}},
		event{Ready: &ready{Digests: []fileDigest{{SHA256: make([]byte, 32), Size: 5, Protection: "sealed"}}, Isolation: Isolation{Mode: "closed", Devices: []string{"null"}}}},
		event{Ended: &ended{Code: 1, Signal: 9, OutputOK: true}},
	}
	for _, s := range seeds {
		b, err := json.Marshal(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(framed(len(b), string(b)))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var e event
		if err := (&conn{rw: bytes.NewBuffer(bytes.Clone(b))}).receive(&e); err != nil {
			if !errors.Is(err, errWire) && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatalf("error %v is of no class", err)
			}
			return
		}
		var buf bytes.Buffer
		c := &conn{rw: &buf}
		if err := c.send(e); err != nil {
			t.Fatal(err)
		}
		var again event
		if err := c.receive(&again); err != nil {
			t.Fatal(err)
		}
		first, _ := json.Marshal(e)
		second, _ := json.Marshal(again)
		if diff := cmp.Diff(string(first), string(second)); diff != "" {
			t.Errorf("not the same after a round trip:\n%s", diff)
		}
	})
}

// What init reports is not believed beyond its form.
func TestAcceptRefuses(t *testing.T) {
	sum := func(n int) []byte { return make([]byte, n) }
	whole := fileDigest{SHA256: sum(32), Size: 1, Protection: "sealed"}
	with := func(change func(*fileDigest)) fileDigest {
		d := whole
		change(&d)
		return d
	}
	for name, digests := range map[string][]fileDigest{
		"none": nil, "one too few": {whole}, "one too many": {whole, whole, whole},
		"short":                            {whole, with(func(d *fileDigest) { d.SHA256 = sum(31) })},
		"long":                             {with(func(d *fileDigest) { d.SHA256 = sum(33) }), whole},
		"not measured":                     {with(func(d *fileDigest) { d.SHA256 = nil }), whole},
		"verity of another size":           {with(func(d *fileDigest) { d.FSVerity = sum(48) }), whole},
		"unknown protection":               {with(func(d *fileDigest) { d.Protection = "trust me" }), whole},
		"an input without its flat digest": {whole, with(func(d *fileDigest) { d.SHA256, d.FSVerity = nil, sum(32) })},
	} {
		j := &Jail{spec: Spec{Files: []File{{ID: 1}}, InputFile: "/x"}}
		if err := j.accept(&ready{Digests: digests}); !errors.Is(err, ErrLaunch) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
