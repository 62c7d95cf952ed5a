package tpmdev

import (
	"context"
	"fmt"

	"github.com/google/go-tpm/tpm2"

	"github.com/sworn-run/sworn/attest"
)

// Life returns the identity of the register's life and the TPM's counters now.
// Identity is SHA-256 of the Name of this package's storage key, a primary key
// of the endorsement hierarchy: the same until the endorsement seed changes.
// The counters are those that quotes carry (Part 3, 29.1, TPM2_ReadClock), the
// firmware version TPM_PT_FIRMWARE_VERSION_1 in the upper 32 bits and _2 in the
// lower. The error wraps [ErrDevice], [ErrUsage] or the context's.
func (t *TPM) Life(ctx context.Context) (attest.Life, error) {
	l, release, err := t.acquire(ctx)
	if err != nil {
		return attest.Life{}, fmt.Errorf("reading the TPM's life: %w", err)
	}
	defer release()
	now, err := tpm2.ReadClock{}.Execute(l)
	if err != nil {
		return attest.Life{}, fail("reading the clock", err)
	}
	high, err := l.property(tpm2.TPMPTFirmwareVersion1)
	if err != nil {
		return attest.Life{}, fail("reading the firmware version", err)
	}
	low, err := l.property(tpm2.TPMPTFirmwareVersion2)
	if err != nil {
		return attest.Life{}, fail("reading the firmware version", err)
	}
	c := &now.CurrentTime.ClockInfo
	return attest.Life{Identity: t.identity, Counters: attest.Counters{
		Clock:        c.Clock,
		ResetCount:   c.ResetCount,
		RestartCount: c.RestartCount,
		Safe:         c.Safe,
		Firmware:     uint64(high)<<32 | uint64(low),
	}}, nil
}

// property returns one fixed property of the TPM (Part 2, 6.13).
func (l *link) property(p tpm2.TPMPT) (uint32, error) {
	rsp, err := tpm2.GetCapability{
		Capability:    tpm2.TPMCapTPMProperties,
		Property:      uint32(p),
		PropertyCount: 1,
	}.Execute(l)
	if err != nil {
		return 0, err
	}
	list, err := rsp.CapabilityData.Data.TPMProperties()
	if err != nil {
		return 0, err
	}
	if len(list.TPMProperty) != 1 || list.TPMProperty[0].Property != p {
		return 0, fmt.Errorf("the TPM has no property 0x%08x: %w", uint32(p), ErrDevice)
	}
	return list.TPMProperty[0].Value, nil
}
