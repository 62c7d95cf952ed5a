package stamp_test

import (
	"bytes"
	"crypto"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/limits"
	"github.com/sworn-run/sworn/simulator/tsa"
	"github.com/sworn-run/sworn/verifier/stamp"
)

// meaning is what a token states, and whose word it is.
type meaning struct {
	Time, Until                                     string
	Accuracy                                        int64
	Policy, Serial, Imprint, Hash, Nonce, Authority string
	Root                                            string
	Ordering                                        bool
}

// meant returns the meaning of a token that is relied on; false for one that is not.
func meant(der []byte, anchors *attest.Anchors) (meaning, bool) {
	tok, err := stamp.Parse(der)
	if err != nil {
		return meaning{}, false
	}
	got := tok.Verify(anchors, nil, stamped)
	if got.Status != attest.Passed {
		return meaning{}, false
	}
	m := meaning{
		Time: tok.Time.String(), Until: got.Until.String(), Accuracy: int64(tok.Accuracy), Policy: tok.Policy, Serial: tok.Serial,
		Imprint: string(tok.Imprint), Hash: tok.Hash.String(), Authority: got.Authority, Root: string(got.Root.Certificate.Raw), Ordering: tok.Ordering,
	}
	if tok.Nonce != nil {
		m.Nonce = tok.Nonce.String()
	}
	return m, true
}

// full is a token with everything in it that one may have.
func full(tb testing.TB) []byte {
	tb.Helper()
	o := order()
	o.Nonce, o.Accuracy = big.NewInt(0x1234567890), 1_500_000_000
	o.Lists = [][]byte{list(tb, authority(), tsa.List{ThisUpdate: stamped})}
	return token(tb, authority(), o)
}

// TestEveryBit flips every bit of a token: it is refused, or means what it meant, since
// certificates and lists that are not needed are signed by nobody.
func TestEveryBit(t *testing.T) {
	der, anchors := full(t), trusting(authority().Root())
	want, ok := meant(der, anchors)
	if !ok {
		t.Fatal("the token itself is not relied on")
	}
	kept := 0
	for i := range der {
		for bit := range 8 {
			if testing.Short() && bit != i%8 {
				continue
			}
			der[i] ^= 1 << bit
			if got, ok := meant(der, anchors); ok {
				kept++
				if got != want {
					t.Fatalf("bit %d of byte %d: %s", bit, i, cmp.Diff(want, got))
				}
			}
			der[i] ^= 1 << bit
		}
	}
	t.Logf("%d bits of %d make no difference", kept, 8*len(der))
	// The list, which is not needed, takes some 250 bytes.
	if kept > 8*300 {
		t.Errorf("%d bits of %d make no difference", kept, 8*len(der))
	}
}

// TestCut cuts a token at every length, and puts something behind it.
func TestCut(t *testing.T) {
	der := full(t)
	for n := range der {
		if _, err := stamp.Parse(der[:n]); !errors.Is(err, attest.ErrForm) {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
	}
	for _, more := range [][]byte{{0}, {5, 0}, der} {
		if _, err := stamp.Parse(slices.Concat(der, more)); !errors.Is(err, attest.ErrForm) {
			t.Errorf("%d bytes behind it: %v", len(more), err)
		}
	}
	if _, err := stamp.Parse(make([]byte, limits.Token+1)); !errors.Is(err, attest.ErrForm) {
		t.Errorf("too long: %v", err)
	}
}

// TestNotDER writes the outer length in other ways, which BER allows.
func TestNotDER(t *testing.T) {
	der := full(t)
	if der[1] != 0x82 {
		t.Fatalf("the length begins with %#x", der[1])
	}
	body := der[4:]
	for name, b := range map[string][]byte{
		"a longer length":   slices.Concat([]byte{0x30, 0x83, 0}, der[2:4], body),
		"no length":         slices.Concat([]byte{0x30, 0x80}, body, []byte{0, 0}),
		"a longer tag":      slices.Concat([]byte{0x3f, 0x10}, der[1:]),
		"a member too many": slices.Concat([]byte{0x30, 0x82, der[2], der[3] + 2}, body, []byte{5, 0}),
	} {
		if _, err := stamp.Parse(b); !errors.Is(err, attest.ErrForm) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestAddsNothing puts certificates of others into a token, up to the limit: the outcome
// stays, and takes no longer than it should.
func TestAddsNothing(t *testing.T) {
	other := newAuthority(t, tsa.Options{})
	anchors := trusting(authority().Root())
	want, ok := meant(token(t, authority(), order()), anchors)
	if !ok {
		t.Fatal("the token itself is not relied on")
	}
	add := func(n int) []byte {
		return token(t, authority(), edited(func(p *tsa.Parts) {
			for i := range n {
				p.Certificates = append(p.Certificates, [][]byte{other.Root().Raw, other.Issuer().Raw, authority().Root().Raw}[i%3])
			}
		}))
	}
	got, ok := meant(add(limits.Certificates-2), anchors)
	if want.Serial = got.Serial; !ok || got != want {
		t.Errorf("with others' certificates: %s", cmp.Diff(want, got))
	}
	if _, err := stamp.Parse(add(limits.Certificates - 1)); !errors.Is(err, attest.ErrForm) {
		t.Errorf("one certificate too many: %v", err)
	}
}

// FuzzParse asserts that a token or an error comes back, never both, that errors are of
// form, and that nothing is relied on but what the authority signed.
func FuzzParse(f *testing.F) {
	der := full(f)
	f.Add(der)
	f.Add(token(f, authority(), edited(func(p *tsa.Parts) { p.KeyID = true })))
	f.Add(token(f, authority(), edited(func(p *tsa.Parts) { p.Signers = 2 })))
	for _, name := range corpus(f) {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	anchors := trusting(authority().Root())
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		tok, err := stamp.Parse(b)
		if (tok == nil) == (err == nil) {
			t.Fatalf("token %v, error %v", tok != nil, err)
		}
		if err != nil {
			e, ok := errors.AsType[*stamp.Error](err)
			if !ok || e.Reason == "" || e.Detail == "" || !errors.Is(err, attest.ErrForm) {
				t.Fatalf("%v", err)
			}
			return
		}
		if len(tok.Imprint) != tok.Hash.Size() || tok.Time.Year() < 2000 || tok.Accuracy < 0 {
			t.Fatalf("%v %x %v", tok.Hash, tok.Imprint, tok.Time)
		}
		if got := tok.Verify(nil, nil, stamped); got.Status == attest.Passed || got.Root != nil || got.Reason == "" {
			t.Fatalf("relied on without roots: %v %q", got.Status, got.Reason)
		}
		got := tok.Verify(anchors, nil, stamped)
		if (got.Status == attest.Passed) != (got.Reason == "") || (got.Status == attest.Passed) && got.Root == nil {
			t.Fatalf("%v %q", got.Status, got.Reason)
		}
		if got.Status == attest.Passed && !bytes.Equal(tok.Imprint, digest[:]) {
			t.Fatalf("forged: %x", tok.Imprint)
		}
		if !bytes.Equal(b, before) {
			t.Fatal("the input was changed")
		}
	})
}

// corpus returns the tokens that OpenSSL has made.
func corpus(tb testing.TB) []string {
	tb.Helper()
	names, err := filepath.Glob("testdata/*.tst")
	if err != nil || len(names) == 0 {
		tb.Fatalf("no tokens in testdata: %v", err)
	}
	return names
}

// FuzzExchange asserts the same of requests and replies, and that what was read is written
// as it was.
func FuzzExchange(f *testing.F) {
	q := stamp.Request{Hash: crypto.SHA256, Imprint: digest[:], Nonce: big.NewInt(77), Certificates: true, Policy: "1.2.3"}
	der, err := q.Marshal()
	if err != nil {
		f.Fatal(err)
	}
	s := &tsa.Service{Authority: authority()}
	f.Add(der)
	f.Add(s.Respond(der))
	q.Policy = ""
	if der, err = q.Marshal(); err != nil {
		f.Fatal(err)
	}
	f.Add(s.Respond(der))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := stamp.ParseRequest(b); (r == nil) == (err == nil) || err != nil && !errors.Is(err, attest.ErrForm) {
			t.Fatalf("request %v, error %v", r != nil, err)
		} else if r != nil {
			der, err := r.Marshal()
			if err != nil {
				t.Fatalf("writing what was read: %v", err)
			}
			// The parameters of the hash may have been absent.
			if again, err := stamp.ParseRequest(der); err != nil || !cmp.Equal(again.Imprint, r.Imprint) || again.Policy != r.Policy || again.Certificates != r.Certificates {
				t.Fatalf("written otherwise than read: %v", err)
			}
		}
		a, err := stamp.ParseResponse(b)
		if (a == nil) == (err == nil) || err != nil && !errors.Is(err, attest.ErrForm) {
			t.Fatalf("reply %v, error %v", a != nil, err)
		}
		if a == nil {
			return
		}
		tok, err := a.Check(&q)
		if (tok == nil) == (err == nil) || err != nil && !errors.Is(err, stamp.ErrReply) && !errors.Is(err, attest.ErrForm) {
			t.Fatalf("token %v, error %v", tok != nil, err)
		}
		if tok != nil && !tok.Covers(q.Hash, q.Imprint) {
			t.Fatal("a token over something else")
		}
	})
}
