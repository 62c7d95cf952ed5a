package bootlog

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/sworn-run/sworn/attest"
)

// item is an entry of the evidence's index.
type item struct {
	ID, Tech string
	Files    []struct{ Path string }
	Expected struct {
		RTMR map[string]string `json:"rtmr_replay"`
	}
}

// TestShared replays every real log in the shared evidence and compares it with what
// another tool made of it.
func TestShared(t *testing.T) {
	dir := shared(t)
	b, err := os.ReadFile(filepath.Join(dir, "INDEX.json"))
	if err != nil {
		t.Fatal(err)
	}
	var index struct{ Items []item }
	if bytes.HasPrefix(b, []byte("[")) {
		decode(t, b, &index.Items)
	} else {
		decode(t, b, &index)
	}
	logs := 0
	for _, i := range index.Items {
		if i.Tech != "eventlog" && i.Tech != "ccel" {
			continue
		}
		logs++
		t.Run(i.ID, func(t *testing.T) { i.check(t, dir) })
	}
	if logs < 19 {
		t.Fatalf("only %d logs", logs)
	}
}

// check replays one log.
func (i *item) check(t *testing.T, dir string) {
	raw, err := os.ReadFile(filepath.Join(dir, i.Files[0].Path))
	if err != nil {
		t.Fatal(err)
	}
	kind := PCRs
	if i.Tech == "ccel" {
		kind = MRs
	}
	l, err := Parse(raw, kind)
	if i.ID == "el-keylime-bogus" {
		if !errors.Is(err, attest.ErrForm) || l != nil {
			t.Fatalf("34 bytes of text: %v", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if b, err := l.Marshal(); err != nil || !bytes.Equal(b, raw) {
		t.Fatalf("does not marshal back to itself: %v", err)
	}
	want := map[string]map[string]string{}
	for name, value := range i.Expected.RTMR {
		if want["sha384"] == nil {
			want["sha384"] = map[string]string{}
		}
		n, err := strconv.Atoi(strings.TrimPrefix(name, "RTMR"))
		if err != nil {
			t.Fatal(err)
		}
		want["sha384"][strconv.Itoa(n+1)] = value
	}
	if len(i.Files) > 1 {
		b, err := os.ReadFile(filepath.Join(dir, i.Files[1].Path))
		if err != nil {
			t.Fatal(err)
		}
		decode(t, b, &want)
	}
	for bank, registers := range want {
		alg, err := attest.ParseAlg(bank)
		if err != nil {
			t.Fatal(err)
		}
		values := truth(t, l, alg)
		if len(values) != len(registers) {
			t.Errorf("%s: %d registers, want %d", bank, len(values), len(registers))
		}
		for _, v := range values {
			// The other tool extends the event that states the locality.
			if i.ID == "el-keylime-mb" && v.Index == 0 {
				continue
			}
			if got := hex.EncodeToString(v.Value); got != registers[strconv.Itoa(int(v.Index))] {
				t.Errorf("%s: register %d is %s", bank, v.Index, got)
			}
		}
	}
	i.facts(t, l)
}

// facts looks at what all genuine logs have in common.
func (i *item) facts(t *testing.T, l *Log) {
	bank := attest.SHA256
	if l.Registers == MRs {
		bank = attest.SHA384
	}
	if !l.Has(bank) {
		return
	}
	f := appraise(t, l, truth(t, l, bank), Options{})
	if !f.SecureBoot.Established || len(f.Images) == 0 {
		t.Errorf("%+v, %d images", f.SecureBoot, len(f.Images))
	}
	// The tables that a host hands to a TD are in the register of its variables.
	if want := l.Registers == PCRs; f.Variables.Established != want || f.Authorities.Established != want {
		t.Errorf("%+v, %+v", f.Variables.Finding, f.Authorities.Finding)
	}
	if l.Registers == MRs {
		var known [][]byte
		for _, m := range f.Rest {
			known = append(known, m.Digest)
		}
		f := appraise(t, l, truth(t, l, bank), Options{Known: known})
		if !f.Variables.Established {
			t.Errorf("with reference values: %+v", f.Variables.Finding)
		}
	}
}
