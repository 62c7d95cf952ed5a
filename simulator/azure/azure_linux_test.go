package azure

import (
	"bytes"
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/hcl"
	"github.com/sworn-run/sworn/simulator"
	"github.com/sworn-run/sworn/tpm"
	"github.com/sworn-run/sworn/tpm/tpmdev"
)

// snp is a hardware that signs nothing.
func snp(reportData [64]byte) ([]byte, error) {
	b := bytes.Repeat([]byte{0x5A}, hcl.SNPSize)
	copy(b[0x50:], reportData[:])
	return b, nil
}

// tdx is the same for a TDREPORT.
func tdx(reportData [64]byte) ([]byte, error) {
	b := make([]byte, hcl.TDXSize)
	b[0] = 0x81
	copy(b[128:], reportData[:])
	tcb, info := sha512.Sum384(b[256:256+239]), sha512.Sum384(b[512:])
	copy(b[32:], tcb[:])
	copy(b[80:], info[:])
	return b, nil
}

// padding is the number of zeros that Azure has been seen to put after a quote.
const padding = 70

// quote is a quote over a TDREPORT as tdx makes it, with empty signature data, padded.
func quote(report []byte) ([]byte, error) {
	b := append([]byte{4, 0, 2, 0, 0x81}, make([]byte, 43)...)
	return slices.Concat(b, report[264:384], report[512:912], report[128:192], make([]byte, 4+padding)), nil
}

// start starts a software TPM with a paravisor before it.
func start(t *testing.T, hardware func([64]byte) ([]byte, error)) *Paravisor {
	t.Helper()
	dir := t.TempDir()
	s, err := simulator.StartSWTPM(t.Context(), simulator.Options{Dir: filepath.Join(dir, "tpm")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	p, err := Start(t.Context(), Options{TPM: s.Addr(), Addr: "unix:" + filepath.Join(dir, "azure.sock"), Hardware: hardware})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(p.Close(), p.Close()); err != nil {
			t.Error(err)
		}
	})
	return p
}

// serve serves metadata.
func serve(t *testing.T, h http.Handler) tpmdev.AzureOptions {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return tpmdev.AzureOptions{Endpoint: s.URL}
}

// statement returns a statement whose slot 0 is what d announces.
func statement(t *testing.T, d attest.Attester) *attest.Statement {
	t.Helper()
	slot, err := d.Manifest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return &attest.Statement{
		Type: attest.TypeRun, Time: 1700000000000, Series: [32]byte{1}, Launch: [32]byte{2}, KeyID: [32]byte{3},
		LogSize: 1, LogRoot: [32]byte{4}, RecordCount: 1, TreeRoot: [32]byte{5}, Manifest: []attest.Slot{slot},
	}
}

func TestAttest(t *testing.T) {
	for _, c := range []struct {
		name     string
		hardware func([64]byte) ([]byte, error)
		format   attest.Format
		before   []string
	}{
		{"snp", snp, hcl.FormatSNP, []string{"hcl"}},
		{"tdx", tdx, hcl.FormatTDX, []string{"hcl", "quote"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := start(t, c.hardware)
			d, err := tpmdev.OpenAzure(t.Context(), p.Addr(), tpmdev.Options{}, serve(t, &Metadata{Quote: quote}))
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			if f, err := d.Paravisor(t.Context()); f != c.format || err != nil {
				t.Errorf("the paravisor's evidence is of format %d, %v", f, err)
			}
			st := statement(t, d)
			slot := st.Manifest[0]
			if slot.Format != c.format || slot.Mode != attest.ModeViaAK || slot.Anchor != attest.AnchorRegister || slot.Register == nil {
				t.Errorf("slot %+v", slot)
			}
			ev, err := d.Attest(t.Context(), 0, st)
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, part := range ev.Parts {
				names = append(names, part.Name)
			}
			if want := append(c.before, tpm.PartAttest, tpm.PartSignature, tpm.PartPublic, tpm.PartPCRs); !slices.Equal(names, want) || ev.Format != c.format {
				t.Errorf("format %d, parts %q, want %q", ev.Format, names, want)
			}
			if !bytes.Equal(ev.Parts[0].Data, p.Report()) {
				t.Error("the report is not what the paravisor has")
			}
			check(t, ev, st, len(c.before))
			// A statement for format 1 is not this machine's.
			st.Manifest[0].Format, st.Manifest[0].Mode = tpm.Format, attest.ModeDirect
			if ev, err := d.Attest(t.Context(), 0, st); !errors.Is(err, tpmdev.ErrUsage) || ev != nil {
				t.Errorf("format 1: %v", err)
			}
		})
	}
}

// check appraises the evidence, apart from the hardware's signature.
func check(t *testing.T, ev *attest.Evidence, st *attest.Statement, before int) {
	t.Helper()
	r, err := hcl.Parse(ev.Parts[0].Data)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Covered() || r.EK == nil || !bytes.Equal(r.UserData, make([]byte, 64)) {
		t.Errorf("report %+v", r)
	}
	if before == 2 {
		if n := len(ev.Parts[1].Data); n != 48+584+4 {
			t.Errorf("quote of %d bytes", n)
		}
		if err := hcl.MatchQuote(r.Hardware, ev.Parts[1].Data); err != nil {
			t.Error(err)
		}
	}
	c, err := tpm.Scheme{}.Verify(&attest.Evidence{Format: tpm.Format, Parts: ev.Parts[before:]}, nil, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := st.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(c.Quoted, attest.Quoted(attest.SHA256, 0, ev.Format, encoded)) || c.KeyID != st.Manifest[0].KeyID {
		t.Errorf("quoted %x by %x", c.Quoted, c.KeyID)
	}
	// The public area is the one that this key has on Azure.
	if !bytes.Equal(ev.Parts[before+2].Data, r.AK.Area()) {
		t.Errorf("public area %x", ev.Parts[before+2].Data)
	}
	if key, err := tpm.PublicKey(ev.Parts[before+2].Data); err != nil || !r.AK.Equal(key) {
		t.Errorf("another AK: %v", err)
	}
}

// TestPassesOn: what is not of the report's index reaches the TPM, one client after the
// other, and a restarted paravisor finds its key.
func TestPassesOn(t *testing.T) {
	p := start(t, snp)
	for range 2 {
		dev, err := tpmdev.Dial(t.Context(), p.Addr())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := (tpm2.NVReadPublic{NVIndex: tpm2.TPMHandle(0x01c10002)}).Execute(dev); err != nil {
			t.Errorf("the maker's index: %v", err)
		}
		if _, err := (tpm2.NVReadPublic{NVIndex: tpm2.TPMHandle(0x01400003)}).Execute(dev); !errors.Is(err, tpm2.TPMRCHandle) {
			t.Errorf("an index that is not there: %v", err)
		}
		if err := dev.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	before := p.Report()
	again, err := Start(t.Context(), p.options)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if !bytes.Equal(before, again.Report()) {
		t.Error("another report after a restart")
	}
}

// nvRead is TPM2_NV_Read of the report's index.
func nvRead(auth, session uint32, password []byte, size, offset uint16) []byte {
	be := binary.BigEndian
	area := be.AppendUint32(nil, session)
	area = append(area, 0, 0, 0) // no nonce, no attributes
	area = append(be.AppendUint16(area, uint16(len(password))), password...)
	b := []byte{0x80, 0x02, 0, 0, 0, 0, 0, 0, 0x01, 0x4E}
	b = be.AppendUint32(b, auth)
	b = be.AppendUint32(b, hcl.Index)
	b = be.AppendUint32(b, uint32(len(area)))
	b = append(b, area...)
	b = be.AppendUint16(b, size)
	b = be.AppendUint16(b, offset)
	be.PutUint32(b[2:], uint32(len(b)))
	return b
}

func TestRead(t *testing.T) {
	p := start(t, snp)
	dev, err := tpmdev.Dial(t.Context(), p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	owner, pw := uint32(tpm2.TPMRHOwner), uint32(tpm2.TPMRSPW)
	for name, c := range map[string]struct {
		command []byte
		rc      tpm2.TPMRC
	}{
		"by the owner":       {nvRead(owner, pw, nil, 1024, 1000), 0},
		"by the index":       {nvRead(hcl.Index, pw, []byte{0, 0}, 1, 2599), 0},
		"nothing":            {nvRead(owner, pw, nil, 0, 2600), 0},
		"by the platform":    {nvRead(uint32(tpm2.TPMRHPlatform), pw, nil, 1, 0), errBadHandle},
		"with a password":    {nvRead(owner, pw, []byte("x"), 1, 0), errBadAuth},
		"in another session": {nvRead(owner, 0x02000000, nil, 1, 0), errBadSession},
		"too much":           {nvRead(owner, pw, nil, 1025, 0), errBadValue},
		"past the end":       {nvRead(owner, pw, nil, 2, 2599), tpm2.TPMRCNVRange},
		"far past the end":   {nvRead(owner, pw, nil, 1024, 65535), tpm2.TPMRCNVRange},
		"without a session":  {append([]byte{0x80, 0x01, 0, 0, 0, 18, 0, 0, 0x01, 0x4E}, 0x40, 0, 0, 1, 0x01, 0x40, 0, 1), tpm2.TPMRCAuthMissing},
		"cut short":          {append([]byte{0x80, 0x02, 0, 0, 0, 18, 0, 0, 0x01, 0x4E}, 0x40, 0, 0, 1, 0x01, 0x40, 0, 1), tpm2.TPMRCCommandSize},
		"public, surplus":    {[]byte{0x80, 0x01, 0, 0, 0, 15, 0, 0, 0x01, 0x69, 0x01, 0x40, 0, 1, 0}, tpm2.TPMRCCommandSize},
		"public, sessions":   {[]byte{0x80, 0x02, 0, 0, 0, 14, 0, 0, 0x01, 0x69, 0x01, 0x40, 0, 1}, tpm2.TPMRCAuthContext},
	} {
		rsp, err := dev.Send(c.command)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := tpm2.TPMRC(binary.BigEndian.Uint32(rsp[6:])); got != c.rc {
			t.Errorf("%s: %v (0x%x), want 0x%x", name, got, uint32(got), uint32(c.rc))
		}
	}
	rsp, err := dev.Send(nvRead(owner, pw, nil, 100, 1000))
	if err != nil || len(rsp) != headerSize+4+2+100+5 || !bytes.Equal(rsp[headerSize+6:headerSize+106], p.Report()[1000:1100]) {
		t.Errorf("%x, %v", rsp, err)
	}
}

// TestUserData: what the guest writes is in the next report.
func TestUserData(t *testing.T) {
	p := start(t, snp)
	dev, err := tpmdev.Dial(t.Context(), p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	owner := tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)}
	public := tpm2.TPMSNVPublic{
		NVIndex: tpm2.TPMHandle(userDataIndex), NameAlg: tpm2.TPMAlgSHA256, DataSize: userDataSize,
		Attributes: tpm2.TPMANV{OwnerWrite: true, OwnerRead: true, NT: tpm2.TPMNTOrdinary},
	}
	if _, err := (tpm2.NVDefineSpace{AuthHandle: owner, PublicInfo: tpm2.New2B(public)}).Execute(dev); err != nil {
		t.Fatal(err)
	}
	write := func(data []byte) {
		t.Helper()
		rsp, err := tpm2.NVReadPublic{NVIndex: tpm2.TPMHandle(userDataIndex)}.Execute(dev)
		if err != nil {
			t.Fatal(err)
		}
		_, err = tpm2.NVWrite{
			AuthHandle: owner, NVIndex: tpm2.NamedHandle{Handle: tpm2.TPMHandle(userDataIndex), Name: rsp.NVName},
			Data: tpm2.TPM2BMaxNVBuffer{Buffer: data},
		}.Execute(dev)
		if err != nil {
			t.Fatal(err)
		}
	}
	want := bytes.Repeat([]byte{0xC3}, userDataSize)
	write(want)
	r, err := hcl.Parse(p.Report())
	if err != nil || !bytes.Equal(r.UserData, want) || !r.Covered() {
		t.Errorf("user data %+v, %v", r, err)
	}
	before := p.Report()
	write([]byte{1}) // a part of it makes no report
	if !bytes.Equal(before, p.Report()) {
		t.Error("another report")
	}
}

// TestHostile: a client that speaks no TPM's language is left, and the next is served.
func TestHostile(t *testing.T) {
	p := start(t, snp)
	path := strings.TrimPrefix(p.Addr(), "unix:")
	for _, b := range [][]byte{
		nil, {1}, {0x80, 1, 0, 0, 0, 9, 0, 0, 0, 0}, {0x80, 1, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}, {0x80, 1, 0, 0, 0, 99, 0, 0, 0, 0},
	} {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write(b)
		_ = c.Close()
	}
	dev, err := tpmdev.Dial(t.Context(), p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	_ = dev.Close()
}

func TestStartRefuses(t *testing.T) {
	dir := t.TempDir()
	failing := func([64]byte) ([]byte, error) { return nil, errors.New("no") }
	short := func([64]byte) ([]byte, error) { return make([]byte, 100), nil }
	s, err := simulator.StartSWTPM(t.Context(), simulator.Options{Dir: filepath.Join(dir, "tpm")})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	good := Options{TPM: s.Addr(), Addr: "unix:" + filepath.Join(dir, "s"), Hardware: snp}
	for name, c := range map[string]struct {
		change func(*Options)
		want   error
	}{
		"zero":               {func(o *Options) { *o = Options{} }, attest.ErrArgument},
		"no hardware":        {func(o *Options) { o.Hardware = nil }, attest.ErrArgument},
		"address":            {func(o *Options) { o.Addr = "/dev/tpm0" }, attest.ErrArgument},
		"address in use":     {func(o *Options) { o.Addr = s.Addr() }, attest.ErrArgument},
		"no TPM":             {func(o *Options) { o.TPM = "unix:" + filepath.Join(dir, "none") }, ErrTPM},
		"hardware fails":     {func(o *Options) { o.Hardware = failing }, attest.ErrArgument},
		"hardware of a size": {func(o *Options) { o.Hardware = short }, attest.ErrArgument},
	} {
		o := good
		c.change(&o)
		if p, err := Start(t.Context(), o); !errors.Is(err, c.want) || p != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Another key at the handle of the AK is not replaced.
	dev, err := tpmdev.Dial(t.Context(), s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	p := &Paravisor{options: good}
	if err := p.provision(dev); err != nil {
		t.Fatal(err)
	}
	owner := tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)}
	old, err := tpm2.ReadPublic{ObjectHandle: akHandle}.Execute(dev)
	if err != nil {
		t.Fatal(err)
	}
	evict := tpm2.EvictControl{Auth: owner, ObjectHandle: &tpm2.NamedHandle{Handle: akHandle, Name: old.Name}, PersistentHandle: akHandle}
	if _, err := evict.Execute(dev); err != nil {
		t.Fatal(err)
	}
	ek, err := primary(dev, &tpm2.RSAEKTemplate)
	if err != nil {
		t.Fatal(err)
	}
	keep := tpm2.EvictControl{Auth: owner, ObjectHandle: &tpm2.NamedHandle{Handle: ek.handle, Name: ek.name}, PersistentHandle: akHandle}
	if _, err := keep.Execute(dev); err != nil {
		t.Fatal(err)
	}
	_ = dev.Close()
	if p, err := Start(t.Context(), good); !errors.Is(err, ErrTPM) || p != nil {
		t.Errorf("another key: %v", err)
	}
}

// TestOpenTDXRefuses: a metadata service that has no quote over this TDREPORT.
func TestOpenTDXRefuses(t *testing.T) {
	p := start(t, tdx)
	for name, c := range map[string]func([]byte) ([]byte, error){
		"no quote": func([]byte) ([]byte, error) { return []byte{4}, nil },
		"of another TDREPORT": func(report []byte) ([]byte, error) {
			b, err := quote(report)
			b[48+200] ^= 1
			return b, err
		},
		"signature cut": func(report []byte) ([]byte, error) {
			b, err := quote(report)
			b[48+584] = padding + 1
			return b, err
		},
	} {
		d, err := tpmdev.OpenAzure(t.Context(), p.Addr(), tpmdev.Options{}, serve(t, &Metadata{Quote: c}))
		if !errors.Is(err, tpmdev.ErrDevice) || d != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	s := httptest.NewServer(http.NotFoundHandler())
	s.Close()
	if d, err := tpmdev.OpenAzure(t.Context(), p.Addr(), tpmdev.Options{}, tpmdev.AzureOptions{Endpoint: s.URL}); !errors.Is(err, tpmdev.ErrAbsent) || d != nil {
		t.Errorf("nobody there: %v", err)
	}
}

// TestOpenRefuses: a machine that is none of Azure's, or contradicts itself.
func TestOpenRefuses(t *testing.T) {
	open := func(p *Paravisor, o tpmdev.Options, az tpmdev.AzureOptions) error {
		d, err := tpmdev.OpenAzure(t.Context(), p.Addr(), o, az)
		if d != nil {
			return d.Close()
		}
		return err
	}
	none := tpmdev.AzureOptions{}
	p := start(t, snp)
	if _, err := tpmdev.OpenAzure(t.Context(), p.options.TPM, tpmdev.Options{}, none); !errors.Is(err, tpmdev.ErrAbsent) {
		t.Errorf("a bare TPM: %v", err)
	}
	if err := open(p, tpmdev.Options{AK: tpmdev.Child}, none); !errors.Is(err, tpmdev.ErrUsage) {
		t.Errorf("another AK: %v", err)
	}
	if err := open(p, tpmdev.Options{}, tpmdev.AzureOptions{Endpoint: "ftp://x"}); !errors.Is(err, tpmdev.ErrUsage) {
		t.Errorf("endpoint: %v", err)
	}
	set := func(change func(r *hcl.Report)) {
		t.Helper()
		r, err := hcl.Parse(p.Report())
		if err != nil {
			t.Fatal(err)
		}
		r.Hardware = bytes.Clone(r.Hardware)
		r.Runtime = bytes.Clone(r.Runtime)
		change(r)
		b, err := r.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		p.mu.Lock()
		p.report = b
		p.mu.Unlock()
	}
	genuine := p.Report()
	for name, change := range map[string]func(r *hcl.Report){
		"report data":  func(r *hcl.Report) { r.Hardware[0x50] ^= 1 },
		"runtime data": func(r *hcl.Report) { r.Runtime[len(r.Runtime)-3] ^= 1 },
		"version":      func(r *hcl.Report) { r.Version = 3 },
		"another AK": func(r *hcl.Report) {
			at := bytes.Index(r.Runtime, []byte(`"n":"`)) + 20
			if r.Runtime[at]++; r.Runtime[at] == '9'+1 || r.Runtime[at] == 'Z'+1 || r.Runtime[at] == 'z'+1 || r.Runtime[at] == '.' || r.Runtime[at] == '`' {
				r.Runtime[at] = 'A'
			}
			copy(r.Hardware[0x50:], r.ReportData())
		},
	} {
		set(change)
		if err := open(p, tpmdev.Options{}, none); !errors.Is(err, tpmdev.ErrDevice) {
			t.Errorf("%s: %v", name, err)
		}
		p.mu.Lock()
		p.report = genuine
		p.mu.Unlock()
	}
	if err := open(p, tpmdev.Options{}, none); err != nil {
		t.Errorf("what these have in common: %v", err)
	}
}
