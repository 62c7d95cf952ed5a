package attest_test

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // G505: an active SHA-1 bank is extended; its values are never accepted.
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sworn-run/sworn/attest"
)

// preimage is what is hashed for an event (SPEC, section 5).
func preimage(e *attest.Event) []byte {
	dataHash := e.DataHash
	if e.Disclosed {
		dataHash = sha256.Sum256(cat(e.Salt, e.Data))
	}
	return cat("sworn.run/event/v1\x00", uint16(e.Type), e.Index, e.Launch, dataHash)
}

// tlv is one TLV of the Canonical Event Log.
func tlv(t byte, v []byte) []byte { return cat(t, uint32(len(v)), v) }

// record writes one record in the banks SHA-256 and SHA-384.
func record(register byte, e *attest.Event) []byte {
	pre := preimage(e)
	h256, h384 := sha256.Sum256(pre), sha512.Sum384(pre)
	content := cat(uint16(e.Type), e.Launch)
	if e.Disclosed {
		content = cat(content, uint8(1), e.Salt, e.Data)
	} else {
		content = cat(content, uint8(0), e.DataHash)
	}
	return cat(tlv(0, cat(e.Index)), tlv(1, []byte{register}),
		tlv(3, cat(tlv(0x0B, h256[:]), tlv(0x0C, h384[:]))), tlv(0x53, content))
}

// withheld returns run() with some events withheld.
func withheld() *attest.Log {
	l := run()
	for _, i := range []int{0, 3, 7} {
		l.Events[i] = l.Events[i].Withhold()
	}
	return l
}

func TestLogEncoding(t *testing.T) {
	for name, l := range map[string]*attest.Log{"disclosed": run(), "partly withheld": withheld()} {
		t.Run(name, func(t *testing.T) {
			var want []byte
			for i := range l.Events {
				want = append(want, record(13, &l.Events[i])...)
			}
			b := mustEncode(t, l)
			if !bytes.Equal(b, want) {
				t.Fatalf("encoding\n got %x\nwant %x", b, want)
			}
			got, err := attest.ParseLog(b)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(l, got); d != "" {
				t.Error(d)
			}
			if again := mustEncode(t, got); !bytes.Equal(again, b) {
				t.Error("parsed and encoded again, the bytes differ")
			}
		})
	}
}

func TestEventDigest(t *testing.T) {
	for _, e := range run().Events {
		if got, want := e.Preimage(), preimage(&e); !bytes.Equal(got, want) {
			t.Errorf("event %d: preimage %x, want %x", e.Index, got, want)
		}
		if got, want := e.Digest(), sha256.Sum256(preimage(&e)); got != want {
			t.Errorf("event %d: digest %x, want %x", e.Index, got, want)
		}
		if len(e.Preimage()) != 19+2+8+32+32 {
			t.Errorf("preimage of %d bytes", len(e.Preimage()))
		}
	}
}

func TestWithhold(t *testing.T) {
	for _, e := range run().Events {
		w := e.Withhold()
		if w.Disclosed || w.Data != nil || w.Salt != [32]byte{} {
			t.Errorf("event %d still discloses", e.Index)
		}
		if w.Digest() != e.Digest() {
			t.Errorf("event %d: the digest has changed", e.Index)
		}
		if !e.Disclosed || len(e.Data) == 0 {
			t.Errorf("event %d: the original has changed", e.Index)
		}
	}
}

// NewEvent keeps no reference to the data it is given.
func TestNewEventCopies(t *testing.T) {
	data := []byte("data")
	e := attest.NewEvent(1, component, filled(1), filled(2), data)
	clear(data)
	if string(e.Data) != "data" || e.DataHash != sha256.Sum256(cat(filled(2), "data")) {
		t.Errorf("event %+v", e)
	}
}

func TestReplay(t *testing.T) {
	l := run()
	l.Banks = []attest.Alg{attest.SHA1, attest.SHA256, attest.SHA384}
	v1, v256, v384 := make([]byte, 20), make([]byte, 32), bytes.Repeat([]byte{5}, 48)
	start := bytes.Clone(v384)
	for n := range len(l.Events) + 1 {
		for alg, want := range map[attest.Alg][]byte{attest.SHA1: v1, attest.SHA256: v256} {
			if got := l.Replay(alg, make([]byte, alg.Size()), uint64(n)); !bytes.Equal(got, want) {
				t.Errorf("%v, %d events: %x, want %x", alg, n, got, want)
			}
		}
		if got := l.Replay(attest.SHA384, start, uint64(n)); !bytes.Equal(got, v384) {
			t.Errorf("sha384, %d events: %x, want %x", n, got, v384)
		}
		if n == len(l.Events) {
			break
		}
		pre := preimage(&l.Events[n])
		d1, d256, d384 := sha1.Sum(pre), sha256.Sum256(pre), sha512.Sum384(pre)
		e1, e256, e384 := sha1.Sum(cat(v1, d1[:])), sha256.Sum256(cat(v256, d256[:])), sha512.Sum384(cat(v384, d384[:]))
		v1, v256, v384 = e1[:], e256[:], e384[:]
	}
	if !bytes.Equal(start, bytes.Repeat([]byte{5}, 48)) {
		t.Error("the start value was changed")
	}
}

func TestReplayRefuses(t *testing.T) {
	l := run()
	n := uint64(len(l.Events))
	for name, got := range map[string][]byte{
		"bank not in the log": l.Replay(attest.SHA512, make([]byte, 64), n),
		"unknown bank":        l.Replay(0, nil, n),
		"start too short":     l.Replay(attest.SHA256, make([]byte, 31), n),
		"start too long":      l.Replay(attest.SHA256, make([]byte, 33), n),
		"no start":            l.Replay(attest.SHA256, nil, n),
		"log too short":       l.Replay(attest.SHA256, make([]byte, 32), n+1),
		"far too short":       l.Replay(attest.SHA256, make([]byte, 32), 1<<64-1),
		"empty log":           (&attest.Log{}).Replay(attest.SHA256, make([]byte, 32), 0),
	} {
		if got != nil {
			t.Errorf("%s: %x, want nil", name, got)
		}
	}
}

func TestDigests(t *testing.T) {
	l := run()
	for n := range len(l.Events) + 3 {
		got := l.Digests(uint64(n))
		if len(got) != min(n, len(l.Events)) {
			t.Errorf("%d digests of the first %d events", len(got), n)
		}
		for i := range got {
			if got[i] != sha256.Sum256(preimage(&l.Events[i])) {
				t.Errorf("digest %d is %x", i, got[i])
			}
		}
	}
	if got := l.Digests(1<<64 - 1); len(got) != len(l.Events) {
		t.Errorf("%d digests", len(got))
	}
}

func TestLaunchID(t *testing.T) {
	l := run()
	pre := []byte("sworn.run/launch/v1\x00")
	for i := 1; i <= 6; i++ {
		pre = cat(pre, sha256.Sum256(preimage(&l.Events[i])))
	}
	if got, want := attest.LaunchID(l.Events[1:7]), sha256.Sum256(pre); got != want {
		t.Errorf("launch id %x, want %x", got, want)
	}
	s, err := withheld().Structure()
	if err != nil {
		t.Fatal(err)
	}
	if s.Segments[0].Launch != sha256.Sum256(pre) {
		t.Error("withheld data changes the launch id")
	}
}

// logRules has one log for every rule that the encoding cannot express.
var logRules = map[string]func(*attest.Log){
	"no events":              func(l *attest.Log) { l.Events = nil },
	"register 256":           func(l *attest.Log) { l.Register = 256 },
	"no banks":               func(l *attest.Log) { l.Banks = nil },
	"five banks":             func(l *attest.Log) { l.Banks = []attest.Alg{4, 0xB, 0xC, 0xD, 0x27} },
	"unknown bank":           func(l *attest.Log) { l.Banks = []attest.Alg{0x12} },
	"bank 0":                 func(l *attest.Log) { l.Banks = []attest.Alg{0} },
	"bank twice":             func(l *attest.Log) { l.Banks = []attest.Alg{0xB, 0xB} },
	"banks descending":       func(l *attest.Log) { l.Banks = []attest.Alg{0xC, 0xB} },
	"index twice":            func(l *attest.Log) { l.Events[2].Index = 1 },
	"index left out":         func(l *attest.Log) { l.Events[8].Index = 9 },
	"index from 1":           func(l *attest.Log) { l.Events = l.Events[1:] },
	"type 0":                 func(l *attest.Log) { l.Events[4].Type = 0 },
	"type 9":                 func(l *attest.Log) { l.Events[4].Type = 9 },
	"data too long":          func(l *attest.Log) { l.Events[3] = sized(3, attest.MaxEventData+1) },
	"data is not the hash's": func(l *attest.Log) { l.Events[3].Data = []byte("other") },
	"salt is not the hash's": func(l *attest.Log) { l.Events[3].Salt[0] ^= 1 },
	"hash is not the data's": func(l *attest.Log) { l.Events[3].DataHash[0] ^= 1 },
	"withheld with data":     func(l *attest.Log) { l.Events[3].Disclosed = false },
	"withheld with salt":     func(l *attest.Log) { l.Events[3].Disclosed, l.Events[3].Data = false, nil },
}

// sized returns a component event with that many bytes of data.
func sized(index, n int) attest.Event {
	return attest.NewEvent(uint64(index), component, filled(1), filled(2), make([]byte, n))
}

func TestLogRules(t *testing.T) {
	for name, change := range logRules {
		t.Run(name, func(t *testing.T) {
			l := run()
			change(l)
			b, err := l.Encode()
			wantForm(t, err)
			if b != nil {
				t.Error("bytes beside an error")
			}
		})
	}
	_, err := (*attest.Log)(nil).Encode()
	wantForm(t, err)
	_, err = (&attest.Log{}).Encode()
	wantForm(t, err)
	_, err = (&attest.Log{}).Structure()
	wantForm(t, err)
}

// records returns the records of a log one by one.
func records(l *attest.Log) [][]byte {
	var out [][]byte
	for i := range l.Events {
		out = append(out, l.AppendRecord(nil, &l.Events[i]))
	}
	return out
}

// relabelled returns a record whose content has been edited, its digests left
// as they are or made to fit.
func relabelled(e attest.Event, fit bool, edit func(*attest.Event)) []byte {
	old, l := e, run()
	edit(&e)
	r := l.AppendRecord(nil, &e)
	if fit {
		return r
	}
	// Everything before the content is 13 + 6 + 5 + 37 + 53 bytes.
	return cat(l.AppendRecord(nil, &old)[:114], r[114:])
}

func TestLogTampered(t *testing.T) {
	l := run()
	r := records(l)
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	with := func(i int, b []byte) []byte {
		c := append([][]byte(nil), r...)
		c[i] = b
		return join(c...)
	}
	bank256 := &attest.Log{Register: 13, Banks: []attest.Alg{attest.SHA256}}
	other := &attest.Log{Register: 14, Banks: l.Banks}
	pre := preimage(&l.Events[0])
	h1, h256, h384 := sha1.Sum(pre), sha256.Sum256(pre), sha512.Sum384(pre)
	head, content := cat(tlv(0, make([]byte, 8)), tlv(1, []byte{13})), r[0][114:]
	only := func(digests []byte) []byte { return cat(head, tlv(3, digests), content) }
	for name, b := range map[string][]byte{
		"empty":                        nil,
		"first record dropped":         join(r[1:]...),
		"record dropped":               join(join(r[:3]...), join(r[4:]...)),
		"record twice":                 join(join(r[:4]...), join(r[3:]...)),
		"records swapped":              join(r[0], r[2], r[1], join(r[3:]...)),
		"type relabelled":              with(3, relabelled(l.Events[3], false, func(e *attest.Event) { e.Type = environ })),
		"launch relabelled":            with(3, relabelled(l.Events[3], false, func(e *attest.Event) { e.Launch[0]++ })),
		"data replaced":                with(3, relabelled(l.Events[3], false, func(e *attest.Event) { *e = sized(3, 6) })),
		"digest of an earlier record":  with(4, cat(tlv(0, cat(uint64(4))), r[3][13:])),
		"one bank left out later":      with(8, bank256.AppendRecord(nil, &l.Events[8])),
		"another register later":       with(8, other.AppendRecord(nil, &l.Events[8])),
		"trailing byte":                cat(join(r...), uint8(0)),
		"trailing TLV":                 cat(join(r...), tlv(0x53, nil)),
		"type 0 with digests that fit": with(3, relabelled(l.Events[3], true, func(e *attest.Event) { e.Type = 0 })),
		"type 9 with digests that fit": with(3, relabelled(l.Events[3], true, func(e *attest.Event) { e.Type = 9 })),
		"index 2^63 with digests":      with(8, relabelled(l.Events[8], true, func(e *attest.Event) { e.Index = 1 << 63 })),
		"no digests":                   only(nil),
		"banks descending":             only(cat(tlv(0x0C, h384[:]), tlv(0x0B, h256[:]))),
		"bank twice":                   only(cat(tlv(0x0B, h256[:]), tlv(0x0B, h256[:]))),
		"five banks": only(cat(tlv(4, h1[:]), tlv(0x0B, h256[:]), tlv(0x0C, h384[:]), tlv(0x0D, make([]byte, 64)),
			tlv(0x0B, h256[:]))),
		"unknown bank":             only(tlv(0x12, h256[:])),
		"digest too short":         only(tlv(0x0B, h256[:31])),
		"digest too long":          only(tlv(0x0B, cat(h256, uint8(0)))),
		"record number of 4 bytes": cat(tlv(0, make([]byte, 4)), tlv(1, []byte{13}), tlv(3, tlv(0x0B, h256[:])), content),
		"register of 4 bytes":      cat(tlv(0, make([]byte, 8)), tlv(1, make([]byte, 4)), tlv(3, tlv(0x0B, h256[:])), content),
		"register of 0 bytes":      cat(tlv(0, make([]byte, 8)), tlv(1, nil), tlv(3, tlv(0x0B, h256[:])), content),
		"parts out of order":       cat(tlv(1, []byte{13}), tlv(0, make([]byte, 8)), tlv(3, tlv(0x0B, h256[:])), content),
		"another content type":     cat(r[0][:114], uint8(5), content[1:]),
		"length beyond the end":    cat(r[0][:114], uint8(0x53), uint32(1<<32-1), content[5:]),
		"disclosure flag 2":        cat(r[0][:114+5+34], uint8(2), r[0][114+5+35:]),
		"withheld with more":       with(3, withheldPlus(l, 3)),
		"content too short":        cat(r[0][:114], tlv(0x53, content[5:5+34])),
		"salt cut short":           cat(r[0][:114], tlv(0x53, content[5:5+35+31])),
	} {
		t.Run(name, func(t *testing.T) {
			got, err := attest.ParseLog(b)
			wantForm(t, err)
			if got != nil {
				t.Error("a log beside an error")
			}
		})
	}
	if _, err := attest.ParseLog(only(cat(tlv(0x0B, h256[:]), tlv(0x0C, h384[:])))); err != nil {
		t.Errorf("the record that the edits begin from: %v", err)
	}
}

// withheldPlus is a withheld record with one byte too many.
func withheldPlus(l *attest.Log, i int) []byte {
	e := l.Events[i].Withhold()
	r := l.AppendRecord(nil, &e)
	return cat(r[:114], tlv(0x53, cat(r[119:], uint8(0))))
}

// An event that the log's own writer dropped, added, swapped or relabelled gives
// a log that parses, and another register.
func TestLogEdited(t *testing.T) {
	replay := func(l *attest.Log) string {
		p, err := attest.ParseLog(mustEncode(t, l))
		if err != nil {
			t.Fatal(err)
		}
		return string(p.Replay(attest.SHA256, make([]byte, 32), uint64(len(p.Events))))
	}
	seen := map[string]string{"": "nothing", replay(run()): "the log itself"}
	for name, edit := range map[string]func(*attest.Log){
		"last dropped": func(l *attest.Log) { l.Events = l.Events[:8] },
		"added":        func(l *attest.Log) { l.Events = append(l.Events, sized(9, 1)) },
		"relabelled":   func(l *attest.Log) { l.Events[5].Type = component },
		"of another":   func(l *attest.Log) { l.Events[5].Launch = filled(2) },
		"other data":   func(l *attest.Log) { l.Events[3] = sized(3, 5) },
		"other salt": func(l *attest.Log) {
			l.Events[3] = attest.NewEvent(3, component, filled(1), filled(9), l.Events[3].Data)
		},
		"data to salt": func(l *attest.Log) { l.Events[3] = attest.NewEvent(3, component, filled(1), filled(2), nil) },
		"swapped": func(l *attest.Log) {
			a, b := l.Events[3], l.Events[4]
			a.Index, b.Index = 4, 3
			l.Events[3], l.Events[4] = b, a
		},
		"first dropped": func(l *attest.Log) { l.Events = l.Events[1:]; renumber(l) },
	} {
		l := run()
		edit(l)
		v := replay(l)
		if other, ok := seen[v]; ok {
			t.Errorf("%s replays as %s does", name, other)
		}
		seen[v] = name
	}
	if replay(withheld()) != replay(run()) {
		t.Error("withholding changes the replay")
	}
}

func renumber(l *attest.Log) {
	for i := range l.Events {
		l.Events[i].Index = uint64(i)
	}
}

// No bit of an encoded log can change: every bit is under a digest that the
// parser recomputes. Only the register's number, which the manifest names too,
// is the log's word; in each record it must be the same.
func TestLogBits(t *testing.T) {
	good := mustEncode(t, withheld())
	for i := range len(good) * 8 {
		b := bytes.Clone(good)
		b[i/8] ^= 1 << (i % 8)
		if l, err := attest.ParseLog(b); l != nil || !errors.Is(err, attest.ErrForm) {
			t.Errorf("bit %d: %v, %v", i, l, err)
		}
	}
	for n := range good {
		l, err := attest.ParseLog(good[:n])
		if err == nil && !bytes.Equal(mustEncode(t, l), good[:n]) {
			t.Errorf("first %d bytes parse to something else", n)
		}
		if err != nil && (l != nil || !errors.Is(err, attest.ErrForm)) {
			t.Errorf("first %d bytes: %v, %v", n, l, err)
		}
	}
}

// A log that is just within a bound parses, and one just beyond is refused.
func TestLogBounds(t *testing.T) {
	small := &attest.Log{Register: 255, Banks: []attest.Alg{attest.SHA256}}
	for i := range attest.MaxEvents {
		small.Events = append(small.Events, attest.Event{Index: uint64(i), Type: component, Launch: filled(1)})
	}
	b := mustEncode(t, small)
	if _, err := attest.ParseLog(b); err != nil {
		t.Errorf("%d events: %v", attest.MaxEvents, err)
	}
	one := attest.Event{Index: attest.MaxEvents, Type: component, Launch: filled(1)}
	_, err := attest.ParseLog(small.AppendRecord(b, &one))
	wantForm(t, err)
	small.Events = append(small.Events, one)
	_, err = small.Encode()
	wantForm(t, err)

	large := &attest.Log{Register: 0, Banks: []attest.Alg{attest.SHA1, attest.SHA256, attest.SHA384, attest.SHA512}}
	large.Events = []attest.Event{sized(0, attest.MaxEventData)}
	if _, err := attest.ParseLog(mustEncode(t, large)); err != nil {
		t.Errorf("%d bytes of data: %v", attest.MaxEventData, err)
	}
	big := sized(0, attest.MaxEventData+1)
	_, err = attest.ParseLog(large.AppendRecord(nil, &big))
	wantForm(t, err)

	for len(large.Events)*attest.MaxEventData < attest.MaxLog {
		large.Events = append(large.Events, sized(len(large.Events), attest.MaxEventData))
	}
	_, err = large.Encode()
	wantForm(t, err)
	_, err = attest.ParseLog(make([]byte, attest.MaxLog+1))
	wantForm(t, err)
}

// What is beyond a bound is refused before it costs anything.
func TestLogBoundsAllocation(t *testing.T) {
	l := &attest.Log{Register: 0, Banks: []attest.Alg{attest.SHA256}}
	big := sized(0, 8<<20)
	for name, b := range map[string][]byte{
		"too large a log":    make([]byte, attest.MaxLog+1),
		"too large an event": l.AppendRecord(nil, &big),
		"length of 4 GiB":    cat(uint8(0), uint32(1<<32-1)),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := attest.ParseLog(b)
		runtime.ReadMemStats(&after)
		wantForm(t, err)
		n := after.TotalAlloc - before.TotalAlloc
		if n > 64<<10 {
			t.Errorf("%s: %d bytes allocated", name, n)
		}
	}
}
