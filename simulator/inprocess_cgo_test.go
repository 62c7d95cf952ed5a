//go:build simulator && cgo

package simulator

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestInProcess(t *testing.T) {
	dir := t.TempDir()
	dev, err := OpenInProcess(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for range 2 {
			if err := dev.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	suite(t, dev, openMaker(t, dir))
}

// TestInProcessOnce opens a second TPM while there is one.
func TestInProcessOnce(t *testing.T) {
	dev, err := OpenInProcess(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	second, err := OpenInProcess(ctx, t.TempDir())
	if !errors.Is(err, ErrRunning) || !errors.Is(err, context.DeadlineExceeded) || second != nil {
		t.Errorf("a second TPM: %v, %v", second, err)
	}
	if err := dev.Close(); err != nil {
		t.Fatal(err)
	}
	if dev, err = OpenInProcess(t.Context(), t.TempDir()); err != nil {
		t.Fatal(err)
	}
	if err := dev.Close(); err != nil {
		t.Error(err)
	}
}
