package tpmdev

import (
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"
)

// The first handles of what is loaded: transient objects, and sessions of
// either kind (Part 2, 7.2: TPM_HT_TRANSIENT, TPM_HT_LOADED_SESSION). Sessions
// that somebody has saved are listed elsewhere, and left alone.
const (
	firstTransient     = 0x80000000
	firstLoadedSession = 0x02000000
)

// maxLoaded bounds one list of handles; TPMs hold a handful.
const maxLoaded = 64

// clearLeftovers flushes the keys and sessions that are loaded in a TPM with
// one client, which we are: whoever loaded them has lost its connection, and
// with it the use of them. A launcher that is killed leaves its attestation key
// behind, and a software TPM has room for three.
func (l *link) clearLeftovers() error {
	for _, first := range []uint32{firstTransient, firstLoadedSession} {
		rsp, err := tpm2.GetCapability{
			Capability: tpm2.TPMCapHandles, Property: first, PropertyCount: maxLoaded,
		}.Execute(l)
		if err != nil {
			return fmt.Errorf("listing what is loaded: %w", err)
		}
		list, err := rsp.CapabilityData.Data.Handles()
		if err != nil {
			return fmt.Errorf("listing what is loaded: %w", err)
		}
		for _, h := range list.Handle {
			if err := l.flush(h); err != nil && !errors.Is(err, tpm2.TPMRCHandle) {
				return err
			}
		}
	}
	return nil
}
