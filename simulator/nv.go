package simulator

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
)

// NV indices. That of the EK certificate is the TCG's (EK Credential Profile,
// 2.2.1, template L-2: ECC P-256); those of the AK are where Google's
// machines keep the certificate and the template of an ECC AK.
const (
	nvEKCertificate = 0x01c0000a
	nvAKCertificate = 0x01c10002
	nvAKTemplate    = 0x01c10003
)

const (
	// maxNV bounds an index, in bytes: TPM2_PT_NV_INDEX_MAX of swtpm.
	maxNV = 2048
	// chunk is how much is read or written at once: no more than
	// TPM_PT_NV_BUFFER_MAX of any TPM (swtpm: 1024).
	chunk = 512
)

// noAuth is the empty password.
func noAuth() tpm2.Session { return tpm2.PasswordAuth(nil) }

// nvArea is what stands at an NV index.
type nvArea struct {
	// name is the Name of the index; nil if it is not defined.
	name []byte
	// locked says that it was written completely: locking comes last.
	locked bool
	data   []byte
}

// readNV reads an index with its own authorization, which must be empty (Part
// 3, 31.6 and 31.13). One that was never written is returned without data.
func readNV(t transport.TPM, index tpm2.TPMHandle) (*nvArea, error) {
	rsp, err := tpm2.NVReadPublic{NVIndex: index}.Execute(t)
	if errors.Is(err, tpm2.TPMRCHandle) {
		return &nvArea{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the public area of NV index 0x%08x: %w: %w", uint32(index), ErrTPM, err)
	}
	public, err := rsp.NVPublic.Contents()
	if err != nil {
		return nil, fmt.Errorf("reading the public area of NV index 0x%08x: %w: %w", uint32(index), ErrTPM, err)
	}
	area := &nvArea{name: rsp.NVName.Buffer, locked: public.Attributes.WriteLocked}
	if !public.Attributes.Written {
		return area, nil
	}
	if public.DataSize > maxNV {
		return nil, fmt.Errorf("NV index 0x%08x has %d bytes, limit %d: %w", uint32(index), public.DataSize, maxNV, ErrTPM)
	}
	for len(area.data) < int(public.DataSize) {
		part, err := tpm2.NVRead{
			AuthHandle: tpm2.AuthHandle{Handle: index, Name: rsp.NVName, Auth: noAuth()},
			NVIndex:    tpm2.NamedHandle{Handle: index, Name: rsp.NVName},
			Size:       uint16(min(chunk, int(public.DataSize)-len(area.data))),
			Offset:     uint16(len(area.data)),
		}.Execute(t)
		if err != nil {
			return nil, fmt.Errorf("reading NV index 0x%08x: %w: %w", uint32(index), ErrTPM, err)
		}
		if len(part.Data.Buffer) == 0 || len(part.Data.Buffer) > chunk {
			return nil, fmt.Errorf("reading NV index 0x%08x: %d bytes at once: %w", uint32(index), len(part.Data.Buffer), ErrTPM)
		}
		area.data = append(area.data, part.Data.Buffer...)
	}
	return area, nil
}

// writeNV puts data at an index, in place of what was there, and locks it.
// Everybody can read it with the empty authorization; only the platform's
// could remove it, and no one's write to it (the attributes of an EK
// certificate's index: EK Credential Profile, 2.2.1).
func writeNV(t transport.TPM, index tpm2.TPMHandle, old *nvArea, data []byte) error {
	if len(data) == 0 || len(data) > maxNV {
		return fmt.Errorf("writing NV index 0x%08x: %d bytes, limit %d: %w", uint32(index), len(data), maxNV, ErrTPM)
	}
	platform := tpm2.AuthHandle{Handle: tpm2.TPMRHPlatform, Auth: noAuth()}
	if old.name != nil {
		named := tpm2.NamedHandle{Handle: index, Name: tpm2.TPM2BName{Buffer: old.name}}
		if _, err := (tpm2.NVUndefineSpace{AuthHandle: platform, NVIndex: named}).Execute(t); err != nil {
			return fmt.Errorf("removing NV index 0x%08x: %w: %w", uint32(index), ErrTPM, err)
		}
	}
	public := tpm2.TPMSNVPublic{
		NVIndex: index,
		NameAlg: tpm2.TPMAlgSHA256,
		Attributes: tpm2.TPMANV{
			PPWrite: true, WriteDefine: true, NT: tpm2.TPMNTOrdinary,
			PPRead: true, OwnerRead: true, AuthRead: true,
			NoDA: true, PlatformCreate: true,
		},
		DataSize: uint16(len(data)),
	}
	if _, err := (tpm2.NVDefineSpace{AuthHandle: platform, PublicInfo: tpm2.New2B(public)}).Execute(t); err != nil {
		return fmt.Errorf("defining NV index 0x%08x: %w: %w", uint32(index), ErrTPM, err)
	}
	if err := fillNV(t, index, platform, data); err != nil {
		return fmt.Errorf("writing NV index 0x%08x: %w: %w", uint32(index), ErrTPM, err)
	}
	back, err := readNV(t, index)
	if err != nil {
		return err
	}
	if !back.locked || !bytes.Equal(back.data, data) {
		return fmt.Errorf("NV index 0x%08x does not hold what was written: %w", uint32(index), ErrTPM)
	}
	return nil
}

// fillNV writes data chunk by chunk and locks the index (Part 3, 31.7 and
// 31.11). Its Name changes with the first write.
func fillNV(t transport.TPM, index tpm2.TPMHandle, platform tpm2.AuthHandle, data []byte) error {
	named := func() (tpm2.NamedHandle, error) {
		rsp, err := tpm2.NVReadPublic{NVIndex: index}.Execute(t)
		if err != nil {
			return tpm2.NamedHandle{}, err
		}
		return tpm2.NamedHandle{Handle: index, Name: rsp.NVName}, nil
	}
	for offset := 0; offset < len(data); offset += chunk {
		h, err := named()
		if err != nil {
			return err
		}
		_, err = tpm2.NVWrite{
			AuthHandle: platform,
			NVIndex:    h,
			Data:       tpm2.TPM2BMaxNVBuffer{Buffer: data[offset:min(offset+chunk, len(data))]},
			Offset:     uint16(offset),
		}.Execute(t)
		if err != nil {
			return err
		}
	}
	h, err := named()
	if err != nil {
		return err
	}
	_, err = tpm2.NVWriteLock{AuthHandle: platform, NVIndex: h}.Execute(t)
	return err
}
