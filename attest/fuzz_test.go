package attest_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/sworn-run/sworn/attest"
)

func FuzzParseStatement(f *testing.F) {
	plain := statement()
	plain.Nonce, plain.Manifest = nil, plain.Manifest[:1]
	seeds := [][]byte{raw(statement()), raw(plain)}
	for _, change := range statementRules {
		s := statement()
		change(s)
		seeds = append(seeds, raw(s))
	}
	accepted := 0
	for _, s := range seeds {
		if _, err := attest.ParseStatement(s); err == nil {
			accepted++
		}
		f.Add(s)
	}
	if accepted == 0 || accepted == len(seeds) {
		f.Fatal("the seeds are not both good and bad")
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := attest.ParseStatement(b)
		if err != nil {
			if s != nil || !errors.Is(err, attest.ErrForm) {
				t.Fatalf("statement %v, error %v", s, err)
			}
			return
		}
		if out, err := s.Encode(); err != nil || !bytes.Equal(out, b) {
			t.Fatalf("encodes to %x, %v", out, err)
		}
		if !bytes.Equal(raw(s), b) {
			t.Fatal("the fields are not those of the bytes")
		}
		if n := len(s.Manifest); n < 1 || n > attest.MaxSlots || len(b) > attest.MaxStatement {
			t.Fatalf("%d slots in %d bytes", n, len(b))
		}
	})
}

func FuzzParseLog(f *testing.F) {
	logs := []*attest.Log{run(), withheld(), logOf(after(whole(1)[:3], whole(2), whole(3)[:6])...), logOf(ev{end, 7})}
	sha1Too := run()
	sha1Too.Banks = []attest.Alg{attest.SHA1, attest.SHA256, attest.SHA384, attest.SHA512}
	seeds := [][]byte{nil, bytes.Join(records(run())[1:], nil), mustEncode(f, sha1Too)}
	for _, l := range logs {
		seeds = append(seeds, mustEncode(f, l))
	}
	if len(seeds) < 5 {
		f.Fatal("no seeds")
	}
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := attest.ParseLog(b)
		if err != nil {
			if l != nil || !errors.Is(err, attest.ErrForm) {
				t.Fatalf("log %v, error %v", l, err)
			}
			return
		}
		if out, err := l.Encode(); err != nil || !bytes.Equal(out, b) {
			t.Fatalf("encodes to %x, %v", out, err)
		}
		s, err := l.Structure()
		if (s == nil) != (err != nil) || err != nil && !errors.Is(err, attest.ErrForm) {
			t.Fatalf("structure %v, error %v", s, err)
		}
		n := uint64(len(l.Events))
		for _, a := range l.Banks {
			if v := l.Replay(a, make([]byte, a.Size()), n); len(v) != a.Size() {
				t.Fatalf("%v replays to %x", a, v)
			}
		}
		if s != nil {
			checkPartition(t, l, s)
		}
	})
}

// checkPartition wants every event of a log in just one place of its structure.
func checkPartition(t *testing.T, l *attest.Log, s *attest.Structure) {
	t.Helper()
	n := 1
	for i := range s.Segments {
		g := &s.Segments[i]
		if g.First != n {
			t.Fatalf("segment %d begins at %d, want %d", i, g.First, n)
		}
		for _, one := range []*attest.Event{g.Begin, g.Key, g.Separator, g.End} {
			if one != nil {
				n++
			}
		}
		n += len(g.Components) + len(g.Environments) + len(g.Commits)
	}
	if n != len(l.Events) {
		t.Fatalf("%d of %d events stand in the structure", n, len(l.Events))
	}
}
