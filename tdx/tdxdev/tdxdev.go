// Package tdxdev is the device side of package tdx: inside an Intel TDX guest (a TD), it
// extends the register RTMR3, which anchors the event log, and has statements quoted. What
// it produces, package tdx appraises.
//
// # The interfaces
//
// Quotes come from the kernel's folder of requests in configfs (Linux 6.7); how they come
// from the host's quoting service is the kernel's affair, and this package has no way of its
// own to it. The register is read and extended through the file that the driver shows in
// sysfs (Linux 6.16). Older kernels cannot extend it: what some of them had in configfs was
// never part of Linux. Both need root, and the module tdx-guest.
//
// # What can be quoted
//
// A statement, and nothing else: no function here takes report data.
//
// # One life of the register
//
// RTMR3 begins at zero when the TD is launched, and nothing in a TD counts launches or is
// signed that tells two of them apart. [Device.Life] therefore identifies a life by the TD's
// MRTD and by the id that the kernel drew when it booted, and its counters are zero. That is
// the guest's own word; it chooses the log to go on with and proves nothing. What the
// register holds, the quote says.
//
// Clauses are those of the Intel TDX DCAP Quoting Library API, revision 0.9 ("DCAP, A.3").
package tdxdev

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/limits"
	"github.com/sworn-run/sworn/internal/tsm"
)

// The sentinels of this package. Every error wraps one of them, or is that of the context
// that ended the call.
var (
	// ErrAbsent: the machine is no TD, or its kernel lacks an interface; the error says
	// what to do.
	ErrAbsent = tsm.ErrAbsent
	// ErrDenied: this process may not use the interface: root may. It comes with
	// fs.ErrPermission.
	ErrDenied = tsm.ErrDenied
	// ErrBusy: another process kept writing into the requests for quotes, or the device
	// refused for now, until it was enough.
	ErrBusy = tsm.ErrBusy
	// ErrDevice: the device failed, or gave what is not the quote asked for.
	ErrDevice = tsm.ErrDevice
	// ErrUsage: the caller's mistake: a statement that does not encode or is for another
	// slot, digests that are not one of 48 bytes, a closed device.
	ErrUsage = tsm.ErrUsage
)

// Format is the evidence format of this device (docs/SPEC.md, section 3).
const Format attest.Format = 3

// PartQuote is the name of the one part of the evidence: the quote, without what the host
// left after its end.
const PartQuote = "quote"

// Register is the number of the register that anchors the log: RTMR3, the one that neither
// the firmware nor the kernel extends.
const Register = 3

// bank is the register's algorithm.
const bank = attest.SHA384

// Where the kernel has the files.
const (
	// DefaultMeasurements is the folder of the registers.
	DefaultMeasurements = "/sys/devices/virtual/misc/tdx_guest/measurements"
	// DefaultTables is the folder of the tables of ACPI.
	DefaultTables = "/sys/firmware/acpi/tables"
	// bootID is the id that the kernel drew when it booted.
	bootID = "/proc/sys/kernel/random/boot_id"
)

// Options are the choices of [Open]. The zero value takes the defaults.
type Options struct {
	// ConfigFS is where configfs is mounted; empty is /sys/kernel/config.
	ConfigFS string
	// Measurements is the folder of the TD's registers; empty is [DefaultMeasurements].
	Measurements string
	// Tables is the folder of the tables of ACPI, in which the firmware's log is; empty is
	// [DefaultTables].
	Tables string
}

// defaults fills the defaults in.
func (o Options) defaults() Options {
	if o.Measurements == "" {
		o.Measurements = DefaultMeasurements
	}
	if o.Tables == "" {
		o.Tables = DefaultTables
	}
	return o
}

// Device is the TDX module as one TD sees it. It is safe for concurrent use: one request
// runs at a time. The zero Device refuses.
type Device struct {
	mu sync.Mutex
	// client makes quotes; nil if the device is closed.
	client *tsm.Client
	o      Options
}

var (
	_ attest.Attester   = (*Device)(nil)
	_ attest.Measurer   = (*Device)(nil)
	_ attest.LifeReader = (*Device)(nil)
	_ attest.BootReader = (*Device)(nil)
)

// Open finds both interfaces; no quote is made. The caller must Close it. The error wraps
// [ErrAbsent], [ErrDenied] or [ErrDevice], or is the context's.
func Open(ctx context.Context, o Options) (*Device, error) {
	o = o.defaults()
	d := &Device{client: o.client(), o: o}
	if _, err := d.client.Probe(ctx); err != nil {
		return nil, fmt.Errorf("opening the TDX guest device: %w", err)
	}
	if err := o.checkRegister(); err != nil {
		return nil, fmt.Errorf("opening the TDX guest device: %w", err)
	}
	return d, nil
}

// client is the interface in configfs.
func (o *Options) client() *tsm.Client {
	return &tsm.Client{ConfigFS: o.ConfigFS, Provider: "tdx_guest", Module: "tdx-guest"}
}

// acquire locks the device for one request; the caller releases it.
func (d *Device) acquire(ctx context.Context) (release func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	d.mu.Lock()
	if d.client == nil {
		d.mu.Unlock()
		return nil, fmt.Errorf("the device is not open: %w", ErrUsage)
	}
	return d.mu.Unlock, nil
}

// Manifest describes the slot as it stands now: no key id, which a TD has none of, and
// RTMR3 with its current value, 48 bytes. The slot number is the caller's to set. The error
// wraps [ErrDevice], [ErrDenied], [ErrAbsent] or [ErrUsage], or is the context's.
func (d *Device) Manifest(ctx context.Context) (attest.Slot, error) {
	values, err := d.Read(ctx)
	if err != nil {
		return attest.Slot{}, fmt.Errorf("describing the slot: %w", err)
	}
	return attest.Slot{
		Format: Format, Mode: attest.ModeDirect, Anchor: attest.AnchorRegister,
		Register: &attest.RegisterDescriptor{Bank: bank, Index: Register, Value: values[0].Value},
	}, nil
}

// Attest has the statement quoted for one slot of its manifest: the report data is SHA-512
// of the statement, its slot and its format ([attest.Quoted]). The slot must be one that a
// TD can fill. The quote is checked to be of a TD and to carry these data; who signed it,
// the device side does not judge.
//
// The error wraps [ErrUsage] (and [attest.ErrForm] or [attest.ErrArgument] if the statement
// does not encode), [ErrDevice], [ErrBusy], [ErrDenied] or [ErrAbsent], or is the context's.
func (d *Device) Attest(ctx context.Context, slot uint8, st *attest.Statement) (*attest.Evidence, error) {
	encoded, err := st.Encode()
	if err != nil {
		return nil, fmt.Errorf("quoting a statement: %w: %w", ErrUsage, err)
	}
	release, err := d.acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("quoting: %w", err)
	}
	defer release()
	if err := checkSlot(slot, st); err != nil {
		return nil, fmt.Errorf("quoting for slot %d: %w", slot, err)
	}
	quoted := attest.Quoted(attest.SHA512, slot, Format, encoded)
	rsp, err := d.client.Report(ctx, &tsm.Request{InBlob: [64]byte(quoted), MaxOut: limits.EvidencePart})
	if err != nil {
		return nil, fmt.Errorf("quoting a statement: %w", err)
	}
	quote, err := exact(rsp.Out, quoted)
	if err != nil {
		return nil, fmt.Errorf("quoting a statement: %w", err)
	}
	return &attest.Evidence{Slot: slot, Format: Format, Parts: []attest.Part{{Name: PartQuote, Data: quote}}}, nil
}

// checkSlot refuses a statement whose slot a TD cannot fill. The statement has been encoded.
func checkSlot(slot uint8, st *attest.Statement) error {
	if int(slot) >= len(st.Manifest) {
		return fmt.Errorf("the manifest has %d slots: %w", len(st.Manifest), ErrUsage)
	}
	s := &st.Manifest[slot]
	switch r := s.Register; {
	case s.Format != Format || s.Mode != attest.ModeDirect || s.Anchor != attest.AnchorRegister || r == nil:
		return fmt.Errorf("it is for evidence of another kind: %w", ErrUsage)
	case s.KeyID != [32]byte{}:
		return fmt.Errorf("it names a key: %w", ErrUsage)
	case r.Index != Register || r.Bank != bank:
		return fmt.Errorf("it is for register %d of bank %v: %w", r.Index, r.Bank, ErrUsage)
	}
	return nil
}

// Close forgets the device; it holds nothing open. It returns nil.
func (d *Device) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.client = nil
	return nil
}

// Probe tells whether [Open] would find both interfaces here, and in one line for people
// what it found, or what is missing. No quote is made.
func Probe(ctx context.Context, o Options) (available bool, detail string) {
	o = o.defaults()
	if _, err := o.client().Probe(ctx); err != nil {
		return false, err.Error()
	}
	if err := o.checkRegister(); err != nil {
		return false, "quotes through configfs, but " + err.Error()
	}
	detail = "quotes through configfs, RTMR3 through " + o.Measurements
	if log, err := readFile(filepath.Join(o.Tables, "data", ccelName)); err == nil && log != nil {
		return true, detail + ", and the firmware's log"
	}
	return true, detail + "; no log of the firmware's that this user may read"
}
