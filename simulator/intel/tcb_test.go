package intel_test

import (
	"bytes"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sworn-run/sworn/simulator/intel"
)

// signedText takes an answer of the service apart: the text of its first member and
// the signature.
func signedText(t *testing.T, answer []byte, member string) (text, signature []byte) {
	t.Helper()
	rest, ok := bytes.CutPrefix(answer, []byte(`{"`+member+`":`))
	i := bytes.LastIndex(rest, []byte(`,"signature":"`))
	if !ok || i < 0 {
		t.Fatalf("no answer with %s: %s", member, answer)
	}
	digits, ok := bytes.CutSuffix(rest[i+len(`,"signature":"`):], []byte(`"}`))
	if !ok {
		t.Fatalf("no signature: %s", answer)
	}
	return rest[:i], must(hex.DecodeString(string(digits)))(t)
}

// TestSigned checks that information and identities are signed, and that what is
// signed can be changed.
func TestSigned(t *testing.T) {
	v, p := machine(t)
	for _, tee := range []uint32{intel.TEESGX, intel.TEETDX} {
		info, id := p.TCBInfo(tee, now), p.Identity(tee, now)
		info.Levels[0].Status, info.Evaluation = intel.Revoked, 3
		id.MRSigner[0]++
		for member, answer := range map[string][]byte{
			"tcbInfo": must(v.SignTCBInfo(info))(t), "enclaveIdentity": must(v.SignIdentity(id))(t),
		} {
			text, signature := signedText(t, answer, member)
			if !verifies(v.TCBSigning().PublicKey, text, signature) {
				t.Errorf("%s: the signature does not verify", member)
			}
			if member == "tcbInfo" && (!bytes.Contains(text, []byte(`"tcbStatus":"Revoked"`)) || !bytes.Contains(text, []byte(`"tcbEvaluationDataNumber":3,`))) {
				t.Errorf("%s is not as asked for", text)
			}
		}
	}
	forged := must(v.SignText("TCBInfo", []byte(`{"x":1}`)))(t)
	if text, signature := signedText(t, forged, "TCBInfo"); !verifies(v.TCBSigning().PublicKey, text, signature) {
		t.Error("a text of any kind is not signed")
	}
}

// TestChangesDoNotSpread checks that what is changed in information and identity of a
// machine stays there.
func TestChangesDoNotSpread(t *testing.T) {
	_, p := machine(t)
	qe, pck := p.TDQE, p.PCK
	i, id := p.TCBInfo(intel.TEETDX, now), p.Identity(intel.TEETDX, now)
	i.FMSPC[0]++
	i.PCEID[0]++
	id.MRSigner[0]++
	if p.TDQE != qe || p.PCK.FMSPC != pck.FMSPC || p.PCK.PCEID != pck.PCEID {
		t.Error("the machine has changed")
	}
}

// members returns the paths of the members of a JSON text with the kinds of their
// values, each once, in the order in which they first stand. Those that stand only
// where there is something to say are left out.
func members(t *testing.T, text []byte) []string {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(text))
	var out []string
	var walk func(path string)
	walk = func(path string) {
		token := must(d.Token())(t)
		kind := fmt.Sprintf("%T", token)
		switch token {
		case json.Delim('{'), json.Delim('['):
			for kind = fmt.Sprint(token); d.More(); {
				if token == json.Delim('[') {
					walk(path + "[]")
				} else {
					walk(fmt.Sprint(path, ".", must(d.Token())(t)))
				}
			}
			must(d.Token())(t)
		default:
			if s, ok := token.(string); ok && regexp.MustCompile(`^[0-9A-Fa-f]{4,}$`).MatchString(s) {
				kind = fmt.Sprintf("%d hexadecimal digits", len(s))
			} else if _, err := time.Parse("2006-01-02T15:04:05Z", s); err == nil {
				kind = "time"
			}
		}
		path += " " + kind
		if !slices.Contains(out, path) && !regexp.MustCompile(`category|type|advisoryIDs`).MatchString(path) {
			out = append(out, path)
		}
	}
	walk("")
	return out
}

// TestRealTCBInfo compares members, their order and their encodings with those of
// Intel's.
func TestRealTCBInfo(t *testing.T) {
	archive := filepath.Join("..", "..", "..", "shared", "evidence", "collateral-archive", "intel-collateral-archive")
	if _, err := os.Stat(archive); err != nil {
		t.Skipf("the shared evidence %s is absent", archive)
	}
	v, p := machine(t)
	for _, tt := range []struct {
		file, member string
		ours         []byte
	}{
		{"tcbinfo_sgx_00a06d080000_eval18_20260228T152704.json", "tcbInfo", must(v.SignTCBInfo(p.TCBInfo(intel.TEESGX, now)))(t)},
		{"tcbinfo_tdx_b0c06f000000_eval18_20260301T193643.json", "tcbInfo", must(v.SignTCBInfo(p.TCBInfo(intel.TEETDX, now)))(t)},
		{"identity_qe_eval18_20260107T120820.json", "enclaveIdentity", must(v.SignIdentity(p.Identity(intel.TEESGX, now)))(t)},
		{"identity_td_qe_eval18_20260316T221603.json", "enclaveIdentity", must(v.SignIdentity(p.Identity(intel.TEETDX, now)))(t)},
	} {
		real, _ := signedText(t, bytes.TrimSpace(must(os.ReadFile(filepath.Join(archive, tt.file)))(t)), tt.member)
		ours, _ := signedText(t, tt.ours, tt.member)
		if d := cmp.Diff(members(t, real), members(t, ours)); d != "" {
			t.Errorf("%s: real and simulated differ:\n%s", tt.file, d)
		}
	}
}

// get asks a handler.
func get(t *testing.T, h http.Handler, path string) (int, []byte, http.Header) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, http.NoBody))
	return w.Code, must(io.ReadAll(w.Result().Body))(t), w.Header()
}

// issuers decodes a chain in a header.
func issuers(t *testing.T, h http.Header, name string) string {
	t.Helper()
	var names []string
	for _, decode := range []func(string) (string, error){url.QueryUnescape, url.PathUnescape} {
		names = nil
		for _, c := range pemChain(t, []byte(must(decode(h.Get(name)))(t))) {
			names = append(names, c.Subject.CommonName)
		}
	}
	return strings.Join(names, ", ")
}

// TestPCS checks every path of the service.
func TestPCS(t *testing.T) {
	v, p := machine(t)
	other := must(v.Platform("two"))(t)
	other.PCK.FMSPC = [6]byte{0xab, 0xcd}
	pck := must(p.Certificate(now))(t)
	pcs := &intel.PCS{
		Vendor: v, Platforms: []*intel.Platform{p, other}, Now: func() time.Time { return now },
		Revoked:  []*x509.Certificate{pck, v.TCBSigning()},
		Info:     func(i *intel.TCBInfo) { i.Levels[0].Status = intel.OutOfDate },
		Identity: func(i *intel.Identity) { i.ProdID = 77 },
	}
	signing := "Intel SGX TCB Signing SIMULATED, Intel SGX Root CA SIMULATED"
	for _, tt := range []struct{ path, member, header, contains string }{
		{"/sgx/certification/v4/tcb?fmspc=53494d550000", "tcbInfo", "TCB-Info-Issuer-Chain", `"id":"SGX"`},
		{"/tdx/certification/v4/tcb?fmspc=53494D550000", "tcbInfo", "TCB-Info-Issuer-Chain", `"id":"TDX"`},
		{"/tdx/certification/v4/tcb?fmspc=abcd00000000", "tcbInfo", "TCB-Info-Issuer-Chain", `"fmspc":"ABCD00000000"`},
		{"/tdx/certification/v4/tcb?fmspc=abcd00000000", "tcbInfo", "TCB-Info-Issuer-Chain", `"tcbStatus":"OutOfDate"},`},
		{"/sgx/certification/v4/qe/identity", "enclaveIdentity", "SGX-Enclave-Identity-Issuer-Chain", `"id":"QE"`},
		{"/tdx/certification/v4/qe/identity", "enclaveIdentity", "SGX-Enclave-Identity-Issuer-Chain", `"isvprodid":77`},
	} {
		code, body, h := get(t, pcs, tt.path)
		if code != http.StatusOK {
			t.Errorf("%s: %d", tt.path, code)
			continue
		}
		text, signature := signedText(t, body, tt.member)
		if !verifies(v.TCBSigning().PublicKey, text, signature) || issuers(t, h, tt.header) != signing {
			t.Errorf("%s: signature, or issuers %q", tt.path, issuers(t, h, tt.header))
		}
		if !bytes.Contains(text, []byte(tt.contains)) {
			t.Errorf("%s: no %s in %s", tt.path, tt.contains, text)
		}
	}
	for path, want := range map[string]int{
		"/": 404, "/sgx/certification/v3/qe/identity": 404, "/sgx/certification/v4/tcb": 400, "/sgx/certification/v4/tcb?fmspc=zz": 400,
		"/sgx/certification/v4/tcb?fmspc=000000000000": 404, "/sgx/certification/v4/pckcrl": 400, "/certificates/x": 404,
		"/tdx/certification/v4/pckcrl?ca=platform": 404, "/sgx/certification/v4/pckcrl?ca=platform&encoding=xml": 400,
	} {
		if code, _, _ := get(t, pcs, path); code != want {
			t.Errorf("%s: %d, want %d", path, code, want)
		}
	}
	if code, _, _ := get(t, &intel.PCS{}, "/sgx/certification/v4/qe/identity"); code != http.StatusNotFound {
		t.Errorf("the zero service: %d", code)
	}
}

// TestPCSLists checks the lists of the service.
func TestPCSLists(t *testing.T) {
	v, p := machine(t)
	pck := must(p.Certificate(now))(t)
	pcs := &intel.PCS{Vendor: v, Now: func() time.Time { return now }, Revoked: []*x509.Certificate{pck, v.TCBSigning()}}
	_, platform, h := get(t, pcs, "/sgx/certification/v4/pckcrl?ca=platform&encoding=der")
	if got, want := issuers(t, h, "SGX-PCK-CRL-Issuer-Chain"), "Intel SGX PCK Platform CA SIMULATED, Intel SGX Root CA SIMULATED"; got != want {
		t.Errorf("issuers %q, want %q", got, want)
	}
	_, text, _ := get(t, pcs, "/sgx/certification/v4/pckcrl?ca=processor")
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "X509 CRL" {
		t.Fatalf("no list in %s", text)
	}
	_, digits, _ := get(t, pcs, "/sgx/certification/v4/rootcacrl")
	_, root, _ := get(t, pcs, "/certificates/IntelSGXRootCA.der")
	for _, tt := range []struct {
		name    string
		der     []byte
		issuer  *x509.Certificate
		revoked *x509.Certificate
	}{
		{"platform", platform, v.Issuer(intel.PlatformCA), pck},
		{"processor", block.Bytes, v.Issuer(intel.ProcessorCA), nil},
		{"root in hexadecimal", must(hex.DecodeString(string(digits)))(t), v.Root(), v.TCBSigning()},
		{"root", root, v.Root(), v.TCBSigning()},
	} {
		l := must(x509.ParseRevocationList(tt.der))(t)
		if err := l.CheckSignatureFrom(tt.issuer); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		var want []string
		if tt.revoked != nil {
			want = []string{tt.revoked.SerialNumber.String()}
		}
		var got []string
		for _, e := range l.RevokedCertificateEntries {
			got = append(got, e.SerialNumber.String())
		}
		if strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("%s: revoked are %v, want %v", tt.name, got, want)
		}
	}
	_, der, _ := get(t, pcs, "/certificates/Intel_SGX_Provisioning_Certification_RootCA.cer")
	if !must(x509.ParseCertificate(der))(t).Equal(v.Root()) {
		t.Error("the root is another")
	}
}
