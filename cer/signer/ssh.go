package signer

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"math/big"

	"github.com/sworn-run/sworn/attest"
)

// What OpenSSH's PROTOCOL.sshsig fixes.
const (
	sshMagic     = "SSHSIG"
	sshVersion   = 1
	sshBegin     = "-----BEGIN SSH SIGNATURE-----\n"
	sshEnd       = "-----END SSH SIGNATURE-----\n"
	sshColumns   = 70
	hashSHA256   = "sha256"
	hashSHA512   = "sha512"
	flagPresent  = 0x01
	flagVerified = 0x04
)

// sshSigned returns what an SSH signature signs: namespace, hash and digest of a
// message.
func sshSigned(namespace, hash string, message []byte) []byte {
	h := crypto.SHA512
	if hash == hashSHA256 {
		h = crypto.SHA256
	}
	b := appendString([]byte(sshMagic), namespace)
	b = appendString(appendString(b, ""), hash)
	return appendString(b, hashed(h, message))
}

// SSHMessage returns what a key signs to make an SSH signature over a claim, as an SSH
// agent takes it; the hash is SHA-512. The error wraps [ErrForm].
func SSHMessage(c *Claim) ([]byte, error) {
	line, err := c.Encode()
	if err != nil {
		return nil, err
	}
	return sshSigned(Namespace(c.Role), hashSHA512, append(line, '\n')), nil
}

// NewSSH puts a signature together: blob is the key as SSH has it, and signature what it
// made over [SSHMessage] (RFC 4253, 6.6: the algorithm and the value, each a string; of
// FIDO keys flags and counter after them). The item is verified before it is returned. The
// error wraps [ErrForm] or [ErrSignature].
func NewSSH(c *Claim, blob, signature []byte) (attest.Collateral, error) {
	line, err := c.Encode()
	if err != nil {
		return attest.Collateral{}, err
	}
	b := binary.BigEndian.AppendUint32([]byte(sshMagic), sshVersion)
	b = appendString(appendString(b, blob), Namespace(c.Role))
	b = appendString(appendString(appendString(b, ""), hashSHA512), signature)
	return verified(KindSSH, append(append(line, '\n'), armor(b)...), c)
}

// SignSSH signs a claim with a key of package crypto's; one on another device may be behind
// it. random is handed to the key. The item is verified before it is returned. The error
// wraps [ErrForm] or [ErrSignature], or is the key's.
func SignSSH(random io.Reader, c *Claim, key crypto.Signer) (attest.Collateral, error) {
	k, err := NewKey(key.Public())
	if err != nil {
		return attest.Collateral{}, err
	}
	message, err := SSHMessage(c)
	if err != nil {
		return attest.Collateral{}, err
	}
	alg := k.kind
	_, hash := k.algorithm()
	if k.kind == typeRSA {
		alg, hash = algRSA512, crypto.SHA512
	}
	sig, err := key.Sign(random, hashed(hash, message), hash)
	if err != nil {
		return attest.Collateral{}, fmt.Errorf("signing: %w", err)
	}
	if _, ok := k.pub.(*ecdsa.PublicKey); ok {
		r, s, err := splitECDSA(sig, k.coordinate())
		if err != nil {
			return attest.Collateral{}, err
		}
		sig = appendMpint(appendMpint(nil, r), s)
	}
	return NewSSH(c, k.blob, appendString(appendString(nil, alg), sig))
}

// verified returns an item that was just made, if it is what it should be.
func verified(kind string, data []byte, c *Claim) (attest.Collateral, error) {
	s, err := Parse(kind, data)
	if err == nil {
		err = s.Verify(c.Evidence)
	}
	if err != nil {
		return attest.Collateral{}, fmt.Errorf("what was just made: %w", err)
	}
	return attest.Collateral{Kind: kind, Data: data}, nil
}

// armor returns the text form of an SSH signature, as ssh-keygen writes it.
func armor(b []byte) []byte {
	text := base64.StdEncoding.AppendEncode(nil, b)
	out := []byte(sshBegin)
	for len(text) > 0 {
		n := min(sshColumns, len(text))
		out = append(append(out, text[:n]...), '\n')
		text = text[n:]
	}
	return append(out, sshEnd...)
}

// dearmor is the inverse of armor, and accepts that one form only.
func dearmor(text []byte) ([]byte, error) {
	body, begins := bytes.CutPrefix(text, []byte(sshBegin))
	body, ends := bytes.CutSuffix(body, []byte(sshEnd))
	if !begins || !ends {
		return nil, fmt.Errorf("%w: no SSH signature under the claim", ErrForm)
	}
	b, err := base64.StdEncoding.Strict().DecodeString(string(bytes.ReplaceAll(body, []byte("\n"), nil)))
	if err != nil || !bytes.Equal(armor(b), text) {
		return nil, fmt.Errorf("%w: the SSH signature is not of its one text form", ErrForm)
	}
	return b, nil
}

// parseSSH reads an item of KindSSH.
func parseSSH(data []byte) (*Signature, error) {
	line, text, ok := bytes.Cut(data, []byte("\n"))
	if !ok {
		return nil, fmt.Errorf("%w: no claim on the first line", ErrForm)
	}
	c, err := parseClaim(line)
	if err != nil {
		return nil, err
	}
	b, err := dearmor(text)
	if err != nil {
		return nil, err
	}
	r := &reader{b: b}
	magic, v := r.take(len(sshMagic)), r.uint32()
	blob, namespace, reserved, hash, value := r.string(), r.string(), r.string(), r.string(), r.string()
	if err := r.end("the SSH signature"); err != nil {
		return nil, err
	}
	switch {
	case string(magic) != sshMagic || v != sshVersion || len(reserved) != 0:
		return nil, fmt.Errorf("%w: an SSH signature of another version", ErrForm)
	case string(namespace) != Namespace(c.Role):
		return nil, fmt.Errorf("%w: namespace %.100q, want %s", ErrForm, namespace, Namespace(c.Role))
	case string(hash) != hashSHA256 && string(hash) != hashSHA512:
		return nil, fmt.Errorf("%w: hash %.100q", ErrForm, hash)
	}
	s := &Signature{Claim: *c, Kind: KindSSH}
	if s.Key, err = ParseKey(blob); err != nil {
		return nil, err
	}
	if err := s.parseSSHValue(value, sshSigned(string(namespace), string(hash), data[:len(line)+1])); err != nil {
		return nil, err
	}
	return s, nil
}

// parseSSHValue reads the signature value, whose algorithm the key fixes.
func (s *Signature) parseSSHValue(value, message []byte) error {
	r := &reader{b: value}
	alg, sig := string(r.string()), r.string()
	if s.Algorithm = alg; alg != s.Key.kind && (s.Key.kind != typeRSA || alg != algRSA256 && alg != algRSA512) || alg == typeRSA {
		return fmt.Errorf("%w: algorithm %.100q with a key of type %s", ErrForm, alg, s.Key.kind)
	}
	if s.Key.application != "" {
		flags, counter := r.take(1), r.take(4)
		if r.bad || flags[0]&flagPresent == 0 {
			return fmt.Errorf("%w: nobody touched the authenticator", ErrForm)
		}
		s.Attended = flags[0]&flagVerified != 0
		app, sum := sha256.Sum256([]byte(s.Key.application)), sha256.Sum256(message)
		message = bytes.Join([][]byte{app[:], flags, counter, sum[:]}, nil)
	}
	if err := r.end("the signature value"); err != nil {
		return err
	}
	switch p := s.Key.pub.(type) {
	case ed25519.PublicKey:
		s.verify = func() error { return right(len(sig) == ed25519.SignatureSize && ed25519.Verify(p, message, sig)) }
	case *rsa.PublicKey:
		h := crypto.SHA512
		if alg == algRSA256 {
			h = crypto.SHA256
		}
		s.verify = func() error { return right(rsa.VerifyPKCS1v15(p, h, hashed(h, message), sig) == nil) }
	case *ecdsa.PublicKey:
		x := &reader{b: sig}
		rr, ss := x.mpint(), x.mpint()
		if err := x.end("the signature value"); err != nil {
			return err
		}
		s.verify = func() error { return right(verifyECDSA(p, message, rr, ss)) }
	}
	return nil
}

// verifyECDSA verifies with the hash that belongs to the curve (RFC 5656, 6.2.1).
func verifyECDSA(p *ecdsa.PublicKey, message []byte, r, s *big.Int) bool {
	h := crypto.SHA256
	if p.Curve.Params().BitSize == 384 {
		h = crypto.SHA384
	}
	return ecdsa.Verify(p, hashed(h, message), r, s)
}

// right turns an answer into an error.
func right(ok bool) error {
	if !ok {
		return fmt.Errorf("%w: its key did not make it", ErrSignature)
	}
	return nil
}
