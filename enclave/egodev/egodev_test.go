//go:build ego

package egodev

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/edgelesssys/ego/attestation"
	ego "github.com/edgelesssys/ego/enclave"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/enclave"
	"github.com/sworn-run/sworn/internal/dcap/dcaptest"
)

// TestOutsideSGX runs EGo itself where no SGX is, as all tests do: there it hands out a key
// of zeros without an error, and nothing here uses it.
func TestOutsideSGX(t *testing.T) {
	for name, get := range map[string]func() ([]byte, []byte, error){
		"unique": ego.GetRandomUniqueSealKey, "product": ego.GetRandomProductSealKey,
	} {
		key, _, err := get()
		if err != nil || !bytes.Equal(key, make([]byte, 16)) {
			t.Fatalf("EGo's %s key is %x, %v: is this an enclave?", name, key, err)
		}
	}
	d, err := Open(t.Context())
	if !errors.Is(err, ErrOutside) || d != nil {
		t.Fatalf("opened outside of SGX: %v", err)
	}
	for _, words := range []string{"outside of SGX", "simulation", "zeros"} {
		if !strings.Contains(err.Error(), words) { //nolint:forbidigo // The user has to read where the program runs.
			t.Errorf("%q does not say %q", err, words)
		}
	}
	// Had the CPU reported on an enclave, EGo's key would still give it away.
	p := egoPlatform()
	p.selfReport = func() (attestation.Report, error) { return genuine(), nil }
	d, err = open(t.Context(), p)
	if !errors.Is(err, ErrOutside) || d != nil || !strings.Contains(err.Error(), "all zeros") { //nolint:forbidigo // Only its text tells this refusal from the first.
		t.Errorf("opened with a key of zeros: %v", err)
	}
}

// genuine is the self-report of an enclave.
func genuine() attestation.Report {
	return attestation.Report{
		UniqueID: bytes.Repeat([]byte{0x22}, 32), SignerID: bytes.Repeat([]byte{0x33}, 32),
		ProductID: append([]byte{7, 1}, make([]byte, 14)...), SecurityVersion: 3,
	}
}

// fake is a platform with SGX, whose keys are derived from the information on them.
type fake struct {
	report attestation.Report
	vendor *dcaptest.Vendor
	// quote may change what the quoting service returns.
	quote func([]byte) []byte
	// body may change the report that is quoted.
	body func([]byte)
	// zero makes every key zeros; info may change the information on a fresh key.
	zero bool
	info func([]byte)
	err  error
	data []byte
}

func (f *fake) derive(info []byte) ([]byte, error) {
	if f.err != nil {
		return nil, f.err
	}
	if f.zero {
		return make([]byte, 16), nil
	}
	sum := sha256.Sum256(info)
	return sum[:16], nil
}

func (f *fake) platform() *platform {
	return &platform{
		selfReport: func() (attestation.Report, error) { return f.report, nil },
		newKey: func() ([]byte, []byte, error) {
			info := make([]byte, 512)
			info[0], info[2], info[24] = 4, 1, 3
			_, _ = rand.Read(info[40:72])
			if f.info != nil {
				f.info(info)
			}
			key, err := f.derive(info)
			return key, info, err
		},
		key: f.derive,
		remoteReport: func(data []byte) ([]byte, error) {
			f.data = bytes.Clone(data)
			if f.err != nil {
				return nil, f.err
			}
			q, err := f.vendor.Make(dcaptest.Quote{Version: 3, Body: dcaptest.Enclave(func(b []byte) {
				copy(b[64:], f.report.UniqueID)
				copy(b[128:], f.report.SignerID)
				copy(b[320:], data)
				if f.body != nil {
					f.body(b)
				}
			})})
			if err != nil {
				return nil, err
			}
			h := binary.LittleEndian.AppendUint64([]byte{1, 0, 0, 0, 2, 0, 0, 0}, uint64(len(q)))
			b := append(h, q...)
			if f.quote != nil {
				b = f.quote(b)
			}
			return b, nil
		},
	}
}

// inside opens a device on a fake platform.
func inside(t *testing.T) (*Device, *fake) {
	t.Helper()
	v, err := dcaptest.New(time.Date(2026, 3, 15, 12, 0, 0, 0, time.UTC), "Intel")
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{report: genuine(), vendor: v}
	d, err := open(t.Context(), f.platform())
	if err != nil {
		t.Fatal(err)
	}
	return d, f
}

// TestSelfReport: an empty report is no enclave, whatever else it says.
func TestSelfReport(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*attestation.Report)
		want   error
	}{
		"empty":            {func(r *attestation.Report) { *r = attestation.Report{} }, ErrOutside},
		"no unique id":     {func(r *attestation.Report) { r.UniqueID = nil }, ErrOutside},
		"a short one":      {func(r *attestation.Report) { r.UniqueID = r.UniqueID[:31] }, ErrOutside},
		"zeros":            {func(r *attestation.Report) { r.UniqueID = make([]byte, 32) }, ErrOutside},
		"signer of zeros":  {func(r *attestation.Report) { r.SignerID = make([]byte, 32) }, ErrOutside},
		"debug":            {func(r *attestation.Report) { r.Debug = true }, ErrDebug},
		"a large product":  {func(r *attestation.Report) { r.ProductID[2] = 1 }, ErrDevice},
		"no product":       {func(r *attestation.Report) { r.ProductID = nil }, ErrDevice},
		"a large version":  {func(r *attestation.Report) { r.SecurityVersion = 1 << 16 }, ErrDevice},
		"nothing, genuine": {func(*attestation.Report) {}, nil},
	} {
		f := &fake{report: genuine()}
		tc.change(&f.report)
		d, err := open(t.Context(), f.platform())
		if !errors.Is(err, tc.want) || (d == nil) != (tc.want != nil) {
			t.Errorf("%s: %v", name, err)
		}
	}
	d, _ := inside(t)
	want := Identity{[32]byte(bytes.Repeat([]byte{0x22}, 32)), [32]byte(bytes.Repeat([]byte{0x33}, 32)), 0x107, 3}
	if d.Self() != want {
		t.Errorf("%+v", d.Self())
	}
	for name, f := range map[string]*fake{
		"keys of zeros":    {report: genuine(), zero: true},
		"keys of anybody":  {report: genuine(), info: func(b []byte) { b[2] = 0 }},
		"keys of a signer": {report: genuine(), info: func(b []byte) { b[2] = 2 }},
		"keys for reports": {report: genuine(), info: func(b []byte) { b[0] = 3 }},
		"those of debug":   {report: genuine(), info: func(b []byte) { b[24] = 1 }},
		"no keys":          {report: genuine(), err: errors.New("OE_FAILURE")},
	} {
		want := ErrDevice
		if f.zero {
			want = ErrOutside
		}
		if d, err := open(t.Context(), f.platform()); !errors.Is(err, want) || d != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

// statement has the slots of a launch.
func statement(slots ...attest.Slot) *attest.Statement {
	for i := range slots {
		slots[i].Number = uint8(i)
	}
	return &attest.Statement{
		Type: attest.TypeRun, Time: 1, Series: [32]byte{1}, Launch: [32]byte{2}, KeyID: [32]byte{3}, LogSize: 1, RecordCount: 1, Manifest: slots,
	}
}

// TestAttest: the evidence is over the statement and nothing else, and package enclave reads
// it; what is not this enclave's quote over it is refused.
func TestAttest(t *testing.T) {
	d, f := inside(t)
	slot, err := d.Manifest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	st := statement(slot)
	ev, err := d.Attest(t.Context(), 0, st)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := st.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if want := attest.Quoted(attest.SHA512, 0, enclave.Format, encoded); !bytes.Equal(f.data, want) {
		t.Errorf("asked for %x, want %x", f.data, want)
	}
	if ev.Collateral, err = f.vendor.Collateral(false); err != nil {
		t.Fatal(err)
	}
	c, err := enclave.Scheme{}.Verify(ev, f.vendor.Anchors(), f.vendor.At)
	if err != nil || !bytes.Equal(c.Quoted, f.data) || c.Identity.Status != attest.Passed {
		t.Errorf("%+v, %v", c, err)
	}

	for name, change := range map[string]func(*fake){
		"another enclave":   func(f *fake) { f.body = func(b []byte) { b[64]++ } },
		"another signer":    func(f *fake) { f.body = func(b []byte) { b[128]++ } },
		"other data":        func(f *fake) { f.body = func(b []byte) { b[383]++ } },
		"no header":         func(f *fake) { f.quote = func(b []byte) []byte { return b[16:] } },
		"a local report":    func(f *fake) { f.quote = func(b []byte) []byte { b[4] = 1; return b } },
		"a byte more":       func(f *fake) { f.quote = func(b []byte) []byte { return append(b, 0) } },
		"cut":               func(f *fake) { f.quote = func(b []byte) []byte { return b[:len(b)-1] } },
		"nothing":           func(f *fake) { f.quote = func([]byte) []byte { return nil } },
		"no quoting enough": func(f *fake) { f.err = errors.New("OE_QUOTE_PROVIDER_CALL_ERROR") },
	} {
		broken := *f
		change(&broken)
		d.platform = broken.platform()
		if ev, err := d.Attest(t.Context(), 0, st); !errors.Is(err, ErrDevice) || ev != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	d.platform = f.platform()
	keyed := slot
	keyed.KeyID = [32]byte{1}
	for name, tc := range map[string]struct {
		slot uint8
		st   *attest.Statement
	}{
		"nil": {0, nil}, "empty": {0, &attest.Statement{}}, "no such slot": {1, statement(slot)}, "with a key": {0, statement(keyed)},
		"another kind": {0, statement(attest.Slot{Format: 2, Mode: attest.ModeDirect, Anchor: attest.AnchorStatementOnly})},
	} {
		if ev, err := d.Attest(t.Context(), tc.slot, tc.st); !errors.Is(err, ErrUsage) || ev != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	for _, d := range []*Device{d, {}} {
		_, first := d.Attest(t.Context(), 0, st)
		_, second := d.Manifest(t.Context())
		_, third := d.Seal(t.Context(), "", nil)
		for _, err := range []error{first, second, third} {
			if !errors.Is(err, ErrUsage) {
				t.Errorf("closed, or never open: %v", err)
			}
		}
	}
}

// TestSeal: what was sealed comes back for its purpose and is refused for any other, changed
// in any bit, or under a kind of key that another enclave has.
func TestSeal(t *testing.T) {
	d, f := inside(t)
	plain := []byte("a log that is going on")
	sealed, err := d.Seal(t.Context(), "log", plain)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := d.Seal(t.Context(), "log", plain); err != nil || bytes.Equal(again, sealed) || bytes.Contains(sealed, plain) {
		t.Errorf("sealed twice alike, or not at all: %v", err)
	}
	if got, err := d.Unseal(t.Context(), "log", sealed); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := d.Unseal(t.Context(), "logs", sealed); !errors.Is(err, ErrSealed) {
		t.Errorf("another purpose: %v", err)
	}
	for bit := range 8 * len(sealed) {
		b := bytes.Clone(sealed)
		b[bit/8] ^= 1 << (bit % 8)
		if got, err := d.Unseal(t.Context(), "log", b); !errors.Is(err, ErrSealed) || got != nil {
			t.Fatalf("bit %d of byte %d: %v", bit%8, bit/8, err)
		}
	}
	for n := range sealed {
		if _, err := d.Unseal(t.Context(), "log", sealed[:n]); !errors.Is(err, ErrSealed) {
			t.Fatalf("cut to %d: %v", n, err)
		}
	}
	// Made by who has a key of another kind, such as one without MRENCLAVE in it.
	for name, change := range map[string]func([]byte){
		"of anybody": func(b []byte) { b[2] = 0 }, "of the signer": func(b []byte) { b[2] = 2 }, "of debug": func(b []byte) { b[24] = 1 },
	} {
		other := *f
		other.info = change
		p := other.platform()
		key, info, err := p.newKey()
		if err != nil {
			t.Fatal(err)
		}
		c, err := aead(key)
		if err != nil {
			t.Fatal(err)
		}
		forged := c.Seal(append([]byte(sealLabel), info...), nil, plain, bound(info, "log"))
		if got, err := d.Unseal(t.Context(), "log", forged); !errors.Is(err, ErrSealed) || got != nil {
			t.Errorf("a key %s: %q, %v", name, got, err)
		}
	}
	if _, err := d.Seal(t.Context(), "log", make([]byte, MaxSealed+1)); !errors.Is(err, ErrUsage) {
		t.Errorf("too much: %v", err)
	}
	if b, err := d.Seal(t.Context(), "log", make([]byte, MaxSealed)); err != nil {
		t.Error(err)
	} else if got, err := d.Unseal(t.Context(), "log", b); err != nil || len(got) != MaxSealed {
		t.Errorf("as much as there may be: %d, %v", len(got), err)
	}
	// A platform that begins to hand out zeros.
	f.zero = true
	d.platform = f.platform()
	if _, err := d.Seal(t.Context(), "log", plain); !errors.Is(err, ErrOutside) {
		t.Errorf("sealed with zeros: %v", err)
	}
	if _, err := d.Unseal(t.Context(), "log", sealed); !errors.Is(err, ErrOutside) {
		t.Errorf("unsealed with zeros: %v", err)
	}
}
