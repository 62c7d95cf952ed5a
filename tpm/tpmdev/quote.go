package tpmdev

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/go-tpm/tpm2"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/tpm"
)

// quoteAttempts bounds how often a statement is quoted again because another
// program extended a register between the quote and the reading.
const quoteAttempts = 5

// Manifest describes the slot as it stands now: the AK's key id, and the
// register with its current value in the bank of the options. The slot number
// is the caller's to set. The error wraps [ErrDevice], [ErrUsage] or the
// context's.
func (t *TPM) Manifest(ctx context.Context) (attest.Slot, error) {
	l, release, err := t.acquire(ctx)
	if err != nil {
		return attest.Slot{}, fmt.Errorf("describing the slot: %w", err)
	}
	defer release()
	values, err := l.readRegisters([]attest.Alg{t.bank}, 1<<t.register)
	if err != nil {
		return attest.Slot{}, fail("describing the slot", err)
	}
	return attest.Slot{
		Format:   t.format(),
		Mode:     t.mode(),
		Anchor:   attest.AnchorRegister,
		KeyID:    t.ak.id,
		Register: &attest.RegisterDescriptor{Bank: t.bank, Index: t.register, Value: values[0].Value},
	}, nil
}

// Attest quotes the statement for one slot of its manifest: registers 0 to 15
// of every active bank but SHA-1, and for slot 0 the launch counter that the
// statement's body has. It has verified the evidence that it returns;
// identity, which the device side does not judge, excepted. The slot must be
// one that this TPM can fill: its format, key, register and bank.
//
// The error wraps [ErrUsage] (and [attest.ErrForm] or [attest.ErrArgument] if
// the statement does not encode), [ErrDevice] or the context's.
func (t *TPM) Attest(ctx context.Context, slot uint8, st *attest.Statement) (*attest.Evidence, error) {
	l, release, err := t.acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("quoting: %w", err)
	}
	defer release()
	encoded, err := st.Encode()
	if err != nil {
		return nil, fmt.Errorf("quoting a statement: %w: %w", ErrUsage, err)
	}
	if err := t.checkSlot(slot, st); err != nil {
		return nil, fmt.Errorf("quoting for slot %d: %w", slot, err)
	}
	q := quoting{
		slot: slot, counter: st.Counter(),
		extra:     attest.Quoted(attest.SHA256, slot, t.format(), encoded),
		certified: attest.QuotedCounter(encoded),
	}
	if slot != 0 {
		q.counter = nil // the counter is the first slot's
	}
	for range quoteAttempts {
		var ev *attest.Evidence
		ev, err = t.quote(l, &q)
		if err == nil {
			return t.carry(ev), nil
		}
		if !errors.Is(err, attest.ErrSignature) {
			break
		}
	}
	return nil, fail("quoting a statement", err)
}

// checkSlot refuses a statement whose slot this TPM cannot fill: no verifier
// would accept what it returns. The statement has been encoded.
func (t *TPM) checkSlot(slot uint8, st *attest.Statement) error {
	if int(slot) >= len(st.Manifest) {
		return fmt.Errorf("the manifest has %d slots: %w", len(st.Manifest), ErrUsage)
	}
	s := &st.Manifest[slot]
	switch r := s.Register; {
	case s.Number != slot:
		return fmt.Errorf("the manifest has number %d in its place: %w", s.Number, ErrUsage)
	case s.Format != t.format() || s.Mode != t.mode() || s.Anchor != attest.AnchorRegister || r == nil:
		return fmt.Errorf("it is for evidence of another kind: %w", ErrUsage)
	case s.KeyID != t.ak.id:
		return fmt.Errorf("it is for another key: %w", ErrUsage)
	case r.Index != t.register || !slices.Contains(t.banks, r.Bank):
		return fmt.Errorf("it is for register %d of bank %v: %w", r.Index, r.Bank, ErrUsage)
	}
	return t.checkBody(st)
}

// quoting is what one quote is to cover.
type quoting struct {
	slot  uint8
	extra []byte
	// counter is to be certified over certified; nil for none.
	counter   *attest.Counter
	certified []byte
}

// quote makes one quote and verifies it. The error wraps
// attest.ErrSignature if the registers read are not those quoted.
func (t *TPM) quote(l *link, q *quoting) (*attest.Evidence, error) {
	var banks []attest.Alg
	for _, b := range t.banks {
		if b.Accepted() {
			banks = append(banks, b)
		}
	}
	rsp, err := tpm2.Quote{
		SignHandle:     tpm2.AuthHandle{Handle: t.ak.handle, Name: t.ak.name, Auth: t.ak.session()},
		QualifyingData: tpm2.TPM2BData{Buffer: q.extra},
		InScheme:       tpm2.TPMTSigScheme{Scheme: tpm2.TPMAlgNull},
		PCRSelect:      wire(selectIn(banks, quoted)),
	}.Execute(l)
	if err != nil {
		return nil, err
	}
	values, err := l.readRegisters(banks, quoted)
	if err != nil {
		return nil, err
	}
	parts := &tpm.Parts{
		Attest:       rsp.Quoted.Bytes(),
		Signature:    tpm2.Marshal(rsp.Signature),
		Public:       bytes.Clone(t.ak.public),
		Parent:       bytes.Clone(t.ak.parent),
		Certificates: t.ak.certificates,
	}
	for _, v := range values {
		parts.PCRs = append(parts.PCRs, v.Value...)
	}
	if err := t.certify(l, parts, q.counter, q.certified); err != nil {
		return nil, err
	}
	ev, err := tpm.NewEvidence(q.slot, parts)
	if err != nil {
		return nil, fmt.Errorf("the TPM's quote: %w: %w", ErrDevice, err)
	}
	if err := t.verify(ev, q, values); err != nil {
		return nil, err
	}
	return ev, nil
}

// verify appraises the evidence as its verifier will, identity excepted.
func (t *TPM) verify(ev *attest.Evidence, q *quoting, values []attest.RegisterValue) error {
	claims, err := tpm.Scheme{}.Verify(ev, nil, time.Now())
	if err != nil {
		return fmt.Errorf("the TPM's quote: %w: %w", ErrDevice, err)
	}
	same := func(a, b attest.RegisterValue) bool {
		return a.Bank == b.Bank && a.Index == b.Index && bytes.Equal(a.Value, b.Value)
	}
	switch {
	case !bytes.Equal(claims.Quoted, q.extra):
		return fmt.Errorf("the TPM quoted other data: %w", ErrDevice)
	case claims.KeyID != t.ak.id:
		return fmt.Errorf("the TPM quoted with another key: %w", ErrDevice)
	case !slices.EqualFunc(claims.Registers, values, same):
		return fmt.Errorf("the TPM quoted other registers: %w", ErrDevice)
	}
	return checkCounted(claims.Counter, q.counter, q.certified)
}
