package tpmdev

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
)

// maxPrivate bounds TPM2B_PRIVATE in bytes; that of an ECC P-256 key has some
// 130.
const maxPrivate = 1024

// Enrolled is an attestation key that a CA has certified, and that only the TPM
// which made it can load. Auth is secret: whoever has it and reaches that TPM
// can quote.
type Enrolled struct {
	// Public is its TPMT_PUBLIC, Private its TPM2B_PRIVATE without the size field
	// (encrypted by the TPM, Part 1, 22.3).
	Public, Private []byte
	// Auth is its authorization value, 32 bytes.
	Auth []byte
	// Parent is the Name of the storage key above it: 2 bytes of algorithm and a
	// digest.
	Parent []byte
	// Certificates are its certificate and the issuers', in DER, 1 to 6.
	Certificates [][]byte
}

// Request is what a TPM shows of itself to be enrolled.
type Request struct {
	// EKCertificates are the endorsement key's certificate and those of its
	// issuers that are known, in DER.
	EKCertificates [][]byte
	// EKPublic and AKPublic are the TPMT_PUBLIC of the endorsement key and of the
	// attestation key.
	EKPublic, AKPublic []byte
	// AKParent is the Name of the storage key above the attestation key.
	AKParent []byte
}

// Credential is a secret encrypted for one EK and one AK's Name
// (TPM2_MakeCredential, Part 3, 12.6), both parts without their size fields.
type Credential struct {
	// Blob is the TPMS_ID_OBJECT, Secret the TPM2B_ENCRYPTED_SECRET.
	Blob, Secret []byte
}

// Enroller is the party that certifies attestation keys.
type Enroller interface {
	// Challenge answers a request with a credential, or refuses.
	Challenge(ctx context.Context, r *Request) (*Credential, error)
	// Certify takes the secret that was in the credential and returns the AK's
	// certificate and its issuers', in DER.
	Certify(ctx context.Context, secret []byte) ([][]byte, error)
}

// Enroll makes an attestation key in the TPM at addr and has it certified: the
// enroller encrypts a secret for the TPM's certified endorsement key and the new
// key's Name, and the TPM gives it away only if it holds both
// (TPM2_ActivateCredential, Part 3, 12.5). issuers are certificates above the
// EK's in DER, for makers that do not keep them in NV memory; they may be none.
//
// The error wraps one of this package's sentinels, ErrAbsent if the TPM has no
// EK certificate, or is the enroller's or the context's. Nothing stays loaded.
func Enroll(ctx context.Context, addr string, opts Options, issuers [][]byte, e Enroller) (*Enrolled, error) {
	s, err := opts.check()
	if err != nil {
		return nil, fmt.Errorf("opening TPM %q: %w", addr, err)
	}
	c, err := dial(ctx, addr, s.timeout)
	if err != nil {
		return nil, err
	}
	t := &TPM{settings: s, send: c.exchange, hangup: c.Close, alone: c.alone}
	return t.enroll(ctx, issuers, e)
}

// EnrollTransport is [Enroll] for a TPM that the caller has connected.
func EnrollTransport(ctx context.Context, rw transport.TPM, opts Options, issuers [][]byte, e Enroller) (*Enrolled, error) {
	s, err := opts.check()
	if err != nil || rw == nil {
		return nil, fmt.Errorf("opening a TPM: %w", errors.Join(err, ErrUsage))
	}
	t := &TPM{settings: s, send: func(command []byte, _ time.Duration) ([]byte, error) { return rw.Send(command) }}
	return t.enroll(ctx, issuers, e)
}

// enroll runs the enrolment and closes t.
func (t *TPM) enroll(ctx context.Context, issuers [][]byte, e Enroller) (out *Enrolled, err error) {
	defer func() {
		if closing := t.Close(); closing != nil && err == nil {
			out, err = nil, closing
		}
	}()
	if e == nil {
		return nil, fmt.Errorf("enrolling with nobody: %w", ErrUsage)
	}
	l := t.on(ctx)
	if t.alone {
		if err := l.clearLeftovers(); err != nil {
			return nil, fail("clearing what a dead client left", err)
		}
	}
	parent, err := l.createStorage()
	if err != nil {
		return nil, fail("creating the storage key", err)
	}
	k, private, err := l.childAK(parent)
	if flushing := l.flush(parent.handle); flushing != nil && err == nil {
		err = errors.Join(flushing, l.flush(k.handle))
	}
	if err != nil {
		return nil, err
	}
	t.ak = k // Close flushes it.
	ek, err := l.findEK()
	if err != nil {
		return nil, err
	}
	defer func() {
		if releasing := ek.release(l); releasing != nil && err == nil {
			out, err = nil, releasing
		}
	}()
	certificates, err := l.certified(ctx, ek, k, issuers, e)
	if err != nil {
		return nil, err
	}
	return &Enrolled{
		Public: k.public, Private: private, Auth: bytes.Clone(k.auth), Parent: k.parent, Certificates: certificates,
	}, nil
}

// certified has k certified by e.
func (l *link) certified(ctx context.Context, ek *endorsement, k *key, issuers [][]byte, e Enroller) ([][]byte, error) {
	cred, err := e.Challenge(ctx, &Request{
		EKCertificates: append(slices.Clone(ek.certificates), issuers...),
		EKPublic:       ek.public.Bytes(), AKPublic: k.public, AKParent: k.parent,
	})
	if err != nil {
		return nil, fmt.Errorf("asking for a credential: %w", err)
	}
	secret, err := l.activate(ek, k, cred)
	if err != nil {
		return nil, err
	}
	certificates, err := e.Certify(ctx, secret)
	if err != nil {
		return nil, fmt.Errorf("asking for a certificate: %w", err)
	}
	if err := checkCertified(k.public, certificates); err != nil {
		return nil, fmt.Errorf("the enrolling party's answer: %w", err)
	}
	return certificates, nil
}

// activate lets the TPM decrypt the credential.
func (l *link) activate(ek *endorsement, k *key, cred *Credential) ([]byte, error) {
	if cred == nil {
		return nil, fmt.Errorf("no credential: %w", ErrUsage)
	}
	rsp, err := tpm2.ActivateCredential{
		ActivateHandle: tpm2.AuthHandle{Handle: k.handle, Name: k.name, Auth: k.session()},
		KeyHandle:      tpm2.AuthHandle{Handle: ek.handle, Name: ek.name, Auth: ek.session()},
		CredentialBlob: tpm2.TPM2BIDObject{Buffer: cred.Blob},
		Secret:         tpm2.TPM2BEncryptedSecret{Buffer: cred.Secret},
	}.Execute(l)
	if err != nil {
		return nil, fail("activating the credential", err)
	}
	return rsp.CertInfo.Buffer, nil
}

// checkCertified refuses certificates that are not of this key and its issuers.
func checkCertified(public []byte, certificates [][]byte) error {
	if len(certificates) == 0 || len(certificates) > maxCertificates {
		return fmt.Errorf("%d certificates, want 1 to %d: %w", len(certificates), maxCertificates, ErrEnrolled)
	}
	for i, der := range certificates {
		if len(der) > maxCertificate {
			return fmt.Errorf("certificate %d of %d bytes, limit %d: %w", i, len(der), maxCertificate, ErrEnrolled)
		}
		if _, err := x509.ParseCertificate(der); err != nil {
			return fmt.Errorf("parsing certificate %d: %w: %w", i, ErrEnrolled, err)
		}
	}
	area := tpm2.BytesAs2B[tpm2.TPMTPublic](public)
	if err := compareKey(&area, certificates[0]); err != nil {
		return fmt.Errorf("%w: %w", ErrEnrolled, err)
	}
	return nil
}

// storedAK loads an enrolled AK. That of another TPM, or of this one before its
// endorsement seed changed, has another parent.
func (l *link) storedAK(parent *storage, e *Enrolled, now time.Time) (*key, error) {
	if len(e.Private) == 0 || len(e.Private) > maxPrivate || len(e.Auth) != authSize || bytes.IndexByte(e.Auth, 0) >= 0 {
		return nil, fmt.Errorf("private area of %d bytes, authorization value of %d: %w", len(e.Private), len(e.Auth), ErrEnrolled)
	}
	if !bytes.Equal(e.Parent, parent.name.Buffer) {
		return nil, fmt.Errorf("it was enrolled in another TPM, or before this one was given a new endorsement seed: %w", ErrEnrolled)
	}
	if err := checkCertified(e.Public, e.Certificates); err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(e.Certificates[0])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEnrolled, err)
	}
	if now.After(leaf.NotAfter) {
		return nil, fmt.Errorf("its certificate expired at %s: %w", leaf.NotAfter.UTC().Format(time.RFC3339), ErrEnrolled)
	}
	k := &key{parent: parent.name.Buffer, auth: bytes.Clone(e.Auth), certificates: e.Certificates}
	err = l.load(k, parent, tpm2.TPM2BPrivate{Buffer: e.Private}, tpm2.BytesAs2B[tpm2.TPMTPublic](e.Public))
	var rc tpm2.TPMRC
	if errors.As(err, &rc) && !rc.IsWarning() {
		return nil, fmt.Errorf("the TPM refuses it: %w: %w", ErrEnrolled, err)
	}
	if err != nil {
		return nil, fail("loading the enrolled AK", err)
	}
	return k, nil
}
