package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/sworn-run/sworn/simulator/amd"
	"github.com/sworn-run/sworn/simulator/azure"
	"github.com/sworn-run/sworn/simulator/intel"
	"github.com/sworn-run/sworn/simulator/kernel"
)

// teeFlags are the flags of sworn simulate tee.
type teeFlags struct {
	dir, tee, product, guest, tpm string
	debug                         bool
}

// guestMark tells the second process, in a mount namespace of its own, from the first.
const guestMark = "SWORN_SIMULATED_GUEST"

// teeCommand is sworn simulate tee.
func (a *app) teeCommand() *cobra.Command {
	var f teeFlags
	cmd := &cobra.Command{
		Use:   "tee --dir DIR --tee KIND [flags] [-- COMMAND [ARGUMENT...]]",
		Short: "Run a command in a simulated confidential VM",
		Long: `Runs a command that finds what a confidential VM's kernel shows it: reports through
configfs, the registers of a TD, signed by the simulated vendor of the folder (sworn
simulate vendor), which is made if there is none. The files are seen by the command
alone, in a mount namespace of its own; this needs root. On Azure a paravisor in front of
a software TPM (--tpm) takes their place; $SWORN_TPM and $SWORN_METADATA say where it and
its metadata service are.

Without a command, prints what is measured of the guest, as policies name it. Exit
status: the command's, or 128 and the signal that ended it.

A record needs the vendor's revocation list as well: serve it, and name the service to
"sworn run" (--kds, --pcs), which asks the real vendor otherwise. Verify with the roots
of the folder, DIR/roots. Nothing was launched before the launcher, so a policy has to
waive launcher.rooted and, for SEV-SNP, log.sole.`,
		Example: `  sworn simulate tee --dir /tmp/vendors --tee tdx
  sworn simulate vendor --dir /tmp/vendors --amd Milan --serve 127.0.0.1:8081 &
  sworn simulate tee --dir /tmp/vendors --tee sev-snp -- sworn run --kds http://127.0.0.1:8081 --record job.cer.json -- echo hello
  sworn policy from-record job.cer.json --roots /tmp/vendors/roots -o policy.json --waive launcher.rooted=simulated --waive log.sole=simulated
  sworn verify --policy policy.json --roots /tmp/vendors/roots job.cer.json`,
		RunE: func(cmd *cobra.Command, args []string) error { return a.simulateTEE(cmd.Context(), &f, args) },
	}
	fl := cmd.Flags()
	fl.StringVar(&f.dir, "dir", "", "`DIR` of the simulated vendors")
	fl.StringVar(&f.tee, "tee", teeSNP, "the `KIND` of confidential VM: sev-snp, tdx, azure-snp or azure-tdx")
	fl.StringVar(&f.product, "product", string(amd.Milan), "AMD's `PRODUCT`: Milan, Genoa or Turin")
	fl.StringVar(&f.guest, "guest", "guest", "the `NAME` of the guest: another name is another image")
	fl.StringVar(&f.tpm, "tpm", "", "the `ADDRESS` of the software TPM behind a paravisor of Azure's")
	fl.BoolVar(&f.debug, "debug", false, "launch the guest for debugging, so that its evidence is refused")
	fl.SetInterspersed(false)
	choices(cmd, "tee", teeSNP, teeTDX, teeAzureSNP, teeAzureTDX)
	choices(cmd, "product", "Milan", "Genoa", "Turin")
	folder(cmd, "dir")
	return cmd
}

// check refuses flags that cannot be meant.
func (f *teeFlags) check() error {
	onAzure := f.tee == teeAzureSNP || f.tee == teeAzureTDX
	switch {
	case f.dir == "":
		return usage("sworn simulate tee --dir /tmp/vendors --tee sev-snp -- COMMAND", "no --dir DIR given")
	case !onAzure && f.tee != teeSNP && f.tee != teeTDX:
		return usage("--tee sev-snp, tdx, azure-snp or azure-tdx", "--tee %q is no kind of confidential VM", f.tee)
	case !slices.Contains(amd.Products(), amd.Product(f.product)):
		return usage("--product Milan, Genoa or Turin", "--product %q is no product of AMD's", f.product)
	case onAzure && f.tpm == "":
		return usage("sworn simulate tpm --dir /tmp/tpm --detach, then --tpm unix:/tmp/tpm/tpm.sock", "no --tpm ADDRESS given: a paravisor stands in front of a software TPM")
	case !onAzure && f.tpm != "":
		return usage("leave --tpm out", "--tpm is for Azure's kinds")
	}
	return nil
}

// simulateTEE prints the guest's measurements and runs the command in it.
func (a *app) simulateTEE(ctx context.Context, f *teeFlags, command []string) error {
	if err := f.check(); err != nil {
		return err
	}
	g, err := f.newGuest(time.Now())
	if err != nil {
		return wrap(err, "choose a --dir that this user may write, such as /tmp/vendors")
	}
	if len(command) == 0 {
		_, err := fmt.Fprint(a.stdout, g.measured)
		return err
	}
	if f.tee == teeAzureSNP || f.tee == teeAzureTDX {
		return a.runOnAzure(ctx, f, g, command)
	}
	if os.Getenv(guestMark) == "" {
		return a.enterGuest(ctx)
	}
	return a.runInGuest(ctx, f, g, command)
}

// simulatedGuest makes the evidence of one guest.
type simulatedGuest struct {
	// measured are lines of names and values.
	measured string
	provider string
	// report is what the kernel's interface gives.
	report    kernel.Report
	registers *kernel.Registers
	// hardware is what a paravisor has reported, quote makes a TD quote of it.
	hardware     func(data [64]byte) ([]byte, error)
	quote        func(tdreport []byte) ([]byte, error)
	certificates [][]byte
}

// newGuest makes or opens the vendor, and a guest on its platform.
func (f *teeFlags) newGuest(now time.Time) (*simulatedGuest, error) {
	if f.tee == teeTDX || f.tee == teeAzureTDX {
		return f.newTD(now)
	}
	v, err := amd.Open(f.dir, amd.Product(f.product), now)
	if err != nil {
		return nil, err
	}
	p, err := v.Platform("simulated machine")
	if err != nil {
		return nil, err
	}
	collateral, err := p.Collateral(amd.VCEK, now)
	if err != nil {
		return nil, err
	}
	table, err := p.Table(amd.VCEK, now)
	if err != nil {
		return nil, err
	}
	sign := func(data [64]byte, vmpl uint) ([]byte, error) {
		r := p.Report(f.guest, data)
		r.VMPL = uint32(vmpl)
		if f.debug {
			r.Policy |= amd.PolicyDebug
		}
		return p.Sign(r)
	}
	g := &simulatedGuest{provider: kernel.SEVGuest, measured: fmt.Sprintf("measurement %x\n", p.Report(f.guest, [64]byte{}).Measurement)}
	g.report = func(inblob []byte, vmpl uint) (outblob, auxblob []byte, err error) {
		b, err := sign([64]byte(inblob), vmpl)
		return b, table, err
	}
	g.hardware = func(data [64]byte) ([]byte, error) { return sign(data, 0) }
	for _, c := range collateral {
		if c.Kind == "certificate" {
			g.certificates = append(g.certificates, c.Data)
		}
	}
	return g, nil
}

// newTD makes or opens Intel, and a TD on its platform.
func (f *teeFlags) newTD(now time.Time) (*simulatedGuest, error) {
	v, err := intel.Open(f.dir, now)
	if err != nil {
		return nil, err
	}
	p, err := v.Platform("simulated machine")
	if err != nil {
		return nil, err
	}
	regs, err := kernel.NewRegisters(nil)
	if err != nil {
		return nil, err
	}
	td := func(data [64]byte) *intel.TD {
		t := p.TD(f.guest, data)
		for i := range t.RTMR {
			t.RTMR[i] = [48]byte(regs.RTMR(i))
		}
		if f.debug {
			t.Attributes |= intel.TDDebug
		}
		return t
	}
	quote := func(t *intel.TD) ([]byte, error) {
		q, err := p.TDQuote(t, 5, time.Now())
		if err != nil {
			return nil, err
		}
		return q.Marshal()
	}
	g := &simulatedGuest{provider: kernel.TDXGuest, registers: regs}
	t := td([64]byte{})
	g.measured = fmt.Sprintf("mrtd %x\n", t.MRTD)
	for i := range 3 {
		g.measured += fmt.Sprintf("rtmr%d %x\n", i, t.RTMR[i])
	}
	g.report = func(inblob []byte, _ uint) (outblob, auxblob []byte, err error) {
		b, err := quote(td([64]byte(inblob)))
		return b, nil, err
	}
	g.hardware = func(data [64]byte) ([]byte, error) { return p.Report(td(data)), nil }
	g.quote = func(report []byte) ([]byte, error) {
		t, err := intel.ParseReport(report)
		if err != nil {
			return nil, err
		}
		return quote(t)
	}
	return g, nil
}

// enterGuest runs this command again in a mount namespace of its own.
func (a *app) enterGuest(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, "/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), guestMark+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = a.stdin, a.stdout, a.stderr
	endInOrder(cmd)
	cmd.SysProcAttr.Unshareflags = unix.CLONE_NEWNS
	err := cmd.Run()
	if errors.Is(err, syscall.EPERM) {
		return wrap(fmt.Errorf("making a mount namespace: %w", err), "run as root")
	}
	return childStatus(err)
}

// runInGuest shows what a kernel would, and runs the command.
func (a *app) runInGuest(ctx context.Context, f *teeFlags, g *simulatedGuest, command []string) error {
	dir, err := os.MkdirTemp(f.dir, "kernel-")
	if err != nil {
		return err
	}
	defer os.Remove(dir)
	k, err := kernel.Start(dir, kernel.Options{Provider: g.provider, Report: g.report, Registers: g.registers})
	if err != nil {
		return err
	}
	defer k.Close()
	if err := k.Overlay(); err != nil {
		return err
	}
	return a.runSimulated(ctx, command, nil)
}

// runOnAzure starts a paravisor and the metadata service, and runs the command.
func (a *app) runOnAzure(ctx context.Context, f *teeFlags, g *simulatedGuest, command []string) error {
	dir, err := os.MkdirTemp(f.dir, "azure-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	p, err := azure.Start(ctx, azure.Options{TPM: f.tpm, Addr: "unix:" + filepath.Join(dir, "tpm.sock"), Hardware: g.hardware})
	if err != nil {
		return wrap(err, "is the software TPM running, and nobody else's for now? sworn simulate tpm --dir DIR --detach")
	}
	defer p.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s := &http.Server{Handler: &azure.Metadata{Quote: g.quote, Certificates: g.certificates}, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = s.Serve(l) }()
	defer s.Close()
	return a.runSimulated(ctx, command, []string{"SWORN_TPM=" + p.Addr(), "SWORN_METADATA=http://" + l.Addr().String()})
}

// runSimulated runs the command of the simulated machine.
func (a *app) runSimulated(ctx context.Context, command, env []string) error {
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, guestMark+"=") {
			cmd.Env = append(cmd.Env, e)
		}
	}
	cmd.Env = append(cmd.Env, env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = a.stdin, a.stdout, a.stderr
	endInOrder(cmd)
	return childStatus(cmd.Run())
}

// endInOrder has a command ended by a signal that it can clean up after, when this one
// is ended, and killed only if it takes its time.
func endInOrder(cmd *exec.Cmd) {
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
}

// childStatus turns how a command ended into how this one ends, as shells do: 128 and
// the number of the signal that ended it.
func childStatus(err error) error {
	exit, ok := errors.AsType[*exec.ExitError](err)
	switch {
	case err == nil:
		return nil
	case !ok:
		return wrap(err, "give a command that can be run, behind --")
	}
	code := exit.ExitCode()
	if w, ok := exit.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		code = 128 + int(w.Signal())
	}
	return &statusError{code: code, hint: noHint}
}
