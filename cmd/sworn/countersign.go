package main

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/cer/signer"
	"github.com/sworn-run/sworn/internal/limits"
	"github.com/sworn-run/sworn/verifier"
)

// operator returns what signs a launch's record, nil without --signer.
func (f *signerFlags) operator(ctx context.Context) (func(context.Context, [32]byte) (attest.Collateral, error), error) {
	s, err := f.open(ctx)
	if s == nil || err != nil {
		return nil, err
	}
	c := signer.Claim{Role: signer.RoleOperator, Comment: f.comment}
	if _, err := c.Encode(); err != nil {
		return nil, wrap(err, "--signer-comment takes one printable line")
	}
	return func(ctx context.Context, evidence [32]byte) (attest.Collateral, error) {
		c.Evidence, c.Time = evidence, now()
		return s.sign(ctx, &c)
	}, nil
}

// now is the time that a claim has, to the millisecond.
func now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }

// countersignFlags are the flags of `sworn countersign`.
type countersignFlags struct {
	signerFlags
	role, out, attach      string
	inPlace, claim, noTime bool
}

const countersignExample = "sworn countersign --signer ~/.ssh/id_ed25519 --in-place job.cer.json"

func (a *app) countersignCommand() *cobra.Command {
	var f countersignFlags
	cmd := &cobra.Command{
		Use:   "countersign [flags] RECORD",
		Short: "Sign a record as an auditor or a notary",
		Long: `Adds a signature over a record's evidence digest, which covers the record and the
hardware's signature. Reports list it by the key's fingerprint; a policy may ask for
it (signers), and without that nothing rests on it. The record must be genuine; the
rest of it stays byte for byte.

To sign elsewhere, print the line with --claim, sign it there with ssh-keygen -Y sign,
under the namespace that --claim names on standard error, and attach line and
signature in one file with --attach.

Exit status: 0 signed, 1 the record is not genuine, 2 usage or I/O.`,
		Example: `  ` + countersignExample + `
  sworn countersign --signer audit.key --signer-cert audit.pem --comment "seen" --out signed.cer.json job.cer.json
  sworn countersign --claim job.cer.json >claim; ssh-keygen -Y sign -n countersigner/v1@sworn.run -f key claim
  cat claim claim.sig >signed; sworn countersign --attach signed --in-place job.cer.json`,
		Args: func(_ *cobra.Command, args []string) error { return f.check(args) },
		RunE: func(cmd *cobra.Command, args []string) error { return a.countersign(cmd.Context(), &f, args[0]) },
	}
	fl := cmd.Flags()
	f.register(cmd, "comment")
	fl.StringVar(&f.role, "role", signer.RoleCountersigner, "sign as `ROLE`: countersigner, or operator for one's own job")
	fl.BoolVar(&f.inPlace, "in-place", false, "write the record over itself")
	fl.StringVar(&f.out, "out", "", "write the signed record to `FILE`")
	fl.BoolVar(&f.claim, "claim", false, "print the line to sign, and sign nothing")
	fl.StringVar(&f.attach, "attach", "", "attach the signature in `FILE`, made elsewhere: the claim's line, and under it the SSH signature; or a JSON Web Signature")
	fl.BoolVar(&f.noTime, "no-time", false, "leave out when it was signed")
	choices(cmd, "role", signer.RoleCountersigner, signer.RoleOperator)
	return cmd
}

// check refuses flags that say nothing together.
func (f *countersignFlags) check(args []string) error {
	ways := 0
	for _, given := range []bool{f.claim, f.attach != "", f.key != ""} {
		if given {
			ways++
		}
	}
	switch {
	case len(args) != 1:
		return usage(countersignExample, "want one record, %d are given", len(args))
	case !signer.IsRole(f.role):
		return usage("--role countersigner", "unknown role %q", f.role)
	case ways != 1:
		return usage(countersignExample, "want one of --signer KEY, --claim and --attach FILE")
	case f.claim && (f.inPlace || f.out != ""):
		return usage("leave --in-place and --out out", "--claim writes no record")
	case !f.claim && f.inPlace == (f.out != ""):
		return usage(countersignExample, "want either --in-place or --out FILE")
	}
	for _, used := range append(f.files(), args[0], f.attach) {
		if samePath(f.out, used) {
			return usage("choose another path for --out", "the result would overwrite %s", used)
		}
	}
	return nil
}

// countersign is `sworn countersign`.
func (a *app) countersign(ctx context.Context, f *countersignFlags, name string) error {
	c, err := genuine(name)
	if err != nil {
		return err
	}
	claim := &signer.Claim{Role: f.role, Evidence: c.EvidenceDigest(), Comment: f.comment}
	if !f.noTime {
		claim.Time = now()
	}
	text, err := claim.Encode()
	if err != nil {
		return wrap(err, "--comment takes one printable line")
	}
	if f.claim {
		if _, err := fmt.Fprintln(a.stderr, "namespace:", signer.Namespace(f.role)); err != nil {
			return err
		}
		_, err := fmt.Fprintf(a.stdout, "%s\n", text)
		return err
	}
	if archived(c) {
		return usage("countersign before sworn timestamp --archive", "%s: an archive token covers the record's collateral, which must stay as it is", name)
	}
	item, err := f.item(ctx, claim)
	if err != nil {
		return err
	}
	if c.Collateral, err = signer.Insert(c.Collateral, item); err != nil {
		return wrap(err, "sworn inspect "+name+" shows the signatures that are there")
	}
	file, err := c.Encode()
	if err != nil {
		return err
	}
	r, err := verifier.Verify(file, verifier.Input{Now: time.Now(), Version: version})
	if err == nil {
		err = r.Genuine()
	}
	if err != nil {
		return wrap(err, "the signature must be over this record: its evidence digest is "+cer.FormatHash(claim.Evidence))
	}
	if err := f.write(name, file); err != nil {
		return err
	}
	return a.countersigned(r, item)
}

// countersigned says who signed what.
func (a *app) countersigned(r *verifier.Report, item attest.Collateral) error {
	s, err := signer.Parse(item.Kind, item.Data)
	if err != nil {
		return err
	}
	if n := len(r.Summary.Signatures); n > 0 && r.Summary.Signatures[0].Records != "" {
		_, _ = fmt.Fprintf(a.stderr, "note: all %s records of the statement have this evidence, and all of them are signed by it\n", r.Summary.Signatures[0].Records)
	}
	_, err = fmt.Fprintf(a.stdout, "%s %s %s signed evidence sha256:%s; %d signature(s) in all\n",
		s.Role, s.Key.Describe(), s.Key.Fingerprint(), r.Summary.EvidenceDigest, len(r.Summary.Signatures))
	return err
}

// genuine reads a record and refuses one that nobody should sign.
func genuine(name string) (*cer.Capsule, error) {
	b, err := readCapsule(name)
	if err != nil {
		return nil, err
	}
	c, err := cer.ParseCapsule(b)
	if err != nil {
		return nil, wrap(fmt.Errorf("%s: %w", name, err), recordHint(name, b))
	}
	r, err := verifier.Verify(b, verifier.Input{Now: time.Now(), Version: version})
	if err != nil {
		return nil, err
	}
	if err := r.Genuine(); err != nil {
		return nil, &statusError{code: exitNotTrusted, msg: "not signed", err: err, hint: "see every check: sworn verify --explain " + name}
	}
	return c, nil
}

// item returns the signature: made now, or elsewhere.
func (f *countersignFlags) item(ctx context.Context, claim *signer.Claim) (attest.Collateral, error) {
	if f.attach == "" {
		s, err := f.open(ctx)
		if err != nil {
			return attest.Collateral{}, err
		}
		item, err := s.sign(ctx, claim)
		if err != nil {
			return item, wrap(err, "nothing was written")
		}
		return item, nil
	}
	b, err := readFile(f.attach, limits.SignerItem)
	if err != nil {
		return attest.Collateral{}, err
	}
	item := attest.Collateral{Kind: signer.KindSSH, Data: b}
	if !bytes.HasPrefix(b, []byte("{")) {
		item = attest.Collateral{Kind: signer.KindX509, Data: bytes.TrimSuffix(b, []byte("\n"))}
	}
	if _, err := signer.Parse(item.Kind, item.Data); err != nil {
		return item, wrap(fmt.Errorf("%s: %w", f.attach, err), "cat claim claim.sig >"+f.attach+", as sworn countersign --help has it")
	}
	return item, nil
}

// write writes the record to where it belongs, in one step.
func (f *countersignFlags) write(name string, file []byte) error {
	if f.out != "" {
		return writeFile(f.out, file, 0o644)
	}
	// A link goes on to lead to the record.
	target, err := filepath.EvalSymlinks(name)
	if err != nil {
		return wrap(err, fileHint(name, err))
	}
	return writeFile(target, file, fs.ModePerm)
}
