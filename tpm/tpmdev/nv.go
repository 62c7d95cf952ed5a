package tpmdev

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"

	"github.com/google/go-tpm/tpm2"
)

// Bounds of what is read from NV memory.
const (
	// maxNV is the largest index that is read, in bytes.
	maxNV = 16384
	// nvChunk is the most that is read at once; a TPM may take less
	// (TPM_PT_NV_BUFFER_MAX).
	nvChunk = 1024
	// maxCertificate and maxCertificates are what evidence of this format
	// carries.
	maxCertificate  = 8192
	maxCertificates = 6
)

// errNoIndex: the NV index is not defined, or was never written.
var errNoIndex = errors.New("no such NV index")

// readNV returns the content of an NV index (Part 3, 31.13), with the index's
// own authorization value, or the owner's, either of them empty.
func (l *link) readNV(index uint32) ([]byte, error) {
	rsp, err := tpm2.NVReadPublic{NVIndex: tpm2.TPMHandle(index)}.Execute(l)
	if errors.Is(err, tpm2.TPMRCHandle) {
		return nil, errNoIndex
	}
	if err != nil {
		return nil, err
	}
	public, err := rsp.NVPublic.Contents()
	if err != nil {
		return nil, err
	}
	command := tpm2.NVRead{NVIndex: tpm2.NamedHandle{Handle: tpm2.TPMHandle(index), Name: rsp.NVName}}
	switch a := &public.Attributes; {
	case !a.Written:
		return nil, errNoIndex
	case a.AuthRead:
		command.AuthHandle = tpm2.AuthHandle{Handle: tpm2.TPMHandle(index), Name: rsp.NVName, Auth: tpm2.PasswordAuth(nil)}
	case a.OwnerRead:
		command.AuthHandle = tpm2.AuthHandle{Handle: tpm2.TPMRHOwner, Auth: tpm2.PasswordAuth(nil)}
	default:
		return nil, fmt.Errorf("it cannot be read with a password: %w", ErrDevice)
	}
	if public.DataSize == 0 || public.DataSize > maxNV {
		return nil, fmt.Errorf("it holds %d bytes, want 1 to %d: %w", public.DataSize, maxNV, ErrDevice)
	}
	chunk, err := l.property(tpm2.TPMPTNVBufferMax)
	if err != nil {
		return nil, err
	}
	return l.readChunks(command, public.DataSize, uint16(min(chunk, nvChunk)))
}

// readChunks reads size bytes, at most chunk at a time.
func (l *link) readChunks(command tpm2.NVRead, size, chunk uint16) ([]byte, error) {
	if chunk == 0 {
		return nil, fmt.Errorf("TPM_PT_NV_BUFFER_MAX is 0: %w", ErrDevice)
	}
	out := make([]byte, 0, size)
	for command.Offset < size {
		command.Size = min(chunk, size-command.Offset)
		rsp, err := command.Execute(l)
		if err != nil {
			return nil, err
		}
		if len(rsp.Data.Buffer) != int(command.Size) {
			return nil, fmt.Errorf("the TPM returned %d bytes, asked for %d: %w", len(rsp.Data.Buffer), command.Size, ErrDevice)
		}
		out = append(out, rsp.Data.Buffer...)
		command.Offset += command.Size
	}
	return out, nil
}

// splitCertificates returns the DER certificates that stand one after the other
// in b, up to 6: a leaf and its issuers. What follows the last must be zeros,
// with which an index that is too large is filled. The error wraps ErrDevice.
func splitCertificates(b []byte) ([][]byte, error) {
	var out [][]byte
	for !isZero(b) {
		var der asn1.RawValue
		rest, err := asn1.Unmarshal(b, &der)
		if err != nil {
			return nil, fmt.Errorf("what follows %d certificates is no other: %w: %w", len(out), ErrDevice, err)
		}
		if len(der.FullBytes) > maxCertificate || len(out) == maxCertificates {
			return nil, fmt.Errorf("certificate %d of %d bytes, limit %d of %d: %w",
				len(out), len(der.FullBytes), maxCertificates, maxCertificate, ErrDevice)
		}
		if _, err := x509.ParseCertificate(der.FullBytes); err != nil {
			return nil, fmt.Errorf("parsing certificate %d: %w: %w", len(out), ErrDevice, err)
		}
		out, b = append(out, der.FullBytes), rest
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no certificate in %d bytes: %w", len(b), ErrDevice)
	}
	return out, nil
}

// isZero reports whether b holds nothing but zeros, or nothing.
func isZero(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }
