package tpmdev

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/google/go-tpm/tpm2"
)

// Sizes and times of a conversation with a TPM.
const (
	// headerSize is the size of a command's and of a response's header (Part 1,
	// 18.2 and 18.3): tag, size, and command or response code.
	headerSize = 10
	// maxFrame is the largest command or response in bytes; MAX_COMMAND_SIZE
	// and MAX_RESPONSE_SIZE of known TPMs are 4096.
	maxFrame = 4096
	// firstPause and longestPause bound the back-off of a TPM that asks for
	// patience.
	firstPause   = 10 * time.Millisecond
	longestPause = 500 * time.Millisecond
	// closeTimeout bounds the one command of Close.
	closeTimeout = 5 * time.Second
)

// link is the TPM within one call: it implements transport.TPM, observes the
// call's context between commands and repeats what the TPM was not able to
// start. A command under way is not interrupted, because a connection that has
// an answer outstanding is of no further use; it is bounded by limit. Nor is
// one refused that gives something back to the TPM: see isRelease.
type link struct {
	ctx   context.Context
	send  func(command []byte, limit time.Duration) ([]byte, error)
	limit time.Duration
}

// on returns the TPM for one call.
func (t *TPM) on(ctx context.Context) *link {
	return &link{ctx: ctx, send: t.send, limit: t.timeout}
}

// Send implements transport.TPM. The error wraps ErrDevice or the context's.
func (l *link) Send(command []byte) ([]byte, error) {
	ctx := l.ctx
	if isRelease(command) {
		ctx = context.WithoutCancel(ctx)
	}
	stop := time.Now().Add(l.limit)
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("before a command: %w", err)
		}
		response, err := l.send(command, time.Until(stop))
		if err != nil {
			return nil, fail("sending a command", err)
		}
		if err := checkFrame(response); err != nil {
			return nil, err
		}
		if !isPatience(response) || time.Until(stop) < pause {
			return response, nil
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// isRelease reports whether a command flushes a handle (TPM_CC_FlushContext) or
// uses a session (TPM_ST_SESSIONS, Part 2, 6.9), which ends with it: left out,
// either would leave the handle behind in the TPM.
func isRelease(command []byte) bool {
	return len(command) >= headerSize &&
		(tpm2.TPMST(binary.BigEndian.Uint16(command)) == tpm2.TPMSTSessions ||
			tpm2.TPMCC(binary.BigEndian.Uint32(command[6:])) == tpm2.TPMCCFlushContext)
}

// checkFrame refuses a response that does not have the size it states.
func checkFrame(response []byte) error {
	if len(response) < headerSize || uint64(binary.BigEndian.Uint32(response[2:])) != uint64(len(response)) {
		return fmt.Errorf("response of %d bytes does not have the size in its header: %w", len(response), ErrDevice)
	}
	return nil
}

// isPatience reports whether the TPM has not started the command and asks for
// it again (Part 2, 6.6.3: TPM_RC_YIELDED, TPM_RC_TESTING, TPM_RC_RETRY, and
// TPM_RC_NV_RATE, which spares NV memory).
func isPatience(response []byte) bool {
	switch tpm2.TPMRC(binary.BigEndian.Uint32(response[6:])) {
	case tpm2.TPMRCYielded, tpm2.TPMRCTesting, tpm2.TPMRCRetry, tpm2.TPMRCNVRate:
		return true
	default:
		return false
	}
}

// fail says what failed, and makes sure that the error wraps a sentinel:
// ErrDevice, unless err has one of its own.
func fail(doing string, err error) error {
	for _, s := range []error{ErrDevice, ErrUsage, ErrAbsent, ErrBusy, ErrEnrolled, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, s) {
			return fmt.Errorf("%s: %w", doing, err)
		}
	}
	if errors.Is(err, tpm2.TPMRCObjectMemory) {
		doing += " (other programs have left keys in the TPM: flush them, or use /dev/tpmrm0)"
	}
	return fmt.Errorf("%s: %w: %w", doing, ErrDevice, err)
}

// flush unloads a transient object (Part 3, 28.4).
func (l *link) flush(h tpm2.TPMHandle) error {
	if h>>24 == persistent {
		return nil // it was there before
	}
	if _, err := (tpm2.FlushContext{FlushHandle: h}).Execute(l); err != nil {
		return fail("flushing a key", err)
	}
	return nil
}
