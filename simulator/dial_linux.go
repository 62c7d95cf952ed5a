package simulator

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
)

// maxMessage bounds a response of the TPM, in bytes (swtpm: 4096).
const maxMessage = 4096

// conn is a connection to swtpm's data socket: commands and responses as the
// TPM defines them, framed by the size in their header (Part 1, 18.1).
type conn struct {
	net.Conn
	ctx context.Context //nolint:containedctx // the connection ends with it
}

var _ transport.TPMCloser = (*conn)(nil)

// dial connects to an address such as unix:PATH or tcp:HOST:PORT. Commands
// fail once ctx has ended.
func dial(ctx context.Context, addr string) (*conn, error) {
	network, address := splitAddr(addr)
	c, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return nil, fmt.Errorf("connecting to %s: %w: %w", addr, ErrTPM, err)
	}
	if deadline, ok := ctx.Deadline(); ok {
		if err := c.SetDeadline(deadline); err != nil {
			return nil, errors.Join(fmt.Errorf("connecting to %s: %w: %w", addr, ErrTPM, err), c.Close())
		}
	}
	return &conn{Conn: c, ctx: ctx}, nil
}

// Send implements [transport.TPM]. It repeats a command that the TPM asks to
// have repeated (TPM_RC_RETRY; Part 2, 6.6.3).
func (c *conn) Send(command []byte) ([]byte, error) {
	for wait := time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		rsp, err := c.once(command)
		if err != nil {
			return nil, err
		}
		if tpm2.TPMRC(binary.BigEndian.Uint32(rsp[6:])) != tpm2.TPMRCRetry {
			return rsp, nil
		}
		select {
		case <-c.ctx.Done():
			return nil, c.ctx.Err()
		case <-time.After(wait):
		}
	}
}

// once sends the command and reads one response.
func (c *conn) once(command []byte) ([]byte, error) {
	stop := context.AfterFunc(c.ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := c.Write(command); err != nil {
		return nil, err
	}
	header := make([]byte, 10)
	if _, err := io.ReadFull(c.Conn, header); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(header[2:])
	if size < 10 || size > maxMessage {
		return nil, fmt.Errorf("a response of %d bytes: %w", size, ErrTPM)
	}
	rsp := append(header, make([]byte, size-10)...)
	if _, err := io.ReadFull(c.Conn, rsp[10:]); err != nil {
		return nil, err
	}
	return rsp, nil
}
