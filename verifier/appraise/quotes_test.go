package appraise

import (
	"bytes"
	"crypto/elliptic"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/sworn-run/sworn/attest"
)

// TestCapture appraises a captured machine: two quotes, a log, two lists.
func TestCapture(t *testing.T) {
	r := report(t, Input{Files: fileList(capture(t)), Anchors: captureRoots(t)})
	if !r.Accepted() || r.Kind != TPM || len(r.Quoted) != 48 {
		t.Fatalf("%+v: %v", r, r.Refusal)
	}
	for _, want := range []struct {
		subject, name string
		status        attest.Status
	}{
		{"quote_sha256_attest", "signature", attest.Passed},
		{"quote_sha384_attest", "registers", attest.Passed},
		{"quote_sha256_attest", "key", attest.NotEstablished}, // Nobody vouches for it.
		{"quote_sha256_attest", "nonce", attest.Passed},
		{"quote_sha256_attest", "identity", attest.NotEstablished},
		{`certificate of "CN=vmboot"`, "endorsement key", attest.Passed},
		{"eventlog", "replay sha256", attest.Passed},
		{"eventlog", "replay sha384", attest.Passed},
		{"eventlog", "Secure Boot", attest.Passed},
		{"eventlog", "Secure Boot databases", attest.Passed},
		{"ima_binary", "replay sha256", attest.Passed},
		{"ima_ascii", "boot aggregate", attest.Passed},
	} {
		if got := status(t, r, want.subject, want.name); got != want.status {
			t.Errorf("%s, %s: %v", want.subject, want.name, got)
		}
	}
	// Nobody vouches for its key.
	if r := report(t, Input{Files: fileList(capture(t)), Strict: true}); !errors.Is(r.Refusal, ErrRefused) {
		t.Errorf("strictly: %v", r.Refusal)
	}
}

// TestSoftwareTPM accepts quotes in every form that a folder may have them.
func TestSoftwareTPM(t *testing.T) {
	m := newMaker(t)
	nonce := []byte("nonce of a relying party")
	for _, bank := range []attest.Alg{attest.SHA256, attest.SHA384, attest.SHA512} {
		for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P384()} {
			f := newTPM(t, curve, restrictedKey)
			base := f.quoted(t, bank, nonce)
			with := func(change func(map[string][]byte)) map[string][]byte {
				out := maps.Clone(base)
				out["ak.crt"] = m.certify(t, f, nil)
				change(out)
				return out
			}
			var flat map[string]map[string]string
			if err := json.Unmarshal(base["pcrs.json"], &flat); err != nil {
				t.Fatal(err)
			}
			for name, files := range map[string]map[string][]byte{
				"as it is": with(func(map[string][]byte) {}),
				"TPM2B": with(func(f map[string][]byte) {
					f["quote.msg"] = sized(nil, f["quote.msg"])
					f["ak.pub"] = sized(nil, f["ak.pub"])
				}),
				"bare DER": with(func(m map[string][]byte) { m["quote.sig"] = f.der(t, m["quote.msg"]) }),
				"no area":  with(func(f map[string][]byte) { delete(f, "ak.pub") }),
				"PEM": with(func(f map[string][]byte) {
					f["ak.crt"] = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f["ak.crt"]})
				}),
				"filled":        with(func(f map[string][]byte) { f["ak.crt"] = append(f["ak.crt"], make([]byte, 900)...) }),
				"nonce":         with(func(f map[string][]byte) { f["nonce"] = nonce }),
				"nonce in hex":  with(func(f map[string][]byte) { f["nonce"] = []byte(hex.EncodeToString(nonce) + "\n") }),
				"other letters": with(func(f map[string][]byte) { f["pcrs.json"] = respell(t, flat[bank.String()], bank) }),
				"concatenated": with(func(f map[string][]byte) {
					delete(f, "pcrs.json")
					for _, i := range []int{0, 1, 2, 3, 4, 5, 6, 7, 16} {
						f["pcrs.bin"] = append(f["pcrs.bin"], value(bank, i)...)
					}
				}),
			} {
				if name != "as it is" && name != "bare DER" && (bank != attest.SHA256 || curve != elliptic.P256()) {
					continue // The forms are the same for each.
				}
				r := report(t, Input{Files: fileList(files), Anchors: m.anchors(), Strict: true})
				if !r.Accepted() || len(r.Quoted) != 9 || r.Quoted[8].Index != 16 {
					t.Errorf("%v, %v, %s: %v", bank, curve.Params().Name, name, r.Refusal)
				}
			}
		}
	}
}

// respell writes register values as another tool would.
func respell(t *testing.T, values map[string]string, bank attest.Alg) []byte {
	t.Helper()
	m := map[string]string{}
	for i, v := range values {
		m["PCR_"+i] = "0x" + strings.ToUpper(v)
	}
	b, err := json.Marshal(map[string]any{"pcrs": map[string]any{"TPM_ALG_" + strings.ToUpper(bank.String()): m}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestHostileQuotes refuses each, with the class of what is wrong.
func TestHostileQuotes(t *testing.T) {
	f := newTPM(t, elliptic.P256(), restrictedKey)
	base := f.quoted(t, attest.SHA256, nil)
	signed := func(msg []byte) func(map[string][]byte) {
		return func(m map[string][]byte) { m["quote.msg"], m["quote.sig"] = msg, f.sign(t, msg) }
	}
	all := []byte{0xFF, 0, 1}
	digest := f.attestDigest(attest.SHA256)
	for name, c := range map[string]struct {
		change func(map[string][]byte)
		want   error
	}{
		"trailing byte":   {signed(append(bytes.Clone(base["quote.msg"]), 0)), attest.ErrForm},
		"a byte less":     {signed(base["quote.msg"][:len(base["quote.msg"])-1]), attest.ErrForm},
		"no bank":         {signed(f.attest(nil, digest)), attest.ErrForm},
		"empty selection": {signed(f.attest(nil, digest, select1{attest.SHA256, []byte{0, 0, 0}})), attest.ErrForm},
		"no bytes of it":  {signed(f.attest(nil, digest, select1{attest.SHA256, nil})), attest.ErrForm},
		"a bank twice":    {signed(f.attest(nil, digest, select1{attest.SHA256, all}, select1{attest.SHA256, all})), attest.ErrForm},
		"an unknown bank": {signed(f.attest(nil, digest, select1{0x27, all})), attest.ErrForm},
		"SHA-1 alone":     {signed(f.attest(nil, f.attestDigest(attest.SHA1), select1{attest.SHA1, all})), ErrRefused},
		"SHA-1 beside":    {signed(f.attest(nil, digest, select1{attest.SHA1, all}, select1{attest.SHA256, all})), ErrRefused},
		"another bank":    {signed(f.attest(nil, f.attestDigest(attest.SHA384), select1{attest.SHA384, all})), attest.ErrForm},
		"another digest":  {signed(f.attest(nil, make([]byte, 32), select1{attest.SHA256, all})), attest.ErrSignature},
		"another message": {func(m map[string][]byte) { m["quote.msg"] = f.attest([]byte("x"), digest, select1{attest.SHA256, all}) }, attest.ErrSignature},
		"SHA-1 signature": {func(m map[string][]byte) { m["quote.sig"] = replace(m["quote.sig"], 3, byte(attest.SHA1)) }, attest.ErrSignature},
		"signature and 0": {func(m map[string][]byte) { m["quote.sig"] = append(m["quote.sig"], 0) }, attest.ErrForm},
		"no signature":    {func(m map[string][]byte) { delete(m, "quote.sig") }, attest.ErrForm},
		"two signatures": {func(m map[string][]byte) {
			m["quote.sig2"] = m["quote.sig"]
			m["quote.sig1"] = m["quote.sig"]
			delete(m, "quote.sig")
		}, attest.ErrForm},
		"another key": {func(m map[string][]byte) { m["ak.pub"] = newTPM(t, elliptic.P256(), restrictedKey).area }, attest.ErrSignature},
		"no key":      {func(m map[string][]byte) { delete(m, "ak.pub") }, attest.ErrForm},
		"short value": {func(m map[string][]byte) { m["pcrs.json"] = []byte(`{"sha256":{"0":"00"}}`) }, attest.ErrForm},
		"relabelled":  {func(m map[string][]byte) { m["pcrs.json"] = relabel(m["pcrs.json"]) }, attest.ErrSignature},
		"value missing": {func(m map[string][]byte) {
			m["pcrs.json"] = bytes.Replace(m["pcrs.json"], []byte(`"16"`), []byte(`"17"`), 1)
		}, attest.ErrForm},
		"values twice":  {func(m map[string][]byte) { m["pcrs2.json"] = relabel(m["pcrs.json"]) }, attest.ErrForm},
		"another nonce": {func(m map[string][]byte) { m["nonce"] = []byte("another") }, ErrRefused},
		"unrestricted key": {func(m map[string][]byte) {
			maps.Copy(m, newTPM(t, elliptic.P256(), unrestrictedKey).quoted(t, attest.SHA256, nil))
		}, attest.ErrMode},
	} {
		files := maps.Clone(base)
		c.change(files)
		r := report(t, Input{Kind: TPM, Files: fileList(files)})
		if !errors.Is(r.Refusal, c.want) || r.Quoted != nil {
			t.Errorf("%s: %v, want %v", name, r.Refusal, c.want)
		}
	}
	// A foreign magic is no quote, whoever signs it.
	msg := replace(base["quote.msg"], 0, 0xFE)
	r := report(t, Input{Kind: TPM, Files: []File{{"quote.msg", msg}, {"quote.sig", f.sign(t, msg)}, {"ak.pub", f.area}}})
	if !errors.Is(r.Refusal, attest.ErrForm) {
		t.Errorf("foreign magic: %v", r.Refusal)
	}
}

// attestDigest is the digest of the registers that quoted selects.
func (f *fakeTPM) attestDigest(bank attest.Alg) []byte {
	var all [][]byte
	for _, i := range []int{0, 1, 2, 3, 4, 5, 6, 7, 16} {
		all = append(all, value(bank, i))
	}
	return attest.SHA256.Sum(all...)
}

// replace returns b with one byte changed.
func replace(b []byte, at int, v byte) []byte {
	out := bytes.Clone(b)
	out[at] = v
	return out
}

// relabel exchanges the names of registers 3 and 4.
func relabel(b []byte) []byte {
	b = bytes.Replace(b, []byte(`"3":`), []byte(`"x":`), 1)
	b = bytes.Replace(b, []byte(`"4":`), []byte(`"3":`), 1)
	return bytes.Replace(b, []byte(`"x":`), []byte(`"4":`), 1)
}

// TestCertificates judges certificates at the given instant, and nothing else than
// the AK's and its issuers'.
func TestCertificates(t *testing.T) {
	m, f := newMaker(t), newTPM(t, elliptic.P256(), restrictedKey)
	san := func(value []byte) func(*x509.Certificate) {
		return func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: []int{2, 5, 29, 17}, Critical: true, Value: value}}
		}
	}
	for name, c := range map[string]struct {
		change func(*x509.Certificate)
		at     time.Time
		want   error
	}{
		"good":                       {nil, testTime, nil},
		"expired then, valid now":    {nil, testTime.AddDate(-2, 0, 0), ErrRefused},
		"valid then, expired now":    {func(c *x509.Certificate) { c.NotAfter = testTime.AddDate(0, -6, 0) }, testTime.AddDate(0, -7, 0), nil},
		"the same, now":              {func(c *x509.Certificate) { c.NotAfter = testTime.AddDate(0, -6, 0) }, testTime, ErrRefused},
		"a CA":                       {func(c *x509.Certificate) { c.IsCA = true; c.KeyUsage |= x509.KeyUsageCertSign }, testTime, ErrRefused},
		"an endorsement key's":       {func(c *x509.Certificate) { c.UnknownExtKeyUsage[0] = []int{2, 23, 133, 8, 1} }, testTime, ErrRefused},
		"a name that is no TPM's":    {san(directoryName(t, "CN=somebody")), testTime, ErrRefused},
		"a critical name that is no": {san([]byte{0x30, 0x00}), testTime, ErrRefused},
		"of no purpose":              {func(c *x509.Certificate) { c.UnknownExtKeyUsage = nil }, testTime, ErrRefused},
	} {
		files := f.quoted(t, attest.SHA256, nil)
		files["ak.crt"] = m.certify(t, f, c.change)
		r := report(t, Input{Files: fileList(files), Anchors: m.anchors(), At: c.at, Strict: true})
		if !errors.Is(r.Refusal, c.want) {
			t.Errorf("%s: %v, want %v", name, r.Refusal, c.want)
		}
	}
	files := f.quoted(t, attest.SHA256, nil)
	good := m.certify(t, f, nil)
	for name, c := range map[string]struct {
		der  []byte
		want error
	}{
		"broken":      {append(bytes.Clone(good[:len(good)-40]), 0x30), attest.ErrForm},
		"another key": {m.certify(t, newTPM(t, elliptic.P256(), restrictedKey), nil), ErrRefused},
	} {
		files["ak.crt"] = c.der
		if r := report(t, Input{Files: fileList(files), Anchors: m.anchors()}); !errors.Is(r.Refusal, c.want) {
			t.Errorf("%s: %v, want %v", name, r.Refusal, c.want)
		}
	}
	// An endorsement key's beside the AK's harms nothing, and helps nothing.
	files["ak.crt"] = good
	files["ek.crt"] = m.certify(t, newTPM(t, elliptic.P256(), restrictedKey), nil)
	if r := report(t, Input{Files: fileList(files), Anchors: m.anchors(), Strict: true}); !r.Accepted() {
		t.Errorf("with another one beside: %v", r.Refusal)
	}
	delete(files, "ak.crt")
	if r := report(t, Input{Files: fileList(files), Anchors: m.anchors(), Strict: true}); !errors.Is(r.Refusal, ErrRefused) {
		t.Errorf("with that alone: %v", r.Refusal)
	}
	// A good one under nobody's root.
	files["ak.crt"] = good
	if r := report(t, Input{Files: fileList(files), Anchors: newMaker(t).anchors()}); !errors.Is(r.Refusal, ErrRefused) {
		t.Errorf("another root: %v", r.Refusal)
	}
}

// directoryName is a subject alternative name of one directoryName.
func directoryName(t *testing.T, name string) []byte {
	t.Helper()
	rdn, err := asn1.Marshal(pkix.Name{CommonName: name}.ToRDNSequence())
	if err != nil {
		t.Fatal(err)
	}
	der, err := asn1.Marshal([]asn1.RawValue{{Class: asn1.ClassContextSpecific, Tag: 4, IsCompound: true, Bytes: rdn}})
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// TestLogBesideQuote: a log that was changed does not give the quoted registers, or
// means what it meant.
func TestLogBesideQuote(t *testing.T) {
	base := capture(t)
	for _, name := range []string{"quote_sha384_attest", "quote_sha384_sig", "pcrs_sha384", "nv_01c00002", "nv_01c00016"} {
		delete(base, name)
	}
	log := base["eventlog"]
	want := report(t, Input{Files: fileList(base)})
	events := eventsOf(t, log)
	for name, c := range map[string]struct {
		log  []byte
		want error
	}{
		"moved to another register": {put32(log, events[5], (get32(log, events[5])+1)%8), ErrRefused},
		"longer than quoted":        {append(bytes.Clone(log), log[events[5]:events[6]]...), ErrRefused},
		"an event less":             {append(bytes.Clone(log[:events[5]]), log[events[6]:]...), ErrRefused},
		"cut in an event":           {log[:events[6]-3], attest.ErrForm},
		"a huge count":              {put32(log, events[5]+8, 0xFFFFFFFF), attest.ErrForm},
		"not extended":              {put32(log, events[5]+4, 3), ErrRefused},
	} {
		files := maps.Clone(base)
		files["eventlog"] = c.log
		if r := report(t, Input{Files: fileList(files)}); !errors.Is(r.Refusal, c.want) {
			t.Errorf("%s: %v, want %v", name, r.Refusal, c.want)
		}
	}
	for i := range len(events) - 1 {
		if kind := get32(log, events[i]+4); kind == 3 {
			continue
		}
		files := maps.Clone(base)
		files["eventlog"] = put32(log, events[i]+4, 0x80000001)
		r := report(t, Input{Files: fileList(files)})
		if !r.Accepted() || !sameFindings(r.Findings, want.Findings) {
			t.Fatalf("event %d of another type: %v", i, r.Refusal)
		}
	}
	// A log read before the firmware's services ended, beside a quote from after.
	files := maps.Clone(base)
	files["eventlog"] = without(t, log, "Exit Boot Services")
	r := report(t, Input{Files: fileList(files)})
	if !r.Accepted() || status(t, r, "eventlog", "end of the firmware's services") != attest.Passed {
		t.Errorf("without the end: %v", r.Refusal)
	}
	// The list of another boot, and one that is longer than the quote.
	files = maps.Clone(base)
	list := base["ima_binary"]
	first := 28 + int(get32(list, 24))
	files["ima_binary"] = list[first+4+int(get32(list, first)):]
	if r := report(t, Input{Files: fileList(files)}); !errors.Is(r.Refusal, ErrRefused) {
		t.Errorf("a list without its beginning: %v", r.Refusal)
	}
	delete(files, "ima_binary")
	files["ima_ascii"] = base["ima_ascii"][bytes.IndexByte(base["ima_ascii"], '\n')+1:]
	if r := report(t, Input{Files: fileList(files)}); !errors.Is(r.Refusal, ErrRefused) {
		t.Errorf("a list without its first entry: %v", r.Refusal)
	}
}

func sameFindings(a, b []Finding) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}
