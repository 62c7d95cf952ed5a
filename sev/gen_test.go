package sev

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
)

var update = flag.Bool("update", false, "make testdata/example anew")

// TestExampleData wants the example's files to be there, and to verify; -update makes
// them anew with the tests' maker.
func TestExampleData(t *testing.T) {
	dir := filepath.Join("testdata", "example")
	maker := newAMD(t, milan)
	if *update {
		c := newChip(t, maker, signerVCEK, 3)
		ders := c.chain(t)
		for name, b := range map[string][]byte{
			"report.bin": c.report(t), "vcek.der": ders[0], "ask.der": ders[1], "ark.der": ders[2], "ark.crl": maker.crl(t),
		} {
			if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	ev := withCollateral(read("report.bin"), [][]byte{read("vcek.der"), read("ask.der"), read("ark.der")}, read("ark.crl"))
	root := *maker
	root.ark.cert = parse(t, read("ark.der"))
	if got := verify(t, Scheme{}, ev, root.anchors()); !allPassed(got) {
		t.Errorf("claims %+v", got)
	}
}
