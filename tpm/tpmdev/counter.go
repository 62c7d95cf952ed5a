package tpmdev

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/tpm"
)

// DefaultCounter is the NV index of the launch counter if no other is named: one
// of those left to the TPM's owner, with the ASCII codes of "sw" at its end. The
// indices around 0x01500000, which many examples use, are the platform maker's.
const DefaultCounter uint32 = 0x01807377

// counterSize is the size of a counter in bytes.
const counterSize = 8

// openCounter makes sure that the launch counter is there, and returns the Name
// that it has once it has counted.
func (l *link) openCounter(index uint32) ([34]byte, error) {
	name, err := tpm.CounterName(index)
	if err != nil {
		return name, fmt.Errorf("the launch counter: %w: %w", ErrUsage, err)
	}
	_, err = l.counterName(index)
	if errors.Is(err, errNoIndex) {
		return name, l.defineCounter(index)
	}
	if err != nil {
		return name, fail("reading the launch counter's public area", err)
	}
	return name, nil
}

// counterName returns the Name that the index has now, which is another before
// it has counted for the first time. An index with any other attribute than a
// launch counter's is refused: only with these does nobody take back a number.
func (l *link) counterName(index uint32) (tpm2.TPM2BName, error) {
	rsp, err := tpm2.NVReadPublic{NVIndex: tpm2.TPMHandle(index)}.Execute(l)
	if errors.Is(err, tpm2.TPMRCHandle) {
		return tpm2.TPM2BName{}, errNoIndex
	}
	if err != nil {
		return tpm2.TPM2BName{}, err
	}
	public, err := rsp.NVPublic.Contents()
	if err != nil {
		return tpm2.TPM2BName{}, err
	}
	unwritten := counterPublic(index)
	written := counterPublic(index)
	written.Attributes.Written = true
	got := tpm2.Marshal(public)
	if !bytes.Equal(got, tpm2.Marshal(unwritten)) && !bytes.Equal(got, tpm2.Marshal(written)) {
		return tpm2.TPM2BName{}, fmt.Errorf("NV 0x%08x: %w: %w", index, ErrDevice, ErrCounter)
	}
	return rsp.NVName, nil
}

// counterPublic is the public area of a launch counter that has not counted.
func counterPublic(index uint32) tpm2.TPMSNVPublic {
	return tpm2.TPMSNVPublic{
		NVIndex: tpm2.TPMHandle(index),
		NameAlg: tpm2.TPMAlgSHA256,
		Attributes: tpm2.TPMANV{
			OwnerWrite: true, AuthRead: true, NoDA: true, NT: tpm2.TPMNTCounter,
		},
		DataSize: counterSize,
	}
}

// defineCounter defines the index (Part 3, 31.3), as the owner, whose
// authorization value must be empty.
func (l *link) defineCounter(index uint32) error {
	_, err := tpm2.NVDefineSpace{
		AuthHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)},
		PublicInfo: tpm2.New2B(counterPublic(index)),
	}.Execute(l)
	if err != nil {
		return fail(fmt.Sprintf("defining the launch counter, NV 0x%08x, as the TPM's owner, whose authorization value must be empty", index), err)
	}
	return nil
}

// Increment adds one to the launch counter (Part 3, 31.8), as the owner, and
// returns what it is now: the body of the next statement. The error wraps
// [ErrUsage] if the options name no counter, [ErrDevice] (and [ErrCounter] if
// the index has become another), or is the context's.
func (t *TPM) Increment(ctx context.Context) (*attest.Counter, error) {
	l, release, err := t.acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("counting the launch: %w", err)
	}
	defer release()
	if t.counter == nil {
		return nil, fmt.Errorf("counting the launch without a counter: %w", ErrUsage)
	}
	index := tpm2.TPMHandle(*t.counter)
	name, err := l.counterName(*t.counter)
	if err != nil {
		return nil, fail("reading the launch counter's public area", err)
	}
	_, err = tpm2.NVIncrement{
		AuthHandle: tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)},
		NVIndex:    tpm2.NamedHandle{Handle: index, Name: name},
	}.Execute(l)
	if err != nil {
		return nil, fail("counting the launch as the TPM's owner, whose authorization value must be empty", err)
	}
	rsp, err := tpm2.NVRead{
		AuthHandle: tpm2.AuthHandle{Handle: index, Name: t.counterName(), Auth: tpm2.PasswordAuth(nil)},
		NVIndex:    tpm2.NamedHandle{Handle: index, Name: t.counterName()},
		Size:       counterSize,
	}.Execute(l)
	if err != nil {
		return nil, fail("reading the launch counter", err)
	}
	if len(rsp.Data.Buffer) != counterSize {
		return nil, fmt.Errorf("the launch counter has %d bytes, want %d: %w", len(rsp.Data.Buffer), counterSize, ErrDevice)
	}
	return &attest.Counter{Name: t.name, Value: binary.BigEndian.Uint64(rsp.Data.Buffer)}, nil
}

// counterName returns the Name of the counter that has counted.
func (t *TPM) counterName() tpm2.TPM2BName { return tpm2.TPM2BName{Buffer: bytes.Clone(t.name[:])} }

// checkBody refuses a statement whose counter this TPM cannot certify.
func (t *TPM) checkBody(st *attest.Statement) error {
	c := st.Counter()
	switch {
	case c == nil:
		return nil
	case t.counter == nil:
		return fmt.Errorf("its body has a counter, and the options have none: %w", ErrUsage)
	case c.Name != t.name:
		return fmt.Errorf("its body has another counter: %w", ErrUsage)
	}
	return nil
}

// certify adds the certification of the statement's counter (Part 3, 31.16,
// TPM2_NV_Certify) to the parts of a quote; nothing without a counter.
func (t *TPM) certify(l *link, p *tpm.Parts, c *attest.Counter, extra []byte) error {
	if c == nil {
		return nil
	}
	index := tpm2.TPMHandle(*t.counter)
	rsp, err := tpm2.NVCertify{
		SignHandle:     tpm2.AuthHandle{Handle: t.ak.handle, Name: t.ak.name, Auth: t.ak.session()},
		AuthHandle:     tpm2.AuthHandle{Handle: index, Name: t.counterName(), Auth: tpm2.PasswordAuth(nil)},
		NVIndex:        tpm2.NamedHandle{Handle: index, Name: t.counterName()},
		QualifyingData: tpm2.TPM2BData{Buffer: extra},
		InScheme:       tpm2.TPMTSigScheme{Scheme: tpm2.TPMAlgNull},
		Size:           counterSize,
	}.Execute(l)
	if err != nil {
		return fail("certifying the launch counter", err)
	}
	if p.NVPublic, err = tpm.CounterPublic(*t.counter); err != nil {
		return fmt.Errorf("the launch counter: %w: %w", ErrUsage, err)
	}
	p.NVAttest, p.NVSignature = rsp.CertifyInfo.Bytes(), tpm2.Marshal(rsp.Signature)
	return nil
}

// checkCounted compares what was certified with what the statement says.
func checkCounted(got *attest.CertifiedCounter, want *attest.Counter, extra []byte) error {
	switch {
	case want == nil:
		return nil
	case got == nil || got.Name != want.Name || !bytes.Equal(got.Quoted, extra):
		return fmt.Errorf("the TPM certified another counter: %w", ErrDevice)
	case got.Value != want.Value:
		return fmt.Errorf("the launch counter was %d and is %d, somebody else has counted meanwhile: %w", want.Value, got.Value, ErrDevice)
	}
	return nil
}
