package simulator

import (
	"errors"
	"net"
	"os"
	"testing"

	"github.com/sworn-run/sworn/attest"
)

// TestForAMachine starts the TPM of a virtual machine: it has no socket for
// others than QEMU.
func TestForAMachine(t *testing.T) {
	dir, err := os.MkdirTemp("", "tpm")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	o := Options{Dir: dir, Machine: true}
	if _, err := StartSWTPM(t.Context(), Options{Dir: dir, Machine: true, Addr: "tcp:127.0.0.1:0"}); !errors.Is(err, attest.ErrArgument) {
		t.Fatalf("with an address: %v", err)
	}
	s, err := StartSWTPM(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	h := &home{dir: dir}
	if s.Addr() != "unix:"+h.path(ctrlFile) {
		t.Errorf("it listens at %q", s.Addr())
	}
	if err := h.control(t.Context(), ctrlGetCapability); err != nil {
		t.Errorf("its control socket: %v", err)
	}
	if c, err := net.Dial("unix", h.path(socketFile)); err == nil {
		_ = c.Close()
		t.Error("it takes commands from others than QEMU")
	}
	if _, err := StartSWTPM(t.Context(), o); !errors.Is(err, ErrRunning) {
		t.Errorf("started twice: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
