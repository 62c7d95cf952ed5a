package appraise

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"maps"
	"math/big"
	"testing"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/nitro"
)

// hypervisor signs documents, by a key that its root certified.
type hypervisor struct {
	root, leaf *x509.Certificate
	rootKey    *ecdsa.PrivateKey
	key        *ecdsa.PrivateKey
}

func newHypervisor(tb testing.TB) *hypervisor {
	tb.Helper()
	h := &hypervisor{}
	for _, k := range []**ecdsa.PrivateKey{&h.rootKey, &h.key} {
		made, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
		if err != nil {
			tb.Fatal(err)
		}
		*k = made
	}
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "SIMULATED hypervisor"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, SubjectKeyId: []byte{1},
		NotBefore: testTime.AddDate(-1, 0, 0), NotAfter: testTime.AddDate(20, 0, 0), SignatureAlgorithm: x509.ECDSAWithSHA384,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "i-1-enc1"}, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature,
		NotBefore: testTime.Add(-time.Second), NotAfter: testTime.Add(3 * time.Hour), SignatureAlgorithm: x509.ECDSAWithSHA384,
		CRLDistributionPoints: []string{"http://crl.example/root.crl"},
	}
	for _, c := range []struct {
		template *x509.Certificate
		key      *ecdsa.PrivateKey
		to       **x509.Certificate
	}{{root, h.rootKey, &h.root}, {leaf, h.key, &h.leaf}} {
		der, err := x509.CreateCertificate(rand.Reader, c.template, root, &c.key.PublicKey, h.rootKey)
		if err != nil {
			tb.Fatal(err)
		}
		*c.to = parsed(tb, der)
	}
	return h
}

func (h *hypervisor) anchors() *attest.Anchors {
	return &attest.Anchors{Roots: []attest.Root{{Role: nitro.Role, Certificate: h.root, UserSupplied: true}}}
}

// crl is a revocation list of those serial numbers.
func (h *hypervisor) crl(tb testing.TB, serials ...int64) []byte {
	tb.Helper()
	l := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: testTime, NextUpdate: testTime.Add(time.Hour)}
	for _, s := range serials {
		l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: big.NewInt(s), RevocationTime: testTime})
	}
	der, err := x509.CreateRevocationList(rand.Reader, l, h.root, h.rootKey)
	if err != nil {
		tb.Fatal(err)
	}
	return der
}

// cborString encodes a byte string (major type 2) or a text (3).
func cborString(major byte, b []byte) []byte {
	head := []byte{major<<5 | 25, byte(len(b) >> 8), byte(len(b))}
	if len(b) < 256 {
		head = []byte{major<<5 | 24, byte(len(b))}
	}
	if len(b) < 24 {
		head = []byte{major<<5 | byte(len(b))}
	}
	return append(head, b...)
}

// nitroRegisters are those that fake quotes have: values of 0 to 7, zeros above, but
// what other has.
func nitroRegisters(n int, other map[int][]byte) [][]byte {
	out := make([][]byte, n)
	for i := range out {
		switch out[i] = other[i]; {
		case out[i] != nil:
		case i < 8 || i == 16:
			out[i] = value(attest.SHA384, i)
		default:
			out[i] = make([]byte, 48)
		}
	}
	return out
}

// document signs one.
func (h *hypervisor) document(tb testing.TB, member string, registers [][]byte, nonce, key []byte) []byte {
	tb.Helper()
	p := []byte{0xBF}
	put := func(name string, v ...byte) { p = append(append(p, cborString(3, []byte(name))...), v...) }
	put("module_id", cborString(3, []byte("i-1-enc1"))...)
	put("digest", cborString(3, []byte("SHA384"))...)
	put("timestamp", be64([]byte{0x1B}, uint64(testTime.UnixMilli()))...)
	m := []byte{0xBF}
	for i, v := range registers {
		if i > 23 {
			m = append(m, 0x18)
		}
		m = append(append(m, byte(i)), cborString(2, v)...)
	}
	put(member, append(m, 0xFF)...)
	put("certificate", cborString(2, h.leaf.Raw)...)
	put("cabundle", append([]byte{0x81}, cborString(2, h.root.Raw)...)...)
	if nonce != nil {
		put("nonce", cborString(2, nonce)...)
	}
	if key != nil {
		put("public_key", cborString(2, key)...)
	}
	p = cborString(2, append(p, 0xFF))
	r, s, err := ecdsa.Sign(rand.Reader, h.key, attest.SHA384.Sum([]byte("\x84\x6aSignature1\x44\xa1\x01\x38\x22\x40"), p))
	if err != nil {
		tb.Fatal(err)
	}
	sig := append(r.FillBytes(make([]byte, 48)), s.FillBytes(make([]byte, 48))...)
	return append(append([]byte("\x84\x44\xa1\x01\x38\x22\xa0"), p...), cborString(2, sig)...)
}

// TestNitro appraises documents of enclaves, and what lies beside them.
func TestNitro(t *testing.T) {
	h, other := newHypervisor(t), newHypervisor(t)
	doc := h.document(t, "pcrs", nitroRegisters(16, nil), []byte("nonce"), []byte("key"))
	bad := bytes.Clone(doc)
	bad[len(bad)-1] ^= 1
	debug := h.document(t, "pcrs", nitroRegisters(16, map[int][]byte{0: make([]byte, 48)}), nil, nil)
	pemCRL := pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: h.crl(t, 2)})
	for name, x := range map[string]struct {
		in   Input
		want error
	}{
		"nobody is trusted":           {Input{Files: []File{{"d", doc}}}, nil},
		"nobody is trusted, strictly": {Input{Files: []File{{"d", doc}}, Strict: true}, ErrRefused},
		"strictly":                    {Input{Files: []File{{"d", doc}}, Strict: true, Anchors: h.anchors()}, nil},
		"another root":                {Input{Files: []File{{"d", doc}}, Anchors: other.anchors()}, ErrRefused},
		"late":                        {Input{Files: []File{{"d", doc}}, Anchors: h.anchors(), At: testTime.Add(4 * time.Hour)}, ErrRefused},
		"a flip":                      {Input{Files: []File{{"d", bad}}}, attest.ErrSignature},
		"debug":                       {Input{Files: []File{{"d", debug}}}, attest.ErrMode},
		"cut":                         {Input{Files: []File{{"d", doc[:999]}}}, attest.ErrForm},
		"a good one and a bad":        {Input{Files: []File{{"a", doc}, {"b", bad}}}, attest.ErrSignature},
		"one twice":                   {Input{Files: []File{{"a", doc}, {"b", doc}}, Strict: true, Anchors: h.anchors()}, nil},
		"its nonce":                   {Input{Files: []File{{"d", doc}, {"nonce", []byte("nonce")}}}, nil},
		"its nonce in text":           {Input{Files: []File{{"d", doc}, {"nonce", []byte(hexOf([]byte("nonce")))}}}, nil},
		"another nonce":               {Input{Files: []File{{"d", doc}, {"nonce", []byte("other")}}}, ErrRefused},
		"no revocation":               {Input{Files: []File{{"d", doc}, {"x.crl", h.crl(t, 7)}}, Strict: true, Anchors: h.anchors()}, nil},
		"revoked":                     {Input{Files: []File{{"d", doc}, {"x.crl", h.crl(t, 2)}}, Anchors: h.anchors()}, ErrRefused},
		"revoked, in PEM":             {Input{Files: []File{{"d", doc}, {"x.pem", pemCRL}}, Anchors: h.anchors()}, ErrRefused},
		"revoked by another":          {Input{Files: []File{{"d", doc}, {"x.crl", other.crl(t, 2)}}, Strict: true, Anchors: h.anchors()}, nil},
		"taken for a TPM's":           {Input{Kind: NitroTPM, Files: []File{{"d", doc}}}, attest.ErrForm},
		"no document":                 {Input{Kind: Nitro, Files: []File{{"d", []byte("text")}}}, attest.ErrForm},
	} {
		r := report(t, x.in)
		if !errors.Is(r.Refusal, x.want) || x.in.Kind == "" && r.Kind != Nitro || r.Accepted() && len(r.Quoted) != 16 {
			t.Errorf("%s: %s, %v, %d registers", name, r.Kind, r.Refusal, len(r.Quoted))
		}
	}
	r := report(t, Input{Files: []File{{"d", doc}, {"x.crl", h.crl(t, 7)}, {"text", []byte("text")}}, Anchors: h.anchors()})
	for _, name := range []string{"signature", "registers", "mode", "identity", "revocation", "public_key"} {
		if s := status(t, r, "d", name); s != attest.Passed {
			t.Errorf("%s: %v", name, s)
		}
	}
	if status(t, r, "x.crl", "used") != attest.Passed || status(t, r, "text", "not read") != attest.NotEstablished || status(t, r, "d", "time") != attest.NotEstablished {
		t.Errorf("%+v", r.Findings)
	}
}

// TestNitroTPM: beside a document, a quote must be of the registers that it states, and
// by the key that it names.
func TestNitroTPM(t *testing.T) {
	h := newHypervisor(t)
	f, stranger := newTPM(t, elliptic.P256(), restrictedKey), newTPM(t, elliptic.P256(), restrictedKey)
	point, err := f.key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(&f.key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	same, changed := nitroRegisters(24, nil), nitroRegisters(24, map[int][]byte{16: make([]byte, 48)})
	quote, sha256 := f.quoted(t, attest.SHA384, []byte("nonce")), f.quoted(t, attest.SHA256, []byte("nonce"))
	broken := maps.Clone(quote)
	broken["quote.msg"] = append(bytes.Clone(quote["quote.msg"][:len(quote["quote.msg"])-1]), 0)
	root := map[string][]byte{"root.pem": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: h.root.Raw})}
	maps.Copy(root, quote)
	for name, x := range map[string]struct {
		files     map[string][]byte
		registers [][]byte
		key       []byte
		// want is the refusal, strictly and not.
		strictly, want error
	}{
		"a document":           {nil, same, nil, nil, nil},
		"named by its point":   {quote, same, point, nil, nil},
		"named in DER":         {quote, same, spki, nil, nil},
		"named by its area":    {quote, same, f.area, nil, nil},
		"beside a root":        {root, same, spki, nil, nil},
		"another is named":     {quote, same, stranger.area, ErrRefused, ErrRefused},
		"nonsense is named":    {quote, same, []byte("key"), ErrRefused, ErrRefused},
		"none is named":        {quote, same, nil, ErrRefused, nil},
		"of another bank":      {sha256, same, point, ErrRefused, nil},
		"other registers":      {quote, changed, point, ErrRefused, ErrRefused},
		"too few registers":    {quote, same[:16], point, ErrRefused, ErrRefused},
		"a quote that is none": {broken, same, point, attest.ErrSignature, attest.ErrSignature},
	} {
		files := map[string][]byte{"document.cbor": h.document(t, "nitrotpm_pcrs", x.registers, nil, x.key)}
		maps.Copy(files, x.files)
		for _, strict := range []bool{true, false} {
			want := x.want
			if strict {
				want = x.strictly
			}
			r := report(t, Input{Files: fileList(files), Strict: strict, Anchors: h.anchors()})
			if r.Kind != NitroTPM || !errors.Is(r.Refusal, want) || r.Accepted() && len(r.Quoted) != len(x.registers) {
				t.Errorf("%s, strictly %v: %s, %v, %d registers", name, strict, r.Kind, r.Refusal, len(r.Quoted))
			}
		}
	}
	files := map[string][]byte{"document.cbor": h.document(t, "nitrotpm_pcrs", same, nil, point)}
	if r := report(t, Input{Files: fileList(files), Strict: true}); !errors.Is(r.Refusal, ErrRefused) {
		t.Errorf("nobody is trusted: %v", r.Refusal)
	}
	if r := report(t, Input{Kind: Nitro, Files: fileList(files)}); !errors.Is(r.Refusal, attest.ErrForm) {
		t.Errorf("taken for an enclave's: %v", r.Refusal)
	}
	files["second"] = h.document(t, "nitrotpm_pcrs", same, nil, nil)
	if r := report(t, Input{Files: fileList(files)}); r.Kind != NitroTPM || !errors.Is(r.Refusal, attest.ErrForm) {
		t.Errorf("two documents: %s, %v", r.Kind, r.Refusal)
	}
}

// TestNitroJSON reads a document in the form of a TPM's evidence.
func TestNitroJSON(t *testing.T) {
	h, f := newHypervisor(t), newTPM(t, elliptic.P256(), restrictedKey)
	point, err := f.key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	files := f.quoted(t, attest.SHA384, []byte("nonce"))
	doc := h.document(t, "nitrotpm_pcrs", nitroRegisters(24, nil), []byte("nonce"), point)
	form := func(nonce, doc string) []byte {
		b, err := json.Marshal(map[string]any{
			"nonce": nonce, "pcrs": json.RawMessage(files["pcrs.json"]),
			"ak_pubkeys": map[string]any{"ecc": map[string]string{"x": hexOf(point[1:33]), "y": hexOf(point[33:])}},
			"attestation": map[string]any{
				"tpm":   map[string]any{"ecc": map[string]string{"attest_data": hexOf(files["quote.msg"]), "signature": hexOf(f.der(t, files["quote.msg"]))}},
				"nitro": map[string]string{"document": doc},
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	nonce := hex.EncodeToString([]byte("nonce"))
	for name, x := range map[string]struct {
		files []File
		want  error
	}{
		"alone":                {[]File{{"f.json", form(nonce, hexOf(doc))}}, nil},
		"beside its document":  {[]File{{"f.json", form(nonce, hexOf(doc))}, {"document.cbor", doc}}, nil},
		"beside another":       {[]File{{"f.json", form(nonce, hexOf(doc))}, {"document.cbor", h.document(t, "nitrotpm_pcrs", nitroRegisters(24, nil), nil, point)}}, attest.ErrForm},
		"another was asked":    {[]File{{"f.json", form(hexOf([]byte("other")), hexOf(doc))}}, ErrRefused},
		"no document":          {[]File{{"f.json", form(nonce, "")}}, attest.ErrForm},
		"no hexadecimal":       {[]File{{"f.json", form(nonce, "x")}}, attest.ErrForm},
		"the enclave's inside": {[]File{{"f.json", form(nonce, hexOf(h.document(t, "pcrs", nitroRegisters(24, nil), nil, nil)))}}, attest.ErrForm},
	} {
		r := report(t, Input{Files: x.files, Strict: true, Anchors: h.anchors()})
		if r.Kind != NitroTPM || !errors.Is(r.Refusal, x.want) || r.Form != formVaportpm {
			t.Errorf("%s: %s, %s, %v", name, r.Kind, r.Form, r.Refusal)
		}
	}
}
