package amd_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/sworn-run/sworn/simulator/amd"
)

// TestReports checks that a machine's report of every product is signed by the key
// that it names and by no other.
func TestReports(t *testing.T) {
	for _, product := range amd.Products() {
		p := machine(t, product)
		vcek, vlek := parse(t, must(p.Certificate(amd.VCEK, now))(t)), parse(t, must(p.Certificate(amd.VLEK, now))(t))
		data := [64]byte{1, 2, 3}
		r := p.Report("guest", data)
		b := must(p.Sign(r))(t)
		if len(b) != amd.ReportSize || !verified(b, vcek) || verified(b, vlek) {
			t.Errorf("%s: a report of %d bytes by the VCEK", product, len(b))
		}
		if !bytes.Equal(b[0x50:0x90], data[:]) {
			t.Errorf("%s: other report data", product)
		}
		if got := fields(b); *got != *r {
			t.Errorf("%s: fields %+v, want %+v", product, got, r)
		}
		r.SigningKey = amd.VLEK
		if b := must(p.Sign(r))(t); !verified(b, vlek) || verified(b, vcek) {
			t.Errorf("%s: a report by the VLEK", product)
		}
		r.SigningKey = amd.None
		if b := must(p.Sign(r))(t); !bytes.Equal(b[0x2a0:], make([]byte, 512)) || b[0x48] != 7<<2 {
			t.Errorf("%s: a report by no key is signed", product)
		}
		if id := r.ChipID[:]; !bytes.Equal(id[:len(p.ChipID)], p.ChipID) {
			t.Errorf("%s: chip id %x, want %x", product, id, p.ChipID)
		}
		p.TCB.SNP++ // other firmware, another key
		if b := must(p.Sign(p.Report("guest", data)))(t); verified(b, vcek) || !verified(b, parse(t, must(p.Certificate(amd.VCEK, now))(t))) {
			t.Errorf("%s: the key does not depend on the firmware", product)
		}
	}
}

// TestKnobs checks that every field of a report can be set, stands where the manual
// has it, and nowhere else.
func TestKnobs(t *testing.T) {
	p := machine(t, amd.Turin)
	plain := must(p.Sign(p.Report("guest", [64]byte{})))(t)
	for _, tt := range []struct {
		name     string
		at, size int
		set      func(*amd.Report)
	}{
		{"version", 0, 4, func(r *amd.Report) { r.Version = 2 }},
		{"guest svn", 4, 4, func(r *amd.Report) { r.GuestSVN = 9 }},
		{"debug", 8, 8, func(r *amd.Report) { r.Policy |= amd.PolicyDebug }},
		{"migration agent", 8, 8, func(r *amd.Report) { r.Policy |= amd.PolicyMigrateMA }},
		{"single socket", 8, 8, func(r *amd.Report) { r.Policy |= amd.PolicySingleSocket }},
		{"family id", 0x10, 16, func(r *amd.Report) { r.FamilyID[3]++ }},
		{"image id", 0x20, 16, func(r *amd.Report) { r.ImageID[3]++ }},
		{"vmpl", 0x30, 4, func(r *amd.Report) { r.VMPL = 1 }},
		{"algorithm", 0x34, 4, func(r *amd.Report) { r.SignatureAlgo = 2 }},
		{"current tcb", 0x38, 8, func(r *amd.Report) { r.CurrentTCB-- }},
		{"platform info", 0x40, 8, func(r *amd.Report) { r.PlatformInfo ^= amd.PlatformAliasCheck }},
		{"author key", 0x48, 4, func(r *amd.Report) { r.AuthorKey = true }},
		{"masked key", 0x48, 4, func(r *amd.Report) { r.MaskChipKey = true }},
		{"report data", 0x50, 64, func(r *amd.Report) { r.ReportData[63]++ }},
		{"measurement", 0x90, 48, func(r *amd.Report) { r.Measurement[47]++ }},
		{"host data", 0xc0, 32, func(r *amd.Report) { r.HostData[31]++ }},
		{"id key", 0xe0, 48, func(r *amd.Report) { r.IDKeyDigest[0]++ }},
		{"author key digest", 0x110, 48, func(r *amd.Report) { r.AuthorKeyDigest[0]++ }},
		{"report id", 0x140, 32, func(r *amd.Report) { r.ReportID[0]++ }},
		{"report id of the agent", 0x160, 32, func(r *amd.Report) { r.ReportIDMA[0]++ }},
		{"reported tcb", 0x180, 8, func(r *amd.Report) { r.ReportedTCB-- }},
		{"family", 0x188, 1, func(r *amd.Report) { r.Family++ }},
		{"model", 0x189, 1, func(r *amd.Report) { r.Model++ }},
		{"stepping", 0x18a, 1, func(r *amd.Report) { r.Stepping++ }},
		{"masked chip", 0x1a0, 64, func(r *amd.Report) { r.ChipID = [64]byte{} }},
		{"committed tcb", 0x1e0, 8, func(r *amd.Report) { r.CommittedTCB-- }},
		{"firmware", 0x1e8, 3, func(r *amd.Report) { r.Current.Major++ }},
		{"committed firmware", 0x1ec, 3, func(r *amd.Report) { r.Committed.Build++ }},
		{"launch tcb", 0x1f0, 8, func(r *amd.Report) { r.LaunchTCB-- }},
		{"launch mitigations", 0x1f8, 8, func(r *amd.Report) { r.LaunchMitigations = 0 }},
		{"mitigations", 0x200, 8, func(r *amd.Report) { r.CurrentMitigations = 0 }},
	} {
		r := p.Report("guest", [64]byte{})
		tt.set(r)
		b := must(p.Sign(r))(t)
		if bytes.Equal(b[tt.at:tt.at+tt.size], plain[tt.at:tt.at+tt.size]) {
			t.Errorf("%s: not changed", tt.name)
		}
		if !bytes.Equal(b[:tt.at], plain[:tt.at]) || !bytes.Equal(b[tt.at+tt.size:0x2a0], plain[tt.at+tt.size:0x2a0]) {
			t.Errorf("%s: something else is changed", tt.name)
		}
		if !verified(b, parse(t, must(p.Certificate(amd.VCEK, now))(t))) {
			t.Errorf("%s: not signed", tt.name)
		}
	}
}

// TestCertificateKnobs checks that an endorsement key can be certified for what is
// not so.
func TestCertificateKnobs(t *testing.T) {
	p := machine(t, amd.Milan)
	k := must(p.EndorsementKey(amd.VCEK, now))(t)
	plain := shape(parse(t, must(p.Vendor().Certify(k))(t)))
	k.TCB.BootLoader, k.HWID, k.ProductName = 200, k.HWID[:8], "Genoa"
	k.NotAfter = now.Add(-time.Minute)
	c := parse(t, must(p.Vendor().Certify(k))(t))
	changed := shape(c)
	if !c.NotAfter.Before(now) || changed["1.3.6.1.4.1.3704.1.4"] != "8 bytes" || changed["1.3.6.1.4.1.3704.1.2"] == plain["1.3.6.1.4.1.3704.1.2"] {
		t.Errorf("%v", changed)
	}
}

// TestTable checks the layout of a certificate table.
func TestTable(t *testing.T) {
	p := machine(t, amd.Milan)
	b := must(p.Table(amd.VLEK, now))(t)
	var got []string
	for at := 0; ; at += 24 {
		entry := b[at : at+24]
		if bytes.Equal(entry, make([]byte, 24)) {
			break
		}
		from, size := binary.LittleEndian.Uint32(entry[16:]), binary.LittleEndian.Uint32(entry[20:])
		got = append(got, fmt.Sprintf("%x %s", entry[:4], parse(t, b[from:from+size]).Subject.CommonName))
	}
	want := "[a8074bc2 SEV-VLEK SIMULATED 4ab7b379 SEV-VLEK-Milan SIMULATED c0b406a4 ARK-Milan SIMULATED]"
	if s := fmt.Sprint(got); s != want {
		t.Errorf("table %s, want %s", s, want)
	}
	if _, err := amd.MarshalTable([]amd.TableEntry{{GUID: "x"}}); err == nil {
		t.Error("a GUID that is none is encoded")
	}
}

// get asks a handler.
func get(t *testing.T, h http.Handler, path string) (int, []byte, http.Header) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, http.NoBody))
	body, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Code, body, w.Header()
}

// TestKDS checks every path of the service.
func TestKDS(t *testing.T) {
	p, turin := machine(t, amd.Milan), machine(t, amd.Turin)
	v := p.Vendor()
	at := now
	kds := &amd.KDS{Vendors: []*amd.Vendor{v, turin.Vendor()}, Now: func() time.Time { return at }}
	for path, want := range map[string]string{
		"/vcek/v1/Milan/cert_chain": "SEV-Milan SIMULATED, ARK-Milan SIMULATED",
		"/vlek/v1/Milan/cert_chain": "SEV-VLEK-Milan SIMULATED, ARK-Milan SIMULATED",
		"/vcek/v1/Turin/cert_chain": "SEV-Turin SIMULATED, ARK-Turin SIMULATED",
	} {
		code, body, _ := get(t, kds, path)
		chain := pemChain(t, body)
		if code != http.StatusOK || len(chain) != 2 || chain[0].Subject.CommonName+", "+chain[1].Subject.CommonName != want {
			t.Errorf("%s: %d, %d certificates", path, code, len(chain))
		}
	}
	for _, m := range []*amd.Platform{p, turin} {
		fmc := ""
		if m == turin {
			fmc = fmt.Sprintf("&fmcSPL=%d", m.TCB.FMC)
		}
		path := fmt.Sprintf("/vcek/v1/%s/%x?blSPL=%02d&teeSPL=%d&snpSPL=%d&ucodeSPL=%d%s", m.Vendor().Product(),
			m.ChipID, m.TCB.BootLoader, m.TCB.TEE, m.TCB.SNP, m.TCB.Microcode, fmc)
		code, body, _ := get(t, kds, path)
		if code != http.StatusOK || !verified(must(m.Sign(m.Report("guest", [64]byte{})))(t), parse(t, body)) {
			t.Errorf("%s: %d", path, code)
		}
	}
	id := fmt.Sprintf("%x", p.ChipID)
	for path, want := range map[string]int{
		"/": 404, "/vcek/v1/Naples/cert_chain": 404, "/vcek/v2/Milan/cert_chain": 404, "/vlek/v1/Milan/" + id: 404,
		"/vcek/v1/Milan": 404, "/vcek/v1/Milan/abcd": 400, "/vcek/v1/Milan/zz": 400,
		"/vcek/v1/Milan/" + id + "?blSPL=256": 400, "/vcek/v1/Milan/" + id + "?fmcSPL=1": 400, "/vcek/v1/Turin/" + id: 400,
	} {
		if code, _, _ := get(t, kds, path); code != want {
			t.Errorf("%s: %d, want %d", path, code, want)
		}
	}
	kds.Interval = 10 * time.Second
	if code, _, _ := get(t, kds, "/vcek/v1/Milan/"+id); code != http.StatusOK {
		t.Errorf("the first request: %d", code)
	}
	at = at.Add(3500 * time.Millisecond)
	if code, _, h := get(t, kds, "/vcek/v1/Milan/"+id); code != http.StatusTooManyRequests || h.Get("Retry-After") != "7" {
		t.Errorf("the second request: %d, again after %q seconds", code, h.Get("Retry-After"))
	}
	if code, _, _ := get(t, kds, "/vcek/v1/Milan/crl"); code != http.StatusOK {
		t.Errorf("a list meanwhile: %d", code)
	}
	at = at.Add(7 * time.Second)
	if code, _, _ := get(t, kds, "/vcek/v1/Milan/"+id); code != http.StatusOK {
		t.Errorf("the third request: %d", code)
	}
}
