package tpm

import (
	"bytes"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-tpm/tpm2"

	"github.com/sworn-run/sworn/attest"
)

// sentinels are the errors that Verify may return.
var sentinels = []error{attest.ErrForm, attest.ErrSignature, attest.ErrMode, attest.ErrArgument}

// read returns a file of testdata.
func read(tb testing.TB, elem ...string) []byte {
	tb.Helper()
	b, err := os.ReadFile(filepath.Join(append([]string{"testdata"}, elem...)...))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// pcrs decodes a pcrs_* file.
func pcrs(tb testing.TB, b []byte, bank attest.Alg) []attest.RegisterValue {
	tb.Helper()
	var m map[string]string
	if err := json.Unmarshal(b, &m); err != nil {
		tb.Fatal(err)
	}
	var out []attest.RegisterValue
	for i := range uint32(len(m)) {
		v, err := hex.DecodeString(m[strconv.Itoa(int(i))])
		if err != nil || len(v) != bank.Size() {
			tb.Fatalf("register %d: %v", i, err)
		}
		out = append(out, attest.RegisterValue{Bank: bank, Index: i, Value: v})
	}
	return out
}

// values concatenates registers.
func values(rs []attest.RegisterValue) []byte {
	var out []byte
	for _, r := range rs {
		out = append(out, r.Value...)
	}
	return out
}

// capture returns the evidence of one captured quote.
func capture(tb testing.TB, run string, bank attest.Alg) *attest.Evidence {
	tb.Helper()
	ev, err := NewEvidence(3, &Parts{
		Attest:    read(tb, run, "quote_"+bank.String()+"_attest"),
		Signature: read(tb, run, "quote_"+bank.String()+"_sig"),
		Public:    read(tb, run, "akpub")[2:],
		PCRs:      values(pcrs(tb, read(tb, run, "pcrs_"+bank.String()), bank)),
	})
	if err != nil {
		tb.Fatal(err)
	}
	return ev
}

func TestVerifyCaptures(t *testing.T) {
	for _, run := range []string{"run-llm", "run-llmsb"} {
		for _, bank := range []attest.Alg{attest.SHA256, attest.SHA384} {
			t.Run(run+"/"+bank.String(), func(t *testing.T) {
				ev := capture(t, run, bank)
				claims, err := Scheme{}.Verify(ev, nil, testTime)
				if err != nil {
					t.Fatal(err)
				}
				oracle, err := tpm2.Unmarshal[tpm2.TPMSAttest](part(t, ev, PartAttest).Data)
				if err != nil {
					t.Fatal(err)
				}
				claims.Details = nil // TestDetails
				want := &attest.Claims{
					Format:    1,
					KeyID:     sha256.Sum256(read(t, run, "akname")),
					Quoted:    read(t, run, "nonce"),
					Registers: pcrs(t, read(t, run, "pcrs_"+bank.String()), bank),
					Counters: &attest.Counters{
						Clock:        oracle.ClockInfo.Clock,
						ResetCount:   oracle.ClockInfo.ResetCount,
						RestartCount: oracle.ClockInfo.RestartCount,
						Safe:         oracle.ClockInfo.Safe,
						Firmware:     oracle.FirmwareVersion,
					},
					Device:     sha256.Sum256(read(t, run, "akname")), // a primary key
					Keys:       []attest.Key{{What: "AK", SPKI: akKey(t, run)}},
					Identity:   attest.Identity{Finding: attest.Finding{Detail: claims.Identity.Detail}},
					Revocation: attest.Finding{Detail: claims.Revocation.Detail},
					TCB:        attest.TCB{Finding: attest.Finding{Status: attest.NotApplicable, Detail: claims.TCB.Detail}},
				}
				if d := cmp.Diff(want, claims); d != "" {
					t.Error(d)
				}
				if claims.Counters.Firmware != 0x2019102300163636 || claims.Identity.Detail == "" || claims.Revocation.Detail == "" {
					t.Errorf("claims %+v", claims)
				}
			})
		}
	}
}

// akKey returns the SubjectPublicKeyInfo of a capture's AK, by the oracle.
func akKey(tb testing.TB, run string) []byte {
	tb.Helper()
	pub, err := tpm2.Unmarshal[tpm2.TPMTPublic](read(tb, run, "akpub")[2:])
	if err != nil {
		tb.Fatal(err)
	}
	key, err := tpm2.Pub(*pub)
	if err != nil {
		tb.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		tb.Fatal(err)
	}
	return der
}

// TestManufacturer reads the vendor id of TPMs' certificates.
func TestManufacturer(t *testing.T) {
	p := newPKI(t)
	for _, tc := range []struct{ id, want string }{
		{"id:53544D20", "STM"},
		{"id:53544d20", "STM"},
		{"id:494E5443", "INTC"},
		{"id:414D4400", "AMD"},
		{"id:00001014", "00001014"},
		{"id:20202020", "20202020"},
		{"id:41202042", "41202042"},
	} {
		claims := p.identity(t, anchors(p.root.cert), p.leaf(t, named(tcgName(t, tc.id, "model", "id:1"))))
		if claims.Manufacturer != tc.want {
			t.Errorf("%s is %q, want %q", tc.id, claims.Manufacturer, tc.want)
		}
	}
	claims := p.identity(t, anchors(p.root.cert), p.sub.issue(t, leafTemplate("ak"), p.ak.signer.Public()), p.sub.cert.Raw)
	if claims.Manufacturer != "" || len(claims.Keys) != 2 || !bytes.Equal(claims.Keys[1].SPKI, p.sub.cert.RawSubjectPublicKeyInfo) {
		t.Errorf("manufacturer %q, keys %+v", claims.Manufacturer, claims.Keys)
	}
}

func TestName(t *testing.T) {
	for _, run := range []string{"run-llm", "run-llmsb"} {
		pub, want := read(t, run, "akpub")[2:], read(t, run, "akname")
		got, err := Name(pub)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("Name = %x, %v, want %x", got, err, want)
		}
		id, err := KeyID(pub)
		if err != nil || id != sha256.Sum256(want) {
			t.Errorf("KeyID = %x, %v", id, err)
		}
	}
	for _, b := range [][]byte{nil, read(t, "run-llm", "akpub"), make([]byte, maxPublic+1)} {
		if n, err := Name(b); !errors.Is(err, attest.ErrForm) || n != nil {
			t.Errorf("Name(%d bytes) = %x, %v", len(b), n, err)
		}
		if id, err := KeyID(b); !errors.Is(err, attest.ErrForm) || id != [32]byte{} {
			t.Errorf("KeyID(%d bytes) = %x, %v", len(b), id, err)
		}
	}
}

func TestDescribe(t *testing.T) {
	d := Scheme{}.Describe()
	want := attest.Description{
		Format: 1, Name: "tpm", Mode: attest.ModeDirect, Anchor: attest.AnchorRegister, QuotedHash: attest.SHA256,
		RootRole: "tpm-ak", NotApplicable: []string{"slot.tcb", "collateral.coherent"},
	}
	if diff := cmp.Diff(want, d); diff != "" {
		t.Error(diff)
	}
}

func TestVerifyArguments(t *testing.T) {
	ev := capture(t, "run-llm", attest.SHA256)
	for name, call := range map[string]func() (*attest.Claims, error){
		"nil evidence": func() (*attest.Claims, error) { return Scheme{}.Verify(nil, nil, testTime) },
		"zero time":    func() (*attest.Claims, error) { return Scheme{}.Verify(ev, nil, time.Time{}) },
	} {
		if c, err := call(); c != nil || !errors.Is(err, attest.ErrArgument) {
			t.Errorf("%s: %v, %v", name, c, err)
		}
	}
	if c, err := (Scheme{}).Verify(&attest.Evidence{}, nil, testTime); c != nil || !errors.Is(err, attest.ErrForm) {
		t.Errorf("zero evidence: %v, %v", c, err)
	}
	if e, err := NewEvidence(0, nil); e != nil || !errors.Is(err, attest.ErrArgument) {
		t.Errorf("nil parts: %v, %v", e, err)
	}
	if e, err := NewEvidence(0, &Parts{}); e != nil || !errors.Is(err, attest.ErrForm) {
		t.Errorf("zero parts: %v, %v", e, err)
	}
}

// refuse checks that Verify returns nothing but an error of the class.
func refuse(t *testing.T, ev *attest.Evidence, class error) {
	t.Helper()
	claims, err := Scheme{}.Verify(ev, nil, testTime)
	if claims != nil || !errors.Is(err, class) {
		t.Errorf("claims %v, error %v, want %v", claims, err, class)
	}
}

// TestBitFlips flips every bit of every part of captured evidence.
func TestBitFlips(t *testing.T) {
	for _, bank := range []attest.Alg{attest.SHA256, attest.SHA384} {
		flipAll(t, capture(t, "run-llmsb", bank), nil)
	}
}

// TestBitFlipsOfCertified flips every bit of evidence of a child AK with a
// certificate and an intermediate: what is accepted has lost its identity.
func TestBitFlipsOfCertified(t *testing.T) {
	root := newAuthority(t, caTemplate("root"), nil)
	sub := newAuthority(t, caTemplate("sub"), root)
	ak := newECC(t, elliptic.P256(), attest.SHA256)
	ak.parent = appendDigest(attest.SHA384, []byte("storage key"))
	ev := ak.quoted(t, sub.issue(t, leafTemplate("ak"), ak.signer.Public()), sub.cert.Raw)
	claims, err := Scheme{}.Verify(ev, anchors(root.cert), testTime)
	if err != nil || claims.Identity.Status != attest.Passed {
		t.Fatalf("%+v, %v", claims, err)
	}
	flipAll(t, ev, anchors(root.cert))
}

// flipAll fails the test for every bit of ev that can be flipped unnoticed.
func flipAll(t *testing.T, ev *attest.Evidence, a *attest.Anchors) {
	t.Helper()
	for i := range ev.Parts {
		for bit := range len(ev.Parts[i].Data) * 8 {
			bad := clone(ev)
			bad.Parts[i].Data[bit/8] ^= 1 << (bit % 8)
			claims, err := Scheme{}.Verify(bad, a, testTime)
			switch {
			case err != nil && (claims != nil || !slices.ContainsFunc(sentinels, func(s error) bool { return errors.Is(err, s) })):
				t.Errorf("part %q, bit %d: claims %v, error %v", bad.Parts[i].Name, bit, claims, err)
			case err == nil && (bad.Parts[i].Name != PartCertificate || claims.Identity.Status != attest.Failed):
				t.Errorf("part %q, bit %d: accepted, identity %+v", bad.Parts[i].Name, bit, claims.Identity)
			}
		}
	}
}

// TestInputUnchanged checks that Verify keeps and changes nothing of its input.
func TestInputUnchanged(t *testing.T) {
	ev := capture(t, "run-llm", attest.SHA256)
	before := clone(ev)
	claims, err := Scheme{}.Verify(ev, nil, testTime)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(before.Parts, ev.Parts); d != "" {
		t.Error(d)
	}
	for i := range ev.Parts {
		clear(ev.Parts[i].Data)
	}
	again, err := Scheme{}.Verify(before, nil, testTime)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(again, claims); d != "" {
		t.Errorf("claims alias the evidence: %s", d)
	}
}

func TestDetails(t *testing.T) {
	claims, err := Scheme{}.Verify(capture(t, "run-llm", attest.SHA256), nil, testTime)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, d := range claims.Details {
		got[d.Name] = d.Value
	}
	for name, want := range map[string]string{
		"type":                   "TPM_ST_ATTEST_QUOTE",
		"clockInfo.clock":        "164456 ms",
		"clockInfo.resetCount":   "15",
		"clockInfo.restartCount": "0",
		"clockInfo.safe":         "true",
		"firmwareVersion":        "0x2019102300163636",
		"extraData":              hex.EncodeToString(read(t, "run-llm", "nonce")),
		"pcrSelect":              "sha256:0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23",
		"sigAlg":                 "ECDSA with sha256",
		"AK type":                "ECC P-256",
		"AK nameAlg":             "sha256",
		"AK objectAttributes":    "fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, noDA, restricted, sign",
		"AK authPolicy":          "none",
		"AK Name":                hex.EncodeToString(read(t, "run-llm", "akname")),
		"AK parent":              "TPM_RH_ENDORSEMENT",
	} {
		if got[name] != want {
			t.Errorf("%s: %q, want %q", name, got[name], want)
		}
	}
}

// certificate returns a PEM certificate of testdata.
func certificate(tb testing.TB, elem ...string) *x509.Certificate {
	tb.Helper()
	block, _ := pem.Decode(read(tb, elem...))
	if block == nil {
		tb.Fatal("no PEM block")
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}
