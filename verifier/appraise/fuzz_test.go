package appraise

import (
	"crypto/elliptic"
	"encoding/json"
	"errors"
	"io/fs"
	"testing"

	"github.com/sworn-run/sworn/attest"
)

// isRefusal reports whether an error is of a class that a refusal may have.
func isRefusal(err error) bool {
	for _, e := range []error{ErrRefused, attest.ErrForm, attest.ErrSignature, attest.ErrMode} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// FuzzAppraise gives one file of each kind: every refusal has its class, and what is
// refused claims no register.
func FuzzAppraise(f *testing.F) {
	t := newTPM(f, elliptic.P256(), restrictedKey)
	n := 0
	add := func(b []byte) {
		f.Add(b)
		n++
	}
	files := capture(f)
	for _, name := range []string{"eventlog", "ima_binary", "ima_ascii", "quote_sha256_attest", "quote_sha256_sig", "akpub", "pcrs_sha256"} {
		add(files[name])
	}
	add(pb(pb(nil, 1, t.area), 2, pbQuoteOf(f, t, attest.SHA256)))
	add([]byte(textAttestation(f, t, nil)))
	for _, v := range jsonForms(f, t, "") {
		b, err := json.Marshal(v)
		if err != nil {
			f.Fatal(err)
		}
		add(b)
	}
	hypervisor := newHypervisor(f)
	add(hypervisor.document(f, "pcrs", nitroRegisters(16, nil), nil, nil))
	add(hypervisor.document(f, "nitrotpm_pcrs", nitroRegisters(24, nil), nil, []byte("key")))
	if n < 12 {
		f.Fatal("no seeds")
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, kind := range append(Kinds(), "") {
			r, err := Appraise(Input{Kind: kind, Files: []File{{"file", b}}, At: testTime, Strict: len(b)%2 == 0})
			switch {
			case (r == nil) == (err == nil), err != nil && !errors.Is(err, attest.ErrArgument), err != nil && kind != "":
				t.Fatalf("%s: %v, %v", kind, r, err)
			case err != nil:
			case !r.Accepted() && (!isRefusal(r.Refusal) || r.Quoted != nil):
				t.Fatalf("%s: %v with %d registers", kind, r.Refusal, len(r.Quoted))
			case r.Accepted() && (kind == TPM || kind == Nitro || kind == NitroTPM) && len(r.Quoted) == 0:
				t.Fatal("a quote of nothing is accepted")
			}
		}
	})
}

// FuzzAttestation reads both formats: what is read has a key and quotes, within the
// bounds, and every register has the size of its bank.
func FuzzAttestation(f *testing.F) {
	t := newTPM(f, elliptic.P256(), restrictedKey)
	seeds := [][]byte{
		pb(pb(nil, 1, t.area), 2, pbQuoteOf(f, t, attest.SHA384)),
		[]byte(textAttestation(f, t, []byte("c"))),
		[]byte(`ak_pub:"\x41\u00e9\U0001f600" quotes:[{quote:'a' "b"},<>] # c`),
	}
	if len(seeds) == 0 {
		f.Fatal("no seeds")
	}
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, parse := range []func([]byte) (*attestation, error){parseAttestation, parseTextAttestation} {
			a, err := parse(b)
			if err != nil {
				if !errors.Is(err, attest.ErrForm) {
					t.Fatal(err)
				}
				continue
			}
			if len(a.akPub) == 0 || len(a.quotes) == 0 || len(a.quotes) > maxQuotes || len(a.intermediates) > maxIntermediates {
				t.Fatalf("%+v", a)
			}
			for _, q := range a.quotes {
				for _, v := range q.registers {
					if v.Index > 31 || len(v.Value) != v.Bank.Size() {
						t.Fatalf("%+v", v)
					}
				}
			}
		}
	})
}

// FuzzRegisters reads register values: sorted, none twice, of the size of their bank,
// and the same when written again.
func FuzzRegisters(f *testing.F) {
	seed, ok := capture(f)["pcrs_sha384"]
	if !ok {
		f.Fatal("no seeds")
	}
	f.Add(seed)
	f.Add([]byte(`{"replay":{"RTMR0":"0x` + string(seed[6:102]) + `"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := ParseRegisters(b)
		if err != nil {
			if !errors.Is(err, attest.ErrForm) {
				t.Fatal(err)
			}
			return
		}
		m := map[string]map[string]string{}
		for i, v := range list {
			if v.Index > 31 || len(v.Value) != v.Bank.Size() || len(v.Value) == 0 {
				t.Fatalf("%+v", v)
			}
			if i > 0 && list[i-1].Bank == v.Bank && list[i-1].Index >= v.Index {
				t.Fatalf("%+v after %+v", v, list[i-1])
			}
			if m[v.Bank.String()] == nil {
				m[v.Bank.String()] = map[string]string{}
			}
			m[v.Bank.String()][itoa(v.Index)] = hexOf(v.Value)
		}
		again, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		same, err := ParseRegisters(again)
		if err != nil || len(same) != len(list) {
			t.Fatalf("%v, %v", same, err)
		}
		for i := range same {
			if same[i].Index != list[i].Index || same[i].Bank != list[i].Bank || hexOf(same[i].Value) != hexOf(list[i].Value) {
				t.Fatalf("%+v, %+v", same[i], list[i])
			}
		}
	})
}

// FuzzIndex reads an index: every path stays below its folder.
func FuzzIndex(f *testing.F) {
	seeds := [][]byte{indexJSON(f, ByReplay), indexJSON(f, ByStrict)}
	if len(seeds) == 0 {
		f.Fatal("no seeds")
	}
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		items, err := ParseIndex(b)
		if err != nil {
			if items != nil || !errors.Is(err, attest.ErrForm) {
				t.Fatalf("%v, %v", items, err)
			}
			return
		}
		for _, i := range items {
			if i.ID == "" || i.Tech == "" || i.By == "" {
				t.Fatalf("%+v", i)
			}
			for _, p := range i.Files {
				if !fs.ValidPath(p.Path) || p.Size < 0 {
					t.Fatalf("%+v", p)
				}
			}
		}
	})
}
