package verifier_test

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/sworn-run/sworn/internal/limits"
	"github.com/sworn-run/sworn/verifier"
)

// TestZeroValues: what the caller leaves out is an error or a refusal, never
// trust.
func TestZeroValues(t *testing.T) {
	page := golden(t, "page.cer.json")
	zeroPolicy := goldenInput(t, "page")
	zeroPolicy.Policy = &verifier.Policy{}
	noTime := goldenInput(t, "page")
	noTime.Now = time.Time{}
	onlyAt := noTime
	onlyAt.At = goldenTime(t)
	broken := goldenInput(t, "page")
	broken.Policy.Exit = nil
	noSlots := goldenInput(t, "page")
	noSlots.Policy.Slots = nil
	noIdentity := goldenInput(t, "page")
	noIdentity.Policy.Formats["tpm"] = verifier.FormatPolicy{Bank: "sha256", Register: new(uint32(13))}
	core := goldenInput(t, "page")
	core.Policy.Waive = append(core.Policy.Waive, verifier.Waiver{Check: "slot.signature", Reason: "a test"})
	noReason := goldenInput(t, "page")
	noReason.Policy.Waive[0].Reason = " "
	nonce := func(n int) verifier.Input {
		in := goldenInput(t, "page")
		in.Nonce = make([]byte, n)
		return in
	}
	for _, x := range []struct {
		name string
		in   verifier.Input
		want error
	}{
		{"zero input", verifier.Input{}, verifier.ErrInput},
		{"no time", noTime, verifier.ErrInput},
		{"only a hypothetical time", onlyAt, verifier.ErrInput},
		{"empty nonce", nonce(0), verifier.ErrInput},
		{"short nonce", nonce(7), verifier.ErrInput},
		{"long nonce", nonce(65), verifier.ErrInput},
		{"zero policy", zeroPolicy, verifier.ErrPolicy},
		{"policy without exit codes", broken, verifier.ErrPolicy},
		{"policy without slots", noSlots, verifier.ErrPolicy},
		{"policy without identity", noIdentity, verifier.ErrPolicy},
		{"policy that waives a core check", core, verifier.ErrPolicy},
		{"policy that waives without a reason", noReason, verifier.ErrPolicy},
	} {
		for _, file := range [][]byte{page, nil, {}} {
			r, err := verifier.Verify(file, x.in)
			if r != nil || !errors.Is(err, x.want) {
				t.Errorf("%s: report %v, error %v", x.name, r, err)
			}
			if other := map[error]error{verifier.ErrInput: verifier.ErrPolicy, verifier.ErrPolicy: verifier.ErrInput}[x.want]; errors.Is(err, other) {
				t.Errorf("%s: error %v is both kinds", x.name, err)
			}
		}
	}
}

// TestHostileFile: a file that is no record is no error, but a report that
// says so, whole and bounded.
func TestHostileFile(t *testing.T) {
	page := golden(t, "page.cer.json")
	deep := strings.Repeat("[", 100000) + strings.Repeat("]", 100000) + "\n"
	for name, file := range map[string][]byte{
		"nil": nil, "empty": {}, "line feed": []byte("\n"), "null": []byte("null\n"), "object": []byte("{}\n"), "array": []byte("[]\n"),
		"number": []byte("1e400\n"), "text": []byte("hello\n"), "binary": {0, 1, 2, 255}, "deep": []byte(deep),
		"policy": golden(t, "policy.json"), "no line feed": bytes.TrimSuffix(page, []byte("\n")), "two line feeds": append(bytes.Clone(page), '\n'),
		"carriage return": append(bytes.TrimSuffix(page, []byte("\n")), '\r', '\n'), "blank before": append([]byte(" "), page...),
		"byte order mark": append([]byte("\xEF\xBB\xBF"), page...), "half": page[:len(page)/2], "twice": append(bytes.Clone(page), page...),
		"upper case": bytes.ToUpper(page), "only the record": goldenCapsule(t, "page").CER,
	} {
		for _, in := range []verifier.Input{goldenInput(t, "page"), {Now: goldenTime(t)}} {
			r := verify(t, file, in)
			if r.Trusted || find(t, r, "capsule.strict").Status != "failed" || r.Genuine() == nil {
				t.Errorf("%s: %s", name, r.Headline)
			}
			if in.Policy != nil && named(r) != "capsule.strict" {
				t.Errorf("%s: %s", name, r.Headline)
			}
			if len(r.Checks) != len(verifier.CheckIDs()) {
				t.Errorf("%s: %d checks, want each once", name, len(r.Checks))
			}
			if !errors.Is(r.Genuine(), verifier.ErrRecord) {
				t.Errorf("%s: %v", name, r.Genuine())
			}
			var out bytes.Buffer
			if err := r.WriteText(&out, true); err != nil || out.Len() > 64<<10 {
				t.Errorf("%s: %d bytes of text, error %v", name, out.Len(), err)
			}
			reportJSON(t, reportSchema(t), r)
		}
	}
}

// TestTooLarge: a file beyond the limit is refused before it is read.
func TestTooLarge(t *testing.T) {
	if testing.Short() || raceEnabled || math.MaxInt == math.MaxInt32 {
		t.Log("64 MiB are not made here; the limit itself is tested in package cer")
		return
	}
	wantRefused(t, verify(t, make([]byte, limits.CapsuleFile+1), goldenInput(t, "page")), "capsule.strict")
}

// TestPolicyFromRecord: a policy comes only from a record that is known good
// but for what is waived; and it is the golden one.
func TestPolicyFromRecord(t *testing.T) {
	now, roots := goldenTime(t), goldenRoots(t)
	want := parsePolicy(t, golden(t, "policy.json"))
	p, err := verifier.PolicyFromRecord(golden(t, "golden.cer.json"), roots, now, want.Name, want.Waive)
	if err != nil {
		t.Fatal(err)
	}
	if d := samePolicy(want, p); d != "" {
		t.Error(d)
	}
	flipped := golden(t, "golden.cer.json")
	flipped[len(flipped)/2] ^= 1
	for _, x := range []struct {
		name  string
		file  []byte
		roots *verifier.TrustStore
		now   time.Time
		waive []verifier.Waiver
		want  error
	}{
		{"nothing waived", golden(t, "golden.cer.json"), roots, now, nil, verifier.ErrRecord},
		{"one not waived", golden(t, "golden.cer.json"), roots, now, want.Waive[:1], verifier.ErrRecord},
		{"no roots", golden(t, "golden.cer.json"), nil, now, want.Waive, verifier.ErrRecord},
		{"expired", golden(t, "golden.cer.json"), roots, now.AddDate(30, 0, 0), want.Waive, verifier.ErrRecord},
		{"no time", golden(t, "golden.cer.json"), roots, time.Time{}, want.Waive, verifier.ErrInput},
		{"a flipped bit", flipped, roots, now, want.Waive, verifier.ErrRecord},
		{"no record", nil, roots, now, want.Waive, verifier.ErrRecord},
		{"a waiver of a core check", golden(t, "golden.cer.json"), roots, now, []verifier.Waiver{{Check: "log.replay", Reason: "x"}}, verifier.ErrPolicy},
		{"a waiver twice", golden(t, "golden.cer.json"), roots, now, append(want.Waive[:2:2], want.Waive[0]), verifier.ErrPolicy},
	} {
		if p, err := verifier.PolicyFromRecord(x.file, x.roots, x.now, "x", x.waive); p != nil || !errors.Is(err, x.want) {
			t.Errorf("%s: policy %v, error %v", x.name, p, err)
		}
	}
}
