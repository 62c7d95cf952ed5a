package simulator

import (
	"encoding/binary"
	"fmt"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
)

// allocateBanks leaves the PCR banks SHA-256 and SHA-384 active and no other,
// from the next restart on (TPM2_PCR_Allocate; Part 3, 22.5).
func allocateBanks(t transport.TPM) error {
	rsp, err := tpm2.GetCapability{Capability: tpm2.TPMCapPCRs, PropertyCount: 1}.Execute(t)
	if err != nil {
		return fmt.Errorf("listing the PCR banks: %w: %w", ErrTPM, err)
	}
	banks, err := rsp.CapabilityData.Data.AssignedPCR()
	if err != nil {
		return fmt.Errorf("listing the PCR banks: %w: %w", ErrTPM, err)
	}
	for i := range banks.PCRSelections {
		s := &banks.PCRSelections[i]
		s.PCRSelect = []byte{0, 0, 0}
		if s.Hash == tpm2.TPMAlgSHA256 || s.Hash == tpm2.TPMAlgSHA384 {
			s.PCRSelect = []byte{0xff, 0xff, 0xff}
		}
	}
	answer, err := t.Send(pcrAllocate(banks))
	if err != nil {
		return fmt.Errorf("TPM2_PCR_Allocate: %w: %w", ErrTPM, err)
	}
	// The header (10 bytes), parameterSize (4), allocationSuccess (1).
	if len(answer) < 15 || binary.BigEndian.Uint32(answer[6:]) != 0 || answer[14] != 1 {
		return fmt.Errorf("TPM2_PCR_Allocate: response %x: %w", answer, ErrTPM)
	}
	return nil
}

// pcrAllocate is the command TPM2_PCR_Allocate by the platform with the empty
// password; the library has no type for it.
func pcrAllocate(banks *tpm2.TPMLPCRSelection) []byte {
	b := binary.BigEndian.AppendUint16(nil, uint16(tpm2.TPMSTSessions))
	b = binary.BigEndian.AppendUint32(b, 0) // the size, below
	b = binary.BigEndian.AppendUint32(b, uint32(tpm2.TPMCCPCRAllocate))
	b = binary.BigEndian.AppendUint32(b, uint32(tpm2.TPMRHPlatform))
	// TPMS_AUTH_COMMAND: TPM_RS_PW, no nonce, no attributes, no password (Part
	// 2, 10.13.2), preceded by its size.
	b = binary.BigEndian.AppendUint32(b, 9)
	b = binary.BigEndian.AppendUint32(b, uint32(tpm2.TPMRSPW))
	b = append(b, 0, 0, 0, 0, 0)
	b = append(b, tpm2.Marshal(banks)...)
	binary.BigEndian.PutUint32(b[2:], uint32(len(b)))
	return b
}
