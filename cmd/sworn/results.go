package main

import (
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"github.com/sworn-run/sworn/verifier"
	"github.com/sworn-run/sworn/verifier/ear"
	"github.com/sworn-run/sworn/verifier/export"
)

// formatEAR is the format of results for relying parties that believe this verifier.
const formatEAR = "ear"

// keyHint says how a verifier's key is made.
const keyHint = "make one: openssl genpkey -algorithm ed25519 -out verifier.key"

// verifierKey reads a verifier's private key: PEM of PKCS #8, or of SEC 1 for ECDSA, and
// nothing else in the file. It returns the key and its id, SHA-256 of the
// SubjectPublicKeyInfo in hexadecimal.
func verifierKey(name string) (crypto.Signer, string, error) {
	const maxKey = 64 << 10
	st, err := os.Stat(name)
	if err != nil {
		return nil, "", wrap(err, fileHint(name, err))
	}
	if runtime.GOOS != "windows" && st.Mode().Perm()&0o077 != 0 { // Windows has no such bits.
		return nil, "", usage("chmod 600 "+name, "%s: others than its owner can read the key", name)
	}
	b, err := readFile(name, maxKey)
	if err != nil {
		return nil, "", err
	}
	block, rest := pem.Decode(b)
	if block == nil || len(rest) != 0 {
		return nil, "", usage(keyHint, "%s: want one private key in PEM", name)
	}
	key, err := parseKey(block)
	if err != nil {
		return nil, "", wrap(fmt.Errorf("%s: %w", name, err), keyHint)
	}
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, "", wrap(fmt.Errorf("%s: %w", name, err), keyHint)
	}
	id := sha256.Sum256(spki)
	return key, hex.EncodeToString(id[:]), nil
}

// parseKey parses one PEM block.
func parseKey(block *pem.Block) (crypto.Signer, error) {
	switch block.Type {
	case "PRIVATE KEY":
		key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("parsing the key: %w", err)
		}
		if s, ok := key.(crypto.Signer); ok {
			return s, nil
		}
		return nil, fmt.Errorf("a key of type %T cannot sign: %w", key, errors.ErrUnsupported)
	case "EC PRIVATE KEY":
		key, err := x509.ParseECPrivateKey(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("parsing the key: %w", err)
		}
		return key, nil
	default:
		return nil, fmt.Errorf("a PEM block of type %.40q, want PRIVATE KEY: %w", block.Type, errors.ErrUnsupported)
	}
}

// earOf returns a report's EAR.
func earOf(r *verifier.Report, key crypto.Signer, kid string) (string, error) {
	result, err := ear.New(r, time.Now())
	if err != nil {
		return "", err
	}
	token, err := ear.Sign(result, key, kid)
	if errors.Is(err, ear.ErrArgument) {
		return "", wrap(err, keyHint)
	}
	return token, err
}

// exportFlags are the flags of `sworn export`.
type exportFlags struct {
	verifyFlags
	key, to string
}

// The forms of `sworn export`.
const (
	formInToto = "in-toto"
	formCMW    = "cmw"
)

func (a *app) exportCommand() *cobra.Command {
	f := exportFlags{verifyFlags: verifyFlags{format: "text"}}
	cmd := &cobra.Command{
		Use:   "export --to FORM [flags] RECORD",
		Short: "Give a record, and what was found in it, in forms of others",
		Long: `Verifies a record as "sworn verify" does and writes it in another form:

  in-toto   a statement about the output, with the verdict as its predicate; with
            --key in a DSSE envelope signed by the verifier
  cmw       a RATS Conceptual Message Wrapper: the record, each evidence and collateral
            item, and with --key an EAR

What a statement or an EAR says is the word of the verifier, whose key signed it.

Exit status: that of verify; the form is written either way.`,
		Example: `  sworn export --to in-toto --policy policy.json --roots roots/ --key verifier.key job.cer.json
  sworn export --to cmw job.cer.json`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage("sworn export --to in-toto RECORD", "want one record, %d are given", len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return a.export(cmd.Context(), &f, args[0]) },
	}
	fl := cmd.Flags()
	fl.StringVar(&f.to, "to", "", "`FORM`: in-toto or cmw")
	fl.StringVar(&f.key, "key", "", "the verifier's private key, a `FILE` in PEM")
	fl.StringVar(&f.policy, "policy", "", "policy `FILE`")
	fl.StringVar(&f.roots, "roots", "", "roots `DIR`, added to the built-in pins")
	fl.StringVar(&f.rootsOnly, "roots-only", "", "roots `DIR`, instead of the built-in pins")
	fl.StringVar(&f.nonce, "nonce", "", "the nonce you chose, in `HEX`")
	choices(cmd, "to", formInToto, formCMW)
	folder(cmd, "roots")
	folder(cmd, "roots-only")
	return cmd
}

// export is `sworn export`.
func (a *app) export(ctx context.Context, f *exportFlags, name string) error {
	if f.to != formInToto && f.to != formCMW {
		return usage(hintMeant(nearest(f.to, []string{formInToto, formCMW}), "--to %s", "--to in-toto or --to cmw"), "unknown form %q", f.to)
	}
	var key crypto.Signer
	var kid string
	var err error
	if f.key != "" {
		if key, kid, err = verifierKey(f.key); err != nil {
			return err
		}
	}
	in, err := f.verifierInput(ctx)
	if err != nil {
		return err
	}
	b, err := readCapsule(name)
	if err != nil {
		return err
	}
	r, err := verifier.Verify(b, in)
	if err != nil {
		return wrap(err, "sworn export --help")
	}
	out, err := exported(f.to, b, r, key, kid)
	if err != nil {
		return wrap(err, hintAgainst(name, r, in))
	}
	if _, err := fmt.Fprintf(verifier.PrintableJSON(a.stdout), "%s\n", out); err != nil {
		return err
	}
	if !r.Trusted {
		return &statusError{code: exitNotTrusted, msg: r.Headline, hint: hintAgainst(name, r, in)}
	}
	return nil
}

// exported makes one of the forms.
func exported(form string, capsule []byte, r *verifier.Report, key crypto.Signer, kid string) ([]byte, error) {
	if form == formCMW {
		result := ""
		if key != nil {
			var err error
			if result, err = earOf(r, key, kid); err != nil {
				return nil, err
			}
		}
		return export.CMW(capsule, result)
	}
	s, err := export.InToto(capsule, r)
	if err != nil {
		return nil, err
	}
	if key != nil {
		return export.Envelope(s, key)
	}
	return json.Marshal(s)
}
