package tpmdev

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/tpm"
)

// NV indices of a provider's AK.
const (
	certificateRSA = 0x01c10000
	templateRSA    = 0x01c10001
	certificateECC = 0x01c10002
	templateECC    = 0x01c10003
)

// provider is who provisions a TPM with an AK: a CA of two levels.
type provider struct {
	rw                 transport.TPMCloser
	root, intermediate *x509.Certificate
	key                *ecdsa.PrivateKey
}

// newProvider connects to the TPM and makes the CA.
func newProvider(t *testing.T, s *softTPM) *provider {
	t.Helper()
	rw, err := Dial(t.Context(), s.unix)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = rw.Close() })
	rootKey, key := newKey(t), newKey(t)
	p := &provider{rw: rw, key: key}
	ca := func(name string, k crypto.PublicKey, parent *x509.Certificate) *x509.Certificate {
		c := &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		}
		if parent == nil {
			parent = c
		}
		return parse(t, create(t, c, parent, k, rootKey))
	}
	p.root = ca("root", rootKey.Public(), nil)
	p.intermediate = ca("intermediate", key.Public(), p.root)
	return p
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func create(t *testing.T, c, parent *x509.Certificate, k crypto.PublicKey, signer crypto.Signer) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, c, parent, k, signer)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func parse(t *testing.T, der []byte) *x509.Certificate {
	t.Helper()
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// certify returns an AK certificate for the key.
func (p *provider) certify(t *testing.T, k crypto.PublicKey) []byte {
	t.Helper()
	return create(t, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "AK"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage:           x509.KeyUsageDigitalSignature,
		UnknownExtKeyUsage: []asn1.ObjectIdentifier{{2, 23, 133, 8, 3}}, // tcg-kp-AIKCertificate
	}, p.intermediate, k, p.key)
}

// public returns the key that the TPM makes from the template.
func (p *provider) public(t *testing.T, template tpm2.TPMTPublic) crypto.PublicKey {
	t.Helper()
	k, err := p.make(t, template)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// make is public, where the TPM may refuse.
func (p *provider) make(t *testing.T, template tpm2.TPMTPublic) (crypto.PublicKey, error) {
	t.Helper()
	rsp, err := tpm2.CreatePrimary{
		PrimaryHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHEndorsement, Auth: tpm2.PasswordAuth(nil)},
		InPublic:      tpm2.New2B(template),
	}.Execute(p.rw)
	if err != nil {
		return nil, err
	}
	if _, err := (tpm2.FlushContext{FlushHandle: rsp.ObjectHandle}).Execute(p.rw); err != nil {
		t.Fatal(err)
	}
	public, err := rsp.OutPublic.Contents()
	if err != nil {
		t.Fatal(err)
	}
	k, err := tpm2.Pub(*public)
	if err != nil {
		t.Fatal(err)
	}
	return k, nil
}

// define defines an NV index of that size, replacing what was there.
func (p *provider) define(t *testing.T, index uint32, size int, a tpm2.TPMANV) tpm2.NamedHandle {
	t.Helper()
	owner := tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)}
	if old, err := (tpm2.NVReadPublic{NVIndex: tpm2.TPMHandle(index)}).Execute(p.rw); err == nil {
		_, err := tpm2.NVUndefineSpace{
			AuthHandle: owner,
			NVIndex:    tpm2.NamedHandle{Handle: tpm2.TPMHandle(index), Name: old.NVName},
		}.Execute(p.rw)
		if err != nil {
			t.Fatal(err)
		}
	}
	a.OwnerWrite, a.NT = true, tpm2.TPMNTOrdinary
	_, err := tpm2.NVDefineSpace{AuthHandle: owner, PublicInfo: tpm2.New2B(tpm2.TPMSNVPublic{
		NVIndex: tpm2.TPMHandle(index), NameAlg: tpm2.TPMAlgSHA256, Attributes: a, DataSize: uint16(size),
	})}.Execute(p.rw)
	if err != nil {
		t.Fatal(err)
	}
	rsp, err := tpm2.NVReadPublic{NVIndex: tpm2.TPMHandle(index)}.Execute(p.rw)
	if err != nil {
		t.Fatal(err)
	}
	return tpm2.NamedHandle{Handle: tpm2.TPMHandle(index), Name: rsp.NVName}
}

// write defines an NV index and fills it; each holder of an index may read it.
func (p *provider) write(t *testing.T, index uint32, data []byte) {
	t.Helper()
	p.writeAs(t, index, data, tpm2.TPMANV{AuthRead: true})
}

// writeAs is write with read attributes.
func (p *provider) writeAs(t *testing.T, index uint32, data []byte, a tpm2.TPMANV) {
	t.Helper()
	h := p.define(t, index, len(data), a)
	for offset := 0; offset < len(data); offset += 512 {
		_, err := tpm2.NVWrite{
			AuthHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)},
			NVIndex:    h,
			Data:       tpm2.TPM2BMaxNVBuffer{Buffer: data[offset:min(offset+512, len(data))]},
			Offset:     uint16(offset),
		}.Execute(p.rw)
		if err != nil {
			t.Fatal(err)
		}
		// The first write changes the index's Name (TPMA_NV_WRITTEN).
		rsp, err := tpm2.NVReadPublic{NVIndex: h.Handle}.Execute(p.rw)
		if err != nil {
			t.Fatal(err)
		}
		h.Name = rsp.NVName
	}
}

// eccTemplate is a provider's ECC AK: a primary key, with a unique field of
// its own.
func eccTemplate() tpm2.TPMTPublic {
	p := childTemplate()
	p.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{
		X: tpm2.TPM2BECCParameter{Buffer: bytes.Repeat([]byte{7}, 32)},
		Y: tpm2.TPM2BECCParameter{Buffer: make([]byte, 32)},
	})
	return p
}

// rsaTemplate is a provider's RSA AK.
func rsaTemplate() tpm2.TPMTPublic {
	p := childTemplate()
	p.Type = tpm2.TPMAlgRSA
	p.Parameters = tpm2.NewTPMUPublicParms(tpm2.TPMAlgRSA, &tpm2.TPMSRSAParms{
		Scheme: tpm2.TPMTRSAScheme{
			Scheme:  tpm2.TPMAlgRSASSA,
			Details: tpm2.NewTPMUAsymScheme(tpm2.TPMAlgRSASSA, &tpm2.TPMSSigSchemeRSASSA{HashAlg: tpm2.TPMAlgSHA256}),
		},
		KeyBits: 2048,
	})
	p.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgRSA, &tpm2.TPM2BPublicKeyRSA{Buffer: make([]byte, 256)})
	return p
}

// anchors trust the provider's root in the role of AK certificates.
func (p *provider) anchors() *attest.Anchors {
	return &attest.Anchors{Roots: []attest.Root{
		{Role: "tpm-ak", Certificate: p.root, UserSupplied: true}, {Role: "tpm-ak", Certificate: p.intermediate, UserSupplied: true},
	}}
}

// checkProvider quotes and wants an identity established under the provider's
// root, with that many certificates.
func (p *provider) checkProvider(t *testing.T, opts Options, certificates int) {
	t.Helper()
	d, err := OpenTransport(t.Context(), p.rw, opts)
	if err != nil {
		t.Fatalf("OpenTransport: %v", err)
	}
	defer d.Close()
	ev, _ := attestOne(t, d)
	got := 0
	for _, part := range ev.Parts {
		switch part.Name {
		case tpm.PartParent:
			t.Error("a primary AK has a parent")
		case tpm.PartCertificate:
			got++
		}
	}
	if got != certificates {
		t.Errorf("%d certificates, want %d", got, certificates)
	}
	claims, err := tpm.Scheme{}.Verify(ev, p.anchors(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if claims.Identity.Status != attest.Passed {
		t.Errorf("identity %v: %s", claims.Identity.Status, claims.Identity.Detail)
	}
	checkHandles(t, d)
}

func TestProviderECC(t *testing.T) {
	p := newProvider(t, startTPM(t))
	leaf := p.certify(t, p.public(t, eccTemplate()))
	template := tpm2.Marshal(eccTemplate())
	chain := append(bytes.Clone(leaf), p.intermediate.Raw...)
	p.write(t, templateECC, template)
	p.write(t, certificateECC, chain)
	for name, ak := range map[string]AK{"auto": Auto, "provider": Provider} {
		t.Run(name, func(t *testing.T) { p.checkProvider(t, Options{AK: ak}, 2) })
	}
	t.Run("child all the same", func(t *testing.T) {
		d, err := OpenTransport(t.Context(), p.rw, Options{AK: Child})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		ev, _ := attestOne(t, d)
		if last := ev.Parts[len(ev.Parts)-1].Name; last != tpm.PartPCRs {
			t.Errorf("the last part is %q, want %q", last, tpm.PartPCRs)
		}
	})
	t.Run("the same key again", func(t *testing.T) {
		seen := map[[32]byte]bool{}
		for range 2 {
			d, err := OpenTransport(t.Context(), p.rw, Options{})
			if err != nil {
				t.Fatal(err)
			}
			seen[statement(t, d).Manifest[0].KeyID] = true
			_ = d.Close()
		}
		if len(seen) != 1 {
			t.Errorf("%d keys, want 1", len(seen))
		}
	})
	t.Run("filled up with zeros, read by the owner", func(t *testing.T) {
		p.writeAs(t, templateECC, append(bytes.Clone(template), make([]byte, 100)...), tpm2.TPMANV{OwnerRead: true})
		p.writeAs(t, certificateECC, append(bytes.Clone(chain), make([]byte, 2048-len(chain))...), tpm2.TPMANV{OwnerRead: true})
		p.checkProvider(t, Options{AK: Provider}, 2)
	})
}

func TestProviderRSA(t *testing.T) {
	p := newProvider(t, startTPM(t))
	leaf := p.certify(t, p.public(t, rsaTemplate()))
	p.write(t, templateRSA, tpm2.Marshal(rsaTemplate()))
	p.write(t, certificateRSA, append(leaf, p.intermediate.Raw...))
	p.checkProvider(t, Options{}, 2)
}

// TestProviderRefused: a provider's AK that is there but not as it must be is
// an error, also where a child could be made instead.
func TestProviderRefused(t *testing.T) {
	p := newProvider(t, startTPM(t))
	ecc := eccTemplate()
	leaf := p.certify(t, p.public(t, ecc))
	good := tpm2.Marshal(ecc)
	for name, c := range map[string]struct{ template, certificate []byte }{
		"certificate for another key": {good, p.certify(t, newKey(t).Public())},
		"certificate of another kind": {good, p.certify(t, p.public(t, rsaTemplate()))},
		"surplus":                     {good, append(bytes.Clone(leaf), 0, 0, 1)},
		"second certificate broken":   {good, append(bytes.Clone(leaf), p.intermediate.Raw[:200]...)},
		"no certificate":              {good, make([]byte, 400)},
		"sequence, no certificate":    {good, []byte{0x30, 0x03, 0x02, 0x01, 0x00}},
		"zeros before":                {good, append([]byte{0}, leaf...)},
		"other key's template":        {tpm2.Marshal(childTemplate()), leaf},
		"template cut short":          {good[:len(good)-1], leaf},
		"template with a surplus":     {append(bytes.Clone(good), 1), leaf},
		"template of zeros":           {make([]byte, 100), leaf},
	} {
		t.Run(name, func(t *testing.T) {
			p.write(t, templateECC, c.template)
			p.write(t, certificateECC, c.certificate)
			for _, ak := range []AK{Auto, Provider} {
				if d, err := OpenTransport(t.Context(), p.rw, Options{AK: ak}); !errors.Is(err, ErrDevice) || d != nil {
					t.Errorf("OpenTransport = %v, %v, want ErrDevice", d, err)
				}
			}
		})
	}
	refuseTemplates(t, p)
	t.Run("unreadable", func(t *testing.T) {
		p.write(t, templateECC, good)
		p.writeAs(t, certificateECC, leaf, tpm2.TPMANV{PPRead: true})
		if d, err := OpenTransport(t.Context(), p.rw, Options{}); !errors.Is(err, ErrDevice) || d != nil {
			t.Errorf("OpenTransport = %v, %v, want ErrDevice", d, err)
		}
	})
	t.Run("certificate without a template", func(t *testing.T) {
		p.write(t, certificateECC, leaf)
		p.define(t, templateECC, 100, tpm2.TPMANV{AuthRead: true})
		if d, err := OpenTransport(t.Context(), p.rw, Options{}); !errors.Is(err, ErrDevice) || d != nil {
			t.Errorf("OpenTransport = %v, %v, want ErrDevice", d, err)
		}
	})
	t.Run("never written is absent", func(t *testing.T) {
		p.define(t, certificateECC, 100, tpm2.TPMANV{AuthRead: true})
		if d, err := OpenTransport(t.Context(), p.rw, Options{AK: Provider}); !errors.Is(err, ErrAbsent) || d != nil {
			t.Errorf("OpenTransport = %v, %v, want ErrAbsent", d, err)
		}
		d, err := OpenTransport(t.Context(), p.rw, Options{})
		if err != nil {
			t.Fatal(err)
		}
		checkHandles(t, d)
		_ = d.Close()
	})
}

// refuseTemplates leaves templates whose key the provider has certified, and
// that are nevertheless not an AK's.
func refuseTemplates(t *testing.T, p *provider) {
	for name, edit := range map[string]func(k *tpm2.TPMTPublic){
		"unrestricted": func(k *tpm2.TPMTPublic) { k.ObjectAttributes.Restricted = false },
		"duplicable": func(k *tpm2.TPMTPublic) {
			k.ObjectAttributes.FixedTPM, k.ObjectAttributes.FixedParent = false, false
		},
		"with a policy":   func(k *tpm2.TPMTPublic) { k.ObjectAttributes.UserWithAuth = false },
		"storage key":     func(k *tpm2.TPMTPublic) { *k = storageTemplate() },
		"with SHA-1 Name": func(k *tpm2.TPMTPublic) { k.NameAlg = tpm2.TPMAlgSHA1 },
	} {
		t.Run("template "+name, func(t *testing.T) {
			template := eccTemplate()
			edit(&template)
			k, err := p.make(t, template)
			if err != nil {
				t.Logf("the TPM refuses to make it: %v", err)
				k = newKey(t).Public()
			}
			p.write(t, templateECC, tpm2.Marshal(template))
			p.write(t, certificateECC, p.certify(t, k))
			if d, err := OpenTransport(t.Context(), p.rw, Options{}); !errors.Is(err, ErrDevice) || d != nil {
				t.Errorf("OpenTransport = %v, %v, want ErrDevice", d, err)
			}
		})
	}
}

// TestReplayedQuote: a TPM that answers with a genuine quote over another
// statement, or a quote with one bit changed, is found out before the evidence
// leaves.
func TestReplayedQuote(t *testing.T) {
	p := newProvider(t, startTPM(t))
	leaf := p.certify(t, p.public(t, eccTemplate()))
	p.write(t, templateECC, tpm2.Marshal(eccTemplate()))
	p.write(t, certificateECC, leaf)
	for _, ak := range []AK{Provider, Child} {
		var last, replay []byte
		d, err := OpenTransport(t.Context(), sendFunc(func(command []byte) ([]byte, error) {
			if code(command) == tpm2.TPMCCQuote && replay != nil {
				return replay, nil
			}
			rsp, err := p.rw.Send(command)
			if code(command) == tpm2.TPMCCQuote {
				last = bytes.Clone(rsp)
			}
			return rsp, err
		}), Options{AK: ak})
		if err != nil {
			t.Fatal(err)
		}
		st := statement(t, d)
		other := *st
		other.Time++
		if _, err := d.Attest(t.Context(), 0, st); err != nil {
			t.Fatal(err)
		}
		replay = last
		if ak == Provider { // A child's session refuses what was said in another.
			if _, err := d.Attest(t.Context(), 0, st); err != nil {
				t.Fatalf("the same statement: %v", err)
			}
		}
		if ev, err := d.Attest(t.Context(), 0, &other); !errors.Is(err, ErrDevice) || ev != nil {
			t.Errorf("replayed, AK %d: Attest = %v, %v, want ErrDevice", ak, ev, err)
		}
		for _, i := range []int{14, 20, 60, 100, len(last) - 20} {
			replay = bytes.Clone(last)
			replay[i] ^= 1
			if ev, err := d.Attest(t.Context(), 0, st); !errors.Is(err, ErrDevice) || ev != nil {
				t.Errorf("byte %d changed, AK %d: Attest = %v, %v, want ErrDevice", i, ak, ev, err)
			}
		}
		replay = nil
		_ = d.Close()
	}
}

// FuzzSplitCertificates: what is accepted are certificates that, put together
// and filled up with zeros, are the input again.
func FuzzSplitCertificates(f *testing.F) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, k.Public(), k)
	if err != nil {
		f.Fatal(err)
	}
	if _, err := splitCertificates(der); err != nil {
		f.Fatalf("a certificate is refused: %v", err)
	}
	f.Add(der)
	f.Add(append(bytes.Clone(der), der...))
	f.Add(append(bytes.Clone(der), 0, 0, 0))
	f.Add(append(bytes.Clone(der), 1))
	f.Add(bytes.Repeat(der, maxCertificates+1))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		certificates, err := splitCertificates(b)
		if (err == nil) == (certificates == nil) || err != nil && !errors.Is(err, ErrDevice) {
			t.Fatalf("%d certificates and error %v", len(certificates), err)
		}
		if err != nil {
			return
		}
		rest, ok := bytes.CutPrefix(b, bytes.Join(certificates, nil))
		if !ok || !isZero(rest) || len(certificates) > maxCertificates {
			t.Fatalf("%d certificates are not what was read", len(certificates))
		}
		for _, c := range certificates {
			if _, err := x509.ParseCertificate(c); err != nil || len(c) > maxCertificate {
				t.Fatalf("certificate of %d bytes: %v", len(c), err)
			}
		}
	})
}
