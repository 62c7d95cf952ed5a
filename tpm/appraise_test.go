package tpm

import (
	"bytes"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/asn1"
	"errors"
	"math/big"
	"testing"
	"time"

	"github.com/sworn-run/sworn/attest"
)

// rawOf is the raw quote of a fake AK.
func rawOf(tb testing.TB, a *fakeAK) *RawQuote {
	tb.Helper()
	q, value := a.newQuote()
	msg := q.marshal()
	return &RawQuote{
		Attest: msg, Signature: a.signBytes(tb, msg), Public: a.pub.marshal(),
		Registers: []attest.RegisterValue{
			{Bank: attest.SHA256, Index: 14, Value: make([]byte, 32)},
			{Bank: attest.SHA256, Index: 13, Value: value},
		},
	}
}

// TestAppraiseQuote says less where less was kept, and never more than the scheme.
func TestAppraiseQuote(t *testing.T) {
	child := newECC(t, elliptic.P256(), attest.SHA256)
	child.parent = appendDigest(attest.SHA256, []byte("a storage key"))
	owner := newECC(t, elliptic.P384(), attest.SHA384)
	owner.hierarchy = []byte{0x40, 0, 0, 1}
	for name, c := range map[string]struct {
		ak     *fakeAK
		change func(*RawQuote)
		mode   attest.Status
	}{
		"primary":           {newECC(t, elliptic.P256(), attest.SHA256), nil, attest.Passed},
		"RSA":               {newRSA(t, 2048, scheme{algRSAPSS, attest.SHA384}), nil, attest.Passed},
		"child":             {child, func(r *RawQuote) { r.Parents = [][]byte{{1, 2}, child.parent} }, attest.Passed},
		"child of unknown":  {child, nil, attest.NotEstablished},
		"owner's hierarchy": {owner, nil, attest.NotEstablished},
		"bare key":          {newECC(t, elliptic.P256(), attest.SHA256), func(r *RawQuote) { r.Key, r.Public = mustKey(t, r.Public), nil }, attest.NotEstablished},
		"bare RSA key":      {newRSA(t, 2048, scheme{algRSASSA, attest.SHA256}), func(r *RawQuote) { r.Key, r.Public = mustKey(t, r.Public), nil }, attest.NotEstablished},
	} {
		r := rawOf(t, c.ak)
		if c.change != nil {
			c.change(r)
		}
		claims, err := AppraiseQuote(r, nil, testTime)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if claims.Mode.Status != c.mode || claims.Mode.Detail == "" || claims.Identity.Status != attest.NotEstablished ||
			len(claims.Registers) != 1 || claims.Registers[0].Index != 13 || claims.Uncovered != 1 || claims.Counters.ResetCount != 5 {
			t.Errorf("%s: %+v", name, claims)
		}
	}
}

func mustKey(t *testing.T, area []byte) any {
	t.Helper()
	k, err := PublicKey(area)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestAppraiseQuoteRefuses each with its class.
func TestAppraiseQuoteRefuses(t *testing.T) {
	a := newECC(t, elliptic.P256(), attest.SHA256)
	free := newECC(t, elliptic.P256(), attest.SHA256)
	free.pub.attributes &^= attrRestricted
	weak := &rsa.PublicKey{N: new(big.Int).Add(new(big.Int).Lsh(big.NewInt(1), 1023), big.NewInt(1)), E: 65537}
	for name, c := range map[string]struct {
		change func(*RawQuote)
		want   error
	}{
		"a byte too many":      {func(r *RawQuote) { r.Attest = append(r.Attest, 0) }, attest.ErrForm},
		"too long":             {func(r *RawQuote) { r.Attest = make([]byte, 20000) }, attest.ErrForm},
		"other message":        {func(r *RawQuote) { r.Attest = bytes.Replace(r.Attest, []byte{7, 7, 7}, []byte{7, 8, 7}, 1) }, attest.ErrSignature},
		"other value":          {func(r *RawQuote) { r.Registers[1].Value = make([]byte, 32) }, attest.ErrSignature},
		"no value":             {func(r *RawQuote) { r.Registers = r.Registers[:1] }, attest.ErrForm},
		"a value twice":        {func(r *RawQuote) { r.Registers = append(r.Registers, r.Registers[0]) }, attest.ErrForm},
		"a short value":        {func(r *RawQuote) { r.Registers[0].Value = r.Registers[0].Value[:20] }, attest.ErrForm},
		"of another bank":      {func(r *RawQuote) { r.Registers[1].Bank = attest.SHA1 }, attest.ErrForm},
		"too many values":      {func(r *RawQuote) { r.Registers = make([]attest.RegisterValue, 200) }, attest.ErrForm},
		"no key":               {func(r *RawQuote) { r.Public = nil }, attest.ErrForm},
		"weak key":             {func(r *RawQuote) { r.Public, r.Key = nil, weak }, attest.ErrSignature},
		"no public key at all": {func(r *RawQuote) { r.Public, r.Key = nil, 7 }, attest.ErrSignature},
		"half an area":         {func(r *RawQuote) { r.Public = r.Public[:40] }, attest.ErrForm},
		"broken certificate":   {func(r *RawQuote) { r.Certificates = [][]byte{{0x30, 3, 1, 2, 3}} }, attest.ErrForm},
		"many certificates":    {func(r *RawQuote) { r.Certificates = make([][]byte, 7) }, attest.ErrForm},
		"unrestricted":         {func(r *RawQuote) { *r = *rawOf(t, free) }, attest.ErrMode},
	} {
		r := rawOf(t, a)
		c.change(r)
		if claims, err := AppraiseQuote(r, nil, testTime); claims != nil || !errors.Is(err, c.want) {
			t.Errorf("%s: %+v, %v, want %v", name, claims, err, c.want)
		}
	}
	if _, err := AppraiseQuote(nil, nil, testTime); !errors.Is(err, attest.ErrArgument) {
		t.Errorf("nil: %v", err)
	}
	if _, err := AppraiseQuote(rawOf(t, a), nil, time.Time{}); !errors.Is(err, attest.ErrArgument) {
		t.Errorf("zero time: %v", err)
	}
}

// TestPlainSignature: the hash is that of the digest's size, and r and s are DER.
func TestPlainSignature(t *testing.T) {
	a := newECC(t, elliptic.P384(), attest.SHA384)
	q, value := a.newQuote()
	msg := q.marshal()
	typed, err := parseSignature(a.signBytes(t, msg))
	if err != nil {
		t.Fatal(err)
	}
	der, err := asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(typed.values[0]), new(big.Int).SetBytes(typed.values[1])})
	if err != nil {
		t.Fatal(err)
	}
	key := mustKey(t, a.pub.marshal())
	sig, err := PlainSignature(msg, der, key)
	if err != nil || !bytes.Equal(sig, typed.marshal()) {
		t.Fatalf("%x, %v", sig, err)
	}
	r := &RawQuote{Attest: msg, Signature: sig, Key: key, Registers: []attest.RegisterValue{{Bank: attest.SHA256, Index: 13, Value: value}}}
	if _, err := AppraiseQuote(r, nil, testTime); err != nil {
		t.Error(err)
	}
	for name, c := range map[string]struct {
		msg, sig []byte
		key      any
		want     error
	}{
		"trailing": {msg, append(bytes.Clone(der), 0), key, attest.ErrForm},
		"empty":    {msg, nil, key, attest.ErrForm},
		"no quote": {msg[1:], der, key, attest.ErrForm},
		"no key":   {msg, der, nil, attest.ErrSignature},
		"negative": {msg, []byte{0x30, 6, 2, 1, 0xFF, 2, 1, 1}, key, attest.ErrForm},
	} {
		if sig, err := PlainSignature(c.msg, c.sig, c.key); sig != nil || !errors.Is(err, c.want) {
			t.Errorf("%s: %x, %v", name, sig, err)
		}
	}
	rsaAK := newRSA(t, 2048, scheme{algRSASSA, attest.SHA256})
	raw := rawOf(t, rsaAK)
	bare, err := parseSignature(raw.Signature)
	if err != nil {
		t.Fatal(err)
	}
	if sig, err := PlainSignature(raw.Attest, bare.values[0], mustKey(t, raw.Public)); err != nil || !bytes.Equal(sig, raw.Signature) {
		t.Errorf("RSA: %v", err)
	}
}

// TestQuoteSelection reads what parseQuote refuses to look at.
func TestQuoteSelection(t *testing.T) {
	a := newECC(t, elliptic.P256(), attest.SHA256)
	q, _ := a.newQuote()
	q.selection = []bankSelection{{attest.SHA1, []byte{1}}, {0x27, nil}}
	s, err := QuoteSelection(q.marshal())
	if err != nil || len(s) != 2 || s[0].Bank != attest.SHA1 || len(s[0].Indices) != 1 || len(s[1].Indices) != 0 {
		t.Fatalf("%+v, %v", s, err)
	}
	for _, b := range [][]byte{nil, q.marshal()[1:], append(q.marshal(), 0), make([]byte, 5000)} {
		if s, err := QuoteSelection(b); s != nil || !errors.Is(err, attest.ErrForm) {
			t.Errorf("%+v, %v", s, err)
		}
	}
	long := bytes.Repeat([]byte{0, 0x0B, 3, 0xFF, 0xFF, 0xFF}, 20_000/6)
	head := q.marshal()[:bytes.Index(q.marshal(), []byte{0, 0, 0, 2, 0, 4})]
	hostile := append(append(bytes.Clone(head), 0, 0, 0x0D, 0x05), long...)
	raw := &RawQuote{Attest: hostile, Signature: a.signBytes(t, hostile), Public: a.pub.marshal()}
	least := time.Hour // what else the machine does takes its time once
	for try := 0; try < 20 && least > 10*time.Millisecond; try++ {
		start := time.Now()
		if _, err := AppraiseQuote(raw, nil, testTime); !errors.Is(err, attest.ErrForm) {
			t.Fatalf("20 KB of selections: %v", err)
		}
		if _, err := QuoteSelection(hostile); !errors.Is(err, attest.ErrForm) {
			t.Fatalf("20 KB of selections: %v", err)
		}
		least = min(least, time.Since(start))
	}
	if least > 10*time.Millisecond {
		t.Errorf("20 KB of selections took %v", least)
	}
}

// TestParentName takes storage keys alone.
func TestParentName(t *testing.T) {
	a := newECC(t, elliptic.P256(), attest.SHA256)
	area := a.pub.marshal()
	if n, err := ParentName(area); n != nil || !errors.Is(err, attest.ErrForm) {
		t.Errorf("a signing key: %x, %v", n, err)
	}
	storage := bytes.Clone(area)
	storage[5] |= byte(attrDecrypt >> 16)
	if n, err := ParentName(storage); err != nil || !bytes.Equal(n, appendDigest(attest.SHA256, storage)) {
		t.Errorf("%x, %v", n, err)
	}
	if n, err := ParentName(storage[:5]); n != nil || !errors.Is(err, attest.ErrForm) {
		t.Errorf("short: %x, %v", n, err)
	}
	if k, err := PublicKey(area[:50]); k != nil || !errors.Is(err, attest.ErrForm) {
		t.Errorf("half a key: %v, %v", k, err)
	}
}
