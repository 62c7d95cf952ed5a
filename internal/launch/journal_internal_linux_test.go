package launch

import (
	"bytes"
	"slices"
	"testing"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
)

// sampleLog is a log of one launch that began at zero, and the register's values
// after each of its events.
func sampleLog(tb testing.TB) (encoded []byte, values [][]attest.RegisterValue) {
	tb.Helper()
	banks := []attest.Alg{attest.SHA256, attest.SHA384}
	origin := cer.Origin{V: 1, ResetCount: "1", RestartCount: "0", Firmware: "0000000000000000", Identity: cer.SHA256Digest([32]byte{1})}
	for _, b := range banks {
		origin.Start = append(origin.Start, cer.OriginValue{Bank: b.String(), Value: string(bytes.Repeat([]byte("00"), b.Size()))})
	}
	data, err := origin.Encode()
	if err != nil {
		tb.Fatal(err)
	}
	tag := [32]byte{2}
	l := &attest.Log{Register: 13, Banks: banks, Events: []attest.Event{
		attest.NewEvent(0, attest.EventOrigin, [32]byte{}, [32]byte{3}, data),
		attest.NewEvent(1, attest.EventLaunchBegin, tag, [32]byte{4}, []byte("{}")),
		attest.NewEvent(2, attest.EventKey, tag, [32]byte{5}, []byte("key")),
		attest.NewEvent(3, attest.EventSeparator, tag, [32]byte{6}, nil),
		attest.NewEvent(4, attest.EventEnd, tag, [32]byte{7}, []byte(attest.EndAborted)),
	}}
	if encoded, err = l.Encode(); err != nil {
		tb.Fatal(err)
	}
	for n := range len(l.Events) + 1 {
		var now []attest.RegisterValue
		for _, b := range banks {
			now = append(now, attest.RegisterValue{Bank: b, Index: 13, Value: l.Replay(b, make([]byte, b.Size()), uint64(n))})
		}
		values = append(values, now)
	}
	return encoded, values
}

// The longest prefix of a log that the register confirms is kept, wherever the
// launcher died; a register that confirms none has another log.
func TestConfirm(t *testing.T) {
	b, values := sampleLog(t)
	for n, now := range values {
		j := new(journal)
		if got := j.confirm(b, now); got != (n > 0) {
			t.Fatalf("register after %d events: confirmed %v", n, got)
		}
		if n > 0 && j.size() != n {
			t.Errorf("register after %d events: %d kept", n, j.size())
		}
	}
	other := slices.Clone(values[3])
	other[1].Value = values[2][1].Value
	if new(journal).confirm(b, other) {
		t.Error("banks at different events were confirmed")
	}
	if new(journal).confirm(b, values[3][:1]) || new(journal).confirm(b, nil) || new(journal).confirm(nil, values[0]) {
		t.Error("a register with other banks, or no log, was confirmed")
	}
	for cut := range b {
		j := new(journal)
		if j.confirm(b[:cut], values[5]) {
			t.Fatalf("%d of %d bytes were confirmed by the whole log's register", cut, len(b))
		}
		if j.confirm(b[:cut], values[1]) && j.size() != 1 {
			t.Fatalf("%d bytes: %d events kept", cut, j.size())
		}
	}
}

// What a register confirms replays to it, whatever the file holds.
func FuzzConfirm(f *testing.F) {
	b, values := sampleLog(f)
	seeds := 0
	for cut := 0; cut <= len(b); cut += 97 {
		f.Add(b[:cut], uint8(cut%len(values)))
		seeds++
	}
	f.Add(b, uint8(5))
	f.Add(append(slices.Clone(b), make([]byte, 100)...), uint8(5))
	f.Add(bytes.Repeat([]byte{0, 0xff, 0xff, 0xff, 0xff}, 20), uint8(1))
	if seeds == 0 {
		f.Fatal("empty seed corpus")
	}
	f.Fuzz(func(t *testing.T, b []byte, n uint8) {
		if whole := lastWhole(b); !bytes.HasPrefix(b, whole) {
			t.Fatal("the last whole record is not of the file")
		}
		now := values[int(n)%len(values)]
		j := new(journal)
		if !j.confirm(b, now) {
			if j.log != nil {
				t.Fatal("a log was kept that is not confirmed")
			}
			return
		}
		o, err := cer.ParseOrigin(j.log.Events[0].Data)
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range now {
			_, start, err := o.StartValue(i)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(j.log.Replay(v.Bank, start, uint64(j.size())), v.Value) {
				t.Fatal("what was confirmed does not replay to the register")
			}
		}
	})
}
