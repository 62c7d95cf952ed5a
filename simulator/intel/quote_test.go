package intel_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/sworn-run/sworn/simulator/intel"
)

// parts are the pieces of a quote.
type parts struct {
	version             uint16
	header, body        []byte
	signed              []byte
	signature, key      []byte
	qe, qeSignature     []byte
	auth, chain, beyond []byte
}

// split takes a quote apart.
func split(t *testing.T, b []byte) (p parts) {
	t.Helper()
	le := binary.LittleEndian
	take := func(n int) []byte {
		if n > len(b) {
			t.Fatalf("a quote that ends early: %d of %d", len(b), n)
		}
		out := b[:n:n]
		b = b[n:]
		return out
	}
	all := b
	p.version = le.Uint16(b)
	p.header = take(48)
	size := map[uint16]int{3: intel.EnclaveSize, 4: intel.TD10Size}[p.version]
	if p.version == 5 {
		descriptor := take(6)
		size = int(le.Uint32(descriptor[2:]))
		p.header = all[:54]
	}
	p.body = take(size)
	p.signed = all[:len(all)-len(b)]
	b, p.beyond = b[:4+int(le.Uint32(b))], b[4+int(le.Uint32(b)):]
	take(4)
	p.signature, p.key = take(64), take(64)
	if p.version != 3 {
		if kind, size := le.Uint16(b), le.Uint32(b[2:]); kind != intel.CertificationReport || int(size) != len(b)-6 {
			t.Fatalf("certification data %d of %d bytes, %d left", kind, size, len(b)-6)
		}
		take(6)
	}
	p.qe, p.qeSignature = take(intel.EnclaveSize), take(64)
	p.auth = take(int(le.Uint16(take(2))))
	if kind, size := le.Uint16(b), le.Uint32(b[2:]); kind != intel.CertificationChain || int(size) != len(b)-6 {
		t.Fatalf("certification data %d of %d bytes, %d left", kind, size, len(b)-6)
	}
	take(6)
	p.chain = b
	return p
}

// check verifies every signature of a quote.
func check(t *testing.T, name string, p parts) {
	t.Helper()
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append([]byte{4}, p.key...))
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	chain := pemChain(t, p.chain)
	if len(chain) == 3 && bytes.Equal(chain[1].RawSubject, chain[1].RawIssuer) {
		chain[1], chain[2] = chain[2], chain[1] // as some platforms have it
	}
	digest := sha256.Sum256(append(bytes.Clone(p.key), p.auth...))
	switch {
	case len(chain) != 3 || chain[0].CheckSignatureFrom(chain[1]) != nil || chain[1].CheckSignatureFrom(chain[2]) != nil:
		t.Errorf("%s: %d certificates", name, len(chain))
	case !verifies(key, p.signed, p.signature):
		t.Errorf("%s: the quote's signature", name)
	case !verifies(chain[0].PublicKey, p.qe, p.qeSignature):
		t.Errorf("%s: the signature of the quoting enclave's report", name)
	case !bytes.Equal(p.qe[320:352], digest[:]):
		t.Errorf("%s: the attestation key is another", name)
	}
}

// TestQuotes checks quotes of every version.
func TestQuotes(t *testing.T) {
	_, p := machine(t)
	data := [64]byte{1, 2, 3}
	td := p.TD("guest", data)
	e := p.Enclave("enclave", data)
	for version, q := range map[uint16]*intel.Quote{
		3: must(p.SGXQuote(e, now))(t), 4: must(p.TDQuote(td, 4, now))(t), 5: must(p.TDQuote(td, 5, now))(t),
	} {
		b := must(q.Marshal())(t)
		got := split(t, b)
		check(t, "quote", got)
		want := map[uint16][]byte{3: e.Marshal(), 4: td.Marshal(false), 5: td.Marshal(true)}[version]
		if got.version != version || !bytes.Equal(got.body, want) || len(got.beyond) != 0 {
			t.Errorf("version %d: %+v", version, got)
		}
		at := map[uint16]int{3: 320, 4: 520, 5: 520}[version]
		if !bytes.Equal(got.body[at:at+64], data[:]) {
			t.Errorf("version %d: other report data", version)
		}
	}
}

// TestQuoteKnobs checks that what is wrong with a quote can be chosen.
func TestQuoteKnobs(t *testing.T) {
	v, p := machine(t)
	td := p.TD("guest", [64]byte{})
	q := must(p.TDQuote(td, 4, now))(t)
	q.ForeignKey, q.QE.ReportData = true, [64]byte{9}
	if got := split(t, must(q.Marshal())(t)); got.qe[320] != 9 {
		t.Error("the quoting enclave's report data is not as asked for")
	}
	other := must(v.Platform("two"))(t)
	q, theirs := must(p.TDQuote(td, 4, now))(t), must(other.TDQuote(td, 4, now))(t)
	q.Chain = theirs.Chain
	got := split(t, must(q.Marshal())(t))
	if verifies(pemChain(t, got.chain)[0].PublicKey, got.qe, got.qeSignature) {
		t.Error("the PCK of another machine has signed")
	}
	if bytes.Equal(got.key, split(t, must(theirs.Marshal())(t)).key) {
		t.Error("two machines have one attestation key")
	}
	q.Attestation = nil
	if _, err := q.Marshal(); err == nil {
		t.Error("a quote without a key")
	}
}

// TestTDKnobs checks that every field of a TD's report can be set and stands where
// the manual has it, and nowhere else.
func TestTDKnobs(t *testing.T) {
	_, p := machine(t)
	plain := p.TD("guest", [64]byte{}).Marshal(true)
	for _, tt := range []struct {
		name     string
		at, size int
		set      func(*intel.TD)
	}{
		{"tee_tcb_svn", 0, 16, func(td *intel.TD) { td.TEETCBSVN[0]-- }},
		{"mrseam", 16, 48, func(td *intel.TD) { td.MRSEAM[0]++ }},
		{"mrsignerseam", 64, 48, func(td *intel.TD) { td.MRSIGNERSEAM[0]++ }},
		{"seamattributes", 112, 8, func(td *intel.TD) { td.SEAMAttributes = 1 }},
		{"debug", 120, 8, func(td *intel.TD) { td.Attributes |= intel.TDDebug }},
		{"migratable", 120, 8, func(td *intel.TD) { td.Attributes |= intel.TDMigratable }},
		{"sept_ve_disable", 120, 8, func(td *intel.TD) { td.Attributes &^= intel.TDSeptVEDisable }},
		{"xfam", 128, 8, func(td *intel.TD) { td.XFAM = 3 }},
		{"mrtd", 136, 48, func(td *intel.TD) { td.MRTD[47]++ }},
		{"mrconfigid", 184, 48, func(td *intel.TD) { td.MRConfigID[0]++ }},
		{"mrowner", 232, 48, func(td *intel.TD) { td.MROwner[0]++ }},
		{"mrownerconfig", 280, 48, func(td *intel.TD) { td.MROwnerConfig[0]++ }},
		{"rtmr0", 328, 48, func(td *intel.TD) { td.RTMR[0][0]++ }},
		{"rtmr3", 472, 48, func(td *intel.TD) { td.RTMR[3][47]++ }},
		{"reportdata", 520, 64, func(td *intel.TD) { td.ReportData[63]++ }},
		{"tee_tcb_svn2", 584, 16, func(td *intel.TD) { td.TEETCBSVN2[0]++ }},
		{"mrservicetd", 600, 48, func(td *intel.TD) { td.MRSERVICETD[0]++ }},
	} {
		td := p.TD("guest", [64]byte{})
		tt.set(td)
		b := td.Marshal(true)
		if len(b) != intel.TD15Size || !bytes.Equal(b[:intel.TD10Size], td.Marshal(false)) {
			t.Fatalf("%s: %d bytes", tt.name, len(b))
		}
		if bytes.Equal(b[tt.at:tt.at+tt.size], plain[tt.at:tt.at+tt.size]) {
			t.Errorf("%s: not changed", tt.name)
		}
		if !bytes.Equal(b[:tt.at], plain[:tt.at]) || !bytes.Equal(b[tt.at+tt.size:], plain[tt.at+tt.size:]) {
			t.Errorf("%s: something else is changed", tt.name)
		}
	}
}

// readTD reads the fields of a TD's report body.
func readTD(b []byte) *intel.TD {
	td := &intel.TD{
		SEAMAttributes: binary.LittleEndian.Uint64(b[112:]),
		Attributes:     binary.LittleEndian.Uint64(b[120:]), XFAM: binary.LittleEndian.Uint64(b[128:]),
	}
	for at, to := range map[int][]byte{
		0: td.TEETCBSVN[:], 16: td.MRSEAM[:], 64: td.MRSIGNERSEAM[:], 136: td.MRTD[:], 184: td.MRConfigID[:],
		232: td.MROwner[:], 280: td.MROwnerConfig[:], 328: td.RTMR[0][:], 376: td.RTMR[1][:], 424: td.RTMR[2][:],
		472: td.RTMR[3][:], 520: td.ReportData[:],
	} {
		copy(to, b[at:])
	}
	if len(b) == intel.TD15Size {
		copy(td.TEETCBSVN2[:], b[584:])
		copy(td.MRSERVICETD[:], b[600:])
	}
	return td
}

// readEnclave reads the fields of an enclave's report body.
func readEnclave(b []byte) *intel.Enclave {
	le := binary.LittleEndian
	e := &intel.Enclave{
		MiscSelect: le.Uint32(b[16:]), Flags: le.Uint64(b[48:]), XFRM: le.Uint64(b[56:]),
		ProdID: le.Uint16(b[256:]), SVN: le.Uint16(b[258:]), ConfigSVN: le.Uint16(b[260:]),
	}
	for at, to := range map[int][]byte{
		0: e.CPUSVN[:], 32: e.ExtProdID[:], 64: e.MRENCLAVE[:], 128: e.MRSIGNER[:], 192: e.ConfigID[:],
		304: e.FamilyID[:], 320: e.ReportData[:],
	} {
		copy(to, b[at:])
	}
	return e
}

// TestRealQuotes takes real quotes apart as ours are, and puts them together again:
// all but the signatures is the same, byte for byte.
func TestRealQuotes(t *testing.T) {
	root := filepath.Join("..", "..", "..", "shared", "evidence")
	names := must(filepath.Glob(filepath.Join(root, "tdx", "tdx-v*", "quote.bin")))(t)
	names = append(names, must(filepath.Glob(filepath.Join(root, "sgx", "sgx-v3-*", "quote.bin")))(t)...)
	if len(names) == 0 {
		t.Skipf("the shared evidence %s is absent", root)
	}
	_, machine := machine(t)
	for _, name := range names {
		real := must(os.ReadFile(name))(t)
		p := split(t, real)
		check(t, name, p)
		le := binary.LittleEndian
		q := must(machine.TDQuote(&intel.TD{}, p.version, now))(t)
		qe := readEnclave(p.qe)
		q.KeyType, q.TEE = le.Uint16(real[2:]), le.Uint32(real[4:])
		q.Reserved = [2]uint16{le.Uint16(real[8:]), le.Uint16(real[10:])}
		copy(q.QEVendor[:], real[12:])
		copy(q.UserData[:], real[28:])
		q.QE, q.ForeignKey, q.AuthData, q.Chain = *qe, true, p.auth, p.chain
		if p.version == 3 {
			q.Body = readEnclave(p.body).Marshal()
		} else {
			q.Body = readTD(p.body).Marshal(p.version == 5)
		}
		got := must(q.Marshal())(t)
		again := split(t, got)
		// The keys are ours.
		for _, piece := range [][2][]byte{{again.signature, p.signature}, {again.key, p.key}, {again.qeSignature, p.qeSignature}} {
			copy(piece[0], piece[1])
		}
		if want := real[:len(real)-len(p.beyond)]; !bytes.Equal(got, want) {
			t.Errorf("%s: put together again it differs", name)
		}
	}
}
