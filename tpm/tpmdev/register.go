package tpmdev

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/google/go-tpm/tpm2"

	"github.com/sworn-run/sworn/attest"
)

const (
	// quoted are the registers that quotes cover, as bits: 0 to 15, which no
	// software can reset.
	quoted uint32 = 1<<(maxRegister+1) - 1
	// readAttempts bounds how often registers are read again because another
	// program extended one between two commands.
	readAttempts = 16
)

// Banks returns the active banks in ascending order of their numbers, as they
// were when the TPM was opened; a TPM changes them at a reset only, which the
// attestation key does not outlive. The error wraps [ErrUsage] if t is closed.
func (t *TPM) Banks(ctx context.Context) ([]attest.Alg, error) {
	_, release, err := t.acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("naming the banks: %w", err)
	}
	defer release()
	return slices.Clone(t.banks), nil
}

// Read returns the register's current value in every active bank, in the order
// of Banks. The error wraps [ErrDevice], [ErrUsage] or the context's.
func (t *TPM) Read(ctx context.Context) ([]attest.RegisterValue, error) {
	l, release, err := t.acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading register %d: %w", t.register, err)
	}
	defer release()
	values, err := l.readRegisters(t.banks, 1<<t.register)
	if err != nil {
		return nil, fail(fmt.Sprintf("reading register %d", t.register), err)
	}
	return values, nil
}

// Extend extends the register with one digest for each active bank, in the
// order of Banks, in one TPM2_PCR_Extend (Part 3, 22.2). The error wraps
// [ErrUsage] if the digests are not exactly those, [ErrDevice] or the
// context's; after ErrDevice the register's value is unknown.
func (t *TPM) Extend(ctx context.Context, digests [][]byte) error {
	l, release, err := t.acquire(ctx)
	if err != nil {
		return fmt.Errorf("extending register %d: %w", t.register, err)
	}
	defer release()
	if len(digests) != len(t.banks) {
		return fmt.Errorf("extending register %d with %d digests, %d banks are active: %w",
			t.register, len(digests), len(t.banks), ErrUsage)
	}
	command := tpm2.PCRExtend{PCRHandle: tpm2.AuthHandle{
		Handle: tpm2.TPMHandle(t.register),
		Auth:   tpm2.PasswordAuth(nil),
	}}
	for i, bank := range t.banks {
		if len(digests[i]) != bank.Size() {
			return fmt.Errorf("extending register %d with %d bytes in bank %v: %w", t.register, len(digests[i]), bank, ErrUsage)
		}
		command.Digests.Digests = append(command.Digests.Digests, tpm2.TPMTHA{
			HashAlg: tpm2.TPMIAlgHash(bank),
			Digest:  digests[i],
		})
	}
	if _, err := command.Execute(l); err != nil {
		return fail(fmt.Sprintf("extending register %d", t.register), err)
	}
	return nil
}

// activeBanks returns the active banks, ascending: those with any register
// (Part 2, 6.12, TPM_CAP_PCRS). It refuses a bank that Sworn cannot compute,
// because an unextended bank would tell another story of the launch, and one
// without the registers 0 to 15 (SHA-1: without the given one).
func (l *link) activeBanks(register uint32) ([]attest.Alg, error) {
	rsp, err := tpm2.GetCapability{Capability: tpm2.TPMCapPCRs, PropertyCount: 1}.Execute(l)
	if err != nil {
		return nil, err
	}
	assigned, err := rsp.CapabilityData.Data.AssignedPCR()
	if err != nil {
		return nil, err
	}
	var banks []attest.Alg
	for _, s := range assigned.PCRSelections {
		mask, bank := maskOf(s.PCRSelect), attest.Alg(s.Hash)
		need := quoted
		if !bank.Accepted() {
			need = 1 << register
		}
		switch {
		case mask == 0:
			continue
		case !bank.Known():
			return nil, fmt.Errorf("bank %v is active, and Sworn cannot extend it (deactivate it, see tpm2_pcrallocate): %w", bank, ErrDevice)
		case mask&need != need:
			return nil, fmt.Errorf("bank %v has the registers 0x%08x only: %w", bank, mask, ErrDevice)
		case slices.Contains(banks, bank):
			return nil, fmt.Errorf("bank %v twice: %w", bank, ErrDevice)
		}
		banks = append(banks, bank)
	}
	slices.Sort(banks)
	return banks, nil
}

// maskOf returns the registers of a pcrSelect as bits (Part 2, 10.6.1): bit i
// is register i. Registers above 31 count as register 31, so that a bank that
// has only such is still active.
func maskOf(sel []byte) uint32 {
	var mask uint32
	for i, b := range sel {
		switch {
		case i < 4:
			mask |= uint32(b) << (8 * i)
		case b != 0:
			mask |= 1 << 31
		}
	}
	return mask
}

// selection names registers of one bank.
type selection struct {
	bank attest.Alg
	mask uint32
}

// wire returns the selections as the TPM takes them, without those that are
// empty; the three bytes are what every PC Client TPM takes.
func wire(selections []selection) tpm2.TPMLPCRSelection {
	var out tpm2.TPMLPCRSelection
	for _, s := range selections {
		if s.mask != 0 {
			out.PCRSelections = append(out.PCRSelections, tpm2.TPMSPCRSelection{
				Hash:      tpm2.TPMIAlgHash(s.bank),
				PCRSelect: []byte{byte(s.mask), byte(s.mask >> 8), byte(s.mask >> 16)},
			})
		}
	}
	return out
}

// selectIn returns the same registers in each of the banks.
func selectIn(banks []attest.Alg, mask uint32) []selection {
	out := make([]selection, len(banks))
	for i, bank := range banks {
		out[i] = selection{bank, mask}
	}
	return out
}

// readRegisters returns the registers of the mask, bank by bank and ascending,
// all of one moment.
func (l *link) readRegisters(banks []attest.Alg, mask uint32) ([]attest.RegisterValue, error) {
	for range readAttempts {
		values, err := l.readMoment(selectIn(banks, mask))
		if err != nil || values != nil {
			return values, err
		}
	}
	return nil, fmt.Errorf("the registers changed under %d attempts to read them: %w", readAttempts, ErrDevice)
}

// readMoment reads the registers in as many commands as it takes (Part 3,
// 22.4: a response holds eight digests at most). It returns nil if one of them
// was extended meanwhile.
func (l *link) readMoment(left []selection) ([]attest.RegisterValue, error) {
	var values []attest.RegisterValue
	var counter uint32
	for {
		request := wire(left)
		if len(request.PCRSelections) == 0 {
			break
		}
		rsp, err := tpm2.PCRRead{PCRSelectionIn: request}.Execute(l)
		if err != nil {
			return nil, err
		}
		if len(values) > 0 && rsp.PCRUpdateCounter != counter {
			return nil, nil
		}
		counter = rsp.PCRUpdateCounter
		got, err := collect(left, rsp)
		if err != nil {
			return nil, err
		}
		values = append(values, got...)
	}
	slices.SortFunc(values, func(a, b attest.RegisterValue) int {
		return int(a.Bank)<<8 + int(a.Index) - int(b.Bank)<<8 - int(b.Index)
	})
	return values, nil
}

// collect takes the registers of one response out of those that are left. A
// response without any is an error.
func collect(left []selection, rsp *tpm2.PCRReadResponse) ([]attest.RegisterValue, error) {
	digests := rsp.PCRValues.Digests
	var values []attest.RegisterValue
	for _, s := range rsp.PCRSelectionOut.PCRSelections {
		bank, mask := attest.Alg(s.Hash), maskOf(s.PCRSelect)
		i := slices.IndexFunc(left, func(l selection) bool { return l.bank == bank })
		if i < 0 || mask&^left[i].mask != 0 {
			return nil, fmt.Errorf("the TPM returned registers of bank %v that were not asked for: %w", bank, ErrDevice)
		}
		left[i].mask &^= mask
		for index := range uint32(32) {
			if mask>>index&1 == 0 {
				continue
			}
			if len(digests) == 0 || len(digests[0].Buffer) != bank.Size() {
				return nil, fmt.Errorf("register %d of bank %v is missing or of another size: %w", index, bank, ErrDevice)
			}
			values = append(values, attest.RegisterValue{Bank: bank, Index: index, Value: bytes.Clone(digests[0].Buffer)})
			digests = digests[1:]
		}
	}
	if len(values) == 0 || len(digests) != 0 {
		return nil, fmt.Errorf("the TPM returned %d registers and %d digests too many: %w", len(values), len(digests), ErrDevice)
	}
	return values, nil
}
