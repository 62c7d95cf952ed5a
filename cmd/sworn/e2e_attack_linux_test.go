package main

import (
	"bytes"
	"crypto/sha256"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-tpm/tpm2"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/simulator"
	"github.com/sworn-run/sworn/verifier"
)

// scene is a machine under attack: another process reaches its TPM at any time.
type scene struct {
	*machine
	*intruder
	manager *manager
	policy  *verifier.Policy
	// model is a genuine record that is not the one under attack.
	model []byte
}

// newScene prepares a machine, a policy from a golden run, and a genuine record.
func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{machine: newMachine(t)}
	s.manager = s.manage(t)
	s.intruder = &intruder{t: t, tpm: s.manager, m: s.machine}
	s.policy = s.machine.policy(t, s.run(t, "golden", []string{"--nonce", goldenNonce}, job(t), "copy"))
	s.model = s.run(t, "model", copyFlags(), job(t), "copy")
	trusted(t, s.verify(t, s.model, s.policy))
	return s
}

// copyFlags are the flags of a job that answers its standard input.
func copyFlags() []string { return []string{"--nonce", testNonce, "--input", "-"} }

// prefix returns the first n events of a log.
func prefix(l *attest.Log, n int) *attest.Log {
	return &attest.Log{Register: l.Register, Banks: l.Banks, Events: slices.Clone(l.Events[:n])}
}

// A process that reaches the TPM while a genuine launch is quoted has a record of
// its own quoted, by the same key, over the same register.
func TestForgedRecordUnderGenuineLog(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	quote := s.manager.at(tpm2.TPMCCQuote, 1, true)
	r := s.begin(t, s.runArgs("page", copyFlags(), job(t), "copy")...)
	_ = r.in.Close()
	quote.wait(t)
	l := s.intruder.log()
	before := prefix(l, len(l.Events)-1)
	ak := s.provider()
	k := s.newKey()
	seg := own(t, l)
	launchKeyID := sha256.Sum256(seg.Key.Data)
	attest13 := func(c *cer.Capsule) attest.Evidence {
		return s.quote(ak, quoted(c.Statement), certificates(open(t, s.model)), everything())
	}
	t.Run("with a key of its own", func(t *testing.T) {
		c := s.forge(s.model, before, sha256.Sum256(k.spki), k)
		refused(t, "own key", s.verify(t, finish(t, c, l, attest13(c)), s.policy), "statement.signature", "log.commit")
	})
	t.Run("naming the launch key", func(t *testing.T) {
		c := s.forge(s.model, before, launchKeyID, k)
		refused(t, "launch key", s.verify(t, finish(t, c, l, attest13(c)), s.policy), "statement.signature", "log.commit")
	})
	t.Run("with the log claiming its commit", func(t *testing.T) {
		c := s.forge(s.model, before, launchKeyID, k)
		refused(t, "commit claimed", s.verify(t, finish(t, c, commit(before, c.Statement), attest13(c)), s.policy),
			"statement.signature", "log.replay")
	})
	t.Run("with the key event replaced", func(t *testing.T) {
		other := prefix(before, len(before.Events))
		for i := range other.Events {
			if e := &other.Events[i]; e.Type == attest.EventKey && e.Launch == seg.Begin.Launch {
				*e = attest.NewEvent(e.Index, e.Type, e.Launch, e.Salt, k.spki)
			}
		}
		c := s.forge(s.model, other, sha256.Sum256(k.spki), k)
		refused(t, "key replaced", s.verify(t, finish(t, c, commit(other, c.Statement), attest13(c)), s.policy), "log.replay")
	})
	s.flush(ak)
	quote.release()
	if d := r.wait(t); d.code != 0 {
		t.Fatalf("the genuine run: %s", d.err)
	}
	trusted(t, s.verify(t, s.read(t, "page.cer.json"), s.policy))
}

// The intruder extends its own commit while the job runs: everything about its
// record is right, but for the launch key. The launcher then has nothing to
// release, and the next run says that the log was lost.
func TestForgedRecordWithItsCommit(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	r := s.begin(t, s.runArgs("page", copyFlags(), job(t), "copy")...)
	_, _ = r.in.Write([]byte("asked"))
	r.waitFor(t, "asked")
	before := s.intruder.log()
	k := s.newKey()
	c := s.forge(s.model, before, sha256.Sum256(own(t, before).Key.Data), k)
	full := commit(before, c.Statement)
	s.extend(&full.Events[len(full.Events)-1])
	ak := s.provider()
	ev := s.quote(ak, quoted(c.Statement), certificates(open(t, s.model)), everything())
	s.flush(ak)
	refused(t, "forged and committed", s.verify(t, finish(t, c, full, ev), s.policy), "statement.signature")
	d := r.end(t)
	checkRefused(t, d, "record not released", "log.replay")
	if _, err := os.Stat(s.path("page.cer.json")); err == nil {
		t.Error("a record was released")
	}
	next := s.run(t, "next", copyFlags(), job(t), "copy")
	refused(t, "after the intrusion", s.verify(t, next, s.policy), "log.origin")
}

// Quotes over a genuine statement, by other keys or of other registers.
func TestForeignQuotes(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	other := otherTPM(t)
	y := &intruder{t: t, tpm: other.manage(t), m: other}
	quote := s.manager.at(tpm2.TPMCCQuote, 1, true)
	r := s.begin(t, s.runArgs("page", copyFlags(), job(t), "copy")...)
	_ = r.in.Close()
	quote.wait(t)
	extra := quotedBy(quote.command)
	certs := certificates(open(t, s.model))
	ek := [][]byte{s.readNV(0x01c0000a)}
	type foreign struct {
		name string
		ev   attest.Evidence
		ids  []string
	}
	var quotes []foreign
	with := func(k *key, name string, extra []byte, certs [][]byte, sel []selected, ids ...string) {
		quotes = append(quotes, foreign{name, s.quote(k, extra, certs, sel), ids})
	}
	all := everything()
	ak := s.provider()
	with(ak, "the same again", extra, certs, all)
	with(ak, "other data", bytes.Repeat([]byte{1}, 32), certs, all, "slot.binding")
	with(ak, "no data", nil, certs, all, "slot.binding")
	with(ak, "bank sha384 only", extra, certs, all[1:], "log.replay")
	with(ak, "register left out", extra, certs, []selected{{attest.SHA256, []byte{0, 7, 12, 14}}, all[1]}, "log.replay")
	with(ak, "no certificate", extra, nil, all, "slot.identity", "slot.revocation")
	with(ak, "EK certificate", extra, ek, all, "slot.identity", "slot.revocation")
	s.flush(ak)
	odd := s.stranger()
	with(odd, "a stranger's key", extra, nil, all, "slot.binding", "slot.identity", "slot.revocation")
	with(odd, "a stranger's key, genuine AK certificate", extra, certs, all, "slot.binding", "slot.identity", "slot.revocation")
	with(odd, "a stranger's key, genuine EK certificate", extra, ek, all, "slot.binding", "slot.identity", "slot.revocation")
	s.flush(odd)
	child := s.child()
	with(child, "a child key", extra, nil, all, "slot.binding", "slot.identity", "slot.revocation")
	s.flush(child)
	// The other TPM's register is brought to the same value.
	for _, e := range s.intruder.log().Events {
		y.extend(&e)
	}
	// A launch flushes what others left loaded, so the key comes after it.
	theirs := certificates(open(t, other.run(t, "theirs", copyFlags(), job(t), "copy")))
	ak = y.provider()
	quotes = append(quotes, foreign{
		"another TPM", y.quote(ak, extra, theirs, everything()),
		[]string{"slot.binding", "slot.identity", "slot.revocation", "slot.counters", "log.replay"},
	})
	y.flush(ak)
	quote.release()
	if d := r.wait(t); d.code != 0 {
		t.Fatalf("the genuine run: %s", d.err)
	}
	page := s.read(t, "page.cer.json")
	for _, q := range quotes {
		c := open(t, page)
		c.Evidence = []attest.Evidence{q.ev}
		r := s.verify(t, encode(t, c), s.policy)
		if q.ids == nil {
			trusted(t, r)
			continue
		}
		refused(t, q.name, r, q.ids...)
	}
}

// otherTPM starts a machine whose TPM is of another maker.
func otherTPM(t *testing.T) *machine {
	t.Helper()
	m := bareMachine(t)
	s, err := simulator.StartSWTPM(t.Context(), simulator.Options{Dir: filepath.Join(m.dir, "tpm")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	m.tpm, m.addr = s, s.Addr()
	return m
}

// A genuine record of another maker's TPM, under roots that know both makers,
// one, or neither.
func TestAnotherMaker(t *testing.T) {
	t.Parallel()
	m, other := newMachine(t), otherTPM(t)
	p := m.policy(t, m.run(t, "golden", []string{"--nonce", goldenNonce}, job(t), "copy"))
	theirs := other.run(t, "theirs", copyFlags(), job(t), "copy")
	refused(t, "roots of this maker", m.verify(t, theirs, p), "slot.identity", "slot.revocation")
	both := m.path("both")
	for i, dir := range []string{m.roots, other.roots} {
		b, err := os.ReadFile(filepath.Join(dir, "tpm-ak", "SIMULATED-tpm-maker.pem"))
		if err == nil {
			err = os.MkdirAll(filepath.Join(both, "tpm-ak"), 0o755)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(both, "tpm-ak", string(rune('a'+i))+".pem"), b, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	m.roots = both
	refused(t, "roots of both makers", m.verify(t, theirs, p), "slot.identity")
	other.roots = both
	trusted(t, m.verify(t, m.run(t, "ours", copyFlags(), job(t), "copy"), p))
	m.roots = m.path("none")
	if err := os.MkdirAll(filepath.Join(m.roots, "tpm-ak"), 0o755); err != nil {
		t.Fatal(err)
	}
	refused(t, "no roots", m.verify(t, theirs, p), "slot.identity", "slot.revocation")
}

// AKs that sworn makes are other keys each time, and nobody vouches for them.
func TestChildKeys(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	flags := append(copyFlags(), "--ak", "child")
	p := m.policy(t, m.run(t, "golden", []string{"--nonce", goldenNonce}, job(t), "copy"))
	a, b := m.run(t, "a", flags, job(t), "copy"), m.run(t, "b", flags, job(t), "copy")
	refused(t, "child key", m.verify(t, a, p), "slot.identity", "slot.revocation")
	keys := map[[32]byte]bool{}
	for _, file := range [][]byte{a, b} {
		st, err := attest.ParseStatement(open(t, file).Statement)
		if err != nil {
			t.Fatal(err)
		}
		keys[st.Manifest[0].KeyID] = true
	}
	if len(keys) != 2 {
		t.Error("two launches had one child key")
	}
	swapped := open(t, b)
	swapped.Evidence = open(t, a).Evidence
	refused(t, "evidence of the other launch", m.verify(t, encode(t, swapped), p),
		"slot.binding", "slot.identity", "slot.revocation", "slot.counters", "log.replay")
}

// edit changes a copy of a record's capsule.
func edit(t *testing.T, file []byte, f func(*cer.Capsule)) []byte {
	t.Helper()
	c := open(t, file)
	f(c)
	return encode(t, c)
}

// The parts of one capsule in another's place, dropped, doubled and added.
func TestExchangedParts(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	page := s.run(t, "page", copyFlags(), job(t), "copy")
	model := open(t, s.model)
	for name, x := range map[string]struct {
		edit func(*cer.Capsule)
		ids  []string
	}{
		"another record": {
			func(c *cer.Capsule) { c.CER = model.CER },
			[]string{"statement.record", "statement.inclusion", "runtime.claims"},
		},
		"another signature": {func(c *cer.Capsule) { c.Signature = model.Signature }, []string{"statement.signature"}},
		"no signature":      {func(c *cer.Capsule) { c.Signature = nil }, []string{"statement.signature"}},
		"another quote":     {func(c *cer.Capsule) { c.Evidence = model.Evidence }, []string{"slot.binding", "slot.counters", "log.replay"}},
		"evidence dropped": {
			func(c *cer.Capsule) { c.Evidence = nil },
			[]string{
				"evidence.set", "slot.form", "slot.binding", "slot.signature", "slot.identity", "slot.revocation",
				"slot.mode", "slot.counters", "log.replay", "ledger",
			},
		},
		"evidence doubled": {
			func(c *cer.Capsule) { c.Evidence = append(c.Evidence, c.Evidence[0]) }, []string{"evidence.set"},
		},
		"slot renumbered": {func(c *cer.Capsule) { c.Evidence[0].Slot = 1 }, []string{"evidence.set"}},
		"format changed": {
			func(c *cer.Capsule) { c.Evidence[0].Format = 2 },
			[]string{
				"evidence.set", "slot.form", "slot.binding", "slot.signature", "slot.identity", "slot.revocation",
				"slot.mode", "slot.counters", "log.replay", "ledger",
			},
		},
		"collateral added": {
			func(c *cer.Capsule) { c.Collateral = []attest.Collateral{{Kind: "crl", Data: []byte{1}}} }, []string{"evidence.set"},
		},
		"statement's nonce changed": {
			func(c *cer.Capsule) {
				c.Statement = bytes.Replace(c.Statement, nonceBytes(t, testNonce), nonceBytes(t, goldenNonce), 1)
			},
			[]string{"statement.signature", "slot.binding", "log.commit", "runtime.claims", "nonce.quote"},
		},
	} {
		refused(t, name, s.verify(t, edit(t, page, x.edit), s.policy), x.ids...)
	}
	token := bytes.Replace(page, []byte(`"tokens":[]`), []byte(`"tokens":["AA"]`), 1)
	r := s.verify(t, token, s.policy)
	if id, _ := r.Reason(); r.Trusted || id != "time.token" {
		t.Errorf("token added: %s", r.Headline)
	}
	trusted(t, s.verify(t, page, s.policy))
	in := verifier.Input{Policy: s.policy, Roots: s.trust(t), Now: time.Now(), Nonce: nonceBytes(t, goldenNonce)}
	r, err := verifier.Verify(page, in)
	if err != nil {
		t.Fatal(err)
	}
	refused(t, "another nonce asked for", r, "nonce.quote", "nonce.execution")
}

// The event log of a record with two earlier launches, edited in every way.
func TestEditedLog(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	page := s.run(t, "page", copyFlags(), job(t), "copy")
	log := func() *attest.Log {
		l, err := attest.ParseLog(open(t, page).Log)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	st, err := log().Structure()
	if err != nil || len(st.Segments) != 3 {
		t.Fatalf("log of %d launches, %v; want 3", len(st.Segments), err)
	}
	second, last := st.Segments[1].First, len(log().Events)-1
	foreign, err := attest.ParseLog(open(t, s.model).Log)
	if err != nil {
		t.Fatal(err)
	}
	again := func(e attest.Event, t attest.EventType, data []byte) attest.Event {
		return attest.NewEvent(e.Index, t, e.Launch, e.Salt, data)
	}
	for name, edit := range map[string]func(*attest.Log){
		"event added":      func(l *attest.Log) { l.Events = slices.Insert(l.Events, last, l.Events[last-2]) },
		"event dropped":    func(l *attest.Log) { l.Events = slices.Delete(l.Events, last-2, last-1) },
		"commit dropped":   func(l *attest.Log) { l.Events = l.Events[:last] },
		"events swapped":   func(l *attest.Log) { l.Events[last-3], l.Events[last-4] = l.Events[last-4], l.Events[last-3] },
		"event relabelled": func(l *attest.Log) { e := &l.Events[last-4]; *e = again(*e, attest.EventComponent, e.Data) },
		"data changed":     func(l *attest.Log) { e := &l.Events[last-4]; *e = again(*e, e.Type, append(e.Data, ' ')) },
		"salt changed": func(l *attest.Log) {
			e := l.Events[last-4]
			l.Events[last-4] = attest.NewEvent(e.Index, e.Type, e.Launch, [32]byte{9}, e.Data)
		},
		"launch tag changed":     func(l *attest.Log) { l.Events[last].Launch[0] ^= 1 },
		"from another launch":    func(l *attest.Log) { l.Events = foreign.Events },
		"earlier launch removed": func(l *attest.Log) { l.Events = slices.Delete(l.Events, 1, second) },
		"origin replaced": func(l *attest.Log) {
			e := &l.Events[0]
			*e = again(*e, e.Type, bytes.Replace(e.Data, []byte(`"value":"00`), []byte(`"value":"01`), 1))
		},
		"another register": func(l *attest.Log) { l.Register = 12 },
		"a bank dropped":   func(l *attest.Log) { l.Banks = l.Banks[:1] },
		"events after the commit": func(l *attest.Log) {
			l.Events = append(l.Events, attest.NewEvent(0, attest.EventEnd, l.Events[last].Launch, [32]byte{}, []byte(attest.EndCompleted)))
		},
	} {
		l := log()
		edit(l)
		for i := range l.Events {
			l.Events[i].Index = uint64(i)
		}
		b, err := l.Encode()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		c := open(t, page)
		c.Log = b
		r := s.verify(t, encode(t, c), s.policy)
		if r.Trusted || !slices.Contains(blocking(r), "log.replay") {
			t.Errorf("%s: trusted %v, refused by %v, want log.replay", name, r.Trusted, blocking(r))
		}
	}
	// What may be withheld is withheld already; withholding more never helps.
	for i := range log().Events {
		l := log()
		if !l.Events[i].Disclosed {
			continue
		}
		l.Events[i] = l.Events[i].Withhold()
		b, err := l.Encode()
		if err != nil {
			t.Fatal(err)
		}
		c := open(t, page)
		c.Log = b
		if r := s.verify(t, encode(t, c), s.policy); r.Trusted {
			t.Errorf("event %d (%v) withheld: trusted", i, l.Events[i].Type)
		}
	}
}

// A foreign process extends the register before the first launch, between two
// and during one.
func TestForeignExtends(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	waived := func(name string, file []byte) {
		p := *s.policy
		p.Waive = append(slices.Clone(p.Waive), verifier.Waiver{Check: "log.origin", Reason: "test"})
		if r := s.verify(t, file, &p); !r.Trusted || !slices.Contains(r.Assuming, "log.origin") {
			t.Errorf("%s: %s", name, r.Headline)
		}
	}
	s.extendBytes([]byte("between"))
	between := s.run(t, "between", copyFlags(), job(t), "copy")
	refused(t, "extended between launches", s.verify(t, between, s.policy), "log.origin")
	waived("between", between)
	after := s.run(t, "after", copyFlags(), job(t), "copy")
	refused(t, "later", s.verify(t, after, s.policy), "log.origin")
	lost, err := filepath.Glob(filepath.Join(s.state, "*", "log.lost-*"))
	if err != nil || len(lost) != 1 {
		t.Errorf("logs set aside: %v %v", lost, err)
	}
	for name, n := range map[string]int{"first event": 1, "in the middle": 8} {
		stop := s.manager.at(tpm2.TPMCCPCRExtend, n, true)
		r := s.begin(t, s.runArgs("during", copyFlags(), job(t), "copy")...)
		stop.wait(t)
		s.extendBytes([]byte("during"))
		stop.release()
		checkRefused(t, r.end(t), "record not released", "log.replay")
		if _, err := os.Stat(s.path("during.cer.json")); err == nil {
			t.Errorf("%s: a record was released", name)
		}
	}
	final := s.run(t, "final", copyFlags(), job(t), "copy")
	refused(t, "after them", s.verify(t, final, s.policy), "log.origin")
	waived("final", final)
}

// A foreign extend before the first launch of a register's life.
func TestForeignExtendFirst(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	p := m.policy(t, m.run(t, "golden", []string{"--nonce", goldenNonce}, job(t), "copy"))
	if err := m.tpm.Close(); err != nil {
		t.Fatal(err)
	}
	m.start(t)
	x := &intruder{t: t, tpm: m.manage(t), m: m}
	x.extendBytes([]byte("before"))
	refused(t, "extended before", m.verify(t, m.run(t, "page", copyFlags(), job(t), "copy"), p), "log.origin")
}

// A process with root's rights writes into the log's file what it extends: the
// register confirms the log, its grammar does not hold. No launch can follow it,
// so it counts as lost.
func TestForeignEventInLog(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	l := s.intruder.log()
	e := attest.NewEvent(uint64(len(l.Events)), attest.EventComponent, [32]byte{5}, [32]byte{6}, []byte("{}"))
	s.extend(&e)
	file := s.logFile(t)
	b, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(file, l.AppendRecord(b, &e), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	refused(t, "after a foreign event", s.verify(t, s.run(t, "page", copyFlags(), job(t), "copy"), s.policy), "log.origin")
}

// nonceBytes returns a nonce of these tests.
func nonceBytes(t *testing.T, s string) []byte {
	t.Helper()
	b, err := parseNonce(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
