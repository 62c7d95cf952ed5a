package verifier

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/limits"
)

// Session verifies many capsules under one [Input]. What capsules of one statement
// share, its evidence, log, collateral and tokens, is appraised once, as long as it is
// among the last that were seen; of each capsule the record, its inclusion and its claims
// are judged. Reports are those of [Verify].
//
// The zero Session refuses. Several goroutines may use one.
type Session struct {
	in *Input

	mu sync.Mutex
	// seen are the last that were asked for, the latest at the end, size what they hold.
	seen []*remembered
	size int
}

// remembered is the evidence of capsules that share it, at the times of the verdict.
type remembered struct {
	shared *cer.Shared
	digest [32]byte
	once   sync.Once
	// now and at are nil if the capsules have to be judged one by one.
	now, at *evidence
}

// The most that a session remembers, in statements with their evidence and in bytes of
// capsules; the latest is remembered whatever its size.
const (
	rememberedStatements = 64
	rememberedBytes      = limits.CapsuleFile
)

// NewSession returns a session. What the input points to must not be changed while the
// session is in use. The error wraps ErrInput or ErrPolicy, as that of [Verify].
func NewSession(in Input) (*Session, error) {
	if err := in.check([][]byte{nil}); err != nil {
		return nil, err
	}
	found, err := in.prepared()
	if err != nil {
		return nil, err
	}
	return &Session{in: found}, nil
}

// Verify judges a capsule file as [Verify] does.
func (s *Session) Verify(file []byte) (*Report, error) {
	record, inclusion, shared, err := cer.Split(file, nil)
	if err != nil {
		return s.alone(file, false)
	}
	return s.judge(shared, record, inclusion, false)
}

// VerifyShared judges the capsule that shared makes of a record and its inclusion proof
// ([cer.Shared.AppendFile]). The report shares memory with others of the session, and must
// not be changed.
func (s *Session) VerifyShared(shared *cer.Shared, record, inclusion []byte) (*Report, error) {
	return s.judge(shared, record, inclusion, false)
}

// JudgeShared is [Session.VerifyShared] whose report has verdict and checks, and neither
// Summary nor Capsule.
func (s *Session) JudgeShared(shared *cer.Shared, record, inclusion []byte) (*Report, error) {
	return s.judge(shared, record, inclusion, true)
}

// judge judges a capsule.
func (s *Session) judge(shared *cer.Shared, record, inclusion []byte, brief bool) (*Report, error) {
	if s == nil || s.in == nil || shared == nil {
		return nil, fmt.Errorf("no session, or nothing shared: %w", ErrInput)
	}
	file := func() []byte { return shared.AppendFile(nil, record, inclusion) }
	r := s.remember(shared)
	capsule, err := shared.Capsule(record, inclusion)
	if err != nil || r.now == nil {
		return s.alone(file(), brief)
	}
	return verifyAll(s.in, func(at time.Time) []*appraisal {
		e := r.now
		if !at.Equal(s.in.Now) {
			e = r.at
		}
		a := e.of(capsule, recordOf(s.in, capsule, shared.Size(record, inclusion), file))
		a.brief = brief
		return []*appraisal{a}
	})[0], nil
}

// recordOf parses the record of a capsule.
func recordOf(in *Input, c *cer.Capsule, size int, file func() []byte) record {
	a := appraisal{in: in, capsule: c}
	a.readRecord()
	a.size, a.file = size, file
	return a.record
}

// alone judges a file by itself.
func (s *Session) alone(file []byte, brief bool) (*Report, error) {
	if s == nil || s.in == nil {
		return nil, fmt.Errorf("no session: %w", ErrInput)
	}
	return verifyAll(s.in, func(at time.Time) []*appraisal {
		a := newAppraisal(s.in, at, file)
		a.brief = brief
		return []*appraisal{a}
	})[0], nil
}

// remember returns what is remembered of capsules that share this, and finds it out where
// it is the first time.
func (s *Session) remember(shared *cer.Shared) *remembered {
	r := s.slot(shared)
	r.once.Do(func() {
		now := newEvidence(s.in, s.in.Now, shared.Empty())
		if !now.common() {
			return
		}
		if !s.in.At.IsZero() {
			r.at = newEvidence(s.in, s.in.At, shared.Empty())
		}
		r.now = now
	})
	return r
}

// slot returns the place where something is remembered, and forgets the oldest for it.
func (s *Session) slot(shared *cer.Shared) *remembered {
	s.mu.Lock()
	defer s.mu.Unlock()
	digest := shared.Digest()
	for i, r := range slices.Backward(s.seen) {
		if r.digest == digest {
			s.seen = append(slices.Delete(s.seen, i, i+1), r)
			return r
		}
	}
	r := &remembered{shared: shared, digest: digest}
	s.seen, s.size = append(s.seen, r), s.size+shared.Size(nil, nil)
	for len(s.seen) > 1 && (len(s.seen) > rememberedStatements || s.size > rememberedBytes) {
		s.size -= s.seen[0].shared.Size(nil, nil)
		s.seen = slices.Delete(s.seen, 0, 1)
	}
	return r
}

// evidence is what was found, at one time, of what capsules share. It does not change but
// for others, which are made as they are asked for.
type evidence struct {
	// a is the appraisal of a capsule without a record.
	a *appraisal
	// checks are the outcomes of those that look at no record, by id.
	checks  map[string][]Check
	assumed []string
	ledgers []LedgerUsed
	all     []definition

	newest, soonest time.Time
	summary         func() Summary

	mu     sync.Mutex
	others map[int64]*evidence // as of other times, in Unix nanoseconds
}

// newEvidence appraises what a capsule without a record has.
func newEvidence(in *Input, at time.Time, c *cer.Capsule) *evidence {
	a := emptyAppraisal(in, at)
	a.capsule = c
	a.readEvidence()
	return evidenceOf(a)
}

// evidenceOf makes the checks that look at no record.
func evidenceOf(a *appraisal) *evidence {
	e := &evidence{a: a, checks: map[string][]Check{}, others: map[int64]*evidence{}, all: definitions()}
	for i := range e.all {
		if d := &e.all[i]; looksAtNoRecord(d.id) {
			e.checks[d.id] = a.runOne(nil, d)
		}
	}
	e.ledgers = a.ledgersUsed()
	e.assumed = a.assumed()
	e.newest, e.soonest = a.collateralDates()
	b := *a // which may find out more on the way
	e.summary = sync.OnceValue(b.evidenceSummary)
	return e
}

// common reports whether the evidence is the same for every capsule that has it. A time
// stamp may be over one of them as a whole.
func (e *evidence) common() bool {
	return !slices.ContainsFunc(e.a.stamps, func(s timeStamp) bool { return s.covers != coversEvidence })
}

// of returns the appraisal of a capsule that has the evidence.
func (e *evidence) of(c *cer.Capsule, r record) *appraisal {
	a := *e.a
	a.evidence, a.capsule, a.record = e, c, r
	return &a
}

// asOf returns the evidence as of an earlier time, as [appraisal.asOf] does.
func (e *evidence) asOf(at time.Time) *evidence {
	e.mu.Lock()
	defer e.mu.Unlock()
	key := at.UnixNano()
	if e.others[key] == nil {
		e.others[key] = evidenceOf(e.a.asOf(at))
	}
	return e.others[key]
}

// definitions returns the checks in their order.
func (e *evidence) definitions() []definition {
	if e == nil {
		return definitions()
	}
	return e.all
}

// append makes a check, or takes what is known of it.
func (e *evidence) append(out []Check, a *appraisal, d *definition) []Check {
	if e != nil {
		if known, ok := e.checks[d.id]; ok {
			return append(out, known...)
		}
	}
	return a.runOne(out, d)
}

// looksAtNoRecord reports whether a check has one outcome for all capsules with the same
// evidence. A check that is not listed here is made for each of them.
func looksAtNoRecord(id string) bool {
	switch id {
	case "statement.form", "statement.signature", "evidence.set", "signer.signature", "signer.match", "boot.log",
		"slot.policy", "slot.form", "slot.binding", "slot.signature", "slot.identity", "slot.revocation", "slot.tcb",
		"slot.mode", "slot.counters", "slot.measurement",
		"log.origin", "log.replay", "log.launch", "log.commit", "log.sole", "log.anchor",
		"launcher.rooted", "launcher.exclusive", "components.match", "components.closed", "model.signature",
		"protection.storage", "compute.inside", "composite.same-machine", "nonce.quote",
		"time.token", "time.order", "collateral.coherent", "ledger", "component.file":
		return true
	default:
		return false
	}
}
