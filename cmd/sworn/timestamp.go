package main

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/sworn-run/sworn/cer"
	"github.com/sworn-run/sworn/internal/tsp"
	"github.com/sworn-run/sworn/verifier/stamp"
)

// tsaFlags say which authorities stamp.
type tsaFlags struct {
	urls    []string
	timeout time.Duration
}

// tsaTime is how long one authority may take for one token.
const tsaTime = 30 * time.Second

// register adds the flags to a command; prefix begins the name of the one about time.
func (f *tsaFlags) register(cmd *cobra.Command, prefix string) {
	fl := cmd.Flags()
	fl.StringArrayVar(&f.urls, "tsa", nil, "ask the time-stamping authority at `URL` (RFC 3161; repeatable: one token from each)")
	fl.DurationVar(&f.timeout, prefix+"timeout", tsaTime, "give an authority `DURATION` for a token, all tries together")
}

// check refuses addresses that are none, before anything is done.
func (f *tsaFlags) check(prefix string) error {
	if f.timeout <= 0 {
		return usage("--"+prefix+"timeout 30s", "--%stimeout %q: want more than nothing", prefix, f.timeout)
	}
	for i, u := range f.urls {
		if err := tsp.CheckURL(u); err != nil {
			return wrap(fmt.Errorf("--tsa: %w", err), "--tsa https://freetsa.org/tsr, or another authority that your relying parties trust")
		}
		if slices.Contains(f.urls[:i], u) {
			return usage("give each authority once", "--tsa %q is given twice", tsp.Redacted(u))
		}
	}
	return nil
}

// stampFlags are the flags of `sworn timestamp`.
type stampFlags struct {
	tsaFlags
	archive, again bool
	hash, roots    string
}

func (a *app) timestampCommand() *cobra.Command {
	var f stampFlags
	cmd := &cobra.Command{
		Use:   "timestamp --tsa URL [flags] RECORD...",
		Short: "Have an authority say that a record existed by now",
		Long: `Gets a time-stamp token (RFC 3161) over a record's evidence digest, which covers the
hardware's signatures, and puts it into the record. From then on the record has a verdict
as of that time beside the one as of now, for who trusts the authority: its root belongs
into the roots folder, in tsa/. A token is judged by its authority's certificate, which
runs out after some years: before it does, --archive gets one over all that the record
holds, earlier tokens and collateral included, which then must stay as they are.

The authority learns a digest, and nothing of the record. A record is written over in one
step, after each token; if no token can be had it stays as it is. Without --roots the
token's signature is checked, and not who the authority is.

Exit status: 0 every record has its tokens, 1 some token could not be had, 2 usage or I/O.`,
		Example: `  sworn timestamp --tsa https://freetsa.org/tsr job.cer.json
  sworn timestamp --tsa http://timestamp.digicert.com --roots roots/ *.cer.json
  sworn timestamp --archive --tsa http://timestamp.digicert.com job.cer.json`,
		Args: func(_ *cobra.Command, args []string) error { return f.check(args) },
		RunE: func(cmd *cobra.Command, args []string) error { return a.timestamp(cmd.Context(), &f, args) },
	}
	fl := cmd.Flags()
	f.register(cmd, "")
	fl.BoolVar(&f.archive, "archive", false, "get an archive token, over all that the record holds by now")
	fl.StringVar(&f.hash, "hash", "sha512", "the `HASH` of archive tokens: sha256, sha384 or sha512")
	fl.StringVar(&f.roots, "roots", "", "put in only what can be relied on by the roots in `DIR`")
	fl.BoolVar(&f.again, "again", false, "put in a token even if the record has one that says the same")
	folder(cmd, "roots")
	choices(cmd, "hash", "sha256", "sha384", "sha512")
	return cmd
}

// check refuses flags and arguments that cannot be meant.
func (f *stampFlags) check(records []string) error {
	const example = "sworn timestamp --tsa https://freetsa.org/tsr job.cer.json"
	switch {
	case len(f.urls) == 0:
		return usage(example, "no --tsa URL given: whom the relying parties trust is their choice")
	case len(records) == 0:
		return usage(example, "no record given")
	case f.hashOf() == 0:
		return usage("--hash sha512", "--hash %q: want sha256, sha384 or sha512", f.hash)
	}
	return f.tsaFlags.check("")
}

// hashOf returns the hash of archive tokens, 0 if it is none.
func (f *stampFlags) hashOf() crypto.Hash {
	return map[string]crypto.Hash{"sha256": crypto.SHA256, "sha384": crypto.SHA384, "sha512": crypto.SHA512}[f.hash]
}

// order returns what is asked for.
func (f *stampFlags) order() (tsp.Order, error) {
	o := tsp.Order{Again: f.again, Time: f.timeout}
	if f.archive {
		o.Archive = f.hashOf()
	}
	if f.roots != "" {
		store, err := loadRoots(f.roots)
		if err != nil {
			return o, err
		}
		if o.Anchors = store.Anchors(); len(o.Anchors.Role("tsa")) == 0 {
			return o, usage("put the authority's root into "+filepath.Join(f.roots, "tsa"), "--roots %s has no root of a time-stamping authority", f.roots)
		}
	}
	return o, nil
}

// timestamp is `sworn timestamp`.
func (a *app) timestamp(ctx context.Context, f *stampFlags, records []string) error {
	o, err := f.order()
	if err != nil {
		return err
	}
	s := a.newStamper(&f.tsaFlags, o)
	for _, name := range records {
		if err := a.timestampOne(ctx, s, name); err != nil {
			return err
		}
	}
	if s.failed > 0 {
		return &statusError{
			code: exitNotTrusted, msg: fmt.Sprintf("%d token(s) could not be had", s.failed),
			hint: "try again later, or ask another authority: --tsa URL",
		}
	}
	return nil
}

// timestampOne stamps the record in one file.
func (a *app) timestampOne(ctx context.Context, s *stamper, name string) error {
	file, err := readCapsule(name)
	if err != nil {
		return err
	}
	// A link goes on to lead to the record.
	target, err := filepath.EvalSymlinks(name)
	if err != nil {
		return wrap(err, fileHint(name, err))
	}
	for _, u := range s.urls {
		got, err := s.stamp(ctx, file, u)
		switch {
		case errors.Is(err, tsp.ErrStamped):
			if _, err := fmt.Fprintf(a.stdout, "%s: %s; --again adds another\n", line(name), line(err.Error())); err != nil {
				return err
			}
			continue
		case errors.Is(err, cer.ErrStrict), errors.Is(err, cer.ErrSchema):
			return wrap(fmt.Errorf("%s: %w", name, err), recordHint(name, file))
		case errors.Is(err, tsp.ErrFull):
			return wrap(fmt.Errorf("%s: %w", name, err), "have one archive token made instead of many: --archive")
		case err != nil:
			s.failed++
			_, _ = fmt.Fprintf(a.stderr, "missing: %s: %s: %s\n", line(name), line(s.name(u)), line(err.Error()))
			continue
		}
		if err := writeFile(target, got.File, fs.ModePerm); err != nil {
			return err
		}
		file = got.File
		if _, err := fmt.Fprintf(a.stdout, "%s: %s\n", line(name), s.describe(got)); err != nil {
			return err
		}
		a.noteEarly(name, got)
	}
	return nil
}

// stamper stamps records by several authorities, and does not ask one again that did not
// answer.
type stamper struct {
	*tsaFlags
	client *tsp.Client
	order  tsp.Order
	down   map[string]error
	failed int
}

// newStamper returns a stamper.
func (a *app) newStamper(f *tsaFlags, o tsp.Order) *stamper {
	return &stamper{
		tsaFlags: f, client: tsp.NewClient(nil, slog.New(slog.NewTextHandler(a.stderr, nil)), time.Now),
		order: o, down: map[string]error{},
	}
}

// stamp asks one authority about one record.
func (s *stamper) stamp(ctx context.Context, file []byte, address string) (*tsp.Stamped, error) {
	if err := s.down[address]; err != nil {
		return nil, fmt.Errorf("not asked again: %w", err)
	}
	o := s.order
	o.Address = address
	got, err := s.client.Stamp(ctx, file, o)
	if errors.Is(err, tsp.ErrUnavailable) {
		s.down[address] = err
	}
	return got, err
}

// name returns an address without what is secret in it.
func (*stamper) name(address string) string { return tsp.Redacted(address) }

// describe says what was put in.
func (s *stamper) describe(got *tsp.Stamped) string {
	what := "stamped"
	if s.order.Archive != 0 {
		what = "archived"
	}
	accuracy := ""
	if got.Token.Accuracy > 0 {
		accuracy = " ± " + got.Token.Accuracy.String()
	}
	return fmt.Sprintf("%s %s%s by %q", what, got.Token.Time.Format(time.RFC3339), accuracy, line(got.Token.Signer().Subject.CommonName))
}

// noteEarly says that one of two clocks is wrong.
func (a *app) noteEarly(name string, got *tsp.Stamped) {
	if got.Early {
		_, _ = fmt.Fprintf(a.stderr, "note: %s claims a time after its stamp: this machine's clock, or the authority's, was wrong, and time.order will fail\n", line(name))
	}
}

// archived reports whether the record has an archive token, so that its collateral must
// stay as it is.
func archived(c *cer.Capsule) bool {
	for i, der := range c.Tokens {
		if t, err := stamp.Parse(der); err == nil {
			if d, err := c.ArchiveDigest(t.Hash, i); err == nil && t.Covers(t.Hash, d) {
				return true
			}
		}
	}
	return false
}
