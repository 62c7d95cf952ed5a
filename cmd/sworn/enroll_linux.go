package main

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/sworn-run/sworn/attest"
	"github.com/sworn-run/sworn/internal/enroll"
	"github.com/sworn-run/sworn/internal/limits"
	"github.com/sworn-run/sworn/tpm/tpmdev"
	"github.com/sworn-run/sworn/verifier"
)

// tlsFlags are the files of either side's TLS.
type tlsFlags struct{ ca, cert, key string }

// check wants a certificate and its key.
func (f *tlsFlags) check(example string) error {
	for _, given := range []struct{ flag, value string }{{"--cert", f.cert}, {"--key", f.key}} {
		if given.value == "" {
			return usage(example, "no %s FILE given: both sides show a certificate", given.flag)
		}
	}
	return nil
}

// enrollFlags are the flags of `sworn enroll`.
type enrollFlags struct {
	tlsFlags
	server, tpm, state, issuers string
}

const enrollExample = "sworn enroll --server https://enrol.example:8443 --ca ca.pem --cert me.pem --key me.key"

func (a *app) enrollCommand() *cobra.Command {
	var f enrollFlags
	cmd := &cobra.Command{
		Use:   "enroll --server URL [flags]",
		Short: "Have this TPM's attestation key certified",
		Long: `Makes an attestation key in this TPM and has it certified by a party that "sworn
enroll serve" runs: it checks the certificate of the TPM's endorsement key, and that
both keys live in one TPM. The key is kept in the state folder, wrapped by this TPM;
"sworn run" uses it from then on, and its certificates go into the records. Both
sides of the connection show a certificate.

A relying party that puts the enrolling party's root into its roots folder, in
tpm-ak/, verifies such records offline like those of a cloud's machine.`,
		Example: `  ` + enrollExample + `
  sworn enroll --server https://127.0.0.1:8443 --ca ca.pem --cert me.pem --key me.key \
    --tpm unix:/tmp/tpm/tpm.sock --issuers /tmp/tpm/maker/ek-ca.pem --state state/`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.enroll(cmd.Context(), &f) },
	}
	fl := cmd.Flags()
	fl.StringVar(&f.server, "server", "", "the enrolling party's https `URL`")
	fl.StringVar(&f.ca, "ca", "", "the CA of the server's certificate, PEM `FILE`")
	fl.StringVar(&f.cert, "cert", "", "the certificate to show the server, PEM `FILE`")
	fl.StringVar(&f.key, "key", "", "its key, PEM `FILE`")
	fl.StringVar(&f.tpm, "tpm", "/dev/tpmrm0", "`ADDRESS`: /dev/tpmrm0, unix:PATH or tcp:HOST:PORT")
	fl.StringVar(&f.state, "state", "", "state `DIR` that keeps the key (default /run/sworn, or $XDG_RUNTIME_DIR/sworn, both gone at a reboot)")
	fl.StringVar(&f.issuers, "issuers", "", "certificates above the endorsement key's, PEM `FILE`: the maker's CA, and its root last")
	folder(cmd, "state")
	cmd.AddCommand(a.enrollServe(), a.enrollInit())
	return cmd
}

// enroll is `sworn enroll`.
func (a *app) enroll(ctx context.Context, f *enrollFlags) error {
	if f.server == "" || f.ca == "" {
		return usage(enrollExample, "no --server URL and its --ca FILE given")
	}
	if err := f.check(enrollExample); err != nil {
		return err
	}
	state, err := stateDir(f.state)
	if err != nil {
		return err
	}
	issuers, err := readIssuers(f.issuers)
	if err != nil {
		return err
	}
	config, err := enroll.TLS(f.cert, f.key, f.ca)
	if err != nil {
		return err
	}
	client, err := enroll.NewClient(f.server, config)
	if err != nil {
		return wrap(err, enrollExample)
	}
	e, err := tpmdev.Enroll(ctx, f.tpm, tpmdev.Options{}, issuers, client)
	if errors.Is(err, tpmdev.ErrAbsent) {
		return wrap(err, "is that the TPM? sworn doctor; one without its maker's certificate cannot be enrolled")
	}
	if err != nil {
		return err
	}
	if err := enroll.Save(state, e); err != nil {
		return err
	}
	leaf, err := x509.ParseCertificate(e.Certificates[0])
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.stdout, "enrolled %s\nissuer   %s\nuntil    %s\nkept in  %s\n", line(leaf.Subject.CommonName),
		line(leaf.Issuer.CommonName), leaf.NotAfter.UTC().Format(time.RFC3339), state)
	return err
}

// readIssuers reads PEM certificates; none if there is no file.
func readIssuers(name string) ([][]byte, error) {
	if name == "" {
		return nil, nil
	}
	text, err := readFile(name, limits.RootsFile)
	if err != nil {
		return nil, err
	}
	var out [][]byte
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			return nil, usage("--issuers FILE with certificates alone", "%s holds a block of type %q", name, block.Type)
		}
		out = append(out, block.Bytes)
	}
	if len(out) == 0 {
		return nil, usage("convert it: openssl x509 -inform der -in FILE -out FILE.pem", "%s holds no certificate in PEM", name)
	}
	return out, nil
}

func (a *app) enrollInit() *cobra.Command {
	return &cobra.Command{
		Use:   "init-ca DIR",
		Short: "Make the CA that certifies attestation keys",
		Long: `Makes a CA in the folder: its key in ca.key, which stays with the enrolling party,
and a roots folder for relying parties, roots/, that holds its certificate in the
role tpm-ak. Valid for 10 years.`,
		Example: "  sworn enroll init-ca ca/",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage("sworn enroll init-ca DIR", "want one folder, got %d", len(args))
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			ca, err := enroll.InitCA(args[0], time.Now())
			if err != nil {
				return wrap(err, "name a folder that has no CA yet, and that this user may write")
			}
			spki := verifier.SPKIDigest(ca.Root())
			_, err = fmt.Fprintf(a.stdout, "CA    %s\nkey   sha256:%x\nroots %s\n", line(ca.Root().Subject.CommonName), spki, enroll.RootsDir(args[0]))
			return err
		},
	}
}

// serveFlags are the flags of `sworn enroll serve`.
type serveFlags struct {
	tlsFlags
	listen, dir, roots, rootsOnly, transcripts string
	days                                       int
}

const serveExample = "sworn enroll serve --dir ca/ --roots makers/ --clients clients.pem --cert server.pem --key server.key"

func (a *app) enrollServe() *cobra.Command {
	var f serveFlags
	cmd := &cobra.Command{
		Use:   "serve --dir DIR [flags]",
		Short: "Certify the attestation keys of TPMs",
		Long: `Serves "sworn enroll": certifies the attestation key of a TPM whose endorsement key
a known maker certified, once that TPM has shown that it holds both. Known are the
pinned roots of TPM makers and those in --roots DIR/tpm-ek/. Clients show a
certificate of --clients, by TLS 1.3. What was exchanged is kept, one file for each
certificate: your word that the keys live in one TPM, which nobody can check later.`,
		Example: `  ` + serveExample + `
  sworn enroll serve --dir ca/ --roots-only /tmp/tpm/roots --clients ca.pem --cert server.pem --key server.key --listen 127.0.0.1:8443`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.serveEnrolment(cmd.Context(), &f) },
	}
	fl := cmd.Flags()
	fl.StringVar(&f.listen, "listen", "127.0.0.1:8443", "the `HOST:PORT` to listen on")
	fl.StringVar(&f.dir, "dir", "", "the `DIR` of \"sworn enroll init-ca\"")
	fl.StringVar(&f.roots, "roots", "", "roots `DIR` with makers in tpm-ek/, added to the built-in pins")
	fl.StringVar(&f.rootsOnly, "roots-only", "", "roots `DIR`, instead of the built-in pins")
	fl.StringVar(&f.ca, "clients", "", "the CA of the clients' certificates, PEM `FILE`")
	fl.StringVar(&f.cert, "cert", "", "the server's certificate, PEM `FILE`")
	fl.StringVar(&f.key, "key", "", "its key, PEM `FILE`")
	fl.StringVar(&f.transcripts, "transcripts", "", "keep transcripts in `DIR` (default transcripts/ in --dir)")
	fl.IntVar(&f.days, "days", 90, "how many `DAYS` a certificate is valid, 1 to 366")
	folder(cmd, "dir")
	folder(cmd, "roots")
	folder(cmd, "roots-only")
	folder(cmd, "transcripts")
	return cmd
}

// server makes what serves.
func (f *serveFlags) server(logs *slog.Logger) (*enroll.Server, error) {
	if f.dir == "" || f.ca == "" {
		return nil, usage(serveExample, "no --dir DIR of a CA and --clients FILE given")
	}
	if err := f.check(serveExample); err != nil {
		return nil, err
	}
	if f.roots != "" && f.rootsOnly != "" {
		return nil, usage("give one of them", "--roots and --roots-only exclude each other")
	}
	if f.days < 1 || f.days > 366 {
		return nil, usage("--days 90", "--days %d: want 1 to 366", f.days)
	}
	ca, err := enroll.LoadCA(f.dir)
	if err != nil {
		return nil, wrap(err, "make one: sworn enroll init-ca DIR; its key must be this user's, mode 0600")
	}
	store, err := loadRoots(f.roots + f.rootsOnly)
	if err != nil {
		return nil, err
	}
	anchors := &attest.Anchors{}
	if store != nil {
		anchors = store.Anchors()
	}
	if f.rootsOnly == "" {
		anchors.Pins = verifier.Pins()
	}
	if f.transcripts == "" {
		f.transcripts = filepath.Join(f.dir, "transcripts")
	}
	s, err := enroll.NewServer(enroll.Config{
		CA: ca, Anchors: anchors, Transcripts: f.transcripts, Validity: time.Duration(f.days) * 24 * time.Hour, Log: logs,
	})
	if err != nil {
		return nil, wrap(err, "--roots-only DIR wants the makers' roots in DIR/tpm-ek/")
	}
	return s, nil
}

// serveEnrolment is `sworn enroll serve`; it ends with the context.
func (a *app) serveEnrolment(ctx context.Context, f *serveFlags) error {
	handler := slog.NewTextHandler(a.stderr, nil)
	s, err := f.server(slog.New(handler))
	if err != nil {
		return err
	}
	config, err := enroll.TLS(f.cert, f.key, f.ca)
	if err != nil {
		return err
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", f.listen)
	if err != nil {
		return wrap(err, "--listen HOST:PORT, a port that is free")
	}
	if _, err := fmt.Fprintf(a.stdout, "https://%s\n", l.Addr()); err != nil {
		return errors.Join(err, l.Close())
	}
	web := &http.Server{
		Handler: s, TLSConfig: config, ErrorLog: slog.NewLogLogger(handler, slog.LevelWarn),
		ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: 30 * time.Second,
		IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
	}
	stop := context.AfterFunc(ctx, func() { _ = web.Close() })
	defer stop()
	if err := web.ServeTLS(l, "", ""); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// useEnrolled adds the enrolled AK of the state folder, if there is one and it
// may be wanted.
func (d *deviceFlags) useEnrolled(o *tpmdev.Options, state string) error {
	if o.AK != tpmdev.Auto && o.AK != tpmdev.Stored {
		return nil
	}
	dir, err := stateDir(state)
	if err != nil {
		return err
	}
	o.Enrolled, err = enroll.Load(dir)
	if err == nil && o.AK == tpmdev.Stored && o.Enrolled == nil {
		return usage("give the --state DIR of the enrolment; or enrol this TPM: sworn enroll --help", "no enrolled AK in %s", dir)
	}
	return err
}
