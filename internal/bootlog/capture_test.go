package bootlog

import (
	"bytes"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/sworn-run/sworn/attest"
)

// TestCaptures holds the logs of the captured machines against their quotes.
func TestCaptures(t *testing.T) {
	for _, run := range runs() {
		raw := read(t, run, "eventlog")
		l := parse(t, raw, PCRs)
		if b, err := l.Marshal(); err != nil || !bytes.Equal(b, raw) {
			t.Fatalf("%s: does not marshal back to itself: %v", run, err)
		}
		if !l.Agile || len(l.Algs) != 3 || l.Padding != 0 {
			t.Errorf("%s: %v", run, l.Algs)
		}
		for _, bank := range []attest.Alg{attest.SHA256, attest.SHA384} {
			quoted := pcrs(t, run, bank)
			var all []byte
			for _, q := range quoted {
				all = append(all, q.Value...)
			}
			if msg := read(t, run, "quote_"+bank.String()+"_attest"); !bytes.HasSuffix(msg, attest.SHA256.Sum(all)) {
				t.Fatalf("%s: the registers are not those of the quote", run)
			}
			f := appraise(t, l, quoted, Options{})
			for _, r := range f.Registers {
				if r.Status != Confirmed {
					t.Errorf("%s %v: register %d %v", run, bank, r.Index, r.Status)
				}
			}
			if err := Require(f.Registers, 0, 1, 2, 3, 4, 5, 6, 7, 9); err != nil {
				t.Errorf("%s %v: %v", run, bank, err)
			}
			if len(f.Separators) != 8 || f.ExitBootServices != (Exit{Invoked: 1, Succeeded: 1}) {
				t.Errorf("%s: %v, %v", run, f.Separators, f.ExitBootServices)
			}
			line := strings.TrimSuffix(string(read(t, run, "cmdline")), "\n")
			if found := f.FindCommandLine(line); len(found) != 1 || found[0].Index != 9 {
				t.Errorf("%s: command line %q: %v", run, line, found)
			}
			if stub := f.Of(9); len(stub) != 2 || !bytes.Equal(stub[0].Digest, bank.Sum(UTF16(line))) {
				t.Errorf("%s: register 9 has %+v", run, stub)
			}
			if found := f.FindCommandLine(line + " "); len(found) != 0 {
				t.Errorf("%s: another command line: %v", run, found)
			}
		}
		// The bank of SHA-1 replays too; that proves nothing.
		if got := truth(t, l, attest.SHA1); !bytes.Equal(got[4].Value, pcrs(t, run, attest.SHA1)[4].Value) {
			t.Errorf("%s: PCR 4 of SHA-1 is %x", run, got[4].Value)
		}
		if _, err := l.Appraise(attest.SHA1, pcrs(t, run, attest.SHA1), Options{}); !errors.Is(err, attest.ErrArgument) {
			t.Errorf("%s: SHA-1: %v", run, err)
		}
	}
}

// TestCaptureDirect looks at what the machine that booted a kernel directly
// establishes: Secure Boot off, no databases, the kernel before "Calling EFI
// Application".
func TestCaptureDirect(t *testing.T) {
	f := appraise(t, parse(t, read(t, "run-llm", "eventlog"), PCRs), pcrs(t, "run-llm", attest.SHA256), Options{})
	if s := f.SecureBoot; !s.Established || s.State != Disabled || s.Debug || s.DMA {
		t.Errorf("%+v", s)
	}
	if v := f.Variables; !v.Established || len(v.PK)+len(v.KEK)+len(v.DB)+len(v.DBX) != 0 {
		t.Errorf("%+v", v)
	}
	if !f.Authorities.Established || len(f.Authorities.List) != 0 || f.Sections.Established || len(f.Disks) != 0 {
		t.Errorf("%+v, %+v, %+v", f.Authorities, f.Sections, f.Disks)
	}
	if len(f.Images) != 1 || f.Images[0].After || !strings.HasPrefix(hex.EncodeToString(f.Images[0].Digest), "b027e3eb") {
		t.Errorf("%+v", f.Images)
	}
}

// TestCaptureSecureBoot looks at what the other one establishes: Secure Boot on with
// one certificate, a unified kernel image verified by it.
func TestCaptureSecureBoot(t *testing.T) {
	f := appraise(t, parse(t, read(t, "run-llmsb", "eventlog"), PCRs), pcrs(t, "run-llmsb", attest.SHA256), Options{})
	if s := f.SecureBoot; !s.Established || s.State != Enabled {
		t.Errorf("%+v", s)
	}
	v := f.Variables
	if !v.Established || len(v.PK) != 1 || len(v.KEK) != 1 || len(v.DB) != 1 || len(v.DBX) != 1 ||
		v.DB[0].Type.String() != CertX509 || v.DBX[0].Type.String() != CertSHA256 || len(v.DBX[0].Data) != 32 {
		t.Fatalf("%+v", v)
	}
	a := f.Authorities
	if !a.Established || len(a.List) != 1 || a.List[0].Name != "db" || a.List[0].Namespace.String() != SecurityDatabase ||
		!bytes.HasSuffix(a.List[0].Value, v.DB[0].Data) {
		t.Errorf("%+v", a)
	}
	if len(f.Images) != 1 || !f.Images[0].After || !strings.HasPrefix(hex.EncodeToString(f.Images[0].Digest), "2f16cdd6") {
		t.Errorf("%+v", f.Images)
	}
	if len(f.Disks) != 1 || len(f.Disks[0].Partitions) != 1 || f.Disks[0].ID.String() != "11111111-2222-3333-4444-555555555555" {
		t.Errorf("%+v", f.Disks)
	}
	var names []string
	for _, s := range f.Sections.List {
		names = append(names, s.Name)
	}
	if !f.Sections.Established || !slices.Equal(names, []string{".linux", ".osrel", ".cmdline", ".initrd"}) ||
		!bytes.Equal(f.Sections.List[2].Digest, attest.SHA256.Sum(bytes.TrimSuffix(read(t, "run-llmsb", "cmdline"), []byte("\n")))) {
		t.Errorf("%+v", f.Sections)
	}
	rest := map[uint32]int{}
	for _, m := range f.Rest {
		rest[m.Index]++
	}
	// Credentials and an extension among them.
	if rest[9] != 2 || rest[12] != 1 || rest[13] != 1 || rest[7] != 0 || rest[4] != 0 {
		t.Errorf("%v", rest)
	}
}
