package tpmdev

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
)

// endorsement is the loaded endorsement key.
type endorsement struct {
	handle tpm2.TPMHandle
	name   tpm2.TPM2BName
	public tpm2.TPM2BPublic
	// transient keys are flushed after use.
	transient bool
	// userWithAuth: the empty password authorizes its use, else the policy of
	// the endorsement hierarchy (EK Credential Profile 2.6, annex B).
	userWithAuth bool
	certificates [][]byte
}

// ekPlace is where one kind of endorsement key is found (EK Credential Profile
// 2.6, 2.2.1.4 and 2.2.1.5; persistent handles: TCG Provisioning Guidance 1.0,
// 7.8).
type ekPlace struct {
	// certificate is its NV index.
	certificate uint32
	// handle is where it may be persistent.
	handle uint32
	// template makes it where it is not; nil if only the handle will do.
	template *tpm2.TPMTPublic
}

// ekPlaces returns the places in the order in which they are tried: elliptic
// curves first, whose credentials are short and fast.
func ekPlaces() []ekPlace {
	return []ekPlace{
		{0x01c0000a, 0x81010002, &tpm2.ECCEKTemplate},
		{0x01c00014, 0x81010014, nil}, // P-256, high range
		{0x01c00016, 0x81010016, nil}, // P-384
		{0x01c00002, 0x81010001, &tpm2.RSAEKTemplate},
		{0x01c00012, 0x81010012, nil}, // RSA 2048, high range
		{0x01c0001c, 0x8101001c, nil}, // RSA 3072
		{0x01c0001e, 0x8101001e, nil}, // RSA 4096
	}
}

// findEK loads the first endorsement key whose certificate the TPM holds. The
// error wraps ErrAbsent if it holds none, else ErrDevice and says of each why
// it will not do.
func (l *link) findEK() (*endorsement, error) {
	var reasons []error
	for _, place := range ekPlaces() {
		nv, err := l.readNV(place.certificate)
		if errors.Is(err, errNoIndex) {
			continue
		}
		if err == nil {
			var ek *endorsement
			if ek, err = l.loadEK(&place, nv); err == nil {
				return ek, nil
			}
		}
		reasons = append(reasons, fail(fmt.Sprintf("the EK certificate in NV 0x%08x", place.certificate), err))
	}
	if len(reasons) == 0 {
		return nil, fmt.Errorf("no EK certificate in NV memory: %w", ErrAbsent)
	}
	return nil, errors.Join(reasons...)
}

// loadEK finds the key of a certificate.
func (l *link) loadEK(place *ekPlace, nv []byte) (*endorsement, error) {
	certificates, err := parseEK(nv)
	if err != nil {
		return nil, err
	}
	rsp, err := tpm2.ReadPublic{ObjectHandle: tpm2.TPMHandle(place.handle)}.Execute(l)
	if err == nil && compareKey(&rsp.OutPublic, certificates[0]) == nil {
		ek := &endorsement{handle: tpm2.TPMHandle(place.handle), name: rsp.Name, public: rsp.OutPublic, certificates: certificates}
		return ek, ek.finish()
	}
	if place.template == nil {
		return nil, fmt.Errorf("its key is not at handle 0x%08x: %w", place.handle, ErrDevice)
	}
	made, err := l.createPrimary(tpm2.New2B(*place.template))
	if err != nil {
		return nil, fail("creating the EK", err)
	}
	ek := &endorsement{handle: made.ObjectHandle, name: made.Name, public: made.OutPublic, transient: true, certificates: certificates}
	if err = compareKey(&made.OutPublic, certificates[0]); err == nil {
		err = ek.finish()
	}
	if err != nil {
		return nil, errors.Join(err, l.flush(made.ObjectHandle))
	}
	return ek, nil
}

// finish reads how the key is authorized.
func (e *endorsement) finish() error {
	public, err := e.public.Contents()
	if err != nil {
		return fail("parsing the EK's public area", err)
	}
	e.userWithAuth = public.ObjectAttributes.UserWithAuth
	return nil
}

// session authorizes one use of the EK, whose authorization value and that of
// the endorsement hierarchy are empty.
func (e *endorsement) session() tpm2.Session {
	if e.userWithAuth {
		return tpm2.PasswordAuth(nil)
	}
	return tpm2.Policy(tpm2.TPMAlgSHA256, nonceSize, func(t transport.TPM, handle tpm2.TPMISHPolicy, nonce tpm2.TPM2BNonce) error {
		_, err := tpm2.PolicySecret{
			AuthHandle:    tpm2.AuthHandle{Handle: tpm2.TPMRHEndorsement, Auth: tpm2.PasswordAuth(nil)},
			PolicySession: handle,
			NonceTPM:      nonce,
		}.Execute(t)
		return err
	})
}

// release flushes the key unless it is persistent.
func (e *endorsement) release(l *link) error {
	if !e.transient {
		return nil
	}
	return l.flush(e.handle)
}

// storedHeader begins a certificate in the older wrapping of PC Client TPMs:
// TCG_PCCLIENT_STORED_CERT, a full certificate, and 2 bytes of its size,
// big-endian.
var storedHeader = [3]byte{0x10, 0x01, 0x00}

// parseEK returns the certificates in an NV index: one or more in DER, maybe
// behind a storedHeader, and then zeros alone. The error wraps ErrDevice.
func parseEK(nv []byte) ([][]byte, error) {
	if bytes.HasPrefix(nv, storedHeader[:]) && len(nv) > len(storedHeader)+2 {
		size := int(binary.BigEndian.Uint16(nv[len(storedHeader):]))
		body := nv[len(storedHeader)+2:]
		if size > len(body) || !isZero(body[size:]) {
			return nil, fmt.Errorf("a header for %d bytes before %d: %w", size, len(body), ErrDevice)
		}
		nv = body[:size]
	}
	var der asn1.RawValue
	if _, err := asn1.Unmarshal(nv, &der); err == nil && len(der.FullBytes) <= maxCertificate {
		if _, err := x509.ParseCertificate(der.FullBytes); err != nil {
			return nil, fmt.Errorf("it is not strict DER, as on some firmware TPMs, and its maker has to issue another: %w: %w", ErrDevice, err)
		}
	}
	return splitCertificates(nv)
}
