package tsp

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/limits"
	"github.com/sworn-run/sworn/simulator/tsa"
	"github.com/sworn-run/sworn/testdata"
	"github.com/sworn-run/sworn/verifier/stamp"
)

// digest is what is stamped.
var digest = sha256.Sum256([]byte("what is stamped"))

// serve serves an authority.
func serve(t *testing.T, s *tsa.Service) string {
	t.Helper()
	if s.Authority == nil {
		a, err := tsa.New(time.Now(), tsa.Options{})
		if err != nil {
			t.Fatal(err)
		}
		s.Authority = a
	}
	return listen(t, s)
}

// listen serves anything.
func listen(t *testing.T, h http.Handler) string {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server.URL + tsa.PathStamp
}

// client returns a client that does not wait, and the pauses that it would have made.
func client() (*Client, *[]time.Duration) {
	var pauses []time.Duration
	c := NewClient(nil, nil, time.Now)
	c.pause = func(ctx context.Context, d time.Duration) error {
		pauses = append(pauses, d)
		return ctx.Err()
	}
	return c, &pauses
}

func TestGet(t *testing.T) {
	c, _ := client()
	got, err := c.Get(t.Context(), serve(t, &tsa.Service{}), crypto.SHA256, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	again, err := stamp.Parse(got.DER)
	if err != nil || !again.Covers(crypto.SHA256, digest[:]) || again.Nonce == nil || again.Signer() == nil {
		t.Fatalf("%v, nonce %v", err, again.Nonce)
	}
}

// TestFaults goes through the ways in which an authority can fail: each has its error, and
// only what may pass is tried again.
func TestFaults(t *testing.T) {
	want := map[tsa.Fault]struct {
		err    error
		pauses int
	}{
		tsa.Rejects:      {ErrAnswer, 0},
		tsa.Garbage:      {ErrAnswer, 0},
		tsa.Huge:         {ErrAnswer, 0},
		tsa.Slow:         {ErrUnavailable, 2},
		tsa.HTTPError:    {ErrUnavailable, 2},
		tsa.OtherImprint: {ErrAnswer, 0},
		tsa.OtherNonce:   {ErrAnswer, 0},
		tsa.WrongType:    {ErrAnswer, 0},
		tsa.Expired:      {ErrAnswer, 0},
		tsa.BadSignature: {ErrAnswer, 0},
		tsa.Busy:         {ErrUnavailable, 2},
		tsa.NoSigner:     {ErrAnswer, 0},
	}
	for _, fault := range tsa.Faults() {
		t.Run(string(fault), func(t *testing.T) {
			x, ok := want[fault]
			if !ok {
				t.Fatal("no such case")
			}
			c, pauses := client()
			if fault == tsa.Slow {
				c.http.Timeout = 50 * time.Millisecond
			}
			got, err := c.Get(t.Context(), serve(t, &tsa.Service{Fault: fault}), crypto.SHA256, digest[:])
			if got != nil || !errors.Is(err, x.err) || len(*pauses) != x.pauses {
				t.Fatalf("%v, %d pauses", err, len(*pauses))
			}
		})
	}
}

func TestOtherAnswers(t *testing.T) {
	good := &tsa.Service{}
	address := serve(t, good)
	for name, x := range map[string]struct {
		h      http.HandlerFunc
		err    error
		pauses int
	}{
		"not found": {http.NotFound, ErrUnavailable, 0},
		"told to wait": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(http.StatusTooManyRequests)
		}, ErrUnavailable, 2},
		"told too long": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "3600")
			w.WriteHeader(http.StatusServiceUnavailable)
		}, ErrUnavailable, 0},
		"redirect that keeps it": {func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/there" {
				r.URL.Path = tsa.PathStamp
				good.ServeHTTP(w, r)
				return
			}
			http.Redirect(w, r, "/there", http.StatusTemporaryRedirect)
		}, nil, 0},
		"redirect that loses it": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/there", http.StatusFound) }, ErrAnswer, 0},
		"redirect to another host": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, strings.Replace(address, "127.0.0.1", "localhost", 1), http.StatusTemporaryRedirect)
		}, ErrAnswer, 0},
		"redirects without an end": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/again", http.StatusTemporaryRedirect)
		}, ErrAnswer, 0},
		"ends in the middle": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", typeReply)
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte("x"))
		}, ErrUnavailable, 2},
		"no type": {func(w http.ResponseWriter, _ *http.Request) { w.Header()["Content-Type"] = nil }, ErrAnswer, 0},
	} {
		t.Run(name, func(t *testing.T) {
			c, pauses := client()
			got, err := c.Get(t.Context(), listen(t, x.h), crypto.SHA256, digest[:])
			if (got != nil) != (x.err == nil) || !errors.Is(err, x.err) || len(*pauses) != x.pauses {
				t.Fatalf("%v, %d pauses", err, len(*pauses))
			}
			if name == "told to wait" && slices.Min(*pauses) < 7*time.Second {
				t.Errorf("waited %v", *pauses)
			}
		})
	}
}

func TestArguments(t *testing.T) {
	c, _ := client()
	for _, address := range []string{"", "tsa.example", "ftp://tsa.example", "https://", "http://%"} {
		if _, err := c.Get(t.Context(), address, crypto.SHA256, digest[:]); !errors.Is(err, ErrArgument) {
			t.Errorf("%q: %v", address, err)
		}
	}
	address := serve(t, &tsa.Service{})
	if _, err := c.Get(t.Context(), address, crypto.SHA1, digest[:20]); !errors.Is(err, ErrArgument) {
		t.Errorf("SHA-1: %v", err)
	}
	// A password in the address is in no error.
	_, err := c.Get(t.Context(), "http://user:secret@127.0.0.1:1/tsa", crypto.SHA256, digest[:])
	if text := fmt.Sprint(err); !errors.Is(err, ErrUnavailable) || strings.Contains(text, "secret") {
		t.Error(text)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Get(ctx, address, crypto.SHA256, digest[:]); !errors.Is(err, ErrUnavailable) {
		t.Errorf("ended: %v", err)
	}
}

// golden is a record without tokens.
func golden(t *testing.T) []byte {
	t.Helper()
	b, err := testdata.Golden.ReadFile("golden/golden.cer.json")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestStamp stamps a record, and again, and archives it.
func TestStamp(t *testing.T) {
	c, _ := client()
	now := time.Now()
	a, err := tsa.New(now, tsa.Options{})
	if err != nil {
		t.Fatal(err)
	}
	address := serve(t, &tsa.Service{Authority: a})
	file := golden(t)
	before, err := cer.ParseCapsule(file)
	if err != nil {
		t.Fatal(err)
	}
	trusting := &attest.Anchors{Roots: []attest.Root{{Role: stamp.Role, Certificate: a.Root(), UserSupplied: true}}}

	one := stampOnce(t, c, file, Order{Address: address, Anchors: trusting, Time: time.Minute})
	if e := before.EvidenceDigest(); !one.Token.Covers(crypto.SHA256, e[:]) || one.Early {
		t.Fatalf("over %x, early %v", one.Token.Imprint, one.Early)
	}
	if _, err := c.Stamp(t.Context(), one.File, Order{Address: address}); !errors.Is(err, ErrStamped) {
		t.Errorf("a second time: %v", err)
	}
	stampOnce(t, c, one.File, Order{Address: address, Again: true})
	other := stampOnce(t, c, one.File, Order{Address: serve(t, &tsa.Service{Authority: otherAuthority(t, now)})})

	archived := stampOnce(t, c, other.File, Order{Address: address, Archive: crypto.SHA512})
	capsule, err := cer.ParseCapsule(archived.File)
	if err != nil || len(capsule.Tokens) != 3 {
		t.Fatalf("%v, %d tokens", err, len(capsule.Tokens))
	}
	if d, err := capsule.ArchiveDigest(crypto.SHA512, 2); err != nil || !archived.Token.Covers(crypto.SHA512, d) {
		t.Errorf("the archive token is over %x: %v", archived.Token.Imprint, err)
	}
	if _, err := c.Stamp(t.Context(), archived.File, Order{Address: address, Archive: crypto.SHA512}); !errors.Is(err, ErrStamped) {
		t.Errorf("archived a second time: %v", err)
	}
	stampOnce(t, c, archived.File, Order{Address: address, Archive: crypto.SHA512, Again: true})
	// One by a stronger hash says more.
	weak := stampOnce(t, c, other.File, Order{Address: address, Archive: crypto.SHA256})
	stampOnce(t, c, weak.File, Order{Address: address, Archive: crypto.SHA384})
}

// otherAuthority is one whose issuer has another name.
func otherAuthority(t *testing.T, now time.Time) *tsa.Authority {
	t.Helper()
	a, err := tsa.New(now, tsa.Options{Name: "Other "})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// stampOnce stamps a record, and wants a token more and nothing else.
func stampOnce(t *testing.T, c *Client, file []byte, o Order) *Stamped {
	t.Helper()
	given := bytes.Clone(file)
	got, err := c.Stamp(t.Context(), file, o)
	if err != nil {
		t.Fatal(err)
	}
	was, err := cer.ParseCapsule(given)
	if err != nil {
		t.Fatal(err)
	}
	is, err := cer.ParseCapsule(got.File)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(was.Tokens); len(is.Tokens) != n+1 || !slices.EqualFunc(is.Tokens[:n], was.Tokens, bytes.Equal) || !bytes.Equal(is.Tokens[n], got.Token.DER) {
		t.Fatalf("%d tokens, had %d", len(is.Tokens), n)
	}
	is.Tokens = was.Tokens
	if same, err := is.Encode(); err != nil || !bytes.Equal(same, given) || !bytes.Equal(file, given) {
		t.Fatalf("more than the tokens changed: %v", err)
	}
	return got
}

func TestStampRefuses(t *testing.T) {
	c, _ := client()
	address := serve(t, &tsa.Service{})
	file := golden(t)
	other := otherAuthority(t, time.Now())
	stranger := &attest.Anchors{Roots: []attest.Root{{Role: stamp.Role, Certificate: other.Root(), UserSupplied: true}}}
	full, err := cer.ParseCapsule(file)
	if err != nil {
		t.Fatal(err)
	}
	for i := range limits.Tokens {
		full.Tokens = append(full.Tokens, []byte{0x30, 1, byte(i)})
	}
	crowded, err := full.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for name, x := range map[string]struct {
		file  []byte
		order Order
		err   error
	}{
		"no record":          {[]byte("{}\n"), Order{Address: address}, cer.ErrSchema},
		"a stranger's token": {file, Order{Address: address, Anchors: stranger}, ErrAnswer},
		"nobody is trusted":  {file, Order{Address: address, Anchors: &attest.Anchors{}}, ErrAnswer},
		"archive by SHA-1":   {file, Order{Address: address, Archive: crypto.SHA1}, ErrArgument},
		"no room":            {crowded, Order{Address: address}, ErrFull},
		"no time":            {file, Order{Address: address, Time: time.Nanosecond}, ErrUnavailable},
	} {
		if got, err := c.Stamp(t.Context(), x.file, x.order); got != nil || !errors.Is(err, x.err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	st, err := attest.ParseStatement(full.Statement)
	if err != nil {
		t.Fatal(err)
	}
	past, err := tsa.New(time.UnixMilli(int64(st.Time)).Add(-time.Hour), tsa.Options{})
	if err != nil {
		t.Fatal(err)
	}
	behind := &tsa.Service{Authority: past, Now: func() time.Time { return time.UnixMilli(int64(st.Time)).Add(-2 * time.Minute) }}
	if got := stampOnce(t, c, file, Order{Address: serve(t, behind)}); !got.Early {
		t.Error("a token of two minutes before the claimed time is not called early")
	}
}
