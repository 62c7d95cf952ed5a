package verifier_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/cer/signer"
	"github.com/sworn-run/sworn/verifier"
)

// firstOfBatch is the number of the first record of the forger's batches.
const firstOfBatch = 5

// numbered makes the record of a launch with that number, which had an output of its own
// and was made at a time of its own.
func (f *forger) numbered(tb testing.TB, c *cer.Capsule, x forgery, seg *attest.Segment, number, left int) []byte {
	tb.Helper()
	mine, old := x, x.runtime
	mine.runtime = func(r *cer.Runtime) {
		r.Record = strconv.Itoa(number)
		r.Output = cer.NewStream(sha256.Sum256(fmt.Append(nil, number)), uint64(number), true)
		if old != nil {
			old(r)
		}
	}
	mine.snapshot = func(s *cer.Snapshot) {
		s.ExecutionID = cer.ForcedSnapshot(nil, nil, seg.Launch, uint64(number)).ExecutionID
		if x.snapshot != nil {
			x.snapshot(s)
		}
	}
	if x.created == "" {
		st, err := attest.ParseStatement(c.Statement)
		if err != nil {
			tb.Fatal(err)
		}
		mine.created = cer.FormatTime(time.UnixMilli(int64(st.Time)).Add(-time.Duration(left%3) * time.Millisecond))
	}
	return f.bundle(tb, c, mine, seg)
}

// batch makes n records of one launch with one quote. The launch has committed others
// before.
func (f *forger) batch(tb testing.TB, n int, x forgery) [][]byte {
	tb.Helper()
	c := goldenCapsule(tb, "page")
	old := x.events
	x.events = func(l *attest.Log) {
		last := &l.Events[len(l.Events)-1]
		for range 2 {
			l.Events = append(l.Events, attest.NewEvent(0, attest.EventCommit, last.Launch, [32]byte{3}, make([]byte, 32)))
		}
		if old != nil {
			old(l)
		}
	}
	log := f.log(tb, c, x)
	seg := ownSegment(tb, log)
	var bundles [][]byte
	var leaves [][32]byte
	for i := range n {
		bundle := f.numbered(tb, c, x, seg, firstOfBatch+i, n-1-i)
		b, err := cer.ParseBundle(bundle)
		if err != nil {
			tb.Fatal(err)
		}
		leaf, err := cer.ParseHash(b.CertificateHash)
		if err != nil {
			tb.Fatal(err)
		}
		bundles, leaves = append(bundles, bundle), append(leaves, leaf)
	}
	tree, err := cer.NewTree(leaves)
	if err != nil {
		tb.Fatal(err)
	}
	mine := x
	mine.statement = func(s *attest.Statement) {
		s.Type, s.Sequence, s.Previous = attest.TypeBatch, 3, [32]byte{1}
		s.FirstRecord, s.RecordCount, s.TreeRoot = firstOfBatch, uint64(n), tree.Root()
		if x.statement != nil {
			x.statement(s)
		}
	}
	st, err := f.statement(tb, c, mine, log, seg, seg.Key.Data, bundles[0]).Encode()
	if err != nil {
		tb.Fatal(err)
	}
	commit := sha256.Sum256(st)
	log.Events = append(log.Events, attest.NewEvent(uint64(len(log.Events)), attest.EventCommit, seg.Begin.Launch, [32]byte{9}, commit[:]))
	if x.tail != nil {
		x.tail(log)
		reindex(log)
	}
	raw, err := log.Encode()
	if err != nil {
		tb.Fatal(err)
	}
	evidence := []attest.Evidence{*f.quote(tb, x, log, st)}
	var out [][]byte
	for i := range n {
		path, err := tree.Inclusion(uint64(i))
		if err != nil {
			tb.Fatal(err)
		}
		one := &cer.Capsule{
			CER: bundles[i], Statement: st, Signature: ed25519.Sign(f.launch, attest.SignedBytes(st)), Log: raw, Evidence: evidence,
			Inclusion: cer.Inclusion{Index: uint64(i), Size: uint64(n), Path: path},
		}
		if x.capsule != nil {
			x.capsule(one)
		}
		out = append(out, encodeCapsule(tb, one))
	}
	return out
}

// TestBatch: the records of a batch are trusted, each by itself, however many there are.
func TestBatch(t *testing.T) {
	f := newForger(t)
	in := f.input(t, nil)
	for _, n := range []int{1, 2, 3, 7, 8} {
		for i, file := range f.batch(t, n, forgery{}) {
			r := verify(t, file, in)
			if !r.Trusted {
				t.Fatalf("record %d of %d: %s", i, n, r.Headline)
			}
			if c := find(t, r, "statement.inclusion"); c.Detail != fmt.Sprintf("leaf %d of %d", i, n) {
				t.Errorf("record %d of %d: %s", i, n, c.Detail)
			}
		}
	}
}

// TestBatchRefused: what a producer, whose TPM and keys are trusted, does otherwise than it
// should in a batch.
func TestBatchRefused(t *testing.T) {
	f := newForger(t)
	in := f.input(t, nil)
	ms := func(later time.Duration) string {
		st, err := attest.ParseStatement(goldenCapsule(t, "page").Statement)
		if err != nil {
			t.Fatal(err)
		}
		return cer.FormatTime(time.UnixMilli(int64(st.Time)).Add(later))
	}
	for name, tc := range map[string]struct {
		check string
		x     forgery
	}{
		"numbers begin later":   {"statement.record", forgery{statement: func(s *attest.Statement) { s.FirstRecord += 3 }}},
		"numbers begin earlier": {"statement.inclusion", forgery{statement: func(s *attest.Statement) { s.FirstRecord-- }}},
		"fewer records":         {"statement.inclusion", forgery{statement: func(s *attest.Statement) { s.RecordCount = 2 }}},
		"more records":          {"statement.inclusion", forgery{statement: func(s *attest.Statement) { s.RecordCount = 4 }}},
		"another tree":          {"statement.inclusion", forgery{statement: func(s *attest.Statement) { s.TreeRoot[0]++ }}},
		"another index":         {"statement.inclusion", forgery{capsule: func(c *cer.Capsule) { c.Inclusion.Index = (c.Inclusion.Index + 1) % 3 }}},
		"a path too long":       {"statement.inclusion", forgery{capsule: func(c *cer.Capsule) { c.Inclusion.Path = append(c.Inclusion.Path, [32]byte{}) }}},
		"another path":          {"statement.inclusion", forgery{capsule: func(c *cer.Capsule) { c.Inclusion.Path[0][0]++ }}},
		"a run with three commits": {"log.commit", forgery{statement: func(s *attest.Statement) {
			s.Type, s.Sequence, s.Previous, s.FirstRecord, s.RecordCount = attest.TypeRun, 0, [32]byte{}, 0, 1
		}}},
		"committed, then another":  {"log.commit", forgery{tail: func(l *attest.Log) { l.Events = append(l.Events, l.Events[len(l.Events)-2]) }}},
		"not committed":            {"log.commit", forgery{tail: func(l *attest.Log) { l.Events = l.Events[:len(l.Events)-1] }}},
		"the commit is of another": {"log.commit", forgery{tail: func(l *attest.Log) { setData(l, len(l.Events)-1, make([]byte, 32)) }}},
		"the commit is withheld":   {"log.commit", forgery{tail: func(l *attest.Log) { l.Events[len(l.Events)-1] = l.Events[len(l.Events)-1].Withhold() }}},
		"the launch has ended": {"log.commit", forgery{tail: func(l *attest.Log) {
			l.Events = append(l.Events, attest.NewEvent(0, attest.EventEnd, l.Events[len(l.Events)-1].Launch, [32]byte{1}, nil))
		}}},
		"made after the statement":  {"runtime.claims", forgery{created: ms(time.Millisecond)}},
		"begun after it was made":   {"runtime.claims", forgery{created: ms(-time.Hour)}},
		"another execution's id":    {"runtime.claims", forgery{snapshot: func(s *cer.Snapshot) { s.ExecutionID += "0" }}},
		"the number of another":     {"statement.inclusion", forgery{runtime: func(r *cer.Runtime) { r.Record = strconv.Itoa(firstOfBatch + 1) }}},
		"a number beyond the batch": {"statement.record", forgery{runtime: func(r *cer.Runtime) { r.Record = strconv.Itoa(firstOfBatch + 3) }}},
	} {
		t.Run(name, func(t *testing.T) {
			refused := 0
			for _, file := range f.batch(t, 3, tc.x) {
				r := verify(t, file, in)
				if c := find(t, r, tc.check); c.Status != "passed" && !r.Trusted {
					refused++
				} else if r.Trusted && name != "the number of another" {
					t.Errorf("trusted: %s", r.Headline)
				}
			}
			if refused == 0 {
				t.Errorf("%s passes in each", tc.check)
			}
		})
	}
	// Nor is a record that belongs to another place of the same batch.
	all := f.batch(t, 3, forgery{})
	for i := range all {
		record, _, shared, err := cer.Split(all[i], nil)
		if err != nil {
			t.Fatal(err)
		}
		for j := range all {
			_, inclusion, _, err := cer.Split(all[j], nil)
			if err != nil {
				t.Fatal(err)
			}
			r, err := verifier.Verify(shared.AppendFile(nil, record, inclusion), in)
			if err != nil || r.Trusted != (i == j) {
				t.Errorf("record %d in place %d: %v, %v", i, j, r.Headline, err)
			}
		}
	}
}

// TestBatchSigned: a signature over one record of a batch is over all of them, and reports
// say so.
func TestBatchSigned(t *testing.T) {
	f := newForger(t)
	all := f.batch(t, 3, forgery{})
	var item attest.Collateral
	for i, file := range all {
		c, err := cer.ParseCapsule(file)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			item = newPerson(t).sign(t, signer.RoleCountersigner, c)
		}
		addSignature(t, c, item)
		r := verify(t, encodeCapsule(t, c), f.input(t, nil))
		if !r.Trusted || len(r.Summary.Signatures) != 1 || !r.Summary.Signatures[0].Valid || r.Summary.Signatures[0].Records != "3" ||
			!strings.Contains(reportText(t, r, false), "all 3 records") {
			t.Errorf("record %d: %s, %+v", i, r.Headline, r.Summary.Signatures)
		}
	}
	c := signedBy(t, signer.RoleCountersigner, newPerson(t))
	if r := verify(t, encodeCapsule(t, c), goldenInput(t, "page")); len(r.Summary.Signatures) != 1 || r.Summary.Signatures[0].Records != "" {
		t.Errorf("alone: %+v", r.Summary.Signatures)
	}
}
