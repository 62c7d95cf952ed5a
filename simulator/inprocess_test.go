//go:build !simulator || !cgo

package simulator

import (
	"errors"
	"testing"
)

func TestOpenInProcessNotBuilt(t *testing.T) {
	if dev, err := OpenInProcess(t.Context(), t.TempDir()); !errors.Is(err, ErrNotBuilt) || dev != nil {
		t.Errorf("OpenInProcess: %v, %v", dev, err)
	}
}
