package tpmdev

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/google/go-tpm/tpm2"

	"github.com/sworn-run/sworn/tpm"
)

// authSize is the size of a child AK's authorization value in bytes.
const authSize = 32

// nonceSize is the size of a session's nonces in bytes (Part 1, 19.6.3: at
// least 16).
const nonceSize = 16

// key is the loaded attestation key.
type key struct {
	handle tpm2.TPMHandle
	name   tpm2.TPM2BName
	// id is what the manifest says of the key.
	id [32]byte
	// public is its TPMT_PUBLIC.
	public []byte
	// parent is the Name of the storage key above a child; nil for a primary.
	parent []byte
	// auth authorizes a child's use; nil for a provider's key, whose
	// authorization value is empty.
	auth []byte
	// certificates are the provider's, in DER.
	certificates [][]byte
}

// session authorizes one use of the key: by an HMAC session, in which the
// authorization value does not cross the bus, or by the empty password.
func (k *key) session() tpm2.Session {
	if k.auth == nil {
		return tpm2.PasswordAuth(nil)
	}
	return tpm2.HMAC(tpm2.TPMAlgSHA256, nonceSize, tpm2.Auth(k.auth))
}

// finish fills in what follows from the public area.
func (k *key) finish() error {
	id, err := tpm.KeyID(k.public)
	if err != nil {
		return fmt.Errorf("the AK is not one that can be verified: %w: %w", ErrDevice, err)
	}
	name, err := tpm.Name(k.public)
	if err != nil || !bytes.Equal(name, k.name.Buffer) {
		return fmt.Errorf("the AK's Name is not that of its public area: %w", ErrDevice)
	}
	k.id = id
	return nil
}

// openAK loads the AK and returns it with the TPM's identity, the digest of
// the storage key's Name.
func (l *link) openAK(t *TPM) (k *key, identity [32]byte, err error) {
	storage, err := l.createStorage()
	if err != nil {
		return nil, identity, fail("creating the storage key", err)
	}
	defer func() {
		if e := l.flush(storage.handle); e != nil && err == nil {
			k, err = nil, errors.Join(e, l.flush(k.handle))
		}
	}()
	if t.azure != nil {
		k, err = l.paravisorAK(t.azure.named())
	} else {
		k, err = l.sourceAK(t.settings.ak, t.enrolled, storage)
	}
	if err != nil {
		return nil, identity, fail("opening the AK", err)
	}
	return k, sha256.Sum256(storage.name.Buffer), nil
}

// sourceAK loads the AK from where it is to come.
func (l *link) sourceAK(source AK, stored *Enrolled, parent *storage) (*key, error) {
	if source == Stored || source == Auto && stored != nil {
		if stored == nil {
			return nil, fmt.Errorf("no enrolled AK: %w", ErrAbsent)
		}
		return l.storedAK(parent, stored, time.Now())
	}
	if source != Child {
		k, err := l.providerAK()
		switch {
		case source == Provider && errors.Is(err, errNoProvider):
			return nil, fmt.Errorf("no provider's AK in NV memory: %w", ErrAbsent)
		case !errors.Is(err, errNoProvider):
			return k, err
		}
	}
	k, _, err := l.childAK(parent)
	return k, err
}

// storage is the loaded storage key.
type storage struct {
	handle tpm2.TPMHandle
	name   tpm2.TPM2BName
	public tpm2.TPMTPublic
}

// storageTemplate is the storage key under which child AKs are made: ECC P-256
// with AES-128 (TCG TPM v2.0 Provisioning Guidance 1.0, 7.5.1), so that each
// TPM has one and the same until its endorsement seed changes.
func storageTemplate() tpm2.TPMTPublic {
	return tpm2.TPMTPublic{
		Type:    tpm2.TPMAlgECC,
		NameAlg: tpm2.TPMAlgSHA256,
		ObjectAttributes: tpm2.TPMAObject{
			FixedTPM: true, FixedParent: true, SensitiveDataOrigin: true,
			UserWithAuth: true, NoDA: true, Restricted: true, Decrypt: true,
		},
		Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, &tpm2.TPMSECCParms{
			Symmetric: tpm2.TPMTSymDefObject{
				Algorithm: tpm2.TPMAlgAES,
				KeyBits:   tpm2.NewTPMUSymKeyBits(tpm2.TPMAlgAES, tpm2.TPMKeyBits(128)),
				Mode:      tpm2.NewTPMUSymMode(tpm2.TPMAlgAES, tpm2.TPMAlgCFB),
			},
			CurveID: tpm2.TPMECCNistP256,
		}),
		Unique: tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{
			X: tpm2.TPM2BECCParameter{Buffer: make([]byte, 32)},
			Y: tpm2.TPM2BECCParameter{Buffer: make([]byte, 32)},
		}),
	}
}

// childTemplate is the child AK: a restricted ECDSA key on P-256 that cannot
// leave its TPM. It is not subject to dictionary attack protection, which a
// random value of 32 bytes does not need, and which others could lock.
func childTemplate() tpm2.TPMTPublic {
	return tpm2.TPMTPublic{
		Type:    tpm2.TPMAlgECC,
		NameAlg: tpm2.TPMAlgSHA256,
		ObjectAttributes: tpm2.TPMAObject{
			FixedTPM: true, FixedParent: true, SensitiveDataOrigin: true,
			UserWithAuth: true, NoDA: true, Restricted: true, SignEncrypt: true,
		},
		Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, &tpm2.TPMSECCParms{
			Scheme: tpm2.TPMTECCScheme{
				Scheme:  tpm2.TPMAlgECDSA,
				Details: tpm2.NewTPMUAsymScheme(tpm2.TPMAlgECDSA, &tpm2.TPMSSigSchemeECDSA{HashAlg: tpm2.TPMAlgSHA256}),
			},
			CurveID: tpm2.TPMECCNistP256,
		}),
	}
}

// createPrimary creates a primary key of the endorsement hierarchy (Part 3,
// 24.1), whose authorization value must be empty. Under it alone do quotes
// carry the counters in clear (Part 2, 10.12.12).
func (l *link) createPrimary(template tpm2.TPM2BPublic) (*tpm2.CreatePrimaryResponse, error) {
	return tpm2.CreatePrimary{
		PrimaryHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHEndorsement, Auth: tpm2.PasswordAuth(nil)},
		InPublic:      template,
	}.Execute(l)
}

// createStorage creates the storage key.
func (l *link) createStorage() (*storage, error) {
	rsp, err := l.createPrimary(tpm2.New2B(storageTemplate()))
	if err != nil {
		return nil, err
	}
	public, err := rsp.OutPublic.Contents()
	sum := sha256.Sum256(rsp.OutPublic.Bytes())
	if err != nil || !bytes.Equal(rsp.Name.Buffer, append([]byte{0x00, 0x0B}, sum[:]...)) {
		return nil, errors.Join(
			fmt.Errorf("the storage key's Name is not that of its public area: %w", ErrDevice),
			l.flush(rsp.ObjectHandle))
	}
	return &storage{handle: rsp.ObjectHandle, name: rsp.Name, public: *public}, nil
}

// childAK creates and loads an AK under the storage key, and returns its
// TPM2B_PRIVATE without the size field. Its authorization value goes into the
// TPM encrypted, in a session salted with the storage key.
func (l *link) childAK(parent *storage) (*key, []byte, error) {
	k := &key{parent: parent.name.Buffer, auth: newAuth()}
	created, err := tpm2.Create{
		ParentHandle: tpm2.AuthHandle{
			Handle: parent.handle,
			Name:   parent.name,
			Auth: tpm2.HMAC(tpm2.TPMAlgSHA256, nonceSize,
				tpm2.AESEncryption(128, tpm2.EncryptIn), tpm2.Salted(parent.handle, parent.public)),
		},
		InSensitive: tpm2.TPM2BSensitiveCreate{Sensitive: &tpm2.TPMSSensitiveCreate{
			UserAuth: tpm2.TPM2BAuth{Buffer: k.auth},
		}},
		InPublic: tpm2.New2B(childTemplate()),
	}.Execute(l)
	if err != nil {
		return nil, nil, fail("creating a child AK", err)
	}
	if err := l.load(k, parent, created.OutPrivate, created.OutPublic); err != nil {
		return nil, nil, fail("loading a child AK", err)
	}
	return k, created.OutPrivate.Buffer, nil
}

// load loads a child of the storage key and fills k in; on error nothing is
// left loaded.
func (l *link) load(k *key, parent *storage, private tpm2.TPM2BPrivate, public tpm2.TPM2BPublic) error {
	loaded, err := tpm2.Load{
		ParentHandle: tpm2.AuthHandle{Handle: parent.handle, Name: parent.name, Auth: tpm2.PasswordAuth(nil)},
		InPrivate:    private,
		InPublic:     public,
	}.Execute(l)
	if err != nil {
		return err
	}
	k.handle, k.name, k.public = loaded.ObjectHandle, loaded.Name, public.Bytes()
	if err := k.finish(); err != nil {
		return errors.Join(err, l.flush(k.handle))
	}
	return nil
}

// newAuth returns a random authorization value without a zero byte: trailing
// zeros are not part of a value (Part 1, 19.6.5), and go-tpm v0.9.8 cuts an
// HMAC key at the first zero, wherever it is.
func newAuth() []byte {
	auth := make([]byte, authSize)
	for i := range auth {
		for auth[i] == 0 {
			rand.Read(auth[i : i+1])
		}
	}
	return auth
}

// errNoProvider: no certificate of a provider's AK is in NV memory.
var errNoProvider = errors.New("no provider's AK")

// providerAK loads the provider's AK; the error is errNoProvider if there is
// none, and another if there is one that is not as it must be.
func (l *link) providerAK() (*key, error) {
	for _, at := range []struct{ template, certificate uint32 }{
		{0x01c10003, 0x01c10002}, // ECC
		{0x01c10001, 0x01c10000}, // RSA
	} {
		der, err := l.readNV(at.certificate)
		if errors.Is(err, errNoIndex) {
			continue
		}
		if err != nil {
			return nil, fail(fmt.Sprintf("reading the AK's certificate, NV 0x%08x", at.certificate), err)
		}
		template, err := l.readNV(at.template)
		if err != nil {
			return nil, fmt.Errorf("reading the AK's template, NV 0x%08x: %w: %w", at.template, ErrDevice, err)
		}
		return l.loadProvider(der, template)
	}
	der, err := l.readNV(azureCertificate)
	if errors.Is(err, errNoIndex) {
		return nil, errNoProvider
	}
	if err != nil {
		return nil, fail(fmt.Sprintf("reading the AK's certificate, NV 0x%08x", azureCertificate), err)
	}
	return l.persistentAK(azureAK, der)
}

// Where Azure's virtual TPMs keep their AK: the key itself at a persistent handle, a
// primary key of the endorsement hierarchy with an empty authorization value, and its
// certificate in NV memory, without its issuers.
const (
	azureAK          tpm2.TPMHandle = 0x81000003
	azureCertificate uint32         = 0x01c101d0
	// persistent is the type of handles of persistent objects (Part 2, 7.2).
	persistent = 0x81
)

// persistentAK finds the AK at a persistent handle and compares it with its
// certificate.
func (l *link) persistentAK(handle tpm2.TPMHandle, nv []byte) (*key, error) {
	certificates, err := splitCertificates(nv)
	if err != nil {
		return nil, err
	}
	k, public, err := l.readAK(handle)
	if err != nil {
		return nil, err
	}
	if err := compareKey(public, certificates[0]); err != nil {
		return nil, err
	}
	k.certificates = certificates
	return k, nil
}

// readAK finds a key at a persistent handle that can be an AK.
func (l *link) readAK(handle tpm2.TPMHandle) (*key, *tpm2.TPM2BPublic, error) {
	rsp, err := tpm2.ReadPublic{ObjectHandle: handle}.Execute(l)
	if errors.Is(err, tpm2.TPMRCHandle) {
		return nil, nil, fmt.Errorf("NV memory tells of an AK, and no key is at handle 0x%08x: %w", uint32(handle), ErrDevice)
	}
	if err != nil {
		return nil, nil, fail(fmt.Sprintf("reading the AK at handle 0x%08x", uint32(handle)), err)
	}
	public := rsp.OutPublic.Bytes()
	if _, err := parseTemplate(public); err != nil {
		return nil, nil, err
	}
	k := &key{handle: handle, name: rsp.Name, public: public}
	if err := k.finish(); err != nil {
		return nil, nil, err
	}
	return k, &rsp.OutPublic, nil
}

// loadProvider creates the AK from its template and compares it with its
// certificate.
func (l *link) loadProvider(der, nv []byte) (*key, error) {
	certificates, err := splitCertificates(der)
	if err != nil {
		return nil, err
	}
	template, err := parseTemplate(nv)
	if err != nil {
		return nil, err
	}
	rsp, err := l.createPrimary(tpm2.BytesAs2B[tpm2.TPMTPublic](template))
	if err != nil {
		return nil, fail("creating the provider's AK", err)
	}
	k := &key{
		handle:       rsp.ObjectHandle,
		name:         rsp.Name,
		public:       rsp.OutPublic.Bytes(),
		certificates: certificates,
	}
	err = k.finish()
	if err == nil {
		err = compareKey(&rsp.OutPublic, certificates[0])
	}
	if err != nil {
		return nil, errors.Join(err, l.flush(k.handle))
	}
	return k, nil
}

// parseTemplate returns the TPMT_PUBLIC that NV memory holds, without the
// zeros that fill the index up. It refuses a template that no verifier would
// accept, before anything is run for it, and one that needs more than the
// empty password.
func parseTemplate(nv []byte) ([]byte, error) {
	public, err := tpm2.Unmarshal[tpm2.TPMTPublic](nv)
	if err != nil {
		return nil, fmt.Errorf("parsing the AK's template: %w: %w", ErrDevice, err)
	}
	template := tpm2.Marshal(*public)
	if rest, ok := bytes.CutPrefix(nv, template); !ok || !isZero(rest) {
		return nil, fmt.Errorf("the AK's template is not exactly a public area: %w", ErrDevice)
	}
	a := &public.ObjectAttributes
	if !a.Restricted || !a.SignEncrypt || a.Decrypt || !a.FixedTPM || !a.FixedParent || !a.SensitiveDataOrigin {
		return nil, fmt.Errorf("the AK's template is not that of a restricted signing key fixed in its TPM: %w", ErrDevice)
	}
	if !a.UserWithAuth {
		return nil, fmt.Errorf("the AK's template wants a policy: %w", ErrDevice)
	}
	return template, nil
}

// publicKey returns the key of a public area.
func publicKey(public *tpm2.TPM2BPublic) (crypto.PublicKey, error) {
	p, err := public.Contents()
	if err != nil {
		return nil, fail("parsing a public area", err)
	}
	k, err := tpm2.Pub(*p)
	if err != nil {
		return nil, fail("parsing a public area", err)
	}
	return k, nil
}

// compareKey refuses a certificate of another key.
func compareKey(public *tpm2.TPM2BPublic, der []byte) error {
	k, err := publicKey(public)
	if err != nil {
		return err
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return fail("parsing a certificate", err)
	}
	if e, ok := k.(interface{ Equal(crypto.PublicKey) bool }); !ok || !e.Equal(c.PublicKey) {
		return fmt.Errorf("the certificate is for another key: %w", ErrDevice)
	}
	return nil
}
