package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer/signer"
	"github.com/sworn-run/sworn/internal/limits"
)

// maxKeyFile is the largest file with a private key, a public one, or certificates.
const maxKeyFile = 64 << 10

// signTime is how long an agent or a token may take for one signature; somebody may have
// to touch it.
const signTime = 2 * time.Minute

// errSigner is a key that cannot sign, or did not.
var errSigner = errors.New("the signer's key")

// signerFlags say with whose key a record is signed.
type signerFlags struct {
	key, certificates, comment, pkcs11 string
}

// register adds the flags to a command; comment is the name of the one about the comment.
func (f *signerFlags) register(cmd *cobra.Command, comment string) {
	fl := cmd.Flags()
	fl.StringVar(&f.key, "signer", "", "sign the record with the key in `FILE`: an OpenSSH or PEM private key, or the .pub file of a key in the SSH agent; or a pkcs11: URI")
	fl.StringVar(&f.certificates, "signer-cert", "", "the certificate of --signer, and its issuers', in PEM `FILE`: the signature is then X.509's and not SSH's")
	fl.StringVar(&f.comment, comment, "", "a `TEXT` of one line that is signed too")
	fl.StringVar(&f.pkcs11, "pkcs11", "", "`PROGRAM` that reaches PKCS #11 tokens, such as ./sworn-pkcs11 (cmd/sworn-pkcs11)")
}

// files are what the flags name for reading.
func (f *signerFlags) files() []string { return []string{f.key, f.certificates, f.pkcs11} }

// recordSigner is a key that is at hand, and what goes with it.
type recordSigner struct {
	// name is the key's fingerprint.
	name string
	// sign signs a claim.
	sign func(context.Context, *signer.Claim) (attest.Collateral, error)
}

// open makes the key ready: it asks for what unlocks it, and looks whether it is there. Nil
// without the flag.
func (f *signerFlags) open(ctx context.Context) (*recordSigner, error) {
	switch {
	case f.key == "" && f.certificates == "" && f.comment == "" && f.pkcs11 == "":
		return nil, nil
	case f.key == "":
		return nil, usage("--signer FILE", "a certificate, a comment or a program for a signature, and no --signer")
	}
	chain, err := readChain(f.certificates)
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(f.key, "pkcs11:") {
		return f.openToken(ctx, chain)
	}
	b, err := readFile(f.key, maxKeyFile)
	if err != nil {
		return nil, err
	}
	defer clear(b)
	if pub, _, _, rest, err := ssh.ParseAuthorizedKey(b); err == nil {
		if len(bytes.TrimSpace(rest)) > 0 {
			return nil, usage("give a .pub file with one key", "%s has more than one key", f.key)
		}
		if chain != nil {
			return nil, usage("leave --signer-cert out, or give the private key", "an SSH agent does not sign with certificates")
		}
		return openAgent(f.key, pub)
	}
	if err := privateFile(f.key); err != nil {
		return nil, err
	}
	key, more, err := parsePrivate(ctx, f.key, b)
	if err != nil {
		return nil, err
	}
	if chain == nil {
		chain = more
	}
	return newRecordSigner(key, chain, f.key)
}

// newRecordSigner is a key of package crypto's, with certificates or without.
func newRecordSigner(key crypto.Signer, chain []*x509.Certificate, where string) (*recordSigner, error) {
	k, err := signer.NewKey(key.Public())
	if err != nil {
		return nil, wrap(fmt.Errorf("%s: %w", where, err), "Ed25519, ECDSA on P-256 or P-384, or RSA of 2048 bits or more: ssh-keygen -t ed25519")
	}
	if len(chain) > 0 {
		if of, err := signer.NewKey(chain[0].PublicKey); err != nil || of.Fingerprint() != k.Fingerprint() {
			return nil, usage("give the certificate of the key first, then its issuers'", "the first certificate is not that of the key in %s", where)
		}
	}
	return &recordSigner{name: k.Fingerprint(), sign: func(_ context.Context, c *signer.Claim) (attest.Collateral, error) {
		if len(chain) > 0 {
			return signer.SignX509(rand.Reader, c, key, chain)
		}
		return signer.SignSSH(rand.Reader, c, key)
	}}, nil
}

// privateFile refuses a private key that others can read or write, as ssh does.
func privateFile(name string) error {
	st, err := os.Stat(name)
	if err != nil {
		return wrap(err, fileHint(name, err))
	}
	if runtime.GOOS != "windows" && st.Mode().Perm()&0o077 != 0 {
		return usage("chmod 600 "+name, "the private key in %s can be read by others (mode %04o)", name, st.Mode().Perm())
	}
	return nil
}

// parsePrivate reads a private key, and the certificates that stand in the same file.
func parsePrivate(ctx context.Context, name string, b []byte) (crypto.Signer, []*x509.Certificate, error) {
	const hint = "an OpenSSH private key (ssh-keygen -t ed25519), a PEM private key, or the .pub file of a key in the SSH agent"
	var key any
	var certificates []byte
	for rest := b; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type == "CERTIFICATE" {
			certificates = append(certificates, pem.EncodeToMemory(block)...)
			continue
		}
		if key != nil {
			return nil, nil, usage(hint, "%s has more than one key", name)
		}
		var err error
		if key, err = parseBlock(ctx, name, block); err != nil {
			return nil, nil, err
		}
	}
	s, ok := key.(crypto.Signer)
	if !ok {
		return nil, nil, usage(hint, "%s holds no private key that signs", name)
	}
	if len(certificates) == 0 {
		return s, nil, nil
	}
	chain, err := parseChain(name, certificates)
	return s, chain, err
}

// parseBlock reads one private key of a PEM file.
func parseBlock(ctx context.Context, name string, block *pem.Block) (any, error) {
	whole := pem.EncodeToMemory(block)
	defer clear(whole)
	if block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["Proc-Type"] != "" {
		return nil, usage("ssh-keygen -p -f "+name+" writes it in OpenSSH's form, which is read here; or ssh-add it and give its .pub file",
			"%s is encrypted in a form that is not read here", name)
	}
	key, err := ssh.ParseRawPrivateKey(whole)
	if _, locked := errors.AsType[*ssh.PassphraseMissingError](err); locked {
		var passphrase []byte
		if passphrase, err = askSecret(ctx, "passphrase of "+name+": "); err != nil {
			return nil, wrap(fmt.Errorf("%s is encrypted: %w", name, err), "at a terminal, or: ssh-add "+name+", and give its .pub file")
		}
		defer clear(passphrase)
		if key, err = ssh.ParseRawPrivateKeyWithPassphrase(whole, passphrase); errors.Is(err, x509.IncorrectPasswordError) {
			return nil, usage("try again", "the passphrase does not open %s", name)
		}
	}
	if err != nil {
		return nil, wrap(fmt.Errorf("%s: %w: %w", name, errSigner, err), "a key on a FIDO authenticator: ssh-add it and give its .pub file")
	}
	if p, ok := key.(*ed25519.PrivateKey); ok { // Package ssh hands out a pointer.
		return *p, nil
	}
	return key, nil
}

// readChain reads certificates; nil if no file is named.
func readChain(name string) ([]*x509.Certificate, error) {
	if name == "" {
		return nil, nil
	}
	b, err := readFile(name, maxKeyFile)
	if err != nil {
		return nil, err
	}
	return parseChain(name, b)
}

// parseChain reads the certificates of a PEM file: nothing else may stand there.
func parseChain(name string, b []byte) ([]*x509.Certificate, error) {
	const hint = "certificates in PEM: the key's, then its issuers'"
	var chain []*x509.Certificate
	for rest := bytes.TrimSpace(b); len(rest) > 0; rest = bytes.TrimSpace(rest) {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil || block.Type != "CERTIFICATE" {
			return nil, usage(hint, "%s holds something else than certificates", name)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, wrap(fmt.Errorf("%s: %w", name, err), hint)
		}
		chain = append(chain, c)
	}
	if n := len(chain); n == 0 || n > limits.SignerChain {
		return nil, usage(hint, "%s holds %d certificates, want 1 to %d", name, n, limits.SignerChain)
	}
	return chain, nil
}

// openAgent signs with a key that an SSH agent holds: of a file, a token (ssh-add -s) or a
// FIDO authenticator.
func openAgent(name string, pub ssh.PublicKey) (*recordSigner, error) {
	socket := os.Getenv("SSH_AUTH_SOCK")
	if socket == "" {
		return nil, usage("ssh-add the key first; or give the private key", "%s is a public key, and there is no SSH agent (SSH_AUTH_SOCK)", name)
	}
	k, err := signer.ParseKey(pub.Marshal())
	if err != nil {
		return nil, wrap(fmt.Errorf("%s: %w", name, err), "ssh-keygen -t ed25519")
	}
	err = withAgent(context.Background(), socket, func(a agent.ExtendedAgent) error {
		keys, err := a.List()
		if err != nil {
			return err
		}
		for _, have := range keys {
			if bytes.Equal(have.Blob, pub.Marshal()) {
				return nil
			}
		}
		return errors.New("it does not hold the key")
	})
	if err != nil {
		return nil, wrap(fmt.Errorf("SSH agent: %w: %w", errSigner, err), "ssh-add "+strings.TrimSuffix(name, ".pub")+"; ssh-add -l lists what is there")
	}
	return &recordSigner{name: k.Fingerprint(), sign: func(ctx context.Context, c *signer.Claim) (item attest.Collateral, err error) {
		message, err := signer.SSHMessage(c)
		if err != nil {
			return item, err
		}
		err = withAgent(ctx, socket, func(a agent.ExtendedAgent) error {
			flags := agent.SignatureFlags(0)
			if pub.Type() == ssh.KeyAlgoRSA {
				flags = agent.SignatureFlagRsaSha512
			}
			sig, err := a.SignWithFlags(pub, message, flags)
			if err != nil {
				return fmt.Errorf("SSH agent: %w: %w", errSigner, err)
			}
			item, err = signer.NewSSH(c, pub.Marshal(), ssh.Marshal(sig))
			return err
		})
		return item, err
	}}, nil
}

// withAgent talks to an SSH agent, for a while at most.
func withAgent(ctx context.Context, socket string, talk func(agent.ExtendedAgent) error) error {
	conn, err := (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, "unix", socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(signTime)); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	return talk(agent.NewClient(conn))
}

// tokenKey is a key that a program reaches.
type tokenKey struct {
	ctx context.Context
	pub crypto.PublicKey
	ask func(context.Context, *tokenRequest) (*tokenAnswer, error)
	req tokenRequest
}

// Public implements [crypto.Signer].
func (k *tokenKey) Public() crypto.PublicKey { return k.pub }

// Sign implements [crypto.Signer]; the token has randomness of its own.
func (k *tokenKey) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if _, pss := opts.(*rsa.PSSOptions); pss {
		return nil, fmt.Errorf("%w: RSASSA-PSS is not asked of tokens", errSigner)
	}
	req := k.req
	req.Op, req.Data = "sign", digest
	if h := opts.HashFunc(); h != 0 {
		req.Hash = h.String()
	}
	a, err := k.ask(k.ctx, &req)
	if err != nil {
		return nil, err
	}
	return a.Signature, nil
}
