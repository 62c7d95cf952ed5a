package ear_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sworn-run/sworn/verifier"
	"github.com/sworn-run/sworn/verifier/ear"
)

var now = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

// report is one of a trusted record with one check of each id, and what edit makes of it.
func report(edit func(*verifier.Report)) *verifier.Report {
	r := &verifier.Report{
		Type: verifier.ReportType, Trusted: true, Headline: "trusted", Policy: strings.Repeat("ab", 32), Capsule: strings.Repeat("cd", 32),
		Now: verifier.Verdict{Status: "trusted", Time: "2026-11-29T12:00:00Z"}, Verifier: "sworn test",
	}
	for _, id := range verifier.CheckIDs() {
		r.Checks = append(r.Checks, verifier.Check{ID: id, Status: "passed"})
	}
	r.Summary.Evidence = [][]verifier.Field{{{Name: "format", Value: "sev-snp"}}}
	if edit != nil {
		edit(r)
	}
	return r
}

// set changes one check.
func set(id, status, waived string) func(*verifier.Report) {
	return func(r *verifier.Report) {
		for i := range r.Checks {
			if r.Checks[i].ID == id {
				r.Checks[i].Status, r.Checks[i].Waived = status, waived
			}
		}
	}
}

func appraisal(t *testing.T, r *verifier.Report) ear.Appraisal {
	t.Helper()
	out, err := ear.New(r, now)
	if err != nil {
		t.Fatal(err)
	}
	return out.Submods[ear.Submodule]
}

func TestVector(t *testing.T) {
	all := ear.Vector{InstanceIdentity: 2, Configuration: 2, Executables: 2, FileSystem: 2, Hardware: 2, RuntimeOpaque: 2}
	with := func(edit func(*ear.Vector)) ear.Vector { v := all; edit(&v); return v }
	format := func(names ...string) func(*verifier.Report) {
		return func(r *verifier.Report) {
			r.Summary.Evidence = nil
			for _, n := range names {
				r.Summary.Evidence = append(r.Summary.Evidence, []verifier.Field{{Name: "format", Value: n}})
			}
		}
	}
	for name, x := range map[string]struct {
		edit func(*verifier.Report)
		want ear.Vector
	}{
		"all passed":              {nil, all},
		"a stranger's key":        {set("slot.identity", "not established", ""), with(func(v *ear.Vector) { v.InstanceIdentity = 97 })},
		"identity waived":         {set("slot.identity", "not established", "why"), with(func(v *ear.Vector) { v.InstanceIdentity = 32 })},
		"another binding":         {set("slot.binding", "failed", ""), with(func(v *ear.Vector) { v.InstanceIdentity = 99 })},
		"revoked":                 {set("slot.revocation", "failed", ""), with(func(v *ear.Vector) { v.InstanceIdentity = 96 })},
		"old platform":            {set("slot.tcb", "failed", ""), with(func(v *ear.Vector) { v.Hardware = 96 })},
		"unknown platform":        {set("slot.tcb", "not established", ""), with(func(v *ear.Vector) { v.Hardware = 97 })},
		"on the ledger":           {set("ledger", "failed", ""), with(func(v *ear.Vector) { v.Hardware = 96 })},
		"debug":                   {set("slot.mode", "failed", ""), with(func(v *ear.Vector) { v.Hardware, v.RuntimeOpaque = 96, 0 })},
		"nothing booted, waived":  {set("launcher.rooted", "not established", "why"), with(func(v *ear.Vector) { v.Executables = 33 })},
		"other weights":           {set("components.match", "failed", ""), with(func(v *ear.Vector) { v.Executables = 96 })},
		"swap":                    {set("protection.memory", "failed", ""), with(func(v *ear.Vector) { v.Configuration = 96 })},
		"open root":               {set("components.closed", "failed", "why"), with(func(v *ear.Vector) { v.FileSystem = 32 })},
		"a device":                {set("compute.inside", "failed", ""), with(func(v *ear.Vector) { v.RuntimeOpaque = 96 })},
		"a TPM who knows where":   {set("composite.same-machine", "not established", "why"), with(func(v *ear.Vector) { v.Configuration, v.RuntimeOpaque = 32, 32 })},
		"does not apply":          {set("slot.counters", "not applicable", ""), all},
		"what no claim speaks of": {set("input.file", "failed", ""), all},
		"a TPM":                   {format("tpm"), with(func(v *ear.Vector) { v.RuntimeOpaque = 0 })},
		"a Nitro enclave":         {format("nitro"), with(func(v *ear.Vector) { v.RuntimeOpaque = 32 })},
		"a TPM beside SNP":        {format("tpm", "sev-snp"), all},
	} {
		if got := appraisal(t, report(x.edit)).Vector; got != x.want {
			t.Errorf("%s: %+v, want %+v", name, got, x.want)
		}
	}
}

// Of every check that a claim rests on, any outcome but passed takes the claim out of its
// tier: none of the rows is without effect.
func TestEveryCheckCounts(t *testing.T) {
	for row := range strings.Lines(ear.Table()) {
		cells := strings.Split(row, "|")
		if len(cells) < 7 || !strings.HasPrefix(strings.TrimSpace(cells[1]), "`") {
			continue
		}
		for id := range strings.FieldsSeq(strings.ReplaceAll(cells[2], "`", "")) {
			for _, status := range []string{"failed", "not established"} {
				good, bad := appraisal(t, report(nil)).Vector, appraisal(t, report(set(id, status, ""))).Vector
				if good == bad {
					t.Errorf("%s %s changes nothing", id, status)
				}
			}
		}
	}
}

func TestStatus(t *testing.T) {
	for name, x := range map[string]struct {
		edit func(*verifier.Report)
		want string
	}{
		"trusted":     {nil, ear.Affirming},
		"assuming":    {func(r *verifier.Report) { r.Assuming = []string{"launcher.rooted"} }, ear.Warning},
		"not trusted": {func(r *verifier.Report) { r.Trusted = false }, ear.Contraindicated},
	} {
		if got := appraisal(t, report(x.edit)).Status; got != x.want {
			t.Errorf("%s: %s, want %s", name, got, x.want)
		}
	}
}

// Where the verdict as of the record's time decides, the vector is of its checks.
func TestRecordTime(t *testing.T) {
	r := report(set("slot.tcb", "failed", ""))
	r.Now.Status, r.Record = "not trusted", verifier.Verdict{Status: "trusted", Time: "2026-01-01T00:00:00Z"}
	r.RecordChecks, r.Decides = report(nil).Checks, "record"
	if a := appraisal(t, r); a.Vector.Hardware != 2 || a.Time != "2026-01-01T00:00:00Z" {
		t.Errorf("%+v", a)
	}
	// One at another time, which the policy lets decide, brings its checks with it.
	at := *r
	at.Decides, at.Hypothetical = "at", &verifier.Verdict{Status: "trusted", Time: "2026-02-01T00:00:00Z"}
	if a := appraisal(t, &at); a.Vector.Hardware != 96 || a.Time != "2026-02-01T00:00:00Z" {
		t.Errorf("%+v", a)
	}
	r.Trusted, r.Decides = false, "now"
	if a := appraisal(t, r); a.Vector.Hardware != 96 || a.Status != ear.Contraindicated || a.Time != r.Now.Time {
		t.Errorf("%+v", a)
	}
}

func TestArguments(t *testing.T) {
	for name, r := range map[string]*verifier.Report{"none": nil, "zero": {}} {
		if out, err := ear.New(r, now); out != nil || !errors.Is(err, ear.ErrArgument) {
			t.Errorf("%s: %v, %v", name, out, err)
		}
	}
	if out, err := ear.New(report(nil), time.Time{}); out != nil || !errors.Is(err, ear.ErrArgument) {
		t.Errorf("no time: %v, %v", out, err)
	}
	result, err := ear.New(report(nil), now)
	if err != nil {
		t.Fatal(err)
	}
	weak, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p521, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]crypto.Signer{"none": nil, "RSA": weak, "P-521": p521} {
		if out, err := ear.Sign(result, key, ""); out != "" || !errors.Is(err, ear.ErrArgument) {
			t.Errorf("%s: %q, %v", name, out, err)
		}
	}
	if out, err := ear.Sign(nil, p521, ""); out != "" || !errors.Is(err, ear.ErrArgument) {
		t.Errorf("no result: %q, %v", out, err)
	}
}

// The three parts of a token, by the words of RFC 7515 and RFC 7518, and that no bit of
// them can be changed. tools/oracle holds it against a library.
func TestSign(t *testing.T) {
	_, ed, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	halves := func(sig []byte) (*big.Int, *big.Int) {
		n := len(sig) / 2
		return new(big.Int).SetBytes(sig[:n]), new(big.Int).SetBytes(sig[n:])
	}
	for alg, x := range map[string]struct {
		key    crypto.Signer
		verify func(message, sig []byte) bool
	}{
		"EdDSA": {ed, func(m, sig []byte) bool { return ed25519.Verify(ed.Public().(ed25519.PublicKey), m, sig) }},
		"ES256": {p256, func(m, sig []byte) bool {
			d := sha256.Sum256(m)
			r, s := halves(sig)
			return len(sig) == 64 && ecdsa.Verify(&p256.PublicKey, d[:], r, s)
		}},
		"ES384": {p384, func(m, sig []byte) bool {
			d := sha512.Sum384(m)
			r, s := halves(sig)
			return len(sig) == 96 && ecdsa.Verify(&p384.PublicKey, d[:], r, s)
		}},
	} {
		result, err := ear.New(report(nil), now)
		if err != nil {
			t.Fatal(err)
		}
		token, err := ear.Sign(result, x.key, "kid")
		if err != nil {
			t.Fatal(err)
		}
		parts := strings.Split(token, ".")
		if len(parts) != 3 {
			t.Fatalf("%s: %d parts", alg, len(parts))
		}
		var raw [3][]byte
		for i, p := range parts {
			if raw[i], err = base64.RawURLEncoding.DecodeString(p); err != nil {
				t.Fatal(err)
			}
		}
		if got, want := string(raw[0]), `{"alg":"`+alg+`","typ":"JWT","kid":"kid"}`; got != want {
			t.Errorf("header %s, want %s", got, want)
		}
		var back ear.Result
		if err := json.Unmarshal(raw[1], &back); err != nil || back.IssuedAt != now.Unix() || back.Profile != ear.Profile ||
			back.Submods[ear.Submodule].Status != ear.Affirming {
			t.Errorf("%s: %v, %+v", alg, err, back)
		}
		if !x.verify([]byte(parts[0]+"."+parts[1]), raw[2]) {
			t.Errorf("%s: the signature does not verify", alg)
		}
		for i := range len(parts[1]) {
			changed := []byte(parts[0] + "." + parts[1])
			changed[len(parts[0])+1+i] ^= 1
			if i%37 == 0 && x.verify(changed, raw[2]) {
				t.Fatalf("%s: byte %d can be changed", alg, i)
			}
		}
	}
}

func TestTier(t *testing.T) {
	for n, want := range map[int]string{
		-1: ear.None, 0: ear.None, 1: ear.None, 2: ear.Affirming, 31: ear.Affirming, 32: ear.Warning, 95: ear.Warning,
		96: ear.Contraindicated, 127: ear.Contraindicated, 128: ear.None,
	} {
		if got := ear.Tier(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

// The table in the documents is the one in the code.
func TestTable(t *testing.T) {
	b, err := os.ReadFile("../../docs/RESULTS.md")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(b, []byte(ear.Table())) {
		t.Errorf("docs/RESULTS.md does not have this table:\n%s", ear.Table())
	}
	for row := range strings.Lines(ear.Table()) {
		for id := range strings.FieldsSeq(row) {
			if id = strings.Trim(id, "`"); strings.Contains(id, ".") {
				if _, ok := verifier.CheckClass(id); !ok {
					t.Errorf("the table has a check %q that does not exist", id)
				}
			}
		}
	}
}

func ExampleSign() {
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	result, err := ear.New(report(nil), now)
	if err != nil {
		fmt.Println(err)
		return
	}
	token, err := ear.Sign(result, key, "verifier-1")
	fmt.Println(strings.Count(token, "."), err, result.Submods[ear.Submodule].Status)
	// Output: 2 <nil> affirming
}
