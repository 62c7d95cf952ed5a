//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/tpm"
	"github.com/sworn-run/sworn/verifier"
)

// nonceText is the relying party's nonce; here nobody has to be surprised by it.
const nonceText = "00112233445566778899aabbccddeeff"

// repeat is how often a turn in this process does its work.
const repeat = 20

// subject is what is verified: the demo's record, under a policy made from
// another one.
type subject struct {
	file, policy string
	capsule      []byte
	input        verifier.Input
	quote        *quote
}

// quote is a TPM's quote in its parts.
type quote struct {
	attest, signature, public []byte
	key                       *ecdsa.PublicKey
	r, s                      *big.Int
	extra                     []byte
}

// verification measures how long a verdict takes.
func (b *bench) verification(ctx context.Context) error {
	s, err := b.subject(ctx)
	if err != nil {
		return err
	}
	if err := b.printf("\n### Verification\n\nOf a capsule of %d bytes, with a policy, roots and a nonce; each verdict was *trusted*. As processes:\n", len(s.capsule)); err != nil {
		return err
	}
	processes := []contender{
		{"a process that does nothing: `true`", func(ctx context.Context) (cost, error) { return command(ctx, "", "true") }},
		{"`sworn --version`", func(ctx context.Context) (cost, error) { return command(ctx, "", b.sworn, "--version") }},
		{"`sworn verify`", func(ctx context.Context) (cost, error) {
			return command(ctx, "", b.sworn, "verify", "--policy", s.policy, "--roots", b.roots, "--nonce", nonceText, s.file)
		}},
	}
	if peer, err := b.checkQuote(s); err == nil {
		processes = append(processes, peer)
	} else if !errors.Is(err, exec.ErrNotFound) {
		return err
	}
	if _, err := b.compare(ctx, 2*b.rounds, processes); err != nil {
		return err
	}
	if err := b.printf("\nIn a process, each turn the mean of %d:\n", repeat); err != nil {
		return err
	}
	_, err = b.compare(ctx, 2*b.rounds, []contender{
		{"one ECDSA P-256 verification: the quote's signature, nothing else", repeated(s.quote.verify)},
		{"`verifier.Verify`: the whole capsule", repeated(s.verify)},
	})
	return err
}

// repeated makes a turn of work that is too short to be timed once.
func repeated(work func() error) func(context.Context) (cost, error) {
	return func(context.Context) (cost, error) {
		began := time.Now()
		for range repeat {
			if err := work(); err != nil {
				return cost{}, err
			}
		}
		return cost{wall: time.Since(began) / repeat}, nil
	}
}

// subject makes two records of the demo's job, and a policy from the first.
func (b *bench) subject(ctx context.Context) (*subject, error) {
	all, err := jobs()
	if err != nil {
		return nil, err
	}
	if err := b.power(ctx); err != nil {
		return nil, err
	}
	s := &subject{file: filepath.Join(b.dir, "page.cer.json"), policy: filepath.Join(b.dir, "policy.json")}
	golden := filepath.Join(b.dir, "golden.cer.json")
	for _, record := range []string{golden, s.file} {
		if _, err := b.attested(ctx, &all[0], record, "--nonce", nonceText); err != nil {
			return nil, err
		}
	}
	args := []string{"policy", "from-record", golden, "--roots", b.roots, "-o", s.policy}
	for _, id := range []string{"slot.measurement", "launcher.rooted", "protection.memory"} {
		args = append(args, "--waive", id+"=software TPM, any machine")
	}
	if _, err := command(ctx, "", b.sworn, args...); err != nil {
		return nil, err
	}
	if err := s.read(b.roots); err != nil {
		return nil, err
	}
	return s, s.verify()
}

// read reads the record, the policy and the roots for use in this process.
func (s *subject) read(roots string) (err error) {
	if s.capsule, err = os.ReadFile(s.file); err != nil {
		return err
	}
	text, err := os.ReadFile(s.policy)
	if err != nil {
		return err
	}
	s.input = verifier.Input{Now: time.Now(), Version: "v0.1.0"}
	if s.input.Policy, err = verifier.ParsePolicy(text); err != nil {
		return err
	}
	if s.input.Nonce, err = hex.DecodeString(nonceText); err != nil {
		return err
	}
	var files []verifier.RootFile
	names, err := filepath.Glob(filepath.Join(roots, "*", "*.pem"))
	if err != nil {
		return err
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		files = append(files, verifier.RootFile{Path: filepath.Base(filepath.Dir(name)) + "/" + filepath.Base(name), Data: data})
	}
	if s.input.Roots, err = verifier.NewTrustStore(files); err != nil {
		return err
	}
	s.quote, err = readQuote(s.capsule)
	return err
}

// verify wants the verdict to be trusted.
func (s *subject) verify() error {
	r, err := verifier.Verify(s.capsule, s.input)
	if err != nil {
		return err
	}
	if !r.Trusted {
		return fmt.Errorf("the record is not trusted: %s", r.Headline)
	}
	return nil
}

// readQuote takes the quote out of a capsule.
func readQuote(capsule []byte) (*quote, error) {
	c, err := cer.ParseCapsule(capsule)
	if err != nil {
		return nil, err
	}
	if len(c.Evidence) != 1 || c.Evidence[0].Format != tpm.Format {
		return nil, errors.New("the capsule has not one TPM quote")
	}
	part := func(name string) []byte {
		i := slices.IndexFunc(c.Evidence[0].Parts, func(p attest.Part) bool { return p.Name == name })
		if i < 0 {
			return nil
		}
		return c.Evidence[0].Parts[i].Data
	}
	q := &quote{attest: part(tpm.PartAttest), signature: part(tpm.PartSignature), public: part(tpm.PartPublic)}
	cert, err := x509.ParseCertificate(part(tpm.PartCertificate))
	if err != nil {
		return nil, err
	}
	key, ok := cert.PublicKey.(*ecdsa.PublicKey)
	// TPMT_SIGNATURE (Part 2, 11.3.4): scheme, hash, then r and s, each with its
	// size in two bytes.
	if !ok || len(q.signature) < 8 {
		return nil, errors.New("the quote is not signed with ECDSA")
	}
	rest := q.signature[4:]
	for _, to := range []**big.Int{&q.r, &q.s} {
		if len(rest) < 2 || len(rest)-2 < int(binary.BigEndian.Uint16(rest)) {
			return nil, errors.New("the quote's signature is cut short")
		}
		n := 2 + int(binary.BigEndian.Uint16(rest))
		*to, rest = new(big.Int).SetBytes(rest[2:n]), rest[n:]
	}
	q.key = key
	if q.extra, err = extraData(q.attest); err != nil {
		return nil, err
	}
	return q, q.verify()
}

// extraData returns the data that a TPMS_ATTEST covers (Part 2, 10.12.12): after
// magic, type and the sized name of the signer, with its size.
func extraData(attested []byte) ([]byte, error) {
	rest := attested
	if len(rest) < 6 {
		return nil, errors.New("the quote is cut short")
	}
	rest = rest[6:]
	for field := 0; ; field++ {
		if len(rest) < 2 || len(rest)-2 < int(binary.BigEndian.Uint16(rest)) {
			return nil, errors.New("the quote is cut short")
		}
		n := 2 + int(binary.BigEndian.Uint16(rest))
		if field == 1 {
			return rest[2:n], nil
		}
		rest = rest[n:]
	}
}

// verify checks the quote's signature, the least that anybody has to do.
func (q *quote) verify() error {
	sum := sha256.Sum256(q.attest)
	if !ecdsa.Verify(q.key, sum[:], q.r, q.s) {
		return errors.New("the quote's signature does not verify")
	}
	return nil
}

// checkQuote is a peer: the tool of tpm2-tools that checks the same quote's
// signature and the data that it covers, and nothing of the log or the record.
// The error wraps exec.ErrNotFound where the tool is not installed.
func (b *bench) checkQuote(s *subject) (contender, error) {
	tool, err := exec.LookPath("tpm2_checkquote")
	if err != nil {
		return contender{}, err
	}
	sized := append(binary.BigEndian.AppendUint16(nil, uint16(len(s.quote.public))), s.quote.public...)
	file := func(name string) string { return filepath.Join(b.dir, name) }
	for name, data := range map[string][]byte{"quote.pub": sized, "quote.msg": s.quote.attest, "quote.sig": s.quote.signature} {
		if err := os.WriteFile(file(name), bytes.Clone(data), 0o600); err != nil {
			return contender{}, err
		}
	}
	return contender{"`tpm2_checkquote` of the same quote", func(ctx context.Context) (cost, error) {
		return command(ctx, "", tool, "-u", file("quote.pub"), "-m", file("quote.msg"), "-s", file("quote.sig"), "-g", "sha256", "-q", hex.EncodeToString(s.quote.extra))
	}}, nil
}
