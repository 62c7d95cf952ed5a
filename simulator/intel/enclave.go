package intel

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/enclave"
)

// SimulatedEnclave quotes statements as an enclave would that runs the launcher, on a
// simulated machine. It is no enclave: the launcher that uses it is an ordinary process,
// and what it attests is worth nothing to whoever does not trust the simulated vendor. It
// is safe for concurrent use; the zero SimulatedEnclave refuses.
type SimulatedEnclave struct {
	mu       sync.Mutex
	platform *Platform // nil if it is closed
	name     string
	now      func() time.Time
	change   func(*Enclave)
}

var (
	_ attest.Attester         = (*SimulatedEnclave)(nil)
	_ attest.CollateralReader = (*SimulatedEnclave)(nil)
)

// OpenEnclave returns the enclave of that name on the simulated machine of the vendor that
// [Open] made in dir: another name is another enclave, with another MRENCLAVE. change, if
// it is not nil, may alter its report before it is quoted. The caller closes it. The error
// wraps [ErrDir], and fs.ErrNotExist if there is no vendor, or [ErrIssue].
func OpenEnclave(dir, name string, now func() time.Time, change func(*Enclave)) (*SimulatedEnclave, error) {
	if name == "" || now == nil {
		return nil, fmt.Errorf("a simulated enclave without name or clock: %w", ErrIssue)
	}
	v, err := Load(dir)
	if err != nil {
		return nil, fmt.Errorf("opening the simulated enclave: %w", err)
	}
	p, err := v.Platform("simulated machine")
	if err != nil {
		return nil, fmt.Errorf("opening the simulated enclave: %w", err)
	}
	return &SimulatedEnclave{platform: p, name: name, now: now, change: change}, nil
}

// open returns the machine, locked; the caller unlocks.
func (s *SimulatedEnclave) open(ctx context.Context) (*Platform, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	if s.platform == nil {
		s.mu.Unlock()
		return nil, fmt.Errorf("the simulated enclave is not open: %w", ErrIssue)
	}
	return s.platform, nil
}

// UniqueID returns the enclave's MRENCLAVE; zeros once it is closed.
func (s *SimulatedEnclave) UniqueID() [32]byte {
	p, err := s.open(context.Background())
	if err != nil {
		return [32]byte{}
	}
	defer s.mu.Unlock()
	body := p.Enclave(s.name, [64]byte{})
	if s.change != nil {
		s.change(body)
	}
	return body.MRENCLAVE
}

// Manifest describes the slot: no key id, no register. The error wraps [ErrIssue], or is
// the context's.
func (s *SimulatedEnclave) Manifest(ctx context.Context) (attest.Slot, error) {
	if _, err := s.open(ctx); err != nil {
		return attest.Slot{}, err
	}
	defer s.mu.Unlock()
	return attest.Slot{Format: enclave.Format, Mode: attest.ModeDirect, Anchor: attest.AnchorStatementOnly}, nil
}

// Attest quotes the statement for one slot of its manifest, in version 3. The error wraps
// [ErrIssue], and [attest.ErrForm] or [attest.ErrArgument] if the statement does not
// encode, or is the context's.
func (s *SimulatedEnclave) Attest(ctx context.Context, slot uint8, st *attest.Statement) (*attest.Evidence, error) {
	encoded, err := st.Encode()
	if err != nil {
		return nil, fmt.Errorf("quoting a statement: %w: %w", ErrIssue, err)
	}
	if int(slot) >= len(st.Manifest) || !fills(&st.Manifest[slot]) {
		return nil, fmt.Errorf("quoting for slot %d, which an enclave does not fill: %w", slot, ErrIssue)
	}
	p, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	body := p.Enclave(s.name, [64]byte(attest.Quoted(attest.SHA512, slot, enclave.Format, encoded)))
	if s.change != nil {
		s.change(body)
	}
	q, err := p.SGXQuote(body, s.now())
	if err != nil {
		return nil, err
	}
	b, err := q.Marshal()
	if err != nil {
		return nil, err
	}
	return &attest.Evidence{Slot: slot, Format: enclave.Format, Parts: []attest.Part{{Name: enclave.PartQuote, Data: b}}}, nil
}

// fills reports whether an enclave can fill the slot.
func fills(s *attest.Slot) bool {
	return s.Format == enclave.Format && s.Mode == attest.ModeDirect && s.Anchor == attest.AnchorStatementOnly && s.KeyID == [32]byte{}
}

// Collateral returns what the simulated vendor publishes of the machine. The error wraps
// [ErrIssue], or is the context's.
func (s *SimulatedEnclave) Collateral(ctx context.Context) ([]attest.Collateral, error) {
	p, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	return p.Collateral(TEESGX, s.now())
}

// Close forgets the machine. It returns nil.
func (s *SimulatedEnclave) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.platform = nil
	return nil
}

// Wrap puts the header of 16 bytes before a quote that EGo and Open Enclave put there
// (oe_report_header_t): version 1, type 2, the quote's size.
func Wrap(quote []byte) []byte {
	le := binary.LittleEndian
	b := le.AppendUint32(nil, 1)
	b = le.AppendUint32(b, 2)
	b = le.AppendUint64(b, uint64(len(quote)))
	return append(b, quote...)
}
