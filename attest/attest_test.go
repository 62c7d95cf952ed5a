package attest_test

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // G505: an active SHA-1 bank is extended; its values are never accepted.
	"crypto/sha256"
	"crypto/sha512"
	"testing"

	"github.com/sworn-run/sworn/attest"
)

func TestAlg(t *testing.T) {
	abc := []byte("abc")
	s1, s256, s384, s512 := sha1.Sum(abc), sha256.Sum256(abc), sha512.Sum384(abc), sha512.Sum512(abc)
	for _, test := range []struct {
		alg      attest.Alg
		id       uint16
		name     string
		sum      []byte
		accepted bool
	}{
		{attest.SHA1, 0x0004, "sha1", s1[:], false},
		{attest.SHA256, 0x000B, "sha256", s256[:], true},
		{attest.SHA384, 0x000C, "sha384", s384[:], true},
		{attest.SHA512, 0x000D, "sha512", s512[:], true},
	} {
		if uint16(test.alg) != test.id || test.alg.String() != test.name || test.alg.Size() != len(test.sum) {
			t.Errorf("%v: id %#x, size %d", test.alg, uint16(test.alg), test.alg.Size())
		}
		if !test.alg.Known() || test.alg.Accepted() != test.accepted {
			t.Errorf("%v: known %v, accepted %v", test.alg, test.alg.Known(), test.alg.Accepted())
		}
		if got := test.alg.Sum([]byte("a"), nil, []byte("bc")); !bytes.Equal(got, test.sum) {
			t.Errorf("%v: %x", test.alg, got)
		}
		if got, err := attest.ParseAlg(test.name); err != nil || got != test.alg {
			t.Errorf("ParseAlg(%q) = %v, %v", test.name, got, err)
		}
	}
	for _, a := range []attest.Alg{0, 0x0012, 0x0027, 0xffff} {
		if a.Known() || a.Accepted() || a.Size() != 0 || a.Sum(abc) != nil {
			t.Errorf("%v is taken for known", a)
		}
		if _, err := attest.ParseAlg(a.String()); err == nil {
			t.Errorf("ParseAlg(%q) accepts", a)
		}
	}
	for _, name := range []string{"", "SHA256", "sha-256", "sha256 ", "md5"} {
		_, err := attest.ParseAlg(name)
		wantForm(t, err)
	}
}

// The zero Status counts as not passed, and so does any that does not exist.
func TestStatus(t *testing.T) {
	var zero attest.Finding
	if zero.Status != attest.NotEstablished || zero.Status == attest.Passed {
		t.Errorf("the zero finding is %v", zero.Status)
	}
	for status, want := range map[attest.Status]string{
		attest.Passed: "passed", attest.Failed: "failed", attest.NotEstablished: "not established",
		attest.NotApplicable: "not applicable", 99: "not established",
	} {
		if status.String() != want {
			t.Errorf("status %d is %q, want %q", status, status, want)
		}
	}
}

func TestAnchorsRole(t *testing.T) {
	a := &attest.Anchors{Roots: []attest.Root{{Role: "tpm-ak", Product: "a"}, {Role: "tpm-ek"}, {Role: "tpm-ak", Product: "b"}}}
	got := a.Role("tpm-ak")
	if len(got) != 2 || got[0].Product != "a" || got[1].Product != "b" {
		t.Errorf("roots of the role: %v", got)
	}
	if len(a.Role("tpm")) != 0 || len(a.Role("")) != 0 || len((&attest.Anchors{}).Role("tpm-ak")) != 0 {
		t.Error("roots of no such role")
	}
	if (*attest.Anchors)(nil).Role("tpm-ak") != nil {
		t.Error("nil anchors trust something")
	}
}

func TestEventTypeString(t *testing.T) {
	seen := map[string]bool{}
	for typ := range attest.EventType(12) {
		seen[typ.String()] = true
	}
	if len(seen) != 12 || attest.EventLaunchBegin.String() != "launch-begin" || attest.EventEnd.String() != "end" {
		t.Errorf("names %v", seen)
	}
}
