package tpmdev

import (
	"testing"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
)

// TestCrashesLeaveTheTPMUsable ends the connection as the death of a process
// does, more often than a TPM has room for keys.
func TestCrashesLeaveTheTPMUsable(t *testing.T) {
	addr := startTPM(t).unix
	for i := range 5 {
		d, err := Open(t.Context(), addr, Options{AK: Child})
		if err != nil {
			t.Fatalf("Open after %d crashes: %v", i, err)
		}
		attestOne(t, d)
		if err := d.hangup(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestOpenClearsLeftovers fills the TPM with keys and sessions, and saves one
// session away: that one is somebody's still.
func TestOpenClearsLeftovers(t *testing.T) {
	addr := startTPM(t).unix
	raw := dialRaw(t, addr)
	_, _, err := tpm2.PolicySession(raw, tpm2.TPMAlgSHA256, 16)
	if err != nil {
		t.Fatal(err)
	}
	saved, err := tpm2.ContextSave{SaveHandle: loaded(t, raw, firstLoadedSession)[0]}.Execute(raw)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, _, err := tpm2.HMACSession(raw, tpm2.TPMAlgSHA256, 16); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := tpm2.PolicySession(raw, tpm2.TPMAlgSHA256, 16); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := (tpm2.CreatePrimary{PrimaryHandle: tpm2.TPMRHOwner, InPublic: tpm2.New2B(storageTemplate())}).Execute(raw); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(loaded(t, raw, firstLoadedSession)); n != 3 {
		t.Fatalf("%d sessions are loaded, want 3", n)
	}
	hang(t, raw)

	d, err := Open(t.Context(), addr, Options{AK: Child})
	if err != nil {
		t.Fatalf("Open of a full TPM: %v", err)
	}
	attestOne(t, d)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	raw = dialRaw(t, addr)
	defer hang(t, raw)
	for _, first := range []uint32{firstTransient, firstLoadedSession} {
		if left := loaded(t, raw, first); len(left) != 0 {
			t.Errorf("still loaded from 0x%08x: %v", first, left)
		}
	}
	if _, err := (tpm2.ContextLoad{Context: saved.Context}).Execute(raw); err != nil {
		t.Errorf("loading the saved session: %v", err)
	}
}

// TestSharedTransportIsLeftAlone: what is loaded in a TPM that the caller has
// connected may be the caller's.
func TestSharedTransportIsLeftAlone(t *testing.T) {
	raw := dialRaw(t, startTPM(t).unix)
	defer hang(t, raw)
	if _, err := (tpm2.CreatePrimary{PrimaryHandle: tpm2.TPMRHOwner, InPublic: tpm2.New2B(storageTemplate())}).Execute(raw); err != nil {
		t.Fatal(err)
	}
	d, err := OpenTransport(t.Context(), raw, Options{AK: Child})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if left := loaded(t, raw, firstTransient); len(left) != 1 {
		t.Errorf("loaded are %v, want the caller's one key", left)
	}
}

// dialRaw connects to the bare TPM.
func dialRaw(t *testing.T, addr string) transport.TPMCloser {
	t.Helper()
	raw, err := Dial(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// hang ends a bare connection.
func hang(t *testing.T, raw transport.TPMCloser) {
	t.Helper()
	if err := raw.Close(); err != nil {
		t.Fatal(err)
	}
}

// loaded lists the handles of one kind.
func loaded(t *testing.T, raw transport.TPM, first uint32) []tpm2.TPMHandle {
	t.Helper()
	rsp, err := tpm2.GetCapability{Capability: tpm2.TPMCapHandles, Property: first, PropertyCount: maxLoaded}.Execute(raw)
	if err != nil {
		t.Fatal(err)
	}
	list, err := rsp.CapabilityData.Data.Handles()
	if err != nil {
		t.Fatal(err)
	}
	return list.Handle
}
