package cer_test

import (
	"bytes"
	"crypto"
	"encoding/hex"
	"errors"
	"fmt"
	"testing"

	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
)

// stamped is a capsule with something in each of its lists.
func stamped() *cer.Capsule {
	return &cer.Capsule{
		CER: []byte(`{"a":1}`), Statement: []byte("statement"), Signature: []byte("signature"), Log: []byte("log"),
		Items:      [][]byte{[]byte("item 0"), []byte("item 1")},
		Collateral: []attest.Collateral{{Kind: "crl", Data: []byte("list")}, {Kind: "certificate", Data: []byte("one")}},
		Tokens:     [][]byte{[]byte("token 0"), []byte("token 1")},
	}
}

// oracleArchive computes an archive digest by the words of SPEC, section 6.6, through
// an independent tree.
func oracleArchive(t *testing.T, c *cer.Capsule, h crypto.Hash, tokens int) []byte {
	t.Helper()
	e := attest.EvidenceDigest(c.Statement, c.Signature, c.Items)
	entries := [][]byte{
		append(append([]byte("sworn.run/archive/v1\x00"), e[:]...), 0, byte(len(c.Items)), 0, byte(len(c.Collateral)), 0, byte(tokens)),
		c.CER, c.Statement, c.Signature,
	}
	entries = append(append(entries, c.Items...), c.Log)
	for _, x := range c.Collateral {
		entries = append(entries, []byte(x.Kind+"\x00"+string(x.Data)))
	}
	entries = append(entries, c.Tokens[:tokens]...)
	hasher := rfc6962.New(h)
	var level [][]byte
	for _, e := range entries {
		level = append(level, hasher.HashLeaf(e))
	}
	// A level without a partner passes its last node up: the same tree as RFC 6962's.
	for len(level) > 1 {
		var up [][]byte
		for i := 0; i+1 < len(level); i += 2 {
			up = append(up, hasher.HashChildren(level[i], level[i+1]))
		}
		if len(level)%2 == 1 {
			up = append(up, level[len(level)-1])
		}
		level = up
	}
	return level[0]
}

func TestArchiveDigest(t *testing.T) {
	for _, h := range []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512} {
		for tokens := range 3 {
			got, err := stamped().ArchiveDigest(h, tokens)
			if want := oracleArchive(t, stamped(), h, tokens); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s, %d tokens: %x, %v; want %x", h, tokens, got, err, want)
			}
		}
	}
	for name, x := range map[string]struct {
		h      crypto.Hash
		tokens int
	}{"SHA-1": {crypto.SHA1, 0}, "none": {0, 0}, "more tokens than there are": {crypto.SHA256, 3}, "fewer than none": {crypto.SHA256, -1}} {
		if got, err := stamped().ArchiveDigest(x.h, x.tokens); got != nil || !errors.Is(err, cer.ErrSchema) {
			t.Errorf("%s: %x, %v", name, got, err)
		}
	}
}

// Whatever is changed in a capsule, or moved from one of its lists to the next,
// changes its archive digest; of tokens only those before.
func TestArchiveDigestCovers(t *testing.T) {
	digest := func(edit func(*cer.Capsule)) string {
		c := stamped()
		edit(c)
		d, err := c.ArchiveDigest(crypto.SHA256, 1)
		if err != nil {
			t.Fatal(err)
		}
		return hex.EncodeToString(d)
	}
	seen := map[string]string{digest(func(*cer.Capsule) {}): "nothing"}
	for name, edit := range map[string]func(*cer.Capsule){
		"record":            func(c *cer.Capsule) { c.CER[1] ^= 1 },
		"statement":         func(c *cer.Capsule) { c.Statement[0] ^= 1 },
		"signature":         func(c *cer.Capsule) { c.Signature[0] ^= 1 },
		"log":               func(c *cer.Capsule) { c.Log[0] ^= 1 },
		"item":              func(c *cer.Capsule) { c.Items[1][0] ^= 1 },
		"item gone":         func(c *cer.Capsule) { c.Items = c.Items[:1] },
		"items in order":    func(c *cer.Capsule) { c.Items[0], c.Items[1] = c.Items[1], c.Items[0] },
		"item into the log": func(c *cer.Capsule) { c.Items, c.Log = c.Items[:1], c.Items[1] },
		"collateral":        func(c *cer.Capsule) { c.Collateral[0].Data[0] ^= 1 },
		"collateral's kind": func(c *cer.Capsule) { c.Collateral[0].Kind = "CRL" },
		"kind and data":     func(c *cer.Capsule) { c.Collateral[0] = attest.Collateral{Kind: "crl\x00l", Data: []byte("ist")} },
		"collateral gone":   func(c *cer.Capsule) { c.Collateral = c.Collateral[:1] },
		"token":             func(c *cer.Capsule) { c.Tokens[0][0] ^= 1 },
		"collateral to token": func(c *cer.Capsule) {
			last := c.Collateral[1]
			c.Collateral, c.Tokens = c.Collateral[:1], [][]byte{[]byte(last.Kind + "\x00" + string(last.Data)), c.Tokens[0]}
		},
	} {
		d := digest(edit)
		if other, ok := seen[d]; ok {
			t.Errorf("%s and %s have one digest", name, other)
		}
		seen[d] = name
	}
	if digest(func(c *cer.Capsule) { c.Tokens[1][0] ^= 1 }) != digest(func(*cer.Capsule) {}) {
		t.Error("a token covers a later one")
	}
}

// An archive token covers everything that a capsule holds when it is made.
func ExampleCapsule_ArchiveDigest() {
	c := &cer.Capsule{CER: []byte(`{}`), Statement: []byte("statement")}
	digest, err := c.ArchiveDigest(crypto.SHA512, 0)
	fmt.Println(len(digest), err)
	// Output: 64 <nil>
}
