package azure

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"net"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"

	"github.com/sworn-run/sworn/internal/hcl"
	"github.com/sworn-run/sworn/tpm/tpmdev"
)

// Sizes of a conversation with a TPM, in bytes.
const (
	headerSize = 10
	maxFrame   = 4096
	// maxRead is the most that the index of the report is read at once, as
	// TPM_PT_NV_BUFFER_MAX of swtpm.
	maxRead = 1024
)

// serve serves one client after the other, as swtpm does.
func (p *Paravisor) serve() {
	defer close(p.done)
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		closed := p.closed
		p.client = c
		p.mu.Unlock()
		if !closed {
			p.converse(c)
		}
		_ = c.Close()
	}
}

// converse serves one client until it goes, or does what no TPM understands.
func (p *Paravisor) converse(c net.Conn) {
	dev, err := tpmdev.Dial(context.Background(), p.options.TPM)
	if err != nil {
		return
	}
	defer dev.Close()
	for {
		command, err := readCommand(c)
		if err != nil {
			return
		}
		response, err := p.answer(dev, command)
		if err != nil {
			return
		}
		if _, err := c.Write(response); err != nil {
			return
		}
	}
}

// readCommand reads one command of the size that its header announces.
func readCommand(r io.Reader) ([]byte, error) {
	b := make([]byte, headerSize, maxFrame)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(b[2:])
	if size < headerSize || size > maxFrame {
		return nil, fmt.Errorf("command of %d bytes", size)
	}
	b = b[:size]
	_, err := io.ReadFull(r, b[headerSize:])
	return b, err
}

// answer answers one command: itself if it is for the report's index, else as the TPM
// does. An error ends the conversation.
func (p *Paravisor) answer(dev transport.TPM, command []byte) ([]byte, error) {
	handle := func(i int) uint32 {
		if at := headerSize + 4*i; len(command) >= at+4 {
			return binary.BigEndian.Uint32(command[at:])
		}
		return 0
	}
	switch code := tpm2.TPMCC(binary.BigEndian.Uint32(command[6:])); {
	case code == tpm2.TPMCCNVReadPublic && handle(0) == hcl.Index:
		return p.readPublic(command), nil
	case code == tpm2.TPMCCNVRead && handle(1) == hcl.Index:
		return p.read(command), nil
	case code == tpm2.TPMCCNVWrite && handle(1) == userDataIndex:
		return p.write(dev, command)
	}
	return dev.Send(command)
}

// public returns the TPMS_NV_PUBLIC of the report's index, and its Name.
func public() (area, name []byte) {
	area = tpm2.Marshal(tpm2.TPMSNVPublic{
		NVIndex: tpm2.TPMHandle(hcl.Index),
		NameAlg: tpm2.TPMAlgSHA256,
		Attributes: tpm2.TPMANV{
			PPWrite: true, NT: tpm2.TPMNTOrdinary, PPRead: true, OwnerRead: true, AuthRead: true,
			NoDA: true, Written: true, PlatformCreate: true,
		},
		DataSize: reportSize,
	})
	sum := sha256.Sum256(area)
	return area, append([]byte{0, 0x0B}, sum[:]...)
}

// readPublic answers TPM2_NV_ReadPublic (Part 3, 31.6) of a client without sessions.
func (p *Paravisor) readPublic(command []byte) []byte {
	if tpm2.TPMST(binary.BigEndian.Uint16(command)) != tpm2.TPMSTNoSessions {
		return response(tpm2.TPMSTNoSessions, tpm2.TPMRCAuthContext, nil)
	}
	if len(command) != headerSize+4 {
		return response(tpm2.TPMSTNoSessions, tpm2.TPMRCCommandSize, nil)
	}
	area, name := public()
	return response(tpm2.TPMSTNoSessions, tpm2.TPMRCSuccess, append(sized(area), sized(name)...))
}

// The response codes of a read that is refused (Part 2, 6.6.3): with the number of the
// handle, session or parameter that is wrong.
const (
	errBadHandle  = tpm2.TPMRCHandle + 0x100
	errBadAuth    = tpm2.TPMRCBadAuth + 0x800 + 0x100
	errBadSession = tpm2.TPMRCValue + 0x800 + 0x100
	errBadSize    = tpm2.TPMRCSize + 0x040 + 0x100
	errBadValue   = tpm2.TPMRCValue + 0x040 + 0x100
)

// read answers TPM2_NV_Read (Part 3, 31.13), authorized by the owner or the index itself,
// both by the empty password.
func (p *Paravisor) read(command []byte) []byte {
	refuse := func(rc tpm2.TPMRC) []byte { return response(tpm2.TPMSTNoSessions, rc, nil) }
	be := binary.BigEndian
	if tpm2.TPMST(be.Uint16(command)) != tpm2.TPMSTSessions {
		return refuse(tpm2.TPMRCAuthMissing)
	}
	const authAt = headerSize + 8 + 4
	if len(command) < authAt {
		return refuse(tpm2.TPMRCCommandSize)
	}
	auth := uint64(be.Uint32(command[authAt-4:]))
	if uint64(len(command)) != authAt+auth+4 {
		return refuse(tpm2.TPMRCCommandSize)
	}
	if by := be.Uint32(command[headerSize:]); by != hcl.Index && by != uint32(tpm2.TPMRHOwner) {
		return refuse(errBadHandle)
	}
	session, parameters := command[authAt:authAt+auth], command[authAt+auth:]
	if rc := checkSession(session); rc != tpm2.TPMRCSuccess {
		return refuse(rc)
	}
	size, offset := int(be.Uint16(parameters)), int(be.Uint16(parameters[2:]))
	if size > maxRead {
		return refuse(errBadValue)
	}
	if offset+size > reportSize {
		return refuse(tpm2.TPMRCNVRange)
	}
	data := sized(p.Report()[offset : offset+size])
	body := be.AppendUint32(nil, uint32(len(data)))
	body = append(body, data...)
	// The session's nonce, its attributes (continueSession) and its HMAC.
	return response(tpm2.TPMSTSessions, tpm2.TPMRCSuccess, append(body, 0, 0, 1, 0, 0))
}

// checkSession accepts one password session with an empty password (Part 1, 19.4).
func checkSession(b []byte) tpm2.TPMRC {
	// Handle, nonce, attributes, password.
	if len(b) < 9 || tpm2.TPMHandle(binary.BigEndian.Uint32(b)) != tpm2.TPMRSPW {
		return errBadSession
	}
	if binary.BigEndian.Uint16(b[4:]) != 0 {
		return errBadSession
	}
	if len(b) != 9+int(binary.BigEndian.Uint16(b[7:])) {
		return errBadSize
	}
	for _, c := range b[9:] {
		if c != 0 {
			return errBadAuth // trailing zeros are no part of a password
		}
	}
	return tpm2.TPMRCSuccess
}

// write passes on TPM2_NV_Write of the user data (Part 3, 31.7) and, if all of it was
// written, makes the report anew.
func (p *Paravisor) write(dev transport.TPM, command []byte) ([]byte, error) {
	rsp, err := dev.Send(command)
	if err != nil || len(rsp) < headerSize || binary.BigEndian.Uint32(rsp[6:]) != 0 {
		return rsp, err
	}
	// The command succeeded: its sizes fit.
	at := headerSize + 8 + 4 + int(binary.BigEndian.Uint32(command[headerSize+8:]))
	size := int(binary.BigEndian.Uint16(command[at:]))
	data, offset := command[at+2:at+2+size], binary.BigEndian.Uint16(command[at+2+size:])
	if size != userDataSize || offset != 0 {
		return rsp, nil
	}
	return rsp, p.renew(data)
}

// sized returns b as a TPM2B.
func sized(b []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)
}

// response returns a response with that tag, code and content.
func response(tag tpm2.TPMST, rc tpm2.TPMRC, content []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, uint16(tag))
	b = binary.BigEndian.AppendUint32(b, uint32(headerSize+len(content)))
	b = binary.BigEndian.AppendUint32(b, uint32(rc))
	return append(b, content...)
}
