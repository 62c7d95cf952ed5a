package cer_test

import (
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
