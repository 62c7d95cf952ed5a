// Package azure is a simulated paravisor of Azure's confidential VMs, so that what runs
// there runs on any machine with a software TPM.
//
// A [Paravisor] stands in front of a software TPM. It puts an attestation key where Azure
// has it, and answers for the NV index of the paravisor's report itself, which is larger
// than swtpm's largest; every other command goes through. The hardware's report in it is
// the caller's to make. [Metadata] is what the instance metadata service does on Azure.
//
// It proves nothing: everybody who may use the software TPM may take the paravisor's place.
package azure

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/hcl"
	"github.com/sworn-run/sworn/tpm/tpmdev"
)

// ErrTPM reports a software TPM that cannot be reached, does not do what it should, or
// holds another key where Azure has its attestation key.
var ErrTPM = errors.New("TPM failed")

// Where Azure's virtual TPM keeps the attestation key, and the user data that the guest
// wants in the report.
const (
	akHandle      tpm2.TPMHandle = 0x81000003
	userDataIndex uint32         = 0x01400002
	userDataSize                 = 64
)

// reportSize is the size of Azure's NV index of the report in bytes.
const reportSize = 2600

// Options say what is simulated. All fields are required.
type Options struct {
	// TPM is the address of the software TPM, as [tpmdev.Dial] takes it. It serves the
	// paravisor alone.
	TPM string
	// Addr is where the paravisor listens: "unix:PATH", or "tcp:HOST:PORT".
	Addr string
	// Hardware makes the hardware's report over 64 bytes of report data: an attestation
	// report of SEV-SNP, 1,184 bytes, or a TDREPORT, 1,024 bytes. It is called once at the
	// start and once each time that the guest writes user data.
	Hardware func(reportData [64]byte) ([]byte, error)
}

// Paravisor is a simulated paravisor that runs. Its methods are safe for concurrent use.
type Paravisor struct {
	options  Options
	listener net.Listener
	ak, ek   hcl.Key
	done     chan struct{}

	// mu guards what follows.
	mu     sync.Mutex
	report []byte
	client net.Conn
	closed bool
}

// Start starts a paravisor. The error wraps [ErrTPM], or [attest.ErrArgument] for options
// that are missing, an address that cannot be listened at, or a hardware's report that
// cannot be made.
func Start(ctx context.Context, o Options) (*Paravisor, error) {
	network, address, ok := strings.Cut(o.Addr, ":")
	if !ok || network != "unix" && network != "tcp" || o.TPM == "" || o.Hardware == nil {
		return nil, fmt.Errorf("starting a paravisor at %q without all options: %w", o.Addr, attest.ErrArgument)
	}
	p := &Paravisor{options: o, done: make(chan struct{})}
	dev, err := tpmdev.Dial(ctx, o.TPM)
	if err != nil {
		return nil, fmt.Errorf("starting a paravisor: %w: %w", ErrTPM, err)
	}
	err = p.provision(dev)
	if e := dev.Close(); err == nil {
		err = e
	}
	if err != nil {
		return nil, fmt.Errorf("starting a paravisor: %w: %w", ErrTPM, err)
	}
	if err := p.renew(make([]byte, userDataSize)); err != nil {
		return nil, fmt.Errorf("starting a paravisor: %w", err)
	}
	if p.listener, err = (&net.ListenConfig{}).Listen(ctx, network, address); err != nil {
		return nil, fmt.Errorf("starting a paravisor: %w: %w", attest.ErrArgument, err)
	}
	go p.serve()
	return p, nil
}

// Addr returns where the paravisor listens, as [tpmdev.Dial] takes it.
func (p *Paravisor) Addr() string {
	return p.listener.Addr().Network() + ":" + p.listener.Addr().String()
}

// Close ends the paravisor and its connections; the software TPM goes on. A second Close
// does nothing.
func (p *Paravisor) Close() error {
	p.mu.Lock()
	closed := p.closed
	p.closed = true
	if p.client != nil {
		_ = p.client.Close()
	}
	p.mu.Unlock()
	if closed {
		return nil
	}
	err := p.listener.Close()
	<-p.done
	return err
}

// Report returns the paravisor's report as it stands, 2,600 bytes.
func (p *Paravisor) Report() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.report
}

// provision makes the keys of the virtual TPM and leaves the AK at its handle.
func (p *Paravisor) provision(dev transport.TPM) error {
	ek, err := primary(dev, &tpm2.RSAEKTemplate)
	if err != nil {
		return fmt.Errorf("making the EK: %w", err)
	}
	if err := ek.flush(dev); err != nil {
		return err
	}
	template := akTemplate()
	ak, err := primary(dev, &template)
	if err != nil {
		return fmt.Errorf("making the AK: %w", err)
	}
	p.ak, p.ek = ak.key, ek.key
	old, err := tpm2.ReadPublic{ObjectHandle: akHandle}.Execute(dev)
	switch {
	case err == nil && string(old.Name.Buffer) == string(ak.name.Buffer):
		return ak.flush(dev)
	case err == nil:
		return errors.Join(fmt.Errorf("another key is at handle 0x%08x", uint32(akHandle)), ak.flush(dev))
	case !errors.Is(err, tpm2.TPMRCHandle):
		return errors.Join(err, ak.flush(dev))
	}
	_, err = tpm2.EvictControl{
		Auth:             tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)},
		ObjectHandle:     &tpm2.NamedHandle{Handle: ak.handle, Name: ak.name},
		PersistentHandle: akHandle,
	}.Execute(dev)
	return errors.Join(err, ak.flush(dev))
}

// object is a loaded primary key.
type object struct {
	handle tpm2.TPMHandle
	name   tpm2.TPM2BName
	key    hcl.Key
}

// primary makes an RSA key of the endorsement hierarchy.
func primary(dev transport.TPM, template *tpm2.TPMTPublic) (*object, error) {
	rsp, err := tpm2.CreatePrimary{
		PrimaryHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHEndorsement, Auth: tpm2.PasswordAuth(nil)},
		InPublic:      tpm2.New2B(*template),
	}.Execute(dev)
	if err != nil {
		return nil, err
	}
	o := &object{handle: rsp.ObjectHandle, name: rsp.Name}
	public, err := rsp.OutPublic.Contents()
	if err != nil {
		return nil, errors.Join(err, o.flush(dev))
	}
	n, err := public.Unique.RSA()
	if err != nil {
		return nil, errors.Join(err, o.flush(dev))
	}
	o.key = hcl.Key{Modulus: n.Buffer, Exponent: 65537}
	return o, nil
}

// flush unloads the key.
func (o *object) flush(dev transport.TPM) error {
	_, err := tpm2.FlushContext{FlushHandle: o.handle}.Execute(dev)
	return err
}

// akTemplate is Azure's AK: RSA 2048, restricted, signing with RSASSA and SHA-256.
func akTemplate() tpm2.TPMTPublic {
	return tpm2.TPMTPublic{
		Type:    tpm2.TPMAlgRSA,
		NameAlg: tpm2.TPMAlgSHA256,
		ObjectAttributes: tpm2.TPMAObject{
			FixedTPM: true, FixedParent: true, SensitiveDataOrigin: true,
			UserWithAuth: true, NoDA: true, Restricted: true, SignEncrypt: true,
		},
		Parameters: tpm2.NewTPMUPublicParms(tpm2.TPMAlgRSA, &tpm2.TPMSRSAParms{
			Scheme: tpm2.TPMTRSAScheme{
				Scheme:  tpm2.TPMAlgRSASSA,
				Details: tpm2.NewTPMUAsymScheme(tpm2.TPMAlgRSASSA, &tpm2.TPMSSigSchemeRSASSA{HashAlg: tpm2.TPMAlgSHA256}),
			},
			KeyBits: 2048,
		}),
		Unique: tpm2.NewTPMUPublicID(tpm2.TPMAlgRSA, &tpm2.TPM2BPublicKeyRSA{Buffer: make([]byte, 256)}),
	}
}

// runtimeData is the runtime data with the guest's user data.
func (p *Paravisor) runtimeData(userData []byte) []byte {
	b64 := base64.RawURLEncoding.EncodeToString
	return fmt.Appendf(nil, `{"keys":[{"kid":"HCLAkPub","key_ops":["sign"],"kty":"RSA","e":"AQAB","n":"%s"},`+
		`{"kid":"HCLEkPub","key_ops":["encrypt"],"kty":"RSA","e":"AQAB","n":"%s"}],`+
		`"vm-configuration":{"console-enabled":true,"root-cert-thumbprint":"","secure-boot":true,"tpm-enabled":true,`+
		`"tpm-persisted":true,"vmUniqueId":"SIMULATED"},"user-data":"%s"}`,
		b64(p.ak.Modulus), b64(p.ek.Modulus), strings.ToUpper(hex.EncodeToString(userData)))
}

// renew makes the report anew.
func (p *Paravisor) renew(userData []byte) error {
	r := &hcl.Report{Version: 2, Type: hcl.SNP, Hash: attest.SHA256, Runtime: p.runtimeData(userData)}
	var err error
	if r.Hardware, err = p.options.Hardware([64]byte(r.ReportData())); err != nil {
		return fmt.Errorf("making the hardware's report: %w: %w", attest.ErrArgument, err)
	}
	if len(r.Hardware) == hcl.TDXSize {
		r.Type = hcl.TDX
	}
	b, err := r.Marshal()
	if err != nil {
		return fmt.Errorf("making the paravisor's report: %w", err)
	}
	if len(b) > reportSize {
		return fmt.Errorf("paravisor's report of %d bytes, limit %d: %w", len(b), reportSize, attest.ErrArgument)
	}
	p.mu.Lock()
	p.report = append(b, make([]byte, reportSize-len(b))...)
	p.mu.Unlock()
	return nil
}
