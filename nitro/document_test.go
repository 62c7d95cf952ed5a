package nitro

import (
	"bytes"
	"crypto/elliptic"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/sworn-run/sworn/attest"
)

// TestClaims: what a document states is what the claims say.
func TestClaims(t *testing.T) {
	v := newVendor(t, nil)
	quoted := bytes.Repeat([]byte{7}, 64)
	p := v.payload(quoted).set("nonce", bstr([]byte{})).set("public_key", bstr([]byte("key")))
	c := accept(t, evidence(v.sign(t, p.encode())), v.anchors(), testTime)
	if c.Format != Format || !bytes.Equal(c.Quoted, quoted) || c.KeyID != [32]byte{} || c.Device != [32]byte{} || c.Counters != nil || c.Registers != nil {
		t.Errorf("claims %+v", c)
	}
	if c.Identity.Status != attest.Passed || c.Identity.Root == nil || !c.Identity.Root.Certificate.Equal(v[0].cert) || !c.Identity.Root.UserSupplied {
		t.Errorf("identity %+v", c.Identity)
	}
	if c.TCB.Status != "" || c.TCB.Finding.Status != attest.NotApplicable || c.Attributes != nil || c.Used != nil {
		t.Errorf("TCB %+v, attributes %v, used %v", c.TCB, c.Attributes, c.Used)
	}
	fields := map[string]attest.MeasurementField{}
	for _, f := range (Scheme{}).Describe().Measurements {
		fields[f.Name] = f
	}
	if len(fields) != 32 || len(c.Measurements) != 16 {
		t.Fatalf("%d fields, %d measurements", len(fields), len(c.Measurements))
	}
	for i, m := range c.Measurements {
		f, ok := fields[m.Name]
		if !ok || len(m.Value) != f.Size || f.Image != (i < 3) || !bytes.Equal(m.Value, register(i)) || m.Name != registerName(uint32(i)) {
			t.Errorf("measurement %d: %+v of %+v", i, m, f)
		}
	}
	details := map[string]string{}
	for _, d := range c.Details {
		if _, twice := details[d.Name]; twice || d.Value == "" {
			t.Errorf("detail %+v", d)
		}
		details[d.Name] = d.Value
	}
	for name, want := range map[string]string{
		"module_id": "i-0123456789abcdef0-enc0123456789abcdef", "timestamp": "2026-02-03T10:12:02.000Z", "digest": "SHA384",
		"pcrs[1]": hex.EncodeToString(register(1)), "user_data": hex.EncodeToString(quoted), "nonce": "empty", "public_key": "6b6579",
		"cabundle[0]": subject(v[0].cert), "cabundle[3]": subject(v[3].cert),
	} {
		if details[name] != want {
			t.Errorf("%s: %q, want %q", name, details[name], want)
		}
	}
	if n := len(accept(t, evidence(v.document(t, nil)), nil, testTime).Quoted); n != 0 {
		t.Errorf("nothing asked for, %d bytes quoted", n)
	}
}

// TestArguments: the caller's own mistakes.
func TestArguments(t *testing.T) {
	v := newVendor(t, nil)
	doc := v.document(t, nil)
	refuse(t, "nil evidence", nil, attest.ErrArgument)
	if c, err := (Scheme{}).Verify(evidence(doc), nil, testTime.AddDate(-3000, 0, 0)); err != nil || c.Identity.Status == attest.Passed {
		t.Errorf("long ago: %v", err)
	}
	ev := evidence(doc)
	ev.Format = 1
	refuse(t, "another format", ev, attest.ErrForm)
	ev = evidence(doc)
	ev.Parts[0].Name = "quote"
	refuse(t, "another part", ev, attest.ErrForm)
	ev = evidence(doc)
	ev.Parts = append(ev.Parts, ev.Parts[0])
	refuse(t, "two parts", ev, attest.ErrForm)
	refuse(t, "no part", &attest.Evidence{Format: Format}, attest.ErrForm)
	if ev, err := NewEvidence(3, doc); err != nil || ev.Slot != 3 || ev.Format != Format || accept(t, ev, nil, testTime) == nil {
		t.Errorf("%+v, %v", ev, err)
	}
	if ev, err := NewEvidence(0, doc[1:]); err == nil || ev != nil {
		t.Errorf("%v, %v", ev, err)
	}
}

// badPayloads are payloads that a vendor signs and nobody may read.
func badPayloads(v vendor) map[string]item {
	good := v.payload(nil)
	plain := good.encode()
	with := func(name string, value item) item { return good.set(name, value).encode() }
	long := func(n int) item { return bstr(make([]byte, n)) }
	bundle := func(n int) item {
		b := head(majorArray, uint64(n))
		for range n {
			b = append(b, bstr(v[0].cert.Raw)...)
		}
		return b
	}
	one := func(index, value item) item { return append(append(head(majorMap, 1), index...), value...) }
	twice := append(append(head(majorMap, 2), one(number(1), long(48))[1:]...), one(number(1), long(48))[1:]...)
	bad := map[string]item{
		"a member twice":         append(good, entry{"nonce", item{null}}).encode(),
		"an unknown member":      with("debug", number(1)),
		"a name that is a bytes": append(append(item{0xBF}, bstr([]byte("digest"))...), plain[1:]...),
		"a long name":            with(strings.Repeat("n", 17), number(1)),
		"registers of both":      append(good, entry{"nitrotpm_pcrs", registers(2, register)}).encode(),
		"trailing bytes":         append(plain, 0),
		"without its end":        plain[:len(plain)-1],
		"a tag":                  append(item{0xC0}, plain...),
		"an array":               append(item{0x9F}, plain[1:]...),
		"nested arrays":          bytes.Repeat([]byte{0x81}, 8000),
		"nested maps":            with("pcrs", bytes.Repeat([]byte{0xBF}, 8000)),
		"nested tags":            with("timestamp", bytes.Repeat([]byte{0xC1}, 8000)),
		"a bundle without end":   with("cabundle", item{0x9F}),
		"a map of 2^64":          with("pcrs", item{0xBB, 255, 255, 255, 255, 255, 255, 255, 255}),
		"a string of 2^64":       with("nonce", item{0x5B, 255, 255, 255, 255, 255, 255, 255, 255}),
		"a string without end":   with("nonce", item{0x5F, 0x41, 1, 0xFF}),
		"a text without end":     with("module_id", item{0x7F, 0x61, 'i', 0xFF}),
		"no module":              with("module_id", tstr("")),
		"a module of 257":        with("module_id", tstr(strings.Repeat("m", 257))),
		"a module of lines":      with("module_id", tstr("a\nb")),
		"a module beyond ASCII":  with("module_id", tstr("ä")),
		"a module not UTF-8":     with("module_id", tstr("\xff")),
		"a module of bytes":      with("module_id", bstr([]byte("m"))),
		"another digest":         with("digest", tstr("SHA256")),
		"time zero":              with("timestamp", number(0)),
		"time far off":           with("timestamp", number(maxTime+1)),
		"a negative time":        with("timestamp", item{0x20}),
		"a time in four of 0":    with("timestamp", item{0x1A, 0, 0, 0, 5}),
		"a time in one of 23":    with("timestamp", item{0x18, 23}),
		"a time in two of 255":   with("timestamp", item{0x19, 0, 255}),
		"a time in eight of 1":   with("timestamp", item{0x1B, 0, 0, 0, 0, 0, 0, 0, 1}),
		"a time of floats":       with("timestamp", item{0xFB, 0, 0, 0, 0, 0, 0, 0, 1}),
		"reserved information":   with("timestamp", item{0x1C}),
		"a time without a size":  with("timestamp", item{0x1F}),
		"registers none":         with("pcrs", item{0xA0}),
		"registers none, open":   with("pcrs", item{0xBF, 0xFF}),
		"registers of SHA-256":   with("pcrs", registers(16, func(int) []byte { return make([]byte, 32) })),
		"registers of SHA-512":   with("pcrs", registers(16, func(int) []byte { return make([]byte, 64) })),
		"33 registers":           with("pcrs", registers(33, register)),
		"register 32":            with("pcrs", one(number(32), long(48))),
		"a negative register":    with("pcrs", one(item{0x20}, long(48))),
		"a register by name":     with("pcrs", one(tstr("0"), long(48))),
		"a register twice":       with("pcrs", twice),
		"a register of null":     with("pcrs", one(number(0), item{null})),
		"no certificate in it":   with("certificate", bstr(nil)),
		"certificate of null":    with("certificate", item{null}),
		"certificate too long":   with("certificate", long(1025)),
		"certificate of zeros":   with("certificate", long(600)),
		"more than certificate":  with("certificate", bstr(append(bytes.Clone(v[4].cert.Raw), 0))),
		"an empty bundle":        with("cabundle", item{0x80}),
		"an empty bundle, open":  with("cabundle", item{0x9F, 0xFF}),
		"nine in the bundle":     with("cabundle", bundle(9)),
		"a bundle of one string": with("cabundle", bstr(v[0].cert.Raw)),
		"user_data of 1025":      with("user_data", long(1025)),
		"nonce of 1025":          with("nonce", long(1025)),
		"public_key of 1025":     with("public_key", long(1025)),
		"user_data of text":      with("user_data", tstr("x")),
		"user_data undefined":    with("user_data", item{0xF7}),
		"user_data false":        with("user_data", item{0xF4}),
	}
	for _, name := range []string{"module_id", "digest", "timestamp", "pcrs", "certificate", "cabundle"} {
		bad["without "+name] = with(name, nil)
	}
	return bad
}

// TestForm refuses what is signed and not exactly a document.
func TestForm(t *testing.T) {
	v := newVendor(t, nil)
	for name, p := range badPayloads(v) {
		refuse(t, name, evidence(v.sign(t, p)), attest.ErrForm)
	}
	plain := v.payload(nil).encode()
	good := v.sign(t, plain)
	sig := good[len(good)-98:]
	var enclave, swapped payload
	for _, e := range v.payload(nil) {
		enclave = append(enclave, e)
		swapped = append(payload{e}, swapped...)
	}
	fixed := append(head(majorMap, uint64(len(enclave))), plain[1:len(plain)-1]...)
	for name, p := range map[string]item{
		"in another order": swapped.encode(), "with a length": fixed,
		"without the optional members": v.payload(nil).set("nonce", nil).set("user_data", nil).set("public_key", nil).encode(),
	} {
		if c := accept(t, evidence(v.sign(t, p)), v.anchors(), testTime); c.Identity.Status != attest.Passed {
			t.Errorf("%s: %+v", name, c.Identity)
		}
	}
	long := item{0x5A, 0, 0, byte(len(plain) >> 8), byte(len(plain))}
	for name, doc := range map[string][]byte{
		"empty":                        nil,
		"tagged":                       append([]byte{0xD2}, good...),
		"trailing bytes":               append(bytes.Clone(good), 0),
		"ES256":                        bytes.Replace(good, []byte("\x44\xa1\x01\x38\x22"), []byte("\x43\xa1\x01\x26"), 1),
		"ES512":                        bytes.Replace(good, []byte("\xa1\x01\x38\x22"), []byte("\xa1\x01\x38\x23"), 1),
		"an unprotected header":        bytes.Replace(good, []byte("\x22\xa0"), []byte("\x22\xa1\x01\x38\x22"), 1),
		"an open unprotected header":   bytes.Replace(good, []byte("\x22\xa0"), []byte("\x22\xbf\xff"), 1),
		"an array of five":             append([]byte{0x85}, append(bytes.Clone(good[1:]), 0)...),
		"an array without a length":    append([]byte{0x9F}, append(bytes.Clone(good[1:]), 0xFF)...),
		"a payload of null":            append([]byte(begin+"\xf6"), sig...),
		"a payload's length in four":   append(append(append([]byte(begin), long...), plain...), sig...),
		"a signature of 95":            append(bytes.Clone(good[:len(good)-98]), bstr(sig[3:])...),
		"a signature of 97":            append(bytes.Clone(good[:len(good)-98]), bstr(append(bytes.Clone(sig[2:]), 0))...),
		"a signature's length in two":  append(append(bytes.Clone(good[:len(good)-98]), 0x59, 0, 96), sig[2:]...),
		"a document of more than 16 K": append(bytes.Clone(good), make([]byte, maxDocument)...),
	} {
		refuse(t, name, evidence(doc), attest.ErrForm)
	}
}

// TestMode refuses enclaves in debug mode, and documents that do not state the image.
func TestMode(t *testing.T) {
	v := newVendor(t, nil)
	for i := range 3 {
		zero := registers(16, func(j int) []byte {
			if i == j {
				return make([]byte, 48)
			}
			return register(j)
		})
		refuse(t, "zeros in "+registerName(uint32(i)), evidence(v.sign(t, v.payload(nil).set("pcrs", zero).encode())), attest.ErrMode)
	}
	debug := registers(16, func(int) []byte { return make([]byte, 48) })
	refuse(t, "debug", evidence(v.sign(t, v.payload(nil).set("pcrs", debug).encode())), attest.ErrMode)
	refuse(t, "two registers", evidence(v.sign(t, v.payload(nil).set("pcrs", registers(2, register)).encode())), attest.ErrMode)
	doc := v.sign(t, v.payload(nil).set("pcrs", debug).encode())
	doc[len(doc)-1] ^= 1
	refuse(t, "debug, and not genuine", evidence(doc), attest.ErrSignature)
}

// TestTPM: a NitroTPM's document is no evidence, and is appraised by itself.
func TestTPM(t *testing.T) {
	v := newVendor(t, nil)
	p := v.payload(nil).set("pcrs", nil).set("nitrotpm_pcrs", registers(24, func(int) []byte { return make([]byte, 48) }))
	doc := v.sign(t, p.encode())
	refuse(t, "a TPM's", evidence(doc), attest.ErrForm)
	if k, err := KindOf(doc); err != nil || k != TPM {
		t.Errorf("kind %v, %v", k, err)
	}
	a, err := Appraise(doc, nil, v.anchors(), testTime)
	if err != nil || a.Kind != TPM || len(a.Registers) != 24 || a.Identity.Status != attest.Passed || !a.Time.Equal(testTime) || a.ModuleID == "" {
		t.Errorf("%+v, %v", a, err)
	}
	doc[len(doc)-1] ^= 1
	if a, err := Appraise(doc, nil, nil, testTime); err == nil || a != nil {
		t.Errorf("%+v, %v", a, err)
	}
	if k, err := KindOf(doc[:99]); err == nil || k != 0 || !IsDocument(doc[:99]) || IsDocument(doc[1:]) {
		t.Errorf("kind %v, %v", k, err)
	}
}

// TestSignature: by the key of the certificate in the document, on P-384, and no other.
func TestSignature(t *testing.T) {
	v, other := newVendor(t, nil), newVendor(t, nil)
	plain := v.payload(nil).encode()
	refuse(t, "by another", evidence(other.sign(t, plain)), attest.ErrSignature)
	refuse(t, "by the issuer", evidence(signBy(t, v[3].key, plain)), attest.ErrSignature)
	zero := v.sign(t, plain)
	copy(zero[len(zero)-96:], make([]byte, 96))
	refuse(t, "of zeros", evidence(zero), attest.ErrSignature)
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P521()} {
		leaf := issue(t, curve, shapes()[4], v[3])
		w := append(append(vendor{}, v[:4]...), leaf)
		doc := v.sign(t, w.payload(nil).encode())
		refuse(t, curve.Params().Name, evidence(doc), attest.ErrSignature)
	}
	// A certificate replaced by a genuine one of another key breaks the signature.
	p := v.payload(nil).set("certificate", bstr(other[4].cert.Raw)).encode()
	refuse(t, "another's certificate", evidence(v.sign(t, p)), attest.ErrSignature)
}

// TestFlips: every bit counts that nothing signs, and every 11th of those that are signed,
// and so every bit of a byte somewhere; and every cut.
func TestFlips(t *testing.T) {
	v := newVendor(t, nil)
	doc := v.document(t, bytes.Repeat([]byte{7}, 64))
	signed := len(begin) + 3
	for i := range len(doc) * 8 {
		if at := i / 8; at >= signed && at < len(doc)-98 && i%11 != 0 {
			continue
		}
		bad := bytes.Clone(doc)
		bad[i/8] ^= 1 << (i % 8)
		if c, err := (Scheme{}).Verify(evidence(bad), v.anchors(), testTime); err == nil || c != nil {
			t.Fatalf("bit %d: %+v, %v", i, c, err)
		}
	}
	for i := range doc {
		refuse(t, "cut", evidence(doc[:i]), attest.ErrForm)
	}
}

// TestKept: nothing that is given is kept or changed.
func TestKept(t *testing.T) {
	v := newVendor(t, nil)
	doc := v.document(t, bytes.Repeat([]byte{7}, 64))
	before := bytes.Clone(doc)
	c := accept(t, evidence(doc), v.anchors(), testTime)
	if !bytes.Equal(doc, before) {
		t.Fatal("the evidence was changed")
	}
	clear(doc)
	if !bytes.Equal(c.Quoted, bytes.Repeat([]byte{7}, 64)) || !bytes.Equal(c.Measurements[0].Value, register(0)) {
		t.Fatal("the claims change with the evidence")
	}
}
