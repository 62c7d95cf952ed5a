package verifier_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/limits"
	"github.com/sworn-run/sworn/tpm"
	"github.com/sworn-run/sworn/verifier"
)

// forgedIndex is the NV index of the forger's counter.
const forgedIndex = 0x01807377

// counterOf returns the forger's counter with a value.
func counterOf(tb testing.TB, index uint32, value uint64) *attest.Counter {
	tb.Helper()
	name, err := tpm.CounterName(index)
	if err != nil {
		tb.Fatal(err)
	}
	return &attest.Counter{Name: name, Value: value}
}

// turn is one launch of a series.
type turn struct {
	value          uint64
	reset, restart uint32
	clock          uint64
	// machine, where not empty, is another TPM's identity in the log.
	machine string
	index   uint32
	// later is how much later the record claims to be, in milliseconds.
	later uint64
	bare  bool
}

// launched makes the record of a turn.
func (f *forger) launched(tb testing.TB, x turn) []byte {
	tb.Helper()
	g := forgery{
		events: func(l *attest.Log) {
			o, err := cer.ParseOrigin(l.Events[0].Data)
			if err != nil {
				tb.Fatal(err)
			}
			o.ResetCount, o.RestartCount = strconv.Itoa(int(x.reset)), strconv.Itoa(int(x.restart))
			if x.machine != "" {
				o.Identity = x.machine
			}
			b, err := o.Encode()
			if err != nil {
				tb.Fatal(err)
			}
			setData(l, 0, b)
		},
		statement: func(s *attest.Statement) {
			s.Time += x.value%1000 + x.later
			if !x.bare {
				s.Body = counterOf(tb, max(x.index, forgedIndex), x.value).Body()
			}
		},
		quote: func(q *quoted) {
			for _, p := range []*quoted{q, counterQuote(q)} {
				p.reset, p.restart, p.clock = x.reset, x.restart, x.clock
			}
			if x.index != 0 {
				public, err := tpm.CounterPublic(x.index)
				if err != nil {
					tb.Fatal(err)
				}
				q.counter.public = public
			}
		},
	}
	g.created = createdAfter(tb, x.value%1000+x.later)
	return f.record(tb, g)
}

// counterQuote returns what is signed of the counter; a spare one without.
func counterQuote(q *quoted) *quoted {
	if q.counter == nil {
		return &quoted{}
	}
	return &q.counter.quoted
}

// createdAfter returns the golden record's time, some milliseconds later.
func createdAfter(tb testing.TB, ms uint64) string {
	tb.Helper()
	st, err := attest.ParseStatement(goldenCapsule(tb, "page").Statement)
	if err != nil {
		tb.Fatal(err)
	}
	return cer.FormatTime(time.UnixMilli(int64(st.Time + ms)))
}

// counting returns the policy that asks for a series.
func (f *forger) counting(tb testing.TB) verifier.Input {
	tb.Helper()
	return f.input(tb, func(p map[string]any) { p["series"] = verifier.SeriesCounter })
}

// together verifies records that are given together.
func together(tb testing.TB, in verifier.Input, capsules ...[]byte) []*verifier.Report {
	tb.Helper()
	reports, err := verifier.VerifySeries(capsules, in)
	if err != nil || len(reports) != len(capsules) {
		tb.Fatalf("%d reports: %v", len(reports), err)
	}
	return reports
}

func TestSeries(t *testing.T) {
	f := newForger(t)
	in := f.counting(t)
	make := func(turns ...turn) [][]byte {
		var out [][]byte
		for _, x := range turns {
			out = append(out, f.launched(t, x))
		}
		return out
	}
	a, b, c := turn{value: 6, reset: 2, clock: 5000}, turn{value: 7, reset: 2, clock: 6000}, turn{value: 8, reset: 3, clock: 5500}
	with := func(x turn, change func(*turn)) turn {
		change(&x)
		return x
	}
	const passed, failed, unknown = "passed", "failed", "not established"
	for _, tc := range []struct {
		name, order, complete string
		capsules              [][]byte
		// says stands in the detail of the check that is not passed, or else of the
		// last.
		says string
	}{
		{"three over a reset", passed, passed, make(a, b, c), "no number is missing from 6 to 8"},
		{"in another order", passed, passed, make(c, a, b), "no number is missing from 6 to 8"},
		{"a restart between", passed, passed, make(a, with(b, func(x *turn) { x.restart, x.clock = 1, 4000 })), "6 to 7"},
		{"one alone", passed, unknown, make(b), "one record, counter 7"},
		{"a gap of one", passed, failed, make(a, c), "counter 7 is missing: one launch between 6 and 8 is not shown"},
		{"a gap of three", passed, failed, make(a, with(c, func(x *turn) { x.value = 10 })), "counters 7 to 9 are missing: 3 launches between 6 and 10"},
		{"two gaps", passed, failed, make(a, c, with(c, func(x *turn) { x.value, x.clock = 10, 9000 })), "and 1 more gaps"},
		{"the largest gap", passed, failed, make(with(a, func(x *turn) { x.value = 1 }), with(c, func(x *turn) { x.value = 1<<64 - 1 })), "2 to 18446744073709551614"},
		{"a number twice", failed, unknown, make(a, b, with(b, func(x *turn) { x.later, x.clock = 1, 6500 })), "both have counter 7"},
		{"resetCount falls", failed, unknown, make(a, with(b, func(x *turn) { x.reset = 1 })), "resetCount falls from 2"},
		{"restartCount falls", failed, unknown, make(with(a, func(x *turn) { x.restart = 2 }), with(b, func(x *turn) { x.restart = 1 })), "restartCount falls"},
		{"the clock goes back", failed, unknown, make(a, with(b, func(x *turn) { x.clock = 4000 })), "clock does not rise"},
		{"the clock stands", failed, unknown, make(a, with(b, func(x *turn) { x.clock = a.clock })), "clock does not rise"},
		{"two TPMs", failed, unknown, make(a, with(b, func(x *turn) { x.machine = hexDigest(9) })), "of two TPMs"},
		{"two counters", failed, unknown, make(a, with(b, func(x *turn) { x.index = forgedIndex + 1 })), "of two counters"},
		{"one without a counter", unknown, unknown, make(a, with(b, func(x *turn) { x.bare = true })), "record 2 of 2: it carries no launch counter"},
		{"none has a counter", unknown, unknown, make(with(a, func(x *turn) { x.bare = true })), "it carries no launch counter"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for i, r := range together(t, in, tc.capsules...) {
				order, complete := find(t, r, "series.order"), find(t, r, "series.complete")
				if order.Status != tc.order || complete.Status != tc.complete {
					t.Errorf("record %d: order %s (%s), complete %s (%s)", i, order.Status, order.Detail, complete.Status, complete.Detail)
				}
				say := complete.Detail
				if tc.order != passed {
					say = order.Detail
				}
				if !strings.Contains(say, tc.says) {
					t.Errorf("record %d says %q, want %q", i, say, tc.says)
				}
				if want := tc.order == passed && tc.complete == passed; r.Trusted != want {
					t.Errorf("record %d: trusted %v: %s", i, r.Trusted, r.Headline)
				}
			}
		})
	}
}

// TestSeriesOfOneRecord: a file given twice, or with its signature's twin, is
// one launch and shows no series.
func TestSeriesOfOneRecord(t *testing.T) {
	f := newForger(t)
	file := f.launched(t, turn{value: 6, reset: 2, clock: 5000})
	for _, r := range together(t, f.counting(t), file, file) {
		if o, c := find(t, r, "series.order"), find(t, r, "series.complete"); o.Status != "passed" || c.Status != "not established" || r.Trusted {
			t.Errorf("order %s, complete %s: %s", o.Status, c.Status, r.Headline)
		}
	}
	// Waived, one record is judged alone, and the verdict says so.
	in := f.input(t, func(p map[string]any) {
		p["series"] = verifier.SeriesCounter
		p["waive"] = append(list(p, "waive"), map[string]any{"check": "series.complete", "reason": "judged as it comes"})
	})
	if r := verify(t, file, in); !r.Trusted || !slices.Contains(r.Assuming, "series.complete") {
		t.Errorf("%v: %s", r.Trusted, r.Headline)
	}
	// Nothing is asked of a series, nothing is said.
	if r := verify(t, file, f.input(t, nil)); !r.Trusted || find(t, r, "series.order").Status != "not applicable" {
		t.Error(r.Headline)
	}
}

// TestSeriesForgedLink: a record that nobody vouches for closes no gap, while
// one whose job is not what the policy wants is a launch that is shown.
func TestSeriesForgedLink(t *testing.T) {
	f, forged := newForger(t), newForger(t)
	in := f.counting(t)
	a, b, c := turn{value: 6, reset: 2, clock: 5000}, turn{value: 7, reset: 2, clock: 6000}, turn{value: 8, reset: 2, clock: 7000}
	for i, r := range together(t, in, f.launched(t, a), forged.launched(t, b), f.launched(t, c)) {
		if k := find(t, r, "series.complete"); k.Status != "not established" || !strings.Contains(k.Detail, "record 2 of 3: its evidence does not count: slot.identity") || r.Trusted {
			t.Errorf("record %d: %s, %s", i, k.Status, k.Detail)
		}
	}
	other := in
	other.OutputFile = goldenFile(t, "page.input") // is no record's output
	for i, r := range together(t, other, f.launched(t, a), f.launched(t, b)) {
		if k := find(t, r, "series.complete"); k.Status != "passed" || r.Trusted {
			t.Errorf("record %d: %s, %s", i, k.Status, r.Headline)
		}
	}
	junk := [][]byte{f.launched(t, a), []byte("{}")}
	for i, r := range together(t, in, junk...) {
		if k := find(t, r, "series.complete"); k.Status != "not established" || r.Trusted {
			t.Errorf("record %d: %s, %s", i, k.Status, r.Headline)
		}
	}
}

func TestSeriesBounds(t *testing.T) {
	f := newForger(t)
	in := f.counting(t)
	for name, capsules := range map[string][][]byte{
		"none":     nil,
		"too many": make([][]byte, limits.SeriesRecords+1),
		"too much": {make([]byte, limits.SeriesBytes), {0}},
	} {
		if r, err := verifier.VerifySeries(capsules, in); r != nil || !errors.Is(err, verifier.ErrInput) {
			t.Errorf("%s: %d reports, %v", name, len(r), err)
		}
	}
}

// TestCounterForged: what whoever holds no more than the quote's place can do to
// the counter of one record, and the check that refuses it.
func TestCounterForged(t *testing.T) {
	f := newForger(t)
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	body := func(s *attest.Statement) { s.Body = counterOf(t, forgedIndex, 7).Body() }
	old := goldenCapsule(t, "page").Statement
	for _, tc := range []struct {
		name, check string
		x           forgery
	}{
		{"another value", "slot.binding", forgery{statement: body, quote: func(q *quoted) { q.counter.value++ }}},
		{"another statement's", "slot.binding", forgery{statement: body, quote: func(q *quoted) { q.counter.extraData = attest.QuotedCounter(old) }}},
		{"the quote's data", "slot.binding", forgery{statement: body, quote: func(q *quoted) { q.counter.extraData = q.extraData }}},
		{"another index", "slot.binding", forgery{statement: body, quote: func(q *quoted) { q.counter.public = bytes.Clone(q.counter.public); q.counter.public[3]++ }}},
		{"an extend index", "slot.mode", forgery{statement: body, quote: func(q *quoted) { q.counter.public = bytes.Clone(q.counter.public); q.counter.public[9] = 0x42 }}},
		{"another key", "slot.signature", forgery{statement: body, quote: func(q *quoted) { q.counter.signedBy = stranger }}},
		{"dropped", "slot.binding", forgery{statement: body, quote: func(q *quoted) { q.counter = nil }}},
		{"another life", "slot.counters", forgery{statement: body, quote: func(q *quoted) { q.counter.reset++ }}},
		{"another restart", "slot.counters", forgery{statement: body, quote: func(q *quoted) { q.counter.restart++ }}},
		{"another firmware", "slot.counters", forgery{statement: body, quote: func(q *quoted) { q.counter.firmware++ }}},
		{"added", "slot.binding", forgery{quote: func(q *quoted) {
			public, err := tpm.CounterPublic(forgedIndex)
			if err != nil {
				t.Fatal(err)
			}
			q.counter = &certified{quoted: *q, public: public, value: 7}
		}}},
		{"the body edited", "statement.signature", forgery{statement: body, capsule: func(c *cer.Capsule) {
			c.Statement = bytes.Replace(c.Statement, counterOf(t, forgedIndex, 7).Body(), counterOf(t, forgedIndex, 8).Body(), 1)
		}}},
		{"one part dropped", "slot.form", forgery{statement: body, capsule: func(c *cer.Capsule) {
			e := &c.Evidence[0]
			e.Parts = slices.DeleteFunc(e.Parts, func(p attest.Part) bool { return p.Name == tpm.PartNVSignature })
		}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := verify(t, f.record(t, tc.x), f.input(t, nil))
			if c := find(t, r, tc.check); r.Trusted || c.Status != "failed" {
				t.Errorf("%s is %s: %s", tc.check, c.Status, r.Headline)
			}
		})
	}
	if r := verify(t, f.record(t, forgery{statement: body}), f.input(t, nil)); !r.Trusted {
		t.Error(r.Headline)
	}
}

// TestCounterBits: every bit of the body and of the parts of a counter counts.
func TestCounterBits(t *testing.T) {
	f := newForger(t)
	file := f.record(t, forgery{statement: func(s *attest.Statement) { s.Body = counterOf(t, forgedIndex, 7).Body() }})
	in := f.input(t, nil)
	c, err := cer.ParseCapsule(file)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(c.Statement, counterOf(t, forgedIndex, 7).Body())
	targets := map[string]func(c *cer.Capsule) []byte{
		"body": func(c *cer.Capsule) []byte { return c.Statement[at-2 : at+42] },
	}
	for _, name := range []string{tpm.PartNVPublic, tpm.PartNVAttest, tpm.PartNVSignature} {
		targets[name] = func(c *cer.Capsule) []byte {
			parts := c.Evidence[0].Parts
			return parts[slices.IndexFunc(parts, func(p attest.Part) bool { return p.Name == name })].Data
		}
	}
	for name, target := range targets {
		n := 8 * len(target(c))
		parallel(t, (n+flipStride()-1)/flipStride(), func(i int) {
			bit := i * flipStride()
			bad, err := cer.ParseCapsule(file)
			if err != nil {
				t.Error(err)
				return
			}
			target(bad)[bit/8] ^= 1 << (bit % 8)
			mutant, err := bad.Encode()
			if err != nil {
				t.Error(err)
				return
			}
			r, err := verifier.Verify(mutant, in)
			if err != nil || r.Trusted {
				t.Errorf("%s, bit %d: %v, %v", name, bit, r, err)
			}
		})
	}
}
