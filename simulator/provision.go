package simulator

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/sworn-run/sworn/attest"
)

// Provision does to a simulated TPM what a maker does before it ships one, and
// a cloud before it starts a machine with it. It makes the TPM's EK (TCG
// template L-2: ECC P-256) and certifies it, leaving the certificate in NV
// 0x01c0000a; makes an AK under the endorsement hierarchy (ECC P-256,
// restricted, signing with ECDSA and SHA-256, empty authorization); certifies
// it once TPM2_ActivateCredential has proved that it lives in the TPM of that
// EK; and leaves its template (TPMT_PUBLIC) in NV 0x01c10003 and its
// certificate, followed by the issuer's, both DER, in NV 0x01c10002. These
// indices can be read with the empty authorization; only that of the platform,
// which must be empty now, can remove them.
//
// A TPM that this maker has provisioned is left as it is. What another
// simulator left is replaced; what anybody else left is not, nor does a real
// TPM give access to its platform hierarchy.
//
// The error wraps [attest.ErrArgument] for a zero maker or a nil t,
// [ErrActivation] if the AK could not be activated, else [ErrTPM], and the
// context's if that ended first. t must not be used by others
// at the same time.
func (m *Maker) Provision(ctx context.Context, t transport.TPM) error {
	if m == nil || m.root == nil || t == nil {
		return fmt.Errorf("provisioning without a maker or a TPM: %w", attest.ErrArgument)
	}
	p := &provisioning{maker: m, tpm: &contextTPM{ctx: ctx, tpm: t}, now: time.Now()}
	if err := p.run(); err != nil {
		return fmt.Errorf("provisioning a TPM: %w", err)
	}
	return nil
}

// contextTPM sends no command once its context has ended, except those that
// give a handle back to the TPM.
type contextTPM struct {
	ctx context.Context //nolint:containedctx // lives as long as one call of Provision
	tpm transport.TPM
}

// Send implements [transport.TPM].
func (c *contextTPM) Send(input []byte) ([]byte, error) {
	isFlush := len(input) >= 10 && tpm2.TPMCC(binary.BigEndian.Uint32(input[6:])) == tpm2.TPMCCFlushContext
	if err := c.ctx.Err(); err != nil && !isFlush {
		return nil, err
	}
	return c.tpm.Send(input)
}

// provisioning is one run of [Maker.Provision].
type provisioning struct {
	maker *Maker
	tpm   transport.TPM
	now   time.Time
}

// run does the steps in order.
func (p *provisioning) run() error {
	ek, err := createPrimary(p.tpm, &tpm2.ECCEKTemplate)
	if err != nil {
		return fmt.Errorf("making the EK: %w", err)
	}
	defer ek.flush(p.tpm)
	ekCertificate, err := p.certifyEK(ek)
	if err != nil {
		return fmt.Errorf("certifying the EK: %w", err)
	}
	template := akTemplate()
	ak, err := createPrimary(p.tpm, &template)
	if err != nil {
		return fmt.Errorf("making the AK: %w", err)
	}
	defer ak.flush(p.tpm)
	ready, err := p.ready(ekCertificate, ek, ak, &template)
	if ready || err != nil {
		return err
	}
	if err := p.maker.activate(p.tpm, ekCertificate, ek, ak); err != nil {
		return fmt.Errorf("activating the AK: %w", err)
	}
	if err := p.certifyAK(ak, &template); err != nil {
		return fmt.Errorf("certifying the AK: %w", err)
	}
	return nil
}

// certifyEK returns the certificate of the EK that the TPM holds, or a new one
// that it holds from now on. A certificate of this maker that is there is
// returned whatever key it is for: activation has the say.
func (p *provisioning) certifyEK(ek *object) (*x509.Certificate, error) {
	old, err := readNV(p.tpm, nvEKCertificate)
	if err != nil {
		return nil, err
	}
	held, err := certificatesIn(old)
	if err != nil {
		return nil, err
	}
	if len(held) == 1 && p.maker.ekCA.issued(held[0], oidKPEK()) {
		return held[0], nil
	}
	if err := mayReplace(held); err != nil {
		return nil, err
	}
	key, err := ek.key()
	if err != nil {
		return nil, err
	}
	template, err := ekTemplate(key)
	if err != nil {
		return nil, err
	}
	c, err := p.maker.ekCA.issue(template, key, p.now)
	if err != nil {
		return nil, err
	}
	return c, writeNV(p.tpm, nvEKCertificate, old, c.Raw)
}

// certifyAK certifies an AK that was activated, and leaves template and
// certificates in the TPM.
func (p *provisioning) certifyAK(ak *object, template *tpm2.TPMTPublic) error {
	oldTemplate, err := readNV(p.tpm, nvAKTemplate)
	if err != nil {
		return err
	}
	oldCertificate, err := readNV(p.tpm, nvAKCertificate)
	if err != nil {
		return err
	}
	held, err := certificatesIn(oldCertificate)
	if err != nil {
		return err
	}
	if err := mayReplace(held); err != nil {
		return err
	}
	key, err := ak.key()
	if err != nil {
		return err
	}
	profile, err := akCertificateTemplate(key)
	if err != nil {
		return err
	}
	c, err := p.maker.akIssuer.issue(profile, key, p.now)
	if err != nil {
		return err
	}
	// The certificates come last: as long as there are none, the rest counts
	// for nothing.
	if err := writeNV(p.tpm, nvAKTemplate, oldTemplate, tpm2.Marshal(template)); err != nil {
		return err
	}
	return writeNV(p.tpm, nvAKCertificate, oldCertificate, slices.Concat(c.Raw, p.maker.akIssuer.certificate.Raw))
}

// ready reports whether the TPM holds template and certificates of this very
// AK, issued by this maker, and the EK's certificate is this EK's.
func (p *provisioning) ready(ekCertificate *x509.Certificate, ek, ak *object, template *tpm2.TPMTPublic) (bool, error) {
	area, err := readNV(p.tpm, nvAKTemplate)
	if err != nil {
		return false, err
	}
	if !area.locked || !bytes.Equal(area.data, tpm2.Marshal(template)) {
		return false, nil
	}
	if area, err = readNV(p.tpm, nvAKCertificate); err != nil {
		return false, err
	}
	held, err := certificatesIn(area)
	if err != nil {
		return false, err
	}
	ekKey, err := ek.key()
	if err != nil {
		return false, err
	}
	akKey, err := ak.key()
	if err != nil {
		return false, err
	}
	return len(held) == 2 && p.maker.akIssuer.issued(held[0], oidKPAK()) &&
		held[1].Equal(p.maker.akIssuer.certificate) &&
		akKey.Equal(held[0].PublicKey) && ekKey.Equal(ekCertificate.PublicKey), nil
}

// certificatesIn parses the certificates of an area that was written
// completely; one that was not holds none. The error wraps ErrTPM if it holds
// something else: that is not ours to judge, nor to remove.
func certificatesIn(area *nvArea) ([]*x509.Certificate, error) {
	if !area.locked {
		return nil, nil
	}
	held, err := x509.ParseCertificates(area.data)
	if err != nil {
		return nil, fmt.Errorf("an NV index holds something else than certificates: %w: %w", ErrTPM, err)
	}
	return held, nil
}

// mayReplace refuses to replace certificates that no simulator issued.
func mayReplace(held []*x509.Certificate) error {
	for _, c := range held {
		if !isSimulated(c) {
			return fmt.Errorf("the TPM holds a certificate issued by %.160q, which is no simulator: %w", c.Issuer.String(), ErrTPM)
		}
	}
	return nil
}

// akTemplate returns the template of the AK (Part 2, 12.2.4): restricted, so
// that it signs nothing but what the TPM itself generated, and fixed in its
// TPM. It is a primary key, re-created whenever it is needed.
func akTemplate() tpm2.TPMTPublic {
	return tpm2.TPMTPublic{
		Type:    tpm2.TPMAlgECC,
		NameAlg: tpm2.TPMAlgSHA256,
		ObjectAttributes: tpm2.TPMAObject{
			FixedTPM: true, FixedParent: true, SensitiveDataOrigin: true,
			UserWithAuth: true, NoDA: true, Restricted: true, SignEncrypt: true,
		},
		Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, &tpm2.TPMSECCParms{
			Symmetric: tpm2.TPMTSymDefObject{Algorithm: tpm2.TPMAlgNull},
			Scheme: tpm2.TPMTECCScheme{
				Scheme:  tpm2.TPMAlgECDSA,
				Details: tpm2.NewTPMUAsymScheme(tpm2.TPMAlgECDSA, &tpm2.TPMSSigSchemeECDSA{HashAlg: tpm2.TPMAlgSHA256}),
			},
			CurveID: tpm2.TPMECCNistP256,
			KDF:     tpm2.TPMTKDFScheme{Scheme: tpm2.TPMAlgNull},
		}),
		Unique: tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{
			X: tpm2.TPM2BECCParameter{Buffer: make([]byte, 32)},
			Y: tpm2.TPM2BECCParameter{Buffer: make([]byte, 32)},
		}),
	}
}

// object is a key loaded into the TPM.
type object struct {
	handle tpm2.TPMHandle
	name   tpm2.TPM2BName
	public *tpm2.TPMTPublic
}

// createPrimary makes the key of a template in the endorsement hierarchy, with
// the empty authorization (Part 3, 24.1).
func createPrimary(t transport.TPM, template *tpm2.TPMTPublic) (*object, error) {
	rsp, err := tpm2.CreatePrimary{
		PrimaryHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHEndorsement, Auth: noAuth()},
		InPublic:      tpm2.New2B(*template),
	}.Execute(t)
	if err != nil {
		return nil, fmt.Errorf("TPM2_CreatePrimary: %w: %w", ErrTPM, err)
	}
	o := &object{handle: rsp.ObjectHandle, name: rsp.Name}
	if o.public, err = rsp.OutPublic.Contents(); err != nil {
		o.flush(t)
		return nil, fmt.Errorf("parsing the public area: %w: %w", ErrTPM, err)
	}
	return o, nil
}

// flush removes the key from the TPM's memory. If that fails, the memory is
// lost until the TPM restarts, and nothing else.
func (o *object) flush(t transport.TPM) {
	_, _ = tpm2.FlushContext{FlushHandle: o.handle}.Execute(t)
}

// handleWith returns the key's handle with a session that authorizes its use.
func (o *object) handleWith(s tpm2.Session) tpm2.AuthHandle {
	return tpm2.AuthHandle{Handle: o.handle, Name: o.name, Auth: s}
}

// key returns the public key, a point on P-256.
func (o *object) key() (*ecdsa.PublicKey, error) {
	point, err := o.public.Unique.ECC()
	if err != nil {
		return nil, fmt.Errorf("reading a public area: %w: %w", ErrTPM, err)
	}
	if len(point.X.Buffer) > 32 || len(point.Y.Buffer) > 32 {
		return nil, fmt.Errorf("a point of %d and %d bytes: %w", len(point.X.Buffer), len(point.Y.Buffer), ErrTPM)
	}
	b := make([]byte, 65)
	b[0] = 4
	copy(b[33-len(point.X.Buffer):], point.X.Buffer)
	copy(b[65-len(point.Y.Buffer):], point.Y.Buffer)
	k, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), b)
	if err != nil {
		return nil, fmt.Errorf("reading a public key: %w: %w", ErrTPM, err)
	}
	return k, nil
}
