package wire

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
)

func TestRoundTrip(t *testing.T) {
	want := []Request{
		{ID: 1, Op: OpExec, Argv: []string{"/bin/x", "a\nb"}, Env: []string{"A=1"}, Data: []byte{0, '\n', 255}, Timeout: 5},
		{ID: 2, Op: OpWrite, Path: "/f", Data: bytes.Repeat([]byte{7}, MaxData), Mode: 0o600},
		{ID: 3, Op: OpMapVerity, Verity: &Verity{Name: "v", Blocks: 9}},
	}
	var b bytes.Buffer
	for i := range want {
		if err := Send(&b, &want[i]); err != nil {
			t.Fatal(err)
		}
	}
	r := NewReader(&b)
	for i := range want {
		var got Request
		if err := r.Receive(&got); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(want[i], got) { // cmp takes a second for a MiB
			t.Errorf("request %d is not what was sent", want[i].ID)
		}
	}
	if err := r.Receive(&Request{}); !errors.Is(err, io.EOF) {
		t.Errorf("after the last message: %v", err)
	}
}

func TestLargestResponseFits(t *testing.T) {
	full := bytes.Repeat([]byte{255}, MaxData)
	if err := Send(io.Discard, &Response{Data: full, Stderr: full}); err != nil {
		t.Fatal(err)
	}
	if err := Send(io.Discard, &Response{Data: append(full, full...), Stderr: full}); !errors.Is(err, ErrMessage) {
		t.Errorf("a message too long: %v", err)
	}
}

// endless never ends a line.
type endless struct{ read int }

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	e.read += len(p)
	return len(p), nil
}

func TestLineIsBounded(t *testing.T) {
	var e endless
	if err := NewReader(&e).Receive(&Request{}); !errors.Is(err, ErrMessage) {
		t.Errorf("an endless line: %v", err)
	}
	if e.read > MaxLine+1<<20 {
		t.Errorf("%d bytes were read of it", e.read)
	}
}

func TestRefused(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want error
	}{
		"empty":     {"\n", ErrMessage},
		"text":      {"hello\n", ErrMessage},
		"two":       {"{} {}\n", ErrMessage},
		"unknown":   {`{"id":1,"what":2}` + "\n", ErrMessage},
		"cut short": {`{"id":1}`, ErrStream},
	} {
		t.Run(name, func(t *testing.T) {
			if err := NewReader(strings.NewReader(c.text)).Receive(&Request{}); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
}

func FuzzReceive(f *testing.F) {
	seeds := 0
	for _, r := range []Request{{}, {ID: 1, Op: OpExec, Argv: []string{"x"}}, {Op: OpMapVerity, Verity: &Verity{Root: "00"}}} {
		var b bytes.Buffer
		if err := Send(&b, &r); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
		seeds++
	}
	if seeds == 0 {
		f.Fatal("no seed")
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var got Request
		err := NewReader(bytes.NewReader(data)).Receive(&got)
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, ErrMessage) && !errors.Is(err, ErrStream) {
				t.Fatalf("unknown class: %v", err)
			}
			if (len(data) == 0) != (errors.Is(err, io.EOF) && !errors.Is(err, ErrStream) && !errors.Is(err, ErrMessage)) {
				t.Fatalf("%d bytes: %v", len(data), err)
			}
			return
		}
		var b bytes.Buffer
		if err := Send(&b, &got); err != nil {
			if !errors.Is(err, ErrMessage) { // escapes may make it longer
				t.Fatal(err)
			}
			return
		}
		var again Request
		if err := NewReader(&b).Receive(&again); err != nil {
			t.Fatalf("what was written is refused: %v", err)
		}
		var c bytes.Buffer
		if err := Send(&c, &again); err != nil {
			t.Fatal(err)
		}
		b.Reset()
		if err := Send(&b, &got); err != nil || !bytes.Equal(b.Bytes(), c.Bytes()) {
			t.Fatalf("round trip: %v\n%s\n%s", err, b.Bytes(), c.Bytes())
		}
	})
}
