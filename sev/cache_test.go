package sev

import (
	"crypto/x509"
	"reflect"
	"sync"
	"testing"

	"github.com/sworn-run/sworn/attest"
)

// TestCache: what is found is the same with a cache, whatever it has seen.
func TestCache(t *testing.T) {
	maker := newAMD(t, milan)
	c := newChip(t, maker, signerVCEK, 3)
	ev := c.evidence(t)
	s := Scheme{Cache: NewCache(8)}
	want := verify(t, Scheme{}, ev, maker.anchors())
	for range 3 {
		if got := verify(t, s, ev, maker.anchors()); !reflect.DeepEqual(got, want) {
			t.Errorf("with a cache: %+v, without: %+v", got, want)
		}
	}
	if len(s.Cache.seen) != 4 {
		t.Errorf("%d signatures, want those of root, authority, key and list", len(s.Cache.seen))
	}
	// Trust, dates and revocation are judged anew.
	other := newAMD(t, milan)
	other.ark = newAuthority(t, arkTemplate(milan), nil, "other")
	if got := verify(t, s, ev, other.anchors()); got.Identity.Status != attest.Failed {
		t.Errorf("other anchors: %+v", got.Identity)
	}
	if got := verify(t, s, ev, nil); got.Identity.Status != attest.NotEstablished {
		t.Errorf("no anchors: %+v", got.Identity)
	}
	if got, err := s.Verify(ev, maker.anchors(), testTime.AddDate(2, 0, 0)); err != nil || got.Identity.Status != attest.Failed {
		t.Errorf("later: %+v, %v", got, err)
	}
	revoked := withCollateral(c.report(t), c.chain(t), maker.crl(t, 0x10001))
	if got := verify(t, s, revoked, maker.anchors()); got.Revocation.Status != attest.Failed {
		t.Errorf("revoked since: %+v", got.Revocation)
	}
	if got := verify(t, s, ev, maker.anchors()); !reflect.DeepEqual(got, want) {
		t.Errorf("afterwards: %+v", got)
	}
}

// TestCacheForged: a signature that does not verify is never remembered.
func TestCacheForged(t *testing.T) {
	maker := newAMD(t, milan)
	c := newChip(t, maker, signerVCEK, 3)
	ev := c.evidence(t)
	s := Scheme{Cache: NewCache(8)}
	verify(t, s, ev, maker.anchors())
	der := append([]byte{}, c.certificate(t).Raw...)
	der[len(der)-1] ^= 1
	if _, err := x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	ev.Collateral[0].Data = der
	for range 2 {
		if got := verify(t, s, ev, maker.anchors()); got.Identity.Status != attest.Failed {
			t.Errorf("identity %+v", got.Identity)
		}
	}
}

// TestCacheBound: the oldest goes first, and no more than the size stay.
func TestCacheBound(t *testing.T) {
	c := NewCache(3)
	key := func(i int) [32]byte { return [32]byte{byte(i)} }
	for i := range 10 {
		c.add(key(i))
		c.add(key(i))
		for j := range 10 {
			if want := j <= i && j > i-3; c.has(key(j)) != want {
				t.Errorf("after %d: has %d is %v", i, j, !want)
			}
		}
	}
	if len(c.seen) != 3 || len(c.order) != 3 {
		t.Errorf("%d and %d entries", len(c.seen), len(c.order))
	}
	for n, want := range map[int]int{-1: 1, 0: 1, 1 << 20: maxCache} {
		if c := NewCache(n); cap(c.order) != want {
			t.Errorf("size %d: %d", n, cap(c.order))
		}
	}
	var zero Cache
	zero.add(key(1))
	if zero.has(key(1)) || (*Cache)(nil).has(key(1)) {
		t.Error("no cache remembers")
	}
	(*Cache)(nil).add(key(1))
	if signatureKey([]byte("a"), []byte("bc")) == signatureKey([]byte("ab"), []byte("c")) {
		t.Error("two signatures have one key")
	}
}

// TestCacheConcurrent is for the race detector.
func TestCacheConcurrent(t *testing.T) {
	maker := newAMD(t, milan)
	ev := newChip(t, maker, signerVCEK, 3).evidence(t)
	s := Scheme{Cache: NewCache(2)}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 5 {
				if got, err := s.Verify(ev, maker.anchors(), testTime); err != nil || !allPassed(got) {
					t.Errorf("%+v, %v", got, err)
				}
			}
		})
	}
	wg.Wait()
}
