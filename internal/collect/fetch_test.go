package collect

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sworn-run/sworn/internal/limits"
	simintel "github.com/sworn-run/sworn/simulator/intel"
)

// crlPath is what the tests of asking ask for.
const crlPath = "/vcek/v1/Milan/crl"

// askCRL asks for the revocation list of a vendor's.
func askCRL(ctx context.Context, c *Client) ([]byte, error) {
	a, err := c.get(ctx, crlResource("list", c.kds+crlPath, "", "ARK-Milan"))
	if a == nil {
		return nil, err
	}
	return a.Body, err
}

// TestBackOff waits longer each time, and as long as it is told.
func TestBackOff(t *testing.T) {
	v, a := newVendor(t), newAMD(t, "Milan", 3)
	c, now, waited := testClient(t, v, nil)
	answers := []http.HandlerFunc{
		code(429), code(503), code(429, "Retry-After", "20"), code(429, "Retry-After", now.Add(30*time.Second).Format(http.TimeFormat)), body(a.crl),
	}
	v.on(crlPath, func(w http.ResponseWriter, r *http.Request) {
		answers[0](w, r)
		answers = answers[1:]
	})
	got, err := askCRL(t.Context(), c)
	if err != nil || !bytes.Equal(got, a.crl) {
		t.Fatal(err)
	}
	least := []time.Duration{firstPause, 2 * firstPause, 20 * time.Second, 30 * time.Second}
	most := []time.Duration{2 * firstPause, 4 * firstPause, 20 * time.Second, 30 * time.Second}
	if len(waited.all) != len(least) {
		t.Fatalf("waited %v", waited.all)
	}
	for i, d := range waited.all {
		if d < least[i] || d > most[i] {
			t.Errorf("pause %d of %v, want %v to %v", i, d, least[i], most[i])
		}
	}
}

// TestGiveUp ends in good time.
func TestGiveUp(t *testing.T) {
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		asked  int
		class  error
	}{
		"busy":       {code(429), tries, ErrUnavailable},
		"broken":     {code(500), tries, ErrUnavailable},
		"too long":   {code(429, "Retry-After", "3600"), 1, ErrUnavailable},
		"not there":  {code(404), 1, ErrUnavailable},
		"refused":    {code(403), 1, ErrUnavailable},
		"empty":      {body(nil), 1, ErrAnswer},
		"no content": {code(204), 1, ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			v := newVendor(t)
			v.on(crlPath, c.answer)
			client, _, _ := testClient(t, v, nil)
			if got, err := askCRL(t.Context(), client); got != nil || !errors.Is(err, c.class) {
				t.Errorf("%x, %v", got, err)
			}
			if n := len(v.requests()); n != c.asked {
				t.Errorf("asked %d times, want %d", n, c.asked)
			}
		})
	}
}

// TestCut asks again for an answer that broke off.
func TestCut(t *testing.T) {
	v, a := newVendor(t), newAMD(t, "Milan", 3)
	n := 0
	v.on(crlPath, func(w http.ResponseWriter, r *http.Request) {
		if n++; n < 3 {
			w.Header().Set("Content-Length", "100000")
			_, _ = w.Write(a.crl[:10])
			return
		}
		body(a.crl)(w, r)
	})
	c, _, _ := testClient(t, v, nil)
	if got, err := askCRL(t.Context(), c); err != nil || !bytes.Equal(got, a.crl) || n != 3 {
		t.Errorf("%v, after %d", err, n)
	}
}

// TestDown: a host that does not answer holds nobody up twice.
func TestDown(t *testing.T) {
	v := newVendor(t)
	c, _, waited := testClient(t, v, nil)
	v.Close()
	for range 2 {
		if _, err := askCRL(t.Context(), c); !errors.Is(err, ErrUnavailable) {
			t.Fatal(err)
		}
		if len(waited.all) != silentTries-1 {
			t.Fatalf("waited %d times", len(waited.all))
		}
	}
}

// TestContext ends when its caller does.
func TestContext(t *testing.T) {
	v := newVendor(t)
	v.on(crlPath, code(429))
	c, _, _ := testClient(t, v, nil)
	c.pause = pause
	ctx, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	if _, err := askCRL(ctx, c); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if err := pause(t.Context(), time.Millisecond); err != nil {
		t.Error(err)
	}
}

// TestAnswers refuses what is not what was asked for.
func TestAnswers(t *testing.T) {
	a, other := newAMD(t, "Milan", 3), newAMD(t, "Genoa", 3)
	large := append(slices.Clone(a.crl), make([]byte, limits.CollateralItem)...)
	for name, answer := range map[string][]byte{
		"text":            []byte("<html>come back later</html>"),
		"PEM":             pemOf(a.ark),
		"certificate":     a.ark.cert.Raw,
		"another's":       other.crl,
		"something after": append(slices.Clone(a.crl), 0),
		"cut":             a.crl[:len(a.crl)-1],
		"too large":       large,
	} {
		t.Run(name, func(t *testing.T) {
			v := newVendor(t)
			v.on(crlPath, body(answer))
			c, _, _ := testClient(t, v, nil)
			if got, err := askCRL(t.Context(), c); got != nil || !errors.Is(err, ErrAnswer) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			if n := len(v.requests()); n != 1 {
				t.Errorf("asked %d times", n)
			}
			if kept, _ := filepath.Glob(c.cache.dir + "/*"); len(kept) != 0 {
				t.Errorf("kept %q", kept)
			}
		})
	}
}

// TestPublished refuses certificates and answers of Intel's that are of something else.
func TestPublished(t *testing.T) {
	a, other := newAMD(t, "Milan", 3), newAMD(t, "Milan", 3)
	x, sgx := newIntel(t, simintel.PlatformCA, true), newIntel(t, simintel.PlatformCA, false)
	x.publish(t, newVendor(t))
	sgx.publish(t, newVendor(t))
	chain, tcb, info := header(x.signer, x.root), x.pathTCB(), "TDX TCB info of FMSPC "+x.fmspc
	changed := func(from, to string) http.HandlerFunc {
		if !bytes.Contains(x.tcb, []byte(from)) {
			t.Fatalf("%s has no %s", x.tcb, from)
		}
		return body(bytes.ReplaceAll(x.tcb, []byte(from), []byte(to)), headerTCBInfo, chain)
	}
	vcek := "/vcek/v1/Milan/" + chipMilan + splMilan
	for name, c := range map[string]struct {
		path   string
		answer http.HandlerFunc
		item   string
	}{
		"VCEK of another chip": {vcek, body(other.vcek.cert.Raw), "VCEK"},
		"VCEK is the ASK":      {vcek, body(a.ask.cert.Raw), "VCEK"},
		"VCEK in PEM":          {vcek, body(pemOf(a.vcek)), "VCEK"},
		"VCEK too large":       {vcek, body(make([]byte, limits.Certificate+1)), "VCEK"},
		"chain without root":   {"/vcek/v1/Milan/cert_chain", body(pemOf(a.ask)), "certificates of SEV-Milan"},
		"chain of VLEKs":       {"/vcek/v1/Milan/cert_chain", body(pemOf(a.asvk, a.ark)), "certificates of SEV-Milan"},
		"chain with text":      {"/vcek/v1/Milan/cert_chain", body(append([]byte("hello\n"), pemOf(a.ask, a.ark)...)), "certificates of SEV-Milan"},
		"chain of many":        {"/vcek/v1/Milan/cert_chain", body(bytes.Repeat(pemOf(a.ark), limits.Certificates+1)), "certificates of SEV-Milan"},
		"TCB info of SGX":      {tcb, body(sgx.tcb, headerTCBInfo, chain), info},
		"TCB info's case":      {tcb, changed(`"tcbInfo"`, `"TcbInfo"`), info},
		"TCB info of another":  {tcb, changed(`"`+strings.ToUpper(x.fmspc), `"00`+strings.ToUpper(x.fmspc[2:])), info},
		"TCB info's date":      {tcb, changed(`"nextUpdate":"2`, `"nextUpdate":"soon, 2`), info},
		"TCB info twice":       {tcb, changed(`{"tcbInfo"`, `{"tcbInfo":{},"tcbInfo"`), info},
		"TCB info unsigned":    {tcb, changed(`"signature"`, `"signatur"`), info},
		"TCB info unchained":   {tcb, body(x.tcb), info},
		"TCB info's chain":     {tcb, body(x.tcb, headerTCBInfo, "%zz"), info},
		"identity of SGX": {
			x.pathQE(), body(sgx.qe, headerIdentity, chain), "identity of the TDX quoting enclave",
		},
	} {
		t.Run(name, func(t *testing.T) {
			v := newVendor(t)
			a.publish(v, "Milan")
			x.publish(t, v)
			v.on(c.path, c.answer)
			client, _, _ := testClient(t, v, nil)
			_, problems := client.Evidence(t.Context(), evidence(partReport, a.report))
			_, more := client.Evidence(t.Context(), evidence(partQuote, x.quote(t, 4)))
			onlyProblem(t, append(problems, more...), c.item, ErrAnswer)
		})
	}
}

// TestRedirects follows few, and none out of TLS or to another host without it.
func TestRedirects(t *testing.T) {
	a := newAMD(t, "Milan", 3)
	plain := newVendor(t)
	plain.on("/elsewhere", body(a.crl))
	secure := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/down/elsewhere":
			http.Redirect(w, r, plain.URL+"/elsewhere", http.StatusFound)
		case "/ok/elsewhere":
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		case "/loop/elsewhere":
			http.Redirect(w, r, "/loop/elsewhere", http.StatusFound)
		default:
			if ref := r.Referer(); ref != "" {
				t.Errorf("told where it came from: %s", ref)
			}
			_, _ = w.Write(a.crl)
		}
	}))
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	defer secure.Close()
	other := newVendor(t)
	other.on("/elsewhere", body(a.crl))
	plain.on("/other/elsewhere", code(302, "Location", other.URL+"/elsewhere"))
	plain.on("/same/elsewhere", code(302, "Location", "/elsewhere"))
	plain.on("/up/elsewhere", code(302, "Location", secure.URL+"/elsewhere"))
	for base, class := range map[string]error{
		secure.URL + "/ok": nil, secure.URL + "/down": ErrAnswer, secure.URL + "/loop": ErrAnswer,
		plain.URL + "/same": nil, plain.URL + "/other": ErrAnswer, plain.URL + "/up": nil,
	} {
		c, _, waited := testClient(t, plain, func(o *Options) { o.KDS, o.HTTP, o.CacheDir = base, secure.Client(), "" })
		got, err := c.get(t.Context(), crlResource("list", c.kds+"/elsewhere", "", "ARK-Milan"))
		if !errors.Is(err, class) || (got == nil) != (err != nil) || len(waited.all) > 0 {
			t.Errorf("%s: %v", base, err)
		}
	}
	// A certificate that nobody vouches for is no vendor's.
	c, _, waited := testClient(t, plain, func(o *Options) { o.KDS = secure.URL })
	if _, err := c.get(t.Context(), crlResource("list", c.kds+"/elsewhere", "", "ARK-Milan")); !errors.Is(err, ErrUnavailable) || len(waited.all) > 0 {
		t.Error(err)
	}
}

// TestProxy: what TLS does not protect goes through nobody's hands.
func TestProxy(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://proxy.example:1")
	t.Setenv("HTTPS_PROXY", "http://proxy.example:1")
	r := httptest.NewRequest(http.MethodGet, "http://pccs.example/", nil)
	if u, err := proxy(r); u != nil || err != nil {
		t.Errorf("%v, %v", u, err)
	}
}

// TestKept: what is kept is private, and used while it is of use.
func TestKept(t *testing.T) {
	v, a := newVendor(t), newAMD(t, "Milan", 3)
	v.on(crlPath, body(a.crl))
	c, now, _ := testClient(t, v, nil)
	want := func(list []byte, class error, asked int) {
		t.Helper()
		got, err := askCRL(t.Context(), c)
		if !errors.Is(err, class) || !bytes.Equal(got, list) {
			t.Errorf("%x, %v", got, err)
		}
		if n := len(v.requests()); n != asked {
			t.Errorf("asked %d times, want %d", n, asked)
		}
	}
	want(a.crl, nil, 1)
	want(a.crl, nil, 0)
	files, err := filepath.Glob(c.cache.dir + "/*")
	if err != nil || len(files) != 1 {
		t.Fatalf("%q, %v", files, err)
	}
	for name, mode := range map[string]fs.FileMode{c.cache.dir: 0o700, files[0]: 0o600} {
		if st, err := os.Stat(name); err != nil || st.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", name, st.Mode(), err)
		}
	}
	// A list that its vendor has not renewed yet, and then has.
	*now = day0.AddDate(0, 2, 0)
	want(a.crl, ErrStale, 1)
	newer := a.ark.list(t, *now)
	v.on(crlPath, body(newer))
	want(newer, nil, 1)
	want(newer, nil, 0)
	// Nobody answers: what is kept is better than nothing, and said to be old.
	*now = day0.AddDate(0, 4, 0)
	v.on(crlPath, code(404))
	want(newer, ErrStale, 1)
	c.offline = true
	want(newer, ErrStale, 0)
}

// TestOffline asks nobody.
func TestOffline(t *testing.T) {
	v, a := newVendor(t), newAMD(t, "Milan", 3)
	a.publish(v, "Milan")
	c, _, _ := testClient(t, v, func(o *Options) { o.Offline = true })
	got, problems := c.Evidence(t.Context(), evidence(partReport, a.report))
	if got != nil || len(problems) != 3 || v.requests() != nil {
		t.Errorf("%v, %v", got, problems)
	}
	for _, p := range problems {
		if !errors.Is(p, ErrUnavailable) {
			t.Error(p)
		}
	}
}

// TestDamaged asks anew for what is kept and damaged, whatever it is.
func TestDamaged(t *testing.T) {
	v, a := newVendor(t), newAMD(t, "Milan", 3)
	v.on(crlPath, body(a.crl))
	c, _, _ := testClient(t, v, nil)
	if _, err := askCRL(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(c.cache.dir, entryName(c.kds+crlPath))
	good, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	v.requests()
	bad := map[string][]byte{
		"empty": {}, "text": []byte("hello"), "null": []byte("null"), "list": []byte("[]"),
		"long":  append(slices.Clone(good), bytes.Repeat([]byte(" "), 3*limits.CollateralItem)...),
		"other": bytes.Replace(good, []byte("Milan"), []byte("Genoa"), 1),
		"more":  bytes.Replace(good, []byte(`"chain":""`), []byte(`"chain":"x"`), 1),
	}
	for cut := 1; cut < len(good); cut += 17 {
		bad[fmt.Sprint("cut ", cut)] = good[:cut]
		flipped := slices.Clone(good)
		flipped[cut] ^= 1
		bad[fmt.Sprint("flip ", cut)] = flipped
	}
	for what, b := range bad {
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := askCRL(t.Context(), c); err != nil || !bytes.Equal(got, a.crl) || len(v.requests()) != 1 {
			t.Errorf("%s: %v", what, err)
		}
	}
	if now, err := os.ReadFile(name); err != nil || !bytes.Equal(now, good) {
		t.Error("the damage is still there")
	}
}

// TestNoFolder: what cannot be kept is got all the same, and said.
func TestNoFolder(t *testing.T) {
	v, a := newVendor(t), newAMD(t, "Milan", 3)
	v.on(crlPath, body(a.crl))
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	c, _, _ := testClient(t, v, func(o *Options) {
		o.CacheDir, o.Log = file, slog.New(slog.NewTextHandler(&said, nil))
	})
	if got, err := askCRL(t.Context(), c); err != nil || !bytes.Equal(got, a.crl) || !strings.Contains(said.String(), "cannot be kept") {
		t.Errorf("%v, %s", err, said.String())
	}
	// A folder or a link in the place of a file, out of the folder.
	c, _, _ = testClient(t, v, nil)
	name := filepath.Join(c.cache.dir, entryName(c.kds+crlPath))
	if err := os.MkdirAll(name, 0o700); err != nil {
		t.Fatal(err)
	}
	if got, err := askCRL(t.Context(), c); err != nil || !bytes.Equal(got, a.crl) {
		t.Error(err)
	}
	if err := errors.Join(os.Remove(name), os.Symlink(file, name)); err != nil {
		t.Fatal(err)
	}
	if got, err := askCRL(t.Context(), c); err != nil || !bytes.Equal(got, a.crl) {
		t.Error(err)
	}
	if st, err := os.Lstat(name); err != nil || !st.Mode().IsRegular() {
		t.Error("the link is still there")
	}
	left, err := filepath.Glob(filepath.Join(c.cache.dir, ".*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left %q", left)
	}
}
