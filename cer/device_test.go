package cer_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/sworn-run/sworn/cer"
)

func TestDevices(t *testing.T) {
	for fact, want := range map[string][]string{
		"":                               nil,
		"null urandom":                   {"null", "urandom"},
		"null  urandom":                  {"null", "", "urandom"},
		"null urandom null\u00a0urandom": {"null", "urandom", "null\u00a0urandom"},
		"null\rurandom":                  {"null\rurandom"},
	} {
		if got := cer.Devices(fact); !slices.Equal(got, want) {
			t.Errorf("Devices(%q) = %q, want %q", fact, got, want)
		}
	}
}

func TestPlainDevice(t *testing.T) {
	for name, want := range map[string]bool{
		"nvidia0": true, "dri/renderD128": true, "": false, "a b": false, "null\u00a0urandom": false,
		"a\vb": false, "a\rb": false, "a\x7fb": false, "\u00e9": false,
	} {
		if got := cer.PlainDevice(name); got != want {
			t.Errorf("PlainDevice(%q) = %v", name, got)
		}
	}
}

func TestLauncherDevice(t *testing.T) {
	for name, want := range map[string]bool{
		"tpm0": true, "tpmrm0": true, "tpmrm12": true, "vtpmx": true, "sev-guest": true, "tdx_guest": true, "mem": true, "memory": false, "null": false, "nvidia0": false, "": false,
	} {
		if got := cer.LauncherDevice(name); got != want {
			t.Errorf("LauncherDevice(%q) = %v", name, got)
		}
	}
}

func TestNamedDevices(t *testing.T) {
	got, err := cer.NamedDevices("null urandom nvidia0 loop1", "c195:0 b7:1")
	want := []cer.Device{{Name: "nvidia0", Kind: 'c', Major: 195}, {Name: "loop1", Kind: 'b', Major: 7, Minor: 1}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, d := range got {
		if d.Launcher() {
			t.Errorf("%s is said to be the launcher's", d.Name)
		}
	}
	if none, err := cer.NamedDevices("null urandom", ""); err != nil || none != nil {
		t.Errorf("%+v, %v", none, err)
	}
	for _, x := range [][2]string{
		{"null urandom", "c1:3"},
		{"fuse", ""},
		{"fuse", "c10:229 c1:7"},
		{"fuse", "c10:229 "},
		{"fuse", "10:229"},
		{"fuse", "c010:229"},
		{"fuse", "c10:"},
		{"fuse", "c:229"},
		{"fuse", "c10"},
		{"fuse", "C10:229"},
		{"fuse", "c-1:0"},
		{"fuse", "c4294967296:0"},
		{"fuse", "c10:2:9"},
	} {
		if got, err := cer.NamedDevices(x[0], x[1]); !errors.Is(err, cer.ErrSchema) || got != nil {
			t.Errorf("%q: %+v, %v", x, got, err)
		}
	}
	for number, d := range map[string]cer.Device{
		"c10:224": {Name: "x", Kind: 'c', Major: 10, Minor: 224}, "c1:1": {Name: "x", Kind: 'c', Major: 1, Minor: 1},
		"c240:1": {Name: "tpmrm0", Kind: 'c', Major: 240, Minor: 1},
	} {
		if d.Number() != number || !d.Launcher() {
			t.Errorf("%+v: %s, launcher's: %v", d, d.Number(), d.Launcher())
		}
	}
}
