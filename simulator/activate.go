package simulator

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/subtle"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
)

// secretSize is the size of the credential in bytes: the digest of the EK's
// nameAlg at most (Part 1, 24).
const secretSize = 32

// activate proves that the AK lives in the TPM that holds the private key of
// the EK's certificate: the maker encrypts a secret to the certified key and
// the AK's Name, and the TPM gives it away only if it holds both (Part 1, 24;
// Part 3, 12.5 and 12.6).
func (m *Maker) activate(t transport.TPM, ekCertificate *x509.Certificate, ek, ak *object) error {
	name, err := akName(ak.public)
	if err != nil {
		return err
	}
	secret := make([]byte, secretSize)
	// rand.Read never returns an error.
	_, _ = rand.Read(secret)
	blob, encrypted, err := m.makeCredential(ekCertificate, name, secret)
	if err != nil {
		return err
	}
	rsp, err := tpm2.ActivateCredential{
		ActivateHandle: ak.handleWith(noAuth()),
		KeyHandle:      ek.handleWith(tpm2.Policy(tpm2.TPMAlgSHA256, 16, ekPolicy)),
		CredentialBlob: tpm2.TPM2BIDObject{Buffer: blob},
		Secret:         tpm2.TPM2BEncryptedSecret{Buffer: encrypted},
	}.Execute(t)
	var rc tpm2.TPMRC
	switch {
	case errors.As(err, &rc) && !rc.IsWarning():
		return fmt.Errorf("TPM2_ActivateCredential: %w: %w", ErrActivation, err)
	case err != nil:
		return fmt.Errorf("TPM2_ActivateCredential: %w: %w", ErrTPM, err)
	case subtle.ConstantTimeCompare(rsp.CertInfo.Buffer, secret) != 1:
		return fmt.Errorf("the TPM returned another secret: %w", ErrActivation)
	}
	return nil
}

// makeCredential is the maker's side: the EK is the one of the certificate,
// which must be this maker's, and not what the TPM says it is.
func (m *Maker) makeCredential(ekCertificate *x509.Certificate, name *tpm2.TPM2BName, secret []byte) (blob, encrypted []byte, err error) {
	key, ok := ekCertificate.PublicKey.(*ecdsa.PublicKey)
	if !ok || !m.ekCA.issued(ekCertificate, oidKPEK()) {
		return nil, nil, fmt.Errorf("the EK is not certified by this maker: %w", ErrActivation)
	}
	point, err := key.Bytes()
	if err != nil || len(point) != 65 {
		return nil, nil, fmt.Errorf("the certified EK is not on P-256: %w", ErrActivation)
	}
	public := tpm2.ECCEKTemplate
	public.Unique = tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{
		X: tpm2.TPM2BECCParameter{Buffer: point[1:33]},
		Y: tpm2.TPM2BECCParameter{Buffer: point[33:]},
	})
	ek, err := tpm2.ImportEncapsulationKey(&public)
	if err != nil {
		return nil, nil, fmt.Errorf("using the certified EK: %w: %w", ErrActivation, err)
	}
	if blob, encrypted, err = tpm2.CreateCredential(rand.Reader, ek, name.Buffer, secret); err != nil {
		return nil, nil, fmt.Errorf("making a credential: %w: %w", ErrActivation, err)
	}
	return blob, encrypted, nil
}

// akName returns the Name of a public area that has the attributes and
// parameters of the AK's template: what the certificate will promise, the Name
// covers.
func akName(public *tpm2.TPMTPublic) (*tpm2.TPM2BName, error) {
	want := akTemplate()
	want.Unique = public.Unique
	if string(tpm2.Marshal(want)) != string(tpm2.Marshal(public)) {
		return nil, fmt.Errorf("the key is not of the kind that is certified: %w", ErrActivation)
	}
	name, err := tpm2.ObjectName(public)
	if err != nil {
		return nil, fmt.Errorf("computing the AK's Name: %w: %w", ErrActivation, err)
	}
	return name, nil
}

// ekPolicy satisfies the policy of the TCG's EK templates: knowledge of the
// endorsement hierarchy's authorization, which is empty (EK Credential
// Profile, annex B).
func ekPolicy(t transport.TPM, handle tpm2.TPMISHPolicy, nonce tpm2.TPM2BNonce) error {
	_, err := tpm2.PolicySecret{
		AuthHandle:    tpm2.AuthHandle{Handle: tpm2.TPMRHEndorsement, Auth: noAuth()},
		PolicySession: handle,
		NonceTPM:      nonce,
	}.Execute(t)
	return err
}
