package cer_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"path"
	"strings"
	"testing"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/testdata"
)

// swornVector holds the members of the vectors that this package runs;
// testdata/vectors/sworn has a README.
type swornVector struct {
	Kind, Why, Expect string
	Leaves            []string
	Root              string
	Paths             [][]string
	Leaf, Index, Size string
	Path              []string
	Statement         string
	Signature         json.RawMessage
	Items             []string
	EvidenceDigest    string
	Log               string
	// Of commitments and openings; what is bytes in the first is text in the second.
	Series, Field, Salt, Commitment   string
	Value                             string
	CertificateHash, Runtime, Opening string
}

// swornVectors returns the vectors of a kind by name.
func swornVectors(t *testing.T, kind string) map[string]*swornVector {
	t.Helper()
	files, err := fs.Glob(testdata.Vectors, "vectors/sworn/*.json")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]*swornVector{}
	for _, f := range files {
		b, err := fs.ReadFile(testdata.Vectors, f)
		if err != nil {
			t.Fatal(err)
		}
		v, name := &swornVector{}, strings.TrimSuffix(path.Base(f), ".json")
		if err := json.Unmarshal(b, v); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		switch v.Kind {
		case kind:
			out[name] = v
		case "statement", "log", "evidence", "merkle", "proof", "commitment", "opening":
		default:
			t.Errorf("%s is of unknown kind %q", name, v.Kind)
		}
	}
	if len(out) == 0 {
		t.Fatalf("no vector of kind %s", kind)
	}
	return out
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func hashes(t *testing.T, list []string) [][32]byte {
	t.Helper()
	var out [][32]byte
	for _, s := range list {
		out = append(out, [32]byte(unhex(t, s)))
	}
	return out
}

// treeBySpec returns root and path of a leaf as RFC 6962, 2.1 and 2.1.1, define
// them, by recursion.
func treeBySpec(leaves [][32]byte, m int) (root []byte, path [][]byte) {
	sum := func(parts ...[]byte) []byte {
		h := sha256.Sum256(bytes.Join(parts, nil))
		return h[:]
	}
	n := len(leaves)
	if n == 0 {
		return sum(), nil
	}
	if n == 1 {
		return sum([]byte{0}, leaves[0][:]), nil
	}
	k := 1
	for 2*k < n {
		k *= 2
	}
	left, right := min(m, k-1), max(m-k, 0)
	l, pl := treeBySpec(leaves[:k], left)
	r, pr := treeBySpec(leaves[k:], right)
	if m < k {
		return sum([]byte{1}, l, r), append(pl, r)
	}
	return sum([]byte{1}, l, r), append(pr, l)
}

func TestMerkleVectors(t *testing.T) {
	sizes := map[int]bool{}
	for name, v := range swornVectors(t, "merkle") {
		leaves, root := hashes(t, v.Leaves), [32]byte(unhex(t, v.Root))
		sizes[len(leaves)] = true
		if v.Expect != "ok" || len(v.Paths) != len(leaves) {
			t.Errorf("%s: expects %q of %d paths", name, v.Expect, len(v.Paths))
		}
		if got := cer.Root(leaves); got != root {
			t.Errorf("%s: root %x", name, got)
		}
		for i, p := range v.Paths {
			path := hashes(t, p)
			if err := cer.VerifyInclusion(leaves[i], uint64(i), uint64(len(leaves)), path, root); err != nil {
				t.Errorf("%s: leaf %d: %v", name, i, err)
			}
			specRoot, specPath := treeBySpec(leaves, i)
			if !bytes.Equal(specRoot, root[:]) || len(specPath) != len(path) {
				t.Fatalf("%s: leaf %d: by the specification root %x, %d nodes", name, i, specRoot, len(specPath))
			}
			for j := range path {
				if !bytes.Equal(path[j][:], specPath[j]) {
					t.Errorf("%s: leaf %d: node %d is %x by the specification", name, i, j, specPath[j])
				}
			}
		}
	}
	for n := range 10 {
		if !sizes[n] {
			t.Errorf("no tree of %d leaves", n)
		}
	}
}

func TestProofVectors(t *testing.T) {
	outcomes := map[string]int{}
	for name, v := range swornVectors(t, "proof") {
		index, err := cer.ParseUint(v.Index)
		if err != nil {
			t.Fatal(err)
		}
		size, err := cer.ParseUint(v.Size)
		if err != nil {
			t.Fatal(err)
		}
		outcomes[v.Expect]++
		err = cer.VerifyInclusion([32]byte(unhex(t, v.Leaf)), index, size, hashes(t, v.Path), [32]byte(unhex(t, v.Root)))
		switch v.Expect {
		case "ok":
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		case "statement.inclusion":
			if !errors.Is(err, cer.ErrHash) && !errors.Is(err, cer.ErrSchema) {
				t.Errorf("%s (%s): %v", name, v.Why, err)
			}
		default:
			t.Errorf("%s expects %q, which is no outcome", name, v.Expect)
		}
	}
	if outcomes["ok"] == 0 || outcomes["statement.inclusion"] == 0 {
		t.Errorf("outcomes %v", outcomes)
	}
}

// The evidence digest by the words of SPEC, section 6, over items that are what
// the capsule would carry.
func TestEvidenceVectors(t *testing.T) {
	for name, v := range swornVectors(t, "evidence") {
		if v.Expect != "ok" {
			t.Errorf("%s expects %q", name, v.Expect)
		}
		var signature string
		if err := json.Unmarshal(v.Signature, &signature); err != nil {
			t.Fatal(err)
		}
		st, sig := sha256.Sum256(unhex(t, v.Statement)), sha256.Sum256(unhex(t, signature))
		pre := append([]byte("sworn.run/evidence/v1\x00"), st[:]...)
		pre = append(append(pre, sig[:]...), 0, byte(len(v.Items)))
		c := &cer.Capsule{CER: []byte("{}")}
		for i, it := range v.Items {
			sum := sha256.Sum256([]byte(it))
			pre = append(pre, sum[:]...)
			text := `{"cer":{},"collateral":[],"evidence":[` + it + `],"inclusion":{"index":"0","path":[],"size":"1"},"log":"","signature":"","statement":"","tokens":[]}` + "\n"
			parsed, err := cer.ParseCapsule([]byte(text))
			if err != nil {
				t.Fatalf("%s: item %d: %v", name, i, err)
			}
			c.Items = append(c.Items, parsed.Items...)
		}
		if e := sha256.Sum256(pre); hex.EncodeToString(e[:]) != v.EvidenceDigest {
			t.Errorf("%s: %x", name, e)
		}
		if e := attest.EvidenceDigest(unhex(t, v.Statement), unhex(t, signature), c.Items); hex.EncodeToString(e[:]) != v.EvidenceDigest {
			t.Errorf("%s: of the items as parsed, %x", name, e)
		}
	}
}

// The root of a log's vector is that of its events.
func TestLogRootVectors(t *testing.T) {
	n := 0
	for name, v := range swornVectors(t, "log") {
		if v.Expect != "ok" {
			continue
		}
		n++
		l, err := attest.ParseLog(unhex(t, v.Log))
		if err != nil {
			t.Fatal(err)
		}
		if root := cer.LogRoot(l.Digests(uint64(len(l.Events)))); hex.EncodeToString(root[:]) != v.Root {
			t.Errorf("%s: %x", name, root)
		}
	}
	if n == 0 {
		t.Error("no log to look at")
	}
}
