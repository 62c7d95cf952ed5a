package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/cer/signer"
	"github.com/sworn-run/sworn/internal/limits"
)

// tokenRequest is what the program that reaches tokens is asked.
type tokenRequest struct {
	// Op is "key" or "sign".
	Op string `json:"op"`
	// URI names the key (RFC 7512).
	URI string `json:"uri"`
	// PIN unlocks the token; empty if the URI says where it is, or it needs none.
	PIN string `json:"pin,omitempty"`
	// Hash is that of Data, such as SHA-256; empty for Ed25519, which takes the message.
	Hash string `json:"hash,omitempty"`
	// Data is the digest, or the message.
	Data []byte `json:"data,omitempty"`
}

// tokenAnswer is what it answers.
type tokenAnswer struct {
	// Login asks for the PIN.
	Login bool `json:"login,omitzero"`
	// Public is the key's SubjectPublicKeyInfo.
	Public []byte `json:"public,omitzero"`
	// Certificates are in DER, the key's first, where the token has it.
	Certificates [][]byte `json:"certificates,omitzero"`
	// Signature is as package crypto has it: of ECDSA in DER.
	Signature []byte `json:"signature,omitzero"`
}

// openToken makes a key on a PKCS #11 token ready.
func (f *signerFlags) openToken(ctx context.Context, chain []*x509.Certificate) (*recordSigner, error) {
	if f.pkcs11 == "" {
		return nil, usage("--pkcs11 ./sworn-pkcs11; it is built by: go -C cmd/sworn-pkcs11 build", "a pkcs11: URI, and no program that reaches tokens")
	}
	ask := func(ctx context.Context, q *tokenRequest) (*tokenAnswer, error) { return askToken(ctx, f.pkcs11, q) }
	req := tokenRequest{Op: "key", URI: f.key}
	a, err := ask(ctx, &req)
	if err == nil && a.Login {
		var pin []byte
		if pin, err = askSecret(ctx, "PIN of the token: "); err != nil {
			return nil, wrap(fmt.Errorf("the token wants a PIN: %w", err), "at a terminal, or name a file that holds it, in the URI: ?pin-source=file:/run/pin")
		}
		req.PIN = string(pin)
		clear(pin)
		if a, err = ask(ctx, &req); err == nil && a.Login {
			err = fmt.Errorf("%w: the token wants a PIN still", errSigner)
		}
	}
	if err != nil {
		return nil, wrap(err, "see what is there: pkcs11-tool --module MODULE --list-objects; the URI names the module: ?module-path=/usr/lib/…/….so")
	}
	pub, err := x509.ParsePKIXPublicKey(a.Public)
	if err != nil {
		return nil, fmt.Errorf("%w: the token's public key: %w", errSigner, err)
	}
	for i := 0; chain == nil && i < len(a.Certificates); i++ {
		c, err := x509.ParseCertificate(a.Certificates[i])
		if err != nil {
			return nil, fmt.Errorf("%w: the token's certificate: %w", errSigner, err)
		}
		chain = []*x509.Certificate{c}
	}
	key := &tokenKey{ctx: ctx, pub: pub, ask: ask, req: req}
	s, err := newRecordSigner(key, chain, "the token")
	if err != nil {
		return nil, err
	}
	sign := s.sign
	s.sign = func(ctx context.Context, c *signer.Claim) (attest.Collateral, error) {
		key.ctx = ctx
		return sign(ctx, c)
	}
	return s, nil
}

// askToken asks the program once. It gets the environment, which modules of tokens read
// their configuration from; what it is asked goes by its standard input, so that no PIN
// shows in a list of processes.
func askToken(ctx context.Context, program string, q *tokenRequest) (*tokenAnswer, error) {
	// A name by itself is one in this folder: the program is never looked for.
	path, err := filepath.Abs(program)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errSigner, err)
	}
	request, err := json.Marshal(q)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errSigner, err)
	}
	defer clear(request)
	ctx, cancel := context.WithTimeout(ctx, signTime)
	defer cancel()
	stdout, stderr := &firstBytes{limit: limits.SignerItem}, &firstBytes{limit: 4096}
	cmd := exec.CommandContext(ctx, path)
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Environ(), bytes.NewReader(request), stdout, stderr
	kill := ownGroup(cmd)
	cmd.Cancel, cmd.WaitDelay = kill, time.Second
	if err := cmd.Run(); err != nil {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			err = fmt.Errorf("it took longer than %v", signTime)
		}
		return nil, fmt.Errorf("%w: %w: %.1000s", errSigner, err, bytes.TrimSpace(stderr.b))
	}
	if len(stdout.b) > limits.SignerItem {
		return nil, fmt.Errorf("%w: the program answers more than %d bytes", errSigner, limits.SignerItem)
	}
	var a tokenAnswer
	if err := cer.UnmarshalStrict(bytes.TrimSpace(stdout.b), limits.CapsuleDepth, &a); err != nil {
		return nil, fmt.Errorf("%w: the program's answer: %w", errSigner, err)
	}
	return &a, nil
}
