package attest_test

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // G505: an active SHA-1 bank is extended; its values are never accepted.
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash"
	"slices"
	"testing"
)

// What stands below reads statements and logs by docs/SPEC.md, sections 1, 2, 4
// and 5, and calls nothing of package attest.

var (
	errSpecForm    = errors.New("not the form of the specification")
	errSpecGrammar = errors.New("not the grammar of the specification")
)

// specSlot is field 16 of section 4 for one slot.
type specSlot struct {
	number, mode, anchor byte
	format               uint16
	keyID, register      []byte
}

// specFields are the fields of section 4.
type specFields struct {
	at    map[string][]byte
	nonce []byte
	body  []byte
	slots []specSlot
}

// specSizes are the bytes of a digest by TPM_ALG_ID, section 1.
func specSizes() map[uint16]int { return map[uint16]int{0x04: 20, 0x0b: 32, 0x0c: 48, 0x0d: 64} }

func specStatement(b []byte) (*specFields, error) {
	if len(b) > 4096 || len(b) < 262 || string(b[:24]) != "sworn.run/statement/v1\x00\x00" {
		return nil, errSpecForm
	}
	f := &specFields{at: map[string][]byte{
		"type": b[24:25], "clock": b[25:26], "time": b[26:34], "series": b[34:66], "launch": b[66:98], "key": b[98:130],
		"sequence": b[130:138], "previous": b[138:170], "logSize": b[170:178], "logRoot": b[178:210],
		"first": b[210:218], "count": b[218:226], "tree": b[226:258],
	}}
	number := func(name string) uint64 { return binary.BigEndian.Uint64(f.at[name]) }
	zero := func(name string) bool { return bytes.Count(f.at[name], []byte{0}) == len(f.at[name]) }
	n := int(b[258])
	run := f.at["type"][0] == 1 && zero("sequence") && zero("previous") && zero("first") && number("count") == 1
	batch := f.at["type"][0] == 3 && !zero("sequence") && !zero("previous") && number("count") >= 1 && number("count") <= 1<<20 &&
		number("first") <= 1<<53-number("count")
	if !run && !batch || f.at["clock"][0] != 0 || number("time") < 1 || number("time") > 1<<53 ||
		zero("series") || zero("launch") || zero("key") || zero("logSize") || n != 0 && (n < 8 || n > 64) || len(b) < 262+n {
		return nil, errSpecForm
	}
	f.nonce = b[259 : 259+n]
	rest := b[259+n:]
	m := int(binary.BigEndian.Uint16(rest))
	if m != 0 && (m != 42 || batch) || len(rest) < 3+m {
		return nil, errSpecForm
	}
	f.body, rest = rest[2:2+m], rest[2+m:]
	if m == 42 && (!bytes.HasPrefix(f.body, []byte{0, 0x0b}) || binary.BigEndian.Uint64(f.body[34:]) == 0) {
		return nil, errSpecForm
	}
	count := int(rest[0])
	if count < 1 || count > 8 {
		return nil, errSpecForm
	}
	rest = rest[1:]
	for i := range count {
		if len(rest) < 38 || len(rest) < 38+int(rest[37]) || int(rest[0]) != i {
			return nil, errSpecForm
		}
		s := specSlot{rest[0], rest[3], rest[4], binary.BigEndian.Uint16(rest[1:]), rest[5:37], rest[38 : 38+int(rest[37])]}
		if s.format == 0 || s.mode < 1 || s.mode > 3 || !specRegister(s.anchor, s.register) {
			return nil, errSpecForm
		}
		f.slots, rest = append(f.slots, s), rest[38+len(s.register):]
	}
	if len(rest) != 0 {
		return nil, errSpecForm
	}
	return f, nil
}

// specRegister tells whether a register descriptor goes with its anchor.
func specRegister(anchor byte, r []byte) bool {
	switch anchor {
	case 1:
		if len(r) < 6 {
			return false
		}
		alg := binary.BigEndian.Uint16(r)
		return alg != 0x04 && specSizes()[alg] != 0 && len(r) == 6+specSizes()[alg]
	case 2:
		return len(r) == 0
	default:
		return false
	}
}

func specCompareStatement(t *testing.T, name string, s *specFields, v *vector) {
	t.Helper()
	f := &v.Fields
	for member, want := range map[string][]byte{
		"type": {f.Type}, "clock": {f.Clock}, "time": cat(uint64(f.Time)), "series": f.Series, "launch": f.Launch, "key": f.KeyID,
		"sequence": cat(uint64(f.Sequence)), "previous": f.Previous, "logSize": cat(uint64(f.LogSize)), "logRoot": f.LogRoot,
		"first": cat(uint64(f.FirstRecord)), "count": cat(uint64(f.RecordCount)), "tree": f.TreeRoot,
	} {
		if !bytes.Equal(s.at[member], want) {
			t.Errorf("%s: %s is %x, want %x", name, member, s.at[member], want)
		}
	}
	if !bytes.Equal(s.body, f.Body) {
		t.Errorf("%s: body %x, want %x", name, s.body, f.Body)
	}
	if len(s.body) > 0 {
		st := sha256.Sum256(v.Statement)
		h := sha256.Sum256(cat("sworn.run/nv/v1\x00", st))
		if !bytes.Equal(h[:], v.Certified) {
			t.Errorf("%s: the counter is certified over %x", name, h)
		}
	}
	if !bytes.Equal(s.nonce, f.Nonce) || len(s.slots) != len(f.Manifest) {
		t.Errorf("%s: nonce %x, %d slots", name, s.nonce, len(s.slots))
		return
	}
	for i, m := range f.Manifest {
		var register []byte
		if m.Register != nil {
			register = cat(m.Register.Bank, m.Register.Index, []byte(m.Register.Value))
		}
		x, q := s.slots[i], v.Quoted[i]
		if x.number != m.Slot || x.format != m.Format || x.mode != m.Mode || x.anchor != m.Anchor ||
			!bytes.Equal(x.keyID, m.KeyID) || !bytes.Equal(x.register, register) {
			t.Errorf("%s: slot %d is %+v", name, i, x)
		}
		pre := cat("sworn.run/quote/v1\x00", x.number, x.format, []byte(v.Statement))
		h256, h512 := sha256.Sum256(pre), sha512.Sum512(pre)
		if !bytes.Equal(h256[:], q.SHA256) || !bytes.Equal(h512[:], q.SHA512) {
			t.Errorf("%s: slot %d quotes %x", name, i, h256)
		}
	}
}

// specEvent is one record of section 5.
type specEvent struct {
	typ      uint16
	tag      [32]byte
	preimage []byte
}

type specParsed struct {
	register byte
	banks    []uint16
	events   []specEvent
	launches [][32]byte
}

// specTLV takes one TLV of the type; ok is false if it is not there.
func specTLV(b []byte, typ byte) (value, rest []byte, ok bool) {
	if len(b) < 5 || b[0] != typ || uint64(binary.BigEndian.Uint32(b[1:])) > uint64(len(b)-5) {
		return nil, nil, false
	}
	n := 5 + int(binary.BigEndian.Uint32(b[1:]))
	return b[5:n], b[n:], true
}

func specLog(b []byte) (*specParsed, error) {
	l := &specParsed{}
	if len(b) == 0 || len(b) > 16<<20 {
		return nil, errSpecForm
	}
	for len(b) > 0 {
		var parts [4][]byte
		for i, typ := range []byte{0, 1, 3, 0x53} {
			ok := false
			if parts[i], b, ok = specTLV(b, typ); !ok {
				return nil, errSpecForm
			}
		}
		if len(l.events) == 65536 || !l.record(parts) {
			return nil, errSpecForm
		}
	}
	return l, l.grammar()
}

// record reads the four parts of one record.
func (l *specParsed) record(parts [4][]byte) bool {
	number, register, digests, content := parts[0], parts[1], parts[2], parts[3]
	if !bytes.Equal(number, cat(uint64(len(l.events)))) || len(register) != 1 || len(content) < 35 {
		return false
	}
	e := specEvent{typ: binary.BigEndian.Uint16(content), tag: [32]byte(content[2:34])}
	dataHash := sha256.Sum256(content[35:])
	switch {
	case content[34] == 0 && len(content) == 35+32:
		dataHash = [32]byte(content[35:])
	case content[34] != 1 || len(content) < 35+32 || len(content) > 35+32+65536:
		return false
	}
	if e.typ < 1 || e.typ > 8 {
		return false
	}
	e.preimage = cat("sworn.run/event/v1\x00", e.typ, number, e.tag, dataHash)
	var banks []uint16
	for len(digests) > 0 {
		alg := uint16(digests[0])
		if specSizes()[alg] == 0 || len(banks) > 0 && banks[len(banks)-1] >= alg {
			return false
		}
		value, rest, ok := specTLV(digests, digests[0])
		if !ok || !bytes.Equal(value, specHash(alg, e.preimage)) {
			return false
		}
		banks, digests = append(banks, alg), rest
	}
	if len(l.events) == 0 {
		l.register, l.banks = register[0], banks
	}
	l.events = append(l.events, e)
	return len(banks) > 0 && register[0] == l.register && slices.Equal(banks, l.banks)
}

func specHash(alg uint16, parts ...[]byte) []byte {
	h := map[uint16]hash.Hash{0x04: sha1.New(), 0x0b: sha256.New(), 0x0c: sha512.New384(), 0x0d: sha512.New()}[alg]
	h.Write(bytes.Join(parts, nil))
	return h.Sum(nil)
}

// grammar reads the events as one word of letters and checks it by hand:
// origin, then launches.
func (l *specParsed) grammar() error {
	if l.events[0].typ != 1 || l.events[0].tag != [32]byte{} {
		return errSpecGrammar
	}
	// What may follow what, within a launch: types 2 to 8 by type.
	follow := map[uint16][]uint16{2: {3}, 3: {4, 5, 6}, 4: {4, 5, 6}, 5: {5, 6}, 6: {7, 8}, 7: {7, 8}}
	tags := map[[32]byte]bool{{}: true}
	var last uint16
	var tag, id [32]byte
	var digests []byte
	for i, e := range l.events[1:] {
		if e.typ == 2 {
			if tags[e.tag] {
				return errSpecGrammar
			}
			if i > 0 {
				l.launches = append(l.launches, id)
			}
			tags[e.tag], tag, id, digests = true, e.tag, [32]byte{}, []byte("sworn.run/launch/v1\x00")
		} else if e.tag != tag || !slices.Contains(follow[last], e.typ) {
			return errSpecGrammar
		}
		last = e.typ
		digests = append(digests, specHash(0x0b, e.preimage)...)
		if e.typ == 6 {
			id = sha256.Sum256(digests)
		}
	}
	l.launches = append(l.launches, id)
	if last == 0 || id == [32]byte{} {
		return errSpecGrammar
	}
	return nil
}

func specCompareLog(t *testing.T, name string, l *specParsed, v *vector) {
	t.Helper()
	if uint32(l.register) != v.Register || len(l.events) != len(v.Events) || len(l.launches) != len(v.Launches) {
		t.Errorf("%s: register %d, %d events, %d launches", name, l.register, len(l.events), len(l.launches))
		return
	}
	for i, id := range l.launches {
		if !bytes.Equal(id[:], v.Launches[i]) {
			t.Errorf("%s: launch %d is %x", name, i, id)
		}
	}
	var leaves [][]byte
	for i, e := range l.events {
		leaves = append(leaves, specHash(0x0b, e.preimage))
		if !bytes.Equal(leaves[i], v.Events[i].Digest) {
			t.Errorf("%s: digest %d is %x", name, i, leaves[i])
		}
	}
	if root := specRoot(leaves); !bytes.Equal(root, v.Root) {
		t.Errorf("%s: root %x", name, root)
	}
	algs := map[string]uint16{"sha1": 0x04, "sha256": 0x0b, "sha384": 0x0c, "sha512": 0x0d}
	for _, r := range v.Replay {
		alg, value := algs[r.Bank], []byte(r.Start)
		for _, e := range l.events[:r.Events] {
			value = specHash(alg, value, specHash(alg, e.preimage))
		}
		if !bytes.Equal(value, r.Value) {
			t.Errorf("%s: %s replays to %s", name, r.Bank, hex.EncodeToString(value))
		}
	}
}

// specRoot is the tree hash of RFC 6962, 2.1, as it is written there.
func specRoot(leaves [][]byte) []byte {
	switch n := len(leaves); n {
	case 0:
		return specHash(0x0b)
	case 1:
		return specHash(0x0b, []byte{0}, leaves[0])
	default:
		k := 1
		for 2*k < n {
			k *= 2
		}
		return specHash(0x0b, []byte{1}, specRoot(leaves[:k]), specRoot(leaves[k:]))
	}
}
