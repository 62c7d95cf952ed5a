package tpmdev

import (
	"bytes"
	"crypto"
	"errors"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"github.com/sworn-run/sworn/attest"
)

// persist makes a primary key in a hierarchy and keeps it at the handle.
func (p *provider) persist(t *testing.T, hierarchy tpm2.TPMHandle, template tpm2.TPMTPublic) crypto.PublicKey {
	t.Helper()
	rsp, err := tpm2.CreatePrimary{
		PrimaryHandle: tpm2.AuthHandle{Handle: hierarchy, Auth: tpm2.PasswordAuth(nil)}, InPublic: tpm2.New2B(template),
	}.Execute(p.rw)
	if err != nil {
		t.Fatal(err)
	}
	owner := tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)}
	if old, err := (tpm2.ReadPublic{ObjectHandle: azureAK}).Execute(p.rw); err == nil {
		evict := tpm2.EvictControl{Auth: owner, ObjectHandle: &tpm2.NamedHandle{Handle: azureAK, Name: old.Name}, PersistentHandle: azureAK}
		if _, err := evict.Execute(p.rw); err != nil {
			t.Fatal(err)
		}
	}
	keep := tpm2.EvictControl{Auth: owner, ObjectHandle: &tpm2.NamedHandle{Handle: rsp.ObjectHandle, Name: rsp.Name}, PersistentHandle: azureAK}
	if _, err := keep.Execute(p.rw); err != nil {
		t.Fatal(err)
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
	return k
}

// TestProviderAzure: the key that Azure keeps at a persistent handle quotes, its
// certificate stands in NV memory before many zeros, and closing the TPM leaves the key
// where it was. Azure's key is of this template; package tpm tests that on real quotes.
func TestProviderAzure(t *testing.T) {
	p := newProvider(t, startTPM(t))
	leaf := p.certify(t, p.persist(t, tpm2.TPMRHEndorsement, rsaTemplate()))
	p.write(t, azureCertificate, append(bytes.Clone(leaf), make([]byte, 2048-len(leaf))...))
	for _, ak := range []AK{Auto, Provider, Auto} {
		p.checkProvider(t, Options{AK: ak}, 1)
	}
	if _, err := (tpm2.ReadPublic{ObjectHandle: azureAK}).Execute(p.rw); err != nil {
		t.Errorf("the key is gone: %v", err)
	}

	// What quotes must be certified, there, and of the hierarchy whose counters are
	// in the clear.
	p.write(t, azureCertificate, p.certify(t, newKey(t).Public()))
	if d, err := OpenTransport(t.Context(), p.rw, Options{}); !errors.Is(err, ErrDevice) {
		t.Errorf("a certificate of another key: %v, %v", d, err)
	}
	p.write(t, azureCertificate, p.certify(t, p.persist(t, tpm2.TPMRHOwner, rsaTemplate())))
	d, err := OpenTransport(t.Context(), p.rw, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	st := statement(t, d)
	if ev, err := d.Attest(t.Context(), 0, st); !errors.Is(err, attest.ErrMode) && !errors.Is(err, ErrDevice) {
		t.Errorf("a key of the owner's hierarchy: %v, %v", ev, err)
	}
}
