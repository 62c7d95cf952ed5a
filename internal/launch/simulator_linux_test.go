//go:build simulator && cgo

package launch_test

import (
	"testing"

	"github.com/sworn-run/sworn/simulator"
)

// The same on the reference implementation of the TPM, in this process: no
// program but the job's is needed.
func TestCoreInProcess(t *testing.T) {
	dir := t.TempDir()
	rw, err := simulator.OpenInProcess(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = rw.Close() })
	core(t, newBench(t, rw, dir))
}
