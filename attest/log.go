package attest

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// Bounds of the event log (SPEC, section 5).
const (
	// MaxLog is the largest encoded log in bytes.
	MaxLog = 16 << 20
	// MaxEvents is the largest number of events in a log.
	MaxEvents = 1 << 16
	// MaxEventData is the largest data of one event in bytes.
	MaxEventData = 64 << 10
	// MaxBanks is the largest number of register banks.
	MaxBanks = 4
)

// EventType is the type of an event; it stands inside the event's digest.
type EventType uint16

// The event types, in the order the grammar wants them (SPEC, section 5).
const (
	// EventOrigin opens a log: the register's value and counters as found.
	EventOrigin EventType = 1
	// EventLaunchBegin opens a launch: series and clock.
	EventLaunchBegin EventType = 2
	// EventKey holds the launch key's SubjectPublicKeyInfo in DER.
	EventKey EventType = 3
	// EventComponent is one measured component.
	EventComponent EventType = 4
	// EventEnvironment is one group of facts about the surroundings.
	EventEnvironment EventType = 5
	// EventSeparator ends what is measured before the job; empty data.
	EventSeparator EventType = 6
	// EventCommit holds SHA-256 of a statement: the last event before its quote.
	EventCommit EventType = 7
	// EventEnd closes a launch: [EndCompleted] or [EndAborted].
	EventEnd EventType = 8
)

// The data of an EventEnd.
const (
	// EndCompleted: the launch released its record.
	EndCompleted = "completed"
	// EndAborted: the launch gave up after its separator.
	EndAborted = "aborted"
)

// String returns the type's name in logs and reports.
func (t EventType) String() string {
	names := [...]string{
		EventOrigin: "origin", EventLaunchBegin: "launch-begin", EventKey: "key",
		EventComponent: "component", EventEnvironment: "environment",
		EventSeparator: "separator", EventCommit: "commit", EventEnd: "end",
	}
	if t == 0 || int(t) >= len(names) {
		return fmt.Sprintf("event type %d", uint16(t))
	}
	return names[t]
}

// Event is one event of the log. Its digest covers type, index, launch tag and
// SHA-256(salt ‖ data), so that data can be withheld, and nothing that a
// verifier reads is outside the digest.
type Event struct {
	// Index is the event's position in the log, from 0.
	Index uint64
	// Type is the event's type.
	Type EventType
	// Launch is the launch tag: 32 random bytes that every event of one launch
	// carries; zeros for EventOrigin. It is not the launch id, which is a
	// digest over these events and so cannot stand inside them.
	Launch [32]byte
	// Disclosed is true if Salt and Data are present.
	Disclosed bool
	// Salt is 32 random bytes.
	Salt [32]byte
	// Data is the event's data, at most MaxEventData bytes.
	Data []byte
	// DataHash is SHA-256(salt ‖ data).
	DataHash [32]byte
}

// NewEvent returns a disclosed event with its data hash.
func NewEvent(index uint64, t EventType, launch, salt [32]byte, data []byte) Event {
	e := Event{Index: index, Type: t, Launch: launch, Disclosed: true, Salt: salt, Data: bytes.Clone(data)}
	e.DataHash = sha256.Sum256(append(bytes.Clone(salt[:]), data...))
	return e
}

// Withhold returns the event without salt and data; its digest is the same.
func (e Event) Withhold() Event {
	e.Disclosed, e.Salt, e.Data = false, [32]byte{}, nil
	return e
}

// Preimage returns what is hashed into every bank: label, type (2 bytes), index
// (8), launch tag (32), data hash (32).
func (e *Event) Preimage() []byte {
	p := append([]byte(labelEvent), byte(e.Type>>8), byte(e.Type))
	p = binary.BigEndian.AppendUint64(p, e.Index)
	p = append(p, e.Launch[:]...)
	return append(p, e.DataHash[:]...)
}

// Digest returns the event's SHA-256 digest, the leaf of the log's tree.
func (e *Event) Digest() [32]byte { return sha256.Sum256(e.Preimage()) }

// Log is an event log: one register, the same banks throughout.
type Log struct {
	// Register is the register's number, at most 255.
	Register uint32
	// Banks are the banks in ascending order.
	Banks []Alg
	// Events are the events; Events[i].Index is i.
	Events []Event
}

// The TLV types of the TCG Canonical Event Log, version 1.0, section 5.
const (
	celRecnum  = 0
	celPCR     = 1
	celDigests = 3
	// celSworn is the type of Sworn's content.
	celSworn = 0x53
)

// Encode returns the log in TCG CEL-TLV. The error wraps ErrForm.
func (l *Log) Encode() ([]byte, error) {
	if err := l.check(); err != nil {
		return nil, err
	}
	var b []byte
	for i := range l.Events {
		if !l.Events[i].consistent() {
			return nil, fmt.Errorf("event %d: data hash is not that of salt and data: %w", i, ErrForm)
		}
		if b = l.AppendRecord(b, &l.Events[i]); len(b) > MaxLog {
			return nil, fmt.Errorf("log of more than %d bytes: %w", MaxLog, ErrForm)
		}
	}
	return b, nil
}

// consistent reports whether the event is one that [ParseLog] could return:
// its data hash is that of the salt and data it discloses, or it holds neither.
func (e *Event) consistent() bool {
	if !e.Disclosed {
		return e.Salt == [32]byte{} && len(e.Data) == 0
	}
	return e.DataHash == sha256.Sum256(append(bytes.Clone(e.Salt[:]), e.Data...))
}

// check enforces what the encoding cannot express otherwise.
func (l *Log) check() error {
	if l == nil || len(l.Events) == 0 || len(l.Events) > MaxEvents {
		return fmt.Errorf("log without events or with more than %d: %w", MaxEvents, ErrForm)
	}
	if l.Register > 255 || len(l.Banks) == 0 || len(l.Banks) > MaxBanks {
		return fmt.Errorf("log register or banks out of range: %w", ErrForm)
	}
	for i, a := range l.Banks {
		if !a.Known() || i > 0 && l.Banks[i-1] >= a {
			return fmt.Errorf("log banks: %w", ErrForm)
		}
	}
	for i := range l.Events {
		e := &l.Events[i]
		if e.Index != uint64(i) || e.Type < EventOrigin || e.Type > EventEnd || len(e.Data) > MaxEventData {
			return fmt.Errorf("event %d: %w", i, ErrForm)
		}
	}
	return nil
}

// AppendRecord appends the CEL-TLV record of one event of this log to b.
func (l *Log) AppendRecord(b []byte, e *Event) []byte {
	b = appendTLV(b, celRecnum, binary.BigEndian.AppendUint64(nil, e.Index))
	b = appendTLV(b, celPCR, []byte{byte(l.Register)})
	pre, digests := e.Preimage(), []byte(nil)
	for _, a := range l.Banks {
		digests = appendTLV(digests, byte(a), a.Sum(pre))
	}
	b = appendTLV(b, celDigests, digests)
	c := binary.BigEndian.AppendUint16(nil, uint16(e.Type))
	c = append(c, e.Launch[:]...)
	if e.Disclosed {
		c = append(append(c, 1), e.Salt[:]...)
		c = append(c, e.Data...)
	} else {
		c = append(append(c, 0), e.DataHash[:]...)
	}
	return appendTLV(b, celSworn, c)
}

func appendTLV(b []byte, t byte, v []byte) []byte {
	b = binary.BigEndian.AppendUint32(append(b, t), uint32(len(v)))
	return append(b, v...)
}

// tlv takes one TLV of the wanted type off r.
func (r *reader) tlv(t byte) []byte {
	if r.u8() != t {
		r.short = true
		return nil
	}
	n := r.u32()
	if uint64(n) > uint64(len(r.b)) {
		r.short, r.b = true, nil
		return nil
	}
	return r.take(int(n))
}

// ParseLog parses a log exactly: records in sequence, one register, the same
// banks throughout, every digest equal to the one recomputed from the event.
// Whatever it accepts, Encode writes back unchanged; every error wraps ErrForm.
func ParseLog(b []byte) (*Log, error) {
	if len(b) > MaxLog {
		return nil, fmt.Errorf("log of %d bytes, limit %d: %w", len(b), MaxLog, ErrForm)
	}
	l := &Log{}
	r := reader{b: b}
	for len(r.b) > 0 {
		if len(l.Events) == MaxEvents {
			return nil, fmt.Errorf("log of more than %d events: %w", MaxEvents, ErrForm)
		}
		if err := l.parseRecord(&r); err != nil {
			return nil, fmt.Errorf("log record %d: %w", len(l.Events), err)
		}
	}
	if err := l.check(); err != nil {
		return nil, err
	}
	return l, nil
}

// parseRecord parses one record and appends its event.
func (l *Log) parseRecord(r *reader) error {
	start := r.b
	rec, pcr, digests, content := r.tlv(celRecnum), r.tlv(celPCR), r.tlv(celDigests), r.tlv(celSworn)
	if r.short || len(rec) != 8 || len(pcr) != 1 {
		return fmt.Errorf("structure: %w", ErrForm)
	}
	if len(l.Events) == 0 {
		if err := l.parseHeader(uint32(pcr[0]), digests); err != nil {
			return err
		}
	}
	c := reader{b: content}
	e := Event{Index: binary.BigEndian.Uint64(rec), Type: EventType(c.u16()), Launch: c.hash()}
	switch c.u8() {
	case 1:
		salt := c.hash()
		if len(c.b) > MaxEventData {
			return fmt.Errorf("data of %d bytes, limit %d: %w", len(c.b), MaxEventData, ErrForm)
		}
		e = NewEvent(e.Index, e.Type, e.Launch, salt, c.b)
	case 0:
		e.DataHash = c.hash()
		c.short = c.short || len(c.b) != 0
	default:
		c.short = true
	}
	if c.short {
		return fmt.Errorf("content: %w", ErrForm)
	}
	used := start[:len(start)-len(r.b)]
	if !bytes.Equal(l.AppendRecord(nil, &e), used) {
		return fmt.Errorf("digests do not match the event: %w", ErrForm)
	}
	l.Events = append(l.Events, e)
	return nil
}

// parseHeader takes register and banks from the first record; the others must
// repeat them.
func (l *Log) parseHeader(register uint32, digests []byte) error {
	l.Register = register
	d := reader{b: digests}
	for len(d.b) > 0 {
		a := Alg(d.b[0])
		if len(l.Banks) == MaxBanks || !a.Known() {
			return fmt.Errorf("banks: %w", ErrForm)
		}
		if v := d.tlv(byte(a)); d.short || len(v) != a.Size() {
			return fmt.Errorf("banks: %w", ErrForm)
		}
		l.Banks = append(l.Banks, a)
	}
	return nil
}

// Digests returns the SHA-256 digests of the first n events, the leaves of the
// log's tree; fewer if the log is shorter.
func (l *Log) Digests(n uint64) [][32]byte {
	n = min(n, uint64(len(l.Events)))
	out := make([][32]byte, 0, n)
	for i := range l.Events[:n] {
		out = append(out, l.Events[i].Digest())
	}
	return out
}

// Replay extends start with the first n events in one bank and returns the
// register's value. It returns nil if the bank is not one of the log's, start
// has another size, or the log is shorter.
func (l *Log) Replay(bank Alg, start []byte, n uint64) []byte {
	known := false
	for _, a := range l.Banks {
		known = known || a == bank
	}
	if !known || len(start) != bank.Size() || n > uint64(len(l.Events)) {
		return nil
	}
	v := bytes.Clone(start)
	for i := range l.Events[:n] {
		v = bank.Sum(v, bank.Sum(l.Events[i].Preimage()))
	}
	return v
}

// LaunchID returns L: SHA-256 over the label and the digests of the events from
// launch-begin to separator, both included.
func LaunchID(events []Event) [32]byte {
	p := []byte(labelLaunch)
	for i := range events {
		d := events[i].Digest()
		p = append(p, d[:]...)
	}
	return sha256.Sum256(p)
}
