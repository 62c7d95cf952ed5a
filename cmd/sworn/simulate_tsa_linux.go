package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/sworn-run/sworn/simulator/tsa"
)

// tsaServerFlags are the flags of `sworn simulate tsa`.
type tsaServerFlags struct {
	dir, listen, at, fault, revoke string
	accuracy                       time.Duration
	detach, stop                   bool
}

// revocations are the reasons that --revoke knows (RFC 5280, 5.3.1).
func revocations() map[string]int {
	return map[string]int{"unspecified": 0, "keyCompromise": 1, "cACompromise": 2, "affiliationChanged": 3, "superseded": 4, "cessationOfOperation": 5}
}

// tsaCommand is sworn simulate tsa.
func (a *app) tsaCommand() *cobra.Command {
	var f tsaServerFlags
	var faults []string
	for _, x := range tsa.Faults() {
		faults = append(faults, string(x))
	}
	cmd := &cobra.Command{
		Use:   "tsa --dir DIR [flags]",
		Short: "Start a simulated time-stamping authority (RFC 3161)",
		Long: `Makes a time-stamping authority with a root of its own (with SIMULATED in its name) and
serves it until it is ended. Keys persist in the folder; the root is in DIR/roots, a
folder of roots as verifiers take it. The authority's clock can be set, and it can be
made to fail, to see what comes of it. It publishes its revocation lists beside; both lie
in DIR/crl, as of its clock when it was started.`,
		Example: `  sworn simulate tsa --dir /tmp/tsa --detach
  sworn timestamp --tsa http://127.0.0.1:3161/tsa --roots /tmp/tsa/roots job.cer.json
  sworn simulate tsa --dir /tmp/tsa --stop`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.simulateTSA(cmd.Context(), &f) },
	}
	fl := cmd.Flags()
	fl.StringVar(&f.dir, "dir", "", "`DIR` for keys, roots and lists")
	fl.StringVar(&f.listen, "listen", "127.0.0.1:3161", "serve on `HOST:PORT`; port 0 takes one that is free")
	fl.StringVar(&f.at, "at", "", "set the authority's clock to `TIME`, such as 2031-01-31T00:00:00Z; it goes on from there")
	fl.DurationVar(&f.accuracy, "accuracy", time.Second, "say that times are right to `DURATION`")
	fl.StringVar(&f.fault, "fault", "", "fail in this `WAY`: "+strings.Join(faults, ", "))
	fl.StringVar(&f.revoke, "revoke", "", "have the served list revoke the signer for this `REASON`, as of the authority's clock")
	fl.BoolVar(&f.detach, "detach", false, "leave it running in the background")
	fl.BoolVar(&f.stop, "stop", false, "stop the one running in the folder")
	choices(cmd, "fault", faults...)
	choices(cmd, "revoke", "keyCompromise", "superseded", "cessationOfOperation", "affiliationChanged", "cACompromise", "unspecified")
	folder(cmd, "dir")
	return cmd
}

// check refuses flags that cannot be meant, and returns the clock.
func (f *tsaServerFlags) check() (func() time.Time, error) {
	if f.dir == "" {
		return nil, usage("sworn simulate tsa --dir /tmp/tsa --detach", "no --dir DIR given")
	}
	if f.fault != "" && !slices.Contains(tsa.Faults(), tsa.Fault(f.fault)) {
		return nil, usage("sworn simulate tsa --help lists them", "--fault %q is no way to fail", f.fault)
	}
	if _, ok := revocations()[f.revoke]; f.revoke != "" && !ok {
		return nil, usage("--revoke keyCompromise, or --revoke superseded", "--revoke %q is no reason", f.revoke)
	}
	if f.accuracy < 0 {
		return nil, usage("--accuracy 1s", "--accuracy %s: want nothing or more", f.accuracy)
	}
	if f.at == "" {
		return time.Now, nil
	}
	at, err := time.Parse(time.RFC3339, f.at)
	if err != nil {
		return nil, usage("--at 2031-01-31T00:00:00Z", "--at %q is no time of RFC 3339", f.at)
	}
	ahead := time.Until(at)
	return func() time.Time { return time.Now().Add(ahead) }, nil
}

// tsaLock is the file that a running authority holds, with its process id in it.
const tsaLock = "tsa.lock"

// simulateTSA makes or opens the authority and serves it, or stops it.
func (a *app) simulateTSA(ctx context.Context, f *tsaServerFlags) error {
	now, err := f.check()
	if err != nil {
		return err
	}
	switch {
	case f.stop:
		return a.stopTSA(ctx, f.dir)
	case f.detach:
		return a.detachTSA(ctx)
	}
	authority, err := tsa.Open(f.dir, now())
	if err != nil {
		return wrap(err, "choose a --dir that this user may write, such as /tmp/tsa")
	}
	lock, err := lockTSA(f.dir)
	if err != nil {
		return err
	}
	defer lock.Close()
	s := &tsa.Service{Authority: authority, Now: now, Accuracy: f.accuracy, Fault: tsa.Fault(f.fault)}
	if f.revoke != "" {
		s.Revoked = []tsa.Revoked{{Serial: authority.Signer().SerialNumber, At: now(), Reason: revocations()[f.revoke]}}
	}
	if err := f.writeLists(s); err != nil {
		return err
	}
	return a.serveTSA(ctx, f, s)
}

// writeLists writes the authority's lists.
func (f *tsaServerFlags) writeLists(s *tsa.Service) error {
	dir := filepath.Join(f.dir, "crl")
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return wrap(err, "choose a --dir that this user may write, such as /tmp/tsa")
	}
	for name, list := range map[string]func() ([]byte, error){"root.crl": s.RootList, "issuer.crl": s.IssuerList} {
		der, err := list()
		if err != nil {
			return err
		}
		if err := writeFile(filepath.Join(dir, name), der, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// serveTSA serves the authority until the context ends.
func (a *app) serveTSA(ctx context.Context, f *tsaServerFlags, s *tsa.Service) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", f.listen)
	if err != nil {
		return wrap(err, "--listen 127.0.0.1:0, or another address of this machine that is free")
	}
	server := &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if _, err := fmt.Fprintf(a.stdout, "tsa    http://%s%s\nroots  %s\n", l.Addr(), tsa.PathStamp, filepath.Dir(filepath.Dir(tsa.RootFile(f.dir)))); err != nil {
		return errors.Join(err, l.Close())
	}
	_, _ = fmt.Fprintln(a.stderr, "running; end it with Ctrl-C")
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return wrap(err, noHint)
	}
	return nil
}

// lockTSA takes the lock of the folder and writes the process id into it.
func lockTSA(dir string) (*os.File, error) {
	lock, err := os.OpenFile(filepath.Join(dir, tsaLock), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, wrap(err, "choose a --dir that this user may write, such as /tmp/tsa")
	}
	err = unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		if err = lock.Truncate(0); err == nil {
			_, err = fmt.Fprintln(lock, os.Getpid())
		}
		if err == nil {
			return lock, nil
		}
	}
	_ = lock.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, usage("use it, or stop it: sworn simulate tsa --dir "+dir+" --stop", "an authority is running in %s", dir)
	}
	return nil, wrap(err, noHint)
}

// stopTSA ends the process that holds the folder's lock, and waits until it is gone. As
// long as the lock is held, the process id in it is that of who holds it.
func (a *app) stopTSA(ctx context.Context, dir string) error {
	const hint = "--stop wants the --dir that it was started with, and its user"
	lock, err := os.OpenFile(filepath.Join(dir, tsaLock), os.O_RDONLY, 0)
	if err != nil {
		return usage(hint, "no authority is running in %s", dir)
	}
	defer lock.Close()
	free := func() bool { return unix.Flock(int(lock.Fd()), unix.LOCK_SH|unix.LOCK_NB) == nil }
	if free() {
		return usage(hint, "no authority is running in %s", dir)
	}
	b, err := io.ReadAll(io.LimitReader(lock, 32))
	pid, parseErr := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || parseErr != nil || pid <= 1 {
		return usage(hint, "%s does not say what is running", lock.Name())
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		return wrap(fmt.Errorf("stopping process %d: %w", pid, err), hint)
	}
	for range 100 {
		if free() {
			_, err := fmt.Fprintln(a.stdout, "stopped")
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	return wrap(fmt.Errorf("process %d does not end", pid), noHint)
}

// detachTSA starts this program again without --detach, in a session of its own, and
// returns when it serves.
func (a *app) detachTSA(ctx context.Context) error {
	args := slices.DeleteFunc(slices.Clone(os.Args[1:]), func(s string) bool { return s == "--detach" || s == "--detach=true" })
	cmd := exec.Command("/proc/self/exe", args...) //nolint:noctx // it outlives this program
	cmd.Args[0] = os.Args[0]
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	// Not a pipe, which would end it when this process does.
	errs, err := os.CreateTemp("", "sworn-tsa-")
	if err != nil {
		return wrap(err, noHint)
	}
	defer errs.Close()
	_ = os.Remove(errs.Name())
	cmd.Stderr = errs
	if err := cmd.Start(); err != nil {
		return wrap(err, noHint)
	}
	started := make(chan []string, 1)
	go func() {
		var lines []string
		for in := bufio.NewScanner(out); len(lines) < 2 && in.Scan(); {
			lines = append(lines, in.Text())
		}
		started <- lines
	}()
	var lines []string
	select {
	case lines = <-started:
	case <-ctx.Done():
		_ = cmd.Process.Kill()
		return ctx.Err()
	}
	if len(lines) < 2 {
		// It has said why on standard error.
		_ = cmd.Wait()
		b, _ := io.ReadAll(io.NewSectionReader(errs, 0, 4096))
		_, _ = a.stderr.Write(b)
		return &statusError{code: exitUsage, hint: noHint}
	}
	_, err = fmt.Fprintln(a.stdout, strings.Join(lines, "\n"))
	return errors.Join(err, cmd.Process.Release())
}
