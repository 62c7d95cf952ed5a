package tpm

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/sworn-run/sworn/attest"
)

// shared returns a file of the shared evidence folder, or skips the test where
// there is none. Nothing else than this needs the folder: the captures are in
// testdata.
func shared(t *testing.T, elem ...string) []byte {
	t.Helper()
	dir := os.Getenv("SWORN_SHARED")
	if dir == "" {
		dir = filepath.Join("..", "..", "shared")
	}
	dir = filepath.Join(dir, "evidence")
	if _, err := os.Stat(dir); err != nil {
		t.Skip("the shared evidence folder is not here: set SWORN_SHARED")
	}
	b, err := os.ReadFile(filepath.Join(append([]string{dir}, elem...)...))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// vaportpm is the JSON of items tpm-gcp-amd-vaportpm and nitrotpm-vaportpm.
type vaportpm struct {
	Nonce string
	PCRs  map[string]map[string]string
	Keys  struct {
		ECC struct{ X, Y string } `json:"ecc_p256"`
	} `json:"ak_pubkeys"`
	Attestation struct {
		TPM struct {
			ECC struct {
				Data      string `json:"attest_data"`
				Signature string
			} `json:"ecc_p256"`
		}
	}
}

// unhex decodes hexadecimal.
func unhex(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// parts builds the parts of a fixture. It carries the AK as a bare point: its
// public area is that of the platform's template, which the signed qualified
// name confirms.
func (f *vaportpm) parts(t *testing.T, bank attest.Alg) *Parts {
	t.Helper()
	pub := public{
		typ: algECC, nameAlg: attest.SHA256, attributes: attrWanted | attrUserWithAuth,
		scheme: scheme{algECDSA, attest.SHA256}, curve: curveP256,
		unique: [2][]byte{unhex(t, f.Keys.ECC.X), unhex(t, f.Keys.ECC.Y)},
	}
	var rs struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(unhex(t, f.Attestation.TPM.ECC.Signature), &rs); err != nil {
		t.Fatal(err)
	}
	sig := signature{scheme: pub.scheme, values: [][]byte{rs.R.FillBytes(make([]byte, 32)), rs.S.FillBytes(make([]byte, 32))}}
	var pcrs []byte
	for i := range 24 {
		pcrs = append(pcrs, unhex(t, f.PCRs[bank.String()][strconv.Itoa(i)])...)
	}
	return &Parts{
		Attest: unhex(t, f.Attestation.TPM.ECC.Data), Signature: sig.marshal(), Public: pub.marshal(), PCRs: pcrs,
	}
}

// pemCertificates decodes a PEM chain.
func pemCertificates(t *testing.T, b []byte) []*x509.Certificate {
	t.Helper()
	var out []*x509.Certificate
	for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, c)
	}
	return out
}

// verifyParts makes evidence and verifies it.
func verifyParts(t *testing.T, p *Parts, a *attest.Anchors, at time.Time) *attest.Claims {
	t.Helper()
	ev, err := NewEvidence(0, p)
	if err != nil {
		t.Fatal(err)
	}
	claims, err := Scheme{}.Verify(ev, a, at)
	if err != nil {
		t.Fatal(err)
	}
	return claims
}

// TestGoogle verifies item tpm-gcp-amd-vaportpm: a quote of a Compute Engine
// instance, with the AK's certificate and its chain.
func TestGoogle(t *testing.T) {
	var f vaportpm
	if err := json.Unmarshal(shared(t, "tpm", "tpm-gcp-amd-vaportpm", "fixture.json"), &f); err != nil {
		t.Fatal(err)
	}
	chain := pemCertificates(t, shared(t, "tpm", "tpm-gcp-amd-vaportpm", "ak_chain.pem"))
	p := f.parts(t, attest.SHA256)
	p.Certificates = [][]byte{chain[0].Raw, chain[1].Raw}
	at := time.Date(2026, 2, 10, 0, 0, 0, 0, time.UTC)
	claims := verifyParts(t, p, anchors(chain[2]), at)
	if !bytes.Equal(claims.Quoted, unhex(t, f.Nonce)) || claims.Identity.Status != attest.Passed {
		t.Errorf("quoted %x, identity %+v", claims.Quoted, claims.Identity)
	}
	// The same by the pin, whether the root comes from the relying party or with
	// the evidence.
	given := anchors(chain[2])
	given.Pins = Pins()
	if id := verifyParts(t, p, given, at).Identity; id.Status != attest.Passed || id.Root.UserSupplied || id.Root.Product != "Google Compute Engine" {
		t.Errorf("identity %+v", id)
	}
	whole := *p
	whole.Certificates = append(whole.Certificates[:2:2], chain[2].Raw)
	if id := verifyParts(t, &whole, &attest.Anchors{Pins: Pins()}, at).Identity; id.Status != attest.Passed || id.Root.UserSupplied {
		t.Errorf("identity %+v", id)
	}
	// Its intermediate names a revocation list.
	if claims.Revocation.Status != attest.NotEstablished {
		t.Errorf("revocation %+v", claims.Revocation)
	}
	for name, tc := range map[string]struct {
		anchors *attest.Anchors
		at      time.Time
		want    attest.Status
	}{
		"before its time": {anchors(chain[2]), at.AddDate(0, 0, -9), attest.Failed},
		"after its time":  {anchors(chain[2]), at.AddDate(31, 0, 0), attest.Failed},
		"without a root":  {nil, at, attest.NotEstablished},
		"unknown root":    {anchors(newAuthority(t, caTemplate("EK/AK CA Root"), nil).cert), at, attest.Failed},
	} {
		if c := verifyParts(t, p, tc.anchors, tc.at); c.Identity.Status != tc.want {
			t.Errorf("%s: identity %+v", name, c.Identity)
		}
	}
	// A chain of the same shape under a root of another name fits no profile.
	leaf := *chain[0]
	leaf.ExtraExtensions, leaf.SignatureAlgorithm = leaf.Extensions, 0
	leaf.NotAfter = testTime.AddDate(1, 0, 0)
	maker := newAuthority(t, caTemplate("not Google"), nil)
	p.Certificates = [][]byte{maker.issue(t, &leaf, leaf.PublicKey)}
	if c := verifyParts(t, p, anchors(maker.cert), testTime); c.Identity.Status != attest.Failed {
		t.Errorf("another issuer: identity %+v", c.Identity)
	}
}

// TestNitroTPM verifies item nitrotpm-vaportpm: registers of the SHA-384 bank
// under a pcrDigest of SHA-256. Its AK is vouched for by another format.
func TestNitroTPM(t *testing.T) {
	var f vaportpm
	if err := json.Unmarshal(shared(t, "nitrotpm", "nitrotpm-vaportpm", "fixture.json"), &f); err != nil {
		t.Fatal(err)
	}
	claims := verifyParts(t, f.parts(t, attest.SHA384), nil, testTime)
	if !bytes.Equal(claims.Quoted, unhex(t, f.Nonce)) || claims.Registers[23].Bank != attest.SHA384 {
		t.Errorf("claims %+v", claims)
	}
}

// TestKeylime verifies item tpm-keylime-quote: an RSA AK that is a child of
// the endorsement key, with a quote over PCR 15, 16 and 22.
func TestKeylime(t *testing.T) {
	file := func(name string) []byte { return shared(t, "tpm", "tpm-keylime-quote", name) }
	ek := file("ek.pub")[2:]
	p := &Parts{
		Attest: file("quote.out"), Signature: file("quotesig.out"), Public: file("ak.pub")[2:],
		Parent: appendDigest(attest.SHA256, ek),
	}
	// tpm2-tools write a TPML_PCR_SELECTION of 132 bytes, the number of lists,
	// and a TPML_DIGEST of 3 in the host's byte order, in buffers of 64 bytes.
	for i := range 3 {
		at := 132 + 4 + 4 + 2 + i*(2+64)
		p.PCRs = append(p.PCRs, file("quotepcr.out")[at:at+32]...)
	}
	claims := verifyParts(t, p, nil, testTime)
	if len(claims.Quoted) != 20 || len(claims.Registers) != 3 || claims.Registers[2].Index != 22 {
		t.Errorf("claims %+v", claims)
	}
	p.Parent = nil
	ev, err := NewEvidence(0, p)
	if err != nil {
		t.Fatal(err)
	}
	refuse(t, ev, attest.ErrMode)
}

// TestWindows refuses item tpm-windows-gcp-shielded, which is SHA-1 throughout.
func TestWindows(t *testing.T) {
	var f struct {
		AK    struct{ Public []byte }
		Quote struct{ Quote, Signature []byte }
		Log   struct {
			PCRs []struct{ Digest []byte }
		}
	}
	if err := json.Unmarshal(shared(t, "tpm", "tpm-windows-gcp-shielded", "windows_gcp_shielded_vm.json"), &f); err != nil {
		t.Fatal(err)
	}
	var pcrs []byte
	for _, r := range f.Log.PCRs {
		pcrs = append(pcrs, r.Digest...)
	}
	refuse(t, &attest.Evidence{Format: Format, Parts: []attest.Part{
		{Name: PartAttest, Data: f.Quote.Quote},
		{Name: PartSignature, Data: f.Quote.Signature},
		{Name: PartPublic, Data: f.AK.Public},
		{Name: PartPCRs, Data: pcrs},
	}}, attest.ErrForm)
}

// TestTrustee reads item tpm-trustee-evidence, which lacks the AK's public
// area: under any that fits its key, the signature and the registers verify,
// and the qualified name does not.
func TestTrustee(t *testing.T) {
	var f struct {
		AK    []byte `json:"ak_public"`
		Quote struct {
			Message, Signature []byte
			PCRs               []json.RawMessage
		} `json:"tpm_quote"`
	}
	if err := json.Unmarshal(shared(t, "tpm", "tpm-trustee-evidence", "tpm_evidence.json"), &f); err != nil {
		t.Fatal(err)
	}
	var spki struct {
		Algorithm asn1.RawValue
		Key       asn1.BitString
	}
	var key struct{ N, E *big.Int }
	if _, err := asn1.Unmarshal(f.AK, &spki); err != nil {
		t.Fatal(err)
	}
	if _, err := asn1.Unmarshal(spki.Key.Bytes, &key); err != nil {
		t.Fatal(err)
	}
	pub := public{
		typ: algRSA, nameAlg: attest.SHA256, attributes: goodAttributes, bits: 2048,
		scheme: scheme{algRSASSA, attest.SHA256}, unique: [2][]byte{key.N.Bytes()},
	}
	var pcrs []byte
	for _, r := range f.Quote.PCRs {
		pcrs = append(pcrs, trusteePCR(t, r)...)
	}
	ev, err := NewEvidence(0, &Parts{Attest: f.Quote.Message, Signature: f.Quote.Signature, Public: pub.marshal(), PCRs: pcrs})
	if err != nil {
		t.Fatal(err)
	}
	refuse(t, ev, attest.ErrMode)
}

// trusteePCR decodes one register, an array of numbers or a string.
func trusteePCR(t *testing.T, raw json.RawMessage) []byte {
	t.Helper()
	var s string
	if json.Unmarshal(raw, &s) == nil {
		if b, err := hex.DecodeString(s); err == nil {
			return b
		}
		b, err := base64.StdEncoding.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	var numbers []uint8Number
	if err := json.Unmarshal(raw, &numbers); err != nil {
		t.Fatal(err)
	}
	out := make([]byte, len(numbers))
	for i, n := range numbers {
		out[i] = byte(n)
	}
	return out
}

// uint8Number is a byte that JSON spells as a number.
type uint8Number uint16

// field is one field of a protocol buffer.
type field struct {
	number uint64
	varint uint64
	bytes  []byte
}

// protobuf splits a message into its fields.
func protobuf(t *testing.T, b []byte) []field {
	t.Helper()
	var out []field
	next := func() uint64 {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			t.Fatal("varint")
		}
		b = b[n:]
		return v
	}
	for len(b) > 0 {
		tag := next()
		f := field{number: tag >> 3, varint: next()}
		if tag&7 == 2 {
			f.bytes, b = b[:f.varint], b[f.varint:]
		}
		out = append(out, f)
	}
	return out
}

// TestGCE verifies the items tpm-gce-cos-85-*: three quotes each, of which that
// of SHA-1 is refused. Their AK certificates of 2021 carry the EKU of an
// endorsement key's, which one profile allows under one root.
func TestGCE(t *testing.T) {
	for name, nonce := range map[string]string{"no-nonce": "", "nonce9009": "9009"} {
		t.Run(name, func(t *testing.T) {
			p := &Parts{}
			var quotes [][]byte
			for _, f := range protobuf(t, shared(t, "tpm", "tpm-gce-cos-85-"+name, "gce-cos-85-"+name+".pb")) {
				switch f.number {
				case 1:
					p.Public = f.bytes
				case 2:
					quotes = append(quotes, f.bytes)
				case 6:
					p.Certificates = [][]byte{f.bytes, shared(t, "roots", "roots-google-ekak", "tpm_ek_intermediate_2.crt")}
				}
			}
			root, err := x509.ParseCertificate(shared(t, "roots", "roots-google-ekak", "tpm_ek_root_1.cer"))
			if err != nil {
				t.Fatal(err)
			}
			for i, bank := range []attest.Alg{attest.SHA1, attest.SHA256, attest.SHA384} {
				gceQuote(t, quotes[i], p)
				if bank == attest.SHA1 {
					if ev, err := NewEvidence(0, p); ev != nil || err == nil {
						t.Errorf("SHA-1: %v, %v", ev, err)
					}
					continue
				}
				claims := verifyParts(t, p, anchors(root), testTime)
				if !bytes.Equal(claims.Quoted, unhex(t, nonce)) || claims.Registers[0].Bank != bank || len(claims.Registers) != 24 {
					t.Errorf("%v: claims %+v", bank, claims)
				}
				if id := claims.Identity; id.Status != attest.Passed || !id.Root.UserSupplied {
					t.Errorf("identity %+v", id)
				}
			}
			// By the pins, the root's certificate has to come with the evidence.
			pins := &attest.Anchors{Pins: Pins()}
			if id := verifyParts(t, p, pins, testTime).Identity; id.Status != attest.NotEstablished {
				t.Errorf("identity %+v", id)
			}
			p.Certificates = append(p.Certificates, root.Raw)
			if id := verifyParts(t, p, pins, testTime).Identity; id.Status != attest.Passed || id.Root.UserSupplied || id.Root.Pin == nil {
				t.Errorf("identity %+v", id)
			}
		})
	}
}

// gceQuote takes the structures and registers of one quote message into p.
func gceQuote(t *testing.T, b []byte, p *Parts) {
	t.Helper()
	values := map[uint64][]byte{}
	for _, f := range protobuf(t, b) {
		switch f.number {
		case 1:
			p.Attest = f.bytes
		case 2:
			p.Signature = f.bytes
		case 3:
			for _, r := range protobuf(t, f.bytes) {
				if r.number != 2 {
					continue
				}
				var index uint64
				var value []byte
				for _, e := range protobuf(t, r.bytes) {
					if e.number == 1 {
						index = e.varint
					} else {
						value = e.bytes
					}
				}
				values[index] = value
			}
		}
	}
	p.PCRs = nil
	for i := range uint64(24) {
		p.PCRs = append(p.PCRs, values[i]...)
	}
}
