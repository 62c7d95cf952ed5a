package hcl

import (
	"bytes"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sworn-run/sworn/attest"
)

// shared returns a file of the shared evidence folder, or skips the test where there is
// none.
func shared(t *testing.T, elem ...string) []byte {
	t.Helper()
	dir := os.Getenv("SWORN_SHARED")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared")
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

// modulus is a number of the size of a modulus.
func modulus(seed string) []byte {
	var out []byte
	for i := range 8 {
		h := sha256.Sum256([]byte{seed[0], byte(i)})
		out = append(out, h[:]...)
	}
	out[0] |= 0x80
	return out
}

// runtimeData is runtime data as the paravisor writes it.
func runtimeData(ak, ek []byte) string {
	b64 := base64.RawURLEncoding.EncodeToString
	return fmt.Sprintf(`{"keys":[{"kid":"HCLAkPub","key_ops":["sign"],"kty":"RSA","e":"AQAB","n":"%s"},`+
		`{"kid":"HCLEkPub","key_ops":["encrypt"],"kty":"RSA","e":"AQAB","n":"%s"}],`+
		`"vm-configuration":{"console-enabled":true,"secure-boot":true},"user-data":"%s"}`,
		b64(ak), b64(ek), strings.Repeat("00", 64))
}

// tdreport is a TDREPORT over report data, as far as its hashes go genuine.
func tdreport(reportData []byte) []byte {
	r := make([]byte, TDXSize)
	r[0] = typeTDX
	copy(r[offReportData:], reportData)
	for i := offTCB; i < offTCB+8+120+16; i++ {
		r[i] = byte(i)
	}
	for i := offInfo; i < offServiceTD; i++ {
		r[i] = byte(i * 7)
	}
	tcb, info := sha512.Sum384(r[offTCB:offTCB+sizeTCB]), sha512.Sum384(r[offInfo:])
	copy(r[offTCBHash:], tcb[:])
	copy(r[offInfoHash:], info[:])
	return r
}

// sample is a report of each type.
func sample(tb testing.TB, typ Type) []byte {
	tb.Helper()
	r := &Report{Version: 2, Type: typ, Hash: attest.SHA256, Padding: 100, Runtime: []byte(runtimeData(modulus("a"), modulus("e")))}
	if typ == SNP {
		r.Hardware = bytes.Repeat([]byte{1}, SNPSize)
		copy(r.Hardware[0x50:], r.ReportData())
	} else {
		r.Hardware = tdreport(r.ReportData())
	}
	b, err := r.Marshal()
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func TestParse(t *testing.T) {
	for _, typ := range []Type{SNP, TDX} {
		b := sample(t, typ)
		r, err := Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		if r.Version != 2 || r.Type != typ || len(r.Hardware) != typ.size() || r.Hash != attest.SHA256 || r.Padding != 100 {
			t.Errorf("%+v", r)
		}
		if !bytes.Equal(r.AK.Modulus, modulus("a")) || r.AK.Exponent != 65537 || !bytes.Equal(r.EK.Modulus, modulus("e")) {
			t.Errorf("keys %x %x", r.AK, r.EK)
		}
		if !r.AK.Equal(r.AK.Public()) || r.AK.Equal(r.EK.Public()) || (&Key{}).Equal(&rsa.PublicKey{}) {
			t.Error("equality of keys")
		}
		if !r.Covered() || (&Report{}).Covered() {
			t.Error("report data")
		}
		if len(r.UserData) != 64 || string(r.Configuration) != `{"console-enabled":true,"secure-boot":true}` {
			t.Errorf("user data %x, configuration %s", r.UserData, r.Configuration)
		}
	}
}

// TestParseCut: a report cut anywhere is refused, but where only zeros after it are cut.
func TestParseCut(t *testing.T) {
	b := sample(t, SNP)
	for n := range b {
		r, err := Parse(b[:n])
		if n >= len(b)-100 {
			if err != nil || r.Padding != n-(len(b)-100) {
				t.Errorf("%d bytes: %v", n, err)
			}
		} else if !errors.Is(err, attest.ErrForm) || r != nil {
			t.Fatalf("%d bytes: %v", n, err)
		}
	}
	if _, err := Parse(make([]byte, MaxSize+1)); !errors.Is(err, attest.ErrForm) {
		t.Error(err)
	}
}

// TestParseFlip: no bit of what nothing signs can be changed: of the header, the request,
// the bytes after a TDREPORT and after the report.
func TestParseFlip(t *testing.T) {
	for _, typ := range []Type{SNP, TDX} {
		b := sample(t, typ)
		n, hash := 0, 0
		for i := range 8 * len(b) {
			at := i / 8
			signed := at >= headerSize && at < headerSize+typ.size() ||
				at >= headerSize+areaSize+requestSize && at < len(b)-100
			if signed {
				continue
			}
			n++
			c := bytes.Clone(b)
			c[at] ^= 1 << (i % 8)
			r, err := Parse(c)
			// From SHA-256 (1) to SHA-512 (3): another report data is then wanted.
			if err == nil && r.Hash == attest.SHA512 && !bytes.Equal(r.ReportData(), (&Report{Hash: attest.SHA256, Runtime: r.Runtime}).ReportData()) {
				hash++
				continue
			}
			if !errors.Is(err, attest.ErrForm) {
				t.Errorf("type %d, bit %d: %v", typ, i, err)
			}
		}
		if n < 8*(headerSize+requestSize+100) || hash != 1 {
			t.Errorf("%d bits, %d of the hash type", n, hash)
		}
	}
}

func TestParseRuntime(t *testing.T) {
	good := runtimeData(modulus("a"), modulus("e"))
	key := good[strings.Index(good, `{"kid":"HCLAkPub"`) : strings.Index(good, `},{"kid":"HCLEkPub"`)+1]
	swap := func(old, with string) string {
		out := strings.Replace(good, old, with, 1)
		if out == good {
			t.Fatalf("%q is not there", old)
		}
		return out
	}
	for name, runtime := range map[string]string{
		"empty":             "",
		"not JSON":          "{",
		"trailing":          good + "x",
		"NUL":               good + "\x00",
		"array":             "[" + good + "]",
		"no keys":           `{}`,
		"keys of null":      `{"keys":null}`,
		"no AK":             swap(akID, "other"),
		"case of a kid":     swap(akID, "HCLAKPub"),
		"case of keys":      swap(`"keys"`, `"Keys"`),
		"case of n":         swap(`"n"`, `"N"`),
		"keys twice":        swap(`"vm-configuration":`, `"keys":[],"vm-configuration":`),
		"kid twice":         swap(`"key_ops"`, `"kid":"HCLAkPub","key_ops"`),
		"duplicate within":  swap(`"secure-boot":true`, `"secure-boot":true,"secure-boot":false`),
		"two AKs":           swap(key, key+","+key),
		"two EKs":           swap(`}],"vm`, `},{"kid":"HCLEkPub","key_ops":["encrypt"],"kty":"RSA","e":"AQAB","n":"`+base64.RawURLEncoding.EncodeToString(modulus("a"))+`"}],"vm`),
		"AK of use encrypt": swap(`["sign"]`, `["encrypt"]`),
		"two uses":          swap(`["sign"]`, `["sign","encrypt"]`),
		"EC":                swap(`"RSA"`, `"EC"`),
		"line break":        swap(`"e":"AQAB"`, `"e":"AQ\nAB"`),
		"padding":           swap(`"e":"AQAB"`, `"e":"AQAB="`),
		"even exponent":     swap(`"e":"AQAB"`, `"e":"AQAA"`),
		"exponent 1":        swap(`"e":"AQAB"`, `"e":"AQ"`),
		"leading zero":      swap(`"e":"AQAB"`, `"e":"AAEAAQ"`),
		"no exponent":       swap(`"e":"AQAB"`, `"e":""`),
		"long exponent":     swap(`"e":"AQAB"`, `"e":"AQEBAQEB"`),
		"short modulus":     runtimeData(modulus("a")[:255], modulus("e")),
		"leading zero of n": runtimeData(append([]byte{0}, modulus("a")[1:]...), modulus("e")),
		"user data":         swap(`"user-data":"00`, `"user-data":"0`),
		"user data 32":      swap(strings.Repeat("00", 64), strings.Repeat("00", 32)),
		"many keys":         swap(key, strings.Repeat(`{"kid":"x"},`, maxKeys)+key),
		"key is no object":  swap(key, key+",1"),
		"not UTF-8":         swap("HCLEkPub", "\xff"),
		"lone surrogate":    swap("HCLEkPub", `\ud800`),
		"deep":              swap(`"console-enabled":true`, `"x":`+strings.Repeat("[", 12000)),
	} {
		r := &Report{Version: 1, Type: SNP, Hash: attest.SHA256, Hardware: make([]byte, SNPSize), Runtime: []byte(runtime)}
		b, err := r.Marshal()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if r, err := Parse(b); !errors.Is(err, attest.ErrForm) || r != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	// What is signed may say more than is known.
	r := &Report{Version: 1, Type: SNP, Hash: attest.SHA256, Hardware: make([]byte, SNPSize)}
	r.Runtime = []byte(swap(`"vm-configuration":{`, `"new":[1],"vm-configuration":{"newer":{},`))
	b, err := r.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Parse(b); err != nil {
		t.Error(err)
	}
}

func TestMarshalRefuses(t *testing.T) {
	for name, r := range map[string]*Report{
		"zero":     {},
		"type":     {Type: 3, Hash: attest.SHA256, Hardware: make([]byte, SNPSize)},
		"hash":     {Type: SNP, Hash: attest.SHA1, Hardware: make([]byte, SNPSize)},
		"hardware": {Type: TDX, Hash: attest.SHA256, Hardware: make([]byte, SNPSize)},
		"runtime":  {Type: SNP, Hash: attest.SHA256, Hardware: make([]byte, SNPSize), Runtime: make([]byte, MaxSize)},
		"padding":  {Type: SNP, Hash: attest.SHA256, Hardware: make([]byte, SNPSize), Padding: MaxSize},
	} {
		if b, err := r.Marshal(); !errors.Is(err, attest.ErrArgument) || b != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestVMPL(t *testing.T) {
	b := make([]byte, SNPSize)
	b[0x30] = 3
	if n, err := VMPL(b); n != 3 || err != nil {
		t.Error(n, err)
	}
	if _, err := VMPL(b[1:]); !errors.Is(err, attest.ErrForm) {
		t.Error(err)
	}
}

// quote returns the beginning of a quote over a TDREPORT, in one of its layouts.
func quote(r []byte, version, kind uint16) []byte {
	q := make([]byte, quoteHeader)
	binary.LittleEndian.PutUint16(q, version)
	size := body10
	if version == 5 {
		if kind == 3 {
			size = body15
		}
		q = binary.LittleEndian.AppendUint16(q, kind)
		q = binary.LittleEndian.AppendUint32(q, uint32(size))
	}
	return append(append(q, wantBody(r, size)...), "and the rest"...)
}

func TestMatchQuote(t *testing.T) {
	r := tdreport(bytes.Repeat([]byte{9}, 64))
	for _, kind := range [][2]uint16{{4, 0}, {5, 2}, {5, 3}} {
		q := quote(r, kind[0], kind[1])
		if err := MatchQuote(r, q); err != nil {
			t.Errorf("%v: %v", kind, err)
		}
		for i := quoteHeader; i < len(q)-len("and the rest"); i++ {
			c := bytes.Clone(q)
			c[i] ^= 0x10
			if err := MatchQuote(r, c); !errors.Is(err, attest.ErrSignature) && !errors.Is(err, attest.ErrForm) {
				t.Errorf("%v, byte %d of the quote: %v", kind, i, err)
			}
		}
		for _, n := range []int{0, quoteHeader, len(q) - len("and the rest") - 1} {
			if err := MatchQuote(r, q[:n]); !errors.Is(err, attest.ErrForm) {
				t.Errorf("%v, %d bytes: %v", kind, n, err)
			}
		}
	}
	q := quote(r, 4, 0)
	for i := range r {
		c := bytes.Clone(r)
		c[i] ^= 0x10
		err := MatchQuote(c, q)
		// What the quoting enclave does not take over.
		if free := i >= 16 && i < 32 || i >= 224 && i < 256; free != (err == nil) {
			t.Errorf("byte %d of the TDREPORT: %v", i, err)
		}
	}
	if err := MatchQuote(r[1:], q); !errors.Is(err, attest.ErrForm) {
		t.Error(err)
	}
	if err := MatchQuote(r, quote(r, 3, 0)); !errors.Is(err, attest.ErrForm) {
		t.Error(err)
	}
}

// TestGenuine: reports of Azure's machines.
func TestGenuine(t *testing.T) {
	for _, item := range []struct {
		tech, id string
		version  uint32
		typ      Type
		padding  int
	}{
		{"azure-snp", "azsnp-milan-v3-trustee-v0", 1, SNP, 254},
		{"azure-snp", "azsnp-milan-v3-trustee-v1", 1, SNP, 254},
		{"azure-snp", "azsnp-genoa-v3-trustee", 2, SNP, 164},
		{"azure-tdx", "aztdx-trustee-v1", 2, TDX, 163},
		{"azure-tdx", "aztdx-hcl-only-kinvolk", 2, TDX, 162},
	} {
		b := shared(t, item.tech, item.id, "hcl_report.bin")
		r, err := Parse(b)
		if err != nil {
			t.Errorf("%s: %v", item.id, err)
			continue
		}
		if r.Version != item.version || r.Type != item.typ || r.Padding != item.padding || r.Hash != attest.SHA256 || r.EK == nil {
			t.Errorf("%s: %+v", item.id, r)
		}
		if want := shared(t, item.tech, item.id, "runtime_data.json"); !bytes.Equal(r.Runtime, want) {
			t.Errorf("%s: runtime data %q", item.id, r.Runtime)
		}
		at := 0x50
		if r.Type == TDX {
			at = offReportData
		} else if n, err := VMPL(r.Hardware); n != 0 || err != nil {
			t.Errorf("%s: VMPL %d, %v", item.id, n, err)
		}
		if !bytes.Equal(r.Hardware[at:at+64], r.ReportData()) || !r.Covered() {
			t.Errorf("%s: report data %x", item.id, r.Hardware[at:at+64])
		}
		r.Runtime[0] ^= 1
		if r.Covered() {
			t.Errorf("%s: covers other runtime data", item.id)
		}
		r.Runtime[0] ^= 1
		if again, err := r.Marshal(); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%s: does not marshal back to itself: %v", item.id, err)
		}
	}
}

// TestGenuineQuote: the quote of an Azure machine is over the TDREPORT of its report, and
// not over another machine's.
func TestGenuineQuote(t *testing.T) {
	q := shared(t, "azure-tdx", "aztdx-trustee-v1", "td_quote.bin")
	for id, want := range map[string]error{"aztdx-trustee-v1": nil, "aztdx-hcl-only-kinvolk": attest.ErrSignature} {
		r, err := Parse(shared(t, "azure-tdx", id, "hcl_report.bin"))
		if err != nil {
			t.Fatal(err)
		}
		if err := MatchQuote(r.Hardware, q); !errors.Is(err, want) {
			t.Errorf("%s: %v", id, err)
		}
	}
}
