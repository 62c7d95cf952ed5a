//go:build linux

package main

import (
	"bufio"
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/cer/nexart"
)

// TestNewRecord wants both ways to seal to make the one record that is verified.
func TestNewRecord(t *testing.T) {
	at, err := time.Parse(cer.TimeLayout, recordDay)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{1 << 10, 64 << 10} {
		r, err := newRecord(size)
		if err != nil {
			t.Fatal(err)
		}
		if len(r.prompt) != size || !bytes.Contains(r.sealed, []byte(`Answer \"none\", à part`)) {
			t.Errorf("a prompt of %d bytes, want %d", len(r.prompt), size)
		}
		if _, err := cer.VerifyIntegrity(r.sealed); err != nil {
			t.Error(err)
		}
		again, err := nexart.Seal(r.text, nexart.SealOptions{CreatedAt: at})
		if err != nil || !bytes.Equal(again, r.sealed) {
			t.Errorf("sealed from JSON: %v,\n%.400s\nwant\n%.400s", err, again, r.sealed)
		}
	}
}

// TestPeer answers in a peer's place.
func TestPeer(t *testing.T) {
	r, err := newRecord(100)
	if err != nil {
		t.Fatal(err)
	}
	_, hash, _ := bytes.Cut(r.sealed, []byte(`"certificateHash":"`))
	right := string(hash[:len("sha256:")+64])
	for _, test := range []struct {
		answer string
		hash   bool // agrees is to be content
		turn   bool // ask is to be content with it as a turn
	}{
		{`{"hash":"` + right + `"}`, true, false},
		{`{"hash":"sha256:` + strings.Repeat("0", 64) + `"}`, false, false},
		{`{"hash":""}`, false, false},
		{`{"wall":5000,"cpu":2000}`, false, true},
		{`{"wall":0,"cpu":2000}`, false, false},
		{`{`, false, false},
		{``, false, false},
	} {
		said := func() *peer { return &peer{&bytes.Buffer{}, bufio.NewReader(strings.NewReader(test.answer + "\n"))} }
		if err := said().agrees(r); (err == nil) != test.hash {
			t.Errorf("%s: %v", test.answer, err)
		}
		c, err := said().ask(map[string]any{"do": "turn", "times": 1})
		if (err == nil) != test.turn || (test.turn && c != cost{5000, 2000}) {
			t.Errorf("%s: %v, %v", test.answer, c, err)
		}
	}
	gone := &peer{&bytes.Buffer{}, bufio.NewReader(strings.NewReader(""))}
	if _, err := gone.ask(map[string]any{"do": "turn"}); err == nil {
		t.Error("a peer that is gone has answered")
	}
}
