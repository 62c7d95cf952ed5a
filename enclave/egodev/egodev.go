//go:build ego

package egodev

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/edgelesssys/ego/attestation"
	ego "github.com/edgelesssys/ego/enclave"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/enclave"
)

// platform is what EGo offers; the tests have others.
type platform struct {
	selfReport   func() (attestation.Report, error)
	remoteReport func(data []byte) ([]byte, error)
	newKey       func() (key, info []byte, err error)
	key          func(info []byte) ([]byte, error)
}

// egoPlatform is EGo's own.
func egoPlatform() *platform {
	return &platform{
		selfReport: ego.GetSelfReport, remoteReport: ego.GetRemoteReport,
		newKey: ego.GetRandomUniqueSealKey, key: ego.GetSealKey,
	}
}

// Identity is what the CPU says of this enclave.
type Identity struct {
	// UniqueID is MRENCLAVE, SignerID MRSIGNER.
	UniqueID, SignerID [32]byte
	// ProductID and SecurityVersion are ISVPRODID and ISVSVN.
	ProductID, SecurityVersion uint16
}

// Device is the enclave that this process runs in. It is safe for concurrent use: one
// request runs at a time. The zero Device refuses.
type Device struct {
	mu       sync.Mutex
	platform *platform // nil if it is not open
	self     Identity
}

var _ attest.Attester = (*Device)(nil)

// Open finds out which enclave this process runs in. The caller must Close it. The error
// wraps [ErrOutside], [ErrDebug] or [ErrDevice], or is the context's.
func Open(ctx context.Context) (*Device, error) { return open(ctx, egoPlatform()) }

// open is Open on a platform.
func open(ctx context.Context, p *platform) (*Device, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	r, err := p.selfReport()
	if err != nil {
		return nil, fmt.Errorf("asking the CPU for a report of this enclave (%v): the process runs outside of SGX, or in EGo's simulation, "+
			"where keys for sealing are zeros and reports are worth nothing: %w", err, ErrOutside)
	}
	self, err := identity(&r)
	if err != nil {
		return nil, fmt.Errorf("reading the report of this enclave: %w", err)
	}
	if _, _, err := p.sealKey(); err != nil {
		return nil, fmt.Errorf("trying to seal: %w", err)
	}
	return &Device{platform: p, self: self}, nil
}

// identity reads a self-report. An empty one, as comes with errors, has no ids.
func identity(r *attestation.Report) (Identity, error) {
	var zero [32]byte
	if len(r.UniqueID) != 32 || len(r.SignerID) != 32 || bytes.Equal(r.UniqueID, zero[:]) || bytes.Equal(r.SignerID, zero[:]) {
		return Identity{}, fmt.Errorf("it names no enclave (unique id %x, signer id %x): %w", r.UniqueID, r.SignerID, ErrOutside)
	}
	if r.Debug {
		return Identity{}, fmt.Errorf("its host reads its memory: %w", ErrDebug)
	}
	// EGo has 16 bytes of it, of which SGX uses two.
	if len(r.ProductID) != 16 || !bytes.Equal(r.ProductID[2:], zero[:14]) || r.SecurityVersion > 0xFFFF {
		return Identity{}, fmt.Errorf("product id %x, security version %d: %w", r.ProductID, r.SecurityVersion, ErrDevice)
	}
	return Identity{
		UniqueID: [32]byte(r.UniqueID), SignerID: [32]byte(r.SignerID),
		ProductID: binary.LittleEndian.Uint16(r.ProductID), SecurityVersion: uint16(r.SecurityVersion),
	}, nil
}

// acquire locks the device for one request; the caller releases it.
func (d *Device) acquire(ctx context.Context) (release func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	d.mu.Lock()
	if d.platform == nil {
		d.mu.Unlock()
		return nil, fmt.Errorf("the enclave is not open: %w", ErrUsage)
	}
	return d.mu.Unlock, nil
}

// Self returns what the CPU said of this enclave when it was opened.
func (d *Device) Self() Identity { return d.self }

// UniqueID returns this enclave's MRENCLAVE.
func (d *Device) UniqueID() [32]byte { return d.self.UniqueID }

// Manifest describes the slot: no key id, no register. The slot number is the caller's to
// set. The error wraps [ErrUsage], or is the context's.
func (d *Device) Manifest(ctx context.Context) (attest.Slot, error) {
	release, err := d.acquire(ctx)
	if err != nil {
		return attest.Slot{}, fmt.Errorf("describing the slot: %w", err)
	}
	release()
	return attest.Slot{Format: enclave.Format, Mode: attest.ModeDirect, Anchor: attest.AnchorStatementOnly}, nil
}

// Attest has the statement quoted for one slot of its manifest: the report data is SHA-512
// of the statement, its slot and its format ([attest.Quoted]). The slot must be one that an
// enclave can fill.
//
// The error wraps [ErrUsage] (and [attest.ErrForm] or [attest.ErrArgument] if the statement
// does not encode) or [ErrDevice], or is the context's.
func (d *Device) Attest(ctx context.Context, slot uint8, st *attest.Statement) (*attest.Evidence, error) {
	encoded, err := st.Encode()
	if err != nil {
		return nil, fmt.Errorf("quoting a statement: %w: %w", ErrUsage, err)
	}
	if err := checkSlot(slot, st); err != nil {
		return nil, fmt.Errorf("quoting for slot %d: %w", slot, err)
	}
	release, err := d.acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("quoting: %w", err)
	}
	defer release()
	data := attest.Quoted(attest.SHA512, slot, enclave.Format, encoded)
	report, err := d.platform.remoteReport(data)
	if err != nil {
		return nil, fmt.Errorf("asking the host's quoting service: %w: %w", ErrDevice, err)
	}
	ev, err := d.evidence(slot, report, data)
	if err != nil {
		return nil, fmt.Errorf("reading the quote: %w", err)
	}
	return ev, nil
}

// checkSlot refuses a statement whose slot an enclave cannot fill. It has been encoded.
func checkSlot(slot uint8, st *attest.Statement) error {
	if int(slot) >= len(st.Manifest) {
		return fmt.Errorf("the manifest has %d slots: %w", len(st.Manifest), ErrUsage)
	}
	switch s := &st.Manifest[slot]; {
	case s.Format != enclave.Format || s.Mode != attest.ModeDirect || s.Anchor != attest.AnchorStatementOnly:
		return fmt.Errorf("it is for evidence of another kind: %w", ErrUsage)
	case s.KeyID != [32]byte{}:
		return fmt.Errorf("it names a key: %w", ErrUsage)
	default:
		return nil
	}
}

// Where the fields of a quote of version 3 stand.
const (
	uniqueIDAt   = 48 + 64
	signerIDAt   = 48 + 128
	reportDataAt = 48 + 320
)

// evidence takes the quote out of what the host returned. It must be of this enclave, over
// these data.
func (d *Device) evidence(slot uint8, report, data []byte) (*attest.Evidence, error) {
	quote, err := enclave.Unwrap(report)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDevice, err)
	}
	ev, err := enclave.NewEvidence(slot, bytes.Clone(quote))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDevice, err)
	}
	quote = ev.Parts[0].Data
	switch {
	case binary.LittleEndian.Uint16(quote) != 3:
		return nil, fmt.Errorf("a quote of version %d, want 3: %w", binary.LittleEndian.Uint16(quote), ErrDevice)
	case !bytes.Equal(quote[uniqueIDAt:uniqueIDAt+32], d.self.UniqueID[:]) || !bytes.Equal(quote[signerIDAt:signerIDAt+32], d.self.SignerID[:]):
		return nil, fmt.Errorf("a quote of another enclave: %w", ErrDevice)
	case !bytes.Equal(quote[reportDataAt:reportDataAt+len(data)], data):
		return nil, fmt.Errorf("a quote over other data: %w", ErrDevice)
	default:
		return ev, nil
	}
}

// Close forgets the enclave. It returns nil.
func (d *Device) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.platform = nil
	return nil
}
