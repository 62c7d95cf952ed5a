package appraise

import (
	"bytes"
	"crypto/elliptic"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/sworn-run/sworn/attest"
)

// pb appends a field of bytes in protobuf's wire format.
func pb(out []byte, number int, data []byte) []byte {
	out = binary.AppendUvarint(out, uint64(number)<<3|2)
	out = binary.AppendUvarint(out, uint64(len(data)))
	return append(out, data...)
}

// pbNumber appends a field that is a number.
func pbNumber(out []byte, number int, v uint64) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(out, uint64(number)<<3), v)
}

// pbQuoteOf is a quote of all that quoted selects.
func pbQuoteOf(tb testing.TB, f *fakeTPM, bank attest.Alg) []byte {
	tb.Helper()
	files := f.quoted(tb, bank, nil)
	pcrs := pbNumber(nil, 1, uint64(bank))
	for _, i := range []int{16, 7, 6, 5, 4, 3, 2, 1, 0} { // A map has no order.
		var entry []byte
		if i > 0 {
			entry = pbNumber(entry, 1, uint64(i))
		}
		pcrs = pb(pcrs, 2, pb(entry, 2, value(bank, i)))
	}
	return pb(pb(pb(nil, 1, files["quote.msg"]), 2, files["quote.sig"]), 3, pcrs)
}

// text spells bytes as protobuf's text format does.
func text(b []byte) string {
	var out strings.Builder
	for i, c := range b {
		switch {
		case i%3 == 0:
			fmt.Fprintf(&out, `\%03o`, c)
		case c >= ' ' && c < 0x7F && c != '"' && c != '\\' && i%3 == 1:
			out.WriteByte(c)
		default:
			fmt.Fprintf(&out, `\%03o`, c)
		}
	}
	return `"` + out.String() + `"`
}

// textAttestation is an attestation in text.
func textAttestation(tb testing.TB, f *fakeTPM, cert []byte) string {
	tb.Helper()
	files := f.quoted(tb, attest.SHA256, nil)
	var pcrs strings.Builder
	for _, i := range []int{0, 1, 2, 3, 4, 5, 6, 7, 16} {
		fmt.Fprintf(&pcrs, "    pcrs { key: %d, value: %s }\n", i, text(value(attest.SHA256, i)))
	}
	sig := files["quote.sig"]
	return "# Made by a test.\nak_pub: " + text(f.area) + "\nquotes {\n  quote: " + text(files["quote.msg"]) +
		";\n  raw_sig:" + text(sig[:20]) + "\n    " + text(sig[20:]) + "\n  pcrs <\n    hash: SHA256\n" + pcrs.String() + "  >\n}\n" +
		"instance_info { zone: 'here' project_number: 4711 }\nak_cert: " + text(cert) + "\nintermediate_certs: []\n"
}

// TestAttestations reads go-tpm-tools' attestations, in both formats.
func TestAttestations(t *testing.T) {
	m, f := newMaker(t), newTPM(t, elliptic.P256(), restrictedKey)
	cert := m.certify(t, f, nil)
	quotes := [][]byte{pbQuoteOf(t, f, attest.SHA1), pbQuoteOf(t, f, attest.SHA256), pbQuoteOf(t, f, attest.SHA384)}
	whole := pb(nil, 1, f.area)
	for _, q := range quotes {
		whole = pb(whole, 2, q)
	}
	whole = pb(pb(whole, 4, nil), 6, cert)
	r := report(t, Input{Files: []File{{"a.pb", whole}}, Anchors: m.anchors(), Strict: true})
	if !r.Accepted() || len(r.Quoted) != 18 || status(t, r, "quote 1", "bank") != attest.NotEstablished {
		t.Fatalf("%v, %d registers", r.Refusal, len(r.Quoted))
	}
	in := textAttestation(t, f, cert)
	if r := report(t, Input{Files: []File{{"a.textproto", []byte(in)}}, Anchors: m.anchors(), Strict: true}); !r.Accepted() {
		t.Fatal(r.Refusal)
	}
	one := func(q []byte) []byte { return pb(pb(nil, 1, f.area), 2, q) }
	for name, c := range map[string]struct {
		b    []byte
		want error
	}{
		"SHA-1 alone":       {one(quotes[0]), ErrRefused},
		"one of two is bad": {pb(one(quotes[1]), 2, replace(quotes[2], len(quotes[2])-1, quotes[2][len(quotes[2])-1]^1)), attest.ErrSignature},
		"no quote":          {pb(nil, 1, f.area), attest.ErrForm},
		"no key":            {pb(nil, 2, quotes[1]), attest.ErrForm},
		"two keys":          {pb(one(quotes[1]), 1, f.area), attest.ErrForm},
		"a number":          {pbNumber(one(quotes[1]), 3, 1), attest.ErrForm},
		"cut":               {one(quotes[1])[:len(quotes[1])], attest.ErrForm},
		"a group":           {append(one(quotes[1]), 0x0B), attest.ErrForm},
		"a long varint":     {append(one(quotes[1]), 0x8A, 0x80, 0x00), attest.ErrForm},
		"field 0":           {append(one(quotes[1]), 0x02, 0x00), attest.ErrForm},
		"many quotes":       {append(pb(nil, 1, f.area), bytes.Repeat(pb(nil, 2, quotes[1]), 17)...), attest.ErrForm},
		"many fields":       {append(one(quotes[1]), bytes.Repeat(pb(nil, 20, nil), 1024)...), attest.ErrForm},
		"register twice":    {one(pb(quotes[1][:0:0], 3, pb(pb(pbNumber(nil, 1, 11), 2, pb(nil, 2, value(attest.SHA256, 0))), 2, pb(nil, 2, value(attest.SHA256, 0))))), attest.ErrForm},
	} {
		if r := report(t, Input{Kind: TPM, Files: []File{{"a.pb", c.b}}}); !errors.Is(r.Refusal, c.want) {
			t.Errorf("%s: %v, want %v", name, r.Refusal, c.want)
		}
	}
	for name, s := range map[string]string{
		"cut":           in[:len(in)/2],
		"twice":         in + "ak_pub: \"\"",
		"no string":     strings.Replace(in, "ak_pub: ", "ak_pub: 7 # ", 1),
		"deep":          "quotes " + strings.Repeat("{ a ", 40),
		"bad escape":    strings.Replace(in, "ak_cert: \"", "ak_cert: \"\\z", 1),
		"no end":        "quotes { quote: \"abc",
		"of a register": strings.Replace(in, "key: 16", "key: 77", 1),
	} {
		if r := report(t, Input{Kind: TPM, Files: []File{{"a.txt", []byte("#\n" + s)}}}); !errors.Is(r.Refusal, attest.ErrForm) {
			t.Errorf("text, %s: %v", name, r.Refusal)
		}
	}
}

// jsonForms are evidence in the JSON of four tools.
func jsonForms(tb testing.TB, f *fakeTPM, chain string) map[string]map[string]any {
	tb.Helper()
	files := f.quoted(tb, attest.SHA256, []byte("nonce"))
	b64 := base64.StdEncoding.EncodeToString
	var pcrs []map[string]any
	values, b64s := map[string]string{}, map[string]string{}
	for _, i := range []int{0, 1, 2, 3, 4, 5, 6, 7, 16} {
		b64s[fmt.Sprint(i)] = b64(value(attest.SHA256, i))
		pcrs = append(pcrs, map[string]any{"Index": i, "Digest": b64(value(attest.SHA256, i)), "DigestAlg": 5})
		values[fmt.Sprint(i)] = hex.EncodeToString(value(attest.SHA256, i))
	}
	point, err := f.key.PublicKey.Bytes()
	if err != nil {
		tb.Fatal(err)
	}
	half := len(point) / 2
	return map[string]map[string]any{
		formDump: {
			"Static": map[string]any{"TPMVersion": 2, "EKPem": nil},
			"AK":     map[string]any{"Public": b64(f.area)},
			"Quote":  map[string]any{"Nonce": b64([]byte("nonce")), "Alg": 11, "Quote": b64(files["quote.msg"]), "Signature": b64(files["quote.sig"])},
			"Log":    map[string]any{"PCRs": pcrs, "PCRAlg": 11, "Raw": ""},
		},
		formVaportpm: {
			"nonce": hex.EncodeToString([]byte("nonce")), "pcrs": map[string]any{"sha256": values},
			"ak_pubkeys": map[string]any{"ecc": map[string]string{"x": hex.EncodeToString(point[1 : 1+half]), "y": hex.EncodeToString(point[1+half:])}},
			"attestation": map[string]any{
				"tpm": map[string]any{"ecc": map[string]string{"attest_data": hex.EncodeToString(files["quote.msg"]), "signature": hex.EncodeToString(f.der(tb, files["quote.msg"]))}},
				"gcp": map[string]string{"ak_cert_chain": chain},
			},
		},
		formAttestation: {
			"akPub": b64(f.area), "instanceInfo": map[string]any{}, "intermediateCerts": []string{},
			"quotes": []any{map[string]any{
				"quote": b64(files["quote.msg"]), "rawSig": b64(files["quote.sig"]), "pcrs": map[string]any{"hash": "SHA256", "pcrs": b64s},
			}},
		},
		formTrustee: {
			"ak_public": b64(f.area),
			"tpm_quote": map[string]any{"message": b64(files["quote.msg"]), "signature": b64(files["quote.sig"]), "pcrs": values},
		},
	}
}

// TestJSONForms reads evidence in JSON, and refuses what is not what it says.
func TestJSONForms(t *testing.T) {
	f := newTPM(t, elliptic.P256(), restrictedKey)
	for form, v := range jsonForms(t, f, "") {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		r := report(t, Input{Files: []File{{"evidence.json", b}}})
		if !r.Accepted() || r.Form != form || len(r.Quoted) != 9 {
			t.Errorf("%s: %v, %q", form, r.Refusal, r.Form)
		}
		twice := append(bytes.TrimSuffix(b, []byte("}")), `,"AK":{},"attestation":{},"tpm_quote":{},"akPub":"","AK":{}}`...)
		if r := report(t, Input{Kind: TPM, Files: []File{{"evidence.json", twice}}}); !errors.Is(r.Refusal, attest.ErrForm) {
			t.Errorf("%s, a member twice: %v", form, r.Refusal)
		}
	}
	nitro := `{"pcrs":{},"attestation":{"tpm":{},"nitro":{"document":""}}}`
	if r := report(t, Input{Kind: TPM, Files: []File{{"f.json", []byte(nitro)}}}); !errors.Is(r.Refusal, ErrRefused) {
		t.Errorf("NitroTPM, taken for a TPM: %v", r.Refusal)
	}
	if r := report(t, Input{Files: []File{{"f.json", []byte(nitro)}}}); r.Kind != NitroTPM || !errors.Is(r.Refusal, attest.ErrForm) {
		t.Errorf("NitroTPM without a quote: %s, %v", r.Kind, r.Refusal)
	}
	old := `{"Static":{"TPMVersion":1},"AK":{},"Quote":{}}`
	if r := report(t, Input{Files: []File{{"f.json", []byte(old)}}}); !errors.Is(r.Refusal, ErrRefused) {
		t.Errorf("TPM 1.2: %v", r.Refusal)
	}
}

// TestParseRegisters reads the ways in which register values are spelt.
func TestParseRegisters(t *testing.T) {
	a, b := hex.EncodeToString(value(attest.SHA256, 0)), hex.EncodeToString(value(attest.SHA384, 1))
	for name, c := range map[string]struct {
		in    string
		n     int
		banks []attest.Alg
	}{
		"bare":       {`{"0":"` + a + `"}`, 1, []attest.Alg{attest.SHA256}},
		"by bank":    {`{"SHA-384":{"1":"` + b + `"},"sha256":{"pcr0":"` + strings.ToUpper(a) + `"}}`, 2, []attest.Alg{attest.SHA256, attest.SHA384}},
		"wrapped":    {`{"rtmr_replay":{"RTMR1":"0x` + b + `"}}`, 1, []attest.Alg{attest.SHA384}},
		"a list":     {`["` + a + `","` + a + `"]`, 2, []attest.Alg{attest.SHA256, attest.SHA256}},
		"by sha2":    {`{"sha2_256":{"PCR[7]":"` + a + `"}}`, 1, []attest.Alg{attest.SHA256}},
		"base64":     {`{"0":"` + base64.StdEncoding.EncodeToString(value(attest.SHA256, 0)) + `"}`, 1, []attest.Alg{attest.SHA256}},
		"bytes":      {`{"sha256":{"0":[` + strings.TrimSuffix(strings.Repeat("7,", 32), ",") + `]}}`, 1, []attest.Alg{attest.SHA256}},
		"no bytes":   {`{"0":[` + strings.TrimSuffix(strings.Repeat("256,", 32), ",") + `]}`, 0, nil},
		"twice":      {`{"0":"` + a + `","00":"` + a + `"}`, 0, nil},
		"other size": {`{"sha384":{"0":"` + a + `"}}`, 0, nil},
		"no hex":     {`{"0":"` + a[1:] + `x"}`, 0, nil},
		"too far":    {`{"32":"` + a + `"}`, 0, nil},
		"deep":       {`{"a":{"b":{"c":{"0":"` + a + `"}}}}`, 0, nil},
		"other":      {`{"0":7}`, 0, nil},
		"empty":      {`{}`, 0, nil},
		"no JSON":    {`0`, 0, nil},
		"cut":        {`{"0":"`, 0, nil},
	} {
		list, err := ParseRegisters([]byte(c.in))
		if len(list) != c.n || (err == nil) != (c.n > 0) || err != nil && !errors.Is(err, attest.ErrForm) {
			t.Errorf("%s: %v, %v", name, list, err)
			continue
		}
		for i, bank := range c.banks {
			if list[i].Bank != bank {
				t.Errorf("%s: %+v", name, list)
			}
		}
	}
}
