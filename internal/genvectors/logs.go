//go:build ignore

package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"
	"strconv"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
)

// The vectors of logs.
type (
	logVector struct {
		head
		Log      string       `json:"log"`
		Register int          `json:"register"`
		Banks    []string     `json:"banks,omitempty"`
		Root     string       `json:"root,omitempty"`
		Events   []eventField `json:"events,omitempty"`
		Replay   []replay     `json:"replay,omitempty"`
		Launches []string     `json:"launches,omitempty"`
	}
	eventField struct {
		Type      string `json:"type"`
		Launch    string `json:"launch"`
		Disclosed bool   `json:"disclosed"`
		Salt      string `json:"salt,omitempty"`
		Data      string `json:"data,omitempty"`
		DataHash  string `json:"dataHash"`
		Digest    string `json:"digest"`
	}
	replay struct {
		Bank   string `json:"bank"`
		Start  string `json:"start"`
		Events int    `json:"events"`
		Value  string `json:"value"`
	}
)

// log writes a log that is accepted.
func (g *generator) log(name, why string, l *attest.Log) {
	n := len(l.Events)
	root := cer.LogRoot(l.Digests(uint64(n)))
	v := logVector{head: head{"log", why, "ok"}, Log: hexOf(g.bytes(l.Encode())), Register: int(l.Register), Root: hexOf(root[:])}
	for _, e := range l.Events {
		d := e.Digest()
		x := eventField{Type: e.Type.String(), Launch: hexOf(e.Launch[:]), Disclosed: e.Disclosed, DataHash: hexOf(e.DataHash[:]), Digest: hexOf(d[:])}
		if e.Disclosed {
			x.Salt, x.Data = hexOf(e.Salt[:]), hexOf(e.Data)
		}
		v.Events = append(v.Events, x)
	}
	for _, a := range l.Banks {
		v.Banks = append(v.Banks, a.String())
		for _, start := range [][]byte{make([]byte, a.Size()), bytes.Repeat([]byte{0xee}, a.Size())} {
			for _, m := range []int{0, 1, n - 1, n} {
				v.Replay = append(v.Replay, replay{a.String(), hexOf(start), m, hexOf(l.Replay(a, start, uint64(m)))})
			}
		}
	}
	s, err := l.Structure()
	if err != nil {
		g.fail(fmt.Errorf("%s: %w", name, err))
		return
	}
	for i := range s.Segments {
		v.Launches = append(v.Launches, hexOf(s.Segments[i].Launch[:]))
	}
	g.write("log-"+name, v)
}

// whole returns a whole launch from launch-begin to end.
func (g *generator) whole(tag string) []event { return slices.Concat(g.launch(tag), closing(tag)) }

// withheld returns events without their data but for those that a later record
// must disclose.
func withheld(events []event) []event {
	out := slices.Clone(events)
	for i := range out {
		out[i].withhold = out[i].typ != attest.EventLaunchBegin && out[i].typ != attest.EventSeparator
	}
	return out
}

func (g *generator) logs() {
	all := []attest.Alg{attest.SHA1, attest.SHA256, attest.SHA384, attest.SHA512}
	one, first := all[1:2], []event{g.origin()}
	base, run := g.base()
	commit := sha256.Sum256(g.bytes(run.Encode()))
	committed := log(one, first, g.launch("one"), []event{{attest.EventCommit, "one", commit[:], false}})
	g.log("run", "the log of statement-run and its commit", committed)
	g.log("before-commit", "the prefix that statement-run names", base)
	g.log("ended", "a launch that ended", log(one, first, g.whole("one")))
	g.log("four-banks", "every bank, SHA-1 among them", log(all, first, g.whole("one")))
	g.log("sha384", "one bank other than SHA-256", log(all[2:3], first, g.whole("one")))
	g.log("earlier-withheld", "an earlier launch whose data is withheld", log(one, first, withheld(g.whole("one")), g.launch("two"), closing("two")[:1]))
	g.log("all-withheld", "nothing is disclosed", log(one, withheld(first), withheld(g.whole("one"))))
	g.log("cut-after-begin", "an earlier launcher died after its launch-begin", log(one, first, g.launch("one")[:1], g.whole("two")))
	g.log("cut-after-component", "an earlier launcher died while it measured", log(one, first, g.launch("one")[:3], g.whole("two")))
	g.log("cut-after-separator", "an earlier launcher died while its job ran", log(one, first, g.launch("one"), g.whole("two")))
	g.log("smallest", "a launch that measures nothing", log(one, first, g.launch("one")[:2], g.launch("one")[5:]))
	g.refusedLogs(committed)
}

// records returns the records of a log one by one.
func records(l *attest.Log) [][]byte {
	var out [][]byte
	for i := range l.Events {
		out = append(out, l.AppendRecord(nil, &l.Events[i]))
	}
	return out
}

// refusedLogs writes logs that do not parse. In one bank, a record has its
// number at 5, its register at 18, the digests' type at 19, the bank at 24, its
// length at 25, the digest at 29, the content's type at 61, its length at 62,
// the event type at 66, the launch tag at 68, the flag at 100 and data or hash
// from 101.
func (g *generator) refusedLogs(l *attest.Log) {
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	r := records(l)
	all := join(r...)
	with := func(i int, b []byte) []byte { c := slices.Clone(r); c[i] = b; return join(c...) }
	edited := func(i int, edit func(*attest.Event)) []byte {
		e := l.Events[i]
		edit(&e)
		return with(i, l.AppendRecord(nil, &e))
	}
	hidden := l.Events[3].Withhold()
	short := l.AppendRecord(nil, &hidden)
	two := &attest.Log{Register: 13, Banks: []attest.Alg{attest.SHA256, attest.SHA384}}
	twice := slices.Concat(r[0][:19], []byte{3, 0, 0, 0, 74}, r[0][24:61], r[0][24:61], r[0][61:])
	for _, x := range []struct {
		name, why string
		b         []byte
	}{
		{"empty", "no records", nil},
		{"truncated", "the last byte is missing", all[:len(all)-1]},
		{"trailing", "a byte too many", append(slices.Clone(all), 0)},
		{"first-dropped", "records count from 0", join(r[1:]...)},
		{"dropped", "a record is missing", join(join(r[:3]...), join(r[4:]...))},
		{"twice", "a record stands twice", join(join(r[:4]...), join(r[3:]...))},
		{"swapped", "two records are exchanged", join(r[0], r[2], r[1], join(r[3:]...))},
		{"relabelled", "another type than the digest's", with(3, put(r[3], 66, 0, 5))},
		{"tag", "another launch tag than the digest's", with(3, put(r[3], 68, ^r[3][68]))},
		{"data", "other data than the digest's", with(3, put(r[3], len(r[3])-1, '!'))},
		{"salt", "another salt than the digest's", with(3, put(r[3], 101, ^r[3][101]))},
		{"digest", "one bit of a digest", with(3, put(r[3], 29, r[3][29]^1))},
		{"flag", "neither disclosed nor withheld", with(3, put(r[3], 100, 2))},
		{"withheld-long", "a byte after a withheld event's hash", with(3, append(put(short, 62, 0, 0, 0, 68), 0))},
		{"withheld-short", "a withheld event's hash of 31 bytes", with(3, put(short, 62, 0, 0, 0, 66)[:len(short)-1])},
		{"type-0", "an unknown type, under digests that fit", edited(3, func(e *attest.Event) { e.Type = 0 })},
		{"type-9", "an unknown type, under digests that fit", edited(3, func(e *attest.Event) { e.Type = 9 })},
		{"index", "a record number left out, under digests that fit", edited(7, func(e *attest.Event) { e.Index = 8 })},
		{"register", "another register in a later record", with(7, put(r[7], 18, 14))},
		{"register-length", "a register number of 4 bytes", with(0, slices.Concat(r[0][:14], []byte{0, 0, 0, 4, 0, 0, 0, 13}, r[0][19:]))},
		{"number-length", "a record number of 4 bytes", with(0, slices.Concat([]byte{0, 0, 0, 0, 4, 0, 0, 0, 0}, r[0][13:]))},
		{"bank-added", "a bank more in a later record", with(7, two.AppendRecord(nil, &l.Events[7]))},
		{"bank-twice", "a bank twice", with(0, twice)},
		{"bank-unknown", "an unknown bank", with(0, put(r[0], 24, 0x12))},
		{"bank-length", "a digest of another bank's size", with(0, put(r[0], 24, 0x0c))},
		{"banks-none", "no digests", with(0, slices.Concat(r[0][:20], []byte{0, 0, 0, 0}, r[0][61:]))},
		{"content-type", "another content type", with(0, put(r[0], 61, 5))},
		{"content-length", "a length beyond the end", with(7, put(r[7], 62, 0xff, 0xff, 0xff, 0xff))},
		{"order", "the register before the record number", with(0, slices.Concat(r[0][13:19], r[0][:13], r[0][19:]))},
	} {
		g.write("log-refused-"+x.name, logVector{head: head{"log", x.why, "log.replay"}, Log: hexOf(x.b), Register: 13})
	}
}

// structures writes logs that parse and break the grammar.
func (g *generator) structures() {
	first, w, two := []event{g.origin()}, g.whole("one"), g.whole("two")
	tagged, zeros := g.origin(), slices.Clone(w)
	tagged.tag = "one"
	for i := range zeros {
		zeros[i].tag = ""
	}
	for _, x := range []struct {
		name, why string
		events    [][]event
	}{
		{"origin-missing", "no origin", [][]event{w}},
		{"origin-tag", "an origin with a launch tag", [][]event{{tagged}, two}},
		{"origin-twice", "a second origin", [][]event{first, w, first, two}},
		{"origin-alone", "no launch", [][]event{first}},
		{"tag-zeros", "a launch whose tag is zeros", [][]event{first, zeros}},
		{"tag-twice", "two launches with one tag", [][]event{first, w, two, w}},
		{"begin-missing", "no launch-begin", [][]event{first, w[1:]}},
		{"begin-twice", "launch-begin twice", [][]event{first, w[:1], w}},
		{"key-missing", "no key", [][]event{first, w[:1], w[2:]}},
		{"key-late", "the key after the separator", [][]event{first, w[:1], w[5:6], w[1:2]}},
		{"key-foreign", "a key of another launch", [][]event{first, w[:1], two[1:2], w[2:]}},
		{"component-late", "a component after an environment", [][]event{first, w[:5], w[2:3], w[5:]}},
		{"component-foreign", "a component of another launch inside", [][]event{first, w[:3], two[2:3], w[3:]}},
		{"component-after-separator", "a component after the separator", [][]event{first, w[:6], w[2:3]}},
		{"separator-missing", "the last launch has no separator", [][]event{first, two, w[:5]}},
		{"separator-twice", "two separators", [][]event{first, w[:6], w[5:]}},
		{"commit-early", "a commit before the separator", [][]event{first, w[:5], w[6:7], w[5:6]}},
		{"commit-foreign", "a commit of another launch", [][]event{first, w[:6], two[6:7]}},
		{"commit-after-end", "a commit after the end", [][]event{first, w, w[6:7]}},
		{"end-twice", "two ends", [][]event{first, w, w[7:]}},
		{"nested", "another launch inside", [][]event{first, w[:3], two, w[3:]}},
	} {
		l := log([]attest.Alg{attest.SHA256}, x.events...)
		b := g.bytes(l.Encode())
		g.write("log-grammar-"+x.name, logVector{head: head{"log", x.why, "log.launch"}, Log: hexOf(b), Register: 13})
	}
}

// evidenceVector is the vector of an evidence digest E.
type evidenceVector struct {
	head
	Statement string   `json:"statement"`
	Signature string   `json:"signature"`
	Items     []string `json:"items"`
	Digest    string   `json:"evidenceDigest"`
}

func (g *generator) digests() {
	_, run := g.base()
	st, sig := g.bytes(run.Encode()), bytes.Repeat([]byte{0x5a}, 64)
	var items [][]byte
	for i, data := range []string{"quote", "\xff\x00", ""} {
		ev := &attest.Evidence{Slot: uint8(i), Format: 1, Parts: []attest.Part{{Name: "attest", Data: []byte(data)}}}
		items = append(items, g.bytes(cer.EncodeEvidence(ev)))
	}
	for n := range len(items) + 1 {
		e := attest.EvidenceDigest(st, sig, items[:n])
		v := evidenceVector{head{"evidence", fmt.Sprintf("%d items", n), "ok"}, hexOf(st), hexOf(sig), []string{}, hexOf(e[:])}
		for _, it := range items[:n] {
			v.Items = append(v.Items, string(it))
		}
		g.write("evidence-"+strconv.Itoa(n), v)
	}
}

// The vectors of Merkle trees, and of single proofs.
type (
	treeVector struct {
		head
		Leaves []string   `json:"leaves"`
		Root   string     `json:"root"`
		Paths  [][]string `json:"paths"`
	}
	proofVector struct {
		head
		Leaf  string   `json:"leaf"`
		Index string   `json:"index"`
		Size  string   `json:"size"`
		Path  []string `json:"path"`
		Root  string   `json:"root"`
	}
)

func hexes(hs [][32]byte) []string {
	out := []string{}
	for _, h := range hs {
		out = append(out, hexOf(h[:]))
	}
	return out
}

func (g *generator) trees() {
	var leaves [][32]byte
	empty := cer.Root(nil)
	g.write("merkle-0", treeVector{head{"merkle", "the root of nothing", "ok"}, []string{}, hexOf(empty[:]), [][]string{}})
	for n := 1; n <= 9; n++ {
		leaves = append(leaves, named("record "+strconv.Itoa(n)))
		t, err := cer.NewTree(leaves)
		if err != nil {
			g.fail(err)
			return
		}
		root := t.Root()
		v := treeVector{head{"merkle", fmt.Sprintf("%d leaves", n), "ok"}, hexes(leaves), hexOf(root[:]), nil}
		for i := range n {
			path, err := t.Inclusion(uint64(i))
			if err != nil {
				g.fail(err)
			}
			v.Paths = append(v.Paths, hexes(path))
		}
		g.write("merkle-"+strconv.Itoa(n), v)
		if n == 7 {
			g.proofs(t, leaves)
		}
	}
}

// proofs writes proofs of the third of seven leaves, one of them good.
func (g *generator) proofs(t *cer.Tree, leaves [][32]byte) {
	path, err := t.Inclusion(2)
	if err != nil || len(path) != 3 {
		g.fail(fmt.Errorf("path of %d nodes: %w", len(path), err))
		return
	}
	root, swapped := t.Root(), [][32]byte{path[1], path[0], path[2]}
	for _, x := range []struct {
		name, why, expect string
		leaf              [32]byte
		index, size       uint64
		path              [][32]byte
		root              [32]byte
	}{
		{"good", "leaf 2 of 7", "ok", leaves[2], 2, 7, path, root},
		{"leaf", "another leaf", "statement.inclusion", leaves[3], 2, 7, path, root},
		{"leaf-hash", "the leaf hash in place of the leaf", "statement.inclusion", cer.LeafHash(leaves[2]), 2, 7, path, root},
		{"index", "another index", "statement.inclusion", leaves[2], 3, 7, path, root},
		{"index-size", "an index that is not in the tree", "statement.inclusion", leaves[2], 7, 7, path, root},
		{"size", "a size that wants a longer path", "statement.inclusion", leaves[2], 2, 9, path, root},
		{"size-0", "an empty tree", "statement.inclusion", leaves[2], 0, 0, nil, root},
		{"swapped", "two nodes exchanged", "statement.inclusion", leaves[2], 2, 7, swapped, root},
		{"short", "a node missing", "statement.inclusion", leaves[2], 2, 7, path[:2], root},
		{"long", "a node too many", "statement.inclusion", leaves[2], 2, 7, append(slices.Clone(path), root), root},
		{"root", "another root", "statement.inclusion", leaves[2], 2, 7, path, leaves[0]},
	} {
		g.write("proof-"+x.name, proofVector{head{"proof", x.why, x.expect}, hexOf(x.leaf[:]), u64(x.index), u64(x.size), hexes(x.path), hexOf(x.root[:])})
	}
}
