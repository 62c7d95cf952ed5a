package simulator

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/tpm"
	"github.com/sworn-run/sworn/tpm/tpmdev"
)

// suite is what must hold of any TPM that its maker has provisioned, wherever
// it runs. Its tests leave the TPM provisioned.
func suite(t *testing.T, dev transport.TPM, m *Maker) {
	t.Helper()
	testContents(t, dev, m)
	t.Run("attributes", func(t *testing.T) { testAttributes(t, dev) })
	t.Run("banks", func(t *testing.T) { testBanks(t, dev) })
	t.Run("quote", func(t *testing.T) { testQuote(t, dev, m) })
	t.Run("again", func(t *testing.T) { testAgain(t, dev, m) })
	t.Run("interrupted", func(t *testing.T) { testInterrupted(t, dev, m) })
	t.Run("foreign EK", func(t *testing.T) { testForeignEK(t, dev, m) })
	t.Run("another maker", func(t *testing.T) { testAnotherMaker(t, dev, m) })
	t.Run("not simulated", func(t *testing.T) { testNotSimulated(t, dev, m) })
	t.Run("context", func(t *testing.T) { testContext(t, dev, m) })
}

// area reads an index that must be complete.
func area(t *testing.T, dev transport.TPM, index tpm2.TPMHandle) []byte {
	t.Helper()
	a, err := readNV(dev, index)
	if err != nil {
		t.Fatal(err)
	}
	if !a.locked || len(a.data) == 0 {
		t.Fatalf("NV index 0x%08x was not written completely", uint32(index))
	}
	return a.data
}

// undefine removes an index.
func undefine(t *testing.T, dev transport.TPM, index tpm2.TPMHandle) {
	t.Helper()
	a, err := readNV(dev, index)
	if err != nil {
		t.Fatal(err)
	}
	if a.name == nil {
		return
	}
	_, err = tpm2.NVUndefineSpace{
		AuthHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHPlatform, Auth: noAuth()},
		NVIndex:    tpm2.NamedHandle{Handle: index, Name: tpm2.TPM2BName{Buffer: a.name}},
	}.Execute(dev)
	if err != nil {
		t.Fatal(err)
	}
}

// put replaces what is at an index.
func put(t *testing.T, dev transport.TPM, index tpm2.TPMHandle, data []byte) {
	t.Helper()
	undefine(t, dev, index)
	if err := writeNV(dev, index, &nvArea{}, data); err != nil {
		t.Fatal(err)
	}
}

// provisionAll provisions from nothing.
func provisionAll(t *testing.T, dev transport.TPM, m *Maker) {
	t.Helper()
	for _, index := range indices() {
		undefine(t, dev, index)
	}
	// Also used at the end of a test, when its own context has ended.
	if err := m.Provision(context.Background(), dev); err != nil {
		t.Fatal(err)
	}
}

// indices are those that Provision writes.
func indices() []tpm2.TPMHandle {
	return []tpm2.TPMHandle{nvEKCertificate, nvAKCertificate, nvAKTemplate}
}

// primary makes a primary key and flushes it at the end of the test. These TPMs
// have room for three.
func primary(t *testing.T, dev transport.TPM, template *tpm2.TPMTPublic) *object {
	t.Helper()
	o, err := createPrimary(dev, template)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.flush(dev) })
	return o
}

// chain parses the certificates at an index and verifies the first one up to
// the maker's root, with the standard library alone.
func chain(t *testing.T, dev transport.TPM, m *Maker, index tpm2.TPMHandle, issuers ...*x509.Certificate) []*x509.Certificate {
	t.Helper()
	held, err := x509.ParseCertificates(area(t, dev, index))
	if err != nil {
		t.Fatal(err)
	}
	roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(m.Root())
	for _, c := range slices.Concat(held[1:], issuers) {
		intermediates.AddCert(c)
	}
	_, err = held[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: intermediates, CurrentTime: time.Now(),
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		t.Errorf("NV index 0x%08x: %v", uint32(index), err)
	}
	if held[0].IsCA || len(held[0].UnhandledCriticalExtensions) != 0 {
		t.Errorf("NV index 0x%08x: IsCA %v, critical %v", uint32(index), held[0].IsCA, held[0].UnhandledCriticalExtensions)
	}
	return held
}

// testContents checks what Provision leaves, as a test of its own.
func testContents(t *testing.T, dev transport.TPM, m *Maker) {
	t.Helper()
	t.Run("contents", func(t *testing.T) { contents(t, dev, m) })
}

// contents looks at what the TPM holds and makes.
func contents(t *testing.T, dev transport.TPM, m *Maker) {
	t.Helper()
	ek := chain(t, dev, m, nvEKCertificate, m.ekCA.certificate)
	if len(ek) != 1 || len(ek[0].UnknownExtKeyUsage) != 1 || ek[0].UnknownExtKeyUsage[0].String() != "2.23.133.8.1" {
		t.Errorf("%d EK certificates, usage %v", len(ek), ek[0].UnknownExtKeyUsage)
	}
	key, err := primary(t, dev, &tpm2.ECCEKTemplate).key()
	if err != nil {
		t.Fatal(err)
	}
	if !key.Equal(ek[0].PublicKey) {
		t.Error("the EK certificate is for another key")
	}
	ak := chain(t, dev, m, nvAKCertificate)
	if len(ak) != 2 || len(ak[0].UnknownExtKeyUsage) != 1 || ak[0].UnknownExtKeyUsage[0].String() != "2.23.133.8.3" {
		t.Errorf("%d AK certificates, usage %v", len(ak), ak[0].UnknownExtKeyUsage)
	}
	if ak[0].KeyUsage != x509.KeyUsageDigitalSignature {
		t.Errorf("AK certificate for %v", ak[0].KeyUsage)
	}
	if key, err = recreate(t, dev).key(); err != nil {
		t.Fatal(err)
	}
	if !key.Equal(ak[0].PublicKey) {
		t.Error("the AK of the template is not the one certified")
	}
}

// recreate makes the AK from the template in the TPM, as a launcher does.
func recreate(t *testing.T, dev transport.TPM) *object {
	t.Helper()
	template, err := tpm2.Unmarshal[tpm2.TPMTPublic](area(t, dev, nvAKTemplate))
	if err != nil {
		t.Fatal(err)
	}
	return primary(t, dev, template)
}

// testAttributes tries to change what stands at the indices without the
// platform's removing them first.
func testAttributes(t *testing.T, dev transport.TPM) {
	t.Helper()
	for _, index := range indices() {
		rsp, err := tpm2.NVReadPublic{NVIndex: index}.Execute(dev)
		if err != nil {
			t.Fatal(err)
		}
		named := tpm2.NamedHandle{Handle: index, Name: rsp.NVName}
		for who, auth := range map[string]tpm2.AuthHandle{
			"owner":    {Handle: tpm2.TPMRHOwner, Auth: noAuth()},
			"platform": {Handle: tpm2.TPMRHPlatform, Auth: noAuth()},
			"index":    {Handle: index, Name: rsp.NVName, Auth: noAuth()},
		} {
			_, err := tpm2.NVWrite{AuthHandle: auth, NVIndex: named, Data: tpm2.TPM2BMaxNVBuffer{Buffer: []byte{0}}}.Execute(dev)
			if !errors.Is(err, tpm2.TPMRCNVAuthorization) && !errors.Is(err, tpm2.TPMRCNVLocked) && !errors.Is(err, tpm2.TPMRCAuthUnavailable) {
				t.Errorf("writing 0x%08x as %s: %v", uint32(index), who, err)
			}
		}
		owner := tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: noAuth()}
		if _, err := (tpm2.NVUndefineSpace{AuthHandle: owner, NVIndex: named}).Execute(dev); !errors.Is(err, tpm2.TPMRCNVAuthorization) {
			t.Errorf("removing 0x%08x as owner: %v", uint32(index), err)
		}
	}
}

func testBanks(t *testing.T, dev transport.TPM) {
	t.Helper()
	rsp, err := tpm2.GetCapability{Capability: tpm2.TPMCapPCRs, PropertyCount: 1}.Execute(dev)
	if err != nil {
		t.Fatal(err)
	}
	list, err := rsp.CapabilityData.Data.AssignedPCR()
	if err != nil {
		t.Fatal(err)
	}
	var got []tpm2.TPMAlgID
	for _, s := range list.PCRSelections {
		if !bytes.Equal(s.PCRSelect, make([]byte, len(s.PCRSelect))) {
			got = append(got, s.Hash)
		}
	}
	if diff := cmp.Diff([]tpm2.TPMAlgID{tpm2.TPMAlgSHA256, tpm2.TPMAlgSHA384}, got); diff != "" {
		t.Errorf("active banks (-want +got):\n%s", diff)
	}
}

// testQuote has the product's device side find the AK and quote a statement,
// and its verifier appraise the quote against the maker's root.
func testQuote(t *testing.T, dev transport.TPM, m *Maker) {
	t.Helper()
	d, err := tpmdev.OpenTransport(t.Context(), dev, tpmdev.Options{AK: tpmdev.Provider})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	slot, err := d.Manifest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	st := &attest.Statement{
		Type: attest.TypeRun, Time: 1700000000000,
		Series: [32]byte{1}, Launch: [32]byte{2}, KeyID: [32]byte{3},
		LogSize: 1, LogRoot: [32]byte{4}, RecordCount: 1, TreeRoot: [32]byte{5},
		Manifest: []attest.Slot{slot},
	}
	ev, err := d.Attest(t.Context(), slot.Number, st)
	if err != nil {
		t.Fatal(err)
	}
	verify := func(m *Maker) *attest.Claims {
		t.Helper()
		anchors := &attest.Anchors{Roots: []attest.Root{{Role: "tpm-ak", Certificate: m.Root(), UserSupplied: true}}}
		claims, err := tpm.Scheme{}.Verify(ev, anchors, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return claims
	}
	claims := verify(m)
	if claims.Identity.Status != attest.Passed || !claims.Identity.Root.Certificate.Equal(m.Root()) {
		t.Errorf("identity: %+v", claims.Identity)
	}
	if claims.Revocation.Status != attest.Passed {
		t.Errorf("revocation: %+v", claims.Revocation)
	}
	if claims = verify(openMaker(t, t.TempDir())); claims.Identity.Status == attest.Passed {
		t.Error("the AK is known to another maker")
	}
}

// counting counts commands that change what is in NV memory, and fails after
// so many commands of any kind.
type counting struct {
	transport.TPM
	changes, left int
}

// errUnplugged is what a TPM that was unplugged returns.
var errUnplugged = errors.New("unplugged")

// Send implements [transport.TPM].
func (c *counting) Send(b []byte) ([]byte, error) {
	if c.left == 0 {
		return nil, errUnplugged
	}
	c.left--
	switch tpm2.TPMCC(binary.BigEndian.Uint32(b[6:])) {
	case tpm2.TPMCCNVDefineSpace, tpm2.TPMCCNVUndefineSpace, tpm2.TPMCCNVWrite, tpm2.TPMCCNVWriteLock:
		c.changes++
	default:
	}
	return c.TPM.Send(b)
}

// snapshot is what the indices hold.
func snapshot(t *testing.T, dev transport.TPM) [][]byte {
	t.Helper()
	var out [][]byte
	for _, index := range indices() {
		out = append(out, area(t, dev, index))
	}
	return out
}

func testAgain(t *testing.T, dev transport.TPM, m *Maker) {
	t.Helper()
	before := snapshot(t, dev)
	c := &counting{TPM: dev, left: -1}
	if err := m.Provision(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if c.changes != 0 {
		t.Errorf("provisioning again changed NV memory %d times", c.changes)
	}
	if diff := cmp.Diff(before, snapshot(t, dev)); diff != "" {
		t.Errorf("provisioning again (-before +after):\n%s", diff)
	}
}

// testInterrupted unplugs the TPM after each command in turn: what is left
// behind must never stop the next attempt, nor look complete.
func testInterrupted(t *testing.T, dev transport.TPM, m *Maker) {
	t.Helper()
	for n := 0; ; n++ {
		for _, index := range indices() {
			undefine(t, dev, index)
		}
		c := &counting{TPM: dev, left: n}
		err := m.Provision(t.Context(), c)
		flushAll(t, dev)
		if err == nil {
			if n < 10 {
				t.Fatalf("provisioned with %d commands", n)
			}
			break
		}
		if !errors.Is(err, ErrTPM) || !errors.Is(err, errUnplugged) {
			t.Fatalf("unplugged after %d commands: %v", n, err)
		}
		if err := m.Provision(t.Context(), dev); err != nil {
			t.Fatalf("after an attempt of %d commands: %v", n, err)
		}
		testContents(t, dev, m)
	}
}

// flushAll flushes what an interrupted attempt left in the TPM's memory.
func flushAll(t *testing.T, dev transport.TPM) {
	t.Helper()
	for _, first := range []uint32{0x02000000, 0x03000000, 0x80000000} {
		rsp, err := tpm2.GetCapability{Capability: tpm2.TPMCapHandles, Property: first, PropertyCount: 16}.Execute(dev)
		if err != nil {
			t.Fatal(err)
		}
		list, err := rsp.CapabilityData.Data.Handles()
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range list.Handle {
			if _, err := (tpm2.FlushContext{FlushHandle: h}).Execute(dev); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// testForeignEK has the EK certificate of another TPM of the same maker in
// this one: whoever copies it cannot have an AK certified.
func testForeignEK(t *testing.T, dev transport.TPM, m *Maker) {
	t.Helper()
	t.Cleanup(func() { provisionAll(t, dev, m) })
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template, err := ekTemplate(&other.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	c, err := m.ekCA.issue(template, &other.PublicKey, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	put(t, dev, nvEKCertificate, c.Raw)
	// With an AK certificate of old in place, and without.
	for range 2 {
		if err := m.Provision(t.Context(), dev); !errors.Is(err, ErrActivation) {
			t.Errorf("Provision: %v", err)
		}
		undefine(t, dev, nvAKCertificate)
	}
	if a, err := readNV(dev, nvAKCertificate); err != nil || a.name != nil {
		t.Errorf("an AK was certified: %v", err)
	}
}

// testAnotherMaker has another simulated maker take the TPM over.
func testAnotherMaker(t *testing.T, dev transport.TPM, m *Maker) {
	t.Helper()
	t.Cleanup(func() { provisionAll(t, dev, m) })
	other := openMaker(t, t.TempDir())
	before := snapshot(t, dev)
	if err := other.Provision(t.Context(), dev); err != nil {
		t.Fatal(err)
	}
	testContents(t, dev, other)
	after := snapshot(t, dev)
	if bytes.Equal(before[0], after[0]) || bytes.Equal(before[1], after[1]) {
		t.Error("the former maker's certificates are still there")
	}
}

// testNotSimulated has certificates of a real maker in the TPM, or something
// that is none.
func testNotSimulated(t *testing.T, dev transport.TPM, m *Maker) {
	t.Helper()
	t.Cleanup(func() { provisionAll(t, dev, m) })
	realMaker, err := newAuthority("Trusty TPMs", nil, 0, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, index := range []tpm2.TPMHandle{nvEKCertificate, nvAKCertificate} {
		for name, data := range map[string][]byte{"real": realMaker.certificate.Raw, "other": []byte("not DER")} {
			t.Run(name, func(t *testing.T) {
				put(t, dev, index, data)
				if err := m.Provision(t.Context(), dev); !errors.Is(err, ErrTPM) || errors.Is(err, ErrActivation) {
					t.Errorf("Provision: %v", err)
				}
				if !bytes.Equal(area(t, dev, index), data) {
					t.Error("it was replaced")
				}
			})
		}
		undefine(t, dev, index)
	}
}

func testContext(t *testing.T, dev transport.TPM, m *Maker) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.Provision(ctx, dev); !errors.Is(err, context.Canceled) {
		t.Errorf("Provision: %v", err)
	}
}

func TestProvisionRefuses(t *testing.T) {
	var none *Maker
	dead := &counting{}
	for name, err := range map[string]error{
		"nil maker":  none.Provision(t.Context(), dead),
		"zero maker": (&Maker{}).Provision(t.Context(), dead),
		"no TPM":     openMaker(t, t.TempDir()).Provision(t.Context(), nil),
		"dead TPM":   openMaker(t, t.TempDir()).Provision(t.Context(), dead),
	} {
		want := attest.ErrArgument
		if name == "dead TPM" {
			want = ErrTPM
		}
		if !errors.Is(err, want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
