package main

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/sworn-run/sworn/internal/limits"
	"github.com/sworn-run/sworn/verifier"
	"github.com/sworn-run/sworn/verifier/ledger"
)

func (a *app) ledgerSign() *cobra.Command {
	var key, out string
	cmd := &cobra.Command{
		Use:   "sign --key KEY [flags] FILE",
		Short: "Sign a ledger",
		Long: `Signs a document with a private key of "sworn ledger keygen". Whoever has the public
half in the roots folder, in ledger/, can then give the ledger to "sworn verify".
An older file of the same name is replaced only if its version is lower.`,
		Example: `  sworn ledger sign --key ledger.key distrust.json -o distrust.ledger`,
		Args:    oneFile("sworn ledger sign --key KEY FILE -o OUT"),
		RunE:    func(_ *cobra.Command, args []string) error { return a.signLedger(args[0], key, out) },
	}
	cmd.Flags().StringVar(&key, "key", "", "private key `FILE`")
	cmd.Flags().StringVarP(&out, "output", "o", "", "write the ledger to `FILE` instead of standard output")
	return cmd
}

func (a *app) signLedger(name, key, out string) error {
	if key == "" {
		return usage("sworn ledger keygen NAME -o ledger.key makes one", "no key given: --key KEY")
	}
	if samePath(name, out) || samePath(key, out) {
		return usage("choose another path for -o", "the ledger would overwrite %s", out)
	}
	b, err := readFile(name, limits.LedgerFile)
	if err != nil {
		return err
	}
	d, err := ledger.ParseDocument(b)
	if err != nil {
		return wrap(fmt.Errorf("%s: %w", name, err), cmp.Or(kindHint(name, b, "ledger"), "docs/LEDGER.md has an example"))
	}
	private, err := readPrivate(key)
	if err != nil {
		return err
	}
	file, err := ledger.Sign(d, string(private))
	if err != nil {
		return wrap(fmt.Errorf("%s: %w", key, err), "sworn ledger keygen NAME -o ledger.key makes one")
	}
	if out == "" {
		_, err = a.stdout.Write(file)
		return err
	}
	if err := grows(d, out); err != nil {
		return err
	}
	return writeFile(out, file, 0o644)
}

// grows refuses to replace a ledger by one of the same name whose version is not higher:
// whoever has the old one would take the new one for it.
func grows(d *ledger.Document, out string) error {
	if _, err := os.Lstat(out); err != nil {
		return nil //nolint:nilerr // it is not there yet, or writing it will say why not
	}
	b, err := readFile(out, limits.LedgerFile+limits.LedgerSignature)
	if err != nil {
		return err
	}
	old, _, err := ledger.InspectUnsafe(b)
	if err != nil {
		return usage("choose another path for -o", "%s is there already, and no ledger", out)
	}
	if old.Name == d.Name && !lessVersion(old.Version, d.Version) {
		return usage("raise version in the document", "%s is version %s of %s already, and the document is version %s", out, old.Version, old.Name, d.Version)
	}
	return nil
}

// lessVersion compares versions, which are plain decimal digits.
func lessVersion(a, b string) bool { return len(a) < len(b) || len(a) == len(b) && a < b }

// readPrivate reads a private key that nobody else can read.
func readPrivate(name string) ([]byte, error) {
	b, err := readFile(name, limits.LedgerKey)
	if err != nil {
		return nil, err
	}
	st, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if runtime.GOOS != "windows" && st.Mode().Perm()&0o077 != 0 {
		return nil, usage("chmod 600 "+name, "%s can be read by others (mode %#o): it is a private key", name, st.Mode().Perm())
	}
	return b, nil
}

func (a *app) ledgerKeygen() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "keygen [flags] NAME",
		Short: "Make a key that signs ledgers",
		Long: `Makes an Ed25519 key of that name: the private half in FILE, which only you can
read, the public half in FILE.pub. Whoever verifies puts the public half into the
roots folder, in ledger/. NAME is part of the key and stands in each signature;
it has no spaces and no "+".`,
		Example: `  sworn ledger keygen example.com/security -o ledger.key
  cp ledger.key.pub roots/ledger/`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage("sworn ledger keygen example.com/security -o ledger.key", "want one name, got %d", len(args))
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error { return a.makeLedgerKey(args[0], out) },
	}
	cmd.Flags().StringVarP(&out, "output", "o", "ledger.key", "write the private key to `FILE`, which must not be there yet")
	return cmd
}

func (a *app) makeLedgerKey(name, out string) error {
	private, public, err := ledger.GenerateKey(rand.Reader, name)
	if err != nil {
		return wrap(err, "sworn ledger keygen example.com/security")
	}
	for _, f := range []struct {
		name, text string
		mode       os.FileMode
	}{{out, private, 0o600}, {out + ".pub", public.String(), 0o644}} {
		if err := writeNew(f.name, []byte(f.text+"\n"), f.mode); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintln(a.stdout, public)
	return err
}

// writeNew writes a file that is not there yet.
func writeNew(name string, data []byte, mode os.FileMode) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return wrap(err, "choose another path with -o FILE")
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return wrap(err, "is the disk full?")
	}
	return nil
}

// inputHint says what to do about a caller's mistake that the verifier found.
func inputHint(err error) string {
	switch {
	case errors.Is(err, ledger.ErrRollback):
		return "get the newest version of the ledger from who keeps it"
	case errors.Is(err, verifier.ErrLedgerWanted):
		return "give it with --ledger FILE"
	default:
		return "sworn verify --help"
	}
}
