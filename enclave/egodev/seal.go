//go:build ego

package egodev

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"fmt"
)

// What is sealed is the label, what the CPU needs to derive the key anew, and the nonce and
// ciphertext of AES-GCM.
const (
	sealLabel = "sworn.run/sealed/v1\x00"
	infoSize  = 512
	keySize   = 16
	// MaxSealed is the most that is sealed at once, in bytes.
	MaxSealed = 1 << 20
)

// The fields of that information, a KEYREQUEST (SDM, 36.18), that differ between one key
// and another of one kind: the security versions and the random id.
func varying() [][2]int { return [][2]int{{4, 6}, {8, 24}, {40, 72}} }

// checkInfo refuses information by which another kind of key is derived: not for sealing,
// not of this very enclave, or the same for its debug build.
func checkInfo(info []byte) error {
	const nameSeal, policyEnclave, debug = 4, 1, 2
	switch {
	case len(info) != infoSize:
		return fmt.Errorf("%d bytes of information on the key, want %d: %w", len(info), infoSize, ErrDevice)
	case binary.LittleEndian.Uint16(info) != nameSeal || binary.LittleEndian.Uint16(info[2:]) != policyEnclave || info[24]&debug == 0:
		return fmt.Errorf("a key that other enclaves, or a debug build, may have too: %w", ErrDevice)
	default:
		return nil
	}
}

// sameKind reports whether both ask for the same kind of key. Who keeps what is sealed could
// otherwise choose a kind that his own enclave has too.
func sameKind(info, fresh []byte) bool {
	a, b := bytes.Clone(info), bytes.Clone(fresh)
	for _, s := range varying() {
		clear(a[s[0]:s[1]])
		clear(b[s[0]:s[1]])
	}
	return bytes.Equal(a, b)
}

// sealKey returns a fresh key that only this enclave on this platform derives from the
// returned information. The error wraps ErrOutside for EGo's key of zeros.
func (p *platform) sealKey() (key, info []byte, err error) {
	key, info, err = p.newKey()
	if err != nil {
		return nil, nil, fmt.Errorf("deriving a key: %w: %w", ErrDevice, err)
	}
	if err := checkKey(key); err != nil {
		return nil, nil, err
	}
	if err := checkInfo(info); err != nil {
		return nil, nil, err
	}
	return key, info, nil
}

// checkKey refuses the key that EGo hands out where there is none.
func checkKey(key []byte) error {
	switch {
	case len(key) != keySize:
		return fmt.Errorf("a key of %d bytes, want %d: %w", len(key), keySize, ErrDevice)
	case bytes.Equal(key, make([]byte, keySize)):
		return fmt.Errorf("EGo's key for sealing is all zeros, which it is outside of SGX and in simulation: whatever it seals, anybody opens: %w", ErrOutside)
	default:
		return nil
	}
}

// aead returns the cipher of a key.
func aead(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDevice, err)
	}
	c, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDevice, err)
	}
	return c, nil
}

// bound is what the ciphertext is bound to.
func bound(info []byte, purpose string) []byte {
	return append(append([]byte(sealLabel), info...), purpose...)
}

// Seal encrypts so that nobody but this very enclave (unique id and signer) on this platform
// can read it again, for the same purpose. Nothing tells the enclave whether what it is
// given to unseal is the newest that it sealed. The error wraps [ErrUsage], [ErrOutside] or
// [ErrDevice], or is the context's.
func (d *Device) Seal(ctx context.Context, purpose string, plain []byte) ([]byte, error) {
	if len(plain) > MaxSealed {
		return nil, fmt.Errorf("sealing %d bytes, limit %d: %w", len(plain), MaxSealed, ErrUsage)
	}
	release, err := d.acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("sealing: %w", err)
	}
	defer release()
	key, info, err := d.platform.sealKey()
	if err != nil {
		return nil, fmt.Errorf("sealing: %w", err)
	}
	defer clear(key)
	c, err := aead(key)
	if err != nil {
		return nil, fmt.Errorf("sealing: %w", err)
	}
	out := append([]byte(sealLabel), info...)
	return c.Seal(out, nil, plain, bound(info, purpose)), nil //nolint:gosec // G407: the AEAD makes its nonce itself, at random.
}

// Unseal decrypts what [Device.Seal] returned. The error wraps [ErrSealed], [ErrUsage] or
// [ErrOutside], or is the context's.
func (d *Device) Unseal(ctx context.Context, purpose string, sealed []byte) ([]byte, error) {
	rest, ok := bytes.CutPrefix(sealed, []byte(sealLabel))
	if !ok || len(rest) < infoSize || len(rest) > infoSize+MaxSealed+64 {
		return nil, fmt.Errorf("unsealing %d bytes that are of no such form: %w", len(sealed), ErrSealed)
	}
	release, err := d.acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("unsealing: %w", err)
	}
	defer release()
	info := rest[:infoSize]
	_, fresh, err := d.platform.sealKey()
	if err != nil {
		return nil, fmt.Errorf("unsealing: %w", err)
	}
	if !sameKind(info, fresh) {
		return nil, fmt.Errorf("unsealing: with another kind of key: %w", ErrSealed)
	}
	key, err := d.platform.key(info)
	if err != nil {
		return nil, fmt.Errorf("unsealing: the platform derives no key: %w: %w", ErrSealed, err)
	}
	defer clear(key)
	if err := checkKey(key); err != nil {
		return nil, fmt.Errorf("unsealing: %w", err)
	}
	c, err := aead(key)
	if err != nil {
		return nil, fmt.Errorf("unsealing: %w", err)
	}
	plain, err := c.Open(nil, nil, rest[infoSize:], bound(info, purpose))
	if err != nil {
		return nil, fmt.Errorf("unsealing: %w", ErrSealed)
	}
	return plain, nil
}
